/*
 * dispatcher_with_send: what the socket does not take is queued.
 *
 * send loses nothing: it either takes all of the data or fails with nothing taken. The common case,
 * an empty queue and a socket that takes everything, copies nothing; so that a short send cannot
 * then fail for want of memory, the map keeps a reserve into which the rest always fits.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

/* As in Python: what initiate_send offers to the socket at most. */
#define SEND_SIZE 65536

size_t asyncore_out_buffer_length(const struct asyncore_dispatcher *d)
{
    const struct channel *c = channel_of(d);

    return c->out_buffer ? evbuffer_get_length(c->out_buffer) : 0;
}

static bool has_reserve(struct asyncore_map *map)
{
    struct evbuffer *reserve = map->reserve;

    if (reserve)
        return true;
    reserve = evbuffer_new();
    if (reserve && evbuffer_expand(reserve, SEND_SIZE) < 0) {
        evbuffer_free(reserve);
        reserve = NULL;
    }
    map->reserve = reserve;
    return reserve;
}

static int enqueue(struct channel *c, const void *data, size_t len)
{
    if (!c->out_buffer)
        c->out_buffer = evbuffer_new();
    return c->out_buffer && evbuffer_add(c->out_buffer, data, len) == 0 ? 0 : -ENOMEM;
}

/* The rest of a short send, at most SEND_SIZE bytes: into memory of its own size if there is any,
 * otherwise the reserve becomes the queue. */
static void enqueue_rest(struct channel *c, const char *data, size_t len)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    channel_touch(c);
    if (enqueue(c, data, len) == 0)
        return;
    evbuffer_add(map->reserve, data, len);
    if (c->out_buffer) {
        evbuffer_add_buffer(c->out_buffer, map->reserve);
        evbuffer_free(map->reserve);
    } else {
        c->out_buffer = map->reserve;
    }
    map->reserve = NULL;
}

int asyncore_initiate_send(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    struct evbuffer_iovec pieces[16];
    char none[1];
    struct iovec iov[16] = {{.iov_base = none}}; /* an empty queue is sent too: it may be the end */
    size_t offered = 0;
    int n = 0, sent;

    if (!asyncore_isinstance(d, &asyncore_dispatcher_with_send_class))
        return -EINVAL;
    if (!c->socket)
        return dispatcher_without_socket(c);
    if (c->out_buffer)
        n = evbuffer_peek(c->out_buffer, SEND_SIZE, NULL, pieces, 16);
    n = n < 16 ? n : 16;
    for (int i = 0; i < n; i++) {
        size_t room = SEND_SIZE - offered;

        iov[i].iov_base = pieces[i].iov_base;
        iov[i].iov_len = pieces[i].iov_len < room ? pieces[i].iov_len : room;
        offered += iov[i].iov_len;
    }
    asyncore_ref(d); /* dispatcher_sent may call handle_close */
    sent = dispatcher_sent(d, offered, socket_sendv(c->socket, iov, n > 0 ? n : 1));
    if (sent > 0)
        evbuffer_drain(c->out_buffer, (size_t)sent);
    channel_touch(c);
    asyncore_unref(d);
    return sent < 0 ? sent : 0;
}

static int send_and_queue(struct asyncore_dispatcher *d, const char *data, size_t len)
{
    struct channel *c = channel_of(d);
    int sent = asyncore_socket_send(channel_use_socket(c), data, len, 0);
    size_t taken = sent > 0 ? (size_t)sent : 0;

    if (taken < len)
        enqueue_rest(c, data + taken, len - taken);
    sent = dispatcher_sent(d, len, sent);
    return sent < 0 ? sent : 0;
}

static int queue_and_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct channel *c = channel_of(d);
    int r = enqueue(c, data, len);

    if (r < 0)
        return r;
    channel_touch(c);
    return d->connected ? asyncore_initiate_send(d) : 0;
}

int asyncore_dispatcher_with_send_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct channel *c = channel_of(d);
    bool at_once;
    int r;

    if (!c->socket)
        return dispatcher_without_socket(c);
    r = d->debug ? log_sending(d, data, len) : 0; /* which may close d */
    if (r < 0)
        return r;
    at_once = c->socket && d->connected && len <= SEND_SIZE && asyncore_out_buffer_length(d) == 0;
    if (at_once && !has_reserve(d->map))
        return -ENOMEM;
    r = at_once ? send_and_queue(d, data, len) : queue_and_send(d, data, len);
    return r < 0 ? r : (int)(len < INT_MAX ? len : INT_MAX);
}

int asyncore_dispatcher_with_send_handle_write(struct asyncore_dispatcher *d)
{
    return asyncore_initiate_send(d);
}

int asyncore_dispatcher_with_send_writable(struct asyncore_dispatcher *d)
{
    return !d->connected || asyncore_out_buffer_length(d) > 0;
}

const struct asyncore_class asyncore_dispatcher_with_send_class = {
    .table_size = sizeof(struct asyncore_class),
    .name = "asyncore.dispatcher_with_send",
    .super = &asyncore_dispatcher_class,
    .size = sizeof(struct asyncore_dispatcher_with_send),
    .handle_write = asyncore_dispatcher_with_send_handle_write,
    .writable = asyncore_dispatcher_with_send_writable,
    .send = asyncore_dispatcher_with_send_send,
};

struct asyncore_dispatcher_with_send *asyncore_dispatcher_with_send_new(int sock,
                                                                        struct asyncore_map *map)
{
    return (struct asyncore_dispatcher_with_send *)(void *)asyncore_new(
        &asyncore_dispatcher_with_send_class, sock, map);
}
