/*
 * The loop and its pass: ask, wait, dispatch, sweep.
 *
 * Everything that can end a pass early is looked at in one place (loop_is_stopped), after every
 * wait and every handler.
 */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <time.h>

#define NS_PER_S 1000000000LL
#define FOREVER INT64_MAX

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Rounded up, so that a wait is never short. */
static int64_t to_ns(double seconds)
{
    const double ns = seconds * (double)NS_PER_S;

    if (seconds < 0 || seconds >= 1e9)
        return FOREVER;
    return (int64_t)ns + ((double)(int64_t)ns < ns);
}

/* --- stopping -------------------------------------------------------------------------------- */

bool loop_is_stopped(const struct asyncore_map *map)
{
    return map->freed || map->exiting ||
           (!map->stale_break &&
            (event_base_got_break(map->base) || event_base_got_exit(map->base)));
}

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
    if (!map || map->depth == 0)
        return -EINVAL;
    map->exiting = true;
    map->exit_value = value;
    return 0;
}

/* --- waiting --------------------------------------------------------------------------------- */

static int set_timer(struct asyncore_map *map, int64_t left, int64_t deadline)
{
    int64_t us = left / 1000 + (left % 1000 != 0);
    struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

    if (map->timer_at == deadline)
        return 0;
    if (event_add(map->timer, &tv) < 0)
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

/* The wait of a pass. */
struct wait {
    int64_t timeout;
    int64_t deadline; /* 0: not yet known, it counts from the first wait */
    bool exact;       /* the timeout counts even if nobody could tell */
    bool early;       /* libevent's clock is coarse: its timer came before the deadline */
};

/* Without channels whose answer could change unseen, and with everyone asked, a longer wait makes
 * no difference. */
static int64_t time_left(const struct asyncore_map *map, struct wait *wait)
{
    int64_t now;

    if (!wait->exact && TAILQ_EMPTY(&map->asked) && map->changes == 0)
        return FOREVER;
    if (wait->timeout == FOREVER || wait->timeout == 0)
        return wait->timeout;
    now = now_ns();
    if (wait->deadline == 0)
        wait->deadline = now + wait->timeout;
    return wait->deadline > now ? wait->deadline - now : 0;
}

/* Asks everyone. A predicate may stop the loop. */
static int ask(struct asyncore_map *map)
{
    bool someone = map->changes > 0 || !TAILQ_EMPTY(&map->asked);
    int r = watch_ask(map);

    if (r < 0)
        return r;
    return someone && loop_is_stopped(map) ? STOPPED : 0;
}

static int wait_once(struct asyncore_map *map, struct wait *wait)
{
    const bool ready = !TAILQ_EMPTY(&map->batch->channels);
    const int64_t left = ready ? 0 : time_left(map, wait);
    const bool is_over = !ready && left == 0;
    int r = 0;

    if (left == FOREVER)
        clear_timer(map);
    else if (left != 0)
        r = set_timer(map, left, wait->deadline);
    map->timer_fired = false;
    if (r == 0)
        r = run_base(map, left == 0);
    if (r < 0)
        return r;
    if (loop_is_stopped(map))
        return STOPPED;
    wait->early = false;
    if (!TAILQ_EMPTY(&map->batch->channels)) {
        watch_verify(map);
        return TAILQ_EMPTY(&map->batch->channels) && !is_over;
    }
    wait->early = map->timer_fired && now_ns() < wait->deadline;
    return left != 0 && (wait->early || !map->timer_fired);
}

/* Fills the batch: waits until a channel is ready, the time is up, the map has emptied, or the
 * loop is to stop. The base's other events run meanwhile, and then everyone is asked again; not so
 * when it was only the timer, and early. */
static int gather(struct asyncore_map *map, int64_t timeout, bool exact)
{
    struct wait wait = {.timeout = timeout, .exact = exact};
    int r;

    do {
        r = wait.early ? 0 : ask(map);
        if (r == 0 && map->length == 0)
            return 0;
        if (r == 0)
            r = wait_once(map, &wait); /* 1: there is more to wait for */
    } while (r == 1);
    return r;
}

/* --- passes ---------------------------------------------------------------------------------- */

/* What was gathered and not served is dropped: level triggering brings it back, and asking again
 * what was not asked of the kernel. */
static void drop_batch(struct asyncore_map *map)
{
    struct channel *c;

    while ((c = TAILQ_FIRST(&map->batch->channels))) {
        channel_touch(c);
        batch_remove(c);
    }
    map->batch = map->batch->outer;
}

/* What the outer passes have not served yet is asked for again, and this one takes it over. */
static void touch_outer(struct asyncore_map *map)
{
    struct channel *c;

    for (struct batch *batch = map->batch; batch; batch = batch->outer)
        TAILQ_FOREACH (c, &batch->channels, in_batch) {
            channel_touch(c);
        }
}

/* What the handler around this pass has pushed goes out before anyone waits for an answer. */
static int flush(struct asyncore_map *map)
{
    const bool flushing = map->flushing;
    int r;

    if (map->gathering == 0)
        return 0;
    map->flushing = false;
    r = chat_flush(map);
    map->flushing = flushing;
    return r == 0 && loop_is_stopped(map) ? STOPPED : r;
}

/* 0, STOPPED, or an error. */
static int pass(struct asyncore_map *map, int64_t timeout, bool use_poll, bool exact)
{
    struct batch batch = {.sorted = true, .use_poll = use_poll, .outer = map->batch};
    const bool in_predicate = map->asking > 0, in_handler = map->in_handler;
    struct answer *answers = in_predicate ? watch_keep_answers(map) : NULL;
    int r;

    TAILQ_INIT(&batch.channels);
    touch_outer(map);
    map->batch = &batch;
    map->in_handler = false;
    r = flush(map);
    if (r == 0)
        r = gather(map, timeout, exact);
    if (r == 0)
        r = dispatch_batch(map);
    map->stats.passes++;
    map->in_handler = in_handler;
    drop_batch(map);
    if (in_predicate)
        watch_restore_answers(map, answers);
    if (map->depth == 1)
        map_sweep(map);
    return r;
}

static int run(struct asyncore_map *map, int64_t timeout, bool use_poll, int count)
{
    const bool exact = count != ASYNCORE_COUNT_NONE;
    int r = 0;

    while (map->length > 0 && (!exact || count-- > 0)) {
        r = pass(map, timeout, use_poll, exact);
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
    if (map->waiting) {
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
    r = run(map, to_ns(timeout), use_poll, count);
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
        r = pass(map, to_ns(timeout), use_poll, true);
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
