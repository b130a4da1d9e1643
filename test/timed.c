/* A probe with a timeout: see timed.h. */
#include "timed.h"

#include "support.h"

#include <event2/event.h>

#include <poll.h>

struct event_base *base;
struct asyncore_map *timed_map;
int peer;
struct timed *timed_channel;
double told_at;

static bool attached;

static int timed_handle_timeout(struct asyncore_dispatcher *d)
{
    struct timed *self = timed_of(d);

    told_at = test_now();
    probe_note("%s.timeout", self->base.name);
    return self->on_timeout ? self->on_timeout(self) : 0;
}

ASYNCORE_DEFINE_CLASS(timed, probe, .interest = ASYNCORE_INTEREST_ON_CHANGE,
                      .handle_timeout = timed_handle_timeout);

struct timed *timed_named(const char *name, int fd, struct asyncore_map *map)
{
    struct timed *self = timed_new(fd, map);

    ck_assert_ptr_nonnull(self);
    self->base.name = name;
    return self;
}

struct asyncore_dispatcher *timed_make(void)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peer = pair[1];
    timed_channel = timed_named("a", pair[0], timed_map);
    return timed_dispatcher(timed_channel);
}

void timed_setup(void)
{
    probe_setup();
    base = event_base_new();
    ck_assert_ptr_nonnull(base);
    timed_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(timed_map);
    peer = -1;
    attached = false;
}

void timed_teardown(void)
{
    asyncore_map_free(timed_map);
    event_base_free(base);
    if (peer >= 0)
        test_close(&peer);
}

void set_timeout(struct asyncore_dispatcher *d, double seconds)
{
    ck_assert_int_eq(asyncore_set_timeout(d, seconds), 0);
}

void pass_time(double seconds)
{
    const double until = test_now() + seconds;

    while (test_now() < until)
        (void)poll(NULL, 0, 1);
}

void check_trace(const char *expected)
{
    ck_assert_str_eq(probe_trace(), expected);
    probe_clear();
}

static void attach(void)
{
    ck_assert_int_eq(asyncore_map_attach(timed_map, NULL, NULL), 0);
    attached = true;
}

void serve_once(int way, double seconds)
{
    const int flags = EVLOOP_ONCE | (seconds > 0 ? 0 : EVLOOP_NONBLOCK);

    if (way == ATTACHED && !attached)
        attach();
    if (way == ATTACHED)
        ck_assert_int_ge(event_base_loop(base, flags), 0);
    else
        ck_assert_int_ge(asyncore_loop(seconds, way == POLL, timed_map, 1), 0);
}

/* The host's base runs the map's event some iterations after what made it due. */
void serve_due(int way)
{
    for (int i = 0; i < 5; i++)
        serve_once(way, 0);
}

void let_come_due(int way, double seconds)
{
    pass_time(seconds);
    if (way != ATTACHED)
        ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
}

void serve_until(int way, const char *word, int count)
{
    const double deadline = test_now() + TEST_WAIT_SECONDS;

    while (probe_count(word) < count) {
        ck_assert_msg(test_now() < deadline, "the trace is \"%s\"", probe_trace());
        serve_once(way, 1);
    }
}
