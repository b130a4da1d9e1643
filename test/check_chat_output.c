/*
 * async_chat's output as it goes out: push in its kinds, what is gathered in a handler, and what
 * sockets and classes with a send of their own make of it. The queue is check_chat_queue's.
 */
#include "chat_probe.h"
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- push ------------------------------------------------------------------------------------ */

START_TEST(sent_at_once)
{
    make_scripted_chats(1);
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_int_eq(chat_calls[0].send, 1);
    ck_assert_received(peers[0], "abc");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
    ck_assert_int_eq(asyncore_writable(chat_d(0)), 0);
}
END_TEST

START_TEST(data_is_copied)
{
    char text[] = "abc";

    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(asynchat_push(chat_d(0), text, 3), 0);
    memset(text, '?', sizeof text);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_received(peers[0], "abc");
}
END_TEST

START_TEST(push_of_nothing)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_push(chat_d(0), "", 0), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_received(peers[0], "a");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
    ck_assert_int_eq(asyncore_writable(chat_d(0)), 0);
}
END_TEST

START_TEST(push_without_a_socket)
{
    struct chat *chat = chat_make(NULL, -1);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    ck_assert_int_eq(chat_push_text(d, "abc"), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 3);
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    chat_give_scripted(d, 0, &chat_calls[0], &peers[0]);
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_received(peers[0], "abc");
}
END_TEST

static int push_connected(struct chat *self)
{
    return chat_push_text(chat_dispatcher(self), "in ");
}

/* Before connect, before it is done, while it is done, and after. */
START_TEST(push_around_the_connection)
{
    static const int families[] = {AF_INET, AF_UNIX};
    struct test_addr addr;
    int listener = test_listener(families[_i / 2], &addr);
    struct chat *chat = chat_make(NULL, -1);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);
    char got[32] = "";

    chat->hook[CHAT_CONNECT] = push_connected;
    ck_assert_int_eq(asyncore_create_socket(d, families[_i / 2], SOCK_STREAM), 0);
    ck_assert_int_eq(chat_push_text(d, "before "), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    if (!d->connected)
        ck_assert_int_eq(run_until(the_map, _i % 2, &d->connected), 0);
    ck_assert_int_eq(chat_push_text(d, "after"), 0);
    peers[0] = test_accept(listener);
    test_close(&listener);
    while (asyncore_out_buffer_length(d) > 0)
        ck_assert_int_eq(run_passes(the_map, _i % 2, 1), 0);
    test_read_all(peers[0], got, 15);
    ck_assert_str_eq(got, "before in after");
}
END_TEST

/* --- push_reference -------------------------------------------------------------------------- */

static struct {
    const void *data;
    size_t len;
    void *arg;
    int count;
} released;

static void release(const void *data, size_t len, void *arg)
{
    released.data = data;
    released.len = len;
    released.arg = arg;
    released.count++;
}

enum way {
    WAY_SENT,
    WAY_SENT_LATER,
    WAY_SENT_IN_PIECES,
    WAY_DISCARDED,
    WAY_DESTROYED,
    WAY_MAP_FREED,
    WAY_PEER_GONE,
    WAY_NEXT_SOCKET,
    WAYS
};

/* What is to happen with the reference when it is pushed. */
static void before_push(struct asyncore_dispatcher *d, enum way way)
{
    if (way == WAY_SENT_LATER)
        scripted_send(chat_socket(d), STEPS(-EAGAIN));
    else if (way == WAY_SENT_IN_PIECES)
        scripted_send(chat_socket(d), STEPS(1, 1));
    else if (way == WAY_PEER_GONE)
        scripted_send(chat_socket(d), STEPS(-EPIPE));
    else if (way != WAY_SENT)
        asyncore_set_connected(d, false);
}

/* It is not released by then; and is by the end. */
static void after_push(struct asyncore_dispatcher *d, enum way way)
{
    if (way == WAY_SENT)
        return;
    ck_assert_int_eq(released.count, 0);
    if (way == WAY_DISCARDED)
        ck_assert_int_eq(asynchat_discard_buffers(d), 0);
    if (way == WAY_DESTROYED || way == WAY_NEXT_SOCKET)
        ck_assert_int_eq(asyncore_close(d), 0);
    if (way == WAY_NEXT_SOCKET) {
        test_close(&peers[0]);
        chat_give_scripted(d, 0, &chat_calls[0], &peers[0]);
    }
    if (way == WAY_SENT_IN_PIECES) {
        ck_assert_int_eq(asynchat_initiate_send(d), 0);
        ck_assert_int_eq(released.count, 0);
    }
    if (way == WAY_SENT_LATER || way == WAY_SENT_IN_PIECES || way == WAY_NEXT_SOCKET)
        ck_assert_int_eq(asynchat_initiate_send(d), 0);
    if (way == WAY_DESTROYED || way == WAY_PEER_GONE) {
        ck_assert_int_eq(released.count, 0); /* it may get another socket */
        ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    }
    if (way == WAY_MAP_FREED) {
        asyncore_map_free(the_map);
        the_map = NULL;
    }
}

START_TEST(a_reference_is_released_once)
{
    static char text[] = "abc";

    make_scripted_chats(1);
    before_push(chat_d(0), (enum way)_i);
    ck_assert_int_eq(asynchat_push_reference(chat_d(0), text, 3, release, &chat_calls), 0);
    after_push(chat_d(0), (enum way)_i);
    ck_assert_int_eq(released.count, 1);
    ck_assert_ptr_eq(released.data, text);
    ck_assert_uint_eq(released.len, 3);
    ck_assert_ptr_eq(released.arg, &chat_calls);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(released.count, 1);
}
END_TEST

/* That data changes meanwhile shows it. */
START_TEST(a_reference_is_not_copied)
{
    static const size_t lengths[] = {1, 100, 5000, 60000};
    static char data[60000], got[60000];
    const size_t len = lengths[_i];

    make_scripted_chats(1);
    memset(data, 'a', len);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(asynchat_push_reference(chat_d(0), data, len, release, NULL), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), len);
    memset(data, 'b', len);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    test_read_all(peers[0], got, len);
    ck_assert_mem_eq(got, data, len);
    ck_assert_int_eq(released.count, 1);
}
END_TEST

START_TEST(a_reference_without_release)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_push_reference(chat_d(0), "abc", 3, NULL, NULL), 0);
    ck_assert_received(peers[0], "abc");
}
END_TEST

START_TEST(a_reference_to_nothing)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_push_reference(chat_d(0), "", 0, release, NULL), 0);
    ck_assert_int_eq(released.count, 1);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_received(peers[0], "a");
}
END_TEST

static int pushes_more(struct chat *self)
{
    return chat_push_text(chat_dispatcher(self), "!");
}

static int initiates(struct chat *self)
{
    return asynchat_initiate_send(chat_dispatcher(self));
}

static int runs_a_pass(struct chat *self)
{
    (void)self;
    return run_passes(the_map, false, 1);
}

static const struct {
    int (*hook)(struct chat *self);
    size_t sent; /* in all */
} release_hooks[] = {
    {chat_stays_open, 90004}, {pushes_more, 90005}, {initiates, 90004},
    {runs_a_pass, 90004},     {chat_closes, 0},     {chat_discards, 0},
};

static void release_and_call(const void *data, size_t len, void *arg)
{
    release(data, len, arg);
    if (released.count == 1)
        ck_assert_int_eq(release_hooks[*(const int *)arg].hook(chats[0]), 0);
}

/* The first of three references, while others are queued. */
START_TEST(what_release_does)
{
    static char data[30000], got[90006];
    static int row;
    size_t n;

    row = _i;
    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            asynchat_push_reference(chat_d(0), data, sizeof data, release_and_call, &row), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "tail"), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(run_passes(the_map, false, 10), 0);
    if (release_hooks[row].sent > 0)
        ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(released.count, 3);
    n = test_read_to_end(peers[0], got, sizeof got);
    if (release_hooks[row].sent > 0)
        ck_assert_uint_eq(n, release_hooks[row].sent);
}
END_TEST

/* --- what the socket says --------------------------------------------------------------------- */

START_TEST(short_sends)
{
    static const unsigned features[] = {0, SCRIPTED_SENDV};
    struct asyncore_dispatcher *d;
    struct scripted_socket *s;

    chats[0] = chat_scripted(NULL, features[_i], &chat_calls[0], &peers[0]);
    d = chat_d(0);
    s = chat_socket(d);
    scripted_send(s, STEPS(1, 0, 2, -EAGAIN, 3, 1, 1, 1));
    ck_assert_int_eq(chat_push_text(d, "abc"), 0);
    ck_assert_int_eq(asynchat_push_reference(d, "def", 3, release, NULL), 0);
    ck_assert_int_eq(chat_push_text(d, "ghi"), 0);
    for (int i = 0; i < 20 && asyncore_out_buffer_length(d) > 0; i++) {
        ck_assert_int_eq(asyncore_writable(d), 1);
        ck_assert_int_eq(asynchat_initiate_send(d), 0);
    }
    ck_assert_int_eq(asyncore_writable(d), 0);
    ck_assert_received(peers[0], "abcdefghi");
    ck_assert_int_eq(released.count, 1);
    ck_assert_trace("");
}
END_TEST

/* The loop goes on with what a socket did not take. */
START_TEST(a_full_socket)
{
    static char data[1 << 20], got[1 << 20];
    size_t total = 0;

    make_connected_chats(1, AF_UNIX);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + (i >> 8) * 13);
    ck_assert_int_eq(asynchat_push(chat_d(0), data, sizeof data), 0);
    ck_assert_uint_gt(asyncore_out_buffer_length(chat_d(0)), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_uint_gt(asyncore_out_buffer_length(chat_d(0)), 0);
    while (total < sizeof got) {
        ssize_t n = recv(peers[0], got + total, sizeof got - total, MSG_DONTWAIT);

        if (n > 0)
            total += (size_t)n;
        else
            ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    }
    ck_assert_mem_eq(got, data, sizeof data);
    ck_assert_int_eq(asyncore_writable(chat_d(0)), 0);
}
END_TEST

/* Nothing is lost where handle_error does not close. */
START_TEST(send_fails)
{
    struct asyncore_dispatcher *d;

    make_scripted_chats(1);
    d = chat_d(0);
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    scripted_send(chat_socket(d), STEPS(-EIO));
    ck_assert_int_eq(chat_push_text(d, "abc"), 0);
    ck_assert_trace("error(EIO)");
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 3);
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_received(peers[0], "abc");
}
END_TEST

/* Whoever pushed: the error is that of the channel whose socket it is. */
static int pushes_to_b(struct chat *self)
{
    (void)self;
    return chat_push_text(chat_d(1), "ab");
}

static const struct {
    int error;
    const char *word;
} socket_errors[] = {{-EIO, "error(EIO)"}, {-EPIPE, "close"}, {-ECONNRESET, "close"}};

START_TEST(send_fails_in_push)
{
    make_scripted_chats(1);
    chats[0]->name = NULL;
    scripted_send(chat_socket(chat_d(0)), STEPS(socket_errors[_i].error));
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_trace(socket_errors[_i].word);
    ck_assert_int_eq(asyncore_fileno(chat_d(0)), -1);
}
END_TEST

START_TEST(send_fails_after_a_handler)
{
    char expected[64];

    make_scripted_chats(2);
    snprintf(expected, sizeof expected, "a.found b.%s", socket_errors[_i].word);
    chats[0]->hook[CHAT_FOUND] = pushes_to_b;
    scripted_send(chat_socket(chat_d(1)), STEPS(socket_errors[_i].error));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace(expected);
    ck_assert_int_ge(asyncore_fileno(chat_d(0)), 0);
    ck_assert_int_eq(asyncore_fileno(chat_d(1)), -1);
}
END_TEST

/* What handle_error returns is what push returns. */
START_TEST(handle_error_fails)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_ERROR] = chat_fails;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), -EPROTO);
    ck_assert_trace("error(EIO)");
}
END_TEST

/* That is an error of the socket's, too. */
START_TEST(handle_close_fails)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_CLOSE] = chat_fails;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EPIPE));
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_trace("close error(EPROTO)");
}
END_TEST

/* As in handle_write, where it is handled, and then leaves the loop. */
START_TEST(handle_error_fails_after_a_handler)
{
    make_scripted_chats(2);
    chats[0]->hook[CHAT_FOUND] = pushes_to_b;
    chats[1]->hook[CHAT_ERROR] = chat_fails;
    scripted_send(chat_socket(chat_d(1)), STEPS(-EIO));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), -EPROTO);
    ck_assert_trace("a.found b.error(EIO) b.error(EPROTO)");
}
END_TEST

/* --- a class with a send of its own ----------------------------------------------------------- */

static struct {
    size_t lengths[16]; /* of what it was given */
    int count;
    int result; /* in place of the count that was taken; 0: all */
} sent;

struct own {
    struct chat base;
};

static int own_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    ck_assert_int_lt(sent.count, 16);
    sent.lengths[sent.count++] = len;
    if (sent.result < 0)
        return sent.result;
    return asyncore_dispatcher_send(
        d, data, sent.result && (size_t)sent.result < len ? (size_t)sent.result : len);
}

ASYNCORE_CLASS(own, chat, .send = own_send, .ac_out_buffer_size = 4);

static struct asyncore_dispatcher *new_own(void)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    chats[0] = chat_make_of(&own_class, NULL, pair[0]);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), "\n", 1), 0);
    return chat_d(0);
}

START_TEST(own_send_gets_pieces)
{
    struct asyncore_dispatcher *d = new_own();

    ck_assert_int_eq(chat_push_text(d, "abcdefghij"), 0);
    ck_assert_int_eq(sent.count, 1);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 6);
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_int_eq(sent.count, 2);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_int_eq(sent.count, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(sent.lengths[i], i < 2 ? 4 : 2);
    ck_assert_received(peers[0], "abcdefghij");
    ck_assert_int_eq(asyncore_writable(d), 0);
}
END_TEST

static int pushes_at_once(struct chat *self)
{
    for (int i = 1; i <= 2; i++) {
        ck_assert_int_eq(chat_push_text(chat_dispatcher(self), "x"), 0);
        ck_assert_int_eq(sent.count, i);
    }
    return 0;
}

START_TEST(own_send_is_called_in_handlers)
{
    (void)new_own();
    chats[0]->hook[CHAT_FOUND] = pushes_at_once;
    test_write_all(peers[0], "\n", 1);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_int_eq(sent.count, 2);
    ck_assert_received(peers[0], "xx");
}
END_TEST

START_TEST(own_send_takes_less)
{
    struct asyncore_dispatcher *d = new_own();

    sent.result = 1;
    ck_assert_int_eq(chat_push_text(d, "abc"), 0);
    ck_assert_int_eq(chat_push_text(d, "de"), 0);
    for (int i = 0; i < 10 && asyncore_out_buffer_length(d) > 0; i++)
        ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_int_eq(sent.count, 5);
    ck_assert_received(peers[0], "abcde");
}
END_TEST

START_TEST(own_send_fails)
{
    struct asyncore_dispatcher *d = new_own();

    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    sent.result = -EIO;
    ck_assert_int_eq(chat_push_text(d, "abc"), 0);
    ck_assert_trace("error(EIO)");
    sent.result = 0;
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_received(peers[0], "abc");
}
END_TEST

static int nested_result;

/* What its send may do meanwhile; with how it ends. */
static const struct {
    int (*hook)(struct chat *self);
    const char *received;
} send_hooks[] = {
    {chat_closes, ""},       {chat_discards, "abcd"},  {initiates, "abcdef"},
    {runs_a_pass, "abcdef"}, {pushes_more, "abcdef!"},
};

struct busy {
    struct own base;
};

static int busy_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    if (sent.count == 0)
        nested_result = send_hooks[sent.result].hook(chat_of(d));
    sent.lengths[sent.count++] = len;
    return asyncore_dispatcher_send(d, data, len);
}

ASYNCORE_CLASS(busy, own, .send = busy_send);

START_TEST(what_own_send_does)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    chats[0] = chat_make_of(&busy_class, NULL, pair[0]);
    sent.result = _i;
    ck_assert_int_eq(chat_push_text(chat_d(0), "abcdef"), 0);
    ck_assert_int_eq(nested_result, 0);
    ck_assert_int_eq(run_passes(the_map, false, 5), 0);
    ck_assert_received(peers[0], send_hooks[_i].received);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    memset(&released, 0, sizeof released);
    memset(&sent, 0, sizeof sent);
}

static void add_push(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("push"));

    tcase_add_test(tc, sent_at_once);
    tcase_add_test(tc, data_is_copied);
    tcase_add_test(tc, push_of_nothing);
    tcase_add_test(tc, push_without_a_socket);
    tcase_add_loop_test(tc, push_around_the_connection, 0, 4);

    tc = add_chat_case(s, tcase_create("push_reference"));
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, a_reference_is_released_once, 0, WAYS);
    tcase_add_loop_test(tc, a_reference_is_not_copied, 0, 4);
    tcase_add_test(tc, a_reference_without_release);
    tcase_add_test(tc, a_reference_to_nothing);
    tcase_add_loop_test(tc, what_release_does, 0, sizeof release_hooks / sizeof *release_hooks);
}

static void add_sockets(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("sockets"));

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, short_sends, 0, 2);
    tcase_add_loop_test(tc, a_full_socket, 0, 2);
    tcase_add_test(tc, send_fails);
    tcase_add_loop_test(tc, send_fails_in_push, 0, 3);
    tcase_add_loop_test(tc, send_fails_after_a_handler, 0, 3);
    tcase_add_test(tc, handle_error_fails);
    tcase_add_test(tc, handle_close_fails);
    tcase_add_test(tc, handle_error_fails_after_a_handler);

    tc = add_chat_case(s, tcase_create("own_send"));
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, own_send_gets_pieces, 0, 2);
    tcase_add_loop_test(tc, own_send_is_called_in_handlers, 0, 2);
    tcase_add_test(tc, own_send_takes_less);
    tcase_add_test(tc, own_send_fails);
    tcase_add_loop_test(tc, what_own_send_does, 0, sizeof send_hooks / sizeof *send_hooks);
}

int main(void)
{
    Suite *s = suite_create("chat_output");

    add_push(s);
    add_sockets(s);
    return test_main(s);
}
