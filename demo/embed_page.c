/* The page has the numbers of the moment in it; its script asks for newer ones every second. */
#define _GNU_SOURCE 1
#include "embed_page.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

/* --- the figures ----------------------------------------------------------------------------- */

struct figure {
    const char *name; /* in JSON, and of the element that has it */
    const char *label;
    const char *note;
    uint64_t value;
    bool grows;
};

struct table {
    struct figure map[7];
    struct figure host[3];
};

static struct table tabulate(const struct figures *f)
{
    const struct asyncore_map_stats *m = &f->map;

    return (struct table){
        .map =
            {
                {"channels", "Channels", "in the map now", m->channels, false},
                {"queued", "Queued bytes", "waiting for a socket", m->queued, false},
                {"passes", "Passes", "rounds of serving", m->passes, true},
                {"events", "Events", "calls of handlers", m->events, true},
                {"predicate_calls", "Predicate calls", "readable and writable", m->predicate_calls,
                 true},
                {"bytes_in", "Bytes in", "received by channels", m->bytes_in, true},
                {"bytes_out", "Bytes out", "sent by channels", m->bytes_out, true},
            },
        .host =
            {
                {"http_requests", "HTTP requests", "answered by evhttp", f->http_requests, true},
                {"ticks", "Ticks", "of the timer", f->ticks, true},
                {"answers", "Answers", "to the client, one a tick", f->answers, true},
            },
    };
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- JSON ------------------------------------------------------------------------------------ */

static int add_members(struct evbuffer *out, const struct figure *figure, size_t count)
{
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < count; i++)
        rc = evbuffer_add_printf(out, "\"%s\": %" PRIu64 ", ", figure[i].name, figure[i].value);
    return rc;
}

int page_add_json(struct evbuffer *out, const struct figures *figures)
{
    const struct table table = tabulate(figures);

    if (evbuffer_add_printf(out, "{") < 0 || add_members(out, table.map, COUNT(table.map)) < 0 ||
        add_members(out, table.host, COUNT(table.host)) < 0 ||
        evbuffer_add_printf(out, "\"uptime\": %" PRIu64 ".%03" PRIu64 "}\n", figures->uptime / 1000,
                            figures->uptime % 1000) < 0)
        return -ENOMEM;
    return 0;
}

/* --- the page -------------------------------------------------------------------------------- */

static const char page_head[] =
    "<!DOCTYPE html>\n"
    "<html lang='en'>\n"
    "<meta charset='utf-8'>\n"
    "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
    "<title>asyncore on libevent</title>\n"
    "<link rel='icon' href='data:,'>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --back: #f3f5f8; --card: #fff; --text: #1b2430;\n"
    "  --faint: #5b6675; --line: #dde2e9; --main: #0b62b8; --bad: #b3261e; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "  :root { --back: #12161c; --card: #1b212a; --text: #e8ecf1; --faint: #a0abb9;\n"
    "    --line: #2d3642; --main: #6fb3f5; --bad: #ff8a80; }\n"
    "}\n"
    "* { box-sizing: border-box; margin: 0; }\n"
    "body { background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }\n"
    "main { max-width: 64rem; margin: 0 auto; padding: 2rem 1rem 3rem; }\n"
    "h1 { font-size: 1.75rem; line-height: 1.2; margin-bottom: .5rem; }\n"
    "h2 { font-size: 1.1rem; margin: 2rem 0 .75rem; }\n"
    "p { max-width: 42rem; color: var(--faint); }\n"
    "#state { display: inline-block; margin-top: 1rem; padding: .1rem .8rem; border-radius: 1rem;\n"
    "  border: 1px solid var(--line); background: var(--card); }\n"
    "#state.live { color: var(--main); border-color: currentcolor; }\n"
    "#state.lost { color: var(--bad); border-color: currentcolor; }\n"
    "dl { display: flex; flex-wrap: wrap; gap: .75rem; }\n"
    "dl .card { display: flex; flex-direction: column; flex: 1 1 13rem; }\n"
    ".card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;\n"
    "  padding: .8rem 1rem; }\n"
    "dt { font-size: .9rem; font-weight: 600; }\n"
    "dd { overflow-wrap: anywhere; }\n"
    ".value { font-size: 1.7rem; line-height: 1.3; font-variant-numeric: tabular-nums; }\n"
    ".note { font-size: .8rem; line-height: 1.35; color: var(--faint); }\n"
    ".rate { font-size: .8rem; color: var(--main); margin-top: auto; min-height: 1.5em; "
    "font-variant-numeric: tabular-nums; }\n"
    "figure { margin-top: .75rem; }\n"
    "svg { display: block; width: 100%; height: 6rem; margin-top: .4rem; }\n"
    "polyline { fill: none; stroke: var(--main); stroke-width: 2; stroke-linejoin: round;\n"
    "  vector-effect: non-scaling-stroke; }\n"
    "@media (max-width: 30rem) {\n"
    "  main { padding-top: 1.25rem; }\n"
    "  dl { gap: .5rem; }\n"
    "  dl .card { flex-basis: 40%; }\n"
    "  .card { padding: .6rem .75rem; }\n"
    "  .value { font-size: 1.35rem; }\n"
    "}\n"
    "</style>\n"
    "<main>\n"
    "<h1>asyncore on libevent</h1>\n"
    "<p>One event_base, run by event_base_dispatch, serves this page, a timer, signals, and the\n"
    "channels of an asyncore map.</p>\n"
    "<p id='state' role='status'>As of loading; reload for newer numbers.</p>\n";

static const char page_chart[] =
    "<figure class='card' hidden>\n"
    "<figcaption class='note'>Events a second in the last minute, "
    "at most <span id='most'></span></figcaption>\n"
    "<svg viewBox='0 0 59 40' preserveAspectRatio='none' aria-hidden='true'>"
    "<polyline points=''/></svg>\n"
    "</figure>\n";

static const char page_script[] =
    "<script>\n"
    "'use strict';\n"
    "const state = document.getElementById('state'), rates = [];\n"
    "const number = n => n.toLocaleString('en', {maximumFractionDigits: n < 10 ? 1 : 0});\n"
    "let last = null;\n"
    "\n"
    "function tell(text, style) {\n"
    "  if (state.textContent !== text) state.textContent = text;\n"
    "  state.className = style;\n"
    "}\n"
    "function time(seconds) {\n"
    "  const two = n => String(Math.floor(n)).padStart(2, '0');\n"
    "  return number(Math.floor(seconds / 3600)) + ':' + two(seconds / 60 % 60) + ':' + "
    "two(seconds % 60);\n"
    "}\n"
    "function draw(rate) {\n"
    "  rates.push(rate);\n"
    "  if (rates.length > 60) rates.shift();\n"
    "  const most = Math.max(...rates), top = most || 1;\n"
    "  const points = rates.map((r, i) => (i + 60 - rates.length) + ',' + (39 - 38 * r / "
    "top));\n"
    "  document.querySelector('polyline').setAttribute('points', points.join(' '));\n"
    "  document.getElementById('most').textContent = number(most);\n"
    "  document.querySelector('figure').hidden = rates.length < 2;\n"
    "}\n"
    "function show(now) {\n"
    "  for (const name in now)\n"
    "    document.getElementById(name).textContent = (name === 'uptime' ? time : "
    "number)(now[name]);\n"
    "  const past = last && now.uptime > last.uptime ? now.uptime - last.uptime : 0;\n"
    "  for (const rate of past ? document.querySelectorAll('.rate') : []) {\n"
    "    const name = rate.dataset.of;\n"
    "    rate.textContent = number((now[name] - last[name]) / past) + ' a second';\n"
    "  }\n"
    "  if (past) draw((now.events - last.events) / past);\n"
    "  last = now;\n"
    "}\n"
    "async function ask() {\n"
    "  try {\n"
    "    const response = await fetch('stats', {cache: 'no-store'});\n"
    "    if (!response.ok) throw new Error(response.statusText);\n"
    "    show(await response.json());\n"
    "    tell('Live, every second', 'live');\n"
    "  } catch (error) {\n"
    "    tell('The server does not answer', 'lost');\n"
    "  }\n"
    "  setTimeout(ask, 1000);\n"
    "}\n"
    "ask();\n"
    "</script>\n"
    "</html>\n";

/* 12,345 */
static void print_number(char *text, size_t size, uint64_t value)
{
    char digits[32];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, value);
    size_t at = 0;

    for (size_t i = 0; i < length && at + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

static int add_card(struct evbuffer *out, const char *name, const char *label, const char *value,
                    const char *note, bool grows)
{
    int rc = evbuffer_add_printf(out,
                                 "<div class='card'><dt>%s</dt>"
                                 "<dd class='value' id='%s'>%s</dd><dd class='note'>%s</dd>",
                                 label, name, value, note);

    if (rc >= 0 && grows)
        rc = evbuffer_add_printf(out, "<dd class='rate' data-of='%s'></dd>", name);
    return rc < 0 ? rc : evbuffer_add_printf(out, "</div>\n");
}

static int add_cards(struct evbuffer *out, const struct figure *figure, size_t count)
{
    char value[32];
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < count; i++) {
        print_number(value, sizeof value, figure[i].value);
        rc = add_card(out, figure[i].name, figure[i].label, value, figure[i].note, figure[i].grows);
    }
    return rc;
}

static int add_uptime(struct evbuffer *out, uint64_t seconds)
{
    char hours[32], value[48];

    print_number(hours, sizeof hours, seconds / 3600);
    snprintf(value, sizeof value, "%s:%02u:%02u", hours, (unsigned)(seconds / 60 % 60),
             (unsigned)(seconds % 60));
    return add_card(out, "uptime", "Uptime", value, "since it began", false);
}

int page_add_html(struct evbuffer *out, const struct figures *figures)
{
    const struct table table = tabulate(figures);

    if (evbuffer_add(out, page_head, sizeof page_head - 1) < 0 ||
        evbuffer_add_printf(out, "<h2>The map of channels</h2>\n<dl>\n") < 0 ||
        add_cards(out, table.map, COUNT(table.map)) < 0 ||
        evbuffer_add_printf(out, "</dl>\n%s<h2>The program around it</h2>\n<dl>\n", page_chart) <
            0 ||
        add_cards(out, table.host, COUNT(table.host)) < 0 ||
        add_uptime(out, figures->uptime / 1000) < 0 ||
        evbuffer_add_printf(out, "</dl>\n</main>\n") < 0 ||
        evbuffer_add(out, page_script, sizeof page_script - 1) < 0)
        return -ENOMEM;
    return 0;
}
