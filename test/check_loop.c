/*
 * loop, poll and poll2: their arguments, how long they wait, and how they end.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "probes.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static void send_to_all(int count)
{
    for (int i = 0; i < count; i++)
        test_write_all(peers[i], "x", 1);
}

static int loop_forever(bool use_poll)
{
    return asyncore_loop(ASYNCORE_TIMEOUT_NONE, use_poll, the_map, ASYNCORE_COUNT_NONE);
}

static int poll_as(bool use_poll, double timeout)
{
    return use_poll ? asyncore_poll2(timeout, the_map) : asyncore_poll(timeout, the_map);
}

/* A passing host: a timer of its own on the map's base, which calls back soon. */
static struct event *host_timer;

static void host_begin(event_callback_fn callback, void *arg)
{
    const struct timeval soon = {0, 5000};

    host_timer = evtimer_new(asyncore_map_base(the_map), callback, arg);
    ck_assert_ptr_nonnull(host_timer);
    ck_assert_int_eq(evtimer_add(host_timer, &soon), 0);
}

static void host_end(void)
{
    event_free(host_timer);
    host_timer = NULL;
}

static void write_to_first(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    probe_note("host");
    test_write_all(peers[0], "x", 1);
}

static void only_tell(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    probe_note("host");
}

/* --- empty maps ------------------------------------------------------------------------------ */

START_TEST(empty_loop_returns)
{
    static const int counts[] = {ASYNCORE_COUNT_NONE, -1, 0, 1, 1000000};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, counts[i]),
                         ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, _i, NULL, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
}
END_TEST

START_TEST(empty_poll_returns)
{
    ck_assert_int_eq(asyncore_poll(ASYNCORE_TIMEOUT_NONE, the_map), 0);
    ck_assert_int_eq(asyncore_poll(ASYNCORE_TIMEOUT_NONE, NULL), 0);
    ck_assert_int_eq(asyncore_poll2(ASYNCORE_TIMEOUT_NONE, the_map), 0);
    ck_assert_int_eq(asyncore_poll3(ASYNCORE_TIMEOUT_NONE, NULL), 0);
}
END_TEST

/* --- count ----------------------------------------------------------------------------------- */

START_TEST(count_counts_passes)
{
    static const int counts[] = {1, 2, 7};

    make(1, AF_UNIX, the_map);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int before = probes[0]->calls[PROBE_READABLE];

        ck_assert_int_eq(asyncore_loop(0, _i, the_map, counts[i]), ASYNCORE_LOOP_COUNT);
        ck_assert_int_eq(probes[0]->calls[PROBE_READABLE] - before, counts[i]);
    }
}
END_TEST

START_TEST(count_of_nothing)
{
    static const int counts[] = {0, -1, -30, ASYNCORE_COUNT_NONE + 1};

    make(1, AF_UNIX, the_map);
    send_to_all(1);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, counts[i]),
                         ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(probes[0]->calls[PROBE_READABLE], 0);
}
END_TEST

START_TEST(count_none_runs_until_empty)
{
    make(2, AF_UNIX, the_map);
    for (int i = 0; i < 2; i++)
        test_close(&peers[i]);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_int_eq(probe_count("b.finalize"), 1);
}
END_TEST

START_TEST(count_ends_when_empty)
{
    make(1, AF_UNIX, the_map);
    test_close(&peers[0]);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1000), ASYNCORE_LOOP_EMPTY);
}
END_TEST

/* Every pass of a counted loop waits its time. */
START_TEST(count_times_timeout)
{
    double begin;

    make(1, AF_UNIX, the_map);
    begin = test_now();
    ck_assert_int_eq(asyncore_loop(0.02, _i, the_map, 3), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.06);
}
END_TEST

/* --- timeouts -------------------------------------------------------------------------------- */

START_TEST(timeout_is_waited_for)
{
    static const double timeouts[] = {0.05, 0.013, 0.0015, 0.0004, 0.000001, 0};

    make(2, AF_UNIX, the_map);
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        double begin = test_now();

        ck_assert_int_eq(poll_as(_i, timeouts[i]), 0);
        ck_assert_double_ge(test_now() - begin, timeouts[i]);
    }
    ck_assert_str_eq(probe_trace(), "");
}
END_TEST

/* Where no channel is asked in every pass, too. */
START_TEST(timeout_without_own_predicates)
{
    double begin;

    probes[0] = NULL;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    ck_assert_ptr_nonnull(asyncore_dispatcher_with_send_new(pair[0], the_map));
    begin = test_now();
    ck_assert_int_eq(poll_as(_i, 0.03), 0);
    ck_assert_int_eq(asyncore_loop(0.03, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.06);
}
END_TEST

START_TEST(timeout_of_zero_serves_what_is_ready)
{
    make(2, AF_UNIX, the_map);
    send_to_all(2);
    ck_assert_int_eq(poll_as(_i, 0), 0);
    ck_assert_str_eq(probe_trace(), "a.read b.read");
    ck_assert_int_eq(poll_as(_i, 0), 0);
    ck_assert_str_eq(probe_trace(), "a.read b.read");
}
END_TEST

/* Any negative one, and one without end. */
START_TEST(timeout_none_waits)
{
    static const double timeouts[] = {
        ASYNCORE_TIMEOUT_NONE, -0.001, -1e300, INFINITY, -INFINITY, 1e300};

    make(1, AF_UNIX, the_map);
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        probe_clear();
        host_begin(write_to_first, NULL);
        ck_assert_int_eq(poll_as(_i, timeouts[i]), 0);
        host_end();
        ck_assert_str_eq(probe_trace(), "host a.read");
    }
}
END_TEST

START_TEST(timeout_that_is_no_number)
{
    ck_assert_int_eq(asyncore_loop(NAN, _i, the_map, ASYNCORE_COUNT_NONE), -EINVAL);
    ck_assert_int_eq(poll_as(_i, NAN), -EINVAL);
    make(1, AF_UNIX, the_map);
    send_to_all(1);
    ck_assert_int_eq(asyncore_loop(NAN, _i, the_map, 0), -EINVAL);
    ck_assert_int_eq(asyncore_loop(NAN, _i, the_map, 1), -EINVAL);
    ck_assert_int_eq(poll_as(_i, NAN), -EINVAL);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(probes[0]->calls[PROBE_READABLE], 0);
}
END_TEST

/* Nobody is interested: it sleeps, and serves the host. */
START_TEST(timeout_without_interest)
{
    double begin;

    make(2, AF_UNIX, the_map);
    probes[0]->readable = probes[1]->readable = false;
    send_to_all(2);
    host_begin(only_tell, NULL);
    begin = test_now();
    ck_assert_int_eq(poll_as(_i, 0.03), 0);
    ck_assert_double_ge(test_now() - begin, 0.03);
    ck_assert_str_eq(probe_trace(), "host");
    host_end();
}
END_TEST

static int change_mind(struct probe *self)
{
    return *(bool *)self->arg;
}

/* A loop without count asks at least every timeout: an answer that changes unseen is heard. */
START_TEST(timeout_bounds_a_pass)
{
    bool wants = false;

    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READABLE] = change_mind;
    probes[0]->arg = &wants;
    send_to_all(1);
    test_close(&peers[0]);
    asyncore_del_channel(d(1));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(poll_as(_i, 0.001), 0);
        ck_assert_str_eq(probe_trace(), "");
    }
    wants = true;
    ck_assert_int_eq(asyncore_loop(0.001, _i, the_map, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    ck_assert_int_eq(probe_count("a.close"), 1);
}
END_TEST

static int want_at_tenth(struct probe *self)
{
    return self->calls[PROBE_READABLE] >= 10;
}

START_TEST(timeout_ends_passes_without_count)
{
    make(1, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READABLE] = want_at_tenth;
    test_close(&peers[0]);
    ck_assert_int_eq(asyncore_loop(0.001, _i, the_map, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("a.close"), 1);
}
END_TEST

/* --- handlers that fail ------------------------------------------------------------------------
 */

static int result_of_hook;

static int return_result(struct probe *self)
{
    char buf[1];

    asyncore_recv_flags(&self->base, buf, sizeof buf, 0);
    return result_of_hook;
}

START_TEST(handler_succeeds)
{
    static const int results[] = {0, 1, 4096, INT_MAX, -EAGAIN};

    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = return_result;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        probe_clear();
        send_to_all(2);
        result_of_hook = results[i];
        ck_assert_int_eq(poll_as(_i, 0), 0);
        ck_assert_str_eq(probe_trace(), "a.read b.read");
    }
}
END_TEST

START_TEST(handler_fails)
{
    make(2, AF_UNIX, the_map);
    asyncore_ref(d(0));
    probes[0]->hook[PROBE_READ] = return_result;
    result_of_hook = -EPROTO;
    send_to_all(2);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "a.read a.error b.read");
    ck_assert_int_eq(probes[0]->error, -EPROTO);
    asyncore_unref(d(0));
}
END_TEST

static int close_and_fail(struct probe *self)
{
    asyncore_close(&self->base);
    return -EPROTO;
}

/* A handler that closes and then fails has failed all the same. */
START_TEST(handler_closes_and_fails)
{
    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = close_and_fail;
    send_to_all(2);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "a.read a.error b.read a.finalize");
}
END_TEST

/* An error of handle_error's own leaves the loop; what was ready comes back. */
START_TEST(handle_error_fails)
{
    make(3, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READ] = return_result;
    probes[1]->hook[PROBE_ERROR] = return_result;
    result_of_hook = -EPROTO;
    send_to_all(3);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, ASYNCORE_COUNT_NONE), -EPROTO);
    ck_assert_str_eq(probe_trace(), "a.read b.read b.error");
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "a.read b.read b.error c.read");
}
END_TEST

/* In poll's way an error of the disconnected family goes to handle_close. */
START_TEST(handler_says_disconnected)
{
    static const int errors[] = {-ECONNRESET, -ENOTCONN, -ESHUTDOWN, -ECONNABORTED, -EPIPE, -EBADF};

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        make(1, AF_UNIX, the_map);
        probes[0]->hook[PROBE_READ] = return_result;
        result_of_hook = errors[i];
        send_to_all(1);
        ck_assert_int_eq(asyncore_loop(0, _i, the_map, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
        ck_assert_str_eq(probe_trace(),
                         _i ? "a.read a.close a.finalize" : "a.read a.error a.finalize");
        probe_clear();
        test_close(&peers[0]);
    }
}
END_TEST

/* Any error ends the channel's turn in poll's way; in select's the write comes all the same, if the
 * channel is still open. */
static int stay_open(struct probe *self)
{
    (void)self;
    return 0;
}

START_TEST(error_ends_the_turn)
{
    make(1, AF_UNIX, the_map);
    probes[0]->writable = true;
    probes[0]->hook[PROBE_READ] = return_result;
    probes[0]->hook[PROBE_ERROR] = stay_open;
    result_of_hook = -EPROTO;
    send_to_all(1);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), _i ? "a.read a.error" : "a.read a.error a.write");
}
END_TEST

static const enum probe_call exits[] = {PROBE_READ, PROBE_WRITE, PROBE_CLOSE, PROBE_ERROR};
enum {
    EXITS = sizeof exits / sizeof *exits
};

static int fail_protocol(struct probe *self)
{
    (void)self;
    return -EPROTO;
}

static int exit_now_once(struct probe *self)
{
    for (size_t i = 0; i < EXITS; i++)
        if (self->hook[exits[i]] == exit_now_once)
            self->hook[exits[i]] = NULL;
    return ASYNCORE_EXIT_NOW;
}

/* ExitNow skips handle_error, leaves the loop, and what was ready comes back. */
START_TEST(exit_now_leaves)
{
    enum probe_call call = exits[_i / 2];

    make(3, AF_UNIX, the_map);
    probes[1]->hook[call] = exit_now_once;
    if (call == PROBE_WRITE)
        probes[1]->writable = true;
    if (call == PROBE_ERROR)
        probes[1]->hook[PROBE_READ] = fail_protocol;
    if (call == PROBE_CLOSE)
        test_close(&peers[1]);
    test_write_all(peers[0], "x", 1);
    test_write_all(peers[2], "x", 1);
    if (call == PROBE_READ || call == PROBE_ERROR)
        test_write_all(peers[1], "x", 1);
    ck_assert_int_eq(asyncore_loop(0, _i % 2, the_map, ASYNCORE_COUNT_NONE), ASYNCORE_EXIT_NOW);
    ck_assert_int_eq(probe_count("b.error"), call == PROBE_ERROR);
    ck_assert_int_eq(probe_count("b.finalize"), 0);
    probes[1]->hook[PROBE_READ] = NULL;
    ck_assert_int_eq(asyncore_loop(0, _i % 2, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
}
END_TEST

/* --- loop_exit ---------------------------------------------------------------------------------
 */

static int exit_value;

static int call_loop_exit(struct probe *self)
{
    char buf[1];

    asyncore_recv_flags(&self->base, buf, sizeof buf, 0);
    ck_assert_int_eq(asyncore_loop_exit(self->base.map, exit_value), 0);
    return 1;
}

START_TEST(loop_exit_without_loop)
{
    ck_assert_int_eq(asyncore_loop_exit(the_map, 5), -EINVAL);
    make(1, AF_UNIX, the_map);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(asyncore_loop_exit(the_map, 5), -EINVAL);
    ck_assert_int_eq(asyncore_loop_exit(NULL, 5), -EINVAL);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
}
END_TEST

START_TEST(loop_exit_in_a_handler)
{
    static const int values[] = {5, 0, 1, -1, -EPROTO, INT_MAX, INT_MIN, ASYNCORE_EXIT_NOW};

    make(3, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READ] = call_loop_exit;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        probe_clear();
        send_to_all(3);
        exit_value = values[i];
        ck_assert_int_eq(loop_forever(_i), values[i]);
        ck_assert_str_eq(probe_trace(), "a.read b.read");
        ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
        ck_assert_str_eq(probe_trace(), "a.read b.read c.read");
    }
}
END_TEST

START_TEST(loop_exit_in_poll)
{
    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = call_loop_exit;
    exit_value = 77;
    send_to_all(2);
    ck_assert_int_eq(poll_as(_i, ASYNCORE_TIMEOUT_NONE), 77);
    ck_assert_str_eq(probe_trace(), "a.read");
    ck_assert_int_eq(poll_as(_i, 0), 0);
    ck_assert_str_eq(probe_trace(), "a.read b.read");
}
END_TEST

START_TEST(loop_exit_in_a_predicate)
{
    make(2, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READABLE] = call_loop_exit;
    exit_value = 6;
    send_to_all(2);
    ck_assert_int_eq(loop_forever(_i), 6);
    ck_assert_str_eq(probe_trace(), "");
    probes[1]->hook[PROBE_READABLE] = NULL;
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("a.read"), 1);
}
END_TEST

static void exit_from_host(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ck_assert_int_eq(asyncore_loop_exit(arg, 9), 0);
}

START_TEST(loop_exit_in_a_host_callback)
{
    make(1, AF_UNIX, the_map);
    host_begin(exit_from_host, the_map);
    ck_assert_int_eq(loop_forever(_i), 9);
    host_end();
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
}
END_TEST

/* The last word counts; and the handler's own error goes to handle_error still. */
static int exit_and_fail(struct probe *self)
{
    ck_assert_int_eq(asyncore_loop_exit(self->base.map, 3), 0);
    ck_assert_int_eq(asyncore_loop_exit(self->base.map, 4), 0);
    return -EPROTO;
}

START_TEST(loop_exit_and_error)
{
    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = exit_and_fail;
    send_to_all(2);
    ck_assert_int_eq(loop_forever(_i), 4);
    ck_assert_str_eq(probe_trace(), "a.read a.error a.finalize");
}
END_TEST

static int nest(struct probe *self)
{
    char buf[1];
    int r;

    asyncore_recv_flags(&self->base, buf, sizeof buf, 0);
    r = asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, self->base.map, ASYNCORE_COUNT_NONE);
    probe_note("nested=%d", r);
    return 0;
}

/* It is the innermost one that ends. */
START_TEST(loop_exit_of_a_nested_loop)
{
    make(3, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = nest;
    probes[1]->hook[PROBE_READ] = call_loop_exit;
    exit_value = 8;
    send_to_all(3);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("nested=8"), 1);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("c.read"), 1);
}
END_TEST

static int exit_then_nest(struct probe *self)
{
    char buf[1];

    asyncore_recv_flags(&self->base, buf, sizeof buf, 0);
    ck_assert_int_eq(asyncore_loop_exit(self->base.map, 12), 0);
    probe_note("nested=%d",
               asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, self->base.map, ASYNCORE_COUNT_NONE));
    return 0;
}

/* A loop that is told to end and then nests another does not start over. */
START_TEST(loop_exit_before_a_nested_loop)
{
    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = exit_then_nest;
    test_write_all(peers[0], "x", 1);
    ck_assert_int_eq(loop_forever(_i), 12);
    ck_assert_int_eq(probe_count("b.read"), 0);
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static void add_arguments(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("empty"));

    tcase_add_loop_test(tc, empty_loop_returns, 0, 2);
    tcase_add_test(tc, empty_poll_returns);

    tc = add_case(s, tcase_create("count"));
    tcase_add_loop_test(tc, count_counts_passes, 0, 2);
    tcase_add_loop_test(tc, count_of_nothing, 0, 2);
    tcase_add_loop_test(tc, count_none_runs_until_empty, 0, 2);
    tcase_add_loop_test(tc, count_ends_when_empty, 0, 2);
    tcase_add_loop_test(tc, count_times_timeout, 0, 2);

    tc = add_case(s, tcase_create("timeout"));
    tcase_add_loop_test(tc, timeout_is_waited_for, 0, 2);
    tcase_add_loop_test(tc, timeout_without_own_predicates, 0, 2);
    tcase_add_loop_test(tc, timeout_of_zero_serves_what_is_ready, 0, 2);
    tcase_add_loop_test(tc, timeout_none_waits, 0, 2);
    tcase_add_loop_test(tc, timeout_that_is_no_number, 0, 2);
    tcase_add_loop_test(tc, timeout_without_interest, 0, 2);
    tcase_add_loop_test(tc, timeout_bounds_a_pass, 0, 2);
    tcase_add_loop_test(tc, timeout_ends_passes_without_count, 0, 2);
}

static void add_ends(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("results"));

    tcase_add_loop_test(tc, handler_succeeds, 0, 2);
    tcase_add_loop_test(tc, handler_fails, 0, 2);
    tcase_add_loop_test(tc, handler_closes_and_fails, 0, 2);
    tcase_add_loop_test(tc, handle_error_fails, 0, 2);
    tcase_add_loop_test(tc, handler_says_disconnected, 0, 2);
    tcase_add_loop_test(tc, error_ends_the_turn, 0, 2);
    tcase_add_loop_test(tc, exit_now_leaves, 0, 2 * EXITS);

    tc = add_case(s, tcase_create("loop_exit"));
    tcase_add_loop_test(tc, loop_exit_without_loop, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_poll, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_a_predicate, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_a_host_callback, 0, 2);
    tcase_add_loop_test(tc, loop_exit_and_error, 0, 2);
    tcase_add_loop_test(tc, loop_exit_of_a_nested_loop, 0, 2);
    tcase_add_loop_test(tc, loop_exit_before_a_nested_loop, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("loop");

    add_arguments(s);
    add_ends(s);
    return test_main(s);
}
