/*
 * async_chat's output where its parts meet: methods, producers and release callbacks that use
 * channels in the middle of a send, and the end of a map. For input see check_chat_odd_input.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* --- classes --------------------------------------------------------------------------------- */

/* Says when it is destroyed. */
struct mortal {
    struct chat base;
};

static void mortal_finalize(struct asyncore_dispatcher *d)
{
    probe_note("%s.finalize", chat_of(d)->name);
}

ASYNCORE_CLASS(mortal, chat, .finalize = mortal_finalize);

/* Does what a test says before it sends. */
struct sender {
    struct chat base;
};

static int (*before_send)(struct asyncore_dispatcher *d); /* once */
static int sends;

static int sender_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    int (*hook)(struct asyncore_dispatcher *) = before_send;

    sends++;
    before_send = NULL;
    if (hook)
        ck_assert_int_eq(hook(d), 0);
    return asyncore_dispatcher_send(d, data, len);
}

static int sender_handle_write(struct asyncore_dispatcher *d)
{
    probe_note("write");
    return asynchat_async_chat_handle_write(d);
}

ASYNCORE_CLASS(sender, chat, .send = sender_send, .handle_write = sender_handle_write,
               .ac_out_buffer_size = 1);

/* chats[0], of the class, with a scripted socket and the terminator. */
static struct asyncore_dispatcher *scripted_of(const struct asyncore_class *cls,
                                               const char *terminator)
{
    chats[0] = chat_make_of(cls, NULL, -1);
    chat_give_scripted(chat_d(0), SCRIPTED_SENDV, &chat_calls[0], &peers[0]);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), terminator, strlen(terminator)), 0);
    return chat_d(0);
}

static struct asynchat_producer *producer(asynchat_more more, void (*release)(void *arg))
{
    return asynchat_callback_producer_new(more, release, NULL);
}

static int makes_nothing(struct evbuffer *out, void *arg)
{
    (void)out;
    (void)arg;
    return 0;
}

/* --- the end of a map ------------------------------------------------------------------------- */

static int pushes_to_a(void)
{
    return chat_push_text(chat_d(0), "x");
}

static int closes_a(void)
{
    int r = asyncore_close(chat_d(0));

    return r < 0 ? r : asyncore_close(chat_d(0));
}

static int closes_b(void)
{
    return asyncore_close(chat_d(1));
}

static int touches_a(void)
{
    asyncore_touch(chat_d(0));
    return asyncore_fileno(chat_d(0)) >= 0;
}

static int (*const uses[])(void) = {pushes_to_a, closes_a, closes_b, touches_a};

static void release_and_use(const void *data, size_t len, void *arg)
{
    int (*const *use)(void) = arg;

    (void)data;
    (void)len;
    ck_assert_int_eq((*use)(), 0);
    probe_note("released");
}

/* b's output goes out when the map is freed; who is told of that uses a, or b. */
START_TEST(channels_die_after_all_are_closed)
{
    int (*use)(void) = uses[_i];

    for (int i = 0; i < 2; i++) {
        chats[i] = chat_make_of(&mortal_class, i ? "b" : "a", -1);
        chat_give_scripted(chat_d(i), SCRIPTED_SENDV, &chat_calls[i], &peers[i]);
    }
    chat_block(chat_d(1));
    ck_assert_int_eq(asynchat_push_reference(chat_d(1), "abc", 3, release_and_use, &use), 0);
    chat_unblock(chat_d(1));
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_received(peers[1], "abc");
    ck_assert_int_eq(probe_count("released"), 1);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_int_eq(probe_count("b.finalize"), 1);
    ck_assert_ptr_eq(strstr(probe_trace(), "released"), probe_trace());
}
END_TEST

/* Only a memory checker sees what a map allocates that is through. */
static int frees_map_and_pushes(struct chat *self)
{
    struct asyncore_dispatcher *d = asyncore_ref(chat_dispatcher(self));

    asyncore_map_free(the_map);
    the_map = NULL;
    asyncore_set_connected(d, true);
    (void)chat_push_text(d, "abc");
    asyncore_set_connected(d, false);
    return 0;
}

START_TEST(pushed_when_the_map_is_freed)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = frees_map_and_pushes;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\nabc\n"), 0);
    ck_assert_int_eq(chat_calls[0].free, 1);
    ck_assert_received(peers[0], "");
    ck_assert_trace("found");
    asyncore_unref(chat_d(0));
}
END_TEST

/* --- release callbacks ------------------------------------------------------------------------ */

static struct {
    int depth, deepest, count;
} releases;

static void release_and_push(const void *data, size_t len, void *arg)
{
    releases.depth++;
    releases.count++;
    if (releases.depth > releases.deepest)
        releases.deepest = releases.depth;
    if (releases.count < 20)
        ck_assert_int_eq(asynchat_push_reference(chat_d(0), data, len, release_and_push, arg), 0);
    releases.depth--;
}

START_TEST(a_release_that_pushes_is_not_called_in_itself)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_push_reference(chat_d(0), "y", 1, release_and_push, NULL), 0);
    ck_assert_int_eq(run_passes(the_map, false, 20), 0);
    ck_assert_int_eq(releases.count, 20);
    ck_assert_int_eq(releases.deepest, 1);
    ck_assert_received(peers[0], "yyyyyyyyyyyyyyyyyyyy");
}
END_TEST

static void release_pushes(void *arg)
{
    (void)arg;
    ck_assert_int_eq(chat_push_text(chat_d(0), "x"), 0);
}

/* The producer ends, its release pushes, and the send of that discards the queue. */
START_TEST(discarded_when_a_producer_ends)
{
    struct asyncore_dispatcher *d = scripted_of(&sender_class, "\n");

    before_send = asynchat_discard_buffers;
    ck_assert_int_eq(asynchat_push_with_producer(d, producer(makes_nothing, release_pushes)), 0);
    ck_assert_int_eq(sends, 1);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_int_eq(chat_push_text(d, "y"), 0);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_received(peers[0], "xy");
}
END_TEST

/* --- producers ------------------------------------------------------------------------------- */

static int makes_later(struct evbuffer *out, void *arg)
{
    (void)out;
    (void)arg;
    return -EAGAIN;
}

/* It would be asked again at once, and for ever. */
START_TEST(eagain_of_a_producer_is_an_error)
{
    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(asynchat_push_with_producer(chat_d(0), producer(makes_later, NULL)), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_trace("error(EINVAL)");
}
END_TEST

static int sets_socket(struct evbuffer *out, void *arg)
{
    (void)arg;
    if (peers[1] < 0) {
        ck_assert_int_eq(evbuffer_add(out, "x", 1), 0);
        chat_give_scripted(chat_d(0), SCRIPTED_SENDV, &chat_calls[1], &peers[1]);
    }
    return 0;
}

static int pushes_and_closes(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);

    ck_assert_int_eq(chat_push_text(d, "front;"), 0);
    ck_assert_int_eq(asynchat_push_with_producer(d, producer(sets_socket, NULL)), 0);
    return asyncore_close(d);
}

/* Both are closed, once, and the channel is not connected. */
START_TEST(another_socket_while_close_sends)
{
    struct asyncore_dispatcher *d;

    make_scripted_chats(1);
    d = chat_d(0);
    chats[0]->hook[CHAT_FOUND] = pushes_and_closes;
    asyncore_ref(d);
    ck_assert_int_eq(chat_feed_text(d, "\n"), 0);
    ck_assert_ptr_null(asyncore_socket(d));
    ck_assert(!d->connected);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(chat_calls[i].close, 1);
        ck_assert_int_eq(chat_calls[i].free, 1);
    }
    asyncore_unref(d);
}
END_TEST

/* --- gathered output ------------------------------------------------------------------------- */

/* The first is observed; when one of the others is closed, it tells the first, and the next. */
static struct chat *users[CHANNELS];

static int leaves(struct chat *self)
{
    int r = asyncore_close(chat_dispatcher(self));

    ck_assert_int_eq(chat_push_text(chat_dispatcher(users[0]), "left\n"), 0);
    for (int i = 1; i < CHANNELS - 1; i++) {
        if (self != users[i])
            continue;
        test_close(&peers[i + 1]);
        ck_assert_int_eq(chat_push_text(chat_dispatcher(users[i + 1]), "left\n"), 0);
    }
    return r;
}

/* It is sent, or watched for, without any other event. */
START_TEST(what_is_pushed_while_a_pass_flushes)
{
    for (int i = 0; i < CHANNELS; i++) {
        users[i] = chat_connected("u", AF_UNIX, &peers[i]);
        users[i]->hook[CHAT_CLOSE] = leaves;
    }
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    test_close(&peers[1]);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_received(peers[0], "left\nleft\nleft\n");
    ck_assert_uint_eq(asyncore_map_length(the_map), 1);
}
END_TEST

static int pushes_behind_the_end(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);

    ck_assert_int_eq(chat_push_text(d, "before"), 0);
    ck_assert_int_eq(asynchat_close_when_done(d), 0);
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_int_eq(chat_push_text(d, "behind"), 0);
    return asynchat_initiate_send(d);
}

/* It is for the next socket. */
START_TEST(what_is_gathered_behind_the_end)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_behind_the_end;
    asyncore_ref(chat_d(0));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("found close");
    ck_assert_received(peers[0], "before");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 6);
    asyncore_unref(chat_d(0));
}
END_TEST

/* In three calls of found_terminator of one handler. */
static int disconnects_and_pushes(struct chat *self)
{
    const int call = self->calls[CHAT_FOUND];

    if (call == 3)
        return -EIO;
    ck_assert_int_eq(chat_push_text(chat_dispatcher(self), "a"), 0);
    if (call == 1)
        asyncore_set_connected(chat_dispatcher(self), false);
    return 0;
}

START_TEST(pushed_when_no_longer_connected)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = disconnects_and_pushes;
    asyncore_ref(chat_d(0));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n\n\n"), 0);
    ck_assert_trace("found found found error(EIO)");
    ck_assert_received(peers[0], "");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 2);
    asyncore_unref(chat_d(0));
}
END_TEST

static int pushes_to_the_chat(struct probe *self)
{
    (void)self;
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    return asyncore_close(chat_d(0));
}

START_TEST(closed_without_a_socket)
{
    struct probe *probe = probe_connected("p", AF_UNIX, the_map, &peers[0]);

    chats[0] = chat_make(NULL, -1);
    asyncore_ref(chat_d(0));
    asyncore_set_connected(chat_d(0), true);
    probe->hook[PROBE_READ] = pushes_to_the_chat;
    ck_assert_int_eq(asyncore_read(&probe->base), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 1);
    asyncore_unref(chat_d(0));
}
END_TEST

/* --- sends ----------------------------------------------------------------------------------- */

static int runs_a_pass(struct asyncore_dispatcher *d)
{
    return run_passes(d->map, false, 1);
}

/* Something is queued, so it is writable: also in the pass that its send runs. */
START_TEST(writable_in_a_pass_in_a_send)
{
    struct asyncore_dispatcher *d = scripted_of(&sender_class, "\n");

    ck_assert_int_eq(run_passes(the_map, false, 2), 0);
    ck_assert_trace("");
    before_send = runs_a_pass;
    if (_i)
        ck_assert_int_eq(chat_push_text(d, "a"), 0);
    else
        ck_assert_int_eq(asynchat_push_with_producer(d, asynchat_simple_producer_new("a", 1, 0)),
                         0);
    ck_assert_trace("write");
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_received(peers[0], "a");
}
END_TEST

static int returns_enomem(struct chat *self)
{
    (void)self;
    return -ENOMEM;
}

/* That is no lack of memory of push itself. */
START_TEST(enomem_of_handle_error)
{
    chats[0] = chat_make(NULL, -1);
    chats[0]->hook[CHAT_ERROR] = returns_enomem;
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), -ENOMEM);
    ck_assert_int_eq(
        asynchat_push_with_producer(chat_d(0), asynchat_simple_producer_new("a", 1, 1)), -ENOMEM);
    ck_assert_trace("error(EBADF) error(EBADF)");
}
END_TEST

/* --- odd values ------------------------------------------------------------------------------ */

START_TEST(simple_producer_of_too_much)
{
    static const size_t less[] = {0, 1, 8};
    const volatile size_t len = SIZE_MAX - less[_i]; /* a compiler would know better */

    errno = 0;
    ck_assert_ptr_null(asynchat_simple_producer_new("abc", len, 0));
    ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

START_TEST(null_and_no_bytes)
{
    struct asyncore_dispatcher *d = scripted_of(&sender_class, "\n");

    ck_assert_uint_eq(asynchat_find_prefix_at_end("ab", 2, NULL, 0), 0);
    ck_assert_uint_eq(asynchat_find_prefix_at_end(NULL, 0, "ab", 2), 0);
    ck_assert_int_eq(asynchat_push(d, NULL, 0), 0);
    ck_assert_int_eq(sends, 1); /* an empty piece, as in Python */
    ck_assert_int_eq(asynchat_push_reference(d, NULL, 0, NULL, NULL), 0);
    ck_assert_int_eq(sends, 2);
    ck_assert_received(peers[0], "");
}
END_TEST

/* --- outside of handlers, where nobody else keeps the channel ----------------------------------
 */

static int frees_the_map(struct chat *self)
{
    struct asyncore_map *map = the_map;

    probe_note("%s.free", self->name);
    the_map = NULL;
    asyncore_map_free(map);
    return 0;
}

static struct asyncore_dispatcher *mortal_whose_peer_has_gone(void)
{
    int pair[2];

    test_pair(AF_UNIX, pair);
    test_close(&pair[1]);
    chats[0] = chat_make_of(&mortal_class, "a", pair[0]);
    return chat_d(0);
}

START_TEST(handle_close_of_a_push_frees_the_map)
{
    struct asyncore_dispatcher *d = mortal_whose_peer_has_gone();

    if (_i == 1)
        ck_assert_int_eq(asyncore_map_attach(the_map, NULL, NULL), 0);
    chats[0]->hook[CHAT_CLOSE] = frees_the_map;
    ck_assert_int_eq(chat_push_text(d, "text"), 0);
    ck_assert_trace("a.close a.free a.finalize");
}
END_TEST

START_TEST(closed_by_a_push_that_is_above_the_mark)
{
    struct asyncore_dispatcher *d = mortal_whose_peer_has_gone();

    ck_assert_int_eq(asynchat_set_high_water(d, 1, false), 0);
    ck_assert_int_eq(chat_push_text(d, "text"), 0);
    ck_assert_trace("a.close");
}
END_TEST

static void release_frees_the_map(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    frees_the_map(arg);
}

START_TEST(release_of_a_detached_channel_frees_the_map)
{
    struct asyncore_dispatcher *d;
    int fd;

    chats[0] = chat_make_of(&mortal_class, "a", -1);
    d = chat_d(0);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asynchat_push_reference(d, "text", 4, release_frees_the_map, chats[0]), 0);
    fd = asyncore_detach(d);
    ck_assert_int_ge(fd, 0);
    ck_assert_trace("a.free a.finalize");
    test_close(&fd);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    memset(&releases, 0, sizeof releases);
    before_send = NULL;
    sends = 0;
}

static TCase *add(Suite *s, TCase *tc)
{
    tcase_add_checked_fixture(add_chat_case(s, tc), setup, NULL);
    return tc;
}

static void add_output(Suite *s)
{
    TCase *tc = add(s, tcase_create("release"));

    tcase_add_test(tc, a_release_that_pushes_is_not_called_in_itself);
    tcase_add_test(tc, discarded_when_a_producer_ends);
    tcase_add_loop_test(tc, channels_die_after_all_are_closed, 0, sizeof uses / sizeof *uses);
    tcase_add_test(tc, pushed_when_the_map_is_freed);

    tc = add(s, tcase_create("output"));
    tcase_add_loop_test(tc, eagain_of_a_producer_is_an_error, 0, 2);
    tcase_add_test(tc, another_socket_while_close_sends);
    tcase_add_loop_test(tc, what_is_pushed_while_a_pass_flushes, 0, 2);
    tcase_add_test(tc, what_is_gathered_behind_the_end);
    tcase_add_test(tc, pushed_when_no_longer_connected);
    tcase_add_test(tc, closed_without_a_socket);
    tcase_add_loop_test(tc, writable_in_a_pass_in_a_send, 0, 2);
    tcase_add_test(tc, enomem_of_handle_error);

    tc = add(s, tcase_create("outside"));
    tcase_add_loop_test(tc, handle_close_of_a_push_frees_the_map, 0, 2);
    tcase_add_test(tc, closed_by_a_push_that_is_above_the_mark);
    tcase_add_test(tc, release_of_a_detached_channel_frees_the_map);

    tc = add(s, tcase_create("values"));
    tcase_add_loop_test(tc, simple_producer_of_too_much, 0, 3);
    tcase_add_test(tc, null_and_no_bytes);
}

int main(void)
{
    Suite *s = suite_create("chat_reentry");

    add_output(s);
    return test_main(s);
}
