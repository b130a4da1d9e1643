/*
 * A channel that tells what is called on it, and does what a test says.
 *
 * Every call is written into one trace, as "NAME.read", in the order of the calls: the trace
 * outlives the channels. A hook takes the place of what a probe does by itself.
 */
#ifndef TEST_PROBE_H
#define TEST_PROBE_H

#include <asyncore/asyncore.h>

#include <stdbool.h>
#include <stddef.h>

enum probe_call {
    PROBE_READABLE,
    PROBE_WRITABLE,
    PROBE_READ,    /* by itself: reads up to 8 KiB and counts them */
    PROBE_WRITE,   /* by itself: stops being writable */
    PROBE_EXPT,    /* by itself: reads one byte out of band */
    PROBE_CONNECT, /* by itself: nothing */
    PROBE_ACCEPT,  /* by itself: accepts, and closes what it got */
    PROBE_CLOSE,   /* by itself: closes */
    PROBE_ERROR,   /* by itself: notes the error, and closes */
    PROBE_FINALIZE,
    PROBE_CALLS
};

struct probe {
    struct asyncore_dispatcher base;
    const char *name;
    bool readable; /* what the predicates answer: yes and no at first */
    bool writable;
    int (*hook[PROBE_CALLS])(struct probe *self); /* not that of finalize */
    int calls[PROBE_CALLS];
    void *arg;    /* the hooks' */
    size_t total; /* bytes read */
    int error;    /* the last one that came to handle_error */
    char oob;     /* the last byte out of band */
};

ASYNCORE_DECLARE_CLASS(probe, asyncore_dispatcher);

/* The same with ASYNCORE_INTEREST_ON_CHANGE. */
struct quiet_probe {
    struct probe base;
};

ASYNCORE_DECLARE_CLASS(quiet_probe, probe);

/* A new one; fd as of asyncore_dispatcher_new. Failing fails the test. */
struct probe *probe_make(const char *name, int fd, struct asyncore_map *map);
struct probe *quiet_probe_make(const char *name, int fd, struct asyncore_map *map);

/* A connected one, on a TCP connection, or for AF_UNIX on a socketpair; *peer is the other end,
 * blocking, the test's to close. */
struct probe *probe_connected(const char *name, int family, struct asyncore_map *map, int *peer);

/* What was called since the last probe_clear: "a.read b.read a.close", without the predicates
 * unless probe_trace_predicates(true) was called. */
const char *probe_trace(void);
void probe_clear(void);
void probe_trace_predicates(bool on);

/* Writes a word of the test's own into the trace. */
void probe_note(const char *format, ...) ASYNCORE_PRINTF(1, 2);

/* How often word occurs in the trace. */
int probe_count(const char *word);

/* The names of the probes in the map, in order; valid until the next call. */
const char *probe_names(const struct asyncore_map *map);

/* A fixture for test cases that use probes: begins with an empty trace. */
void probe_setup(void);

#endif
