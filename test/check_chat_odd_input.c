/*
 * async_chat's input where something goes wrong: methods that fail or close, at the end too, memory
 * that runs out under the ready-made collector, and buffers of any size.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- memory: the linker leads libevent's and the library's malloc here --------------------------
 */

static bool no_memory; /* the next one fails */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (!no_memory)
        return __real_malloc(size);
    no_memory = false;
    errno = ENOMEM;
    return NULL;
}

/* --- the chat of a test ------------------------------------------------------------------------
 */

/* Has the ready-made collector. */
struct keeper {
    struct chat base;
};

ASYNCORE_CLASS(keeper, chat, .collect_incoming_data = asynchat_keep_incoming_data);

/* chats[0], of the class, with a scripted socket and the terminator. */
static struct asyncore_dispatcher *scripted_of(const struct asyncore_class *cls,
                                               const char *terminator)
{
    chats[0] = chat_make_of(cls, NULL, -1);
    chat_give_scripted(chat_d(0), SCRIPTED_SENDV, &chat_calls[0], &peers[0]);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), terminator, strlen(terminator)), 0);
    return chat_d(0);
}

/* --- input ----------------------------------------------------------------------------------- */

static int keeps_and_fails_once(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);

    ck_assert_int_eq(asynchat_keep_incoming_data(d, self->data, self->len), 0);
    ck_assert_str_eq(asynchat_get_data(d, NULL), self->calls[CHAT_COLLECT] < 3 ? "ab" : "cd");
    return self->calls[CHAT_COLLECT] == 1 ? -EPROTO : 0;
}

/* The 0 behind what it got does not go over a terminator that is to be found again. */
START_TEST(get_data_in_a_collect_that_fails)
{
    struct asyncore_dispatcher *d = scripted_of(&chat_class, "\r\n");

    chats[0]->hook[CHAT_COLLECT] = keeps_and_fails_once;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(d, "ab\r\n"), 0);
    ck_assert_int_eq(chat_feed_text(d, "cd\r\n"), 0);
    ck_assert_trace("'ab' error(EPROTO) 'ab' found 'cd' found");
}
END_TEST

static int closes_and_reads(struct chat *self)
{
    int r = chat_closes(self);

    self->hook[CHAT_COLLECT] = NULL;
    return r < 0 ? r : asynchat_async_chat_handle_read(chat_dispatcher(self));
}

START_TEST(closed_and_read_in_collect)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_terminator_count(chat_d(0), 1), 0);
    chats[0]->hook[CHAT_COLLECT] = closes_and_reads;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "line"), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_COLLECT], 1);
    ck_assert_int_eq(chats[0]->calls[CHAT_FOUND], 0);
}
END_TEST

/* Whatever the methods do, the end is the end. */
START_TEST(collect_goes_on_failing_at_the_end)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_COLLECT] = chat_fails;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "ab\n"), 0);
    ck_assert_trace("'ab' error(EPROTO)");
    probe_clear();
    ck_assert_int_eq(chat_feed_end(chat_d(0)), 0);
    ck_assert_trace("'ab' error(EPROTO) close");
}
END_TEST

START_TEST(what_was_held_back_fails_at_the_end)
{
    struct asyncore_dispatcher *d = scripted_of(&chat_class, "\r\n");

    chats[0]->hook[CHAT_COLLECT] = chat_fails;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(d, "\r"), 0);
    ck_assert_int_eq(chat_feed_end(d), 0);
    ck_assert_trace("'\\r' error(EPROTO) close");
}
END_TEST

static int returns_a_count(struct chat *self)
{
    (void)self;
    return 17;
}

START_TEST(a_count_is_no_failure_at_the_end)
{
    struct asyncore_dispatcher *d;

    if (_i == 0) {
        d = scripted_of(&chat_class, "\r\n");
        chats[0]->hook[CHAT_COLLECT] = returns_a_count;
        ck_assert_int_eq(chat_feed_text(d, "ab\r"), 0);
        ck_assert_int_eq(chat_feed_end(d), 0);
    } else { /* as a hang-up */
        make_connected_chats(1, AF_UNIX);
        ck_assert_int_eq(asynchat_set_terminator(chat_d(0), "\r\n", 2), 0);
        chats[0]->hook[CHAT_COLLECT] = returns_a_count;
        test_write_all(peers[0], "ab\r", 3);
        ck_assert_int_eq(run_passes(the_map, true, 1), 0);
        test_close(&peers[0]);
        ck_assert_int_eq(run_passes(the_map, true, 1), 0);
    }
    ck_assert_trace("'ab' '\\r' close");
}
END_TEST

START_TEST(the_limit_counts_what_was_held_back)
{
    struct asyncore_dispatcher *d = scripted_of(&chat_class, "\r\n.\r\n");

    chats[0]->hook[CHAT_LIMIT] = chat_stays_open;
    ck_assert_int_eq(asynchat_set_collect_limit(d, 3), 0);
    ck_assert_int_eq(chat_feed_text(d, "abc\r\n."), 0);
    ck_assert_int_eq(chat_feed_end(d), 0);
    ck_assert_trace("'abc' limit '\\r\\n.' close");
}
END_TEST

/* --- the buffer --------------------------------------------------------------------------------
 */

/* "No limit", while something is held back. */
START_TEST(a_read_buffer_of_any_size)
{
    static char data[150000];
    struct asyncore_dispatcher *d = scripted_of(&chat_class, "\r\n");

    memset(data, 'x', sizeof data);
    ck_assert_int_eq(chat_feed_text(d, "ab\r"), 0);
    ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, SIZE_MAX), 0);
    ck_assert_int_eq(chat_feed(d, data, sizeof data), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_COLLECT], 2);
    ck_assert_uint_eq(chats[0]->total, 3 + sizeof data);
}
END_TEST

/* --- no memory for what the collector has lent ------------------------------------------------ */

static int loses_memory_once(struct chat *self)
{
    size_t len = 0;

    if (self->calls[CHAT_FOUND] == 1) {
        if (self->arg)
            chat_give_scripted(chat_dispatcher(self), SCRIPTED_SENDV, &chat_calls[1], &peers[1]);
        no_memory = true;
        return 0;
    }
    ck_assert_str_eq(asynchat_get_data(chat_dispatcher(self), &len), "firstSECOND");
    ck_assert_uint_eq(len, 11);
    return 0;
}

/* Another read does not go over it. */
START_TEST(kept_without_memory)
{
    struct asyncore_dispatcher *d = scripted_of(&keeper_class, "\n");

    if (_i) /* a room that is freed at once */
        ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, 1000000), 0);
    chats[0]->hook[CHAT_FOUND] = loses_memory_once;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(d, "first\n"), 0);
    ck_assert_int_eq(chat_feed_text(d, "SECOND\n"), 0);
    ck_assert_trace("found error(ENOMEM) found");
}
END_TEST

/* With the socket goes what could not be copied. */
START_TEST(kept_without_memory_or_socket)
{
    struct asyncore_dispatcher *d = scripted_of(&keeper_class, "\n");
    char *data;
    size_t len;

    if (_i)
        ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, 1000000), 0);
    chats[0]->hook[CHAT_FOUND] = loses_memory_once;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    chats[0]->arg = &no_memory;
    ck_assert_int_eq(chat_feed_text(d, "first\n"), 0);
    ck_assert_trace("found error(ENOMEM)");
    data = asynchat_get_data(d, &len);
    ck_assert_uint_eq(len, 0);
    ck_assert_str_eq(data, "");
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    no_memory = false;
}

static TCase *add(Suite *s, TCase *tc)
{
    tcase_add_checked_fixture(add_chat_case(s, tc), setup, NULL);
    return tc;
}

static void add_input(Suite *s)
{
    TCase *tc = add(s, tcase_create("input"));

    tcase_add_test(tc, get_data_in_a_collect_that_fails);
    tcase_add_test(tc, closed_and_read_in_collect);
    tcase_add_test(tc, collect_goes_on_failing_at_the_end);
    tcase_add_test(tc, what_was_held_back_fails_at_the_end);
    tcase_add_loop_test(tc, a_count_is_no_failure_at_the_end, 0, 2);
    tcase_add_test(tc, the_limit_counts_what_was_held_back);

    tc = add(s, tcase_create("buffer"));
    tcase_add_test(tc, a_read_buffer_of_any_size);

    tc = add(s, tcase_create("memory"));
    tcase_add_loop_test(tc, kept_without_memory, 0, 2);
    tcase_add_loop_test(tc, kept_without_memory_or_socket, 0, 2);
}

/* libevent's warnings of what is done to it here. */
static void ignore_warning(int severity, const char *message)
{
    (void)severity;
    (void)message;
}

int main(void)
{
    Suite *s = suite_create("chat_odd_input");

    add_input(s);
    event_set_log_callback(ignore_warning);
    event_set_mem_functions(__wrap_malloc, realloc, free);
    return test_main(s);
}
