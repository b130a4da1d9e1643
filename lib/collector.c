/*
 * The ready-made collector of an async_chat.
 *
 * A piece that the terminator follows is lent: it stays where handle_read has it, and its 0 takes
 * the place of the terminator, which is through with. Only what is still kept when found_terminator
 * has returned is copied. What asynchat_get_data has given out of the buffer stays at its front
 * until the next call; its 0 lies in the space behind, which is not part of it.
 */
#include "chat_internal.h"

#include <errno.h>

#include <event2/buffer.h>

/* Without what was given out; NULL: no memory. */
static struct evbuffer *buffer_of(struct chat *chat)
{
    if (!chat->incoming)
        chat->incoming = evbuffer_new();
    if (chat->given > 0)
        evbuffer_drain(chat->incoming, chat->given);
    chat->given = 0;
    return chat->incoming;
}

/* Into a new buffer behind asynchat_get_data: data may be a part of what that gave out. */
static int add(struct chat *chat, const void *data, size_t len)
{
    const bool fresh = !chat->incoming || chat->given > 0;
    struct evbuffer *buffer = fresh ? evbuffer_new() : chat->incoming;

    if (!buffer)
        return -ENOMEM;
    if (evbuffer_add(buffer, data, len) < 0) {
        if (fresh)
            evbuffer_free(buffer);
        return -ENOMEM;
    }
    if (fresh && chat->incoming)
        evbuffer_free(chat->incoming);
    if (fresh)
        chat->given = 0;
    chat->incoming = buffer;
    return 0;
}

static bool has_incoming(const struct chat *chat)
{
    return chat->lent || (chat->incoming && evbuffer_get_length(chat->incoming) > chat->given);
}

int chat_copy_lent(struct chat *chat)
{
    int r = chat->lent ? add(chat, chat->lent, chat->lent_len) : 0;

    if (r == 0)
        chat->lent = NULL;
    return r;
}

struct evbuffer *asynchat_incoming(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);

    return chat && chat_copy_lent(chat) == 0 ? buffer_of(chat) : NULL;
}

int asynchat_keep_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct chat *chat = chat_of(d);
    int r;

    if (!chat)
        return -EINVAL;
    if (data == chat->lendable && !has_incoming(chat)) {
        chat->lent = chat->lendable;
        chat->lent_len = len;
        return 0;
    }
    r = chat_copy_lent(chat);
    return r < 0 ? r : add(chat, data, len);
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

/* Not inlined: what is lent is the more common case. */
static __attribute__((noinline)) char *give(struct chat *chat, size_t *len)
{
    struct evbuffer *buffer = buffer_of(chat);
    struct evbuffer_iovec data = {.iov_len = 0}, room;
    size_t kept;

    if (!buffer || evbuffer_reserve_space(buffer, 1, &room, 1) != 1)
        return NULL;
    kept = evbuffer_get_length(buffer);
    evbuffer_peek(buffer, -1, NULL, &data, 1);
    if (kept > 0 && (data.iov_len != kept || (char *)data.iov_base + kept != room.iov_base)) {
        buffer = copy_of(buffer, kept);
        if (!buffer)
            return NULL;
        evbuffer_free(chat->incoming);
        chat->incoming = buffer;
        evbuffer_reserve_space(buffer, 1, &room, 1);
    }
    *(char *)room.iov_base = '\0';
    chat->given = kept;
    *len = kept;
    return (char *)room.iov_base - kept;
}

char *asynchat_get_data(struct asyncore_dispatcher *d, size_t *len)
{
    struct chat *chat = chat_of(d);
    size_t unused;

    if (!chat)
        return NULL;
    if (!len)
        len = &unused;
    /* While it is being handed out it may have to be handed out again. */
    if (chat->lendable && chat_copy_lent(chat) < 0)
        return NULL;
    if (!chat->lent)
        return give(chat, len);
    char *data = chat->lent;

    chat->lent = NULL;
    *len = chat->lent_len;
    data[*len] = '\0';
    return data;
}

void chat_discard_incoming(struct chat *chat)
{
    chat->lent = NULL;
    if (chat->incoming)
        evbuffer_drain(chat->incoming, evbuffer_get_length(chat->incoming));
    chat->given = 0;
}
