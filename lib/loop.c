/*
 * The loop, where the library runs the base: pass after pass, each with as many calls of
 * event_base_loop as it takes until a channel is ready or its time is up.
 */
#include "internal.h"

#include <errno.h>
#include <math.h>

/* --- stopping -------------------------------------------------------------------------------- */

/* Why; for a loop or pass that was stopped. */
static int stop_result(const struct asyncore_map *map)
{
    if (map->freed)
        return ASYNCORE_LOOP_EMPTY;
    return map->exiting ? map->exit_value : ASYNCORE_LOOP_BROKEN;
}

int asyncore_loop_exit(struct asyncore_map *map, int value)
{
    map = map ? map : map_default();
    if (!map || (map->depth == 0 && !map->attached))
        return -EINVAL;
    map->exiting = true;
    map->exit_value = value;
    attach_wake(map);
    return 0;
}

/* --- waiting --------------------------------------------------------------------------------- */

static int set_timer(struct asyncore_map *map, int64_t left, int64_t deadline)
{
    const struct timeval tv = pass_timeval(left);

    if (map->timer_at == deadline)
        return 0;
    if (map_add_event(map, map->timer, &tv) < 0)
        return -ENOMEM;
    map->timer_at = deadline;
    return 0;
}

static void clear_timer(struct asyncore_map *map)
{
    if (map->timer_at != 0)
        event_del(map->timer);
    map->timer_at = 0;
}

/* One call of event_base_loop: at once, or until something happens. It refuses to be called in a
 * callback of its own. */
static int run_base(struct asyncore_map *map, bool at_once)
{
    int flags = EVLOOP_ONCE | (at_once ? EVLOOP_NONBLOCK : EVLOOP_NO_EXIT_ON_EMPTY);
    int r;

    map->waiting = true;
    r = event_base_loop(map->base, flags);
    map->waiting = false;
    map->stale_break = false; /* event_base_loop has cleared it */
    return r < 0 ? -EDEADLK : 0;
}

/* Waits once: 1: there is more to wait for. early: libevent's clock is coarse, and its timer came
 * before the deadline. */
static int wait_once(struct asyncore_map *map, struct pass *pass, bool *early)
{
    const bool ready = pass_is_ready(map);
    const int64_t left = ready ? 0 : pass_time_left(map, pass);
    const bool is_over = !ready && left == 0;
    int r = 0;

    if (left == FOREVER)
        clear_timer(map);
    else if (left != 0)
        r = set_timer(map, left, pass->deadline);
    map->timer_fired = false;
    if (r == 0)
        r = run_base(map, left == 0);
    if (r < 0)
        return r;
    if (loop_is_stopped(map))
        return STOPPED;
    *early = false;
    if (pass_is_ready(map)) {
        watch_verify(map);
        return !pass_is_ready(map) && !is_over;
    }
    *early = map->timer_fired && pass_is_early(pass);
    return left != 0 && (*early || !map->timer_fired);
}

/* Fills the batch: waits until a channel is ready, the time is up, the map has emptied, or the
 * loop is to stop. The base's other events run meanwhile, and then everyone is asked again; not so
 * when it was only the timer, and early. */
static int gather(struct asyncore_map *map, struct pass *pass)
{
    bool early = false;
    int r;

    do {
        r = early ? 0 : pass_ask(map);
        if (r == 0 && map->length == 0)
            return 0;
        if (r == 0)
            r = wait_once(map, pass, &early);
    } while (r == 1);
    return r;
}

/* --- passes ---------------------------------------------------------------------------------- */

/* 0, STOPPED, or an error. */
static int run_pass(struct asyncore_map *map, int64_t timeout, bool use_poll, bool exact)
{
    struct pass pass = {.timeout = timeout, .use_poll = use_poll, .exact = exact};
    int r;

    pass_begin(map, &pass);
    r = pass_flush(map);
    if (r == 0)
        r = gather(map, &pass);
    if (r == 0)
        r = dispatch_batch(map);
    pass_end(map, &pass);
    return r;
}

static int run(struct asyncore_map *map, int64_t timeout, bool use_poll, int count)
{
    const bool exact = count != ASYNCORE_COUNT_NONE;
    int r = 0;

    while (map->length > 0 && (!exact || count-- > 0)) {
        r = run_pass(map, timeout, use_poll, exact);
        if (r != 0)
            return r == STOPPED ? stop_result(map) : r;
    }
    return map->length > 0 ? ASYNCORE_LOOP_COUNT : ASYNCORE_LOOP_EMPTY;
}

/* Around a loop or a pass: a nested one that finds its outer one stopped does not begin. */
static bool enter(struct asyncore_map *map, double timeout, int *result)
{
    if (isnan(timeout)) {
        *result = -EINVAL;
        return false;
    }
    if (map->waiting || map->attached) {
        *result = -EDEADLK;
        return false;
    }
    if (map->freed || (map->depth > 0 && loop_is_stopped(map))) {
        *result = stop_result(map);
        return false;
    }
    if (map->depth == 0) {
        map->stale_break = false;
        map->stale_break = loop_is_stopped(map);
    }
    map_enter(map);
    return true;
}

static void leave(struct asyncore_map *map)
{
    map->exiting = false; /* it was this one's */
    if (map->depth == 1) {
        clear_timer(map);
        map_sweep(map); /* of what was closed before, too */
    }
    map_leave(map);
}

int asyncore_loop(double timeout, bool use_poll, struct asyncore_map *map, int count)
{
    int r;

    map = map_or_default(map);
    if (!map)
        return -errno;
    if (!enter(map, timeout, &r))
        return r;
    r = run(map, pass_timeout(timeout), use_poll, count);
    leave(map);
    return r;
}

static int one_pass(double timeout, bool use_poll, struct asyncore_map *map)
{
    int r = 0;

    map = map_or_default(map);
    if (!map)
        return -errno;
    if (!enter(map, timeout, &r))
        return r;
    if (map->length > 0)
        r = run_pass(map, pass_timeout(timeout), use_poll, true);
    if (r == STOPPED)
        r = stop_result(map);
    leave(map);
    return r;
}

int asyncore_poll(double timeout, struct asyncore_map *map)
{
    return one_pass(timeout, false, map);
}

int asyncore_poll2(double timeout, struct asyncore_map *map)
{
    return one_pass(timeout, true, map);
}
