/*
 * asyncore_X: calls of method X of a channel, whichever of its classes has it.
 *
 * Each notes its name as the place of an error that comes without one.
 */
#include "internal.h"

/* The base has all of them, so the walk ends. */
#define FIND(d, cls, method)                                                                       \
    const struct asyncore_class *cls = (d)->cls;                                                   \
    while (!HAS(cls, method))                                                                      \
    cls = cls->super

static int named(const struct asyncore_dispatcher *d, int result, const char *name)
{
    if (__builtin_expect(result < 0, 0))
        error_note(d->map, result, name);
    return result;
}

#define METHOD(name)                                                                               \
    int asyncore_##name(struct asyncore_dispatcher *d)                                             \
    {                                                                                              \
        FIND(d, cls, name);                                                                        \
        return named(d, cls->name(d), #name);                                                      \
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
METHOD(handle_error)
METHOD(close)

int asyncore_handle_accepted(struct asyncore_dispatcher *d, int sock, const struct sockaddr *addr,
                             socklen_t addrlen)
{
    FIND(d, cls, handle_accepted);
    return named(d, cls->handle_accepted(d, sock, addr, addrlen), "handle_accepted");
}

int asyncore_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    FIND(d, cls, send);
    return named(d, cls->send(d, data, len), "send");
}

int asyncore_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    FIND(d, cls, recv);
    return named(d, cls->recv(d, buf, len), "recv");
}

int asyncore_log(struct asyncore_dispatcher *d, const char *message)
{
    FIND(d, cls, log);
    return named(d, cls->log(d, message), "log");
}

int asyncore_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    FIND(d, cls, log_info);
    return named(d, cls->log_info(d, message, type ? type : ASYNCORE_LOG_INFO), "log_info");
}

int asyncore_repr(const struct asyncore_dispatcher *d, char *buf, size_t size)
{
    FIND(d, cls, repr);
    return cls->repr(d, buf, size);
}
