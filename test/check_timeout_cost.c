/*
 * What timeouts cost: timers of libevent's and memory, common timeouts, what a message costs, and
 * thousands of channels.
 *
 * The linker leads the library's calls of malloc, event_add and event_base_init_common_timeout here
 * (--wrap).
 */
#define _GNU_SOURCE
#include "fault.h"
#include "support.h"
#include "timed.h"

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMMON_MOST = 8 /* common timeouts, for a map */
};

static bool adding_fails; /* for want of memory in libevent */
static long adds;
static long common_adds; /* ... with a common timeout */
static const struct timeval *commons[COMMON_MOST];
static int common_count; /* calls of event_base_init_common_timeout */

int __real_event_add(struct event *event, const struct timeval *tv);
int __wrap_event_add(struct event *event, const struct timeval *tv);
const struct timeval *__real_event_base_init_common_timeout(struct event_base *the_base,
                                                            const struct timeval *duration);
const struct timeval *__wrap_event_base_init_common_timeout(struct event_base *the_base,
                                                            const struct timeval *duration);

int __wrap_event_add(struct event *event, const struct timeval *tv)
{
    if (adding_fails)
        return -1;
    adds++;
    for (int i = 0; tv && i < common_count && i < COMMON_MOST; i++)
        common_adds += tv == commons[i];
    return __real_event_add(event, tv);
}

const struct timeval *__wrap_event_base_init_common_timeout(struct event_base *the_base,
                                                            const struct timeval *duration)
{
    const struct timeval *tv = __real_event_base_init_common_timeout(the_base, duration);

    if (common_count < COMMON_MOST)
        commons[common_count] = tv;
    common_count++;
    return tv;
}

static void transmit_one(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_send(d, "x", 1), 1);
}

static void setup(void)
{
    timed_setup();
    common_count = 0;
    adding_fails = false;
    adds = common_adds = 0;
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

/* Allocations that may fail without anyone being told: libevent's for a common timeout, and for a
 * timer, which finds room later. */
enum {
    UNTOLD = 3
};

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

/* Whether an allocation failed; *untold counts those that nobody was told of. */
static bool play_with_fault(long n, bool lasts, int *untold)
{
    struct teller *teller;
    int pair[2], r;

    setup();
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
    if (fault.where && fault.told == 0)
        ++*untold;
    return fault.where != NULL;
}

START_TEST(allocations_fail)
{
    long n = 1;
    int untold = 0;

    while (play_with_fault(n, _i, &untold))
        n++;
    ck_assert_int_ge(n - 1 - untold, 1); /* the timeouts */
    ck_assert_int_le(untold, _i ? 0 : UNTOLD);
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

static void check_no_memory(int way)
{
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, way == POLL, timed_map, 1), -ENOMEM);
    check_trace("");
}

static int events(void)
{
    return event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED);
}

/* The next passes try again. */
START_TEST(no_room_for_the_timer)
{
    struct asyncore_dispatcher *d = timed_make();
    int without;

    serve_once(_i, 0);
    without = events();
    adding_fails = true;
    set_timeout(d, LONG);
    check_no_memory(_i);
    check_no_memory(_i);
    adding_fails = false;
    ck_assert_int_eq(events(), without);
    ck_assert_int_eq(run_passes(timed_map, _i == POLL, 1), 0);
    ck_assert_int_eq(events(), without + 1);
}
END_TEST

/* ... when it has fired, and is to be set again. */
START_TEST(no_room_for_the_rest)
{
    struct asyncore_dispatcher *d = timed_make();
    int with;

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    with = events();
    set_timeout(d, LONG); /* the timer stays as it is */
    adding_fails = true;
    probe_clear();
    check_no_memory(_i);
    check_no_memory(_i);
    adding_fails = false;
    ck_assert_int_eq(events(), with - 1);
    ck_assert_int_eq(run_passes(timed_map, _i == POLL, 1), 0);
    ck_assert_int_eq(events(), with);
}
END_TEST

static int done_result;

static void note_done(struct asyncore_map *map, int result, void *arg)
{
    (void)map;
    (void)arg;
    done_result = result;
}

/* The host is told, as of every event that cannot be added. */
START_TEST(no_room_when_attached)
{
    struct asyncore_dispatcher *d = timed_make();

    ck_assert_int_eq(asyncore_map_attach(timed_map, note_done, NULL), 0);
    ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
    done_result = 0;
    adding_fails = true;
    set_timeout(d, LONG);
    ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
    ck_assert_int_eq(done_result, -ENOMEM);
    adding_fails = false;
    set_timeout(d, SHORT);
    serve_until(SELECT, "a.timeout", 1);
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

/* --- common timeouts -------------------------------------------------------------------------- */

enum {
    TRIES = 100 /* in case the process rests between setting a timeout and its timer */
};

static void set_anew(struct asyncore_dispatcher *d, double seconds)
{
    set_timeout(d, ASYNCORE_TIMEOUT_NONE);
    set_timeout(d, seconds);
}

/* Each time that is full is one, which the base is asked for once. */
START_TEST(full_times_are_common)
{
    struct asyncore_dispatcher *d = timed_make();

    for (int i = 0; i < TRIES; i++)
        set_anew(d, LONG);
    ck_assert_int_eq(common_count, 1);
    ck_assert_int_eq(adds, TRIES);
    ck_assert_int_gt(common_adds, TRIES / 2);
}
END_TEST

static long common_when_told;

static int note_common(struct timed *self)
{
    (void)self;
    common_when_told = common_adds;
    return 0;
}

/* What is left after activity is none. */
START_TEST(rests_are_not_common)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->on_timeout = note_common;
    set_timeout(d, 5 * SHORT);
    pass_time(3 * SHORT);
    transmit_one(d);
    serve_until(_i, "a.timeout", 1);
    ck_assert_int_le(common_when_told, 1);
}
END_TEST

/* Nor is a time to connect. */
START_TEST(times_to_connect_are_not_common)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, LONG);
    asyncore_set_connected(d, false);
    asyncore_set_connecting(d, true);
    ck_assert_int_eq(asyncore_set_connect_timeout(d, SHORT), 0);
    ck_assert_int_eq(adds, 2);
    ck_assert_int_le(common_adds, 1);
}
END_TEST

/* A map has a few; others are told, too. */
START_TEST(few_are_common)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    for (int i = 0; i < TRIES; i++)
        set_anew(d, LONG + i);
    ck_assert_int_eq(common_count, COMMON_MOST);
    ck_assert_int_eq(common_adds, COMMON_MOST);
    begin = test_now();
    set_timeout(d, SHORT);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, SHORT);
    ck_assert_int_eq(common_adds, COMMON_MOST);
}
END_TEST

/* The host has used them up. */
START_TEST(the_base_refuses)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timeval tv = {.tv_sec = 5000};
    double begin;

    while (__real_event_base_init_common_timeout(base, &tv))
        tv.tv_sec++;
    for (int i = 0; i < TRIES; i++)
        set_anew(d, LONG);
    ck_assert_int_eq(common_count, 1); /* it is not asked again, which would be a warning each */
    ck_assert_ptr_null(commons[0]);
    begin = test_now();
    set_timeout(d, SHORT);
    serve_until(_i, "a.timeout", 2);
    ck_assert_double_ge(told_at - begin, 2 * SHORT);
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

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, timed_teardown);
    suite_add_tcase(s, tc);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("timeout_cost");
    TCase *tc = tcase_create("allocations");

    test_add_fixture(tc);
    tcase_add_loop_test(tc, allocations_fail, 0, 2);
    suite_add_tcase(s, tc);
    tc = add_case(s, tcase_create("memory"));
    tcase_add_loop_test(tc, set_without_memory, 0, WAYS);
    tcase_add_loop_test(tc, no_room_for_the_timer, 0, ATTACHED);
    tcase_add_loop_test(tc, no_room_for_the_rest, 0, ATTACHED);
    tcase_add_test(tc, no_room_when_attached);
    tc = add_case(s, tcase_create("messages"));
    tcase_add_test(tc, messages_add_no_events);
    tc = add_case(s, tcase_create("common"));
    tcase_add_test(tc, full_times_are_common);
    tcase_add_loop_test(tc, rests_are_not_common, 0, WAYS);
    tcase_add_test(tc, times_to_connect_are_not_common);
    tcase_add_loop_test(tc, few_are_common, 0, WAYS);
    tcase_add_loop_test(tc, the_base_refuses, 0, WAYS);
    tc = add_case(s, tcase_create("stress_20000"));
    tcase_add_loop_test(tc, many_with_the_same, 0, WAYS);
    tcase_add_loop_test(tc, many_with_different_ones, 0, WAYS);
    fault_install();
    return test_main(s);
}
