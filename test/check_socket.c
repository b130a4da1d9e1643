/*
 * The socket seam: channels over a socket object that is none of the library's. Links
 * scripted_socket.c and probe.c.
 */
#include "probe.h"
#include "scripted_socket.h"
#include "support.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MODES 2 /* select's way and poll's */

static struct scripted_calls calls;
static struct asyncore_map *map;
static struct scripted_socket *scripted;
static int peer;

static void setup(void)
{
    probe_setup();
    memset(&calls, 0, sizeof calls);
    map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(map);
    peer = -1;
}

static void teardown(void)
{
    asyncore_map_free(map);
    if (peer >= 0)
        test_close(&peer);
}

static void give(struct asyncore_dispatcher *d, unsigned features)
{
    scripted = scripted_new(features, &calls, &peer);
    ck_assert_int_eq(asyncore_set_socket_object(d, &scripted->base, NULL), 0);
    asyncore_set_connected(d, true);
}

/* A connected probe over a new scripted socket. */
static struct probe *make(unsigned features)
{
    struct probe *p = probe_make("p", -1, map);

    give(&p->base, features);
    return p;
}

static struct asyncore_dispatcher *make_with_send(unsigned features)
{
    struct asyncore_dispatcher_with_send *d = asyncore_dispatcher_with_send_new(-1, map);

    ck_assert_ptr_nonnull(d);
    give(&d->base, features);
    return &d->base;
}

static void peer_writes(const char *text)
{
    test_write_all(peer, text, strlen(text));
}

/* Reads from the peer as many bytes as text has, and compares. */
static void peer_gets(const char *text)
{
    char got[256];
    size_t len = strlen(text);

    ck_assert_uint_lt(len, sizeof got);
    test_read_all(peer, got, len);
    ck_assert_mem_eq(got, text, len);
}

static void drain_peer(void)
{
    static char buf[1 << 16];

    test_set_nonblocking(peer, true);
    while (read(peer, buf, sizeof buf) > 0)
        ;
    ck_assert_int_eq(errno, EAGAIN);
    test_set_nonblocking(peer, false);
}

static const int disconnects[] = {
    -ECONNRESET, -ENOTCONN, -ESHUTDOWN, -ECONNABORTED, -EPIPE, -EBADF,
};
enum {
    DISCONNECTS = sizeof disconnects / sizeof *disconnects
};

/* --- recv ------------------------------------------------------------------------------------ */

START_TEST(recv_passes_counts_on)
{
    struct probe *p = make(0);
    char buf[16];

    peer_writes("abcdef");
    scripted_recv(scripted, STEPS(1, 2));
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), 1);
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), 2);
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), 3);
    ck_assert_mem_eq(buf, "def", 3);
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), -EAGAIN);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(calls.recv, 4);
}
END_TEST

START_TEST(recv_eagain_is_no_failure)
{
    struct probe *p = make(0);

    peer_writes("abc");
    scripted_recv(scripted, STEPS(-EAGAIN));
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.read");
    ck_assert_uint_eq(p->total, 0);
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.read p.read");
    ck_assert_uint_eq(p->total, 3);
}
END_TEST

START_TEST(recv_reset_closes_once)
{
    struct probe *p = make(0);
    char buf[4];

    scripted_recv(scripted, &disconnects[_i], 1);
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), 0);
    ck_assert_str_eq(probe_trace(), "p.close");
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), 0);
    ck_assert_str_eq(probe_trace(), "p.close");
    ck_assert_int_eq(calls.close, 1);
}
END_TEST

START_TEST(recv_reset_in_the_loop)
{
    (void)make(0);
    peer_writes("abc");
    scripted_recv(scripted, STEPS(1, -ECONNRESET));
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_str_eq(probe_trace(), "p.read p.read p.close p.finalize");
}
END_TEST

START_TEST(recv_end_of_stream_closes_once)
{
    (void)make(0);
    peer_writes("abc");
    scripted_recv(scripted, STEPS(2, 0));
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_str_eq(probe_trace(), "p.read p.read p.close p.finalize");
    ck_assert_int_eq(calls.free, 1);
}
END_TEST

static int fail_close(struct probe *self)
{
    asyncore_close(&self->base);
    return -EPROTO;
}

START_TEST(recv_gives_the_error_of_handle_close)
{
    struct probe *p = make(0);
    char buf[4];

    p->hook[PROBE_CLOSE] = fail_close;
    scripted_recv(scripted, STEPS(0));
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), -EPROTO);
}
END_TEST

START_TEST(recv_other_errors_are_handled)
{
    struct probe *p = make(0);

    asyncore_ref(&p->base);
    peer_writes("abc");
    scripted_recv(scripted, STEPS(-EIO));
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.read p.error");
    ck_assert_int_eq(p->error, -EIO);
    asyncore_unref(&p->base);
}
END_TEST

START_TEST(recv_flags_call_no_method)
{
    struct probe *p = make(0);
    char buf[4];

    peer_writes("ab");
    ck_assert_int_eq(asyncore_recv_flags(&p->base, buf, sizeof buf, MSG_PEEK), 2);
    scripted_recv(scripted, STEPS(-ECONNRESET, 0));
    ck_assert_int_eq(asyncore_recv_flags(&p->base, buf, sizeof buf, 0), -ECONNRESET);
    ck_assert_int_eq(asyncore_recv_flags(&p->base, buf, sizeof buf, 0), 0);
    ck_assert_int_eq(asyncore_recv_flags(&p->base, buf, sizeof buf, 0), 2);
    ck_assert_str_eq(probe_trace(), "");
}
END_TEST

/* --- send ------------------------------------------------------------------------------------ */

START_TEST(send_passes_counts_on)
{
    struct probe *p = make(0);

    scripted_send(scripted, STEPS(2, 0, -EAGAIN));
    ck_assert_int_eq(asyncore_send(&p->base, "abcd", 4), 2);
    ck_assert_int_eq(asyncore_send(&p->base, "cd", 2), 0);
    ck_assert_int_eq(asyncore_send(&p->base, "cd", 2), 0);
    ck_assert_int_eq(asyncore_send(&p->base, "cd", 2), 2);
    peer_gets("abcd");
    ck_assert_str_eq(probe_trace(), "");
}
END_TEST

START_TEST(send_reset_closes_once)
{
    struct probe *p = make(0);

    scripted_send(scripted, &disconnects[_i], 1);
    ck_assert_int_eq(asyncore_send(&p->base, "abcd", 4), 0);
    ck_assert_str_eq(probe_trace(), "p.close");
    ck_assert_int_eq(asyncore_send(&p->base, "abcd", 4), 0);
    ck_assert_str_eq(probe_trace(), "p.close");
}
END_TEST

static int send_one(struct probe *self)
{
    return asyncore_send(&self->base, "x", 1);
}

START_TEST(send_other_errors_are_handled)
{
    struct probe *p = make(0);

    asyncore_ref(&p->base);
    p->writable = true;
    p->hook[PROBE_WRITE] = send_one;
    scripted_send(scripted, STEPS(-EIO));
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.write p.error");
    ck_assert_int_eq(p->error, -EIO);
    asyncore_unref(&p->base);
}
END_TEST

/* The kernel is asked after a send that came up short: what the script says, the descriptor is
 * still writable, so the next handle_write comes, and from the kernel. */
START_TEST(send_short_is_called_again)
{
    struct probe *p = make(0);

    p->writable = true;
    p->hook[PROBE_WRITE] = send_one;
    scripted_send(scripted, STEPS(-EAGAIN, -EAGAIN, 1));
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "p.write p.write p.write");
    peer_gets("x");
}
END_TEST

START_TEST(full_descriptor_is_not_written_to)
{
    struct probe *p = make(0);

    p->writable = true;
    p->hook[PROBE_WRITE] = send_one;
    test_fill(scripted->base.fd);
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_int_le(probe_count("p.write"), 1);
    probe_clear();
    ck_assert_int_eq(run_passes(map, _i, 5), 0);
    ck_assert_str_eq(probe_trace(), "");
    drain_peer();
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "p.write");
    peer_gets("x");
}
END_TEST

/* --- dispatcher_with_send -------------------------------------------------------------------- */

START_TEST(queue_takes_what_is_short)
{
    struct asyncore_dispatcher *d = make_with_send(_i & 2 ? SCRIPTED_SENDV : 0);

    scripted_send(scripted, STEPS(3, 2, -EAGAIN, 0, 1));
    ck_assert_int_eq(asyncore_send(d, "abcdefgh", 8), 8);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 5);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 3);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 3);
    ck_assert_int_eq(run_passes(map, _i & 1, 1), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 2);
    ck_assert_int_eq(run_passes(map, _i & 1, 1), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    peer_gets("abcdefgh");
    int sends = calls.send;

    ck_assert_int_eq(run_passes(map, _i & 1, 3), 0);
    ck_assert_int_eq(calls.send, sends);
}
END_TEST

START_TEST(queue_keeps_what_is_not_taken)
{
    struct asyncore_dispatcher *d = make_with_send(0);

    scripted_send(scripted, STEPS(-EAGAIN, -EAGAIN));
    ck_assert_int_eq(asyncore_send(d, "abc", 3), 3);
    ck_assert_int_eq(asyncore_send(d, "def", 3), 3);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 6);
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    peer_gets("abcdef");
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
}
END_TEST

/* Queues before the connection is made, in pieces. */
static size_t queue_pieces(struct asyncore_dispatcher *d, char *all)
{
    char piece[3000];
    size_t total = 0;

    asyncore_set_connected(d, false);
    for (int i = 0; i < 30; i++) {
        for (size_t k = 0; k < sizeof piece; k++)
            piece[k] = (char)('A' + (total + k) % 61);
        memcpy(all + total, piece, sizeof piece);
        ck_assert_int_eq(asyncore_send(d, piece, sizeof piece), sizeof piece);
        total += sizeof piece;
    }
    ck_assert_int_eq(calls.send, 0);
    asyncore_set_connected(d, true);
    return total;
}

START_TEST(queue_is_sent_in_order)
{
    static char all[90000], got[90000];
    struct asyncore_dispatcher *d = make_with_send(_i & 2 ? SCRIPTED_SENDV : 0);
    size_t total = queue_pieces(d, all);
    size_t read = 0;

    scripted_send(scripted, STEPS(1, 4095, -EAGAIN, 5000, 1, 8193, 20000));
    while (asyncore_out_buffer_length(d) > 0) {
        size_t before = asyncore_out_buffer_length(d);

        ck_assert_int_eq(run_passes(map, _i & 1, 1), 0);
        ck_assert_uint_le(before - asyncore_out_buffer_length(d), 65536);
        test_read_all(peer, got + read, before - asyncore_out_buffer_length(d));
        read += before - asyncore_out_buffer_length(d);
    }
    ck_assert_uint_eq(read, total);
    ck_assert_mem_eq(all, got, total);
    ck_assert_uint_eq(scripted_left(&scripted->send), 0);
    ck_assert(_i & 2 ? calls.sendv > 0 : calls.sendv == 0);
}
END_TEST

START_TEST(queue_offers_64_kib)
{
    static const char big[200000];
    struct asyncore_dispatcher *d = make_with_send(_i ? SCRIPTED_SENDV : 0);

    asyncore_set_connected(d, false);
    ck_assert_int_eq(asyncore_send(d, big, sizeof big), sizeof big);
    asyncore_set_connected(d, true);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    ck_assert_uint_lt(asyncore_out_buffer_length(d), sizeof big);
    ck_assert_uint_ge(asyncore_out_buffer_length(d), sizeof big - 65536);
    ck_assert_int_eq(calls.send, 1);
}
END_TEST

START_TEST(queue_and_reset)
{
    struct asyncore_dispatcher *d = make_with_send(0);

    scripted_send(scripted, STEPS(1, -EPIPE));
    ck_assert_int_eq(asyncore_send(d, "abc", 3), 3);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(calls.send, 2);
    ck_assert_int_eq(calls.free, 1);
}
END_TEST

START_TEST(queue_and_error)
{
    struct asyncore_dispatcher *d = make_with_send(0);

    scripted_send(scripted, STEPS(1, -EIO));
    ck_assert_int_eq(asyncore_send(d, "abc", 3), 3);
    ck_assert_int_eq(asyncore_initiate_send(d), -EIO);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 2);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    peer_gets("abc");
}
END_TEST

/* --- pending --------------------------------------------------------------------------------- */

static int read_two(struct probe *self)
{
    char buf[2];
    int n = asyncore_recv(&self->base, buf, sizeof buf);

    if (n > 0)
        self->total += (size_t)n;
    return n;
}

START_TEST(pending_is_served)
{
    struct probe *p = make(SCRIPTED_PENDING);

    p->hook[PROBE_READ] = read_two;
    scripted_hold(scripted, "hello", 5);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 3), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "p.read p.read p.read");
    ck_assert_uint_eq(p->total, 5);
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "p.read p.read p.read");
}
END_TEST

/* For a class that is not asked in every pass, too. */
START_TEST(pending_is_served_on_change)
{
    struct probe *p = quiet_probe_make("p", -1, map);

    give(&p->base, SCRIPTED_PENDING);
    p->hook[PROBE_READ] = read_two;
    scripted_hold(scripted, "hello", 5);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 3), ASYNCORE_LOOP_COUNT);
    ck_assert_uint_eq(p->total, 5);
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_int_eq(p->calls[PROBE_READ], 3);
}
END_TEST

START_TEST(pending_waits_for_readable)
{
    struct probe *p = make(SCRIPTED_PENDING);

    p->readable = false;
    scripted_hold(scripted, "hello", 5);
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "");
    p->readable = true;
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_uint_eq(p->total, 5);
}
END_TEST

/* The peer has hung up, and the decrypted data is still read. */
START_TEST(pending_before_the_end)
{
    struct probe *p = make(SCRIPTED_PENDING);

    asyncore_ref(&p->base);
    p->hook[PROBE_READ] = read_two;
    scripted_hold(scripted, "hello", 5);
    peer_writes("!");
    test_close(&peer);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(p->total, 6);
    ck_assert_int_eq(p->calls[PROBE_CLOSE], 1);
    asyncore_unref(&p->base);
}
END_TEST

static size_t must_not_be_asked(struct asyncore_socket *s)
{
    (void)s;
    ck_abort_msg("called though the table ends before it");
}

static int must_not_want(struct asyncore_socket *s, int direction)
{
    (void)direction;
    return (int)must_not_be_asked(s);
}

/* A table of a program that was built when there were no such operations. */
START_TEST(small_table_is_heeded)
{
    struct probe *p = probe_make("p", -1, map);

    scripted = scripted_new(0, &calls, &peer);
    scripted->table.pending = must_not_be_asked;
    scripted->table.want = must_not_want;
    scripted->table.table_size = offsetof(struct asyncore_socket_class, pending);
    ck_assert_int_eq(asyncore_set_socket_object(&p->base, &scripted->base, NULL), 0);
    p->writable = true;
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, _i, 2), 0);
    ck_assert_uint_eq(p->total, 3);
    test_close(&peer);
    ck_assert_int_eq(run_passes(map, _i, 2), 0);
    ck_assert_int_eq(calls.free, 1);
}
END_TEST

/* --- want ------------------------------------------------------------------------------------ */

START_TEST(read_that_writes_first)
{
    struct probe *p = make(SCRIPTED_WANT);

    scripted->want_read = ASYNCORE_WRITE;
    test_fill(scripted->base.fd);
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "");
    drain_peer();
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "p.read");
    ck_assert_uint_eq(p->total, 3);
}
END_TEST

START_TEST(write_that_reads_first)
{
    struct probe *p = make(SCRIPTED_WANT);

    asyncore_set_connected(&p->base, false);
    p->readable = false;
    p->writable = true;
    scripted->want_write = ASYNCORE_READ;
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "");
    peer_writes("abc");
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "p.write");
}
END_TEST

static int send_or_want(struct probe *self)
{
    int n = asyncore_send(&self->base, "x", 1);

    if (n == 0)
        scripted->want_write = ASYNCORE_READ;
    else
        self->writable = false;
    return n;
}

/* As TLS does it: the send says that it must read first, from then on. */
START_TEST(want_changes_in_a_handler)
{
    struct probe *p = make(SCRIPTED_WANT);

    p->readable = false;
    p->writable = true;
    p->hook[PROBE_WRITE] = send_or_want;
    scripted_send(scripted, STEPS(-EAGAIN));
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.write");
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "p.write");
    peer_writes("abc");
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "p.write p.write");
    peer_gets("x");
}
END_TEST

static int recv_or_want(struct probe *self)
{
    int n = asyncore_recv(&self->base, &(char[8]){0}, 8);

    if (n == -EAGAIN)
        scripted->want_read = ASYNCORE_WRITE;
    else if (n > 0)
        self->total += (size_t)n;
    return n;
}

/* The same for a read, in a class that is asked after changes only. */
START_TEST(want_changes_on_change)
{
    struct probe *p = quiet_probe_make("p", -1, map);

    give(&p->base, SCRIPTED_WANT);
    p->hook[PROBE_READ] = recv_or_want;
    scripted_recv(scripted, STEPS(-EAGAIN));
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_int_eq(p->calls[PROBE_READ], 1);
    test_fill(scripted->base.fd);
    ck_assert_int_eq(run_passes(map, _i, 3), 0);
    ck_assert_int_eq(p->calls[PROBE_READ], 1);
    drain_peer();
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(p->calls[PROBE_READ], 2);
    ck_assert_uint_eq(p->total, 3);
}
END_TEST

START_TEST(both_want_the_same)
{
    struct probe *p = make(SCRIPTED_WANT);

    asyncore_set_connected(&p->base, false);
    p->writable = true;
    scripted->want_write = ASYNCORE_READ;
    ck_assert_int_eq(run_passes(map, _i, 2), 0);
    ck_assert_str_eq(probe_trace(), "");
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.read p.write");
}
END_TEST

/* --- the socket's error ---------------------------------------------------------------------- */

START_TEST(connect_asks_the_socket)
{
    struct probe *p = make(0);

    asyncore_ref(&p->base);
    asyncore_set_connected(&p->base, false);
    asyncore_set_connecting(&p->base, true);
    p->writable = true;
    scripted->so_error = ECONNREFUSED;
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.error");
    ck_assert_int_eq(p->error, -ECONNREFUSED);
    asyncore_unref(&p->base);
}
END_TEST

START_TEST(connect_goes_on)
{
    struct probe *p = make(0);

    asyncore_set_connected(&p->base, false);
    asyncore_set_connecting(&p->base, true);
    p->writable = true;
    ck_assert_int_eq(run_passes(map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "p.connect p.write");
    ck_assert(p->base.connected);
    ck_assert(!p->base.connecting);
}
END_TEST

START_TEST(exception_asks_the_socket)
{
    struct probe *p = make(0);

    scripted->so_error = ECONNRESET;
    ck_assert_int_eq(asyncore_exception(&p->base), 0);
    ck_assert_str_eq(probe_trace(), "p.close");
}
END_TEST

START_TEST(getsockopt_is_the_sockets)
{
    struct probe *p = make(0);
    int value = 0;
    socklen_t len = sizeof value;

    scripted->so_error = EPROTO;
    ck_assert_int_eq(asyncore_getsockopt(&p->base, SOL_SOCKET, SO_ERROR, &value, &len), 0);
    ck_assert_int_eq(value, EPROTO);
    ck_assert_int_eq(asyncore_getsockopt(&p->base, SOL_SOCKET, SO_TYPE, &value, &len), 0);
    ck_assert_int_eq(value, SOCK_STREAM);
    ck_assert_int_eq(calls.getsockopt, 2);
}
END_TEST

/* --- leaving --------------------------------------------------------------------------------- */

static void check_gone(int fd)
{
    ck_assert_int_eq(calls.close, 1);
    ck_assert_int_eq(calls.free, 1);
    ck_assert(!test_is_open(fd));
}

START_TEST(close_frees)
{
    struct probe *p = make(SCRIPTED_DETACH);
    int fd = scripted->base.fd;

    ck_assert_ptr_eq(asyncore_socket(&p->base), &scripted->base);
    ck_assert_int_eq(asyncore_fileno(&p->base), fd);
    ck_assert_int_eq(asyncore_close(&p->base), 0);
    ck_assert_ptr_null(asyncore_socket(&p->base));
    ck_assert_int_eq(asyncore_fileno(&p->base), -1);
    ck_assert_int_eq(asyncore_close(&p->base), 0);
    asyncore_map_free(map);
    map = NULL;
    check_gone(fd);
    ck_assert_int_eq(calls.detach, 0);
}
END_TEST

START_TEST(close_gives_its_error)
{
    static const int errors[][2] = {{-EIO, -EIO}, {-ENOTCONN, 0}, {-EBADF, 0}};
    struct probe *p = make(0);
    int fd = scripted->base.fd;

    scripted_close(scripted, &errors[_i][0], 1);
    ck_assert_int_eq(asyncore_close(&p->base), errors[_i][1]);
    ck_assert_int_eq(run_passes(map, false, 1), 0);
    check_gone(fd);
}
END_TEST

START_TEST(next_object_frees)
{
    static struct scripted_calls next_calls; /* outlives the test: its socket does */
    struct probe *p = make(0);
    int next_peer;
    int fd = scripted->base.fd;
    struct scripted_socket *next;

    next_calls = (struct scripted_calls){0};
    next = scripted_new(0, &next_calls, &next_peer);
    ck_assert_int_eq(asyncore_set_socket_object(&p->base, &next->base, NULL), 0);
    check_gone(fd);
    ck_assert_ptr_eq(asyncore_socket(&p->base), &next->base);
    ck_assert_uint_eq(asyncore_map_length(map), 1);
    ck_assert_int_eq(next_calls.close, 0);
    test_write_all(next_peer, "abc", 3);
    ck_assert_int_eq(run_passes(map, false, 1), 0);
    ck_assert_uint_eq(p->total, 3);
    test_close(&next_peer);
}
END_TEST

START_TEST(next_socket_frees)
{
    struct probe *p = make(0);
    int fd = scripted->base.fd;

    ck_assert_int_eq(asyncore_create_socket(&p->base, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(calls.close, 1);
    ck_assert_int_eq(calls.free, 1);
    ck_assert_ptr_ne(asyncore_socket(&p->base), &scripted->base);
    ck_assert_int_ge(asyncore_fileno(&p->base), 0);
    ck_assert(asyncore_fileno(&p->base) == fd || !test_is_open(fd));
}
END_TEST

START_TEST(map_free_frees)
{
    int fd;

    (void)make(0);
    fd = scripted->base.fd;
    asyncore_map_free(map);
    map = NULL;
    check_gone(fd);
    ck_assert_str_eq(probe_trace(), "p.finalize");
}
END_TEST

START_TEST(set_after_map_free_frees)
{
    struct probe *p = probe_make("p", -1, map);
    int fd;

    asyncore_ref(&p->base);
    asyncore_map_free(map);
    map = NULL;
    scripted = scripted_new(0, &calls, &peer);
    fd = scripted->base.fd;
    ck_assert_int_eq(asyncore_set_socket_object(&p->base, &scripted->base, NULL), -EINVAL);
    check_gone(fd);
    asyncore_unref(&p->base);
    ck_assert_str_eq(probe_trace(), "p.finalize");
}
END_TEST

/* A socket object without a descriptor is no socket, and the channel keeps what it has. */
START_TEST(failed_set_frees)
{
    struct probe *p = make(0);
    struct scripted_calls other_calls = {0};
    int other_peer;
    struct scripted_socket *other = scripted_new(0, &other_calls, &other_peer);

    ck_assert_int_eq(asyncore_socket_close(&other->base), 0);
    ck_assert_int_eq(asyncore_set_socket_object(&p->base, &other->base, NULL), -EBADF);
    ck_assert_int_eq(other_calls.close, 1);
    ck_assert_int_eq(other_calls.free, 1);
    ck_assert_ptr_eq(asyncore_socket(&p->base), &scripted->base);
    ck_assert_int_eq(calls.free, 0);
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, false, 1), 0);
    ck_assert_uint_eq(p->total, 3);
    test_close(&other_peer);
}
END_TEST

static int close_twice(struct probe *self)
{
    asyncore_close(&self->base);
    asyncore_close(&self->base);
    return 0;
}

START_TEST(close_in_a_handler_frees)
{
    struct probe *p = make(0);
    int fd = scripted->base.fd;

    p->hook[PROBE_READ] = close_twice;
    peer_writes("abc");
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    check_gone(fd);
    ck_assert_str_eq(probe_trace(), "p.read p.finalize");
}
END_TEST

START_TEST(detach_gives_the_descriptor)
{
    struct probe *p = make(SCRIPTED_DETACH);
    int fd = scripted->base.fd;
    int got = asyncore_detach(&p->base);

    ck_assert_int_eq(got, fd);
    ck_assert(test_is_nonblocking(got));
    ck_assert_int_eq(calls.detach, 1);
    ck_assert_int_eq(calls.close, 0);
    ck_assert_int_eq(calls.free, 1);
    ck_assert_uint_eq(asyncore_map_length(map), 0);
    ck_assert_int_eq(asyncore_fileno(&p->base), -1);
    ck_assert_int_eq(asyncore_detach(&p->base), -EBADF);
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, false, 1), 0);
    ck_assert_int_eq(probe_count("p.read"), 0);
    test_read_all(got, &(char[3]){0}, 3);
    test_close(&got);
}
END_TEST

START_TEST(detach_without_support)
{
    struct probe *p = make(0);

    ck_assert_int_eq(asyncore_detach(&p->base), -ENOTSUP);
    ck_assert_ptr_eq(asyncore_socket(&p->base), &scripted->base);
    ck_assert_int_eq(asyncore_fileno(&p->base), scripted->base.fd);
    ck_assert_uint_eq(asyncore_map_length(map), 1);
    ck_assert(p->base.connected);
    peer_writes("abc");
    ck_assert_int_eq(run_passes(map, false, 1), 0);
    ck_assert_uint_eq(p->total, 3);
    ck_assert_int_eq(calls.free, 0);
}
END_TEST

/* --- the operations themselves --------------------------------------------------------------- */

START_TEST(operations_without_a_channel)
{
    struct scripted_socket *s = scripted_new(0, &calls, &peer);
    int value = -1;
    socklen_t len = sizeof value;
    char buf[4];

    ck_assert_int_eq(asyncore_socket_fileno(&s->base), s->base.fd);
    ck_assert_int_eq(asyncore_socket_send(&s->base, "abc", 3, 0), 3);
    peer_gets("abc");
    peer_writes("xy");
    ck_assert_int_eq(asyncore_socket_recv(&s->base, buf, sizeof buf, 0), 2);
    ck_assert_int_eq(asyncore_socket_getsockopt(&s->base, SOL_SOCKET, SO_ERROR, &value, &len), 0);
    ck_assert_int_eq(value, 0);
    ck_assert_int_eq(asyncore_socket_close(&s->base), 0);
    ck_assert_int_eq(asyncore_socket_close(&s->base), 0);
    ck_assert_int_eq(asyncore_socket_fileno(&s->base), -1);
    ck_assert_int_eq(asyncore_socket_send(&s->base, "abc", 3, 0), -EBADF);
    ck_assert_int_eq(asyncore_socket_recv(&s->base, buf, sizeof buf, 0), -EBADF);
    ck_assert_int_eq(asyncore_socket_getsockopt(&s->base, SOL_SOCKET, SO_ERROR, &value, &len),
                     -EBADF);
    ck_assert_ptr_null(asyncore_socket_free(&s->base));
    ck_assert_int_eq(calls.close, 1);
    ck_assert_int_eq(calls.free, 1);
}
END_TEST

START_TEST(free_closes)
{
    struct scripted_socket *s = scripted_new(0, &calls, &peer);
    int fd = s->base.fd;

    ck_assert_ptr_null(asyncore_socket_free(&s->base));
    check_gone(fd);
    ck_assert_ptr_null(asyncore_socket_free(NULL));
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

static void add_data(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("recv"));

    tcase_add_test(tc, recv_passes_counts_on);
    tcase_add_loop_test(tc, recv_eagain_is_no_failure, 0, MODES);
    tcase_add_loop_test(tc, recv_reset_closes_once, 0, DISCONNECTS);
    tcase_add_loop_test(tc, recv_reset_in_the_loop, 0, MODES);
    tcase_add_loop_test(tc, recv_end_of_stream_closes_once, 0, MODES);
    tcase_add_test(tc, recv_gives_the_error_of_handle_close);
    tcase_add_loop_test(tc, recv_other_errors_are_handled, 0, MODES);
    tcase_add_test(tc, recv_flags_call_no_method);

    tc = add_case(s, tcase_create("send"));
    tcase_add_test(tc, send_passes_counts_on);
    tcase_add_loop_test(tc, send_reset_closes_once, 0, DISCONNECTS);
    tcase_add_loop_test(tc, send_other_errors_are_handled, 0, MODES);
    tcase_add_loop_test(tc, send_short_is_called_again, 0, MODES);
    tcase_add_loop_test(tc, full_descriptor_is_not_written_to, 0, MODES);

    tc = add_case(s, tcase_create("queue"));
    tcase_add_loop_test(tc, queue_takes_what_is_short, 0, 2 * MODES);
    tcase_add_loop_test(tc, queue_keeps_what_is_not_taken, 0, MODES);
    tcase_add_loop_test(tc, queue_is_sent_in_order, 0, 2 * MODES);
    tcase_add_loop_test(tc, queue_offers_64_kib, 0, 2);
    tcase_add_loop_test(tc, queue_and_reset, 0, MODES);
    tcase_add_test(tc, queue_and_error);
}

static void add_readiness(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("pending"));

    tcase_add_loop_test(tc, pending_is_served, 0, MODES);
    tcase_add_loop_test(tc, pending_is_served_on_change, 0, MODES);
    tcase_add_loop_test(tc, pending_waits_for_readable, 0, MODES);
    tcase_add_loop_test(tc, pending_before_the_end, 0, MODES);
    tcase_add_loop_test(tc, small_table_is_heeded, 0, MODES);

    tc = add_case(s, tcase_create("want"));
    tcase_add_loop_test(tc, read_that_writes_first, 0, MODES);
    tcase_add_loop_test(tc, write_that_reads_first, 0, MODES);
    tcase_add_loop_test(tc, want_changes_in_a_handler, 0, MODES);
    tcase_add_loop_test(tc, want_changes_on_change, 0, MODES);
    tcase_add_loop_test(tc, both_want_the_same, 0, MODES);

    tc = add_case(s, tcase_create("getsockopt"));
    tcase_add_loop_test(tc, connect_asks_the_socket, 0, MODES);
    tcase_add_loop_test(tc, connect_goes_on, 0, MODES);
    tcase_add_test(tc, exception_asks_the_socket);
    tcase_add_test(tc, getsockopt_is_the_sockets);
}

static void add_leaving(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("leaving"));

    tcase_add_test(tc, close_frees);
    tcase_add_loop_test(tc, close_gives_its_error, 0, 3);
    tcase_add_test(tc, next_object_frees);
    tcase_add_test(tc, next_socket_frees);
    tcase_add_test(tc, map_free_frees);
    tcase_add_test(tc, set_after_map_free_frees);
    tcase_add_test(tc, failed_set_frees);
    tcase_add_loop_test(tc, close_in_a_handler_frees, 0, MODES);

    tc = add_case(s, tcase_create("detach"));
    tcase_add_test(tc, detach_gives_the_descriptor);
    tcase_add_test(tc, detach_without_support);

    tc = add_case(s, tcase_create("operations"));
    tcase_add_test(tc, operations_without_a_channel);
    tcase_add_test(tc, free_closes);
}

int main(void)
{
    Suite *s = suite_create("socket");

    add_data(s);
    add_readiness(s);
    add_leaving(s);
    return test_main(s);
}
