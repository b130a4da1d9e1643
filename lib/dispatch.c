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

/* A handler's error: 0 when it is dealt with, otherwise what leaves the loop. */
static int deal_with(struct channel *c, int error)
{
    struct asyncore_map *map = dispatcher_of(c)->map;
    int r;

    if (error == -EAGAIN)
        return 0;
    if (error == ASYNCORE_EXIT_NOW)
        return error;
    map->handling++;
    r = asyncore_handle_error(dispatcher_of(c));
    map->handling--;
    return r == -EAGAIN || r > 0 ? 0 : r;
}

/* A call of a handler. Inside a handle_error it keeps the error that is being handled there. */
struct call {
    bool keeps_error;
    struct asyncore_error error;
    char message[ERROR_MESSAGE_SIZE];
};

static void begin(struct channel *c, struct call *call)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    call->keeps_error = map->handling > 0;
    if (call->keeps_error) {
        call->error = map->error;
        memcpy(call->message, map->message, sizeof call->message);
    }
    map->error.error = 0;
    c->refs++;
}

static int end(struct channel *c, struct call *call, int result)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (call->keeps_error) {
        map->error = call->error;
        memcpy(map->message, call->message, sizeof map->message);
    }
    map->accepted = -1;
    if (c->on_change)
        channel_touch(c);
    channel_release(c);
    return result < 0 ? result : 0;
}

static int serve(struct asyncore_dispatcher *d, int (*handler)(struct asyncore_dispatcher *))
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
    /* What has arrived is read first; then recv says that it is the end, or this does. */
    if ((flags & POLLIN) && has_data(c))
        return 0;
    return asyncore_handle_close(dispatcher_of(c));
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
        r = asyncore_handle_close(d);
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

static int serve_ready(struct channel *c, unsigned ready, bool use_poll)
{
    struct asyncore_dispatcher *d = dispatcher_of(c);
    /* Who was written to may want it again, a pass in the handler included. */
    bool asks_again = (ready & ASYNCORE_WRITE) || c->minds;
    int r;

    if (asks_again)
        channel_touch(c);
    if (use_poll || ready == READY_HANGUP)
        r = asyncore_readwrite(d, flags_of(ready));
    else if (ready == ASYNCORE_READ)
        r = asyncore_read(d);
    else if (ready == ASYNCORE_WRITE)
        r = asyncore_write(d);
    else
        r = asyncore_exception(d);
    if (asks_again)
        channel_touch(c);
    return r;
}

/* Calls what the channels are ready for and mask has: one thing at a time in select's way. */
static int walk(struct asyncore_map *map, unsigned mask, bool use_poll)
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
        r = serve_ready(c, ready, use_poll);
        if (r == 0 && loop_is_stopped(map))
            r = STOPPED;
    }
    return r;
}

int dispatch_batch(struct asyncore_map *map)
{
    struct batch *batch = map->batch;
    int r = 0;

    if (!batch->sorted)
        batch_sort(batch);
    if (map->use_poll)
        return walk(map, ~0U, true);
    for (unsigned phase = ASYNCORE_READ; r == 0 && phase <= batch->ready; phase <<= 1)
        if (batch->ready & phase)
            r = walk(map, phase, false);
    return r;
}
