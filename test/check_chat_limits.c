/*
 * The protection that async_chat has: the limit of what is collected without a terminator, and the
 * high-water mark of what is queued.
 */
#include "chat_probe.h"
#include "support.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* With a scripted socket, and a terminator, "": none. */
static struct asyncore_dispatcher *scripted(const char *terminator)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), terminator, strlen(terminator)), 0);
    return chat_d(0);
}

struct collector {
    struct asynchat_async_chat base;
};

ASYNCORE_CLASS(collector, asynchat_async_chat,
               .collect_incoming_data = asynchat_keep_incoming_data);

/* --- the limit of what is collected ----------------------------------------------------------- */

/* The override lets it be collected. */
static struct asyncore_dispatcher *limited(const char *terminator, size_t limit)
{
    struct asyncore_dispatcher *d = scripted(terminator);

    chats[0]->hook[CHAT_LIMIT] = chat_stays_open;
    ck_assert_int_eq(asynchat_set_collect_limit(d, limit), 0);
    return d;
}

START_TEST(limit_is_told_before_more_is_collected)
{
    struct asyncore_dispatcher *d = limited("\n", 5);

    ck_assert_int_eq(chat_feed_text(d, "abc"), 0);
    ck_assert_int_eq(chat_feed_text(d, "de"), 0);
    ck_assert_trace("'abc' 'de'");
    ck_assert_int_eq(chat_feed_text(d, "f"), 0);
    ck_assert_trace("'abc' 'de' limit 'f'");
}
END_TEST

START_TEST(limit_is_told_once_until_a_terminator_is_found)
{
    struct asyncore_dispatcher *d = limited("\n", 2);

    ck_assert_int_eq(chat_feed_text(d, "ab"), 0);
    ck_assert_int_eq(chat_feed_text(d, "c"), 0);
    ck_assert_int_eq(chat_feed_text(d, "d"), 0);
    ck_assert_int_eq(chat_feed_text(d, "\n"), 0);
    ck_assert_trace("'ab' limit 'c' 'd' found");
    probe_clear();
    ck_assert_int_eq(chat_feed_text(d, "e"), 0);
    ck_assert_int_eq(chat_feed_text(d, "f"), 0);
    ck_assert_int_eq(chat_feed_text(d, "g\n"), 0);
    ck_assert_trace("'e' 'f' limit 'g' found");
}
END_TEST

START_TEST(limit_is_told_again_when_it_is_set_again)
{
    struct asyncore_dispatcher *d = limited("\n", 2);

    ck_assert_int_eq(chat_feed_text(d, "ab"), 0);
    ck_assert_int_eq(chat_feed_text(d, "c"), 0);
    ck_assert_int_eq(asynchat_set_collect_limit(d, 2), 0); /* from now on */
    ck_assert_int_eq(chat_feed_text(d, "de"), 0);
    ck_assert_int_eq(chat_feed_text(d, "f"), 0);
    ck_assert_trace("'ab' limit 'c' 'de' limit 'f'");
}
END_TEST

/* What arrives at once may be too much, with its terminator or without. */
START_TEST(limit_within_one_read)
{
    static const char *const inputs[] = {"abcdef", "abcdef\ngh\n"};
    struct asyncore_dispatcher *d = limited("\n", 5);

    ck_assert_int_eq(chat_feed_text(d, inputs[_i]), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_LIMIT], 1);
    ck_assert_uint_eq(chats[0]->total, _i ? 8 : 6);
    ck_assert_int_eq(chats[0]->calls[CHAT_FOUND], _i ? 2 : 0);
}
END_TEST

START_TEST(lines_within_the_limit)
{
    struct asyncore_dispatcher *d = limited("\n", 5);

    ck_assert_int_eq(chat_feed_text(d, "abcde\nabc"), 0);
    ck_assert_int_eq(chat_feed_text(d, "de\nabcde"), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_LIMIT], 0);
    ck_assert_int_eq(asynchat_set_collect_limit(d, 0), 0);
    ck_assert_int_eq(chat_feed_text(d, "abcdef"), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_LIMIT], 0);
}
END_TEST

START_TEST(limit_is_not_for_numbers)
{
    struct asyncore_dispatcher *d = limited("", 2);

    ck_assert_int_eq(asynchat_set_terminator_count(d, 6), 0);
    ck_assert_int_eq(chat_feed_text(d, "abcd"), 0);
    ck_assert_int_eq(chat_feed_text(d, "efgh"), 0);
    ck_assert_trace("'abcd' 'ef' found 'gh'");
    ck_assert_int_eq(chat_feed_text(d, "i"), 0); /* without a terminator it counts */
    ck_assert_trace("'abcd' 'ef' found 'gh' limit 'i'");
}
END_TEST

static int fails_once(struct chat *self)
{
    self->hook[CHAT_COLLECT] = NULL;
    return -EPROTO;
}

/* What is handed out again counts once. */
START_TEST(limit_and_a_failure)
{
    struct asyncore_dispatcher *d = limited("\n", 10);

    chats[0]->hook[CHAT_COLLECT] = fails_once;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(d, "abcdef"), 0);
    ck_assert_int_eq(chat_feed_text(d, "ghij"), 0);
    ck_assert_trace("'abcdef' error(EPROTO) 'abcdefghij'");
    ck_assert_int_eq(chat_feed_text(d, "k"), 0);
    ck_assert_trace("'abcdef' error(EPROTO) 'abcdefghij' limit 'k'");
}
END_TEST

START_TEST(limit_fails)
{
    struct asyncore_dispatcher *d = limited("\n", 2);

    chats[0]->hook[CHAT_LIMIT] = chat_fails;
    ck_assert_int_eq(chat_feed_text(d, "ab"), 0);
    ck_assert_int_eq(chat_feed_text(d, "cd\n"), 0);
    ck_assert_trace("'ab' limit error(EPROTO)");
    ck_assert_int_eq(asyncore_fileno(d), -1);
}
END_TEST

START_TEST(limit_closes_by_default)
{
    struct asyncore_dispatcher *d = asyncore_new(&collector_class, -1, the_map);
    struct test_capture capture;
    size_t len;

    ck_assert_ptr_nonnull(d);
    chat_give_scripted(d, 0, &chat_calls[0], &peers[0]);
    ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
    ck_assert_int_eq(asynchat_set_collect_limit(d, 2), 0);
    ck_assert_int_eq(chat_feed_text(d, "ab"), 0);
    test_capture_begin(&capture, STDOUT_FILENO);
    (void)chat_feed_text(d, "cd");
    (void)test_capture_end(&capture);
    ck_assert_ptr_nonnull(strstr(capture.text, "error: uncaptured python exception"));
    ck_assert_ptr_nonnull(strstr(capture.text, "EMSGSIZE"));
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_str_eq(asynchat_get_data(d, &len), "ab");
}
END_TEST

/* --- the high-water mark --------------------------------------------------------------------- */

/* A scripted one, that takes nothing, with a mark of ten. */
static void make_marked(bool pause)
{
    make_scripted_chats(1);
    chat_block(chat_d(0));
    ck_assert_int_eq(asynchat_set_high_water(chat_d(0), 10, pause), 0);
}

START_TEST(told_once_a_crossing)
{
    make_marked(false);
    chats[0]->hook[CHAT_HIGH_WATER] = chat_stays_open;
    ck_assert_int_eq(chat_push_text(chat_d(0), "0123456789"), 0); /* not above it */
    ck_assert_trace("");
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "b"), 0);
    ck_assert_trace("high_water");
    scripted_send(chat_socket(chat_d(0)), STEPS(1, 3, -EAGAIN, -EAGAIN, -EAGAIN));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0); /* still above */
    ck_assert_trace("high_water");
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0); /* below */
    ck_assert_int_eq(chat_push_text(chat_d(0), "cd"), 0);
    ck_assert_trace("high_water");
    ck_assert_int_eq(chat_push_text(chat_d(0), "e"), 0);
    ck_assert_trace("high_water high_water");
    chat_unblock(chat_d(0));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_received(peers[0], "0123456789abcde");
}
END_TEST

static int pushes_a_lot(struct chat *self)
{
    (void)self;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(chat_push_text(chat_d(0), "0123456789"), 0);
    return 0;
}

/* What the socket takes does not count, in a handler neither. */
START_TEST(not_told_while_the_socket_takes_it)
{
    make_marked(false);
    chat_unblock(chat_d(0));
    chats[0]->hook[CHAT_FOUND] = pushes_a_lot;
    ck_assert_int_eq(pushes_a_lot(chats[0]), 0);
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("found");
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
}
END_TEST

START_TEST(told_once_in_a_handler)
{
    make_marked(false);
    chats[0]->hook[CHAT_FOUND] = pushes_a_lot;
    chats[0]->hook[CHAT_HIGH_WATER] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("found high_water");
    chat_unblock(chat_d(0));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_received(peers[0], "012345678901234567890123456789");
}
END_TEST

START_TEST(what_handle_high_water_does)
{
    static const struct {
        int (*hook)(struct chat *self);
        const char *trace;
        bool open;
        size_t queued;
    } cases[] = {{chat_stays_open, "high_water", true, 11},
                 {chat_fails, "high_water error(EPROTO)", false, 11},
                 {chat_closes, "high_water", false, 11},
                 {chat_discards, "high_water", true, 0}};

    make_marked(false);
    chats[0]->hook[CHAT_HIGH_WATER] = cases[_i].hook;
    ck_assert_int_eq(chat_push_text(chat_d(0), "0123456789a"), 0);
    ck_assert_trace(cases[_i].trace);
    ck_assert_int_eq(asyncore_fileno(chat_d(0)) >= 0, cases[_i].open);
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), cases[_i].queued);
}
END_TEST

START_TEST(high_water_closes_by_default)
{
    struct asyncore_dispatcher *d = &asynchat_async_chat_new(-1, the_map)->base;
    struct test_capture capture;

    chat_give_scripted(d, 0, &chat_calls[0], &peers[0]);
    chat_block(d);
    ck_assert_int_eq(asynchat_set_high_water(d, 10, false), 0);
    ck_assert_int_eq(chat_push_text(d, "0123456789"), 0);
    test_capture_begin(&capture, STDOUT_FILENO);
    (void)chat_push_text(d, "a");
    (void)test_capture_end(&capture);
    ck_assert_ptr_nonnull(strstr(capture.text, "error: uncaptured python exception"));
    ck_assert_ptr_nonnull(strstr(capture.text, "ENOBUFS"));
    ck_assert_int_eq(asyncore_fileno(d), -1);
}
END_TEST

START_TEST(the_mark_is_set_anew)
{
    make_marked(false);
    chats[0]->hook[CHAT_HIGH_WATER] = chat_stays_open;
    ck_assert_int_eq(chat_push_text(chat_d(0), "0123456789a"), 0);
    ck_assert_int_eq(asynchat_set_high_water(chat_d(0), 20, false), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "0123456789a"), 0);
    ck_assert_trace("high_water high_water");
    ck_assert_int_eq(asynchat_set_high_water(chat_d(0), 0, true), 0); /* none */
    ck_assert_int_eq(chat_push_text(chat_d(0), "b"), 0);
    ck_assert_trace("high_water high_water");
    ck_assert_int_eq(asyncore_readable(chat_d(0)), 1);
}
END_TEST

START_TEST(not_readable_above_the_mark)
{
    make_marked(true);
    ck_assert_int_eq(chat_push_text(chat_d(0), "0123456789"), 0);
    ck_assert_int_eq(asyncore_readable(chat_d(0)), 1);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_int_eq(asyncore_readable(chat_d(0)), 0);
    ck_assert_trace("high_water"); /* which does not close then */
    ck_assert_int_ge(asyncore_fileno(chat_d(0)), 0);
    scripted_send(chat_socket(chat_d(0)), STEPS(1));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(asyncore_readable(chat_d(0)), 1);
}
END_TEST

static int is_below(struct chat *self)
{
    return asyncore_out_buffer_length(chat_dispatcher(self)) <= 1000 ? 0 : -EPROTO;
}

/* In the loop: input waits until enough of the output has gone. */
START_TEST(paused_above_the_mark)
{
    static const int families[] = {AF_UNIX, AF_INET};
    static char data[1 << 20];

    make_connected_chats(1, families[_i / 2]);
    ck_assert_int_eq(asynchat_set_high_water(chat_d(0), 1000, true), 0);
    chats[0]->hook[CHAT_FOUND] = is_below;
    ck_assert_int_eq(run_passes(the_map, _i % 2, 1), 0); /* it is watched already */
    if (families[_i / 2] == AF_INET)
        test_small_buffers(asyncore_fileno(chat_d(0)));
    ck_assert_int_eq(asynchat_push(chat_d(0), data, sizeof data), 0);
    test_write_all(peers[0], "x\n", 2);
    ck_assert_int_eq(run_passes(the_map, _i % 2, 5), 0);
    ck_assert_trace("high_water");
    while (chats[0]->calls[CHAT_FOUND] == 0) {
        if (recv(peers[0], data, sizeof data, MSG_DONTWAIT) <= 0)
            ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i % 2, the_map, 1),
                             ASYNCORE_LOOP_COUNT);
    }
    ck_assert_trace("high_water 'x' found");
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void add_limit(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("limit"));

    tcase_add_test(tc, limit_is_told_before_more_is_collected);
    tcase_add_test(tc, limit_is_told_once_until_a_terminator_is_found);
    tcase_add_test(tc, limit_is_told_again_when_it_is_set_again);
    tcase_add_loop_test(tc, limit_within_one_read, 0, 2);
    tcase_add_test(tc, lines_within_the_limit);
    tcase_add_test(tc, limit_is_not_for_numbers);
    tcase_add_test(tc, limit_and_a_failure);
    tcase_add_test(tc, limit_fails);
    tcase_add_test(tc, limit_closes_by_default);
}

static void add_high_water(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("high_water"));

    tcase_add_test(tc, told_once_a_crossing);
    tcase_add_test(tc, not_told_while_the_socket_takes_it);
    tcase_add_test(tc, told_once_in_a_handler);
    tcase_add_loop_test(tc, what_handle_high_water_does, 0, 4);
    tcase_add_test(tc, high_water_closes_by_default);
    tcase_add_test(tc, the_mark_is_set_anew);
    tcase_add_test(tc, not_readable_above_the_mark);
    tcase_add_loop_test(tc, paused_above_the_mark, 0, 4);
}

int main(void)
{
    Suite *s = suite_create("chat_limits");

    add_limit(s);
    add_high_water(s);
    return test_main(s);
}
