#!/bin/sh
# http_server with curl, nc and wrk, and, where those are too well-behaved, http_server.py.
. "$(dirname "$0")/common.sh"

command -v wrk >/dev/null || fail 'wrk is missing'
expect_usage http_server
expect 2 "$bin/http_server" extra
for port in x 65536; do
    expect_failure 2 'bad port' "$bin/http_server" --port "$port"
done
for seconds in 0 -1 1x '' 1000000; do
    expect_failure 2 'bad number of seconds' "$bin/http_server" --idle "$seconds"
done
expect_failure 1 "$dir/none: No such file" "$bin/http_server" --root "$dir/none"
expect_failure 1 "$dir/out: Not a directory" "$bin/http_server" --root "$dir/out"

# --- what is served ------------------------------------------------------------------------------

www=$dir/www
mkdir -p "$www/sub/deep" "$www/indexed" "$www/empty dir" "$www/odd/index.html" "$dir/outside"
echo 'hello, world' >"$www/hello.txt"
echo '<p>the index' >"$www/indexed/index.html"
echo 'in the depth' >"$www/sub/deep/file"
: >"$www/empty"
head -c 1024 /dev/urandom >"$www/1k.bin"
head -c 1048576 /dev/urandom >"$www/1m.bin"
head -c 50000000 /dev/zero >"$www/shrinking"
{
    head -c 100000000 /dev/zero
    cat "$www/1m.bin"
    head -c 100000000 /dev/zero
    cat "$www/1k.bin"
} >"$www/large"
size=$(($(wc -c <"$www/large")))
for odd in "a&b <c> \"d' %41.txt" 'x:y' 'ü' '#?' 'sub dir.html'; do
    echo "$odd" >"$www/odd/$odd"
done
for ending in html css js json png svg txt none HTML tar.gz; do
    : >"$www/sub/x.$ending"
done
mkfifo "$www/fifo"
echo secret >"$dir/secret"
echo secret >"$dir/outside/secret"
ln -s ../secret "$www/link"
ln -s "$dir/secret" "$www/absolute"
ln -s ../outside "$www/linked"
ln -s ../../secret "$www/sub/link"
ln -s link "$www/twice"
ln -s loop "$www/loop"
ln -s sub/deep/file "$www/inside"
touch -d '1994-11-06 08:49:37 UTC' "$www/hello.txt"

# serve [OPTION...]: sets server, port and site.
serve() {
    start server "$bin/http_server" --root "$www" "$@"
    server=$pid
    listening server
    site=http://127.0.0.1:$port
}

# get STATUS CURL-ARGUMENT...: its answer is in $dir/body and $dir/header.
get() {
    want=$1
    shift
    got=$(timeout 60 curl -s -o "$dir/body" -D "$dir/header" -w '%{http_code}' "$@") ||
        fail "curl $*: status $?"
    [ "$got" = "$want" ] || fail "curl $*: $got, not $want"
}

# has LINE: among those of the header.
has() {
    tr -d '\r' <"$dir/header" | grep -qxF -e "$1" || fail "no $1: $(cat "$dir/header")"
}

# Memory is looked at: a sanitizer is to give back what is freed.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=1"
serve
descriptors() {
    [ "$(find "/proc/$server/fd" -type l | wc -l)" -le "$1" ]
}
before=$(find "/proc/$server/fd" -type l | wc -l)

# --- files ---------------------------------------------------------------------------------------

get 200 "$site/hello.txt"
same "$www/hello.txt" "$dir/body"
has 'Content-Type: text/plain'
has 'Content-Length: 13'
has 'Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT'
has 'Accept-Ranges: bytes'
grep -q '^Date: [A-Z][a-z][a-z], [0-9][0-9] [A-Z][a-z][a-z] 20[0-9][0-9] ..:..:.. GMT' "$dir/header" ||
    fail "no Date: $(cat "$dir/header")"
for path in large empty 1k.bin 1m.bin sub/deep/file inside; do
    get 200 "$site/$path"
    same "$www/$path" "$dir/body"
    has "Content-Length: $(($(wc -c <"$www/$path")))"
done
get 200 "$site/%68ello.txt?query=/.."
same "$www/hello.txt" "$dir/body"
get 200 --path-as-is "$site//sub/.//deep/file"
same "$www/sub/deep/file" "$dir/body"

while read -r file type; do
    get 200 "$site/sub/x.$file"
    has "Content-Type: $type"
done <<'END'
html text/html
HTML text/html
css text/css
js text/javascript
json application/json
png image/png
svg image/svg+xml
txt text/plain
none application/octet-stream
tar.gz application/gzip
END

get 404 "$site/none"
get 404 "$site/hello.txt/"
get 404 "$site/sub/none/file"
get 404 "$site/$(printf '%05000d' 0)"
get 403 "$site/fifo"
get 403 "$site/loop"
get 403 "$site/odd/"
get 400 "$site/%zz"

# HEAD: the header of GET, without a body.
get 200 "$site/1m.bin"
tr -d '\r' <"$dir/header" | grep -v '^Date: ' >"$dir/want"
expect 0 curl -sI "$site/1m.bin" -r 0-9
tr -d '\r' <"$dir/out" | grep -v '^Date: ' >"$dir/have"
same "$dir/want" "$dir/have"
expect 0 curl -sI "$site/none"
grep -q '^HTTP/1.1 404 ' "$dir/out" || fail "$(cat "$dir/out")"

# --- parts ---------------------------------------------------------------------------------------

# part RANGE FIRST LENGTH
part() {
    get 206 -r "$1" "$site/large"
    tail -c "+$(($2 + 1))" "$www/large" | head -c "$3" >"$dir/want"
    same "$dir/want" "$dir/body"
    has "Content-Range: bytes $2-$(($2 + $3 - 1))/$size"
}

part 0-0 0 1
part 99999990-100000009 99999990 20
part 99000000-101048575 99000000 2048576
part 200000000- 200000000 $((size - 200000000))
part -1500 $((size - 1500)) 1500
part "$((size - 1))-" $((size - 1)) 1
part "200000000-99999999999999999999999" 200000000 $((size - 200000000))
get 206 -r -99999999999999999999999 "$site/1m.bin"
same "$www/1m.bin" "$dir/body"
has 'Content-Range: bytes 0-1048575/1048576'
for range in "$size-" 99999999999999999999999- -0; do
    get 416 -r "$range" "$site/large"
    has "Content-Range: bytes */$size"
done
get 416 -r 0- "$site/empty"
for range in 0-1,3-4 4-3 x 1 1x-2 - 1-2x; do # several, or none
    get 200 -H "Range: bytes=$range" "$site/hello.txt"
    same "$www/hello.txt" "$dir/body"
done
get 200 -H 'Range: lines=1-2' "$site/hello.txt"
get 206 -r 0-4 -H 'If-Range: Sun, 06 Nov 1994 08:49:37 GMT' "$site/hello.txt"
get 200 -r 0-4 -H 'If-Range: Sun, 06 Nov 1994 08:49:38 GMT' "$site/hello.txt"
get 200 -r 0-4 -H 'If-Range: "etag"' "$site/hello.txt"

head -c 100500000 "$www/large" >"$dir/resumed"
timeout 60 curl -s -C - -o "$dir/resumed" "$site/large" || fail 'curl -C -'
same "$www/large" "$dir/resumed"

# --- not again -----------------------------------------------------------------------------------

for since in 'Sun, 06 Nov 1994 08:49:37 GMT' 'Sunday, 06-Nov-94 08:49:37 GMT' \
    'Sun Nov  6 08:49:37 1994' 'Mon, 07 Nov 1994 00:00:00 GMT'; do
    get 304 -H "If-Modified-Since: $since" "$site/hello.txt"
    has 'Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT'
done
for since in 'Sun, 06 Nov 1994 08:49:36 GMT' yesterday ''; do
    get 200 -H "If-Modified-Since: $since" "$site/hello.txt"
    same "$www/hello.txt" "$dir/body"
done
get 200 -H 'If-None-Match: "x"' -H 'If-Modified-Since: Mon, 07 Nov 1994 00:00:00 GMT' "$site/hello.txt"
get 304 -z "$www/1k.bin" "$site/1k.bin"

# --- directories ---------------------------------------------------------------------------------

get 301 "$site/sub?a=/b"
has 'Location: /sub/?a=/b'
get 301 --path-as-is "$site//empty%20dir" # not //empty..., another host
has 'Location: /empty%20dir/'
get 200 -L "$site/indexed"
same "$www/indexed/index.html" "$dir/body"
has 'Content-Type: text/html'
get 200 "$site/empty%20dir/"
has 'Content-Type: text/html; charset=utf-8'
grep -q '<title>/empty dir/</title>' "$dir/body" || fail "$(cat "$dir/body")"
get 200 "$site/"
[ "$(grep -c '<a href="sub/">sub/</a>' "$dir/body")" -eq 1 ] || fail "$(cat "$dir/body")"

rmdir "$www/odd/index.html"
get 200 "$site/odd/"
grep -qF '>a&amp;b &lt;c&gt; &quot;d&#39; %41.txt<' "$dir/body" || fail "$(cat "$dir/body")"
sed -n 's/.*<a href="\([^"]*\)">.*/\1/p' "$dir/body" >"$dir/names"
[ "$(($(wc -l <"$dir/names")))" -eq 5 ] || fail "$(cat "$dir/body")"
while read -r name; do
    get 200 "$site/odd/$name"
    cat "$dir/body"
done <"$dir/names" >"$dir/have"
find "$www/odd" -type f -exec cat {} + | LC_ALL=C sort >"$dir/want"
LC_ALL=C sort "$dir/have" >"$dir/sorted"
same "$dir/want" "$dir/sorted"

# --- connections and methods ---------------------------------------------------------------------

timeout 60 curl -sv -o "$dir/body" "$site/hello.txt" -o "$dir/body" "$site/none" \
    -o "$dir/body" "$site/sub/" -o "$dir/body" "$site/large" 2>"$dir/verbose" || fail 'curl, four files'
[ "$(grep -c 'Re-using existing connection' "$dir/verbose")" -eq 3 ] || fail "$(cat "$dir/verbose")"
same "$www/large" "$dir/body"

# A body is read and dropped, so the connection is good for more.
for body in "-d @$www/1m.bin" "-T $www/1m.bin" "-X DELETE" \
    "-T $www/1m.bin -H Transfer-Encoding:chunked"; do
    # shellcheck disable=SC2086 # several words
    timeout 60 curl -sv -D "$dir/header" -H Expect: $body -o "$dir/body" "$site/sub/" \
        --next -s -o "$dir/body" "$site/hello.txt" 2>"$dir/verbose" || fail "curl $body"
    grep -q '^HTTP/1.1 405 ' "$dir/header" || fail "$body: $(cat "$dir/header")"
    has 'Allow: GET, HEAD'
    grep -q 'Re-using existing connection' "$dir/verbose" || fail "$body: $(cat "$dir/verbose")"
    same "$www/hello.txt" "$dir/body"
done
get 405 -T "$www/large" -H 'Expect: 100-continue' "$site/sub/"
get 417 -H 'Expect: something' "$site/hello.txt"
get 501 -X BREW "$site/hello.txt"
get 431 -H "X-Long: $(printf '%020000d' 0)" "$site/hello.txt"
get 200 -H "X-Long: $(printf '%015000d' 0)" "$site/hello.txt"

get 200 -0 "$site/large"
has 'Connection: close'
same "$www/large" "$dir/body"
get 200 -0 -H 'Connection: keep-alive' "$site/hello.txt"
has 'Connection: keep-alive'
printf 'GET /hello.txt HTTP/1.0\r\n\r\n' | timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
tail -n 1 "$dir/out" >"$dir/have"
same "$www/hello.txt" "$dir/have"
printf 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' hello.txt none hello.txt none >"$dir/requests"
timeout 60 nc -N 127.0.0.1 "$port" <"$dir/requests" >"$dir/out"
tr -d '\r' <"$dir/out" | sed -n 's/^HTTP.1.1 \([0-9]*\) .*/\1/p' | tr '\n' ' ' >"$dir/have"
[ "$(cat "$dir/have")" = '200 404 200 404 ' ] || fail "pipelined: $(cat "$dir/out")"

python() {
    timeout 60 python3 "$here/http_server.py" "$1" "$port" "$server" "$www" || fail "http_server.py $1"
}
for part in escapes refusals bodies pipeline bytes deaf; do
    python "$part"
done

# --- many ----------------------------------------------------------------------------------------

for file in 1k.bin 1m.bin; do
    timeout 60 wrk -t 1 -c 20 -d 1s "$site/$file" >"$dir/wrk" || fail "wrk: $(cat "$dir/wrk")"
    ! grep -e 'Non-2xx' -e 'Socket errors' "$dir/wrk" || fail "wrk: $(cat "$dir/wrk")"
    [ "$(awk '$2 == "requests" && $3 == "in" {print $1}' "$dir/wrk")" -ge 20 ] ||
        fail "wrk: $(cat "$dir/wrk")"
done

wait_until descriptors "$before"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/http_server" --port "$port"
kill -s TERM "$server"
ends 0 "$server"

# --- other servers -------------------------------------------------------------------------------

serve --idle 1
python idle
get 200 --limit-rate 100M "$site/large" # longer than that, but it moves
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
kill -s INT "$server"
ends 0 "$server"

serve -v
get 200 "$site/hello.txt?x"
get 403 "$site/fifo"
wait_for "^('127\.0\.0\.1', [0-9]*): GET /hello.txt?x -> 200\$" "$dir/server.err"
wait_for "^('127\.0\.0\.1', [0-9]*): GET /fifo -> 403\$" "$dir/server.err"
python shrinking
wait_for '^http_server: a client.s connection: Input/output error$' "$dir/server.err"
get 200 "$site/hello.txt"
kill -s TERM "$server"
ends 0 "$server"

# Where the kernel does not know how to stay in a directory, no link is followed.
start server python3 "$here/http_server.py" without_openat2 "$bin/http_server" --root "$www"
server=$pid
listening server
site=http://127.0.0.1:$port
for path in hello.txt 1m.bin sub/deep/file sub//deep/file; do
    get 200 --path-as-is "$site/$path"
    same "$www/$path" "$dir/body"
done
get 200 -L "$site/indexed"
get 200 "$site/"
get 301 "$site/sub"
get 404 "$site/none/"
get 404 "$site/hello.txt/"
get 404 "$site/hello.txt/x"
get 403 "$site/inside"
get 404 "$site/$(printf '%0500d' 0)/x"
python escapes
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
kill -s TERM "$server"
ends 0 "$server"

if have_ipv6; then
    start server "$bin/http_server" --root "$www" --host ::1
    listening server
    get 200 "http://[::1]:$port/hello.txt"
    same "$www/hello.txt" "$dir/body"
fi
