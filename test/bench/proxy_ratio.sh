#!/bin/sh
# usage: sh proxy_ratio.sh DIRECTORY-OF-PROGRAMS [ROUNDS]
# MB/s through proxy and through socat, each on one core, with the same two programs at the ends on
# another, which send and compare $MEGABYTES (1024) each way at once, in turns, round by round.
set -eu

bin=$(cd "${1:?usage: $0 DIRECTORY [ROUNDS]}" && pwd)
load=$(cd "$(dirname "$0")/../demo" && pwd)/proxy_load.py
rounds=${2:-5}
megabytes=${MEGABYTES:-1024}
case $rounds$megabytes in
*[!0-9]*)
    echo "$0: not a number: $rounds or $megabytes" >&2
    exit 2
    ;;
esac
bytes=$((megabytes * 1048576))

for tool in socat taskset python3 "$bin/proxy"; do
    command -v "$tool" >/dev/null || {
        echo "$0: $tool is missing" >&2
        exit 1
    }
done

dir=$(mktemp -d)
pids=
clean_up() {
    for p in $pids; do
        kill "$p" 2>/dev/null || :
    done
    wait
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# start NAME PATTERN COMMAND...: waits for a line that matches; sets port to the number at its end
start() {
    name=$1 pattern=$2
    shift 2
    : >"$dir/$name"
    "$@" >"$dir/$name" 2>&1 &
    pids="$pids $!"
    tries=0
    until grep -q "$pattern" "$dir/$name"; do
        tries=$((tries + 1))
        [ $tries -le 1000 ] || fail "$name: $(cat "$dir/$name")"
        sleep 0.01
    done
    port=$(sed -n "/$pattern/s/.*[: ]\([0-9][0-9]*\)\$/\1/p" "$dir/$name")
}

start target '^port ' taskset -c 1 python3 "$load" serve "$bytes" 262144
target=127.0.0.1:$port
start proxy '^listening on ' taskset -c 0 "$bin/proxy" 127.0.0.1 "$port"
ours=$port
# socat NAME OPTION...: sets port
socat_with() {
    name=$1
    shift
    start "$name" ' listening on ' taskset -c 0 socat -d -d "$@" \
        TCP-LISTEN:0,bind=127.0.0.1,fork,reuseaddr "TCP:$target"
}
socat_with socat
socat=$port
socat_with socat64 -b 65536 # proxy's size of a read; 8192 is the default
socat64=$port

# through PORT
through() {
    taskset -c 1 python3 "$load" run "$bytes" 262144 "$1" 1 2>"$dir/err" || fail "$(cat "$dir/err")"
}

echo "  proxy  socat  ratio  socat -b 65536  ratio"
round=0
while [ "$round" -lt "$rounds" ]; do
    if [ $((round % 2)) -eq 0 ]; then
        a=$(through "$ours")
        b=$(through "$socat")
        c=$(through "$socat64")
    else
        c=$(through "$socat64")
        b=$(through "$socat")
        a=$(through "$ours")
    fi
    awk -v a="$a" -v b="$b" -v c="$c" \
        'BEGIN {printf "%7s%7s  %.3f%16s  %.3f\n", a, b, a / b, c, a / c}' | tee -a "$dir/rounds"
    round=$((round + 1))
done

# median COLUMN
median() {
    awk -v column="$1" '{print $column}' "$dir/rounds" | sort -n |
        awk '{r[NR] = $1} END {print (r[int((NR + 1) / 2)] + r[int(NR / 2) + 1]) / 2}'
}
awk -v a="$(median 1)" -v b="$(median 2)" -v c="$(median 4)" 'BEGIN {
    printf "medians: proxy %.0f, socat %.0f (ratio %.3f), socat -b 65536 %.0f (ratio %.3f) MB/s\n",
        a, b, a / b, c, a / c}'
