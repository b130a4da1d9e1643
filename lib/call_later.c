/* Calls at a later time, each with a timer of its own on the map's base. */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

typedef void later(struct asyncore_map *map, void *arg);

struct asyncore_call {
    TAILQ_ENTRY(asyncore_call) in_map;
    struct asyncore_map *map;
    struct event *event;
    int64_t at;
    later *fn;
    void *arg;
};

/* Years are waited for in pieces. */
static int arm(const struct asyncore_call *call, int64_t left)
{
    const int64_t most = pass_timeout(1e8);
    const struct timeval tv = pass_timeval(clock_safe(left < most ? left : most));
    const struct timeval no_time = {0, 0};

    return map_add_event(call->map, call->event, left > 0 ? &tv : &no_time);
}

static void release(struct asyncore_call *call)
{
    TAILQ_REMOVE(&call->map->calls, call, in_map);
    event_free(call->event);
    free(call);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_call *call = arg;
    struct asyncore_map *const map = call->map;
    const int64_t left = call->at - clock_now();
    later *const fn = call->fn;

    (void)fd;
    (void)what;
    if (left > 0 && arm(call, left) == 0)
        return; /* without memory it is better early than never */
    arg = call->arg;
    release(call);
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
    *call = (struct asyncore_call){.map = map, .fn = fn, .arg = arg};
    call->at = left != FOREVER ? clock_now() + left : FOREVER;
    call->event = evtimer_new(map->base, on_time, call);
    if (!call->event || arm(call, left) < 0) {
        if (call->event)
            event_free(call->event);
        free(call);
        errno = ENOMEM;
        return NULL;
    }
    TAILQ_INSERT_TAIL(&map->calls, call, in_map);
    return call;
}

struct asyncore_call *asyncore_call_cancel(struct asyncore_call *call)
{
    if (call)
        release(call);
    return NULL;
}

void call_drop_all(struct asyncore_map *map)
{
    struct asyncore_call *call, *next;

    for (call = TAILQ_FIRST(&map->calls); call; call = next) {
        next = TAILQ_NEXT(call, in_map);
        release(call);
    }
}

void call_set_priorities(struct asyncore_map *map)
{
    struct asyncore_call *call;

    TAILQ_FOREACH (call, &map->calls, in_map) {
        (void)event_priority_set(call->event, map->priority); /* but for one that is active */
    }
}
