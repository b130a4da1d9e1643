#!/bin/sh
# shellcheck disable=SC2034 # variables that the tests use
# Sourced by the tests of the demo programs, which are run as: sh NAME.sh DIRECTORY-OF-THE-PROGRAMS
set -eu

bin=$(cd "${1:?usage: $0 DIRECTORY}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
lorem=$here/../../demo/lorem.txt
no_host=$(printf '%064d' 0 | tr 0 x) # too long for a name: nobody outside is asked
dir=$(mktemp -d)
pids=

clean_up() {
    for p in $pids; do
        kill -s KILL "$p" 2>/dev/null || :
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

# expect STATUS COMMAND...: runs it, with its output in $dir/out and $dir/err.
expect() {
    want=$1
    shift
    got=0
    timeout 60 "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" -eq "$want" ] || fail "status $got, not $want: $* ($(head -c 1000 "$dir/err"))"
}

# expect_failure STATUS PATTERN COMMAND...: the same, with one line on stderr that matches PATTERN.
expect_failure() {
    pattern=$2
    shift_status=$1
    shift 2
    expect "$shift_status" "$@"
    [ "$(wc -l <"$dir/err")" -eq 1 ] || fail "not one line: $* ($(head -c 1000 "$dir/err"))"
    grep -q -e "$pattern" "$dir/err" || fail "no '$pattern': $* ($(cat "$dir/err"))"
}

# expect_usage NAME: what holds for every program.
expect_usage() {
    expect 0 "$bin/$1" --help
    grep -q "^usage: $1 " "$dir/out" || fail "$1 --help"
    [ ! -s "$dir/err" ] || fail "$1 --help: $(cat "$dir/err")"
    expect 2 "$bin/$1" --no-such-option
    grep -q "^usage: $1 " "$dir/err" || fail "$1 --no-such-option"
    [ ! -s "$dir/out" ] || fail "$1 --no-such-option: $(cat "$dir/out")"
}

# same FILE FILE
same() {
    cmp "$1" "$2" >&2 || fail "$1 and $2 differ"
}

# start NAME COMMAND...: in the background, with $dir/NAME.out and $dir/NAME.err; sets pid. Leaves
# the descriptors 3 to 6, which tests use for FIFOs, to the test alone.
start() {
    name=$1
    shift
    : >"$dir/$name.out"
    "$@" 3>&- 4>&- 5>&- 6>&- >"$dir/$name.out" 2>"$dir/$name.err" &
    pid=$!
    pids="$pids $pid"
}

# wait_until COMMAND...
wait_until() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -le 3000 ] || fail "waited in vain: $*"
        sleep 0.01
    done
}

# wait_for PATTERN FILE [COUNT]: until COUNT lines match
wait_for() {
    wait_until count_lines "$1" "$2" "${3:-1}"
}

count_lines() {
    [ "$(grep -c -e "$1" "$2")" -ge "$3" ]
}

# ends STATUS PID: waits for its end. An empty STATUS: any.
ends() {
    got=0
    wait "$2" || got=$?
    left=
    for p in $pids; do
        [ "$p" = "$2" ] || left="$left $p"
    done
    pids=$left
    [ "$got" -eq "${1:-$got}" ] || fail "process $2 ended with status $got, not $1"
}

# listening NAME: waits for what start has started; sets port.
listening() {
    wait_for '^listening on ' "$dir/$1.out"
    port=$(sed -n 's/^listening on .*:\([0-9][0-9]*\)$/\1/p' "$dir/$1.out")
    [ -n "$port" ] || fail "$1: $(cat "$dir/$1.out")"
}

have_ipv6() {
    grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null
}

# unused udp|tcp: sets port to one that nobody answers on, and that nobody else gets.
unused() {
    [ "$1" = tcp ] && type=SOCK_STREAM || type=SOCK_DGRAM
    start unused python3 -c "
import signal, socket
s = socket.socket(socket.AF_INET, socket.$type)
s.bind(('127.0.0.1', 0))
print('port', s.getsockname()[1], flush=True)
signal.pause()"
    wait_for '^port ' "$dir/unused.out"
    port=$(sed 's/^port //' "$dir/unused.out")
}

# serve_files DIRECTORY [HOST]: Python's stock HTTP server; sets port.
serve_files() {
    start http python3 -u -m http.server --bind "${2:-127.0.0.1}" --directory "$1" 0
    wait_for '^Serving HTTP ' "$dir/http.out"
    port=$(sed -n 's/^Serving HTTP .* port \([0-9]*\) .*/\1/p' "$dir/http.out")
}

# canned NAME: accepts one connection; sets port and canned. What is written to $dir/NAME.reply (open
# it as 3 to 6) is sent; closing it ends the response. What comes is in $dir/NAME.out.
canned() {
    rm -f "$dir/$1.reply"
    mkfifo "$dir/$1.reply"
    start "$1" sh -c "exec nc -N -v -l 127.0.0.1 0 <'$dir/$1.reply'"
    canned=$pid
}

# canned_port NAME: when the FIFO is open.
canned_port() {
    wait_for '^Listening on ' "$dir/$1.err"
    port=$(sed -n 's/^Listening on [^ ]* \([0-9]*\)$/\1/p' "$dir/$1.err")
}
