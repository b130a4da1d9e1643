/*
 * asyncore_X: calls of method X of a channel, whichever of its classes has it.
 *
 * Each keeps the channel while its method runs, whatever that does to it or to its map, and notes
 * its name as the place of an error that comes without one. asynchat_X: the same, of an async_chat.
 */
#include "internal.h"

#include <errno.h>

/* Makes cls the class that has the method. The base has all of them, so the walk ends. */
#define FIND(d, method)                                                                            \
    const struct asyncore_class *cls = (d)->cls;                                                   \
    while (!HAS(cls, method))                                                                      \
    cls = cls->super

#define CALL(d, name, ...)                                                                         \
    do {                                                                                           \
        FIND(d, name);                                                                             \
        channel_of(d)->refs++;                                                                     \
        return called(d, cls->name(__VA_ARGS__), #name);                                           \
    } while (0)

static int called(struct asyncore_dispatcher *d, int result, const char *name)
{
    if (__builtin_expect(result < 0, 0) && result != -EAGAIN)
        error_note(d->map, result, name);
    channel_release(channel_of(d));
    return result;
}

#define METHOD(name)                                                                               \
    int asyncore_##name(struct asyncore_dispatcher *d)                                             \
    {                                                                                              \
        CALL(d, name, d);                                                                          \
    }

METHOD(readable)
METHOD(writable)
METHOD(handle_read_event)
METHOD(handle_write_event)
METHOD(handle_expt_event)
METHOD(handle_connect_event)
METHOD(handle_read)
METHOD(handle_write)
METHOD(handle_expt)
METHOD(handle_connect)
METHOD(handle_accept)
METHOD(handle_close)
METHOD(handle_drain)
METHOD(handle_timeout)
METHOD(close)

static int call_handle_error(struct asyncore_dispatcher *d)
{
    CALL(d, handle_error, d);
}

int asyncore_handle_error(struct asyncore_dispatcher *d)
{
    struct asyncore_map *map = d->map;
    struct handled handled;
    int r;

    map_hold(map);
    error_begin(map, &handled);
    r = call_handle_error(d);
    error_resume(map, handled.outer);
    if (r < 0 && r != -EAGAIN)
        error_note(map, r, "handle_error");
    map_drop(map);
    return r;
}

int asyncore_handle_accepted(struct asyncore_dispatcher *d, int sock, const struct sockaddr *addr,
                             socklen_t addrlen)
{
    CALL(d, handle_accepted, d, sock, addr, addrlen);
}

int asyncore_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    CALL(d, send, d, data, len);
}

int asyncore_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    CALL(d, recv, d, buf, len);
}

int asyncore_log(struct asyncore_dispatcher *d, const char *message)
{
    CALL(d, log, d, message);
}

int asyncore_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    CALL(d, log_info, d, message, type ? type : ASYNCORE_LOG_INFO);
}

int asyncore_repr(const struct asyncore_dispatcher *d, char *buf, size_t size)
{
    FIND(d, repr);
    return cls->repr(d, buf, size);
}

#define CHAT_METHOD(name)                                                                          \
    int asynchat_##name(struct asyncore_dispatcher *d)                                             \
    {                                                                                              \
        if (!channel_of(d)->chat)                                                                  \
            return -EINVAL;                                                                        \
        CALL(d, name, d);                                                                          \
    }

CHAT_METHOD(found_terminator)
CHAT_METHOD(handle_collect_limit)
CHAT_METHOD(handle_high_water)

int asynchat_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    if (!channel_of(d)->chat)
        return -EINVAL;
    CALL(d, collect_incoming_data, d, data, len);
}
