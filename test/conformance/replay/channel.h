/* The scenario's channels: classes that are made at run time, whose overridden methods are traced
 * and run actions. */
#ifndef CONFORMANCE_CHANNEL_H
#define CONFORMANCE_CHANNEL_H

#include "world.h"

/* The instance. */
struct actor {
    union {
        struct asyncore_dispatcher dispatcher;
        struct asyncore_dispatcher_with_send with_send;
        struct asyncore_file_dispatcher file;
        struct asynchat_async_chat chat;
    } base;
    struct world *world;
    const struct channel_class *cls;
    char *name;
    unsigned calls[METHOD_COUNT];
    struct bytes buffer; /* what "put" has put */
    size_t sent;
    bool had_socket; /* has it, or had it until it was closed */
    int family;      /* of that socket; -1: a file */
    const char **ignored;
};

/* Made of a class_plan. */
struct channel_class {
    struct channel_class *next;
    const struct class_plan *plan;
    char *name;
    struct asyncore_class table;
};

static inline struct actor *actor_of(struct asyncore_dispatcher *d)
{
    return (struct actor *)(void *)d;
}

static inline bool actor_is(const struct actor *actor, enum super super)
{
    return actor->cls->plan->super == super;
}

void channel_classes_make(struct world *w);
void channel_classes_free(struct world *w);
const struct channel_class *channel_class_find(const struct world *w, const char *name);

/* A channel with fd (-1: none), under a name, "_" for none: 0 or a negative errno. */
int channel_make(struct world *w, const char *name, const struct channel_class *cls, int fd,
                 struct asyncore_map *map);

/* After a verb that may have given it a socket. */
void channel_note_socket(struct asyncore_dispatcher *d);

/* Puts its public state. */
void channel_state(struct bytes *out, struct asyncore_dispatcher *d);

/* What super does in the call. */
int channel_call_super(struct frame *frame);

/* Puts the names of those in the map. */
void channel_members(struct bytes *out, const struct asyncore_map *map);

#endif
