/*
 * The socket object: what a channel reads from and writes to.
 *
 * In Python dispatcher.socket is anything with recv, send, close, getsockopt and fileno. Here it
 * is a struct asyncore_socket with a table of those. The library has one for sockets and one for
 * files (asyncore_file_wrapper_new); others (TLS, a test's scripted socket) embed the struct as
 * their first member and bring a table of their own.
 */
#ifndef ASYNCORE_SOCKET_H
#define ASYNCORE_SOCKET_H

#include <asyncore/export.h>

#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_socket;

/* Directions, and the bits of a set of them. */
#define ASYNCORE_READ 1
#define ASYNCORE_WRITE 2

/* Every operation returns a negative errno on failure. None may call the channel's methods. */
struct asyncore_socket_class {
    size_t table_size; /* sizeof(struct asyncore_socket_class) */
    const char *name;

    /* Required. Up to len bytes, without waiting: the count, 0 at the end of the stream, -EAGAIN
     * when there is nothing yet. flags as of recv(2). */
    int (*recv)(struct asyncore_socket *s, void *buf, size_t len, int flags);

    /* Required. The count taken, which may be less than len; -EAGAIN when nothing can be taken
     * now. len may be 0: to find out whether the connection is over. Must not raise SIGPIPE. flags
     * as of send(2). */
    int (*send)(struct asyncore_socket *s, const void *buf, size_t len, int flags);

    /* Optional: send of count buffers at once; otherwise send is called for the first. */
    int (*sendv)(struct asyncore_socket *s, const struct iovec *iov, int count);

    /* Required. As getsockopt(2); SOL_SOCKET/SO_ERROR must be answered. */
    int (*getsockopt)(struct asyncore_socket *s, int level, int name, void *value, socklen_t *len);

    /* Required. Closes the descriptor and sets s->fd to -1; on an s that is closed, does nothing
     * and returns 0. The descriptor is gone even when an error is returned. */
    int (*close)(struct asyncore_socket *s);

    /* Optional. Gives up the descriptor: returns it, as it was found, and sets s->fd to -1.
     * Without it asyncore_detach fails with -ENOTSUP. */
    int (*detach)(struct asyncore_socket *s);

    /* Optional. Frees s itself; called once, after close or detach. */
    void (*free)(struct asyncore_socket *s);

    /* Optional. How many bytes recv can give though the descriptor is quiet (decrypted data). */
    size_t (*pending)(struct asyncore_socket *s);

    /* Optional. Which direction of the descriptor the given direction of the channel waits for
     * (a read that must write first). Without it, or where it has no opinion: the same. */
    int (*want)(struct asyncore_socket *s, int direction);
};

struct asyncore_socket {
    const struct asyncore_socket_class *cls;
    int fd; /* what the loop watches; -1: closed */
};

/* A wrapper around a dup of fd, so that fd may be closed independently: for pipes, ttys, FIFOs,
 * regular files, devices, and sockets used as files. Does not change fd's flags. The caller owns
 * it, until it is given to a channel. NULL with errno: EBADF, EMFILE, ENOMEM.
 * Python: asyncore.file_wrapper(fd). */
ASYNCORE_API struct asyncore_socket *asyncore_file_wrapper_new(int fd);

/* The operations of a socket object, for one that no channel owns (and for a class that wraps
 * another). They return what the table's functions return; -EBADF on a closed s.
 * Python: file_wrapper.recv/read, .send/write, .getsockopt, .close, .fileno. */
ASYNCORE_API int asyncore_socket_recv(struct asyncore_socket *s, void *buf, size_t len, int flags);
ASYNCORE_API int asyncore_socket_send(struct asyncore_socket *s, const void *buf, size_t len,
                                      int flags);
ASYNCORE_API int asyncore_socket_getsockopt(struct asyncore_socket *s, int level, int name,
                                            void *value, socklen_t *len);
ASYNCORE_API int asyncore_socket_close(struct asyncore_socket *s);
ASYNCORE_API int asyncore_socket_fileno(const struct asyncore_socket *s);

/* Closes s if it is open, and frees it. NULL is allowed. Returns NULL. */
ASYNCORE_API struct asyncore_socket *asyncore_socket_free(struct asyncore_socket *s);

ASYNCORE_END_DECLS

#endif
