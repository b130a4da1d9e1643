/*
 * Failures of the system: memory that runs out, in the library and in libevent; descriptors that
 * run out or are closed by others; system calls that are interrupted.
 *
 * The linker leads the library's calls here, and in fault.c (--wrap).
 */
#define _GNU_SOURCE
#include "fault.h"
#include "probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* --- the scenario: what there is -------------------------------------------------------------
 *
 * A server echoes what a client sends, through buffers that are too small; a pipe and a regular
 * file are read; a byte comes out of band. */

enum {
    DATA = 150000,
    FILE_DATA = 20000
};

static char data[DATA];

static struct {
    int family;
    bool use_poll;
    const char *wrong; /* what has gone wrong, if anything */
    int pipe[2];
    int file;
    struct asyncore_map *map;
    struct asyncore_dispatcher *server;
    struct asyncore_dispatcher *client;
    size_t sent;   /* what the client's send has taken */
    size_t echoed; /* and got back */
    size_t read_from_pipe;
    size_t read_from_file;
    time_t deadline;
    int short_sends;
    int accepted;
    int logged;
    bool urgent;
} the;

/* asyncore_send, twice if need be: -ENOMEM means that nothing was taken. */
static int send_all(struct asyncore_dispatcher *d, const void *from, size_t len)
{
    size_t queued = asyncore_out_buffer_length(d);
    int n;

    do {
        n = asyncore_send(d, from, len);
        if (n == -ENOMEM && asyncore_out_buffer_length(d) != queued)
            the.wrong = "send took something and returned -ENOMEM";
    } while (fault_again(n));
    if (n >= 0 && (size_t)n != len)
        the.wrong = "send has not taken everything";
    if (d->connected && queued == 0 && asyncore_out_buffer_length(d) > 0)
        the.short_sends++;
    return n;
}

/* Both ends of a connection. */
struct party {
    struct asyncore_dispatcher_with_send base;
};

static int party_handle_expt(struct asyncore_dispatcher *d)
{
    char byte = 0;
    int n = asyncore_recv_flags(d, &byte, 1, MSG_OOB);

    the.urgent = n == 1 && byte == '!';
    return n;
}

static int party_handle_error(struct asyncore_dispatcher *d)
{
    (void)d;
    the.wrong = "handle_error was called";
    return 0;
}

static int party_handle_connect(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int party_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    (void)d;
    (void)message;
    (void)type;
    the.logged++;
    return 0;
}

ASYNCORE_CLASS(party, asyncore_dispatcher_with_send, .handle_expt = party_handle_expt,
               .handle_error = party_handle_error, .handle_connect = party_handle_connect,
               .log_info = party_log_info);

struct client {
    struct party base;
};

static int client_handle_read(struct asyncore_dispatcher *d)
{
    char buf[16384];
    int n = asyncore_recv(d, buf, sizeof buf);

    if (n <= 0)
        return n;
    if ((size_t)n > DATA - the.echoed || memcmp(buf, data + the.echoed, (size_t)n) != 0)
        the.wrong = "what comes back is not what was sent";
    the.echoed += (size_t)n;
    return n;
}

ASYNCORE_CLASS(client, party, .handle_read = client_handle_read);

struct echo {
    struct party base;
};

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    char buf[16384];
    int n = asyncore_recv(d, buf, sizeof buf);

    fault.step = "echo";
    return n > 0 ? send_all(d, buf, (size_t)n) : n;
}

ASYNCORE_CLASS(echo, party, .handle_read = echo_handle_read);

struct server {
    struct asyncore_dispatcher base;
};

/* A socket that is given to new is gone even when that fails: a copy is kept. */
static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    int spare = fcntl(sock, F_DUPFD_CLOEXEC, 0);
    struct echo *fresh;

    (void)addr;
    (void)addrlen;
    fault.step = "accept";
    fresh = echo_new(sock, d->map);
    if (!fresh && fault_again(-errno)) {
        if (test_is_open(sock))
            the.wrong = "new has failed and left its socket open";
        fresh = echo_new(spare, d->map);
        spare = -1;
    }
    if (spare >= 0)
        close(spare);
    the.accepted += fresh != NULL;
    return fresh ? 0 : -errno;
}

ASYNCORE_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
               .handle_error = party_handle_error);

struct reader {
    struct asyncore_file_dispatcher base;
    size_t *total;
};

static int reader_readable(struct asyncore_dispatcher *d);
static int reader_handle_read(struct asyncore_dispatcher *d);
static int never(struct asyncore_dispatcher *d);
ASYNCORE_CLASS(reader, asyncore_file_dispatcher, .readable = reader_readable, .writable = never,
               .handle_read = reader_handle_read, .handle_close = asyncore_dispatcher_close,
               .handle_error = party_handle_error);

static int never(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int reader_readable(struct asyncore_dispatcher *d)
{
    return *reader_of(d)->total < DATA;
}

static int reader_handle_read(struct asyncore_dispatcher *d)
{
    size_t *total = reader_of(d)->total;
    char buf[4096];
    int n = asyncore_recv(d, buf, sizeof buf);

    if (n <= 0)
        return n;
    if ((size_t)n > FILE_DATA - *total || memcmp(buf, data + *total, (size_t)n) != 0)
        the.wrong = "what is read from a file is not what is in it";
    *total += (size_t)n;
    return n;
}

/* --- the scenario: what happens -------------------------------------------------------------- */

/* A file to read: on failure nothing has happened to fd. */
static int read_file(int fd, size_t *total)
{
    struct reader *reader;

    fault.step = "file_dispatcher_new";
    do
        reader = reader_new(fd, the.map);
    while (!reader && fault_again(-errno));
    if (reader)
        reader->total = total;
    return reader ? 0 : -errno;
}

static int set_up_server(struct test_addr *addr)
{
    int r;

    fault.step = "new";
    do
        the.server = server_dispatcher(server_new(-1, the.map));
    while (!the.server && fault_again(-errno));
    if (!the.server)
        return -errno;
    do
        r = asyncore_create_socket(the.server, the.family, SOCK_STREAM);
    while (fault_again(r));
    if (r < 0)
        return r;
    fault.step = "bind";
    do
        r = asyncore_bind(the.server, test_sa(addr), addr->len);
    while (fault_again(r));
    if (r == 0)
        r = asyncore_listen(the.server, 5);
    addr->len = sizeof addr->storage;
    return r < 0 ? r
                 : asyncore_getsockname(the.server, (struct sockaddr *)&addr->storage, &addr->len);
}

static int set_up_client(const struct test_addr *addr)
{
    const int small = 16384;
    int r;

    fault.step = "new";
    do
        the.client = client_dispatcher(client_new(-1, the.map));
    while (!the.client && fault_again(-errno));
    if (!the.client)
        return -errno;
    do
        r = asyncore_create_socket(the.client, the.family, SOCK_STREAM);
    while (fault_again(r));
    if (r == 0)
        r = asyncore_setsockopt(the.client, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    if (r < 0)
        return r;
    fault.step = "connect";
    do
        r = asyncore_connect(the.client, test_sa(addr), addr->len);
    while (fault_again(r));
    return r;
}

static int one_pass(void)
{
    int r;

    if (fault_seconds() > the.deadline)
        return -ETIMEDOUT;
    fault.step = "loop";
    do
        r = asyncore_loop(1, the.use_poll, the.map, 1);
    while (fault_again(r));
    return r == ASYNCORE_LOOP_COUNT ? 0 : r < 0 ? r : -ENOENT;
}

/* Sends up to the given place of the data. */
static int send_up_to(size_t place, bool debug)
{
    int n;

    fault.step = "send";
    asyncore_set_debug(the.client, debug);
    n = send_all(the.client, data + the.sent, place - the.sent);
    if (n > 0)
        the.sent += (size_t)n;
    return n < 0 ? n : 0;
}

/* What was sent is echoed, and the files are at their ends. */
static int run_until_idle(void)
{
    int r = 0;

    while (r == 0 && !the.wrong &&
           (the.echoed < the.sent || the.read_from_pipe < FILE_DATA ||
            the.read_from_file < FILE_DATA || the.accepted == 0))
        r = one_pass();
    return r;
}

static int run_until_urgent(void)
{
    int r = asyncore_send_flags(the.client, "!", 1, MSG_OOB);

    while (r >= 0 && !the.urgent && !the.wrong)
        r = one_pass();
    return r < 0 ? r : 0;
}

static int converse(void)
{
    /* Before the connection is made, then short, at once, more than is sent at once, and behind
     * what is queued. */
    int r = send_up_to(100, false);

    if (r == 0)
        r = run_until_idle();
    if (r == 0)
        r = send_up_to(300, true);
    if (r == 0)
        r = send_up_to(60000, false);
    if (r == 0)
        r = run_until_idle();
    if (r == 0)
        r = send_up_to(DATA - 1000, false);
    if (r == 0)
        r = send_up_to(DATA, false);
    if (r == 0)
        r = run_until_idle();
    return r == 0 && the.family != AF_UNIX ? run_until_urgent() : r;
}

static int play(struct test_addr *addr)
{
    int r;

    fault.step = "map_new";
    do
        the.map = asyncore_map_new(NULL);
    while (!the.map && fault_again(-errno));
    if (!the.map)
        return -errno;
    r = read_file(the.pipe[0], &the.read_from_pipe);
    if (r == 0)
        r = read_file(the.file, &the.read_from_file);
    if (r == 0)
        r = set_up_server(addr);
    if (r == 0)
        r = set_up_client(addr);
    return r == 0 ? converse() : r;
}

/* --- the scenario with one failure after the other ------------------------------------------- */

static void prepare(int family, bool use_poll)
{
    memset(&the, 0, sizeof the);
    the.family = family;
    the.use_poll = use_poll;
    the.deadline = fault_seconds() + TEST_WAIT_SECONDS;
    test_pipe(the.pipe);
    test_write_all(the.pipe[1], data, FILE_DATA);
    test_close(&the.pipe[1]);
    the.file = open(test_file("file", data, FILE_DATA), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(the.file, 0);
}

/* A single one: libevent then takes another method than epoll for its base, and what a socket did
 * not take goes into the reserve. */
static bool may_go_untold(void)
{
    return strcmp(fault.where, "map_new") == 0 || strcmp(fault.where, "send") == 0 ||
           strcmp(fault.where, "echo") == 0;
}

/* Plays it with the nth allocation failing; whether that many were made. */
static bool play_with_fault(int family, bool use_poll, long n, bool lasts)
{
    struct test_addr addr;
    int before = fault_count_descriptors();
    int r;

    prepare(family, use_poll);
    addr = test_addr_any(family);
    fault_begin(n, lasts);
    r = play(&addr);
    asyncore_map_free(the.map);
    fault_end();
    ck_assert_msg(!the.wrong, "allocation %ld (%s): %s", n, fault.where, the.wrong);
    ck_assert_msg(r == 0, "allocation %ld (%s): %s in %s", n, fault.where, strerror(-r),
                  fault.step);
    ck_assert_uint_eq(the.sent, DATA);
    ck_assert_uint_eq(the.echoed, DATA);
    ck_assert_uint_eq(the.read_from_pipe, FILE_DATA);
    ck_assert_uint_eq(the.read_from_file, FILE_DATA);
    ck_assert_int_eq(the.logged, 1);
    ck_assert_int_gt(the.short_sends, 0);
    test_close(&the.pipe[0]);
    test_close(&the.file);
    ck_assert_int_eq(fault_count_descriptors(), before);
    if (!fault.where)
        return false;
    if (fault.told == 0)
        ck_assert_msg(!lasts && may_go_untold(), "allocation %ld (%s) was not told", n,
                      fault.where);
    return true;
}

static void play_with_faults(int family, bool use_poll, bool lasts)
{
    long n = 1;
    int told = 0;

    for (size_t i = 0; i < DATA; i++)
        data[i] = (char)(i * 7 + (i >> 8) * 13);
    while (play_with_fault(family, use_poll, n, lasts)) {
        told += fault.told;
        n++;
    }
    ck_assert_int_eq(fault.told, 0);
    ck_assert_int_ge(told, 20); /* the wrapping works: a map alone needs a dozen */
}

START_TEST(one_allocation_fails)
{
    play_with_faults(AF_INET, _i, false);
}
END_TEST

START_TEST(one_allocation_fails_unix)
{
    play_with_faults(AF_UNIX, _i, false);
}
END_TEST

START_TEST(allocations_fail_until_told)
{
    play_with_faults(AF_INET, _i, true);
}
END_TEST

START_TEST(allocations_fail_until_told_unix)
{
    play_with_faults(AF_UNIX, _i, true);
}
END_TEST

/* --- descriptors that run out ---------------------------------------------------------------- */

enum {
    TABLE = 256
};

static struct rlimit limit_before;
static int fillers[TABLE];
static int filler_count;
static struct asyncore_map *the_map;

static struct test_capture capture;
static bool capturing;

static void capture_begin(void)
{
    test_capture_begin(&capture, STDOUT_FILENO);
    capturing = true;
}

static const char *capture_end(void)
{
    capturing = false;
    return test_capture_end(&capture);
}

/* A test that fails without a process of its own must not take the output with it. */
static void capture_drop(void)
{
    if (capturing)
        (void)capture_end();
}

static void descriptors_setup(void)
{
    probe_setup();
    filler_count = 0;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    the_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(the_map);
}

static void free_descriptors(int count)
{
    while (count-- > 0 && filler_count > 0)
        test_close(&fillers[--filler_count]);
}

static void descriptors_teardown(void)
{
    capture_drop();
    asyncore_map_free(the_map);
    free_descriptors(TABLE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

/* Opens what the process can. */
static void fill_descriptors(void)
{
    struct rlimit limit = {.rlim_cur = TABLE, .rlim_max = limit_before.rlim_max};
    int fd;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
        fillers[filler_count++] = fd;
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_gt(filler_count, 8);
}

/* How often the listener may have tried: at once, and then every tenth of a second, which
 * libevent's coarse clock cuts short by some milliseconds. */
static int tries_since(double start)
{
    return 1 + (int)((test_now() - start) / 0.08);
}

static struct probe *listening_probe(int *peers, int count)
{
    struct test_addr addr;
    struct probe *listener = probe_make("l", test_listener(AF_INET, &addr), the_map);

    ck_assert(listener->base.accepting);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0); /* the map has what it needs itself */
    for (int i = 0; i < count; i++)
        peers[i] = test_connect(&addr);
    return listener;
}

static bool is_accepted(void *arg)
{
    return probe_count("accepted") >= *(const int *)arg;
}

static int note_accepted(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);

    if (sock < 0)
        return sock;
    probe_note("accepted");
    return close(sock);
}

START_TEST(accept_waits_for_descriptors)
{
    static const char once[] = "error: accept: Too many open files, waiting\n";
    const int both = 2;
    int peers[2];
    struct probe *listener = listening_probe(peers, 2);
    double start;

    listener->hook[PROBE_ACCEPT] = note_accepted;
    capture_begin();
    fill_descriptors();
    start = test_now();
    ck_assert_int_eq(run_passes(the_map, _i, 200), 0);
    ck_assert_int_ge(listener->calls[PROBE_ACCEPT], 1);
    ck_assert_int_le(listener->calls[PROBE_ACCEPT], tries_since(start));
    while (listener->calls[PROBE_ACCEPT] < 3) /* it goes on trying */
        ck_assert_int_ge(asyncore_loop(1, _i, the_map, 1), 0);
    ck_assert_int_le(listener->calls[PROBE_ACCEPT], tries_since(start));
    ck_assert_uint_eq(asyncore_map_length(the_map), 1);
    ck_assert(listener->base.accepting);
    ck_assert_int_eq(probe_count("accepted"), 0);
    free_descriptors(4);
    ck_assert_int_eq(run_until_true(the_map, _i, is_accepted, (void *)(uintptr_t)&both), 0);
    ck_assert_int_eq(listener->calls[PROBE_ERROR] + listener->calls[PROBE_CLOSE], 0);
    ck_assert_str_eq(capture_end(), once);
    test_close(&peers[0]);
    test_close(&peers[1]);
}
END_TEST

/* After an accept that went well the next lack of descriptors is news again. */
START_TEST(accept_tells_again)
{
    static const char twice[] = "error: accept: Too many open files, waiting\n"
                                "error: accept: Too many open files, waiting\n";
    int peers[2];
    struct test_addr addr;
    struct probe *listener = listening_probe(peers, 1);

    listener->hook[PROBE_ACCEPT] = note_accepted;
    addr = test_sockname(asyncore_fileno(&listener->base));
    capture_begin();
    for (int round = 1; round <= 2; round++) {
        int tried = listener->calls[PROBE_ACCEPT];

        fill_descriptors();
        while (listener->calls[PROBE_ACCEPT] == tried)
            ck_assert_int_ge(asyncore_loop(1, _i, the_map, 1), 0);
        free_descriptors(TABLE);
        ck_assert_int_eq(run_until_true(the_map, _i, is_accepted, &round), 0);
        if (round == 1)
            peers[1] = test_connect(&addr);
    }
    ck_assert_str_eq(capture_end(), twice);
    test_close(&peers[0]);
    test_close(&peers[1]);
}
END_TEST

/* Meanwhile the others are served, and the listener can be closed. */
START_TEST(others_do_not_wait)
{
    int peers[2];
    struct probe *listener = listening_probe(peers, 1);
    struct probe *other = probe_connected("o", AF_UNIX, the_map, &peers[1]);

    capture_begin();
    fill_descriptors();
    while (listener->calls[PROBE_ACCEPT] == 0)
        ck_assert_int_ge(asyncore_loop(1, _i, the_map, 1), 0);
    test_write_all(peers[1], "abc", 3);
    while (other->total < 3)
        ck_assert_int_eq(asyncore_loop(1, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(asyncore_close(&listener->base), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_int_eq(probe_count("l.finalize"), 1);
    ck_assert_int_eq(asyncore_close(&other->base), 0);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    free_descriptors(TABLE);
    (void)capture_end();
    test_close(&peers[0]);
    test_close(&peers[1]);
}
END_TEST

/* What needs a descriptor says so, and leaves everything as it was. */
START_TEST(descriptors_run_out_elsewhere)
{
    struct probe *p = probe_make("p", -1, the_map);

    fill_descriptors();
    errno = 0;
    ck_assert_ptr_null(asyncore_map_new(NULL));
    ck_assert_int_eq(errno, EMFILE);
    errno = 0;
    ck_assert_ptr_null(asyncore_file_wrapper_new(STDIN_FILENO));
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_eq(asyncore_set_file(&p->base, STDIN_FILENO), -EMFILE);
    ck_assert_int_eq(asyncore_create_socket(&p->base, AF_INET, SOCK_STREAM), -EMFILE);
    ck_assert_int_eq(asyncore_fileno(&p->base), -1);
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    for (int room = 0; room < 2; room++) { /* one is enough for the dup, and not for the rest */
        errno = 0;
        ck_assert_ptr_null(asyncore_file_dispatcher_new(STDIN_FILENO, the_map));
        ck_assert_int_eq(errno, EMFILE);
        free_descriptors(1);
    }
    ck_assert_int_eq(asyncore_create_socket(&p->base, AF_INET, SOCK_STREAM), 0);
}
END_TEST

/* --- errors of accept, and interrupted calls ------------------------------------------------- */

enum call {
    CALL_RECV,
    CALL_SEND,
    CALL_SENDMSG,
    CALL_SENDTO,
    CALL_RECVFROM,
    CALL_ACCEPT,
    CALL_CONNECT,
    CALL_READ,
    CALL_WRITE,
    CALL_CLOSE,
    CALL_EPOLL_CREATE,
    CALL_COUNT
};

/* The errors that the next call of each returns in place of its work; and how often it came. */
static int next_error[CALL_COUNT];
static int made[CALL_COUNT];
static bool connect_begins; /* an interrupted connect goes on by itself */

static bool call_fails(enum call call)
{
    int error = next_error[call];

    made[call]++;
    next_error[call] = 0;
    if (error)
        errno = error;
    return error != 0;
}

#define WRAP(type, name, call, parameters, arguments)                                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return call_fails(call) ? -1 : __real_##name arguments;                                    \
    }

WRAP(ssize_t, recv, CALL_RECV, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(ssize_t, send, CALL_SEND, (int fd, const void *buf, size_t len, int flags),
     (fd, buf, len, flags))
WRAP(ssize_t, sendmsg, CALL_SENDMSG, (int fd, const struct msghdr *message, int flags),
     (fd, message, flags))
WRAP(ssize_t, sendto, CALL_SENDTO,
     (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen),
     (fd, buf, len, flags, to, tolen))
WRAP(ssize_t, recvfrom, CALL_RECVFROM,
     (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen),
     (fd, buf, len, flags, from, fromlen))
WRAP(ssize_t, read, CALL_READ, (int fd, void *buf, size_t len), (fd, buf, len))
WRAP(ssize_t, write, CALL_WRITE, (int fd, const void *buf, size_t len), (fd, buf, len))
WRAP(int, epoll_create1, CALL_EPOLL_CREATE, (int flags), (flags))

int __real_close(int fd);
int __wrap_close(int fd);

/* Where the table is full valgrind takes a connection and then refuses it its descriptor; the
 * kernel leaves the connection where it is. */
static bool valgrind_would_take_it(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    int fd;

    if (!preloaded || !strstr(preloaded, "vgpreload"))
        return false;
    fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    return fd < 0 || __real_close(fd) < 0;
}

int __real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    if (call_fails(CALL_ACCEPT) || valgrind_would_take_it())
        return -1;
    return __real_accept4(fd, addr, len, flags);
}

int __real_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (next_error[CALL_CONNECT] && connect_begins)
        (void)__real_connect(fd, addr, len);
    return call_fails(CALL_CONNECT) ? -1 : __real_connect(fd, addr, len);
}

/* As on Linux: an interrupted close has closed. */
int __wrap_close(int fd)
{
    int r = __real_close(fd);

    return call_fails(CALL_CLOSE) ? -1 : r;
}

/* The next such call fails once. */
static void fail_next(enum call call, int error)
{
    made[call] = 0;
    next_error[call] = error;
}

static void calls_setup(void)
{
    probe_setup();
    memset(next_error, 0, sizeof next_error);
    the_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(the_map);
}

static void calls_teardown(void)
{
    capture_drop();
    asyncore_map_free(the_map);
}

/* That a call that was interrupted once was made twice. */
static void check_twice(enum call call)
{
    ck_assert_int_eq(next_error[call], 0);
    ck_assert_int_eq(made[call], 2);
}

START_TEST(accept_without_resources)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    const int one = 1;
    int peer;
    struct probe *listener = listening_probe(&peer, 1);
    char expected[128];

    listener->hook[PROBE_ACCEPT] = note_accepted;
    snprintf(expected, sizeof expected, "error: accept: %s, waiting\n", strerror(errors[_i]));
    capture_begin();
    fail_next(CALL_ACCEPT, errors[_i]);
    ck_assert_int_eq(run_until_true(the_map, false, is_accepted, (void *)(uintptr_t)&one), 0);
    ck_assert_str_eq(capture_end(), expected);
    check_twice(CALL_ACCEPT);
    ck_assert_str_eq(probe_trace(), "l.accept l.accept accepted");
    test_close(&peer);
}
END_TEST

/* The connection has gone before it was accepted, or somebody else has it. */
START_TEST(accept_of_nothing)
{
    static const int errors[] = {EAGAIN, ECONNABORTED};
    const int one = 1;
    int peer;
    struct probe *listener = listening_probe(&peer, 1);

    listener->hook[PROBE_ACCEPT] = note_accepted;
    fail_next(CALL_ACCEPT, errors[_i]);
    ck_assert_int_eq(run_until_true(the_map, false, is_accepted, (void *)(uintptr_t)&one), 0);
    ck_assert_str_eq(probe_trace(), "l.accept l.accept accepted");
    test_close(&peer);
}
END_TEST

static int listen_in_its_place(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);
    struct test_addr addr;
    struct asyncore_dispatcher *fresh;
    int fd;

    close(sock);
    fd = test_listener(AF_INET, &addr);
    probe_note("%s", fd == sock ? "same" : "other");
    fresh = asyncore_dispatcher_new(fd, self->base.map);
    probe_note("%s", fresh && fresh->accepting && !fresh->connected ? "accepting" : "mistaken");
    probe_note("accepted");
    return 0;
}

/* A connection is turned away, and another socket gets its number: it is looked at anew. */
START_TEST(number_of_a_refused_connection)
{
    const int one = 1;
    int peer;
    struct probe *listener = listening_probe(&peer, 1);

    listener->hook[PROBE_ACCEPT] = listen_in_its_place;
    ck_assert_int_eq(run_until_true(the_map, _i, is_accepted, (void *)(uintptr_t)&one), 0);
    ck_assert_str_eq(probe_trace(), "l.accept same accepting accepted");
    test_close(&peer);
}
END_TEST

START_TEST(interrupted_accept)
{
    int peer, sock;
    struct probe *listener = listening_probe(&peer, 1);

    test_wait_readable(asyncore_fileno(&listener->base));
    fail_next(CALL_ACCEPT, EINTR);
    sock = asyncore_accept(&listener->base, NULL, NULL);
    ck_assert_int_ge(sock, 0);
    check_twice(CALL_ACCEPT);
    test_close(&sock);
    test_close(&peer);
}
END_TEST

/* Whether the connect had begun when it was interrupted or not. */
START_TEST(interrupted_connect)
{
    static const int families[] = {AF_INET, AF_UNIX};
    struct test_addr addr;
    int listener = test_listener(families[_i / 2], &addr);
    struct probe *p = probe_make("p", -1, the_map);
    int peer;

    connect_begins = _i % 2;
    ck_assert_int_eq(asyncore_create_socket(&p->base, families[_i / 2], SOCK_STREAM), 0);
    fail_next(CALL_CONNECT, EINTR);
    ck_assert_int_eq(asyncore_connect(&p->base, test_sa(&addr), addr.len), 0);
    check_twice(CALL_CONNECT);
    peer = test_accept(listener);
    p->writable = true;
    ck_assert_int_eq(run_until(the_map, false, &p->base.connected), 0);
    ck_assert_int_eq(p->calls[PROBE_CONNECT], 1);
    ck_assert_int_eq(p->calls[PROBE_ERROR] + p->calls[PROBE_CLOSE], 0);
    test_close(&peer);
    test_close(&listener);
}
END_TEST

START_TEST(interrupted_transfer)
{
    char buf[8] = "";
    int peer;
    struct probe *p = probe_connected("p", AF_INET, the_map, &peer);

    fail_next(CALL_SEND, EINTR);
    ck_assert_int_eq(asyncore_send(&p->base, "abc", 3), 3);
    check_twice(CALL_SEND);
    fail_next(CALL_SEND, EINTR);
    ck_assert_int_eq(asyncore_send_flags(&p->base, "def", 3, 0), 3);
    check_twice(CALL_SEND);
    test_read_all(peer, buf, 6);
    ck_assert_str_eq(buf, "abcdef");
    test_write_all(peer, "ghi", 3);
    test_wait_readable(asyncore_fileno(&p->base));
    fail_next(CALL_RECV, EINTR);
    ck_assert_int_eq(asyncore_recv(&p->base, buf, sizeof buf), 3);
    check_twice(CALL_RECV);
    ck_assert_mem_eq(buf, "ghi", 3);
    test_close(&peer);
}
END_TEST

START_TEST(interrupted_datagrams)
{
    char buf[8];
    struct test_addr addr = test_addr_any(AF_INET);
    struct probe *p = probe_make("p", -1, the_map);

    ck_assert_int_eq(asyncore_create_socket(&p->base, AF_INET, SOCK_DGRAM), 0);
    ck_assert_int_eq(asyncore_bind(&p->base, test_sa(&addr), addr.len), 0);
    addr = test_sockname(asyncore_fileno(&p->base));
    fail_next(CALL_SENDTO, EINTR);
    ck_assert_int_eq(asyncore_sendto(&p->base, "abc", 3, test_sa(&addr), addr.len), 3);
    check_twice(CALL_SENDTO);
    test_wait_readable(asyncore_fileno(&p->base));
    fail_next(CALL_RECVFROM, EINTR);
    ck_assert_int_eq(asyncore_recvfrom(&p->base, buf, sizeof buf, NULL, NULL), 3);
    check_twice(CALL_RECVFROM);
}
END_TEST

/* Several pieces that are queued go in one sendmsg. */
START_TEST(interrupted_queue)
{
    static char piece[40000], buf[2 * sizeof piece];
    struct asyncore_dispatcher *d;
    size_t got = 0;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    d = &asyncore_dispatcher_with_send_new(pair[0], the_map)->base;
    asyncore_set_connected(d, false); /* so that it only queues */
    for (size_t i = 0; i < 2; i++) {
        memset(piece, "ab"[i], sizeof piece);
        ck_assert_int_eq(asyncore_send(d, piece, sizeof piece), sizeof piece);
    }
    asyncore_set_connected(d, true);
    fail_next(CALL_SENDMSG, EINTR);
    ck_assert_int_eq(asyncore_initiate_send(d), 0);
    check_twice(CALL_SENDMSG);
    while (asyncore_out_buffer_length(d) > 0)
        ck_assert_int_eq(asyncore_initiate_send(d), 0);
    for (test_read_all(pair[1], buf, sizeof buf); got < sizeof buf; got++)
        ck_assert_int_eq(buf[got], got < sizeof piece ? 'a' : 'b');
    test_close(&pair[1]);
}
END_TEST

START_TEST(interrupted_file)
{
    struct asyncore_socket *file;
    char buf[8];
    int pair[2];

    test_pipe(pair);
    file = asyncore_file_wrapper_new(pair[1]);
    ck_assert_ptr_nonnull(file);
    fail_next(CALL_WRITE, EINTR);
    ck_assert_int_eq(asyncore_socket_send(file, "abc", 3, 0), 3);
    check_twice(CALL_WRITE);
    asyncore_socket_free(file);
    file = asyncore_file_wrapper_new(pair[0]);
    ck_assert_ptr_nonnull(file);
    fail_next(CALL_READ, EINTR);
    ck_assert_int_eq(asyncore_socket_recv(file, buf, sizeof buf, 0), 3);
    check_twice(CALL_READ);
    asyncore_socket_free(file);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* Closed all the same, and once: the number may be somebody else's by now. */
START_TEST(interrupted_close)
{
    int peer;
    struct probe *p = probe_connected("p", AF_INET, the_map, &peer);
    int fd = asyncore_fileno(&p->base);

    fail_next(CALL_CLOSE, EINTR);
    ck_assert_int_eq(asyncore_close(&p->base), 0);
    ck_assert_int_eq(made[CALL_CLOSE], 1);
    ck_assert(!test_is_open(fd));
    test_close(&peer);
}
END_TEST

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

/* Signals whose handler is not the library's end no wait. */
START_TEST(interrupted_wait)
{
    struct sigaction action = {.sa_handler = on_alarm}, old;
    const struct itimerval every = {{0, 10000}, {0, 10000}}, never_more = {{0, 0}, {0, 0}};
    int peer;
    double start;

    (void)probe_connected("p", AF_INET, the_map, &peer);
    alarms = 0;
    ck_assert_int_eq(sigaction(SIGALRM, &action, &old), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    start = test_now();
    ck_assert_int_eq(asyncore_loop(0.2, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert(test_now() - start >= 0.2);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never_more, NULL), 0);
    ck_assert_int_eq(sigaction(SIGALRM, &old, NULL), 0);
    ck_assert_int_gt(alarms, 1);
    ck_assert_str_eq(probe_trace(), "");
    test_close(&peer);
}
END_TEST

/* --- events that cannot be added ------------------------------------------------------------- */

static bool is_closed(void *arg)
{
    (void)arg;
    return probe_count("p.close") > 0; /* it may be gone already */
}

/* The descriptor is closed by somebody else before the loop has seen it. */
START_TEST(closed_behind_its_back)
{
    int peers[2];
    struct probe *p = probe_connected("p", AF_INET, the_map, &peers[0]);
    struct probe *other = probe_connected("o", AF_INET, the_map, &peers[1]);

    test_write_all(peers[1], "abc", 3);
    ck_assert_int_eq(close(asyncore_fileno(&p->base)), 0);
    ck_assert_int_eq(run_until_true(the_map, _i, is_closed, NULL), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_int_eq(probe_count("p.close"), 1);
    ck_assert_int_eq(probe_count("p.finalize"), 1);
    ck_assert_int_eq(probe_count("p.error"), 0);
    ck_assert_uint_eq(other->total, 3);
    ck_assert_uint_eq(asyncore_map_length(the_map), 1);
    test_close(&peers[0]);
    test_close(&peers[1]);
}
END_TEST

/* ... while it is watched for read, and wants to write then. */
START_TEST(closed_while_it_is_watched)
{
    int peer;
    struct probe *p = probe_connected("p", AF_INET, the_map, &peer);

    test_set_nonblocking(asyncore_fileno(&p->base), true);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_int_eq(close(asyncore_fileno(&p->base)), 0);
    asyncore_set_connected(&p->base, false); /* so that the kernel is asked */
    p->writable = true;
    ck_assert_int_eq(run_until_true(the_map, _i, is_closed, NULL), 0);
    ck_assert_int_eq(asyncore_loop(1, _i, the_map, 3), ASYNCORE_LOOP_EMPTY);
    ck_assert_str_eq(probe_trace(), "p.close p.finalize");
    test_close(&peer);
}
END_TEST

/* Out-of-band data takes a descriptor of the map's own, made with the first channel that looks at
 * it: without it the channel does not get its socket, and can be given another. */
START_TEST(urgent_data_without_descriptor)
{
    struct probe *p = probe_make("p", -1, the_map);
    int pair[2];

    test_pair(AF_INET, pair);
    fail_next(CALL_EPOLL_CREATE, EMFILE);
    ck_assert_int_eq(asyncore_set_socket(&p->base, pair[0], NULL), -EMFILE);
    ck_assert(!test_is_open(pair[0]));
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    test_close(&pair[1]);

    test_pair(AF_INET, pair);
    ck_assert_int_eq(asyncore_set_socket(&p->base, pair[0], NULL), 0);
    asyncore_set_connected(&p->base, true);
    ck_assert_int_eq(send(pair[1], "!", 1, MSG_OOB), 1);
    while (p->oob != '!')
        ck_assert_int_eq(asyncore_loop(1, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(probe_count("p.error") + probe_count("p.close"), 0);
    test_close(&pair[1]);
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc, void (*before)(void), void (*after)(void))
{
    test_add_fixture(tc);
    if (before)
        tcase_add_checked_fixture(tc, before, after);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_memory(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("memory"), NULL, NULL);

    tcase_add_loop_test(tc, one_allocation_fails, 0, 2);
    tcase_add_loop_test(tc, allocations_fail_until_told, 0, 2);
    tc = add_case(s, tcase_create("memory_unix"), NULL, NULL);
    tcase_add_loop_test(tc, one_allocation_fails_unix, 0, 2);
    tcase_add_loop_test(tc, allocations_fail_until_told_unix, 0, 2);
}

static void add_descriptors(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("descriptors"), descriptors_setup, descriptors_teardown);

    tcase_add_loop_test(tc, accept_waits_for_descriptors, 0, 2);
    tcase_add_loop_test(tc, accept_tells_again, 0, 2);
    tcase_add_loop_test(tc, others_do_not_wait, 0, 2);
    tcase_add_test(tc, descriptors_run_out_elsewhere);

    tc = add_case(s, tcase_create("events"), calls_setup, calls_teardown);
    tcase_add_loop_test(tc, closed_behind_its_back, 0, 2);
    tcase_add_loop_test(tc, closed_while_it_is_watched, 0, 2);
    tcase_add_loop_test(tc, urgent_data_without_descriptor, 0, 2);
}

static void add_calls(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("interrupted"), calls_setup, calls_teardown);

    tcase_add_test(tc, interrupted_accept);
    tcase_add_loop_test(tc, interrupted_connect, 0, 4);
    tcase_add_test(tc, interrupted_transfer);
    tcase_add_test(tc, interrupted_datagrams);
    tcase_add_test(tc, interrupted_queue);
    tcase_add_test(tc, interrupted_file);
    tcase_add_test(tc, interrupted_close);
    tcase_add_loop_test(tc, interrupted_wait, 0, 2);

    tc = add_case(s, tcase_create("accept"), calls_setup, calls_teardown);
    tcase_add_loop_test(tc, accept_without_resources, 0, 4);
    tcase_add_loop_test(tc, accept_of_nothing, 0, 2);
    tcase_add_loop_test(tc, number_of_a_refused_connection, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("fault");

    add_memory(s);
    add_descriptors(s);
    add_calls(s);
    fault_install();
    return test_main(s);
}
