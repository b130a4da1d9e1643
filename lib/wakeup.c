/*
 * What other threads ask a map for.
 *
 * It is queued under a lock, and the map's event is made active, which libevent does from any
 * thread. The event is not added, so that nothing is pending in the base while nothing is asked
 * for. What comes in while it runs has to wait for the base's other events: a timer of no time.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <event2/buffer.h>
#include <event2/thread.h>

struct call {
    STAILQ_ENTRY(call) next;
    void (*fn)(struct asyncore_map *map, void *arg);
    void *arg;
};

STAILQ_HEAD(call_list, call);

struct wakeup {
    struct event *event;
    struct call_list round; /* the calls that are being made: of the base's thread */

    struct evbuffer *lock; /* empty: libevent gives its locks away in buffers only */
    /* Under the lock: */
    struct call_list queue;
    int priority; /* the map's */
    bool woken;
    bool busy; /* the event is active, its callback runs, or its timer is set */
    bool closed;
};

static const struct timeval no_time = {0, 0};

/* --- the base's side ------------------------------------------------------------------------- */

/* Has the callback called, at once or after the base's other events; under the lock. */
static void activate(struct wakeup *w, bool later)
{
    if (w->busy)
        return;
    w->busy = true;
    if (w->priority >= 0)
        (void)event_priority_set(w->event, w->priority);
    if (!later || event_add(w->event, &no_time) < 0)
        event_active(w->event, EV_TIMEOUT, 0); /* that needs no memory */
}

static void take_queue(struct wakeup *w)
{
    evbuffer_lock(w->lock);
    STAILQ_CONCAT(&w->round, &w->queue);
    w->woken = false;
    evbuffer_unlock(w->lock);
}

/* A call that frees the map has made the others of the round. */
static void make_calls(struct asyncore_map *map)
{
    struct call *next;

    while (map->wakeup && (next = STAILQ_FIRST(&map->wakeup->round))) {
        const struct call call = *next;

        STAILQ_REMOVE_HEAD(&map->wakeup->round, next);
        free(next);
        call.fn(map, call.arg);
    }
}

static void end_round(struct wakeup *w)
{
    evbuffer_lock(w->lock);
    w->busy = false;
    if (w->woken || !STAILQ_EMPTY(&w->queue))
        activate(w, true);
    evbuffer_unlock(w->lock);
}

static void on_wakeup(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_map *map = arg;

    (void)fd;
    (void)what;
    map_hold(map);
    take_queue(map->wakeup);
    make_calls(map);
    if (!map->freed) {
        end_round(map->wakeup);
        attach_wake(map);
    }
    map_drop(map);
}

/* --- any thread's side ----------------------------------------------------------------------- */

/* The map's; NULL, and then *r is the error. */
static struct wakeup *wakeup_of(struct asyncore_map *map, int *r)
{
    map = map ? map : map_default();
    if (map && map->wakeup)
        return map->wakeup;
    *r = map && map->base ? -ENOTSUP : -EINVAL;
    return NULL;
}

int asyncore_map_wakeup(struct asyncore_map *map)
{
    int r = 0;
    struct wakeup *w = wakeup_of(map, &r);

    if (!w)
        return r;
    evbuffer_lock(w->lock);
    if (w->closed)
        r = -EINVAL;
    else
        activate(w, false);
    w->woken = true;
    evbuffer_unlock(w->lock);
    return r;
}

int asyncore_map_call(struct asyncore_map *map, void (*fn)(struct asyncore_map *map, void *arg),
                      void *arg)
{
    int r = 0;
    struct wakeup *w = wakeup_of(map, &r);
    struct call *call;

    if (!w || !fn)
        return w ? -EINVAL : r;
    call = malloc(sizeof *call);
    if (!call)
        return -ENOMEM;
    *call = (struct call){.fn = fn, .arg = arg};
    /* To the end under the lock: the call may free the map as soon as the lock is given up. */
    evbuffer_lock(w->lock);
    if (w->closed) {
        r = -EINVAL;
    } else {
        STAILQ_INSERT_TAIL(&w->queue, call, next);
        activate(w, false);
    }
    evbuffer_unlock(w->lock);
    if (r < 0)
        free(call);
    return r;
}

/* --- begin and end --------------------------------------------------------------------------- */

/* libevent's notifier of a base that other threads may wake: an internal event of the base. */
static int is_notifier(const struct event_base *base, const struct event *event, void *fd)
{
    struct stat st;

    /* The one for signals is alike, but has a pipe. */
    if (event_get_callback_arg(event) != base || event_get_events(event) != (EV_READ | EV_PERSIST))
        return 0;
    if (fstat(event_get_fd(event), &st) < 0 || (st.st_mode & S_IFMT) != 0)
        return 0;
    *(evutil_socket_t *)fd = event_get_fd(event);
    return 1;
}

/* Its eventfd; -1: the base has no lock. */
static evutil_socket_t notifier_of(struct event_base *base)
{
    evutil_socket_t fd = -1;

    (void)event_base_foreach_event(base, is_notifier, &fd);
    return fd;
}

/* NULL without an error: libevent's threading is off. */
static struct evbuffer *make_lock(bool *error)
{
    struct evbuffer *lock = evbuffer_new();

    *error = !lock;
    errno = 0;
    if (!lock || evbuffer_enable_locking(lock, NULL) == 0)
        return lock;
    *error = errno == ENOMEM;
    evbuffer_free(lock);
    return NULL;
}

int wakeup_open(struct asyncore_map *map)
{
    bool error;
    struct evbuffer *lock = make_lock(&error);
    struct wakeup *w;

    if (!lock || notifier_of(map->base) < 0) {
        if (lock)
            evbuffer_free(lock);
        return error ? -1 : 0;
    }
    w = map->wakeup = calloc(1, sizeof *w);
    if (!w) {
        evbuffer_free(lock);
        return -1;
    }
    w->lock = lock;
    w->priority = -1;
    STAILQ_INIT(&w->round);
    STAILQ_INIT(&w->queue);
    w->event = event_new(map->base, -1, 0, on_wakeup, map);
    return w->event ? 0 : -1;
}

void wakeup_set_priority(struct asyncore_map *map)
{
    struct wakeup *w = map->wakeup;

    if (!w)
        return;
    evbuffer_lock(w->lock);
    w->priority = map->priority;
    evbuffer_unlock(w->lock);
}

int wakeup_reinit(struct asyncore_map *map)
{
    /* libevent 2.1 takes a notification that was on its way at the fork for one that still is, and
     * sends no other: the notifier has to be called to make it forget that. */
    if (map->wakeup && (evthread_make_base_notifiable(map->base) < 0 ||
                        eventfd_write(notifier_of(map->base), 1) < 0))
        return -1;
    return 0;
}

void wakeup_finish(struct asyncore_map *map)
{
    struct wakeup *w = map->wakeup;

    if (!w)
        return;
    evbuffer_lock(w->lock);
    w->closed = true;
    evbuffer_unlock(w->lock);
    take_queue(w);
    make_calls(map);
}

void wakeup_close(struct asyncore_map *map)
{
    struct wakeup *w = map->wakeup;

    if (!w)
        return;
    if (w->event)
        event_free(w->event);
    evbuffer_free(w->lock);
    free(w);
    map->wakeup = NULL;
}
