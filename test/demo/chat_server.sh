#!/bin/sh
# chat_server with nc and telnet: names, long lines, control characters, ends of all kinds, a user
# who does not read, and many users.
. "$(dirname "$0")/common.sh"

expect_usage chat_server
expect 2 "$bin/chat_server" extra
expect_failure 2 'bad port' "$bin/chat_server" --port x

start server "$bin/chat_server"
server=$pid
listening server
[ "$(cat "$dir/server.out")" = "listening on 127.0.0.1:$port" ] || fail "$(cat "$dir/server.out")"

descriptors() {
    [ "$(find "/proc/$server/fd" -type l | wc -l)" -eq "$1" ]
}
before=$(find "/proc/$server/fd" -type l | wc -l)

# user NAME CLIENT: who says what comes from the FIFO $dir/NAME; to be opened as 3 to 6.
user() {
    mkfifo "$dir/$1"
    start "$1" sh -c "exec $2 127.0.0.1 $port <'$dir/$1'"
}

# hears TEXT NAME...: each gets this line.
hears() {
    text=$1
    shift
    for name in "$@"; do
        wait_until grep -qFx -e "$text" "$dir/$name.out"
    done
}

# --- names ---------------------------------------------------------------------------------------

user alice nc
alice=$pid
exec 3>"$dir/alice"
hears '* welcome, guest1: /nick NAME, /who, /quit' alice
user bob telnet
bob=$pid
exec 4>"$dir/bob"
hears '* welcome, guest2: /nick NAME, /who, /quit' bob
hears '* guest2 has joined' alice
user carol nc
carol=$pid
exec 5>"$dir/carol"
hears '* guest3 has joined' alice bob
grep -q 'guest1 has joined' "$dir/alice.out" && fail 'who joins is told so'

echo '/nick alice' >&3
hears '* guest1 is now alice' alice bob carol
echo '/nick bob' >&4
hears '* guest2 is now bob' alice bob carol
printf '/nick %s\n' bob BOB alice >&5
wait_for '^\* that name is taken$' "$dir/carol.out" 3
printf '/nick %s\n' '' 'two words' '<b>' "j$(printf '\303\274')rgen" 123456789012345678901 >&5
wait_for '^\* a name is up to 20 letters, digits, - and _$' "$dir/carol.out" 5
echo '/nick 12345678901234567_-0' >&5
hears '* guest3 is now 12345678901234567_-0' alice bob carol
echo '/nick guest4' >&5 # as the next one would be called
hears '* 12345678901234567_-0 is now guest4' alice bob carol
user dave nc
dave=$pid
exec 6>"$dir/dave"
hears '* welcome, guest5: /nick NAME, /who, /quit' dave
echo '/nick GUEST4' >&5
hears '* guest4 is now GUEST4' dave
echo '/nick   carol  ' >&5
hears '* GUEST4 is now carol' alice bob carol dave
echo '/who' >&4
hears '* here: alice bob carol guest5' bob
echo '/nonsense' >&3
hears '* commands are /nick NAME, /who and /quit' alice

# --- lines ---------------------------------------------------------------------------------------

echo 'hello from alice' >&3
hears 'alice: hello from alice' bob carol
echo 'hello from bob' >&4
hears 'bob: hello from bob' alice carol
printf 'in three' >&5
printf ' pieces,\r\n\n\r\nand ' >&5
printf 'another\n' >&5
hears 'carol: in three pieces,' alice bob
hears 'carol: and another' alice bob
grep -q 'alice:' "$dir/alice.out" && fail 'a line comes back to who said it'
grep -q 'carol: $' "$dir/alice.out" && fail 'an empty line is passed on'

# What does something to a terminal, in ASCII, in UTF-8, and what is neither, is left out.
printf 'a\033[31mb\007c\010d\000e\tf\177g \302\233h \303\251\342\202\254\360\237\230\200 \377\364\302 .\r\n' >&3
hears "$(printf 'alice: a[31mbcde fg h \303\251\342\202\254\360\237\230\200  .')" carol dave
tr -d '\n\040-\176\200-\377' <"$dir/carol.out" >"$dir/control"
[ ! -s "$dir/control" ] || fail "control characters: $(od -c "$dir/control" | head)"

full=$(printf '%01024d' 7)
echo "$full" >&3
hears "alice: $full" carol bob
printf '%s8\n' "$full" >&3
hears '* that line is too long' alice
printf '%0100000d\nshort again\n' 9 >&3
wait_for '^\* that line is too long$' "$dir/alice.out" 2
hears 'alice: short again' bob carol
grep -qE '000$|78$|0009$' "$dir/carol.out" && fail 'a part of a long line is passed on'

# --- ends ----------------------------------------------------------------------------------------

printf '/quit\nnot said\n' >&4
hears '* goodbye' bob
hears '* bob has left' alice carol
exec 4>&-
ends '' "$bob"
echo '/nick bob' >&5
hears '* carol is now bob' alice
echo '/nick carol' >&5
hears '* bob is now carol' alice
grep -q 'not said' "$dir/alice.out" && fail 'a line behind /quit is passed on'

printf '/nick nora\nlast words\nno line' | timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
hears 'nora: last words' alice carol
hears '* nora has left' alice carol
grep -q 'no line' "$dir/alice.out" && fail 'what is no line is passed on'

kill -s KILL "$dave"
ends '' "$dave"
hears '* guest5 has left' alice carol
exec 6>&-

timeout 60 python3 - "$port" <<'END' || fail 'a user who breaks off'
import socket, struct, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
lines = s.makefile('rb')
s.sendall(b'/nick ralf\n')
while not lines.readline().endswith(b'is now ralf\n'):
    pass
lines.close()
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.close()
END
hears '* ralf has left' alice carol

# --- who does not read is dropped, and who reads gets every line -----------------------------------

timeout 60 python3 - "$port" <<'END' || fail 'a user who does not read'
import socket, sys, threading
def join(name):
    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    s.sendall(b'/nick ' + name + b'\n')
    lines = s.makefile('rb')
    while not lines.readline().endswith(b' is now ' + name + b'\n'):
        pass
    return s, lines
talker, answers = join(b'talker')
reader, heard = join(b'reader')
stalled, unread = join(b'stalled')
dropped = threading.Event()
def wait_for_the_drop():
    while answers.readline() != b'* stalled has left\n':
        pass
    dropped.set()
numbers = []
def read():
    while not numbers or numbers[-1] >= 0:
        line = heard.readline()
        if line.startswith(b'talker: '):
            numbers.append(int(line.split()[1]))
threads = [threading.Thread(target=wait_for_the_drop), threading.Thread(target=read)]
for thread in threads:
    thread.start()
n = 0
while not dropped.is_set() and n < 40000:
    talker.sendall(b'%d %900d\n' % (n, 0))
    n += 1
talker.sendall(b'-1\n')
for thread in threads:
    thread.join()
if numbers != list(range(n)) + [-1]:
    sys.exit('the reader got %d lines of %d' % (len(numbers), n + 1))
try:
    got = unread.read()  # what was in the sockets, and the end
    if got.count(b'\n') > n:
        sys.exit('got all')
except ConnectionResetError:
    pass
END
grep -q '^chat_server: stalled does not read' "$dir/server.err" || fail "$(cat "$dir/server.err")"
[ "$(wc -l <"$dir/server.err")" -eq 1 ] || fail "$(head "$dir/server.err")"
hears '* stalled has left' alice carol

# --- many ----------------------------------------------------------------------------------------

timeout 60 python3 - "$port" <<'END' || fail 'many users'
import socket, sys
users = []
for i in range(100):
    users.append(socket.create_connection(('127.0.0.1', int(sys.argv[1]))))
files = [user.makefile('rb') for user in users]
for file in files:
    while not file.readline().startswith(b'* welcome'):
        pass
for i, user in enumerate(users):
    user.sendall(b'this is %d\n' % i)
for i, file in enumerate(files):
    said = set()
    while len(said) < 99:
        line = file.readline()
        if b': this is ' in line:
            said.add(int(line.split()[-1]))
    if said != set(range(100)) - {i}:
        sys.exit('%d got %s' % (i, said))
END
wait_for '^\* guest[0-9]* has left$' "$dir/alice.out" 101
wait_until descriptors $((before + 2))
echo '/who' >&3
hears '* here: alice carol' alice

expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/chat_server" --port "$port"
expect_failure 1 "$no_host.* not known" "$bin/chat_server" --host "$no_host"

for signal in TERM INT; do
    kill -s $signal "$server"
    ends 0 "$server"
    start server "$bin/chat_server" --port "$port"
    server=$pid
    wait_for "^listening on 127.0.0.1:$port\$" "$dir/server.out"
done
exec 3>&- 5>&-
ends '' "$alice"
ends '' "$carol"
