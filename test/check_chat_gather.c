/*
 * async_chat's output in handlers: it is gathered, and sent when the handler ends, or before the
 * socket is used otherwise.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* --- the system calls of plain sockets: the linker leads them here --------------------------- */

static int sends;      /* calls of send and sendmsg */
static int flags_sent; /* of the last send */

ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
    sends++;
    flags_sent = flags;
    return __real_send(fd, buf, len, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends++;
    return __real_sendmsg(fd, message, flags);
}

/* --- what a handler pushes ------------------------------------------------------------------- */

/* To both, in pieces that do not lie together. */
static int pushes_to_all(struct chat *self)
{
    (void)self;
    for (int i = 0; i < 2; i++) {
        const int before = chat_calls[i].send;

        ck_assert_int_eq(chat_push_text(chat_d(i), "ab"), 0);
        ck_assert_int_eq(asynchat_push_reference(chat_d(i), "cd", 2, NULL, NULL), 0);
        ck_assert_int_eq(chat_push_text(chat_d(i), "ef"), 0);
        ck_assert_int_eq(chat_calls[i].send, before);
    }
    return 0;
}

static int probe_pushes_to_all(struct probe *self)
{
    (void)self;
    return pushes_to_all(NULL);
}

START_TEST(one_send_a_handler)
{
    make_scripted_chats(2);
    chats[0]->hook[CHAT_FOUND] = pushes_to_all;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(chat_calls[i].send, 1);
        ck_assert_received(peers[i], "abcdef");
    }
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n\n\n"), 0); /* three calls, still one handler */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(chat_calls[i].send, 2);
        ck_assert_received(peers[i], "abcdefabcdefabcdef");
    }
}
END_TEST

/* The handlers of others, however they are called. */
static int readwrite(struct asyncore_dispatcher *d)
{
    return asyncore_readwrite(d, POLLIN);
}

static int readwrite_hang_up(struct asyncore_dispatcher *d)
{
    return asyncore_readwrite(d, POLLHUP);
}

static const struct {
    enum probe_call hook;
    int (*call)(struct asyncore_dispatcher *d);
} handlers[] = {
    {PROBE_READ, asyncore_read}, {PROBE_WRITE, asyncore_write},    {PROBE_EXPT, asyncore_exception},
    {PROBE_READ, readwrite},     {PROBE_CLOSE, readwrite_hang_up},
};

START_TEST(one_send_a_handler_of_others)
{
    struct probe *probe;

    make_scripted_chats(2);
    probe = probe_connected("p", AF_UNIX, the_map, &peers[2]);
    probe->hook[handlers[_i].hook] = probe_pushes_to_all;
    ck_assert_int_eq(handlers[_i].call(&probe->base), 0);
    ck_assert_int_eq(probe->calls[handlers[_i].hook], 1);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(chat_calls[i].send, 1);
        ck_assert_received(peers[i], "abcdef");
    }
}
END_TEST

static int probe_fails(struct probe *self)
{
    (void)self;
    return -EPROTO;
}

/* handle_error belongs to the handler. */
START_TEST(one_send_with_handle_error)
{
    struct probe *probe;

    make_scripted_chats(2);
    probe = probe_connected("p", AF_UNIX, the_map, &peers[2]);
    probe->hook[PROBE_READ] = probe_fails;
    probe->hook[PROBE_ERROR] = probe_pushes_to_all;
    ck_assert_int_eq(asyncore_read(&probe->base), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(chat_calls[i].send, 1);
}
END_TEST

static int pushes_nothing(struct chat *self)
{
    int r = chat_push_text(chat_dispatcher(self), "ab");

    r = r < 0 ? r : asynchat_push(chat_dispatcher(self), NULL, 0);
    return r < 0 ? r : asynchat_push_reference(chat_dispatcher(self), NULL, 0, NULL, NULL);
}

START_TEST(nothing_is_added)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_nothing;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(chat_calls[0].send, 1);
    ck_assert_received(peers[0], "ab");
}
END_TEST

static int pushes_twice(struct chat *self)
{
    int r = chat_push_text(chat_dispatcher(self), "ab");

    return r < 0 ? r : asynchat_push_reference(chat_dispatcher(self), "cd", 2, NULL, NULL);
}

/* On a socket: one system call, in both ways. */
START_TEST(one_system_call)
{
    make_connected_chats(2, AF_UNIX);
    for (int i = 0; i < 2; i++) {
        chats[i]->hook[CHAT_FOUND] = pushes_twice;
        test_write_all(peers[i], "\n\n", 2);
    }
    sends = 0;
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_int_eq(sends, 2);
    for (int i = 0; i < 2; i++)
        ck_assert_received(peers[i], "abcdabcd");
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_int_eq(sends, 2);
}
END_TEST

START_TEST(one_system_call_a_push_outside)
{
    make_connected_chats(1, AF_UNIX);
    sends = 0;
    ck_assert_int_eq(chat_push_text(chat_d(0), "ab"), 0);
    ck_assert_int_eq(sends, 1);
    ck_assert_int_eq(chat_push_text(chat_d(0), "cd"), 0);
    ck_assert_int_eq(sends, 2);
    ck_assert_received(peers[0], "abcd");
}
END_TEST

static int greets(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);

    if (sock < 0)
        return sock;
    chats[0] = chat_make(NULL, sock);
    sends = 0;
    return pushes_twice(chats[0]);
}

START_TEST(one_system_call_for_a_greeting)
{
    struct test_addr addr;
    struct probe *listener = probe_make("l", test_listener(AF_INET, &addr), the_map);
    char got[5] = "";

    listener->hook[PROBE_ACCEPT] = greets;
    peers[0] = test_connect(&addr);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(sends, 1);
    test_read_all(peers[0], got, 4);
    ck_assert_str_eq(got, "abcd");
}
END_TEST

static struct asyncore_map *other_map;

/* A map knows of its own handlers. */
static int pushes_to_another_map(struct chat *self)
{
    (void)self;
    for (int i = 1; i <= 2; i++) {
        ck_assert_int_eq(chat_push_text(chat_d(1), "x"), 0);
        ck_assert_int_eq(chat_calls[1].send, i);
    }
    return 0;
}

START_TEST(another_maps_are_sent_at_once)
{
    make_scripted_chats(2);
    other_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(other_map);
    ck_assert_int_eq(asyncore_add_channel(chat_d(1), other_map), 0);
    chats[0]->hook[CHAT_FOUND] = pushes_to_another_map;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(chat_calls[1].send, 2);
    asyncore_map_free(other_map);
}
END_TEST

/* --- what is gathered is sent before ---------------------------------------------------------- */

/* What uses the socket: after it, or at the other end, is what was pushed. */
static int and_send(struct asyncore_dispatcher *d)
{
    return asyncore_send(d, "!", 1);
}

static int and_send_flags(struct asyncore_dispatcher *d)
{
    return asyncore_send_flags(d, "!", 1, 0);
}

static int and_shutdown(struct asyncore_dispatcher *d)
{
    return asyncore_shutdown(d, SHUT_WR);
}

static int and_detach(struct asyncore_dispatcher *d)
{
    return close(asyncore_detach(d));
}

static int and_set_socket(struct asyncore_dispatcher *d)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[3] = pair[1];
    return asyncore_set_socket(d, pair[0], NULL);
}

static int and_create_socket(struct asyncore_dispatcher *d)
{
    return asyncore_create_socket(d, AF_INET, SOCK_STREAM);
}

static int and_initiate_send(struct asyncore_dispatcher *d)
{
    int r = asynchat_initiate_send(d);

    ck_assert_int_eq(sends, 1);
    return r;
}

static int notes_what_came(struct probe *self)
{
    char got[16];
    ssize_t n = recv(peers[0], got, sizeof got, MSG_PEEK | MSG_DONTWAIT);

    probe_note("%d", (int)n);
    self->hook[PROBE_READ] = NULL;
    return 0;
}

/* It is there when the first handler of the pass is called. */
static int and_nested_pass(struct asyncore_dispatcher *d)
{
    struct probe *probe = probe_connected("p", AF_UNIX, d->map, &peers[3]);
    int r;

    probe->hook[PROBE_READ] = notes_what_came;
    test_write_all(peers[3], "x", 1);
    r = run_passes(d->map, false, 1);
    ck_assert_ptr_nonnull(strstr(probe_trace(), "p.read 2"));
    return r;
}

static const struct {
    int (*action)(struct asyncore_dispatcher *d);
    const char *received;
} actions[] = {
    {and_send, "ab!"},         {and_send_flags, "ab!"},   {and_shutdown, "ab"},
    {asyncore_close, "ab"},    {and_detach, "ab"},        {and_set_socket, "ab"},
    {and_create_socket, "ab"}, {and_initiate_send, "ab"}, {and_nested_pass, "ab"},
};

static int whose; /* output it is, and what happens to it */
static int action;

static int pushes_and_acts(struct chat *self)
{
    int r = chat_push_text(chat_d(whose), "ab");

    (void)self;
    return r < 0 ? r : actions[action].action(chat_d(whose));
}

/* By the channel itself, or another one of the map. */
START_TEST(sent_before)
{
    whose = _i % 2;
    action = _i / 2;
    make_connected_chats(2, AF_UNIX);
    chats[0]->hook[CHAT_FOUND] = pushes_and_acts;
    if (whose == 1) { /* peers[0] is always the other end of who pushes */
        int peer = peers[0];

        peers[0] = peers[1];
        peers[1] = peer;
    }
    sends = 0;
    test_write_all(peers[whose], "\n", 1);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_received(peers[0], actions[action].received);
    ck_assert_ptr_null(strstr(probe_trace(), "error"));
}
END_TEST

static int pushes_and_fails(struct chat *self)
{
    int r = chat_push_text(chat_dispatcher(self), "bye");

    return r < 0 ? r : *(const int *)self->arg;
}

START_TEST(sent_after_a_failure)
{
    static int results[] = {-EPROTO, ASYNCORE_EXIT_NOW};

    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_and_fails;
    chats[0]->arg = &results[_i];
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), _i ? ASYNCORE_EXIT_NOW : 0);
    ck_assert_received(peers[0], "bye");
    ck_assert_int_eq(chats[0]->calls[CHAT_ERROR], !_i);
}
END_TEST

static int released;

static void release(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)arg;
    released++;
}

static int pushes_and_discards(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);

    ck_assert_int_eq(chat_push_text(d, "no"), 0);
    if (*(const int *)self->arg)
        ck_assert_int_eq(asynchat_push_reference(d, "no", 2, release, NULL), 0);
    return asynchat_discard_buffers(d);
}

START_TEST(not_sent_when_discarded)
{
    static int with_reference;

    with_reference = _i;
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_and_discards;
    chats[0]->arg = &with_reference;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(released, with_reference);
    ck_assert_received(peers[0], "");
}
END_TEST

/* Who goes elsewhere before the handler ends: into another map, out of its map, away with it. */
static int pushes_and_moves(struct chat *self)
{
    (void)self;
    ck_assert_int_eq(asynchat_push_reference(chat_d(1), "ab", 2, release, NULL), 0);
    return asyncore_add_channel(chat_d(1), other_map);
}

static int pushes_and_leaves(struct chat *self)
{
    (void)self;
    ck_assert_int_eq(asynchat_push_reference(chat_d(1), "ab", 2, release, NULL), 0);
    asyncore_del_channel(chat_d(1));
    return 0;
}

static int pushes_and_frees_map(struct chat *self)
{
    (void)self;
    ck_assert_int_eq(asynchat_push_reference(chat_d(1), "ab", 2, release, NULL), 0);
    asyncore_map_free(the_map);
    the_map = NULL;
    return 0;
}

START_TEST(pushed_and_gone)
{
    static int (*const hooks[])(struct chat *) = {pushes_and_moves, pushes_and_leaves,
                                                  pushes_and_frees_map};

    make_connected_chats(2, AF_UNIX);
    other_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(other_map);
    chats[0]->hook[CHAT_FOUND] = hooks[_i / 2];
    test_write_all(peers[0], "\n", 1);
    ck_assert_int_eq(run_passes(the_map, _i % 2, 1), 0);
    ck_assert_int_eq(run_passes(other_map, _i % 2, 1),
                     0); /* which may have got something to send */
    ck_assert_int_eq(released, 1);
    ck_assert_received(peers[1], "ab");
    asyncore_map_free(other_map);
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

static char content[100000];

/* With a file behind it, if arg says so. */
static int pushes_a_head(struct chat *self)
{
    int r = chat_push_text(chat_dispatcher(self), "head");
    int fd;

    if (r < 0 || !*(const bool *)self->arg)
        return r;
    fd = open(test_file("file", content, sizeof content), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return asynchat_push_with_producer(chat_dispatcher(self),
                                       asynchat_file_producer_new(fd, 0, -1));
}

/* What is in front of a large file is no segment of its own. */
START_TEST(a_head_waits_for_its_file)
{
    static char got[sizeof content];
    bool with_file = _i;

    make_connected_chats(1, AF_INET);
    memset(content, 'x', sizeof content);
    chats[0]->hook[CHAT_FOUND] = pushes_a_head;
    chats[0]->arg = &with_file;
    test_write_all(peers[0], "\n", 1);
    sends = 0;
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, false, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(sends, 1);
    ck_assert_int_eq(flags_sent & MSG_MORE, with_file ? MSG_MORE : 0);
    test_read_all(peers[0], got, 4);
    ck_assert_mem_eq(got, "head", 4);
}
END_TEST

/* --- when sending fails ----------------------------------------------------------------------- */

static int exits(struct chat *self)
{
    (void)self;
    return ASYNCORE_EXIT_NOW;
}

static int pushes_to_both(struct chat *self)
{
    (void)self;
    ck_assert_int_eq(chat_push_text(chat_d(0), "x"), 0);
    ck_assert_int_eq(chat_push_text(chat_d(1), "y"), 0);
    return 0;
}

/* What one channel's error makes of the loop does not keep back the others' output. */
START_TEST(others_are_sent_all_the_same)
{
    static int (*const hooks[])(struct chat *) = {chat_stays_open, chat_fails, exits};
    static const int results[] = {0, -EPROTO, ASYNCORE_EXIT_NOW};

    make_scripted_chats(2);
    chats[0]->hook[CHAT_FOUND] = pushes_to_both;
    chats[0]->hook[CHAT_ERROR] = hooks[_i];
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), results[_i]);
    ck_assert_received(peers[1], "y");
    ck_assert_int_eq(chat_push_text(chat_d(1), "z"), 0);
    ck_assert_received(peers[1], "z");
    ck_assert_int_eq(chat_push_text(chat_d(0), "z"), 0);
    ck_assert_received(peers[0], "xz");
}
END_TEST

static int pushes_to_b(struct chat *self)
{
    (void)self;
    return chat_push_text(chat_d(1), "sorry");
}

/* What is pushed by a handler that the sending calls goes out as well. */
START_TEST(pushed_when_sending_fails)
{
    make_scripted_chats(2);
    chats[0]->hook[CHAT_FOUND] = pushes_to_both;
    chats[0]->hook[CHAT_ERROR] = pushes_to_b;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_received(peers[1], "ysorry");
}
END_TEST

/* --- a map that is attached in a handler --------------------------------------------------------
 */

static void note_done(struct asyncore_map *map, int result, void *arg)
{
    (void)map;
    ck_assert_int_eq(result, ASYNCORE_LOOP_COUNT);
    *(bool *)arg = true;
}

static void run_base_until(const bool *done)
{
    while (!*done)
        ck_assert_int_eq(event_base_loop(asyncore_map_base(the_map), EVLOOP_ONCE), 0);
}

static bool is_done;
static bool runs_base;

static int attaches_and_pushes(struct chat *self)
{
    (void)self;
    ck_assert_int_eq(asyncore_map_attach_loop(0, false, the_map, 1, note_done, &is_done), 0);
    if (runs_base)
        run_base_until(&is_done);
    return pushes_to_all(NULL);
}

/* By a handler that was called outside of a pass, which goes on, behind a pass in it too. */
START_TEST(gathers_behind_attach)
{
    make_scripted_chats(2);
    chats[0]->hook[CHAT_FOUND] = attaches_and_pushes;
    runs_base = _i;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(chat_calls[i].send, 1);
        ck_assert_received(peers[i], "abcdef");
    }
    run_base_until(&is_done);
    ck_assert_int_eq(chat_push_text(chat_d(0), "x"), 0);
    ck_assert_int_eq(chat_calls[0].send, 2);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    released = 0;
    is_done = false;
}

int main(void)
{
    Suite *s = suite_create("chat_gather");
    TCase *tc = add_chat_case(s, tcase_create("gathering"));

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, one_send_a_handler);
    tcase_add_loop_test(tc, one_send_a_handler_of_others, 0, sizeof handlers / sizeof *handlers);
    tcase_add_test(tc, one_send_with_handle_error);
    tcase_add_test(tc, nothing_is_added);
    tcase_add_loop_test(tc, one_system_call, 0, 2);
    tcase_add_test(tc, one_system_call_a_push_outside);
    tcase_add_loop_test(tc, one_system_call_for_a_greeting, 0, 2);
    tcase_add_test(tc, another_maps_are_sent_at_once);
    tcase_add_loop_test(tc, sent_before, 0, 2 * sizeof actions / sizeof *actions);
    tcase_add_loop_test(tc, sent_after_a_failure, 0, 2);
    tcase_add_loop_test(tc, not_sent_when_discarded, 0, 2);
    tcase_add_loop_test(tc, pushed_and_gone, 0, 6);
    tcase_add_loop_test(tc, a_head_waits_for_its_file, 0, 2);
    tcase_add_loop_test(tc, others_are_sent_all_the_same, 0, 3);
    tcase_add_loop_test(tc, pushed_when_sending_fails, 0, 2);
    tcase_add_loop_test(tc, gathers_behind_attach, 0, 2);
    return test_main(s);
}
