#!/bin/sh
# smtp_server beside CPython's smtpd, and with smtplib, curl and swaks: every reply, messages byte for
# byte, limits, and what goes wrong.
. "$(dirname "$0")/common.sh"

messages() {
    timeout 60 python3 "$here/smtp_messages.py" "$@" || fail "smtp_messages.py $*"
}

# serve NAME OPTION...: smtp_server; sets port and server.
serve() {
    name=$1
    shift
    start "$name" "$bin/smtp_server" "$@"
    server=$pid
    listening "$name"
}

# stop NAME: its end, with nothing on stderr.
stop() {
    kill -s TERM "$server"
    ends 0 "$server"
    [ ! -s "$dir/$1.err" ] || fail "$1: $(head -c 1000 "$dir/$1.err")"
}

# smtpd NAME SIZE [--no-smtputf8]: CPython's; sets port.
smtpd() {
    name=$1
    shift
    start "$name" python3 "$here/smtp_peer.py" "$@"
    listening "$name"
}

expect_usage smtp_server
expect 2 "$bin/smtp_server" extra
expect_failure 2 'bad port: 65536' "$bin/smtp_server" --port 65536
for bad in 0 x 1x -1 '' 9999999999999; do
    expect_failure 2 'bad size' "$bin/smtp_server" --size "$bad"
    expect_failure 2 'bad timeout' "$bin/smtp_server" --timeout "$bad"
done
: >"$dir/file"
expect_failure 1 "$dir/file: Not a directory" "$bin/smtp_server" --maildir "$dir/file"
expect_failure 1 'No such file' "$bin/smtp_server" --maildir "$dir/missing/dir"

# The same dialogues.
for option in '' --no-smtputf8; do
    # shellcheck disable=SC2086 # none, or one
    smtpd smtpd 2000 $option
    theirs=$port
    # shellcheck disable=SC2086
    serve dialogues --size 2000 $option
    # shellcheck disable=SC2086
    timeout 60 python3 "$here/smtp_dialogues.py" "$port" "$theirs" 2000 $option || fail dialogues
    stop dialogues
done

# The same output.
smtpd smtpd 33554432
messages texts "$port"
grep -v '^listening on ' "$dir/smtpd.out" >"$dir/want"
serve print
messages texts "$port"
grep -v '^listening on ' "$dir/print.out" >"$dir/out"
same "$dir/want" "$dir/out"
[ "$(grep -c '^------------ END MESSAGE' "$dir/out")" -eq 28 ] || fail 'messages are missing'
stop print

# A maildir, which is made.
mail=$dir/mail
serve maildir --maildir "$mail"
[ "$(stat -c %a "$mail" "$mail/tmp" "$mail/new" "$mail/cur" | sort -u)" = 700 ] || fail 'not private'
messages delivered "$port" "$mail"
messages cut "$port" "$mail"
messages together "$port" "$mail"
messages broken "$port" "$mail"

# curl and swaks.
arrived() {
    rm -rf "$dir/new"
    mv "$mail/new" "$dir/new"
    mkdir "$mail/new"
    [ "$(find "$dir/new" -type f | wc -l)" -eq 1 ] || fail "not one message: $(ls "$dir/new")"
    cat "$dir/new"/* >"$dir/out"
    same "$1" "$dir/out"
}
curl_send() {
    sed 's/$/\r/' "$1" >"$dir/crlf"
    expect 0 curl --silent --show-error --mail-from a@example.com --mail-rcpt b@example.com \
        --mail-rcpt c@example.com --upload-file "$dir/crlf" "smtp://127.0.0.1:$port/client.example.com"
}
rm "$mail/new"/*
printf 'Subject: x\n\n.\n..\n.x\nx.\n\n' >"$dir/text"
cat "$lorem" >>"$dir/text"
curl_send "$dir/text"
arrived "$dir/text"
: >"$dir/empty"
curl_send "$dir/empty"
arrived "$dir/empty"
seq 2000000 >"$dir/large"
curl_send "$dir/large"
arrived "$dir/large"
expect 0 swaks --server 127.0.0.1 --port "$port" --helo client --from a@example.com \
    --to b@example.com,c@d --data "$(cat "$dir/text")" # without the end of the last line
arrived "$dir/text"
expect 0 swaks --server 127.0.0.1 --port "$port" --helo client --protocol SMTP --pipeline \
    --from '<>' --to b@example.com --header 'Subject: of swaks' --body 'a body'
[ "$(grep -c 'of swaks\|a body' "$mail/new"/*)" -eq 2 ] || fail "swaks: $(cat "$mail/new"/*)"

# Messages that cannot be kept.
rmdir "$mail/tmp"
messages refused "$port" DATA
mkdir "$mail/tmp"
mv "$mail/new" "$mail/old"
messages refused "$port" end
mv "$mail/old" "$mail/new"
[ -z "$(ls "$mail/tmp")" ] || fail "left over: $(ls "$mail/tmp")"
[ "$(grep -c 'a message from 127.0.0.1: No such file' "$dir/maildir.err")" -eq 2 ] || fail "$(cat "$dir/maildir.err")"
rm "$mail/new"/*
curl_send "$dir/text"
arrived "$dir/text"
kill -s INT "$server"
ends 0 "$server"

# A full disk, or what is like one: files of at most 64 KiB.
start full sh -c "trap '' XFSZ; ulimit -f 128; exec '$bin/smtp_server' --maildir '$mail'"
server=$pid
listening full
messages refused "$port" end
[ -z "$(find "$mail" -type f)" ] || fail "left over: $(ls "$mail"/*)"
curl_send "$dir/text"
arrived "$dir/text"
kill -s TERM "$server"
ends 0 "$server"

start unprinted sh -c "trap '' XFSZ; ulimit -f 128; exec '$bin/smtp_server'"
server=$pid
listening unprinted
messages refused "$port" end
kill -s TERM "$server"
ends 1 "$server"
grep -q '^smtp_server: standard output: ' "$dir/unprinted.err" || fail "$(cat "$dir/unprinted.err")"

# The largest message.
serve limits --maildir "$mail" --size 10000
messages limits "$port" "$mail" 10000
stop limits

# Memory is what is measured, not what a sanitizer keeps of what was freed.
old=${ASAN_OPTIONS-}
export ASAN_OPTIONS="$old:quarantine_size_mb=1"
serve memory --maildir "$mail" --size 30000100
export ASAN_OPTIONS="$old"
messages memory "$port" "$mail" "$server"
stop memory

serve idle --timeout 1
messages idle "$port"
stop idle

# A port in use; signals in the middle of a message.
serve signals --maildir "$mail" --host localhost
expect_failure 1 "127.0.0.1 port $port: Address already in use" "$bin/smtp_server" --port "$port"
expect_failure 1 "$no_host.* not known" "$bin/smtp_server" --host "$no_host"
mkfifo "$dir/fifo"
start client sh -c "exec nc 127.0.0.1 $port <'$dir/fifo'"
client=$pid
exec 4>"$dir/fifo"
printf 'HELO x\r\nMAIL FROM:<a>\r\nRCPT TO:<a>\r\nDATA\r\nhalf\r\n' >&4
wait_for '^354 ' "$dir/client.out"
stop signals
exec 4>&-
ends 0 "$client"
[ -z "$(ls "$mail/tmp")" ] || fail "left over: $(ls "$mail/tmp")"

if have_ipv6; then
    serve ipv6 --host ::1
    expect 0 curl --silent --show-error --mail-from a@b --mail-rcpt b@c --upload-file "$dir/crlf" \
        "smtp://[::1]:$port"
    grep -qxF "b'X-Peer: ::1'" "$dir/ipv6.out" || fail "$(cat "$dir/ipv6.out")"
    stop ipv6
fi
