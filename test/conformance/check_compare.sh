#!/bin/sh
# sh check_compare.sh REPLAY: compare.sh finds differences where there are some, and both
# interpreters find mistakes before they run anything.
set -eu
replay=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
find_python
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
    printf '#!/bin/sh\n"%s" "$@" | %s\n' "$replay" "$1" >"$dir/test/conformance/replay"
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

# Attached: only what stands behind a loop inside of a loop is no difference.
cat >"$dir/nested.scn" <<'END'
class c dispatcher
    handle_read: recv 3; poll 0; recv 3
socketpair a p
adopt x c a
p.send 9
loop 0 select 1
p.send 9
END
fake cat
compare 0 'compared 4, different 0, excepted 1' --attached "$dir/small.scn" "$dir/nested.scn"
compare 0 'compared 1, different 0' "$dir/nested.scn"
fake "sed 's/ recv 3/ recv 4/'"
compare 1 'compared 1, different 1, excepted 1' --attached "$dir/nested.scn"
fake "awk '{ print } /^EXCEPTED/ { print \"LEAK 1 descriptors\" }'"
compare 1 'compared 1, different 1, excepted 1' --attached "$dir/nested.scn"
expect '^+LEAK 1'

# The signal has a name.
echo map >"$dir/map.scn"
fake '{ cat; kill -s SEGV $$; }'
compare 1 'compared 1, different 1' "$dir/map.scn"
expect '^+ENDED by SIGSEGV'

# What is asked for wrongly is no difference.
fake cat
compare 2 'compare.sh: --seeds 5..1: 1 is less than 5' --seeds 5..1
compare 2 'compare.sh: --oracle: oracle.py: error: unrecognized arguments: --no-such-option' \
    --oracle --no-such-option "$dir/map.scn"

# Nothing to compare, and nothing to compare with.
compare 1 'compared 0, different 0' /dev/null
rm "$dir/test/conformance/replay"
compare 2 "compare.sh: there is no $dir/test/conformance/replay" "$dir/small.scn"

# On CPython as it is, a deliberate difference is one.
fake cat
compare 1 'compared 1, different 1' --oracle --pure \
    "$here/scenarios/difference_recv_without_data.scn"

# mistake COMMAND...: it says in which line of mistake.scn it is, and does nothing else.
mistake()
{
    status=0
    "$@" "$dir/mistake.scn" >"$dir/out" 2>"$dir/errors" || status=$?
    if [ "$status" -ne 2 ] || [ -s "$dir/out" ] || [ "$(wc -l <"$dir/errors")" -ne 1 ] ||
        ! grep -q "mistake.scn:$line: " "$dir/errors"; then
        cat "$dir/mistake.scn" "$dir/out" "$dir/errors"
        echo "FAILED, status $status, not 2 with a message for line $line: $*"
        exit 1
    fi
}

# Each with what stands before its last line, which is the mistake; | is the end of a line.
while IFS= read -r text; do
    echo "$text" | tr '|' '\n' >"$dir/mistake.scn"
    line=$(wc -l <"$dir/mistake.scn")
    mistake "$replay"
    mistake "$python" -B "$here/oracle.py"
done <<'END'
map|socketpair a b|a.sned "x"
socketpair a b|a.recv -5
socketpair a b|a.recv 99999999999999999999
socketpair a b|a.recv many
socketpair a b|a.recv
socketpair a b|a.buffers x
socketpair a b|a.shutdown q
socketpair a b|a.close now
socketpair a b|a.send hello
socketpair a b|a.send "hello
socketpair a b|a.create
socketpair a b|if a.connected map
socketpair a b dgram extra
socketpair a b stream
sockpair a b
listener l tpc
listener l tcp many
fresh f pipe
file f
loop
loop zero select 1
loop 0 selct 1
loop 0 select many
loop 0 select 1 in
loop 0 select 1 in 4
poll x
timed x map
timed 1
raise
raise EFOO
raise strerror
if
if banana map
try
super
create
"map"
self.map
close_all all
new c
new c nosuchclass
new sock k
class k dispatcher|new c k extra
class k dispatcher|new a.b k
class k dispatcher|new c k|c.set banana 1
class k dispatcher|new c k|c.set debug 7
class k dispatcher|new c k|c.drain
class k dispatcher|new c k|c.log hello
class k dispatcher|new c k|c.socket_send 5 peek
class k dispatcher|new c k|c.send buffer x
class k dispatcher|new c k|c.handle_error EFOO
class k dispatcher|new c k|c.create tpc
class k dispatcher|new c k|readwrite c POLLBANANA
class k dispatcher|    handle_raed: super
class k dispatcher|    handle_read x: super
class k dispatcher|    handle_read 0: super
class k dispatcher|    handle_read 1 2: super
class k dispatcher|    handle_read super
class k dispatcher|    handle_read: super|    handle_read: super
class k dispatcher|    readable: return banana
class k dispatcher|    readable: if it
class k dispatcher|class k dispatcher
class k dispatcher handle_raed
class k dispatcher found_terminator
class k dispatcher|    collect_incoming_data:
class k async_chat more
class k dispatcher ac_in_buffer_size=3
class k async_chat ac_in_buffer_size=
class k async_chat ac_in_buffer_size=x
class k async_chat ac_buffer_size=3
class k async_chat ac_in_buffer_size=3 ac_in_buffer_size=4
class k producer send
class k producer|    more: giv 3
class k producer|    more: give
class k async_chat|    send: give 3
give 3
class k producer|new c k
class k async_chat|new c k|c.push_with_producer k
class k async_chat|new c k|c.push_with_producer x
class k async_chat|new c k|c.push
class k async_chat|new c k|c.push_simple 3 x
class k async_chat|new c k|c.set_terminator x
class k async_chat|new c k|c.set_terminator
class k async_chat|new c k|c.ac_in_buffer_size -1
class k async_chat|new c k|c.close_when_done now
class k async_chat|new c k|c.collect
find_prefix_at_end "x"
find_prefix_at_end "x" y
class k
class
scenario
    map
map|scenario second|map|mpa
END
for file in "$dir" "$dir/missing.scn"; do
    status=0
    "$replay" "$file" >"$dir/out" 2>"$dir/errors" || status=$?
    [ "$status" -eq 2 ] || { echo "FAILED, status $status, not 2: replay $file"; exit 1; }
    status=0
    "$python" -B "$here/oracle.py" "$file" >>"$dir/out" 2>>"$dir/errors" || status=$?
    [ "$status" -eq 2 ] || { echo "FAILED, status $status, not 2: oracle.py $file"; exit 1; }
    if [ -s "$dir/out" ] || [ "$(wc -l <"$dir/errors")" -ne 2 ]; then
        cat "$dir/out" "$dir/errors"
        exit 1
    fi
done
