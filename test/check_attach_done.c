/*
 * The arguments of asyncore_map_attach, what done is told, and what done does.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "hosted.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

static int attach_count(double timeout, bool use_poll, int count)
{
    return asyncore_map_attach_loop(timeout, use_poll, the_map, count, tell, NULL);
}

static void check_attached_serves(const char *last, const char *expected)
{
    attach(false);
    host_until(last, 1);
    check_trace(expected);
}

/* --- attaching ---------------------------------------------------------------------------------
 */

START_TEST(arguments)
{
    ck_assert_int_eq(attach_count(NAN, _i, ASYNCORE_COUNT_NONE), -EINVAL);
    ck_assert_int_eq(attach_count(0, _i, 0), -EINVAL);
    ck_assert_int_eq(attach_count(0, _i, -1), -EINVAL);
    check_not_attached();
    ck_assert_int_eq(host_events(), 0);
    ck_assert_int_eq(attach_count(0, _i, 1), 0);
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    check_not_attached();
}
END_TEST

START_TEST(attached_already)
{
    make_tcp(1);
    attach(_i);
    ck_assert_int_eq(asyncore_map_attach(the_map, tell, NULL), -EBUSY);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, 1), -EDEADLK);
    ck_assert_int_eq(asyncore_poll(0, the_map), -EDEADLK);
    ck_assert_int_eq(asyncore_poll2(0, the_map), -EDEADLK);
    send_to(0);
    host_until("a.read", 1);
}
END_TEST

START_TEST(freed_already)
{
    struct asyncore_dispatcher *held;
    struct asyncore_map *map;

    make_tcp(1);
    held = asyncore_ref(d(0));
    map = held->map;
    asyncore_map_free(map);
    the_map = NULL;
    ck_assert_int_eq(asyncore_map_attach(map, tell, NULL), -EINVAL);
    ck_assert_int_eq(asyncore_map_detach(map), -EINVAL);
    asyncore_map_touch(map);
    asyncore_unref(held);
}
END_TEST

static int try_to_attach(struct probe *self)
{
    probe_note("attach=%d", asyncore_map_attach(the_map, tell, NULL));
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* In a handler: of a loop of the map's own, or attached. */
START_TEST(attaching_in_a_handler)
{
    char expected[32];

    snprintf(expected, sizeof expected, "a.read attach=%d", -EBUSY);
    make_tcp(1);
    probes[0]->hook[PROBE_READ] = try_to_attach;
    send_to(0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    check_trace(expected);
    attach(_i);
    send_to(0);
    host_until("a.read", 1);
    check_trace(expected);
}
END_TEST

START_TEST(without_done)
{
    make_tcp(1);
    ck_assert_int_eq(asyncore_map_attach(the_map, NULL, NULL), 0);
    send_to(0);
    host_until("a.read", 1);
    test_close(&peers[0]);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_int_eq(asyncore_loop_exit(the_map, 1), 0);
    host_settle();
    check_not_attached();
}
END_TEST

static void *given;

static void keep_argument(struct asyncore_map *map, int result, void *arg)
{
    ck_assert_ptr_eq(map, the_map);
    ck_assert_int_eq(result, 7);
    given = arg;
}

START_TEST(argument_of_done)
{
    ck_assert_int_eq(asyncore_map_attach(the_map, keep_argument, &given), 0);
    ck_assert_int_eq(asyncore_loop_exit(the_map, 7), 0);
    host_settle();
    ck_assert_ptr_eq(given, &given);
}
END_TEST

/* --- empty maps --------------------------------------------------------------------------------
 */

START_TEST(attached_empty)
{
    attach(_i);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("");
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
}
END_TEST

START_TEST(emptied_and_filled_again)
{
    attach(_i);
    for (int i = 0; i < 3; i++) {
        make_tcp(1);
        send_to(0);
        host_until("a.read", 1);
        test_close(&peers[0]);
        ck_assert_int_eq(event_base_dispatch(base), 1);
        check_trace("a.read a.read a.close a.finalize done=EMPTY");
    }
}
END_TEST

START_TEST(emptied_before_it_is_served)
{
    make_tcp(1);
    attach(_i);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize done=EMPTY");
}
END_TEST

START_TEST(filled_and_emptied_at_once)
{
    attach(_i);
    host_settle();
    make_tcp(1);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize done=EMPTY");
}
END_TEST

static int close_it(struct probe *self)
{
    return asyncore_close(&self->base);
}

START_TEST(emptied_by_a_predicate)
{
    make_tcp(1);
    probes[0]->hook[PROBE_READABLE] = close_it;
    attach(_i);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize done=EMPTY");
}
END_TEST

/* --- what is told ------------------------------------------------------------------------------
 */

static int exit_now(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    asyncore_recv(&self->base, &(char){0}, 1);
    return ASYNCORE_EXIT_NOW;
}

START_TEST(exit_now_in_a_handler)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = exit_now;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read b.read done=EXIT_NOW");
    check_not_attached();
    check_attached_serves("c.read", "c.read");
}
END_TEST

static int exit_with_5(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    asyncore_recv(&self->base, &(char){0}, 1);
    return asyncore_loop_exit(the_map, 5);
}

START_TEST(loop_exit_in_a_handler)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = exit_with_5;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read b.read done=5");
    check_not_attached();
    check_loop_serves("c.read");
}
END_TEST

CALLBACK(exit_with_6)
{
    UNUSED_ARGUMENTS;
    probe_note("exit");
    ck_assert_int_eq(asyncore_loop_exit(the_map, 6), 0);
}

START_TEST(loop_exit_in_a_callback_of_the_host)
{
    make_tcp(1);
    attach(_i);
    host_call(exit_with_6, NULL, 2000);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("exit done=6");
    check_not_attached();
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

/* Nothing is served any more, and nothing is lost. */
START_TEST(loop_exit_while_channels_are_ready)
{
    make_ready(_i);
    host_call(exit_with_6, NULL, 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("exit done=6");
    check_loop_serves("a.read b.read c.read");
}
END_TEST

START_TEST(loop_exit_of_an_empty_map)
{
    attach(_i);
    host_settle();
    host_call(exit_with_6, NULL, 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("exit done=6");
}
END_TEST

static int exit_with_7(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    ck_assert_int_eq(asyncore_loop_exit(the_map, 7), 0);
    return 1;
}

START_TEST(loop_exit_in_a_predicate)
{
    make_tcp(1);
    probes[0]->hook[PROBE_READABLE] = exit_with_7;
    attach(_i);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("done=7");
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

static void exit_in_done(struct asyncore_map *map)
{
    done_hook = NULL;
    ck_assert_int_eq(asyncore_loop_exit(map, 8), 0);
}

START_TEST(loop_exit_in_done)
{
    make_tcp(1);
    attach(_i);
    done_hook = exit_in_done;
    test_close(&peers[0]);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read a.close a.finalize done=EMPTY done=8");
    check_not_attached();
}
END_TEST

static int fail_once(struct probe *self)
{
    for (int i = 0; i < PROBE_CALLS; i++)
        self->hook[i] = NULL;
    return -EPROTO;
}

START_TEST(predicate_fails)
{
    char expected[32];

    snprintf(expected, sizeof expected, "done=%d", -EPROTO);
    make_tcp(2);
    probes[0]->hook[PROBE_READABLE] = fail_once;
    send_to(0);
    send_to(1);
    attach(_i);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace(expected);
    check_not_attached();
    check_attached_serves("b.read", "a.read b.read");
}
END_TEST

static int fail_to_read(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    return -EPROTO;
}

START_TEST(handle_error_fails)
{
    char expected[64];

    snprintf(expected, sizeof expected, "a.read b.read b.error done=%d", -EPROTO);
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = fail_to_read;
    probes[1]->hook[PROBE_ERROR] = fail_once;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace(expected);
    check_loop_serves("b.read c.read");
}
END_TEST

START_TEST(handler_fails)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = fail_to_read;
    host_until("c.read", 1);
    check_trace("a.read b.read b.error c.read b.finalize");
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
}
END_TEST

/* --- counts ------------------------------------------------------------------------------------
 */

START_TEST(count_of_passes)
{
    make_tcp(1);
    ck_assert_int_eq(attach_count(ASYNCORE_TIMEOUT_NONE, _i, 3), 0);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(probe_count("done=COUNT"), 0);
        send_to(0);
        host_until("a.read", i);
    }
    host_settle();
    check_trace("a.read a.read a.read done=COUNT");
    check_not_attached();
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

/* Each waits for its time, or not at all. */
START_TEST(count_and_timeout)
{
    double begin = test_now();

    make_tcp(1);
    ck_assert_int_eq(attach_count(0.02, _i, 2), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("done=COUNT");
    ck_assert_double_ge(test_now() - begin, 0.04);
    ck_assert_int_eq(attach_count(0, _i, 2), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("done=COUNT");
    ck_assert_int_le(probes[0]->calls[PROBE_READABLE], 8);
}
END_TEST

/* To ask again does not end a pass. */
START_TEST(count_and_touches)
{
    make_tcp(1);
    ck_assert_int_eq(attach_count(TEST_WAIT_SECONDS, _i, 1), 0);
    host_settle();
    asyncore_map_touch(the_map);
    host_settle();
    check_trace("");
    send_to(0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read done=COUNT");
}
END_TEST

START_TEST(count_without_waiting_serves)
{
    make_tcp(1);
    send_to(0);
    ck_assert_int_eq(attach_count(0, _i, 1), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read done=COUNT");
    ck_assert_int_eq(probes[0]->calls[PROBE_READABLE], 1);
}
END_TEST

static int break_base(struct probe *self)
{
    self->writable = false;
    return event_base_loopbreak(base);
}

/* A pass that was stopped is not done. Nobody waits for these to be ready. */
START_TEST(count_and_stopped)
{
    make_tcp(3);
    for (int i = 0; i < 3; i++)
        probes[i]->writable = true;
    probes[0]->hook[PROBE_WRITE] = break_base;
    ck_assert_int_eq(attach_count(0, _i, 1), 0);
    ck_assert_int_eq(event_base_dispatch(base), 0);
    check_trace("a.write");
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("b.write c.write done=COUNT");
}
END_TEST

START_TEST(count_and_emptied)
{
    make_tcp(1);
    test_close(&peers[0]);
    ck_assert_int_eq(attach_count(ASYNCORE_TIMEOUT_NONE, _i, 1), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read a.close a.finalize done=EMPTY");
    check_not_attached();
}
END_TEST

CALLBACK(make_one)
{
    UNUSED_ARGUMENTS;
    if (peers[0] >= 0)
        test_close(&peers[0]);
    make_tcp(1);
    send_to(0);
}

/* There is no pass while the map is empty. */
START_TEST(count_goes_on_when_there_are_channels)
{
    make_tcp(1);
    test_close(&peers[0]);
    ck_assert_int_eq(attach_count(0.01, _i, 2), 0);
    host_until("done=EMPTY", 1);
    probe_clear();
    host_call(make_one, NULL, 30000);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read done=COUNT");
}
END_TEST

CALLBACK(close_one)
{
    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_close(d(0)), 0);
}

static struct event *closer;

/* Its callback runs right behind the pass that asks. */
static int activate_closer(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    event_active(closer, EV_TIMEOUT, 0);
    return 1;
}

/* The same when the host emptied it, while the pass was waiting. */
START_TEST(count_and_emptied_by_the_host)
{
    closer = evtimer_new(base, close_one, NULL);
    make_tcp(1);
    probes[0]->hook[PROBE_READABLE] = activate_closer;
    ck_assert_int_eq(attach_count(0.02, _i, 1), 0);
    host_until("done=EMPTY", 1);
    probe_clear();
    host_call(make_one, NULL, 40000);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read done=COUNT");
    event_free(closer);
}
END_TEST

/* --- what done does ----------------------------------------------------------------------------
 */

static void attach_in_done(struct asyncore_map *map)
{
    done_hook = NULL;
    probe_note("attach=%d", asyncore_map_attach(map, tell, NULL));
}

START_TEST(attached_again_in_done)
{
    make_ready(_i);
    probes[0]->hook[PROBE_READ] = exit_now;
    done_hook = attach_in_done;
    host_until("c.read", 1);
    check_trace("a.read done=EXIT_NOW attach=0 b.read c.read");
}
END_TEST

/* It is still attached then. */
START_TEST(attached_again_in_done_of_an_empty_map)
{
    char expected[64];

    snprintf(expected, sizeof expected, "a.finalize done=EMPTY attach=%d", -EBUSY);
    make_tcp(1);
    attach(_i);
    asyncore_close(d(0));
    done_hook = attach_in_done;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace(expected);
}
END_TEST

static void detach_in_done(struct asyncore_map *map)
{
    probe_note("detach=%d", asyncore_map_detach(map));
}

START_TEST(detached_in_done)
{
    make_tcp(1);
    attach(_i);
    asyncore_close(d(0));
    done_hook = detach_in_done;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize done=EMPTY detach=0");
    check_not_attached();
}
END_TEST

static void free_in_done(struct asyncore_map *map)
{
    asyncore_map_free(map);
    the_map = NULL;
}

START_TEST(freed_in_done_of_an_empty_map)
{
    make_tcp(1);
    attach(_i);
    asyncore_close(d(0));
    done_hook = free_in_done;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize done=EMPTY");
}
END_TEST

START_TEST(freed_in_done)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = exit_now;
    done_hook = free_in_done;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read b.read done=EXIT_NOW a.finalize b.finalize c.finalize");
}
END_TEST

static void loop_in_done(struct asyncore_map *map)
{
    probe_note("loop=%d", asyncore_loop(0, false, map, 1));
}

/* It is a callback of the base. */
START_TEST(loop_in_done_is_refused)
{
    char expected[64];
    struct test_capture err;

    snprintf(expected, sizeof expected, "a.read done=EXIT_NOW loop=%d", -EDEADLK);
    make_ready(_i);
    probes[0]->hook[PROBE_READ] = exit_now;
    done_hook = loop_in_done;
    test_capture_begin(&err, STDERR_FILENO);
    host_settle();
    (void)test_capture_end(&err);
    check_trace(expected);
    check_attached_serves("c.read", "b.read c.read");
}
END_TEST

static void add_in_done(struct asyncore_map *map)
{
    done_hook = NULL;
    test_close(&peers[0]);
    make(1, AF_INET, map);
    send_to(0);
}

START_TEST(filled_in_done)
{
    make_tcp(1);
    attach(_i);
    asyncore_close(d(0));
    done_hook = add_in_done;
    host_until("a.read", 1);
    check_trace("a.finalize done=EMPTY a.read");
}
END_TEST

/* --- running -----------------------------------------------------------------------------------
 */

static void add_attaching(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("attaching"));

    tcase_add_loop_test(tc, arguments, 0, 2);
    tcase_add_loop_test(tc, attached_already, 0, 2);
    tcase_add_test(tc, freed_already);
    tcase_add_loop_test(tc, attaching_in_a_handler, 0, 2);
    tcase_add_test(tc, without_done);
    tcase_add_test(tc, argument_of_done);
    tcase_add_loop_test(tc, attached_empty, 0, 2);
    tcase_add_loop_test(tc, emptied_and_filled_again, 0, 2);
    tcase_add_loop_test(tc, emptied_before_it_is_served, 0, 2);
    tcase_add_loop_test(tc, filled_and_emptied_at_once, 0, 2);
    tcase_add_loop_test(tc, emptied_by_a_predicate, 0, 2);
}

static void add_told(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("told"));

    tcase_add_loop_test(tc, exit_now_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_a_callback_of_the_host, 0, 2);
    tcase_add_loop_test(tc, loop_exit_while_channels_are_ready, 0, 2);
    tcase_add_loop_test(tc, loop_exit_of_an_empty_map, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_a_predicate, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_done, 0, 2);
    tcase_add_loop_test(tc, predicate_fails, 0, 2);
    tcase_add_loop_test(tc, handle_error_fails, 0, 2);
    tcase_add_loop_test(tc, handler_fails, 0, 2);

    tc = add_hosted_case(s, tcase_create("counts"));
    tcase_add_loop_test(tc, count_of_passes, 0, 2);
    tcase_add_loop_test(tc, count_and_timeout, 0, 2);
    tcase_add_loop_test(tc, count_and_touches, 0, 2);
    tcase_add_loop_test(tc, count_without_waiting_serves, 0, 2);
    tcase_add_loop_test(tc, count_and_stopped, 0, 2);
    tcase_add_loop_test(tc, count_and_emptied, 0, 2);
    tcase_add_loop_test(tc, count_goes_on_when_there_are_channels, 0, 2);
    tcase_add_loop_test(tc, count_and_emptied_by_the_host, 0, 2);
}

static void add_ending(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("in_done"));

    tcase_add_loop_test(tc, attached_again_in_done, 0, 2);
    tcase_add_loop_test(tc, attached_again_in_done_of_an_empty_map, 0, 2);
    tcase_add_loop_test(tc, detached_in_done, 0, 2);
    tcase_add_loop_test(tc, freed_in_done_of_an_empty_map, 0, 2);
    tcase_add_loop_test(tc, freed_in_done, 0, 2);
    tcase_add_loop_test(tc, loop_in_done_is_refused, 0, 2);
    tcase_add_loop_test(tc, filled_in_done, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("attach_done");

    add_attaching(s);
    add_told(s);
    add_ending(s);
    return hosted_main(s);
}
