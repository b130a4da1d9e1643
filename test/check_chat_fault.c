/*
 * Memory that runs out in async_chat: in a conversation with all kinds of terminators and output
 * each allocation fails in turn, in the library or in libevent.
 */
#define _GNU_SOURCE
#include "chat_probe.h"
#include "fault.h"
#include "support.h"

#include <event2/buffer.h>
#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- the scenario: what there is -------------------------------------------------------------
 *
 * The speaker sends lines, the listener answers each with "ok" and compares it with what the
 * speaker's calls have reported as taken. */

enum {
    DATA = 100000,
    LINES = 200
};

static char data[DATA + 2]; /* a long line, with its terminator */

struct line {
    const char *text;
    size_t len;
};

static struct {
    bool use_poll;
    const char *wrong; /* what has gone wrong, if anything */
    int pair[2];
    const char *file; /* has data */
    struct asyncore_map *map;
    struct asyncore_dispatcher *speaker, *listener;
    struct line lines[LINES]; /* that were taken, without their terminators */
    size_t taken;
    size_t heard;
    size_t answers; /* that the listener has sent */
    size_t answered;
    int held; /* what was given to be released, and what was released */
    int released;
    bool upset;        /* a handler has failed: input may wait for more */
    const char *nudge; /* a line with the listener's terminator */
    bool closed;
    time_t deadline;
} the;

static void wrong(const char *what)
{
    if (!the.wrong)
        the.wrong = what;
}

static void release(const void *what, size_t len, void *arg)
{
    (void)what;
    (void)len;
    (void)arg;
    the.released++;
}

static void release_arg(void *arg)
{
    (void)arg;
    the.released++;
}

/* Both ends of the conversation. */
struct talker {
    struct asynchat_async_chat base;
};

static int talker_handle_error(struct asyncore_dispatcher *d)
{
    if (asyncore_compact_traceback(d)->error != -ENOMEM)
        wrong("handle_error was called for something else than -ENOMEM");
    if (fault.told > 0 || !fault.where)
        wrong("handle_error was called without a failure");
    fault.told++;
    the.upset = true;
    return 0;
}

static int talker_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    (void)d;
    (void)message;
    (void)type;
    wrong("something was logged");
    return 0;
}

static int talker_handle_close(struct asyncore_dispatcher *d)
{
    the.closed |= d == the.listener;
    return asyncore_close(d);
}

ASYNCORE_CLASS(talker, asynchat_async_chat, .handle_error = talker_handle_error,
               .log_info = talker_log_info, .handle_close = talker_handle_close,
               .collect_incoming_data = asynchat_keep_incoming_data);

struct speaker {
    struct talker base;
};

static int speaker_found_terminator(struct asyncore_dispatcher *d)
{
    const char *answer;
    size_t len;

    fault.step = "get_data";
    do
        answer = asynchat_get_data(d, &len);
    while (!answer && fault_again(-ENOMEM));
    if (!answer || len != 2 || memcmp(answer, "ok", 3) != 0)
        wrong("an answer is not what was sent");
    the.answered++;
    return 0;
}

ASYNCORE_CLASS(speaker, talker, .found_terminator = speaker_found_terminator);

static int plain_send(struct asyncore_dispatcher *d, const void *from, size_t len)
{
    return asyncore_dispatcher_send(d, from, len);
}

/* With a send of its own: another way for everything. */
struct slow_speaker {
    struct speaker base;
};

ASYNCORE_CLASS(slow_speaker, speaker, .send = plain_send);

struct listener {
    struct talker base;
};

static void check_line(const char *text, size_t len)
{
    const struct line *line = &the.lines[the.heard];

    if (the.heard == the.taken)
        wrong("a line was heard that was not taken");
    else if (!text || len != line->len || memcmp(text, line->text, len) != 0 || text[len])
        wrong("a line is not what was sent");
    else
        the.heard++;
}

/* Gathered: by copy, by reference, and by a producer. */
static int answer(struct asyncore_dispatcher *d)
{
    struct asynchat_producer *producer;
    int r;

    fault.step = "answer";
    do
        r = asynchat_push(d, "o", 1);
    while (fault_again(r));
    if (r == 0)
        do
            the.held++, r = asynchat_push_reference(d, "k", 1, release, NULL);
        while (fault_again(r));
    do
        producer = asynchat_simple_producer_new("\r\n", 2, 0);
    while (!producer && fault_again(-errno));
    if (r == 0)
        r = asynchat_push_with_producer(d, producer);
    if (r < 0)
        wrong("an answer was not taken");
    the.answers++;
    return r;
}

static int set_terminator_count(struct asyncore_dispatcher *d, int64_t count)
{
    int r;

    fault.step = "set_terminator_count";
    do
        r = asynchat_set_terminator_count(d, count);
    while (fault_again(r));
    return r;
}

static int listener_found_terminator(struct asyncore_dispatcher *d)
{
    const char *text;
    size_t len = 0;

    fault.step = "incoming";
    while (!asynchat_incoming(d) && fault_again(-ENOMEM))
        ;
    fault.step = "get_data";
    do
        text = asynchat_get_data(d, &len);
    while (!text && fault_again(-ENOMEM));
    check_line(text, len);
    if (asynchat_get_terminator(d).kind == ASYNCHAT_TERMINATOR_COUNT)
        (void)set_terminator_count(d, 5);
    return answer(d);
}

ASYNCORE_CLASS(listener, talker, .found_terminator = listener_found_terminator);

/* --- the scenario: what is said -------------------------------------------------------------- */

/* What the listener is to hear when all of it has been taken. */
static void note_line(const char *text, size_t len)
{
    if (the.taken == LINES)
        wrong("too many lines");
    else
        the.lines[the.taken++] = (struct line){text, len};
}

/* -ENOMEM means that nothing was taken, and everything released. */
static void check_refused(int r, size_t queued, int kept)
{
    if (r == -ENOMEM && asyncore_out_buffer_length(the.speaker) != queued)
        wrong("something was taken and -ENOMEM returned");
    if (r == -ENOMEM && the.held - the.released != kept)
        wrong("-ENOMEM was returned and nothing released");
}

static int say(const char *text, size_t len)
{
    const size_t queued = asyncore_out_buffer_length(the.speaker);
    int r;

    fault.step = "push";
    do {
        const int kept = the.held - the.released;

        r = asynchat_push(the.speaker, text, len);
        check_refused(r, queued, kept);
    } while (fault_again(r));
    return r;
}

static int say_reference(const char *text, size_t len)
{
    const size_t queued = asyncore_out_buffer_length(the.speaker);
    int r;

    fault.step = "push_reference";
    do {
        const int kept = the.held++ - the.released;

        r = asynchat_push_reference(the.speaker, text, len, release, NULL);
        check_refused(r, queued, kept);
    } while (fault_again(r));
    return r;
}

static struct asynchat_producer *simple(size_t len)
{
    return asynchat_simple_producer_new(data + DATA + 2 - len, len, 1000);
}

static size_t callback_left;

static int add_piece(struct evbuffer *out, void *arg)
{
    const size_t n = callback_left < 3000 ? callback_left : 3000;
    const char *from = data + DATA + 2 - callback_left;

    (void)arg;
    if (n > 0 && evbuffer_add(out, from, n) < 0)
        return -ENOMEM;
    callback_left -= n;
    return 0;
}

static struct asynchat_producer *callback(size_t len)
{
    callback_left = len;
    the.held++;
    return asynchat_callback_producer_new(add_piece, release_arg, NULL);
}

static struct asynchat_producer *file(size_t len)
{
    int fd = open(the.file, O_RDONLY | O_CLOEXEC);

    return asynchat_file_producer_new(fd, (off_t)(DATA + 2 - len), -1);
}

static struct asynchat_producer *buffer(size_t len)
{
    struct evbuffer *made = evbuffer_new();

    if (!made || evbuffer_add(made, data + DATA + 2 - len, len) < 0) {
        if (made)
            evbuffer_free(made);
        errno = ENOMEM;
        return NULL;
    }
    return asynchat_evbuffer_producer_new(made);
}

/* What is queued when the memory ran out while it was asked stays queued: the error is that of who
 * asks, and comes before anything has been lost. */
static int say_producer(struct asynchat_producer *(*producer_new)(size_t len), size_t len)
{
    struct asynchat_producer *producer;
    int r;

    fault.step = "producer_new";
    do
        producer = producer_new(len);
    while (!producer && fault_again(-errno));
    if (!producer)
        return -errno;
    fault.step = "push_with_producer";
    r = asynchat_push_with_producer(the.speaker, producer);
    if (fault_again(r))
        r = 0;
    return r;
}

/* --- the scenario: what happens -------------------------------------------------------------- */

static int one_pass(void)
{
    int r;

    if (fault_seconds() > the.deadline)
        return -ETIMEDOUT;
    fault.step = "loop";
    do
        r = asyncore_loop(0.05, the.use_poll, the.map, 1);
    while (fault_again(r));
    return r < 0 ? r : 0;
}

/* A line that brings on what waits for more input. */
static int nudge(void)
{
    int r;

    the.upset = false;
    note_line("nudge", 5);
    r = say(the.nudge, strlen(the.nudge));
    the.answers++; /* and one to the speaker */
    if (r == 0)
        r = asynchat_push(the.listener, "ok\r\n", 4);
    return r;
}

static int run_until_heard(void)
{
    int r = 0;

    while (r == 0 && !the.wrong && (the.heard < the.taken || the.answered < the.answers)) {
        if (the.upset)
            r = nudge();
        if (r == 0)
            r = one_pass();
    }
    return r;
}

static int set_terminator(struct asyncore_dispatcher *d, const char *terminator)
{
    int r;

    fault.step = "set_terminator";
    do {
        struct asynchat_terminator before = asynchat_get_terminator(d), now;

        r = asynchat_set_terminator(d, terminator, strlen(terminator));
        now = asynchat_get_terminator(d);
        if (r == -ENOMEM && (now.kind != before.kind || now.length != before.length))
            wrong("set_terminator has failed and changed it");
    } while (fault_again(r));
    return r;
}

static int set_up_talker(struct asyncore_dispatcher **d, const struct asyncore_class *cls, int sock)
{
    int r;

    fault.step = "new";
    do /* which consumes its socket even when it fails */
        *d = asyncore_new(cls, fcntl(sock, F_DUPFD_CLOEXEC, 0), the.map);
    while (!*d && fault_again(-errno));
    if (!*d)
        return -errno;
    asyncore_ref(*d);
    r = set_terminator(*d, "\r\n");
    if (r == 0)
        r = asynchat_set_ac_in_buffer_size(*d, 30000);
    if (r == 0)
        r = asynchat_set_collect_limit(*d, (size_t)2 * DATA);
    return r < 0 ? r : asynchat_set_high_water(*d, (size_t)20 * DATA, true);
}

static int say_line(int (*how)(const char *text, size_t len), size_t len)
{
    const char *text = data + DATA - len;

    note_line(text, len);
    return how(text, len + 2);
}

static int say_made(struct asynchat_producer *(*producer_new)(size_t len), size_t len)
{
    note_line(data + DATA - len, len);
    return say_producer(producer_new, len + 2);
}

static int say_everything(void)
{
    static const size_t lengths[] = {10, DATA, 20000};
    int r = 0;

    for (size_t i = 0; r == 0 && i < 3; i++) {
        r = say_line(say, lengths[i]);
        if (r == 0)
            r = say_line(say_reference, lengths[i]);
        if (r == 0)
            r = say_made(simple, lengths[i]);
        if (r == 0)
            r = say_made(callback, lengths[i]);
        if (r == 0 && i < 2) /* the callback has one state */
            r = run_until_heard();
        if (r == 0)
            r = say_made(file, lengths[i]);
        if (r == 0)
            r = say_made(buffer, lengths[i]);
    }
    return r == 0 ? run_until_heard() : r;
}

/* A terminator is changed while its beginning is held back, then to a number, and back. */
static int change_terminators(void)
{
    int r = say("abc\r", 4);

    if (r == 0)
        r = one_pass();
    if (r == 0)
        r = set_terminator(the.listener, ";");
    the.nudge = "nudge;";
    note_line("abc\rdef", 7);
    if (r == 0)
        r = say("def;", 4);
    if (r == 0)
        r = run_until_heard();
    if (r == 0)
        r = set_terminator_count(the.listener, 5);
    the.nudge = "nudge";
    note_line("12345", 5);
    if (r == 0)
        r = say("12345", 5);
    if (r == 0)
        r = run_until_heard();
    the.nudge = "nudge\r\n";
    return r < 0 ? r : set_terminator(the.listener, "\r\n");
}

/* All that is queued is discarded, and released. */
static int discard(void)
{
    const int kept = the.held - the.released;
    int r;

    asyncore_set_connected(the.speaker, false);
    r = say("not ", 4);
    if (r == 0)
        r = say_reference("to be heard\r\n", 13);
    if (r == 0)
        r = say_producer(callback, 1000);
    fault.step = "discard_buffers";
    if (r == 0)
        r = asynchat_discard_buffers(the.speaker);
    asyncore_set_connected(the.speaker, true);
    if (the.held - the.released != kept || asyncore_out_buffer_length(the.speaker) != 0)
        wrong("something was not discarded");
    return r;
}

static int say_bye(void)
{
    int r = say_line(say, 50);

    if (r < 0)
        return r;
    fault.step = "close_when_done";
    do
        r = asynchat_close_when_done(the.speaker);
    while (fault_again(r));
    while (r == 0 && !the.wrong && !the.closed)
        r = one_pass();
    return r;
}

static int play(bool own_send)
{
    int r;

    fault.step = "map_new";
    do
        the.map = asyncore_map_new(NULL);
    while (!the.map && fault_again(-errno));
    if (!the.map)
        return -errno;
    r = set_up_talker(&the.speaker, own_send ? &slow_speaker_class : &speaker_class, the.pair[0]);
    if (r == 0)
        r = set_up_talker(&the.listener, &listener_class, the.pair[1]);
    close(the.pair[0]);
    close(the.pair[1]);
    if (r == 0)
        r = say_everything();
    if (r == 0)
        r = discard();
    if (r == 0)
        r = change_terminators();
    if (r == 0)
        r = run_until_heard();
    return r == 0 ? say_bye() : r;
}

/* --- the scenario with one failure after the other ------------------------------------------- */

static void prepare(bool use_poll)
{
    const char *path = test_file("file", data, sizeof data);

    memset(&the, 0, sizeof the);
    the.file = path;
    the.use_poll = use_poll;
    the.nudge = "nudge\r\n";
    the.deadline = fault_seconds() + TEST_WAIT_SECONDS;
    test_socketpair(SOCK_STREAM, the.pair);
}

/* Plays it with the nth allocation failing; whether that many were made. */
static bool play_with_fault(bool use_poll, bool own_send, long n, bool lasts)
{
    int before = fault_count_descriptors();
    int r;

    prepare(use_poll);
    fault_begin(n, lasts);
    r = play(own_send);
    asyncore_unref(the.speaker);
    asyncore_unref(the.listener);
    asyncore_map_free(the.map);
    fault_end();
    ck_assert_msg(!the.wrong, "allocation %ld (%s): %s in %s", n, fault.where, the.wrong,
                  fault.step);
    ck_assert_msg(r == 0, "allocation %ld (%s): %s in %s", n, fault.where, strerror(-r),
                  fault.step);
    ck_assert_uint_eq(the.heard, the.taken);
    ck_assert_int_eq(the.released, the.held);
    ck_assert_int_eq(fault_count_descriptors(), before);
    return fault.where;
}

static void play_with_faults(bool use_poll, bool own_send, bool lasts)
{
    int told = 0;

    for (size_t i = 0; i < DATA; i++)
        data[i] = (char)('a' + (i * 7 + (i >> 8) * 13) % 23);
    data[DATA] = '\r';
    data[DATA + 1] = '\n';
    for (long n = 1; play_with_fault(use_poll, own_send, n, lasts); n++)
        told += fault.told;
    ck_assert_int_eq(fault.told, 0);
    ck_assert_int_ge(told, 30); /* the wrapping works */
}

/* In select's way, and in poll's with a send of the class's own. */
START_TEST(one_allocation_fails)
{
    play_with_faults(_i, _i, false);
}
END_TEST

START_TEST(allocations_fail_until_told)
{
    play_with_faults(_i, _i, true);
}
END_TEST

/* --- what two sockets do not take, without memory --------------------------------------------- */

static struct asyncore_dispatcher *both[2]; /* a dispatcher_with_send, and a chat */
static int results[2];

struct sender {
    struct asyncore_dispatcher base;
};

static int sender_handle_read(struct asyncore_dispatcher *d)
{
    (void)d;
    results[0] = asynchat_push(both[0], "abc", 3);
    results[1] = asyncore_send(both[1], "abc", 3);
    return 0;
}

ASYNCORE_CLASS(sender, asyncore_dispatcher, .handle_read = sender_handle_read);

/* Each takes a byte of three that were reported as taken, and there is no memory for the rest. */
START_TEST(two_short_sends_in_a_handler)
{
    static struct scripted_calls calls;
    struct asyncore_dispatcher *d = sender_dispatcher(sender_new(-1, the_map));
    int passed;

    both[0] = &asynchat_async_chat_new(-1, the_map)->base;
    both[1] = &asyncore_dispatcher_with_send_new(-1, the_map)->base;
    for (int i = 0; i < 2; i++)
        chat_give_scripted(both[i], 0, &calls, &peers[i]);
    ck_assert_int_eq(asyncore_read(d), 0); /* makes what is made once */
    for (int i = 0; i < 2; i++)
        scripted_send(chat_socket(both[i]), STEPS(1));
    fault_begin(1, true);
    passed = asyncore_read(d);
    fault_end();
    ck_assert_int_eq(passed, 0);
    for (int i = 0; i < 2; i++) { /* -ENOMEM is right too, with nothing taken */
        const char *expected = results[i] == -ENOMEM ? "abc" : "abcabc";

        ck_assert(results[i] == -ENOMEM || results[i] == i * 3);
        ck_assert_int_eq(run_passes(the_map, false, 3), 0);
        ck_assert_received(peers[i], expected);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("chat_fault");
    TCase *memory = tcase_create("memory");
    TCase *reserve = tcase_create("reserve");

    test_add_fixture(memory);
    tcase_add_loop_test(memory, one_allocation_fails, 0, 2);
    tcase_add_loop_test(memory, allocations_fail_until_told, 0, 2);
    suite_add_tcase(s, memory);
    add_case(s, reserve);
    tcase_add_test(reserve, two_short_sends_in_a_handler);
    fault_install();
    return test_main(s);
}
