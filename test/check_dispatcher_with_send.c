/*
 * dispatcher_with_send: what is queued, when it is sent, and that nothing is lost.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEND_SIZE 65536 /* what one initiate_send sends at most */

static int closes;
static int connects;
static int writes;

struct sender {
    struct asyncore_dispatcher_with_send base;
};

static int sender_handle_read(struct asyncore_dispatcher *d)
{
    char buf[4096];

    return asyncore_recv(d, buf, sizeof buf);
}

static int sender_handle_write(struct asyncore_dispatcher *d)
{
    writes++;
    return asyncore_dispatcher_with_send_handle_write(d);
}

static int sender_handle_connect(struct asyncore_dispatcher *d)
{
    connects++;
    return asyncore_send(d, "first ", 6); /* not connected yet: queued, before nothing else */
}

static int sender_handle_close(struct asyncore_dispatcher *d)
{
    closes++;
    return asyncore_close(d);
}

ASYNCORE_CLASS(sender, asyncore_dispatcher_with_send, .handle_read = sender_handle_read,
               .handle_write = sender_handle_write, .handle_connect = sender_handle_connect,
               .handle_close = sender_handle_close);

static struct asyncore_dispatcher *new_sender(int fd)
{
    struct sender *sender = sender_new(fd, NULL);

    ck_assert_ptr_nonnull(sender);
    return sender_dispatcher(sender);
}

/* TCP with the smallest buffers waits for delayed acknowledgements all the time. */
static void set_buffers(int fd, int family)
{
    const int size = family == AF_UNIX ? 1 : 65536;

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

/* A connected one with little room in its buffers; its peer is non-blocking. */
static struct asyncore_dispatcher *new_connected(int family, int *peer)
{
    int pair[2];

    test_pair(family, pair);
    set_buffers(pair[0], family);
    set_buffers(pair[1], family);
    test_set_nonblocking(pair[1], true);
    *peer = pair[1];
    return new_sender(pair[0]);
}

static char pattern(size_t i)
{
    return (char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static char *new_pattern(size_t len)
{
    char *data = malloc(len);

    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < len; i++)
        data[i] = pattern(i);
    return data;
}

/* The other end: compares what comes with the pattern. */
struct receiver {
    struct asyncore_dispatcher base;
    size_t got;
    size_t expected;
};

static int receiver_handle_read(struct asyncore_dispatcher *d);

static int receiver_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

ASYNCORE_CLASS(receiver, asyncore_dispatcher, .handle_read = receiver_handle_read,
               .writable = receiver_writable);

/* One assert for all: each is a message to the test runner. */
static int receiver_handle_read(struct asyncore_dispatcher *d)
{
    struct receiver *self = receiver_of(d);
    char buf[65536];
    int n = asyncore_recv(d, buf, sizeof buf);
    int same = 0;

    while (same < n && buf[same] == pattern(self->got + (size_t)same))
        same++;
    ck_assert_msg(same >= n, "byte %zu is wrong", self->got + (size_t)same);
    self->got += n > 0 ? (size_t)n : 0;
    return n;
}

static bool has_all(void *arg)
{
    const struct receiver *receiver = arg;

    return receiver->got == receiver->expected;
}

/* Takes peer over, and runs passes until all len bytes of the pattern have come. */
static void receive_pattern(bool use_poll, int peer, size_t len)
{
    struct receiver *receiver = receiver_new(peer, NULL);

    ck_assert_ptr_nonnull(receiver);
    receiver->expected = len;
    ck_assert_int_eq(run_until_true(NULL, use_poll, has_all, receiver), 0);
}

/* --- sending --------------------------------------------------------------------------------- */

START_TEST(send_at_once)
{
    int peer;
    struct asyncore_dispatcher *d = new_connected(AF_INET, &peer);
    char buf[8];

    ck_assert_int_eq(asyncore_writable(d), 0);
    ck_assert_int_eq(asyncore_send(d, "hello", 5), 5);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0); /* no pass is needed */
    ck_assert_int_eq(asyncore_writable(d), 0);
    test_read_all(peer, buf, 5);
    ck_assert_mem_eq(buf, "hello", 5);
    ck_assert_int_eq(asyncore_send(d, "", 0), 0);
    ck_assert_int_eq(run_passes(NULL, false, 3), 0);
    ck_assert_int_eq(writes, 0); /* nothing queued, nothing to write */
    test_close(&peer);
}
END_TEST

START_TEST(what_is_not_taken_is_queued)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    const size_t len = 1 << 20;
    int peer;
    struct asyncore_dispatcher *d = new_connected(families[_i % 3], &peer);
    char *data = new_pattern(len);

    ck_assert_int_eq(asyncore_send(d, data, len), (int)len);
    free(data); /* taken, in whole */
    ck_assert_uint_gt(asyncore_out_buffer_length(d), 0);
    ck_assert_uint_lt(asyncore_out_buffer_length(d), len);
    ck_assert_int_eq(asyncore_writable(d), 1);
    receive_pattern(_i >= 3, peer, len);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_int_eq(asyncore_writable(d), 0);
    ck_assert_int_gt(writes, 1);
}
END_TEST

START_TEST(at_most_64_kib_at_once)
{
    const size_t len = (size_t)4 * SEND_SIZE;
    const int room = 8 * SEND_SIZE;
    int pair[2];
    char *data = new_pattern(len);

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);

    struct asyncore_dispatcher *d = new_sender(pair[0]);

    ck_assert_int_eq(asyncore_send(d, data, len), (int)len);
    ck_assert_uint_ge(asyncore_out_buffer_length(d), len - SEND_SIZE);

    size_t before = asyncore_out_buffer_length(d);

    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_uint_ge(asyncore_out_buffer_length(d), before - SEND_SIZE);
    ck_assert_uint_lt(asyncore_out_buffer_length(d), before);
    free(data);
    test_close(&pair[1]);
}
END_TEST

START_TEST(a_full_socket_takes_all_the_same)
{
    int pair[2];
    char buf[4096];
    size_t filled;

    test_socketpair(SOCK_STREAM, pair);

    struct asyncore_dispatcher *d = new_sender(pair[0]);

    filled = test_fill(pair[0]);
    ck_assert_int_eq(asyncore_send(d, "late", 4), 4);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 4);
    ck_assert_int_eq(closes, 0);
    while (filled > 0) {
        size_t part = filled < sizeof buf ? filled : sizeof buf;

        test_read_all(pair[1], buf, part);
        filled -= part;
    }
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    test_read_all(pair[1], buf, 4);
    ck_assert_mem_eq(buf, "late", 4);
    test_close(&pair[1]);
}
END_TEST

/* Many sends of all sizes, some with something queued and some not. */
START_TEST(the_order_is_kept)
{
    const size_t len = 3 << 20;
    int peer;
    struct asyncore_dispatcher *d = new_connected(AF_UNIX, &peer);
    struct receiver *receiver = receiver_new(peer, NULL);
    char *data = new_pattern(len);
    size_t sent = 0;

    ck_assert_ptr_nonnull(receiver);
    receiver->expected = len;
    for (size_t step = 1; sent < len; step = step * 5 % 99991 + 1) {
        size_t part = step < len - sent ? step : len - sent;

        ck_assert_int_eq(asyncore_send(d, data + sent, part), (int)part);
        sent += part;
        ck_assert_int_eq(run_passes(NULL, false, 1), 0);
    }
    ck_assert_int_eq(run_until_true(NULL, false, has_all, receiver), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    free(data);
}
END_TEST

/* 128 Ki pieces into a queue of 16 MiB that is drained a few KiB at a time: with a copy of the
 * queue at each, as in CPython, this takes longer than a test may. */
START_TEST(sixteen_mib_take_linear_time)
{
    const size_t len = 16 << 20;
    const size_t step = 128;
    size_t sent = 0;
    int peer;
    struct asyncore_dispatcher *d = new_connected(AF_UNIX, &peer);
    char *data = new_pattern(len);

    while (sent < len && asyncore_send(d, data + sent, step) == (int)step)
        sent += step;
    ck_assert_uint_eq(sent, len);
    free(data);
    ck_assert_uint_gt(asyncore_out_buffer_length(d), len / 2);
    receive_pattern(_i == 1, peer, len);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
}
END_TEST

/* --- before the connection, and after -------------------------------------------------------- */

static bool is_drained(void *arg)
{
    const struct asyncore_dispatcher *d = arg;

    return d->connected && asyncore_out_buffer_length(d) == 0;
}

START_TEST(send_before_the_connection)
{
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);
    struct asyncore_dispatcher *d = new_sender(-1);
    char buf[32];
    int peer;

    ck_assert_int_eq(asyncore_writable(d), 1);
    ck_assert_int_eq(asyncore_send(d, "x", 1), -EBADF); /* there never was a socket */
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_send(d, "queued ", 7), 7);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(asyncore_send(d, "too ", 4), 4);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 11);
    ck_assert_int_eq(run_until_true(NULL, _i == 1, is_drained, d), 0);
    ck_assert_int_eq(connects, 1);
    ck_assert_int_eq(closes, 0);
    peer = test_accept(listener);
    test_read_all(peer, buf, 17);
    ck_assert_mem_eq(buf, "queued too first ", 17);
    test_close(&peer);
    test_close(&listener);
}
END_TEST

START_TEST(send_after_close)
{
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_connected(AF_INET, &peer));
    char byte;

    ck_assert_int_eq(asyncore_close(d), 0);
    asyncore_set_debug(d, true);
    ck_assert_int_eq(asyncore_send(d, "x", 1), 0);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_int_eq(closes, 0);
    ck_assert_uint_eq(test_read_to_end(peer, &byte, 1), 0);
    asyncore_unref(d);
    test_close(&peer);
}
END_TEST

START_TEST(the_peer_is_gone)
{
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_connected(AF_INET, &peer));
    static char data[1 << 20];

    if (_i == 1) { /* with something queued */
        ck_assert_int_eq(asyncore_send(d, data, sizeof data), (int)sizeof data);
        ck_assert_uint_gt(asyncore_out_buffer_length(d), 0);
    }
    test_reset(&peer);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_ge(asyncore_send(d, "x", 1), 0);
    ck_assert_int_eq(closes, 1);
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_uint_gt(asyncore_out_buffer_length(d), 0); /* for another socket */
    ck_assert_int_eq(asyncore_send(d, "x", 1), 0);
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    ck_assert_int_eq(closes, 1);
    asyncore_unref(d);
}
END_TEST

START_TEST(an_empty_queue_finds_that_the_peer_is_gone)
{
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_connected(AF_INET, &peer));

    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    test_reset(&peer);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_int_eq(closes, 1);
    asyncore_unref(d);
}
END_TEST

START_TEST(the_peer_goes_while_the_queue_drains)
{
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_connected(AF_INET, &peer));
    static char data[1 << 20];

    ck_assert_int_eq(asyncore_send(d, data, sizeof data), (int)sizeof data);
    test_reset(&peer);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_ge(asyncore_loop(1.0, _i == 1, NULL, ASYNCORE_COUNT_NONE), 0);
    ck_assert_int_eq(closes, 1);
    ck_assert_int_eq(asyncore_fileno(d), -1);
    asyncore_unref(d);
}
END_TEST

START_TEST(detach_drops_the_queue)
{
    int pair[2];
    struct asyncore_dispatcher *d = asyncore_ref(new_sender(-1));
    int fd;
    char byte;

    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_send(d, "stale", 5), 5);
    fd = asyncore_detach(d);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    test_close(&fd);

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(asyncore_set_socket(d, pair[0], NULL), 0);
    asyncore_set_connected(d, true);
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    asyncore_close(d);
    ck_assert_uint_eq(test_read_to_end(pair[1], &byte, 1), 0);
    asyncore_unref(d);
    test_close(&pair[1]);
}
END_TEST

/* --- the rest -------------------------------------------------------------------------------- */

START_TEST(other_classes)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);
    struct asyncore_dispatcher *with_send =
        (struct asyncore_dispatcher *)(void *)asyncore_dispatcher_with_send_new(-1, NULL);

    ck_assert_int_eq(asyncore_initiate_send(d), -EINVAL);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_ptr_eq(with_send->cls, &asyncore_dispatcher_with_send_class);
    ck_assert_int_eq(asyncore_initiate_send(with_send), -EBADF);
}
END_TEST

struct shouting {
    struct sender base;
};

/* A class with a send of its own, over the library's. */
static int shouting_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    int r = asyncore_dispatcher_with_send_send(d, data, len);

    return r < 0 ? r : asyncore_dispatcher_with_send_send(d, "!", 1);
}

ASYNCORE_CLASS(shouting, sender, .send = shouting_send);

START_TEST(send_can_be_overridden)
{
    int pair[2];
    char buf[4];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(asyncore_send(shouting_dispatcher(shouting_new(pair[0], NULL)), "hey", 3), 1);
    test_read_all(pair[1], buf, 4);
    ck_assert_mem_eq(buf, "hey!", 4);
    test_close(&pair[1]);
}
END_TEST

static const char *debug_of(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    static struct test_capture capture;
    int r;

    test_capture_begin(&capture, STDOUT_FILENO);
    r = asyncore_send(d, data, len);
    (void)test_capture_end(&capture);
    ck_assert_int_eq(r, (int)len);
    return capture.text;
}

START_TEST(debug_shows_what_is_sent)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);

    struct asyncore_dispatcher *d = new_sender(pair[0]);

    ck_assert_str_eq(debug_of(d, "quiet", 5), "");
    asyncore_set_debug(d, true);
    ck_assert_str_eq(debug_of(d, "plain", 5), "info: sending b'plain'\n");
    ck_assert_str_eq(debug_of(d, "", 0), "info: sending b''\n");
    ck_assert_str_eq(debug_of(d, "it's", 4), "info: sending b\"it's\"\n");
    ck_assert_str_eq(debug_of(d, "\"q\"", 3), "info: sending b'\"q\"'\n");
    ck_assert_str_eq(debug_of(d, "'\"", 2), "info: sending b'\\'\"'\n");
    ck_assert_str_eq(debug_of(d, "\t\n\r\\\0\x1b\x7f\xff", 8),
                     "info: sending b'\\t\\n\\r\\\\\\x00\\x1b\\x7f\\xff'\n");
    test_close(&pair[1]);
}
END_TEST

START_TEST(debug_shows_all_of_it)
{
    static char data[5000];
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);

    struct asyncore_dispatcher *d = new_sender(pair[0]);
    const char *text;

    memset(data, 'x', sizeof data);
    asyncore_set_debug(d, true);
    text = debug_of(d, data, sizeof data);
    ck_assert_uint_eq(strlen(text), strlen("info: sending b''\n") + sizeof data);
    ck_assert_str_eq(text + strlen(text) - 3, "x'\n");
    test_close(&pair[1]);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    closes = 0;
    connects = 0;
    writes = 0;
}

static void add(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("dispatcher_with_send");
    TCase *sending = tcase_create("sending");
    TCase *stress = tcase_create("stress_linear");
    TCase *connection = tcase_create("connection");
    TCase *classes = tcase_create("classes");
    TCase *debug = tcase_create("debug");

    add(s, sending);
    tcase_add_test(sending, send_at_once);
    tcase_add_loop_test(sending, what_is_not_taken_is_queued, 0, 6);
    tcase_add_test(sending, at_most_64_kib_at_once);
    tcase_add_test(sending, a_full_socket_takes_all_the_same);
    tcase_add_test(sending, the_order_is_kept);
    add(s, stress);
    tcase_add_loop_test(stress, sixteen_mib_take_linear_time, 0, 2);
    add(s, connection);
    tcase_add_loop_test(connection, send_before_the_connection, 0, 2);
    tcase_add_test(connection, send_after_close);
    tcase_add_loop_test(connection, the_peer_is_gone, 0, 2);
    tcase_add_test(connection, an_empty_queue_finds_that_the_peer_is_gone);
    tcase_add_loop_test(connection, the_peer_goes_while_the_queue_drains, 0, 2);
    tcase_add_test(connection, detach_drops_the_queue);
    add(s, classes);
    tcase_add_test(classes, other_classes);
    tcase_add_test(classes, send_can_be_overridden);
    add(s, debug);
    tcase_add_test(debug, debug_shows_what_is_sent);
    tcase_add_test(debug, debug_shows_all_of_it);
    return test_main(s);
}
