/*
 * The queue of an async_chat, and what puts something into it.
 *
 * The front of the queue is the channel's out_buffer; behind it come producers and marks, each with
 * what was pushed after it. What is pushed in a handler is gathered: as long as the queue is empty
 * otherwise, in a room of the map's, from which it is sent without being copied again. A class that
 * has a send of its own gets every push at once, in the pieces in which Python would give it.
 */
#include "chat_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

/* --- the queue ------------------------------------------------------------------------------- */

/* Bytes in the map's room. */
static size_t gathered_length(const struct chat *chat)
{
    const struct asyncore_map *map = dispatcher_of(chat->channel)->map;

    return map->gatherer == chat ? map->gather_length : 0;
}

size_t chat_queued(const struct channel *c)
{
    return c->chat ? c->chat->behind + gathered_length(c->chat) : 0;
}

size_t chat_length(const struct chat *chat)
{
    return buffer_length(chat->channel->out_buffer) + chat_queued(chat->channel);
}

bool chat_is_empty(const struct chat *chat)
{
    return TAILQ_EMPTY(&chat->queue) && chat_length(chat) == 0;
}

/* The buffer at the end of the queue; NULL: no memory. */
static struct evbuffer *last_buffer(struct chat *chat)
{
    struct asynchat_producer *last = TAILQ_LAST(&chat->queue, producer_queue);
    struct evbuffer **buffer = last ? &last->behind : &chat->channel->out_buffer;

    if (!*buffer)
        *buffer = evbuffer_new();
    return *buffer;
}

static void note_added(struct chat *chat, size_t len)
{
    if (!TAILQ_EMPTY(&chat->queue))
        chat->behind += len;
}

int chat_remove_first(struct chat *chat)
{
    struct channel *c = chat->channel;
    struct asynchat_producer *producer = chat_first(chat);

    if (producer->behind) {
        if (!c->out_buffer)
            c->out_buffer = evbuffer_new();
        if (!c->out_buffer)
            return chat_without_memory(chat);
        chat->behind -= evbuffer_get_length(producer->behind);
        evbuffer_add_buffer(c->out_buffer, producer->behind);
    }
    TAILQ_REMOVE(&chat->queue, producer, in_queue);
    asynchat_producer_free(producer);
    return 0;
}

void chat_discard_output(struct chat *chat)
{
    struct channel *c = chat->channel;
    struct asyncore_map *map = dispatcher_of(c)->map;
    struct asynchat_producer *producer;

    if (map->gatherer == chat)
        map->gatherer = NULL;
    if (chat->in_send)
        c->out_buffer = NULL; /* send_piece frees it */
    else if (c->out_buffer)
        evbuffer_drain(c->out_buffer, evbuffer_get_length(c->out_buffer));
    while ((producer = chat_first(chat))) {
        chat->behind -= buffer_length(producer->behind);
        TAILQ_REMOVE(&chat->queue, producer, in_queue);
        asynchat_producer_free(producer);
    }
}

/* --- gathering ------------------------------------------------------------------------------- */

static bool gathers(const struct chat *chat)
{
    const struct asyncore_dispatcher *d = dispatcher_of(chat->channel);

    return d->map->in_handler && d->map->base && d->connected && !chat->own_send;
}

static void note_gathered(struct chat *chat)
{
    struct asyncore_map *map = dispatcher_of(chat->channel)->map;

    if (chat->gathered)
        return;
    chat->gathered = true;
    map->gathering++;
    TAILQ_INSERT_TAIL(&map->gathered, chat, in_gathered);
    if (map->flushing)
        channel_touch(chat->channel); /* its turn may be over */
    attach_wake(map);                 /* in a handler of the host's, which may run the base */
}

int chat_spill(struct chat *chat)
{
    struct asyncore_map *map = dispatcher_of(chat->channel)->map;
    int r;

    if (map->gatherer != chat)
        return 0;
    r = out_buffer_add(chat->channel, map->gather_room, map->gather_length);
    if (r == 0)
        map->gatherer = NULL;
    return r;
}

int chat_ungather(struct channel *c)
{
    struct asyncore_map *map = dispatcher_of(c)->map;
    int r;

    if (!c->chat)
        return 0;
    r = chat_spill(c->chat);
    if (c->chat->gathered) {
        map->gathering--;
        TAILQ_REMOVE(&map->gathered, c->chat, in_gathered);
    }
    c->chat->gathered = false;
    pressure_look(c); /* after every attempt to send, too */
    return r;
}

static bool has_gather_room(struct asyncore_map *map)
{
    if (!map->gather_room)
        map->gather_room = malloc(SEND_SIZE);
    return map->gather_room;
}

static inline bool gather_more(struct asyncore_map *map, const void *data, size_t len)
{
    if (len == 0 || len > SEND_SIZE - map->gather_length)
        return false;
    memcpy(map->gather_room + map->gather_length, data, len);
    map->gather_length += len;
    return true;
}

/* Whether data went into the map's room. */
static bool gather(struct chat *chat, const void *data, size_t len)
{
    struct asyncore_map *map = dispatcher_of(chat->channel)->map;

    if (map->gatherer != chat) {
        if (map->gatherer || len > SEND_SIZE || !chat_is_empty(chat) || !has_gather_room(map))
            return false;
        map->gatherer = chat;
        map->gather_length = 0;
    }
    return gather_more(map, data, len);
}

/* --- push ------------------------------------------------------------------------------------ */

static bool is_above(const struct chat *chat)
{
    return chat->high_water > 0 && chat_length(chat) > chat->high_water;
}

static int keep_high_water(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);

    if (chat->channel->closed || !is_above(chat) || chat->high_told)
        return 0;
    chat_send_gathered(chat->channel);
    if (!is_above(chat))
        return 0;
    chat->high_told = true;
    return dispatch_error(d, asynchat_handle_high_water(d), "handle_high_water");
}

static int send_pushed(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    int r;

    channel_touch(chat->channel); /* sending may run a pass */
    r = chat_send(d, true);
    /* What was pushed is queued: handle_write tries again. */
    return r == -ENOMEM && chat->starved ? 0 : r;
}

/* What is queued is sent: now, or when the handler ends. Who is called meanwhile may free the map.
 */
static int pushed(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    const bool later = gathers(chat);
    int r = 0;

    if (later)
        note_gathered(chat);
    if (later && !is_above(chat))
        return 0;
    asyncore_ref(d);
    if (!later)
        r = send_pushed(d);
    if (r >= 0)
        r = keep_high_water(d);
    asyncore_unref(d);
    return r;
}

static int add_mark(struct chat *chat, bool closes)
{
    struct asynchat_producer *mark = producer_new_mark(closes);

    if (!mark)
        return -ENOMEM;
    TAILQ_INSERT_TAIL(&chat->queue, mark, in_queue);
    return 0;
}

static int add(struct chat *chat, const char *data, size_t len)
{
    struct evbuffer *buffer = last_buffer(chat);

    if (!buffer || evbuffer_add(buffer, data, len) < 0)
        return -ENOMEM;
    note_added(chat, len);
    return 0;
}

/* Takes a mark away again. */
static void remove_mark(struct chat *chat, struct asynchat_producer *mark)
{
    TAILQ_REMOVE(&chat->queue, mark, in_queue);
    chat->behind -= buffer_length(mark->behind);
    asynchat_producer_free(mark);
}

/* In pieces that each are a send of their own; all of them, or none. */
static int add_pieces(struct chat *chat, const char *data, size_t len)
{
    struct producer_queue whole = TAILQ_HEAD_INITIALIZER(whole);
    size_t n;
    int r = 0;

    TAILQ_CONCAT(&whole, &chat->queue, in_queue);
    do {
        n = len < chat->out_size ? len : chat->out_size;
        r = add_mark(chat, false);
        if (r == 0 && n > 0)
            r = add(chat, data, n);
        data = n > 0 ? data + n : data;
        len -= n;
    } while (r == 0 && len > 0);
    while (r < 0 && chat_first(chat))
        remove_mark(chat, chat_first(chat));
    TAILQ_CONCAT(&whole, &chat->queue, in_queue);
    TAILQ_CONCAT(&chat->queue, &whole, in_queue);
    return r;
}

/* Not inlined: it would make the way of most calls, below, longer. */
static __attribute__((noinline)) int push(struct asyncore_dispatcher *d, const void *data,
                                          size_t len)
{
    struct chat *chat = chat_of(d);
    int r = 0;

    if (chat->own_send) {
        r = add_pieces(chat, data, len);
    } else if (len == 0) {
        return 0;
    } else if (!gathers(chat) || !gather(chat, data, len)) {
        r = chat_spill(chat);
        if (r == 0)
            r = add(chat, data, len);
    }
    return r < 0 ? r : pushed(d);
}

/* Mostly there is something gathered already, to which this is added. */
int asynchat_push(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct asyncore_map *map = d->map;
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    if (chat->gathered && map->gatherer == chat && chat->high_water == 0 &&
        gather_more(map, data, len))
        return 0;
    return push(d, data, len);
}

/* --- references ------------------------------------------------------------------------------ */

/* Libevent is through with it, but not with the buffer. */
static void on_reference_end(const void *data, size_t len, void *arg)
{
    struct reference *reference = arg;

    (void)data;
    (void)len;
    STAILQ_INSERT_TAIL(&reference->chat->ended, reference, in_ended);
}

void chat_release_references(struct chat *chat)
{
    struct channel *c = chat->channel;
    struct reference *reference;

    if (chat->releasing || STAILQ_EMPTY(&chat->ended))
        return; /* a release that pushes and sends is not the next one's caller */
    c->refs++;
    chat->releasing = true;
    while ((reference = STAILQ_FIRST(&chat->ended))) {
        struct reference ended = *reference;

        STAILQ_REMOVE_HEAD(&chat->ended, in_ended);
        free(reference);
        ended.release(ended.data, ended.len, ended.arg);
    }
    chat->releasing = false;
    channel_release(c);
}

static int add_reference(struct chat *chat, struct reference *reference)
{
    struct evbuffer *buffer;
    int r = chat->own_send ? add_mark(chat, false) : 0;

    if (r < 0)
        return r;
    buffer = last_buffer(chat);
    if (buffer && evbuffer_add_reference(buffer, reference->data, reference->len, on_reference_end,
                                         reference) == 0) {
        note_added(chat, reference->len);
        return 0;
    }
    if (chat->own_send)
        remove_mark(chat, TAILQ_LAST(&chat->queue, producer_queue));
    return -ENOMEM;
}

static void no_release(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)arg;
}

int asynchat_push_reference(struct asyncore_dispatcher *d, const void *data, size_t len,
                            void (*release)(const void *data, size_t len, void *arg), void *arg)
{
    struct chat *chat = chat_of(d);
    struct reference *reference = chat && len > 0 ? malloc(sizeof *reference) : NULL;
    int r = chat ? -ENOMEM : -EINVAL;

    if (!release)
        release = no_release;
    if (reference) {
        *reference = (struct reference){
            .chat = chat, .data = data, .len = len, .release = release, .arg = arg};
        r = chat_spill(chat);
        if (r == 0)
            r = add_reference(chat, reference);
    }
    if (reference && r == 0)
        return pushed(d);
    free(reference);
    if (chat && len == 0)
        r = asynchat_push(d, data, 0);
    release(data, len, arg);
    return r;
}

/* --- producers, and the end ------------------------------------------------------------------ */

int asynchat_push_with_producer(struct asyncore_dispatcher *d, struct asynchat_producer *producer)
{
    struct chat *chat = chat_of(d);

    if (chat && !producer)
        return errno ? -errno : -ENOMEM;
    if (!chat || chat_spill(chat) < 0) {
        asynchat_producer_free(producer);
        return chat ? -ENOMEM : -EINVAL;
    }
    TAILQ_INSERT_TAIL(&chat->queue, producer, in_queue);
    return pushed(d);
}

int asynchat_close_when_done(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    int r;

    if (!chat)
        return -EINVAL;
    r = chat_spill(chat);
    if (r == 0)
        r = add_mark(chat, true);
    channel_touch(chat->channel);
    return r;
}

/* --- the mark, and the methods --------------------------------------------------------------- */

int asynchat_set_high_water(struct asyncore_dispatcher *d, size_t bytes, bool pause)
{
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    chat->high_water = bytes;
    chat->high_told = false;
    chat->pauses = bytes > 0 && pause;
    channel_touch(chat->channel);
    return 0;
}

int asynchat_async_chat_handle_high_water(struct asyncore_dispatcher *d)
{
    const struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    if (chat->pauses)
        return 0;
    return asyncore_raise(d, -ENOBUFS, "more than %zu bytes of output are queued",
                          chat->high_water);
}

int asynchat_async_chat_readable(struct asyncore_dispatcher *d)
{
    const struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    return !chat->pauses || !is_above(chat);
}

int asynchat_async_chat_writable(struct asyncore_dispatcher *d)
{
    const struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    return !d->connected || !chat_is_empty(chat);
}
