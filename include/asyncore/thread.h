/*
 * Threads.
 *
 * Maps of different threads share nothing: each thread may make one and serve it. A map, its
 * channels and its base belong to one thread at a time; the default map (NULL), which is the
 * process's, to one thread, too.
 *
 * What other threads may do is here. These two may be called by any thread, the map's own too, as
 * long as the map exists, but not in a signal handler: an evsignal of the map's base is for that.
 * They need libevent's threading, evthread_use_pthreads() of libevent_pthreads, before the map and
 * its base are made. NULL is the default map as it is: they do not make it, and it must not be made
 * or freed meanwhile.
 *
 * Python has neither; medusa and ZEO had a "trigger" for it.
 */
#ifndef ASYNCORE_THREAD_H
#define ASYNCORE_THREAD_H

#include <asyncore/export.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_map;

/* Has who serves the map ask its channels again soon, as after any event of the host's: for
 * predicates that look at what another thread has changed. A loop that waits goes on waiting when
 * nobody is ready then. Channels with ASYNCORE_INTEREST_ON_CHANGE want asyncore_touch, in a call of
 * asyncore_map_call. Several calls may have the effect of one. When nobody serves the map it does
 * nothing.
 * 0; -ENOTSUP: libevent's threading was off when the map or its base was made, or the base has
 * EVENT_BASE_FLAG_NOLOCK; -EINVAL: the map has been freed, or it is NULL and there is none. */
ASYNCORE_API int asyncore_map_wakeup(struct asyncore_map *map);

/* Has fn(map, arg) called once, in the thread that runs the map's base, whoever does: asyncore_loop
 * of this map or of another one, event_base_dispatch, event_base_loop. The calls are made in the
 * order in which they were asked for, in a callback of the base, where fn may do what a callback of
 * the host's may: everything but asyncore_loop and asyncore_poll on this base, which return
 * -EDEADLK there. What fn asks for by asyncore_map_call comes after the base has looked at its
 * other events.
 *
 * A call that is pending keeps event_base_dispatch from returning; asyncore_loop returns when the
 * map is empty, and leaves it pending. What is pending when asyncore_map_free is called is called
 * by that, at once, in its thread, before channels are closed: so whatever belongs to arg is always
 * released. New channels in the map then fail with EINVAL, further calls with -EINVAL.
 *
 * 0; otherwise fn will not be called: -ENOTSUP and -EINVAL as asyncore_map_wakeup, -EINVAL when fn
 * is NULL, too; -ENOMEM. */
ASYNCORE_API int asyncore_map_call(struct asyncore_map *map,
                                   void (*fn)(struct asyncore_map *map, void *arg), void *arg);

ASYNCORE_END_DECLS

#endif
