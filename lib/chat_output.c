/*
 * Output of an async_chat: how the queue is sent.
 *
 * A producer that is the first thing in the queue adds what it makes to the out_buffer, a large
 * file goes out by sendfile. chat_flush sends what a handler has gathered when it ends.
 */
#include "chat_internal.h"

#include <errno.h>
#include <string.h>

#include <event2/buffer.h>

/* What is copied rather than sent as a piece of its own. */
#define SMALL 1024

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

/* Has the first producer, which is not being asked already, add what it makes to the out_buffer.
 * What it made, 0: it is gone, or an error. */
static int ask_first(struct chat *chat)
{
    struct channel *c = chat->channel;
    struct asyncore_map *map = dispatcher_of(c)->map;
    struct asynchat_producer *producer = chat_first(chat);
    struct evbuffer *made = map->made ? map->made : evbuffer_new();
    int n;

    map->made = NULL;
    if (!c->out_buffer)
        c->out_buffer = evbuffer_new();
    n = made && c->out_buffer ? asynchat_producer_more(producer, made) : chat_without_memory(chat);
    if (n == -EAGAIN) /* the channel would be asked again and again */
        n = asyncore_raise(dispatcher_of(c), -EINVAL, "a producer must not return -EAGAIN");
    if (n < 0)
        error_note(dispatcher_of(c)->map, n, "more");
    if (made && c->out_buffer &&
        chat_first(chat) == producer) { /* it was not discarded meanwhile */
        if (n == 0)
            n = chat_remove_first(chat);
        else
            move(made, c->out_buffer);
    }
    map = dispatcher_of(c)->map;
    if (made && (map->made || !map->base || buffer_length(made) > 0))
        evbuffer_free(made);
    else if (made)
        map->made = made;
    return n;
}

/* Whether the first producer is a file that does not fit in len bytes, and goes out by sendfile. */
static bool sends_file(const struct chat *chat, size_t len)
{
    const struct channel *c = chat->channel;
    const struct asynchat_producer *producer = chat_first(chat);

    return producer && producer->more && !producer->busy && c->stream && c->socket &&
           c->socket->cls == &plain_socket_class && producer_is_large_file(producer, len);
}

/* Adds to the out_buffer what producers make, as long as it goes out with the next send. */
static int fill(struct chat *chat)
{
    const struct channel *c = chat->channel;
    struct asynchat_producer *producer;
    int r = 0;

    while (r >= 0 && (producer = chat_first(chat)) && !producer->closes && !producer->busy &&
           buffer_length(c->out_buffer) < chat->out_size) {
        if (sends_file(chat, chat->out_size - buffer_length(c->out_buffer)))
            break;
        r = ask_first(chat);
    }
    return r < 0 ? r : 0;
}

/* Sends what is in the map's room, from there. Without memory for the rest it stays there. */
static int send_room(struct chat *chat, size_t *offered)
{
    struct channel *c = chat->channel;
    struct asyncore_map *map = dispatcher_of(c)->map;
    int sent;

    *offered = map->gather_length < chat->out_size ? map->gather_length : chat->out_size;
    sent = channel_sent(c, asyncore_socket_send(c->socket, map->gather_room, *offered, 0));
    if (sent > 0) {
        map->gather_length -= (size_t)sent;
        memmove(map->gather_room, map->gather_room + sent, map->gather_length);
    }
    if (map->gather_length == 0)
        map->gatherer = NULL;
    else
        (void)chat_spill(chat);
    return sent;
}

/* Of a file at the front. */
static int send_file(struct chat *chat, size_t *offered)
{
    struct channel *c = chat->channel;
    int sent = producer_sendfile(chat_first(chat), c->socket->fd, offered);

    if (sent != -ENOTSUP)
        return channel_sent(c, sent);
    *offered = 0; /* it is read the next time */
    return 0;
}

/* The out_buffer, and a file right behind it. */
static int send_front(struct chat *chat, size_t *offered)
{
    const bool whole = buffer_length(chat->channel->out_buffer) <= chat->out_size;
    /* No segment of its own for what is in front of a file: that halves the throughput. */
    const int flags = whole && sends_file(chat, 0) ? MSG_MORE : 0;
    size_t more;
    int sent = out_buffer_send(chat->channel, chat->out_size, offered, flags);
    int file;

    if (sent < 0 || (size_t)sent < *offered || buffer_length(chat->channel->out_buffer) > 0 ||
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
    if (map->gatherer == chat && (TAILQ_EMPTY(&chat->queue) || chat_spill(chat) < 0))
        return send_room(chat, offered);
    *asked = fill(chat);
    if (c->generation != generation || !c->socket)
        return 0;
    if (buffer_length(c->out_buffer) > 0)
        return send_front(chat, offered);
    return *asked == 0 && sends_file(chat, 0) ? send_file(chat, offered) : 0;
}

/* --- initiate_send --------------------------------------------------------------------------- */

/* What was pushed behind the mark is not for this connection. */
static int close_is_due(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    const bool over = chat->over;
    int r = chat_remove_first(chat);

    if (r < 0)
        return r;
    chat->over = true;
    r = asyncore_handle_close(d);
    chat->over = over;
    return r;
}

static bool is_done(const struct chat *chat)
{
    return chat_first(chat) && chat_first(chat)->closes && chat_length(chat) == chat->behind;
}

static int send_gathered(struct asyncore_dispatcher *d, bool may_close)
{
    struct chat *chat = chat_of(d);
    const bool over = chat->over;
    size_t offered;
    int asked, sent, r;

    if (chat_is_empty(chat) || is_done(chat))
        return may_close && is_done(chat) ? close_is_due(d) : 0;
    if (!chat->channel->socket)
        return dispatch_error(d, dispatcher_without_socket(chat->channel), "send");
    sent = send_once(chat, &offered, &asked);
    if (offered > 0) {
        chat->over |= sent < 0;
        r = dispatch_error(d, dispatcher_sent(d, offered, sent), "send");
        chat->over = over;
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
    size_t len = buffer_length(out) < chat->out_size ? buffer_length(out) : chat->out_size;
    const unsigned char *data = len > 0 ? evbuffer_pullup(out, (ev_ssize_t)len) : NULL;
    int sent;

    if (len > 0 && !data)
        return chat_without_memory(chat);
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

    while (r >= 0 && d->connected && !chat_is_empty(chat) && !chat->in_send) {
        if (buffer_length(chat->channel->out_buffer) > 0)
            return send_piece(d);
        if (chat_first(chat)->busy)
            return 0;
        if (chat_first(chat)->closes)
            return close_is_due(d);
        if (!chat_first(chat)->more) { /* what was pushed, which may be nothing */
            r = chat_remove_first(chat);
            return r < 0 ? r : send_piece(d);
        }
        r = ask_first(chat);
    }
    return r < 0 ? r : 0;
}

int chat_send(struct asyncore_dispatcher *d, bool may_close)
{
    struct channel *c = channel_of(d);
    struct chat *chat = c->chat;
    int r = 0;

    asyncore_ref(d);
    chat->starved = false;
    if (d->connected)
        r = chat->own_send ? send_in_turn(d) : send_gathered(d, may_close);
    if (chat_length(chat) <= chat->high_water)
        chat->high_told = false;
    (void)chat_ungather(c);
    if (chat->pauses || !chat_is_empty(chat) || (c->want & ASYNCORE_WRITE))
        channel_touch(c);
    chat_release_references(chat);
    asyncore_unref(d);
    return r;
}

int asynchat_initiate_send(struct asyncore_dispatcher *d)
{
    return chat_of(d) ? chat_send(d, true) : -EINVAL;
}

void chat_send_gathered(struct channel *c)
{
    struct chat *chat = c->chat;
    const unsigned generation = c->generation;
    size_t offered;
    int asked, sent = 0;

    if (!chat || !chat->gathered)
        return;
    if (chat->over) {
        (void)chat_ungather(c);
        return;
    }
    do {
        struct asynchat_producer *producer = chat_first(chat);

        if (!c->socket || chat_is_empty(chat) || is_done(chat))
            break;
        sent = send_once(chat, &offered, &asked);
        if (producer)
            break; /* which was asked: once is enough */
    } while (c->generation == generation && sent > 0 && (size_t)sent == offered);
    (void)chat_ungather(c);
    channel_touch(c);
    chat_release_references(chat);
}

void chat_send_last(struct channel *c)
{
    size_t offered;
    int sent;

    chat_send_gathered(c);
    if (!c->chat || chat_spill(c->chat) < 0 || c->chat->own_send || c->chat->over || !c->socket ||
        !dispatcher_of(c)->connected)
        return;
    while (buffer_length(c->out_buffer) > 0) {
        sent = out_buffer_send(c, c->chat->out_size, &offered, 0);
        if (sent <= 0 || (size_t)sent < offered)
            break;
    }
    pressure_look(c);
    chat_release_references(c->chat);
}

int chat_flush(struct asyncore_map *map)
{
    int result = 0;

    if (map->flushing || map->freed)
        return 0; /* what is pushed meanwhile waits for the next pass, or for close */
    map->flushing = true;
    for (size_t n = map->gathering; n > 0 && map->gathering > 0; n--) {
        int r = dispatch_flush(TAILQ_FIRST(&map->gathered)->channel);

        result = result < 0 ? result : r;
    }
    map->flushing = false;
    return result;
}

int chat_send_at_end(struct asyncore_dispatcher *d)
{
    return chat_send(d, false);
}

int asynchat_async_chat_handle_write(struct asyncore_dispatcher *d)
{
    return asynchat_initiate_send(d);
}
