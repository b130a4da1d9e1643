/*
 * The time of channels: idle ones, and connections that are not made.
 *
 * A channel with a timeout has a timer on the map's base while it is in the map. What happens on
 * the channel only notes the time: when the timer fires, it is set again for what is left. Who has
 * none, being due, or for lack of memory, is marked in a batch, or touched, and looked at when it
 * is asked what it is interested in; dropping the marks touches it.
 *
 * Full times to be idle are libevent's common timeouts: a queue each, in place of its heap.
 */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Times are those of the coarse clock, which libevent uses, too. The timer's event is behind it. */
struct timeouts {
    int64_t timer_at; /* the deadline that the timer is set for; 0: it is not set */
    int64_t idle;     /* ns; FOREVER: none */
    int64_t connect;
    int64_t active;   /* when something has happened on the channel */
    int64_t began;    /* when it began to connect */
    unsigned attempt; /* the generation of the socket that connects; 0: none does, in time */
};

static struct event *event_of(struct timeouts *t)
{
    return (struct event *)(void *)((char *)t + ALIGNED(sizeof *t));
}

static bool is_connecting(const struct channel *c)
{
    const struct asyncore_dispatcher *d = dispatcher_of(c);
    const struct timeouts *t = c->timeouts;

    return t->connect != FOREVER && d->connecting && !d->connected && t->attempt == c->generation;
}

/* When the channel is due. */
static int64_t deadline_of(const struct channel *c)
{
    const struct timeouts *t = c->timeouts;

    if (is_connecting(c))
        return t->began + clock_safe(t->connect);
    return t->idle != FOREVER ? t->active + clock_safe(t->idle) : FOREVER;
}

/* --- the timer ------------------------------------------------------------------------------- */

/* What libevent knows so long a time by; NULL: it does not. A base has room for few, for good. */
static const struct timeval *common_timeout(struct asyncore_map *map, int64_t idle)
{
    struct common_timeout *common = map->common_timeouts;
    const struct common_timeout *const end = common + COMMON_TIMEOUTS;

    while (common < end && common->idle != 0 && common->idle != idle)
        common++;
    if (common == end)
        return NULL;
    if (common->idle == 0) {
        const struct timeval tv = pass_timeval(clock_safe(idle));

        common->idle = idle;
        common->tv = event_base_init_common_timeout(map->base, &tv);
    }
    return common->tv;
}

/* Of c in the map, if it has none and is to have one: 1: it is due instead; -ENOMEM. Who was active
 * just now has the full time. */
static int set_timer(struct channel *c)
{
    struct timeouts *t = c->timeouts;
    struct asyncore_map *map = dispatcher_of(c)->map;
    const struct timeval *tv = NULL;
    struct timeval left;
    int64_t at, now;

    if (t->timer_at != 0)
        return 0;
    at = deadline_of(c);
    if (at == FOREVER)
        return 0;
    if (at <= clock_now())
        return 1;
    now = clock_coarse();
    left = pass_timeval(at - now);
    if (!is_connecting(c) && now - t->active <= clock_tick())
        tv = common_timeout(map, t->idle);
    if (map_add_event(map, event_of(t), tv ? tv : &left) < 0)
        return -ENOMEM;
    t->timer_at = at;
    return 0;
}

static void clear_timer(struct timeouts *t)
{
    if (t->timer_at != 0)
        event_del(event_of(t));
    t->timer_at = 0;
}

/* A timer that is set for an earlier time may stay. */
static void deadline_changed(struct channel *c)
{
    const int64_t at = deadline_of(c);

    if (at == FOREVER || at < c->timeouts->timer_at)
        clear_timer(c->timeouts);
    if (c->place == PLACE_IN_MAP && set_timer(c) != 0)
        channel_touch(c);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct channel *c = arg;
    int r = -EAGAIN;

    (void)fd;
    (void)what;
    c->timeouts->timer_at = 0;
    if (map_gathers(dispatcher_of(c)->map))
        r = set_timer(c);
    if (r > 0)
        watch_mark(c, READY_TIMEOUT);
    else if (r < 0)
        channel_touch(c);
}

int timeout_watch(struct channel *c)
{
    const int r = set_timer(c);

    if (r > 0)
        batch_mark(c, READY_TIMEOUT);
    return r < 0 ? r : 0;
}

void timeout_stop(struct channel *c)
{
    clear_timer(c->timeouts);
}

/* --- what happens to the channel -------------------------------------------------------------- */

void timeout_note(struct channel *c)
{
    c->timeouts->active = clock_coarse();
}

void timeout_enter(struct channel *c)
{
    if (!c->timeouts)
        return;
    event_assign(event_of(c->timeouts), dispatcher_of(c)->map->base, -1, 0, on_timeout, c);
    timeout_note(c);
}

void timeout_leave(struct channel *c)
{
    if (!c->timeouts)
        return;
    clear_timer(c->timeouts);
    event_debug_unassign(event_of(c->timeouts));
}

static void begin_to_connect(struct channel *c)
{
    c->timeouts->began = clock_coarse();
    c->timeouts->attempt = c->generation;
}

void timeout_connecting(struct channel *c, bool under_way)
{
    if (!c->timeouts)
        return;
    timeout_note(c);
    c->timeouts->attempt = 0;
    if (under_way)
        begin_to_connect(c);
    deadline_changed(c);
}

/* The idle time may be the shorter one. */
void timeout_update(struct channel *c)
{
    if (c->timeouts)
        deadline_changed(c);
}

/* --- when it is due -------------------------------------------------------------------------- */

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
    if (deadline_of(c) > clock_now())
        return NULL;
    connecting = is_connecting(c);
    if (connecting)
        t->attempt = 0;
    timeout_note(c);
    return connecting ? connection_timed_out : asyncore_handle_timeout;
}

/* --- setting them ---------------------------------------------------------------------------- */

/* What seconds mean, and the room for it if they are any. However few they are, who stays idle does
 * not spin: clock_safe. */
static int prepare(struct channel *c, double seconds, int64_t *ns)
{
    if (isnan(seconds) || seconds == 0)
        return -EINVAL;
    *ns = pass_timeout(seconds);
    if (c->timeouts || *ns == FOREVER)
        return 0;
    c->timeouts = calloc(1, ALIGNED(sizeof *c->timeouts) + event_get_struct_event_size());
    if (!c->timeouts)
        return -ENOMEM;
    c->timeouts->idle = c->timeouts->connect = FOREVER;
    if (c->place == PLACE_IN_MAP)
        timeout_enter(c);
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
    timeout_note(c);
    deadline_changed(c);
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
        begin_to_connect(c);
    deadline_changed(c);
    return 0;
}
