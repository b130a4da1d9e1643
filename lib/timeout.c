/*
 * The time of channels: idle ones, and connections that are not made.
 *
 * A channel with a timeout is in its map's set of deadlines while it is in the map. What happens on
 * it only notes the time: its deadline is looked at when the one that the set knows has come, and
 * goes back into the set if it has moved. One timer a map waits for the first; it is set before
 * the map waits, and by itself while somebody serves the map. Who is due is not in the set until it
 * has been served: due outlives the marks in a batch.
 */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct timeouts {
    struct deadline deadline; /* when it is looked at, if it is queued */
    struct channel *channel;
    int64_t idle; /* ns; FOREVER: none */
    int64_t connect;
    int64_t active;   /* when something has happened on the channel */
    int64_t began;    /* when it began to connect */
    unsigned attempt; /* the generation of the socket that connects; 0: none does, in time */
    bool coarse;      /* active is of the coarse clock */
    bool queued;
    bool due;
};

static struct timeouts *timeouts_of(struct deadline *deadline)
{
    return (struct timeouts *)(void *)deadline;
}

static bool is_connecting(const struct timeouts *t)
{
    const struct asyncore_dispatcher *d = dispatcher_of(t->channel);

    return t->connect != FOREVER && d->connecting && !d->connected &&
           t->attempt == t->channel->generation;
}

/* When the channel is due. On virtual machines the coarse clock has been seen one and a half ticks
 * behind. */
static int64_t deadline_of(const struct timeouts *t)
{
    if (is_connecting(t))
        return t->began + t->connect;
    if (t->idle == FOREVER)
        return FOREVER;
    return t->active + (t->coarse ? 2 * clock_tick() : 0) + t->idle;
}

/* --- the set and its timer ------------------------------------------------------------------- */

static void disarm(struct asyncore_map *map)
{
    if (map->timeout_at != 0)
        event_del(map->timeout_timer);
    map->timeout_at = 0;
}

static void add(struct timeouts *t, int64_t at)
{
    t->deadline.at = at;
    t->queued = true;
    deadline_add(&dispatcher_of(t->channel)->map->timeouts, &t->deadline);
}

static void take_out(struct timeouts *t)
{
    struct asyncore_map *map = dispatcher_of(t->channel)->map;

    deadline_remove(&map->timeouts, &t->deadline);
    t->queued = false;
    if (!map->timeouts)
        disarm(map); /* it would keep the base alive */
}

/* After a change of its deadline, other than to a later one. */
static void queue(struct timeouts *t)
{
    struct asyncore_map *map = dispatcher_of(t->channel)->map;
    const int64_t at = deadline_of(t);

    t->due = false;
    if (t->queued && t->deadline.at <= at && at != FOREVER)
        return; /* it is looked at in time */
    if (t->queued)
        take_out(t);
    if (at == FOREVER || t->channel->place != PLACE_IN_MAP)
        return;
    add(t, at);
    if (map->timeouts == &t->deadline)
        attach_wake(map); /* to set the timer */
}

/* The time that the set knew has come. */
static void look_at(struct timeouts *t, int64_t now)
{
    const int64_t at = deadline_of(t);

    take_out(t);
    if (at > now) {
        if (at != FOREVER)
            add(t, at);
        return;
    }
    t->due = true;
    if (map_gathers(dispatcher_of(t->channel)->map))
        watch_mark(t->channel, READY_TIMEOUT);
    else
        channel_touch(t->channel); /* the map's next pass marks it */
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_map *map = arg;
    const int64_t now = clock_now();

    (void)fd;
    (void)what;
    map->timeout_at = 0;
    while (map->timeouts && map->timeouts->at <= now)
        look_at(timeouts_of(map->timeouts), now);
    if (map_gathers(map) && timeout_arm(map) < 0)
        attach_wake(map); /* the next pass tells of it */
}

/* A timer that is set for a time before the first deadline finds nothing to do, once. */
int timeout_arm(struct asyncore_map *map)
{
    struct timeval tv = {.tv_sec = 0};
    int64_t left;

    if (!map->timeouts || (map->timeout_at != 0 && map->timeout_at <= map->timeouts->at))
        return 0;
    if (!map->timeout_timer)
        map->timeout_timer = evtimer_new(map->base, on_timeout, map);
    if (!map->timeout_timer)
        return -ENOMEM;
    left = map->timeouts->at - clock_now();
    if (left > 0)
        tv = pass_timeval(left + clock_tick()); /* libevent's clock is coarse, too */
    if (map_add_event(map, map->timeout_timer, &tv) < 0)
        return -ENOMEM;
    map->timeout_at = map->timeouts->at;
    return 0;
}

void timeout_rearm(struct asyncore_map *map)
{
    disarm(map);
    attach_wake(map);
}

void timeout_end(struct asyncore_map *map)
{
    if (map->timeout_timer)
        event_free(map->timeout_timer);
    map->timeout_timer = NULL;
}

/* --- what happens to the channel -------------------------------------------------------------- */

void timeout_note(struct channel *c)
{
    c->timeouts->active = clock_coarse();
    c->timeouts->coarse = true;
}

/* The same where it is no matter of each message. */
static void note_exactly(struct timeouts *t)
{
    t->active = clock_now();
    t->coarse = false;
}

void timeout_enter(struct channel *c)
{
    if (!c->timeouts)
        return;
    note_exactly(c->timeouts);
    queue(c->timeouts);
}

void timeout_leave(struct channel *c)
{
    if (!c->timeouts)
        return;
    c->timeouts->due = false;
    if (c->timeouts->queued)
        take_out(c->timeouts);
}

static void begin_to_connect(struct timeouts *t)
{
    t->began = clock_now();
    t->attempt = t->channel->generation;
    queue(t);
}

void timeout_connecting(struct channel *c, bool under_way)
{
    if (!c->timeouts)
        return;
    note_exactly(c->timeouts);
    c->timeouts->attempt = 0;
    if (under_way)
        begin_to_connect(c->timeouts);
    else
        queue(c->timeouts);
}

/* The idle time may be the shorter one. */
void timeout_update(struct channel *c)
{
    if (c->timeouts)
        queue(c->timeouts);
}

/* --- in a pass ------------------------------------------------------------------------------- */

bool timeout_is_due(const struct channel *c)
{
    return c->timeouts && c->timeouts->due;
}

static int connection_timed_out(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -ETIMEDOUT, "no connection within %g seconds",
                          (double)channel_of(d)->timeouts->connect / 1e9);
}

handler_fn *timeout_take(struct channel *c)
{
    struct timeouts *t = c->timeouts;
    bool connecting;

    if (!t || c->place != PLACE_IN_MAP)
        return NULL;
    if (deadline_of(t) > clock_now()) {
        queue(t);
        return NULL;
    }
    connecting = is_connecting(t);
    if (connecting)
        t->attempt = 0;
    note_exactly(t);
    queue(t);
    return connecting ? connection_timed_out : asyncore_handle_timeout;
}

/* --- setting them ---------------------------------------------------------------------------- */

/* What seconds mean, and the room for it if they are any. Less than a tick would make who stays
 * idle spin. */
static int prepare(struct channel *c, double seconds, int64_t *ns)
{
    if (isnan(seconds) || seconds == 0)
        return -EINVAL;
    *ns = pass_timeout(seconds);
    if (*ns < clock_tick())
        *ns = clock_tick();
    if (c->timeouts || *ns == FOREVER)
        return 0;
    c->timeouts = calloc(1, sizeof *c->timeouts);
    if (!c->timeouts)
        return -ENOMEM;
    c->timeouts->channel = c;
    c->timeouts->idle = c->timeouts->connect = FOREVER;
    note_exactly(c->timeouts);
    return 0;
}

int asyncore_set_timeout(struct asyncore_dispatcher *d, double seconds)
{
    struct channel *c = channel_of(d);
    int64_t ns;
    int r = prepare(c, seconds, &ns);

    if (r < 0 || !c->timeouts)
        return r;
    c->timeouts->idle = ns;
    note_exactly(c->timeouts);
    queue(c->timeouts);
    return 0;
}

int asyncore_set_connect_timeout(struct asyncore_dispatcher *d, double seconds)
{
    struct channel *c = channel_of(d);
    int64_t ns;
    int r = prepare(c, seconds, &ns);

    if (r < 0 || !c->timeouts)
        return r;
    c->timeouts->connect = ns;
    if (d->connecting)
        begin_to_connect(c->timeouts);
    else
        queue(c->timeouts);
    return 0;
}
