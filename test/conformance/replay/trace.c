/* The trace, and what becomes lines of it. */
#define _GNU_SOURCE
#include "trace.h"

#include "bytes.h"
#include "show.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <event2/event.h>

#define MAX_SECONDS 60 /* then a scenario hangs, unless the environment says otherwise */
#define HANG_STATUS 3
#define INDENT 2

static struct bytes out; /* what is not written yet */
static int depth;
static bool open_line;
static size_t call_start; /* of that line */
static bool is_excepted;

/* --- lines ----------------------------------------------------------------------------------- */

static void write_all(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = write(STDOUT_FILENO, data, length);

        if (n < 0 && errno != EINTR)
            _exit(1);
        data += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
}

static void flush(void)
{
    write_all(bytes_text(&out), out.length);
    bytes_drop(&out, out.length);
}

static void start_line(void)
{
    if (open_line)
        bytes_put(&out, "\n");
    open_line = false;
    for (int i = 0; i < depth; i++)
        bytes_add(&out, "    ", INDENT);
}

void trace_line(const char *text)
{
    if (is_excepted)
        return;
    start_line();
    bytes_put(&out, text);
    bytes_put(&out, "\n");
}

void trace_call(const char *text)
{
    if (!is_excepted) {
        start_line();
        call_start = out.length - (size_t)depth * INDENT;
        bytes_put(&out, text);
        open_line = true;
    }
    depth++;
}

void trace_result(const char *text)
{
    depth--;
    if (is_excepted)
        return;
    if (open_line) {
        bytes_put(&out, " ");
        open_line = false;
    } else {
        start_line();
    }
    bytes_put(&out, text);
    bytes_put(&out, "\n");
}

void trace_except(const char *why)
{
    if (open_line)
        bytes_cut(&out, call_start);
    open_line = false;
    bytes_format(&out, "EXCEPTED %s\n", why);
    is_excepted = true;
}

void trace_go_on(void)
{
    is_excepted = false;
}

/* --- what is printed ------------------------------------------------------------------------- */

/* A stream in the place of stdout or stderr. */
struct log {
    const char *prefix;
    struct bytes rest; /* of a line that has not ended */
};

static struct log logs[] = {{.prefix = "out: "}, {.prefix = "err: "}};

static void log_line(struct log *log)
{
    struct bytes text = {.length = 0};

    bytes_put(&text, log->prefix);
    show_normal(&text, bytes_text(&log->rest));
    trace_line(bytes_text(&text));
    bytes_clear(&text);
    bytes_clear(&log->rest);
}

static ssize_t log_write(void *cookie, const char *data, size_t size)
{
    struct log *log = cookie;

    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n')
            log_line(log);
        else
            bytes_add(&log->rest, data + i, 1);
    }
    return (ssize_t)size;
}

static FILE *log_stream(struct log *log)
{
    const cookie_io_functions_t functions = {.write = log_write};
    FILE *stream = fopencookie(log, "w", functions);

    if (!stream)
        abort();
    setvbuf(stream, NULL, _IONBF, 0);
    return stream;
}

static unsigned max_seconds = MAX_SECONDS;
static bool loses_descriptors;

/* What libevent has to say, but for what it says of every descriptor that a scenario loses. */
static void on_libevent_log(int severity, const char *message)
{
    (void)severity;
    if (!loses_descriptors || !strstr(message, strerror(EBADF)))
        fprintf(stderr, "libevent: %s\n", message);
}

/* --- signals --------------------------------------------------------------------------------- */

static void on_pipe(int signal)
{
    (void)signal;
    trace_line("SIGPIPE"); /* the library's call has raised it: no call of ours is interrupted */
}

static void on_alarm(int signal)
{
    static const char hang[] = "\nHANG\n";

    (void)signal;
    write_all(bytes_text(&out), out.length);
    write_all(hang, sizeof hang - 1);
    _exit(HANG_STATUS);
}

/* An assertion has failed, and printed that into the trace. */
static void on_abort(int signal)
{
    (void)signal;
    write_all(bytes_text(&out), out.length);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

    if (sigaction(number, &action, NULL) < 0)
        abort();
}

void trace_prepare(void)
{
    const char *seconds = getenv("CONFORMANCE_SECONDS");

    if (seconds)
        max_seconds = (unsigned)strtoul(seconds, NULL, 10);
    handle(SIGPIPE, on_pipe);
    handle(SIGALRM, on_alarm);
    handle(SIGABRT, on_abort);
    event_set_log_callback(on_libevent_log);
    stdout = log_stream(&logs[0]);
    stderr = log_stream(&logs[1]);
}

/* --- a scenario ------------------------------------------------------------------------------ */

void trace_begin(const char *name, bool loses)
{
    loses_descriptors = loses;
    depth = 0;
    open_line = false;
    start_line();
    bytes_format(&out, "scenario %s\n", name);
    flush(); /* so that who crashes is known */
    alarm(max_seconds);
}

void trace_end(void)
{
    alarm(0);
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
        bytes_clear(&logs[i].rest);
    flush();
    bytes_clear(&out);
}
