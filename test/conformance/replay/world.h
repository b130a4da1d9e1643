/* A scenario that is being played: its channels, raw peers, maps, and the calls that run. */
#ifndef CONFORMANCE_WORLD_H
#define CONFORMANCE_WORLD_H

#include "bytes.h"
#include "raw.h"
#include "scenario.h"

#include <asyncore/asyncore.h>
#include <asyncore/chat.h>

#include <stdbool.h>

#define MAPS 4
#define MAX_CALLS 2000 /* of methods: then a scenario is stopped */
#define MAX_DEPTH 40   /* of methods that call each other: then ExitNow */

/* A call of a method that is overridden; or a step, without a channel. */
struct frame {
    struct frame *outer; /* of those of methods */
    struct asyncore_dispatcher *channel;
    struct method_call *call;
    struct raw *sock;  /* handle_accepted's */
    struct bytes it;   /* what was received last */
    struct bytes made; /* by a producer */
    enum {
        NOTHING,
        NUMBER,
        DATA, /* so many bytes, in the buffer of recv */
    } value_type;
    int value; /* what super or return have said */
};

/* A name of a channel, with a reference. */
struct named {
    struct named *next;
    const char *name;
    struct asyncore_dispatcher *channel;
};

/* How often a name was given. */
struct name_count {
    struct name_count *next;
    const char *name;
    unsigned count;
};

struct world {
    const struct scenario *plan;
    bool attached; /* loops are the host's */
    bool excepted; /* ... and there was one that cannot be: the scenario has ended */
    struct asyncore_map *maps[MAPS]; /* the default one first */
    struct channel_class *classes;
    struct named *channels; /* in the order of their making */
    struct name_count *name_counts;
    unsigned made; /* channels */
    unsigned producers;
    int unreleased; /* of those, and of what was pushed by reference */
    struct raw *raws;
    struct frame *frames;
    unsigned calls;
    unsigned depth; /* of frames */
};

/* Runs the actions, until one fails, or to "return": a negative error otherwise. */
int world_run(struct world *w, struct frame *frame, action_list actions);

/* One action: 0, RETURNS, or a negative error. */
#define RETURNS 1
int world_do(struct world *w, struct frame *frame, action_list action);

/* Counts a call of a method; false: there are too many. */
bool world_count_call(struct world *w);

/* Who is meant. */
struct asyncore_dispatcher *world_channel(struct world *w, struct frame *frame, const char *name);
struct raw *world_raw(struct world *w, struct frame *frame, const char *name);

/* The raw peer with something open, for a channel to take. NULL and 0: "nothing"; or an error. */
int world_open_raw(struct world *w, struct frame *frame, const char *name, struct raw **raw);

/* Keeps a new raw peer under a name: the one that had it is closed. It begins without a socket. */
struct raw *world_keep_raw(struct world *w, const char *name, enum raw_kind kind, int fd);

/* Keeps a channel under a name. */
void world_keep_channel(struct world *w, const char *name, struct asyncore_dispatcher *d);

/* The map of "in NUMBER", NULL for the default one, or where nothing is said. */
struct asyncore_map *world_map(struct world *w, action_list words);

/* The address of "nobody", or of a name's socket. */
int world_address(struct world *w, struct frame *frame, const char *name, struct address *a);

/* Starts a scenario, plays it, and shows what is left. attached: the maps are, in every loop. */
void world_play(const struct scenario *plan, bool attached);

#endif
