#!/bin/sh
# The page of embed_evhttp in a browser: its script at work, on the server's numbers and on given
# ones; without an answer; in a wide and in a narrow window.
. "$(dirname "$0")/common.sh"

command -v chromium >/dev/null || fail 'chromium is missing'

# browse ARGUMENT...: with 5 s for scripts, of a clock that waits for answers.
browse() {
    HOME=$dir timeout 100 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --no-first-run --disable-background-networking --disable-component-update \
        --user-data-dir="$dir/profile" --hide-scrollbars --virtual-time-budget=5000 "$@" \
        2>"$dir/browser.err" || fail "chromium $*: $(tail -n 5 "$dir/browser.err")"
}

start server "$bin/embed_evhttp" --tick 0.01
server=$pid
wait_for '^listening on http:' "$dir/server.out"
site=$(sed -n 's,^listening on \(http://.*\)/$,\1,p' "$dir/server.out")

# --- the server's numbers ------------------------------------------------------------------------

curl -sf "$site/stats" >"$dir/before"
browse --dump-dom "$site/" >"$dir/dom"
curl -sf "$site/stats" >"$dir/after"
curl -sf "$site/" >"$dir/page"
timeout 60 python3 "$here/embed_page.py" live "$dir/dom" "$dir/before" "$dir/after" ||
    fail "$(cat "$dir/before" "$dir/after" "$dir/dom")"
timeout 60 python3 "$here/embed_page.py" loaded "$dir/page" ||
    fail "$(cat "$dir/page")"

# --- pictures ------------------------------------------------------------------------------------

for size in 1200,900 390,1200; do
    browse --window-size="$size" --screenshot="$dir/page.png" "$site/" >&2
    timeout 60 python3 "$here/embed_page.py" picture "$dir/page.png" "$size" || fail "picture $size"
done
kill -s TERM "$server"
ends 0 "$server"
[ ! -s "$dir/server.err" ] || fail "$(cat "$dir/server.err")"

# --- given numbers, from another server ----------------------------------------------------------

mkdir "$dir/www"
cp "$dir/page" "$dir/www/index.html"
cat >"$dir/www/frames.html" <<'END_OF_PAGE'
<html>
<iframe src='index.html' width='1200' height='900'></iframe>
<iframe src='index.html' width='390' height='900'></iframe>
<iframe src='index.html' width='320' height='900'></iframe>
<script>
onload = function () {
  document.documentElement.dataset.widths = Array.from(frames, function (frame) {
    frame.show({bytes_in: 123456789012345, uptime: 360000000});
    return frame.innerWidth + ':' + frame.document.documentElement.scrollWidth;
  });
};
</script>
</html>
END_OF_PAGE
serve_files "$dir/www"
browse --dump-dom "http://127.0.0.1:$port/" >"$dir/dom"
timeout 60 python3 "$here/embed_page.py" lost "$dir/dom" "$dir/page" || fail "$(cat "$dir/dom")"

cat >"$dir/www/stats" <<'END_OF_JSON'
{"channels": 1, "queued": 12, "passes": 123, "events": 1234, "predicate_calls": 12345,
 "bytes_in": 123456, "bytes_out": 1234567, "http_requests": 0, "ticks": 1000, "answers": 999,
 "uptime": 3661.999}
END_OF_JSON
browse --dump-dom "http://127.0.0.1:$port/" >"$dir/dom"
timeout 60 python3 "$here/embed_page.py" given "$dir/dom" || fail "$(cat "$dir/dom")"

# Nothing has to be scrolled to the side, not even for large numbers.
browse --window-size=1300,900 --dump-dom "http://127.0.0.1:$port/frames.html" >"$dir/dom"
timeout 60 python3 "$here/embed_page.py" widths "$dir/dom" 1200:1200,390:390,320:320 ||
    fail "$(cat "$dir/dom")"
