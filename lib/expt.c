/*
 * Out-of-band data: libevent has no event for it, so a second epoll descriptor that watches
 * EPOLLPRI is itself watched for read. Made with the first channel whose class looks at it.
 */
#include "internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <event2/util.h>

static void on_expt(evutil_socket_t fd, short what, void *arg)
{
    struct asyncore_map *map = arg;
    struct epoll_event events[64];
    int n;

    (void)what;
    if (!map_gathers(map)) {
        event_del(map->expt_event); /* the map's next pass adds it again */
        map->expt_armed = false;
        return;
    }
    n = epoll_wait(fd, events, 64, 0);
    for (int i = 0; i < n; i++) {
        struct channel *c = events[i].data.ptr;

        if (!(events[i].events & EPOLLPRI))
            continue; /* HUP and ERR come unasked; the channel's own events tell of them */
        c->expt_fired = true;
        channel_touch(c);
        watch_mark(c, READY_EXPT);
    }
}

int expt_open(struct asyncore_map *map)
{
    if (map->expt_fd < 0)
        map->expt_fd = epoll_create1(EPOLL_CLOEXEC);
    if (map->expt_fd < 0 || evutil_make_socket_nonblocking(map->expt_fd) < 0)
        return -1; /* libevent's debug mode insists on non-blocking ones */
    if (!map->expt_event)
        map->expt_event = event_new(map->base, map->expt_fd, EV_READ | EV_PERSIST, on_expt, map);
    if (!map->expt_event)
        errno = ENOMEM;
    return map->expt_event ? 0 : -1;
}

void expt_close(struct asyncore_map *map)
{
    if (map->expt_event)
        event_free(map->expt_event);
    if (map->expt_fd >= 0)
        close(map->expt_fd);
    map->expt_event = NULL;
    map->expt_fd = -1;
}

int expt_arm(struct asyncore_map *map)
{
    if (map->expt_armed)
        return 0;
    if (map_add_event(map, map->expt_event, NULL) < 0)
        return -ENOMEM;
    map->expt_armed = true;
    return 0;
}

void expt_disarm(struct asyncore_map *map)
{
    if (map->expt_armed)
        event_del(map->expt_event);
    map->expt_armed = false;
}

/* A descriptor that was closed behind our back can not be taken out, and while a dup of it lives it
 * stays: start over with a new epoll descriptor. */
void expt_restart(struct asyncore_map *map)
{
    struct channel *c;

    expt_disarm(map);
    expt_close(map);
    map->expt_count = 0;
    TAILQ_FOREACH (c, &map->channels, in_place) {
        if (c->expt_armed)
            channel_touch(c);
        c->expt_armed = false;
    }
}

/* Edge-triggered, for a hang-up stays: data that stays is told of again because c, which fired, is
 * watched anew when it is asked. */
int expt_watch(struct channel *c, bool on)
{
    struct asyncore_map *map = dispatcher_of(c)->map;
    struct epoll_event event = {.events = EPOLLPRI | EPOLLET, .data.ptr = c};
    const bool was_armed = c->expt_armed;
    int r;

    c->expt_fired = false;
    if (!on) {
        r = epoll_ctl(map->expt_fd, EPOLL_CTL_DEL, c->socket->fd, &event);
        c->expt_armed = false;
        if (--map->expt_count == 0)
            expt_disarm(map);
        if (r < 0)
            expt_restart(map);
        return 0;
    }
    r = expt_open(map); /* again, if it was started over */
    if (r == 0)
        r = epoll_ctl(map->expt_fd, was_armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->socket->fd,
                      &event);
    if (r < 0 && errno == ENOENT) /* the number was given to another socket behind our back */
        r = epoll_ctl(map->expt_fd, EPOLL_CTL_ADD, c->socket->fd, &event);
    if (r < 0)
        return -errno;
    c->expt_armed = true;
    map->expt_count += !was_armed;
    return 0;
}
