/*
 * Many channels and much data: thousands of connections on one map, what an active channel costs
 * beside idle ones, and a long stream to a reader that is slower than the writer. Links probe.c and
 * scripted_socket.c.
 *
 * The other side of a stress test is a child process: it does without libcheck, and tells by its
 * exit status what it has seen.
 */
#define _GNU_SOURCE
#include "probe.h"
#include "scripted_socket.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child tells by its exit status. */
enum {
    CHILD_OK,
    CHILD_CONNECT,
    CHILD_WRITE,
    CHILD_READ,
    CHILD_DIFFERENT
};

static struct asyncore_map *the_map;

static void setup(void)
{
    probe_setup();
    the_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(the_map);
}

static void teardown(void)
{
    asyncore_map_free(the_map);
}

/* Waits for the child, which has closed its connections by then or will. */
static void check_child(pid_t child)
{
    int status;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "the child was killed by signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), CHILD_OK);
}

static bool write_whole(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* --- 5,000 connections ----------------------------------------------------------------------- */

enum {
    CONNECTIONS = 5000,
    MESSAGE = 700,
    ROUNDS = 3
};

static size_t live, peak;

struct echo {
    struct asyncore_dispatcher_with_send base;
};

static int echo_init(struct asyncore_dispatcher *d, int fd)
{
    live++;
    peak = live > peak ? live : peak;
    return asyncore_dispatcher_init(d, fd);
}

static void echo_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    live--;
}

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    char data[65536];
    int n = asyncore_recv(d, data, sizeof data);

    return n > 0 ? asyncore_send(d, data, (size_t)n) : n;
}

ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .init = echo_init, .finalize = echo_finalize,
               .handle_read = echo_handle_read);

struct server {
    struct asyncore_dispatcher base;
};

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    return echo_new(sock, d->map) ? 0 : -errno;
}

ASYNCORE_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted);

/* No two messages are the same, and each says where it belongs. */
static void make_message(char *message, unsigned connection, unsigned round)
{
    uint32_t state = connection * ROUNDS + round + 1;

    for (int i = 0; i < MESSAGE; i++) {
        state = state * 1664525U + 1013904223U;
        message[i] = (char)(state >> 24);
    }
}

/* Everybody speaks before anybody listens. */
static int converse(const int *socks, unsigned round)
{
    char message[MESSAGE], echoed[MESSAGE];

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        make_message(message, i, round);
        if (!write_whole(socks[i], message, MESSAGE))
            return CHILD_WRITE;
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (recv(socks[i], echoed, MESSAGE, MSG_WAITALL) != MESSAGE)
            return CHILD_READ;
        make_message(message, i, round);
        if (memcmp(message, echoed, MESSAGE) != 0)
            return CHILD_DIFFERENT;
    }
    return CHILD_OK;
}

/* The child: its sockets go with it. */
static int run_clients(const struct test_addr *addr)
{
    static int socks[CONNECTIONS];
    int r = CHILD_OK;

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        socks[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (socks[i] < 0 || connect(socks[i], test_sa(addr), addr->len) < 0)
            return CHILD_CONNECT;
    }
    for (unsigned round = 0; round < ROUNDS && r == CHILD_OK; round++)
        r = converse(socks, round);
    return r;
}

static bool all_have_gone(void *arg)
{
    (void)arg;
    return peak > 0 && live == 0;
}

START_TEST(five_thousand_connections)
{
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);
    pid_t child;

    test_need_descriptors(CONNECTIONS + 100);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(run_clients(&addr));
    ck_assert_int_eq(listen(listener, CONNECTIONS), 0);
    ck_assert_ptr_nonnull(server_new(listener, the_map));
    live = peak = 0;
    ck_assert_int_eq(run_until_true(the_map, _i, all_have_gone, NULL), 0);
    check_child(child);
    ck_assert_uint_eq(peak, CONNECTIONS);
    ck_assert_uint_eq(asyncore_map_length(the_map), 1);
}
END_TEST

/* --- one active channel beside idle ones ----------------------------------------------------- */

enum {
    IDLE = 500,
    MESSAGES = 50
};

/* A class with predicates of its own that change with the channel only; it counts. */
struct counter {
    struct asyncore_dispatcher_with_send base;
    struct costs *costs;
};

struct costs {
    int readable;
    int writable;
    int reads;
    int passes;
    struct scripted_calls calls;
};

static struct costs idle_costs;

static struct costs *costs_of(struct asyncore_dispatcher *d);
static int counter_readable(struct asyncore_dispatcher *d);
static int counter_writable(struct asyncore_dispatcher *d);
static int counter_handle_read(struct asyncore_dispatcher *d);
ASYNCORE_CLASS(counter, asyncore_dispatcher_with_send, .interest = ASYNCORE_INTEREST_ON_CHANGE,
               .readable = counter_readable, .writable = counter_writable,
               .handle_read = counter_handle_read);

static struct costs *costs_of(struct asyncore_dispatcher *d)
{
    return counter_of(d)->costs ? counter_of(d)->costs : &idle_costs;
}

static int counter_readable(struct asyncore_dispatcher *d)
{
    costs_of(d)->readable++;
    return 1;
}

static int counter_writable(struct asyncore_dispatcher *d)
{
    costs_of(d)->writable++;
    return asyncore_dispatcher_with_send_writable(d);
}

static int counter_handle_read(struct asyncore_dispatcher *d)
{
    char data[1024];
    int n = asyncore_recv(d, data, sizeof data);

    costs_of(d)->reads++;
    return n > 0 ? asyncore_send(d, data, (size_t)n) : n;
}

/* Half of the idle ones have the class that counts, half are the library's own. */
static void make_idle(int count, int *peers)
{
    for (int i = 0; i < count; i++) {
        int pair[2];

        test_socketpair(SOCK_STREAM, pair);
        peers[i] = pair[1];
        if (i % 2 == 0)
            ck_assert_ptr_nonnull(counter_new(pair[0], the_map));
        else
            ck_assert_ptr_nonnull(asyncore_dispatcher_with_send_new(pair[0], the_map));
    }
}

/* What some messages on one channel cost beside so many idle ones, which cost nothing. */
static struct costs cost_beside(int idle, bool use_poll)
{
    static int peers[IDLE];
    struct costs costs = {0};
    struct counter *active;
    char echoed[5] = "";
    int peer;

    make_idle(idle / 2, peers);
    active = counter_new(-1, the_map);
    ck_assert_ptr_nonnull(active);
    active->costs = &costs;
    ck_assert_int_eq(asyncore_set_socket_object(&active->base.base,
                                                &scripted_new(0, &costs.calls, &peer)->base, NULL),
                     0);
    asyncore_set_connected(&active->base.base, true);
    make_idle(idle - idle / 2, peers + idle / 2);
    ck_assert_int_eq(run_passes(the_map, use_poll, 3), 0); /* everyone is asked at first */
    memset(&idle_costs, 0, sizeof idle_costs);
    memset(&costs, 0, sizeof costs);
    for (int i = 0; i < MESSAGES; i++) {
        test_write_all(peer, "hello", 5);
        while (costs.reads == i) {
            ck_assert_int_eq(asyncore_loop(1, use_poll, the_map, 1), ASYNCORE_LOOP_COUNT);
            costs.passes++;
        }
        test_read_all(peer, echoed, 5);
        ck_assert_mem_eq(echoed, "hello", 5);
    }
    ck_assert_int_eq(idle_costs.readable + idle_costs.writable + idle_costs.reads, 0);
    ck_assert_int_eq(asyncore_close_all(the_map, false), 0);
    ck_assert_int_eq(asyncore_poll(0, the_map), 0);
    for (int i = 0; i < idle; i++)
        test_close(&peers[i]);
    test_close(&peer);
    return costs;
}

START_TEST(idle_channels_cost_nothing)
{
    struct costs alone, beside;

    test_need_descriptors(2 * IDLE + 100);
    alone = cost_beside(0, _i);
    beside = cost_beside(IDLE, _i);
    ck_assert_int_eq(alone.passes, MESSAGES);
    ck_assert_int_eq(alone.calls.recv, MESSAGES);
    ck_assert_int_eq(alone.calls.send, MESSAGES);
    ck_assert_int_gt(alone.readable, 0);
    ck_assert_int_eq(beside.passes, alone.passes);
    ck_assert_int_eq(beside.readable, alone.readable);
    ck_assert_int_eq(beside.writable, alone.writable);
    ck_assert_int_eq(beside.calls.recv, alone.calls.recv);
    ck_assert_int_eq(beside.calls.send, alone.calls.send);
    ck_assert_int_eq(beside.calls.getsockopt, alone.calls.getsockopt);
}
END_TEST

/* --- much data ------------------------------------------------------------------------------- */

#define BULK ((size_t)200 * 1000 * 1000)
#define QUEUE ((size_t)4 << 20) /* the writer waits while more than this is queued */

/* The memory that libevent has, in which the queue lies. */
static size_t memory, memory_peak;

static void *count_memory(void *p)
{
    memory += p ? malloc_usable_size(p) : 0;
    memory_peak = memory > memory_peak ? memory : memory_peak;
    return p;
}

static void *counting_malloc(size_t size)
{
    return count_memory(malloc(size));
}

static void counting_free(void *p)
{
    memory -= p ? malloc_usable_size(p) : 0;
    free(p);
}

static void *counting_realloc(void *old, size_t size)
{
    size_t before = old ? malloc_usable_size(old) : 0;
    void *p = realloc(old, size);

    if (p)
        memory -= before;
    return count_memory(p);
}

/* The stream repeats a block whose length is prime, so that no piece can stand for another. */
enum {
    BLOCK = 1000003
};

static char block[2 * BLOCK]; /* twice, so that any piece lies in one */

static void make_block(void)
{
    uint32_t state = 1;

    for (size_t i = 0; i < BLOCK; i++) {
        state = state * 1664525U + 1013904223U;
        block[i] = block[i + BLOCK] = (char)(state >> 24);
    }
}

/* A checksum that tells the order: FNV-1a. */
static uint64_t add_to_sum(uint64_t sum, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (unsigned char)data[i]) * 1099511628211U;
    return sum;
}

/* What a reader has seen. */
struct seen {
    uint64_t sum;
    size_t length;
};

struct writer {
    struct asyncore_dispatcher_with_send base;
    size_t sent;
    size_t chunk;
    size_t queued_peak;
    bool done;
};

static int writer_writable(struct asyncore_dispatcher *d);
static int writer_handle_write(struct asyncore_dispatcher *d);
ASYNCORE_CLASS(writer, asyncore_dispatcher_with_send, .writable = writer_writable,
               .handle_write = writer_handle_write);

static int writer_writable(struct asyncore_dispatcher *d)
{
    return !writer_of(d)->done;
}

/* Keeps the queue full. */
static int writer_handle_write(struct asyncore_dispatcher *d)
{
    struct writer *self = writer_of(d);
    int r = asyncore_dispatcher_with_send_handle_write(d);

    while (r >= 0 && self->sent < BULK && asyncore_out_buffer_length(d) < QUEUE) {
        size_t left = BULK - self->sent;
        size_t len = left < self->chunk ? left : self->chunk;

        r = asyncore_send(d, block + self->sent % BLOCK, len);
        self->sent += len;
        if (asyncore_out_buffer_length(d) > self->queued_peak)
            self->queued_peak = asyncore_out_buffer_length(d);
    }
    self->done = self->sent == BULK && asyncore_out_buffer_length(d) == 0;
    return r;
}

/* The child: reads little at a time, sums it up, and tells what came. */
static int read_stream(int fd, int result)
{
    struct seen seen = {0, 0};
    char data[4096];
    ssize_t n;

    while ((n = read(fd, data, sizeof data)) > 0) {
        seen.sum = add_to_sum(seen.sum, data, (size_t)n);
        seen.length += (size_t)n;
    }
    if (n < 0)
        return CHILD_READ;
    return write(result, &seen, sizeof seen) == sizeof seen ? CHILD_OK : CHILD_WRITE;
}

static uint64_t expected_sum(void)
{
    uint64_t sum = 0;

    for (size_t at = 0; at < BULK; at += BLOCK)
        sum = add_to_sum(sum, block, BULK - at < BLOCK ? BULK - at : BLOCK);
    return sum;
}

static pid_t start_reader(int *sock, int *result)
{
    int pair[2], results[2];
    pid_t child;

    test_socketpair(SOCK_STREAM, pair);
    test_pipe(results);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(pair[0]);
        _exit(read_stream(pair[1], results[1]));
    }
    test_close(&pair[1]);
    test_close(&results[1]);
    *sock = pair[0];
    *result = results[0];
    return child;
}

START_TEST(bulk_is_intact)
{
    static const size_t chunks[] = {50000, BLOCK};
    const double deadline = test_now() + TEST_CASE_SECONDS;
    struct seen seen;
    struct writer *writer;
    size_t memory_before;
    int sock, result;
    pid_t child = start_reader(&sock, &result);

    make_block();
    writer = writer_new(sock, the_map);
    ck_assert_ptr_nonnull(writer);
    writer->chunk = chunks[_i];
    memory_before = memory_peak = memory;
    while (!writer->done) {
        ck_assert_int_eq(asyncore_loop(1, false, the_map, 1), ASYNCORE_LOOP_COUNT);
        ck_assert(test_now() < deadline);
    }
    ck_assert_uint_ge(writer->queued_peak, QUEUE); /* the reader was the slower one */
    ck_assert_uint_le(writer->queued_peak, QUEUE + chunks[_i]);
    /* libevent rounds its blocks up, to powers of two; the first and the last are not full; and
     * there is the reserve. */
    ck_assert_uint_le(memory_peak - memory_before,
                      2 * (writer->queued_peak + 2 * chunks[_i]) + ((size_t)256 << 10));
    ck_assert_int_eq(asyncore_close(&writer->base.base), 0);
    test_read_all(result, &seen, sizeof seen);
    ck_assert_uint_eq(seen.length, BULK);
    ck_assert(seen.sum == expected_sum());
    check_child(child);
    test_close(&result);
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("many");

    tcase_add_loop_test(add_case(s, tcase_create("stress_connections")), five_thousand_connections,
                        0, 2);
    tcase_add_loop_test(add_case(s, tcase_create("stress_bulk")), bulk_is_intact, 0, 2);
    tcase_add_loop_test(add_case(s, tcase_create("idle_channels")), idle_channels_cost_nothing, 0,
                        2);
    event_set_mem_functions(counting_malloc, counting_realloc, counting_free);
    return test_main(s);
}
