/*
 * Classes and the life of their instances.
 *
 * Classes are constant tables that lead to the library's base over their super. An instance
 * belongs to a map from its making to its destruction, which only the map's sweep (or the map's
 * end) starts: so whoever has a pointer may use it until the pass ends.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/buffer.h>

int asyncore_isinstance(const struct asyncore_dispatcher *d, const struct asyncore_class *cls)
{
    for (const struct asyncore_class *k = d->cls; k; k = k->super)
        if (k == cls)
            return 1;
    return 0;
}

static bool class_is_valid(const struct asyncore_class *cls)
{
    for (; cls != &asyncore_dispatcher_class; cls = cls->super)
        if (cls->table_size < offsetof(struct asyncore_class, interest) || !cls->super ||
            cls->size < cls->super->size)
            return false;
    return true;
}

static bool class_is_file(const struct asyncore_class *cls)
{
    for (; cls && cls->table_size >= offsetof(struct asyncore_class, size); cls = cls->super)
        if (cls == &asyncore_file_dispatcher_class)
            return true;
    return false;
}

/* Whether readable or writable is the program's own: the library's need not be asked, their
 * answer changes in calls of the library only. */
static bool has_own_predicates(const struct asyncore_class *cls)
{
    for (; cls->super; cls = cls->super) {
        if (cls == &asyncore_dispatcher_with_send_class || cls == &asynchat_async_chat_class)
            continue;
        if (HAS(cls, readable) || HAS(cls, writable))
            return true;
    }
    return false;
}

static enum asyncore_interest interest_of(const struct asyncore_class *cls)
{
    while (!HAS(cls, interest))
        cls = cls->super;
    return cls->interest;
}

/* With the library's methods out-of-band data would only be logged, in every pass and unseen. */
static bool wants_expt(const struct asyncore_class *cls)
{
    for (; cls->super; cls = cls->super)
        if (HAS(cls, handle_expt) || HAS(cls, handle_expt_event) || HAS(cls, log_info))
            return true;
    return false;
}

static size_t event_room(void)
{
    return ALIGNED(event_get_struct_event_size());
}

static struct asyncore_dispatcher *allocate(const struct asyncore_class *cls,
                                            struct asyncore_map *map)
{
    const size_t in_front = chat_room(cls) + event_room();
    char *room = calloc(1, in_front + ALIGNED(sizeof(struct channel)) + cls->size);

    if (!room)
        return NULL;
    struct channel *c = (struct channel *)(void *)(room + in_front);
    struct asyncore_dispatcher *d = dispatcher_of(c);
    bool own = has_own_predicates(cls);
    enum asyncore_interest interest = interest_of(cls);

    d->cls = cls;
    c->asked = own && interest == ASYNCORE_INTEREST_EVERY_PASS;
    c->on_change = own && interest == ASYNCORE_INTEREST_ON_CHANGE;
    c->expt = wants_expt(cls);
    map_adopt(map, c);
    if (chat_room(cls) > 0)
        chat_begin(c, (struct chat *)(void *)room);
    return d;
}

static int initialise(struct asyncore_dispatcher *d, int fd)
{
    const struct asyncore_class *cls = d->cls;

    while (!HAS(cls, init))
        cls = cls->super;
    return cls->init(d, fd);
}

/* An instance that init has not seen yet; NULL with errno. */
static struct asyncore_dispatcher *make(const struct asyncore_class *cls, struct asyncore_map *map)
{
    struct asyncore_dispatcher *d;

    errno = EINVAL;
    if (!class_is_valid(cls))
        return NULL;
    map = map_or_default(map);
    if (!map || map->freed)
        return NULL;
    d = allocate(cls, map);
    if (!d)
        errno = ENOMEM;
    return d;
}

/* After an init that failed, with the socket that it may not have come to. */
static void abandon(struct channel *c, int sock)
{
    if (sock >= 0 && !c->consumed)
        close(sock);
    (void)asyncore_dispatcher_close(dispatcher_of(c));
    if (c->refs == 1)
        channel_destroy(c);
    else
        channel_release(c);
}

struct asyncore_dispatcher *asyncore_new(const struct asyncore_class *cls, int fd,
                                         struct asyncore_map *map)
{
    const int sock = class_is_file(cls) ? -1 : fd; /* a file stays the caller's */
    struct asyncore_dispatcher *d = make(cls, map);
    int r;

    if (!d) {
        int error = errno;

        if (sock >= 0)
            close(sock);
        errno = error;
        return NULL;
    }
    asyncore_ref(d);
    r = initialise(d, fd);
    if (r >= 0 && !d->map->base)
        r = -EINVAL; /* it has freed its map */
    if (r < 0) {
        abandon(channel_of(d), sock);
        errno = r == ASYNCORE_EXIT_NOW ? ECANCELED : -r;
        return NULL;
    }
    asyncore_unref(d);
    return d;
}

void channel_destroy(struct channel *c)
{
    struct asyncore_dispatcher *d = dispatcher_of(c);
    const size_t in_front = chat_room(d->cls) + event_room();

    c->refs++; /* a finalize may free the map, or run a pass: that is not to destroy it again */
    for (const struct asyncore_class *cls = d->cls; cls; cls = cls->super)
        if (HAS(cls, finalize))
            cls->finalize(d);
    (void)channel_drop_socket(c, false);
    if (c->chat)
        chat_end(c->chat);
    if (c->out_buffer)
        evbuffer_free(c->out_buffer);
    pressure_end(c);
    free(c->pressure);
    address_clear(&c->addr);
    free(c->timeouts);
    c->timeouts = NULL;
    assert(!c->batch && !c->changed && !c->armed);
    map_disown(c);
    free((char *)c - in_front);
}

struct asyncore_dispatcher *asyncore_ref(struct asyncore_dispatcher *d)
{
    channel_of(d)->refs++;
    return d;
}

void channel_is_free(struct channel *c)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (map->freed && map->depth == 0)
        channel_destroy(c);
    else if (c->place == PLACE_OUTSIDE)
        map_place(c, PLACE_DOOMED); /* a sweep left it because of the reference */
}

struct asyncore_dispatcher *asyncore_unref(struct asyncore_dispatcher *d)
{
    if (d)
        channel_release(channel_of(d));
    return NULL;
}
