#!/bin/sh
# sh check.sh [--attached] NAME.scn... -- REPLAY...: the traces of the scenarios have to be those of
# NAME.trace. --attached: up to where replay says EXCEPTED, which it has to in those scenarios that
# attached_exceptions lists, and in no others.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 1' HUP INT TERM

attached=false
if [ "$1" = --attached ]; then
    attached=true
    shift
fi

# The files go behind the command.
while [ "$1" != -- ]; do
    cat "${1%.scn}.trace" >>"$out/golden"
    name=${1##*/}
    echo "${name%.scn}" >>"$out/names"
    set -- "$@" "$1"
    shift
done
shift

# Takes the exceptions out of the trace, and what they leave out of the golden one.
except()
{
    awk -v "names=$out/excepted" '
        FNR == 1 { files++ }
        /^scenario / { name = $2; line = 0 }
        { line++ }
        files == 1 && /^EXCEPTED / { end[name] = line; print name >names }
        files == 2 && (!(name in end) || line < end[name])' "$out/trace" "$out/golden" >"$out/cut"
    mv "$out/cut" "$out/golden"
    sed '/^EXCEPTED /d' "$out/trace" >"$out/cut"
    mv "$out/cut" "$out/trace"
}

status=0
touch "$out/excepted" "$out/expected"
TMPDIR=$out "$@" >"$out/trace" 2>"$out/errors" || status=$?
if $attached; then
    except
    grep -Fx -f "$out/names" "$here/attached_exceptions" >"$out/expected" || true
    sort -o "$out/excepted" "$out/excepted"
fi
if ! diff -u "$out/golden" "$out/trace" || ! diff -u "$out/expected" "$out/excepted" ||
    [ "$status" -ne 0 ] || [ -s "$out/errors" ]; then
    cat "$out/errors"
    echo "FAILED, status $status: $*"
    exit 1
fi
echo "compared $(wc -l <"$out/names"), excepted $(wc -l <"$out/excepted")"
