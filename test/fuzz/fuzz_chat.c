/*
 * Fuzz target: the input of an async_chat, with any bytes, cuts and terminators.
 *
 * An input is a script: terminators, when they are changed (in found_terminator always; in
 * collect_incoming_data and between reads if the script says so), the cuts, and the data. The calls
 * that the library makes must be those of a naive model (chat_model.c) for the same reads; and
 * where only found_terminator changes the terminator, what they say must be the same as without any
 * cuts.
 */
#include "chat_model.h"

#include <asyncore/asyncore.h>

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- scripts --------------------------------------------------------------------------------- */

#define TERMS 4
#define CUTS 32

struct script {
    struct term terms[TERMS];
    unsigned term_count;
    unsigned in_collect; /* every how many calls the terminator is changed there; 0: never */
    unsigned in_size;
    struct {
        size_t len;
        bool changes; /* the terminator, before this read */
    } cuts[CUTS];
    unsigned cut_count;
    const uint8_t *data;
    size_t len;
};

struct reader {
    const uint8_t *at;
    size_t left;
};

static unsigned get(struct reader *r)
{
    if (r->left == 0)
        return 0;
    r->left--;
    return *r->at++;
}

static void get_term(struct reader *r, struct term *term)
{
    unsigned what = get(r);

    *term = (struct term){.kind = what % 8 == 0   ? TERM_NONE
                                  : what % 8 <= 2 ? TERM_COUNT
                                                  : TERM_BYTES};
    term->length = what / 8; /* to 31 */
    if (term->kind == TERM_COUNT && term->length >= 24)
        term->length = (term->length - 24) * 256 + get(r);
    if (term->kind != TERM_BYTES)
        return;
    if (term->length > r->left)
        term->length = r->left;
    term->bytes = r->at;
    r->at += term->length;
    r->left -= term->length;
}

static void get_script(struct reader *r, struct script *s)
{
    unsigned what = get(r);

    memset(s, 0, sizeof *s);
    s->term_count = 1 + what % TERMS;
    s->in_collect = what / 4 % 8;
    s->cut_count = what / 32 * 4;
    s->in_size = 1 + get(r) * 16;
    for (unsigned i = 0; i < s->term_count; i++)
        get_term(r, &s->terms[i]);
    for (unsigned i = 0; i < s->cut_count; i++) {
        what = get(r);
        s->cuts[i].changes = what >= 224;
        s->cuts[i].len = what % 32;
    }
    s->data = r->at;
    s->len = r->left < MODEL_SIZE ? r->left : MODEL_SIZE;
}

static bool depends_on_cuts(const struct script *s)
{
    for (unsigned i = 0; i < s->cut_count; i++)
        if (s->cuts[i].changes)
            return true;
    return s->in_collect > 0;
}

/* --- traces ---------------------------------------------------------------------------------- */

#define FOUND 0x8000U

/* What was collected, and in which calls: lengths, or FOUND. */
struct trace {
    uint8_t data[MODEL_SIZE];
    size_t len;
    uint16_t calls[2 * MODEL_SIZE + 2];
    size_t call_count;
    unsigned found, collected; /* calls */
};

static void clear(struct trace *t)
{
    t->len = t->call_count = 0;
    t->found = t->collected = 0;
}

static void note(struct trace *t, const void *data, size_t len)
{
    if (len == 0 || t->len + len > sizeof t->data)
        abort(); /* never nothing, and never more than there was */
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->calls[t->call_count++] = (uint16_t)len;
    t->collected++;
}

static void note_found(struct trace *t)
{
    t->calls[t->call_count++] = FOUND;
    t->found++;
}

/* Calls that follow each other collect the same as one. */
static void merge(struct trace *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->call_count; i++) {
        if (n > 0 && t->calls[i] != FOUND && t->calls[n - 1] != FOUND)
            t->calls[n - 1] = (uint16_t)(t->calls[n - 1] + t->calls[i]);
        else
            t->calls[n++] = t->calls[i];
    }
    t->call_count = n;
}

static bool is_same(const struct trace *a, const struct trace *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0 &&
           a->call_count == b->call_count &&
           memcmp(a->calls, b->calls, a->call_count * sizeof *a->calls) == 0;
}

static void print(const char *name, const struct trace *t)
{
    fprintf(stderr, "%s:", name);
    for (size_t i = 0; i < t->call_count; i++)
        if (t->calls[i] == FOUND)
            fputs(" found", stderr);
        else
            fprintf(stderr, " %u", t->calls[i]);
    fprintf(stderr, "; %zu bytes\n", t->len);
}

static void compare(const char *name, const struct trace *a, const struct trace *b)
{
    if (is_same(a, b))
        return;
    fprintf(stderr, "the calls differ from %s\n", name);
    print("here", a);
    print("there", b);
    abort();
}

static const struct term *next_term(const struct script *s, unsigned found)
{
    return &s->terms[found % s->term_count];
}

static bool changes_in_collect(const struct script *s, const struct trace *t)
{
    return s->in_collect > 0 && t->collected % s->in_collect == 0;
}

/* --- the model ------------------------------------------------------------------------------- */

static struct {
    struct model model;
    struct trace trace;
    const struct script *script;
} naive;

static void naive_collect(struct model *m, const uint8_t *data, size_t len)
{
    note(&naive.trace, data, len);
    if (changes_in_collect(naive.script, &naive.trace))
        model_set(m, next_term(naive.script, naive.trace.collected));
}

static void naive_found(struct model *m)
{
    note_found(&naive.trace);
    model_set(m, next_term(naive.script, naive.trace.found));
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void run_model(const struct script *s, bool cut)
{
    const uint8_t *at = s->data;
    size_t left = s->len;

    naive.model.len = 0;
    clear(&naive.trace);
    naive.model.collect = naive_collect;
    naive.model.found = naive_found;
    naive.script = s;
    model_set(&naive.model, &s->terms[0]);
    for (unsigned i = 0; cut && i < s->cut_count; i++) {
        size_t len = least(least(s->cuts[i].len, left), s->in_size);

        if (s->cuts[i].changes)
            model_set(&naive.model, next_term(s, i));
        if (len > 0)
            model_receive(&naive.model, at, len);
        at += len;
        left -= len;
    }
    for (size_t len; left > 0; left -= len, at += len) {
        len = cut ? least(left, s->in_size) : left;
        model_receive(&naive.model, at, len);
    }
    model_end(&naive.model);
}

/* --- the library ----------------------------------------------------------------------------- */

/* The channel's socket: reads are what the script says. */
static struct {
    struct asyncore_socket base;
    const uint8_t *at;
    size_t left;
    size_t next; /* the size of the next read */
    bool closed;
} feed;

static int feed_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    size_t n = least(least(feed.next, feed.left), len);

    (void)s;
    (void)flags;
    if (feed.next == 0)
        return -EAGAIN;
    memcpy(buf, feed.at, n);
    feed.at += n;
    feed.left -= n;
    return (int)n;
}

static int feed_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    (void)s;
    (void)buf;
    (void)flags;
    return (int)len;
}

static int feed_getsockopt(struct asyncore_socket *s, int level, int name, void *value,
                           socklen_t *len)
{
    (void)s;
    (void)level;
    (void)name;
    memset(value, 0, *len < sizeof(int) ? *len : sizeof(int));
    *len = sizeof(int);
    return 0;
}

static int feed_close(struct asyncore_socket *s)
{
    s->fd = -1;
    feed.closed = true;
    return 0;
}

static const struct asyncore_socket_class feed_class = {
    .table_size = sizeof feed_class,
    .name = "feed",
    .recv = feed_recv,
    .send = feed_send,
    .getsockopt = feed_getsockopt,
    .close = feed_close,
};

struct fuzzed {
    struct asynchat_async_chat base;
    const struct script *script;
    struct trace *trace;
};

ASYNCORE_DECLARE_LOCAL_CLASS(fuzzed, asynchat_async_chat);

static int set(struct asyncore_dispatcher *d, const struct term *term)
{
    if (term->kind == TERM_NONE)
        return asynchat_set_terminator(d, NULL, 0);
    if (term->kind == TERM_COUNT)
        return asynchat_set_terminator_count(d, (int64_t)term->length);
    return asynchat_set_terminator(d, term->bytes, term->length);
}

static int fuzzed_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct fuzzed *self = fuzzed_of(d);

    note(self->trace, data, len);
    if (changes_in_collect(self->script, self->trace))
        return set(d, next_term(self->script, self->trace->collected));
    return 0;
}

static int fuzzed_found_terminator(struct asyncore_dispatcher *d)
{
    struct fuzzed *self = fuzzed_of(d);

    note_found(self->trace);
    return set(d, next_term(self->script, self->trace->found));
}

ASYNCORE_DEFINE_LOCAL_CLASS(fuzzed, asynchat_async_chat,
                            .collect_incoming_data = fuzzed_collect_incoming_data,
                            .found_terminator = fuzzed_found_terminator);

static void receive(struct asyncore_dispatcher *d, size_t len)
{
    feed.next = len;
    if (asyncore_handle_read(d) < 0)
        abort();
}

static struct asyncore_map *map; /* of all runs */

static void free_map(void)
{
    asyncore_map_free(map);
}

static struct asyncore_dispatcher *open_chat(const struct script *s, struct trace *trace)
{
    static int pipes[2];
    struct fuzzed *self;

    if (!map && (!(map = asyncore_map_new(NULL)) || pipe(pipes) < 0 || atexit(free_map) != 0))
        err(1, NULL);
    (void)asyncore_poll(0, map); /* destroys the one before */
    memset(&feed, 0, sizeof feed);
    feed.base = (struct asyncore_socket){.cls = &feed_class, .fd = pipes[0]};
    feed.at = s->data;
    feed.left = s->len;
    self = fuzzed_new(-1, map);
    if (!self || asyncore_set_socket_object(fuzzed_dispatcher(self), &feed.base, NULL) < 0)
        err(1, NULL);
    self->script = s;
    self->trace = trace;
    return fuzzed_dispatcher(self);
}

static void run_library(const struct script *s, struct trace *trace)
{
    struct asyncore_dispatcher *d = open_chat(s, trace);

    clear(trace);
    if (set(d, &s->terms[0]) < 0 || asynchat_set_ac_in_buffer_size(d, s->in_size) < 0)
        abort();
    for (unsigned i = 0; i < s->cut_count; i++) {
        if (s->cuts[i].changes && set(d, next_term(s, i)) < 0)
            abort();
        if (s->cuts[i].len > 0 && feed.left > 0)
            receive(d, s->cuts[i].len);
    }
    while (feed.left > 0)
        receive(d, feed.left);
    receive(d, 1);
    if (!feed.closed)
        abort(); /* that was the end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trace trace;
    struct reader reader = {.at = data, .left = size};
    struct script script;

    get_script(&reader, &script);
    run_library(&script, &trace);
    run_model(&script, true);
    compare("the model's", &trace, &naive.trace);
    if (!depends_on_cuts(&script)) {
        run_model(&script, false);
        merge(&trace);
        merge(&naive.trace);
        compare("those without cuts", &trace, &naive.trace);
    }
    return 0;
}
