/*
 * Channels for back-pressure: see pressure_probe.h.
 */
#include "pressure_probe.h"

#include "scripted_socket.h"
#include "support.h"

#include <asyncore/chat.h>

#include <errno.h>
#include <unistd.h>

/* --- sources --------------------------------------------------------------------------------- */

static int source_handle_read(struct asyncore_dispatcher *d)
{
    struct source *self = source_of(d);
    char data[8192];
    int n = asyncore_recv(d, data, sizeof data);

    if (n <= 0)
        return n;
    probe_note("%s.read", self->name);
    self->total += (size_t)n;
    return self->on_read ? self->on_read(self) : 0;
}

static int source_handle_drain(struct asyncore_dispatcher *d)
{
    struct source *self = source_of(d);

    probe_note("%s.drain", self->name);
    return self->on_drain ? self->on_drain(self) : asyncore_dispatcher_handle_drain(d);
}

static int source_handle_close(struct asyncore_dispatcher *d)
{
    probe_note("%s.close", source_of(d)->name);
    return asyncore_close(d);
}

static int source_handle_error(struct asyncore_dispatcher *d)
{
    probe_note("%s.error(%s)", source_of(d)->name,
               asyncore_errorcode(asyncore_compact_traceback(d)->error));
    return asyncore_close(d);
}

static int always_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 1;
}

ASYNCORE_DEFINE_CLASS(source, asyncore_dispatcher_with_send, .handle_read = source_handle_read,
                      .handle_drain = source_handle_drain, .handle_close = source_handle_close,
                      .handle_error = source_handle_error);
ASYNCORE_DEFINE_CLASS(asked_source, source, .readable = always_readable);
ASYNCORE_DEFINE_CLASS(quiet_source, source, .interest = ASYNCORE_INTEREST_ON_CHANGE,
                      .readable = always_readable);

const struct asyncore_class *const source_classes[SOURCE_CLASSES] = {
    &source_class, &asked_source_class, &quiet_source_class};

struct source *source_make(const struct asyncore_class *cls, const char *name,
                           struct asyncore_map *map, int *peer)
{
    struct asyncore_dispatcher *made;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    *peer = pair[1];
    made = asyncore_new(cls, pair[0], map);
    ck_assert_ptr_nonnull(made);
    source_of(made)->name = name;
    return source_of(made);
}

struct source *source_ready(const struct asyncore_class *cls, int i)
{
    static const char *const names[CHANNELS] = {"a", "b", "c", "d"};
    struct source *self = source_make(cls, names[i], the_map, &peers[i]);

    test_write_all(peers[i], "x", 1);
    return self;
}

/* --- sinks ----------------------------------------------------------------------------------- */

static size_t room[1024]; /* by descriptor */

static int take(const struct asyncore_socket *s, size_t len)
{
    const size_t n = len < room[s->fd] ? len : room[s->fd];

    room[s->fd] -= n;
    return n > 0 || len == 0 ? (int)n : -EAGAIN;
}

static int do_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    (void)buf;
    (void)flags;
    return take(s, len);
}

static int do_sendv(struct asyncore_socket *s, const struct iovec *iov, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++)
        len += iov[i].iov_len;
    return take(s, len);
}

void sink_give_socket(struct asyncore_dispatcher *d, int *peer)
{
    static struct scripted_calls calls;
    struct scripted_socket *s = scripted_new(SCRIPTED_SENDV, &calls, peer);

    ck_assert_int_lt(s->base.fd, (int)(sizeof room / sizeof *room));
    room[s->base.fd] = 0;
    s->table.send = do_send;
    s->table.sendv = do_sendv;
    ck_assert_int_eq(asyncore_set_socket_object(d, &s->base, NULL), 0);
    asyncore_set_connected(d, true);
}

struct asyncore_dispatcher *sink_make(int kind, struct asyncore_map *map, int *peer)
{
    const struct asyncore_class *cls =
        kind == SINK_CHAT ? &asynchat_async_chat_class : &asyncore_dispatcher_with_send_class;
    struct asyncore_dispatcher *made = asyncore_new(cls, -1, map);

    ck_assert_ptr_nonnull(made);
    sink_give_socket(made, peer);
    return made;
}

static bool is_chat(const struct asyncore_dispatcher *sink)
{
    return asyncore_isinstance(sink, &asynchat_async_chat_class);
}

int sink_put(struct asyncore_dispatcher *sink, size_t count)
{
    static char data[65536];
    int r;

    ck_assert_uint_le(count, sizeof data);
    r = is_chat(sink) ? asynchat_push(sink, data, count) : asyncore_send(sink, data, count);
    return r < 0 ? r : 0;
}

void sink_open(struct asyncore_dispatcher *sink, size_t count)
{
    room[asyncore_fileno(sink)] += count;
}

void sink_take(struct asyncore_dispatcher *sink, size_t count)
{
    int r;

    sink_open(sink, count);
    r = is_chat(sink) ? asynchat_initiate_send(sink) : asyncore_initiate_send(sink);
    ck_assert_int_eq(r, 0);
}
