/*
 * Maps whose base the host runs.
 *
 * Such a map is always in a pass that waits, except while its event runs. The callbacks of the
 * channels' events mark them and make the event active, which libevent runs behind them, in the
 * same iteration; it serves who is marked, and asks for the next pass. What the map makes to do for
 * itself comes after libevent has looked at the base's other events again: by a timer of no time.
 */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

typedef void done_callback(struct asyncore_map *map, int result, void *arg);

struct attached {
    struct event *event;
    struct pass pass;
    int count; /* of passes that are left */
    done_callback *done;
    void *arg;
    bool marked;   /* a channel was ready: the event is active */
    bool behind;   /* ... once more, behind what was active with it */
    bool woken;    /* everyone is to be asked */
    bool at_once;  /* this pass does not wait */
    bool detached; /* in a handler */
    bool filled;   /* the map has had a channel since it was last told to be empty */
};

/* How on_pass goes on. */
enum outcome {
    GOES_ON,
    EMPTIED,
    ENDED,
};

static const struct timeval no_time = {0, 0};

bool attach_is_detached(const struct asyncore_map *map)
{
    return map->attached->detached;
}

void attach_notify(struct asyncore_map *map)
{
    struct attached *a = map->attached;

    if (a->marked)
        return;
    a->marked = true;
    event_active(a->event, EV_READ, 0);
}

void attach_run_soon(struct asyncore_map *map)
{
    struct attached *a = map->attached;

    a->filled |= map->length > 0;
    if (a->woken)
        return;
    a->woken = true;
    if (map_add_event(map, a->event, &no_time) < 0)
        event_active(a->event, EV_TIMEOUT, 0); /* that needs no memory */
}

/* --- a pass ---------------------------------------------------------------------------------- */

/* Sets the event for the end of the wait. While the map is empty nobody waits. */
static int begin_to_wait(struct asyncore_map *map, struct attached *a)
{
    bool ready;
    int64_t left;
    struct timeval tv;

    if (map->length == 0) {
        a->pass.deadline = 0;
        return 0;
    }
    ready = pass_is_ready(map);
    left = ready ? 0 : pass_time_left(map, &a->pass);
    if (left == FOREVER)
        return 0;
    a->at_once = !ready && left == 0;
    if (left == 0) {
        attach_run_soon(map);
        return 0;
    }
    tv = pass_timeval(left);
    return map_add_event(map, a->event, &tv) < 0 ? -ENOMEM : 0;
}

/* Serves who is ready, and begins the next pass. */
static int end_pass(struct asyncore_map *map, struct attached *a)
{
    int r = dispatch_batch(map);

    pass_end(map, &a->pass);
    pass_begin(map, &a->pass);
    a->at_once = false;
    return r;
}

/* Whether the wait is over. */
static bool is_over(const struct asyncore_map *map, const struct attached *a)
{
    return pass_is_ready(map) || a->at_once || (a->pass.deadline != 0 && !pass_is_early(&a->pass));
}

/* Serves who is ready when the wait is over, and asks everyone, unless it was only the timer, and
 * early. 0, STOPPED, or an error; spent: that was the last pass. */
static int go_on(struct asyncore_map *map, struct attached *a, bool *spent)
{
    bool ask = a->marked || a->woken;
    int r = 0;

    a->marked = a->woken = false;
    if (loop_is_stopped(map))
        return STOPPED;
    if (pass_is_ready(map))
        watch_verify(map);
    if (is_over(map, a)) {
        ask = true;
        r = end_pass(map, a);
        *spent = r == 0 && a->pass.exact && --a->count == 0;
    } else {
        map_sweep(map); /* what was closed since the last pass */
    }
    if (r != 0 || *spent)
        return r;
    if (ask)
        r = pass_flush(map);
    if (ask && r == 0)
        r = pass_ask(map);
    return r == 0 ? begin_to_wait(map, a) : r;
}

/* What go_on's result means, and what done is to be told. */
static enum outcome outcome_of(struct asyncore_map *map, struct attached *a, int r, bool spent,
                               int *result)
{
    const bool was_filled = a->filled;

    a->filled = map->length > 0;
    *result = a->filled ? ASYNCORE_LOOP_COUNT : ASYNCORE_LOOP_EMPTY;
    if (spent || a->detached)
        return ENDED;
    if (r < 0 || map->exiting) {
        *result = r < 0 ? r : map->exit_value;
        return ENDED;
    }
    if (r == STOPPED)
        attach_run_soon(map); /* for when the host goes on */
    return was_filled && !a->filled ? EMPTIED : GOES_ON;
}

static void release(struct asyncore_map *map)
{
    struct attached *a = map->attached;
    struct channel *c;

    map->batch = a->pass.batch.outer;
    map->attached = NULL;
    map->exiting = false;
    event_free(a->event);
    event_del(map->pause);
    while ((c = TAILQ_FIRST(&a->pass.batch.channels)))
        batch_remove(c);
    free(a);
    watch_park_all(map);
}

/* Where the host has stopped libevent between the marks and the pass, or has it look at its events
 * again, the channels that are still ready are reported once more, behind the pass; if that served
 * them, they would be marked for what is no longer there. */
static bool goes_behind(struct asyncore_map *map, struct attached *a)
{
    a->behind = a->marked && !a->behind &&
                event_base_get_num_events(map->base, EVENT_BASE_COUNT_ACTIVE) > 0;
    if (a->behind)
        event_active(a->event, EV_READ, 0);
    return a->behind;
}

/* Of what predicates have closed: finalize may end it, too, or change what was asked before. */
static void sweep(struct asyncore_map *map)
{
    const uint64_t last_order = map->last_order;
    const size_t changes = map->changes;

    map_sweep(map);
    if (map->changes != changes || map->last_order != last_order || map->gathering > 0)
        attach_run_soon(map);
}

static void on_pass(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_map *map = arg;
    struct attached *a = map->attached;
    done_callback *done = a->done;
    void *const done_arg = a->arg;
    bool spent = false;
    const bool in_handler = map->in_handler; /* which runs the base */
    int r, result = 0;
    enum outcome outcome;

    (void)fd;
    (void)what;
    if (goes_behind(map, a))
        return;
    map_enter(map);
    map->in_handler = false;
    r = go_on(map, a, &spent);
    sweep(map);
    outcome = outcome_of(map, a, r, spent, &result);
    if (outcome == GOES_ON || a->detached || map->freed)
        done = NULL; /* nobody is told */
    if (outcome == ENDED)
        release(map);
    map->in_handler = in_handler;
    map_leave(map);
    if (done)
        done(map, result, done_arg);
}

/* --- attach and detach ----------------------------------------------------------------------- */

int asyncore_map_attach_loop(double timeout, bool use_poll, struct asyncore_map *map, int count,
                             done_callback *done, void *arg)
{
    struct attached *a;

    map = map_or_default(map);
    if (!map)
        return -errno;
    if (map->freed || isnan(timeout) || (count <= 0 && count != ASYNCORE_COUNT_NONE))
        return -EINVAL;
    if (map->attached || map->depth > 0)
        return -EBUSY;
    a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    a->event = event_new(map->base, -1, 0, on_pass, map);
    if (!a->event) {
        free(a);
        return -ENOMEM;
    }
    a->pass = (struct pass){.timeout = pass_timeout(timeout),
                            .use_poll = use_poll,
                            .exact = count != ASYNCORE_COUNT_NONE};
    a->count = count;
    a->done = done;
    a->arg = arg;
    map->attached = a;
    pass_begin(map, &a->pass);
    map->in_handler = a->pass.in_handler; /* which goes on: it is none of a pass */
    attach_run_soon(map);
    return 0;
}

int asyncore_map_attach(struct asyncore_map *map, done_callback *done, void *arg)
{
    return asyncore_map_attach_loop(ASYNCORE_TIMEOUT_DEFAULT, false, map, ASYNCORE_COUNT_NONE, done,
                                    arg);
}

int asyncore_map_detach(struct asyncore_map *map)
{
    map = map ? map : map_default();
    if (!map || !map->attached)
        return -EINVAL;
    if (map->depth > 0)
        map->attached->detached = true; /* on_pass does it */
    else
        release(map);
    return 0;
}

void asyncore_map_touch(struct asyncore_map *map)
{
    map = map ? map : map_default();
    if (map)
        attach_wake(map);
}

void attach_rearm(struct asyncore_map *map)
{
    struct attached *a = map->attached;

    if (!a)
        return;
    event_del(a->event);
    a->marked = a->woken = a->behind = false;
    (void)event_priority_set(a->event, map->priority);
    attach_wake(map); /* in a pass it is added at the end */
}

void attach_end(struct asyncore_map *map)
{
    if (map->attached)
        release(map);
}
