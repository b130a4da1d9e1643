/*
 * async_chat's queue: its order, how much goes out at once, close and close_when_done, and the next
 * socket. Its high-water mark is check_chat_limits'.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the order ------------------------------------------------------------------------------- */

enum {
    STREAM = 200000
};

static char stream[STREAM];
static size_t pushed;

static void fill_stream(void)
{
    for (size_t i = 0; i < STREAM; i++)
        stream[i] = (char)(i * 7 + (i >> 8) * 13);
    pushed = 0;
}

static int push_part(size_t len)
{
    return asynchat_push(chat_d(0), stream + pushed, len);
}

static int push_part_reference(size_t len)
{
    return asynchat_push_reference(chat_d(0), stream + pushed, len, NULL, NULL);
}

static int push_part_simple(size_t len)
{
    return asynchat_push_with_producer(chat_d(0),
                                       asynchat_simple_producer_new(stream + pushed, len, 700));
}

static int push_part_buffer(size_t len)
{
    struct evbuffer *buffer = evbuffer_new();

    ck_assert_ptr_nonnull(buffer);
    ck_assert_int_eq(evbuffer_add(buffer, stream + pushed, len), 0);
    return asynchat_push_with_producer(chat_d(0), asynchat_evbuffer_producer_new(buffer));
}

static int push_part_file(size_t len)
{
    int fd = open(test_path("stream"), O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return asynchat_push_with_producer(chat_d(0),
                                       asynchat_file_producer_new(fd, (off_t)pushed, (off_t)len));
}

static int (*const pushes[])(size_t len) = {push_part, push_part_reference, push_part_simple,
                                            push_part, push_part_buffer,    push_part_file};

/* All of the stream, in parts of many sizes and of all kinds. */
static void push_stream(void)
{
    size_t len = 0;

    fill_stream();
    (void)test_file("stream", stream, STREAM);
    for (int i = 0; pushed < STREAM; i++) {
        ck_assert_int_eq(pushes[i % 6](len), 0);
        pushed += len;
        len = (len * 5 + 311) % 7919;
        if (len > STREAM - pushed)
            len = STREAM - pushed;
    }
}

/* Reads the stream, and lets the channel write meanwhile: as its script says, or in a loop. */
static void receive_stream(bool loop, bool use_poll)
{
    static const int steps[] = {1, 100, 3000, -EAGAIN, 0, 65536, 17};
    static char got[STREAM];
    size_t total = 0;

    for (int i = 0; total < STREAM; i++) {
        ssize_t n = recv(peers[0], got + total, STREAM - total, MSG_DONTWAIT);

        if (n > 0) {
            total += (size_t)n;
        } else if (loop) {
            ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, use_poll, the_map, 1),
                             ASYNCORE_LOOP_COUNT);
        } else {
            scripted_send(chat_socket(chat_d(0)), STEPS(steps[i % 7]));
            ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
        }
    }
    ck_assert_mem_eq(got, stream, STREAM);
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
}

START_TEST(order_with_short_sends)
{
    chats[0] = chat_scripted(NULL, _i ? SCRIPTED_SENDV : 0, &chat_calls[0], &peers[0]);
    asyncore_set_connected(chat_d(0), false);
    push_stream();
    asyncore_set_connected(chat_d(0), true);
    receive_stream(false, false);
    ck_assert_trace("");
}
END_TEST

struct own {
    struct chat base;
};

static int own_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return asyncore_dispatcher_send(d, data, len);
}

ASYNCORE_CLASS(own, chat, .send = own_send, .ac_out_buffer_size = 1000);

static const struct asyncore_class *const classes[] = {&chat_class, &own_class};

/* Queued in whole first, or sent as it is pushed. */
START_TEST(order_on_a_socket)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    test_small_buffers(pair[0]);
    peers[0] = pair[1];
    chats[0] = chat_make_of(classes[_i / 4], NULL, pair[0]);
    asyncore_set_connected(chat_d(0), _i / 2 % 2);
    push_stream();
    asyncore_set_connected(chat_d(0), true);
    receive_stream(true, _i % 2);
    ck_assert_trace("");
}
END_TEST

/* --- how much goes out at once ---------------------------------------------------------------- */

START_TEST(at_most_ac_out_buffer_size)
{
    static const size_t sizes[] = {1, 4, 7, 64};
    static char got[64];

    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(chat_push_text(chat_d(0), "abcdefgh"), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), sizes[_i]), 0);
    for (size_t left = 64; left > 0;) {
        size_t n = left < sizes[_i] ? left : sizes[_i];

        ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
        ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), left - n);
        test_read_all(peers[0], got, n);
        left -= n;
    }
}
END_TEST

static int pushes_ten(struct chat *self)
{
    (void)self;
    return chat_push_text(chat_d(0), "abcdefghij");
}

START_TEST(a_handlers_output_too)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), 4), 0);
    chats[0]->hook[CHAT_FOUND] = pushes_ten;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(chat_calls[0].send, 1);
    ck_assert_received(peers[0], "abcd");
    ck_assert_int_eq(run_passes(the_map, _i, 4), 0);
    ck_assert_received(peers[0], "efghij");
    ck_assert_int_eq(chat_calls[0].send, 3);
}
END_TEST

/* A datagram for each, of a file as well. */
START_TEST(a_file_in_datagrams)
{
    static const size_t lengths[] = {1000, 1000, 500};
    static char got[STREAM];
    int pair[2];

    fill_stream();
    (void)test_file("stream", stream, STREAM);
    test_socketpair(SOCK_DGRAM, pair);
    peers[0] = pair[1];
    chats[0] = chat_make(NULL, pair[0]);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), 1000), 0);
    ck_assert_int_eq(push_part_file(2500), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 4), 0);
    for (size_t i = 0, at = 0; i < 3; at += lengths[i++]) {
        ck_assert_int_eq(recv(peers[0], got, sizeof got, MSG_DONTWAIT), (int)lengths[i]);
        ck_assert_mem_eq(got, stream + at, lengths[i]);
    }
    ck_assert_int_eq(recv(peers[0], got, sizeof got, MSG_DONTWAIT), -1);
}
END_TEST

/* --- writable -------------------------------------------------------------------------------- */

static void check_writable(int expected)
{
    ck_assert_int_eq(asyncore_writable(chat_d(0)), expected);
    ck_assert_int_eq(asyncore_readable(chat_d(0)), 1);
}

START_TEST(writable_with_a_queue)
{
    make_scripted_chats(1);
    check_writable(0);
    chat_block(chat_d(0));
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    check_writable(1);
    ck_assert_int_eq(asynchat_discard_buffers(chat_d(0)), 0);
    check_writable(0);
    ck_assert_int_eq(asynchat_push_reference(chat_d(0), "a", 1, NULL, NULL), 0);
    check_writable(1);
    chat_unblock(chat_d(0));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    check_writable(0);
    chat_block(chat_d(0));
    ck_assert_int_eq(
        asynchat_push_with_producer(chat_d(0), asynchat_simple_producer_new("a", 1, 0)), 0);
    check_writable(1);
    ck_assert_int_eq(asynchat_discard_buffers(chat_d(0)), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    check_writable(1);
    ck_assert_int_eq(asynchat_discard_buffers(chat_d(0)), 0);
    check_writable(0);
    asyncore_set_connected(chat_d(0), false);
    check_writable(1);
}
END_TEST

/* --- close ----------------------------------------------------------------------------------- */

static char big[40000];

static int pushes_much_and_closes(struct chat *self)
{
    for (int i = 0; i < 3; i++) {
        memset(big, 'a' + i, sizeof big);
        ck_assert_int_eq(asynchat_push(chat_dispatcher(self), big, sizeof big), 0);
    }
    return asyncore_close(chat_dispatcher(self));
}

/* More than is sent at once. */
START_TEST(close_loses_nothing_that_the_socket_takes)
{
    static char got[3 * sizeof big];
    const int room = 4 * (int)sizeof got;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    peers[0] = pair[1];
    chats[0] = chat_make(NULL, pair[0]);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), "\n", 1), 0);
    chats[0]->hook[CHAT_FOUND] = pushes_much_and_closes;
    test_write_all(peers[0], "\n", 1);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_uint_eq(test_read_to_end(peers[0], got, sizeof got), sizeof got);
    for (size_t i = 0; i < sizeof got; i++)
        if (got[i] != (char)('a' + i / sizeof big))
            ck_abort_msg("byte %zu is wrong", i);
}
END_TEST

static int pushes_and_closes(struct chat *self)
{
    int r = chat_push_text(chat_d(0), "new");

    return r < 0 ? r : asyncore_close(chat_dispatcher(self));
}

START_TEST(close_sends_what_was_queued_before)
{
    make_scripted_chats(1);
    chat_block(chat_d(0));
    ck_assert_int_eq(chat_push_text(chat_d(0), "old "), 0);
    chat_unblock(chat_d(0));
    chats[0]->hook[CHAT_FOUND] = pushes_and_closes;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_received(peers[0], "old new");
}
END_TEST

/* Though nothing was gathered since the socket took less. */
START_TEST(close_sends_what_the_socket_takes_by_now)
{
    make_scripted_chats(1);
    scripted_send(chat_socket(chat_d(0)), STEPS(1, -EAGAIN));
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "def"), 0);
    ck_assert_received(peers[0], "a");
    ck_assert_int_eq(asyncore_close(chat_d(0)), 0);
    ck_assert_received(peers[0], "bcdef");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
}
END_TEST

/* An error then is nobody's: the channel is being closed. */
START_TEST(close_ignores_errors_of_send)
{
    static const int errors[] = {-EIO, -EPIPE, -EAGAIN};

    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_and_closes;
    scripted_send(chat_socket(chat_d(0)), STEPS(errors[_i]));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("found");
    ck_assert_int_eq(chat_calls[0].close, 1);
}
END_TEST

static void next_socket(void)
{
    test_close(&peers[0]);
    chat_give_scripted(chat_d(0), SCRIPTED_SENDV, &chat_calls[0], &peers[0]);
}

/* What was not sent is the next socket's: with its producers, and the end. */
START_TEST(the_queue_is_for_the_next_socket)
{
    char got[9] = "";

    make_scripted_chats(1);
    scripted_send(chat_socket(chat_d(0)), STEPS(1, -EAGAIN, -EAGAIN, -EAGAIN));
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_int_eq(
        asynchat_push_with_producer(chat_d(0), asynchat_simple_producer_new("def", 3, 2)), 0);
    ck_assert_int_eq(asyncore_close(chat_d(0)), 0);
    ck_assert_received(peers[0], "a");
    ck_assert_int_eq(chat_push_text(chat_d(0), "gh"), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0); /* without one nothing happens */
    next_socket();
    ck_assert_int_eq(run_passes(the_map, _i, 6), 0);
    ck_assert_uint_eq(test_read_to_end(peers[0], got, sizeof got), 7);
    ck_assert_str_eq(got, "bcdefgh");
    ck_assert_trace("close");
}
END_TEST

struct discarder {
    struct chat base;
    bool same;
};

ASYNCORE_DECLARE_LOCAL_CLASS(discarder, chat);

static int discarder_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    discarder_of(d)->same = asynchat_discard_buffers(d) == 0 && memcmp(data, stream, len) == 0;
    return (int)len;
}

ASYNCORE_DEFINE_LOCAL_CLASS(discarder, chat, .send = discarder_send);

/* send has its data until it returns. */
START_TEST(discarded_while_it_is_sent)
{
    struct chat *chat = chat_make_of(&discarder_class, NULL, -1);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    fill_stream();
    chat_give_scripted(d, 0, &chat_calls[0], &peers[0]);
    (void)mallopt(M_PERTURB, 0x55); /* what is freed changes; a sanitizer has its own way */
    ck_assert_int_eq(asynchat_push(d, stream, 5000), 0);
    (void)mallopt(M_PERTURB, 0);
    ck_assert(discarder_of(d)->same);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_trace("");
}
END_TEST

/* --- close_when_done ------------------------------------------------------------------------- */

START_TEST(closed_when_done)
{
    static const int families[] = {AF_UNIX, AF_INET};
    static char got[STREAM + 1];
    size_t total = 0;

    make_connected_chats(1, families[_i / 2]);
    test_set_nonblocking(peers[0], true);
    push_stream();
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    while (asyncore_loop(0.01, _i % 2, the_map, 1) == ASYNCORE_LOOP_COUNT) {
        ssize_t n = recv(peers[0], got + total, sizeof got - total, MSG_DONTWAIT);

        total += n > 0 ? (size_t)n : 0;
    }
    total += test_read_to_end(peers[0], got + total, sizeof got - total);
    ck_assert_uint_eq(total, STREAM);
    ck_assert_mem_eq(got, stream, STREAM);
    ck_assert_trace("close");
}
END_TEST

START_TEST(not_closed_in_the_call)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_trace("");
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_trace("close");
}
END_TEST

static int says_bye(struct chat *self)
{
    int r = chat_push_text(chat_d(0), "bye");

    return r < 0 ? r : asynchat_close_when_done(chat_dispatcher(self));
}

/* Nor at the end of the handler; and other input is still handed out. */
START_TEST(not_closed_in_the_handler)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = says_bye;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    chats[0]->hook[CHAT_FOUND] = NULL;
    ck_assert_trace("found");
    ck_assert_received(peers[0], "bye");
    ck_assert_int_eq(chat_feed_text(chat_d(0), "x"), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_trace("found 'x' close");
}
END_TEST

static int says_bye_and_more(struct chat *self)
{
    int r = says_bye(self);

    return r < 0 ? r : chat_push_text(chat_dispatcher(self), "more");
}

/* For the next socket, as it is outside handlers. */
START_TEST(pushed_behind_the_end_in_the_handler)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = says_bye_and_more;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    asyncore_ref(chat_d(0));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_trace("found close");
    ck_assert_received(peers[0], "bye");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 4);
    asyncore_unref(chat_d(0));
}
END_TEST

START_TEST(what_is_pushed_behind_the_end)
{
    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "b"), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_received(peers[0], "a");
    ck_assert_trace("close");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 1);
    next_socket();
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_received(peers[0], "b");
}
END_TEST

/* A handle_close that does not close is called for each. */
START_TEST(handle_close_stays_open)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_CLOSE] = chat_stays_open;
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "b"), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(run_passes(the_map, _i, 6), 0);
    ck_assert_received(peers[0], "ab");
    ck_assert_trace("close close");
    ck_assert_int_eq(asyncore_writable(chat_d(0)), 0);
}
END_TEST

/* The error is one of handle_write, or of who called initiate_send. */
START_TEST(handle_close_fails)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_CLOSE] = chat_fails;
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    if (_i == 2) {
        ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), -EPROTO);
        ck_assert_trace("close");
        return;
    }
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_trace("close error(EPROTO)");
}
END_TEST

START_TEST(closed_when_connected_and_done)
{
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);
    char got[8] = "";

    chats[0] = chat_make(NULL, -1);
    ck_assert_int_eq(asyncore_create_socket(chat_d(0), AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_int_eq(asyncore_connect(chat_d(0), test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 10), ASYNCORE_LOOP_EMPTY);
    ck_assert_trace("connect close");
    peers[0] = test_accept(listener);
    ck_assert_uint_eq(test_read_to_end(peers[0], got, sizeof got), 3);
    ck_assert_str_eq(got, "abc");
    test_close(&listener);
}
END_TEST

START_TEST(discard_forgets_the_end)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    ck_assert_int_eq(asynchat_discard_buffers(chat_d(0)), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_trace("");
    ck_assert_int_ge(asyncore_fileno(chat_d(0)), 0);
}
END_TEST

/* --- much output: linear, or longer than a test may be -----------------------------------------
 */

enum {
    MUCH = 16000000,
    PIECE = 125 /* MUCH and STREAM are multiples */
};

/* In small pieces, into a queue that is drained a little at a time. */
static void push_much(bool by_reference)
{
    for (size_t at = 0; at < MUCH; at += PIECE) {
        const char *piece = stream + at % STREAM;
        int r = by_reference ? asynchat_push_reference(chat_d(0), piece, PIECE, NULL, NULL)
                             : asynchat_push(chat_d(0), piece, PIECE);

        if (r != 0)
            ck_abort_msg("push: %d", r);
    }
}

static void receive_much(bool use_poll)
{
    static char got[65536];
    size_t total = 0;

    while (total < MUCH) {
        ssize_t n = recv(peers[0], got, sizeof got, MSG_DONTWAIT);
        ssize_t same = 0;

        while (same < n && got[same] == stream[(total + (size_t)same) % STREAM])
            same++;
        if (same < n)
            ck_abort_msg("byte %zu is wrong", total + (size_t)same);
        if (n > 0)
            total += (size_t)n;
        else if (asyncore_loop(TEST_WAIT_SECONDS, use_poll, the_map, 1) != ASYNCORE_LOOP_COUNT)
            ck_abort_msg("the loop has ended after %zu bytes", total);
    }
    ck_assert_uint_eq(total, MUCH);
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
}

START_TEST(much_output)
{
    int pair[2];

    fill_stream();
    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    chats[0] = chat_make_of(classes[_i / 2], NULL, pair[0]);
    push_much(_i % 2);
    ck_assert_uint_gt(asyncore_out_buffer_length(chat_d(0)), MUCH / 2);
    receive_much(_i / 2 == _i % 2); /* in poll's way one of each */
    ck_assert_trace("");
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void add_close(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("close"));

    tcase_add_loop_test(tc, close_loses_nothing_that_the_socket_takes, 0, 2);
    tcase_add_test(tc, close_sends_what_was_queued_before);
    tcase_add_test(tc, close_sends_what_the_socket_takes_by_now);
    tcase_add_loop_test(tc, close_ignores_errors_of_send, 0, 3);
    tcase_add_loop_test(tc, the_queue_is_for_the_next_socket, 0, 2);
    tcase_add_test(tc, discarded_while_it_is_sent);

    tc = add_chat_case(s, tcase_create("close_when_done"));
    tcase_add_loop_test(tc, closed_when_done, 0, 4);
    tcase_add_loop_test(tc, not_closed_in_the_call, 0, 2);
    tcase_add_loop_test(tc, not_closed_in_the_handler, 0, 2);
    tcase_add_loop_test(tc, pushed_behind_the_end_in_the_handler, 0, 2);
    tcase_add_test(tc, what_is_pushed_behind_the_end);
    tcase_add_loop_test(tc, handle_close_stays_open, 0, 2);
    tcase_add_loop_test(tc, handle_close_fails, 0, 3);
    tcase_add_loop_test(tc, closed_when_connected_and_done, 0, 2);
    tcase_add_loop_test(tc, discard_forgets_the_end, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("chat_queue");
    TCase *order = add_chat_case(s, tcase_create("order"));
    TCase *amounts = add_chat_case(s, tcase_create("amounts"));
    TCase *stress = add_chat_case(s, tcase_create("stress_linear"));

    tcase_add_loop_test(order, order_with_short_sends, 0, 2);
    tcase_add_loop_test(order, order_on_a_socket, 0, 8);
    tcase_add_loop_test(amounts, at_most_ac_out_buffer_size, 0, 4);
    tcase_add_loop_test(amounts, a_handlers_output_too, 0, 2);
    tcase_add_loop_test(amounts, a_file_in_datagrams, 0, 2);
    tcase_add_test(amounts, writable_with_a_queue);
    add_close(s);
    tcase_add_loop_test(stress, much_output, 0, 4);
    return test_main(s);
}
