/*
 * file_dispatcher and file_wrapper: files behind the interface of a socket.
 *
 * The wrapper has a dup of its own of the descriptor; the flags of the open file it shares with
 * the one it was made from, so O_NONBLOCK goes back to what it was.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_wrapper {
    struct asyncore_socket base;
    mode_t type;       /* S_IFMT of its mode */
    bool was_blocking; /* and is to be again */
};

static struct file_wrapper *wrapper_of(struct asyncore_socket *s)
{
    return (struct file_wrapper *)(void *)s;
}

static int file_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    ssize_t n;

    do
        n = flags ? recv(s->fd, buf, len, flags) : read(s->fd, buf, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

/* A pipe without a reader raises SIGPIPE. */
static ssize_t pipe_write(int fd, const void *buf, size_t len)
{
    struct sigpipe held;
    ssize_t n;

    sigpipe_hold(&held);
    n = write(fd, buf, len);
    sigpipe_release(&held, n < 0 ? errno == EPIPE : (size_t)n < len);
    return n;
}

static int file_send(struct asyncore_socket *s, const void *buf, size_t len, int flags)
{
    mode_t type = wrapper_of(s)->type;
    ssize_t n;

    do {
        if (S_ISSOCK(type) || flags)
            n = send(s->fd, buf, len, flags | MSG_NOSIGNAL);
        else if (S_ISFIFO(type))
            n = pipe_write(s->fd, buf, len);
        else
            n = write(s->fd, buf, len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static int file_getsockopt(struct asyncore_socket *s, int level, int name, void *value,
                           socklen_t *len)
{
    (void)s;
    if (level != SOL_SOCKET || name != SO_ERROR || *len < sizeof(int))
        return -ENOTSUP;
    *(int *)value = 0;
    *len = sizeof(int);
    return 0;
}

static void restore_blocking(struct file_wrapper *file)
{
    int flags = file->was_blocking ? fcntl(file->base.fd, F_GETFL) : -1;

    if (flags >= 0)
        (void)fcntl(file->base.fd, F_SETFL, flags & ~O_NONBLOCK);
    file->was_blocking = false;
}

static int file_detach(struct asyncore_socket *s)
{
    int fd = s->fd;

    if (fd >= 0)
        restore_blocking(wrapper_of(s));
    s->fd = -1;
    return fd;
}

static int file_close(struct asyncore_socket *s)
{
    int fd = file_detach(s);

    return fd >= 0 && close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static void file_free(struct asyncore_socket *s)
{
    free(wrapper_of(s));
}

const struct asyncore_socket_class file_wrapper_class = {
    .table_size = sizeof(struct asyncore_socket_class),
    .name = "file",
    .recv = file_recv,
    .send = file_send,
    .getsockopt = file_getsockopt,
    .close = file_close,
    .detach = file_detach,
    .free = file_free,
};

struct asyncore_socket *asyncore_file_wrapper_new(int fd)
{
    struct stat status;
    struct file_wrapper *file = fstat(fd, &status) < 0 ? NULL : malloc(sizeof *file);

    if (!file)
        return NULL;
    *file = (struct file_wrapper){.type = status.st_mode & S_IFMT};
    file->base.cls = &file_wrapper_class;
    file->base.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (file->base.fd < 0) {
        free(file);
        return NULL;
    }
    return &file->base;
}

int file_wrapper_set_nonblocking(struct asyncore_socket *s)
{
    struct file_wrapper *file = wrapper_of(s);
    int flags = fcntl(s->fd, F_GETFL);

    if (S_ISREG(file->type) || S_ISDIR(file->type))
        return 0;
    if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(s->fd, F_SETFL, flags | O_NONBLOCK) < 0))
        return -errno;
    file->was_blocking |= !(flags & O_NONBLOCK);
    return 0;
}

/* epoll refuses regular files, directories and some devices, and libevent would print a warning:
 * an epoll descriptor of no further use says so quietly. Where there is no descriptor left for it,
 * the type of the file has to do. */
int file_is_always_ready(struct asyncore_socket *s)
{
    const mode_t type = wrapper_of(s)->type;
    struct epoll_event event = {.events = 0};
    int scratch = epoll_create1(EPOLL_CLOEXEC);
    int r;

    if (scratch < 0 && !S_ISCHR(type))
        return S_ISREG(type) || S_ISDIR(type) || S_ISBLK(type);
    if (scratch < 0)
        return -errno;
    r = epoll_ctl(scratch, EPOLL_CTL_ADD, s->fd, &event) < 0 ? -errno : 0;
    close(scratch);
    return r == -EPERM ? 1 : r;
}

bool file_is_read_end(struct asyncore_socket *s)
{
    return S_ISFIFO(wrapper_of(s)->type) && (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

int asyncore_set_file(struct asyncore_dispatcher *d, int fd)
{
    struct asyncore_socket *file = asyncore_file_wrapper_new(fd);

    return file ? asyncore_set_socket_object(d, file, NULL) : -errno;
}

int asyncore_file_dispatcher_init(struct asyncore_dispatcher *d, int fd)
{
    asyncore_set_connected(d, true);
    return fd < 0 ? 0 : asyncore_set_file(d, fd);
}

const struct asyncore_class asyncore_file_dispatcher_class = {
    .table_size = sizeof(struct asyncore_class),
    .name = "asyncore.file_dispatcher",
    .super = &asyncore_dispatcher_class,
    .size = sizeof(struct asyncore_file_dispatcher),
    .init = asyncore_file_dispatcher_init,
};

struct asyncore_file_dispatcher *asyncore_file_dispatcher_new(int fd, struct asyncore_map *map)
{
    return (struct asyncore_file_dispatcher *)(void *)asyncore_new(&asyncore_file_dispatcher_class,
                                                                   fd, map);
}
