/*
 * dispatcher: its construction, its state, and the defaults of its methods.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* --- construction and close ------------------------------------------------------------------ */

static int note_listening(struct asyncore_dispatcher *d)
{
    struct sockaddr_storage addr;
    socklen_t length = sizeof addr;

    asyncore_set_accepting(d, true);
    if (asyncore_getsockname(d, (struct sockaddr *)&addr, &length) < 0)
        return 0;
    return address_set(&channel_of(d)->addr, (struct sockaddr *)&addr, length);
}

static int note_accepted(struct asyncore_dispatcher *d)
{
    struct asyncore_map *map = d->map;

    map->accepted = -1;
    asyncore_set_connected(d, true);
    return address_set(&channel_of(d)->addr, (struct sockaddr *)&map->accepted_addr,
                       map->accepted_len);
}

/* The port that a socket is bound to; 0: none. */
static uint16_t port_of(int fd)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr; /* in6 has it there too */
    socklen_t length = sizeof addr;

    if (getsockname(fd, (struct sockaddr *)&addr, &length) < 0 ||
        (addr.ss_family != AF_INET && addr.ss_family != AF_INET6))
        return 0;
    return ntohs(in->sin_port);
}

/* Whether sock is the connection that was just accepted, and not another that has its number. */
static bool is_accepted(const struct asyncore_map *map, int sock)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;

    return sock == map->accepted && map->accepted_addr.ss_family != AF_UNIX &&
           getpeername(sock, (struct sockaddr *)&peer, &length) == 0 &&
           length == map->accepted_len && memcmp(&peer, &map->accepted_addr, length) == 0;
}

/* The same for one whose peer has gone since, so that getpeername fails: it has its listener's
 * port. */
static bool was_accepted(const struct asyncore_map *map, int sock)
{
    uint16_t port = sock == map->accepted ? port_of(sock) : 0;

    return port != 0 && port == port_of(map->acceptor);
}

/* What a socket that came from elsewhere is: connected, listening, or neither. */
static int look_at(struct asyncore_dispatcher *d)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int listening = 0;
    int r = asyncore_getpeername(d, (struct sockaddr *)&peer, &length);

    if (r == 0) {
        asyncore_set_connected(d, true);
        return address_set(&channel_of(d)->addr, (struct sockaddr *)&peer, length);
    }
    if (r != -ENOTCONN && r != -EINVAL)
        return r;
    length = sizeof listening;
    if (asyncore_getsockopt(d, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening)
        return note_listening(d);
    return was_accepted(d->map, asyncore_fileno(d)) ? note_accepted(d) : 0;
}

int asyncore_dispatcher_init(struct asyncore_dispatcher *d, int sock)
{
    int r;

    if (sock < 0)
        return 0;
    if (is_accepted(d->map, sock)) {
        r = dispatcher_give_accepted(d);
        return r < 0 ? r : note_accepted(d);
    }
    r = asyncore_set_socket(d, sock, NULL);
    return r < 0 ? r : look_at(d);
}

int asyncore_dispatcher_close(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    int r;

    chat_send_last(c);
    d->connected = d->accepting = d->connecting = false;
    r = channel_drop_socket(c, false);
    c->closed = true;
    pressure_end(c);
    if (c->place != PLACE_DOOMED)
        map_place(c, PLACE_DOOMED);
    return r == -ENOTCONN || r == -EBADF ? 0 : r;
}

/* --- state ----------------------------------------------------------------------------------- */

void asyncore_set_connected(struct asyncore_dispatcher *d, bool value)
{
    d->connected = value;
    if (!value)
        (void)chat_ungather(channel_of(d));
    else
        channel_active(channel_of(d));
    timeout_update(channel_of(d));
    channel_touch(channel_of(d));
}

void asyncore_set_accepting(struct asyncore_dispatcher *d, bool value)
{
    d->accepting = value;
    channel_touch(channel_of(d));
}

void asyncore_set_connecting(struct asyncore_dispatcher *d, bool value)
{
    d->connecting = value;
    timeout_update(channel_of(d));
    channel_touch(channel_of(d));
}

void asyncore_set_closing(struct asyncore_dispatcher *d, bool value)
{
    d->closing = value;
    channel_touch(channel_of(d));
}

void asyncore_set_debug(struct asyncore_dispatcher *d, bool value)
{
    d->debug = value;
    channel_touch(channel_of(d));
}

/* --- events ---------------------------------------------------------------------------------- */

int asyncore_dispatcher_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 1;
}

int asyncore_dispatcher_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 1;
}

/* handle_connect_event if that is still to come, then handler, unless the socket has gone. */
static int after_connect(struct asyncore_dispatcher *d,
                         int (*handler)(struct asyncore_dispatcher *))
{
    const unsigned generation = channel_of(d)->generation;

    if (!d->connected && d->connecting) {
        int r = asyncore_handle_connect_event(d);

        if (r < 0)
            return r;
        if (channel_of(d)->generation != generation)
            return 0;
    }
    return handler(d);
}

int asyncore_dispatcher_handle_read_event(struct asyncore_dispatcher *d)
{
    /* A listening socket is never connected: it makes others that are. */
    return d->accepting ? asyncore_handle_accept(d) : after_connect(d, asyncore_handle_read);
}

int asyncore_dispatcher_handle_write_event(struct asyncore_dispatcher *d)
{
    return d->accepting ? 0 : after_connect(d, asyncore_handle_write);
}

/* Takes the socket's pending error from it: a positive errno, or 0. */
static int take_error(struct asyncore_dispatcher *d, int *error)
{
    socklen_t length = sizeof *error;

    *error = 0;
    return asyncore_getsockopt(d, SOL_SOCKET, SO_ERROR, error, &length);
}

int asyncore_dispatcher_handle_connect_event(struct asyncore_dispatcher *d)
{
    const unsigned generation = channel_of(d)->generation;
    int error;
    int r = take_error(d, &error);

    if (r == 0)
        r = error ? -error : asyncore_handle_connect(d);
    if (r < 0 || channel_of(d)->generation != generation)
        return r;
    d->connected = true;
    d->connecting = false;
    channel_active(channel_of(d));
    timeout_update(channel_of(d));
    channel_touch(channel_of(d));
    return r;
}

int asyncore_dispatcher_handle_expt_event(struct asyncore_dispatcher *d)
{
    int error;
    int r = take_error(d, &error);

    if (r < 0)
        return r;
    return error ? asyncore_handle_close(d) : asyncore_handle_expt(d);
}

/* --- handlers -------------------------------------------------------------------------------- */

static int unhandled(struct asyncore_dispatcher *d, const char *message)
{
    return asyncore_log_info(d, message, ASYNCORE_LOG_WARNING);
}

int asyncore_dispatcher_handle_read(struct asyncore_dispatcher *d)
{
    return unhandled(d, "unhandled read event");
}

int asyncore_dispatcher_handle_write(struct asyncore_dispatcher *d)
{
    return unhandled(d, "unhandled write event");
}

int asyncore_dispatcher_handle_expt(struct asyncore_dispatcher *d)
{
    return unhandled(d, "unhandled incoming priority event");
}

int asyncore_dispatcher_handle_connect(struct asyncore_dispatcher *d)
{
    return unhandled(d, "unhandled connect event");
}

int asyncore_dispatcher_handle_accept(struct asyncore_dispatcher *d)
{
    struct sockaddr_storage addr;
    socklen_t length = sizeof addr;
    int sock = asyncore_accept(d, (struct sockaddr *)&addr, &length);

    if (sock < 0)
        return sock == -EAGAIN ? 0 : sock;
    return asyncore_handle_accepted(d, sock, (struct sockaddr *)&addr, length);
}

int asyncore_dispatcher_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                        const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    close(sock);
    return unhandled(d, "unhandled accepted event");
}

int asyncore_dispatcher_handle_close(struct asyncore_dispatcher *d)
{
    int r = unhandled(d, "unhandled close event");

    return r < 0 ? r : asyncore_close(d);
}

int asyncore_dispatcher_handle_timeout(struct asyncore_dispatcher *d)
{
    return asyncore_handle_close(d);
}

int dispatcher_handle_close(struct asyncore_dispatcher *d)
{
    return channel_of(d)->closed ? 0 : asyncore_handle_close(d);
}

int asyncore_dispatcher_handle_error(struct asyncore_dispatcher *d)
{
    const struct asyncore_error *e = asyncore_compact_traceback(d);
    char name[512];
    int r;

    if (e->error == 0)
        return -EINVAL;
    asyncore_repr(d, name, sizeof name);
    r = asyncore_log_infof(
        d, ASYNCORE_LOG_ERROR, "uncaptured python exception, closing channel %s (%s:%s [%s|%s|%d])",
        name, asyncore_errorcode(e->error), e->message, e->file, e->function, e->line);
    return r < 0 ? r : dispatcher_handle_close(d);
}

/* --- the class ------------------------------------------------------------------------------- */

static const char *const ignored_by_default[] = {ASYNCORE_LOG_WARNING, NULL};

/* Complete: the walk for a method ends here. */
const struct asyncore_class asyncore_dispatcher_class = {
    .table_size = sizeof(struct asyncore_class),
    .name = "asyncore.dispatcher",
    .size = sizeof(struct asyncore_dispatcher),
    .interest = ASYNCORE_INTEREST_EVERY_PASS,
    .ignore_log_types = ignored_by_default,
    .init = asyncore_dispatcher_init,
    .readable = asyncore_dispatcher_readable,
    .writable = asyncore_dispatcher_writable,
    .handle_read_event = asyncore_dispatcher_handle_read_event,
    .handle_write_event = asyncore_dispatcher_handle_write_event,
    .handle_expt_event = asyncore_dispatcher_handle_expt_event,
    .handle_connect_event = asyncore_dispatcher_handle_connect_event,
    .handle_read = asyncore_dispatcher_handle_read,
    .handle_write = asyncore_dispatcher_handle_write,
    .handle_expt = asyncore_dispatcher_handle_expt,
    .handle_connect = asyncore_dispatcher_handle_connect,
    .handle_accept = asyncore_dispatcher_handle_accept,
    .handle_accepted = asyncore_dispatcher_handle_accepted,
    .handle_close = asyncore_dispatcher_handle_close,
    .handle_error = asyncore_dispatcher_handle_error,
    .send = asyncore_dispatcher_send,
    .recv = asyncore_dispatcher_recv,
    .close = asyncore_dispatcher_close,
    .log = asyncore_dispatcher_log,
    .log_info = asyncore_dispatcher_log_info,
    .repr = asyncore_dispatcher_repr,
    .handle_drain = asyncore_dispatcher_handle_drain,
    .handle_timeout = asyncore_dispatcher_handle_timeout,
};

struct asyncore_dispatcher *asyncore_dispatcher_new(int sock, struct asyncore_map *map)
{
    return asyncore_new(&asyncore_dispatcher_class, sock, map);
}
