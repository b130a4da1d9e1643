/*
 * file_dispatcher: a channel around a file descriptor that need not be a socket.
 */
#ifndef ASYNCORE_FILE_DISPATCHER_H
#define ASYNCORE_FILE_DISPATCHER_H

#include <asyncore/dispatcher.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_file_dispatcher {
    struct asyncore_dispatcher base;
};

/* A channel on a dup of fd, which stays the caller's; connected. The file is set to non-blocking
 * while the channel has it, unless it is a regular file: the dup shares this with fd. A file that
 * the kernel cannot watch (regular files, /dev/null) is always ready.
 * -1: none yet. NULL with errno: EBADF, EMFILE, ENOMEM.
 * Python: asyncore.file_dispatcher(fd, map=None). */
ASYNCORE_API struct asyncore_file_dispatcher *asyncore_file_dispatcher_new(
    int fd, struct asyncore_map *map);

/* Gives the channel a dup of fd, in place of what it has, which is closed. -EBADF, -EMFILE,
 * -ENOMEM, -EINVAL (the map has been freed). Python: set_file(fd). */
ASYNCORE_API int asyncore_set_file(struct asyncore_dispatcher *d, int fd);

/* For subclasses: connected, and set_file. */
ASYNCORE_API int asyncore_file_dispatcher_init(struct asyncore_dispatcher *d, int fd);

ASYNCORE_END_DECLS

#endif
