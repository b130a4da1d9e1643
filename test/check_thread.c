/*
 * What other threads may ask a map for.
 *
 * Tests run in three ways, by _i: asyncore_loop serves the map, the host runs the base while nobody
 * serves the map, and the host runs the base that the map is attached to.
 */
#include "fault.h"
#include "probe.h"
#include "support.h"

#include <event2/event.h>
#include <event2/thread.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

enum way {
    LOOP,
    HOST,
    ATTACHED,
    WAYS
};

static enum way way;
static struct event_base *base;
static struct asyncore_map *the_map;
static struct probe *probe; /* a */
static int peer;
static struct event *host; /* the host's own event */

#define CALLBACK(name) static void name(evutil_socket_t fd, short what, void *arg)
#define UNUSED_ARGUMENTS (void)fd, (void)what, (void)arg
#define CALL(name) static void name(struct asyncore_map *map, void *arg)

CALLBACK(on_host)
{
    UNUSED_ARGUMENTS;
}

static void set_base(struct event_base *new_base)
{
    base = new_base;
    ck_assert_ptr_nonnull(base);
    the_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(the_map);
    probe = probe_connected("a", AF_UNIX, the_map, &peer);
}

static void setup(void)
{
    probe_setup();
    set_base(event_base_new());
}

static void end_base(void)
{
    if (host)
        event_free(host);
    host = NULL;
    asyncore_map_free(the_map);
    the_map = NULL;
    if (base)
        event_base_free(base);
    base = NULL;
    if (peer >= 0)
        test_close(&peer);
}

/* Keeps the base from having nothing to do. */
static void add_host(short flags, event_callback_fn callback, time_t seconds)
{
    const struct timeval time = {.tv_sec = seconds, .tv_usec = 1000};

    host = event_new(base, -1, flags, callback, NULL);
    ck_assert_ptr_nonnull(host);
    ck_assert_int_eq(event_add(host, &time), 0);
}

/* Until something breaks the base's loop. */
static void run(void)
{
    if (way == ATTACHED)
        ck_assert_int_eq(asyncore_map_attach_loop(ASYNCORE_TIMEOUT_NONE, false, the_map,
                                                  ASYNCORE_COUNT_NONE, NULL, NULL),
                         0);
    if (way == LOOP) {
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, the_map, ASYNCORE_COUNT_NONE),
                         the_map ? ASYNCORE_LOOP_BROKEN : ASYNCORE_LOOP_EMPTY);
        return;
    }
    if (!host)
        add_host(0, on_host, TEST_CASE_SECONDS);
    ck_assert_int_eq(event_base_dispatch(base), 0);
    if (the_map)
        (void)asyncore_map_detach(the_map);
}

CALL(stops)
{
    (void)arg;
    (void)event_base_loopbreak(asyncore_map_base(map));
}

CALL(notes)
{
    (void)map;
    probe_note("%s", (const char *)arg);
}

static void call(void (*fn)(struct asyncore_map *map, void *arg), const char *arg)
{
    ck_assert_int_eq(asyncore_map_call(the_map, fn, (void *)(uintptr_t)arg), 0);
}

static pthread_t start(void *(*body)(void *arg), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

/* Threads return NULL, or what has gone wrong. */
static void join(pthread_t thread)
{
    void *wrong;

    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_msg(!wrong, "%s", (const char *)wrong);
}

/* --- calls ------------------------------------------------------------------------------------ */

static pthread_t called_in;

CALL(notes_thread)
{
    called_in = pthread_self();
    stops(map, arg);
}

static void *calls_once(void *arg)
{
    return asyncore_map_call(the_map, notes_thread, arg) == 0 ? NULL : "asyncore_map_call";
}

START_TEST(is_made_in_the_thread_of_the_base)
{
    pthread_t thread;

    way = (enum way)_i;
    thread = start(calls_once, NULL);
    run();
    join(thread);
    ck_assert(pthread_equal(called_in, pthread_self()));
}
END_TEST

enum {
    THREADS = 4,
    MANY = 50000
};

struct caller {
    pthread_t thread;
    int first; /* of numbers that are still to come */
    int count;
    struct number {
        int n;
        struct caller *caller;
    } numbers[MANY];
};

static struct caller callers[THREADS];
static int left;

CALL(counts)
{
    const struct number *number = arg;

    ck_assert_int_eq(number->n, number->caller->first);
    number->caller->first++;
    if (--left == 0)
        stops(map, NULL);
}

static void *calls_all(void *arg)
{
    struct caller *self = arg;

    for (int i = 0; i < self->count; i++)
        if (asyncore_map_call(the_map, counts, &self->numbers[i]) != 0)
            return "asyncore_map_call";
    return NULL;
}

static void make_calls(int count)
{
    left = THREADS * count;
    for (int i = 0; i < THREADS; i++) {
        struct caller *caller = &callers[i];

        caller->first = 0;
        caller->count = count;
        for (int n = 0; n < count; n++)
            caller->numbers[n] = (struct number){.n = n, .caller = caller};
    }
    for (int i = 0; i < THREADS; i++)
        callers[i].thread = start(calls_all, &callers[i]);
    run();
    for (int i = 0; i < THREADS; i++)
        join(callers[i].thread);
}

START_TEST(keep_the_order_of_each_thread)
{
    way = (enum way)_i;
    make_calls(10);
}
END_TEST

START_TEST(many)
{
    way = (enum way)_i;
    make_calls(MANY);
}
END_TEST

CALL(calls_another)
{
    (void)map;
    probe_note("%s", (const char *)arg);
    call(notes, "third");
    call(stops, NULL);
}

START_TEST(in_a_call_comes_after_those_before_it)
{
    way = (enum way)_i;
    call(calls_another, "first");
    call(notes, "second");
    run();
    ck_assert_str_eq(probe_trace(), "first second third");
}
END_TEST

static bool ticked;

CALLBACK(on_tick)
{
    UNUSED_ARGUMENTS;
    ticked = true;
}

CALL(calls_itself)
{
    int *count = arg;

    if ((*count)++ == 0)
        test_write_all(peer, "x", 1);
    if (ticked && (way == HOST || probe->total > 0))
        stops(map, NULL);
    else
        ck_assert_int_eq(asyncore_map_call(map, calls_itself, arg), 0);
}

/* The host's timer and the channel are served in between. */
START_TEST(that_calls_itself_keeps_nobody_waiting)
{
    int count = 0;

    way = (enum way)_i;
    ticked = false;
    add_host(EV_PERSIST, on_tick, 0);
    ck_assert_int_eq(asyncore_map_call(the_map, calls_itself, &count), 0);
    run();
    ck_assert_int_gt(count, 1);
}
END_TEST

CALL(runs_loops)
{
    struct asyncore_map *other = arg;

    ck_assert_int_eq(asyncore_loop(0, false, map, 1), -EDEADLK);
    ck_assert_int_eq(asyncore_poll(0, map), -EDEADLK);
    ck_assert_int_eq(asyncore_poll(0, other), -EDEADLK);
    stops(map, NULL);
}

START_TEST(may_not_run_a_loop)
{
    struct asyncore_map *other = asyncore_map_new(base);
    int other_peer;

    way = (enum way)_i;
    probe_connected("b", AF_UNIX, other, &other_peer);
    ck_assert_int_eq(asyncore_map_call(the_map, runs_loops, other), 0);
    run();
    asyncore_map_free(other);
    test_close(&other_peer);
}
END_TEST

START_TEST(of_a_map_whose_base_another_map_runs)
{
    struct asyncore_map *other = asyncore_map_new(base);

    ck_assert_int_eq(asyncore_map_call(other, stops, NULL), 0);
    way = (enum way)_i;
    run();
    asyncore_map_free(other);
}
END_TEST

START_TEST(keeps_the_base_until_it_is_made)
{
    call(notes, "made");
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_str_eq(probe_trace(), "made");
    ck_assert_int_eq(event_base_dispatch(base), 1);
}
END_TEST

CALLBACK(on_first)
{
    UNUSED_ARGUMENTS;
    probe_note("host");
}

START_TEST(has_the_priority_of_the_map)
{
    end_base();
    set_base(event_base_new());
    probe_clear();
    ck_assert_int_eq(event_base_priority_init(base, 3), 0);
    ck_assert_int_eq(asyncore_map_set_priority(the_map, 2), 0);
    add_host(0, on_first, 0);
    ck_assert_int_eq(event_priority_set(host, 0), 0);
    call(notes, "call");
    event_active(host, EV_TIMEOUT, 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_str_eq(probe_trace(), "host call");
}
END_TEST

START_TEST(of_the_default_map)
{
    ck_assert_int_eq(asyncore_map_call(NULL, notes, NULL), -EINVAL);
    ck_assert_int_eq(asyncore_map_wakeup(NULL), -EINVAL);
    ck_assert_ptr_nonnull(asyncore_socket_map());
    ck_assert_int_eq(asyncore_map_call(NULL, notes, (void *)(uintptr_t) "made"), 0);
    ck_assert_int_eq(asyncore_map_wakeup(NULL), 0);
    ck_assert_int_eq(event_base_dispatch(asyncore_map_base(NULL)), 1);
    ck_assert_str_eq(probe_trace(), "made");
}
END_TEST

START_TEST(without_a_function)
{
    ck_assert_int_eq(asyncore_map_call(the_map, NULL, NULL), -EINVAL);
}
END_TEST

/* --- wakeup ----------------------------------------------------------------------------------- */

static sem_t asked;
static atomic_bool changed;

static int looks(struct probe *self)
{
    if (self->calls[PROBE_READABLE] == 1)
        sem_post(&asked);
    else if (atomic_load(&changed))
        (void)event_base_loopbreak(base);
    return 1;
}

static void *changes(void *arg)
{
    (void)arg;
    sem_wait(&asked);
    atomic_store(&changed, true);
    return asyncore_map_wakeup(the_map) == 0 ? NULL : "asyncore_map_wakeup";
}

/* A loop that waits for ever, or is about to, asks again. */
static void check_wakeup(void)
{
    pthread_t thread;

    ck_assert_int_eq(sem_init(&asked, 0, 0), 0);
    atomic_store(&changed, false);
    probe->hook[PROBE_READABLE] = looks;
    thread = start(changes, NULL);
    run();
    join(thread);
    ck_assert_int_gt(probe->calls[PROBE_READABLE], 1);
    sem_destroy(&asked);
}

START_TEST(asks_again)
{
    way = _i ? ATTACHED : LOOP;
    check_wakeup();
}
END_TEST

START_TEST(asks_again_with_every_backend)
{
    static const char *const methods[] = {"epoll", "poll", "select"};
    struct event_config *config = event_config_new();

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (i != (size_t)_i / 2)
            ck_assert_int_eq(event_config_avoid_method(config, methods[i]), 0);
    end_base();
    set_base(event_base_new_with_config(config));
    event_config_free(config);
    ck_assert_str_eq(event_base_get_method(base), methods[_i / 2]);
    way = _i % 2 ? ATTACHED : LOOP;
    check_wakeup();
}
END_TEST

static int stops_the_loop(struct probe *self)
{
    probe_note("read after %d", self->calls[PROBE_READABLE]);
    (void)event_base_loopbreak(base);
    return 0;
}

CALL(sends)
{
    (void)map;
    (void)arg;
    test_write_all(peer, "x", 1);
}

/* The pass goes on waiting. */
START_TEST(is_not_the_end_of_a_pass)
{
    way = LOOP;
    probe->hook[PROBE_READ] = stops_the_loop;
    ck_assert_int_eq(asyncore_map_wakeup(the_map), 0);
    call(sends, NULL);
    run();
    ck_assert_str_eq(probe_trace(), "a.read read after 2");
}
END_TEST

START_TEST(of_a_map_that_nobody_serves)
{
    ck_assert_int_eq(asyncore_map_wakeup(the_map), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_int_eq(probe->calls[PROBE_READABLE], 0);
}
END_TEST

/* --- floods ----------------------------------------------------------------------------------- */

enum {
    ROUNDS = 500
};

static atomic_int outstanding;
static int ticks;

CALL(is_made)
{
    (void)map;
    (void)arg;
    atomic_fetch_sub(&outstanding, 1);
}

/* Calls, and while the loop does not keep up, wakeups. */
static void *floods(void *arg)
{
    int r = 0;

    (void)arg;
    while (r == 0 && !atomic_load(&changed)) {
        if (atomic_fetch_add(&outstanding, 1) < 10000) {
            r = asyncore_map_call(the_map, is_made, NULL);
        } else {
            atomic_fetch_sub(&outstanding, 1);
            r = asyncore_map_wakeup(the_map);
        }
    }
    return r == 0 ? NULL : "asyncore_map_call";
}

static void is_over(void)
{
    if (ticks >= 20 && (way == HOST || probe->calls[PROBE_READ] >= ROUNDS)) {
        atomic_store(&changed, true);
        (void)event_base_loopbreak(base);
    }
}

CALLBACK(counts_ticks)
{
    UNUSED_ARGUMENTS;
    ticks++;
    is_over();
}

static int gets_more(struct probe *self)
{
    char c;
    int n = asyncore_recv(&self->base, &c, 1);

    test_write_all(peer, "x", 1);
    is_over();
    return n < 0 ? n : 0;
}

START_TEST(keeps_nobody_waiting)
{
    pthread_t threads[THREADS];

    way = (enum way)_i;
    ticks = 0;
    atomic_store(&changed, false);
    atomic_store(&outstanding, 0);
    probe->hook[PROBE_READ] = gets_more;
    add_host(EV_PERSIST, counts_ticks, 0);
    test_write_all(peer, "x", 1);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(floods, NULL);
    run();
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(atomic_load(&outstanding), 0);
}
END_TEST

/* --- the end of a map ------------------------------------------------------------------------- */

START_TEST(free_makes_pending_calls)
{
    call(notes, "first");
    call(notes, "second");
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_str_eq(probe_trace(), "first second a.finalize");
}
END_TEST

CALL(frees)
{
    (void)arg;
    call(notes, "asked for");
    asyncore_map_free(map);
    probe_note("freed");
    asyncore_map_free(map);
    if (map == the_map)
        the_map = NULL;
    (void)event_base_loopbreak(base);
}

START_TEST(in_a_call)
{
    way = (enum way)_i;
    call(frees, NULL);
    call(notes, "next");
    run();
    ck_assert_str_eq(probe_trace(), way == LOOP ? "next asked for freed a.finalize"
                                                : "next asked for a.finalize freed");
}
END_TEST

static int frees_in_a_handler(struct probe *self)
{
    (void)self;
    frees(the_map, NULL);
    return 0;
}

START_TEST(in_a_handler)
{
    way = _i ? ATTACHED : LOOP;
    probe->hook[PROBE_READ] = frees_in_a_handler;
    test_write_all(peer, "x", 1);
    run();
    ck_assert_str_eq(probe_trace(), "a.read asked for freed a.finalize");
}
END_TEST

CALL(asks_for_more)
{
    (void)arg;
    ck_assert_int_eq(asyncore_map_call(map, notes, NULL), -EINVAL);
    ck_assert_int_eq(asyncore_map_wakeup(map), -EINVAL);
    ck_assert_ptr_null(probe_new(-1, map));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(asyncore_loop(0, false, map, 1), ASYNCORE_LOOP_EMPTY);
    asyncore_map_free(map);
    probe_note("asked");
}

START_TEST(no_calls_in_the_last_ones)
{
    call(asks_for_more, NULL);
    call(asks_for_more, NULL);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_str_eq(probe_trace(), "asked asked a.finalize");
}
END_TEST

CALL(closes)
{
    (void)arg;
    ck_assert_int_eq(asyncore_close_all(map, false), 0);
    probe_note("closed");
}

START_TEST(closed_in_the_last_calls)
{
    call(closes, NULL);
    call(notes, "next");
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_str_eq(probe_trace(), "closed next a.finalize");
}
END_TEST

START_TEST(no_calls_of_a_freed_map)
{
    struct asyncore_dispatcher *d = asyncore_ref(&probe->base);

    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(asyncore_map_call(d->map, notes, NULL), -EINVAL);
    ck_assert_int_eq(asyncore_map_wakeup(d->map), -EINVAL);
    asyncore_unref(d);
}
END_TEST

static int calls_made;

CALL(frees_when_both_are_made)
{
    (void)arg;
    if (++calls_made < 2)
        return;
    asyncore_map_free(map);
    (void)event_base_loopbreak(base);
}

static void *calls_to_free(void *arg)
{
    return asyncore_map_call(arg, frees_when_both_are_made, NULL) == 0 ? NULL : "asyncore_map_call";
}

/* The map is gone as soon as both calls are made, though the threads that have asked for them may
 * not have returned yet. */
START_TEST(while_asyncore_map_call_returns)
{
    add_host(0, on_host, TEST_CASE_SECONDS);
    for (int i = 0; i < 1000; i++) {
        struct asyncore_map *map = asyncore_map_new(base);
        pthread_t threads[2];

        calls_made = 0;
        for (int n = 0; n < 2; n++)
            threads[n] = start(calls_to_free, map);
        ck_assert_int_eq(event_base_dispatch(base), 0);
        for (int n = 0; n < 2; n++)
            join(threads[n]);
    }
}
END_TEST

/* --- bases and memory ------------------------------------------------------------------------- */

/* EVENT_BASE_FLAG_NOLOCK is for who has one thread. */
START_TEST(base_without_a_lock)
{
    struct event_config *config = event_config_new();
    struct event *signal;

    ck_assert_int_eq(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK), 0);
    end_base();
    base = event_base_new_with_config(config);
    event_config_free(config);
    /* libevent's own event for signals is not to be taken for the one that wakes it. */
    signal = evsignal_new(base, SIGUSR1, on_host, NULL);
    ck_assert_int_eq(event_add(signal, NULL), 0);
    set_base(base);
    ck_assert_int_eq(asyncore_map_call(the_map, notes, NULL), -ENOTSUP);
    ck_assert_int_eq(asyncore_map_wakeup(the_map), -ENOTSUP);
    test_write_all(peer, "x", 1);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.finalize a.read");
    event_free(signal);
}
END_TEST

START_TEST(call_without_memory)
{
    int r;

    fault_begin(1, false);
    r = asyncore_map_call(the_map, notes, (void *)(uintptr_t) "lost");
    fault_end();
    ck_assert_int_eq(r, -ENOMEM);
    call(notes, "made");
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_str_eq(probe_trace(), "made");
}
END_TEST

CALL(ends_fault)
{
    (void)map;
    (void)arg;
    fault_end();
}

CALL(calls_without_a_timer)
{
    fault_begin(2, true); /* the call itself has memory */
    *(int *)arg = asyncore_map_call(map, ends_fault, NULL);
}

START_TEST(call_in_a_call_without_memory_for_its_timer)
{
    int r = 1;

    ck_assert_int_eq(asyncore_map_call(the_map, calls_without_a_timer, &r), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(fault.seen, 2);
    ck_assert(!fault.on);
}
END_TEST

START_TEST(map_without_memory)
{
    struct asyncore_map *map = NULL;
    const int before = fault_count_descriptors();
    int r = 0;

    for (long at = 1; !map; at++) {
        fault_begin(at, false);
        map = asyncore_map_new(_i ? base : NULL);
        r = errno;
        fault_end();
        if (!map) {
            ck_assert_int_eq(r, ENOMEM);
            ck_assert_int_eq(fault_count_descriptors(), before);
        }
    }
    asyncore_map_free(map);
}
END_TEST

/* --- the suite -------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, end_base);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_calls(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("call"));
    TCase *stress = add_case(s, tcase_create("stress_calls"));

    tcase_add_loop_test(tc, is_made_in_the_thread_of_the_base, 0, WAYS);
    tcase_add_loop_test(tc, keep_the_order_of_each_thread, 0, WAYS);
    tcase_add_loop_test(tc, in_a_call_comes_after_those_before_it, 0, WAYS);
    tcase_add_loop_test(tc, that_calls_itself_keeps_nobody_waiting, 0, WAYS);
    tcase_add_loop_test(tc, may_not_run_a_loop, 0, WAYS);
    tcase_add_loop_test(tc, of_a_map_whose_base_another_map_runs, 0, WAYS);
    tcase_add_test(tc, keeps_the_base_until_it_is_made);
    tcase_add_test(tc, has_the_priority_of_the_map);
    tcase_add_test(tc, of_the_default_map);
    tcase_add_test(tc, without_a_function);
    tcase_add_loop_test(stress, many, 0, WAYS);
    tcase_add_loop_test(stress, keeps_nobody_waiting, 0, WAYS);
}

static void add_wakeup(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("wakeup"));

    tcase_add_loop_test(tc, asks_again, 0, 2);
    tcase_add_loop_test(tc, asks_again_with_every_backend, 0, 6);
    tcase_add_test(tc, is_not_the_end_of_a_pass);
    tcase_add_test(tc, of_a_map_that_nobody_serves);
}

static void add_free(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("free"));

    tcase_add_test(tc, free_makes_pending_calls);
    tcase_add_loop_test(tc, in_a_call, 0, WAYS);
    tcase_add_loop_test(tc, in_a_handler, 0, 2);
    tcase_add_test(tc, no_calls_in_the_last_ones);
    tcase_add_test(tc, closed_in_the_last_calls);
    tcase_add_test(tc, no_calls_of_a_freed_map);
    tcase_add_test(tc, while_asyncore_map_call_returns);
}

int main(void)
{
    Suite *s = suite_create("thread");
    TCase *memory = add_case(s, tcase_create("memory"));

    fault_install();
    if (evthread_use_pthreads() < 0)
        return 1;
    add_calls(s);
    add_wakeup(s);
    add_free(s);
    tcase_add_test(memory, base_without_a_lock);
    tcase_add_test(memory, call_without_memory);
    tcase_add_test(memory, call_in_a_call_without_memory_for_its_timer);
    tcase_add_loop_test(memory, map_without_memory, 0, 2);
    return test_main(s);
}
