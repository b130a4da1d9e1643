/*
 * Calls at a later time: timers that end with their map. Python's asyncore has none; medusa and
 * pyftpdlib added theirs.
 */
#ifndef ASYNCORE_CALL_LATER_H
#define ASYNCORE_CALL_LATER_H

#include <asyncore/export.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_map;

/* A call that is still to come. Valid until its function is called, it is cancelled, or its map is
 * freed. */
struct asyncore_call;

/* Calls fn(map, arg) once.
 *   map      NULL: the default map
 *   seconds  from now, or some milliseconds later; 0: as soon as the base runs, but not now;
 *            infinite: never
 *   fn       called by the map's base, whoever runs it: asyncore_loop, of this map or of another
 *            one on the base, or the host; also while the map is empty, or nobody serves it
 *   arg      stays the caller's, also when the call is cancelled or dropped
 *
 * Calls of a map come in the order of their times, as far as libevent's clock, which counts in
 * milliseconds, tells them apart; calls for the same time come in any order.
 *
 * fn may do what an event callback of the host's may: everything, freeing the map too, but to call
 * asyncore_loop or asyncore_poll on the same base, which return -EDEADLK. The call that it came
 * from is gone by then: to cancel that one in fn is an error of the caller's. After it the channels
 * of the map are asked again what they are interested in.
 *
 * The call belongs to the map: asyncore_map_free, in a handler too, drops what is still to come,
 * without calling it. Until then it keeps event_base_dispatch running, but not asyncore_loop, which
 * ends when the map is empty. May be called anywhere, in fn too. NULL with errno: EINVAL (seconds
 * is negative or not a number, or map has been freed), ENOMEM, or as asyncore_socket_map. */
ASYNCORE_API struct asyncore_call *asyncore_call_later(struct asyncore_map *map, double seconds,
                                                       void (*fn)(struct asyncore_map *map,
                                                                  void *arg),
                                                       void *arg);

/* Takes the call back and releases it: its fn is not called. NULL is allowed. May be called
 * anywhere, in the fn of another call too. Returns NULL. */
ASYNCORE_API struct asyncore_call *asyncore_call_cancel(struct asyncore_call *call);

ASYNCORE_END_DECLS

#endif
