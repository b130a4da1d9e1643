/*
 * Producers: output that is made piece by piece, when its turn comes.
 *
 * A producer is given to asynchat_push_with_producer, which takes it over. What it has been made of
 * (a descriptor, a buffer, the callback's argument) is released exactly once: when it is exhausted,
 * when its channel is destroyed or discards its buffers, by asynchat_producer_free, or at once when
 * making it fails. So a failure needs no clean-up, and NULL may be passed on to push_with_producer.
 */
#ifndef ASYNCORE_PRODUCER_H
#define ASYNCORE_PRODUCER_H

#include <asyncore/export.h>

#include <stddef.h>
#include <sys/types.h>

ASYNCORE_BEGIN_DECLS

struct evbuffer;
struct asynchat_producer;

/* The simple producer's buffer_size for 0, Python's default. */
#define ASYNCHAT_PRODUCER_BUFFER_SIZE 512

/* A copy of data, in pieces of buffer_size bytes; 0: the default. NULL with errno: ENOMEM.
 * Python: asynchat.simple_producer(data, buffer_size=512). */
ASYNCORE_API struct asynchat_producer *asynchat_simple_producer_new(const void *data, size_t len,
                                                                    size_t buffer_size);

/* Adds the next piece, of any size, to out, with evbuffer_add and the like of <event2/buffer.h>:
 * nothing when there is no more. 0, or a negative errno
 * or ASYNCORE_EXIT_NOW, as a handler, but not -EAGAIN, which becomes -EINVAL: who has nothing yet
 * is pushed when there is something. What it has added before an error counts. Is called again
 * until it adds nothing: the next time it is wanted, also after an error. */
typedef int (*asynchat_more)(struct evbuffer *out, void *arg);

/* What more makes. release, which may be NULL, is called with arg when the producer ends; both may
 * close channels, but may not use the producer. NULL with errno: ENOMEM. Python: any object with a
 * method more. */
ASYNCORE_API struct asynchat_producer *asynchat_callback_producer_new(asynchat_more more,
                                                                      void (*release)(void *arg),
                                                                      void *arg);

/* length bytes of a regular file, from offset; a negative length: up to where its end is when it is
 * first asked (so nothing, of files in /proc). Takes over fd, whose own position is neither used
 * nor changed. A socket of the library's own gets what is large by sendfile(2). When it is asked, a
 * file that turns out to be shorter fails with -EIO, and what is no regular file with -ESPIPE or
 * what pread(2) says. NULL with errno: ENOMEM; a negative fd: the errno that a failed open has
 * left. */
ASYNCORE_API struct asynchat_producer *asynchat_file_producer_new(int fd, off_t offset,
                                                                  off_t length);

/* What is in buffer, without a copy. Takes buffer over; not one that has
 * EVBUFFER_FLAG_DRAINS_TO_FD. Callbacks of references in it may not use channels.
 * NULL with errno: ENOMEM. */
ASYNCORE_API struct asynchat_producer *asynchat_evbuffer_producer_new(struct evbuffer *buffer);

/* Adds the next piece to out. How many bytes these are, 0: there is no more, or a negative errno,
 * -ENOMEM. For one that no channel owns. Python: more(). */
ASYNCORE_API int asynchat_producer_more(struct asynchat_producer *producer, struct evbuffer *out);

/* Releases a producer that no channel owns. NULL is allowed. Returns NULL. */
ASYNCORE_API struct asynchat_producer *asynchat_producer_free(struct asynchat_producer *producer);

ASYNCORE_END_DECLS

#endif
