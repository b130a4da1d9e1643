/*
 * A channel that tells what is called on it: see probe.h.
 */
#include "probe.h"

#include "support.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char trace[65536];
static size_t trace_len;
static bool with_predicates;

/* --- the trace ------------------------------------------------------------------------------- */

const char *probe_trace(void)
{
    return trace;
}

void probe_clear(void)
{
    trace_len = 0;
    trace[0] = '\0';
}

void probe_trace_predicates(bool on)
{
    with_predicates = on;
}

const char *probe_names(const struct asyncore_map *map)
{
    static char names[64];
    struct asyncore_dispatcher *at = NULL;
    size_t length = 0;

    names[0] = '\0';
    while ((at = asyncore_map_next(map, at)) && length < sizeof names)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s", probe_of(at)->name);
    return names;
}

void probe_setup(void)
{
    probe_clear();
    with_predicates = false;
}

void probe_note(const char *format, ...)
{
    const char *space = trace_len > 0 ? " " : "";
    char word[256];
    va_list arguments;
    int n;

    va_start(arguments, format);
    vsnprintf(word, sizeof word, format, arguments);
    va_end(arguments);
    n = snprintf(trace + trace_len, sizeof trace - trace_len, "%s%s", space, word);
    ck_assert_uint_lt(trace_len + (size_t)n, sizeof trace);
    trace_len += (size_t)n;
}

int probe_count(const char *word)
{
    const size_t len = strlen(word);
    int count = 0;

    for (const char *at = trace; (at = strstr(at, word)); at += len) {
        bool begins = at == trace || at[-1] == ' ';

        if (begins && (at[len] == ' ' || at[len] == '\0'))
            count++;
    }
    return count;
}

static void note_call(struct probe *self, enum probe_call call)
{
    static const char *const names[PROBE_CALLS] = {
        "readable", "writable", "read",  "write", "expt",
        "connect",  "accept",   "close", "error", "finalize",
    };

    self->calls[call]++;
    if (call > PROBE_WRITABLE || with_predicates)
        probe_note("%s.%s", self->name ? self->name : "?", names[call]);
}

/* --- what a probe does by itself ------------------------------------------------------------- */

static int do_readable(struct probe *self)
{
    return self->readable;
}

static int do_writable(struct probe *self)
{
    return self->writable;
}

static int do_read(struct probe *self)
{
    char data[8192];
    int n = asyncore_recv(&self->base, data, sizeof data);

    if (n > 0)
        self->total += (size_t)n;
    return n;
}

static int do_write(struct probe *self)
{
    self->writable = false;
    return 0;
}

static int do_expt(struct probe *self)
{
    return asyncore_recv_flags(&self->base, &self->oob, 1, MSG_OOB);
}

static int do_nothing(struct probe *self)
{
    (void)self;
    return 0;
}

static int do_accept(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);

    if (sock >= 0)
        close(sock);
    return sock < 0 ? sock : 0;
}

static int do_close(struct probe *self)
{
    return asyncore_close(&self->base);
}

static int do_error(struct probe *self)
{
    self->error = asyncore_compact_traceback(&self->base)->error;
    return asyncore_close(&self->base);
}

static int (*const defaults[PROBE_CALLS])(struct probe *self) = {
    do_readable, do_writable, do_read,  do_write, do_expt,
    do_nothing,  do_accept,   do_close, do_error, do_nothing,
};

static int call_hook(struct asyncore_dispatcher *d, enum probe_call call)
{
    struct probe *self = probe_of(d);

    note_call(self, call);
    return self->hook[call] ? self->hook[call](self) : defaults[call](self);
}

/* --- the class ------------------------------------------------------------------------------- */

#define METHOD(name, call)                                                                         \
    static int probe_##name(struct asyncore_dispatcher *d)                                         \
    {                                                                                              \
        return call_hook(d, call);                                                                 \
    }

METHOD(readable, PROBE_READABLE)
METHOD(writable, PROBE_WRITABLE)
METHOD(handle_read, PROBE_READ)
METHOD(handle_write, PROBE_WRITE)
METHOD(handle_expt, PROBE_EXPT)
METHOD(handle_connect, PROBE_CONNECT)
METHOD(handle_accept, PROBE_ACCEPT)
METHOD(handle_close, PROBE_CLOSE)
METHOD(handle_error, PROBE_ERROR)

static int probe_init(struct asyncore_dispatcher *d, int fd)
{
    probe_of(d)->readable = true;
    return asyncore_dispatcher_init(d, fd);
}

static void probe_finalize(struct asyncore_dispatcher *d)
{
    note_call(probe_of(d), PROBE_FINALIZE);
}

ASYNCORE_DEFINE_CLASS(probe, asyncore_dispatcher, .init = probe_init, .finalize = probe_finalize,
                      .readable = probe_readable, .writable = probe_writable,
                      .handle_read = probe_handle_read, .handle_write = probe_handle_write,
                      .handle_expt = probe_handle_expt, .handle_connect = probe_handle_connect,
                      .handle_accept = probe_handle_accept, .handle_close = probe_handle_close,
                      .handle_error = probe_handle_error);

ASYNCORE_DEFINE_CLASS(quiet_probe, probe, .interest = ASYNCORE_INTEREST_ON_CHANGE);

struct probe *probe_make(const char *name, int fd, struct asyncore_map *map)
{
    struct probe *self = probe_new(fd, map);

    ck_assert_ptr_nonnull(self);
    self->name = name;
    return self;
}

struct probe *quiet_probe_make(const char *name, int fd, struct asyncore_map *map)
{
    struct quiet_probe *self = quiet_probe_new(fd, map);

    ck_assert_ptr_nonnull(self);
    self->base.name = name;
    return &self->base;
}

struct probe *probe_connected(const char *name, int family, struct asyncore_map *map, int *peer)
{
    int pair[2];

    if (family == AF_UNIX)
        test_socketpair(SOCK_STREAM, pair);
    else
        test_pair(family, pair);
    *peer = pair[1];
    return probe_make(name, pair[0], map);
}
