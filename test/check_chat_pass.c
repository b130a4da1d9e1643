/*
 * async_chat's output and passes: what is pushed while others are sent for, in the callbacks of a
 * host's events, and while a nested pass waits.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <string.h>

static bool use_poll;

/* Two chats that the map has asked what they wait for, and asks again only when that changes. */
static void make_settled_chats(void)
{
    make_scripted_chats(2);
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
    probe_clear();
}

static int pushes_to_b(struct chat *self)
{
    (void)self;
    return chat_push_text(chat_d(1), "sorry");
}

/* There is nothing to write to self any more, so this is no pass's event either. */
static int gives_up(struct chat *self)
{
    int r = chat_discards(self);

    return r < 0 ? r : pushes_to_b(self);
}

/* --- pushed in a flush ------------------------------------------------------------------------ */

static int pushes(struct chat *self)
{
    return chat_push_text(chat_dispatcher(self), "x");
}

/* Whose turn in the flush is over, or never was, is written to all the same. */
START_TEST(pushed_at_the_end_of_a_flush)
{
    use_poll = _i;
    make_settled_chats();
    chats[0]->hook[CHAT_FOUND] = pushes;
    chats[0]->hook[CHAT_ERROR] = gives_up;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("a.found a.error(EIO)");
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_received(peers[1], "sorry");
}
END_TEST

static int pushes_and_runs_a_pass(struct chat *self)
{
    int r = chat_push_text(chat_dispatcher(self), "x");

    if (r == 0)
        r = run_passes(the_map, use_poll, 1);
    ck_assert_trace("a.found a.error(EIO)");
    ck_assert_received(peers[1], "sorry");
    return r;
}

START_TEST(pushed_in_the_flush_of_a_nested_pass)
{
    use_poll = _i;
    make_settled_chats();
    chats[0]->hook[CHAT_FOUND] = pushes_and_runs_a_pass;
    chats[0]->hook[CHAT_ERROR] = gives_up;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_ERROR], 1);
}
END_TEST

static int notes_what_b_sent(struct probe *self)
{
    char got[16];
    ssize_t n = recv(peers[1], got, sizeof got, MSG_PEEK | MSG_DONTWAIT);

    probe_note("%d", (int)n);
    self->hook[PROBE_READ] = NULL;
    return 0;
}

static int pushes_to_b_and_runs_a_pass(struct chat *self)
{
    int r = pushes_to_b(self);

    return r < 0 ? r : run_passes(the_map, use_poll, 1);
}

/* It goes out before a handler of the pass is called. */
START_TEST(nested_pass_in_a_flush)
{
    struct probe *probe = probe_connected("p", AF_UNIX, the_map, &peers[2]);

    use_poll = _i;
    make_settled_chats();
    probe->hook[PROBE_READ] = notes_what_b_sent;
    test_write_all(peers[2], "x", 1);
    chats[0]->hook[CHAT_FOUND] = pushes;
    chats[0]->hook[CHAT_ERROR] = pushes_to_b_and_runs_a_pass;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("a.found a.error(EIO) p.read 5");
}
END_TEST

/* --- pushed outside handlers ------------------------------------------------------------------ */

static int host_sends; /* by a push of the host's callback, when that returns */

static void on_host_event(evutil_socket_t fd, short what, void *arg)
{
    const int before = chat_calls[1].send;

    (void)fd;
    (void)what;
    (void)arg;
    ck_assert_int_eq(chat_push_text(chat_d(1), "ab"), 0);
    host_sends = chat_calls[1].send - before;
}

static void add_host_event(void)
{
    const struct timeval now = {0, 0};

    host_sends = -1;
    ck_assert_int_eq(
        event_base_once(asyncore_map_base(the_map), -1, EV_TIMEOUT, on_host_event, NULL, &now), 0);
}

static int waits_for_the_host(struct chat *self)
{
    (void)self;
    add_host_event();
    return run_passes(the_map, use_poll, 1);
}

/* No handler of a channel has called it, not even where one waits for it. */
START_TEST(a_host_pushes_while_a_nested_pass_waits)
{
    use_poll = _i;
    make_settled_chats();
    chats[0]->hook[CHAT_FOUND] = waits_for_the_host;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(host_sends, 1);
    ck_assert_received(peers[1], "ab");
}
END_TEST

START_TEST(a_host_pushes_while_a_loop_waits)
{
    use_poll = _i;
    make_settled_chats();
    add_host_event();
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_int_eq(host_sends, 1);
    ck_assert_received(peers[1], "ab");
}
END_TEST

static int runs_a_pass(struct chat *self)
{
    int r;

    self->hook[CHAT_ERROR] = chat_stays_open;
    r = run_passes(the_map, use_poll, 1);
    ck_assert_received(peers[0], "abc");
    return r;
}

/* A pass in the handle_error of the push writes what is queued. */
START_TEST(a_pass_while_a_push_is_sent)
{
    use_poll = _i;
    make_settled_chats();
    chats[0]->hook[CHAT_ERROR] = runs_a_pass;
    scripted_send(chat_socket(chat_d(0)), STEPS(-EIO));
    ck_assert_int_eq(chat_push_text(chat_d(0), "abc"), 0);
    ck_assert_trace("a.error(EIO)");
}
END_TEST

/* --- writable --------------------------------------------------------------------------------- */

struct writer {
    struct chat base;
    int writes;
};

ASYNCORE_DECLARE_LOCAL_CLASS(writer, chat);

static int writer_handle_write(struct asyncore_dispatcher *d)
{
    writer_of(d)->writes++;
    return asynchat_async_chat_handle_write(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(writer, chat, .handle_write = writer_handle_write);

/* Not even once more, when it was waited for. */
START_TEST(not_written_to_when_all_is_sent)
{
    static char data[65536];
    struct asyncore_dispatcher *d;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    d = chat_dispatcher(chat_make_of(&writer_class, NULL, pair[0]));
    while (asyncore_out_buffer_length(d) == 0)
        ck_assert_int_eq(asynchat_push(d, data, sizeof data), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_int_eq(writer_of(d)->writes, 0); /* the socket takes nothing */
    while (recv(peers[0], data, sizeof data, MSG_DONTWAIT) > 0)
        ;
    ck_assert_int_eq(asynchat_initiate_send(d), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_int_eq(writer_of(d)->writes, 0);
}
END_TEST

/* --- the end of the map ----------------------------------------------------------------------- */

static int pushes_to_b_and_frees_map(struct chat *self)
{
    int r = pushes_to_b(self);

    asyncore_map_free(the_map);
    the_map = NULL;
    return r;
}

/* What is gathered goes out, but no method is called for it. */
START_TEST(no_handle_error_after_map_free)
{
    make_scripted_chats(2);
    chats[0]->hook[CHAT_FOUND] = pushes_to_b_and_frees_map;
    scripted_send(chat_socket(chat_d(1)), STEPS(-EIO));
    scripted_hold(chat_socket(chat_d(0)), "\n", 1);
    test_write_all(peers[0], "x", 1); /* it is readable */
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 1), ASYNCORE_LOOP_EMPTY);
    ck_assert_trace("a.found");
    ck_assert_int_ge(chat_calls[1].send, 1);
}
END_TEST

/* --- the suite -------------------------------------------------------------------------------- */

int main(void)
{
    Suite *s = suite_create("chat_pass");
    TCase *flush = add_chat_case(s, tcase_create("flush"));
    TCase *outside = add_chat_case(s, tcase_create("outside_handlers"));

    tcase_add_loop_test(flush, pushed_at_the_end_of_a_flush, 0, 2);
    tcase_add_loop_test(flush, pushed_in_the_flush_of_a_nested_pass, 0, 2);
    tcase_add_loop_test(flush, nested_pass_in_a_flush, 0, 2);
    tcase_add_loop_test(flush, no_handle_error_after_map_free, 0, 2);
    tcase_add_loop_test(outside, a_host_pushes_while_a_nested_pass_waits, 0, 2);
    tcase_add_loop_test(outside, a_host_pushes_while_a_loop_waits, 0, 2);
    tcase_add_loop_test(outside, a_pass_while_a_push_is_sent, 0, 2);
    tcase_add_loop_test(outside, not_written_to_when_all_is_sent, 0, 2);
    return test_main(s);
}
