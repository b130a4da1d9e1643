/*
 * asyncore_call_later: when and in which order calls come, who may run them, what cancels them, and
 * what their functions may do.
 *
 * The linker leads the library's allocations, and its calls of event_add, here (--wrap).
 */
#define _GNU_SOURCE
#include "fault.h"
#include "probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHORT 0.01
#define SOON 0.0001 /* due when another that was asked for a moment ago with 0 is */

static struct event_base *base;
static struct asyncore_map *the_map;
static struct probe *probe;
static int peer;

static void setup(void)
{
    probe_setup();
    base = event_base_new();
    ck_assert_ptr_nonnull(base);
    the_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(the_map);
    peer = -1;
}

static void teardown(void)
{
    asyncore_map_free(the_map);
    event_base_free(base);
    if (peer >= 0)
        test_close(&peer);
}

static void make(void)
{
    probe = probe_connected("a", AF_INET, the_map, &peer);
}

static void check_trace(const char *expected)
{
    ck_assert_str_eq(probe_trace(), expected);
    probe_clear();
}

static double called_at;

/* Notes its name. */
static void note(struct asyncore_map *map, void *arg)
{
    ck_assert_ptr_eq(map, the_map);
    called_at = test_now();
    probe_note("%s", (const char *)arg);
}

static struct asyncore_call *later(double seconds, void (*fn)(struct asyncore_map *, void *),
                                   void *arg)
{
    struct asyncore_call *call = asyncore_call_later(the_map, seconds, fn, arg);

    ck_assert_ptr_nonnull(call);
    return call;
}

static struct asyncore_call *note_later(double seconds, const char *name)
{
    return later(seconds, note, (void *)(uintptr_t)name);
}

/* Runs the base until nothing is left on it. */
static void dispatch(void)
{
    ck_assert_int_ge(event_base_dispatch(base), 0);
}

/* Passes of the map, which a call does not end, until the trace has the word. */
static void loop_until(struct asyncore_map *map, bool use_poll, const char *word)
{
    const double deadline = test_now() + TEST_WAIT_SECONDS;

    while (probe_count(word) == 0) {
        ck_assert(test_now() < deadline);
        ck_assert_int_eq(asyncore_loop(2 * SHORT, use_poll, map, 1), ASYNCORE_LOOP_COUNT);
    }
}

/* --- when ------------------------------------------------------------------------------------ */

START_TEST(refused)
{
    static const double wrong[] = {-1, -1e-9, -INFINITY, NAN};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        ck_assert_ptr_null(asyncore_call_later(the_map, wrong[i], note, NULL));
        ck_assert_int_eq(errno, EINVAL);
    }
}
END_TEST

START_TEST(called_once)
{
    const double begin = test_now();

    note_later(SHORT, "x");
    dispatch();
    check_trace("x");
    ck_assert_double_ge(called_at - begin, SHORT);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

START_TEST(at_once_but_not_now)
{
    note_later(0, "x");
    check_trace("");
    dispatch();
    check_trace("x");
}
END_TEST

/* As soon as the base runs: it does not wait for a tick of its clock. */
START_TEST(at_once_in_the_first_iteration)
{
    note_later(0, "x");
    ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    check_trace("x");
}
END_TEST

START_TEST(never)
{
    static const double far[] = {INFINITY, 1e300, 1e12, 2e8};

    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        note_later(far[i], "x");
    ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    check_trace("");
}
END_TEST

static void spend(double seconds)
{
    const double until = test_now() + seconds;

    while (test_now() < until)
        ;
}

/* libevent adds to the time at which its callbacks began; and, unless there is something else to do
 * at once, waits from there, too. */
static void asks_late(struct asyncore_map *map, void *arg)
{
    (void)map;
    spend(3 * SHORT);
    *(double *)arg = test_now();
    note_later(0, "at_once");
    note_later(SHORT, "x");
}

START_TEST(not_early_after_a_slow_callback)
{
    double begin;

    later(0, asks_late, &begin);
    dispatch();
    check_trace("at_once x");
    ck_assert_double_ge(called_at - begin, SHORT);
}
END_TEST

/* --- in which order -------------------------------------------------------------------------- */

START_TEST(by_their_times)
{
    note_later(3 * SHORT, "c");
    note_later(SHORT, "a");
    note_later(2 * SHORT, "b");
    dispatch();
    check_trace("a b c");
}
END_TEST

enum {
    MANY = 2000
};

struct one {
    double not_before; /* the bounds of its time */
    double not_after;
    struct asyncore_call *call; /* NULL: none is pending */
};

static struct one ones[MANY];
static struct one *called[MANY];
static int call_count;

static void note_one(struct asyncore_map *map, void *arg)
{
    struct one *one = arg;

    (void)map;
    ck_assert_int_lt(call_count, MANY);
    ck_assert_ptr_nonnull(one->call);
    ck_assert_double_ge(test_now(), one->not_before);
    one->call = NULL;
    called[call_count++] = one;
}

static void ask_for_one(int i, double seconds)
{
    ones[i].not_before = test_now() + seconds;
    ones[i].call = later(seconds, note_one, &ones[i]);
    ones[i].not_after = test_now() + seconds;
}

/* Each once, in any order. */
START_TEST(of_the_same_time)
{
    call_count = 0;
    for (int i = 0; i < MANY; i++)
        ask_for_one(i, 5 * SHORT);
    dispatch();
    ck_assert_int_eq(call_count, MANY);
}
END_TEST

/* Of any times, some of them cancelled: none comes before another that is certainly earlier, by
 * libevent's clock, which has been seen one and a half ticks behind. */
START_TEST(of_many_times)
{
    uint32_t state = 1;
    int cancelled = 0;
    struct timespec tick;

    ck_assert_int_eq(clock_getres(CLOCK_MONOTONIC_COARSE, &tick), 0);
    call_count = 0;
    for (int i = 0; i < MANY; i++) {
        int chosen;

        state = state * 1664525U + 1013904223U;
        ask_for_one(i, 0.05 + 0.0001 * ((state >> 8) % 500));
        chosen = (int)(state >> 16) % (i + 1);
        if (state >> 30 == 0 && ones[chosen].call) {
            ones[chosen].call = asyncore_call_cancel(ones[chosen].call);
            cancelled++;
        }
    }
    dispatch();
    ck_assert_int_gt(cancelled, 0);
    ck_assert_int_eq(call_count, MANY - cancelled);
    for (int i = 1; i < call_count; i++)
        ck_assert_double_le(called[i - 1]->not_before,
                            called[i]->not_after + 2e-9 * (double)tick.tv_nsec);
}
END_TEST

enum {
    FEW = 20
};

static void note_host(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    probe_note("host");
}

/* All calls have the map's priority, those that were asked for before it was set too. */
START_TEST(by_priority)
{
    const struct timeval now = {0, 0};
    struct event *host;

    asyncore_map_free(the_map);
    ck_assert_int_eq(event_base_priority_init(base, 3), 0);
    the_map = asyncore_map_new(base);
    for (int i = 0; i < FEW; i++)
        note_later(SHORT * (i * 7 % FEW) / FEW, "x");
    ck_assert_int_eq(asyncore_map_set_priority(the_map, 2), 0);
    for (int i = 0; i < FEW; i++)
        note_later(SHORT, "x");
    host = evtimer_new(base, note_host, NULL);
    ck_assert_ptr_nonnull(host);
    ck_assert_int_eq(event_add(host, &now), 0);
    spend(5 * SHORT); /* all are due */
    dispatch();
    ck_assert_int_eq(strncmp(probe_trace(), "host x x", 8), 0);
    ck_assert_int_eq(probe_count("x"), 2L * FEW);
    event_free(host);
}
END_TEST

/* --- who runs them --------------------------------------------------------------------------- */

/* The loop goes on waiting, and ends when its map is empty, whatever is still to come. */
START_TEST(the_loop_of_its_map)
{
    make();
    note_later(SHORT, "x");
    loop_until(the_map, _i, "x");
    check_trace("x");
}
END_TEST

START_TEST(the_loop_ends_without_it)
{
    note_later(SHORT, "x");
    ck_assert_int_eq(asyncore_loop(1, _i, the_map, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    check_trace("");
    dispatch();
    check_trace("x");
}
END_TEST

START_TEST(the_loop_of_another_map)
{
    struct asyncore_map *other = asyncore_map_new(base);
    int other_peer;

    (void)probe_connected("b", AF_INET, other, &other_peer);
    note_later(SHORT, "x");
    loop_until(other, _i, "x");
    check_trace("x");
    asyncore_map_free(other);
    test_close(&other_peer);
}
END_TEST

START_TEST(the_default_map)
{
    struct asyncore_map *mine = the_map;

    ck_assert_ptr_nonnull(asyncore_call_later(NULL, 0, note, (void *)(uintptr_t) "x"));
    the_map = asyncore_socket_map();
    ck_assert_int_eq(event_base_dispatch(asyncore_map_base(NULL)), 1);
    check_trace("x");
    the_map = mine;
}
END_TEST

static void become_readable(struct asyncore_map *map, void *arg)
{
    (void)map;
    (void)arg;
    probe->readable = true;
}

/* After it everyone is asked again, without being touched. */
START_TEST(interest_is_asked_again)
{
    make();
    probe->readable = false;
    test_write_all(peer, "x", 1);
    later(SHORT, become_readable, NULL);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("a.read");
}
END_TEST

START_TEST(interest_is_asked_again_when_attached)
{
    make();
    probe->readable = false;
    test_write_all(peer, "x", 1);
    later(SHORT, become_readable, NULL);
    ck_assert_int_eq(asyncore_map_attach_loop(ASYNCORE_TIMEOUT_NONE, false, the_map,
                                              ASYNCORE_COUNT_NONE, NULL, NULL),
                     0);
    while (probe_count("a.read") == 0)
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}
END_TEST

/* --- cancelling ------------------------------------------------------------------------------ */

START_TEST(cancel_nothing)
{
    ck_assert_ptr_null(asyncore_call_cancel(NULL));
}
END_TEST

START_TEST(cancelled)
{
    struct asyncore_call *call = note_later(SHORT, "x");

    note_later(2 * SHORT, "y");
    ck_assert_ptr_null(asyncore_call_cancel(call));
    dispatch();
    check_trace("y");
}
END_TEST

/* Nothing keeps the base running. */
START_TEST(cancelled_and_gone)
{
    asyncore_call_cancel(note_later(1000, "x"));
    ck_assert_int_eq(event_base_dispatch(base), 1);
}
END_TEST

static struct asyncore_call *victim;

static void cancel_victim(struct asyncore_map *map, void *arg)
{
    (void)map;
    (void)arg;
    victim = asyncore_call_cancel(victim);
    probe_note("cancel");
}

/* Which is due as well: its timer has fired already. */
START_TEST(cancelled_by_another)
{
    later(0, cancel_victim, NULL);
    victim = note_later(SOON, "victim");
    note_later(SHORT, "x");
    spend(5 * SHORT);
    dispatch();
    ck_assert_ptr_null(victim);
    check_trace("cancel x");
}
END_TEST

/* --- what they do ---------------------------------------------------------------------------- */

static void ask_again(struct asyncore_map *map, void *arg)
{
    int *left = arg;

    probe_note("%d", *left);
    if (--*left > 0)
        ck_assert_ptr_nonnull(asyncore_call_later(map, 0, ask_again, arg));
}

START_TEST(ask_for_the_next)
{
    int left = 3;

    later(0, ask_again, &left);
    dispatch();
    check_trace("3 2 1");
}
END_TEST

static void ask_forever(struct asyncore_map *map, void *arg)
{
    ck_assert_ptr_nonnull(asyncore_call_later(map, 0, ask_forever, arg));
}

/* And the base's other events have their turns meanwhile. */
START_TEST(without_starving_others)
{
    make();
    test_write_all(peer, "x", 1);
    later(0, ask_forever, NULL);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("a.read"), 1);
}
END_TEST

static void run_loops(struct asyncore_map *map, void *arg)
{
    (void)arg;
    probe_note("%s", asyncore_errorcode(asyncore_loop(0, false, map, 1)));
    probe_note("%s", asyncore_errorcode(asyncore_poll(0, map)));
    probe_note("%s", asyncore_errorcode(asyncore_poll2(0, map)));
}

/* _i: in select's way, in poll's, and when the host runs the base. */
START_TEST(loops_are_refused)
{
    struct test_capture err;

    make();
    later(0, run_loops, NULL);
    test_capture_begin(&err, STDERR_FILENO);
    if (_i < 2)
        loop_until(the_map, _i, "EDEADLK");
    while (probe_count("EDEADLK") == 0)
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    (void)test_capture_end(&err);
    check_trace("EDEADLK EDEADLK EDEADLK");
}
END_TEST

static void close_probe(struct asyncore_map *map, void *arg)
{
    (void)map;
    (void)arg;
    ck_assert_int_eq(asyncore_close(&probe->base), 0);
}

START_TEST(close_a_channel)
{
    make();
    later(0, close_probe, NULL);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    check_trace("a.finalize");
}
END_TEST

static void end_loop(struct asyncore_map *map, void *arg)
{
    (void)arg;
    ck_assert_int_eq(asyncore_loop_exit(map, 7), 0);
}

START_TEST(end_the_loop)
{
    make();
    later(0, end_loop, NULL);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, ASYNCORE_COUNT_NONE), 7);
}
END_TEST

/* --- the end of the map ---------------------------------------------------------------------- */

static void free_map(struct asyncore_map *map, void *arg)
{
    (void)arg;
    asyncore_map_free(map);
    errno = 0;
    the_map = NULL;
    probe_note("freed");
}

START_TEST(free_drops_them)
{
    note_later(0, "x");
    note_later(1000, "x");
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("");
}
END_TEST

START_TEST(free_the_map)
{
    later(0, free_map, NULL);
    note_later(SOON, "x");
    note_later(1000, "x");
    spend(2 * SHORT);
    dispatch();
    check_trace("freed");
}
END_TEST

/* While its loop runs; the map goes with the loop. */
START_TEST(free_the_map_that_loops)
{
    make();
    later(0, free_map, NULL);
    note_later(SOON, "x");
    spend(2 * SHORT);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    check_trace("freed a.finalize");
}
END_TEST

START_TEST(free_the_map_that_is_attached)
{
    make();
    ck_assert_int_eq(asyncore_map_attach(the_map, NULL, NULL), 0);
    later(0, free_map, NULL);
    note_later(SOON, "x");
    spend(2 * SHORT);
    dispatch();
    check_trace("a.finalize freed");
}
END_TEST

static int free_in_handler(struct probe *self)
{
    struct asyncore_map *map = self->base.map;

    note_later(0, "x");
    asyncore_map_free(map);
    errno = 0;
    ck_assert_ptr_null(asyncore_call_later(map, 0, note, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    the_map = NULL;
    return 0;
}

/* At once, though the map waits for the end of the pass; and none is taken any more. */
START_TEST(free_in_a_handler)
{
    make();
    probe->hook[PROBE_READ] = free_in_handler;
    test_write_all(peer, "x", 1);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    check_trace("a.read a.finalize");
}
END_TEST

/* --- memory that runs out -------------------------------------------------------------------- */

static int fault_calls;

static void count_call(struct asyncore_map *map, void *arg)
{
    (void)map;
    (void)arg;
    fault_calls++;
}

enum {
    FAULT_CALLS = 40 /* libevent's room for timers grows a few times */
};

/* Each is taken at last, and called; whether an allocation failed. */
static bool play_with_fault(long n, bool lasts)
{
    int taken = 0;

    setup();
    fault_calls = 0;
    fault_begin(n, lasts);
    for (int i = 0; i < FAULT_CALLS; i++) {
        struct asyncore_call *call;

        do
            call = asyncore_call_later(the_map, i % 3 * 0.001, count_call, NULL);
        while (!call && fault_again(-errno));
        taken += call != NULL;
    }
    fault_end();
    ck_assert_int_eq(taken, FAULT_CALLS);
    if (fault.where || fault.told)
        ck_assert_int_eq(fault.told, 1);
    dispatch();
    ck_assert_int_eq(fault_calls, FAULT_CALLS);
    teardown();
    return fault.told > 0;
}

START_TEST(allocations_fail)
{
    long n = 1;

    while (play_with_fault(n, _i))
        n++;
    ck_assert_int_gt(n - 1, 2L * FAULT_CALLS);
}
END_TEST

static bool adding_fails;

int __real_event_add(struct event *event, const struct timeval *tv);
int __wrap_event_add(struct event *event, const struct timeval *tv);

int __wrap_event_add(struct event *event, const struct timeval *tv)
{
    return adding_fails ? -1 : __real_event_add(event, tv);
}

static void asks_late_without_memory(struct asyncore_map *map, void *arg)
{
    asks_late(map, arg);
    adding_fails = true;
}

/* Its timer comes too early, as after a slow callback, and cannot be set again: better early than
 * never. */
START_TEST(called_without_memory)
{
    double begin;

    adding_fails = false;
    later(0, asks_late_without_memory, &begin);
    dispatch();
    adding_fails = false;
    check_trace("at_once x");
}
END_TEST

START_TEST(not_taken_without_memory)
{
    adding_fails = true;
    errno = 0;
    ck_assert_ptr_null(asyncore_call_later(the_map, 0, note, NULL));
    ck_assert_int_eq(errno, ENOMEM);
    adding_fails = false;
    ck_assert_int_eq(event_base_dispatch(base), 1);
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

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc, SFun set_up, SFun tear_down)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_ends(TCase *tc)
{
    tcase_add_test(tc, cancel_nothing);
    tcase_add_test(tc, cancelled);
    tcase_add_test(tc, cancelled_and_gone);
    tcase_add_test(tc, cancelled_by_another);
    tcase_add_test(tc, ask_for_the_next);
    tcase_add_loop_test(tc, without_starving_others, 0, 2);
    tcase_add_loop_test(tc, loops_are_refused, 0, 3);
    tcase_add_loop_test(tc, close_a_channel, 0, 2);
    tcase_add_loop_test(tc, end_the_loop, 0, 2);
    tcase_add_test(tc, free_drops_them);
    tcase_add_test(tc, free_the_map);
    tcase_add_loop_test(tc, free_the_map_that_loops, 0, 2);
    tcase_add_test(tc, free_the_map_that_is_attached);
    tcase_add_loop_test(tc, free_in_a_handler, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("call_later");
    TCase *tc;

    add_ends(add_case(s, tcase_create("debug_mode"), debug_setup, teardown));
    add_ends(add_case(s, tcase_create("ends"), setup, teardown));
    tc = add_case(s, tcase_create("times"), setup, teardown);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, called_once);
    tcase_add_test(tc, at_once_but_not_now);
    tcase_add_test(tc, at_once_in_the_first_iteration);
    tcase_add_test(tc, never);
    tcase_add_test(tc, not_early_after_a_slow_callback);
    tcase_add_test(tc, by_their_times);
    tcase_add_test(tc, of_the_same_time);
    tcase_add_test(tc, of_many_times);
    tcase_add_test(tc, by_priority);
    tc = add_case(s, tcase_create("who_runs_them"), setup, teardown);
    tcase_add_loop_test(tc, the_loop_of_its_map, 0, 2);
    tcase_add_loop_test(tc, the_loop_ends_without_it, 0, 2);
    tcase_add_loop_test(tc, the_loop_of_another_map, 0, 2);
    tcase_add_test(tc, the_default_map);
    tcase_add_loop_test(tc, interest_is_asked_again, 0, 2);
    tcase_add_test(tc, interest_is_asked_again_when_attached);
    tc = add_case(s, tcase_create("memory"), NULL, NULL);
    tcase_add_loop_test(tc, allocations_fail, 0, 2);
    tc = add_case(s, tcase_create("without_memory"), setup, teardown);
    tcase_add_test(tc, called_without_memory);
    tcase_add_test(tc, not_taken_without_memory);
    fault_install();
    return test_main(s);
}
