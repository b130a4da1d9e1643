/*
 * The socket map: an ordered set of channels, and the event_base that serves them.
 *
 * A channel is owned by its map from its construction to its destruction. It is in the map
 * (counted, served, seen by the loop) from add_channel to del_channel, in that order; one that
 * comes back goes last. One thread at a time may use a map, its channels and its base; thread.h has
 * what others may do.
 *
 * Wherever a map is asked for, NULL is the process's default map (Python: asyncore.socket_map).
 */
#ifndef ASYNCORE_MAP_H
#define ASYNCORE_MAP_H

#include <asyncore/export.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

ASYNCORE_BEGIN_DECLS

struct event_base;
struct asyncore_dispatcher;
struct asyncore_map;

/* A new, empty map. With a base, the base is borrowed: it stays the caller's and must outlive the
 * map. With NULL the map makes a base of its own and frees it.
 * NULL with errno: ENOMEM, EMFILE, ENFILE. Python: a dict. */
ASYNCORE_API struct asyncore_map *asyncore_map_new(struct event_base *base);

/* Closes the sockets of the map's channels, destroys those that nobody has a reference to, and
 * frees the map when the last of them is gone. finalize is the only method that is called (Python's
 * garbage collector does not call close either): asyncore_close_all first, for who wants more. What
 * an async_chat has queued is sent as far as the socket takes it, and its producers are released.
 * Called in a handler, it waits for the end of the pass: what is ready and has not been served is
 * dropped, and the loops of this map return ASYNCORE_LOOP_EMPTY. NULL is allowed, and does nothing;
 * freeing the default map makes the next use of it start with a new one. */
ASYNCORE_API void asyncore_map_free(struct asyncore_map *map);

/* The default map, made at its first use, on a base of its own. NULL with errno as
 * asyncore_map_new. Python: asyncore.socket_map. */
ASYNCORE_API struct asyncore_map *asyncore_socket_map(void);

/* The base that serves the map, to add other events to. NULL only when the default map could not
 * be made. */
ASYNCORE_API struct event_base *asyncore_map_base(struct asyncore_map *map);

/* The priority of all the map's events in its base, see event_base_priority_init; by default that
 * which libevent gives them, the middle one when they are made: so event_base_priority_init comes
 * before the map, or this after it. libevent serves the lowest number that is ready, and looks at
 * the others when there is nothing else: an attached map with a low number that always has
 * something to do keeps them waiting. -EINVAL: the base does not have it, or the map has been
 * freed. */
ASYNCORE_API int asyncore_map_set_priority(struct asyncore_map *map, int priority);

/* In the child, after fork: gives the map, and its base by event_reinit, descriptors of their own
 * for what they watch. Before it the child must do nothing else with the map, its channels or its
 * base, not even close them: that would take the parent's out. A child that leaves them alone
 * altogether, and ends by _exit or exec, does not need it. Once for each map; several may be on one
 * base. May be called in a handler, or in a callback of the base, that has forked.
 *
 * Then both go on with copies: of the channels, whose descriptors are the same open sockets and
 * files, so that only one of the two should go on reading or writing each, and the other close its
 * own (its descriptor only: a connection ends when both have closed it; asyncore_shutdown ends it
 * for both); of output that is queued, which both send; of calls that are pending; of the passes
 * that the fork was in. A listener may stay in both: who is first accepts. O_NONBLOCK of a
 * file_dispatcher belongs to the open file: who closes it first takes it back for both. Threads are
 * not copied: none may be in a call of this library's or of libevent's with this base at the fork.
 *
 * 0, also for the default map that is not there; -EINVAL: the map has been freed; -EMFILE, -ENFILE:
 * nothing was done, it can be called again when descriptors are free; another error of making them
 * or of watching: the channels are watched anew in the next pass, which tells of their errors; of
 * the base's other events some may not be pending any more, until it is called again and succeeds.
 * Python: none; its select and poll keep nothing in the kernel. */
ASYNCORE_API int asyncore_map_reinit(struct asyncore_map *map);

/* How many channels are in the map. Python: len(map). */
ASYNCORE_API size_t asyncore_map_length(const struct asyncore_map *map);

/* The channel after d in the map's order, or the first one for NULL; NULL at the end. To go on
 * after closing d, take the next one first. Python: iter(map.values()). */
ASYNCORE_API struct asyncore_dispatcher *asyncore_map_next(const struct asyncore_map *map,
                                                           const struct asyncore_dispatcher *d);

/* What a map has done since it was made, and what it has now. */
struct asyncore_map_stats {
    size_t channels;          /* in the map now */
    uint64_t queued;          /* bytes of output that their sockets have not taken yet */
    uint64_t passes;          /* that are done */
    uint64_t events;          /* what channels were ready for, and their handlers were called for */
    uint64_t predicate_calls; /* of readable and writable */
    uint64_t bytes_in;        /* received and sent by functions of the library */
    uint64_t bytes_out;
};

/* Sets *stats. Costs a walk over the channels; without it, what is counted costs next to nothing.
 * The default map that has not been made yet: all 0. */
ASYNCORE_API void asyncore_map_stats(const struct asyncore_map *map,
                                     struct asyncore_map_stats *stats);

/* Calls close of every channel in the map, in order, then takes out what has stayed in. An error
 * of a close ends it and is returned, and the rest stays as it is: except -EBADF, which never
 * does, and, with ignore_all, every error but ASYNCORE_EXIT_NOW. -ENOMEM: nothing was done.
 * Otherwise 0.
 * Python: asyncore.close_all(map=None, ignore_all=False). */
ASYNCORE_API int asyncore_close_all(struct asyncore_map *map, bool ignore_all);

ASYNCORE_END_DECLS

#endif
