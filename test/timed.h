/*
 * A probe with a timeout, a map for it on a base of the host's, and the ways to serve that map.
 */
#ifndef TEST_TIMED_H
#define TEST_TIMED_H

#include "probe.h"

struct event_base;

#define SHORT 0.02  /* seconds: a timeout that is waited for */
#define LONG 1000.0 /* ... and one that never is */

enum way {
    SELECT,
    POLL,
    ATTACHED, /* the host serves, from the first time on */
    WAYS
};

/* Its class is asked after changes only. */
struct timed {
    struct probe base;
    int (*on_timeout)(struct timed *self); /* by itself: nothing */
};

ASYNCORE_DECLARE_CLASS(timed, probe);

extern struct event_base *base;
extern struct asyncore_map *timed_map;
extern int peer;                    /* -1, or closed with the test */
extern struct timed *timed_channel; /* what timed_make has made */
extern double told_at;              /* when handle_timeout was called last */

/* The fixture: the base and its map. */
void timed_setup(void);
void timed_teardown(void);

/* A new one with a socket, or -1. */
struct timed *timed_named(const char *name, int fd, struct asyncore_map *map);

/* One named "a" with a connection to peer. */
struct asyncore_dispatcher *timed_make(void);

/* asyncore_set_timeout, which succeeds. */
void set_timeout(struct asyncore_dispatcher *d, double seconds);

/* Lets the time pass, with nobody served. */
void pass_time(double seconds);

/* The same, and what is due by then is noted by the map, which nobody serves; in the host's way
 * that is for the base to find out. */
void let_come_due(int way, double seconds);

/* Compares the trace, and clears it. */
void check_trace(const char *expected);

/* One pass that waits at most so long, in one of the ways. On a slow machine a SHORT timeout may be
 * told in any pass: what does not belong to a test is cleared from the trace. */
void serve_once(int way, double seconds);

/* A few that do not wait. */
void serve_due(int way);

/* Until the trace has the word so often. */
void serve_until(int way, const char *word, int count);

#endif
