/*
 * async_chat: the class, and what is neither input nor output alone.
 *
 * Its state lies in front of the channel, so that it is there before init and until the end.
 */
#include "chat_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <event2/buffer.h>

/* --- the channel's part ---------------------------------------------------------------------- */

size_t chat_room(const struct asyncore_class *cls)
{
    for (; cls; cls = cls->super)
        if (cls == &asynchat_async_chat_class)
            return ALIGNED(sizeof(struct chat));
    return 0;
}

static bool has_own_send(const struct asyncore_class *cls)
{
    for (; cls != &asynchat_async_chat_class; cls = cls->super)
        if (HAS(cls, send))
            return true;
    return false;
}

static size_t in_size_of(const struct asyncore_class *cls)
{
    while (!HAS(cls, ac_in_buffer_size))
        cls = cls->super;
    return cls->ac_in_buffer_size;
}

static size_t out_size_of(const struct asyncore_class *cls)
{
    while (!HAS(cls, ac_out_buffer_size))
        cls = cls->super;
    return cls->ac_out_buffer_size;
}

/* recv takes no more than an int. */
static void set_in_size(struct chat *chat, size_t size)
{
    chat->in_size = size < INT_MAX ? size : INT_MAX;
}

void chat_begin(struct channel *c, struct chat *chat)
{
    const struct asyncore_class *cls = dispatcher_of(c)->cls, *collects = cls, *finds = cls;

    while (!HAS(collects, collect_incoming_data))
        collects = collects->super;
    while (!HAS(finds, found_terminator))
        finds = finds->super;
    c->chat = chat;
    chat->channel = c;
    chat->own_send = has_own_send(cls);
    chat->collect = collects->collect_incoming_data;
    chat->found = finds->found_terminator;
    set_in_size(chat, in_size_of(cls));
    chat->out_size = out_size_of(cls);
    TAILQ_INIT(&chat->queue);
    STAILQ_INIT(&chat->ended);
}

void chat_end(struct chat *chat)
{
    do { /* who is told of the end may push once more */
        chat_discard_output(chat);
        chat_release_references(chat);
    } while (!chat_is_empty(chat));
    chat_discard_input(chat);
    if (chat->incoming)
        evbuffer_free(chat->incoming);
    free(chat->terminator.borders);
}

int asynchat_discard_buffers(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    chat_discard_input(chat);
    chat_discard_incoming(chat);
    chat_discard_output(chat);
    pressure_look(chat->channel);
    channel_touch(chat->channel);
    chat_release_references(chat);
    return 0;
}

/* --- attributes ------------------------------------------------------------------------------ */

int asynchat_set_ac_in_buffer_size(struct asyncore_dispatcher *d, size_t size)
{
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    set_in_size(chat, size > 0 ? size : in_size_of(d->cls));
    return 0;
}

size_t asynchat_ac_in_buffer_size(const struct asyncore_dispatcher *d)
{
    return chat_of(d) ? chat_of(d)->in_size : 0;
}

int asynchat_set_ac_out_buffer_size(struct asyncore_dispatcher *d, size_t size)
{
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    chat->out_size = size > 0 ? size : out_size_of(d->cls);
    return 0;
}

size_t asynchat_ac_out_buffer_size(const struct asyncore_dispatcher *d)
{
    return chat_of(d) ? chat_of(d)->out_size : 0;
}

/* --- the class ------------------------------------------------------------------------------- */

int asynchat_async_chat_init(struct asyncore_dispatcher *d, int sock)
{
    return chat_of(d) ? asyncore_dispatcher_init(d, sock) : -EINVAL;
}

int asynchat_async_chat_handle_close(struct asyncore_dispatcher *d)
{
    return chat_of(d) ? asyncore_close(d) : -EINVAL;
}

static int not_implemented(struct asyncore_dispatcher *d, const char *method)
{
    if (!chat_of(d))
        return -EINVAL;
    return asyncore_raise_at(d, -ENOSYS, __FILE__, method, __LINE__,
                             "%s must be implemented in a class derived from async_chat", method);
}

int asynchat_async_chat_collect_incoming_data(struct asyncore_dispatcher *d, const void *data,
                                              size_t len)
{
    (void)data;
    (void)len;
    return not_implemented(d, "collect_incoming_data");
}

int asynchat_async_chat_found_terminator(struct asyncore_dispatcher *d)
{
    return not_implemented(d, "found_terminator");
}

const struct asyncore_class asynchat_async_chat_class = {
    .table_size = sizeof(struct asyncore_class),
    .name = "asynchat.async_chat",
    .super = &asyncore_dispatcher_class,
    .size = sizeof(struct asynchat_async_chat),
    .init = asynchat_async_chat_init,
    .readable = asynchat_async_chat_readable,
    .writable = asynchat_async_chat_writable,
    .handle_read = asynchat_async_chat_handle_read,
    .handle_write = asynchat_async_chat_handle_write,
    .handle_close = asynchat_async_chat_handle_close,
    .collect_incoming_data = asynchat_async_chat_collect_incoming_data,
    .found_terminator = asynchat_async_chat_found_terminator,
    .handle_collect_limit = asynchat_async_chat_handle_collect_limit,
    .handle_high_water = asynchat_async_chat_handle_high_water,
    .ac_in_buffer_size = ASYNCHAT_BUFFER_SIZE,
    .ac_out_buffer_size = ASYNCHAT_BUFFER_SIZE,
};

struct asynchat_async_chat *asynchat_async_chat_new(int sock, struct asyncore_map *map)
{
    return (struct asynchat_async_chat *)(void *)asyncore_new(&asynchat_async_chat_class, sock,
                                                              map);
}
