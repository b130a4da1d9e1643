#!/bin/sh
# echo_threads: many clients at once, that more than one thread serves them, signals, a port in use.
. "$(dirname "$0")/common.sh"

expect_usage echo_threads
expect 2 "$bin/echo_threads" extra
for port in x -1 65536 '' 1x; do
    expect_failure 2 'bad port' "$bin/echo_threads" --port "$port"
done
for threads in x -1 0 257 '' 1x; do
    expect_failure 2 'bad number of threads' "$bin/echo_threads" --threads "$threads"
done

# start_server SIGNAL ARGUMENT...: the signal is the one that ends it.
start_server() {
    signal=$1
    shift
    start server "$bin/echo_threads" "$@"
    server=$pid
    listening server
}

# It says how many connections each thread has had: $1 threads, $2 connections, by $3 threads or more.
ends_with_signal() {
    kill -s "$signal" "$server"
    ends 0 "$server"
    [ ! -s "$dir/server.err" ] || fail "$(head -c 1000 "$dir/server.err")"
    sed 1d "$dir/server.out" | awk -v threads="$1" -v all="$2" -v least="$3" '
        $0 !~ "^thread " NR ": [0-9]+ connections$" { exit 1 }
        { sum += $3; served += $3 > 0 }
        END { exit !(NR == threads && sum == all && served >= least) }' ||
        fail "$(cat "$dir/server.out")"
}

start_server TERM --threads 4
[ "$(cat "$dir/server.out")" = "listening on 127.0.0.1:$port" ] || fail "$(cat "$dir/server.out")"
threads_run() { # with a sanitizer, one of its own, too
    [ "$(find "/proc/$server/task" -mindepth 1 -maxdepth 1 | wc -l)" -ge 5 ]
}
wait_until threads_run

# Each of 64 clients, all connected at the same time, gets its own data back, in turns with the others.
timeout 60 python3 - "$port" <<'END' || fail 'many clients'
import socket, sys
clients = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(64)]
for turn in range(20):
    for i, s in enumerate(clients):
        s.sendall(b'%d of client %d\n' % (turn, i) * 100)
    for i, s in enumerate(clients):
        want = b'%d of client %d\n' % (turn, i) * 100
        got = b''
        while len(got) < len(want):
            data = s.recv(65536)
            if not data:
                sys.exit('the server has closed client %d' % i)
            got += data
        if got != want:
            sys.exit('client %d got %r' % (i, got[:100]))
for s in clients:
    s.shutdown(socket.SHUT_WR)
    if s.recv(1):
        sys.exit('there is more')
END

# Much data through several connections at once.
head -c 5000000 /dev/urandom >"$dir/random"
for i in 1 2 3 4 5 6 7 8; do
    start "nc$i" sh -c "exec timeout 60 nc -N 127.0.0.1 $port <'$dir/random'"
    eval "nc$i=\$pid"
done
for i in 1 2 3 4 5 6 7 8; do
    eval "ends 0 \$nc$i"
    same "$dir/random" "$dir/nc$i.out"
done
ends_with_signal 4 72 2

# A client that stays connected when the signal comes sees the end.
mkfifo "$dir/fifo"
for signal in TERM INT; do
    start_server "$signal" --threads 1 --host localhost
    start client sh -c "exec nc 127.0.0.1 $port <'$dir/fifo'"
    client=$pid
    exec 4>"$dir/fifo"
    echo there >&4
    wait_for '^there$' "$dir/client.out"
    ends_with_signal 1 1 1
    exec 4>&-
    ends 0 "$client"
done

# Threads that nobody has called.
start_server INT
ends_with_signal 2 0 0

# Another program has the port, and does not share it.
start holder "$bin/echo_server"
listening holder
expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/echo_threads" --port "$port"
[ ! -s "$dir/out" ] || fail "a port in use: $(cat "$dir/out")"
expect_failure 1 "$no_host.* not known" "$bin/echo_threads" --host "$no_host"

if have_ipv6; then
    start_server TERM --threads 3 --host ::1
    timeout 60 nc -N ::1 "$port" <"$dir/random" >"$dir/out"
    same "$dir/random" "$dir/out"
    ends_with_signal 3 1 1
fi
