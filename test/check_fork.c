/*
 * Maps after fork: parent and child both go on.
 *
 * Each test runs with the map's own base and with one that is the host's, in asyncore_loop and
 * attached (_i). The child ends before the parent goes on, so that nothing depends on who is first.
 */
#include "probe.h"
#include "support.h"

#include <event2/event.h>
#include <event2/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ATTACHED = 1, /* bits of _i */
    BORROWED = 2,
    VARIANTS = 4
};

enum {
    PARENTS,
    CHILDS,
    CHANNELS
};

static struct event_base *borrowed;
static struct asyncore_map *the_map;
static bool attached;
static struct probe *probes[CHANNELS];
static int ends[CHANNELS]; /* the other ends of their connections */

/* What fails in the child ends it. */
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            child_fails(__LINE__, #condition);                                                     \
    } while (0)

static _Noreturn void child_fails(int line, const char *condition)
{
    fprintf(stderr, "child: line %d: not %s (%s)\n", line, condition, strerror(errno));
    _exit(1);
}

/* --- a map and its copies --------------------------------------------------------------------- */

static void begin(int variant, int family)
{
    static const char *const names[] = {"parent's", "child's"};

    probe_setup();
    attached = variant & ATTACHED;
    borrowed = variant & BORROWED ? event_base_new() : NULL;
    the_map = asyncore_map_new(borrowed);
    ck_assert_ptr_nonnull(the_map);
    for (int i = 0; i < CHANNELS; i++)
        probes[i] = probe_connected(names[i], family, the_map, &ends[i]);
    if (attached)
        ck_assert_int_eq(asyncore_map_attach(the_map, NULL, NULL), 0);
}

static void end(void)
{
    asyncore_map_free(the_map);
    if (borrowed)
        event_base_free(borrowed);
    borrowed = NULL;
    for (int i = 0; i < CHANNELS; i++)
        if (ends[i] >= 0)
            test_close(&ends[i]);
}

/* With nothing left, for what looks for leaks. */
static _Noreturn void child_ends(void)
{
    end();
    _exit(0);
}

/* Serves the map until done, in both processes. */
static int serve(bool (*done)(void *arg), void *arg)
{
    if (!attached)
        return run_until_true(the_map, false, done, arg);
    while (!done(arg))
        if (event_base_loop(asyncore_map_base(the_map), EVLOOP_ONCE) != 0)
            return -ENOENT;
    return 0;
}

/* Everything is armed, and nothing is left to do. */
static int settle(void)
{
    int r = 0;

    if (!attached)
        return run_passes(the_map, false, 2);
    for (int i = 0; r == 0 && i < 5; i++)
        r = event_base_loop(asyncore_map_base(the_map), EVLOOP_NONBLOCK);
    return r;
}

static pid_t split(void)
{
    pid_t pid = fork();

    if (pid == 0)
        alarm(TEST_WAIT_SECONDS);
    return pid;
}

static bool ended_well(pid_t pid)
{
    int status;

    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static bool has_read(void *arg)
{
    return *(const size_t *)arg > 0;
}

/* Whether what comes in for the channel is read. */
static bool is_served(int i)
{
    probes[i]->total = 0;
    return write(ends[i], "x", 1) == 1 && serve(has_read, &probes[i]->total) == 0;
}

/* --- channels --------------------------------------------------------------------------------- */

/* What the child closes, the parent still has. */
START_TEST(both_serve)
{
    pid_t pid;

    begin(_i, AF_UNIX);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(asyncore_close(&probes[PARENTS]->base) == 0);
        NEED(is_served(CHILDS));
        NEED(asyncore_map_length(the_map) == 1);
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(is_served(PARENTS));
    ck_assert(is_served(CHILDS)); /* while nobody else reads it */
}
END_TEST

/* Neither disturbs the other while both run. */
START_TEST(both_serve_at_once)
{
    pid_t pid;

    begin(_i, AF_UNIX);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(asyncore_close(&probes[PARENTS]->base) == 0);
        for (int i = 0; i < 1000; i++)
            NEED(is_served(CHILDS));
        child_ends();
    }
    asyncore_close(&probes[CHILDS]->base);
    for (int i = 0; i < 1000; i++)
        ck_assert(is_served(PARENTS));
    ck_assert(ended_well(pid));
}
END_TEST

START_TEST(child_frees_its_map)
{
    pid_t pid;

    begin(_i, AF_UNIX);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(is_served(PARENTS));
}
END_TEST

static bool has_accepted(void *arg)
{
    return ((const struct probe *)arg)->calls[PROBE_ACCEPT] > 0;
}

START_TEST(a_listener_in_both)
{
    struct test_addr addr;
    struct probe *listener;
    pid_t pid;
    int fd;

    begin(_i, AF_UNIX);
    listener = probe_make("l", test_listener(AF_INET, &addr), the_map);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        fd = test_connect(&addr);
        NEED(serve(has_accepted, listener) == 0);
        child_ends();
    }
    ck_assert(ended_well(pid));
    fd = test_connect(&addr);
    ck_assert_int_eq(serve(has_accepted, listener), 0);
    test_close(&fd);
}
END_TEST

static bool has_urgent(void *arg)
{
    return ((const struct probe *)arg)->oob == 'u';
}

static bool urgent_is_served(int i)
{
    return send(ends[i], "u", 1, MSG_OOB) == 1 && serve(has_urgent, probes[i]) == 0;
}

START_TEST(out_of_band_data_in_both)
{
    pid_t pid;

    begin(_i, AF_INET);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(urgent_is_served(CHILDS));
        NEED(asyncore_close(&probes[PARENTS]->base) == 0);
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(urgent_is_served(PARENTS));
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

struct reader {
    struct asyncore_file_dispatcher base;
    size_t total;
};

ASYNCORE_DECLARE_LOCAL_CLASS(reader, asyncore_file_dispatcher);

static int reader_handle_read(struct asyncore_dispatcher *d)
{
    char data[16];
    int n = asyncore_recv(d, data, sizeof data);

    if (n > 0)
        reader_of(d)->total += (size_t)n;
    return n < 0 ? n : 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(reader, asyncore_file_dispatcher, .handle_read = reader_handle_read);

START_TEST(a_file_in_both)
{
    struct reader *reader;
    int pair[2];
    pid_t pid;

    begin(_i, AF_UNIX);
    test_pipe(pair);
    reader = reader_new(pair[0], the_map);
    ck_assert_ptr_nonnull(reader);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(write(pair[1], "x", 1) == 1);
        NEED(serve(has_read, &reader->total) == 0);
        child_ends();
    }
    ck_assert(ended_well(pid));
    test_write_all(pair[1], "x", 1);
    ck_assert_int_eq(serve(has_read, &reader->total), 0);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* --- time ------------------------------------------------------------------------------------- */

struct sleeper {
    struct asyncore_dispatcher_with_send base;
    size_t told;
};

ASYNCORE_DECLARE_LOCAL_CLASS(sleeper, asyncore_dispatcher_with_send);

static int sleeper_handle_timeout(struct asyncore_dispatcher *d)
{
    sleeper_of(d)->told++;
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(sleeper, asyncore_dispatcher_with_send,
                            .handle_timeout = sleeper_handle_timeout);

/* The timer was set before, for both. */
START_TEST(a_timeout_in_both)
{
    struct sleeper *sleeper;
    int pair[2];
    pid_t pid;

    begin(_i, AF_UNIX);
    test_socketpair(SOCK_STREAM, pair);
    sleeper = sleeper_new(pair[0], the_map);
    ck_assert_ptr_nonnull(sleeper);
    ck_assert_int_eq(asyncore_set_timeout(sleeper_dispatcher(sleeper), 0.1), 0);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(serve(has_read, &sleeper->told) == 0);
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert_int_eq(serve(has_read, &sleeper->told), 0);
    test_close(&pair[1]);
}
END_TEST

/* --- output ----------------------------------------------------------------------------------- */

static char data[1 << 20];
static size_t received;

static bool has_sent_all(void *arg)
{
    struct asyncore_dispatcher *d = arg;
    ssize_t n;

    while ((n = recv(ends[PARENTS], data, sizeof data, MSG_DONTWAIT)) > 0)
        received += (size_t)n;
    return asyncore_out_buffer_length(d) == 0 && n < 0;
}

/* Both have a copy of it. */
START_TEST(queued_output_is_sent_by_both)
{
    struct asynchat_async_chat *chat;
    struct asyncore_dispatcher *d;
    size_t queued;
    pid_t pid;
    int pair[2];

    begin(_i, AF_UNIX);
    test_close(&ends[PARENTS]);
    test_socketpair(SOCK_STREAM, pair);
    ends[PARENTS] = pair[1];
    chat = asynchat_async_chat_new(pair[0], the_map);
    d = &chat->base;
    while (asyncore_out_buffer_length(d) == 0)
        ck_assert_int_eq(asynchat_push(d, data, sizeof data), 0);
    queued = asyncore_out_buffer_length(d);
    received = 0;
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(serve(has_sent_all, d) == 0);
        NEED(received > queued); /* with what was on its way */
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert_int_eq(serve(has_sent_all, d), 0);
    ck_assert_uint_eq(received, queued);
}
END_TEST

/* --- forks in the loop ------------------------------------------------------------------------ */

static pid_t forked;

static int forks(struct probe *self)
{
    char c;

    if (asyncore_recv(&self->base, &c, 1) != 1)
        return -EIO;
    forked = split();
    if (forked == 0)
        NEED(asyncore_map_reinit(the_map) == 0);
    else if (!ended_well(forked))
        return -ECHILD;
    return 0;
}

static bool has_closed(void *arg)
{
    return asyncore_map_length(arg) < CHANNELS;
}

/* Both go on with the pass in which it was. */
START_TEST(in_a_handler)
{
    begin(_i, AF_UNIX);
    probes[PARENTS]->hook[PROBE_READ] = forks;
    ck_assert_int_eq(write(ends[PARENTS], "x", 1), 1);
    ck_assert_int_eq(write(ends[CHILDS], "x", 1), 1);
    ck_assert_int_eq(serve(has_read, &probes[CHILDS]->total), 0);
    if (forked == 0) {
        probes[CHILDS]->total = 0;
        NEED(is_served(CHILDS));
        NEED(asyncore_map_length(the_map) == CHANNELS);
        NEED(write(ends[CHILDS], "x", 1) == 1); /* the parent's pass still has its turn */
        child_ends();
    }
    ck_assert_str_eq(probe_trace(), "parent's.read child's.read");
    ck_assert(is_served(CHILDS));
    test_close(&ends[PARENTS]);
    ck_assert_int_eq(serve(has_closed, the_map), 0);
}
END_TEST

static void forks_in_a_callback(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    forked = split();
    if (forked == 0)
        NEED(asyncore_map_reinit(the_map) == 0);
}

/* The parent goes on when the child has ended: it may read what is for that. */
static void forks_and_waits(evutil_socket_t fd, short what, void *arg)
{
    forks_in_a_callback(fd, what, arg);
    ck_assert(forked == 0 || ended_well(forked));
}

START_TEST(in_a_callback_of_the_host)
{
    const struct timeval now = {0, 0};

    begin(_i, AF_UNIX);
    ck_assert_int_eq(settle(), 0);
    forked = -1;
    ck_assert_int_eq(
        event_base_once(asyncore_map_base(the_map), -1, EV_TIMEOUT, forks_and_waits, NULL, &now),
        0);
    while (forked < 0)
        ck_assert_int_eq(settle(), 0);
    if (forked == 0) {
        NEED(is_served(CHILDS));
        child_ends();
    }
    ck_assert(is_served(PARENTS));
}
END_TEST

/* --- calls and threads ------------------------------------------------------------------------ */

static void counts(struct asyncore_map *called, void *arg)
{
    (void)called;
    ++*(int *)arg;
}

START_TEST(pending_calls_are_made_by_both)
{
    int count = 0;
    pid_t pid;

    begin(_i, AF_UNIX);
    ck_assert_int_eq(asyncore_map_call(the_map, counts, &count), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(is_served(CHILDS) && count == 1);
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(is_served(PARENTS));
    ck_assert_int_eq(count, 1);
}
END_TEST

static void *wakes(void *arg)
{
    (void)arg;
    return asyncore_map_wakeup(the_map) == 0 ? NULL : "asyncore_map_wakeup";
}

/* What the kernel says the child's first thread does. */
static char state_of(pid_t thread)
{
    char path[64], line[128] = "", *state;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    file = fopen(path, "re");
    if (!file)
        return '?';
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    fclose(file);
    state = strrchr(line, ')');
    return (char)(state && state[1] ? state[2] : '?');
}

static void stops(struct asyncore_map *called, void *arg)
{
    (void)arg;
    (void)event_base_loopbreak(asyncore_map_base(called));
}

static void *stops_who_sleeps(void *arg)
{
    const pid_t sleeper = *(const pid_t *)arg;

    while (state_of(sleeper) != 'S')
        (void)sched_yield();
    NEED(asyncore_map_call(the_map, stops, NULL) == 0);
    return NULL;
}

static void wakes_and_forks(evutil_socket_t fd, short what, void *arg)
{
    pthread_t thread;

    NEED(pthread_create(&thread, NULL, wakes, NULL) == 0 && pthread_join(thread, NULL) == 0);
    forks_in_a_callback(fd, what, arg);
}

/* The fork is between another thread's notification and its arrival, which the child does not get:
 * it is not to wait for it before it sends others. */
START_TEST(threads_of_the_child_wake_it)
{
    const struct timeval now = {0, 0};
    const pid_t self = getpid();
    struct event_base *base;
    pthread_t thread;
    pid_t child;

    begin(_i, AF_UNIX);
    base = asyncore_map_base(the_map);
    ck_assert_int_eq(event_base_once(base, -1, EV_TIMEOUT, wakes_and_forks, NULL, &now), 0);
    forked = -1;
    while (forked < 0)
        ck_assert_int_eq(settle(), 0);
    child = getpid();
    if (child != self) {
        NEED(pthread_create(&thread, NULL, stops_who_sleeps, &child) == 0);
        if (!attached)
            NEED(asyncore_loop(-1, false, the_map, ASYNCORE_COUNT_NONE) == ASYNCORE_LOOP_BROKEN);
        else
            NEED(event_base_dispatch(base) == 0);
        NEED(pthread_join(thread, NULL) == 0);
        child_ends();
    }
    ck_assert(ended_well(forked));
    ck_assert(is_served(PARENTS));
}
END_TEST

/* --- what it returns -------------------------------------------------------------------------- */

START_TEST(maps_on_one_base)
{
    struct asyncore_map *other;
    struct probe *probe;
    int peer;
    pid_t pid;

    begin(_i | BORROWED, AF_UNIX);
    other = asyncore_map_new(borrowed);
    probe = probe_connected("o", AF_UNIX, other, &peer);
    ck_assert_int_eq(settle(), 0);
    ck_assert_int_eq(run_passes(other, false, 1), 0);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(asyncore_map_reinit(other) == 0);
        NEED(is_served(CHILDS));
        NEED(write(peer, "x", 1) == 1);
        NEED(run_until_true(other, false, has_read, &probe->total) == 0);
        asyncore_map_free(other);
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(is_served(PARENTS));
    asyncore_map_free(other);
    test_close(&peer);
}
END_TEST

START_TEST(the_default_map)
{
    pid_t pid;

    begin(_i, AF_UNIX);
    ck_assert_int_eq(asyncore_map_reinit(NULL), 0); /* there is none */
    probe_make("d", -1, NULL);
    pid = split();
    if (pid == 0) {
        NEED(asyncore_map_reinit(NULL) == 0);
        asyncore_map_free(asyncore_socket_map());
        child_ends();
    }
    ck_assert(ended_well(pid));
}
END_TEST

START_TEST(a_freed_map)
{
    struct asyncore_dispatcher *d;

    begin(_i, AF_UNIX);
    d = asyncore_ref(&probes[PARENTS]->base);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(asyncore_map_reinit(d->map), -EINVAL);
    asyncore_unref(d);
}
END_TEST

static void ignore_warning(int severity, const char *message)
{
    (void)severity;
    (void)message;
}

/* The other channels are served, and this one hangs up. Its number is one that nobody reuses. */
START_TEST(a_descriptor_closed_by_others)
{
    int pair[2], high;
    pid_t pid;

    begin(_i, AF_UNIX);
    test_socketpair(SOCK_STREAM, pair);
    high = fcntl(pair[0], F_DUPFD_CLOEXEC, 200);
    (void)probe_make("high", high, the_map);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        event_set_log_callback(ignore_warning);
        close(high);
        NEED(asyncore_map_reinit(the_map) == -EBADF);
        NEED(is_served(CHILDS));
        NEED(probe_count("high.close") == 1);
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(is_served(CHILDS));
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(is_served(PARENTS));
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* It needs some for a moment, and has done nothing when it does not get them. */
START_TEST(without_descriptors)
{
    struct rlimit limit;
    pid_t pid;

    begin(_i, AF_UNIX);
    ck_assert_int_eq(settle(), 0);
    pid = split();
    if (pid == 0) {
        NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
        limit.rlim_cur = 3;
        NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        NEED(asyncore_map_reinit(the_map) == -EMFILE);
        limit.rlim_cur = limit.rlim_max;
        NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        NEED(asyncore_map_reinit(the_map) == 0);
        NEED(asyncore_close(&probes[PARENTS]->base) == 0);
        NEED(is_served(CHILDS));
        child_ends();
    }
    ck_assert(ended_well(pid));
    ck_assert(is_served(PARENTS));
}
END_TEST

/* --- the suite -------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, NULL, end);
    suite_add_tcase(s, tc);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("fork");
    TCase *channels = add_case(s, tcase_create("channels"));
    TCase *in_loop = add_case(s, tcase_create("in_the_loop"));
    TCase *results = add_case(s, tcase_create("results"));
    TCase *descriptors = add_case(s, tcase_create("descriptors"));

    if (evthread_use_pthreads() < 0)
        return 1;
    tcase_add_loop_test(channels, both_serve, 0, VARIANTS);
    tcase_add_loop_test(channels, both_serve_at_once, 0, VARIANTS);
    tcase_add_loop_test(channels, child_frees_its_map, 0, VARIANTS);
    tcase_add_loop_test(channels, a_listener_in_both, 0, VARIANTS);
    tcase_add_loop_test(channels, out_of_band_data_in_both, 0, VARIANTS);
    tcase_add_loop_test(channels, a_file_in_both, 0, VARIANTS);
    tcase_add_loop_test(channels, a_timeout_in_both, 0, VARIANTS);
    tcase_add_loop_test(channels, queued_output_is_sent_by_both, 0, VARIANTS);
    tcase_add_loop_test(in_loop, in_a_handler, 0, VARIANTS);
    tcase_add_loop_test(in_loop, in_a_callback_of_the_host, 0, VARIANTS);
    tcase_add_loop_test(in_loop, pending_calls_are_made_by_both, 0, VARIANTS);
    tcase_add_loop_test(in_loop, threads_of_the_child_wake_it, 0, VARIANTS);
    tcase_add_loop_test(results, maps_on_one_base, 0, 2);
    tcase_add_test(results, the_default_map);
    tcase_add_test(results, a_freed_map);
    tcase_add_loop_test(results, a_descriptor_closed_by_others, 0, VARIANTS);
    tcase_add_loop_test(descriptors, without_descriptors, 0, VARIANTS);
    return test_main(s);
}
