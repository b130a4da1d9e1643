/*
 * What the library's files know of each other.
 *
 * A channel is the library's own state of a dispatcher; it lies in front of the instance, in the
 * same allocation:
 *
 *     struct event (read) | struct channel | struct asyncore_dispatcher, and what derives from it
 *
 * (in front of it all, for an async_chat, struct chat).
 *
 * Its place says which of its map's three lists it is on. Its interest (want) becomes events
 * (armed) in watch.c; what the events report (ready) is gathered into the batch of the pass that
 * waits, and served by dispatch.c.
 */
#ifndef ASYNCORE_INTERNAL_H
#define ASYNCORE_INTERNAL_H

#include <asyncore/asyncore.h>

#include <event2/event.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdalign.h>
#include <stdint.h>
#include <sys/queue.h>

struct chat;
struct evbuffer;
struct timeouts;

/* --- channels -------------------------------------------------------------------------------- */

/* What a channel is ready for, beside ASYNCORE_READ and ASYNCORE_WRITE; select's way serves them in
 * the order of the bits. */
#define READY_EXPT 4
#define READY_HANGUP 8
#define READY_TIMEOUT 16 /* handle_timeout is due */
#define READY_DRAIN 32   /* handle_drain is: served first */
/* Nothing that the kernel knows of. */
#define READY_UNWATCHED (READY_TIMEOUT | READY_DRAIN)

enum place {
    PLACE_OUTSIDE, /* owned, not in the map */
    PLACE_IN_MAP,
    PLACE_DOOMED, /* closed: destroyed by the next sweep */
};

/* IPv4 and IPv6 addresses lie in the channel, longer ones in an allocation. */
struct address {
    socklen_t length; /* 0: none */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr *far;
    } u;
};

struct batch;
struct pressure;

struct channel {
    TAILQ_ENTRY(channel) in_place;
    TAILQ_ENTRY(channel) in_asked;
    TAILQ_ENTRY(channel) in_changed;
    TAILQ_ENTRY(channel) in_batch;
    struct batch *batch; /* where it is marked ready; NULL: nowhere */
    uint64_t order;      /* the map's order of insertion */

    struct asyncore_socket *socket; /* NULL: none */
    struct asyncore_socket plain;   /* the room for one of the library's own */
    struct event *write_event;      /* made when it is first needed */
    struct evbuffer *out_buffer;    /* what is to be sent; made when it is first needed */
    struct chat *chat;              /* an async_chat's part; NULL: it is none */
    struct pressure *pressure;      /* made when it is first needed */
    struct timeouts *timeouts;      /* made with the first one */
    const char *const *ignore_log_types;
    struct address addr;

    unsigned refs;
    unsigned generation; /* counts the sockets it has had: events belong to one of them */
    uint8_t place;
    uint8_t ready;
    uint8_t want;
    uint8_t armed;

    bool asked : 1;      /* predicates of its own: asked in every pass */
    bool on_change : 1;  /* predicates of its own: asked after changes */
    bool changed : 1;    /* on the map's list of that name */
    bool late : 1;       /* ... by a channel behind it that was asked: its turn is over */
    bool closed : 1;     /* since close, until it gets another socket */
    bool stream : 1;     /* a stream socket */
    bool created : 1;    /* ... of create_socket, not watched until it is going somewhere */
    bool is_file : 1;    /* its socket object is a file_wrapper */
    bool read_end : 1;   /* ... of a pipe: epoll calls its hang-up writable, select never */
    bool always : 1;     /* its file cannot be watched: always ready */
    bool own_mind : 1;   /* its socket object has pending or want */
    bool consumed : 1;   /* a socket was given to it, or was to be */
    bool ask_write : 1;  /* the kernel is asked before the next handle_write */
    bool expt : 1;       /* its class looks at out-of-band data */
    bool expt_armed : 1; /* ... which is watched for */
    bool expt_fired : 1; /* ... and was there */
    bool paused : 1;     /* a listener that waits for descriptors */
    bool told : 1;       /* ... and has logged that */
};

TAILQ_HEAD(channel_list, channel);

typedef int handler_fn(struct asyncore_dispatcher *d);

#define ALIGNED(size)                                                                              \
    (((size) + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t))

static inline struct channel *channel_of(const struct asyncore_dispatcher *d)
{
    return (struct channel *)(void *)((uintptr_t)d - ALIGNED(sizeof(struct channel)));
}

static inline struct asyncore_dispatcher *dispatcher_of(const struct channel *c)
{
    return (struct asyncore_dispatcher *)(void *)((uintptr_t)c + ALIGNED(sizeof(struct channel)));
}

/* Whether the table (of a class, or of a socket) is large enough to have the member, and has it. */
#define HAS(cls, member)                                                                           \
    ((cls)->table_size >=                                                                          \
         (size_t)((const char *)&(cls)->member - (const char *)(cls)) + sizeof((cls)->member) &&   \
     (cls)->member)

/* class.c */
void channel_destroy(struct channel *c);
void channel_is_free(struct channel *c); /* closed, and nobody has a reference */

/* Gives up a reference. */
static inline void channel_release(struct channel *c)
{
    if (--c->refs == 0 && c->closed)
        channel_is_free(c);
}

/* Calls of the channel's that can change what its predicates look at. */
void channel_touch(struct channel *c);

/* Lets the socket go, with everything that was known about it; the descriptor, or the error of
 * its close. */
int channel_drop_socket(struct channel *c, bool detach);

/* --- maps ------------------------------------------------------------------------------------ */

/* A walk of map->asked that stands a removal of the next one. */
struct cursor {
    struct channel *next;
    struct cursor *outer;
};

/* What a pass has found ready, sorted by order before it is served. */
struct batch {
    struct channel_list channels;
    struct channel *next; /* of the walk that serves it */
    unsigned ready;       /* all that any of them was ready for */
    bool sorted;
    bool has_file;
    bool served;         /* its dispatch has begun */
    bool use_poll;       /* it is served in poll's way */
    struct batch *outer; /* of the pass in one of whose handlers this one runs */
};

/* One pass of a loop, or of a map that is attached. */
struct pass {
    struct batch batch;
    int64_t timeout;  /* ns */
    int64_t deadline; /* 0: not yet known, it counts from the first wait */
    bool use_poll;
    bool exact; /* the timeout counts even if nobody could tell */
    /* Of what it runs in: */
    bool in_handler;
    bool in_predicate;
    struct answer *answers;
};

TAILQ_HEAD(chat_list, chat);

#define ERROR_MESSAGE_SIZE 256

/* The error that a running handle_error handles, whatever happens inside it meanwhile. */
struct handled {
    struct asyncore_error error;
    char message[ERROR_MESSAGE_SIZE];
    struct handled *outer;
};

/* A time to be idle, and what libevent knows it by; NULL: the base refused it. */
struct common_timeout {
    int64_t idle; /* ns; 0: not yet in use */
    const struct timeval *tv;
};

#define COMMON_TIMEOUTS 8

struct asyncore_map {
    struct event_base *base;
    struct attached *attached;    /* attach.c; NULL: it is not */
    struct wakeup *wakeup;        /* wakeup.c; NULL: libevent's threading is off */
    struct channel_list channels; /* in the map, in order */
    struct channel_list outside;
    struct channel_list doomed;
    struct channel_list asked;   /* in the map, and asked in every pass, in order */
    struct channel_list changed; /* in the map, and to be asked in the next pass */
    size_t length;
    size_t changes;
    size_t owned; /* channels, and calls of the library, that hold the map */
    uint64_t last_order;
    struct cursor *cursor;
    uint64_t asking;                 /* the order of the channel that is asked; 0: none */
    struct batch *batch;             /* of the innermost pass */
    unsigned depth;                  /* of loops and passes that are running */
    struct asyncore_map_stats stats; /* but for what it has now */

    struct event *timer; /* bounds a wait */
    int64_t timer_at;    /* when it fires, in ns of the monotonic clock; 0: not set */
    bool timer_fired;
    struct event *pause; /* ends the pause of listeners without descriptors */

    struct common_timeout common_timeouts[COMMON_TIMEOUTS]; /* timeout.c */
    TAILQ_HEAD(, asyncore_call) calls;                      /* call_later.c */

    struct event *expt_event; /* out-of-band data: expt.c */
    int expt_fd;
    unsigned expt_count; /* channels on it */
    bool expt_armed;

    struct evbuffer *reserve; /* out_buffer.c */

    char *input_room; /* chat_input.c: NULL while it is in use */
    size_t input_room_size;

    /* Output of the handler that is running: chat_queue.c. */
    struct chat_list gathered;
    char *gather_room;
    size_t gather_length;
    struct chat *gatherer; /* whose output is in the room; NULL: it is empty */
    size_t gathering;      /* channels on that list */
    struct evbuffer *made; /* for what a producer makes: NULL while it is in use */
    bool in_handler;
    bool flushing;

    /* The connection that was accepted last, until the handler ends. The number may have become
     * another socket's since. */
    int accepted; /* -1: none */
    int acceptor;
    bool accepted_stream;
    socklen_t accepted_len;
    struct sockaddr_storage accepted_addr;

    struct asyncore_error error;
    char message[ERROR_MESSAGE_SIZE];
    struct handled *handled; /* by the innermost handle_error; NULL: none is running */

    int priority; /* of its events; -1: the base's default */
    int exit_value;
    bool exiting;     /* asyncore_loop_exit was called */
    bool waiting;     /* in event_base_loop */
    bool use_poll;    /* what expt watches is what poll's way wants */
    bool stale_break; /* the host broke a loop of its own, before this one */
    bool own_base;
    bool freed;
};

void timeout_note(struct channel *c);

/* Something has happened on c: it is not idle. */
static inline void channel_active(struct channel *c)
{
    if (__builtin_expect(c->timeouts != NULL, 0))
        timeout_note(c);
}

/* Note what a socket of c's has given or taken: n is what it returned, and they return it. */
static inline int channel_received(struct channel *c, int n)
{
    if (n > 0) {
        dispatcher_of(c)->map->stats.bytes_in += (unsigned)n;
        channel_active(c);
    }
    return n;
}

static inline int channel_sent(struct channel *c, int n)
{
    if (n > 0) {
        dispatcher_of(c)->map->stats.bytes_out += (unsigned)n;
        channel_active(c);
    }
    return n;
}

/* The map, or the default one; NULL with errno. */
struct asyncore_map *map_or_default(struct asyncore_map *map);
/* The default map if there is one already. */
struct asyncore_map *map_default(void);
void map_adopt(struct asyncore_map *map, struct channel *c);
void map_disown(struct channel *c);
void map_place(struct channel *c, enum place place);
/* Whether an event_base can be made: without the descriptors that it needs libevent ends the
 * process. Keeps errno of why not. */
bool map_has_descriptors(void);
/* Keeps the memory of the map. */
void map_hold(struct asyncore_map *map);
void map_drop(struct asyncore_map *map);
/* Around a loop or pass: a map that is freed in one is gone after the last leave. */
void map_enter(struct asyncore_map *map);
void map_leave(struct asyncore_map *map);
/* Destroys what was closed. */
void map_sweep(struct asyncore_map *map);
/* Whether c is a listener that waits for descriptors; then it is told when it may go on. */
bool map_pauses(struct channel *c);
/* event_add, with the priority of the map's events. */
int map_add_event(const struct asyncore_map *map, struct event *event, const struct timeval *tv);

/* Whether it is attached, and between two runs of its event. */
static inline bool map_waits_attached(const struct asyncore_map *map)
{
    return map->attached && map->depth == 0;
}

/* Whether events are for the pass that waits. Otherwise nobody serves the map: they are to be taken
 * out of the base, and their channels touched. */
static inline bool map_gathers(const struct asyncore_map *map)
{
    return map->waiting || map_waits_attached(map);
}

/* --- batch.c --------------------------------------------------------------------------------- */

/* Adds to what c is ready for, in the batch of its map's innermost pass. */
void batch_mark(struct channel *c, unsigned ready);

/* Forgets what c was ready for. */
void batch_remove(struct channel *c);

/* Sorts by order. */
void batch_sort(struct batch *batch);

/* --- watch.c, expt.c ------------------------------------------------------------------------- */

/* The events of a channel: for the socket that it has, in the base of its map; and none. */
void watch_assign(struct channel *c);
void watch_none(struct channel *c);
/* Takes the events out of the base until it is asked again. */
void watch_park(struct channel *c);
void watch_park_all(struct asyncore_map *map);

/* batch_mark, for callbacks of events: an attached map is to serve c. */
void watch_mark(struct channel *c, unsigned ready);
void watch_release(struct channel *c);

/* Asks the channels whose answer may have changed what they are interested in, and arms their
 * events. Marks in the batch who is ready without waiting. What a predicate returned, or -ENOMEM
 * and other errors of the base. */
int watch_ask(struct asyncore_map *map);

/* Around a pass that a predicate runs: what channels have answered to the pass around it. NULL
 * where there is no memory; then they wait for what they answered last. */
struct answer *watch_keep_answers(const struct asyncore_map *map);
void watch_restore_answers(struct asyncore_map *map, struct answer *answers);

/* Looks with poll(2) at what libevent does not tell: everything in poll's way, and what a hang-up
 * of a file means in select's. Takes from the batch who is not ready after all. */
void watch_verify(struct asyncore_map *map);

/* Out-of-band data: watched for on behalf of c, or not; and, if that is anyone, seen to at all. */
int expt_watch(struct channel *c, bool on);
/* Makes what it needs; -1 with errno. */
int expt_open(struct asyncore_map *map);
int expt_arm(struct asyncore_map *map);
void expt_disarm(struct asyncore_map *map);
void expt_close(struct asyncore_map *map);
/* Starts over with another descriptor, made when the channels are asked. */
void expt_restart(struct asyncore_map *map);

/* --- dispatch.c ------------------------------------------------------------------------------ */

/* What a pass and its parts return beside 0 and errors: something else ends the loop. */
#define STOPPED 2

/* Serves the map's innermost batch. 0, STOPPED, or an error that leaves the loop. */
int dispatch_batch(struct asyncore_map *map);

/* Calls handle_error for an error that the handler which is running does not pass on (neither
 * -EAGAIN nor ASYNCORE_EXIT_NOW). 0, or what leaves the loop. function: where it came from. */
int dispatch_error(struct asyncore_dispatcher *d, int error, const char *function);

/* Sends what a handler has gathered for c, as if in a handler of c's. */
int dispatch_flush(struct channel *c);

/* --- pass.c, attach.c ------------------------------------------------------------------------ */

#define FOREVER INT64_MAX

/* Whether the host, a handler or the map's end has stopped the loop. */
bool loop_is_stopped(const struct asyncore_map *map);

/* Seconds in ns, rounded up, so that a wait is never short; negative ones are FOREVER. */
int64_t pass_timeout(double seconds);
struct timeval pass_timeval(int64_t ns);

/* Around a pass, of which timeout, use_poll and exact are set. */
void pass_begin(struct asyncore_map *map, struct pass *pass);
void pass_end(struct asyncore_map *map, struct pass *pass);

/* Sends what the handler around this pass has pushed, and what was pushed while that was sent:
 * before anyone waits for an answer. 0, STOPPED, or an error. */
int pass_flush(struct asyncore_map *map);

/* Asks everyone. A predicate may stop the loop: 0, STOPPED, or an error. */
int pass_ask(struct asyncore_map *map);

/* How long, in ns, the pass that waits may go on waiting. */
int64_t pass_time_left(const struct asyncore_map *map, struct pass *pass);

/* Whether libevent's coarse clock has ended the wait before the deadline. */
bool pass_is_early(const struct pass *pass);

/* Whether someone is ready. */
static inline bool pass_is_ready(const struct asyncore_map *map)
{
    return !TAILQ_EMPTY(&map->batch->channels);
}

/* Of an attached map: an event has marked a channel; and everyone is to be asked. */
void attach_notify(struct asyncore_map *map);
void attach_run_soon(struct asyncore_map *map);

/* Something has changed between the passes. */
static inline void attach_wake(struct asyncore_map *map)
{
    if (map_waits_attached(map))
        attach_run_soon(map);
}

/* Whether that was asked for in a handler of the map. */
bool attach_is_detached(const struct asyncore_map *map);

/* After a change of the map's priority. */
void attach_rearm(struct asyncore_map *map);

/* For the end of the map. */
void attach_end(struct asyncore_map *map);

/* --- time: clock.c, timeout.c, call_later.c --------------------------------------------------- */

/* The monotonic clock, in ns; and the coarse one, which is cheaper, and libevent's. */
int64_t clock_now(void);
int64_t clock_coarse(void);
int64_t clock_tick(void);

/* What to wait by the coarse clock so as not to be early: on virtual machines it has been seen one
 * and a half ticks behind. */
int64_t clock_safe(int64_t ns);

/* c has come into the map, and is to be touched; it leaves it; connect was called, and it may be
 * under way; connected or connecting have changed. */
void timeout_enter(struct channel *c);
void timeout_leave(struct channel *c);
void timeout_connecting(struct channel *c, bool under_way);
void timeout_update(struct channel *c);

/* For c with timeouts: marks it in the batch if its time is up, or else sets its timer. 0 or
 * -ENOMEM. */
int timeout_watch(struct channel *c);

/* What is to be called for c, touched, whose time counts anew; NULL: it is not due any more. */
handler_fn *timeout_take(struct channel *c);

/* Takes the timer of c with timeouts out of the base until c is asked again. */
void timeout_stop(struct channel *c);

/* Releases the calls that are still to come; gives them the priority of the map. */
void call_drop_all(struct asyncore_map *map);
void call_set_priorities(struct asyncore_map *map);

/* --- wakeup.c -------------------------------------------------------------------------------- */

/* What other threads wake the map with, if they may. -1: no memory. */
int wakeup_open(struct asyncore_map *map);
void wakeup_close(struct asyncore_map *map);

/* Makes the calls that are left, and takes no more. */
void wakeup_finish(struct asyncore_map *map);

/* After a change of the map's priority. */
void wakeup_set_priority(struct asyncore_map *map);

/* After event_reinit. -1 with errno. */
int wakeup_reinit(struct asyncore_map *map);

/* --- errors ---------------------------------------------------------------------------------- */

/* Notes where an error came from, unless it is known from closer to its origin, or there is one
 * that is being handled. */
void error_note(struct asyncore_map *map, int error, const char *function);

/* Around a handle_error: what it handles, and, back, what the one around it does (NULL: none). */
void error_begin(struct asyncore_map *map, struct handled *handled);
void error_resume(struct asyncore_map *map, struct handled *handled);

/* The errors with which a connection is taken to be over. */
bool error_is_disconnect(int error);

/* --- sockets --------------------------------------------------------------------------------- */

extern const struct asyncore_socket_class plain_socket_class;
extern const struct asyncore_socket_class file_wrapper_class;
int socket_sendv(struct asyncore_socket *s, const struct iovec *iov, int count, int flags);
/* 1: the descriptor cannot be watched and is always ready; 0: it can; or a negative errno. */
int file_is_always_ready(struct asyncore_socket *s);
bool file_is_read_end(struct asyncore_socket *s);
/* Sets O_NONBLOCK until the wrapper is closed, where that makes a difference. */
int file_wrapper_set_nonblocking(struct asyncore_socket *s);

/* Gives d the connection that was just accepted, of which nothing need be found out. */
int dispatcher_give_accepted(struct asyncore_dispatcher *d);

/* The channel's socket, for what may change the answers of its predicates. */
struct asyncore_socket *channel_use_socket(struct channel *c);

/* What send and recv return without a socket: 0 after close. */
int dispatcher_without_socket(const struct channel *c);

/* Before the connection is over: what an async_chat holds back is handed out. 1: d has been closed
 * meanwhile; or an error of its methods. */
int dispatcher_end_of_input(struct asyncore_dispatcher *d);

/* handle_close, unless d is closed already: by the handler that has failed, say. */
int dispatcher_handle_close(struct asyncore_dispatcher *d);

/* What a send returned, as dispatcher.send gives it to its caller. */
int dispatcher_sent(struct asyncore_dispatcher *d, size_t len, int sent);

/* The same for what is sent: what has been gathered goes first. */
struct asyncore_socket *channel_use_socket_to_send(struct channel *c);

/* --- SIGPIPE --------------------------------------------------------------------------------- */

struct sigpipe {
    sigset_t old;
    bool was_pending;
};

void sigpipe_hold(struct sigpipe *held);
/* raised: a call may have raised it: it has failed with EPIPE, or come short. Keeps errno. */
void sigpipe_release(const struct sigpipe *held, bool raised);

/* --- out_buffer.c ---------------------------------------------------------------------------- */

/* As in Python: what dispatcher_with_send offers to the socket at most. */
#define SEND_SIZE 65536

/* Queues a copy. 0 or -ENOMEM. */
int out_buffer_add(struct channel *c, const void *data, size_t len);
/* Drops everything that is queued. */
void out_buffer_discard(struct channel *c);
/* Makes sure that out_buffer_add_rest will succeed. */
bool out_buffer_has_reserve(struct asyncore_map *map);
/* Queues at most SEND_SIZE bytes, whatever memory there is. */
void out_buffer_add_rest(struct channel *c, const void *data, size_t len);
/* Offers limit bytes to the socket at most, and drops what it took: what the socket returned. With
 * nothing queued, 0 bytes: that may show the end. flags are given to it where there is one piece.
 */
int out_buffer_send(struct channel *c, size_t limit, size_t *offered, int flags);

/* --- pressure.c ------------------------------------------------------------------------------ */

/* The two parts that a channel can have in back-pressure. */
struct pressure {
    struct channel *channel;

    /* As a source. */
    struct channel *sink; /* NULL: none */
    size_t high;
    size_t low;
    bool held;    /* the queue has been above high, and not down to low since */
    bool drained; /* it has come down, and handle_drain has not been called yet */
    TAILQ_ENTRY(pressure) in_sources;

    /* As a sink. */
    TAILQ_HEAD(, pressure) sources;
};

void pressure_changed(struct channel *sink);

/* Where what c has queued has changed, and has been offered to the socket. */
static inline void pressure_look(struct channel *c)
{
    if (__builtin_expect(c->pressure != NULL, 0))
        pressure_changed(c);
}

static inline bool pressure_holds(const struct channel *c)
{
    return c->pressure && c->pressure->held;
}

static inline bool pressure_has_drained(const struct channel *c)
{
    return c->pressure && c->pressure->drained;
}

/* The same, once. */
bool pressure_take_drained(struct channel *c);

/* Ends all relations of c's. */
void pressure_end(struct channel *c);

/* --- async_chat ------------------------------------------------------------------------------ */

/* The room that a channel of a class needs in front, 0 for those that are no async_chat; sets up,
 * and releases, what is there. */
size_t chat_room(const struct asyncore_class *cls);
void chat_begin(struct channel *c, struct chat *chat);
void chat_end(struct chat *chat);

/* What is queued beside the out_buffer. */
size_t chat_queued(const struct channel *c);

/* What the socket takes of what has been gathered, now, without calling a method. */
void chat_send_gathered(struct channel *c);

/* The same for everything that is queued, but what producers would make: the last chance. */
void chat_send_last(struct channel *c);

/* Takes c from the channels with gathered output, which stays queued. 0, or -ENOMEM: in the map's
 * room. */
int chat_ungather(struct channel *c);

/* Sends, for every channel, what has been gathered. An error that leaves the loop. */
int chat_flush(struct asyncore_map *map);

/* What a flush does for one channel. */
int chat_send_at_end(struct asyncore_dispatcher *d);

/* Forgets input that was not handed out: the connection is another. */
void chat_drop_input(struct channel *c);

/* Hands out what was held back, at the end of the connection. */
int chat_end_of_input(struct asyncore_dispatcher *d);

/* --- repr ------------------------------------------------------------------------------------ */

/* Python's repr of a str (prefix "") or bytes (prefix "b"): as snprintf. */
size_t quote(const char *prefix, const char *text, size_t length, char *buf, size_t size);

/* Logs "sending b'...'". */
int log_sending(struct asyncore_dispatcher *d, const char *data, size_t len);

/* --- addresses ------------------------------------------------------------------------------- */

int address_set(struct address *a, const struct sockaddr *addr, socklen_t length);
void address_clear(struct address *a);
const struct sockaddr *address_get(const struct address *a);

#endif
