/*
 * Attached maps when the system fails: memory that runs out, in the library and in libevent, and
 * descriptors that do.
 *
 * The linker leads the library's calls here, and in fault.c (--wrap).
 */
#include "fault.h"
#include "hosted.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- memory -------------------------------------------------------------------------------------
 *
 * The scenario: a map with both ends of a connection, one of which echoes, is attached, told of
 * priorities, serves, is detached and attached again, and empties. Nothing of libcheck is called in
 * it, for it allocates. */

enum {
    DATA = 20000
};

static struct {
    bool use_poll;
    int pair[2];
    struct event_base *base;
    struct asyncore_map *map;
    struct asyncore_dispatcher *client;
    const char *wrong;
    size_t echoed;
    int emptied; /* what done was told */
    int failed;
    int other;
    time_t deadline;
} the;

static char data[DATA];

struct party {
    struct asyncore_dispatcher_with_send base;
};

static int party_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 1; /* a predicate of its own: asked in every pass, with a timeout */
}

static int party_handle_error(struct asyncore_dispatcher *d)
{
    int error = asyncore_compact_traceback(d)->error;

    if (error != -ENOMEM)
        the.wrong = "handle_error was called for something else";
    fault.told++;
    return 0;
}

static int party_handle_expt(struct asyncore_dispatcher *d)
{
    char byte;

    return asyncore_recv_flags(d, &byte, 1, MSG_OOB);
}

static int party_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    (void)d;
    (void)message;
    (void)type;
    return 0;
}

static int send_all(struct asyncore_dispatcher *d, const void *from, size_t len)
{
    int n;

    do
        n = asyncore_send(d, from, len);
    while (fault_again(n));
    if (n != (int)len)
        the.wrong = "send has not taken everything";
    return n;
}

static int party_handle_read(struct asyncore_dispatcher *d)
{
    char buf[8192];
    int n = asyncore_recv(d, buf, sizeof buf);

    return n > 0 ? send_all(d, buf, (size_t)n) : n;
}

ASYNCORE_CLASS(party, asyncore_dispatcher_with_send, .readable = party_readable,
               .handle_read = party_handle_read, .handle_error = party_handle_error,
               .handle_expt = party_handle_expt, .log_info = party_log_info);

struct client {
    struct party base;
};

static int client_handle_read(struct asyncore_dispatcher *d)
{
    char buf[8192];
    int n = asyncore_recv(d, buf, sizeof buf);

    if (n <= 0)
        return n;
    if (the.echoed + (size_t)n > DATA || memcmp(buf, data + the.echoed, (size_t)n) != 0)
        the.wrong = "what comes back is not what was sent";
    the.echoed += (size_t)n;
    return n;
}

ASYNCORE_CLASS(client, party, .handle_read = client_handle_read);

static void on_done(struct asyncore_map *map, int result, void *arg)
{
    (void)arg;
    if (result == ASYNCORE_LOOP_EMPTY) {
        the.emptied++;
    } else if (result == -ENOMEM) {
        the.failed++;
        fault.told++;
        if (asyncore_map_attach_loop(1, the.use_poll, map, ASYNCORE_COUNT_NONE, on_done, NULL) < 0)
            the.wrong = "attaching again fails";
    } else {
        the.other++;
    }
}

static bool attach_the_map(void)
{
    int r;

    fault.step = "attach";
    do
        r = asyncore_map_attach_loop(1, the.use_poll, the.map, ASYNCORE_COUNT_NONE, on_done, NULL);
    while (fault_again(r));
    return r == 0;
}

static bool make_map(void)
{
    struct client *client;
    struct party *party;

    fault.step = "making";
    do
        the.map = asyncore_map_new(the.base);
    while (!the.map && fault_again(-errno));
    if (!the.map)
        return false;
    party = party_new(the.pair[0], the.map); /* the socket goes with one that cannot be made */
    client = client_new(the.pair[1], the.map);
    the.pair[0] = the.pair[1] = -1;
    the.client = client ? &client->base.base.base : NULL;
    return party && client;
}

/* Runs the host until what it waits for has come. */
static bool run_until_value(const size_t *value, size_t wanted)
{
    while (*value < wanted && !the.wrong) {
        if (event_base_loop(the.base, EVLOOP_ONCE) < 0)
            the.wrong = "the base's loop fails";
        if (fault_seconds() > the.deadline)
            the.wrong = "nothing comes any more";
    }
    return !the.wrong;
}

static void scenario(void)
{
    if (!make_map() || !attach_the_map())
        return;
    fault.step = "serving";
    if (send_all(the.client, data, DATA / 2) < 0 || !run_until_value(&the.echoed, DATA / 2))
        return;
    fault.step = "again";
    if (asyncore_map_set_priority(the.map, 0) < 0 || asyncore_map_detach(the.map) < 0)
        the.wrong = "it is not attached any more";
    if (the.wrong || !attach_the_map())
        return;
    fault.step = "serving again";
    if (send_all(the.client, data + DATA / 2, DATA / 2) < 0 || !run_until_value(&the.echoed, DATA))
        return;
    fault.step = "closing";
    asyncore_close(the.client);
    while (the.emptied == 0 && !the.wrong) {
        if (fault_seconds() > the.deadline || event_base_loop(the.base, EVLOOP_ONCE) < 0)
            the.wrong = "it is not told that the map has emptied";
    }
    if (event_base_loop(the.base, EVLOOP_NONBLOCK) != 1)
        the.wrong = "events are left in the base";
}

static void begin_scenario(bool use_poll)
{
    memset(&the, 0, sizeof the);
    the.use_poll = use_poll;
    the.deadline = fault_seconds() + TEST_WAIT_SECONDS;
    the.base = event_base_new();
    ck_assert_ptr_nonnull(the.base);
    test_socketpair(SOCK_STREAM, the.pair);
    test_small_buffers(the.pair[0]);
}

static void end_scenario(long at)
{
    asyncore_map_free(the.map);
    event_base_free(the.base);
    for (int i = 0; i < 2; i++)
        if (the.pair[i] >= 0)
            test_close(&the.pair[i]);
    ck_assert_msg(!the.wrong, "allocation %ld, in %s: %s (%s)", at,
                  fault.where ? fault.where : "none", the.wrong, fault.step);
    ck_assert_int_eq(the.other, 0);
}

/* Each allocation of the scenario fails once, or all do from then on until that is told. _i: which,
 * and use_poll. */
START_TEST(memory_runs_out)
{
    long at = 0;
    int failures = 0;

    for (size_t i = 0; i < DATA; i++)
        data[i] = (char)(i % 251);
    do {
        int open_before = fault_count_descriptors();

        begin_scenario(_i & 1);
        fault_begin(++at, _i & 2);
        scenario();
        fault_end();
        end_scenario(at);
        failures += the.failed;
        ck_assert_int_eq(fault_count_descriptors(), open_before);
    } while (fault.where);
    ck_assert_int_gt(at, 10);
    ck_assert_int_gt(failures, 0);
}
END_TEST

/* --- attach alone ------------------------------------------------------------------------------
 */

START_TEST(attaching_without_memory)
{
    int r, events;

    make_tcp(1);
    for (long at = 1; at <= 2; at++) {
        events = host_events();
        fault_begin(at, false);
        r = asyncore_map_attach(the_map, tell, NULL);
        fault_end();
        ck_assert_int_eq(r, -ENOMEM);
        check_not_attached();
        ck_assert_int_eq(host_events(), events);
    }
    send_to(0);
    attach(false);
    host_until("a.read", 1);
}
END_TEST

/* The first timer of a base needs memory; it does not get any, and everyone is asked all the same.
 */
START_TEST(no_memory_for_the_timer)
{
    int r;

    make_tcp(1);
    send_to(0);
    fault_begin(3, true);
    r = asyncore_map_attach(the_map, tell, NULL);
    fault_end();
    ck_assert_int_eq(r, 0);
    host_until("a.read", 1);
    check_trace("a.read");
}
END_TEST

/* --- descriptors -------------------------------------------------------------------------------
 */

enum {
    TABLE = 256
};

static struct rlimit limit_before;
static int fillers[TABLE];
static int filler_count;

static void descriptors_setup(void)
{
    filler_count = 0;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static void free_descriptors(void)
{
    while (filler_count > 0)
        test_close(&fillers[--filler_count]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static void fill_descriptors(void)
{
    struct rlimit limit = {.rlim_cur = TABLE, .rlim_max = limit_before.rlim_max};
    int fd;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
        fillers[filler_count++] = fd;
    ck_assert_int_eq(errno, EMFILE);
}

/* A listener that has found none, and waits. */
static void make_paused(bool use_poll)
{
    struct test_capture out;
    struct test_addr addr;

    probes[0] = probe_make("a", test_listener(AF_INET, &addr), the_map);
    peers[0] = test_connect(&addr);
    attach(use_poll);
    test_capture_begin(&out, STDOUT_FILENO);
    fill_descriptors();
    while (probe_count("a.accept") == 0)
        (void)event_base_loop(base, EVLOOP_ONCE);
    (void)test_capture_end(&out);
}

/* It does not spin, and accepts when there are descriptors. */
START_TEST(accepting_waits)
{
    make_paused(_i);
    ck_assert_int_le(host_count_rounds(10000), FEW);
    ck_assert_int_eq(probe_count("a.accept"), 1);
    free_descriptors();
    host_until("a.accept", 2);
    ck_assert_int_eq(probe_count("a.error") + probe_count("a.close"), 0);
}
END_TEST

/* Nothing of that stays in the base when the map is detached; who serves it next waits, and then
 * accepts. */
START_TEST(detached_while_accepting_waits)
{
    make_paused(_i);
    free_descriptors();
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    ck_assert_int_eq(host_events(), 0);
    probe_clear();
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("a.accept");
}
END_TEST

START_TEST(emptied_while_accepting_waits)
{
    make_paused(_i);
    free_descriptors();
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.accept a.finalize done=EMPTY");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("attach_fault");
    TCase *tc = add_hosted_case(s, tcase_create("memory"));

    fault_install();
    tcase_add_loop_test(tc, memory_runs_out, 0, 4);
    tcase_add_test(tc, attaching_without_memory);
    tcase_add_test(tc, no_memory_for_the_timer);

    tc = add_hosted_case(s, tcase_create("descriptors"));
    tcase_add_checked_fixture(tc, descriptors_setup, free_descriptors);
    tcase_add_loop_test(tc, accepting_waits, 0, 2);
    tcase_add_loop_test(tc, detached_while_accepting_waits, 0, 2);
    tcase_add_loop_test(tc, emptied_while_accepting_waits, 0, 2);
    return test_main(s);
}
