/*
 * dispatcher_with_send: a dispatcher that queues what the socket does not take at once.
 */
#ifndef ASYNCORE_DISPATCHER_WITH_SEND_H
#define ASYNCORE_DISPATCHER_WITH_SEND_H

#include <asyncore/dispatcher.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_dispatcher_with_send {
    struct asyncore_dispatcher base;
};

/* Python: asyncore.dispatcher_with_send(sock=None, map=None). See asyncore_new. */
ASYNCORE_API struct asyncore_dispatcher_with_send *asyncore_dispatcher_with_send_new(
    int sock, struct asyncore_map *map);

/* What asyncore_send does for this class: takes all of data, sends what the socket takes now (up
 * to 64 KiB of what is queued), and queues the rest; before the connection is made it only queues.
 * Returns len (at most INT_MAX is reported); or, with nothing taken, -ENOMEM, -EBADF (there never
 * was a socket); or the error of the socket or of a handle_close that was called, and then what was
 * not sent is queued. On a channel that is closed: 0, nothing is taken.
 * Python: dispatcher_with_send.send(data). */
ASYNCORE_API int asyncore_dispatcher_with_send_send(struct asyncore_dispatcher *d, const void *data,
                                                    size_t len);

/* Sends up to 64 KiB of what is queued; with nothing queued, 0 bytes (an empty datagram), which
 * finds out whether the connection is over. 0, or an error as of asyncore_dispatcher_send. -EINVAL:
 * d is no dispatcher_with_send. Python: initiate_send(). */
ASYNCORE_API int asyncore_initiate_send(struct asyncore_dispatcher *d);

/* How many bytes are queued, of an async_chat too. close does not send them (an async_chat's does,
 * as far as the socket takes them): who wants them sent closes when this is 0. They stay, and go to
 * the next socket if the channel gets one. Python: len(out_buffer). */
ASYNCORE_API size_t asyncore_out_buffer_length(const struct asyncore_dispatcher *d);

/* initiate_send. */
ASYNCORE_API int asyncore_dispatcher_with_send_handle_write(struct asyncore_dispatcher *d);

/* 1 while the channel is not connected or something is queued. */
ASYNCORE_API int asyncore_dispatcher_with_send_writable(struct asyncore_dispatcher *d);

ASYNCORE_END_DECLS

#endif
