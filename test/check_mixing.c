/*
 * Beside others on one base: more maps, each served in its own way, and what else libevent has.
 * Nobody starves, and nobody makes another spin; what is counted is rounds and calls, not time.
 *
 * Tests that run in both ways of the loop have _i for use_poll, or for the lowest bit of it.
 */
#include "hosted.h"

#include <event2/bufferevent.h>
#include <event2/buffer.h>
#include <event2/http.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A second map on the base, with probes c and d; the_map has a and b. */
static struct asyncore_map *second_map;
static struct event *events[3]; /* the host's own; freed after the test */
static int pipe_ends[2];

static void mixing_setup(void)
{
    second_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(second_map);
    memset(events, 0, sizeof events);
    pipe_ends[0] = pipe_ends[1] = -1;
}

static void mixing_teardown(void)
{
    asyncore_map_free(second_map);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            event_free(events[i]);
    for (int i = 0; i < 2; i++)
        if (pipe_ends[i] >= 0)
            test_close(&pipe_ends[i]);
}

static void make_in(struct asyncore_map *map, int i)
{
    static const char *const names[] = {"a", "b", "c", "d"};

    probes[i] = probe_connected(names[i], AF_INET, map, &peers[i]);
}

static void make_four(void)
{
    for (int i = 0; i < 4; i++)
        make_in(i < 2 ? the_map : second_map, i);
}

static void attach_to(struct asyncore_map *map, bool use_poll)
{
    ck_assert_int_eq(asyncore_map_attach_loop(ASYNCORE_TIMEOUT_NONE, use_poll, map,
                                              ASYNCORE_COUNT_NONE, tell, NULL),
                     0);
}

static int loop_once(struct asyncore_map *map, bool use_poll)
{
    return asyncore_loop(ASYNCORE_TIMEOUT_NONE, use_poll, map, 1);
}

static uint64_t passes(struct asyncore_map *map)
{
    struct asyncore_map_stats stats;

    asyncore_map_stats(map, &stats);
    return stats.passes;
}

static uint64_t asked(struct asyncore_map *map)
{
    struct asyncore_map_stats stats;

    asyncore_map_stats(map, &stats);
    return stats.predicate_calls;
}

/* --- maps --------------------------------------------------------------------------------------
 */

START_TEST(two_attached)
{
    make_four();
    attach_to(the_map, _i);
    attach_to(second_map, !_i);
    host_settle();
    for (int i = 0; i < 4; i++)
        send_to(i);
    host_until("b.read", 1);
    host_until("d.read", 1);
    host_settle();
    ck_assert_uint_eq(strlen(probe_trace()), strlen("a.read b.read c.read d.read"));
    ck_assert_uint_eq(passes(the_map), 1);
    ck_assert_uint_eq(passes(second_map), 1);
    ck_assert_int_le(host_count_rounds(10000), FEW);
    ck_assert_uint_eq(passes(the_map) + passes(second_map), 2);
}
END_TEST

/* One that is busy does not have the other asked, or passing. */
START_TEST(busy_beside_idle)
{
    uint64_t before;

    make_four();
    attach_to(the_map, _i);
    attach_to(second_map, _i);
    host_settle();
    before = asked(second_map);
    for (int i = 1; i <= 50; i++) {
        send_to(0);
        host_until("a.read", i);
    }
    ck_assert_uint_eq(asked(second_map), before);
    ck_assert_uint_eq(passes(the_map), 50);
    ck_assert_uint_eq(passes(second_map), 0);
}
END_TEST

/* The one is attached, the other has a loop: that goes on waiting. */
START_TEST(attached_beside_a_loop)
{
    make_four();
    attach_to(second_map, _i);
    send_to(2);
    ck_assert_int_eq(asyncore_loop(0.05, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("c.read");
    ck_assert_uint_le(asked(the_map), 4UL * FEW);
    send_to(2);
    send_to(0);
    ck_assert_int_eq(loop_once(the_map, _i), ASYNCORE_LOOP_COUNT);
    host_until("c.read", 1);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
}
END_TEST

static int end_loop_of_the_map(struct probe *self)
{
    ck_assert_int_eq(asyncore_loop_exit(the_map, 42), 0);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(attached_ends_the_loop_of_another)
{
    make_four();
    attach_to(second_map, _i);
    probes[2]->hook[PROBE_READ] = end_loop_of_the_map;
    send_to(2);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE), 42);
    check_trace("c.read");
}
END_TEST

static void make_everything_ready(int i)
{
    probes[i]->writable = true;
    send_to(i);
    ck_assert_int_eq(send(peers[i], "!", 1, MSG_OOB), 1);
    test_wait(asyncore_fileno(d(i)), POLLPRI);
}

/* A third one that nobody serves, all of whose channels are ready. _i & 2: it was attached. */
START_TEST(unserved_beside_attached)
{
    make_four();
    if (_i & 2) {
        attach_to(second_map, _i & 1);
        host_settle();
        ck_assert_int_eq(asyncore_map_detach(second_map), 0);
    } else {
        ck_assert_int_eq(run_passes(second_map, _i & 1, 1), 0);
    }
    make_everything_ready(2);
    test_reset(&peers[3]);
    attach_to(the_map, _i & 1);
    ck_assert_int_le(host_count_rounds(20000), FEW);
    check_trace("");
    ck_assert_int_eq(loop_once(second_map, _i & 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("c.read"), 1);
    ck_assert_int_eq(probe_count("c.expt"), 1);
    ck_assert_int_eq(probe_count("d.close"), 1);
    ck_assert_int_eq(probe_count("a.read"), 0);
}
END_TEST

START_TEST(by_turns)
{
    make_four();
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 4; k += 2)
            send_to(k);
        attach_to(i & 1 ? the_map : second_map, _i);
        ck_assert_int_eq(loop_once(i & 1 ? second_map : the_map, _i), ASYNCORE_LOOP_COUNT);
        host_until(i & 1 ? "a.read" : "c.read", 1);
        ck_assert_int_eq(asyncore_map_detach(i & 1 ? the_map : second_map), 0);
        ck_assert_int_eq(probe_count("a.read"), 1);
        ck_assert_int_eq(probe_count("c.read"), 1);
        probe_clear();
    }
}
END_TEST

static int serve_second(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    ck_assert_int_eq(loop_once(second_map, false), ASYNCORE_LOOP_COUNT);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

static struct asyncore_map *third_map;

/* A handler of the one runs the other, beside a third one that is attached. */
START_TEST(nested_beside_attached)
{
    make_in(the_map, 0);
    make_in(second_map, 1);
    third_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(third_map);
    make_in(third_map, 2);
    attach_to(third_map, _i);
    probes[0]->hook[PROBE_READ] = serve_second;
    for (int i = 0; i < 3; i++)
        send_to(i);
    ck_assert_int_eq(loop_once(the_map, _i), ASYNCORE_LOOP_COUNT);
    host_until("c.read", 1);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("b.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
    asyncore_map_free(third_map);
}
END_TEST

/* --- one's handlers and the other's channels ----------------------------------------------------
 */

static int close_c(struct probe *self)
{
    ck_assert_int_eq(asyncore_close(d(2)), 0);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(closes_a_channel_of_the_other)
{
    make_four();
    attach_to(the_map, _i);
    attach_to(second_map, _i);
    host_settle();
    probes[0]->hook[PROBE_READ] = close_c;
    send_to(0);
    host_until("c.finalize", 1);
    check_trace("a.read c.finalize");
    send_to(3);
    host_until("d.read", 1);
}
END_TEST

static int touch_c(struct probe *self)
{
    probes[2]->readable = true;
    asyncore_touch(d(2));
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(touches_a_channel_of_the_other)
{
    make_four();
    probes[2]->readable = false;
    send_to(2);
    attach_to(the_map, _i);
    attach_to(second_map, _i);
    host_settle();
    probes[0]->hook[PROBE_READ] = touch_c;
    send_to(0);
    host_until("c.read", 1);
    check_trace("a.read c.read");
}
END_TEST

static int take_c(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    ck_assert_int_eq(asyncore_add_channel(d(2), the_map), 0);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* While it is ready, too; it is read once, there or here. _i & 2: the other map is not attached. */
START_TEST(takes_a_channel_of_the_other)
{
    make_four();
    attach_to(the_map, _i & 1);
    if (!(_i & 2))
        attach_to(second_map, _i & 1);
    host_settle();
    probes[0]->hook[PROBE_READ] = take_c;
    send_to(2);
    send_to(0);
    host_until("c.read", 1);
    host_settle();
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
    ck_assert_uint_eq(asyncore_map_length(the_map), 3);
    send_to(2);
    host_until("c.read", 2);
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    send_to(2);
    host_settle();
    ck_assert_int_eq(probe_count("c.read"), 2);
}
END_TEST

static int detach_second(struct probe *self)
{
    ck_assert_int_eq(asyncore_map_detach(second_map), 0);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(detaches_the_other)
{
    make_four();
    attach_to(the_map, _i);
    attach_to(second_map, _i);
    host_settle();
    probes[0]->hook[PROBE_READ] = detach_second;
    send_to(0);
    host_until("a.read", 1);
    send_to(2);
    host_settle();
    check_trace("a.read");
    attach_to(second_map, _i);
    host_until("c.read", 1);
}
END_TEST

static int attach_second(struct probe *self)
{
    attach_to(second_map, false);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* _i & 2: in a handler of a loop. */
START_TEST(attaches_the_other)
{
    make_four();
    send_to(2);
    probes[0]->hook[PROBE_READ] = attach_second;
    send_to(0);
    if (_i & 2)
        ck_assert_int_eq(loop_once(the_map, _i & 1), ASYNCORE_LOOP_COUNT);
    else
        attach_to(the_map, _i & 1);
    host_until("c.read", 1);
    check_trace("a.read c.read");
}
END_TEST

/* --- floods ------------------------------------------------------------------------------------
 */

enum {
    ROUNDS = 200
};

static int host_calls;

CALLBACK(count_only)
{
    UNUSED_ARGUMENTS;
    host_calls++;
}

static void add_event(int i, int fd, short flags, event_callback_fn callback)
{
    events[i] = event_new(base, fd, flags, callback, NULL);
    ck_assert_ptr_nonnull(events[i]);
    ck_assert_int_eq(event_add(events[i], NULL), 0);
}

static void make_host_pipe(const void *data, size_t len)
{
    test_pipe(pipe_ends);
    test_set_nonblocking(pipe_ends[0], true);
    test_write_all(pipe_ends[1], data, len);
}

static int echo(struct probe *self)
{
    char c;
    int n = asyncore_recv(&self->base, &c, 1);

    if (n <= 0)
        return n;
    if (self->total++ < ROUNDS)
        return asyncore_send(&self->base, &c, 1);
    probe_note("done");
    return 0;
}

/* A ping-pong of ROUNDS each way, between two channels. */
static void begin_ping_pong(struct asyncore_map *one, struct asyncore_map *two)
{
    int pair[2];

    test_pair(AF_INET, pair);
    probes[0] = probe_make("a", pair[0], one);
    probes[1] = probe_make("b", pair[1], two);
    probes[0]->hook[PROBE_READ] = probes[1]->hook[PROBE_READ] = echo;
    ck_assert_int_eq(asyncore_send(d(0), "x", 1), 1);
}

static bool is_done(void *arg)
{
    (void)arg;
    return probe_count("done") > 0;
}

static void check_shares(int ours, int theirs)
{
    ck_assert_msg(ours <= 8 * theirs && theirs <= 8 * ours, "ours %d, theirs %d", ours, theirs);
}

/* An event of the host's is always ready. _i & 2: asyncore_loop runs the base. */
START_TEST(flood_of_the_host)
{
    make_host_pipe("x", 1);
    add_event(0, pipe_ends[0], EV_READ | EV_PERSIST, count_only);
    begin_ping_pong(the_map, the_map);
    host_calls = 0;
    if (_i & 2) {
        ck_assert_int_eq(run_until_true(the_map, _i & 1, is_done, NULL), 0);
    } else {
        attach(_i & 1);
        host_until("done", 1);
    }
    check_shares((int)(probes[0]->total + probes[1]->total), host_calls);
}
END_TEST

CALLBACK(read_one)
{
    char c;

    UNUSED_ARGUMENTS;
    if (read(fd, &c, 1) == 1 && ++host_calls == ROUNDS)
        probe_note("done");
}

static int write_one(struct probe *self)
{
    return asyncore_send(&self->base, "x", 1);
}

/* The other way: a channel of ours always writes, and can. */
START_TEST(flood_of_ours)
{
    static const char data[ROUNDS];

    make_host_pipe(data, sizeof data);
    add_event(0, pipe_ends[0], EV_READ | EV_PERSIST, read_one);
    make_tcp(1);
    probes[0]->writable = true;
    probes[0]->hook[PROBE_WRITE] = write_one;
    host_calls = 0;
    if (_i & 2) {
        ck_assert_int_eq(run_until_true(the_map, _i & 1, is_done, NULL), 0);
    } else {
        attach(_i & 1);
        host_until("done", 1);
    }
    check_shares(probes[0]->calls[PROBE_WRITE], host_calls);
}
END_TEST

static int read_nothing(struct probe *self)
{
    (void)self;
    return 0;
}

/* Two maps that are always ready share the base. _i & 2: the one has a loop. */
START_TEST(flood_of_both)
{
    make_four();
    for (int i = 0; i < 4; i += 2) {
        probes[i]->hook[PROBE_READ] = read_nothing;
        send_to(i);
    }
    attach_to(second_map, _i & 1);
    if (_i & 2) {
        ck_assert_int_eq(asyncore_loop(0, _i & 1, the_map, ROUNDS), ASYNCORE_LOOP_COUNT);
    } else {
        attach_to(the_map, _i & 1);
        host_until("a.read", ROUNDS);
    }
    check_shares(probes[0]->calls[PROBE_READ], probes[2]->calls[PROBE_READ]);
}
END_TEST

/* Between the maps: the one is attached, the other has a loop, or is attached as well. */
START_TEST(ping_pong_between_maps)
{
    begin_ping_pong(the_map, second_map);
    attach_to(second_map, _i & 1);
    if (_i & 2) {
        ck_assert_int_eq(run_until_true(the_map, _i & 1, is_done, NULL), 0);
    } else {
        attach_to(the_map, _i & 1);
        host_until("done", 1);
    }
    ck_assert_uint_ge(probes[0]->total, ROUNDS);
    ck_assert_uint_ge(probes[1]->total, ROUNDS);
    ck_assert_uint_le(passes(second_map), 3UL * ROUNDS);
}
END_TEST

/* --- what else libevent has ---------------------------------------------------------------------
 */

CALLBACK(peek)
{
    UNUSED_ARGUMENTS;
    probe_note("host");
    ck_assert_int_eq(recv(fd, &(char){0}, 1, MSG_PEEK), 1);
}

CALLBACK(steal)
{
    char c;

    UNUSED_ARGUMENTS;
    probe_note("host");
    (void)!recv(fd, &c, 1, MSG_DONTWAIT);
}

/* The host's own event on a channel's descriptor: both are told. */
START_TEST(same_descriptor)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    add_event(0, asyncore_fileno(d(0)), EV_READ, peek);
    send_to(0);
    host_until("a.read", 1);
    check_trace("host a.read");
    send_to(0);
    host_until("a.read", 1);
    check_trace("a.read");
}
END_TEST

/* When the host reads first, nothing is there for the channel, and nothing happens. */
START_TEST(same_descriptor_read_by_the_host)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    add_event(0, asyncore_fileno(d(0)), EV_READ, steal);
    send_to(0);
    host_until("host", 1);
    host_settle();
    ck_assert_uint_eq(probes[0]->total, 0);
    ck_assert_int_eq(probe_count("a.error") + probe_count("a.close"), 0);
    ck_assert_int_le(host_count_rounds(10000), FEW);
    send_to(0);
    host_until("a.read", probe_count("a.read") + 1);
    ck_assert_uint_eq(probes[0]->total, 1);
}
END_TEST

CALLBACK(on_signal)
{
    UNUSED_ARGUMENTS;
    probe_note("signal");
    send_to(0);
}

CALLBACK(on_tick)
{
    UNUSED_ARGUMENTS;
    probe_note("tick");
    if (probe_count("tick") == 3)
        raise(SIGUSR1);
}

START_TEST(signals_and_timers)
{
    const struct timeval soon = {0, 1000};

    make_tcp(1);
    attach(_i);
    events[0] = evsignal_new(base, SIGUSR1, on_signal, NULL);
    events[1] = event_new(base, -1, EV_PERSIST, on_tick, NULL);
    ck_assert_int_eq(event_add(events[0], NULL), 0);
    ck_assert_int_eq(event_add(events[1], &soon), 0);
    host_until("a.read", 1);
    ck_assert_int_ge(probe_count("tick"), 3);
    ck_assert_int_eq(probe_count("signal"), 1);
    ck_assert_uint_eq(passes(the_map), 1);
}
END_TEST

static void on_buffer_read(struct bufferevent *buffer, void *arg)
{
    char data[64];
    size_t n = bufferevent_read(buffer, data, sizeof data);

    (void)arg;
    probe_note("buffer=%.*s", (int)n, data);
    bufferevent_write(buffer, "pong", 4);
}

static int read_text(struct probe *self)
{
    char data[4096];
    int n = asyncore_recv(&self->base, data, sizeof data);

    if (n > 0)
        probe_note("%.*s", n < 15 ? n : 15, data);
    return n;
}

/* A bufferevent on the other end of a channel's connection, and a pair of them beside it. */
START_TEST(bufferevents)
{
    struct bufferevent *buffer, *pair[2];
    int fds[2];

    test_pair(AF_INET, fds);
    probes[0] = probe_make("a", fds[0], the_map);
    probes[0]->hook[PROBE_READ] = read_text;
    test_set_nonblocking(fds[1], true);
    buffer = bufferevent_socket_new(base, fds[1], BEV_OPT_CLOSE_ON_FREE);
    ck_assert_int_eq(bufferevent_pair_new(base, 0, pair), 0);
    bufferevent_setcb(buffer, on_buffer_read, NULL, NULL, NULL);
    bufferevent_setcb(pair[1], on_buffer_read, NULL, NULL, NULL);
    bufferevent_enable(buffer, EV_READ | EV_WRITE);
    bufferevent_enable(pair[0], EV_READ | EV_WRITE);
    bufferevent_enable(pair[1], EV_READ | EV_WRITE);
    attach(_i);
    bufferevent_write(pair[0], "pair", 4);
    ck_assert_int_eq(asyncore_send(d(0), "ping", 4), 4);
    host_until("pong", 1);
    ck_assert_int_eq(probe_count("buffer=ping"), 1);
    ck_assert_int_eq(probe_count("buffer=pair"), 1);
    bufferevent_free(buffer);
    bufferevent_free(pair[0]);
    bufferevent_free(pair[1]);
    host_until("a.close", 1);
}
END_TEST

static void on_request(struct evhttp_request *request, void *arg)
{
    struct evbuffer *body = evbuffer_new();

    (void)arg;
    probe_note("request");
    evbuffer_add_printf(body, "%zu channels\n", asyncore_map_length(the_map));
    evhttp_send_reply(request, HTTP_OK, "OK", body);
    evbuffer_free(body);
}

static int send_request(struct probe *self)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";

    self->writable = false;
    return asyncore_send(&self->base, request, sizeof request - 1);
}

/* Our channel is the client of an evhttp server. _i & 2: asyncore_loop runs the base. */
START_TEST(http_server)
{
    struct evhttp *http = evhttp_new(base);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
    struct test_addr addr;

    ck_assert_ptr_nonnull(bound);
    addr = test_sockname(evhttp_bound_socket_get_fd(bound));
    evhttp_set_gencb(http, on_request, NULL);
    probes[0] = probe_make("a", test_connect(&addr), the_map);
    probes[0]->writable = true;
    probes[0]->hook[PROBE_WRITE] = send_request;
    probes[0]->hook[PROBE_READ] = read_text;
    if (_i & 2) {
        ck_assert_int_eq(
            asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, _i & 1, the_map, ASYNCORE_COUNT_NONE),
            ASYNCORE_LOOP_EMPTY);
    } else {
        attach(_i & 1);
        host_until("a.close", 1);
    }
    ck_assert_int_eq(probe_count("request"), 1);
    ck_assert_ptr_nonnull(strstr(probe_trace(), "HTTP/1.0 200 OK"));
    evhttp_free(http);
}
END_TEST

/* --- running -----------------------------------------------------------------------------------
 */

static TCase *add_mixing_case(Suite *s, TCase *tc)
{
    add_hosted_case(s, tc);
    tcase_add_checked_fixture(tc, mixing_setup, mixing_teardown);
    return tc;
}

static void add_maps(Suite *s)
{
    TCase *tc = add_mixing_case(s, tcase_create("maps"));

    tcase_add_loop_test(tc, two_attached, 0, 2);
    tcase_add_loop_test(tc, busy_beside_idle, 0, 2);
    tcase_add_loop_test(tc, attached_beside_a_loop, 0, 2);
    tcase_add_loop_test(tc, attached_ends_the_loop_of_another, 0, 2);
    tcase_add_loop_test(tc, unserved_beside_attached, 0, 4);
    tcase_add_loop_test(tc, by_turns, 0, 2);
    tcase_add_loop_test(tc, nested_beside_attached, 0, 2);
    tcase_add_loop_test(tc, closes_a_channel_of_the_other, 0, 2);
    tcase_add_loop_test(tc, touches_a_channel_of_the_other, 0, 2);
    tcase_add_loop_test(tc, takes_a_channel_of_the_other, 0, 4);
    tcase_add_loop_test(tc, detaches_the_other, 0, 2);
    tcase_add_loop_test(tc, attaches_the_other, 0, 4);
}

static void add_others(Suite *s)
{
    TCase *tc = add_mixing_case(s, tcase_create("floods"));

    tcase_add_loop_test(tc, flood_of_the_host, 0, 4);
    tcase_add_loop_test(tc, flood_of_ours, 0, 4);
    tcase_add_loop_test(tc, flood_of_both, 0, 4);
    tcase_add_loop_test(tc, ping_pong_between_maps, 0, 4);

    tc = add_mixing_case(s, tcase_create("libevent"));
    tcase_add_loop_test(tc, same_descriptor, 0, 2);
    tcase_add_loop_test(tc, same_descriptor_read_by_the_host, 0, 2);
    tcase_add_loop_test(tc, signals_and_timers, 0, 2);
    tcase_add_loop_test(tc, bufferevents, 0, 2);
    tcase_add_loop_test(tc, http_server, 0, 4);
}

int main(void)
{
    Suite *s = suite_create("mixing");

    add_maps(s);
    add_others(s);
    return hosted_main(s);
}
