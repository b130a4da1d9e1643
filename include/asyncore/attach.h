/*
 * Maps whose loop is the host's.
 *
 * A map that is attached is served by whoever runs its base: event_base_dispatch, event_base_loop,
 * or asyncore_loop of another map. Its passes are those of asyncore_loop: the channels are asked,
 * and those that are ready are served together, in the order of the map, behind the callbacks of
 * the same iteration of libevent's. What differs is that handlers run in a callback of the base,
 * where asyncore_loop and asyncore_poll of a map on this base return -EDEADLK.
 *
 * Channels are asked again after each pass, after every call of the library on them that can change
 * their answers, after asyncore_map_touch, and when the timeout is over.
 *
 * A base that the map has made goes with the map: while somebody runs that base, an attached map
 * that has one must not be freed in a callback of it, a handler or done; break its loop first.
 *
 * While it is empty, an attached map has no event pending, and so does not keep event_base_dispatch
 * from returning.
 */
#ifndef ASYNCORE_ATTACH_H
#define ASYNCORE_ATTACH_H

#include <asyncore/export.h>

#include <stdbool.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_map;

/* Has the map served by who runs its base, as asyncore_loop would with ASYNCORE_TIMEOUT_DEFAULT, in
 * select's way, and without a count.
 *
 * done, unless it is NULL, is called in the base's loop, after the pass, with the result that
 * asyncore_loop would have:
 *   ASYNCORE_LOOP_EMPTY   the map has become empty; it stays attached, and a channel that comes
 *                         into it is served. A map that is attached empty is not told of.
 * and, after which the map is no longer attached:
 *   ASYNCORE_EXIT_NOW     returned by a handler
 *   any value             given to asyncore_loop_exit
 *   another negative one  an error of a predicate, of handle_error, or of watching; nothing is
 *                         lost, the map can be attached again
 * done may call everything that an event callback of the host's may: attach the map again, free it,
 * break the base's loop.
 *
 * After event_base_loopbreak in a handler no other one is called; what was ready comes back when
 * the host goes on.
 *
 * 0; -EBUSY: it is attached already, or a loop or pass of it is running; -EINVAL: it has been
 * freed; -ENOMEM. No method is called by this. */
ASYNCORE_API int asyncore_map_attach(struct asyncore_map *map,
                                     void (*done)(struct asyncore_map *map, int result, void *arg),
                                     void *arg);

/* The same, with all arguments of asyncore_loop. After count passes done is told
 * ASYNCORE_LOOP_COUNT, or ASYNCORE_LOOP_EMPTY, and the map is no longer attached. -EINVAL, too:
 * timeout is not a number, or count is 0 or less. */
ASYNCORE_API int asyncore_map_attach_loop(
    double timeout, bool use_poll, struct asyncore_map *map, int count,
    void (*done)(struct asyncore_map *map, int result, void *arg), void *arg);

/* Ends it: in a handler of the map when that returns, otherwise at once. done is not called. The
 * map's channels wait for who serves them next, and keep no event in the base until then.
 * asyncore_map_free does this, too. -EINVAL: it is not attached. */
ASYNCORE_API int asyncore_map_detach(struct asyncore_map *map);

/* Something has changed that predicates of the map's channels look at, and that no call of the
 * library has changed: the channels that are asked in every pass are asked again soon. Those with
 * ASYNCORE_INTEREST_ON_CHANGE want asyncore_touch. Needed only while the map is attached, and
 * outside of its handlers; otherwise it does nothing. */
ASYNCORE_API void asyncore_map_touch(struct asyncore_map *map);

ASYNCORE_END_DECLS

#endif
