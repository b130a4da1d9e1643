#include "hosted.h"

#include <event2/thread.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct event_base *base;
void (*done_hook)(struct asyncore_map *map);

/* --- bases of every kind ---------------------------------------------------------------------- */

static const char *kind;

static bool is_kind(const char *name)
{
    return kind && strcmp(kind, name) == 0;
}

struct event_base *hosted_base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *made;

    ck_assert_ptr_nonnull(config);
    if (is_kind("poll") || is_kind("select"))
        event_config_avoid_method(config, "epoll");
    if (is_kind("select"))
        event_config_avoid_method(config, "poll");
    if (is_kind("changelist"))
        event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    if (is_kind("precise"))
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    if (is_kind("nolock"))
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    made = event_base_new_with_config(config);
    ck_assert_ptr_nonnull(made);
    event_config_free(config);
    if (is_kind("priorities"))
        ck_assert_int_eq(event_base_priority_init(made, 3), 0);
    if (is_kind("epoll") || is_kind("poll") || is_kind("select"))
        ck_assert_str_eq(event_base_get_method(made), kind);
    return made;
}

int hosted_main(Suite *s)
{
    static const char *const kinds[] = {"epoll",   "poll",   "select", "changelist", "precise",
                                        "threads", "nolock", "debug",  "priorities"};
    bool known = false;

    kind = getenv("ASYNCORE_TEST_BASE");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        known |= is_kind(kinds[i]);
    if (kind && !known)
        return EXIT_FAILURE;
    if (is_kind("debug"))
        event_enable_debug_mode();
    if ((is_kind("threads") || is_kind("nolock")) && evthread_use_pthreads() < 0)
        return EXIT_FAILURE;
    return test_main(s);
}

/* --- calls in the base's loop ------------------------------------------------------------------
 */

enum {
    CALLS = 4
};

static struct call {
    struct event *event; /* NULL: unused */
    event_callback_fn callback;
    void *arg;
} calls[CALLS];

static void drop_calls(void)
{
    for (int i = 0; i < CALLS; i++) {
        if (calls[i].event)
            event_free(calls[i].event);
        calls[i].event = NULL;
    }
}

/* --- the fixture ------------------------------------------------------------------------------ */

static void setup(void)
{
    asyncore_map_free(the_map); /* it was made by probes.h */
    done_hook = NULL;
    base = hosted_base_new();
    the_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(the_map);
}

static void teardown(void)
{
    drop_calls();
    asyncore_map_free(the_map);
    the_map = NULL;
    if (base)
        event_base_free(base);
}

TCase *add_hosted_case(Suite *s, TCase *tc)
{
    add_case(s, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    return tc;
}

/* --- what the host does ----------------------------------------------------------------------- */

void tell(struct asyncore_map *map, int result, void *arg)
{
    (void)arg;
    if (result == ASYNCORE_LOOP_EMPTY)
        probe_note("done=EMPTY");
    else if (result == ASYNCORE_LOOP_COUNT)
        probe_note("done=COUNT");
    else if (result == ASYNCORE_EXIT_NOW)
        probe_note("done=EXIT_NOW");
    else
        probe_note("done=%d", result);
    if (done_hook)
        done_hook(map);
}

void attach(bool use_poll)
{
    ck_assert_int_eq(asyncore_map_attach_loop(ASYNCORE_TIMEOUT_NONE, use_poll, the_map,
                                              ASYNCORE_COUNT_NONE, tell, NULL),
                     0);
}

void send_to(int i)
{
    test_write_all(peers[i], "x", 1);
    test_wait_readable(asyncore_fileno(d(i)));
}

void check_trace(const char *expected)
{
    ck_assert_str_eq(probe_trace(), expected);
    probe_clear();
}

void make_tcp(int count)
{
    make(count, AF_INET, the_map);
}

void check_not_attached(void)
{
    ck_assert_int_eq(asyncore_map_detach(the_map), -EINVAL);
    ck_assert_int_eq(asyncore_loop_exit(the_map, 1), -EINVAL);
}

void make_ready(bool use_poll)
{
    make_tcp(3);
    attach(use_poll);
    host_settle();
    for (int i = 0; i < 3; i++)
        send_to(i);
}

/* What was ready when the map was detached is served by a loop of its own. */
void check_loop_serves(const char *expected)
{
    ck_assert_int_eq(host_events(), 0);
    ck_assert_int_eq(asyncore_loop(0, false, the_map, 2), ASYNCORE_LOOP_COUNT);
    check_trace(expected);
}

static bool time_is_up;

CALLBACK(end_of_time)
{
    UNUSED_ARGUMENTS;
    time_is_up = true;
}

static struct event *begin_time(long microseconds)
{
    const struct timeval tv = {microseconds / 1000000, microseconds % 1000000};
    struct event *timer = evtimer_new(base, end_of_time, NULL);

    time_is_up = false;
    ck_assert_ptr_nonnull(timer);
    ck_assert_int_eq(evtimer_add(timer, &tv), 0);
    return timer;
}

void host_until(const char *word, int count)
{
    struct event *timer = begin_time(TEST_WAIT_SECONDS * 1000000L);

    while (probe_count(word) < count) {
        ck_assert_msg(!time_is_up, "waited for %s %d times, got: %s", word, count, probe_trace());
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    }
    event_free(timer);
}

void host_settle(void)
{
    for (int i = 0; i < FEW; i++)
        ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK), 0);
}

int host_count_rounds(long microseconds)
{
    struct event *timer = begin_time(microseconds);
    int rounds = 0;

    for (; !time_is_up; rounds++)
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    event_free(timer);
    return rounds;
}

/* event_base_once would run it at once, without looking at the others. */
static void run_call(evutil_socket_t fd, short what, void *arg)
{
    struct call *call = arg;

    event_free(call->event);
    call->event = NULL;
    call->callback(fd, what, call->arg);
}

void host_call(event_callback_fn callback, void *arg, long microseconds)
{
    const struct timeval tv = {microseconds / 1000000, microseconds % 1000000};
    int i = 0;

    while (calls[i].event)
        ck_assert_int_lt(++i, CALLS);
    calls[i] = (struct call){evtimer_new(base, run_call, &calls[i]), callback, arg};
    ck_assert_ptr_nonnull(calls[i].event);
    ck_assert_int_eq(evtimer_add(calls[i].event, &tv), 0);
}

int host_events(void)
{
    return event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE);
}
