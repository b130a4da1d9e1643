#!/bin/sh
# echo_pair on files of all kinds, its trace, and a transmission that goes wrong.
. "$(dirname "$0")/common.sh"

expect_usage echo_pair
expect 2 "$bin/echo_pair"
expect 2 "$bin/echo_pair" "$lorem" "$lorem"

# Files: text, empty, one chunk and its neighbours, binary with zero bytes, larger than the
# sockets' buffers.
: >"$dir/empty"
head -c 1048576 /dev/urandom >"$dir/random"
head -c 20000000 /dev/zero >"$dir/zeros"
for size in 1 255 256 257 511 512 513 1024; do
    head -c $size "$dir/random" >"$dir/$size"
done
for file in "$lorem" "$dir/empty" "$dir"/[0-9]* "$dir/random" "$dir/zeros"; do
    expect 0 "$bin/echo_pair" "$file"
    [ "$(cat "$dir/out")" = 'RECEIVED COPY OF MESSAGE' ] || fail "$file: $(cat "$dir/out")"
    [ ! -s "$dir/err" ] || fail "$file: $(cat "$dir/err")"
done

expect_failure 1 'missing: No such file or directory' "$bin/echo_pair" "$dir/missing"
expect_failure 1 'Is a directory' "$bin/echo_pair" "$dir"
[ ! -s "$dir/out" ] || fail 'a result for a directory'

# The trace: what each of the three does, in its order.
expect 0 "$bin/echo_pair" -v "$lorem"
[ "$(cat "$dir/out")" = 'RECEIVED COPY OF MESSAGE' ] || fail "-v: $(cat "$dir/out")"
trace() {
    sed -n "s/^$1\(('127\.0\.0\.1', [0-9]*)\)*: //p" "$dir/err" |
        sed "s/('127\.0\.0\.1', [0-9]*)/ADDRESS/; s/\".*//" | grep -v 'writable()' >"$dir/$1"
}
size=$(($(wc -c <"$lorem")))
rest=$((size - 512))
trace EchoServer
printf '%s\n' 'binding to ADDRESS' 'handle_accept() -> ADDRESS' 'handle_close()' >"$dir/want"
same "$dir/want" "$dir/EchoServer"
trace EchoHandler
{
    printf 'handle_read() -> (%d) \n' 256
    for read in 256 "$rest" 0; do
        printf 'handle_read() -> (%d) \n' "$read"
        [ "$read" -gt 0 ] && echo 'handle_write() -> (256) '
    done
    printf 'handle_write() -> (%d) \n' $rest
    echo 'handle_close()'
} | sort >"$dir/want"
sort "$dir/EchoHandler" >"$dir/have"
same "$dir/want" "$dir/have"
[ "$(head -n 1 "$dir/EchoHandler")" = 'handle_read() -> (256) ' ] || fail 'EchoHandler begins'
[ "$(tail -n 1 "$dir/EchoHandler")" = 'handle_close()' ] || fail 'EchoHandler ends'
trace EchoClient
sed -n '1,2p' "$dir/EchoClient" >"$dir/have"
printf '%s\n' 'connecting to ADDRESS' 'handle_connect()' >"$dir/want"
same "$dir/want" "$dir/have"
grep handle_write "$dir/EchoClient" >"$dir/have"
printf 'handle_write() -> (%d) \n' 512 $rest >"$dir/want"
same "$dir/want" "$dir/have"
tail -n 3 "$dir/EchoClient" >"$dir/have"
printf '%s\n' 'handle_close()' 'RECEIVED COPY OF MESSAGE' 'handle_read() -> (0) ' >"$dir/want"
same "$dir/want" "$dir/have"
sum=$(sed -n 's/^handle_read() -> (\([0-9]*\)) $/\1/p' "$dir/EchoClient" | awk '{n += $1} END {print n}')
[ "$sum" -eq "$size" ] || fail "EchoClient has read $sum bytes of $size"
for line in 'EchoClient: writable() -> True' 'EchoClient: writable() -> False'; do
    grep -qx -e "$line" "$dir/err" || fail "no '$line'"
done
for answer in True False; do
    grep -qx "EchoHandler('127\.0\.0\.1', [0-9]*): writable() -> $answer" "$dir/err" ||
        fail "no EchoHandler: writable() -> $answer"
done
grep -qx 'EchoClient: handle_write() -> (512) "'"$(head -n 1 "$lorem")" "$dir/err" ||
    fail 'the data is not in the trace'

# A file that changes while it is on its way. The program cannot end before: its trace waits for us.
seq 200000 >"$dir/changing"
mkfifo "$dir/trace"
"$bin/echo_pair" -v "$dir/changing" >"$dir/out" 2>"$dir/trace" &
pair=$!
pids="$pids $pair"
exec 3<"$dir/trace"
line=
until [ "$line" != "${line#EchoClient: handle_write}" ]; do
    read -r line <&3 || fail 'the trace ends early'
done
: >"$dir/changing"
cat <&3 >"$dir/err"
ends 1 $pair
[ "$(cat "$dir/out")" = 'ERROR IN TRANSMISSION' ] || fail "changed file: $(cat "$dir/out")"
grep -q "changing: what came back differs" "$dir/err" || fail "changed file: $(cat "$dir/err")"
