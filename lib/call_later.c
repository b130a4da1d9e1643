/*
 * Calls at a later time, each with a timer of its own on the map's base.
 *
 * libevent runs timers of the same time in any order, and its clock is coarse. So a timer that has
 * fired stands for a call, but not for which: the one whose turn it is is called, and the timer's
 * own comes next, if that was another one.
 */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

typedef void later(struct asyncore_map *map, void *arg);

struct asyncore_call {
    struct deadline deadline;
    struct asyncore_map *map;
    struct event *event;
    later *fn;
    void *arg;
};

static struct asyncore_call *call_of(struct deadline *deadline)
{
    return (struct asyncore_call *)(void *)deadline;
}

/* Years are waited for in pieces. */
static int arm(const struct asyncore_call *call, int64_t left)
{
    const int64_t most = pass_timeout(1e8);
    struct timeval tv = pass_timeval((left < most ? left : most) + clock_tick());

    return map_add_event(call->map, call->event, &tv) < 0 ? -ENOMEM : 0;
}

static void release(struct asyncore_map *map, struct asyncore_call *call)
{
    deadline_remove(&map->calls, &call->deadline);
    event_free(call->event);
    free(call);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_call *call = arg;
    struct asyncore_map *const map = call->map;
    const int64_t left = call->deadline.at - clock_now();
    later *fn;

    (void)fd;
    (void)what;
    if (left > 0 && arm(call, left) == 0)
        return; /* without memory it is better early than never */
    if (map->calls != &call->deadline) {
        event_active(call->event, EV_TIMEOUT, 1);
        call = call_of(map->calls);
    }
    fn = call->fn;
    arg = call->arg;
    release(map, call);
    attach_wake(map); /* after it everyone is asked */
    fn(map, arg);
}

struct asyncore_call *asyncore_call_later(struct asyncore_map *map, double seconds, later *fn,
                                          void *arg)
{
    struct asyncore_call *call;
    int64_t left;

    map = map_or_default(map);
    if (!map)
        return NULL;
    errno = EINVAL;
    if (map->freed || isnan(seconds) || seconds < 0)
        return NULL;
    errno = ENOMEM;
    call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    left = pass_timeout(seconds);
    call->map = map;
    call->fn = fn;
    call->arg = arg;
    call->deadline.at = left != FOREVER ? clock_now() + left : FOREVER;
    call->deadline.order = ++map->last_call;
    call->event = evtimer_new(map->base, on_time, call);
    if (!call->event || arm(call, left) < 0) {
        if (call->event)
            event_free(call->event);
        free(call);
        errno = ENOMEM;
        return NULL;
    }
    deadline_add(&map->calls, &call->deadline);
    return call;
}

struct asyncore_call *asyncore_call_cancel(struct asyncore_call *call)
{
    if (call)
        release(call->map, call);
    return NULL;
}

void call_drop_all(struct asyncore_map *map)
{
    while (map->calls)
        release(map, call_of(map->calls));
}

void call_set_priorities(struct asyncore_map *map)
{
    for (struct deadline *d = map->calls; d; d = deadline_next(d))
        (void)event_priority_set(call_of(d)->event, map->priority); /* but for one that is active */
}
