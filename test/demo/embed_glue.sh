#!/bin/sh
# embed_glue with nc: clients in turns, one that does not read, SIGTERM with clients there; and that
# it is as short as it says.
. "$(dirname "$0")/common.sh"

[ "$(wc -l <"$here/../../demo/embed_glue.c")" -lt 60 ] || fail 'it is no small example any more'

start server "$bin/embed_glue"
server=$pid
listening server
[ "$(cat "$dir/server.out")" = "listening on 127.0.0.1:$port" ] || fail "$(cat "$dir/server.out")"

descriptors() {
    [ "$(find "/proc/$server/fd" -type l | wc -l)" -eq "$1" ]
}
before=$(find "/proc/$server/fd" -type l | wc -l)

# client NAME: what it says comes from the FIFO $dir/NAME; to be opened as 3 to 6.
client() {
    mkfifo "$dir/$1"
    start "$1" sh -c "exec nc -N 127.0.0.1 $port <'$dir/$1'"
}

# --- two in turns, and none in between -----------------------------------------------------------

client one
one=$pid
client two
two=$pid
exec 3>"$dir/one" 4>"$dir/two"
for i in 1 2 3; do
    echo "first $i" >&3
    wait_for "^first $i\$" "$dir/one.out"
    echo "second $i" >&4
    wait_for "^second $i\$" "$dir/two.out"
done
exec 3>&-
ends 0 "$one"
echo 'second still' >&4
wait_for '^second still$' "$dir/two.out"
exec 4>&-
ends 0 "$two"
printf 'second %s\n' 1 2 3 still >"$dir/want"
same "$dir/want" "$dir/two.out"
wait_until descriptors "$before"

# --- much, who does not read, and who breaks off -------------------------------------------------

timeout 60 python3 - "$port" <<'END_OF_PYTHON' || fail 'much'
import hashlib, os, select, socket, struct, sys, threading
address = ('127.0.0.1', int(sys.argv[1]))
data = os.urandom(1 << 20) * 20
s = socket.create_connection(address)
threading.Thread(target=s.sendall, args=[data]).start()
came = hashlib.sha256()
left = len(data)
while left > 0:
    piece = s.recv(1 << 18)
    if not piece:
        sys.exit('%d bytes are missing' % left)
    came.update(piece)
    left -= len(piece)
if came.digest() != hashlib.sha256(data).digest():
    sys.exit('something else comes back')
s.close()

# Until the server takes no more.
stalled = socket.create_connection(address)
stalled.setblocking(False)
sent = 0
while select.select([], [stalled], [], 0.2)[1]:
    sent += stalled.send(data[:65536])
    if sent > 40000000:
        sys.exit('the server takes everything from who does not read')
other = socket.create_connection(address)
other.sendall(b'served\n')
if other.makefile('rb').readline() != b'served\n':
    sys.exit('the others are not served')
stalled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
stalled.close()
END_OF_PYTHON
wait_until descriptors "$before"

# --- the end -------------------------------------------------------------------------------------

client three
three=$pid
exec 3>"$dir/three"
echo 'still there' >&3
wait_for '^still there$' "$dir/three.out"
kill -s TERM "$server"
ends 0 "$server"
exec 3>&-
ends 0 "$three"
[ "$(wc -l <"$dir/server.out")" -eq 1 ] || fail "$(cat "$dir/server.out")"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
