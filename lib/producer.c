/*
 * Producers.
 *
 * All are callbacks; a file is told apart by its function, for it may go out by sendfile.
 */
#include "chat_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>

/* What is read of a file at once, and what is sent without giving other channels a turn. */
#define READ_SIZE 65536
#define SENDFILE_SIZE (1 << 20)

struct asynchat_producer *asynchat_callback_producer_new(asynchat_more more,
                                                         void (*release)(void *arg), void *arg)
{
    struct asynchat_producer *producer = calloc(1, sizeof *producer);

    if (producer) {
        producer->more = more;
        producer->release = release;
        producer->arg = arg;
    } else if (release) {
        release(arg);
        errno = ENOMEM;
    }
    return producer;
}

struct asynchat_producer *producer_new_mark(bool closes)
{
    struct asynchat_producer *mark = calloc(1, sizeof *mark);

    if (mark)
        mark->closes = closes;
    return mark;
}

struct asynchat_producer *asynchat_producer_free(struct asynchat_producer *producer)
{
    if (!producer)
        return NULL;
    if (producer->busy) {
        producer->freed = true;
        return NULL;
    }
    if (producer->behind)
        evbuffer_free(producer->behind);
    if (producer->release)
        producer->release(producer->arg);
    free(producer);
    return NULL;
}

int asynchat_producer_more(struct asynchat_producer *producer, struct evbuffer *out)
{
    const size_t before = evbuffer_get_length(out);
    size_t made;
    int r;

    producer->busy = true;
    r = producer->more(out, producer->arg);
    producer->busy = false;
    if (producer->freed)
        asynchat_producer_free(producer);
    made = evbuffer_get_length(out) - before;
    if (r < 0)
        return r;
    return made < INT_MAX ? (int)made : INT_MAX;
}

/* --- data ------------------------------------------------------------------------------------ */

struct simple {
    size_t buffer_size;
    size_t at;
    size_t len;
    char data[];
};

static int simple_more(struct evbuffer *out, void *arg)
{
    struct simple *self = arg;
    const size_t left = self->len - self->at;
    const size_t n = left < self->buffer_size ? left : self->buffer_size;

    if (n > 0 && evbuffer_add(out, self->data + self->at, n) < 0)
        return -ENOMEM;
    self->at += n;
    return 0;
}

struct asynchat_producer *asynchat_simple_producer_new(const void *data, size_t len,
                                                       size_t buffer_size)
{
    struct simple *self = len <= SIZE_MAX - sizeof *self ? malloc(sizeof *self + len) : NULL;

    if (!self) {
        errno = ENOMEM;
        return NULL;
    }
    self->buffer_size = buffer_size ? buffer_size : ASYNCHAT_PRODUCER_BUFFER_SIZE;
    self->at = 0;
    self->len = len;
    if (len > 0)
        memcpy(self->data, data, len);
    return asynchat_callback_producer_new(simple_more, free, self);
}

static int evbuffer_more(struct evbuffer *out, void *arg)
{
    return evbuffer_add_buffer(out, arg) < 0 ? -ENOMEM : 0;
}

static void evbuffer_release(void *arg)
{
    evbuffer_free(arg);
}

struct asynchat_producer *asynchat_evbuffer_producer_new(struct evbuffer *buffer)
{
    return asynchat_callback_producer_new(evbuffer_more, evbuffer_release, buffer);
}

/* --- files ----------------------------------------------------------------------------------- */

struct file {
    int fd;
    off_t offset;
    off_t left; /* negative: to the end, which is not known yet */
    bool no_sendfile;
};

static int find_end(struct file *self)
{
    struct stat status;

    if (self->offset < 0)
        return -EINVAL;
    if (self->left >= 0)
        return 0;
    if (fstat(self->fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ESPIPE;
    self->left = status.st_size > self->offset ? status.st_size - self->offset : 0;
    return 0;
}

static int note(struct file *self, ssize_t n)
{
    if (n == 0)
        return -EIO; /* what was promised is not there */
    self->offset += n;
    self->left -= n;
    return 0;
}

static int file_more(struct evbuffer *out, void *arg)
{
    struct file *self = arg;
    struct evbuffer_iovec room;
    ssize_t n;
    int r = find_end(self);

    if (r < 0 || self->left == 0)
        return r;
    n = self->left < READ_SIZE ? (ssize_t)self->left : READ_SIZE;
    if (evbuffer_reserve_space(out, n, &room, 1) != 1)
        return -ENOMEM;
    room.iov_len = (size_t)n;
    do
        n = pread(self->fd, room.iov_base, room.iov_len, self->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    room.iov_len = (size_t)n;
    if (n > 0)
        evbuffer_commit_space(out, &room, 1);
    return note(self, n);
}

static void file_release(void *arg)
{
    struct file *self = arg;

    close(self->fd);
    free(self);
}

struct asynchat_producer *asynchat_file_producer_new(int fd, off_t offset, off_t length)
{
    struct file *self;

    if (fd < 0) {
        errno = errno ? errno : EBADF;
        return NULL;
    }
    self = malloc(sizeof *self);
    if (!self) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    *self = (struct file){.fd = fd, .offset = offset, .left = length};
    return asynchat_callback_producer_new(file_more, file_release, self);
}

bool producer_is_large_file(const struct asynchat_producer *producer, size_t len)
{
    struct file *self = producer->arg;

    if (producer->more != file_more || self->no_sendfile || find_end(self) < 0)
        return false;
    return (uintmax_t)self->left > len;
}

int producer_sendfile(struct asynchat_producer *producer, int sock, size_t *offered)
{
    struct file *self = producer->arg;
    off_t offset = self->offset;
    struct sigpipe held;
    ssize_t n;

    *offered = self->left < SENDFILE_SIZE ? (size_t)self->left : SENDFILE_SIZE;
    sigpipe_hold(&held);
    do
        n = sendfile(sock, self->fd, &offset, *offered);
    while (n < 0 && errno == EINTR);
    /* A connection that breaks in the middle raises the signal, and yet returns a count. */
    sigpipe_release(&held, n < 0 ? errno == EPIPE : (size_t)n < *offered);
    if (n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == ESPIPE)) {
        self->no_sendfile = true; /* reading says what is wrong, if anything is */
        return -ENOTSUP;
    }
    if (n < 0)
        return -errno;
    return note(self, n) < 0 ? -EIO : (int)n;
}
