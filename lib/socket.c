/* The socket object of plain sockets, and the calls that go for every class of them. */
#include "internal.h"

#include <errno.h>
#include <unistd.h>

static int result(ssize_t n)
{
    return n < 0 ? -errno : (int)n;
}

/* Counts are ints. */
static size_t capped(size_t len)
{
    return len < INT_MAX ? len : INT_MAX;
}

static int plain_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    ssize_t n;

    if (len == 0)
        return 0; /* as Python's sockets, which do not ask the kernel */
    do
        n = recv(s->fd, buf, len, flags);
    while (n < 0 && errno == EINTR);
    return result(n);
}

static int plain_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    ssize_t n;

    do
        n = send(s->fd, buf, len, flags | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return result(n);
}

static int plain_sendv(struct asyncore_socket *s, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                             .msg_iovlen = (size_t)count};
    ssize_t n;

    do
        n = sendmsg(s->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return result(n);
}

static int plain_getsockopt(struct asyncore_socket *s, int level, int name, void *value,
                            socklen_t *len)
{
    return result(getsockopt(s->fd, level, name, value, len));
}

static int plain_close(struct asyncore_socket *s)
{
    int fd = s->fd;

    s->fd = -1;
    if (fd < 0)
        return 0;
    return close(fd) < 0 && errno != EINTR ? -errno : 0; /* Linux has closed it even then */
}

static int plain_detach(struct asyncore_socket *s)
{
    int fd = s->fd;

    s->fd = -1;
    return fd;
}

const struct asyncore_socket_class plain_socket_class = {
    .table_size = sizeof(struct asyncore_socket_class),
    .name = "socket",
    .recv = plain_recv,
    .send = plain_send,
    .sendv = plain_sendv,
    .getsockopt = plain_getsockopt,
    .close = plain_close,
    .detach = plain_detach,
};

int asyncore_socket_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    return s->fd < 0 ? -EBADF : s->cls->recv(s, buf, capped(len), flags);
}

int asyncore_socket_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    return s->fd < 0 ? -EBADF : s->cls->send(s, buf, capped(len), flags);
}

int socket_sendv(struct asyncore_socket *s, const struct iovec *iov, int count, int flags)
{
    if (count == 1 || !HAS(s->cls, sendv))
        return asyncore_socket_send(s, iov[0].iov_base, iov[0].iov_len, flags);
    return s->fd < 0 ? -EBADF : s->cls->sendv(s, iov, count);
}

int asyncore_socket_getsockopt(struct asyncore_socket *s, int level, int name, void *value,
                               socklen_t *len)
{
    return s->fd < 0 ? -EBADF : s->cls->getsockopt(s, level, name, value, len);
}

int asyncore_socket_close(struct asyncore_socket *s)
{
    return s->cls->close(s);
}

int asyncore_socket_fileno(const struct asyncore_socket *s)
{
    return s->fd;
}

struct asyncore_socket *asyncore_socket_free(struct asyncore_socket *s)
{
    if (!s)
        return NULL;
    (void)s->cls->close(s);
    if (HAS(s->cls, free))
        s->cls->free(s);
    return NULL;
}
