/*
 * asyncore_set_timeout: when a channel is idle, what counts as activity, and what handle_timeout
 * may do.
 *
 * Tests with _i run in the ways of serving a map: select's, poll's, and by the host.
 */
#include "support.h"
#include "timed.h"

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

/* --- setting --------------------------------------------------------------------------------- */

static int (*const setters[])(struct asyncore_dispatcher *,
                              double) = {asyncore_set_timeout, asyncore_set_connect_timeout};

START_TEST(refused)
{
    struct asyncore_dispatcher *d = timed_make();

    ck_assert_int_eq(setters[_i](d, 0), -EINVAL);
    ck_assert_int_eq(setters[_i](d, -0.0), -EINVAL);
    ck_assert_int_eq(setters[_i](d, NAN), -EINVAL);
}
END_TEST

/* It takes a tick of the kernel's coarse clock at least. */
START_TEST(too_short_does_not_spin)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timespec tick;
    double begin = test_now();

    ck_assert_int_eq(clock_getres(CLOCK_MONOTONIC_COARSE, &tick), 0);
    set_timeout(d, 1e-9);
    serve_until(_i, "a.timeout", 5);
    ck_assert_double_ge(test_now() - begin, 5e-9 * (double)tick.tv_nsec);
}
END_TEST

START_TEST(none)
{
    static const double nothing[] = {ASYNCORE_TIMEOUT_NONE, -1e-9, -INFINITY, INFINITY, 1e300};
    struct asyncore_dispatcher *d = timed_make();

    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        ck_assert_int_eq(setters[_i](d, LONG), 0);
        ck_assert_int_eq(run_passes(timed_map, false, 1), 0);
        ck_assert_int_eq(setters[_i](d, nothing[i]), 0);
    }
}
END_TEST

START_TEST(taken_back)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    probe_clear();
    set_timeout(d, ASYNCORE_TIMEOUT_NONE);
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("");
}
END_TEST

/* A channel without a socket is not in a map, and no time counts. */
START_TEST(before_there_is_a_socket)
{
    struct timed *self = timed_named("a", -1, timed_map);
    struct asyncore_dispatcher *d = timed_dispatcher(self);
    double begin;

    set_timeout(d, SHORT);
    pass_time(2 * SHORT);
    begin = test_now();
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, SHORT);
}
END_TEST

struct impatient {
    struct timed base;
};

static int impatient_init(struct asyncore_dispatcher *d, int fd)
{
    int r = asyncore_set_timeout(d, SHORT);

    return r < 0 ? r : timed_class.super->init(d, fd);
}

ASYNCORE_CLASS(impatient, timed, .init = impatient_init);

START_TEST(set_in_init)
{
    struct impatient *self;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peer = pair[1];
    self = impatient_new(pair[0], timed_map);
    ck_assert_ptr_nonnull(self);
    self->base.base.name = "a";
    serve_until(_i, "a.timeout", 1);
}
END_TEST

static int set_short(struct probe *self)
{
    char byte;

    probe_note("set");
    ck_assert_int_eq(asyncore_set_timeout(&self->base, SHORT), 0);
    return asyncore_recv(&self->base, &byte, 1);
}

START_TEST(set_in_a_handler)
{
    (void)timed_make();
    timed_channel->base.hook[PROBE_READ] = set_short;
    test_write_all(peer, "x", 1);
    serve_until(_i, "a.timeout", 1);
    check_trace("a.read set a.timeout");
}
END_TEST

static void set_short_in_callback(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ck_assert_int_eq(asyncore_set_timeout(arg, SHORT), 0);
}

/* While the map waits, and has been asked. */
START_TEST(set_in_a_callback_of_the_host)
{
    const struct timeval soon = {0, 5000};
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, LONG);
    ck_assert_int_eq(event_base_once(base, -1, EV_TIMEOUT, set_short_in_callback, d, &soon), 0);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* The longer one replaces the shorter one, and the other way. */
START_TEST(set_again)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    probe_clear();
    set_timeout(d, LONG);
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("");
    begin = test_now();
    set_timeout(d, SHORT);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, SHORT);
}
END_TEST

START_TEST(set_again_counts_anew)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    set_timeout(d, 2 * SHORT);
    serve_once(_i, 0);
    pass_time(SHORT);
    probe_clear();
    begin = test_now();
    set_timeout(d, 2 * SHORT);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, 2 * SHORT);
}
END_TEST

/* Who was due and is not any more, before it could be told. */
START_TEST(set_again_when_due)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    pass_time(2 * SHORT);
    probe_clear();
    set_timeout(d, LONG);
    serve_due(_i);
    check_trace("");
}
END_TEST

/* --- idle ------------------------------------------------------------------------------------ */

/* Again and again, each time after as long. */
START_TEST(told_again)
{
    struct asyncore_dispatcher *d = timed_make();
    double last = test_now();

    set_timeout(d, SHORT);
    for (int i = 1; i <= 3; i++) {
        serve_until(_i, "a.timeout", i);
        ck_assert_double_ge(told_at - last, SHORT);
        last = told_at;
    }
    check_trace("a.timeout a.timeout a.timeout");
}
END_TEST

START_TEST(ends_a_wait)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i == POLL, timed_map, 1),
                     ASYNCORE_LOOP_COUNT);
    check_trace("a.timeout");
}
END_TEST

START_TEST(the_end_of_the_wait_comes_first)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, LONG);
    ck_assert_int_eq(asyncore_loop(SHORT, _i == POLL, timed_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("");
}
END_TEST

/* What counts as activity, on channel d. */
static void receive(struct asyncore_dispatcher *d)
{
    char byte;

    test_write_all(peer, "x", 1);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_eq(asyncore_recv(d, &byte, 1), 1);
}

static void receive_flags(struct asyncore_dispatcher *d)
{
    char byte;

    test_write_all(peer, "x", 1);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_eq(asyncore_recv_flags(d, &byte, 1, 0), 1);
}

static void transmit(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_send(d, "x", 1), 1);
}

static void transmit_flags(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_send_flags(d, "x", 1, 0), 1);
}

static void connects(struct asyncore_dispatcher *d)
{
    asyncore_set_connected(d, true);
}

static void leaves_and_comes_back(struct asyncore_dispatcher *d)
{
    asyncore_del_channel(d);
    ck_assert_int_eq(asyncore_add_channel(d, NULL), 0);
}

static void gets_another_socket(struct asyncore_dispatcher *d)
{
    int pair[2];

    test_close(&peer);
    test_pair(AF_INET, pair);
    peer = pair[1];
    ck_assert_int_eq(asyncore_set_socket(d, pair[0], NULL), 0);
}

static void (*const activities[])(struct asyncore_dispatcher *) = {
    receive,
    receive_flags,
    transmit,
    transmit_flags,
    connects,
    leaves_and_comes_back,
    gets_another_socket,
};

enum {
    ACTIVITIES = sizeof activities / sizeof *activities
};

/* It counts anew from there. */
START_TEST(activity)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    set_timeout(d, 2 * SHORT);
    serve_once(_i % WAYS, 0);
    pass_time(1.5 * SHORT);
    probe_clear();
    begin = test_now();
    activities[_i / WAYS](d);
    serve_until(_i % WAYS, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, 2 * SHORT);
}
END_TEST

/* Also when the time was up: who is due is looked at again. */
START_TEST(activity_of_who_is_due)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    set_timeout(d, SHORT);
    serve_once(_i % WAYS, 0);
    let_come_due(_i % WAYS, 2 * SHORT);
    probe_clear();
    begin = test_now();
    activities[_i / WAYS](d);
    serve_until(_i % WAYS, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, SHORT);
}
END_TEST

static int peek(struct probe *self)
{
    char byte;

    return asyncore_recv_flags(&self->base, &byte, 1, MSG_PEEK);
}

/* A handler that moves no byte. */
START_TEST(looking_is_no_activity)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->base.hook[PROBE_READ] = peek;
    set_timeout(d, SHORT);
    test_write_all(peer, "x", 1);
    serve_until(_i, "a.timeout", 1);
    ck_assert_int_gt(probe_count("a.read"), 0);
}
END_TEST

static int accepted;

static int accept_and_close(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);

    accepted += sock >= 0;
    if (sock >= 0)
        close(sock);
    return sock < 0 ? sock : 0;
}

START_TEST(accepting_is_activity)
{
    struct test_addr addr;
    struct timed *self = timed_named("a", test_listener(AF_INET, &addr), timed_map);
    double begin;

    self->base.hook[PROBE_ACCEPT] = accept_and_close;
    set_timeout(timed_dispatcher(self), 2 * SHORT);
    serve_once(_i, 0);
    pass_time(1.5 * SHORT);
    probe_clear();
    peer = test_connect(&addr);
    begin = test_now();
    ck_assert_int_eq(accept_and_close(&self->base), 0);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, 2 * SHORT);
    ck_assert_int_ge(accepted, 1);
}
END_TEST

START_TEST(datagrams_are_activity)
{
    struct asyncore_dispatcher *d;
    int pair[2];
    char byte;
    double begin;

    test_socketpair(SOCK_DGRAM, pair);
    peer = pair[1];
    timed_channel = timed_named("a", pair[0], timed_map);
    d = timed_dispatcher(timed_channel);
    set_timeout(d, 2 * SHORT);
    serve_once(_i / 2, 0);
    pass_time(1.5 * SHORT);
    probe_clear();
    test_write_all(peer, "x", 1);
    begin = test_now();
    if (_i % 2)
        ck_assert_int_eq(asyncore_recvfrom(d, &byte, 1, NULL, NULL), 1);
    else
        ck_assert_int_eq(asyncore_sendto(d, "x", 1, NULL, 0), 1);
    if (_i % 2 == 0)
        ck_assert_int_eq(recv(asyncore_fileno(d), &byte, 1, 0), 1);
    serve_until(_i / 2, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, 2 * SHORT);
}
END_TEST

/* --- channels of every kind ------------------------------------------------------------------ */

/* Nothing else is waited for. */
START_TEST(who_is_interested_in_nothing)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->base.readable = false;
    test_write_all(peer, "x", 1);
    set_timeout(d, SHORT);
    serve_until(_i, "a.timeout", 2);
    check_trace("a.timeout a.timeout");
}
END_TEST

struct plain_timed {
    struct asyncore_dispatcher_with_send base;
};

static int plain_timed_handle_timeout(struct asyncore_dispatcher *d)
{
    (void)d;
    probe_note("plain.timeout");
    return 0;
}

ASYNCORE_CLASS(plain_timed, asyncore_dispatcher_with_send,
               .handle_timeout = plain_timed_handle_timeout);

/* Without predicates of its own, which nobody asks. */
START_TEST(who_has_no_predicates)
{
    struct plain_timed *self;
    int pair[2];

    test_pair(AF_INET, pair);
    peer = pair[1];
    self = plain_timed_new(pair[0], timed_map);
    ck_assert_ptr_nonnull(self);
    set_timeout(plain_timed_dispatcher(self), SHORT);
    serve_until(_i, "plain.timeout", 2);
}
END_TEST

struct timed_file {
    struct asyncore_file_dispatcher base;
};

static int timed_file_answer(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

ASYNCORE_CLASS(timed_file, asyncore_file_dispatcher, .readable = timed_file_answer,
               .writable = timed_file_answer, .handle_timeout = plain_timed_handle_timeout);

/* Which cannot be watched, and is asked in every pass. */
START_TEST(a_regular_file)
{
    struct timed_file *self;
    int fd = open(test_file("f", "x", 1), O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    self = timed_file_new(fd, timed_map);
    ck_assert_ptr_nonnull(self);
    test_close(&fd);
    set_timeout(timed_file_dispatcher(self), SHORT);
    serve_until(_i, "plain.timeout", 2);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, timed_setup, timed_teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_setting(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("setting"));

    tcase_add_loop_test(tc, refused, 0, 2);
    tcase_add_loop_test(tc, too_short_does_not_spin, 0, WAYS);
    tcase_add_loop_test(tc, none, 0, 2);
    tcase_add_loop_test(tc, taken_back, 0, WAYS);
    tcase_add_loop_test(tc, before_there_is_a_socket, 0, WAYS);
    tcase_add_loop_test(tc, set_in_init, 0, WAYS);
    tcase_add_loop_test(tc, set_in_a_handler, 0, WAYS);
    tcase_add_loop_test(tc, set_in_a_callback_of_the_host, 0, WAYS);
    tcase_add_loop_test(tc, set_again, 0, WAYS);
    tcase_add_loop_test(tc, set_again_counts_anew, 0, WAYS);
    tcase_add_loop_test(tc, set_again_when_due, 0, WAYS);
}

static void add_idle(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("idle"));

    tcase_add_loop_test(tc, told_again, 0, WAYS);
    tcase_add_loop_test(tc, ends_a_wait, 0, ATTACHED);
    tcase_add_loop_test(tc, the_end_of_the_wait_comes_first, 0, ATTACHED);
    tcase_add_loop_test(tc, activity, 0, ACTIVITIES * WAYS);
    tcase_add_loop_test(tc, activity_of_who_is_due, 0, ACTIVITIES * WAYS);
    tcase_add_loop_test(tc, looking_is_no_activity, 0, WAYS);
    tcase_add_loop_test(tc, accepting_is_activity, 0, WAYS);
    tcase_add_loop_test(tc, datagrams_are_activity, 0, 2 * WAYS);
    tcase_add_loop_test(tc, who_is_interested_in_nothing, 0, WAYS);
    tcase_add_loop_test(tc, who_has_no_predicates, 0, WAYS);
    tcase_add_loop_test(tc, a_regular_file, 0, WAYS);
}

int main(void)
{
    Suite *s = suite_create("timeout");

    add_setting(s);
    add_idle(s);
    return test_main(s);
}
