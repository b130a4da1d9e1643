/*
 * async_chat: a channel that hands its input out in pieces that end at terminators, and sends its
 * output from a queue of data and producers.
 *
 * asynchat_X is asynchat.X, or method X of an async_chat, in Python. A class derives from
 * asynchat_async_chat and names two methods, collect_incoming_data and found_terminator:
 *
 *     struct shout {
 *         struct asynchat_async_chat base;
 *     };
 *
 *     static int shout_init(struct asyncore_dispatcher *d, int sock)
 *     {
 *         int r = asynchat_async_chat_init(d, sock);
 *
 *         return r < 0 ? r : asynchat_set_terminator(d, "\r\n", 2);
 *     }
 *
 *     static int shout_found_terminator(struct asyncore_dispatcher *d)
 *     {
 *         size_t len;
 *         char *line = asynchat_get_data(d, &len);
 *
 *         return line ? asynchat_push(d, line, len) : -ENOMEM;
 *     }
 *
 *     ASYNCORE_CLASS(shout, asynchat_async_chat, .init = shout_init,
 *                    .collect_incoming_data = asynchat_keep_incoming_data,
 *                    .found_terminator = shout_found_terminator);
 *
 * For a dispatcher that is no async_chat functions that return an int return -EINVAL, others
 * nothing (NULL, 0, no terminator).
 */
#ifndef ASYNCORE_CHAT_H
#define ASYNCORE_CHAT_H

#include <asyncore/dispatcher.h>
#include <asyncore/producer.h>

ASYNCORE_BEGIN_DECLS

struct evbuffer;

struct asynchat_async_chat {
    struct asyncore_dispatcher base;
};

/* What ac_in_buffer_size and ac_out_buffer_size are by default. */
#define ASYNCHAT_BUFFER_SIZE 65536

ASYNCORE_API extern const struct asyncore_class asynchat_async_chat_class;

/* An async_chat of which no class is derived; see asyncore_new.
 * Python: asynchat.async_chat(sock=None, map=None). */
ASYNCORE_API struct asynchat_async_chat *asynchat_async_chat_new(int sock,
                                                                 struct asyncore_map *map);

/* --- input ----------------------------------------------------------------------------------- */

enum asynchat_terminator_kind {
    ASYNCHAT_TERMINATOR_NONE,  /* everything is collected; the state of a new channel */
    ASYNCHAT_TERMINATOR_BYTES, /* these bytes end a piece, and are not collected */
    ASYNCHAT_TERMINATOR_COUNT, /* so many bytes are a piece; 0: as NONE */
};

struct asynchat_terminator {
    enum asynchat_terminator_kind kind;
    const void *bytes; /* of BYTES; valid until the terminator is set again */
    uint64_t length;   /* of BYTES; or the number of bytes that COUNT still waits for */
};

/* What ends the piece that is being collected. May be called in both methods, and goes for the
 * input that follows; in collect_incoming_data a terminator that has been found right behind the
 * data still ends this piece. The bytes are copied, and may be of any number and value; with len 0
 * everything is collected. -ENOMEM: the terminator stays what it was. Python: set_terminator(term),
 * set_terminator(None). */
ASYNCORE_API int asynchat_set_terminator(struct asyncore_dispatcher *d, const void *terminator,
                                         size_t len);

/* The same: the next count bytes. They are counted down as they are collected; the terminator is 0
 * when found_terminator is called. With 0 everything is collected, and nothing found: a body of no
 * bytes is there already. -EINVAL: count is negative. Python: set_terminator(number). */
ASYNCORE_API int asynchat_set_terminator_count(struct asyncore_dispatcher *d, int64_t count);

/* Python: get_terminator(). */
ASYNCORE_API struct asynchat_terminator asynchat_get_terminator(
    const struct asyncore_dispatcher *d);

/* The ready-made method: .collect_incoming_data = asynchat_keep_incoming_data. Keeps what it is
 * given for asynchat_get_data. 0 or -ENOMEM. Python: _collect_incoming_data(data). */
ASYNCORE_API int asynchat_keep_incoming_data(struct asyncore_dispatcher *d, const void *data,
                                             size_t len);

/* What has been kept, and *len (which may be NULL) its length, in one piece with a 0 behind it,
 * which may be written to; it is not kept any longer. Valid until the handler that calls this
 * returns, the next keep_incoming_data (which may be given a part of it), get_data or incoming,
 * or discard_buffers. NULL: no memory, and it is still kept.
 * Python: _get_data(). */
ASYNCORE_API char *asynchat_get_data(struct asyncore_dispatcher *d, size_t *len);

/* The buffer in which it is kept, to be looked at or drained; the channel's, valid until
 * the next keep_incoming_data, get_data or incoming. See <event2/buffer.h>. NULL: no memory, or no
 * async_chat. Python: incoming. */
ASYNCORE_API struct evbuffer *asynchat_incoming(struct asyncore_dispatcher *d);

/* How many bytes handle_read reads at most; 0: what the class says. Python: ac_in_buffer_size. */
ASYNCORE_API int asynchat_set_ac_in_buffer_size(struct asyncore_dispatcher *d, size_t size);
ASYNCORE_API size_t asynchat_ac_in_buffer_size(const struct asyncore_dispatcher *d);

/* How many bytes may be collected until a terminator is found, from now on; 0, the default: any
 * number. What a terminator that is a number waits for is not counted. Before more is handed out,
 * handle_collect_limit is called, once until a terminator is found or the limit is set again. */
ASYNCORE_API int asynchat_set_collect_limit(struct asyncore_dispatcher *d, size_t bytes);

/* --- output ---------------------------------------------------------------------------------- */

/* Queues a copy of data. In a handler that the loop, or asyncore_read and its like, has called, it
 * is gathered, with what is pushed on any channel of the same map, and sent when the handler ends,
 * when it runs a pass of that map, or when a function here or in dispatcher.h uses the socket;
 * initiate_send sends it at once. Elsewhere, and where the class has a send of its own, which gets
 * at most ac_out_buffer_size bytes at once, it is sent now. While the channel is not connected, and
 * after close, it is only queued, for the next connection: in a loop of pushes look at
 * asyncore_fileno(d).
 * 0; -ENOMEM: nothing is queued; or as asynchat_initiate_send, and what handle_error made of an
 * error of handle_high_water. Python: push(data). */
ASYNCORE_API int asynchat_push(struct asyncore_dispatcher *d, const void *data, size_t len);

/* The same without a copy: data must stay as it is until release, which may be NULL, is called,
 * exactly once, also when this fails: when data was sent or discarded. release may do what a method
 * may; for a channel that is destroyed, what finalize may. */
ASYNCORE_API int asynchat_push_reference(struct asyncore_dispatcher *d, const void *data,
                                         size_t len,
                                         void (*release)(const void *data, size_t len, void *arg),
                                         void *arg);

/* Queues what producer will make, and sends; takes it over, also when this fails. It is asked when
 * what is queued in front of it has been sent, or can go out together with what it makes. When it
 * fails, what is in front of it is sent, and the error is one of handle_write, or of who called
 * push or initiate_send; the producer stays the next in the queue. -ENOMEM; producer is NULL: the
 * negative errno that a failed asynchat_X_producer_new has left; otherwise as asynchat_push.
 * Python: push_with_producer(producer). */
ASYNCORE_API int asynchat_push_with_producer(struct asyncore_dispatcher *d,
                                             struct asynchat_producer *producer);

/* handle_close is called when everything that is queued by now has been sent: by a later
 * handle_write, never in this call. -ENOMEM. Python: close_when_done(). */
ASYNCORE_API int asynchat_close_when_done(struct asyncore_dispatcher *d);

/* Sends what is queued, once: up to ac_out_buffer_size bytes, in not more than 256 pieces, and one
 * piece of a large file. 0 without a connection, and where the socket takes nothing. An error of
 * the socket goes to handle_error and what that returned is returned; otherwise the error of a
 * producer, of the handle_close that was called, -ENOMEM. Python: initiate_send(). */
ASYNCORE_API int asynchat_initiate_send(struct asyncore_dispatcher *d);

/* Drops all input that has not been collected, what has been kept, and all output, without sending
 * what is gathered; a close_when_done too. Python: discard_buffers(). */
ASYNCORE_API int asynchat_discard_buffers(struct asyncore_dispatcher *d);

/* asyncore_out_buffer_length(d) says how many bytes are queued; what producers will make is not
 * counted. */

/* How many bytes are offered to the socket at once; 0: what the class says.
 * Python: ac_out_buffer_size. */
ASYNCORE_API int asynchat_set_ac_out_buffer_size(struct asyncore_dispatcher *d, size_t size);
ASYNCORE_API size_t asynchat_ac_out_buffer_size(const struct asyncore_dispatcher *d);

/* A mark for the output that is queued; bytes 0, the default: none. A push, of a producer too,
 * after which more than bytes are queued that the socket does not take, calls handle_high_water,
 * once until the queue is not above the mark again. With pause the channel is not readable while it
 * is above; what has been read is handed out. What producers still hold is not counted, and nobody
 * looks between pushes: who only stops reading needs a timeout. */
ASYNCORE_API int asynchat_set_high_water(struct asyncore_dispatcher *d, size_t bytes, bool pause);

/* --- for subclasses -------------------------------------------------------------------------- */

ASYNCORE_API int asynchat_async_chat_init(struct asyncore_dispatcher *d, int sock);

/* The method, required: the next part of the input, which ends where the terminator begins or where
 * no more has arrived; never 0 bytes. data is valid during the call. What is handed out when it
 * fails is handed out again with the next input, if the channel is not closed; but only once at
 * the end of the input.
 * By default -ENOSYS. Python: collect_incoming_data(data). */
ASYNCORE_API int asynchat_collect_incoming_data(struct asyncore_dispatcher *d, const void *data,
                                                size_t len);
ASYNCORE_API int asynchat_async_chat_collect_incoming_data(struct asyncore_dispatcher *d,
                                                           const void *data, size_t len);

/* The method, required: the terminator has come. When it fails, the input behind it waits for the
 * next handle_read. By default -ENOSYS. Python: found_terminator(). */
ASYNCORE_API int asynchat_found_terminator(struct asyncore_dispatcher *d);
ASYNCORE_API int asynchat_async_chat_found_terminator(struct asyncore_dispatcher *d);

/* The method: asynchat_set_collect_limit's limit is passed. By default -EMSGSIZE, which
 * handle_error logs and closes for. An override that returns 0 lets the data be collected. */
ASYNCORE_API int asynchat_handle_collect_limit(struct asyncore_dispatcher *d);
ASYNCORE_API int asynchat_async_chat_handle_collect_limit(struct asyncore_dispatcher *d);

/* The method: the mark of asynchat_set_high_water is passed. An error goes to handle_error. By
 * default -ENOBUFS, for which that logs and closes; 0 for a channel that pauses. */
ASYNCORE_API int asynchat_handle_high_water(struct asyncore_dispatcher *d);
ASYNCORE_API int asynchat_async_chat_handle_high_water(struct asyncore_dispatcher *d);

/* Reads once, by recv, and hands out what it got. At the end of the input, before handle_close,
 * what was held back because it could have been the beginning of a terminator is collected. An
 * error of recv goes to handle_error; otherwise the first error of a method. */
ASYNCORE_API int asynchat_async_chat_handle_read(struct asyncore_dispatcher *d);

/* initiate_send. */
ASYNCORE_API int asynchat_async_chat_handle_write(struct asyncore_dispatcher *d);

/* close. What is queued then, with asyncore_close too, is sent as far as the socket takes it at
 * once, but not by a send of the class's own; producers are not asked, except one that was pushed
 * in this handler, once. The rest stays queued. */
ASYNCORE_API int asynchat_async_chat_handle_close(struct asyncore_dispatcher *d);

/* 1, unless it pauses above the mark. */
ASYNCORE_API int asynchat_async_chat_readable(struct asyncore_dispatcher *d);

/* 1 while the channel is not connected or something is queued. */
ASYNCORE_API int asynchat_async_chat_writable(struct asyncore_dispatcher *d);

/* How many bytes at the end of haystack are the beginning of needle; a needle that is all there
 * does not count. Python: find_prefix_at_end(haystack, needle). */
ASYNCORE_API size_t asynchat_find_prefix_at_end(const void *haystack, size_t haystack_len,
                                                const void *needle, size_t needle_len);

ASYNCORE_END_DECLS

#endif
