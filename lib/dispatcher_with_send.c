/*
 * dispatcher_with_send: what the socket does not take is queued.
 *
 * send loses nothing: it either takes all of the data or fails with nothing taken. The common case,
 * an empty queue and a socket that takes everything, copies nothing.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int asyncore_initiate_send(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    size_t offered;
    int sent;

    if (!asyncore_isinstance(d, &asyncore_dispatcher_with_send_class))
        return -EINVAL;
    if (!c->socket)
        return dispatcher_without_socket(c);
    asyncore_ref(d); /* dispatcher_sent may call handle_close */
    sent = out_buffer_send(c, SEND_SIZE, &offered, 0);
    pressure_look(c);
    sent = dispatcher_sent(d, offered, sent);
    channel_touch(c);
    asyncore_unref(d);
    return sent < 0 ? sent : 0;
}

static int send_and_queue(struct asyncore_dispatcher *d, const char *data, size_t len)
{
    struct channel *c = channel_of(d);
    int sent = channel_sent(c, asyncore_socket_send(channel_use_socket(c), data, len, 0));
    size_t taken = sent > 0 ? (size_t)sent : 0;

    if (taken < len) {
        channel_touch(c);
        out_buffer_add_rest(c, data + taken, len - taken);
        pressure_look(c);
    }
    sent = dispatcher_sent(d, len, sent);
    return sent < 0 ? sent : 0;
}

static int queue_and_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct channel *c = channel_of(d);
    int r = out_buffer_add(c, data, len);

    if (r < 0)
        return r;
    channel_touch(c);
    if (d->connected)
        return asyncore_initiate_send(d);
    pressure_look(c);
    return 0;
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
    if (at_once && !out_buffer_has_reserve(d->map))
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
