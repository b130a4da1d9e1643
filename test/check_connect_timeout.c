/*
 * asyncore_set_connect_timeout: connections that are not made in time.
 *
 * Tests with _i run in the ways of serving a map: select's, poll's, and by the host.
 */
#define _GNU_SOURCE
#include "support.h"
#include "timed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILLERS = 4
};

static int listener;
static int fillers[FILLERS];
static struct test_addr addr;

/* A listener whose queue is full: connecting to it takes seconds at least. */
static void make_listener_full(void)
{
    listener = test_listener(AF_INET, &addr);
    ck_assert_int_eq(listen(listener, 0), 0);
    for (int i = 0; i < FILLERS; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(fillers[i], 0);
        (void)connect(fillers[i], test_sa(&addr), addr.len);
    }
}

static void setup(void)
{
    timed_setup();
    listener = -1;
    for (int i = 0; i < FILLERS; i++)
        fillers[i] = -1;
}

static void teardown(void)
{
    timed_teardown();
    if (listener >= 0)
        test_close(&listener);
    for (int i = 0; i < FILLERS; i++)
        if (fillers[i] >= 0)
            test_close(&fillers[i]);
}

static void connect_to_it(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    ck_assert(d->connecting);
}

/* "a" without a socket. */
static struct asyncore_dispatcher *make_client(void)
{
    timed_channel = timed_named("a", -1, timed_map);
    timed_channel->base.writable = true; /* until it is connected */
    return timed_dispatcher(timed_channel);
}

static void set_connect_timeout(struct asyncore_dispatcher *d, double seconds)
{
    ck_assert_int_eq(asyncore_set_connect_timeout(d, seconds), 0);
}

static double failed_at;

static int note_error(struct probe *self)
{
    const struct asyncore_error *e = asyncore_compact_traceback(&self->base);

    failed_at = test_now();
    ck_assert_int_eq(e->error, -ETIMEDOUT);
    ck_assert(self->base.connecting);
    ck_assert(!self->base.connected);
    probe_note("(%s)", e->message);
    return 0;
}

START_TEST(told_once)
{
    struct asyncore_dispatcher *d = make_client();
    double begin;

    make_listener_full();
    timed_channel->base.hook[PROBE_ERROR] = note_error;
    set_connect_timeout(d, SHORT);
    begin = test_now();
    connect_to_it(d);
    serve_until(_i, "a.error", 1);
    ck_assert_double_ge(failed_at - begin, SHORT);
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("a.error (no connection within 0.02 seconds)");
    ck_assert(d->connecting);
}
END_TEST

static int close_quietly(struct asyncore_dispatcher *d)
{
    probe_note("close");
    return asyncore_dispatcher_close(d);
}

struct client {
    struct asyncore_dispatcher_with_send base;
};

ASYNCORE_CLASS(client, asyncore_dispatcher_with_send, .handle_close = close_quietly);

START_TEST(by_default_it_is_logged_and_closed)
{
    struct asyncore_dispatcher *d = client_dispatcher(client_new(-1, timed_map));
    struct test_capture out;
    const char *text;
    int r;

    make_listener_full();
    set_connect_timeout(d, SHORT);
    connect_to_it(d);
    test_capture_begin(&out, STDOUT_FILENO);
    r = asyncore_loop(LONG, _i == POLL, timed_map, ASYNCORE_COUNT_NONE);
    text = test_capture_end(&out);
    ck_assert_int_eq(r, ASYNCORE_LOOP_EMPTY);
    ck_assert_ptr_nonnull(strstr(text, "error: uncaptured python exception, closing channel"));
    ck_assert_ptr_nonnull(strstr(text, "(ETIMEDOUT:no connection within 0.02 seconds ["));
    check_trace("close");
}
END_TEST

START_TEST(set_while_it_connects)
{
    struct asyncore_dispatcher *d = make_client();
    double begin;

    make_listener_full();
    timed_channel->base.hook[PROBE_ERROR] = note_error;
    set_timeout(d, LONG);
    connect_to_it(d);
    serve_once(_i, 0);
    pass_time(2 * SHORT);
    begin = test_now();
    set_connect_timeout(d, SHORT);
    serve_until(_i, "a.error", 1);
    ck_assert_double_ge(failed_at - begin, SHORT);
}
END_TEST

START_TEST(taken_back)
{
    struct asyncore_dispatcher *d = make_client();

    make_listener_full();
    timed_channel->base.hook[PROBE_ERROR] = note_error;
    set_connect_timeout(d, SHORT);
    connect_to_it(d);
    serve_once(_i, 0);
    probe_clear();
    set_connect_timeout(d, ASYNCORE_TIMEOUT_NONE);
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("");
}
END_TEST

static int connect_again(struct probe *self)
{
    (void)note_error(self);
    self->hook[PROBE_ERROR] = note_error;
    connect_to_it(&self->base);
    return 0;
}

START_TEST(each_connect_counts_anew)
{
    struct asyncore_dispatcher *d = make_client();
    double first;

    make_listener_full();
    timed_channel->base.hook[PROBE_ERROR] = connect_again;
    set_connect_timeout(d, SHORT);
    connect_to_it(d);
    serve_until(_i, "a.error", 1);
    first = failed_at;
    serve_until(_i, "a.error", 2);
    ck_assert_double_ge(failed_at - first, SHORT);
}
END_TEST

/* The old socket's time does not count for the new one, which is not connecting. */
START_TEST(another_socket)
{
    struct asyncore_dispatcher *d = make_client();

    make_listener_full();
    timed_channel->base.hook[PROBE_ERROR] = note_error;
    set_connect_timeout(d, SHORT);
    connect_to_it(d);
    serve_once(_i, 0);
    probe_clear();
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    timed_channel->base.readable = timed_channel->base.writable = false;
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("");
}
END_TEST

START_TEST(in_time)
{
    struct asyncore_dispatcher *d = make_client();

    listener = test_listener(AF_INET, &addr);
    set_connect_timeout(d, LONG);
    connect_to_it(d);
    serve_until(_i, "a.connect", 1);
    set_connect_timeout(d, SHORT);
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("a.connect a.write");
    ck_assert(d->connected);
}
END_TEST

/* It is told at once, and nothing is under way. */
START_TEST(connect_that_fails)
{
    struct asyncore_dispatcher *d = make_client();
    struct test_addr nobody = test_addr_any(AF_UNIX);

    set_connect_timeout(d, SHORT);
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&nobody), nobody.len), -ENOENT);
    timed_channel->base.readable = timed_channel->base.writable = false;
    pass_time(2 * SHORT);
    serve_due(_i);
    check_trace("");
}
END_TEST

/* --- together with the time to be idle ------------------------------------------------------- */

START_TEST(before_the_time_to_be_idle)
{
    struct asyncore_dispatcher *d = make_client();

    make_listener_full();
    set_connect_timeout(d, 3 * SHORT);
    set_timeout(d, SHORT);
    connect_to_it(d);
    serve_until(_i, "a.error", 1);
    check_trace("a.error a.finalize");
}
END_TEST

/* Which counts from there when handle_error goes on waiting. */
START_TEST(then_the_time_to_be_idle)
{
    struct asyncore_dispatcher *d = make_client();

    make_listener_full();
    timed_channel->base.hook[PROBE_ERROR] = note_error;
    set_connect_timeout(d, 3 * SHORT);
    set_timeout(d, SHORT);
    connect_to_it(d);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - failed_at, SHORT);
    check_trace("a.error (no connection within 0.06 seconds) a.timeout");
}
END_TEST

static double connected_at;

static int note_connect(struct probe *self)
{
    (void)self;
    connected_at = test_now();
    return 0;
}

/* Even where it is the shorter one. */
START_TEST(idle_after_the_connection)
{
    struct asyncore_dispatcher *d = make_client();

    listener = test_listener(AF_INET, &addr);
    timed_channel->base.hook[PROBE_CONNECT] = note_connect;
    set_connect_timeout(d, LONG);
    set_timeout(d, SHORT);
    connect_to_it(d);
    serve_until(_i, "a.timeout", 1);
    check_trace("a.connect a.write a.timeout");
    ck_assert_double_ge(told_at - connected_at, SHORT);
}
END_TEST

/* Without a time to connect, connecting is activity, and then it is idle. */
START_TEST(idle_while_it_connects)
{
    struct asyncore_dispatcher *d = make_client();
    double begin;

    make_listener_full();
    set_timeout(d, SHORT);
    begin = test_now();
    connect_to_it(d);
    serve_until(_i, "a.timeout", 1);
    ck_assert_double_ge(told_at - begin, SHORT);
}
END_TEST

/* The state is the program's to change: then it is the time to be idle that counts. */
START_TEST(not_connecting_any_more)
{
    struct asyncore_dispatcher *d = make_client();

    make_listener_full();
    set_connect_timeout(d, LONG);
    set_timeout(d, SHORT);
    connect_to_it(d);
    serve_once(_i % WAYS, 0);
    if (_i / WAYS)
        asyncore_set_connected(d, true);
    else
        asyncore_set_connecting(d, false);
    serve_until(_i % WAYS, "a.timeout", 1);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("connect_timeout");
    TCase *connecting = add_case(s, tcase_create("connecting"));
    TCase *idle = add_case(s, tcase_create("idle"));

    tcase_add_loop_test(connecting, told_once, 0, WAYS);
    tcase_add_loop_test(connecting, by_default_it_is_logged_and_closed, 0, ATTACHED);
    tcase_add_loop_test(connecting, set_while_it_connects, 0, WAYS);
    tcase_add_loop_test(connecting, taken_back, 0, WAYS);
    tcase_add_loop_test(connecting, each_connect_counts_anew, 0, WAYS);
    tcase_add_loop_test(connecting, another_socket, 0, WAYS);
    tcase_add_loop_test(connecting, in_time, 0, WAYS);
    tcase_add_loop_test(connecting, connect_that_fails, 0, WAYS);
    tcase_add_loop_test(idle, before_the_time_to_be_idle, 0, WAYS);
    tcase_add_loop_test(idle, then_the_time_to_be_idle, 0, WAYS);
    tcase_add_loop_test(idle, idle_after_the_connection, 0, WAYS);
    tcase_add_loop_test(idle, idle_while_it_connects, 0, WAYS);
    tcase_add_loop_test(idle, not_connecting_any_more, 0, 2 * WAYS);
    return test_main(s);
}
