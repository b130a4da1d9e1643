#!/bin/sh
# usage: sh http_ratio.sh DIRECTORY-OF-PROGRAMS [ROUNDS]
# Requests per second of http_server and of nginx, which serve the same files by one process on one
# core, under the same wrk on another; in turns, round by round, $SECONDS_EACH (5) seconds each.
set -eu

bin=$(cd "${1:?usage: $0 DIRECTORY [ROUNDS]}" && pwd)
rounds=${2:-5}
seconds=${SECONDS_EACH:-5}
case $rounds$seconds in
*[!0-9]*)
    echo "$0: not a number of rounds: $rounds" >&2
    exit 2
    ;;
esac

# Debian's nginx is where a user's PATH need not look.
PATH=$PATH:/usr/sbin:/sbin
for tool in nginx wrk taskset python3 curl "$bin/http_server"; do
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

# wait_until COMMAND...
wait_until() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -le 1000 ] || fail "waited in vain: $*"
        sleep 0.01
    done
}

mkdir "$dir/www" "$dir/nginx"
head -c 1024 /dev/urandom >"$dir/www/1k.bin"
head -c 1048576 /dev/urandom >"$dir/www/1m.bin"

# --- the servers ---------------------------------------------------------------------------------

taskset -c 0 "$bin/http_server" --root "$dir/www" >"$dir/http_server.out" &
pids=$!
wait_until grep -q '^listening on ' "$dir/http_server.out"
ours=$(sed -n 's/^listening on //p' "$dir/http_server.out")

nginx=127.0.0.1:$(python3 -c '
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
user=
[ "$(id -u)" -ne 0 ] || user='user root;' # who can read the files
cat >"$dir/nginx/nginx.conf" <<END
daemon off;
$user
worker_processes 1;
pid $dir/nginx/pid;
error_log $dir/nginx/error.log;
events {
    worker_connections 1024;
}
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path $dir/nginx/body;
    proxy_temp_path $dir/nginx/proxy;
    fastcgi_temp_path $dir/nginx/fastcgi;
    uwsgi_temp_path $dir/nginx/uwsgi;
    scgi_temp_path $dir/nginx/scgi;
    server {
        listen $nginx;
        root $dir/www;
    }
}
END
taskset -c 0 nginx -e "$dir/nginx/error.log" -p "$dir/nginx" -c "$dir/nginx/nginx.conf" &
pids="$pids $!"
wait_until curl -s -o "$dir/answer" "http://$nginx/1k.bin"

for server in "$ours" "$nginx"; do
    for file in 1k.bin 1m.bin; do
        curl -sf "http://$server/$file" | cmp - "$dir/www/$file" || fail "$server sends another $file"
    done
done

# --- the comparison ------------------------------------------------------------------------------

# per_second SERVER FILE
per_second() {
    taskset -c 1 wrk -t 1 -c 50 -d "${seconds}s" "http://$1/$2" >"$dir/wrk" || fail "wrk: $1"
    ! grep -e 'Socket errors' -e 'Non-2xx' "$dir/wrk" >&2 || fail "$1: $2"
    awk '$1 == "Requests/sec:" {print $2}' "$dir/wrk"
}

for file in 1k.bin 1m.bin; do
    : >"$dir/ratios"
    echo "$file  http_server      nginx  ratio"
    round=0
    while [ "$round" -lt "$rounds" ]; do
        if [ $((round % 2)) -eq 0 ]; then
            a=$(per_second "$ours" $file)
            b=$(per_second "$nginx" $file)
        else
            b=$(per_second "$nginx" $file)
            a=$(per_second "$ours" $file)
        fi
        awk -v a="$a" -v b="$b" 'BEGIN {printf "%18s %10s  %.3f\n", a, b, a / b}' |
            tee -a "$dir/ratios"
        round=$((round + 1))
    done
    awk '{print $3}' "$dir/ratios" | sort -n |
        awk -v file=$file '{r[NR] = $1}
            END {printf "%s: median of the ratios %.3f\n", file, (r[int((NR + 1) / 2)] + r[int(NR / 2) + 1]) / 2}'
done
