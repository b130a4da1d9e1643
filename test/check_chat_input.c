/*
 * async_chat's input: what is handed out and when, what stops it, what fails, what is kept.
 * That the calls do not depend on how the input is cut is check_chat_terminator's.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* With a scripted socket, and a terminator, "": none. */
static struct asyncore_dispatcher *scripted(const char *terminator)
{
    make_scripted_chats(1);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), terminator, strlen(terminator)), 0);
    return chat_d(0);
}

/* On a socketpair. */
static struct asyncore_dispatcher *connected(void)
{
    make_connected_chats(1, AF_UNIX);
    return chat_d(0);
}

/* --- what is handed out ---------------------------------------------------------------------- */

START_TEST(each_line)
{
    struct asyncore_dispatcher *d = scripted("\n");

    ck_assert_int_eq(chat_feed_text(d, "ab\ncd\n\nef"), 0);
    ck_assert_trace("'ab' found 'cd' found found 'ef'");
}
END_TEST

START_TEST(everything_without_a_terminator)
{
    chats[0] = chat_scripted(NULL, 0, &chat_calls[0], &peers[0]);
    ck_assert_int_eq(chat_feed_text(chat_d(0), "ab\n"), 0);
    ck_assert_int_eq(chat_feed_text(chat_d(0), "cd"), 0);
    ck_assert_trace("'ab\\n' 'cd'");
}
END_TEST

START_TEST(so_many_bytes)
{
    struct asyncore_dispatcher *d = scripted("");

    ck_assert_int_eq(asynchat_set_terminator_count(d, 5), 0);
    ck_assert_int_eq(chat_feed_text(d, "abc"), 0);
    ck_assert_int_eq(chat_feed_text(d, "defg"), 0); /* and then everything */
    ck_assert_trace("'abc' 'de' found 'fg'");
}
END_TEST

START_TEST(what_could_begin_a_terminator_waits)
{
    struct asyncore_dispatcher *d = scripted("\r\n.\r\n");

    ck_assert_int_eq(chat_feed_text(d, "ab\r\n."), 0);
    ck_assert_int_eq(chat_feed_text(d, "\r"), 0);
    ck_assert_trace("'ab'");
    ck_assert_int_eq(chat_feed_text(d, "c\r\n"), 0);
    ck_assert_trace("'ab' '\\r\\n.\\rc'");
    ck_assert_int_eq(chat_feed_text(d, ".\r\n"), 0);
    ck_assert_trace("'ab' '\\r\\n.\\rc' found");
}
END_TEST

static int count_two(struct chat *self)
{
    self->hook[CHAT_FOUND] = NULL;
    return asynchat_set_terminator_count(chat_dispatcher(self), 2);
}

START_TEST(changed_in_found_terminator)
{
    struct asyncore_dispatcher *d = scripted("\n");

    chats[0]->hook[CHAT_FOUND] = count_two;
    ck_assert_int_eq(chat_feed_text(d, "a\nb\nc\n"), 0);
    ck_assert_trace("'a' found 'b\\n' found 'c\\n'");
}
END_TEST

static int until_semicolon(struct chat *self)
{
    self->hook[CHAT_COLLECT] = NULL;
    return asynchat_set_terminator(chat_dispatcher(self), ";", 1);
}

/* For the input behind what was handed out, and behind a terminator that has been found there. */
START_TEST(changed_in_collect_incoming_data)
{
    struct asyncore_dispatcher *d = scripted("\n");

    chats[0]->hook[CHAT_COLLECT] = until_semicolon;
    ck_assert_int_eq(chat_feed_text(d, "a\nb;c"), 0);
    ck_assert_trace("'a' found 'b' found 'c'");
    probe_clear();
    ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
    chats[0]->hook[CHAT_COLLECT] = until_semicolon;
    ck_assert_int_eq(chat_feed_text(d, "d"), 0);
    ck_assert_int_eq(chat_feed_text(d, "\ne;"), 0);
    ck_assert_trace("'d' '\\ne' found");
}
END_TEST

START_TEST(changed_while_something_is_held_back)
{
    struct asyncore_dispatcher *d = scripted("\r\n");

    ck_assert_int_eq(chat_feed_text(d, "ab\r"), 0);
    ck_assert_int_eq(asynchat_set_terminator(d, ";", 1), 0);
    ck_assert_int_eq(chat_feed_text(d, "\nc;d"), 0);
    ck_assert_trace("'ab' '\\r\\nc' found 'd'");
}
END_TEST

/* -EAGAIN is no failure of a handler, and a count is none. */
static int returns_arg(struct chat *self)
{
    return *(const int *)self->arg;
}

START_TEST(what_is_no_failure)
{
    static int results[] = {-EAGAIN, 17};
    struct asyncore_dispatcher *d = scripted("\n");

    chats[0]->hook[_i / 2 ? CHAT_FOUND : CHAT_COLLECT] = returns_arg;
    chats[0]->arg = &results[_i % 2];
    ck_assert_int_eq(chat_feed_text(d, "ab\ncd\n"), 0);
    ck_assert_trace("'ab' found 'cd' found");
}
END_TEST

/* --- the end of the input -------------------------------------------------------------------- */

START_TEST(what_waits_is_collected_at_the_end)
{
    static const struct {
        const char *terminator, *input, *expected;
    } cases[] = {
        {"\r\n", "ab\r", "'ab' '\\r' close"},
        {"\r\n", "\r", "'\\r' close"},
        {"\r\n.\r\n", "\r\n.\r", "'\\r\\n.\\r' close"},
        {"\r\n", "ab\r\n", "'ab' found close"},
        {"\r\n", "ab", "'ab' close"},
        {"\r\n", "", "close"},
        {"", "ab", "'ab' close"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct asyncore_dispatcher *d = scripted(cases[i].terminator);

        probe_clear();
        ck_assert_int_eq(chat_feed_text(d, cases[i].input), 0);
        ck_assert_int_eq(chat_feed_end(d), 0);
        ck_assert_trace(cases[i].expected);
        test_close(&peers[0]);
    }
}
END_TEST

/* On a socket, in both ways: there the end may come as a hang-up. */
START_TEST(the_end_of_a_socket)
{
    static const int families[] = {AF_UNIX, AF_INET};

    chats[0] = chat_connected(NULL, families[_i / 2], &peers[0]);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), "\r\n", 2), 0);
    test_write_all(peers[0], "ab\r\ncd\r", 7);
    test_close(&peers[0]);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i % 2, the_map, 10), ASYNCORE_LOOP_EMPTY);
    ck_assert_trace("'ab' found 'cd' '\\r' close");
}
END_TEST

START_TEST(a_long_part_waits_until_the_end)
{
    static char terminator[5001];
    struct asyncore_dispatcher *d;

    memset(terminator, 'x', sizeof terminator - 1);
    d = scripted(terminator);
    ck_assert_int_eq(chat_feed(d, terminator, 4999), 0);
    ck_assert_trace("");
    ck_assert_int_eq(chat_feed_end(d), 0);
    ck_assert_trace("[4999] close");
    ck_assert_uint_eq(chats[0]->total, 4999);
}
END_TEST

START_TEST(a_failure_at_the_end_closes_once)
{
    struct asyncore_dispatcher *d = scripted("\r\n");

    chats[0]->hook[CHAT_COLLECT] = chat_fails;
    ck_assert_int_eq(chat_feed_text(d, "\r"), 0);
    ck_assert_int_eq(chat_feed_end(d), 0);
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_int_eq(chats[0]->calls[CHAT_ERROR], 1);
    ck_assert_int_le(chats[0]->calls[CHAT_CLOSE], 1);
}
END_TEST

START_TEST(closed_at_the_end)
{
    struct asyncore_dispatcher *d = scripted("\r\n");

    chats[0]->hook[CHAT_COLLECT] = chat_closes;
    ck_assert_int_eq(chat_feed_text(d, "\r"), 0);
    ck_assert_int_eq(chat_feed_end(d), 0);
    ck_assert_trace("'\\r'");
}
END_TEST

/* --- what stops it --------------------------------------------------------------------------- */

static int discards(struct chat *self)
{
    self->hook[CHAT_COLLECT] = self->hook[CHAT_FOUND] = self->hook[CHAT_LIMIT] = NULL;
    asynchat_set_collect_limit(chat_dispatcher(self), 0);
    return asynchat_discard_buffers(chat_dispatcher(self));
}

/* Its first socket's other end is peers[0], that of the next one peers[1]. */
static int sets_socket(struct chat *self)
{
    int pair[2];
    int r;

    self->hook[CHAT_COLLECT] = self->hook[CHAT_FOUND] = self->hook[CHAT_LIMIT] = NULL;
    asynchat_set_collect_limit(chat_dispatcher(self), 0);
    test_socketpair(SOCK_STREAM, pair);
    peers[1] = pair[1];
    r = asyncore_set_socket(chat_dispatcher(self), pair[0], NULL);
    asyncore_set_connected(chat_dispatcher(self), true);
    return r;
}

static int frees_map(struct chat *self)
{
    (void)self;
    asyncore_map_free(the_map);
    the_map = NULL;
    return 0;
}

/* The rest of the input is not handed out; that of a new socket, or what comes later, is. */
static const struct {
    int (*hook)(struct chat *self);
    int peer; /* who sends more: -1: there is nobody to read it */
} stops[] = {{chat_closes, -1}, {discards, 0}, {sets_socket, 1}, {frees_map, -1}};

static const struct {
    enum chat_call call;
    const char *trace;
} methods[] = {{CHAT_COLLECT, "'ab'"}, {CHAT_FOUND, "'ab' found"}, {CHAT_LIMIT, "limit"}};

enum {
    STOPS = sizeof stops / sizeof *stops,
    METHODS = sizeof methods / sizeof *methods
};

START_TEST(stopped_in_a_method)
{
    const bool use_poll = _i % 2;
    const int method = _i / 2 % METHODS, stop = _i / 2 / METHODS, peer = stops[stop].peer;
    struct asyncore_dispatcher *d = connected();

    chats[0]->hook[methods[method].call] = stops[stop].hook;
    if (methods[method].call == CHAT_LIMIT)
        ck_assert_int_eq(asynchat_set_collect_limit(d, 1), 0);
    test_write_all(peers[0], "ab\ncd\n", 6);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    if (method == 0 && stops[stop].hook == discards) /* as in Python: the terminator was found */
        ck_assert_trace("'ab' found");
    else
        ck_assert_trace(methods[method].trace);
    if (peer < 0)
        return;
    probe_clear();
    test_write_all(peers[peer], "ef\n", 3);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_trace("'ef' found");
}
END_TEST

/* Nothing of the old socket's input waits for that of the new one. */
START_TEST(a_new_socket_begins_anew)
{
    struct asyncore_dispatcher *d = scripted("\r\n");

    ck_assert_int_eq(chat_feed_text(d, "ab\r"), 0);
    if (_i)
        ck_assert_int_eq(asyncore_close(d), 0);
    chat_give_scripted(d, 0, &chat_calls[0], &peers[1]);
    ck_assert_int_eq(chat_feed_text(d, "\ncd\r\n"), 0);
    ck_assert_trace("'ab' '\\ncd' found");
}
END_TEST

START_TEST(discard_drops_what_waits)
{
    struct asyncore_dispatcher *d = scripted("\r\n");

    ck_assert_int_eq(chat_feed_text(d, "ab\r"), 0);
    ck_assert_int_eq(asynchat_discard_buffers(d), 0);
    ck_assert_int_eq(chat_feed_text(d, "\ncd\r\n"), 0);
    ck_assert_trace("'ab' '\\ncd' found");
}
END_TEST

/* --- failures -------------------------------------------------------------------------------- */

static int fails_once(struct chat *self)
{
    self->hook[CHAT_COLLECT] = self->hook[CHAT_FOUND] = NULL;
    return -EPROTO;
}

START_TEST(what_collect_failed_for_is_handed_out_again)
{
    static const struct {
        const char *terminator; /* "": four bytes */
        const char *input, *more, *expected;
    } cases[] = {
        {"\n", "ab", "cd\n", "'ab' error(EPROTO) 'abcd' found"},
        {"\n", "ab\nc", "d\n", "'ab' error(EPROTO) 'ab' found 'cd' found"},
        {"\r\n", "ab\r", "cd", "'ab' error(EPROTO) 'ab\\rcd'"},
        {"\r\n", "ab\r", "\nc", "'ab' error(EPROTO) 'ab' found 'c'"},
        {"", "ab", "cde", "'ab' error(EPROTO) 'abcd' found 'e'"},
        {"", "abcde", "f", "'abcd' error(EPROTO) 'abcd' found 'ef'"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct asyncore_dispatcher *d = scripted(cases[i].terminator);

        probe_clear();
        if (cases[i].terminator[0] == '\0')
            ck_assert_int_eq(asynchat_set_terminator_count(d, 4), 0);
        chats[0]->hook[CHAT_COLLECT] = fails_once;
        chats[0]->hook[CHAT_ERROR] = chat_stays_open;
        ck_assert_int_eq(chat_feed_text(d, cases[i].input), 0);
        ck_assert_int_eq(chat_feed_text(d, cases[i].more), 0);
        ck_assert_trace(cases[i].expected);
        test_close(&peers[0]);
    }
}
END_TEST

static int until_semicolon_and_fails(struct chat *self)
{
    int r = until_semicolon(self);

    return r < 0 ? r : -EPROTO;
}

/* With something held back behind it, of a terminator that is another one now. */
START_TEST(collect_fails_with_another_terminator)
{
    struct asyncore_dispatcher *d = scripted("\r\n");

    chats[0]->hook[CHAT_COLLECT] = until_semicolon_and_fails;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(d, "ab\r"), 0);
    ck_assert_int_eq(chat_feed_text(d, "\nc;d"), 0);
    ck_assert_trace("'ab' error(EPROTO) 'ab\\r\\nc' found 'd'");
}
END_TEST

START_TEST(what_is_behind_a_failed_found_terminator_waits)
{
    struct asyncore_dispatcher *d = scripted("\n");

    chats[0]->hook[CHAT_FOUND] = fails_once;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    ck_assert_int_eq(chat_feed_text(d, "ab\ncd\n"), 0);
    ck_assert_trace("'ab' found error(EPROTO)");
    ck_assert_int_eq(chat_feed_text(d, "ef"), 0);
    ck_assert_trace("'ab' found error(EPROTO) 'cd' found 'ef'");
}
END_TEST

START_TEST(a_failure_closes)
{
    struct asyncore_dispatcher *d = scripted("\n");

    chats[0]->hook[_i ? CHAT_FOUND : CHAT_COLLECT] = chat_fails;
    ck_assert_int_eq(chat_feed_text(d, "ab\ncd\n"), 0);
    ck_assert_trace(_i ? "'ab' found error(EPROTO)" : "'ab' error(EPROTO)");
    ck_assert_int_eq(asyncore_fileno(d), -1);
}
END_TEST

static int exits(struct chat *self)
{
    self->hook[CHAT_FOUND] = NULL;
    return ASYNCORE_EXIT_NOW;
}

START_TEST(exit_now)
{
    (void)connected();
    chats[0]->hook[CHAT_FOUND] = exits;
    test_write_all(peers[0], "ab\ncd\n", 6);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i, the_map, 10), ASYNCORE_EXIT_NOW);
    ck_assert_trace("'ab' found");
    test_write_all(peers[0], "e", 1);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_trace("'ab' found 'cd' found 'e'");
}
END_TEST

START_TEST(recv_fails)
{
    static const struct {
        int error;
        const char *expected;
    } cases[] = {{-EIO, "error(EIO)"},
                 {-ENOMEM, "error(ENOMEM)"},
                 {-ECONNRESET, "close"},
                 {-EPIPE, "close"},
                 {-EAGAIN, ""}};
    struct asyncore_dispatcher *d = scripted("\n");

    scripted_recv(chat_socket(d), STEPS(cases[_i].error));
    ck_assert_int_eq(asyncore_read(d), 0);
    ck_assert_trace(cases[_i].expected);
}
END_TEST

/* What handle_error returns is what handle_read returns, and leaves the loop. */
START_TEST(handle_error_fails)
{
    struct asyncore_dispatcher *d = scripted("\n");

    chats[0]->hook[CHAT_ERROR] = chat_fails;
    scripted_recv(chat_socket(d), STEPS(-EIO, -EIO));
    ck_assert_int_eq(asynchat_async_chat_handle_read(d), -EPROTO);
    ck_assert_trace("error(EIO)");
}
END_TEST

struct unfinished {
    struct asynchat_async_chat base;
};

ASYNCORE_CLASS(unfinished, asynchat_async_chat,
               .collect_incoming_data = asynchat_keep_incoming_data);

/* The log says which method is missing, and the channel is closed. */
START_TEST(a_method_is_missing)
{
    static const char *const names[] = {"collect_incoming_data", "found_terminator"};
    const struct asyncore_class *const classes[] = {&asynchat_async_chat_class, &unfinished_class};
    struct asyncore_dispatcher *d = asyncore_new(classes[_i], -1, the_map);
    struct test_capture capture;

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(asynchat_set_terminator(d, "\n", 1), 0);
    chat_give_scripted(d, 0, &chat_calls[0], &peers[0]);
    test_capture_begin(&capture, STDOUT_FILENO);
    (void)chat_feed_text(d, "ab\n");
    (void)test_capture_end(&capture);
    ck_assert_ptr_nonnull(strstr(capture.text, "error: uncaptured python exception"));
    ck_assert_ptr_nonnull(strstr(capture.text, names[_i]));
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_int_eq(_i ? asynchat_found_terminator(d) : asynchat_collect_incoming_data(d, "a", 1),
                     -ENOSYS);
}
END_TEST

/* --- nested passes --------------------------------------------------------------------------- */

/* More arrives, and is read. */
static int runs_a_pass(struct chat *self)
{
    self->hook[CHAT_COLLECT] = self->hook[CHAT_FOUND] = NULL;
    test_write_all(peers[0], "ef\n", 3);
    return run_passes(the_map, *(const bool *)self->arg, 1);
}

/* Each byte once, in order, whoever hands it out. */
START_TEST(nested_pass)
{
    static bool use_poll;

    use_poll = _i % 2;
    (void)connected();
    chats[0]->hook[_i / 2 ? CHAT_FOUND : CHAT_COLLECT] = runs_a_pass;
    chats[0]->arg = &use_poll;
    test_write_all(peers[0], "ab\ncd\n", 6);
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
    ck_assert_trace("'ab' found 'cd' found 'ef' found");
}
END_TEST

static int runs_a_pass_each_time(struct chat *self)
{
    static const char *const more[] = {"g\n", "h\n", "i\n"};
    const int found = self->calls[CHAT_FOUND];

    if (found <= 3)
        test_write_all(peers[0], more[found - 1], 2);
    return run_passes(the_map, *(const bool *)self->arg, 1);
}

START_TEST(nested_passes_in_nested_passes)
{
    static bool use_poll;

    use_poll = _i;
    (void)connected();
    chats[0]->hook[CHAT_FOUND] = runs_a_pass_each_time;
    chats[0]->arg = &use_poll;
    test_write_all(peers[0], "a\nb\nc\n", 6);
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
    ck_assert_trace("'a' found 'b' found 'c' found 'g' found 'h' found 'i' found");
}
END_TEST

static int runs_to_the_end(struct chat *self)
{
    self->hook[CHAT_FOUND] = NULL;
    test_close(&peers[0]);
    return run_passes(the_map, *(const bool *)self->arg, 1);
}

START_TEST(closed_in_a_nested_pass)
{
    static bool use_poll;
    const char *last;

    use_poll = _i;
    (void)connected();
    chats[0]->hook[CHAT_FOUND] = runs_to_the_end;
    chats[0]->arg = &use_poll;
    test_write_all(peers[0], "ab\ncd\n", 6);
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
    ck_assert_int_eq(probe_count("close"), 1);
    ck_assert_int_eq(probe_count("'ab'"), 1);
    last = strrchr(probe_trace(), ' ');
    ck_assert_str_eq(last, " close"); /* nothing is called on a closed channel */
}
END_TEST

static int runs_a_pass_and_fails(struct chat *self)
{
    int r = runs_a_pass(self);

    self->hook[CHAT_ERROR] = chat_stays_open;
    return r < 0 ? r : -EPROTO;
}

/* What has been overtaken is not handed out again: it would be out of turn. */
START_TEST(failure_around_a_nested_pass)
{
    static bool use_poll;

    use_poll = _i % 2;
    (void)connected();
    chats[0]->hook[_i / 2 ? CHAT_FOUND : CHAT_COLLECT] = runs_a_pass_and_fails;
    chats[0]->arg = &use_poll;
    test_write_all(peers[0], "ab\ncd\n", 6);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_trace("'ab' found 'cd' found 'ef' found error(EPROTO)");
    test_write_all(peers[0], "gh\n", 3);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_trace("'ab' found 'cd' found 'ef' found error(EPROTO) 'gh' found");
}
END_TEST

static int fails_in_the_second(struct chat *self)
{
    if (self->calls[CHAT_FOUND] == 2)
        return -EPROTO;
    if (self->calls[CHAT_FOUND] > 2)
        return 0;
    test_write_all(peers[0], "ef\n", 3);
    return run_passes(the_map, *(const bool *)self->arg, 1);
}

/* What that pass leaves waiting is handed out by the handle_read around it. */
START_TEST(failure_in_a_nested_pass)
{
    static bool use_poll;

    use_poll = _i;
    (void)connected();
    chats[0]->hook[CHAT_FOUND] = fails_in_the_second;
    chats[0]->hook[CHAT_ERROR] = chat_stays_open;
    chats[0]->arg = &use_poll;
    test_write_all(peers[0], "ab\ncd\ngh\n", 9);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
    ck_assert_trace("'ab' found 'cd' found error(EPROTO) 'gh' found 'ef' found");
}
END_TEST

/* --- a class with a recv of its own ----------------------------------------------------------- */

static int (*recv_hook)(struct chat *self); /* called once */
static int recv_result;                     /* in place of what is read; 0: that */

struct own {
    struct chat base;
};

static int own_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    int (*hook)(struct chat * self) = recv_hook;
    int n;

    ck_assert_uint_eq(len, asynchat_ac_in_buffer_size(d));
    recv_hook = NULL;
    if (hook)
        ck_assert_int_eq(hook(chat_of(d)), 0);
    if (recv_result)
        return recv_result;
    n = asyncore_dispatcher_recv(d, buf, len);
    for (int i = 0; i < n; i++)
        ((char *)buf)[i] ^= ' '; /* the other case */
    return n;
}

ASYNCORE_CLASS(own, chat, .recv = own_recv);

static int reads_in_recv(struct chat *self)
{
    (void)self;
    return run_passes(the_map, false, 1);
}

static int fails_in_a_pass(struct chat *self)
{
    int r;

    self->hook[CHAT_FOUND] = fails_once;
    self->hook[CHAT_ERROR] = chat_stays_open;
    r = reads_in_recv(self);
    test_write_all(peers[0], "ef", 2);
    return r;
}

static int runs_a_pass_and_closes(struct chat *self)
{
    int r = reads_in_recv(self);

    return r < 0 ? r : chat_closes(self);
}

static const struct {
    int (*hook)(struct chat *self);
    int result;
    const char *trace;
} recvs[] = {
    {NULL, 0, "'AB' found 'CD'"},
    {NULL, -EAGAIN, ""},
    {NULL, -EIO, "error(EIO)"},
    {chat_closes, 0, ""},
    {reads_in_recv, 0, "'AB' found 'CD'"},
    {runs_a_pass_and_closes, 0, "'AB' found 'CD'"},
    {chat_discards, 0, "'AB' found 'CD'"},
    {fails_in_a_pass, 0, "'AB' found error(EPROTO) 'CDEF'"},
};

START_TEST(own_recv_reads)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    chats[0] = chat_make_of(&own_class, NULL, pair[0]);
    ck_assert_int_eq(asynchat_set_terminator(chat_d(0), ";", 1), 0);
    recv_hook = recvs[_i].hook;
    recv_result = recvs[_i].result;
    test_write_all(peers[0],
                   "ab\x1b"
                   "cd",
                   5);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_trace(recvs[_i].trace);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void add_handing_out(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("handing_out"));

    tcase_add_test(tc, each_line);
    tcase_add_test(tc, everything_without_a_terminator);
    tcase_add_test(tc, so_many_bytes);
    tcase_add_test(tc, what_could_begin_a_terminator_waits);
    tcase_add_test(tc, changed_in_found_terminator);
    tcase_add_test(tc, changed_in_collect_incoming_data);
    tcase_add_test(tc, changed_while_something_is_held_back);
    tcase_add_loop_test(tc, what_is_no_failure, 0, 4);

    tc = add_chat_case(s, tcase_create("end"));
    tcase_add_test(tc, what_waits_is_collected_at_the_end);
    tcase_add_loop_test(tc, the_end_of_a_socket, 0, 4);
    tcase_add_test(tc, a_long_part_waits_until_the_end);
    tcase_add_test(tc, a_failure_at_the_end_closes_once);
    tcase_add_test(tc, closed_at_the_end);

    tc = add_chat_case(s, tcase_create("stopping"));
    tcase_add_loop_test(tc, stopped_in_a_method, 0, 2 * STOPS * METHODS);
    tcase_add_loop_test(tc, a_new_socket_begins_anew, 0, 2);
    tcase_add_test(tc, discard_drops_what_waits);
}

static void add_failures(Suite *s)
{
    TCase *tc = add_chat_case(s, tcase_create("failures"));

    tcase_add_test(tc, what_collect_failed_for_is_handed_out_again);
    tcase_add_test(tc, collect_fails_with_another_terminator);
    tcase_add_test(tc, what_is_behind_a_failed_found_terminator_waits);
    tcase_add_loop_test(tc, a_failure_closes, 0, 2);
    tcase_add_loop_test(tc, exit_now, 0, 2);
    tcase_add_loop_test(tc, recv_fails, 0, 5);
    tcase_add_test(tc, handle_error_fails);
    tcase_add_loop_test(tc, a_method_is_missing, 0, 2);

    tc = add_chat_case(s, tcase_create("own_recv"));
    tcase_add_loop_test(tc, own_recv_reads, 0, sizeof recvs / sizeof *recvs);

    tc = add_chat_case(s, tcase_create("nested"));
    tcase_add_loop_test(tc, nested_pass, 0, 4);
    tcase_add_loop_test(tc, nested_passes_in_nested_passes, 0, 2);
    tcase_add_loop_test(tc, closed_in_a_nested_pass, 0, 2);
    tcase_add_loop_test(tc, failure_around_a_nested_pass, 0, 4);
    tcase_add_loop_test(tc, failure_in_a_nested_pass, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("chat_input");

    add_handing_out(s);
    add_failures(s);
    return test_main(s);
}
