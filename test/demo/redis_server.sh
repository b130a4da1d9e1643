#!/bin/sh
# redis_server with redis-cli, redis-benchmark and nc; requests in pieces, wrong ones, large ones, and
# clients that do not read.
. "$(dirname "$0")/common.sh"

expect_usage redis_server
expect 2 "$bin/redis_server" extra
expect_failure 2 'bad port' "$bin/redis_server" --port x

start server "$bin/redis_server"
server=$pid
listening server
[ "$(cat "$dir/server.out")" = "listening on 127.0.0.1:$port" ] || fail "$(cat "$dir/server.out")"

descriptors() {
    [ "$(find "/proc/$server/fd" -type l | wc -l)" -eq "$1" ]
}
before=$(find "/proc/$server/fd" -type l | wc -l)

cli() {
    timeout 60 redis-cli -p "$port" "$@"
}

# answers TEXT COMMAND...: as redis-cli shows it.
answers() {
    text=$1
    shift
    got=$(cli --no-raw "$@") || fail "redis-cli: $*"
    [ "$got" = "$text" ] || fail "$*: $got, not $text"
}

# --- commands ------------------------------------------------------------------------------------

answers PONG ping
answers '"hello, you"' ping 'hello, you'
answers '"hello"' ECHO hello
answers '""' echo ''
answers '(nil)' get key
answers OK set key value
answers '"value"' GET key
answers '"value"' gEt key
answers OK set empty ''
answers '""' get empty
answers OK set '' 'no key'
answers '"no key"' get ''
answers '(integer) 4' exists key nothing empty '' key
answers '(integer) 2' del empty nothing ''
answers '(integer) 1' exists key nothing empty ''
answers '(integer) 1' incr number
answers '(integer) 2' incr number
answers '"2"' get number
answers OK set number -1
answers '(integer) 0' incr number
answers OK set number 9223372036854775806
answers '(integer) 9223372036854775807' incr number
answers '(error) ERR increment or decrement would overflow' incr number
for value in '' x 1x 1.5 ' 1' +1 01 -0 - 9223372036854775808 -9223372036854775809; do
    answers OK set number "$value"
    answers '(error) ERR value is not an integer or out of range' incr number
    answers "\"$value\"" get number
done
answers '(nil)' set new value xx
answers OK set new value nx
answers '(nil)' set new another NX
answers OK set new another XX
answers '"another"' get new
answers OK select 0
answers '(error) ERR DB index is out of range' select 1
answers '(empty array)' command docs
answers '1) "save"
2) ""' config get save
answers '(empty array)' config get maxmemory
answers "(error) ERR unknown subcommand 'rewrite'" config rewrite
answers OK quit

for command in get set incr del exists ttl pttl echo select config; do
    answers "(error) ERR wrong number of arguments for '$command' command" "$command"
done
answers "(error) ERR wrong number of arguments for 'get' command" GET a b
answers "(error) ERR wrong number of arguments for 'ping' command" ping a b
answers "(error) ERR unknown command 'no such'" 'no such' a b
answers "(error) ERR unknown command 'a  +OK'" "$(printf 'a\r\n+OK')" a b
for options in 'nx xx' 'ex' 'ex 1 px 1' 'what'; do
    # shellcheck disable=SC2086 # they are words
    answers '(error) ERR syntax error' set key other $options
done
answers "(error) ERR value is not an integer or out of range" set key other ex soon
for time in 0 -1 9223372036854775807; do
    answers "(error) ERR invalid expire time in 'set' command" set key other ex $time
done
answers '"value"' get key

# --- keys that expire ----------------------------------------------------------------------------

answers '(integer) -1' ttl key
answers '(integer) -2' ttl nothing
answers '(integer) -2' pttl nothing
answers OK set key value ex 1000
answers '(integer) 1000' ttl key
[ "$(cli pttl key)" -gt 900000 ] || fail 'pttl'
answers OK set key value
answers '(integer) -1' ttl key
answers OK set number 1 px 1000000
answers '(integer) 2' incr number
answers '(integer) 1000' ttl number
answers OK set short value px 100
cli info >"$dir/out"
grep -q '^db0:keys=4,expires=2,avg_ttl=0' "$dir/out" || fail "$(cat "$dir/out")"
grep -q '^connected_clients:1' "$dir/out" || fail "$(cat "$dir/out")"
has_expired() {
    [ "$(cli exists "$1")" = 0 ]
}
wait_until has_expired short
answers '(nil)' get short
answers '(integer) -2' ttl short
answers OK set short again nx
answers '(integer) 4' del key number new short
cli info >"$dir/out"
grep -q '^db0' "$dir/out" && fail "$(cat "$dir/out")"

# --- any bytes -----------------------------------------------------------------------------------

head -c 1048576 /dev/urandom >"$dir/random"
printf '\r\n\000$3\r\n*1\r\n' >"$dir/strange"
for file in random strange; do
    [ "$(cli -x set "$file" <"$dir/$file")" = OK ] || fail "set $file"
    cli get "$file" >"$dir/out"
    echo >>"$dir/$file" # redis-cli's
    same "$dir/$file" "$dir/out"
done

# Those that nobody asks for go when the table grows.
seq 3000 | sed 's/.*/SET short:& value PX 1/' | cli --pipe >"$dir/out"
wait_until has_expired short:3000
seq 5000 | sed 's/.*/SET key:& other/' | cli --pipe >"$dir/out"
cli info >"$dir/out"
grep -q '^db0:keys=5002,expires=0,' "$dir/out" || fail "$(cat "$dir/out")"

seq 100000 | sed 's/.*/SET key:& value&/' | cli --pipe >"$dir/out"
grep -qx 'errors: 0, replies: 100000' "$dir/out" || fail "$(cat "$dir/out")"
answers '"value1"' get key:1
answers '"value100000"' get key:100000
cli info >"$dir/out"
grep -q '^db0:keys=100002,expires=0' "$dir/out" || fail "$(cat "$dir/out")"

# Inline, with LF and with CR LF; who has sent everything still gets all replies.
printf 'PING\nECHO  hello \r\n\n\r\n \n*0\r\n*-1\r\nSET a b\n  get\ta\nEXISTS a random\nno\n' |
    timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
printf '+PONG\r\n$5\r\nhello\r\n+OK\r\n$1\r\nb\r\n:2\r\n'"-ERR unknown command 'no'"'\r\n' >"$dir/want"
same "$dir/want" "$dir/out"
printf '*1\r\n$4\r\nPING\r\nQUIT\r\nPING\r\n' | timeout 60 nc 127.0.0.1 "$port" >"$dir/out"
printf '+PONG\r\n+OK\r\n' >"$dir/want"
same "$dir/want" "$dir/out"
yes GET random | head -n 10 | timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
[ "$(wc -c <"$dir/out")" -eq $((10 * (1048576 + 12))) ] || fail "$(wc -c <"$dir/out") bytes"

# --- requests in pieces, and wrong ones ----------------------------------------------------------------

cat >"$dir/resp.py" <<'END'
import select, socket, struct, sys
port = int(sys.argv[1])
def request(*arguments):
    return b'*%d\r\n' % len(arguments) + b''.join(b'$%d\r\n%s\r\n' % (len(a), a) for a in arguments)
def bulk(data):
    return b'$%d\r\n%s\r\n' % (len(data), data)
def connect():
    s = socket.create_connection(('127.0.0.1', port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s
def receive(s, length):
    data = b''
    while len(data) < length:
        more = s.recv(length - len(data))
        if not more:
            break
        data += more
    return data
def expect(what, got, want):
    if got != want:
        sys.exit('%s: %r, not %r' % (what, got[:500], want[:500]))
END

cat >"$dir/pieces.py" <<'END'
from resp import *
pairs = [(request(b'SET', b'a\0\r\nb', b'\r\n$1\0'), b'+OK\r\n'),
         (request(b'get', b'a\0\r\nb'), bulk(b'\r\n$1\0')),
         (b'PING\r\n', b'+PONG\r\n'), (b'echo two\n', bulk(b'two')), (b'\r\n*0\r\n', b''),
         (request(b'DEL', b'n'), b':0\r\n'), (request(b'INCR', b'n'), b':1\r\n'),
         (request(b'DEL', b'n', b'n', b''), b':1\r\n'), (request(b'ECHO', b''), bulk(b'')),
         (request(b'GET', b'none'), b'$-1\r\n'),
         (request(b'nonsense'), b"-ERR unknown command 'nonsense'\r\n")]
requests = b''.join(pair[0] for pair in pairs)
replies = b''.join(pair[1] for pair in pairs)
s, other = connect(), connect()
def wait_until_read():
    for i in range(2):  # the server may have answered the first before it has read the rest
        other.sendall(b'PING\n')
        receive(other, 7)
for cut in range(1, len(requests)):
    s.sendall(requests[:cut])
    wait_until_read()
    s.sendall(requests[cut:])
    expect('cut at %d' % cut, receive(s, len(replies)), replies)
for i in range(len(requests)):
    s.sendall(requests[i:i + 1])
    wait_until_read()
expect('byte by byte', receive(s, len(replies)), replies)
s.sendall(requests * 1000)
expect('all at once', receive(s, len(replies) * 1000), replies * 1000)
arguments = [b'DEL'] + [b'%d' % i for i in range(100000)]
s.sendall(request(*arguments))
expect('many arguments', receive(s, 4), b':0\r\n')
END

cat >"$dir/wrong.py" <<'END'
from resp import *
wrong = 'ERR Protocol error: '
limit = 64 * 1024 * 1024
for data, want in [
        (b'*x\r\n', 'invalid multibulk length'), (b'*\r\n', 'invalid multibulk length'),
        (b'*1x\r\n', 'invalid multibulk length'), (b'* 1\r\n', 'invalid multibulk length'),
        (b'*1048577\r\n', 'invalid multibulk length'),
        (b'*99999999999999999999\r\n', 'invalid multibulk length'),
        (b'*1\r\nPING\r\n', "expected '$', got 'P'"), (b'*1\r\n\r\n', "expected '$', got ' '"),
        (b'*1\r\n\0\r\n', "expected '$', got ' '"), (b'*1\r\n\x1b\r\n', "expected '$', got ' '"),
        (b'*1\r\n$x\r\n', 'invalid bulk length'), (b'*1\r\n$-1\r\n', 'invalid bulk length'),
        (b'*1\r\n$\r\n', 'invalid bulk length'), (b'*1\r\n$4 \r\n', 'invalid bulk length'),
        (b'*1\r\n$%d\r\n' % (limit + 1), 'invalid bulk length'),
        (b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n' % (limit - 2), 'invalid bulk length'),
        (b'*1\r\n$4\r\nPINGxx', 'expected CR LF behind a bulk string'),
        (b'*1\r\n$4\r\nPINGPONG\r\n', 'expected CR LF behind a bulk string'),
        (b'x' * 65537, 'too big inline request'), (b'*' + b'1' * 65536, 'too big inline request'),
        (b'*1\r\n$' + b'1' * 65536, 'too big bulk count string')]:
    s = connect()
    s.sendall(request(b'PING') + data + request(b'PING'))
    got = b''
    try:
        while more := s.recv(65536):
            got += more
    except ConnectionResetError:  # it has not read all
        pass
    expect(data[:50], got, b'+PONG\r\n-ERR Protocol error: %s\r\n' % want.encode())
s = connect()
s.sendall(b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n' % (limit - 100) + bytes(limit - 100) + b'\r\n')
expect('a large one', receive(s, 5), b'+OK\r\n')
s.sendall(request(b'DEL', b'k'))
expect('a large one', receive(s, 4), b':1\r\n')
END

cat >"$dir/slow.py" <<'END'
from resp import *
def resident():
    for line in open('/proc/%s/status' % sys.argv[2]):
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) * 1024
want = bulk(open(sys.argv[3], 'rb').read()[:-1])
before = resident()
s = connect()
s.setblocking(False)
sent = 0
while select.select([], [s], [], 0.3)[1]:  # until the server takes no more
    sent += s.send(request(b'GET', b'random') * 1000)
    if sent > 60000000:
        sys.exit('it reads on')
if resident() - before > 300000000:
    sys.exit('it has queued %d bytes' % (resident() - before))
other = connect()
other.sendall(request(b'PING') + request(b'DEL', b'random') + request(b'GET', b'random'))
expect('another client', receive(other, 16), b'+PONG\r\n:1\r\n$-1\r\n')
s.setblocking(True)
for i in range(20):
    expect('reply %d' % i, receive(s, len(want)), want)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
END

for test in pieces wrong; do
    timeout 60 python3 "$dir/$test.py" "$port" || fail "$test"
done
timeout 60 python3 "$dir/slow.py" "$port" "$server" "$dir/random" || fail 'a client that does not read'
wait_until descriptors "$before"

# --- redis-benchmark -----------------------------------------------------------------------------

# benchmark COUNT OPTION...: has a rate for each test, and nothing to complain of.
benchmark() {
    count=$1
    shift
    expect 0 redis-benchmark -p "$port" -t set,get,incr,ping -n "$count" --csv "$@"
    [ ! -s "$dir/err" ] || fail "$(head "$dir/err")"
    sed '1d; s/^"\([A-Z_]*\)","\([1-9][0-9]*\)\.[0-9]*".*/\1/' "$dir/out" >"$dir/have"
    printf '%s\n' PING_INLINE PING_MBULK SET GET INCR >"$dir/want"
    same "$dir/want" "$dir/have"
}
benchmark 10000
benchmark 100000 -P 16
benchmark 20000 -P 16 -d 5000 -r 10000
[ "$(cli get 'counter:__rand_int__')" -eq 110000 ] || fail "$(cli get 'counter:__rand_int__')"
wait_until descriptors "$before"
[ ! -s "$dir/server.err" ] || fail "$(head "$dir/server.err")"
[ "$(wc -l <"$dir/server.out")" -eq 1 ] || fail "$(head "$dir/server.out")"

expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/redis_server" --port "$port"
expect_failure 1 "$no_host.* not known" "$bin/redis_server" --host "$no_host"

mkfifo "$dir/in"
for signal in TERM INT; do
    start client sh -c "exec nc 127.0.0.1 $port <'$dir/in'"
    client=$pid
    exec 3>"$dir/in"
    echo PING >&3
    wait_for '^+PONG' "$dir/client.out"
    kill -s $signal "$server"
    ends 0 "$server"
    exec 3>&-
    ends 0 "$client"
    [ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
    start server "$bin/redis_server" --port "$port"
    server=$pid
    wait_for "^listening on 127.0.0.1:$port\$" "$dir/server.out"
done
