/*
 * async_chat beside its input and its output: terminators as they are set, the ready-made
 * collector, the sizes of the buffers, and what all that says to channels that are no chats.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct scripted_calls calls;

/* --- set_terminator, get_terminator ---------------------------------------------------------- */

static void check_terminator(struct asyncore_dispatcher *d, enum asynchat_terminator_kind kind,
                             const char *bytes, uint64_t length)
{
    struct asynchat_terminator t = asynchat_get_terminator(d);

    ck_assert_int_eq(t.kind, kind);
    ck_assert_uint_eq(t.length, length);
    if (kind == ASYNCHAT_TERMINATOR_BYTES)
        ck_assert_mem_eq(t.bytes, bytes, length);
}

static struct asyncore_dispatcher *new_chat(void)
{
    return chat_dispatcher(chat_make(NULL, -1));
}

START_TEST(a_new_chat_has_no_terminator)
{
    check_terminator(new_chat(), ASYNCHAT_TERMINATOR_NONE, NULL, 0);
}
END_TEST

START_TEST(bytes_are_copied)
{
    struct asyncore_dispatcher *d = new_chat();
    char terminator[] = "\r\0\n";

    ck_assert_int_eq(asynchat_set_terminator(d, terminator, 3), 0);
    memset(terminator, '?', sizeof terminator);
    check_terminator(d, ASYNCHAT_TERMINATOR_BYTES, "\r\0\n", 3);
}
END_TEST

START_TEST(terminators_replace_each_other)
{
    static char long_one[5000];
    struct asyncore_dispatcher *d = new_chat();

    memset(long_one, 'x', sizeof long_one);
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
        check_terminator(d, ASYNCHAT_TERMINATOR_BYTES, "\n", 1);
        ck_assert_int_eq(asynchat_set_terminator_count(d, INT64_MAX), 0);
        check_terminator(d, ASYNCHAT_TERMINATOR_COUNT, NULL, INT64_MAX);
        ck_assert_int_eq(asynchat_set_terminator(d, long_one, sizeof long_one), 0);
        check_terminator(d, ASYNCHAT_TERMINATOR_BYTES, long_one, sizeof long_one);
        ck_assert_int_eq(asynchat_set_terminator(d, NULL, 0), 0);
        check_terminator(d, ASYNCHAT_TERMINATOR_NONE, NULL, 0);
        ck_assert_int_eq(asynchat_set_terminator(d, "", 0), 0);
        ck_assert_uint_eq(asynchat_get_terminator(d).length, 0);
        ck_assert_int_eq(asynchat_set_terminator_count(d, 0), 0);
        ck_assert_uint_eq(asynchat_get_terminator(d).length, 0);
    }
}
END_TEST

/* d's own terminator, set again, and a part of it. */
START_TEST(terminator_of_the_terminator)
{
    struct asyncore_dispatcher *d = new_chat();
    struct asynchat_terminator t;

    ck_assert_int_eq(asynchat_set_terminator(d, "a long one, for it may lie elsewhere", 36), 0);
    t = asynchat_get_terminator(d);
    ck_assert_int_eq(asynchat_set_terminator(d, t.bytes, (size_t)t.length), 0);
    t = asynchat_get_terminator(d);
    ck_assert_int_eq(asynchat_set_terminator(d, (const char *)t.bytes + 2, 4), 0);
    check_terminator(d, ASYNCHAT_TERMINATOR_BYTES, "long", 4);
}
END_TEST

/* That there cannot be memory for. */
START_TEST(a_terminator_that_is_too_long)
{
    struct asyncore_dispatcher *d = new_chat();

    ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
    ck_assert_int_eq(asynchat_set_terminator(d, "x", SIZE_MAX), -ENOMEM);
    ck_assert_int_eq(asynchat_set_terminator(d, "x", SIZE_MAX / 8), -ENOMEM);
    check_terminator(d, ASYNCHAT_TERMINATOR_BYTES, "\n", 1);
}
END_TEST

START_TEST(negative_counts)
{
    static const int64_t counts[] = {-1, INT64_MIN};
    struct asyncore_dispatcher *d = new_chat();

    ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(asynchat_set_terminator_count(d, counts[i]), -EINVAL);
    check_terminator(d, ASYNCHAT_TERMINATOR_BYTES, "\n", 1);
}
END_TEST

static int note_terminator(struct chat *self)
{
    struct asynchat_terminator t = asynchat_get_terminator(chat_dispatcher(self));

    probe_note(t.kind == ASYNCHAT_TERMINATOR_COUNT ? "%llu" : "?", (unsigned long long)t.length);
    return 0;
}

START_TEST(counts_are_counted_down)
{
    struct chat *chat = chat_scripted(NULL, 0, &calls, &peers[0]);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    chat->hook[CHAT_FOUND] = note_terminator;
    ck_assert_int_eq(asynchat_set_terminator_count(d, 5), 0);
    ck_assert_int_eq(chat_feed_text(d, "ab"), 0);
    check_terminator(d, ASYNCHAT_TERMINATOR_COUNT, NULL, 3);
    ck_assert_int_eq(chat_feed_text(d, "c"), 0);
    check_terminator(d, ASYNCHAT_TERMINATOR_COUNT, NULL, 2);
    ck_assert_int_eq(chat_feed_text(d, "de"), 0);
    ck_assert_str_eq(probe_trace(), "'ab' 'c' 'de' found 0");
    ck_assert_uint_eq(asynchat_get_terminator(d).length, 0);
}
END_TEST

static int sets_count(struct chat *self)
{
    self->hook[CHAT_COLLECT] = NULL;
    return asynchat_set_terminator_count(chat_dispatcher(self), 2);
}

/* A count that is set in the middle of another's piece is not reduced by that piece. */
START_TEST(count_set_in_a_part)
{
    struct chat *chat = chat_scripted(NULL, 0, &calls, &peers[0]);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    chat->hook[CHAT_COLLECT] = sets_count;
    ck_assert_int_eq(asynchat_set_terminator_count(d, 10), 0);
    ck_assert_int_eq(chat_feed_text(d, "abcd"), 0);
    check_terminator(d, ASYNCHAT_TERMINATOR_COUNT, NULL, 2);
    ck_assert_int_eq(chat_feed_text(d, "ef"), 0);
    ck_assert_str_eq(probe_trace(), "'abcd' 'ef' found");
}
END_TEST

static int reads_from_another_socket(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);

    self->hook[CHAT_COLLECT] = NULL;
    chat_give_scripted(d, 0, &calls, &peers[1]);
    return asynchat_async_chat_handle_read(d);
}

/* What was found in the old socket's input is forgotten with it. */
START_TEST(another_socket_in_a_part)
{
    struct chat *chat = chat_scripted(NULL, 0, &calls, &peers[0]);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    chat->hook[CHAT_COLLECT] = reads_from_another_socket;
    if (_i) {
        ck_assert_int_eq(asynchat_set_terminator_count(d, 10), 0);
        ck_assert_int_eq(chat_feed_text(d, "abc"), 0);
        check_terminator(d, ASYNCHAT_TERMINATOR_COUNT, NULL, 10);
    } else {
        ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
        ck_assert_int_eq(chat_feed_text(d, "abc\n"), 0);
    }
    ck_assert_str_eq(probe_trace(), "'abc'");
}
END_TEST

/* --- the ready-made collector ---------------------------------------------------------------- */

struct keeper {
    struct chat base;
};

ASYNCORE_CLASS(keeper, chat, .collect_incoming_data = asynchat_keep_incoming_data);

static struct asyncore_dispatcher *new_keeper(void)
{
    struct chat *chat = chat_make_of(&keeper_class, NULL, -1);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    chat_give_scripted(d, 0, &calls, &peers[0]);
    ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
    return d;
}

static void check_data(struct asyncore_dispatcher *d, const char *expected, size_t expected_len)
{
    size_t len = SIZE_MAX;
    const char *data = asynchat_get_data(d, &len);

    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(len, expected_len);
    ck_assert_mem_eq(data, expected, expected_len + 1); /* a 0 behind it */
}

START_TEST(kept_in_one_piece)
{
    struct asyncore_dispatcher *d = new_keeper();

    ck_assert_int_eq(chat_feed_text(d, "ab"), 0);
    ck_assert_int_eq(chat_feed(d, "\0c", 2), 0);
    ck_assert_int_eq(chat_feed_text(d, "d\n"), 0);
    ck_assert_str_eq(probe_trace(), "found");
    check_data(d, "ab\0cd", 5);
    check_data(d, "", 0); /* it is not kept any longer */
}
END_TEST

START_TEST(nothing_kept)
{
    struct asyncore_dispatcher *d = new_keeper();

    ck_assert_str_eq(asynchat_get_data(d, NULL), "");
    ck_assert_int_eq(chat_feed_text(d, "\n"), 0);
    check_data(d, "", 0);
}
END_TEST

/* Until more is kept it may be read and written to, whatever else happens. */
START_TEST(data_is_the_callers)
{
    struct asyncore_dispatcher *d = new_keeper();
    char *data;

    ck_assert_int_eq(chat_feed_text(d, "abc\n"), 0);
    data = asynchat_get_data(d, NULL);
    ck_assert_ptr_nonnull(data);
    memcpy(data, "xyz", 4);
    ck_assert_int_eq(chat_feed_text(d, "\n\n"), 0);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_str_eq(data, "xyz");
    check_data(d, "", 0);
}
END_TEST

static int gets_data(struct chat *self)
{
    self->hook[CHAT_FOUND] = NULL;
    self->arg = asynchat_get_data(chat_dispatcher(self), NULL);
    return self->arg ? 0 : -ENOMEM;
}

static int gets_data_and_runs_a_pass(struct chat *self)
{
    int r = gets_data(self);

    if (r == 0)
        r = run_passes(the_map, false, 1);
    return r == 0 && memcmp(self->arg, "abc", 4) != 0 ? -EPROTO : r;
}

static int compares_data(struct chat *self)
{
    if (!self->arg)
        self->arg = asynchat_get_data(chat_dispatcher(self), NULL);
    return self->arg && memcmp(self->arg, "abc", 4) == 0 ? 0 : -EPROTO;
}

/* Until the handler returns, whatever it hands out behind it, and in passes of its own. */
START_TEST(data_of_found_terminator)
{
    int (*const hooks[])(struct chat *) = {gets_data, compares_data, gets_data_and_runs_a_pass};
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];

    struct chat *chat = chat_make_of(&keeper_class, NULL, pair[0]);

    ck_assert_int_eq(asynchat_set_terminator(chat_dispatcher(chat), "\n", 1), 0);
    chat->hook[CHAT_FOUND] = hooks[_i];
    test_write_all(peers[0], "abc\n\n\n", 6);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_str_eq(probe_trace(), "found found found");
}
END_TEST

static int gets_after_a_pass(struct chat *self)
{
    const char *data;

    self->hook[CHAT_FOUND] = gets_after_a_pass;
    if (self->calls[CHAT_FOUND] == 1) {
        test_write_all(peers[0], "def\n", 4);
        ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    }
    data = asynchat_get_data(chat_dispatcher(self), NULL);
    ck_assert_ptr_nonnull(data);
    probe_note("'%s'", data);
    return 0;
}

/* A pass in found_terminator keeps on behind what is kept already. */
START_TEST(kept_in_a_nested_pass)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];

    struct chat *chat = chat_make_of(&keeper_class, NULL, pair[0]);

    ck_assert_int_eq(asynchat_set_terminator(chat_dispatcher(chat), "\n", 1), 0);
    chat->hook[CHAT_FOUND] = gets_after_a_pass;
    test_write_all(peers[0], "abc\n", 4);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_str_eq(probe_trace(), "found found 'abcdef' ''");
}
END_TEST

/* A collector over the ready-made one: with what it makes of the piece, and when it asks for it. */
static int keeps_half_twice(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);
    int r = asynchat_keep_incoming_data(d, self->data, self->len / 2);

    return r < 0 ? r : asynchat_keep_incoming_data(d, self->data, self->len / 2);
}

static int keeps_and_gets(struct chat *self)
{
    struct asyncore_dispatcher *d = chat_dispatcher(self);
    int r = asynchat_keep_incoming_data(d, self->data, self->len);
    const char *data = asynchat_get_data(d, NULL);

    ck_assert_ptr_nonnull(data);
    probe_note("got '%s'", data);
    return r;
}

static int gets_text(struct chat *self)
{
    const char *data = asynchat_get_data(chat_dispatcher(self), NULL);

    ck_assert_ptr_nonnull(data);
    probe_note("got '%s'", data);
    return 0;
}

START_TEST(collectors_over_it)
{
    static const char *const traces[] = {
        "'abcd' found got 'abab' 'efgh' found got 'efef'",
        "'abcd' got 'abcd' found got '' 'efgh' got 'efgh' found got ''",
    };
    struct chat *chat = chat_scripted(NULL, 0, &calls, &peers[0]);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    ck_assert_int_eq(asynchat_set_terminator(d, "\r\n", 2), 0);
    chat->hook[CHAT_COLLECT] = _i ? keeps_and_gets : keeps_half_twice;
    chat->hook[CHAT_FOUND] = gets_text;
    ck_assert_int_eq(chat_feed_text(d, "abcd\r\nefgh\r\n"), 0);
    ck_assert_str_eq(probe_trace(), traces[_i]);
}
END_TEST

START_TEST(line_after_line)
{
    struct asyncore_dispatcher *d = new_keeper();

    for (size_t i = 1; i <= 300; i++) {
        char line[301];

        memset(line, 'a' + (int)(i % 26), i);
        line[i] = '\n';
        probe_clear();
        ck_assert_int_eq(chat_feed(d, line, i + 1), 0);
        line[i] = '\0';
        check_data(d, line, i);
    }
}
END_TEST

START_TEST(a_megabyte_is_kept)
{
    const size_t len = 1 << 20;
    char *line = malloc(len + 1);
    struct asyncore_dispatcher *d = new_keeper();

    ck_assert_ptr_nonnull(line);
    for (size_t i = 0; i < len; i++)
        line[i] = (char)('a' + i % 23);
    line[len] = '\n';
    ck_assert_int_eq(chat_feed(d, line, len + 1), 0);
    line[len] = '\0';
    check_data(d, line, len);
    free(line);
}
END_TEST

/* Whatever room there is behind it for the 0. */
START_TEST(any_length_is_kept)
{
    static char data[5001];
    struct asyncore_dispatcher *d = new_keeper();

    memset(data, 'x', sizeof data - 1);
    for (size_t n = 1; n < sizeof data; n++) {
        const char *got;
        size_t len = 0;

        if (asynchat_keep_incoming_data(d, data, n / 2) != 0 ||
            asynchat_keep_incoming_data(d, data + n / 2, n - n / 2) != 0)
            ck_abort_msg("%zu bytes are not kept", n);
        got = asynchat_get_data(d, &len);
        if (!got || len != n || memcmp(got, data, n) != 0 || got[n] != '\0')
            ck_abort_msg("%zu bytes are not what was kept", n);
    }
}
END_TEST

START_TEST(kept_in_a_buffer)
{
    struct asyncore_dispatcher *d = new_keeper();
    struct evbuffer *incoming = asynchat_incoming(d);

    ck_assert_ptr_nonnull(incoming);
    ck_assert_uint_eq(evbuffer_get_length(incoming), 0);
    ck_assert_int_eq(chat_feed_text(d, "abc"), 0);
    ck_assert_int_eq(chat_feed_text(d, "def\n"), 0);
    incoming = asynchat_incoming(d);
    ck_assert_uint_eq(evbuffer_get_length(incoming), 6);
    ck_assert_int_eq(evbuffer_drain(incoming, 2), 0);
    check_data(d, "cdef", 4);
    ck_assert_uint_eq(evbuffer_get_length(asynchat_incoming(d)), 0);
}
END_TEST

START_TEST(kept_by_the_program)
{
    struct asyncore_dispatcher *d = new_chat();
    char piece[] = "ab";

    ck_assert_int_eq(asynchat_keep_incoming_data(d, piece, 2), 0);
    memset(piece, '?', sizeof piece);
    ck_assert_int_eq(asynchat_keep_incoming_data(d, NULL, 0), 0);
    ck_assert_int_eq(asynchat_keep_incoming_data(d, "c", 1), 0);
    check_data(d, "abc", 3);
}
END_TEST

/* Into what was given out before, too. */
START_TEST(kept_again)
{
    struct asyncore_dispatcher *d = new_chat();
    char *data;

    ck_assert_int_eq(asynchat_keep_incoming_data(d, "abc", 3), 0);
    data = asynchat_get_data(d, NULL);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(asynchat_keep_incoming_data(d, data + 1, 2), 0);
    check_data(d, "bc", 2);
}
END_TEST

START_TEST(discard_drops_what_is_kept)
{
    struct asyncore_dispatcher *d = new_keeper();

    ck_assert_int_eq(chat_feed_text(d, "abc"), 0);
    ck_assert_int_eq(asynchat_discard_buffers(d), 0);
    check_data(d, "", 0);
    ck_assert_int_eq(chat_feed_text(d, "d\n"), 0);
    check_data(d, "d", 1);
}
END_TEST

/* --- the sizes of the buffers ---------------------------------------------------------------- */

struct small {
    struct chat base;
};

ASYNCORE_CLASS(small, chat, .ac_in_buffer_size = 3, .ac_out_buffer_size = 5);

struct derived {
    struct small base;
};

ASYNCORE_CLASS(derived, small, .ac_out_buffer_size = 2);

static const struct {
    const struct asyncore_class *cls;
    size_t in, out;
} sizes[] = {
    {&asynchat_async_chat_class, ASYNCHAT_BUFFER_SIZE, ASYNCHAT_BUFFER_SIZE},
    {&chat_class, 65536, 65536},
    {&small_class, 3, 5},
    {&derived_class, 3, 2},
};

static void check_sizes(struct asyncore_dispatcher *d, size_t in, size_t out)
{
    ck_assert_uint_eq(asynchat_ac_in_buffer_size(d), in);
    ck_assert_uint_eq(asynchat_ac_out_buffer_size(d), out);
}

START_TEST(buffer_sizes)
{
    struct asyncore_dispatcher *d = asyncore_new(sizes[_i].cls, -1, the_map);

    ck_assert_ptr_nonnull(d);
    check_sizes(d, sizes[_i].in, sizes[_i].out);
    ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, 7), 0);
    check_sizes(d, 7, sizes[_i].out);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(d, 8), 0);
    check_sizes(d, 7, 8);
    ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, 0), 0);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(d, 0), 0);
    check_sizes(d, sizes[_i].in, sizes[_i].out);
}
END_TEST

START_TEST(reads_as_much_as_its_buffer_holds)
{
    struct chat *chat = chat_make_of(&small_class, NULL, -1);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    chat_give_scripted(d, 0, &calls, &peers[0]);
    ck_assert_int_eq(chat_feed_text(d, "abcdefgh"), 0);
    ck_assert_str_eq(probe_trace(), "'abc' 'def' 'gh'");
    ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, 4), 0);
    ck_assert_int_eq(chat_feed_text(d, "ijklmn"), 0);
    ck_assert_str_eq(probe_trace(), "'abc' 'def' 'gh' 'ijkl' 'mn'");
}
END_TEST

/* The next read has another size already. */
static int reads_more(struct chat *self)
{
    self->hook[CHAT_COLLECT] = NULL;
    return asynchat_set_ac_in_buffer_size(chat_dispatcher(self), 200000);
}

START_TEST(a_buffer_grows)
{
    static char data[200002];
    struct chat *chat = chat_scripted(NULL, 0, &calls, &peers[0]);
    struct asyncore_dispatcher *d = chat_dispatcher(chat);

    ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, 1), 0);
    chat->hook[CHAT_COLLECT] = reads_more;
    memset(data, 'x', sizeof data);
    ck_assert_int_eq(chat_feed(d, data, sizeof data), 0);
    ck_assert_str_eq(probe_trace(), "'x' [200000] 'x'");
}
END_TEST

/* --- no chats -------------------------------------------------------------------------------- */

static int released;

static void release(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)arg;
    released++;
}

static void release_arg(void *arg)
{
    (void)arg;
    released++;
}

static int nothing_more(struct evbuffer *out, void *arg)
{
    (void)out;
    (void)arg;
    return 0;
}

static int set_terminator(struct asyncore_dispatcher *d)
{
    return asynchat_set_terminator(d, "\n", 1);
}

static int set_terminator_count(struct asyncore_dispatcher *d)
{
    return asynchat_set_terminator_count(d, 1);
}

static int keep_incoming_data(struct asyncore_dispatcher *d)
{
    return asynchat_keep_incoming_data(d, "a", 1);
}

static int set_ac_in_buffer_size(struct asyncore_dispatcher *d)
{
    return asynchat_set_ac_in_buffer_size(d, 1);
}

static int set_ac_out_buffer_size(struct asyncore_dispatcher *d)
{
    return asynchat_set_ac_out_buffer_size(d, 1);
}

static int set_collect_limit(struct asyncore_dispatcher *d)
{
    return asynchat_set_collect_limit(d, 1);
}

static int set_high_water(struct asyncore_dispatcher *d)
{
    return asynchat_set_high_water(d, 1, true);
}

static int push(struct asyncore_dispatcher *d)
{
    return asynchat_push(d, "a", 1);
}

static int push_reference(struct asyncore_dispatcher *d)
{
    return asynchat_push_reference(d, "a", 1, release, NULL);
}

static int push_with_producer(struct asyncore_dispatcher *d)
{
    return asynchat_push_with_producer(
        d, asynchat_callback_producer_new(nothing_more, release_arg, NULL));
}

static int collect_incoming_data(struct asyncore_dispatcher *d)
{
    return asynchat_collect_incoming_data(d, "a", 1);
}

static int init(struct asyncore_dispatcher *d)
{
    return asynchat_async_chat_init(d, -1);
}

static const struct {
    int (*function)(struct asyncore_dispatcher *d);
    int releases; /* what it takes over it releases all the same */
} functions[] = {
    {set_terminator, 0},
    {set_terminator_count, 0},
    {keep_incoming_data, 0},
    {set_ac_in_buffer_size, 0},
    {set_ac_out_buffer_size, 0},
    {set_collect_limit, 0},
    {set_high_water, 0},
    {push, 0},
    {push_reference, 1},
    {push_with_producer, 1},
    {asynchat_close_when_done, 0},
    {asynchat_initiate_send, 0},
    {asynchat_discard_buffers, 0},
    {collect_incoming_data, 0},
    {asynchat_found_terminator, 0},
    {asynchat_handle_collect_limit, 0},
    {asynchat_handle_high_water, 0},
    {asynchat_async_chat_handle_read, 0},
    {asynchat_async_chat_handle_write, 0},
    {asynchat_async_chat_readable, 0},
    {asynchat_async_chat_writable, 0},
    {asynchat_async_chat_handle_collect_limit, 0},
    {asynchat_async_chat_handle_high_water, 0},
    {init, 0},
};

START_TEST(no_chat)
{
    struct asyncore_dispatcher *d = _i ? &asyncore_dispatcher_with_send_new(-1, the_map)->base
                                       : asyncore_dispatcher_new(-1, the_map);

    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        int r;

        released = 0;
        r = functions[i].function(d);
        ck_assert_msg(r == -EINVAL, "function %zu returns %d", i, r);
        ck_assert_int_eq(released, functions[i].releases);
    }
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 0);
}
END_TEST

START_TEST(no_chat_to_look_at)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, the_map);
    size_t len;

    check_terminator(d, ASYNCHAT_TERMINATOR_NONE, NULL, 0);
    ck_assert_ptr_null(asynchat_get_data(d, &len));
    ck_assert_ptr_null(asynchat_incoming(d));
    ck_assert_uint_eq(asynchat_ac_in_buffer_size(d), 0);
    ck_assert_uint_eq(asynchat_ac_out_buffer_size(d), 0);
}
END_TEST

START_TEST(a_plain_async_chat)
{
    struct asynchat_async_chat *chat = asynchat_async_chat_new(-1, NULL);

    ck_assert_ptr_nonnull(chat);
    ck_assert_ptr_eq(chat->base.cls, &asynchat_async_chat_class);
    ck_assert_ptr_eq(chat->base.map, asyncore_socket_map());
    ck_assert(asyncore_isinstance(&chat->base, &asyncore_dispatcher_class));
    ck_assert(!asyncore_isinstance(&chat->base, &asyncore_dispatcher_with_send_class));
    ck_assert_int_eq(asyncore_readable(&chat->base), 1);
    ck_assert_int_eq(asyncore_writable(&chat->base), 1);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

int main(void)
{
    Suite *s = suite_create("chat");
    TCase *terminator = add_case(s, tcase_create("terminator"));
    TCase *keeping = add_case(s, tcase_create("keeping"));
    TCase *buffers = add_case(s, tcase_create("buffer_sizes"));
    TCase *others = add_case(s, tcase_create("classes"));

    tcase_add_test(terminator, a_new_chat_has_no_terminator);
    tcase_add_test(terminator, bytes_are_copied);
    tcase_add_test(terminator, terminators_replace_each_other);
    tcase_add_test(terminator, terminator_of_the_terminator);
    tcase_add_test(terminator, a_terminator_that_is_too_long);
    tcase_add_test(terminator, negative_counts);
    tcase_add_test(terminator, counts_are_counted_down);
    tcase_add_test(terminator, count_set_in_a_part);
    tcase_add_loop_test(terminator, another_socket_in_a_part, 0, 2);
    tcase_add_test(keeping, kept_in_one_piece);
    tcase_add_test(keeping, nothing_kept);
    tcase_add_test(keeping, data_is_the_callers);
    tcase_add_loop_test(keeping, data_of_found_terminator, 0, 3);
    tcase_add_test(keeping, kept_in_a_nested_pass);
    tcase_add_loop_test(keeping, collectors_over_it, 0, 2);
    tcase_add_test(keeping, line_after_line);
    tcase_add_test(keeping, a_megabyte_is_kept);
    tcase_add_test(keeping, any_length_is_kept);
    tcase_add_test(keeping, kept_in_a_buffer);
    tcase_add_test(keeping, kept_by_the_program);
    tcase_add_test(keeping, kept_again);
    tcase_add_test(keeping, discard_drops_what_is_kept);
    tcase_add_loop_test(buffers, buffer_sizes, 0, sizeof sizes / sizeof *sizes);
    tcase_add_test(buffers, reads_as_much_as_its_buffer_holds);
    tcase_add_test(buffers, a_buffer_grows);
    tcase_add_loop_test(others, no_chat, 0, 2);
    tcase_add_test(others, no_chat_to_look_at);
    tcase_add_test(others, a_plain_async_chat);
    return test_main(s);
}
