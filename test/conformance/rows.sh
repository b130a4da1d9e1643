#!/bin/sh
# Every difference is in the project's README and has a scenario, which shows it: without that
# difference its trace is another. No other is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

find_python
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
export TMPDIR="$new"

"$python" -B "$here/oracle.py" --list | sort >"$new/rows"
[ -s "$new/rows" ] || { echo "oracle.py --list prints nothing" >&2; exit 1; }
find "$here/scenarios" -name 'difference_*.scn' -exec basename {} .scn \; |
    sed 's/^difference_//' | sort >"$new/scenarios"
diff -u "$new/rows" "$new/scenarios"
sed -n 's/^| `\([a-z_]*\)` |.* |.* |.* |$/\1/p' "$here/../../README.md" | sort >"$new/readme"
diff -u "$new/rows" "$new/readme"

status=0
while read -r name; do
    file=$here/scenarios/difference_$name.scn
    "$python" -B "$here/oracle.py" --without "$name" "$file" >"$new/without"
    for trace in "$new/without" "${file%.scn}.pure.trace"; do
        if cmp -s "${file%.scn}.trace" "$trace"; then
            echo "difference_$name.scn does not show it: $(basename "$trace") is the same" >&2
            status=1
        fi
    done
done <"$new/rows"

# The patches' common ground changes nothing by itself.
for option in --pure --bare; do
    "$python" -B "$here/oracle.py" $option "$here"/scenarios/*.scn >"$new/$option"
done
cmp "$new/--pure" "$new/--bare" || status=1
exit $status
