#!/bin/sh
# http_client against Python's stock HTTP server, and against responses of our own, sent with nc.
. "$(dirname "$0")/common.sh"

expect_usage http_client
expect 2 "$bin/http_client"
expect 2 "$bin/http_client" -o "$dir/body" http://127.0.0.1:1/ http://127.0.0.1:1/

mkdir "$dir/www"
echo 'hello, world' >"$dir/www/hello.txt"
: >"$dir/www/empty"
head -c 52428800 /dev/urandom >"$dir/www/large"
serve_files "$dir/www"
site=http://127.0.0.1:$port

# size PATH: of the whole response, as another client gets it.
size() {
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" | nc -N 127.0.0.1 "$port" | wc -c
}

# --- results -----------------------------------------------------------------------------------

expect 0 "$bin/http_client" "$site/hello.txt"
[ "$(cat "$dir/out")" = "$site/hello.txt got $(($(size /hello.txt))) bytes" ] || fail "$(cat "$dir/out")"
[ ! -s "$dir/err" ] || fail "$(cat "$dir/err")"

expect 0 "$bin/http_client" -o "$dir/body" "$site/large"
same "$dir/www/large" "$dir/body"
[ "$(cat "$dir/out")" = "$site/large got $(($(size /large))) bytes" ] || fail "$(cat "$dir/out")"

expect 0 "$bin/http_client" --output "$dir/body" "$site/empty"
same "$dir/www/empty" "$dir/body"

expect 0 "$bin/http_client" "$site/large" "$site/hello.txt#part" "$site?x" "$site/empty" "$site/large"
for url in "$site/large /large" "$site/hello.txt#part /hello.txt" "$site?x /?x" "$site/empty /empty" \
    "$site/large /large"; do
    echo "${url% *} got $(($(size "${url#* }"))) bytes"
done >"$dir/want"
same "$dir/want" "$dir/out"

# --- the trace ---------------------------------------------------------------------------------

expect 0 "$bin/http_client" -v "$site/hello.txt"
url=$site/hello.txt
sed 's/handle_read() -> [1-9][0-9]* bytes/handle_read() -> N bytes/' "$dir/err" | uniq >"$dir/have"
grep -v 'able() -> True' "$dir/have" | uniq >"$dir/have.handlers"
cat >"$dir/want" <<END
$url: connecting to ('127.0.0.1', $port)
root: LOOP STARTING
$url: handle_connect()
$url: handle_write() -> "GET /hello.txt HTTP/1.0
Host: 127.0.0.1:$port

"
$url: handle_read() -> N bytes
$url: handle_close()
$url: handle_read() -> 0 bytes
root: LOOP DONE
END
tr -d '\r' <"$dir/have.handlers" >"$dir/have.lines"
same "$dir/want" "$dir/have.lines"
sed -n '3,4p' "$dir/have" >"$dir/have.first"
printf '%s\n' "$url: readable() -> True" "$url: writable() -> True" >"$dir/want"
same "$dir/want" "$dir/have.first"
sed '1,/handle_write/d' "$dir/have" | grep -q 'writable()' && fail 'writable() with nothing to send'
grep -B 1 'handle_close()' "$dir/have" | grep -q "^$url: readable() -> True" ||
    fail 'no readable() before handle_close()'
sum=$(sed -n 's/.*handle_read() -> \([0-9]*\) bytes/\1/p' "$dir/err" | awk '{n += $1} END {print n}')
[ "$(cat "$dir/out")" = "$url got $sum bytes" ] || fail "$(cat "$dir/out"), not $sum"

# --- failures ----------------------------------------------------------------------------------

expect_failure 1 "^http_client: $site/missing: .*404 " "$bin/http_client" -o "$dir/none" "$site/missing"
[ ! -s "$dir/out" ] || fail 'a result for a missing page'
[ ! -e "$dir/none" ] || fail 'a file for a missing page'
expect_failure 1 'only http://' "$bin/http_client" https://127.0.0.1/
expect_failure 1 'only http://' "$bin/http_client" /hello.txt
for url in 'http://' 'http:///path' 'http://:80/' 'http://127.0.0.1:/' 'http://127.0.0.1:65536/' \
    'http://127.0.0.1:8o/' 'http://127.0.0.1:-1/' 'http://me@127.0.0.1/' 'http://[::1/' \
    'http://[127.0.0.1]/' 'http://[::1]1/' 'http://a,b/' "$site/a b" "$site/$(printf 'a\tb')" "$site/é"; do
    expect_failure 1 'bad URL: ' "$bin/http_client" "$url"
done
expect_failure 1 'no/such/file: No such file' "$bin/http_client" -o "$dir/no/such/file" "$site/large"
expect_failure 1 '/dev/full: No space left' "$bin/http_client" -o /dev/full "$site/large"
expect_failure 1 '/dev/full: No space left' "$bin/http_client" -o /dev/full "$site/hello.txt"
expect_failure 1 'standard output: ' sh -c "\"\$@\" >/dev/full" - "$bin/http_client" "$site/hello.txt"
expect_failure 1 "^http_client: http://$no_host/: .* not known" "$bin/http_client" "http://$no_host/"

served=$port
unused tcp
expect_failure 1 "^http_client: http://127.0.0.1:$port/: Connection refused" \
    "$bin/http_client" "http://127.0.0.1:$port/"

# What can be fetched is, in spite of the others.
expect 1 "$bin/http_client" "$site/empty" "http://127.0.0.1:$port/" ftp://x/ "$site/hello.txt"
[ "$(wc -l <"$dir/err")" -eq 2 ] || fail "$(cat "$dir/err")"
port=$served
for path in empty hello.txt; do
    echo "$site/$path got $(($(size /$path))) bytes"
done >"$dir/want"
same "$dir/want" "$dir/out"

# --- responses of our own ----------------------------------------------------------------------

# respond STATUS BYTES [PATTERN]: what becomes of a response.
respond() {
    canned canned
    exec 3>"$dir/canned.reply"
    canned_port canned
    # shellcheck disable=SC2059 # it has escapes
    printf "$2" >&3
    exec 3>&-
    if [ $# -gt 2 ]; then
        expect_failure "$1" "$3" "$bin/http_client" -o "$dir/body" "http://127.0.0.1:$port/a?b#c"
    else
        expect "$1" "$bin/http_client" -o "$dir/body" "http://127.0.0.1:$port/a?b#c"
    fi
    ends '' "$canned"
}

respond 0 'HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc'
[ "$(cat "$dir/body")" = abc ] || fail "body: $(cat "$dir/body")"
printf 'GET /a?b HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$port" >"$dir/want"
same "$dir/want" "$dir/canned.out"
[ "$(cat "$dir/out")" = "http://127.0.0.1:$port/a?b#c got 41 bytes" ] || fail "$(cat "$dir/out")"
respond 0 'HTTP/1.1 200 OK\n\nline\n\r\n'
printf 'line\n\r\n' >"$dir/want"
same "$dir/want" "$dir/body"
respond 0 'HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n'
respond 1 'HTTP/1.0 200 OK\r\ncontent-length:100\r\n\r\nabc' 'got 3 bytes of a body of 100'
respond 1 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nabc' 'got 3 bytes of a body of 2'
respond 1 'HTTP/1.0 200 OK\r\nContent-Length: abc\r\n\r\nabc' 'bad Content-Length'
respond 1 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' 'Transfer-Encoding'
respond 1 'HTTP/1.0 200 OK\r\nContent-Length: 3\r\n' 'before the end of the header'
respond 1 '' 'before the end of the header'
respond 1 'HTTP/1.0 503 Busy\r\n\r\n' 'HTTP/1.0 503 Busy$'
respond 1 'hello\n\n' 'not an HTTP response'
respond 1 'HTTP/1.0 2\r\n\r\n' 'not an HTTP response'
respond 1 'HTTP/1.0 200 OK\r\nX: \000\r\n\r\n' 'not an HTTP response'
respond 1 "HTTP/1.0 200 OK\\r\\n$(seq -s ' ' 10000)" 'not an HTTP response'

# A header that comes in pieces: each is sent when the one before has been read.
canned canned
exec 3>"$dir/canned.reply"
canned_port canned
start client "$bin/http_client" -v -o "$dir/body" "http://127.0.0.1:$port/"
client=$pid
n=0
for piece in 'H' 'TTP/1.0 200 OK\r\nContent-Le' 'ngth: 7\r' '\n' '\r' '\n1' '23\r\n\r' '\n'; do
    # shellcheck disable=SC2059 # it has escapes
    printf "$piece" >&3
    n=$((n + 1))
    wait_for 'handle_read() -> ' "$dir/client.err" $n
done
exec 3>&-
ends 0 "$client"
printf '123\r\n\r\n' >"$dir/want"
same "$dir/want" "$dir/body"

# At the same time: the first URL gets its response when the second one has been fetched.
canned canned
exec 3>"$dir/canned.reply"
canned_port canned
start client "$bin/http_client" -v "http://127.0.0.1:$port/" "$site/large"
client=$pid
wait_for "^$site/large: handle_close()" "$dir/client.err"
printf 'HTTP/1.0 200 OK\r\n\r\n' >&3
exec 3>&-
ends 0 "$client"
first=http://127.0.0.1:$port/
port=$served
printf '%s\n' "$first got 19 bytes" "$site/large got $(($(size /large))) bytes" >"$dir/want"
same "$dir/want" "$dir/client.out"

if have_ipv6; then
    serve_files "$dir/www" ::1
    expect 0 "$bin/http_client" -o "$dir/body" "http://[::1]:$port/hello.txt"
    same "$dir/www/hello.txt" "$dir/body"
fi
