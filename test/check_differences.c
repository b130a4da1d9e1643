/*
 * Where the library differs from CPython 3.11's asyncore on purpose: a test case for each
 * difference. Where there are two ways of polling, _i is 0 for select's and 1 for poll's.
 */
#include "probe.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int do_nothing(struct probe *self)
{
    (void)self;
    return 0;
}

/* Keeps the channel, so that a test can look at it when it is closed. */
static struct probe *keep(struct probe *self)
{
    asyncore_ref(&self->base);
    return self;
}

static void let_go(struct probe *self)
{
    asyncore_unref(&self->base);
}

static struct probe *kept_probe(const char *name, int family, int *peer)
{
    return keep(probe_connected(name, family, NULL, peer));
}

static bool was_connected(void *arg)
{
    const struct probe *self = arg;

    return self->calls[PROBE_CONNECT] > 0;
}

/* --- the pass -------------------------------------------------------------------------------- */

static int read_a_little(struct probe *self)
{
    char data[4096];
    int n = asyncore_recv(&self->base, data, sizeof data);

    if (n > 0)
        self->total += (size_t)n;
    return n;
}

/* CPython in poll mode closes on HUP after one read, of 4,096 bytes; here the data comes first. */
START_TEST(data_comes_before_the_hang_up)
{
    enum {
        SIZE = 60000
    };
    static const char data[SIZE];
    int peer;
    struct probe *a = kept_probe("a", AF_UNIX, &peer);

    a->hook[PROBE_READ] = read_a_little;
    test_write_all(peer, data, SIZE);
    test_close(&peer);
    ck_assert_int_eq(asyncore_loop(1.0, _i == 1, NULL, 100), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(a->total, SIZE);
    ck_assert_int_eq(a->calls[PROBE_CLOSE], 1);
    let_go(a);
}
END_TEST

/* CPython in poll mode closes on HUP; so do we when nobody reads. */
START_TEST(a_hang_up_closes_who_does_not_read)
{
    int peer;
    struct probe *a = kept_probe("a", AF_UNIX, &peer);

    a->readable = false;
    a->writable = true;
    a->hook[PROBE_WRITE] = do_nothing;
    test_close(&peer);
    ck_assert_int_eq(run_passes(NULL, true, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.write a.close");
    let_go(a);
}
END_TEST

/* CPython in poll mode goes on with a channel that its handle_read closed: "a.read a.close a.write
 * a.close"; here nothing is called on it any more. */
START_TEST(nothing_is_called_on_a_closed_channel)
{
    int peer;
    struct probe *a = kept_probe("a", AF_UNIX, &peer);

    a->writable = true;
    test_close(&peer);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 2), 0);
    ck_assert_str_eq(probe_trace(), "a.read a.close");
    let_go(a);
}
END_TEST

/* CPython calls a channel again that handle_close leaves open; so do we. */
START_TEST(who_is_left_open_is_called_again)
{
    int peer;
    struct probe *a = kept_probe("a", AF_UNIX, &peer);

    a->writable = true;
    a->hook[PROBE_CLOSE] = do_nothing;
    test_close(&peer);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_str_eq(probe_trace(),
                     _i == 1 ? "a.read a.close a.write a.close" : "a.read a.close a.write");
    let_go(a);
}
END_TEST

struct reuse {
    struct probe *victim;
    int other; /* what the new channel gets a dup of, with the number of the victim's */
};

static int reuse_descriptor(struct probe *self)
{
    const struct reuse *reuse = self->arg;
    int number = asyncore_fileno(&reuse->victim->base);
    struct probe *b;

    ck_assert_int_eq(asyncore_close(&reuse->victim->base), 0);
    ck_assert_int_eq(fcntl(reuse->other, F_DUPFD_CLOEXEC, number), number);
    b = probe_make("b", number, NULL);
    b->writable = true;
    return 0;
}

/* CPython finds the channel by its number, and calls the new one for what the old one was ready
 * for: "first.read b.read" and an error; here the new one was not ready yet. */
START_TEST(another_channel_with_the_same_descriptor)
{
    int pair[2];
    int peers[2];
    struct reuse reuse;
    struct probe *first = kept_probe("first", AF_UNIX, &peers[0]);
    struct probe *victim = kept_probe("victim", AF_UNIX, &peers[1]);

    test_socketpair(SOCK_STREAM, pair);
    reuse = (struct reuse){.victim = victim, .other = pair[0]};
    first->hook[PROBE_READ] = reuse_descriptor;
    first->arg = &reuse;
    victim->writable = true;
    test_write_all(peers[0], "x", 1);
    test_write_all(peers[1], "x", 1);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_str_eq(probe_trace(), "first.read");

    let_go(first);
    let_go(victim);
    test_close(&peers[0]);
    test_close(&peers[1]);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* CPython in select mode: "a.read b.write". */
START_TEST(the_handler_gives_its_own_descriptor_away)
{
    int pair[2];
    int peer;
    struct reuse reuse;
    struct probe *a = kept_probe("a", AF_UNIX, &peer);

    test_socketpair(SOCK_STREAM, pair);
    reuse = (struct reuse){.victim = a, .other = pair[0]};
    a->hook[PROBE_READ] = reuse_descriptor;
    a->arg = &reuse;
    a->writable = true;
    test_write_all(peer, "x", 1);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.read");
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0); /* now it is asked */
    ck_assert_str_eq(probe_trace(), "a.read b.write");

    let_go(a);
    test_close(&peer);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

static int reconnect(struct probe *self)
{
    const struct test_addr *addr = self->arg;

    ck_assert_int_eq(asyncore_close(&self->base), 0);
    ck_assert_int_eq(asyncore_create_socket(&self->base, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(&self->base, test_sa(addr), addr->len), 0);
    return 0;
}

/* A listener that lets nobody in any more, and what fills it. */
static int full_listener(struct test_addr *addr, int *filler)
{
    int listener = test_listener(AF_INET, addr);

    ck_assert_int_eq(listen(listener, 0), 0);
    *filler = test_connect(addr);
    return listener;
}

/* CPython in poll mode takes the old socket's readiness for the new one's: "a.read a.connect
 * a.write", connected without a connection; here it waits for its own. */
START_TEST(the_same_channel_reconnecting)
{
    struct test_addr addr;
    int filler;
    int listener = full_listener(&addr, &filler);
    int peer;
    struct probe *a = kept_probe("a", AF_UNIX, &peer);

    a->hook[PROBE_READ] = reconnect;
    a->arg = &addr;
    a->writable = true;
    test_write_all(peer, "x", 1);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 2), 0);
    ck_assert_str_eq(probe_trace(), "a.read");
    ck_assert(!a->base.connected);
    ck_assert(a->base.connecting);

    let_go(a);
    test_close(&peer);
    test_close(&filler);
    test_close(&listener);
}
END_TEST

static int nest(struct probe *self)
{
    const bool *use_poll = self->arg;
    char byte;

    ck_assert_int_eq(asyncore_recv(&self->base, &byte, 1), 1);
    return run_passes(NULL, *use_poll, 1);
}

/* CPython: "a.read b.read b.read", the last of which fails; here the nested pass has used it up. */
START_TEST(a_nested_pass_uses_readiness_up)
{
    bool use_poll = _i == 1;
    int peers[2];
    struct probe *a = probe_connected("a", AF_UNIX, NULL, &peers[0]);

    (void)probe_connected("b", AF_UNIX, NULL, &peers[1]);
    a->hook[PROBE_READ] = nest;
    a->arg = &use_poll;
    test_write_all(peers[0], "x", 1);
    test_write_all(peers[1], "x", 1);
    ck_assert_int_eq(run_passes(NULL, use_poll, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.read b.read");
    test_close(&peers[0]);
    test_close(&peers[1]);
}
END_TEST

/* --- connections ----------------------------------------------------------------------------- */

static int close_it(struct probe *self)
{
    return asyncore_close(&self->base);
}

/* CPython sets connected after handle_connect, and goes on with handle_write, though it closed;
 * here it stays closed. */
START_TEST(close_in_handle_connect)
{
    static const int families[] = {AF_INET, AF_UNIX}; /* Unix sockets connect at once */
    struct test_addr addr;
    int listener = test_listener(families[_i / 2], &addr);
    struct probe *a = keep(probe_make("a", -1, NULL));

    a->hook[PROBE_CONNECT] = close_it;
    a->writable = true;
    ck_assert_int_eq(asyncore_create_socket(&a->base, families[_i / 2], SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(&a->base, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(run_until_true(NULL, _i % 2 == 1, was_connected, a), 0);
    ck_assert_str_eq(probe_trace(), "a.connect");
    ck_assert(!a->base.connected && !a->base.connecting);
    ck_assert_int_eq(asyncore_fileno(&a->base), -1);
    let_go(a);
    test_close(&listener);
}
END_TEST

/* Lets the process have no descriptor more than it has; what was allowed before. */
static struct rlimit forbid_descriptors(void)
{
    struct rlimit before;
    struct rlimit limit;
    int next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    ck_assert_int_ge(next, 0);
    limit.rlim_cur = (rlim_t)next;
    test_close(&next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit.rlim_max = before.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

struct goal {
    const struct probe *listener;
    int accepts;
};

static bool has_accepted(void *arg)
{
    const struct goal *goal = arg;

    return goal->listener->calls[PROBE_ACCEPT] >= goal->accepts;
}

static int run_until_accepts(struct probe *listener, bool use_poll, int accepts)
{
    struct goal goal = {.listener = listener, .accepts = accepts};

    return run_until_true(NULL, use_poll, has_accepted, &goal);
}

/* Counts in total what it got. */
static int accept_and_count(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);

    if (sock < 0)
        return sock;
    test_close(&sock);
    self->total++;
    return 0;
}

/* Two attempts without descriptors, and how long they took. */
static int run_without_descriptors(struct probe *listener, bool use_poll, double *took)
{
    struct rlimit before = forbid_descriptors();
    double begin = test_now();
    int r = run_until_accepts(listener, use_poll, 2);

    *took = test_now() - begin;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    return r;
}

/* CPython closes the listener when accept fails with EMFILE; here it tries again after a moment,
 * and logs once. */
START_TEST(accept_without_descriptors)
{
    struct test_addr addr;
    struct probe *a = probe_make("a", test_listener(AF_INET, &addr), NULL);
    int clients[3]; /* a memory checker's accept takes one and loses it */
    struct test_capture out;
    double took;
    int r;

    a->hook[PROBE_ACCEPT] = accept_and_count;
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0); /* which makes the descriptors it needs */
    for (int i = 0; i < 3; i++)
        clients[i] = test_connect(&addr);
    test_capture_begin(&out, STDOUT_FILENO);
    r = run_without_descriptors(a, _i == 1, &took);
    ck_assert_str_eq(test_capture_end(&out), "error: accept: Too many open files, waiting\n");
    ck_assert_int_eq(r, 0);
    ck_assert_double_ge(took, 0.05);
    ck_assert_uint_eq(a->total, 0);

    ck_assert_int_eq(run_until_accepts(a, _i == 1, 3), 0);
    ck_assert_uint_eq(a->total, 1);
    ck_assert_str_eq(probe_trace(), "a.accept a.accept a.accept");
    ck_assert_int_ge(asyncore_fileno(&a->base), 0);
    for (int i = 0; i < 3; i++)
        test_close(&clients[i]);
}
END_TEST

struct writer {
    struct asyncore_dispatcher_with_send base;
};

static int writer_handle_read(struct asyncore_dispatcher *d)
{
    char byte;

    probe_note("read");
    return asyncore_recv(d, &byte, 1);
}

static int writer_handle_write(struct asyncore_dispatcher *d)
{
    probe_note("write");
    return asyncore_dispatcher_with_send_handle_write(d);
}

static int writer_handle_close(struct asyncore_dispatcher *d)
{
    probe_note("close");
    return asyncore_close(d);
}

ASYNCORE_CLASS(writer, asyncore_dispatcher_with_send, .handle_read = writer_handle_read,
               .handle_write = writer_handle_write, .handle_close = writer_handle_close);

static int accept_writer(struct probe *self)
{
    struct test_addr addr = {.len = sizeof addr.storage};
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    int sock = asyncore_accept(&self->base, (struct sockaddr *)(void *)&addr.storage, &addr.len);
    struct asyncore_dispatcher *d;

    ck_assert_int_ge(sock, 0);
    ck_assert_int_eq(getpeername(sock, (struct sockaddr *)(void *)&peer, &len), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    d = writer_dispatcher(writer_new(sock, NULL));
    ck_assert(d->connected);
    ck_assert_ptr_nonnull(asyncore_addr(d, &len));
    ck_assert_uint_eq(len, addr.len);
    ck_assert_mem_eq(asyncore_addr(d, NULL), &addr.storage, len);
    ck_assert_int_eq(asyncore_writable(d), 0);
    return 0;
}

/* CPython asks getpeername, which fails when the peer has reset already: not connected, no address,
 * and so always writable; here accept has said it. */
START_TEST(accepted_from_a_half_dead_peer)
{
    struct test_addr addr;
    struct probe *a = probe_make("a", test_listener(AF_INET, &addr), NULL);
    int client = test_connect(&addr);

    a->hook[PROBE_ACCEPT] = accept_writer;
    test_reset(&client);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 3), 0);
    ck_assert_str_eq(probe_trace(), "a.accept read close");
}
END_TEST

/* --- what is watched ------------------------------------------------------------------------- */

/* CPython polls a stream socket that goes nowhere, and its handlers spin; here it waits. */
START_TEST(a_created_socket_is_not_watched)
{
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);
    struct probe *a = probe_make("a", -1, NULL);
    double begin = test_now();

    a->writable = true;
    ck_assert_int_eq(asyncore_create_socket(&a->base, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_loop(0.02, _i == 1, NULL, 2), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.04);
    ck_assert_str_eq(probe_trace(), "");

    ck_assert_int_eq(asyncore_connect(&a->base, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(run_until_true(NULL, _i == 1, was_connected, a), 0);
    test_close(&listener);
}
END_TEST

/* CPython watches one that was made elsewhere; so do we. */
START_TEST(an_adopted_socket_is_watched)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct probe *a;

    ck_assert_int_ge(fd, 0);
    a = keep(probe_make("a", fd, NULL));
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_str_eq(probe_trace(), _i == 1 ? "a.close" : "a.read a.close");
    let_go(a);
}
END_TEST

/* CPython does not look whether it listens, and calls handle_read; here it is accepting. */
START_TEST(an_adopted_listener_accepts)
{
    struct test_addr addr;
    const struct probe *a = probe_make("a", test_listener(AF_INET, &addr), NULL);
    int client = test_connect(&addr);

    ck_assert(a->base.accepting);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.accept");
    test_close(&client);
}
END_TEST

static bool has_log(void *arg)
{
    (void)arg;
    return probe_count("log") > 0;
}

struct listless { /* without handle_expt */
    struct asyncore_dispatcher base;
};

static int listless_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

ASYNCORE_CLASS(listless, asyncore_dispatcher, .writable = listless_writable);

/* A TCP connection with unread out-of-band data at *fd. */
static void urgent_pair(int *fd, int *peer)
{
    int pair[2];

    test_pair(AF_INET, pair);
    ck_assert_int_eq(send(pair[1], "!", 1, MSG_OOB), 1);
    (void)test_wait(pair[0], POLLPRI);
    *fd = pair[0];
    *peer = pair[1];
}

/* CPython logs a warning at every pass; here it is not watched for. */
START_TEST(out_of_band_data_for_the_default_handle_expt)
{
    static const char *const none[] = {NULL};
    struct test_capture out;
    struct listless *a;
    double begin;
    int r;
    int fd;
    int peer;

    urgent_pair(&fd, &peer);
    a = listless_new(fd, NULL);
    asyncore_set_ignore_log_types(listless_dispatcher(a), none);
    begin = test_now();
    test_capture_begin(&out, STDOUT_FILENO);
    r = asyncore_loop(0.02, _i == 1, NULL, 2);
    ck_assert_str_eq(test_capture_end(&out), "");
    ck_assert_int_eq(r, ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 0.04);
    test_close(&peer);
}
END_TEST

static int note_log(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    (void)d;
    ck_assert_str_eq(message, "unhandled incoming priority event");
    ck_assert_str_eq(type, ASYNCORE_LOG_WARNING);
    probe_note("log");
    return 0;
}

struct logging {
    struct asyncore_dispatcher base;
};

ASYNCORE_CLASS(logging, asyncore_dispatcher, .writable = listless_writable, .log_info = note_log);

/* CPython calls log_info for it; so do we where that is overridden. */
START_TEST(out_of_band_data_for_log_info)
{
    int fd;
    int peer;

    urgent_pair(&fd, &peer);
    (void)logging_new(fd, NULL);
    ck_assert_int_eq(run_until_true(NULL, _i == 1, has_log, NULL), 0);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 2), 0);
    ck_assert_str_eq(probe_trace(), "log log log"); /* until it is read */
    test_close(&peer);
}
END_TEST

static int send_in_vain(struct probe *self)
{
    ck_assert_int_eq(asyncore_send(&self->base, "x", 1), 0);
    return 0;
}

/* CPython asks select before every handle_write; here select's way calls it once without asking,
 * and asks when that could send nothing. Poll's way asks poll(2). */
START_TEST(a_full_stream_is_written_to_once)
{
    static const int families[] = {AF_INET, AF_UNIX};
    int peer;
    struct probe *a = probe_connected("a", families[_i / 2], NULL, &peer);

    test_set_nonblocking(peer, true);
    test_small_buffers(asyncore_fileno(&a->base));
    test_small_buffers(peer);
    (void)test_fill(asyncore_fileno(&a->base));
    a->writable = true;
    a->hook[PROBE_WRITE] = send_in_vain;
    ck_assert_int_eq(run_passes(NULL, _i % 2 == 1, 3), 0);
    ck_assert_str_eq(probe_trace(), _i % 2 == 1 ? "" : "a.write");
    test_close(&peer);
}
END_TEST

static int send_a_byte(struct probe *self)
{
    self->total++;
    return asyncore_send(&self->base, "x", 1);
}

/* CPython calls handle_write in every pass while there is room; so do we. */
START_TEST(a_stream_with_room_is_written_to)
{
    int peer;
    struct probe *a = probe_connected("a", AF_INET, NULL, &peer);
    char data[4];

    a->writable = true;
    a->hook[PROBE_WRITE] = do_nothing; /* sends nothing: asked for from then on */
    ck_assert_int_eq(run_passes(NULL, _i == 1, 3), 0);
    a->hook[PROBE_WRITE] = send_a_byte;
    ck_assert_int_eq(run_passes(NULL, _i == 1, 3), 0);
    ck_assert_int_eq(a->calls[PROBE_WRITE], 6);
    test_read_all(peer, data, 3);
    test_close(&peer);
}
END_TEST

/* --- data ------------------------------------------------------------------------------------ */

/* CPython raises BlockingIOError, and the default handle_error closes; here the handler may return
 * -EAGAIN. */
START_TEST(recv_without_data)
{
    int peer;
    struct probe *a = probe_connected("a", AF_UNIX, NULL, &peer);
    int same = fcntl(asyncore_fileno(&a->base), F_DUPFD_CLOEXEC, 0);
    struct probe *b = probe_make("b", same, NULL);
    char byte;

    test_write_all(peer, "x", 1);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 2), 0);
    ck_assert_str_eq(probe_trace(), "a.read b.read"); /* a has read it */
    ck_assert_uint_eq(a->total + b->total, 1);
    ck_assert_int_eq(asyncore_recv(&b->base, &byte, 1), -EAGAIN);
    ck_assert_uint_eq(asyncore_map_length(NULL), 2);
    test_close(&peer);
}
END_TEST

static bool is_sent(void *arg)
{
    return asyncore_out_buffer_length(arg) == 0;
}

/* CPython tries to send, fails and closes the channel; here it waits for the connection. */
START_TEST(send_before_the_connection)
{
    static const int families[] = {AF_INET, AF_UNIX};
    struct test_addr addr;
    int listener = test_listener(families[_i / 2], &addr);
    struct asyncore_dispatcher *d = writer_dispatcher(writer_new(-1, NULL));
    int peer;
    char data[5];

    ck_assert_int_eq(asyncore_create_socket(d, families[_i / 2], SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_send(d, "hello", 5), 5);
    ck_assert_uint_eq(asyncore_out_buffer_length(d), 5);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(run_until_true(NULL, _i % 2 == 1, is_sent, d), 0);
    peer = test_accept(listener);
    test_read_all(peer, data, sizeof data);
    ck_assert_mem_eq(data, "hello", sizeof data);
    ck_assert_int_eq(probe_count("close"), 0);
    test_close(&peer);
    test_close(&listener);
}
END_TEST

/* A socket object that takes all it is offered. */
static int sink_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    (void)s;
    (void)buf;
    (void)len;
    (void)flags;
    return -EAGAIN;
}

static int sink_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    (void)s;
    (void)buf;
    (void)flags;
    return (int)len;
}

static int sink_getsockopt(struct asyncore_socket *s, int level, int name, void *value,
                           socklen_t *len)
{
    return getsockopt(s->fd, level, name, value, len) < 0 ? -errno : 0;
}

static int sink_close(struct asyncore_socket *s)
{
    if (s->fd >= 0)
        test_close(&s->fd);
    return 0;
}

static const struct asyncore_socket_class sink_class = {
    .table_size = sizeof(struct asyncore_socket_class),
    .name = "sink",
    .recv = sink_recv,
    .send = sink_send,
    .getsockopt = sink_getsockopt,
    .close = sink_close,
};

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* How long it takes to copy data, at least a millisecond, for a clock that is coarse. */
static double copy_seconds(const char *data, size_t size)
{
    char *copy = malloc(size);
    double begin = cpu_seconds();

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    ck_assert_mem_eq(copy + size / 2, data, 64);

    double took = cpu_seconds() - begin;

    free(copy);
    return took > 0.001 ? took : 0.001;
}

/* CPython copies what is left at every send, half of the data 512 times; here it is not moved. */
START_TEST(what_is_queued_is_not_copied)
{
    const size_t size = 32U << 20;
    struct asyncore_dispatcher *d = writer_dispatcher(writer_new(-1, NULL));
    struct asyncore_socket sink = {.cls = &sink_class};
    char *data = calloc(1, size);
    int pair[2];
    double once;
    double begin;

    ck_assert_ptr_nonnull(data);
    test_socketpair(SOCK_STREAM, pair);
    sink.fd = pair[0];
    ck_assert_int_eq(asyncore_set_socket_object(d, &sink, NULL), 0);
    asyncore_set_connected(d, true);
    memset(data, 'x', size);
    once = copy_seconds(data, size);
    begin = cpu_seconds();
    ck_assert_int_eq(asyncore_send(d, data, size), (int)size);
    ck_assert_int_eq(run_until_true(NULL, _i == 1, is_sent, d), 0);
    ck_assert_double_lt(cpu_seconds() - begin, 64 * once);
    ck_assert_int_eq(asyncore_close(d), 0); /* sink is this function's */
    free(data);
    test_close(&pair[1]);
}
END_TEST

/* --- time ------------------------------------------------------------------------------------ */

/* CPython in poll mode cuts the timeout to whole milliseconds: 0.9 ms is none at all; here no wait
 * is short. */
START_TEST(a_timeout_below_a_millisecond)
{
    int peer;
    double begin;

    (void)probe_connected("a", AF_UNIX, NULL, &peer);
    begin = test_now();
    ck_assert_int_eq(asyncore_loop(0.0009, _i == 1, NULL, 20), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(test_now() - begin, 20 * 0.0009);
    ck_assert_str_eq(probe_trace(), "");
    test_close(&peer);
}
END_TEST

/* --- files ----------------------------------------------------------------------------------- */

static struct asyncore_dispatcher *new_file(int fd)
{
    struct asyncore_file_dispatcher *file = asyncore_file_dispatcher_new(fd, NULL);

    ck_assert_ptr_nonnull(file);
    return &file->base;
}

/* CPython leaves O_NONBLOCK on the file that it shares with others; here close takes it back. */
START_TEST(a_file_blocks_again_after_close)
{
    int pair[2];
    struct asyncore_dispatcher *d;

    test_pipe(pair);
    d = new_file(pair[0]);
    ck_assert(test_is_nonblocking(pair[0]));
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(!test_is_nonblocking(pair[0]));
    d = new_file(pair[0]);
    ck_assert_int_eq(asyncore_set_file(d, pair[1]), 0);
    ck_assert(!test_is_nonblocking(pair[0]));
    ck_assert(test_is_nonblocking(pair[1]));
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* CPython: the same; what was set before stays. */
START_TEST(a_file_that_did_not_block)
{
    int pair[2];

    test_pipe(pair);
    test_set_nonblocking(pair[0], true);
    ck_assert_int_eq(asyncore_close(new_file(pair[0])), 0);
    ck_assert(test_is_nonblocking(pair[0]));
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* CPython sets O_NONBLOCK on a regular file, where it means nothing; here it is left alone. */
START_TEST(a_regular_file_is_left_alone)
{
    int fd = open(test_file("data", "x", 1), O_RDONLY | O_CLOEXEC);
    struct asyncore_dispatcher *d;

    ck_assert_int_ge(fd, 0);
    d = new_file(fd);
    ck_assert(!test_is_nonblocking(fd));
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(!test_is_nonblocking(fd));
    test_close(&fd);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, probe_setup, NULL);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_passes(Suite *s)
{
    TCase *data = add(s, tcase_create("data_before_hang_up"));
    TCase *closed = add(s, tcase_create("nothing_after_close"));
    TCase *owner = add(s, tcase_create("readiness_belongs_to_the_socket"));
    TCase *nested = add(s, tcase_create("nested_pass"));

    tcase_add_loop_test(data, data_comes_before_the_hang_up, 0, 2);
    tcase_add_test(data, a_hang_up_closes_who_does_not_read);
    tcase_add_loop_test(closed, nothing_is_called_on_a_closed_channel, 0, 2);
    tcase_add_loop_test(closed, who_is_left_open_is_called_again, 0, 2);
    tcase_add_loop_test(owner, another_channel_with_the_same_descriptor, 0, 2);
    tcase_add_loop_test(owner, the_handler_gives_its_own_descriptor_away, 0, 2);
    tcase_add_loop_test(owner, the_same_channel_reconnecting, 0, 2);
    tcase_add_loop_test(nested, a_nested_pass_uses_readiness_up, 0, 2);
}

static void add_connections(Suite *s)
{
    TCase *in_connect = add(s, tcase_create("close_in_handle_connect"));
    TCase *exhausted = add(s, tcase_create("accept_without_descriptors"));
    TCase *half_dead = add(s, tcase_create("half_dead_peer"));

    tcase_add_loop_test(in_connect, close_in_handle_connect, 0, 4);
    tcase_add_loop_test(exhausted, accept_without_descriptors, 0, 2);
    tcase_add_loop_test(half_dead, accepted_from_a_half_dead_peer, 0, 2);
}

static void add_watching(Suite *s)
{
    TCase *created = add(s, tcase_create("created_socket"));
    TCase *expt = add(s, tcase_create("default_handle_expt"));
    TCase *write = add(s, tcase_create("write_without_asking"));

    tcase_add_loop_test(created, a_created_socket_is_not_watched, 0, 2);
    tcase_add_loop_test(created, an_adopted_socket_is_watched, 0, 2);
    tcase_add_loop_test(created, an_adopted_listener_accepts, 0, 2);
    tcase_add_loop_test(expt, out_of_band_data_for_the_default_handle_expt, 0, 2);
    tcase_add_loop_test(expt, out_of_band_data_for_log_info, 0, 2);
    tcase_add_loop_test(write, a_full_stream_is_written_to_once, 0, 4);
    tcase_add_loop_test(write, a_stream_with_room_is_written_to, 0, 2);
}

static void add_data(Suite *s)
{
    TCase *again = add(s, tcase_create("recv_without_data"));
    TCase *early = add(s, tcase_create("send_before_the_connection"));
    TCase *linear = add(s, tcase_create("queue_is_not_copied"));
    TCase *timeout = add(s, tcase_create("timeout_rounded_up"));
    TCase *file = add(s, tcase_create("file_blocks_again"));

    tcase_add_loop_test(again, recv_without_data, 0, 2);
    tcase_add_loop_test(early, send_before_the_connection, 0, 4);
    tcase_add_loop_test(linear, what_is_queued_is_not_copied, 0, 2);
    tcase_add_loop_test(timeout, a_timeout_below_a_millisecond, 0, 2);
    tcase_add_test(file, a_file_blocks_again_after_close);
    tcase_add_test(file, a_file_that_did_not_block);
    tcase_add_test(file, a_regular_file_is_left_alone);
}

int main(void)
{
    Suite *s = suite_create("differences");

    add_passes(s);
    add_connections(s);
    add_watching(s);
    add_data(s);
    return test_main(s);
}
