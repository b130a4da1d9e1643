/*
 * Channels for back-pressure: sources that tell what is called on them, in the trace of probe.h,
 * and sockets that take as much as a test lets them. With the fixture of probes.h, in whose map
 * they live.
 *
 * The words of the trace are "NAME.drain", "NAME.read", "NAME.close" and "NAME.error(CODE)".
 */
#ifndef TEST_PRESSURE_PROBE_H
#define TEST_PRESSURE_PROBE_H

#include "probes.h"

#include <stdbool.h>
#include <stddef.h>

struct source {
    struct asyncore_dispatcher_with_send base;
    const char *name;
    int (*on_read)(struct source *self);  /* after what it does by itself: reads up to 8 KiB */
    int (*on_drain)(struct source *self); /* by itself: nothing */
    struct asyncore_dispatcher *sink;     /* what the hooks work on */
    size_t total;                         /* bytes read */
};

ASYNCORE_DECLARE_CLASS(source, asyncore_dispatcher_with_send);

/* The same with a readable of its own, which is asked in every pass, and on changes. */
struct asked_source {
    struct source base;
};
struct quiet_source {
    struct source base;
};

ASYNCORE_DECLARE_CLASS(asked_source, source);
ASYNCORE_DECLARE_CLASS(quiet_source, source);

enum {
    SOURCE_CLASSES = 3
};

extern const struct asyncore_class *const source_classes[SOURCE_CLASSES];

/* A connected one in map, on a socketpair; *peer as of probe_connected. */
struct source *source_make(const struct asyncore_class *cls, const char *name,
                           struct asyncore_map *map, int *peer);

/* One in the_map, "a" to "d", with something to read: its other end is peers[i]. */
struct source *source_ready(const struct asyncore_class *cls, int i);

/* --- sinks ----------------------------------------------------------------------------------- */

enum {
    SINK_SENDER, /* a dispatcher_with_send */
    SINK_CHAT,   /* an async_chat */
    SINK_KINDS
};

/* A connected one in map whose socket takes nothing; what it takes later is dropped. *peer as of
 * probe_connected. */
struct asyncore_dispatcher *sink_make(int kind, struct asyncore_map *map, int *peer);

/* Gives d, in its map, such a socket. */
void sink_give_socket(struct asyncore_dispatcher *d, int *peer);

/* Sends or pushes count bytes. 0, or the error. */
int sink_put(struct asyncore_dispatcher *sink, size_t count);

/* Lets its socket take count bytes more, whenever they are offered. */
void sink_open(struct asyncore_dispatcher *sink, size_t count);

/* The same, and offers them. */
void sink_take(struct asyncore_dispatcher *sink, size_t count);

#endif
