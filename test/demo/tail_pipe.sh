#!/bin/sh
# tail_pipe: lines of two sources as they come, the ends of both, and what becomes of the command.
. "$(dirname "$0")/common.sh"

expect_usage tail_pipe
expect 2 "$bin/tail_pipe" </dev/null
expect 2 "$bin/tail_pipe" -- </dev/null

# As they come, whole lines only; one source goes on when the other has ended.
mkfifo "$dir/in" "$dir/command"
start tail sh -c "exec '$bin/tail_pipe' -- cat '$dir/command' <'$dir/in'"
tail=$pid
exec 4>"$dir/in" 5>"$dir/command"
echo one >&4
wait_for '^in: one$' "$dir/tail.out"
echo two >&5
wait_for '^out: two$' "$dir/tail.out"
printf thr >&4
printf '\nfour\nfi' >&5
wait_for '^out: four$' "$dir/tail.out"
printf 'ee\n' >&4
wait_for '^in: three$' "$dir/tail.out"
printf unended >&4
exec 4>&-
wait_for '^in: unended$' "$dir/tail.out"
echo ve >&5
wait_for '^out: five$' "$dir/tail.out"
printf 'the end' >&5
exec 5>&-
ends 0 "$tail"
printf '%s\n' 'in: one' 'out: two' 'out: ' 'out: four' 'in: three' 'in: unended' 'out: five' \
    'out: the end' >"$dir/want"
same "$dir/want" "$dir/tail.out"
[ ! -s "$dir/tail.err" ] || fail "$(cat "$dir/tail.err")"

# The command ends first.
start tail sh -c "exec '$bin/tail_pipe' -- echo done <'$dir/in'"
tail=$pid
exec 4>"$dir/in"
wait_for '^out: done$' "$dir/tail.out"
echo later >&4
exec 4>&-
ends 0 "$tail"
printf '%s\n' 'out: done' 'in: later' >"$dir/want"
same "$dir/want" "$dir/tail.out"

# Much from both, through a pipe that is read more slowly than it is filled; nothing gets lost, and
# no line gets into another.
seq 200000 >"$dir/numbers"
"$bin/tail_pipe" -- seq 200001 400000 <"$dir/numbers" | cat >"$dir/out"
sed -n 's/^in: //p' "$dir/out" >"$dir/have"
same "$dir/numbers" "$dir/have"
sed -n 's/^out: //p' "$dir/out" >"$dir/have"
seq 200001 400000 >"$dir/want"
same "$dir/want" "$dir/have"
[ "$(wc -l <"$dir/out")" -eq 400000 ] || fail 'lines that belong to nobody'

# A terminal for input and output at once: non-blocking, and slower than the command.
timeout 60 python3 - "$bin/tail_pipe" >"$dir/out" <<'END' || fail 'on a terminal'
import array, fcntl, os, pty, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], '--', 'seq', '50000'])
waiting, before = array.array('i', [0]), -1
while waiting[0] == 0 or waiting[0] != before:  # until the terminal takes no more
    before = waiting[0]
    time.sleep(0.1)
    fcntl.ioctl(terminal, termios.FIONREAD, waiting)
data = b''
try:
    while True:
        data += os.read(terminal, 1024)
        if data.endswith(b'out: 50000\r\n'):
            os.write(terminal, b'\x04')  # the end of its input
except OSError:  # the program has closed the terminal
    pass
sys.stdout.buffer.write(data.replace(b'\r\n', b'\n'))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
sed -n 's/^out: //p' "$dir/out" >"$dir/have"
seq 50000 >"$dir/want"
same "$dir/want" "$dir/have"

# A long line, with zero bytes, and without its newline.
head -c 3000000 /dev/zero >"$dir/zeros"
expect 0 "$bin/tail_pipe" -- cat "$dir/zeros" </dev/null
{
    printf 'out: '
    cat "$dir/zeros"
    echo
} >"$dir/want"
same "$dir/want" "$dir/out"

# Arguments are the command's own, and it gets no input of ours.
expect 0 "$bin/tail_pipe" printf '%s\n' -v --help </dev/null
printf '%s\n' 'out: -v' 'out: --help' >"$dir/want"
same "$dir/want" "$dir/out"
echo ours >"$dir/text"
expect 0 "$bin/tail_pipe" -- cat <"$dir/text"
[ "$(cat "$dir/out")" = 'in: ours' ] || fail "$(cat "$dir/out")"

expect_failure 1 'no-such-command: No such file' "$bin/tail_pipe" -- no-such-command </dev/null
expect_failure 1 "$dir: Permission denied" "$bin/tail_pipe" -- "$dir" </dev/null
expect_failure 1 'sh: exit status 3' "$bin/tail_pipe" -- sh -c 'echo x; exit 3' </dev/null
[ "$(cat "$dir/out")" = 'out: x' ] || fail "$(cat "$dir/out")"
expect_failure 1 'sh: Killed' "$bin/tail_pipe" -- sh -c 'kill -s KILL $$' </dev/null
expect_failure 1 'Is a directory' "$bin/tail_pipe" -- true <"$dir"
expect_failure 1 'No space left' sh -c "\"\$@\" >/dev/full" - "$bin/tail_pipe" -- echo x </dev/null

# A signal ends it, and the command with it.
for signal in TERM INT; do
    start tail "$bin/tail_pipe" -- sh -c 'echo $$; exec sleep 1000'
    tail=$pid
    wait_for '^out: ' "$dir/tail.out"
    command=$(sed -n 's/^out: //p' "$dir/tail.out")
    kill -s $signal "$tail"
    ends 0 "$tail"
    if kill -0 "$command" 2>/dev/null; then
        kill "$command"
        fail "$signal leaves the command running"
    fi
done

# Standard input is non-blocking while it runs, and as it was afterwards.
flags() {
    sed -n 's/^flags:[^0-9]*//p' "/proc/$$/fdinfo/7"
}
nonblocking() {
    [ $(($(flags) & 04000)) -ne 0 ]
}
exec 7<>"$dir/in"
before=$(flags)
start tail sh -c "exec '$bin/tail_pipe' -- sleep 1000 <&7"
tail=$pid
wait_until nonblocking
kill "$tail"
ends 0 "$tail"
[ "$(flags)" = "$before" ] || fail "the flags of standard input: $before, then $(flags)"
