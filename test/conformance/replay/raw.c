/* Raw peers. */
#define _GNU_SOURCE
#include "raw.h"

#include "show.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int result(ssize_t n)
{
    return n < 0 ? -errno : (int)n;
}

static bool is_socket(const struct raw *raw)
{
    return raw->kind == RAW_SOCKET || raw->kind == RAW_LISTENER;
}

int raw_take(struct raw *raw)
{
    int fd = raw->fd;

    if (!is_socket(raw))
        return -1;
    raw->fd = -1;
    return fd;
}

int raw_close(struct raw *raw)
{
    int fd = raw->fd;

    raw->fd = -1;
    return fd < 0 ? 0 : result(close(fd));
}

/* What select says: a pipe's flags are not the raw peer's, it may block. */
static bool pipe_is_ready(int fd, short events)
{
    struct pollfd poller = {.fd = fd, .events = events};

    return poll(&poller, 1, 0) > 0 &&
           (poller.revents & (events | POLLERR | (events & POLLIN ? POLLHUP : 0)));
}

int raw_recv(struct raw *raw, void *data, size_t size)
{
    if (raw->fd < 0)
        return -EBADF;
    if (size == 0 && is_socket(raw))
        return 0; /* Python does not ask */
    if (is_socket(raw))
        return result(recv(raw->fd, data, size, MSG_DONTWAIT));
    if (raw->kind == RAW_PIPE && !pipe_is_ready(raw->fd, POLLIN))
        return -EAGAIN;
    return result(read(raw->fd, data, size));
}

/* write has no flag against SIGPIPE: it is held off, and taken back. */
static int quiet_write(int fd, const void *data, size_t size)
{
    const struct timespec now = {.tv_sec = 0};
    sigset_t pipe_signal, old;
    int r;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe_signal, &old);
    r = result(write(fd, data, size));
    if (r == -EPIPE)
        (void)sigtimedwait(&pipe_signal, NULL, &now);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return r;
}

int raw_send(struct raw *raw, const void *data, size_t size)
{
    int r;

    if (raw->fd < 0)
        r = -EBADF;
    else if (is_socket(raw))
        r = result(send(raw->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL));
    else if (raw->kind == RAW_PIPE && !pipe_is_ready(raw->fd, POLLOUT))
        r = -EAGAIN;
    else
        r = quiet_write(raw->fd, data, size);
    raw->sent += r > 0 ? (size_t)r : 0;
    return r;
}

void raw_drain(struct raw *raw, struct bytes *out)
{
    static char part[65536];
    struct bytes all = {.length = 0};
    int n;

    while ((n = raw_recv(raw, part, sizeof part)) > 0)
        bytes_add(&all, part, (size_t)n);
    show_data(out, bytes_text(&all), all.length);
    if (n == 0)
        bytes_put(out, " end");
    else
        bytes_format(out, " %s", n == -EAGAIN ? "open" : error_name(n));
    bytes_clear(&all);
}

/* --- sockets --------------------------------------------------------------------------------- */

int socket_family(const char *kind)
{
    if (strcmp(kind, "unix") == 0 || strcmp(kind, "dgram") == 0)
        return AF_UNIX;
    return strcmp(kind, "tcp6") == 0 ? AF_INET6 : AF_INET;
}

int socket_type(const char *kind)
{
    return strcmp(kind, "udp") == 0 || strcmp(kind, "dgram") == 0 ? SOCK_DGRAM : SOCK_STREAM;
}

void socket_set_nodelay(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails for others */
}

int socket_new(const char *kind)
{
    int fd = socket(socket_family(kind), socket_type(kind) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    socket_set_nodelay(fd);
    return fd;
}

int socket_listener(const char *kind, int backlog)
{
    struct address a;
    int fd = socket_new(kind);
    int r;

    if (fd < 0)
        return fd;
    a = kernel_any_address(socket_family(kind));
    r = result(bind(fd, address_of(&a), a.length));
    if (r == 0)
        r = result(listen(fd, backlog));
    if (r < 0)
        close(fd);
    return r < 0 ? r : fd;
}

int socket_name(int fd, struct address *name)
{
    name->length = sizeof name->storage;
    return result(getsockname(fd, address_of(name), &name->length));
}

int socket_accept(int fd)
{
    struct address a = {.length = sizeof a.storage};

    return result(accept4(fd, address_of(&a), &a.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
