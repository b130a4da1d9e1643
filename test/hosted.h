/*
 * A map on a base that a host runs: probes.h with a base of the host's, and what the host does.
 *
 * The base is of the kind that the environment says: see host_main.
 */
#ifndef TEST_HOSTED_H
#define TEST_HOSTED_H

#include "probes.h"
#include "support.h"

#include <check.h>
#include <event2/event.h>
#include <stdbool.h>

#define CALLBACK(name) static void name(evutil_socket_t fd, short what, void *arg)
#define UNUSED_ARGUMENTS (void)fd, (void)what, (void)arg

/* Few enough to tell it from spinning. */
enum {
    FEW = 12
};

/* The host's; freed after the test, after the_map, unless it is NULL. */
extern struct event_base *base;

/* What the test's callbacks note done with: "done=EMPTY", "done=COUNT", "done=EXIT_NOW", or a
 * number. Then it calls done_hook, unless that is NULL. */
void tell(struct asyncore_map *map, int result, void *arg);
extern void (*done_hook)(struct asyncore_map *map);

/* Adds the test case, with a fixture that makes base and the_map on it. */
TCase *add_hosted_case(Suite *s, TCase *tc);

/* A suite's main. ASYNCORE_TEST_BASE has what every base is like: epoll, poll, select, changelist,
 * precise, threads (libevent's locks are on), nolock (they are on, but for these bases), debug
 * (event_enable_debug_mode), or priorities (three); by default as libevent makes it. */
int hosted_main(Suite *s);

struct event_base *hosted_base_new(void);

/* Makes the first count of the probes, on TCP connections in the_map. */
void make_tcp(int count);

/* Attaches the_map, with tell, without a timeout or a count. */
void attach(bool use_poll);

/* Makes three probes, attached, asked, and now ready at the same time. */
void make_ready(bool use_poll);

void check_not_attached(void);

/* No event is left in the base, and two passes of a loop serve as expected. */
void check_loop_serves(const char *expected);

/* Lets one byte come to probe i. */
void send_to(int i);

/* The trace is this, and begins anew. */
void check_trace(const char *expected);

/* Runs the base until word has been noted this often. */
void host_until(const char *word, int count);

/* Runs the base without waiting, so often that all that is due has been done. */
void host_settle(void);

/* How many rounds of the base's loop there are in the time. */
int host_count_rounds(long microseconds);

/* Calls callback in the base's loop, once, after this time; 0: in its next round, behind the events
 * of descriptors, and in front of what they activate. */
void host_call(event_callback_fn callback, void *arg, long microseconds);

/* Events in the base, but for libevent's own. */
int host_events(void);

#endif
