/*
 * asyncore_map_detach, wherever it is called: who is not served then, and that nothing is left in
 * the base.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "hosted.h"

#include <errno.h>

/* --- detaching ---------------------------------------------------------------------------------
 */

static int detach(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    asyncore_recv(&self->base, &(char){0}, 1);
    return asyncore_map_detach(the_map);
}

START_TEST(detached_in_a_handler)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = detach;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read b.read");
    check_not_attached();
    check_loop_serves("c.read");
}
END_TEST

static int detach_and_say_yes(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    return 1;
}

START_TEST(detached_in_a_predicate)
{
    make_tcp(2);
    send_to(1);
    probes[0]->hook[PROBE_READABLE] = detach_and_say_yes;
    attach(_i);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("");
    check_loop_serves("b.read");
}
END_TEST

static int detach_and_fail(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    return ASYNCORE_EXIT_NOW;
}

/* done is not called, whatever else has happened. */
START_TEST(detached_and_failed)
{
    make_ready(_i);
    probes[2]->hook[PROBE_READ] = detach_and_fail;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.read b.read c.read");
    check_loop_serves("c.read");
}
END_TEST

CALLBACK(detach_from_host)
{
    UNUSED_ARGUMENTS;
    probe_note("detach=%d", asyncore_map_detach(the_map));
}

START_TEST(detached_in_a_callback_of_the_host)
{
    make_tcp(3);
    attach(_i);
    host_settle();
    host_call(detach_from_host, NULL, 2000);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("detach=0");
    for (int i = 0; i < 3; i++)
        send_to(i);
    check_loop_serves("a.read b.read c.read");
}
END_TEST

/* The timers of channels, too, are not in the base of a map that nobody serves. */
START_TEST(detached_with_timeouts)
{
    make_tcp(2);
    ck_assert_int_eq(asyncore_set_timeout(d(0), 1000), 0);
    ck_assert_int_eq(asyncore_set_timeout(d(1), 0.05), 0);
    attach(_i);
    host_settle();
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    ck_assert_int_eq(host_events(), 0);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("b.close b.finalize");
}
END_TEST

/* Between the marks of the channels and their pass: that timer runs behind their events, and in
 * front of the pass. */
START_TEST(detached_while_channels_are_ready)
{
    make_ready(_i);
    host_call(detach_from_host, NULL, 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("detach=0");
    check_loop_serves("a.read b.read c.read");
}
END_TEST

/* Nothing of what was asked for while it was attached counts later. */
START_TEST(detached_and_exited)
{
    make_tcp(1);
    attach(_i);
    ck_assert_int_eq(asyncore_loop_exit(the_map, 9), 0);
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    send_to(0);
    check_loop_serves("a.read");
}
END_TEST

START_TEST(attached_again_and_again)
{
    make_tcp(1);
    for (int i = 0; i < 5; i++) {
        attach(i & 1);
        send_to(0);
        host_until("a.read", 1);
        ck_assert_int_eq(asyncore_map_detach(the_map), 0);
        send_to(0);
        check_loop_serves("a.read a.read");
    }
}
END_TEST

static void (*finalize_hook)(void);

struct last {
    struct asyncore_dispatcher base;
};

static void last_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    probe_note("last");
    finalize_hook();
}

ASYNCORE_CLASS(last, asyncore_dispatcher, .finalize = last_finalize);

static void exit_in_finalize(void)
{
    ck_assert_int_eq(asyncore_loop_exit(the_map, 3), 0);
}

static void detach_in_finalize(void)
{
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
}

static void close_last(bool use_poll)
{
    struct last *last = last_new(-1, the_map);

    ck_assert_ptr_nonnull(last);
    ck_assert_int_eq(asyncore_create_socket(&last->base, AF_INET, SOCK_DGRAM), 0);
    attach(use_poll);
    host_settle();
    ck_assert_int_eq(asyncore_close(&last->base), 0);
}

/* finalize runs after the handlers. */
START_TEST(loop_exit_in_finalize)
{
    close_last(_i);
    finalize_hook = exit_in_finalize;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("last done=3");
    check_not_attached();
}
END_TEST

START_TEST(detached_in_finalize)
{
    int pair[2];

    test_pair(AF_INET, pair);
    ck_assert_ptr_nonnull(probe_make("a", pair[0], the_map));
    close_last(_i);
    finalize_hook = detach_in_finalize;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("last");
    check_not_attached();
    test_close(&pair[1]);
}
END_TEST

/* --- running -----------------------------------------------------------------------------------
 */

int main(void)
{
    Suite *s = suite_create("detach");
    TCase *tc = add_hosted_case(s, tcase_create("detaching"));
    tcase_add_loop_test(tc, detached_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, detached_in_a_predicate, 0, 2);
    tcase_add_loop_test(tc, detached_and_failed, 0, 2);
    tcase_add_loop_test(tc, detached_in_a_callback_of_the_host, 0, 2);
    tcase_add_loop_test(tc, detached_with_timeouts, 0, 2);
    tcase_add_loop_test(tc, detached_while_channels_are_ready, 0, 2);
    tcase_add_loop_test(tc, detached_and_exited, 0, 2);
    tcase_add_loop_test(tc, loop_exit_in_finalize, 0, 2);
    tcase_add_loop_test(tc, detached_in_finalize, 0, 2);
    tcase_add_loop_test(tc, attached_again_and_again, 0, 2);
    return hosted_main(s);
}
