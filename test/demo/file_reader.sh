#!/bin/sh
# file_reader on regular files, a FIFO and a device.
. "$(dirname "$0")/common.sh"

expect_usage file_reader
expect 2 "$bin/file_reader"
expect 2 "$bin/file_reader" "$lorem" "$lorem"

# pieces FILE: what is expected for it.
pieces() {
    size=$(($(wc -c <"$1")))
    offset=0
    while [ $offset -lt $size ]; do
        n=$((size - offset < 256 ? size - offset : 256))
        printf 'READ: (%d) "' $n
        dd if="$1" bs=256 skip=$((offset / 256)) count=1 2>/dev/null
        printf '"\n'
        offset=$((offset + 256))
    done
    printf 'READ: (0) ""\n'
}

: >"$dir/empty"
head -c 512 "$lorem" >"$dir/even"
head -c 10000 /dev/urandom >"$dir/random"
for file in "$lorem" "$dir/empty" "$dir/even" "$dir/random" /dev/null; do
    expect 0 "$bin/file_reader" "$file"
    pieces "$file" >"$dir/want"
    same "$dir/want" "$dir/out"
    [ ! -s "$dir/err" ] || fail "$file: $(cat "$dir/err")"
done

# A FIFO gives what it has, when it has it, and ends when its last writer closes it.
mkfifo "$dir/fifo"
start reader "$bin/file_reader" "$dir/fifo"
reader=$pid
exec 3>"$dir/fifo"
printf one >&3
wait_for '^READ: (3) "one"$' "$dir/reader.out"
printf second >&3
wait_for '^READ: (6) "second"$' "$dir/reader.out"
head -c 300 /dev/zero | tr '\0' z >&3
wait_for '^READ: (44) "z*"$' "$dir/reader.out"
exec 3>&-
ends 0 "$reader"
{
    printf 'READ: (3) "one"\nREAD: (6) "second"\nREAD: (256) "'
    head -c 256 /dev/zero | tr '\0' z
    printf '"\nREAD: (44) "'
    head -c 44 /dev/zero | tr '\0' z
    printf '"\nREAD: (0) ""\n'
} >"$dir/want"
same "$dir/want" "$dir/reader.out"

expect_failure 1 'missing: No such file or directory' "$bin/file_reader" "$dir/missing"
expect_failure 1 "$dir: Is a directory" "$bin/file_reader" "$dir"
expect_failure 1 'standard output: ' sh -c "\"\$@\" >/dev/full" - "$bin/file_reader" "$lorem"
