#!/bin/sh
# Installs what is missing, builds the example programs in build/ (or $BUILD) and shows them at work:
# echo_pair on lorem.txt, then echo_server with a client.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/cmake/setup.sh"

setup_packages netcat-openbsd
if [ -e "$build/CMakeCache.txt" ]; then
    setup_configure -DASYNCORE_BUILD_DEMOS=ON
else
    setup_configure -DASYNCORE_BUILD_DEMOS=ON -DASYNCORE_BUILD_TESTING=OFF
fi
setup_build demos

scratch=$(mktemp -d)
server=
# shellcheck disable=SC2317 # reached by the trap
finish()
{
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

printf '\n$ echo_pair demo/lorem.txt     (server, handler and client in one loop)\n'
"$build/demo/echo_pair" "$top/demo/lorem.txt"

printf '\n$ echo_server                  (on a free port)\n'
mkfifo "$scratch/out"
"$build/demo/echo_server" >"$scratch/out" &
server=$!
exec 3<"$scratch/out"
read -r line <&3
echo "$line"
port=${line##*:}

printf '$ echo "hello, asyncore" | nc 127.0.0.1 %s\n' "$port"
reply=$(echo 'hello, asyncore' | nc -N -w 10 127.0.0.1 "$port")
read -r line <&3
echo "$line                (the server)"
echo "$reply                (the client)"
[ "$reply" = 'hello, asyncore' ]

printf '$ kill -TERM the server\n'
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
echo "echo_server ended with status $status"
exit "$status"
