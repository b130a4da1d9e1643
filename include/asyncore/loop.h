/*
 * The loop.
 *
 * A pass asks every channel of the map what it is interested in (readable, writable), waits until
 * one is ready, and then calls the handlers, in the order of the map. The base's other events run
 * while it waits and do not end it. Handlers are not called from libevent's callbacks, so they may
 * run a loop of their own (nested passes).
 */
#ifndef ASYNCORE_LOOP_H
#define ASYNCORE_LOOP_H

#include <asyncore/export.h>

#include <limits.h>
#include <stdbool.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_dispatcher;
struct asyncore_map;

/* Python's defaults: loop(timeout=30.0, use_poll=False, map=None, count=None). */
#define ASYNCORE_TIMEOUT_DEFAULT 30.0
#define ASYNCORE_TIMEOUT_NONE (-1.0) /* Python: None; any negative timeout means it */
#define ASYNCORE_COUNT_NONE INT_MIN

/* Why a loop ended well. */
#define ASYNCORE_LOOP_EMPTY 0  /* no channel is left in the map */
#define ASYNCORE_LOOP_COUNT 1  /* count passes are done */
#define ASYNCORE_LOOP_BROKEN 2 /* event_base_loopbreak or event_base_loopexit was called */

/* Serves the map, pass after pass, until it is empty or count passes are done.
 *   timeout   seconds that a pass waits at most
 *   use_poll  false: all reads, then all writes, then all exceptional conditions (select's way);
 *             true: each channel's read, write, exception and hang-up together (poll's way)
 *   count     passes at most; none at all for 0 and below; ASYNCORE_COUNT_NONE: no limit
 * Returns one of ASYNCORE_LOOP_*, or the value given to asyncore_loop_exit, or, negative:
 * ASYNCORE_EXIT_NOW, what a predicate or handle_error returned, -EINVAL (timeout is not a number),
 * -EDEADLK (called in a callback of the same base, or the map is attached), -ENOMEM and other
 * errors of watching. After an error nothing is lost: the loop can be called again. May be called
 * in a handler, not in an event callback of the same base. Python: asyncore.loop(). */
ASYNCORE_API int asyncore_loop(double timeout, bool use_poll, struct asyncore_map *map, int count);

/* One pass in select's way. An empty map returns at once. Returns 0 when the pass is done,
 * otherwise as asyncore_loop. Python: asyncore.poll(timeout=0.0, map=None). */
ASYNCORE_API int asyncore_poll(double timeout, struct asyncore_map *map);

/* One pass in poll's way. An empty map returns at once. Returns 0 when the pass is done, otherwise
 * as asyncore_loop. Python: asyncore.poll2(timeout=0.0, map=None) and poll3. */
ASYNCORE_API int asyncore_poll2(double timeout, struct asyncore_map *map);
#define asyncore_poll3 asyncore_poll2

/* Ends the innermost loop or pass of the map that is running, with value as its result: after the
 * handler that calls it, or, from a callback of the host's, at once. An attached map is detached,
 * and done is told. What was ready and not served comes back in the next pass. -EINVAL when none is
 * running. */
ASYNCORE_API int asyncore_loop_exit(struct asyncore_map *map, int value);

/* What the loop does with a channel that is ready; each calls handle_error when its method fails.
 * They return 0, or what leaves the loop: ASYNCORE_EXIT_NOW, or an error of handle_error's own.
 * Python: asyncore.read(), write(), _exception(). */
ASYNCORE_API int asyncore_read(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_write(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_exception(struct asyncore_dispatcher *d);

/* The same for a set of poll(2) flags: POLLIN, POLLOUT, POLLPRI, then POLLHUP, POLLERR or
 * POLLNVAL, which call handle_close, unless POLLIN is set too and there is still data to read. An
 * error ends it: one of the disconnected family (ECONNRESET, ENOTCONN, ESHUTDOWN, ECONNABORTED,
 * EPIPE, EBADF) calls handle_close, whose own error leaves the loop, any other handle_error.
 * Nothing more is called once the channel is closed. Python: asyncore.readwrite(). */
ASYNCORE_API int asyncore_readwrite(struct asyncore_dispatcher *d, int flags);

ASYNCORE_END_DECLS

#endif
