#!/bin/sh
# udp_time: the service, asked by its own client and with nc.
. "$(dirname "$0")/common.sh"

expect_usage udp_time
expect 2 "$bin/udp_time" extra
expect 2 "$bin/udp_time" --query 127.0.0.1:9 --port 9
expect 2 "$bin/udp_time" --query 127.0.0.1:9 --host ::1
for port in x -1 65536 '' 1x; do
    expect_failure 2 'bad port' "$bin/udp_time" --port "$port"
done
for where in '' 127.0.0.1 127.0.0.1: 127.0.0.1:0 :123 ::1 '[::1' '[::1]' '[x]:1' 127.0.0.1:65536; do
    expect_failure 2 'not HOST:PORT' "$bin/udp_time" --query "$where"
done

# check_time FILE: a time between before and now
check_time() {
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    grep -qxE '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z' "$1" || fail "$(cat "$1")"
    [ "$(wc -l <"$1")" -eq 1 ] || fail "not one line: $(cat "$1")"
    printf '%s\n' "$before" "$(cat "$1")" "$now" | LC_ALL=C sort -c || fail 'not the time of day'
}

for signal in TERM INT; do
    start service "$bin/udp_time"
    service=$pid
    listening service
    before=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    expect 0 "$bin/udp_time" --query "127.0.0.1:$port"
    check_time "$dir/out"
    [ ! -s "$dir/err" ] || fail "$(cat "$dir/err")"
    echo | timeout 60 nc -u -w 1 127.0.0.1 "$port" >"$dir/out"
    check_time "$dir/out"
    expect_failure 1 'Address already in use' "$bin/udp_time" --port "$port"
    kill -s $signal "$service"
    ends 0 "$service"
    [ "$(cat "$dir/service.out")" = "listening on 127.0.0.1:$port" ] || fail 'it prints more'
    [ ! -s "$dir/service.err" ] || fail "$(cat "$dir/service.err")"
done

if have_ipv6; then
    start service "$bin/udp_time" --host ::1
    service=$pid
    listening service
    [ "$(cat "$dir/service.out")" = "listening on [::1]:$port" ] || fail "$(cat "$dir/service.out")"
    before=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    expect 0 "$bin/udp_time" --query "[::1]:$port"
    check_time "$dir/out"
    kill "$service"
    ends 0 "$service"
fi

expect_failure 1 "$no_host.* not known" "$bin/udp_time" --host "$no_host"
expect_failure 1 "$no_host:1: .* not known" "$bin/udp_time" --query "$no_host:1"

# Nobody is there; then somebody who does not answer.
start service "$bin/udp_time"
listening service
kill "$pid"
ends 0 "$pid"
expect_failure 1 "127.0.0.1:$port: Connection refused" "$bin/udp_time" --query "127.0.0.1:$port"
unused udp
before=$(date +%s)
expect_failure 1 "127.0.0.1:$port: no answer within 5 seconds" "$bin/udp_time" --query "127.0.0.1:$port"
waited=$(($(date +%s) - before))
[ $waited -ge 4 ] || fail "gave up after $waited seconds"
