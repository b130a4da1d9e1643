#!/bin/sh
# proxy with nc: both ways, half-close, targets that refuse, resets, several at once, signals.
. "$(dirname "$0")/common.sh"

expect_usage proxy
expect 2 "$bin/proxy"
expect 2 "$bin/proxy" 127.0.0.1
expect 2 "$bin/proxy" 127.0.0.1 80 extra
expect_failure 2 'bad port: x' "$bin/proxy" 127.0.0.1 x
expect_failure 2 'bad port: x' "$bin/proxy" --port x 127.0.0.1 80

# start_proxy HOST PORT: sets proxy, and proxy_port
start_proxy() {
    start proxy "$bin/proxy" "$@"
    proxy=$pid
    listening proxy
    proxy_port=$port
}

# stop_proxy: which has said nothing
stop_proxy() {
    [ ! -s "$dir/proxy.err" ] || fail "$(cat "$dir/proxy.err")"
    kill -s TERM "$proxy"
    ends 0 "$proxy"
}

descriptors() {
    [ "$(find "/proc/$proxy/fd" -type l | wc -l)" -eq "$1" ]
}

start target "$bin/echo_server"
listening target
start_proxy 127.0.0.1 "$port"
before=$(find "/proc/$proxy/fd" -type l | wc -l)

# Both ways; the end of the input goes through, and what comes after it goes back.
echo 'hello, world' >"$dir/text"
timeout 60 nc -N 127.0.0.1 "$proxy_port" <"$dir/text" >"$dir/out"
same "$dir/text" "$dir/out"
head -c 20000000 /dev/urandom >"$dir/random"
timeout 60 nc -N 127.0.0.1 "$proxy_port" <"$dir/random" >"$dir/out"
same "$dir/random" "$dir/out"
timeout 60 nc -N 127.0.0.1 "$proxy_port" </dev/null >"$dir/out"
[ ! -s "$dir/out" ] || fail 'something came from nowhere'
wait_until descriptors "$before"

# Several at once, of which none waits for another.
mkfifo "$dir/first" "$dir/second"
start one sh -c "exec nc -N 127.0.0.1 $proxy_port <'$dir/first'"
one=$pid
start two sh -c "exec nc -N 127.0.0.1 $proxy_port <'$dir/second'"
two=$pid
exec 4>"$dir/first" 5>"$dir/second"
for i in 1 2 3; do
    echo "first $i" >&4
    wait_for "^first $i\$" "$dir/one.out"
    echo "second $i" >&5
    wait_for "^second $i\$" "$dir/two.out"
done
exec 4>&-
ends 0 "$one"
echo 'second still' >&5
wait_for '^second still$' "$dir/two.out"
exec 5>&-
ends 0 "$two"
wait_until descriptors "$before"
stop_proxy

# Half-close from the target's side, before the client has sent anything.
canned half
exec 3>"$dir/half.reply"
canned_port half
start_proxy localhost "$port"
start one sh -c "exec nc -N 127.0.0.1 $proxy_port <'$dir/first'"
one=$pid
exec 4>"$dir/first"
echo 'from the target' >&3
wait_for '^from the target$' "$dir/one.out"
exec 3>&- # it ends; the other direction goes on
echo 'from the client' >&4
wait_for '^from the client$' "$dir/half.out"
echo 'once more' >&4
wait_for '^once more$' "$dir/half.out"
exec 4>&-
ends 0 "$one"
ends 0 "$canned"
wait_until descriptors "$before"
stop_proxy

# What goes wrong on one side closes the other; nobody else is harmed.
mkfifo "$dir/port"
start ends sh -c "exec python3 '$here/proxy_ends.py' <'$dir/port'"
ends=$pid
exec 6>"$dir/port"
wait_for '^port ' "$dir/ends.out"
start_proxy 127.0.0.1 "$(sed 's/^port //' "$dir/ends.out")"
echo "$proxy_port" >&6
ends 0 "$ends"
exec 6>&-
[ ! -s "$dir/ends.err" ] || fail "$(cat "$dir/ends.err")"
wait_until descriptors "$before"
stop_proxy

# A target that refuses: one line, and the client's connection ends.
unused tcp
refuser=$port
start_proxy 127.0.0.1 "$refuser"
for i in 1 2; do
    timeout 60 nc 127.0.0.1 "$proxy_port" </dev/null >"$dir/out" || :
    [ ! -s "$dir/out" ] || fail "from who refuses: $(cat "$dir/out")"
    wait_for "^proxy: 127.0.0.1 port $refuser: Connection refused\$" "$dir/proxy.err" $i
done
[ "$(wc -l <"$dir/proxy.err")" -eq 2 ] || fail "$(cat "$dir/proxy.err")"
wait_until descriptors "$before"
kill -s INT "$proxy"
ends 0 "$proxy"

start proxy "$bin/proxy" "$no_host" 80
listening proxy
timeout 60 nc 127.0.0.1 "$port" </dev/null || :
wait_for "^proxy: $no_host port 80: .*not known" "$dir/proxy.err"
kill -s TERM "$pid"
ends 0 "$pid"
expect_failure 1 "$no_host.* not known" "$bin/proxy" --host "$no_host" 127.0.0.1 80

if have_ipv6; then
    start target "$bin/echo_server" --host ::1
    listening target
    start_proxy --host ::1 ::1 "$port"
    timeout 60 nc -N ::1 "$proxy_port" <"$dir/text" >"$dir/out"
    same "$dir/text" "$dir/out"
    stop_proxy
fi
