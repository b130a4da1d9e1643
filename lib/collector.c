/*
 * The ready-made collector of an async_chat.
 *
 * What asynchat_get_data has given out stays at the front of the buffer until the next call; its 0
 * lies in the space behind, which is not part of it.
 */
#include "chat_internal.h"

#include <errno.h>

#include <event2/buffer.h>

/* Without what was given out; NULL: no memory. */
static struct evbuffer *incoming(struct chat *chat)
{
    if (!chat->incoming)
        chat->incoming = evbuffer_new();
    if (chat->given > 0)
        evbuffer_drain(chat->incoming, chat->given);
    chat->given = 0;
    return chat->incoming;
}

struct evbuffer *asynchat_incoming(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);

    return chat ? incoming(chat) : NULL;
}

int asynchat_keep_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    return incoming(chat) && evbuffer_add(chat->incoming, data, len) == 0 ? 0 : -ENOMEM;
}

/* Room for the data and the 0, in one piece; NULL: no memory. */
static struct evbuffer *copy_of(struct evbuffer *buffer, size_t len)
{
    struct evbuffer *copy = evbuffer_new();
    struct evbuffer_iovec room;

    if (!copy || evbuffer_reserve_space(copy, (ev_ssize_t)len + 1, &room, 1) != 1) {
        if (copy)
            evbuffer_free(copy);
        return NULL;
    }
    evbuffer_copyout(buffer, room.iov_base, len);
    room.iov_len = len;
    evbuffer_commit_space(copy, &room, 1);
    return copy;
}

char *asynchat_get_data(struct asyncore_dispatcher *d, size_t *len)
{
    struct evbuffer *buffer = asynchat_incoming(d);
    struct evbuffer_iovec data = {.iov_len = 0}, room;
    size_t kept;

    if (!buffer)
        return NULL;
    kept = evbuffer_get_length(buffer);
    if (evbuffer_reserve_space(buffer, 1, &room, 1) != 1)
        return NULL;
    evbuffer_peek(buffer, -1, NULL, &data, 1);
    if (kept > 0 && (data.iov_len != kept || (char *)data.iov_base + kept != room.iov_base)) {
        buffer = copy_of(buffer, kept);
        if (!buffer)
            return NULL;
        evbuffer_free(chat_of(d)->incoming);
        chat_of(d)->incoming = buffer;
        evbuffer_reserve_space(buffer, 1, &room, 1);
    }
    *(char *)room.iov_base = '\0';
    chat_of(d)->given = kept;
    if (len)
        *len = kept;
    return (char *)room.iov_base - kept;
}

void chat_discard_incoming(struct chat *chat)
{
    struct evbuffer *buffer = chat->incoming ? incoming(chat) : NULL;

    if (buffer)
        evbuffer_drain(buffer, evbuffer_get_length(buffer));
}
