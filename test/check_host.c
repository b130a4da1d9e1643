/*
 * Maps on a base that is the host's: its other events, its ways to end a loop, more than one map
 * on it, and bases of every kind.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CHANNELS = 3,
    FEW = 10
};

static struct event_base *base;
static struct asyncore_map *the_map;
static struct probe *probes[CHANNELS]; /* a, b, c */
static int peers[CHANNELS];
static struct event *host; /* the host's own event */

static void setup(void)
{
    probe_setup();
    base = event_base_new();
    ck_assert_ptr_nonnull(base);
    the_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(the_map);
    memset(peers, -1, sizeof peers);
}

static void host_end(void)
{
    if (host)
        event_free(host);
    host = NULL;
}

static void teardown(void)
{
    host_end();
    asyncore_map_free(the_map);
    if (base)
        event_base_free(base);
    for (int i = 0; i < CHANNELS; i++)
        if (peers[i] >= 0)
            test_close(&peers[i]);
}

static void make_in(struct asyncore_map *map, int i)
{
    static const char *const names[CHANNELS] = {"a", "b", "c"};

    probes[i] = probe_connected(names[i], AF_INET, map, &peers[i]);
}

static void make(int count)
{
    for (int i = 0; i < count; i++)
        make_in(the_map, i);
}

static struct asyncore_dispatcher *d(int i)
{
    return &probes[i]->base;
}

static void send_to(int i)
{
    test_write_all(peers[i], "x", 1);
    test_wait_readable(asyncore_fileno(d(i)));
}

static int loop_forever(bool use_poll)
{
    return asyncore_loop(ASYNCORE_TIMEOUT_NONE, use_poll, the_map, ASYNCORE_COUNT_NONE);
}

/* One pass that waits for what comes. */
static int loop_once(bool use_poll)
{
    return asyncore_loop(ASYNCORE_TIMEOUT_NONE, use_poll, the_map, 1);
}

static void check_trace(const char *expected)
{
    ck_assert_str_eq(probe_trace(), expected);
    probe_clear();
}

/* A host's timer, soon and once, or every 2 ms with EV_PERSIST. */
static void host_timer(short flags, event_callback_fn callback)
{
    const struct timeval soon = {0, 2000};

    host = event_new(base, -1, flags, callback, NULL);
    ck_assert_ptr_nonnull(host);
    ck_assert_int_eq(event_add(host, &soon), 0);
}

#define CALLBACK(name) static void name(evutil_socket_t fd, short what, void *arg)
#define UNUSED_ARGUMENTS (void)fd, (void)what, (void)arg

/* --- foreign events ----------------------------------------------------------------------------
 */

CALLBACK(send_at_fifth_tick)
{
    UNUSED_ARGUMENTS;
    probe_note("tick");
    if (probe_count("tick") == 5)
        test_write_all(peers[0], "x", 1);
}

START_TEST(timer_does_not_end_the_pass)
{
    make(1);
    host_timer(EV_PERSIST, send_at_fifth_tick);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    ck_assert_int_ge(probe_count("tick"), 5);
    ck_assert_int_eq(probe_count("a.read"), 1);
}
END_TEST

CALLBACK(on_signal)
{
    UNUSED_ARGUMENTS;
    probe_note("signal");
    test_write_all(peers[0], "x", 1);
}

CALLBACK(raise_signal)
{
    UNUSED_ARGUMENTS;
    raise(SIGUSR1);
}

START_TEST(signal_does_not_end_the_pass)
{
    struct event *on = evsignal_new(base, SIGUSR1, on_signal, NULL);

    ck_assert_int_eq(event_add(on, NULL), 0);
    make(1);
    host_timer(0, raise_signal);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("signal a.read");
    event_free(on);
}
END_TEST

static int host_pipe[2];

static void make_host_pipe(void)
{
    test_pipe(host_pipe);
    test_set_nonblocking(host_pipe[0], true);
}

CALLBACK(on_pipe)
{
    char c;

    UNUSED_ARGUMENTS;
    test_read_all(fd, &c, 1);
    probe_note("pipe");
    test_write_all(c == '3' ? peers[0] : host_pipe[1], &(char){(char)(c + 1)}, 1);
}

START_TEST(descriptor_does_not_end_the_pass)
{
    make_host_pipe();
    host = event_new(base, host_pipe[0], EV_READ | EV_PERSIST, on_pipe, NULL);
    ck_assert_int_eq(event_add(host, NULL), 0);
    make(1);
    test_write_all(host_pipe[1], "1", 1);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("pipe pipe pipe a.read");
    host_end();
    test_close(&host_pipe[0]);
    test_close(&host_pipe[1]);
}
END_TEST

CALLBACK(do_nothing)
{
    UNUSED_ARGUMENTS;
}

/* The host's events never end, and the pass does: its time counts. */
START_TEST(busy_host_and_timeout)
{
    double begin;

    make_host_pipe();
    test_write_all(host_pipe[1], "1", 1);
    host = event_new(base, host_pipe[0], EV_READ | EV_PERSIST, do_nothing, NULL);
    ck_assert_int_eq(event_add(host, NULL), 0);
    make(1);
    begin = test_now();
    ck_assert_int_eq(asyncore_loop(0.02, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.02);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    send_to(0);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("a.read");
    host_end();
    test_close(&host_pipe[0]);
    test_close(&host_pipe[1]);
}
END_TEST

CALLBACK(become_readable)
{
    UNUSED_ARGUMENTS;
    probes[0]->readable = true;
}

/* After the host's events everyone is asked again, in the same pass. */
START_TEST(interest_is_asked_again)
{
    make(1);
    probes[0]->readable = false;
    send_to(0);
    host_timer(0, become_readable);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("a.read");
}
END_TEST

CALLBACK(become_writable_and_touch)
{
    UNUSED_ARGUMENTS;
    probes[0]->writable = true;
    asyncore_touch(d(0));
}

START_TEST(touch_is_heard)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peers[0] = pair[1];
    probes[0] = quiet_probe_make("a", pair[0], the_map);
    host_timer(0, become_writable_and_touch);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("a.write");
}
END_TEST

CALLBACK(send_a_lot)
{
    static const char data[300000];
    struct asyncore_dispatcher *sender = asyncore_map_next(the_map, d(0));

    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_send(sender, data, sizeof data), sizeof data);
}

static int read_with_arg(struct probe *self)
{
    char buf[8192];
    int n = asyncore_recv(&self->base, buf, sizeof buf);

    if (n > 0)
        self->total += (size_t)n;
    if (self->total == 300000)
        return asyncore_loop_exit(self->base.map, 50);
    return n;
}

/* What a host's callback sends is sent, though no channel was ready for anything. */
START_TEST(host_sends)
{
    struct asyncore_dispatcher_with_send *sender;
    int pair[2];

    test_pair(AF_INET, pair);
    probes[0] = probe_make("a", pair[0], the_map);
    probes[0]->hook[PROBE_READ] = read_with_arg;
    sender = asyncore_dispatcher_with_send_new(pair[1], the_map);
    ck_assert_ptr_nonnull(sender);
    host_timer(0, send_a_lot);
    ck_assert_int_eq(loop_forever(_i), 50);
    ck_assert_uint_eq(probes[0]->total, 300000);
}
END_TEST

CALLBACK(close_first)
{
    UNUSED_ARGUMENTS;
    asyncore_close(d(0));
}

/* A map that the host empties ends the loop. */
START_TEST(host_closes)
{
    make(1);
    host_timer(0, close_first);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_trace("a.finalize");
}
END_TEST

CALLBACK(make_second)
{
    UNUSED_ARGUMENTS;
    make_in(the_map, 1);
    send_to(1);
}

START_TEST(host_adds)
{
    make(1);
    host_timer(0, make_second);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("b.read");
}
END_TEST

/* A channel that wants to write and cannot; without_predicates: it is not asked in every pass. */
static void make_full(bool without_predicates)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    test_set_nonblocking(pair[0], true);
    (void)test_fill(pair[0]);
    probes[0] = (without_predicates ? quiet_probe_make : probe_make)("a", pair[0], the_map);
    probes[0]->readable = false;
    probes[0]->writable = true;
}

/* In poll's way the full one is not written to, and the host's channel does not wait until the
 * time is up. _i: the full one is asked in every pass, or not. */
START_TEST(host_adds_beside_a_full_one)
{
    const double begin = test_now();

    make_full(_i);
    host = event_new(base, -1, 0, make_second, NULL);
    ck_assert_ptr_nonnull(host);
    event_active(host, EV_TIMEOUT, 1); /* as soon as the base runs */
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, true, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_lt(test_now() - begin, TEST_WAIT_SECONDS);
    check_trace("b.read");
}
END_TEST

/* A file that only wants to write, and is asked after changes only. */
struct silent_file {
    struct asyncore_file_dispatcher base;
};

static int silent_file_readable(struct asyncore_dispatcher *of)
{
    (void)of;
    return 0;
}

static int silent_file_handle_write(struct asyncore_dispatcher *of)
{
    (void)of;
    probe_note("write");
    return 0;
}

ASYNCORE_CLASS(silent_file, asyncore_file_dispatcher, .interest = ASYNCORE_INTEREST_ON_CHANGE,
               .readable = silent_file_readable, .handle_write = silent_file_handle_write);

/* A hang-up is nothing to write in select's way: what happens together with it is heard. */
START_TEST(host_adds_while_a_pipe_hangs_up)
{
    const double begin = test_now();

    make_host_pipe();
    ck_assert_ptr_nonnull(silent_file_new(host_pipe[0], the_map));
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    test_close(&host_pipe[1]);
    host = event_new(base, -1, 0, make_second, NULL);
    ck_assert_ptr_nonnull(host);
    event_active(host, EV_TIMEOUT, 1);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, false, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_lt(test_now() - begin, TEST_WAIT_SECONDS);
    check_trace("b.read");
    test_close(&host_pipe[0]);
}
END_TEST

CALLBACK(tick)
{
    UNUSED_ARGUMENTS;
    probe_note("tick");
    if (probe_count("tick") == FEW)
        ck_assert_int_eq(event_base_loopbreak(base), 0);
}

static int make_second_after_a_tick(struct probe *self)
{
    if (probe_count("tick") > 0) {
        self->hook[PROBE_READABLE] = NULL;
        make_second(-1, 0, NULL);
    }
    return 1;
}

/* What a predicate makes that is asked because of the host's event has its turn when everyone is
 * asked again: after the next one, not only in the next pass. */
START_TEST(predicate_adds_after_a_host_event)
{
    make(1);
    probes[0]->hook[PROBE_READABLE] = make_second_after_a_tick;
    host_timer(EV_PERSIST, tick);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    ck_assert_int_ge(probe_count("tick"), 2);
    ck_assert_int_eq(probe_count("b.read"), 1);
}
END_TEST

/* In the child: tells how often the predicate was asked, and waits to be killed. */
static void on_alarm(int number)
{
    (void)number;
    if (probes[0]->calls[PROBE_READABLE] == 0)
        return; /* not there yet: the timer comes again */
    if (write(host_pipe[1], &probes[0]->calls[PROBE_READABLE], sizeof(int)) == sizeof(int))
        for (;;)
            pause();
    abort();
}

static void sleep_forever(bool use_poll)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval soon = {{0, 50000}, {0, 50000}};

    if (event_reinit(base) == 0 && sigaction(SIGALRM, &action, NULL) == 0 &&
        setitimer(ITIMER_REAL, &soon, NULL) == 0)
        (void)loop_forever(use_poll);
    abort();
}

/* Nobody is interested, the base has no event, and there is no timeout: it sleeps all the same. */
START_TEST(nothing_to_wait_for)
{
    int calls, status;
    pid_t child;

    test_pipe(host_pipe);
    make(1);
    probes[0]->readable = false;
    child = fork();
    if (child == 0)
        sleep_forever(_i);
    test_close(&host_pipe[1]);
    test_read_all(host_pipe[0], &calls, sizeof calls);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_le(calls, FEW);
    test_close(&host_pipe[0]);
}
END_TEST

CALLBACK(read_as_well)
{
    (void)what;
    (void)arg;
    probe_note("host");
    ck_assert_int_eq(recv(fd, &(char){0}, 1, MSG_PEEK), 1);
}

/* The host's own event on a channel's descriptor. */
START_TEST(same_descriptor)
{
    make(1);
    host = event_new(base, asyncore_fileno(d(0)), EV_READ | EV_PERSIST, read_as_well, NULL);
    ck_assert_int_eq(event_add(host, NULL), 0);
    send_to(0);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("host a.read");
    host_end();
    send_to(0);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("a.read");
}
END_TEST

/* --- ending a loop ------------------------------------------------------------------------------
 */

enum {
    BREAK,
    EXIT,
    EXIT_LATER,
    ENDINGS
};

static int ending;

static void end_loop(void)
{
    const struct timeval soon = {0, 2000};

    if (ending == BREAK)
        ck_assert_int_eq(event_base_loopbreak(base), 0);
    else
        ck_assert_int_eq(event_base_loopexit(base, ending == EXIT_LATER ? &soon : NULL), 0);
}

CALLBACK(end_from_host)
{
    UNUSED_ARGUMENTS;
    end_loop();
}

START_TEST(host_ends_the_loop)
{
    ending = _i / 2;
    make(1);
    host_timer(0, end_from_host);
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_BROKEN);
    check_trace("");
    send_to(0);
    ck_assert_int_eq(loop_once(_i % 2), ASYNCORE_LOOP_COUNT);
    check_trace("a.read");
}
END_TEST

START_TEST(host_ends_a_pass)
{
    ending = _i / 2;
    make(1);
    host_timer(0, end_from_host);
    ck_assert_int_eq(_i % 2 ? asyncore_poll2(ASYNCORE_TIMEOUT_NONE, the_map)
                            : asyncore_poll(ASYNCORE_TIMEOUT_NONE, the_map),
                     ASYNCORE_LOOP_BROKEN);
}
END_TEST

static int end_and_read(struct probe *self)
{
    end_loop();
    self->hook[PROBE_READ] = NULL;
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* In a handler. What was ready and not served comes back. */
START_TEST(handler_ends_the_loop)
{
    ending = _i / 2;
    make(3);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[1]->hook[PROBE_READ] = end_and_read;
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_BROKEN);
    if (ending == BREAK)
        ck_assert_str_eq(probe_trace(), "a.read b.read");
    ck_assert_int_eq(run_passes(the_map, _i % 2, 1), 0);
    check_trace("a.read b.read c.read");
}
END_TEST

static int end_and_say_yes(struct probe *self)
{
    end_loop();
    self->hook[PROBE_READABLE] = NULL;
    return 1;
}

START_TEST(predicate_ends_the_loop)
{
    ending = _i / 2;
    make(2);
    probes[0]->hook[PROBE_READABLE] = end_and_say_yes;
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_BROKEN);
    send_to(1);
    ck_assert_int_eq(loop_once(_i % 2), ASYNCORE_LOOP_COUNT);
    check_trace("b.read");
}
END_TEST

static int nest(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    self->hook[PROBE_READ] = NULL;
    probe_note("nested=%d", loop_forever(false));
    return 0;
}

/* The host's timer is set when the second loop is about to wait. */
static int nest_and_set_timer(struct probe *self)
{
    host_timer(0, end_from_host);
    return nest(self);
}

/* A host that breaks its base means all the loops that run on it. */
START_TEST(host_ends_nested_loops)
{
    ending = _i / 2;
    make(2);
    probes[0]->hook[PROBE_READ] = nest;
    probes[1]->hook[PROBE_READ] = nest_and_set_timer;
    send_to(0);
    send_to(1);
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_BROKEN);
    check_trace("a.read b.read nested=2 nested=2");
}
END_TEST

START_TEST(handler_ends_nested_loops)
{
    ending = _i / 2;
    make(2);
    probes[0]->hook[PROBE_READ] = nest;
    probes[1]->hook[PROBE_READ] = end_and_read;
    send_to(0);
    send_to(1);
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_BROKEN);
    check_trace("a.read b.read nested=2");
}
END_TEST

static int break_then_nest(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    ck_assert_int_eq(event_base_loopbreak(base), 0);
    probe_note("nested=%d", asyncore_loop(0, false, the_map, 1));
    return 0;
}

/* A nested loop that begins after the break does not undo it. */
START_TEST(break_outlives_a_nested_loop)
{
    make(1);
    probes[0]->hook[PROBE_READ] = break_then_nest;
    send_to(0);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_BROKEN);
    check_trace("a.read nested=2");
}
END_TEST

CALLBACK(break_base)
{
    UNUSED_ARGUMENTS;
    event_base_loopbreak(base);
}

/* The host's own loop was broken once: that is over. _i: use_poll, and what is in the map. */
START_TEST(old_break_does_not_count)
{
    host_timer(0, break_base);
    ck_assert_int_eq(event_base_dispatch(base), 0);
    ck_assert_int_ne(event_base_got_break(base), 0);
    if (_i & 2) {
        make(1);
        send_to(0);
    } else {
        int pair[2];

        test_pair(AF_INET, pair);
        peers[0] = pair[1];
        ck_assert_ptr_nonnull(asyncore_dispatcher_with_send_new(pair[0], the_map));
    }
    ck_assert_int_eq(asyncore_loop(0, _i & 1, the_map, 2), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("a.read"), _i & 2 ? 1 : 0);
}
END_TEST

/* Nor does one that was called while nothing ran, which event_base_loop forgets as well. */
START_TEST(break_without_loop_does_not_count)
{
    make(1);
    send_to(0);
    event_base_loopbreak(base);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 2), ASYNCORE_LOOP_COUNT);
    check_trace("a.read");
    send_to(0);
    event_base_loopbreak(base);
    ck_assert_int_eq(_i ? asyncore_poll2(0, the_map) : asyncore_poll(0, the_map), 0);
    check_trace("a.read");
}
END_TEST

static int do_break(struct probe *self)
{
    event_base_loopbreak(base);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* One that ended a loop does not end the next. */
START_TEST(break_counts_once)
{
    make(1);
    probes[0]->hook[PROBE_READ] = do_break;
    for (int i = 0; i < 3; i++) {
        send_to(0);
        ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_BROKEN);
        ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    }
}
END_TEST

/* --- loops in the host's callbacks
 * ---------------------------------------------------------------- */

static struct asyncore_map *other_map;

CALLBACK(run_loops)
{
    UNUSED_ARGUMENTS;
    probe_note("loop=%s", asyncore_errorcode(loop_forever(false)));
    probe_note("poll=%s", asyncore_errorcode(asyncore_poll(0, the_map)));
    probe_note("poll2=%s", asyncore_errorcode(asyncore_poll2(0, the_map)));
}

static void check_deadlocks(void)
{
    ck_assert_int_eq(probe_count("loop=EDEADLK"), 1);
    ck_assert_int_eq(probe_count("poll=EDEADLK"), 1);
    ck_assert_int_eq(probe_count("poll2=EDEADLK"), 1);
}

CALLBACK(run_loops_then_send)
{
    run_loops(fd, what, arg);
    test_write_all(peers[0], "x", 1);
}

/* Of the same loop: it goes on. */
START_TEST(loop_in_a_callback_of_the_loop)
{
    struct test_capture err;
    int result;

    make(1);
    host_timer(0, run_loops_then_send);
    test_capture_begin(&err, STDERR_FILENO);
    result = loop_once(_i);
    (void)test_capture_end(&err);
    ck_assert_int_eq(result, ASYNCORE_LOOP_COUNT);
    check_deadlocks();
    ck_assert_int_eq(probe_count("a.read"), 1);
}
END_TEST

/* Of the host's own loop, which libevent tells, with a warning. */
START_TEST(loop_in_a_callback_of_the_host)
{
    struct test_capture err;
    int result;

    make(1);
    host_timer(0, run_loops);
    test_capture_begin(&err, STDERR_FILENO);
    result = event_base_loop(base, EVLOOP_ONCE);
    (void)test_capture_end(&err);
    ck_assert_int_eq(result, 0);
    check_deadlocks();
    send_to(0);
    ck_assert_int_eq(loop_once(false), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("a.read"), 1);
}
END_TEST

CALLBACK(run_other_map)
{
    UNUSED_ARGUMENTS;
    probe_note("loop=%s", asyncore_errorcode(asyncore_loop(0, false, other_map, 1)));
    probe_note("poll=%s", asyncore_errorcode(asyncore_poll(0, other_map)));
    probe_note("poll2=%s", asyncore_errorcode(asyncore_poll2(0, other_map)));
    end_loop();
}

/* Of another map on the same base: nor that. */
START_TEST(other_map_in_a_callback)
{
    struct test_capture err;
    int result;

    ending = BREAK;
    other_map = asyncore_map_new(base);
    make(1);
    make_in(other_map, 1);
    host_timer(0, run_other_map);
    test_capture_begin(&err, STDERR_FILENO);
    result = loop_forever(_i);
    (void)test_capture_end(&err);
    ck_assert_int_eq(result, ASYNCORE_LOOP_BROKEN);
    check_deadlocks();
    asyncore_map_free(other_map);
}
END_TEST

CALLBACK(run_other_base)
{
    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, other_map, 1),
                     ASYNCORE_LOOP_COUNT);
    end_loop();
}

/* Of a map on another base: why not. */
START_TEST(other_base_in_a_callback)
{
    ending = BREAK;
    other_map = asyncore_map_new(NULL);
    make(1);
    make_in(other_map, 1);
    send_to(1);
    host_timer(0, run_other_base);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_BROKEN);
    check_trace("b.read");
    asyncore_map_free(other_map);
}
END_TEST

static int run_host_loop(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE), 0);
    return 0;
}

/* A handler may run the host's base, for it is in none of its callbacks. */
START_TEST(host_loop_in_a_handler)
{
    make(3);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[0]->hook[PROBE_READ] = run_host_loop;
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    check_trace("a.read b.read c.read");
    send_to(1);
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("b.read");
}
END_TEST

/* --- maps that nobody serves
 * ------------------------------------------------------------------------ */

static void ready_in_every_way(int i)
{
    probes[i]->writable = true;
    send_to(i);
    ck_assert_int_eq(send(peers[i], "!", 1, MSG_OOB), 1);
    test_wait(asyncore_fileno(d(i)), POLLPRI);
}

/* Ready channels of a map whose loop does not run cost the other map's pass nothing. */
START_TEST(other_map_does_not_spin)
{
    other_map = asyncore_map_new(base);
    make(1);
    make_in(other_map, 1);
    make_in(other_map, 2);
    ck_assert_int_eq(run_passes(other_map, _i, 1), 0); /* they are watched */
    ready_in_every_way(1);
    test_reset(&peers[2]);
    test_wait(asyncore_fileno(d(2)), POLLHUP);
    ck_assert_int_eq(asyncore_loop(0.05, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_le(probes[0]->calls[PROBE_READABLE], FEW);
    check_trace("");
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace(_i ? "b.read b.write b.expt c.read c.close c.finalize"
                   : "b.read c.read c.close b.write b.expt c.finalize");
    asyncore_map_free(other_map);
}
END_TEST

/* The same for out-of-band data alone, which has an event of its own. */
START_TEST(other_map_and_urgent_data)
{
    other_map = asyncore_map_new(base);
    make(1);
    make_in(other_map, 1);
    ck_assert_int_eq(run_passes(other_map, _i, 1), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(send(peers[1], "!", 1, MSG_OOB), 1);
        test_wait(asyncore_fileno(d(1)), POLLPRI);
        probes[0]->calls[PROBE_READABLE] = 0;
        ck_assert_int_eq(asyncore_loop(0.02, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
        ck_assert_int_le(probes[0]->calls[PROBE_READABLE], FEW);
        check_trace("");
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, other_map, 1),
                         ASYNCORE_LOOP_COUNT);
        check_trace("b.expt");
    }
    asyncore_map_free(other_map);
}
END_TEST

/* To and fro: what was parked is watched again when its map is served, as often as you like. */
START_TEST(maps_take_turns)
{
    other_map = asyncore_map_new(base);
    make(1);
    make_in(other_map, 1);
    for (int i = 0; i < 5; i++) {
        struct asyncore_map *one = i & 1 ? the_map : other_map;
        struct asyncore_map *two = i & 1 ? other_map : the_map;

        send_to(0);
        send_to(1);
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, one, 1), ASYNCORE_LOOP_COUNT);
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, two, 1), ASYNCORE_LOOP_COUNT);
        check_trace(i & 1 ? "a.read b.read" : "b.read a.read");
    }
    asyncore_map_free(other_map);
}
END_TEST

static int serve_other(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, other_map, 1),
                     ASYNCORE_LOOP_COUNT);
    return 0;
}

/* A handler of the one runs the other. */
START_TEST(maps_nest)
{
    other_map = asyncore_map_new(base);
    make_in(the_map, 0);
    make_in(other_map, 1);
    make_in(the_map, 2);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[0]->hook[PROBE_READ] = serve_other;
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    check_trace("a.read b.read c.read");
    asyncore_map_free(other_map);
}
END_TEST

static bool time_is_up;

CALLBACK(set_time_is_up)
{
    UNUSED_ARGUMENTS;
    time_is_up = true;
}

/* The host runs its base, and our map is not served: it hears nothing of it. */
START_TEST(host_loop_does_not_spin)
{
    const struct timeval later = {0, 50000};
    int rounds = 0;

    make(2);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ready_in_every_way(0);
    test_reset(&peers[1]);
    test_wait(asyncore_fileno(d(1)), POLLHUP);
    time_is_up = false;
    host = evtimer_new(base, set_time_is_up, NULL);
    ck_assert_int_eq(evtimer_add(host, &later), 0);
    for (; !time_is_up; rounds++)
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    ck_assert_int_le(rounds, FEW);
    check_trace("");
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace(_i ? "a.read a.write a.expt b.read b.close b.finalize"
                   : "a.read b.read b.close a.write a.expt b.finalize");
}
END_TEST

/* --- freeing the map
 * ------------------------------------------------------------------------------- */

static int free_map(struct probe *self)
{
    (void)self;
    asyncore_map_free(the_map);
    the_map = NULL;
    return 0;
}

CALLBACK(free_from_host)
{
    UNUSED_ARGUMENTS;
    free_map(NULL);
}

static void check_freed(int finalized)
{
    ck_assert_int_eq(probe_count("a.finalize") + probe_count("b.finalize") +
                         probe_count("c.finalize"),
                     finalized);
    host_end();
    ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* nothing is left in it */
}

START_TEST(free_in_a_handler)
{
    make(3);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[1]->hook[PROBE_READ] = free_map;
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("c.read"), 0);
    check_freed(3);
}
END_TEST

START_TEST(free_in_a_host_callback)
{
    make(3);
    host_timer(0, free_from_host);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_freed(3);
}
END_TEST

/* The base is the map's own, and its callback is running. */
START_TEST(free_in_a_callback_of_its_own_base)
{
    asyncore_map_free(the_map);
    event_base_free(base);
    the_map = asyncore_map_new(NULL);
    base = asyncore_map_base(the_map);
    make(3);
    ck_assert_int_eq(event_base_once(base, -1, EV_TIMEOUT, free_from_host, NULL, NULL), 0);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    base = NULL;
    ck_assert_int_eq(probe_count("c.finalize"), 1);
}
END_TEST

START_TEST(free_in_a_nested_loop)
{
    make(2);
    probes[0]->hook[PROBE_READ] = nest;
    probes[1]->hook[PROBE_READ] = free_map;
    send_to(0);
    send_to(1);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("nested=0"), 1);
    ck_assert_int_eq(strncmp(probe_trace(), "a.read b.read nested=0", 22), 0);
    check_freed(2);
}
END_TEST

static int free_other(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    asyncore_map_free(other_map);
    return 0;
}

START_TEST(free_of_another_map)
{
    other_map = asyncore_map_new(base);
    make_in(the_map, 0);
    make_in(other_map, 1);
    make_in(the_map, 2);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[0]->hook[PROBE_READ] = free_other;
    ck_assert_int_eq(loop_once(_i), ASYNCORE_LOOP_COUNT);
    check_trace("a.read b.finalize c.read");
}
END_TEST

static struct asyncore_dispatcher *held;

CALLBACK(free_and_use)
{
    UNUSED_ARGUMENTS;
    free_map(NULL);
    ck_assert_int_eq(asyncore_close(held), 0);
    ck_assert_int_eq(asyncore_send(held, "x", 1), 0);
    ck_assert_int_eq(asyncore_create_socket(held, AF_INET, SOCK_STREAM), -EINVAL);
    ck_assert_int_eq(asyncore_add_channel(held, NULL), -EINVAL);
}

/* A timer of the host's that has a reference to a channel finds it, in a map that is no more. */
START_TEST(free_and_a_reference)
{
    make(2);
    held = asyncore_ref(d(0));
    host_timer(0, free_and_use);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_freed(1);
    ck_assert_uint_eq(asyncore_map_length(held->map), 0);
    ck_assert_int_eq(asyncore_create_socket(held, AF_INET, SOCK_STREAM), -EINVAL);
    ck_assert_int_eq(asyncore_loop(0, false, held->map, 1), ASYNCORE_LOOP_EMPTY);
    asyncore_unref(held);
    check_trace("b.finalize a.finalize");
}
END_TEST

/* --- bases of every kind
 * ----------------------------------------------------------------------------- */

enum {
    EPOLL,
    POLL,
    SELECT,
    CHANGELIST,
    PRECISE,
    NO_CACHE,
    PRIORITIES,
    KINDS
};

static struct event_base *base_of_kind(int kind)
{
    struct event_config *config = event_config_new();
    struct event_base *made;

    ck_assert_ptr_nonnull(config);
    if (kind == POLL || kind == SELECT)
        event_config_avoid_method(config, "epoll");
    if (kind == SELECT)
        event_config_avoid_method(config, "poll");
    if (kind == CHANGELIST)
        event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    if (kind == PRECISE)
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    if (kind == NO_CACHE)
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
    made = event_base_new_with_config(config);
    ck_assert_ptr_nonnull(made);
    if (kind == PRIORITIES)
        ck_assert_int_eq(event_base_priority_init(made, 5), 0);
    if (kind == POLL)
        ck_assert_str_eq(event_base_get_method(made), "poll");
    if (kind == SELECT)
        ck_assert_str_eq(event_base_get_method(made), "select");
    event_config_free(config);
    return made;
}

static void use_kind(int kind)
{
    asyncore_map_free(the_map);
    event_base_free(base);
    base = base_of_kind(kind);
    the_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(the_map);
}

START_TEST(kind_serves)
{
    const bool use_poll = _i % 2;
    double begin;

    use_kind(_i / 2);
    make(3);
    begin = test_now();
    ck_assert_int_eq(asyncore_loop(0.02, use_poll, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.02);
    ready_in_every_way(2);
    send_to(0);
    ck_assert_int_eq(loop_once(use_poll), ASYNCORE_LOOP_COUNT);
    check_trace("a.read c.read c.write c.expt");
    for (int i = 0; i < 3; i++)
        test_close(&peers[i]);
    ck_assert_int_eq(loop_forever(use_poll), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("b.close"), 1);
    ck_assert_int_eq(probe_count("b.finalize"), 1);
    check_freed(3);
}
END_TEST

static char received[70000];
static size_t received_len;

static int receive(struct probe *self)
{
    int n = asyncore_recv(&self->base, received + received_len, sizeof received - received_len);

    if (n > 0)
        received_len += (size_t)n;
    return n;
}

/* More than the socket takes at once, to and fro through the queue, and the hang-up. */
START_TEST(kind_queues)
{
    static char data[60000];
    struct asyncore_dispatcher_with_send *sender;
    int pair[2];

    use_kind(_i / 2);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i % 251);
    test_socketpair(SOCK_STREAM, pair);
    test_small_buffers(pair[1]);
    received_len = 0;
    probes[0] = probe_make("a", pair[0], the_map);
    probes[0]->hook[PROBE_READ] = receive;
    sender = asyncore_dispatcher_with_send_new(pair[1], the_map);
    ck_assert_ptr_nonnull(sender);
    ck_assert_int_eq(asyncore_send(&sender->base, data, sizeof data), sizeof data);
    ck_assert_uint_gt(asyncore_out_buffer_length(&sender->base), 0);
    while (asyncore_out_buffer_length(&sender->base) > 0)
        ck_assert_int_eq(loop_once(_i % 2), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(asyncore_close(&sender->base), 0);
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(received_len, sizeof data);
    ck_assert_mem_eq(received, data, sizeof data);
}
END_TEST

/* A file_dispatcher's descriptor is a dup: the kernel must forget it before it is closed. */
START_TEST(kind_forgets_files)
{
    struct asyncore_file_dispatcher *file;
    int pair[2];

    use_kind(_i / 2);
    make(1);
    test_pipe(pair);
    file = asyncore_file_dispatcher_new(pair[0], the_map);
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(run_passes(the_map, _i % 2, 1), 0);
    ck_assert_int_eq(asyncore_close(&file->base), 0);
    test_write_all(pair[1], "x", 1);
    probes[0]->calls[PROBE_READABLE] = 0;
    ck_assert_int_eq(asyncore_loop(0.02, _i % 2, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_le(probes[0]->calls[PROBE_READABLE], FEW);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* --- libevent's debug mode ----------------------------------------------------------------------
 */

/* It ends the program when an event is set up while it is added, used without having been set up,
 * or of a blocking descriptor. It must be switched on before anything else, so this case comes
 * first: without forking the others run in it as well. */
static void debug_setup(void)
{
    static bool on;

    if (!on)
        event_enable_debug_mode();
    on = true;
    setup();
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
    make(1);
}

static void debug_teardown(void)
{
    asyncore_map_free(other_map);
    teardown();
}

/* Has events for both directions and for out-of-band data. */
static void use_all_events(bool use_poll)
{
    test_fill(asyncore_fileno(d(0)));
    probes[0]->writable = true;
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
    probes[0]->writable = true;
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
}

static int no_write(struct probe *self)
{
    (void)self;
    return 0;
}

START_TEST(close_while_watched)
{
    probes[0]->hook[PROBE_WRITE] = no_write;
    use_all_events(_i);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(asyncore_poll2(0, the_map), 0);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
}
END_TEST

START_TEST(free_while_watched)
{
    probes[0]->hook[PROBE_WRITE] = no_write;
    use_all_events(_i);
    free_map(NULL);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
}
END_TEST

START_TEST(replace_while_watched)
{
    probes[0]->hook[PROBE_WRITE] = no_write;
    for (int i = 0; i < 3; i++) {
        int pair[2];

        use_all_events(_i);
        test_pair(AF_INET, pair);
        ck_assert_int_eq(asyncore_set_socket(d(0), pair[0], NULL), 0);
        test_close(&peers[0]);
        peers[0] = pair[1];
    }
    ck_assert_int_eq(asyncore_create_socket(d(0), AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
}
END_TEST

START_TEST(move_while_watched)
{
    struct asyncore_map *to = other_map;

    probes[0]->hook[PROBE_WRITE] = no_write;
    for (int i = 0; i < 4; i++) {
        test_fill(asyncore_fileno(d(0)));
        probes[0]->writable = true;
        ck_assert_int_eq(run_passes(d(0)->map, _i, 3), 0);
        ck_assert_int_eq(asyncore_add_channel(d(0), to), 0);
        to = to == other_map ? the_map : other_map;
    }
}
END_TEST

START_TEST(delete_and_add_while_watched)
{
    probes[0]->hook[PROBE_WRITE] = no_write;
    for (int i = 0; i < 3; i++) {
        use_all_events(_i);
        asyncore_del_channel(d(0));
        ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
        ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0);
    }
}
END_TEST

START_TEST(detach_while_watched)
{
    int fd;

    probes[0]->hook[PROBE_WRITE] = no_write;
    use_all_events(_i);
    fd = asyncore_detach(d(0));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(asyncore_set_socket(d(0), fd, other_map), 0);
    ck_assert_int_eq(run_passes(other_map, _i, 2), 0);
}
END_TEST

/* Parked by the other map's loop, and then closed, or watched again. */
START_TEST(park_while_watched)
{
    ck_assert_int_eq(run_passes(the_map, _i & 1, 1), 0);
    test_write_all(peers[0], "x", 1);
    test_wait_readable(asyncore_fileno(d(0)));
    ck_assert_int_eq(send(peers[0], "!", 1, MSG_OOB), 1);
    ck_assert_int_eq(asyncore_poll2(0.01, other_map), 0);
    if (_i & 2)
        ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(_i & 1 ? asyncore_poll2(0, the_map) : asyncore_poll(0, the_map), 0);
    ck_assert_int_eq(probe_count("a.read"), _i & 2 ? 0 : 1);
}
END_TEST

static int replace_socket(struct probe *self)
{
    int pair[2];

    asyncore_close(&self->base);
    test_pair(AF_INET, pair);
    test_close(&peers[0]);
    peers[0] = pair[1];
    return asyncore_set_socket(&self->base, pair[0], NULL);
}

START_TEST(replace_in_a_handler)
{
    probes[0]->hook[PROBE_READ] = replace_socket;
    for (int i = 0; i < 3; i++) {
        probes[0]->writable = true;
        test_write_all(peers[0], "x", 1);
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    }
    ck_assert_int_ge(probe_count("a.read"), 1);
}
END_TEST

START_TEST(files_while_watched)
{
    struct asyncore_file_dispatcher *file;
    int pair[2];

    test_pipe(pair);
    file = asyncore_file_dispatcher_new(pair[0], the_map);
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_int_eq(asyncore_set_file(&file->base, pair[0]), 0);
    ck_assert(test_is_nonblocking(pair[0]));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_int_eq(asyncore_close(&file->base), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* Never in a map at all. */
START_TEST(destroy_without_socket)
{
    (void)probe_make("q", -1, the_map);
    ck_assert_ptr_null(probe_new(0x7ffffff0, the_map));
    free_map(NULL);
    ck_assert_int_eq(probe_count("q.finalize"), 1);
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_debug(Suite *s)
{
    TCase *tc = tcase_create("debug_mode");

    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, debug_setup, debug_teardown);
    suite_add_tcase(s, tc);
    tcase_add_loop_test(tc, close_while_watched, 0, 2);
    tcase_add_loop_test(tc, free_while_watched, 0, 2);
    tcase_add_loop_test(tc, replace_while_watched, 0, 2);
    tcase_add_loop_test(tc, move_while_watched, 0, 2);
    tcase_add_loop_test(tc, delete_and_add_while_watched, 0, 2);
    tcase_add_loop_test(tc, detach_while_watched, 0, 2);
    tcase_add_loop_test(tc, park_while_watched, 0, 4);
    tcase_add_loop_test(tc, replace_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, files_while_watched, 0, 2);
    tcase_add_test(tc, destroy_without_socket);
}

static void add_foreign(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("foreign_events"));

    tcase_add_loop_test(tc, timer_does_not_end_the_pass, 0, 2);
    tcase_add_loop_test(tc, signal_does_not_end_the_pass, 0, 2);
    tcase_add_loop_test(tc, descriptor_does_not_end_the_pass, 0, 2);
    tcase_add_loop_test(tc, busy_host_and_timeout, 0, 2);
    tcase_add_loop_test(tc, interest_is_asked_again, 0, 2);
    tcase_add_loop_test(tc, touch_is_heard, 0, 2);
    tcase_add_loop_test(tc, host_sends, 0, 2);
    tcase_add_loop_test(tc, host_closes, 0, 2);
    tcase_add_loop_test(tc, host_adds, 0, 2);
    tcase_add_loop_test(tc, host_adds_beside_a_full_one, 0, 2);
    tcase_add_test(tc, host_adds_while_a_pipe_hangs_up);
    tcase_add_loop_test(tc, predicate_adds_after_a_host_event, 0, 2);
    tcase_add_loop_test(tc, same_descriptor, 0, 2);
    tcase_add_loop_test(tc, nothing_to_wait_for, 0, 2);
}

static void add_ending(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("ending"));

    tcase_add_loop_test(tc, host_ends_the_loop, 0, 2 * ENDINGS);
    tcase_add_loop_test(tc, host_ends_a_pass, 0, 2 * ENDINGS);
    tcase_add_loop_test(tc, handler_ends_the_loop, 0, 2 * ENDINGS);
    tcase_add_loop_test(tc, predicate_ends_the_loop, 0, 2 * ENDINGS);
    tcase_add_loop_test(tc, host_ends_nested_loops, 0, 2 * ENDINGS);
    tcase_add_loop_test(tc, handler_ends_nested_loops, 0, 2 * ENDINGS);
    tcase_add_loop_test(tc, break_outlives_a_nested_loop, 0, 2);
    tcase_add_loop_test(tc, old_break_does_not_count, 0, 4);
    tcase_add_loop_test(tc, break_without_loop_does_not_count, 0, 2);
    tcase_add_loop_test(tc, break_counts_once, 0, 2);

    tc = add_case(s, tcase_create("deadlock"));
    tcase_add_loop_test(tc, loop_in_a_callback_of_the_loop, 0, 2);
    tcase_add_test(tc, loop_in_a_callback_of_the_host);
    tcase_add_loop_test(tc, other_map_in_a_callback, 0, 2);
    tcase_add_loop_test(tc, other_base_in_a_callback, 0, 2);
    tcase_add_loop_test(tc, host_loop_in_a_handler, 0, 2);
}

static void add_maps(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("unserved"));

    tcase_add_loop_test(tc, other_map_does_not_spin, 0, 2);
    tcase_add_loop_test(tc, other_map_and_urgent_data, 0, 2);
    tcase_add_loop_test(tc, maps_take_turns, 0, 2);
    tcase_add_loop_test(tc, maps_nest, 0, 2);
    tcase_add_loop_test(tc, host_loop_does_not_spin, 0, 2);

    tc = add_case(s, tcase_create("freeing"));
    tcase_add_loop_test(tc, free_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, free_in_a_host_callback, 0, 2);
    tcase_add_loop_test(tc, free_in_a_callback_of_its_own_base, 0, 2);
    tcase_add_loop_test(tc, free_in_a_nested_loop, 0, 2);
    tcase_add_loop_test(tc, free_of_another_map, 0, 2);
    tcase_add_loop_test(tc, free_and_a_reference, 0, 2);

    tc = add_case(s, tcase_create("bases"));
    tcase_add_loop_test(tc, kind_serves, 0, 2 * KINDS);
    tcase_add_loop_test(tc, kind_queues, 0, 2 * KINDS);
    tcase_add_loop_test(tc, kind_forgets_files, 0, 2 * KINDS);
}

int main(void)
{
    Suite *s = suite_create("host");

    add_debug(s);
    add_foreign(s);
    add_ending(s);
    add_maps(s);
    return test_main(s);
}
