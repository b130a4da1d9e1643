/*
 * dispatcher: a channel around a socket.
 *
 * asyncore_X(d, ...) calls method X of d, whichever class has it; asyncore_dispatcher_X is what
 * the base class does, for super calls. A channel lives until the end of the pass in which it was
 * closed (closed outside a pass: until the end of the next one, or the map's); who wants it longer
 * takes a reference. On a channel that is closed, or has no socket, functions that need one return
 * -EBADF, except asyncore_send and asyncore_recv of one that was closed: these return 0.
 */
#ifndef ASYNCORE_DISPATCHER_H
#define ASYNCORE_DISPATCHER_H

#include <asyncore/class.h>
#include <asyncore/export.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_map;
struct asyncore_socket;

/* For reading; written by the library, and by the asyncore_set_X below. */
struct asyncore_dispatcher {
    const struct asyncore_class *cls;
    struct asyncore_map *map; /* never NULL, valid as long as the channel */
    bool connected;           /* handle_connect has run, or the socket came connected */
    bool accepting;           /* listening */
    bool connecting;          /* connect is under way */
    bool closing;             /* the program's own; the library does not look at it */
    bool debug;               /* dispatcher_with_send logs what it sends */
};

/* --- life ------------------------------------------------------------------------------------ */

/* A plain dispatcher; see asyncore_new. A socket that is given is set to non-blocking, added to
 * the map, and looked at: connected with its peer's address, or accepting if it listens.
 * Python: asyncore.dispatcher(sock=None, map=None). */
ASYNCORE_API struct asyncore_dispatcher *asyncore_dispatcher_new(int sock,
                                                                 struct asyncore_map *map);

/* Keeps d, and its map, from being destroyed. Returns d. */
ASYNCORE_API struct asyncore_dispatcher *asyncore_ref(struct asyncore_dispatcher *d);

/* Gives up a reference. NULL is allowed. Returns NULL. */
ASYNCORE_API struct asyncore_dispatcher *asyncore_unref(struct asyncore_dispatcher *d);

/* Calls close. By default: connected, accepting and connecting become false, the channel leaves
 * the map, its socket is closed, what was ready is forgotten, and the channel is destroyed later,
 * unless it gets another socket first. 0, or the error of the socket's close (-EIO), except
 * -ENOTCONN and -EBADF. On a channel that is closed: 0. Python: close(). */
ASYNCORE_API int asyncore_close(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_close(struct asyncore_dispatcher *d);

/* Takes the channel out of the map as close does, but returns the descriptor instead of closing
 * it: the caller's, non-blocking if it is a socket. What was pushed in this handler is offered to
 * the socket first; what is queued and not sent then is dropped, and so is input that an async_chat
 * has read and not handed out yet, which lies behind the terminator. -EBADF, -ENOTSUP (the socket
 * object cannot). Python: d.del_channel(); d.socket.detach(). */
ASYNCORE_API int asyncore_detach(struct asyncore_dispatcher *d);

/* --- in the map ------------------------------------------------------------------------------ */

/* Puts d into the map, NULL: its own, behind the others; d that is in it already stays where it
 * is. Another map becomes its owner. -EBADF: no socket; -EINVAL: the map has been freed; -EMFILE,
 * -ENOMEM: no means to watch for out-of-band data, which its class looks at.
 * Python: add_channel(map=None). */
ASYNCORE_API int asyncore_add_channel(struct asyncore_dispatcher *d, struct asyncore_map *map);

/* Takes d out of its map, which goes on owning it, with its socket; handlers are not called any
 * more, except what poll's way is about to call for one that did this in a handler. Nothing happens
 * to one that is not in it. Python: del_channel(). */
ASYNCORE_API void asyncore_del_channel(struct asyncore_dispatcher *d);

/* The channel's descriptor, or -1. Python: fileno(), _fileno. */
ASYNCORE_API int asyncore_fileno(const struct asyncore_dispatcher *d);

/* The state or the data that readable and writable look at has changed: for a class with
 * ASYNCORE_INTEREST_ON_CHANGE, after a change that no call of the library made. */
ASYNCORE_API void asyncore_touch(struct asyncore_dispatcher *d);

/* --- state ----------------------------------------------------------------------------------- */

/* Python: assignments to the attributes of these names. */
ASYNCORE_API void asyncore_set_connected(struct asyncore_dispatcher *d, bool value);
ASYNCORE_API void asyncore_set_accepting(struct asyncore_dispatcher *d, bool value);
ASYNCORE_API void asyncore_set_connecting(struct asyncore_dispatcher *d, bool value);
ASYNCORE_API void asyncore_set_closing(struct asyncore_dispatcher *d, bool value);
ASYNCORE_API void asyncore_set_debug(struct asyncore_dispatcher *d, bool value);

/* The types of messages that log_info keeps to itself, an array that ends with NULL, which must
 * outlive d; NULL: those of its class ("warning"). Python: ignore_log_types. */
ASYNCORE_API void asyncore_set_ignore_log_types(struct asyncore_dispatcher *d,
                                                const char *const *types);

/* The address that bind, connect or the construction noted, and its length; NULL and 0: none yet.
 * Valid until the next of these. Python: addr. */
ASYNCORE_API const struct sockaddr *asyncore_addr(const struct asyncore_dispatcher *d,
                                                  socklen_t *addrlen);

/* "<echo connected 127.0.0.1:80 at 0x...>": as snprintf. Python: repr(d). */
ASYNCORE_API int asyncore_repr(const struct asyncore_dispatcher *d, char *buf, size_t size);
ASYNCORE_API int asyncore_dispatcher_repr(const struct asyncore_dispatcher *d, char *buf,
                                          size_t size);

/* An address as Python prints it: ('127.0.0.1', 80), ('::1', 80, 0, 0), '/run/socket', '' for a
 * Unix socket without a name, b'\x00name' for an abstract one: as snprintf. */
ASYNCORE_API int asyncore_addr_repr(const struct sockaddr *addr, socklen_t addrlen, char *buf,
                                    size_t size);

/* --- the socket ------------------------------------------------------------------------------ */

/* Makes a non-blocking, close-on-exec socket, as socket(2), and gives it to the channel, in place
 * of the one it has, which is closed. The negative errno of socket(2), or of add_channel.
 * Python: create_socket(family=AF_INET, type=SOCK_STREAM). */
ASYNCORE_API int asyncore_create_socket(struct asyncore_dispatcher *d, int family, int type);

/* Gives the channel a socket, in place of the one it has, which is closed, and puts it into map,
 * NULL: its own. Does not look at its state: see asyncore_set_connected. The socket is set to
 * non-blocking. Consumed, closed even when this fails: -EBADF, -ENOTSOCK, or an error of
 * add_channel. Python: set_socket(sock, map=None). */
ASYNCORE_API int asyncore_set_socket(struct asyncore_dispatcher *d, int sock,
                                     struct asyncore_map *map);

/* The same for a socket object of any class; it is freed even when this fails. */
ASYNCORE_API int asyncore_set_socket_object(struct asyncore_dispatcher *d,
                                            struct asyncore_socket *sock, struct asyncore_map *map);

/* The socket object of the channel, which stays the channel's; NULL: none. Python: d.socket. */
ASYNCORE_API struct asyncore_socket *asyncore_socket(const struct asyncore_dispatcher *d);

/* SO_REUSEADDR, SO_REUSEPORT. An error is ignored, as in Python. -EBADF: there never was a socket;
 * -ENOTSOCK: the channel has a file.
 * Python: set_reuse_addr(). */
ASYNCORE_API int asyncore_set_reuse_addr(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_set_reuse_port(struct asyncore_dispatcher *d);

/* listen(2), with accepting true from then on. Python: listen(num). */
ASYNCORE_API int asyncore_listen(struct asyncore_dispatcher *d, int backlog);

/* bind(2); addr is noted even when it fails. -ENOMEM. Python: bind(addr). */
ASYNCORE_API int asyncore_bind(struct asyncore_dispatcher *d, const struct sockaddr *addr,
                               socklen_t addrlen);

/* The same for a host, numeric or a name, NULL or "": any address, and a port; 0: any free one.
 * Looking a name up blocks. -EADDRNOTAVAIL: there is no such host for the socket's family;
 * asyncore_compact_traceback(d)->message says what the resolver said. */
ASYNCORE_API int asyncore_bind_host(struct asyncore_dispatcher *d, const char *host, uint16_t port);

/* Starts to connect. When that succeeds at once, handle_connect_event is called, and what it
 * returns is returned. Otherwise 0, and handle_connect is called when it is done, or handle_error
 * when it failed. The negative errno of connect(2) (-ECONNREFUSED, -ENOENT) when it fails at once:
 * then no handler is called, and the channel stays as it is, to be closed or to try again.
 * Python: connect(address). */
ASYNCORE_API int asyncore_connect(struct asyncore_dispatcher *d, const struct sockaddr *addr,
                                  socklen_t addrlen);

/* The same for a host, numeric or a name, NULL or "": this machine; see asyncore_bind_host. */
ASYNCORE_API int asyncore_connect_host(struct asyncore_dispatcher *d, const char *host,
                                       uint16_t port);

/* The next connection, as a non-blocking, close-on-exec socket of the caller's, and, where addr is
 * not NULL, its address, with *addrlen the room and then the length, as accept(2). -EAGAIN: there
 * is none (Python: None). When the process or the system is out of descriptors or memory: -EAGAIN
 * too; the listener logs it once and does not accept for 0.1 s. Otherwise accept(2)'s error.
 * Python: accept(). */
ASYNCORE_API int asyncore_accept(struct asyncore_dispatcher *d, struct sockaddr *addr,
                                 socklen_t *addrlen);

/* Calls send. By default: the count that the socket took, which may be less than len and is 0 when
 * it can take nothing now, or when the connection is gone: then handle_close has been called, and
 * an error of it is returned. Otherwise a negative errno. At most INT_MAX bytes at once.
 * Python: send(data). */
ASYNCORE_API int asyncore_send(struct asyncore_dispatcher *d, const void *data, size_t len);
ASYNCORE_API int asyncore_dispatcher_send(struct asyncore_dispatcher *d, const void *data,
                                          size_t len);

/* Calls recv. By default: up to len bytes; 0 at the end of the stream, for which a len of 0 is
 * taken too, or when the connection is gone: handle_close has been called, and an error of it is
 * returned (at the end of the stream one of the disconnected family, see asyncore_readwrite, calls
 * it again, as in Python). -EAGAIN when there is nothing to read, which a handler may return.
 * Otherwise a negative errno. Python: recv(buffer_size). */
ASYNCORE_API int asyncore_recv(struct asyncore_dispatcher *d, void *buf, size_t len);
ASYNCORE_API int asyncore_dispatcher_recv(struct asyncore_dispatcher *d, void *buf, size_t len);

/* The socket's own, with flags (MSG_OOB, MSG_PEEK): no method is called, every error, -EAGAIN too,
 * is returned. Python: d.socket.send(data, flags), d.socket.recv(size, flags). */
ASYNCORE_API int asyncore_send_flags(struct asyncore_dispatcher *d, const void *data, size_t len,
                                     int flags);
ASYNCORE_API int asyncore_recv_flags(struct asyncore_dispatcher *d, void *buf, size_t len,
                                     int flags);

/* For datagrams, as sendto(2) and recvfrom(2): the count, or a negative errno, -EAGAIN too; no
 * method is called. addr of recvfrom may be NULL. Python: d.socket.sendto(), recvfrom(). */
ASYNCORE_API int asyncore_sendto(struct asyncore_dispatcher *d, const void *data, size_t len,
                                 const struct sockaddr *addr, socklen_t addrlen);
ASYNCORE_API int asyncore_recvfrom(struct asyncore_dispatcher *d, void *buf, size_t len,
                                   struct sockaddr *addr, socklen_t *addrlen);

/* As the system calls of these names; 0 or a negative errno. Python: d.socket.shutdown(how) ... */
ASYNCORE_API int asyncore_shutdown(struct asyncore_dispatcher *d, int how);
ASYNCORE_API int asyncore_getsockname(const struct asyncore_dispatcher *d, struct sockaddr *addr,
                                      socklen_t *addrlen);
ASYNCORE_API int asyncore_getpeername(const struct asyncore_dispatcher *d, struct sockaddr *addr,
                                      socklen_t *addrlen);
ASYNCORE_API int asyncore_setsockopt(struct asyncore_dispatcher *d, int level, int name,
                                     const void *value, socklen_t len);
ASYNCORE_API int asyncore_getsockopt(struct asyncore_dispatcher *d, int level, int name,
                                     void *value, socklen_t *len);

/* --- back-pressure --------------------------------------------------------------------------- */

/* d does not read while too much output is queued in sink (asyncore_out_buffer_length): not from
 * the moment on in which more than high bytes are, until there are no more than low; then
 * handle_drain of d is called. Until then its readable does not count, nor is it found out that its
 * peer has gone; it is written to as ever. This costs nothing while nothing changes, and needs no
 * predicate.
 *
 * The mark is looked at when sink has offered to its socket what it has, when output is discarded,
 * and now: what is above high already counts at once. What a handler pushes and the socket takes
 * when it ends does not count, nor what producers will make. What a pass has found ready by then is
 * still read: with n sources that read k bytes at a time up to n * k bytes more are queued.
 *
 * A channel has one sink, which another call replaces, with its marks, as if it were the first
 * call; NULL: none, and d reads again, without being told. Any number of channels can have the same
 * sink, and it can be d itself. Its map can be another one of the same thread. The relation ends
 * when d or sink is closed or destroyed: when it was sink, d reads again without being told, and
 * what it sends there is not taken. It stays when either is taken out of the map or put into
 * another, and when sink gets a new socket without having been closed, as its queue does.
 *
 * 0; -EINVAL: low is more than high; -EBADF: d or sink is closed; -ENOMEM; then nothing has
 * changed. Python has a readable that looks at len(sink.out_buffer) in every pass. */
ASYNCORE_API int asyncore_set_back_pressure(struct asyncore_dispatcher *d,
                                            struct asyncore_dispatcher *sink, size_t high,
                                            size_t low);

/* --- time ------------------------------------------------------------------------------------ */

/* Python's asyncore has no counterpart of these. For both functions:
 *   seconds   above 0; ASYNCORE_TIMEOUT_NONE (loop.h), any negative value, an infinite one, and one
 *             of 1e9 and above: no timeout, as at first
 *   returns   0; -EINVAL: seconds is 0 or not a number; -ENOMEM: nothing has changed
 * A timeout comes some milliseconds late, by the kernel's and libevent's coarse clocks, and not
 * early. It belongs to the channel, whichever sockets it has: it may be set before there is one, in
 * init, in handlers, and at any other time. Setting it again counts anew from now. It costs a look
 * at a clock per message, and a timer per channel; for up to 8 different times to be idle per map
 * these are common timeouts of libevent's, with which it does not matter how many there are, and of
 * which a base has room for 256, for good. */

/* The time to be idle: handle_timeout is called, as a handler, in a pass, when d has been in its
 * map for so long without any of these: bytes received or sent by functions of the library, a
 * connection accepted, a connection begun or made. And again after as long, while it stays in the
 * map and idle. What happens in the same pass comes first, and then it was not idle. Being put into
 * a map, with a new socket too, counts anew. */
ASYNCORE_API int asyncore_set_timeout(struct asyncore_dispatcher *d, double seconds);

/* The time to connect: when a connection that asyncore_connect has begun is not made after so long,
 * -ETIMEDOUT, "no connection within ... seconds", goes to handle_error in a pass, as if a handler
 * had returned it. Once for each connect; connecting is still true then, and whether to go on
 * waiting is handle_error's to say, which by default closes. Counts from connect, or from this call
 * if that came later. Until then the time to be idle does not count. */
ASYNCORE_API int asyncore_set_connect_timeout(struct asyncore_dispatcher *d, double seconds);

/* --- logging --------------------------------------------------------------------------------- */

#define ASYNCORE_LOG_INFO "info"
#define ASYNCORE_LOG_WARNING "warning"
#define ASYNCORE_LOG_ERROR "error"

/* Calls log. By default: "log: MESSAGE" on stderr, and 0. Python: log(message). */
ASYNCORE_API int asyncore_log(struct asyncore_dispatcher *d, const char *message);
ASYNCORE_API int asyncore_dispatcher_log(struct asyncore_dispatcher *d, const char *message);

/* Calls log_info, with "info" for a NULL type. By default: "TYPE: MESSAGE" on stdout unless type is
 * one of ignore_log_types, and 0. Python: log_info(message, type='info'). */
ASYNCORE_API int asyncore_log_info(struct asyncore_dispatcher *d, const char *message,
                                   const char *type);
ASYNCORE_API int asyncore_dispatcher_log_info(struct asyncore_dispatcher *d, const char *message,
                                              const char *type);

/* The same for a formatted message; cut at 1023 bytes. */
ASYNCORE_API int asyncore_logf(struct asyncore_dispatcher *d, const char *format, ...)
    ASYNCORE_PRINTF(2, 3);
ASYNCORE_API int asyncore_log_infof(struct asyncore_dispatcher *d, const char *type,
                                    const char *format, ...) ASYNCORE_PRINTF(3, 4);

/* --- for subclasses -------------------------------------------------------------------------- */

/* Takes the socket, as asyncore_dispatcher_new says; -1: none. */
ASYNCORE_API int asyncore_dispatcher_init(struct asyncore_dispatcher *d, int sock);

/* Both: 1. A listening channel is never watched for write, and a stream socket that
 * create_socket made is watched once it is connecting, connected or listening. */
ASYNCORE_API int asyncore_readable(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_readable(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_writable(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_writable(struct asyncore_dispatcher *d);

/* handle_accept for a listening channel; otherwise handle_connect_event if it is connecting and
 * not connected, and then, unless that closed it, handle_read. */
ASYNCORE_API int asyncore_handle_read_event(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_read_event(struct asyncore_dispatcher *d);

/* Nothing for a listening channel; otherwise handle_connect_event if it is connecting and not
 * connected, and then, unless that closed it, handle_write. */
ASYNCORE_API int asyncore_handle_write_event(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_write_event(struct asyncore_dispatcher *d);

/* handle_close if the socket has an error (SO_ERROR), otherwise handle_expt. */
ASYNCORE_API int asyncore_handle_expt_event(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_expt_event(struct asyncore_dispatcher *d);

/* The socket's error (SO_ERROR) if it has one; otherwise handle_connect, and then, unless that
 * closed it, connected is true and connecting false. */
ASYNCORE_API int asyncore_handle_connect_event(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_connect_event(struct asyncore_dispatcher *d);

/* Log "unhandled ... event" as a warning. A channel that inherits handle_expt, handle_expt_event
 * and log_info is not watched for out-of-band data. */
ASYNCORE_API int asyncore_handle_read(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_read(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_handle_write(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_write(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_handle_expt(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_expt(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_handle_connect(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_connect(struct asyncore_dispatcher *d);

/* accept, and handle_accepted with what it gave, if there was a connection. */
ASYNCORE_API int asyncore_handle_accept(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_accept(struct asyncore_dispatcher *d);

/* Closes sock and logs "unhandled accepted event" as a warning. */
ASYNCORE_API int asyncore_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                          const struct sockaddr *addr, socklen_t addrlen);
ASYNCORE_API int asyncore_dispatcher_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                                     const struct sockaddr *addr,
                                                     socklen_t addrlen);

/* The sink of asyncore_set_back_pressure has drained: called once each time, in the next pass of
 * d's map, in front of other handlers; by then others may have filled it again, after which it is
 * called again. What drains twice before that pass is told once. By default 0. */
ASYNCORE_API int asyncore_handle_drain(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_drain(struct asyncore_dispatcher *d);

/* Logs "unhandled close event" as a warning, and calls close. */
ASYNCORE_API int asyncore_handle_close(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_close(struct asyncore_dispatcher *d);

/* handle_close. See asyncore_set_timeout. */
ASYNCORE_API int asyncore_handle_timeout(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_timeout(struct asyncore_dispatcher *d);

/* Logs the error report (asyncore_compact_traceback) as an error, and calls handle_close, unless d
 * has been closed. A handler that closes d and then fails has failed: this is called. -EINVAL:
 * there is no error. A handler that catches one calls asyncore_raise and then this. */
ASYNCORE_API int asyncore_handle_error(struct asyncore_dispatcher *d);
ASYNCORE_API int asyncore_dispatcher_handle_error(struct asyncore_dispatcher *d);

ASYNCORE_END_DECLS

#endif
