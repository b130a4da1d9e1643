#!/bin/sh
# Makes the golden traces anew, from CPython only: NAME.trace is what our library has to do,
# NAME.pure.trace (of difference_NAME.scn) what CPython does. With --check it only compares them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
goldens=$here/scenarios
case ${1-} in
--check | '') ;;
*)
    echo "usage: $0 [--check]" >&2
    exit 2
    ;;
esac

find_python
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$new/old" "$new/traces"

# traces SUFFIX [OPTION] FILE...: makes NAME.SUFFIX of each NAME.scn.
traces()
{
    suffix=$1
    shift
    TMPDIR=$new "$python" -B "$here/oracle.py" "$@" >"$new/all"
    awk -v "stem=$new/traces/" -v "suffix=.$suffix" '
        /^scenario / { close(file); file = stem substr($0, 10) suffix }
        { print > file }' "$new/all"
}

traces trace "$goldens"/*.scn
traces pure.trace --pure "$goldens"/difference_*.scn

if [ "${1-}" = --check ]; then
    cp "$goldens"/*.trace "$new/old"
    diff -ru "$new/old" "$new/traces"
else
    rm -f "$goldens"/*.trace
    cp "$new"/traces/*.trace "$goldens"
fi
