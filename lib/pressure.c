/*
 * Back-pressure: a channel, the source, does not read while too much output is queued in another,
 * its sink.
 *
 * The queue of a sink is looked at where it changes. There a source only changes its state; it is
 * asked again, and called, by a pass of its own map, which need not be the sink's. Both have a
 * struct pressure, from the first time on until they are destroyed; closing ends the relation.
 */
#include "chat_internal.h"

#include <errno.h>
#include <stdlib.h>

/* The channel's; NULL: no memory. */
static struct pressure *pressure_of(struct channel *c)
{
    if (c->pressure)
        return c->pressure;
    c->pressure = calloc(1, sizeof *c->pressure);
    if (c->pressure) {
        c->pressure->channel = c;
        LIST_INIT(&c->pressure->sources);
    }
    return c->pressure;
}

/* The source, if c is one, has no sink any more, and is not told. */
static void let_go(struct channel *c)
{
    struct pressure *source = c->pressure;

    if (!source || !source->sink)
        return;
    LIST_REMOVE(source, in_sources);
    source->sink = NULL;
    source->held = source->drained = false;
    channel_touch(c);
}

void pressure_changed(struct channel *sink)
{
    const size_t length = asyncore_out_buffer_length(dispatcher_of(sink));
    struct pressure *source;

    LIST_FOREACH (source, &sink->pressure->sources, in_sources) {
        const bool above = length > (source->held ? source->low : source->high);

        if (above == source->held)
            continue;
        source->held = above;
        source->drained |= !above;
        channel_touch(source->channel);
    }
}

bool pressure_take_drained(struct channel *c)
{
    const bool drained = pressure_has_drained(c);

    if (drained)
        c->pressure->drained = false;
    return drained;
}

void pressure_end(struct channel *c)
{
    let_go(c);
    while (c->pressure && !LIST_EMPTY(&c->pressure->sources))
        let_go(LIST_FIRST(&c->pressure->sources)->channel);
}

int asyncore_set_back_pressure(struct asyncore_dispatcher *d, struct asyncore_dispatcher *sink,
                               size_t high, size_t low)
{
    struct channel *c = channel_of(d);
    struct pressure *source, *to;

    if (!sink) {
        let_go(c);
        return 0;
    }
    if (low > high)
        return -EINVAL;
    if (c->closed || channel_of(sink)->closed)
        return -EBADF;
    source = pressure_of(c);
    to = pressure_of(channel_of(sink));
    if (!source || !to)
        return -ENOMEM;
    let_go(c);
    source->sink = to->channel;
    source->high = high;
    source->low = low;
    LIST_INSERT_HEAD(&to->sources, source, in_sources);
    /* What a handler has gathered is looked at when that has been sent. */
    if (!to->channel->chat || !to->channel->chat->gathered)
        pressure_changed(to->channel);
    return 0;
}

int asyncore_dispatcher_handle_drain(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}
