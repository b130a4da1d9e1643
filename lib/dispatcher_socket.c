/*
 * The socket methods of dispatcher: making, giving and taking sockets, connections, and data.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>

#include <event2/util.h>

static int syscall_result(int r)
{
    return r < 0 ? -errno : r;
}

int asyncore_fileno(const struct asyncore_dispatcher *d)
{
    const struct channel *c = channel_of(d);

    return c->socket ? c->socket->fd : -1;
}

struct asyncore_socket *asyncore_socket(const struct asyncore_dispatcher *d)
{
    return channel_of(d)->socket;
}

struct asyncore_socket *channel_use_socket(struct channel *c)
{
    if (c->on_change || c->own_mind || c->asked)
        channel_touch(c);
    return c->socket;
}

struct asyncore_socket *channel_use_socket_to_send(struct channel *c)
{
    chat_send_gathered(c);
    return channel_use_socket(c);
}

/* --- giving and taking ----------------------------------------------------------------------- */

int channel_drop_socket(struct channel *c, bool detach)
{
    struct asyncore_socket *s;
    int r;

    chat_send_last(c); /* a producer may have another socket set */
    s = c->socket;
    if (!s)
        return detach ? -EBADF : 0;
    chat_drop_input(c);
    asyncore_del_channel(dispatcher_of(c));
    watch_release(c);
    batch_remove(c);
    c->socket = NULL;
    c->generation++;
    c->ask_write = c->told = false;
    r = detach ? s->cls->detach(s) : s->cls->close(s);
    if (HAS(s->cls, free))
        s->cls->free(s);
    return r;
}

int asyncore_detach(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    int fd;

    if (!c->socket || c->socket->fd < 0)
        return -EBADF;
    if (!HAS(c->socket->cls, detach))
        return -ENOTSUP;
    asyncore_ref(d); /* a release of what was pushed may free the map */
    fd = channel_drop_socket(c, true);
    out_buffer_discard(c);
    (void)asyncore_dispatcher_close(d);
    asyncore_unref(d);
    return fd;
}

/* What the loop must know of the descriptor. */
struct nature {
    bool stream;
    bool is_file;
    bool read_end;
    bool always;
};

static int file_nature(struct asyncore_socket *s, struct nature *nature)
{
    int r = file_is_always_ready(s);

    *nature = (struct nature){.is_file = true, .read_end = file_is_read_end(s), .always = r > 0};
    return r < 0 ? r : file_wrapper_set_nonblocking(s);
}

static int socket_nature(struct asyncore_socket *s, struct nature *nature)
{
    int type = 0;
    socklen_t length = sizeof type;

    *nature = (struct nature){.stream = false};
    if (getsockopt(s->fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 &&
        (errno != ENOTSOCK || s->cls == &plain_socket_class))
        return -errno;
    nature->stream = type == SOCK_STREAM;
    return evutil_make_socket_nonblocking(s->fd) < 0 ? -errno : 0;
}

static int give(struct asyncore_dispatcher *d, struct asyncore_socket *s, struct nature nature,
                struct asyncore_map *map)
{
    struct channel *c = channel_of(d);
    int r;

    (void)channel_drop_socket(c, false);
    if (s->cls == &plain_socket_class) {
        c->plain = *s;
        s = &c->plain;
    }
    c->socket = s;
    c->generation++;
    c->stream = nature.stream;
    c->is_file = nature.is_file;
    c->read_end = nature.read_end;
    c->always = nature.always;
    c->own_mind = HAS(s->cls, pending) || HAS(s->cls, want);
    c->closed = c->created = false;
    if (c->place == PLACE_DOOMED)
        map_place(c, PLACE_OUTSIDE);
    r = c->is_file ? file_wrapper_set_nonblocking(s) : 0; /* the old one may have taken it back */
    if (r == 0)
        r = asyncore_add_channel(d, map);
    if (r < 0)
        (void)channel_drop_socket(c, false);
    return r;
}

int dispatcher_give_accepted(struct asyncore_dispatcher *d)
{
    struct asyncore_socket s = {.cls = &plain_socket_class, .fd = d->map->accepted};
    struct nature nature = {.stream = d->map->accepted_stream};

    channel_of(d)->consumed = true;
    return give(d, &s, nature, NULL);
}

int asyncore_set_socket_object(struct asyncore_dispatcher *d, struct asyncore_socket *sock,
                               struct asyncore_map *map)
{
    struct nature nature;
    int r;

    channel_of(d)->consumed = true; /* whatever comes */
    if ((map ? map : d->map)->freed)
        r = -EINVAL;
    else if (sock->cls == &file_wrapper_class)
        r = file_nature(sock, &nature);
    else
        r = socket_nature(sock, &nature);
    if (r == 0)
        return give(d, sock, nature, map);
    asyncore_socket_free(sock);
    return r;
}

int asyncore_set_socket(struct asyncore_dispatcher *d, int sock, struct asyncore_map *map)
{
    struct asyncore_socket s = {.cls = &plain_socket_class, .fd = sock};

    return asyncore_set_socket_object(d, &s, map);
}

int asyncore_create_socket(struct asyncore_dispatcher *d, int family, int type)
{
    struct asyncore_socket s = {.cls = &plain_socket_class};
    struct nature nature = {.stream = (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM};
    int r;

    if (d->map->freed)
        return -EINVAL;
    s.fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    r = s.fd < 0 ? -errno : give(d, &s, nature, NULL);
    if (r == 0)
        channel_of(d)->created = nature.stream;
    return r;
}

/* --- options and addresses ------------------------------------------------------------------- */

int asyncore_setsockopt(struct asyncore_dispatcher *d, int level, int name, const void *value,
                        socklen_t len)
{
    return syscall_result(setsockopt(asyncore_fileno(d), level, name, value, len));
}

int asyncore_getsockopt(struct asyncore_dispatcher *d, int level, int name, void *value,
                        socklen_t *len)
{
    struct asyncore_socket *s = channel_of(d)->socket;

    return s ? asyncore_socket_getsockopt(s, level, name, value, len) : -EBADF;
}

/* A file has no methods of a socket in Python either. */
static bool has_file(const struct asyncore_dispatcher *d)
{
    const struct channel *c = channel_of(d);

    return c->socket && c->is_file;
}

static int reuse(struct asyncore_dispatcher *d, int name)
{
    const int on = 1;

    if (channel_of(d)->generation == 0)
        return -EBADF; /* there never was a socket */
    if (has_file(d))
        return -ENOTSOCK;
    (void)asyncore_setsockopt(d, SOL_SOCKET, name, &on, sizeof on);
    return 0;
}

int asyncore_set_reuse_addr(struct asyncore_dispatcher *d)
{
    return reuse(d, SO_REUSEADDR);
}

int asyncore_set_reuse_port(struct asyncore_dispatcher *d)
{
    return reuse(d, SO_REUSEPORT);
}

int asyncore_getsockname(const struct asyncore_dispatcher *d, struct sockaddr *addr,
                         socklen_t *addrlen)
{
    return syscall_result(getsockname(asyncore_fileno(d), addr, addrlen));
}

int asyncore_getpeername(const struct asyncore_dispatcher *d, struct sockaddr *addr,
                         socklen_t *addrlen)
{
    return syscall_result(getpeername(asyncore_fileno(d), addr, addrlen));
}

int asyncore_shutdown(struct asyncore_dispatcher *d, int how)
{
    (void)channel_use_socket_to_send(channel_of(d));
    return syscall_result(shutdown(asyncore_fileno(d), how));
}

/* --- connections ----------------------------------------------------------------------------- */

int asyncore_listen(struct asyncore_dispatcher *d, int backlog)
{
    asyncore_set_accepting(d, true);
    return syscall_result(listen(asyncore_fileno(d), backlog));
}

int asyncore_bind(struct asyncore_dispatcher *d, const struct sockaddr *addr, socklen_t addrlen)
{
    int r = address_set(&channel_of(d)->addr, addr, addrlen);

    return r < 0 ? r : syscall_result(bind(asyncore_fileno(d), addr, addrlen));
}

int asyncore_connect(struct asyncore_dispatcher *d, const struct sockaddr *addr, socklen_t addrlen)
{
    struct channel *c = channel_of(d);
    struct address noted = {.length = 0};
    int r = address_set(&noted, addr, addrlen); /* before anything happens that needs it */

    if (r < 0)
        return r;
    d->connected = false;
    d->connecting = true;
    channel_touch(c);
    do
        r = syscall_result(connect(asyncore_fileno(d), addr, addrlen));
    while (r == -EINTR);
    timeout_connecting(c, r == -EINPROGRESS || r == -EALREADY || r == -EAGAIN);
    if (r != 0 && r != -EISCONN && r != -EINPROGRESS && r != -EALREADY && r != -EAGAIN) {
        address_clear(&noted);
        return r;
    }
    address_clear(&c->addr);
    c->addr = noted;
    return r == 0 || r == -EISCONN ? asyncore_handle_connect_event(d) : 0;
}

/* Out of descriptors or memory: another accept would fail at once, and the listener stays
 * readable. */
static bool is_exhaustion(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static int pause_accepting(struct asyncore_dispatcher *d, int error)
{
    struct channel *c = channel_of(d);
    int r = 0;

    c->paused = c->place == PLACE_IN_MAP;
    channel_touch(c);
    if (!c->told) {
        c->told = true;
        r = asyncore_log_infof(d, ASYNCORE_LOG_ERROR, "accept: %s, waiting",
                               asyncore_strerror(error));
    }
    return r < 0 ? r : -EAGAIN;
}

static int accept_one(struct asyncore_dispatcher *d)
{
    struct asyncore_map *map = d->map;
    int sock;

    if (has_file(d))
        return -ENOTSOCK;
    map->accepted_len = sizeof map->accepted_addr;
    do
        sock = accept4(asyncore_fileno(d), (struct sockaddr *)&map->accepted_addr,
                       &map->accepted_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (sock < 0 && errno == EINTR);
    map->accepted = sock;
    map->accepted_stream = channel_of(d)->stream;
    map->acceptor = asyncore_fileno(d);
    return syscall_result(sock);
}

int asyncore_accept(struct asyncore_dispatcher *d, struct sockaddr *addr, socklen_t *addrlen)
{
    int sock = accept_one(d);

    if (sock == -EAGAIN || sock == -ECONNABORTED)
        return -EAGAIN;
    if (is_exhaustion(sock))
        return pause_accepting(d, sock);
    if (sock < 0)
        return sock;
    channel_of(d)->told = false;
    channel_active(channel_of(d));
    if (addr) {
        socklen_t room = *addrlen < d->map->accepted_len ? *addrlen : d->map->accepted_len;

        memcpy(addr, &d->map->accepted_addr, room);
        *addrlen = d->map->accepted_len;
    }
    return sock;
}

/* --- data ------------------------------------------------------------------------------------ */

int dispatcher_without_socket(const struct channel *c)
{
    return c->closed ? 0 : -EBADF;
}

/* The connection is over: the caller of send or recv gets 0, or handle_close's error. */
static int over(struct asyncore_dispatcher *d)
{
    int r = asyncore_handle_close(d);

    return r < 0 ? r : 0;
}

int dispatcher_sent(struct asyncore_dispatcher *d, size_t len, int sent)
{
    struct channel *c = channel_of(d);

    c->ask_write = sent <= 0 || (size_t)sent < len;
    if (sent >= 0)
        return sent;
    if (sent == -EAGAIN)
        return 0;
    return error_is_disconnect(sent) ? over(d) : sent;
}

int asyncore_dispatcher_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct channel *c = channel_of(d);
    struct asyncore_socket *s = channel_use_socket_to_send(c);

    if (!s)
        return dispatcher_without_socket(c);
    return dispatcher_sent(d, len, channel_sent(c, asyncore_socket_send(s, data, len, 0)));
}

int dispatcher_end_of_input(struct asyncore_dispatcher *d)
{
    const unsigned generation = channel_of(d)->generation;
    int r = channel_of(d)->chat ? chat_end_of_input(d) : 0;

    return r >= 0 && channel_of(d)->generation != generation ? 1 : r;
}

/* An error of handle_close that says the same as the end of the stream calls it once more. */
static int at_end(struct asyncore_dispatcher *d)
{
    const unsigned generation = channel_of(d)->generation;
    int r = over(d);

    if (!error_is_disconnect(r))
        return r;
    error_resume(d->map, d->map->handled);
    return channel_of(d)->generation == generation ? over(d) : 0;
}

int asyncore_dispatcher_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    struct channel *c = channel_of(d);
    struct asyncore_socket *s = channel_use_socket(c);
    int n, r;

    if (!s)
        return dispatcher_without_socket(c);
    n = channel_received(c, asyncore_socket_recv(s, buf, len, 0));
    if (n != 0 && !error_is_disconnect(n))
        return n;
    r = dispatcher_end_of_input(d);
    if (r != 0)
        return r < 0 ? r : 0;
    return n == 0 ? at_end(d) : over(d);
}

int asyncore_send_flags(struct asyncore_dispatcher *d, const void *data, size_t len, int flags)
{
    struct channel *c = channel_of(d);
    struct asyncore_socket *s = channel_use_socket_to_send(c);

    return s ? channel_sent(c, asyncore_socket_send(s, data, len, flags)) : -EBADF;
}

int asyncore_recv_flags(struct asyncore_dispatcher *d, void *buf, size_t len, int flags)
{
    struct channel *c = channel_of(d);
    struct asyncore_socket *s = channel_use_socket(c);
    int n = s ? asyncore_socket_recv(s, buf, len, flags) : -EBADF;

    return flags & MSG_PEEK ? n : channel_received(c, n);
}

int asyncore_sendto(struct asyncore_dispatcher *d, const void *data, size_t len,
                    const struct sockaddr *addr, socklen_t addrlen)
{
    ssize_t n;

    (void)channel_use_socket_to_send(channel_of(d));
    do
        n = sendto(asyncore_fileno(d), data, len, MSG_NOSIGNAL, addr, addrlen);
    while (n < 0 && errno == EINTR);
    return channel_sent(channel_of(d), syscall_result((int)n));
}

int asyncore_recvfrom(struct asyncore_dispatcher *d, void *buf, size_t len, struct sockaddr *addr,
                      socklen_t *addrlen)
{
    ssize_t n;

    (void)channel_use_socket(channel_of(d));
    do
        n = recvfrom(asyncore_fileno(d), buf, len, 0, addr, addrlen);
    while (n < 0 && errno == EINTR);
    return channel_received(channel_of(d), syscall_result((int)n));
}
