/*
 * Dispatch: the handlers of channels that are ready, and where their errors go.
 *
 * A handler may close any channel, give it another socket, or run a pass of its own: the walk over
 * the batch stands it, and whatever a channel was ready for belongs to the socket that it had.
 */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

/* A call of a handler, with the map that it began with, and what was being handled around it. */
struct call {
    struct asyncore_map *map;
    struct handled *handled;
    bool in_handler;
};

static void begin(struct channel *c, struct call *call)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    *call = (struct call){.map = map, .handled = map->handled, .in_handler = map->in_handler};
    map->in_handler = true;
    map->error.error = 0;
    map->handled = NULL;
    map_hold(map);
    c->refs++;
}

/* A handler's error: what handle_error says to it. */
static int deal_with(struct channel *c, int error)
{
    if (error == -EAGAIN || error == ASYNCORE_EXIT_NOW)
        return error;
    return asyncore_handle_error(dispatcher_of(c));
}

static int end(struct channel *c, const struct call *call, int result)
{
    struct asyncore_map *map = call->map;

    /* -EAGAIN is no failure, whoever says it. */
    if (result > 0 || result == -EAGAIN)
        result = 0;
    if (map->gathering > 0) {
        int r = chat_flush(map);

        result = result < 0 ? result : r;
    }
    map->in_handler = call->in_handler;
    error_resume(map, call->handled);
    map->accepted = -1;
    if (c->on_change)
        channel_touch(c);
    channel_release(c);
    map_drop(map);
    return result;
}

static int serve(struct asyncore_dispatcher *d, handler_fn *handler)
{
    struct channel *c = channel_of(d);
    struct call call;
    int r;

    begin(c, &call);
    r = handler(d);
    if (__builtin_expect(r < 0, 0))
        r = deal_with(c, r);
    return end(c, &call, r);
}

int asyncore_read(struct asyncore_dispatcher *d)
{
    return serve(d, asyncore_handle_read_event);
}

int asyncore_write(struct asyncore_dispatcher *d)
{
    return serve(d, asyncore_handle_write_event);
}

int asyncore_exception(struct asyncore_dispatcher *d)
{
    return serve(d, asyncore_handle_expt_event);
}

int dispatch_error(struct asyncore_dispatcher *d, int error, const char *function)
{
    struct asyncore_map *map = d->map;
    struct handled *outer = map->handled;
    int r;

    if (error >= 0 || error == -EAGAIN || error == ASYNCORE_EXIT_NOW)
        return error == ASYNCORE_EXIT_NOW ? error : 0;
    map_hold(map);
    map->handled = NULL; /* it is this one now, whatever the handler around it is for */
    error_note(map, error, function);
    r = asyncore_handle_error(d);
    error_resume(map, outer);
    map_drop(map);
    return r < 0 && r != -EAGAIN ? r : 0;
}

int dispatch_flush(struct channel *c)
{
    return serve(dispatcher_of(c), chat_send_at_end);
}

/* --- poll's way ------------------------------------------------------------------------------ */

static bool has_data(const struct channel *c)
{
    int waiting = 0;

    if (!c->socket)
        return false;
    if (HAS(c->socket->cls, pending) && c->socket->cls->pending(c->socket) > 0)
        return true;
    return ioctl(c->socket->fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

static int hang_up(struct channel *c, int flags)
{
    int r;

    /* What has arrived is read first; then recv says that it is the end, or this does. */
    if ((flags & POLLIN) && has_data(c))
        return 0;
    r = dispatcher_end_of_input(dispatcher_of(c));
    if (r != 0)
        return r < 0 ? r : 0;
    return dispatcher_handle_close(dispatcher_of(c));
}

static int serve_flags(struct channel *c, int flags)
{
    static const struct {
        int flags;
        int (*handler)(struct asyncore_dispatcher *);
    } steps[] = {
        {POLLIN, asyncore_handle_read_event},
        {POLLOUT, asyncore_handle_write_event},
        {POLLPRI, asyncore_handle_expt_event},
    };
    const unsigned generation = c->generation;
    int r = 0;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if ((flags & steps[i].flags) && c->generation == generation)
            r = steps[i].handler(dispatcher_of(c));
        if (r < 0 && r != -EAGAIN)
            return r;
    }
    if ((flags & (POLLHUP | POLLERR | POLLNVAL)) && c->generation == generation)
        return hang_up(c, flags);
    return 0;
}

int asyncore_readwrite(struct asyncore_dispatcher *d, int flags)
{
    struct channel *c = channel_of(d);
    struct call call;
    int r;

    begin(c, &call);
    r = serve_flags(c, flags);
    if (r < 0 && error_is_disconnect(r))
        r = dispatcher_handle_close(d);
    else if (r < 0)
        r = deal_with(c, r);
    return end(c, &call, r);
}

/* --- the batch ------------------------------------------------------------------------------- */

static int flags_of(unsigned ready)
{
    return (ready & ASYNCORE_READ ? POLLIN : 0) | (ready & ASYNCORE_WRITE ? POLLOUT : 0) |
           (ready & READY_EXPT ? POLLPRI : 0) | (ready & READY_HANGUP ? POLLHUP : 0);
}

/* What the library has found out, if it is still so. */
static int serve_due(struct channel *c, unsigned ready)
{
    handler_fn *handler;

    channel_touch(c); /* for the next time */
    if (ready == READY_TIMEOUT)
        handler = timeout_take(c);
    else
        handler = pressure_take_drained(c) ? asyncore_handle_drain : NULL;
    if (!handler)
        return 0;
    dispatcher_of(c)->map->stats.events++;
    return serve(dispatcher_of(c), handler);
}

static int serve_ready(struct channel *c, unsigned ready, bool use_poll)
{
    struct asyncore_dispatcher *d = dispatcher_of(c);

    if (ready & READY_UNWATCHED)
        return serve_due(c, ready);
    d->map->stats.events++;
    /* Who is written to may want it again, in a pass in the handler too. */
    if ((ready & ASYNCORE_WRITE) || c->own_mind)
        channel_touch(c);
    if (use_poll || ready == READY_HANGUP)
        return asyncore_readwrite(d, flags_of(ready));
    if (ready == ASYNCORE_READ)
        return asyncore_read(d);
    if (ready == ASYNCORE_WRITE)
        return asyncore_write(d);
    return asyncore_exception(d);
}

/* Calls what the channels are ready for and mask has: one thing, or, in poll's way, all that is the
 * socket's. */
static int walk(struct asyncore_map *map, unsigned mask)
{
    struct batch *batch = map->batch;
    struct channel *c;
    int r = 0;

    batch->next = TAILQ_FIRST(&batch->channels);
    while (r == 0 && (c = batch->next)) {
        unsigned ready = c->ready & mask;

        batch->next = TAILQ_NEXT(c, in_batch);
        c->ready &= (uint8_t)~mask;
        if (c->ready == 0)
            batch_remove(c);
        if (ready == 0 || c->place != PLACE_IN_MAP)
            continue;
        r = serve_ready(c, ready, batch->use_poll);
        if (r == 0 && loop_is_stopped(map))
            r = STOPPED;
    }
    return r;
}

/* What is the socket's. */
static int walk_phases(struct asyncore_map *map)
{
    const unsigned all = ASYNCORE_READ | ASYNCORE_WRITE | READY_EXPT | READY_HANGUP;
    int r = 0;

    if (map->batch->use_poll)
        return walk(map, all);
    for (unsigned phase = ASYNCORE_READ; r == 0 && (phase & all); phase <<= 1)
        if (map->batch->ready & phase)
            r = walk(map, phase);
    return r;
}

int dispatch_batch(struct asyncore_map *map)
{
    struct batch *batch = map->batch;
    int r = 0;

    batch->served = true;
    if (!batch->sorted)
        batch_sort(batch);
    if (batch->ready & READY_DRAIN)
        r = walk(map, READY_DRAIN); /* before they read again */
    if (r == 0)
        r = walk_phases(map);
    if (r == 0 && (batch->ready & READY_TIMEOUT))
        r = walk(map, READY_TIMEOUT); /* what has happened before counts */
    return r;
}
