#!/bin/sh
# proxy with 1 GB each way at once, and with eight connections, to readers that are slower than the
# writers: everything arrives as it was, and the memory stays flat.
. "$(dirname "$0")/common.sh"

# through BYTES CONNECTIONS: each way of each, through a proxy of their own
through() {
    start target python3 "$here/proxy_load.py" serve "$1" 2048
    target=$pid
    wait_for '^port ' "$dir/target.out"
    start proxy "$bin/proxy" 127.0.0.1 "$(sed 's/^port //' "$dir/target.out")"
    proxy=$pid
    listening proxy
    timeout 200 python3 "$here/proxy_load.py" run "$1" 2048 "$port" "$2" >"$dir/rate" 2>"$dir/err" ||
        fail "$(cat "$dir/err")"
    grep -q '^[1-9]' "$dir/rate" || fail "no rate: $(cat "$dir/rate")"
    peak=$(awk '$1 == "VmHWM:" {print $2}' "/proc/$proxy/status")
    [ "$peak" -gt 0 ] || fail 'no VmHWM'
    [ "$peak" -lt 16384 ] || fail "$peak KiB of memory"
    [ ! -s "$dir/proxy.err" ] || fail "$(cat "$dir/proxy.err")"
    kill -s TERM "$proxy"
    ends 0 "$proxy"
    kill -s TERM "$target"
    ends '' "$target"
    echo "$2 x $1 bytes each way: $(cat "$dir/rate") MB/s, $peak KiB"
}

through 1073741824 1
through 67108864 8
