/*
 * Output of an async_chat: a queue of data and producers.
 *
 * The front of the queue is the channel's out_buffer; behind it come producers and marks, each with
 * what was pushed after it. A producer that is the first of these adds what it makes to the
 * out_buffer.
 *
 * What is pushed in a handler is gathered: as long as the queue is empty otherwise, in a room of
 * the map's, from which it is sent without being copied again. chat_flush sends it at the end of
 * the handler. A class that has a send of its own gets every push at once, in the pieces in which
 * Python would give it.
 */
#include "chat_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

/* What is copied rather than sent as a piece of its own. */
#define SMALL 1024

/* --- the queue ------------------------------------------------------------------------------- */

static size_t length_of(const struct evbuffer *buffer)
{
    return buffer ? evbuffer_get_length(buffer) : 0;
}

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

static size_t total_length(const struct chat *chat)
{
    return length_of(chat->channel->out_buffer) + chat_queued(chat->channel);
}

static bool is_empty(const struct chat *chat)
{
    return TAILQ_EMPTY(&chat->queue) && total_length(chat) == 0;
}

static struct asynchat_producer *first(const struct chat *chat)
{
    return TAILQ_FIRST(&chat->queue);
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

/* Takes the first away; what was pushed behind it is the front now. 0 or -ENOMEM. */
static int remove_first(struct chat *chat)
{
    struct channel *c = chat->channel;
    struct asynchat_producer *producer = first(chat);

    if (producer->behind) {
        if (!c->out_buffer)
            c->out_buffer = evbuffer_new();
        if (!c->out_buffer)
            return -ENOMEM;
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
    while ((producer = first(chat))) {
        chat->behind -= length_of(producer->behind);
        TAILQ_REMOVE(&chat->queue, producer, in_queue);
        asynchat_producer_free(producer);
    }
}

/* --- gathering ------------------------------------------------------------------------------- */

static bool gathers(const struct chat *chat)
{
    const struct asyncore_dispatcher *d = dispatcher_of(chat->channel);

    return d->map->in_handler && d->connected && !chat->own_send;
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
}

/* Moves what is in the map's room to the out_buffer. */
static void spill(struct chat *chat)
{
    struct asyncore_map *map = dispatcher_of(chat->channel)->map;

    if (map->gatherer != chat)
        return;
    map->gatherer = NULL;
    out_buffer_add_rest(chat->channel, map->gather_room, map->gather_length);
}

void chat_ungather(struct channel *c)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (!c->chat || !c->chat->gathered)
        return;
    spill(c->chat);
    c->chat->gathered = false;
    map->gathering--;
    TAILQ_REMOVE(&map->gathered, c->chat, in_gathered);
}

static bool has_gather_room(struct asyncore_map *map)
{
    if (!map->gather_room && out_buffer_has_reserve(map))
        map->gather_room = malloc(SEND_SIZE);
    return map->gather_room && out_buffer_has_reserve(map);
}

static inline bool gather_more(struct asyncore_map *map, const void *data, size_t len)
{
    if (len > SEND_SIZE - map->gather_length)
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
        if (map->gatherer || len > SEND_SIZE || !is_empty(chat) || !has_gather_room(map))
            return false;
        map->gatherer = chat;
        map->gather_length = 0;
    }
    return gather_more(map, data, len);
}

/* --- one send -------------------------------------------------------------------------------- */

/* Small pieces are put together, so that there are not too many for one send. */
static void move(struct evbuffer *from, struct evbuffer *to)
{
    const size_t len = evbuffer_get_length(from);
    const unsigned char *bytes = len <= SMALL ? evbuffer_pullup(from, -1) : NULL;

    if (bytes && evbuffer_add(to, bytes, len) == 0)
        evbuffer_drain(from, len);
    else
        evbuffer_add_buffer(to, from);
}

/* Has the first producer add what it makes to the out_buffer. What it made, 0: it is gone, or it is
 * being asked already, or an error. */
static int ask_first(struct chat *chat)
{
    struct channel *c = chat->channel;
    struct asyncore_map *map = dispatcher_of(c)->map;
    struct asynchat_producer *producer = first(chat);
    struct evbuffer *made = map->made ? map->made : evbuffer_new();
    int n;

    map->made = NULL;
    if (!c->out_buffer)
        c->out_buffer = evbuffer_new();
    n = made && c->out_buffer ? asynchat_producer_more(producer, made) : -ENOMEM;
    if (n < 0 && n != -EAGAIN)
        error_note(dispatcher_of(c)->map, n, "more");
    if (made && c->out_buffer && first(chat) == producer) { /* it was not discarded meanwhile */
        if (n == 0)
            n = remove_first(chat);
        move(made, c->out_buffer);
    }
    map = dispatcher_of(c)->map;
    if (made && (map->made || !map->base || length_of(made) > 0))
        evbuffer_free(made);
    else if (made)
        map->made = made;
    return n;
}

/* Whether the first producer is a file that does not fit in len bytes, and goes out by sendfile. */
static bool sends_file(const struct chat *chat, size_t len)
{
    const struct channel *c = chat->channel;
    const struct asynchat_producer *producer = first(chat);

    return producer && producer->more && !producer->busy && c->stream && c->socket &&
           c->socket->cls == &plain_socket_class && producer_is_large_file(producer, len);
}

/* Adds to the out_buffer what producers make, as long as it goes out with the next send. */
static int fill(struct chat *chat)
{
    const struct channel *c = chat->channel;
    struct asynchat_producer *producer;
    int r = 0;

    while (r >= 0 && (producer = first(chat)) && !producer->closes && !producer->busy &&
           length_of(c->out_buffer) < chat->out_size) {
        if (sends_file(chat, chat->out_size - length_of(c->out_buffer)))
            break;
        r = ask_first(chat);
    }
    return r < 0 ? r : 0;
}

/* Sends what is in the map's room, from there. */
static int send_room(struct chat *chat, size_t *offered)
{
    struct channel *c = chat->channel;
    struct asyncore_map *map = dispatcher_of(c)->map;
    int sent;

    *offered = map->gather_length;
    sent = asyncore_socket_send(c->socket, map->gather_room, map->gather_length, 0);
    map->gatherer = NULL;
    if (sent < (int)map->gather_length) {
        const size_t gone = sent > 0 ? (size_t)sent : 0;

        out_buffer_add_rest(c, map->gather_room + gone, map->gather_length - gone);
    }
    return sent;
}

/* Of a file at the front; when sendfile cannot, it is read. */
static int send_file(struct chat *chat, size_t *offered)
{
    int sent = producer_sendfile(first(chat), chat->channel->socket->fd, offered);

    if (sent != -ENOTSUP)
        return sent;
    *offered = 0;
    return fill(chat) < 0 ? 0 : out_buffer_send(chat->channel, chat->out_size, offered, 0);
}

/* The out_buffer, and a file right behind it. */
static int send_front(struct chat *chat, size_t *offered)
{
    const bool whole = length_of(chat->channel->out_buffer) <= chat->out_size;
    /* No segment of its own for what is in front of a file: that halves the throughput. */
    const int flags = whole && sends_file(chat, 0) ? MSG_MORE : 0;
    size_t more;
    int sent = out_buffer_send(chat->channel, chat->out_size, offered, flags);
    int file;

    if (sent < 0 || (size_t)sent < *offered || length_of(chat->channel->out_buffer) > 0 ||
        !sends_file(chat, 0))
        return sent;
    file = send_file(chat, &more);
    *offered += more;
    return file > 0 ? sent + file : sent; /* an error comes again */
}

/* Sends once, without calling a method: what the socket returned. asked: what producers said. */
static int send_once(struct chat *chat, size_t *offered, int *asked)
{
    struct channel *c = chat->channel;
    const unsigned generation = c->generation;
    struct asyncore_map *map = dispatcher_of(c)->map;

    *offered = 0;
    *asked = 0;
    if (map->gatherer == chat && TAILQ_EMPTY(&chat->queue) && map->gather_length <= chat->out_size)
        return send_room(chat, offered);
    spill(chat);
    *asked = fill(chat);
    if (c->generation != generation || !c->socket)
        return 0;
    if (length_of(c->out_buffer) > 0)
        return send_front(chat, offered);
    return *asked == 0 && sends_file(chat, 0) ? send_file(chat, offered) : 0;
}

/* --- initiate_send --------------------------------------------------------------------------- */

/* What was pushed behind the mark is not for this connection. */
static int close_is_due(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    int r = remove_first(chat);

    if (r < 0)
        return r;
    chat->over = true;
    r = asyncore_handle_close(d);
    chat->over = false;
    return r;
}

static bool is_done(const struct chat *chat)
{
    return first(chat) && first(chat)->closes && total_length(chat) == chat->behind;
}

static int send_gathered(struct asyncore_dispatcher *d, bool may_close)
{
    struct chat *chat = chat_of(d);
    size_t offered;
    int asked, sent, r;

    if (is_empty(chat) || is_done(chat))
        return may_close && is_done(chat) ? close_is_due(d) : 0;
    if (!chat->channel->socket)
        return dispatch_error(d, dispatcher_without_socket(chat->channel), "send");
    sent = send_once(chat, &offered, &asked);
    if (offered > 0) {
        chat->over = sent < 0;
        r = dispatch_error(d, dispatcher_sent(d, offered, sent), "send");
        chat->over = false;
        return r < 0 ? r : asked;
    }
    return asked == 0 && may_close && d->connected && is_done(chat) ? close_is_due(d) : asked;
}

/* Python's way: the first thing that there is to send, by the method. While that runs nothing else
 * is sent. */
static int send_piece(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    struct chat *chat = c->chat;
    struct evbuffer *out = c->out_buffer;
    size_t len = length_of(out) < chat->out_size ? length_of(out) : chat->out_size;
    const unsigned char *data = len > 0 ? evbuffer_pullup(out, (ev_ssize_t)len) : NULL;
    int sent;

    if (len > 0 && !data)
        return -ENOMEM;
    chat->in_send = true;
    sent = asyncore_send(d, data ? (const void *)data : "", len);
    chat->in_send = false;
    if (out && c->out_buffer != out)
        evbuffer_free(out);
    else if (out && sent > 0)
        evbuffer_drain(out, (size_t)sent);
    return dispatch_error(d, sent, "send");
}

static int send_in_turn(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    int r = 0;

    while (r >= 0 && d->connected && !is_empty(chat) && !chat->in_send) {
        if (length_of(chat->channel->out_buffer) > 0)
            return send_piece(d);
        if (first(chat)->busy)
            return 0;
        if (first(chat)->closes)
            return close_is_due(d);
        if (!first(chat)->more) { /* what was pushed, which may be nothing */
            r = remove_first(chat);
            return r < 0 ? r : send_piece(d);
        }
        r = ask_first(chat);
    }
    return r < 0 ? r : 0;
}

static int send_queued(struct asyncore_dispatcher *d, bool may_close)
{
    struct channel *c = channel_of(d);
    struct chat *chat = c->chat;
    int r = 0;

    asyncore_ref(d);
    if (d->connected)
        r = chat->own_send ? send_in_turn(d) : send_gathered(d, may_close);
    if (total_length(chat) <= chat->high_water)
        chat->high_told = false;
    chat_ungather(c);
    if (chat->pauses || !is_empty(chat) || (c->want & ASYNCORE_WRITE))
        channel_touch(c);
    asyncore_unref(d);
    return r;
}

int asynchat_initiate_send(struct asyncore_dispatcher *d)
{
    return chat_of(d) ? send_queued(d, true) : -EINVAL;
}

void chat_send_gathered(struct channel *c)
{
    struct chat *chat = c->chat;
    const unsigned generation = c->generation;
    size_t offered;
    int asked, sent = 0;

    if (!chat || !chat->gathered)
        return;
    do {
        struct asynchat_producer *producer = first(chat);

        if (!c->socket || is_empty(chat) || is_done(chat))
            break;
        sent = send_once(chat, &offered, &asked);
        if (producer)
            break; /* which was asked: once is enough */
    } while (c->generation == generation && sent > 0 && (size_t)sent == offered);
    chat_ungather(c);
    channel_touch(c);
}

void chat_send_last(struct channel *c)
{
    size_t offered;
    int sent;

    chat_send_gathered(c);
    if (!c->chat || c->chat->own_send || c->chat->over || !c->socket ||
        !dispatcher_of(c)->connected)
        return;
    while (length_of(c->out_buffer) > 0) {
        sent = out_buffer_send(c, c->chat->out_size, &offered, 0);
        if (sent <= 0 || (size_t)sent < offered)
            return;
    }
}

int chat_flush(struct asyncore_map *map)
{
    int r = 0;

    if (map->flushing || map->freed)
        return 0; /* what is pushed meanwhile waits for the next pass, or for close */
    map->flushing = true;
    for (size_t n = map->gathering; r == 0 && n > 0 && map->gathering > 0; n--)
        r = dispatch_flush(TAILQ_FIRST(&map->gathered)->channel);
    map->flushing = false;
    return r;
}

int chat_send_at_end(struct asyncore_dispatcher *d)
{
    return send_queued(d, false);
}

/* --- push ------------------------------------------------------------------------------------ */

static bool is_above(const struct chat *chat)
{
    return chat->high_water > 0 && total_length(chat) > chat->high_water;
}

static int keep_high_water(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);

    if (!is_above(chat) || chat->high_told)
        return 0;
    chat_send_gathered(chat->channel);
    if (!is_above(chat))
        return 0;
    chat->high_told = true;
    return dispatch_error(d, asynchat_handle_high_water(d), "handle_high_water");
}

/* What is queued is sent: now, or when the handler ends. */
static int pushed(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    int r = 0;

    if (gathers(chat)) {
        note_gathered(chat);
    } else {
        channel_touch(chat->channel); /* sending may run a pass */
        r = send_queued(d, true);
        if (r == -ENOMEM && !is_empty(chat))
            r = 0; /* what was pushed is queued: handle_write tries again */
    }
    return r < 0 ? r : keep_high_water(d);
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
    chat->behind -= length_of(mark->behind);
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
        if (r == 0)
            r = add(chat, data, n);
        data += n;
        len -= n;
    } while (r == 0 && len > 0);
    while (r < 0 && first(chat))
        remove_mark(chat, first(chat));
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
        spill(chat);
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
    if (map->gatherer == chat && chat->high_water == 0 && gather_more(map, data, len))
        return 0;
    return push(d, data, len);
}

static int add_reference(struct chat *chat, const void *data, size_t len,
                         void (*release)(const void *data, size_t len, void *arg), void *arg)
{
    struct evbuffer *buffer;
    int r = chat->own_send ? add_mark(chat, false) : 0;

    if (r < 0)
        return r;
    buffer = last_buffer(chat);
    if (buffer && evbuffer_add_reference(buffer, data, len, release, arg) == 0) {
        note_added(chat, len);
        return 0;
    }
    if (chat->own_send)
        remove_mark(chat, TAILQ_LAST(&chat->queue, producer_queue));
    return -ENOMEM;
}

int asynchat_push_reference(struct asyncore_dispatcher *d, const void *data, size_t len,
                            void (*release)(const void *data, size_t len, void *arg), void *arg)
{
    struct chat *chat = chat_of(d);
    int r = chat ? 0 : -EINVAL;

    if (chat && len > 0) {
        spill(chat);
        r = add_reference(chat, data, len, release, arg);
    }
    if (r == 0 && len > 0)
        return pushed(d);
    if (r == 0)
        r = asynchat_push(d, data, 0);
    if (release)
        release(data, len, arg);
    return r;
}

int asynchat_push_with_producer(struct asyncore_dispatcher *d, struct asynchat_producer *producer)
{
    struct chat *chat = chat_of(d);

    if (!chat || !producer) {
        asynchat_producer_free(producer);
        return chat ? -ENOMEM : -EINVAL;
    }
    spill(chat);
    TAILQ_INSERT_TAIL(&chat->queue, producer, in_queue);
    return pushed(d);
}

int asynchat_close_when_done(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    int r;

    if (!chat)
        return -EINVAL;
    spill(chat);
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
    return !d->connected || !is_empty(chat);
}

int asynchat_async_chat_handle_write(struct asyncore_dispatcher *d)
{
    return asynchat_initiate_send(d);
}
