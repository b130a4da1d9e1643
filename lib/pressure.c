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
    struct pressure *pressure = c->pressure;

    if (pressure)
        return pressure;
    pressure = calloc(1, sizeof *pressure);
    if (!pressure)
        return NULL;
    pressure->channel = c;
    TAILQ_INIT(&pressure->sources);
    c->pressure = pressure;
    return pressure;
}

/* The source has no sink any more, and is not told. */
static void let_go(struct pressure *source)
{
    if (!source->sink)
        return;
    TAILQ_REMOVE(&source->sink->pressure->sources, source, in_sources);
    source->sink = NULL;
    source->held = source->drained = false;
    channel_touch(source->channel);
}

void pressure_changed(struct channel *sink)
{
    const size_t length = asyncore_out_buffer_length(dispatcher_of(sink));
    struct pressure *source;

    TAILQ_FOREACH (source, &sink->pressure->sources, in_sources) {
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
    struct pressure *pressure = c->pressure, *source;

    if (!pressure)
        return;
    let_go(pressure);
    while ((source = TAILQ_FIRST(&pressure->sources)))
        let_go(source);
}

int asyncore_set_back_pressure(struct asyncore_dispatcher *d, struct asyncore_dispatcher *sink,
                               size_t high, size_t low)
{
    struct channel *c = channel_of(d);
    struct pressure *source, *to;

    if (!sink) {
        if (c->pressure)
            let_go(c->pressure);
        return 0;
    }
    if (low > high)
        return -EINVAL;
    if (c->closed || channel_of(sink)->closed)
        return -EBADF;
    source = pressure_of(c);
    if (!source)
        return -ENOMEM;
    to = pressure_of(channel_of(sink));
    if (!to)
        return -ENOMEM;
    let_go(source);
    source->sink = to->channel;
    source->high = high;
    source->low = low;
    TAILQ_INSERT_TAIL(&to->sources, source, in_sources);
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
