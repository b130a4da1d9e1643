/*
 * Maps: which channels there are, in which order, and when they are destroyed.
 *
 * A channel is on one of three lists: in the map, owned outside of it, or doomed. Doomed ones are
 * destroyed when the outermost pass ends; a map that was freed goes with its last channel.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <event2/buffer.h>

/* How long a listener without descriptors waits. */
static const struct timeval pause_time = {0, 100000};

static struct asyncore_map *default_map;

struct asyncore_map *asyncore_socket_map(void)
{
    if (!default_map)
        default_map = asyncore_map_new(NULL);
    return default_map;
}

struct asyncore_map *map_default(void)
{
    return default_map;
}

struct asyncore_map *map_or_default(struct asyncore_map *map)
{
    return map ? map : asyncore_socket_map();
}

bool map_has_descriptors(void)
{
    enum {
        NEEDED = 4 /* with libevent's threading on */
    };
    int fds[NEEDED];
    int n = 0;

    while (n < NEEDED && (fds[n] = epoll_create1(EPOLL_CLOEXEC)) >= 0)
        n++;
    int error = errno;

    for (int i = 0; i < n; i++)
        close(fds[i]);
    errno = error;
    return n == NEEDED;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_map *map = arg;

    (void)fd;
    (void)what;
    map->timer_at = 0;
    map->timer_fired = true;
}

static void on_pause_end(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_map *map = arg;
    struct channel *c;

    (void)fd;
    (void)what;
    TAILQ_FOREACH (c, &map->channels, in_place) {
        if (c->paused) {
            c->paused = false;
            channel_touch(c);
        }
    }
}

bool map_pauses(struct channel *c)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (c->paused && !event_pending(map->pause, EV_TIMEOUT, NULL))
        c->paused = map_add_event(map, map->pause, &pause_time) == 0;
    return c->paused;
}

int map_add_event(const struct asyncore_map *map, struct event *event, const struct timeval *tv)
{
    if (map->priority >= 0)
        (void)event_priority_set(event, map->priority); /* but for one that is active */
    return event_add(event, tv);
}

static void map_clear(struct asyncore_map *map)
{
    if (map->reserve)
        evbuffer_free(map->reserve);
    expt_close(map);
    wakeup_close(map);
    if (map->timer)
        event_free(map->timer);
    if (map->pause)
        event_free(map->pause);
    if (map->own_base && map->base)
        event_base_free(map->base);
    map->base = NULL;
    map->timer = map->pause = NULL;
    map->reserve = NULL;
    if (map->made)
        evbuffer_free(map->made);
    map->made = NULL;
    free(map->gather_room);
    free(map->input_room);
    map->gather_room = map->input_room = NULL;
}

struct asyncore_map *asyncore_map_new(struct event_base *base)
{
    struct asyncore_map *map;

    if (!base && !map_has_descriptors())
        return NULL;
    map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    map->own_base = !base;
    map->base = base ? base : event_base_new();
    map->accepted = map->expt_fd = map->priority = -1;
    map->error.message = map->error.function = map->error.file = "";
    TAILQ_INIT(&map->channels);
    TAILQ_INIT(&map->outside);
    TAILQ_INIT(&map->doomed);
    TAILQ_INIT(&map->asked);
    TAILQ_INIT(&map->changed);
    TAILQ_INIT(&map->gathered);
    TAILQ_INIT(&map->calls);
    if (map->base) {
        map->timer = evtimer_new(map->base, on_timer, map);
        map->pause = evtimer_new(map->base, on_pause_end, map);
    }
    if (!map->timer || !map->pause || wakeup_open(map) < 0) {
        map_clear(map);
        free(map);
        errno = ENOMEM;
        return NULL;
    }
    return map;
}

/* The lists may change in what closing calls. */
static void close_everything(struct asyncore_map *map)
{
    struct channel *c;

    while ((c = TAILQ_FIRST(&map->channels)) || (c = TAILQ_FIRST(&map->outside)))
        (void)asyncore_dispatcher_close(dispatcher_of(c));
}

void map_sweep(struct asyncore_map *map)
{
    struct channel *c;

    while ((c = TAILQ_FIRST(&map->doomed))) {
        if (c->refs > 0)
            map_place(c, PLACE_OUTSIDE); /* channel_release brings it back */
        else
            channel_destroy(c);
    }
}

void map_hold(struct asyncore_map *map)
{
    map->owned++;
}

void map_drop(struct asyncore_map *map)
{
    if (--map->owned == 0 && map->freed && !map->base)
        free(map); /* map_end was through with it */
}

/* From now on the map has no base, and only channels that somebody has a reference to hold it. */
static void map_end(struct asyncore_map *map)
{
    attach_end(map);
    map_hold(map);
    map->depth++; /* who is told of the end of what it has sent may use any channel: all stay */
    close_everything(map);
    map->depth--;
    map_sweep(map);
    assert(map->length == 0 && map->changes == 0 && !map->batch && map->expt_count == 0 &&
           TAILQ_EMPTY(&map->calls));
    map_clear(map);
    map_drop(map);
}

void asyncore_map_free(struct asyncore_map *map)
{
    if (!map || map->freed)
        return;
    if (map == default_map)
        default_map = NULL;
    map->freed = true;
    map_enter(map);
    call_drop_all(map);
    wakeup_finish(map);
    map_leave(map);
}

int asyncore_map_set_priority(struct asyncore_map *map, int priority)
{
    map = map_or_default(map);
    if (!map)
        return -errno;
    if (map->freed || priority < 0 || priority >= event_base_get_npriorities(map->base))
        return -EINVAL;
    map->priority = priority;
    attach_rearm(map);
    wakeup_set_priority(map);
    expt_disarm(map);
    call_set_priorities(map);
    watch_park_all(map);
    return 0;
}

void map_enter(struct asyncore_map *map)
{
    map->depth++;
}

void map_leave(struct asyncore_map *map)
{
    if (--map->depth == 0 && map->freed)
        map_end(map);
}

struct event_base *asyncore_map_base(struct asyncore_map *map)
{
    map = map_or_default(map);
    return map ? map->base : NULL;
}

size_t asyncore_map_length(const struct asyncore_map *map)
{
    if (!map)
        map = default_map;
    return map ? map->length : 0;
}

void asyncore_map_stats(const struct asyncore_map *map, struct asyncore_map_stats *stats)
{
    const struct channel *c;

    *stats = (struct asyncore_map_stats){.channels = 0};
    if (!map)
        map = default_map;
    if (!map)
        return;
    *stats = map->stats;
    stats->channels = map->length;
    TAILQ_FOREACH (c, &map->channels, in_place) {
        stats->queued += asyncore_out_buffer_length(dispatcher_of(c));
    }
}

struct asyncore_dispatcher *asyncore_map_next(const struct asyncore_map *map,
                                              const struct asyncore_dispatcher *d)
{
    const struct channel *c = NULL;

    if (!map)
        map = default_map;
    if (d)
        c = channel_of(d)->place == PLACE_IN_MAP ? TAILQ_NEXT(channel_of(d), in_place) : NULL;
    else if (map)
        c = TAILQ_FIRST(&map->channels);
    return c ? dispatcher_of(c) : NULL;
}

/* --- membership ------------------------------------------------------------------------------ */

static struct channel_list *list_of(struct asyncore_map *map, enum place place)
{
    switch (place) {
    case PLACE_IN_MAP:
        return &map->channels;
    case PLACE_DOOMED:
        return &map->doomed;
    default:
        return &map->outside;
    }
}

void map_adopt(struct asyncore_map *map, struct channel *c)
{
    dispatcher_of(c)->map = map;
    map->owned++;
    c->place = PLACE_OUTSIDE;
    TAILQ_INSERT_TAIL(&map->outside, c, in_place);
}

static void map_remove_asked(struct asyncore_map *map, struct channel *c)
{
    for (struct cursor *cursor = map->cursor; cursor; cursor = cursor->outer)
        if (cursor->next == c)
            cursor->next = TAILQ_NEXT(c, in_asked);
    TAILQ_REMOVE(&map->asked, c, in_asked);
}

void map_place(struct channel *c, enum place place)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (c->place == PLACE_IN_MAP) {
        map->length--;
        timeout_leave(c);
        if (c->asked || c->always)
            map_remove_asked(map, c);
        if (c->changed) {
            TAILQ_REMOVE(&map->changed, c, in_changed);
            map->changes--;
            c->changed = false;
        }
    }
    TAILQ_REMOVE(list_of(map, c->place), c, in_place);
    c->place = (uint8_t)place;
    TAILQ_INSERT_TAIL(list_of(map, place), c, in_place);
    if (place == PLACE_IN_MAP) {
        map->length++;
        c->order = ++map->last_order;
        if (c->asked || c->always)
            TAILQ_INSERT_TAIL(&map->asked, c, in_asked);
        timeout_enter(c);
    }
    attach_wake(map); /* it may be empty now, or have something to destroy */
}

void map_disown(struct channel *c)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    map_place(c, PLACE_OUTSIDE);
    TAILQ_REMOVE(&map->outside, c, in_place);
    map_drop(map);
}

int asyncore_add_channel(struct asyncore_dispatcher *d, struct asyncore_map *map)
{
    struct channel *c = channel_of(d);

    if (!map)
        map = d->map;
    if (map->freed)
        return -EINVAL;
    if (!c->socket)
        return -EBADF;
    if (c->expt && expt_open(map) < 0)
        return -errno; /* now, and not when it is to be watched */
    if (map != d->map) {
        if (chat_ungather(c) < 0)
            return -ENOMEM;
        asyncore_del_channel(d);
        batch_remove(c);
        map_disown(c);
        map_adopt(map, c);
    }
    if (c->place == PLACE_IN_MAP)
        return 0;
    map_place(c, PLACE_IN_MAP);
    watch_assign(c);
    channel_touch(c);
    return 0;
}

void asyncore_del_channel(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);

    if (c->place != PLACE_IN_MAP)
        return;
    watch_none(c);
    if (c->batch && !c->batch->served)
        batch_remove(c); /* its turn has not come: should it come back, it is asked again */
    map_place(c, PLACE_OUTSIDE);
    c->paused = false; /* who comes back may try at once */
    if (d->map->length == 0)
        event_del(d->map->pause);
}

/* --- close_all ------------------------------------------------------------------------------- */

/* The channels of the map as they are now, each with a reference. */
static int snapshot(struct asyncore_map *map, struct asyncore_dispatcher ***all)
{
    struct asyncore_dispatcher *d = NULL;
    size_t n = 0;

    *all = malloc((map->length + 1) * sizeof **all);
    if (!*all)
        return -ENOMEM;
    while ((d = asyncore_map_next(map, d)))
        (*all)[n++] = asyncore_ref(d);
    (*all)[n] = NULL;
    return 0;
}

static int close_each(struct asyncore_dispatcher **all, bool ignore_all)
{
    for (; *all; all++) {
        int r = channel_of(*all)->closed ? 0 : asyncore_close(*all);

        if (r == ASYNCORE_EXIT_NOW || (r < 0 && r != -EBADF && !ignore_all))
            return r;
    }
    return 0;
}

int asyncore_close_all(struct asyncore_map *map, bool ignore_all)
{
    struct asyncore_dispatcher **all;
    struct channel *c;
    int r;

    if (!map)
        map = default_map;
    if (!map)
        return 0;
    r = snapshot(map, &all);
    if (r < 0)
        return r;
    map_hold(map);
    r = close_each(all, ignore_all);
    while (r == 0 && (c = TAILQ_FIRST(&map->channels)))
        asyncore_del_channel(dispatcher_of(c));
    for (struct asyncore_dispatcher **d = all; *d; d++)
        asyncore_unref(*d);
    free(all);
    map_drop(map);
    return r;
}
