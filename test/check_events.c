/*
 * What the kernel can say of a connection, in both ways of the loop: out-of-band data, half-closed
 * and hung-up peers, resets, refused connections, and connections made again.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "probe.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct asyncore_map *the_map;
static struct probe *probe;
static int peer;

static void setup(void)
{
    probe_setup();
    the_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(the_map);
    peer = -1;
}

static void teardown(void)
{
    asyncore_map_free(the_map);
    if (peer >= 0)
        test_close(&peer);
}

static void make(int family)
{
    probe = probe_connected("p", family, the_map, &peer);
}

static struct asyncore_dispatcher *d(void)
{
    return &probe->base;
}

static void pass(bool use_poll)
{
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
}

static int loop_forever(bool use_poll)
{
    return asyncore_loop(ASYNCORE_TIMEOUT_NONE, use_poll, the_map, ASYNCORE_COUNT_NONE);
}

static void check_trace(const char *expected)
{
    ck_assert_str_eq(probe_trace(), expected);
    probe_clear();
}

/* --- out-of-band data --------------------------------------------------------------------------
 */

static void send_oob(int fd, char c)
{
    ck_assert_int_eq(send(peer, &c, 1, MSG_OOB), 1);
    test_wait(fd, POLLPRI);
}

START_TEST(oob_is_told)
{
    make(AF_INET);
    send_oob(asyncore_fileno(d()), '!');
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("p.expt");
    ck_assert_int_eq(probe->oob, '!');
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    check_trace("");
    send_oob(asyncore_fileno(d()), '?');
    pass(_i);
    check_trace("p.expt");
    ck_assert_int_eq(probe->oob, '?');
    test_write_all(peer, "abc", 3);
    test_wait_readable(asyncore_fileno(d()));
    pass(_i);
    check_trace("p.read");
    ck_assert_uint_eq(probe->total, 3);
}
END_TEST

START_TEST(oob_is_told_over_ipv6)
{
    make(AF_INET6);
    send_oob(asyncore_fileno(d()), '!');
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("p.expt");
}
END_TEST

static int leave_it(struct probe *self)
{
    (void)self;
    return 0;
}

/* What is not read stays ready, as in Python. */
START_TEST(oob_unread_stays)
{
    make(AF_INET);
    probe->hook[PROBE_EXPT] = leave_it;
    send_oob(asyncore_fileno(d()), '!');
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    check_trace("p.expt p.expt p.expt");
    probe->hook[PROBE_EXPT] = NULL;
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    check_trace("p.expt");
}
END_TEST

/* ... and the end of the stream behind it does not hide it. _i / 2: a hang-up, where poll's way
 * calls handle_close too. */
START_TEST(oob_unread_stays_after_the_end)
{
    make(AF_INET);
    probe->hook[PROBE_READ] = probe->hook[PROBE_EXPT] = probe->hook[PROBE_CLOSE] = leave_it;
    send_oob(asyncore_fileno(d()), '!');
    pass(_i % 2);
    check_trace("p.expt");
    test_close(&peer);
    test_wait_readable(asyncore_fileno(d()));
    if (_i / 2) {
        ck_assert_int_eq(shutdown(asyncore_fileno(d()), SHUT_WR), 0);
        test_wait(asyncore_fileno(d()), POLLHUP);
    }
    for (int i = 0; i < 3; i++) {
        pass(_i % 2);
        check_trace(_i == 3 ? "p.read p.expt p.close" : "p.read p.expt");
    }
}
END_TEST

/* Select's way watches for it while the channel is watched at all, poll's for reads only. */
START_TEST(oob_and_interest)
{
    make(AF_INET);
    probe->readable = false;
    send_oob(asyncore_fileno(d()), '!');
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    check_trace("");
    probe->writable = true;
    pass(_i);
    check_trace(_i ? "p.write" : "p.write p.expt");
    probe->readable = true;
    pass(_i);
    check_trace(_i ? "p.expt" : "");
}
END_TEST

/* The map changes its way from pass to pass. */
START_TEST(oob_in_both_ways)
{
    make(AF_INET);
    probe->readable = false;
    probe->hook[PROBE_EXPT] = leave_it;
    send_oob(asyncore_fileno(d()), '!');
    for (int i = 0; i < 3; i++) {
        probe->writable = true;
        pass(true);
        check_trace("p.write");
        probe->writable = true;
        pass(false);
        check_trace("p.write p.expt");
    }
}
END_TEST

/* In a class that is asked after changes only, when the way changes. */
START_TEST(oob_in_both_ways_on_change)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peer = pair[1];
    probe = quiet_probe_make("p", pair[0], the_map);
    probe->hook[PROBE_EXPT] = leave_it;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(run_passes(the_map, i & 1, 2), 0);
        send_oob(pair[0], '!');
        pass(i & 1);
        check_trace("p.expt");
        ck_assert_int_eq(asyncore_recv_flags(d(), &(char){0}, 1, MSG_OOB), 1);
    }
}
END_TEST

START_TEST(oob_and_close)
{
    make(AF_INET);
    send_oob(asyncore_fileno(d()), '!');
    probe->hook[PROBE_EXPT] = leave_it;
    pass(_i);
    check_trace("p.expt");
    ck_assert_int_eq(asyncore_close(d()), 0);
    ck_assert_int_eq(asyncore_poll2(0, the_map), 0);
    check_trace("p.finalize");
}
END_TEST

static int close_it(struct probe *self)
{
    return asyncore_close(&self->base);
}

START_TEST(oob_handler_closes)
{
    make(AF_INET);
    probe->hook[PROBE_EXPT] = close_it;
    send_oob(asyncore_fileno(d()), '!');
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_trace("p.expt p.finalize");
}
END_TEST

static int next_pair[2];

static int replace_socket(struct probe *self)
{
    int fd = next_pair[0];

    asyncore_recv(&self->base, &(char){0}, 1);
    ck_assert_int_eq(asyncore_set_socket(&self->base, fd, NULL), 0);
    return 0;
}

/* Out-of-band data of the old socket is not the new one's. */
START_TEST(oob_and_another_socket)
{
    make(AF_INET);
    test_pair(AF_INET, next_pair);
    probe->hook[PROBE_READ] = replace_socket;
    test_write_all(peer, "x", 1);
    send_oob(asyncore_fileno(d()), '!');
    pass(_i);
    check_trace("p.read");
    probe->hook[PROBE_READ] = NULL;
    test_close(&peer);
    peer = next_pair[1];
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    check_trace("");
    send_oob(asyncore_fileno(d()), '?');
    pass(_i);
    check_trace("p.expt");
    ck_assert_int_eq(probe->oob, '?');
}
END_TEST

/* Classes that leave handle_expt and log_info to the library: they do not watch for it, and the
 * pass waits for its time. */
struct deaf {
    struct asyncore_dispatcher base;
};

static int deaf_handle_read(struct asyncore_dispatcher *of)
{
    probe_note("deaf.read");
    return asyncore_recv(of, &(char){0}, 1);
}

static int deaf_writable(struct asyncore_dispatcher *of)
{
    (void)of;
    return 0;
}

ASYNCORE_CLASS(deaf, asyncore_dispatcher, .handle_read = deaf_handle_read,
               .writable = deaf_writable);

START_TEST(oob_is_not_watched_for)
{
    int pair[2];
    struct test_capture out;
    double begin;

    test_pair(AF_INET, pair);
    peer = pair[1];
    ck_assert_ptr_nonnull(deaf_new(pair[0], the_map));
    send_oob(pair[0], '!');
    test_capture_begin(&out, STDOUT_FILENO);
    begin = test_now();
    ck_assert_int_eq(asyncore_loop(0.03, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(test_capture_end(&out), "");
    ck_assert_double_ge(test_now() - begin, 0.03);
    check_trace("");
}
END_TEST

/* One that overrides log_info hears the library's handle_expt. */
struct logger {
    struct deaf base;
};

static int logger_log_info(struct asyncore_dispatcher *of, const char *message, const char *type)
{
    (void)of;
    probe_note("%s|%s", type, message);
    return 0;
}

ASYNCORE_CLASS(logger, deaf, .log_info = logger_log_info);

START_TEST(oob_is_logged)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peer = pair[1];
    ck_assert_ptr_nonnull(logger_new(pair[0], the_map));
    send_oob(pair[0], '!');
    pass(_i);
    check_trace("warning|unhandled incoming priority event");
}
END_TEST

struct expt_event {
    struct deaf base;
};

static int expt_event_handle_expt_event(struct asyncore_dispatcher *of)
{
    probe_note("expt_event");
    return asyncore_recv_flags(of, &(char){0}, 1, MSG_OOB);
}

ASYNCORE_CLASS(expt_event, deaf, .handle_expt_event = expt_event_handle_expt_event);

START_TEST(oob_goes_to_the_event_layer)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peer = pair[1];
    ck_assert_ptr_nonnull(expt_event_new(pair[0], the_map));
    send_oob(pair[0], '!');
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    check_trace("expt_event");
}
END_TEST

/* Hung-up connections of such classes neither spin nor lose their end. */
START_TEST(oob_and_hang_up)
{
    make(AF_INET);
    pass(_i);
    test_reset(&peer);
    test_wait(asyncore_fileno(d()), POLLHUP);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("p.close"), 1);
    ck_assert_int_eq(probe_count("p.expt"), 0);
}
END_TEST

/* Not watched at all, and hung up: the pass takes its time, and does not ask over and over. */
START_TEST(hang_up_unwatched)
{
    double begin;
    int before;

    make(AF_INET);
    pass(_i);
    probe->readable = false;
    before = probe->calls[PROBE_READABLE];
    test_reset(&peer);
    test_wait(asyncore_fileno(d()), POLLHUP);
    begin = test_now();
    ck_assert_int_eq(asyncore_loop(0.05, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.05);
    ck_assert_int_le(probe->calls[PROBE_READABLE] - before, 3);
    check_trace("");
}
END_TEST

/* --- half-closed --------------------------------------------------------------------------------
 */

static int stop_reading(struct probe *self)
{
    self->readable = false;
    return 0;
}

static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
enum {
    FAMILIES = sizeof families / sizeof *families
};

/* _i: use_poll and family. The other direction still works. */
START_TEST(half_closed)
{
    char buf[3];

    make(families[_i / 2]);
    probe->hook[PROBE_CLOSE] = stop_reading;
    test_write_all(peer, "abc", 3);
    ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
    test_wait_readable(asyncore_fileno(d()));
    for (int i = 0; i < 10 && probe_count("p.close") == 0; i++)
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i % 2, the_map, 1),
                         ASYNCORE_LOOP_COUNT);
    ck_assert_uint_eq(probe->total, 3);
    ck_assert_int_eq(run_passes(the_map, _i % 2, 3), 0);
    check_trace("p.read p.read p.close");
    ck_assert_int_eq(asyncore_send(d(), "xyz", 3), 3);
    test_read_all(peer, buf, sizeof buf);
    ck_assert_mem_eq(buf, "xyz", 3);
}
END_TEST

/* One that handle_close leaves open is called again, as in Python. */
START_TEST(end_of_stream_stays_ready)
{
    make(AF_INET);
    probe->hook[PROBE_CLOSE] = leave_it;
    ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
    test_wait_readable(asyncore_fileno(d()));
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    check_trace("p.read p.close p.read p.close p.read p.close");
}
END_TEST

/* --- hung up ------------------------------------------------------------------------------------
 */

static int read_some(struct probe *self)
{
    char buf[4096];
    int n = asyncore_recv(&self->base, buf, sizeof buf);

    if (n > 0)
        *(size_t *)self->arg += (size_t)n;
    return n;
}

enum {
    LEFT = 60000
};

/* All that has arrived is read before the end is told. */
START_TEST(hang_up_with_data_left)
{
    static char data[LEFT];
    size_t total = 0;

    make(families[_i / 2]);
    probe->hook[PROBE_READ] = read_some;
    probe->arg = &total;
    test_write_all(peer, data, sizeof data);
    test_close(&peer);
    test_wait(asyncore_fileno(d()), POLLIN);
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(total, LEFT);
    ck_assert_int_eq(probe_count("p.close"), 1);
    ck_assert_int_eq(probe_count("p.error"), 0);
}
END_TEST

/* The same for one whose own direction is shut down already: a full hang-up. */
START_TEST(hang_up_of_both_with_data_left)
{
    static char data[LEFT];
    size_t total = 0;

    make(families[_i / 2]);
    probe->hook[PROBE_READ] = read_some;
    probe->arg = &total;
    test_write_all(peer, data, sizeof data);
    ck_assert_int_eq(asyncore_shutdown(d(), SHUT_WR), 0);
    ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
    test_wait(asyncore_fileno(d()), POLLHUP);
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(total, LEFT);
    ck_assert_int_eq(probe_count("p.close"), 1);
}
END_TEST

/* A channel that takes its time: readable comes and goes. */
static int every_other(struct probe *self)
{
    return self->calls[PROBE_READABLE] % 2;
}

START_TEST(hang_up_with_pauses)
{
    static char data[LEFT];
    size_t total = 0;

    make(AF_UNIX);
    probe->hook[PROBE_READ] = read_some;
    probe->hook[PROBE_READABLE] = every_other;
    probe->arg = &total;
    test_write_all(peer, data, sizeof data);
    test_close(&peer);
    ck_assert_int_eq(asyncore_loop(0, _i, the_map, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(total, LEFT);
    ck_assert_int_eq(probe_count("p.close"), 1);
}
END_TEST

/* One that only writes. In poll's way the hang-up itself closes; in select's a send does. */
static int send_one(struct probe *self)
{
    return asyncore_send(&self->base, "x", 1);
}

START_TEST(hang_up_while_writing)
{
    make(AF_UNIX);
    probe->readable = false;
    probe->writable = true;
    probe->hook[PROBE_WRITE] = send_one;
    test_close(&peer);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("p.close"), 1);
    ck_assert_int_eq(probe_count("p.error"), 0);
    ck_assert_int_eq(probe_count("p.finalize"), 1);
}
END_TEST

/* It has nothing to say, and nobody listens: poll's way tells. */
START_TEST(hang_up_tells_in_polls_way)
{
    make(AF_UNIX);
    probe->hook[PROBE_READ] = leave_it;
    test_close(&peer);
    ck_assert_int_eq(loop_forever(true), ASYNCORE_LOOP_EMPTY);
    check_trace("p.read p.close p.finalize");
}
END_TEST

/* --- reset --------------------------------------------------------------------------------------
 */

START_TEST(reset_is_a_close)
{
    make(families[_i / 2]);
    test_reset(&peer);
    test_wait_readable(asyncore_fileno(d()));
    ck_assert_int_eq(loop_forever(_i % 2), ASYNCORE_LOOP_EMPTY);
    check_trace("p.read p.close p.finalize");
}
END_TEST

START_TEST(reset_while_both_are_wanted)
{
    make(AF_INET);
    probe->writable = true;
    probe->hook[PROBE_WRITE] = send_one;
    test_reset(&peer);
    test_wait(asyncore_fileno(d()), POLLERR);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_trace("p.read p.close p.finalize");
}
END_TEST

START_TEST(reset_while_writing)
{
    make(AF_INET);
    probe->readable = false;
    probe->writable = true;
    probe->hook[PROBE_WRITE] = send_one;
    test_reset(&peer);
    test_wait(asyncore_fileno(d()), POLLERR);
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_trace("p.write p.close p.finalize");
}
END_TEST

/* --- connecting ---------------------------------------------------------------------------------
 */

static void make_connecting(const struct test_addr *addr, bool readable, bool writable)
{
    probe = probe_make("p", -1, the_map);
    probe->readable = readable;
    probe->writable = writable;
    ck_assert_int_eq(asyncore_create_socket(d(), addr->storage.ss_family, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d(), test_sa(addr), addr->len), 0);
    ck_assert(probe->base.connecting);
    ck_assert(!probe->base.connected);
}

/* _i: use_poll, whether readable, IPv6. */
START_TEST(connect_refused)
{
    struct test_addr addr;
    int refuser = test_refuser(_i & 4 ? AF_INET6 : AF_INET, &addr);

    make_connecting(&addr, _i & 2, true);
    asyncore_ref(d());
    ck_assert_int_eq(loop_forever(_i & 1), ASYNCORE_LOOP_EMPTY);
    check_trace("p.error");
    ck_assert_int_eq(probe->error, -ECONNREFUSED);
    ck_assert(!probe->base.connecting);
    asyncore_unref(d());
    test_close(&refuser);
}
END_TEST

START_TEST(connect_done)
{
    struct test_addr addr;
    int listener = test_listener(_i & 4 ? AF_INET6 : AF_INET, &addr);
    int writes = _i & 2;

    make_connecting(&addr, true, true);
    peer = test_accept(listener);
    if (!writes) {
        probe->writable = false;
        test_write_all(peer, "x", 1);
    }
    test_wait(asyncore_fileno(d()), writes ? POLLOUT : POLLIN);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i & 1, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace(writes ? "p.connect p.write" : "p.connect p.read");
    ck_assert(probe->base.connected);
    ck_assert(!probe->base.connecting);
    test_close(&listener);
}
END_TEST

static int close_and_succeed(struct probe *self)
{
    asyncore_close(&self->base);
    return 0;
}

/* close in handle_connect: it stays closed, and nothing more is called. */
START_TEST(connect_handler_closes)
{
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);

    make_connecting(&addr, true, true);
    asyncore_ref(d());
    probe->hook[PROBE_CONNECT] = close_and_succeed;
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_trace("p.connect");
    ck_assert(!probe->base.connected);
    asyncore_unref(d());
    test_close(&listener);
}
END_TEST

static const struct test_addr *where;
static int connects_left;

static int connect_again(struct probe *self)
{
    asyncore_close(&self->base);
    if (connects_left-- == 0)
        return 0;
    self->writable = true;
    ck_assert_int_eq(asyncore_create_socket(&self->base, AF_INET, SOCK_STREAM), 0);
    return asyncore_connect(&self->base, test_sa(where), where->len);
}

/* The idiom: close, create_socket and connect in handle_close. The channel lives on. */
START_TEST(connect_again_in_handle_close)
{
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);

    where = &addr;
    connects_left = 2;
    make_connecting(&addr, true, true);
    probe->hook[PROBE_CLOSE] = connect_again;
    for (int i = 0; i < 3; i++) {
        peer = test_accept(listener);
        while (probe_count("p.connect") <= i)
            ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1),
                             ASYNCORE_LOOP_COUNT);
        test_write_all(peer, "abc", 3);
        test_close(&peer);
        while (probe_count("p.close") <= i)
            ck_assert_int_ge(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), 0);
        ck_assert_int_eq(probe_count("p.finalize"), i == 2);
        ck_assert_int_eq(probe_count("p.connect"), i + 1);
        ck_assert_int_eq(probe_count("p.close"), i + 1);
    }
    ck_assert_int_eq(probe_count("p.error"), 0);
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    test_close(&listener);
}
END_TEST

static int connect_again_in_error(struct probe *self)
{
    self->error = asyncore_compact_traceback(&self->base)->error;
    return connect_again(self);
}

/* The same in handle_error, after refusals: no false handle_connect. */
START_TEST(connect_again_in_handle_error)
{
    struct test_addr addr;
    int refuser = test_refuser(AF_INET, &addr);

    where = &addr;
    connects_left = 3;
    make_connecting(&addr, true, true);
    probe->hook[PROBE_ERROR] = connect_again_in_error;
    ck_assert_int_eq(loop_forever(_i), ASYNCORE_LOOP_EMPTY);
    check_trace("p.error p.error p.error p.error p.finalize");
    test_close(&refuser);
}
END_TEST

/* A connection that was accepted and refused: another socket that gets its number is not it. */
static struct asyncore_dispatcher *second;

static int refuse_and_make(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);
    int next;

    ck_assert_int_ge(sock, 0);
    close(sock);
    next = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(next, sock);
    second = asyncore_dispatcher_new(next, the_map);
    ck_assert_ptr_nonnull(second);
    return 0;
}

START_TEST(accepted_number_is_used_again)
{
    struct test_addr addr;
    socklen_t len;

    probe = probe_make("p", test_listener(AF_INET, &addr), the_map);
    probe->hook[PROBE_ACCEPT] = refuse_and_make;
    peer = test_connect(&addr);
    pass(_i);
    check_trace("p.accept");
    ck_assert(!second->connected);
    ck_assert_ptr_null(asyncore_addr(second, &len));
    ck_assert(test_is_nonblocking(asyncore_fileno(second)));
}
END_TEST

/* One pass without a free descriptor. */
static void pass_without_descriptors(bool use_poll)
{
    struct test_capture out;
    struct rlimit limit, low;
    int lowest;

    test_capture_begin(&out, STDOUT_FILENO);
    lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)lowest;
    test_close(&lowest);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    pass(use_poll);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_ptr_nonnull(strstr(test_capture_end(&out), "accept"));
}

static bool has_accepted(void *arg)
{
    (void)arg;
    return probe_count("p.accept") >= 2;
}

/* A listener that waits for descriptors and is taken out meanwhile accepts when it is back, or in
 * another map. _i: use_poll, and where it goes. */
START_TEST(waiting_listener_is_taken_out)
{
    struct asyncore_map *other = asyncore_map_new(NULL);
    struct test_addr addr;

    probe = probe_make("p", test_listener(AF_INET, &addr), the_map);
    pass(_i & 1);
    peer = test_connect(&addr);
    test_wait_readable(asyncore_fileno(d()));
    pass_without_descriptors(_i & 1);
    check_trace("p.accept");
    probe_note("p.accept");
    if (!(_i & 2))
        asyncore_del_channel(d());
    ck_assert_int_eq(asyncore_add_channel(d(), _i & 2 ? other : NULL), 0);
    ck_assert_int_eq(run_until_true(d()->map, _i & 1, has_accepted, NULL), 0);
    asyncore_map_free(other);
}
END_TEST

/* --- closed behind its back ----------------------------------------------------------------------
 */

/* A descriptor that is none any more when it is to be watched: what poll calls POLLNVAL. */
START_TEST(descriptor_is_gone)
{
    struct test_capture err;
    int result;

    make(AF_UNIX);
    pass(true); /* so that nothing takes its number now */
    asyncore_del_channel(d());
    test_capture_begin(&err, STDERR_FILENO);
    close(asyncore_fileno(d()));
    ck_assert_int_eq(asyncore_add_channel(d(), NULL), 0);
    result = loop_forever(true);
    (void)test_capture_end(&err); /* libevent warns */
    ck_assert_int_eq(result, ASYNCORE_LOOP_EMPTY);
    check_trace("p.close p.finalize");
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

static void add_oob(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("oob"));

    tcase_add_loop_test(tc, oob_is_told, 0, 2);
    tcase_add_loop_test(tc, oob_is_told_over_ipv6, 0, 2);
    tcase_add_loop_test(tc, oob_unread_stays, 0, 2);
    tcase_add_loop_test(tc, oob_unread_stays_after_the_end, 0, 4);
    tcase_add_loop_test(tc, oob_and_interest, 0, 2);
    tcase_add_test(tc, oob_in_both_ways);
    tcase_add_test(tc, oob_in_both_ways_on_change);
    tcase_add_loop_test(tc, oob_and_close, 0, 2);
    tcase_add_loop_test(tc, oob_handler_closes, 0, 2);
    tcase_add_loop_test(tc, oob_and_another_socket, 0, 2);
    tcase_add_loop_test(tc, oob_is_not_watched_for, 0, 2);
    tcase_add_loop_test(tc, oob_is_logged, 0, 2);
    tcase_add_loop_test(tc, oob_goes_to_the_event_layer, 0, 2);
    tcase_add_loop_test(tc, oob_and_hang_up, 0, 2);
}

static void add_descriptors(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("descriptors"));

    tcase_add_loop_test(tc, waiting_listener_is_taken_out, 0, 4);
}

static void add_ends(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("half_closed"));

    tcase_add_loop_test(tc, half_closed, 0, 2 * FAMILIES);
    tcase_add_loop_test(tc, end_of_stream_stays_ready, 0, 2);

    tc = add_case(s, tcase_create("hang_up"));
    tcase_add_loop_test(tc, hang_up_unwatched, 0, 2);
    tcase_add_loop_test(tc, hang_up_with_data_left, 0, 2 * FAMILIES);
    tcase_add_loop_test(tc, hang_up_of_both_with_data_left, 0, 2 * FAMILIES);
    tcase_add_loop_test(tc, hang_up_with_pauses, 0, 2);
    tcase_add_loop_test(tc, hang_up_while_writing, 0, 2);
    tcase_add_test(tc, hang_up_tells_in_polls_way);
    tcase_add_test(tc, descriptor_is_gone);

    tc = add_case(s, tcase_create("reset"));
    tcase_add_loop_test(tc, reset_is_a_close, 0, 4); /* a Unix socket has none */
    tcase_add_loop_test(tc, reset_while_both_are_wanted, 0, 2);
    tcase_add_loop_test(tc, reset_while_writing, 0, 2);
}

static void add_connecting(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("connecting"));

    tcase_add_loop_test(tc, connect_refused, 0, 8);
    tcase_add_loop_test(tc, connect_done, 0, 8);
    tcase_add_loop_test(tc, connect_handler_closes, 0, 2);
    tcase_add_loop_test(tc, connect_again_in_handle_close, 0, 2);
    tcase_add_loop_test(tc, connect_again_in_handle_error, 0, 2);
    tcase_add_loop_test(tc, accepted_number_is_used_again, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("events");

    add_oob(s);
    add_descriptors(s);
    add_ends(s);
    add_connecting(s);
    return test_main(s);
}
