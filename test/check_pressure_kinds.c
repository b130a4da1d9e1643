/*
 * Back-pressure: channels of all kinds as sources, and all ways of output in sinks.
 */
#include "pressure_probe.h"
#include "support.h"

#include <asyncore/chat.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    HIGH = 100,
    LOW = 40
};

static bool use_poll;
static struct asyncore_dispatcher *sink; /* its other end is peers[3] */

#define ck_assert_trace(expected) ck_assert_str_eq(probe_trace(), expected)

static void passes(int count)
{
    ck_assert_int_eq(run_passes(the_map, use_poll, count), 0);
}

static void put(size_t count)
{
    ck_assert_int_eq(sink_put(sink, count), 0);
}

/* --- kinds of sources ------------------------------------------------------------------------ */

static int drains, handled; /* calls of handle_drain, and of what reads or accepts */

static int count_drain(struct asyncore_dispatcher *d)
{
    (void)d;
    drains++;
    return 0;
}

/* Holds d, which is to handle nothing then, and lets it go; after count passes it has handled
 * handles. */
static void hold_and_release(struct asyncore_dispatcher *d, int count, int handles)
{
    sink = sink_make(SINK_SENDER, the_map, &peers[3]);
    ck_assert_int_eq(asyncore_set_back_pressure(d, sink, HIGH, LOW), 0);
    drains = handled = 0;
    put(HIGH + 1);
    passes(3);
    ck_assert_int_eq(drains + handled, 0);
    sink_take(sink, HIGH + 1);
    passes(count);
    ck_assert_int_eq(drains, 1);
    ck_assert_int_eq(handled, handles);
}

struct chat_source {
    struct asynchat_async_chat base;
};

static int chat_collect(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    (void)d;
    (void)data;
    handled += (int)len;
    return 0;
}

ASYNCORE_CLASS(chat_source, asynchat_async_chat, .handle_drain = count_drain,
               .collect_incoming_data = chat_collect);

START_TEST(an_async_chat)
{
    int pair[2];

    use_poll = _i;
    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    test_write_all(peers[0], "abc", 3);
    hold_and_release(chat_source_dispatcher(chat_source_new(pair[0], the_map)), 1, 3);
}
END_TEST

struct listener {
    struct asyncore_dispatcher base;
};

static int listener_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                    const struct sockaddr *addr, socklen_t addrlen)
{
    (void)d;
    (void)addr;
    (void)addrlen;
    handled++;
    close(sock);
    return 0;
}

ASYNCORE_CLASS(listener, asyncore_dispatcher, .handle_accepted = listener_handle_accepted,
               .handle_drain = count_drain);

START_TEST(a_listener)
{
    struct test_addr addr;
    int fd = test_listener(AF_INET, &addr);

    use_poll = _i;
    peers[0] = test_connect(&addr);
    hold_and_release(listener_dispatcher(listener_new(fd, the_map)), 1, 1);
}
END_TEST

struct file {
    struct asyncore_file_dispatcher base;
};

static int never(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int file_handle_read(struct asyncore_dispatcher *d)
{
    char byte;

    handled++;
    return asyncore_recv(d, &byte, 1);
}

ASYNCORE_CLASS(file, asyncore_file_dispatcher, .writable = never, .handle_read = file_handle_read,
               .handle_drain = count_drain);

/* Always ready, in every pass. */
START_TEST(a_file)
{
    int fd = open(test_file("file", "abcdefgh", 8), O_RDONLY | O_CLOEXEC);
    struct file *file = file_new(fd, the_map);

    use_poll = _i;
    test_close(&fd);
    hold_and_release(file_dispatcher(file), 2, 2);
}
END_TEST

/* By default nothing happens. */
START_TEST(the_library_s_own)
{
    struct asyncore_dispatcher *d;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    d = &asyncore_dispatcher_with_send_new(pair[0], the_map)->base;
    sink = sink_make(SINK_SENDER, the_map, &peers[3]);
    ck_assert_int_eq(asyncore_set_back_pressure(d, sink, HIGH, LOW), 0);
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    passes(2);
    ck_assert_int_eq(asyncore_handle_drain(d), 0);
    ck_assert_int_eq(asyncore_dispatcher_handle_drain(d), 0);
    ck_assert_int_ge(asyncore_fileno(d), 0);
}
END_TEST

/* --- output of sinks ------------------------------------------------------------------------- */

static struct source *a; /* a source with something to read */

static void make_pair(int kind, int i)
{
    use_poll = i % 2;
    a = source_ready(&source_class, 0);
    sink = sink_make(kind, the_map, &peers[3]);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
}

/* Its output waits for the connection. */
START_TEST(not_connected)
{
    make_pair(_i / 2, _i);
    asyncore_set_connected(sink, false);
    sink_open(sink, HIGH + 1);
    put(HIGH + 1);
    asyncore_del_channel(sink); /* the library would write, as if it were connected */
    passes(2);
    ck_assert_trace("");
    asyncore_set_connected(sink, true);
    ck_assert_int_eq(asyncore_add_channel(sink, NULL), 0);
    passes(2);
    ck_assert_trace("a.drain a.read");
}
END_TEST

START_TEST(references)
{
    static const char data[HIGH + 1];

    make_pair(SINK_CHAT, _i);
    ck_assert_int_eq(asynchat_push_reference(sink, data, sizeof data, NULL, NULL), 0);
    passes(2);
    ck_assert_trace("");
    sink_take(sink, sizeof data);
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* What it will make does not count, but what waits behind it. */
START_TEST(producers)
{
    static const char data[(size_t)2 * HIGH];

    make_pair(SINK_CHAT, _i);
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(sink, 1), 0); /* it is not asked for more */
    put(1);
    ck_assert_int_eq(
        asynchat_push_with_producer(sink, asynchat_simple_producer_new(data, sizeof data, 512)), 0);
    passes(2);
    ck_assert_trace("a.read");
    test_write_all(peers[0], "x", 1);
    put(HIGH);
    passes(2);
    ck_assert_trace("a.read");
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(sink, 512), 0);
    sink_take(sink, 1);
    passes(2);
    ck_assert_trace("a.read"); /* it has made something */
    ck_assert_uint_eq(asyncore_out_buffer_length(sink), HIGH + sizeof data);
    sink_take(sink, HIGH + sizeof data);
    passes(1);
    ck_assert_trace("a.read a.drain a.read");
}
END_TEST

START_TEST(discarded)
{
    make_pair(SINK_CHAT, _i);
    put(HIGH + 1);
    passes(2);
    ck_assert_int_eq(asynchat_discard_buffers(sink), 0);
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* The output goes out first, and the source is told; then the sink is closed. */
START_TEST(closed_when_done)
{
    make_pair(SINK_CHAT, _i);
    put(HIGH + 1);
    ck_assert_int_eq(asynchat_close_when_done(sink), 0);
    asyncore_ref(sink);
    passes(2);
    ck_assert_trace("");
    sink_open(sink, HIGH + 1);
    passes(3);
    ck_assert_trace("a.drain a.read");
    ck_assert_int_eq(asyncore_fileno(sink), -1);
    asyncore_unref(sink);
}
END_TEST

/* --- gathered -------------------------------------------------------------------------------- */

static int pushes(struct source *self)
{
    for (int i = 0; i < 2; i++) {
        int r = sink_put(self->sink, HIGH);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Makes the source push in handle_read, with room in the sink's socket. */
static void push_gathered(size_t room)
{
    a->sink = sink;
    a->on_read = pushes;
    sink_open(sink, room);
    passes(1);
    ck_assert_trace("a.read");
    test_write_all(peers[0], "x", 1);
    a->on_read = NULL;
    passes(2);
}

START_TEST(gathered_and_taken)
{
    make_pair(SINK_CHAT, _i);
    push_gathered((size_t)2 * HIGH);
    ck_assert_trace("a.read a.read");
}
END_TEST

START_TEST(gathered_and_not_taken)
{
    make_pair(SINK_CHAT, _i);
    push_gathered(HIGH - 1);
    ck_assert_trace("a.read");
    sink_take(sink, HIGH + 1);
    passes(1);
    ck_assert_trace("a.read a.drain a.read");
}
END_TEST

static int pushes_and_sets(struct source *self)
{
    int r = pushes(self);

    return r < 0 ? r : asyncore_set_back_pressure(source_dispatcher(self), self->sink, HIGH, LOW);
}

/* By the handler that sets the relation. */
START_TEST(gathered_when_set)
{
    make_pair(SINK_CHAT, _i);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), NULL, 0, 0), 0);
    a->sink = sink;
    a->on_read = pushes_and_sets;
    sink_open(sink, _i / 2 ? HIGH - 1 : (size_t)2 * HIGH);
    passes(1);
    test_write_all(peers[0], "x", 1);
    a->on_read = NULL;
    passes(2);
    ck_assert_trace(_i / 2 ? "a.read" : "a.read a.read");
}
END_TEST

static int pushes_and_disconnects(struct source *self)
{
    int r = pushes(self);

    asyncore_set_connected(self->sink, false);
    asyncore_del_channel(self->sink);
    return r;
}

/* It is not going to be sent when the handler ends. */
START_TEST(gathered_and_disconnected)
{
    make_pair(SINK_CHAT, _i);
    a->sink = sink;
    a->on_read = pushes_and_disconnects;
    sink_open(sink, (size_t)2 * HIGH);
    passes(1);
    test_write_all(peers[0], "x", 1);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

/* --- a send of its own ----------------------------------------------------------------------- */

struct own_sender {
    struct asynchat_async_chat base;
};

static int own_sender_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return asyncore_dispatcher_send(d, data, len < 7 ? len : 7);
}

ASYNCORE_CLASS(own_sender, asynchat_async_chat, .send = own_sender_send);

START_TEST(sent_by_its_own_send)
{
    use_poll = _i;
    a = source_ready(&source_class, 0);
    sink = own_sender_dispatcher(own_sender_new(-1, the_map));
    sink_give_socket(sink, &peers[3]);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
    put(HIGH + 1);
    passes(2);
    ck_assert_trace("");
    sink_open(sink, HIGH + 1);
    for (int i = 0; i < 8; i++) /* 56 bytes */
        ck_assert_int_eq(asynchat_initiate_send(sink), 0);
    ck_assert_uint_eq(asyncore_out_buffer_length(sink), HIGH + 1 - 56);
    asyncore_del_channel(sink);
    passes(2);
    ck_assert_trace("");
    ck_assert_int_eq(asynchat_initiate_send(sink), 0);
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void add_sinks(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("sinks"));

    tcase_add_loop_test(tc, not_connected, 0, 4);
    tcase_add_loop_test(tc, references, 0, 2);
    tcase_add_loop_test(tc, producers, 0, 2);
    tcase_add_loop_test(tc, discarded, 0, 2);
    tcase_add_loop_test(tc, closed_when_done, 0, 2);
    tcase_add_loop_test(tc, gathered_and_taken, 0, 2);
    tcase_add_loop_test(tc, gathered_and_not_taken, 0, 2);
    tcase_add_loop_test(tc, gathered_when_set, 0, 4);
    tcase_add_loop_test(tc, gathered_and_disconnected, 0, 2);
    tcase_add_loop_test(tc, sent_by_its_own_send, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("pressure_kinds");
    TCase *sources = add_case(s, tcase_create("sources"));

    tcase_add_loop_test(sources, an_async_chat, 0, 2);
    tcase_add_loop_test(sources, a_listener, 0, 2);
    tcase_add_loop_test(sources, a_file, 0, 2);
    tcase_add_test(sources, the_library_s_own);
    add_sinks(s);
    return test_main(s);
}
