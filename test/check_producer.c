/*
 * Producers: what each kind makes, when a channel asks it, what happens when it fails, and that it
 * is released exactly once.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <string.h>

/* --- a producer that a test controls ---------------------------------------------------------- */

struct maker {
    const char *const *pieces; /* what more adds, one a call, until NULL */
    int (*hook)(void);         /* called by more first; its error is more's */
    int asked;
    int released;
};

static int add_piece(struct evbuffer *out, void *arg)
{
    struct maker *self = arg;
    int r = self->hook ? self->hook() : 0;
    const char *piece;

    self->asked++;
    if (r < 0 || !*self->pieces)
        return r;
    piece = *self->pieces++;
    return evbuffer_add(out, piece, strlen(piece)) < 0 ? -ENOMEM : 0;
}

static void release_maker(void *arg)
{
    struct maker *self = arg;

    self->released++;
}

static struct asynchat_producer *new_maker(struct maker *self, const char *const *pieces)
{
    *self = (struct maker){.pieces = pieces};

    struct asynchat_producer *producer =
        asynchat_callback_producer_new(add_piece, release_maker, self);

    ck_assert_ptr_nonnull(producer);
    return producer;
}

static const char *const one_two[] = {"one", "two", NULL};

/* --- what they make: without a channel -------------------------------------------------------- */

/* Everything, in the pieces given by length, and then nothing. */
static void check_makes(struct asynchat_producer *producer, const char *data, const size_t *lengths)
{
    struct evbuffer *out = evbuffer_new();
    size_t at = 0;

    ck_assert_ptr_nonnull(producer);
    ck_assert_ptr_nonnull(out);
    for (; *lengths > 0; at += *lengths++) {
        ck_assert_int_eq(asynchat_producer_more(producer, out), (int)*lengths);
        ck_assert_uint_eq(evbuffer_get_length(out), *lengths);
        ck_assert_mem_eq(evbuffer_pullup(out, -1), data + at, *lengths);
        evbuffer_drain(out, *lengths);
    }
    ck_assert_int_eq(asynchat_producer_more(producer, out), 0);
    ck_assert_uint_eq(evbuffer_get_length(out), 0);
    evbuffer_free(out);
    ck_assert_ptr_null(asynchat_producer_free(producer));
}

#define LENGTHS(...)                                                                               \
    (const size_t[])                                                                               \
    {                                                                                              \
        __VA_ARGS__, 0                                                                             \
    }

static void fill_pattern(char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

START_TEST(simple_producer)
{
    static const struct {
        size_t len, size;
        size_t lengths[4];
    } cases[] = {{1300, 0, {512, 512, 276}}, {1024, 0, {512, 512}}, {20, 8, {8, 8, 4}},
                 {3, 1, {1, 1, 1}},          {5, 1000, {5}},        {0, 0, {0}}};
    char data[1300], copy[1300];

    fill_pattern(data, sizeof data);
    memcpy(copy, data, sizeof data);

    struct asynchat_producer *producer =
        asynchat_simple_producer_new(copy, cases[_i].len, cases[_i].size);

    memset(copy, '?', sizeof copy); /* it has its own */
    check_makes(producer, data, cases[_i].lengths);
}
END_TEST

START_TEST(callback_producer)
{
    struct maker maker;

    check_makes(new_maker(&maker, one_two), "onetwo", LENGTHS(3, 3));
    ck_assert_int_eq(maker.released, 1);
}
END_TEST

START_TEST(callback_without_release)
{
    struct maker maker = {.pieces = one_two};

    check_makes(asynchat_callback_producer_new(add_piece, NULL, &maker), "onetwo", LENGTHS(3, 3));
}
END_TEST

static int fails(void)
{
    return -EPROTO;
}

static int exits(void)
{
    return ASYNCORE_EXIT_NOW;
}

START_TEST(a_callback_that_fails)
{
    struct maker maker;
    struct asynchat_producer *producer = new_maker(&maker, one_two);
    struct evbuffer *out = evbuffer_new();

    maker.hook = _i ? exits : fails;
    ck_assert_int_eq(asynchat_producer_more(producer, out), _i ? ASYNCORE_EXIT_NOW : -EPROTO);
    ck_assert_int_eq(maker.released, 0);
    maker.hook = NULL;
    ck_assert_int_eq(asynchat_producer_more(producer, out), 3); /* it is asked again */
    asynchat_producer_free(producer);
    ck_assert_int_eq(maker.released, 1);
    evbuffer_free(out);
}
END_TEST

START_TEST(free_nothing)
{
    ck_assert_ptr_null(asynchat_producer_free(NULL));
}
END_TEST

static int buffers_released;

static void release_buffer(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)arg;
    buffers_released++;
}

START_TEST(evbuffer_producer)
{
    static const char data[] = "by reference";
    struct evbuffer *buffer = evbuffer_new(), *out = evbuffer_new();
    struct asynchat_producer *producer;

    buffers_released = 0;
    ck_assert_int_eq(evbuffer_add_reference(buffer, data, 12, release_buffer, NULL), 0);
    producer = asynchat_evbuffer_producer_new(buffer);
    ck_assert_ptr_nonnull(producer);
    ck_assert_int_eq(asynchat_producer_more(producer, out), 12);
    ck_assert_ptr_eq(evbuffer_pullup(out, -1), data); /* without a copy */
    ck_assert_int_eq(asynchat_producer_more(producer, out), 0);
    asynchat_producer_free(producer);
    ck_assert_int_eq(buffers_released, 0);
    evbuffer_free(out);
    ck_assert_int_eq(buffers_released, 1);
}
END_TEST

START_TEST(evbuffer_producer_unused)
{
    struct evbuffer *buffer = evbuffer_new();

    buffers_released = 0;
    ck_assert_int_eq(evbuffer_add_reference(buffer, "x", 1, release_buffer, NULL), 0);
    asynchat_producer_free(asynchat_evbuffer_producer_new(buffer));
    ck_assert_int_eq(buffers_released, 1);
}
END_TEST

/* --- in a channel's queue --------------------------------------------------------------------- */

static int push(struct asynchat_producer *producer)
{
    return asynchat_push_with_producer(chat_d(0), producer);
}

/* Not before what is in front of it goes out; the next one not before it is exhausted. */
START_TEST(asked_in_turn)
{
    struct maker first, second;

    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), 3), 0);
    chat_block(chat_d(0));
    ck_assert_int_eq(chat_push_text(chat_d(0), "12345"), 0);
    ck_assert_int_eq(push(new_maker(&first, one_two)), 0);
    ck_assert_int_eq(push(new_maker(&second, one_two)), 0);
    ck_assert_int_eq(first.asked, 0);
    chat_unblock(chat_d(0));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(first.asked, 0);
    for (int i = 0; i < 20 && asyncore_writable(chat_d(0)); i++) {
        ck_assert(second.asked == 0 || first.released == 1);
        ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    }
    ck_assert_received(peers[0], "12345onetwoonetwo");
    ck_assert_int_eq(first.asked, 3);
    ck_assert_int_eq(second.asked, 3);
    ck_assert_int_eq(second.released, 1);
    ck_assert_trace("");
}
END_TEST

START_TEST(not_asked_before_the_connection)
{
    struct maker maker;

    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(push(new_maker(&maker, one_two)), 0);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(maker.asked, 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(chat_d(0)), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_received(peers[0], "onetwo");
}
END_TEST

static int pushes_all_kinds(struct chat *self)
{
    static struct maker maker;

    (void)self;
    ck_assert_int_eq(chat_push_text(chat_d(0), "data "), 0);
    ck_assert_int_eq(push(new_maker(&maker, one_two)), 0);
    ck_assert_int_eq(push(asynchat_simple_producer_new(" simple", 7, 2)), 0);
    ck_assert_int_eq(chat_calls[0].send, 0);
    return 0;
}

START_TEST(gathered_with_other_output)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_all_kinds;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(chat_calls[0].send, 1);
    ck_assert_received(peers[0], "data onetwo simple");
}
END_TEST

static const char *const nothing[] = {NULL};

static struct maker gathered;

static int pushes_and_closes(struct chat *self)
{
    int r = push(new_maker(&gathered, one_two));

    return r < 0 ? r : asyncore_close(chat_dispatcher(self));
}

/* close asks who was pushed in its handler once, even where the socket takes all of that. */
START_TEST(asked_once_by_close)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), 3), 0);
    chats[0]->hook[CHAT_FOUND] = pushes_and_closes;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_int_eq(gathered.asked, 1);
    ck_assert_received(peers[0], "one");
    ck_assert_int_eq(gathered.released, 0);
}
END_TEST

START_TEST(producers_of_nothing)
{
    struct maker maker;

    make_scripted_chats(1);
    ck_assert_int_eq(push(new_maker(&maker, nothing)), 0);
    ck_assert_int_eq(push(asynchat_simple_producer_new(NULL, 0, 0)), 0);
    ck_assert_int_eq(push(asynchat_evbuffer_producer_new(evbuffer_new())), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "a"), 0);
    ck_assert_int_eq(run_passes(the_map, false, 3), 0);
    ck_assert_received(peers[0], "a");
    ck_assert_int_eq(maker.released, 1);
    ck_assert_int_eq(asyncore_writable(chat_d(0)), 0);
}
END_TEST

START_TEST(no_producer)
{
    make_scripted_chats(1);
    errno = 0;
    ck_assert_int_eq(push(NULL), -ENOMEM);
    errno = ENOENT; /* of a file that could not be opened */
    ck_assert_int_eq(push(NULL), -ENOENT);
    ck_assert_int_eq(asyncore_writable(chat_d(0)), 0);
}
END_TEST

/* --- failures -------------------------------------------------------------------------------- */

static struct maker failing;

static int fails_once(void)
{
    failing.hook = NULL;
    return -EPROTO;
}

/* What is in front of it is sent, handle_error is called, and it is asked again. */
START_TEST(fails_in_handle_write)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(chat_push_text(chat_d(0), "front "), 0);
    ck_assert_int_eq(push(new_maker(&failing, one_two)), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), " behind"), 0);
    failing.hook = fails_once;
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asyncore_write(chat_d(0)), 0);
    ck_assert_trace("error(EPROTO)");
    ck_assert_received(peers[0], "front ");
    ck_assert_int_eq(run_passes(the_map, _i, 5), 0);
    ck_assert_trace("error(EPROTO)");
    ck_assert_received(peers[0], "onetwo behind");
    ck_assert_int_eq(failing.released, 1);
}
END_TEST

/* Who calls gets the error. */
START_TEST(fails_in_push)
{
    struct asynchat_producer *producer = new_maker(&failing, one_two);

    make_scripted_chats(1);
    failing.hook = fails_once;
    ck_assert_int_eq(push(producer), -EPROTO);
    ck_assert_trace("");
    ck_assert_int_eq(failing.released, 0); /* it stays the next one */
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_received(peers[0], "onetwo");
}
END_TEST

static int pushes_failing(struct chat *self)
{
    int r = chat_push_text(chat_d(0), "front");

    (void)self;
    if (r == 0)
        r = push(new_maker(&failing, one_two));
    failing.hook = fails;
    return r;
}

/* At the end of the handler it is an error of the channel's own. */
START_TEST(fails_after_a_handler)
{
    make_scripted_chats(1);
    chats[0]->hook[CHAT_FOUND] = pushes_failing;
    ck_assert_int_eq(chat_feed_text(chat_d(0), "\n"), 0);
    ck_assert_trace("found error(EPROTO)");
    ck_assert_received(peers[0], "front");
    ck_assert_int_eq(asyncore_fileno(chat_d(0)), -1);
    ck_assert_int_eq(failing.released, 0);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_int_eq(failing.released, 1);
}
END_TEST

static int adds_and_fails(struct evbuffer *out, void *arg)
{
    (void)arg;
    ck_assert_int_eq(evbuffer_add(out, "added", 5), 0);
    return -EPROTO;
}

/* What it has added counts. */
START_TEST(fails_with_something_made)
{
    struct asynchat_producer *producer = asynchat_callback_producer_new(adds_and_fails, NULL, NULL);

    make_scripted_chats(1);
    ck_assert_int_eq(push(producer), -EPROTO);
    ck_assert_received(peers[0], "added");
}
END_TEST

START_TEST(exit_now)
{
    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(push(new_maker(&failing, one_two)), 0);
    failing.hook = exits;
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 5), ASYNCORE_EXIT_NOW);
    failing.hook = NULL;
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_received(peers[0], "onetwo");
    ck_assert_trace("");
}
END_TEST

/* --- released exactly once -------------------------------------------------------------------- */

enum way {
    WAY_EXHAUSTED,
    WAY_DISCARDED,
    WAY_DISCARDED_HALF,
    WAY_CLOSED,
    WAY_MAP_FREED,
    WAY_NEXT_SOCKET,
    WAYS
};

static void end_of_the_map(void)
{
    asyncore_map_free(the_map);
    the_map = NULL;
}

START_TEST(released_once)
{
    struct maker maker;
    struct asynchat_producer *producer = new_maker(&maker, one_two);
    const enum way way = (enum way)_i;

    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), 3), 0);
    asyncore_set_connected(chat_d(0), way == WAY_EXHAUSTED || way == WAY_DISCARDED_HALF);
    ck_assert_int_eq(push(producer), 0);
    ck_assert_int_eq(maker.released, 0);
    if (way == WAY_DISCARDED || way == WAY_DISCARDED_HALF)
        ck_assert_int_eq(asynchat_discard_buffers(chat_d(0)), 0);
    if (way == WAY_CLOSED || way == WAY_NEXT_SOCKET)
        ck_assert_int_eq(asyncore_close(chat_d(0)), 0);
    if (way == WAY_NEXT_SOCKET) {
        test_close(&peers[0]);
        chat_give_scripted(chat_d(0), 0, &chat_calls[0], &peers[0]);
    }
    if (way == WAY_CLOSED || way == WAY_NEXT_SOCKET)
        ck_assert_int_eq(maker.released, 0); /* not by close: it is for the next socket */
    if (way == WAY_MAP_FREED)
        end_of_the_map();
    else
        ck_assert_int_eq(run_passes(the_map, false, 5), 0);
    ck_assert_int_eq(maker.released, 1);
    ck_assert_int_eq(maker.asked, way == WAY_EXHAUSTED || way == WAY_NEXT_SOCKET ? 3
                                  : way == WAY_DISCARDED_HALF                    ? 1
                                                                                 : 0);
    end_of_the_map();
    ck_assert_int_eq(maker.released, 1);
}
END_TEST

/* What more and release may do to channels. */
static int closes(void)
{
    return asyncore_close(chat_d(0));
}

static int discards(void)
{
    return asynchat_discard_buffers(chat_d(0));
}

static int runs_a_pass(void)
{
    return run_passes(the_map, false, 1);
}

static int initiates(void)
{
    return asynchat_initiate_send(chat_d(0));
}

static int pushes_more(void)
{
    failing.hook = NULL;
    return chat_push_text(chat_d(0), " behind");
}

static int frees_map(void)
{
    end_of_the_map();
    return 0;
}

static const struct {
    int (*hook)(void);
    const char *received;
    bool open;
} hooks[] = {
    {closes, "", false},
    {discards, "", true},
    {runs_a_pass, "onetwo", true},
    {initiates, "onetwo", true},
    {pushes_more, "onetwo behind", true},
    {frees_map, NULL, false},
};

struct own {
    struct chat base;
};

static int own_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return asyncore_dispatcher_send(d, data, len);
}

ASYNCORE_CLASS(own, chat, .send = own_send);

enum {
    HOOKS = sizeof hooks / sizeof *hooks
};

/* It waits in the queue. */
static int push_when_connected(const char *const *pieces)
{
    int r;

    asyncore_set_connected(chat_d(0), false);
    r = push(new_maker(&failing, pieces));
    asyncore_set_connected(chat_d(0), true);
    return r;
}

/* In a pass, for the map may go; and with a send of the class's own. */
START_TEST(what_more_does)
{
    const int row = _i % HOOKS;

    make_scripted_chats(_i < HOOKS);
    if (_i >= HOOKS) {
        chats[0] = chat_make_of(&own_class, NULL, -1);
        chat_give_scripted(chat_d(0), 0, &chat_calls[0], &peers[0]);
    }
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(push(new_maker(&failing, one_two)), 0);
    failing.hook = hooks[row].hook;
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(asyncore_loop(0, false, the_map, 5),
                     hooks[row].open ? ASYNCORE_LOOP_COUNT : ASYNCORE_LOOP_EMPTY);
    if (hooks[row].received)
        ck_assert_received(peers[0], hooks[row].received);
    ck_assert_int_eq(failing.released, 1);
    ck_assert_trace("");
}
END_TEST

static struct scripted_calls next_calls;

/* It is not connected yet. */
static int sets_socket(void)
{
    failing.hook = NULL;
    test_close(&peers[0]);
    chat_give_scripted(chat_d(0), 0, &next_calls, &peers[0]);
    asyncore_set_connected(chat_d(0), false);
    return 0;
}

/* What it makes then is for that socket, and not sent to it before it is connected. */
START_TEST(another_socket_while_it_is_asked)
{
    memset(&next_calls, 0, sizeof next_calls);
    make_scripted_chats(1);
    ck_assert_int_eq(push_when_connected(one_two), 0);
    failing.hook = sets_socket;
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(next_calls.send, 0);
    ck_assert_received(peers[0], "");
    ck_assert_trace("");
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_received(peers[0], "onetwo");
}
END_TEST

static int (*release_hook)(void);

static void release_and_call(void *arg)
{
    release_maker(arg);
    ck_assert_int_ge(release_hook(), 0);
}

/* When it is exhausted, and when the buffers are discarded; but for the map's end. */
START_TEST(what_release_does)
{
    struct maker maker = {.pieces = nothing};

    release_hook = hooks[_i / 2].hook;
    make_scripted_chats(1);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(push(asynchat_callback_producer_new(add_piece, release_and_call, &maker)), 0);
    asyncore_set_connected(chat_d(0), true);
    if (_i % 2)
        ck_assert_int_eq(asynchat_discard_buffers(chat_d(0)), 0);
    else
        ck_assert_int_ge(run_passes(the_map, false, 1), 0);
    ck_assert_int_eq(maker.released, 1);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void add_making(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("making"));

    tcase_add_loop_test(tc, simple_producer, 0, 6);
    tcase_add_test(tc, callback_producer);
    tcase_add_test(tc, callback_without_release);
    tcase_add_loop_test(tc, a_callback_that_fails, 0, 2);
    tcase_add_test(tc, free_nothing);
    tcase_add_test(tc, evbuffer_producer);
    tcase_add_test(tc, evbuffer_producer_unused);
}

static void add_queued(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("queued"));

    tcase_add_test(tc, asked_in_turn);
    tcase_add_loop_test(tc, not_asked_before_the_connection, 0, 2);
    tcase_add_test(tc, gathered_with_other_output);
    tcase_add_test(tc, asked_once_by_close);
    tcase_add_test(tc, producers_of_nothing);
    tcase_add_test(tc, no_producer);

    tc = add_chat_case(s, tcase_create("failing"));
    tcase_add_loop_test(tc, fails_in_handle_write, 0, 2);
    tcase_add_test(tc, fails_in_push);
    tcase_add_test(tc, fails_after_a_handler);
    tcase_add_test(tc, fails_with_something_made);
    tcase_add_loop_test(tc, exit_now, 0, 2);

    tc = add_chat_case(s, tcase_create("released"));
    tcase_add_loop_test(tc, released_once, 0, WAYS);
    tcase_add_loop_test(tc, what_more_does, 0, 2 * HOOKS);
    tcase_add_loop_test(tc, another_socket_while_it_is_asked, 0, 2);
    tcase_add_loop_test(tc, what_release_does, 0, 2 * (HOOKS - 1));
}

int main(void)
{
    Suite *s = suite_create("producer");

    add_making(s);
    add_queued(s);
    return test_main(s);
}
