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

echo 'hello, world' >"$dir/text"
timeout 60 nc -N 127.0.0.1 "$port" <"$dir/text" >"$dir/out"
same "$dir/text" "$dir/out"
grep -qx "Incoming connection from ('127\.0\.0\.1', [1-9][0-9]*)" "$dir/server.out" ||
    fail "$(cat "$dir/server.out")"

# Everything comes back, also to a client that sends as much as the server takes, ends, and only then
# reads.
head -c 20000000 /dev/urandom >"$dir/random"
timeout 60 nc -N 127.0.0.1 "$port" <"$dir/random" >"$dir/out"
same "$dir/random" "$dir/out"
timeout 60 python3 - "$port" "$dir/random" "$dir/want" >"$dir/out" <<'END'
import select, socket, sys
data = open(sys.argv[2], 'rb').read()
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.setblocking(False)
sent = 0
while select.select([], [s], [], 0.2)[1]:  # until the server takes no more
    sent += s.send(data[sent:sent + 65536])
s.setblocking(True)
s.shutdown(socket.SHUT_WR)
open(sys.argv[3], 'wb').write(data[:sent])
sys.stdout.buffer.write(s.makefile('rb').read())
END
[ "$(wc -c <"$dir/want")" -lt 20000000 ] || fail 'the server takes everything from who does not read'
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
[ "$(grep -c '^Incoming connection from ' "$dir/server.out")" -eq 7 ] || fail "$(cat "$dir/server.out")"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"

expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/echo_server" --port "$port"
[ ! -s "$dir/out" ] || fail "a port in use: $(cat "$dir/out")"
expect_failure 1 'no-such-host.invalid' "$bin/echo_server" --host no-such-host.invalid

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
