#!/bin/sh
# sh check.sh NAME.scn... -- REPLAY...: the traces of the scenarios have to be those of NAME.trace.
set -eu
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 1' HUP INT TERM

# The files go behind the command.
while [ "$1" != -- ]; do
    cat "${1%.scn}.trace" >>"$out/golden"
    set -- "$@" "$1"
    shift
done
shift

status=0
TMPDIR=$out "$@" >"$out/trace" 2>"$out/errors" || status=$?
if ! diff -u "$out/golden" "$out/trace" || [ "$status" -ne 0 ] || [ -s "$out/errors" ]; then
    cat "$out/errors"
    echo "FAILED, status $status: $*"
    exit 1
fi
