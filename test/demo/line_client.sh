#!/bin/sh
# line_client with nc, echo_server, chat_server and servers that break off; on files, pipes and a
# terminal.
. "$(dirname "$0")/common.sh"

expect_usage line_client
expect 2 "$bin/line_client"
expect 2 "$bin/line_client" 127.0.0.1
expect 2 "$bin/line_client" 127.0.0.1 1 2
for port in x 65536 '' 1x; do
    expect_failure 2 'bad port' "$bin/line_client" 127.0.0.1 "$port"
done
unused tcp
expect_failure 1 "^line_client: 127.0.0.1 port $port: Connection refused$" \
    "$bin/line_client" 127.0.0.1 "$port" </dev/null
expect_failure 1 "$no_host.* not known" "$bin/line_client" "$no_host" "$port" </dev/null

# --- echo_server: everything comes back ------------------------------------------------------------

start echo "$bin/echo_server"
listening echo
echo_port=$port

echoes() {
    expect 0 "$bin/line_client" 127.0.0.1 "$echo_port" <"$1"
    same "$1" "$dir/out"
    [ ! -s "$dir/err" ] || fail "$(cat "$dir/err")"
}
: >"$dir/empty"
echo 'one line' >"$dir/line"
printf 'one\ntwo\nno newline' >"$dir/unended"
head -c 52428800 /dev/urandom >"$dir/large"
for file in empty line unended large; do
    echoes "$dir/$file"
done
expect 0 "$bin/line_client" 127.0.0.1 "$echo_port" </dev/null
[ ! -s "$dir/out" ] || fail "from nothing: $(head -c 1000 "$dir/out")"
expect 0 "$bin/line_client" localhost "$echo_port" <"$dir/line"
same "$dir/line" "$dir/out"

seq 300000 >"$dir/numbers"
# shellcheck disable=SC2002 # a pipe is what is wanted
cat "$dir/numbers" | timeout 60 "$bin/line_client" 127.0.0.1 "$echo_port" | cat >"$dir/out"
same "$dir/numbers" "$dir/out"
timeout 60 "$bin/line_client" 127.0.0.1 "$echo_port" <"$dir/numbers" |
    timeout 60 "$bin/line_client" 127.0.0.1 "$echo_port" >"$dir/out"
same "$dir/numbers" "$dir/out"

# As they come: through FIFOs, line by line.
mkfifo "$dir/in"
start client sh -c "exec '$bin/line_client' 127.0.0.1 $echo_port <'$dir/in'"
client=$pid
exec 3>"$dir/in"
for i in 1 2 3; do
    echo "line $i" >&3
    wait_for "^line $i\$" "$dir/client.out"
done
exec 3>&-
ends 0 "$client"

# On a terminal, for input and output at once.
timeout 60 python3 - "$bin/line_client" "$echo_port" >"$dir/out" <<'END' || fail 'on a terminal'
import os, pty, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], '127.0.0.1', sys.argv[2]])
mode = termios.tcgetattr(terminal)
mode[3] &= ~termios.ECHO
termios.tcsetattr(terminal, termios.TCSANOW, mode)
data = b''
for i in range(3):
    os.write(terminal, b'typed %d\n' % i)
    while b'typed %d\r\n' % i not in data:
        data += os.read(terminal, 1024)
os.write(terminal, b'\x04')
try:
    while True:
        data += os.read(terminal, 1024)
except OSError:  # the program has closed the terminal
    pass
sys.stdout.buffer.write(data.replace(b'\r\n', b'\n'))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
printf 'typed %s\n' 0 1 2 >"$dir/want"
same "$dir/want" "$dir/out"

# --- chat_server -----------------------------------------------------------------------------------

start chat "$bin/chat_server"
listening chat
printf '/nick anna\n/who\n/quit\n' | timeout 60 "$bin/line_client" 127.0.0.1 "$port" >"$dir/out"
printf '* %s\n' 'welcome, guest1: /nick NAME, /who, /quit' 'guest1 is now anna' 'here: anna' goodbye \
    >"$dir/want"
same "$dir/want" "$dir/out"

# --- servers that end in their own ways --------------------------------------------------------------

# With nc: it gets the lines, its answers are printed, and it ends first.
canned server
exec 4>"$dir/server.reply"
canned_port server
start client sh -c "exec '$bin/line_client' 127.0.0.1 $port <'$dir/in'"
client=$pid
exec 3>"$dir/in"
echo question >&3
wait_for '^question$' "$dir/server.out"
echo answer >&4
wait_for '^answer$' "$dir/client.out"
printf 'no newline' >&4
exec 4>&-
wait_for '^no newline$' "$dir/client.out"
echo 'more lines' >&3
wait_for '^more lines$' "$dir/server.out"
exec 3>&-
ends 0 "$client"
ends 0 "$canned"
[ ! -s "$dir/client.err" ] || fail "$(cat "$dir/client.err")"

cat >"$dir/server.py" <<'END'
import array, fcntl, signal, socket, struct, sys, termios, time
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
print('port', listener.getsockname()[1], flush=True)
client = listener.accept()[0]
def read_all():
    n = 0
    while data := client.recv(65536):
        n += len(data)
    return n
if sys.argv[1] == 'answers last':
    client.sendall(b'got %d bytes\n' % read_all())
elif sys.argv[1] == 'ends first':
    client.shutdown(socket.SHUT_WR)
    print(read_all(), 'bytes')
elif sys.argv[1] == 'breaks off':
    client.recv(1)
    client.sendall(b'first answer\n')
    left = array.array('i', [1])
    while left[0] > 0:  # until it has arrived
        time.sleep(0.001)
        fcntl.ioctl(client, termios.TIOCOUTQ, left)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
elif sys.argv[1] == 'does not read':
    signal.pause()
END
server() {
    start server python3 "$dir/server.py" "$1"
    server=$pid
    wait_for '^port ' "$dir/server.out"
    port=$(sed -n 's/^port //p' "$dir/server.out")
}

server 'answers last'
expect 0 "$bin/line_client" 127.0.0.1 "$port" <"$dir/large"
[ "$(cat "$dir/out")" = 'got 52428800 bytes' ] || fail "$(head -c 1000 "$dir/out")"
ends 0 "$server"

server 'ends first'
expect 0 "$bin/line_client" 127.0.0.1 "$port" <"$dir/large"
ends 0 "$server"
grep -qx '52428800 bytes' "$dir/server.out" || fail "$(cat "$dir/server.out")"

server 'breaks off'
exec 3<>"$dir/in"
echo question >&3
expect_failure 1 "^line_client: 127.0.0.1 port $port: Connection reset by peer$" \
    "$bin/line_client" 127.0.0.1 "$port" <"$dir/in"
exec 3>&-
[ "$(cat "$dir/out")" = 'first answer' ] || fail "$(head -c 1000 "$dir/out")"
ends 0 "$server"

server 'breaks off'
expect_failure 1 "^line_client: 127.0.0.1 port $port: " \
    "$bin/line_client" 127.0.0.1 "$port" <"$dir/large"
[ "$(cat "$dir/out")" = 'first answer' ] || fail "$(head -c 1000 "$dir/out")"
ends 0 "$server"

# --- who is slow is waited for, without reading what nobody takes ------------------------------------

cat >"$dir/slow.py" <<'END'
import os, select, signal, subprocess, sys
def fill(client):
    os.set_blocking(client.stdin.fileno(), False)
    sent = 0
    while select.select([], [client.stdin], [], 0.3)[1] and sent < 60000000:
        sent += os.write(client.stdin.fileno(), bytes(65536))
    return sent
command = [sys.argv[1], '127.0.0.1', sys.argv[2]]
client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sent = fill(client)
if sent >= 60000000:
    sys.exit('it takes everything')
if len(sys.argv) > 3:  # the server sends it back
    client.stdin.close()
    got = len(client.stdout.read())
    if got != sent:
        sys.exit('%d bytes of %d' % (got, sent))
else:
    client.send_signal(signal.SIGTERM)
if client.wait() != 0:
    sys.exit('status %d' % client.returncode)
END
server 'does not read'
timeout 60 python3 "$dir/slow.py" "$bin/line_client" "$port" || fail 'a server that does not read'
timeout 60 python3 "$dir/slow.py" "$bin/line_client" "$echo_port" back || fail 'a slow reader'
timeout 60 python3 "$dir/slow.py" "$bin/line_client" "$echo_port" || fail 'a signal'
kill "$server"
ends '' "$server"

# --- standard input and output that are wrong --------------------------------------------------------

expect_failure 1 'standard input: Is a directory' "$bin/line_client" 127.0.0.1 "$echo_port" <"$dir"
expect_failure 1 'standard input: Bad file descriptor' \
    sh -c '"$@" <&-' - "$bin/line_client" 127.0.0.1 "$echo_port"
expect_failure 1 'standard output: Bad file descriptor' \
    sh -c '"$@" >&-' - "$bin/line_client" 127.0.0.1 "$echo_port" <"$dir/line"
expect_failure 1 'standard output: No space left' \
    sh -c '"$@" >/dev/full' - "$bin/line_client" 127.0.0.1 "$echo_port" <"$dir/line"
{
    timeout 60 "$bin/line_client" 127.0.0.1 "$echo_port" <"$dir/large" 2>"$dir/err" ||
        echo $? >"$dir/status"
} | head -c 10 >"$dir/out"
grep -qx 'line_client: standard output: Broken pipe' "$dir/err" || fail "$(cat "$dir/err")"
[ "$(cat "$dir/status")" -eq 1 ] || fail "nobody reads: status $(cat "$dir/status")"

# Signals. Standard input is non-blocking while it runs, and as it was afterwards.
flags() {
    sed -n 's/^flags:[^0-9]*//p' "/proc/$$/fdinfo/3"
}
exec 3<>"$dir/in"
before=$(flags)
for signal in TERM INT; do
    start client sh -c "exec '$bin/line_client' 127.0.0.1 $echo_port <&7" 7<&3
    client=$pid
    echo "$signal comes" >&3
    wait_for "^$signal comes\$" "$dir/client.out"
    [ $(($(flags) & 04000)) -ne 0 ] || fail 'standard input is blocking'
    kill -s $signal "$client"
    ends 0 "$client"
    [ "$(flags)" = "$before" ] || fail "the flags of standard input: $before, then $(flags)"
    [ ! -s "$dir/client.err" ] || fail "$(cat "$dir/client.err")"
done
