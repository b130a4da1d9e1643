#!/bin/sh
# embed_evhttp with curl and nc at the same time: the numbers of /stats, what is refused, the line
# protocol, the timer's client, signals. The page in a browser is embed_page.sh.
. "$(dirname "$0")/common.sh"

expect_usage embed_evhttp
expect 2 "$bin/embed_evhttp" extra
for port in x -1 65536 '' 1x; do
    expect_failure 2 'bad port' "$bin/embed_evhttp" --port "$port"
    expect_failure 2 'bad port' "$bin/embed_evhttp" --line-port "$port"
done
for seconds in 0 -1 1x '' nan inf 1000000; do
    expect_failure 2 'bad number of seconds' "$bin/embed_evhttp" --tick "$seconds"
done

# serve OPTION...: sets server, port (of the lines) and site.
serve() {
    start server "$bin/embed_evhttp" "$@"
    server=$pid
    wait_for '^listening on http:' "$dir/server.out"
    listening server
    site=$(sed -n 's,^listening on \(http://.*\)/$,\1,p' "$dir/server.out")
    [ -n "$site" ] || fail "$(cat "$dir/server.out")"
}

# get STATUS ARGUMENT...: of curl; $dir/header and $dir/body.
get() {
    want=$1
    shift
    got=$(timeout 60 curl -s -D "$dir/header" -o "$dir/body" -w '%{http_code}' "$@") || fail "curl $*"
    [ "$got" = "$want" ] || fail "status $got, not $want: curl $*"
}

# has LINE: of the header
has() {
    tr -d '\r' <"$dir/header" | grep -qFx -e "$1" || fail "no '$1': $(cat "$dir/header")"
}

# figure NAME FILE: what the JSON in FILE has; fails when it is none.
figure() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[2]))[sys.argv[1]])' "$@" ||
        fail "no $1: $(cat "$2")"
}

# stats NAME: a new one of /stats.
stats() {
    get 200 "$site/stats"
    cp "$dir/body" "$dir/stats.json"
    figure "$1" "$dir/stats.json"
}

# grows NAME BY FILE: since FILE, in $dir/stats.json
grows() {
    by=$(($(figure "$1" "$dir/stats.json") - $(figure "$1" "$3")))
    [ "$by" -eq "$2" ] || fail "$1 has grown by $by, not $2: $(cat "$3" "$dir/stats.json")"
}

at_least() {
    [ "$(stats "$1")" -ge "$2" ]
}

exactly() {
    [ "$(stats "$1")" -eq "$2" ]
}

descriptors() {
    [ "$(find "/proc/$server/fd" -type l | wc -l)" -eq "$1" ]
}

# --- what is counted -----------------------------------------------------------------------------

serve --tick 86400
[ "$(cat "$dir/server.out")" = "listening on 127.0.0.1:$port
listening on $site/" ] || fail "$(cat "$dir/server.out")"
before=$(find "/proc/$server/fd" -type l | wc -l)

get 200 "$site/stats"
has 'Content-Type: application/json'
has 'Cache-Control: no-store'
python3 -m json.tool "$dir/body" >/dev/null || fail "no JSON: $(cat "$dir/body")"
cp "$dir/body" "$dir/first.json"
[ "$(figure channels "$dir/first.json")" -eq 1 ] || fail "$(cat "$dir/first.json")"
[ "$(figure http_requests "$dir/first.json")" -eq 1 ] || fail "$(cat "$dir/first.json")"
for name in queued ticks answers bytes_in bytes_out; do
    [ "$(figure $name "$dir/first.json")" -eq 0 ] || fail "$name: $(cat "$dir/first.json")"
done
stats uptime >"$dir/uptime"
python3 -c 'import sys; sys.exit(not 0 <= float(sys.argv[1]) < float(sys.argv[2]) < 1000)' \
    "$(figure uptime "$dir/first.json")" "$(cat "$dir/uptime")" || fail "uptime: $(cat "$dir/uptime")"
grows http_requests 1 "$dir/first.json"

mkfifo "$dir/nc"
start nc sh -c "exec nc -N 127.0.0.1 $port <'$dir/nc'"
nc=$pid
exec 3>"$dir/nc"
wait_until exactly channels 2
cp "$dir/stats.json" "$dir/second.json"
echo 'echo hello there' >&3
wait_for '^hello there$' "$dir/nc.out"
[ "$(stats channels)" -eq 2 ] || fail "$(cat "$dir/stats.json")"
grows http_requests 1 "$dir/second.json"
grows bytes_in 17 "$dir/second.json"
grows bytes_out 12 "$dir/second.json"
for name in passes events predicate_calls; do
    by=$(($(figure $name "$dir/stats.json") - $(figure $name "$dir/second.json")))
    [ $by -ge 1 ] && [ $by -le 10 ] || fail "$name has grown by $by"
done
grows ticks 0 "$dir/second.json"

# --- the page, and what is refused ---------------------------------------------------------------

get 200 "$site/"
has 'Content-Type: text/html; charset=utf-8'
has "Content-Length: $(($(wc -c <"$dir/body")))"
cp "$dir/body" "$dir/page"
grep -q "id='channels'>2<" "$dir/page" || fail "$(cat "$dir/page")"
grep -q "id='bytes_in'>17<" "$dir/page" || fail "$(cat "$dir/page")"
if grep -E '(src|href)=' "$dir/page" | grep -v "href='data:,'"; then
    fail 'the page needs something else'
fi
get 200 "$site/?x=1"
get 200 "$site/%73tats"

# Nothing but the header comes for HEAD, or the next answer on that connection would be a wrong one.
for path in / /stats /none; do
    timeout 60 curl -sv -I -o "$dir/header" "$site$path" --next -s -o "$dir/body" "$site/stats" \
        2>"$dir/verbose" || fail "curl -I $path"
    grep -qE '^Content-Length: [1-9]' "$dir/header" || fail "HEAD $path: $(cat "$dir/header")"
    python3 -m json.tool "$dir/body" >/dev/null || fail "behind HEAD $path: $(cat "$dir/body")"
    grep -q 'Re-using existing connection' "$dir/verbose" || fail "$(cat "$dir/verbose")"
done

for path in /none /stats/ /index.html '/..'; do
    get 404 --path-as-is "$site$path"
    get 404 -X POST -d x "$site/none"
done
for method in POST PUT DELETE OPTIONS TRACE PATCH; do
    for path in / /stats; do
        get 405 -X $method "$site$path"
        has 'Allow: GET, HEAD'
    done
done
head -c 60000 /dev/zero >"$dir/zeros"
get 405 -T "$dir/zeros" "$site/stats"
get 501 -X BREW "$site/"

# Requests that are too large are not read to their end, so the answer may be lost with it.
head -c 70000 /dev/zero >"$dir/zeros"
for large in "-H Expect: -T $dir/zeros" "-H X-Long:$(printf '%020000d' 0)"; do
    # shellcheck disable=SC2086 # several words
    got=$(timeout 60 curl -s -o "$dir/body" -w '%{http_code}' $large "$site/") || :
    case $got in
    400 | 413 | 000) ;;
    *) fail "status $got for what is too large" ;;
    esac
done
stats http_requests >/dev/null

# --- lines ---------------------------------------------------------------------------------------

echo 'stats' >&3
wait_for '^{' "$dir/nc.out"
grep '^{' "$dir/nc.out" >"$dir/line.json"
python3 -m json.tool "$dir/line.json" >/dev/null || fail "$(cat "$dir/line.json")"
[ "$(figure http_requests "$dir/line.json")" -eq "$(figure http_requests "$dir/stats.json")" ] ||
    fail "$(cat "$dir/line.json" "$dir/stats.json")"
printf 'echo \r\necho  two blanks\r\nstats now\nECHO x\n\n' >&3
wait_for '^error: commands are echo TEXT, stats, quit$' "$dir/nc.out" 3
grep -qx ' two blanks' "$dir/nc.out" || fail "$(cat "$dir/nc.out")"
printf 'echo %01019d\necho %01020d\n' 7 8 >&3
wait_for '^error: that line is too long$' "$dir/nc.out"
printf '%0100000d\necho short again\n' 9 >&3
wait_for '^short again$' "$dir/nc.out"
wait_for '^error: that line is too long$' "$dir/nc.out" 2
[ "$(grep -cx '0*7' "$dir/nc.out")" -eq 1 ] || fail 'a line of 1024 bytes is too long'
grep -qE '^0+[89]' "$dir/nc.out" && fail 'a part of a long line is answered'
printf 'quit\necho no\n' >&3
wait_for '^bye$' "$dir/nc.out"
exec 3>&-
ends 0 "$nc"
[ "$(tail -n 1 "$dir/nc.out")" = bye ] || fail 'it goes on behind quit'

seq 200000 >"$dir/want"
sed 's/^/echo /' "$dir/want" | timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
same "$dir/want" "$dir/out"
printf 'echo the last\nquit' | timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
[ "$(cat "$dir/out")" = 'the last' ] || fail "$(cat "$dir/out")"
wait_until exactly channels 1

# stall LINE: a client that sends it for ever, and reads nothing, until $dir/stalled.go is opened.
stall() {
    rm -f "$dir/stalled.go"
    mkfifo "$dir/stalled.go"
    start stalled python3 -c '
import select, socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.setblocking(False)
lines = (sys.argv[3] + "\n").encode() * 64
sent = 0
while select.select([], [s], [], 0.2)[1]:
    sent += s.send(lines)
    if sent > 40000000:
        sys.exit("the server takes everything from who does not read")
print("stalled", flush=True)
open(sys.argv[2])' "$port" "$dir/stalled.go" "$1"
    stalled=$pid
    wait_for '^stalled$' "$dir/stalled.out"
}

# go_on BYTES: it may, and not more than that were queued for it meanwhile.
go_on() {
    queued=$(stats queued)
    [ "$queued" -ge 65536 ] || fail "$queued bytes are queued"
    [ "$queued" -le "$1" ] || fail "$queued bytes are queued"
    printf 'echo served\nquit\n' | timeout 60 nc -N 127.0.0.1 "$port" >"$dir/out"
    [ "$(head -n 1 "$dir/out")" = served ] || fail "$(cat "$dir/out")"
    : >"$dir/stalled.go"
    ends 0 "$stalled"
    wait_until exactly queued 0
    wait_until descriptors "$before"
}

# What a client does not read is queued, and that is bounded.
stall "echo $(printf '%01000d' 0)"
go_on 1000000

# All of it counts: an answer to stats has more than 100 bytes.
stats bytes_in >/dev/null
cp "$dir/stats.json" "$dir/first.json"
stall stats
wait_until at_least queued 65536
lines=$((($(figure bytes_in "$dir/stats.json") - $(figure bytes_in "$dir/first.json")) / 6))
answered=$(($(figure bytes_out "$dir/stats.json") - $(figure bytes_out "$dir/first.json")))
answered=$(((answered + $(figure queued "$dir/stats.json")) / 100))
[ "$answered" -ge "$lines" ] || fail "$lines lines, $answered answers: $(cat "$dir/stats.json")"
go_on 4000000

# --- ports that are taken, and the end -----------------------------------------------------------

expect_failure 1 "127.0.0.1 port $port: Address already in use" \
    "$bin/embed_evhttp" --line-port "$port"
expect_failure 1 "127.0.0.1 port ${site##*:}: Address already in use" \
    "$bin/embed_evhttp" --port "${site##*:}"
expect_failure 1 "$no_host.* not known" "$bin/embed_evhttp" --host "$no_host"

# With connections there, one of them in the middle of a request.
start one sh -c "exec nc 127.0.0.1 $port </dev/null"
one=$pid
mkfifo "$dir/half"
start half sh -c "exec nc 127.0.0.1 ${site##*:} <'$dir/half'"
half=$pid
exec 4>"$dir/half"
printf 'GET /stats HTTP/1.1\r\nHost: x\r\n\r\nGET /st' >&4
wait_for 'http_requests' "$dir/half.out"
kill -s TERM "$server"
ends 0 "$server"
ends '' "$one"
exec 4>&-
ends '' "$half"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"

# --- everything at once --------------------------------------------------------------------------

serve --tick 0.01
wait_until at_least answers 3
get 200 "$site/stats"
cp "$dir/body" "$dir/first.json"
seq 50000 >"$dir/want"
clients=
for i in 1 2 3 4; do
    start "curl$i" sh -c "for j in 1 2 3 4 5 6 7 8 9 10; do
        curl -sf '$site/stats' | python3 -m json.tool >/dev/null || exit 1
        curl -sf '$site/' | grep -q '</html>' || exit 1
    done"
    clients="$clients $pid"
    start "nc$i" sh -c "sed 's/^/echo $i /' '$dir/want' | timeout 60 nc -N 127.0.0.1 $port"
    clients="$clients $pid"
done
for client in $clients; do
    ends 0 "$client"
done
for i in 1 2 3 4; do
    sed "s/^/$i /" "$dir/want" >"$dir/want$i"
    same "$dir/want$i" "$dir/nc$i.out"
    [ ! -s "$dir/curl$i.err" ] || fail "$(cat "$dir/curl$i.err")"
done
wait_until at_least answers $(($(figure answers "$dir/first.json") + 10))
[ "$(figure ticks "$dir/stats.json")" -ge "$(figure answers "$dir/stats.json")" ] ||
    fail "more answers than ticks: $(cat "$dir/stats.json")"
[ $(($(figure http_requests "$dir/stats.json") - $(figure http_requests "$dir/first.json"))) -ge 81 ] ||
    fail "$(cat "$dir/stats.json")"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"
kill -s INT "$server"
ends 0 "$server"

if have_ipv6; then
    serve --host ::1 --tick 0.01
    [ "$(head -n 1 "$dir/server.out")" = "listening on [::1]:$port" ] || fail "$(cat "$dir/server.out")"
    wait_until at_least answers 3
fi
