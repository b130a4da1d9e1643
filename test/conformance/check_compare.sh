#!/bin/sh
# sh check_compare.sh REPLAY: compare.sh finds differences where there are some.
set -eu
replay=$1
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$dir/test/conformance"

# compare STATUS LAST-LINE ARGUMENT...: what it prints is left in $dir/out.
compare()
{
    status=0
    want=$1
    last=$2
    shift 2
    sh "$here/compare.sh" --build "$dir" "$@" >"$dir/out" 2>&1 || status=$?
    if [ "$status" -ne "$want" ] || [ "$(tail -n 1 "$dir/out")" != "$last" ]; then
        cat "$dir/out"
        echo "FAILED, status $status, not $want with '$last': compare.sh $*"
        exit 1
    fi
}

# expect PATTERN: a line of $dir/out matches it.
expect()
{
    grep -q -e "$1" "$dir/out" || { cat "$dir/out"; echo "FAILED: no line '$1'"; exit 1; }
}

fake() # COMMAND: what replay's output goes through
{
    printf '#!/bin/sh\n"%s" | %s\n' "$replay" "$1" >"$dir/test/conformance/replay"
    chmod +x "$dir/test/conformance/replay"
}

# Three scenarios, in one of which a method is called.
cat >"$dir/small.scn" <<'END'
map
scenario second
class c dispatcher handle_read
socketpair a p
adopt x c a
p.close
loop 0 poll 1
scenario third
map
END

# The same, with more than is needed.
cat >"$dir/large.scn" <<'END'
class c dispatcher recv
    handle_read: try recv 7; map; map in 2
class other dispatcher_with_send
    handle_write 2: recv 7
socketpair a p
new n other
adopt x c a in 1
p.send 3
if n.connected p.send 3
loop 0 poll 2 in 1
p.close
try loop 0 poll 2 in 1
x.repr
END

fake cat
compare 0 'compared 4, different 0' "$dir/small.scn" "$dir/large.scn"

# It is made as small as the other.
fake "sed 's/handle_read()/handle_reading()/'"
compare 1 'compared 1, different 1' "$dir/large.scn"
expect '^+  x.handle_reading()'
sed -n '/^class/,/^---/p' "$dir/out" | sed '$d' >"$dir/smallest"
sed -n '/^class/,/^loop/p' "$dir/small.scn" | diff -u - "$dir/smallest"

# Reports, bad ends and leaks count, for one scenario.
fake "awk '{ print } /x.handle_read/ { exit 9 }'"
compare 1 'compared 3, different 1' --keep-going "$dir/small.scn"
expect '^+ENDED with status 9'
fake "awk '{ print } /x.handle_read/ { print \"report\" >\"/dev/stderr\" }'"
compare 1 'compared 3, different 1' --keep-going "$dir/small.scn"
expect '^+report'
fake "awk '{ print } /^end x/ { print \"LEAK 1 descriptors\" }'"
compare 1 'compared 3, different 1' --keep-going "$dir/small.scn"
expect '^+LEAK 1'

# A scenario that is left out is not equal.
fake "sed '/^scenario third/,\$d'"
compare 1 'compared 3, different 1' --keep-going "$dir/small.scn"

# Nothing to compare, and nothing to compare with.
fake cat
compare 1 'compared 0, different 0' /dev/null
rm "$dir/test/conformance/replay"
compare 2 "compare.sh: there is no $dir/test/conformance/replay" "$dir/small.scn"

# On CPython as it is, a deliberate difference is one.
fake cat
compare 1 'compared 1, different 1' --oracle --pure \
    "$here/scenarios/difference_recv_without_data.scn"
