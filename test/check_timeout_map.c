/*
 * Timeouts and maps: channels that move, maps that nobody serves, what is left on the base, memory
 * that runs out, what a message costs, and thousands of channels.
 *
 * The linker leads the library's calls of malloc and event_add here (--wrap).
 */
#define _GNU_SOURCE
#include "fault.h"
#include "support.h"
#include "timed.h"

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long adds;

int __real_event_add(struct event *event, const struct timeval *tv);
int __wrap_event_add(struct event *event, const struct timeval *tv);

int __wrap_event_add(struct event *event, const struct timeval *tv)
{
    adds++;
    return __real_event_add(event, tv);
}

/* --- maps ------------------------------------------------------------------------------------ */

static struct asyncore_map *other_map;

static void setup(void)
{
    timed_setup();
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
}

static void teardown(void)
{
    asyncore_map_free(other_map);
    timed_teardown();
}

static void delete_channel(struct asyncore_dispatcher *d)
{
    asyncore_del_channel(d);
}

static void close_channel(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_close(d), 0);
}

static void take_back(struct asyncore_dispatcher *d)
{
    set_timeout(d, ASYNCORE_TIMEOUT_NONE);
}

static void move_away(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_add_channel(d, other_map), 0);
}

static void (*const leaving[])(struct asyncore_dispatcher *) = {delete_channel, close_channel,
                                                                take_back, move_away};

enum {
    LEAVING = sizeof leaving / sizeof *leaving
};

static int move_to_the_end(struct probe *self)
{
    move_away(probe_dispatcher(self));
    asyncore_map_free(other_map);
    other_map = NULL;
    return 0;
}

/* In poll's way it is all one turn. */
START_TEST(who_goes_with_another_map_is_not_told)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    let_come_due(_i, 2 * SHORT);
    probe_clear();
    timed_channel->base.hook[PROBE_READ] = move_to_the_end;
    test_write_all(peer, "x", 1);
    serve_until(_i, "a.finalize", 1);
    check_trace("a.read a.finalize");
}
END_TEST

/* Who leaves is not told, though it was armed, or due already. _i / 2: how; _i % 2: it was due. */
START_TEST(who_leaves_is_not_told)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    if (_i % 2)
        let_come_due(SELECT, 2 * SHORT);
    probe_clear();
    leaving[_i / 2](d);
    pass_time(2 * SHORT);
    serve_due(SELECT);
    ck_assert_int_eq(probe_count("a.timeout"), 0);
}
END_TEST

/* It holds in the other map, and counts anew there. */
START_TEST(who_moves_is_told_by_the_other)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    pass_time(SHORT);
    probe_clear();
    begin = test_now();
    move_away(d);
    while (probe_count("a.timeout") == 0)
        ck_assert_int_eq(asyncore_loop(1, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(told_at - begin, SHORT);
    check_trace("a.timeout");
}
END_TEST

START_TEST(who_comes_back_is_told)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    asyncore_del_channel(d);
    serve_once(_i, 0);
    ck_assert_int_eq(asyncore_add_channel(d, NULL), 0);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* With nobody left nothing keeps the base running. */
START_TEST(nothing_is_left_on_the_base)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->base.readable = false; /* only its timer is on the base */
    set_timeout(d, LONG);
    serve_once(SELECT, 0);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 1);
    leaving[_i](d);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
}
END_TEST

/* The map's end. */
START_TEST(a_map_that_is_freed)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    if (_i)
        let_come_due(SELECT, 2 * SHORT);
    probe_clear();
    asyncore_map_free(timed_map);
    timed_map = NULL;
    pass_time(2 * SHORT);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize");
}
END_TEST

static struct timed *in_other_map(const char *name, int *its_peer)
{
    int pair[2];

    test_pair(AF_INET, pair);
    *its_peer = pair[1];
    return timed_named(name, pair[0], other_map);
}

/* A map that nobody serves neither loses its timeouts nor makes the other one spin. */
START_TEST(nobody_serves_the_map)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timed *served;
    int its_peer, calls;

    served = in_other_map("b", &its_peer);
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    ck_assert_int_eq(asyncore_loop(0, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    probe_clear();
    calls = served->base.calls[PROBE_READABLE];
    ck_assert_int_eq(asyncore_loop(5 * SHORT, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_le(served->base.calls[PROBE_READABLE] - calls, 10);
    check_trace("");
    serve_once(_i, 0);
    check_trace("a.timeout");
    test_close(&its_peer);
}
END_TEST

/* Its time is up before its first pass. */
START_TEST(nobody_has_served_the_map)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    let_come_due(SELECT, 2 * SHORT);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* One that is not attached any more. */
START_TEST(the_host_stops_serving)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(ATTACHED, 0);
    ck_assert_int_eq(asyncore_map_detach(timed_map), 0);
    probe_clear();
    let_come_due(SELECT, 2 * SHORT);
    check_trace("");
    serve_once(_i, 0);
    check_trace("a.timeout");
}
END_TEST

/* The map's timer waits for the first of all. */
START_TEST(the_shortest_is_first)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timed *second;
    int pair[2];

    test_pair(AF_INET, pair);
    second = timed_named("b", pair[0], timed_map);
    set_timeout(d, LONG);
    serve_once(_i, 0);
    set_timeout(timed_dispatcher(second), SHORT);
    serve_until(_i, "b.timeout", 1);
    check_trace("b.timeout");
    test_close(&pair[1]);
}
END_TEST

START_TEST(priority)
{
    struct asyncore_dispatcher *d;

    asyncore_map_free(timed_map);
    asyncore_map_free(other_map);
    other_map = NULL;
    ck_assert_int_eq(event_base_priority_init(base, 3), 0);
    timed_map = asyncore_map_new(base);
    d = timed_make();
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    ck_assert_int_eq(asyncore_map_set_priority(timed_map, 2), 0);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* --- libevent's debug mode -------------------------------------------------------------------- */

/* It must be switched on before anything else: this case comes first. */
static void debug_setup(void)
{
    static bool on;

    if (!on)
        event_enable_debug_mode();
    on = true;
    setup();
}

/* --- memory that runs out --------------------------------------------------------------------- */

static bool told;

struct teller {
    struct asyncore_dispatcher_with_send base;
};

static int teller_handle_timeout(struct asyncore_dispatcher *d)
{
    (void)d;
    told = true;
    return 0;
}

ASYNCORE_CLASS(teller, asyncore_dispatcher_with_send, .handle_timeout = teller_handle_timeout);

/* Both timeouts set, and the loop run until the one is told: -ENOMEM is said, and then it works. */
static int play(struct asyncore_dispatcher *d)
{
    const time_t deadline = fault_seconds() + TEST_WAIT_SECONDS;
    int r;

    fault.step = "set";
    do
        r = asyncore_set_timeout(d, SHORT);
    while (fault_again(r));
    if (r == 0)
        do
            r = asyncore_set_connect_timeout(d, LONG);
        while (fault_again(r));
    fault.step = "loop";
    while (r == 0 && !told && fault_seconds() < deadline) {
        do
            r = asyncore_loop(1, false, timed_map, 1);
        while (fault_again(r));
        r = r == ASYNCORE_LOOP_COUNT ? 0 : r;
    }
    return r;
}

static bool play_with_fault(long n, bool lasts)
{
    struct teller *teller;
    int pair[2], r;

    timed_setup();
    test_pair(AF_INET, pair);
    peer = pair[1];
    teller = teller_new(pair[0], timed_map);
    ck_assert_ptr_nonnull(teller);
    ck_assert_int_eq(run_passes(timed_map, false, 1), 0);
    told = false;
    fault_begin(n, lasts);
    r = play(teller_dispatcher(teller));
    fault_end();
    ck_assert_msg(r == 0, "allocation %ld (%s): %s", n, fault.where, strerror(-r));
    ck_assert(told);
    timed_teardown();
    if (fault.where)
        ck_assert_msg(fault.told == 1, "allocation %ld (%s) was not told", n, fault.where);
    return fault.where != NULL;
}

START_TEST(allocations_fail)
{
    long n = 1;

    while (play_with_fault(n, _i))
        n++;
    ck_assert_int_ge(n - 1, 3); /* the timeouts, the timer, libevent's place for it */
}
END_TEST

/* The setting that failed has changed nothing. */
START_TEST(set_without_memory)
{
    struct asyncore_dispatcher *d = timed_make();
    int r;

    fault_begin(1, true);
    r = asyncore_set_timeout(d, SHORT);
    fault_end();
    ck_assert_int_eq(r, -ENOMEM);
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("");
}
END_TEST

/* --- what it costs ---------------------------------------------------------------------------- */

enum {
    MESSAGES = 200
};

struct echo {
    struct asyncore_dispatcher_with_send base;
};

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    char data[16];
    int n = asyncore_recv(d, data, sizeof data);

    return n > 0 ? asyncore_send(d, data, (size_t)n) : n;
}

ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .handle_read = echo_handle_read);

static void converse(int fd)
{
    char byte;

    for (int i = 0; i < MESSAGES; i++) {
        test_write_all(fd, "x", 1);
        ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, false, timed_map, 1),
                         ASYNCORE_LOOP_COUNT);
        test_read_all(fd, &byte, 1);
    }
}

/* A message adds no event, however often it postpones the timeout. */
START_TEST(messages_add_no_events)
{
    struct echo *self;
    int pair[2];
    long without;

    test_pair(AF_INET, pair);
    peer = pair[1];
    self = echo_new(pair[0], timed_map);
    ck_assert_ptr_nonnull(self);
    ck_assert_int_eq(run_passes(timed_map, false, 2), 0);
    adds = 0;
    converse(peer);
    without = adds;
    set_timeout(echo_dispatcher(self), LONG);
    ck_assert_int_eq(run_passes(timed_map, false, 1), 0);
    ck_assert_int_gt(adds, without); /* the timer: calls are counted */
    adds = 0;
    converse(peer);
    ck_assert_int_eq(adds, without);
    for (int i = 0; i < MESSAGES; i++) {
        set_timeout(echo_dispatcher(self), LONG + i); /* nor does this */
        ck_assert_int_eq(run_passes(timed_map, false, 1), 0);
    }
    ck_assert_int_le(adds - without, MESSAGES + 2); /* run_passes's own timer, and this one */
}
END_TEST

enum {
    CHANNELS_MANY = 20000
};

/* A socket that many channels have, and nothing happens to. */
static int shared_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    (void)s;
    (void)buf;
    (void)len;
    (void)flags;
    return -EAGAIN;
}

static int shared_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    (void)s;
    (void)buf;
    (void)flags;
    return (int)len;
}

static int shared_getsockopt(struct asyncore_socket *s, int level, int name, void *value,
                             socklen_t *len)
{
    return getsockopt(s->fd, level, name, value, len);
}

static int shared_close(struct asyncore_socket *s)
{
    (void)s;
    return 0;
}

static const struct asyncore_socket_class shared_class = {
    .table_size = sizeof shared_class,
    .name = "shared",
    .recv = shared_recv,
    .send = shared_send,
    .getsockopt = shared_getsockopt,
    .close = shared_close,
};

struct one_of_many {
    struct asyncore_dispatcher_with_send base;
    int number;
    double set_at;
    double seconds;
};

ASYNCORE_DECLARE_LOCAL_CLASS(one_of_many, asyncore_dispatcher_with_send);

static struct one_of_many *many[CHANNELS_MANY];
static struct asyncore_socket sockets[CHANNELS_MANY];
static int told_numbers[CHANNELS_MANY];
static int told_count;

static int one_of_many_handle_timeout(struct asyncore_dispatcher *d)
{
    const struct one_of_many *self = one_of_many_of(d);

    ck_assert_int_lt(told_count, CHANNELS_MANY);
    ck_assert_double_ge(test_now() - self->set_at, self->seconds);
    told_numbers[told_count++] = self->number;
    many[self->number] = NULL;
    return asyncore_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(one_of_many, asyncore_dispatcher_with_send,
                            .handle_timeout = one_of_many_handle_timeout);

static void make_many(int fd)
{
    told_count = 0;
    for (int i = 0; i < CHANNELS_MANY; i++) {
        many[i] = one_of_many_new(-1, timed_map);
        ck_assert_ptr_nonnull(many[i]);
        many[i]->number = i;
        sockets[i] = (struct asyncore_socket){.cls = &shared_class, .fd = fd};
        ck_assert_int_eq(
            asyncore_set_socket_object(one_of_many_dispatcher(many[i]), &sockets[i], NULL), 0);
        asyncore_set_connected(one_of_many_dispatcher(many[i]), true);
    }
    ck_assert_int_eq(run_passes(timed_map, false, 1), 0);
}

static void set_many(int i, double seconds)
{
    many[i]->set_at = test_now();
    many[i]->seconds = seconds;
    set_timeout(one_of_many_dispatcher(many[i]), seconds);
}

static void run_out(int way)
{
    if (way == ATTACHED)
        ck_assert_int_eq(asyncore_map_attach(timed_map, NULL, NULL), 0);
    if (way == ATTACHED)
        ck_assert_int_ge(event_base_dispatch(base), 0);
    else
        ck_assert_int_eq(asyncore_loop(LONG, way == POLL, timed_map, ASYNCORE_COUNT_NONE),
                         ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(told_count, CHANNELS_MANY);
}

/* All have the same timeout: each is told, in order, and few timers are set for it. */
START_TEST(many_with_the_same)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    make_many(pair[0]);
    for (int i = 0; i < CHANNELS_MANY; i++)
        set_many(i, 0.3);
    adds = 0;
    run_out(_i);
    for (int i = 0; i < CHANNELS_MANY; i++)
        ck_assert_int_eq(told_numbers[i], i);
    ck_assert_int_lt(adds, CHANNELS_MANY / 4);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* Each has one of its own, and half of them are active once more before it. */
START_TEST(many_with_different_ones)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    make_many(pair[0]);
    for (int i = 0; i < CHANNELS_MANY; i++)
        set_many(i, 0.1 + 0.0001 * (i * 7919 % CHANNELS_MANY % 3000));
    ck_assert_int_eq(run_passes(timed_map, false, 1), 0);
    for (int i = 0; i < CHANNELS_MANY; i += 2) {
        if (!many[i])
            continue; /* told already */
        many[i]->set_at = test_now();
        ck_assert_int_eq(asyncore_send(one_of_many_dispatcher(many[i]), "x", 1), 1);
    }
    run_out(_i);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc, SFun set_up, SFun tear_down)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_maps(TCase *tc)
{
    tcase_add_loop_test(tc, who_leaves_is_not_told, 0, 2 * LEAVING);
    tcase_add_loop_test(tc, who_goes_with_another_map_is_not_told, 0, ATTACHED);
    tcase_add_loop_test(tc, who_moves_is_told_by_the_other, 0, 2);
    tcase_add_loop_test(tc, who_comes_back_is_told, 0, WAYS);
    tcase_add_loop_test(tc, nothing_is_left_on_the_base, 0, LEAVING - 1);
    tcase_add_loop_test(tc, a_map_that_is_freed, 0, 2);
    tcase_add_loop_test(tc, nobody_serves_the_map, 0, 2);
    tcase_add_loop_test(tc, nobody_has_served_the_map, 0, WAYS);
    tcase_add_loop_test(tc, the_host_stops_serving, 0, 2);
    tcase_add_loop_test(tc, the_shortest_is_first, 0, WAYS);
    tcase_add_loop_test(tc, priority, 0, WAYS);
}

int main(void)
{
    Suite *s = suite_create("timeout_map");
    TCase *tc;

    add_maps(add_case(s, tcase_create("debug_mode"), debug_setup, teardown));
    add_maps(add_case(s, tcase_create("maps"), setup, teardown));
    tc = add_case(s, tcase_create("memory"), NULL, NULL);
    tcase_add_loop_test(tc, allocations_fail, 0, 2);
    tc = add_case(s, tcase_create("set_without_memory"), timed_setup, timed_teardown);
    tcase_add_loop_test(tc, set_without_memory, 0, WAYS);
    tc = add_case(s, tcase_create("cost"), timed_setup, timed_teardown);
    tcase_add_test(tc, messages_add_no_events);
    tc = add_case(s, tcase_create("stress_20000"), timed_setup, timed_teardown);
    tcase_add_loop_test(tc, many_with_the_same, 0, WAYS);
    tcase_add_loop_test(tc, many_with_different_ones, 0, WAYS);
    fault_install();
    return test_main(s);
}
