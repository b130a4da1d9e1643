#!/bin/sh
# echo_server with nc: several clients, much data, IPv6, signals, a port in use.
. "$(dirname "$0")/common.sh"

expect_usage echo_server
expect 2 "$bin/echo_server" extra
for port in x -1 65536 '' 1x; do
    expect_failure 2 'bad port' "$bin/echo_server" --port "$port"
done

start server "$bin/echo_server"
server=$pid
listening server
[ "$(cat "$dir/server.out")" = "listening on 127.0.0.1:$port" ] || fail "$(cat "$dir/server.out")"

descriptors() {
    [ "$(find "/proc/$server/fd" -type l | wc -l)" -eq "$1" ]
}
before=$(find "/proc/$server/fd" -type l | wc -l)

echo 'hello, world' >"$dir/text"
timeout 60 nc -N 127.0.0.1 "$port" <"$dir/text" >"$dir/out"
same "$dir/text" "$dir/out"
grep -qx "Incoming connection from ('127\.0\.0\.1', [1-9][0-9]*)" "$dir/server.out" ||
    fail "$(cat "$dir/server.out")"

head -c 20000000 /dev/urandom >"$dir/random"
timeout 60 nc -N 127.0.0.1 "$port" <"$dir/random" >"$dir/out"
same "$dir/random" "$dir/out"

# A client that does not read is not read from for ever.
timeout 60 python3 - "$port" <<'END' || fail 'the server takes everything from who does not read'
import select, socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.setblocking(False)
sent = 0
while select.select([], [s], [], 0.2)[1]:  # until the server takes no more
    sent += s.send(bytes(65536))
    if sent > 40000000:
        sys.exit(1)
END

# What is queued for a client still goes out when the client has ended: it sends until 24 KiB are
# neither in a socket's buffer nor with itself, ends, and reads.
timeout 60 python3 - "$port" "$dir/random" "$dir/want" >"$dir/out" <<'END' || fail 'a client that ends'
import socket, sys, time
def queues(port, peer):
    for line in open('/proc/net/tcp').readlines()[1:]:
        local, remote, _, queued = line.split()[1:5]
        if [int(local.split(':')[1], 16), int(remote.split(':')[1], 16)] == [port, peer]:
            return [int(n, 16) for n in queued.split(':')]
data = open(sys.argv[2], 'rb').read()
server = int(sys.argv[1])
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
s.connect(('127.0.0.1', server))
client = s.getsockname()[1]
sent = 0
while sent - queues(server, client)[0] - queues(client, server)[1] < 24576:
    sent += s.send(data[sent:sent + 32768])
    while queues(server, client)[1] > 0 or queues(client, server)[0] > 0:
        time.sleep(0.001)  # not read yet
s.shutdown(socket.SHUT_WR)
open(sys.argv[3], 'wb').write(data[:sent])
while queues(client, server)[0] > 0:
    time.sleep(0.001)  # the end has not arrived yet
sys.stdout.buffer.write(s.makefile('rb').read())
END
same "$dir/want" "$dir/out"

# Two clients at once, in turns.
mkfifo "$dir/first" "$dir/second"
start one sh -c "exec nc -N 127.0.0.1 $port <'$dir/first'"
one=$pid
start two sh -c "exec nc -N 127.0.0.1 $port <'$dir/second'"
two=$pid
exec 4>"$dir/first" 5>"$dir/second"
for i in 1 2 3; do
    echo "first $i" >&4
    wait_for "^first $i\$" "$dir/one.out"
    echo "second $i" >&5
    wait_for "^second $i\$" "$dir/two.out"
done
exec 5>&-
ends 0 "$two"
echo 'first still' >&4
wait_for '^first still$' "$dir/one.out"
exec 4>&-
ends 0 "$one"
printf 'first %s\n' 1 2 3 still >"$dir/want"
same "$dir/want" "$dir/one.out"
printf 'second %s\n' 1 2 3 >"$dir/want"
same "$dir/want" "$dir/two.out"

# A client that breaks off while data is on its way to it is no harm to the others.
timeout 60 python3 - "$port" <<'END'
import socket, struct, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.setblocking(False)
try:
    while True:
        s.send(b'x' * 65536)
except BlockingIOError:
    pass
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.close()
END
timeout 60 nc -N 127.0.0.1 "$port" <"$dir/text" >"$dir/out"
same "$dir/text" "$dir/out"
wait_until descriptors "$before"
[ "$(grep -c '^Incoming connection from ' "$dir/server.out")" -eq 8 ] || fail "$(cat "$dir/server.out")"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"

expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/echo_server" --port "$port"
[ ! -s "$dir/out" ] || fail "a port in use: $(cat "$dir/out")"
expect_failure 1 "$no_host.* not known" "$bin/echo_server" --host "$no_host"

# Signals, with a client that stays connected.
for signal in TERM INT; do
    start client sh -c "exec nc 127.0.0.1 $port <'$dir/first'"
    client=$pid
    exec 4>"$dir/first"
    echo there >&4
    wait_for '^there$' "$dir/client.out"
    kill -s $signal "$server"
    ends 0 "$server"
    exec 4>&-
    ends 0 "$client"
    [ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
    start server "$bin/echo_server" --host localhost --port "$port" # at once, on the same port
    server=$pid
    wait_for "^listening on 127.0.0.1:$port\$" "$dir/server.out"
done

if have_ipv6; then
    start server "$bin/echo_server" --host ::1
    listening server
    [ "$(cat "$dir/server.out")" = "listening on [::1]:$port" ] || fail "$(cat "$dir/server.out")"
    timeout 60 nc -N ::1 "$port" <"$dir/text" >"$dir/out"
    same "$dir/text" "$dir/out"
    grep -qx "Incoming connection from ('::1', [1-9][0-9]*, 0, 0)" "$dir/server.out" ||
        fail "$(cat "$dir/server.out")"
fi
