/*
 * A pass and its parts: ask, wait, dispatch, sweep. loop.c puts them together where the library
 * runs the base, attach.c where the host does.
 *
 * Everything that can end a pass early is looked at in one place (loop_is_stopped), after every
 * wait and every handler.
 */
#include "internal.h"

#include <math.h>

#define NS_PER_S 1000000000LL

int64_t pass_timeout(double seconds)
{
    const double ns = seconds * (double)NS_PER_S;

    if (seconds < 0 || seconds >= 1e9)
        return FOREVER;
    return (int64_t)ns + ((double)(int64_t)ns < ns);
}

struct timeval pass_timeval(int64_t ns)
{
    const int64_t us = ns / 1000 + (ns % 1000 != 0);

    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

/* --- stopping -------------------------------------------------------------------------------- */

bool loop_is_stopped(const struct asyncore_map *map)
{
    if (map->freed || map->exiting)
        return true;
    if (map->attached) /* event_base_loopexit lets libevent's callbacks end */
        return attach_is_detached(map) || event_base_got_break(map->base);
    return !map->stale_break && (event_base_got_break(map->base) || event_base_got_exit(map->base));
}

/* --- begin and end --------------------------------------------------------------------------- */

/* What the outer passes have not served yet is asked for again, and this one takes it over. */
static void touch_outer(struct asyncore_map *map)
{
    struct channel *c;

    for (struct batch *batch = map->batch; batch; batch = batch->outer)
        TAILQ_FOREACH (c, &batch->channels, in_batch) {
            channel_touch(c);
        }
}

void pass_begin(struct asyncore_map *map, struct pass *pass)
{
    pass->deadline = 0;
    pass->in_predicate = map->asking > 0;
    pass->in_handler = map->in_handler;
    pass->answers = pass->in_predicate ? watch_keep_answers(map) : NULL;
    pass->batch = (struct batch){.sorted = true, .use_poll = pass->use_poll, .outer = map->batch};
    TAILQ_INIT(&pass->batch.channels);
    touch_outer(map);
    map->batch = &pass->batch;
    map->in_handler = false;
}

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

void pass_end(struct asyncore_map *map, struct pass *pass)
{
    map->stats.passes++;
    map->in_handler = pass->in_handler;
    drop_batch(map);
    if (pass->in_predicate)
        watch_restore_answers(map, pass->answers);
    if (map->depth == 1)
        map_sweep(map);
}

/* --- asking and waiting ---------------------------------------------------------------------- */

int pass_flush(struct asyncore_map *map)
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

int pass_ask(struct asyncore_map *map)
{
    const bool someone = map->changes > 0 || !TAILQ_EMPTY(&map->asked);
    int r;

    if (map->freed)
        return STOPPED; /* by a finalize */
    r = watch_ask(map);
    if (r < 0)
        return r;
    return someone && loop_is_stopped(map) ? STOPPED : 0;
}

/* Without channels whose answer could change unseen, and with everyone asked, a longer wait makes
 * no difference. */
int64_t pass_time_left(const struct asyncore_map *map, struct pass *pass)
{
    int64_t now;

    if (!pass->exact && TAILQ_EMPTY(&map->asked) && map->changes == 0)
        return FOREVER;
    if (pass->timeout == FOREVER || pass->timeout == 0)
        return pass->timeout;
    now = clock_now();
    if (pass->deadline == 0)
        pass->deadline = now + pass->timeout;
    return pass->deadline > now ? pass->deadline - now : 0;
}

bool pass_is_early(const struct pass *pass)
{
    return clock_now() < pass->deadline;
}
