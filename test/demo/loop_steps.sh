#!/bin/sh
# loop_steps: the passes of a loop of its own, with and without something to do.
. "$(dirname "$0")/common.sh"

expect_usage loop_steps
expect 2 "$bin/loop_steps"

# check_steps FILE LAST: loop_counter=1, 2, 3, ..., at least LAST
check_steps() {
    grep '^loop_counter=' "$1" >"$dir/have"
    steps=$(($(wc -l <"$dir/have")))
    seq -f 'loop_counter=%.0f' "$steps" >"$dir/want"
    same "$dir/want" "$dir/have"
    [ "$steps" -ge "$2" ] || fail "only $steps steps"
}

mkdir "$dir/www"
seq 100000 >"$dir/www/numbers"
serve_files "$dir/www"
site=http://127.0.0.1:$port
size=$(printf 'GET /numbers HTTP/1.0\r\n\r\n' | nc -N 127.0.0.1 "$port" | wc -c)

# A pass reads at most 8192 bytes of each URL.
expect 0 "$bin/loop_steps" "$site/numbers" "$site/numbers"
check_steps "$dir/out" $((size / 8192 + 2))
grep -v '^loop_counter=' "$dir/out" >"$dir/have"
printf '%s\n' "$site/numbers got $((size)) bytes" "$site/numbers got $((size)) bytes" >"$dir/want"
same "$dir/want" "$dir/have"
[ ! -s "$dir/err" ] || fail "$(cat "$dir/err")"

# One pass is between two counters: the client is asked once, and acts once, in each.
expect 0 sh -c '"$@" 2>&1' - "$bin/loop_steps" -v "$site/numbers"
check_steps "$dir/out" $((size / 8192 + 2))
[ "$(grep -c 'readable() -> True' "$dir/out")" -eq "$steps" ] || fail 'asked more than once a pass'
sed -n '/^loop_counter=1$/,/^loop_counter=2$/p' "$dir/out" | tr -d '\r' >"$dir/have"
cat >"$dir/want" <<END
loop_counter=1
$site/numbers: readable() -> True
$site/numbers: writable() -> True
$site/numbers: handle_connect()
$site/numbers: handle_write() -> "GET /numbers HTTP/1.0
Host: 127.0.0.1:$port

"
loop_counter=2
END
same "$dir/want" "$dir/have"

# With a server that keeps silent each pass ends after a second.
canned canned
exec 3>"$dir/canned.reply"
canned_port canned
start steps "$bin/loop_steps" "http://127.0.0.1:$port/"
steps=$pid
before=$(date +%s)
wait_for '^loop_counter=4$' "$dir/steps.out"
[ $(($(date +%s) - before)) -ge 1 ] || fail 'passes that did not wait'
printf 'HTTP/1.0 200 OK\r\n\r\n' >&3
exec 3>&-
ends 0 "$steps"
check_steps "$dir/steps.out" 4
[ "$(tail -n 1 "$dir/steps.out")" = "http://127.0.0.1:$port/ got 19 bytes" ] ||
    fail "$(cat "$dir/steps.out")"

expect_failure 1 '404' "$bin/loop_steps" "$site/missing"
expect_failure 1 'only http://' "$bin/loop_steps" https://127.0.0.1/
unused tcp
expect_failure 1 'Connection refused' "$bin/loop_steps" "http://127.0.0.1:$port/"
