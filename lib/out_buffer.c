/*
 * The output of a channel that the socket has not taken yet.
 *
 * A short send must not then fail for want of memory: the map keeps a reserve into which the rest
 * of one send always fits.
 */
#include "chat_internal.h"

#include <errno.h>

#include <event2/buffer.h>

/* Buffers of one sendmsg. */
#define PIECES 256

size_t asyncore_out_buffer_length(const struct asyncore_dispatcher *d)
{
    const struct channel *c = channel_of(d);

    return (c->out_buffer ? evbuffer_get_length(c->out_buffer) : 0) + chat_queued(c);
}

void out_buffer_discard(struct channel *c)
{
    if (c->chat) {
        chat_discard_output(c->chat);
        chat_release_references(c->chat);
    } else if (c->out_buffer)
        evbuffer_drain(c->out_buffer, evbuffer_get_length(c->out_buffer));
}

bool out_buffer_has_reserve(struct asyncore_map *map)
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

int out_buffer_add(struct channel *c, const void *data, size_t len)
{
    if (!c->out_buffer)
        c->out_buffer = evbuffer_new();
    return c->out_buffer && evbuffer_add(c->out_buffer, data, len) == 0 ? 0 : -ENOMEM;
}

/* Into memory of its own size if there is any, otherwise the reserve becomes the queue. */
void out_buffer_add_rest(struct channel *c, const void *data, size_t len)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (out_buffer_add(c, data, len) == 0)
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

int out_buffer_send(struct channel *c, size_t limit, size_t *offered, int flags)
{
    struct evbuffer_iovec pieces[PIECES]; /* libevent's name for struct iovec */
    char none[1];
    int n = 0, sent;

    *offered = 0;
    if (c->out_buffer)
        n = evbuffer_peek(c->out_buffer, -1, NULL, pieces, PIECES); /* with a limit it counts all */
    n = n < PIECES ? n : PIECES;
    for (int i = 0; i < n; i++) {
        if (pieces[i].iov_len >= limit - *offered) {
            pieces[i].iov_len = limit - *offered;
            n = i + 1;
        }
        *offered += pieces[i].iov_len;
    }
    if (n == 0)
        pieces[n++] = (struct iovec){.iov_base = none};
    sent = channel_sent(c, socket_sendv(c->socket, pieces, n, flags));
    if (sent > 0)
        evbuffer_drain(c->out_buffer, (size_t)sent);
    return sent;
}
