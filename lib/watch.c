/*
 * From interest to events, and from events to the batch of the pass.
 *
 * want is what readable() and writable() answered, armed what the kernel watches. They differ
 * where no waiting is needed: a connected stream socket is taken to be writable until a send came
 * up short, and files that cannot be watched are always ready. The callbacks of events only mark
 * the channel; outside a wait of its map they take the events out (the next pass puts them back).
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

static struct event *read_event(struct channel *c)
{
    return (struct event *)(void *)((char *)c - ALIGNED(event_get_struct_event_size()));
}

/* --- events ---------------------------------------------------------------------------------- */

/* Which direction of the descriptor the channel's direction waits for. */
static unsigned wanted(const struct channel *c, unsigned direction)
{
    int r = HAS(c->socket->cls, want) ? c->socket->cls->want(c->socket, (int)direction) : 0;

    return r == ASYNCORE_READ || r == ASYNCORE_WRITE ? (unsigned)r : direction;
}

void watch_mark(struct channel *c, unsigned ready)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    batch_mark(c, ready);
    if (map->attached)
        attach_notify(map);
}

static void on_ready(struct channel *c, unsigned direction)
{
    const struct asyncore_map *map = dispatcher_of(c)->map;
    unsigned ready = direction;

    if (!map_gathers(map)) {
        watch_park(c);
        return;
    }
    if (c->own_mind) {
        ready = 0;
        for (unsigned way = ASYNCORE_READ; way <= ASYNCORE_WRITE; way <<= 1)
            if ((c->want & way) && wanted(c, way) == direction)
                ready |= way;
    }
    if (!ready)
        channel_touch(c); /* it has changed its mind */
    else if (map->waiting && c->batch == map->batch && (c->ready & ready))
        watch_park(c); /* events of a lower priority keep libevent from returning: they are next */
    else
        watch_mark(c, ready);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    on_ready(arg, ASYNCORE_READ);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    on_ready(arg, ASYNCORE_WRITE);
}

void watch_assign(struct channel *c)
{
    struct event_base *base = dispatcher_of(c)->map->base;

    if (c->always)
        return;
    event_assign(read_event(c), base, c->socket->fd, EV_READ | EV_PERSIST, on_read, c);
    if (c->write_event)
        event_assign(c->write_event, base, c->socket->fd, EV_WRITE | EV_PERSIST, on_write, c);
}

void watch_none(struct channel *c)
{
    if (c->armed & ASYNCORE_READ)
        event_del(read_event(c));
    if (c->armed & ASYNCORE_WRITE)
        event_del(c->write_event);
    if (c->expt_armed)
        (void)expt_watch(c, false);
    c->armed = 0;
}

void watch_park(struct channel *c)
{
    c->ask_write |= (c->armed & ASYNCORE_WRITE) != 0; /* it was full */
    watch_none(c);
    if (c->timeouts)
        timeout_stop(c);
    channel_touch(c);
}

void watch_park_all(struct asyncore_map *map)
{
    struct channel *c;

    TAILQ_FOREACH (c, &map->channels, in_place) {
        watch_park(c);
    }
}

void watch_release(struct channel *c)
{
    event_debug_unassign(read_event(c));
    if (c->write_event)
        event_free(c->write_event);
    c->write_event = NULL;
}

static int add(const struct channel *c, struct event *event)
{
    errno = 0;
    if (map_add_event(dispatcher_of(c)->map, event, NULL) == 0)
        return 0;
    return errno ? -errno : -ENOMEM;
}

static int add_write(struct channel *c)
{
    if (!c->write_event)
        c->write_event = event_new(dispatcher_of(c)->map->base, c->socket->fd,
                                   EV_WRITE | EV_PERSIST, on_write, c);
    return c->write_event ? add(c, c->write_event) : -ENOMEM;
}

static int arm(struct channel *c, unsigned mask)
{
    unsigned gone = c->armed & ~mask;
    int r = 0;

    if (gone & ASYNCORE_READ)
        event_del(read_event(c));
    if (gone & ASYNCORE_WRITE)
        event_del(c->write_event);
    c->armed &= (uint8_t)mask;
    if (mask & ~c->armed & ASYNCORE_READ) {
        r = add(c, read_event(c));
        if (r == 0)
            c->armed |= ASYNCORE_READ;
    }
    if (r == 0 && (mask & ~c->armed & ASYNCORE_WRITE)) {
        r = add_write(c);
        if (r == 0)
            c->armed |= ASYNCORE_WRITE;
    }
    return r;
}

/* --- interest -------------------------------------------------------------------------------- */

/* What poll(2) says of writing. */
static int look_at_write(const struct channel *c)
{
    struct pollfd fd = {.fd = c->socket->fd, .events = POLLOUT};

    return poll(&fd, 1, 0) > 0 ? fd.revents : 0;
}

/* A connected stream socket is written to without asking the kernel first, once: only a send that
 * took everything makes it so again. While the event is armed for good reason it stays. */
static bool writes_at_once(struct channel *c)
{
    bool at_once =
        dispatcher_of(c)->connected && c->stream && !c->ask_write && !(c->armed & ASYNCORE_WRITE);

    c->ask_write = true;
    /* Not even once in poll's way. */
    return at_once && (!dispatcher_of(c)->map->batch->use_poll || look_at_write(c));
}

/* Of an answer that has changed before the wait. */
static void forget_marks(struct channel *c)
{
    if ((c->ready & ASYNCORE_WRITE) && !(c->armed & ASYNCORE_WRITE))
        c->ask_write = false;
    batch_remove(c);
}

static int watch(struct channel *c, unsigned want)
{
    bool use_poll = dispatcher_of(c)->map->batch->use_poll;
    unsigned expt_needs = ASYNCORE_READ | (use_poll ? 0 : ASYNCORE_WRITE);
    bool expt = c->expt && (want & expt_needs);
    unsigned mask = 0;
    int r = 0;

    if (c->batch && c->batch == dispatcher_of(c)->map->batch)
        forget_marks(c);
    if (pressure_has_drained(c))
        batch_mark(c, READY_DRAIN);
    if (c->timeouts)
        r = timeout_watch(c);
    if (r < 0)
        return r;
    c->want = (uint8_t)want;
    if (c->always) {
        if (want)
            batch_mark(c, want);
        return 0;
    }
    if ((want & ASYNCORE_READ) && HAS(c->socket->cls, pending) &&
        c->socket->cls->pending(c->socket) > 0)
        batch_mark(c, ASYNCORE_READ);
    if (want & ASYNCORE_READ)
        mask |= wanted(c, ASYNCORE_READ);
    if (!(want & ASYNCORE_WRITE))
        c->ask_write = false;
    else if (writes_at_once(c))
        batch_mark(c, ASYNCORE_WRITE);
    else if (use_poll || !c->read_end)
        mask |= wanted(c, ASYNCORE_WRITE);
    if (expt != c->expt_armed || c->expt_fired)
        r = expt_watch(c, expt);
    return r == 0 && mask != c->armed ? arm(c, mask) : r;
}

/* A descriptor that was closed behind our back is what poll(2) calls POLLNVAL. */
static int watch_or_hang_up(struct channel *c, unsigned want)
{
    unsigned unwatched;
    int r = watch(c, want);

    if (r == 0 || fcntl(c->socket->fd, F_GETFD) >= 0)
        return r;
    unwatched = c->ready & READY_UNWATCHED;
    batch_remove(c);
    batch_mark(c, READY_HANGUP | unwatched);
    return 0;
}

/* What the channel wants, or an error of its predicates. */
static int interest(struct channel *c)
{
    struct asyncore_dispatcher *d = dispatcher_of(c);
    struct asyncore_map *map = d->map;
    const uint64_t order = c->order;
    int readable, writable = 0;

    map->stats.predicate_calls++;
    readable = asyncore_readable(d);
    if (readable >= 0 && c->place == PLACE_IN_MAP && d->map == map && c->order == order) {
        map->stats.predicate_calls++;
        writable = asyncore_writable(d);
    }
    if (readable < 0 || writable < 0)
        return readable < 0 ? readable : writable;
    if (c->created && !d->connected && !d->connecting && !d->accepting)
        return 0;
    return (readable && !map_pauses(c) && !pressure_holds(c) ? ASYNCORE_READ : 0) |
           (writable && !d->accepting ? ASYNCORE_WRITE : 0);
}

/* Asks c, which its predicates may take out of the map. Who came in after last is asked in the next
 * pass, as in Python. */
static int ask_and_watch(struct channel *c, uint64_t last)
{
    struct asyncore_map *map = dispatcher_of(c)->map;
    const uint64_t outer = map->asking;
    int want;

    map->asking = c->order;
    want = interest(c);
    map->asking = outer;
    if (want < 0)
        return want;
    if (c->place != PLACE_IN_MAP || dispatcher_of(c)->map != map)
        return 0;
    if (c->order > last) { /* it came in while it was asked */
        channel_touch(c);
        return 0;
    }
    return watch_or_hang_up(c, (unsigned)want);
}

/* The same. After an error it is asked again; c may be gone, with a map that it was put into. */
static int ask(struct channel *c, uint64_t last)
{
    int r;

    c->refs++;
    r = ask_and_watch(c, last);
    if (r < 0)
        channel_touch(c);
    channel_release(c);
    return r;
}

/* late: of those whose turn was over when they were touched, too. */
static int ask_changed(struct asyncore_map *map, uint64_t last, bool late)
{
    /* Not those that these touch in turn: this ends. */
    for (size_t n = map->changes; n > 0 && map->changes > 0; n--) {
        struct channel *c = TAILQ_FIRST(&map->changed);
        bool has_turn = c->order <= last && (late || !c->late);
        int r;

        TAILQ_REMOVE(&map->changed, c, in_changed);
        map->changes--;
        c->changed = false;
        r = has_turn ? ask(c, last) : 0;
        if (r < 0)
            return r;
        if (!has_turn)
            channel_touch(c);
    }
    return 0;
}

static int ask_asked(struct asyncore_map *map, uint64_t last)
{
    struct cursor cursor = {.next = TAILQ_FIRST(&map->asked), .outer = map->cursor};
    int r = 0;

    map->cursor = &cursor;
    while (r >= 0 && cursor.next && cursor.next->order <= last) {
        struct channel *c = cursor.next;

        cursor.next = TAILQ_NEXT(c, in_asked);
        r = ask(c, last);
    }
    map->cursor = cursor.outer;
    return r;
}

/* In poll's way out-of-band data is watched for with reads only, and a file's hang-up is told. */
static void change_mode(struct asyncore_map *map)
{
    const bool use_poll = map->batch->use_poll;
    struct channel *c;

    if (map->use_poll == use_poll)
        return;
    map->use_poll = use_poll;
    TAILQ_FOREACH (c, &map->channels, in_place) {
        if (c->expt || c->is_file)
            channel_touch(c);
    }
}

/* A predicate ran a pass of its own, which has used up what was ready at once, and may have watched
 * who is not to be asked yet. */
static int watch_again(struct asyncore_map *map, uint64_t last)
{
    struct channel *c;

    TAILQ_FOREACH (c, &map->channels, in_place) {
        int r = 0;

        if (c->order <= last) {
            r = watch_or_hang_up(c, c->want);
        } else {
            watch_none(c);
            channel_touch(c);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

struct answer {
    uint64_t order;
    uint8_t want;
};

struct answer *watch_keep_answers(const struct asyncore_map *map)
{
    struct answer *answers = calloc(map->length + 1, sizeof *answers);
    struct answer *a = answers;
    const struct channel *c;

    if (!answers)
        return NULL;
    TAILQ_FOREACH (c, &map->channels, in_place) {
        *a++ = (struct answer){.order = c->order, .want = c->want};
    }
    return answers;
}

void watch_restore_answers(struct asyncore_map *map, struct answer *answers)
{
    const struct answer *a = answers;
    struct channel *c;

    TAILQ_FOREACH (c, &map->channels, in_place) {
        while (a && a->order > 0 && a->order < c->order)
            a++; /* it has gone */
        if (c->order > map->asking || (a && a->order == c->order && a->want != c->want))
            channel_touch(c); /* its turn is still to come, or it is the next pass's answer */
        if (a && a->order == c->order)
            c->want = a->want;
    }
    free(answers);
}

int watch_ask(struct asyncore_map *map)
{
    const uint64_t last = map->last_order;
    const uint64_t passes = map->stats.passes;
    int r;

    change_mode(map);
    r = map->changes > 0 ? ask_changed(map, last, true) : 0;
    if (r >= 0 && !TAILQ_EMPTY(&map->asked))
        r = ask_asked(map, last);
    if (r >= 0 && map->changes > 0)
        r = ask_changed(map, last, false); /* what the predicates of others have touched */
    if (r >= 0 && map->stats.passes != passes)
        r = watch_again(map, last);
    if (r >= 0 && map->expt_count > 0)
        r = expt_arm(map);
    return r;
}

void channel_touch(struct channel *c)
{
    struct asyncore_map *map = dispatcher_of(c)->map;

    if (c->changed || c->place != PLACE_IN_MAP)
        return;
    attach_wake(map);
    if (c->asked || c->always)
        return;
    c->late = c->order < map->asking;
    c->changed = true;
    map->changes++;
    TAILQ_INSERT_TAIL(&map->changed, c, in_changed);
}

void asyncore_touch(struct asyncore_dispatcher *d)
{
    channel_touch(channel_of(d));
}

/* --- what libevent does not tell ------------------------------------------------------------- */

#define READ_WRITE (ASYNCORE_READ | ASYNCORE_WRITE)

static bool needs_look(const struct channel *c, bool use_poll)
{
    if ((c->ready & READY_HANGUP) || !(c->ready & ~READY_UNWATCHED))
        return false;
    return use_poll || (c->is_file && !c->always && (c->ready & ASYNCORE_WRITE));
}

static short poll_events(const struct channel *c)
{
    short events = 0;

    if (c->want & ASYNCORE_READ)
        events |= POLLIN;
    if (c->want & ASYNCORE_WRITE)
        events |= POLLOUT;
    if (c->expt_armed)
        events |= POLLPRI;
    return events;
}

/* The marks that revents stands for, in poll's way or select's. */
static unsigned marks_of(const struct channel *c, short revents, bool use_poll)
{
    const short in = (short)(use_poll ? POLLIN : POLLIN | POLLHUP | POLLERR);
    const short out = (short)(use_poll ? POLLOUT : POLLOUT | POLLERR);
    unsigned marks = 0;

    if ((c->want & ASYNCORE_READ) && (revents & in))
        marks |= ASYNCORE_READ;
    if ((c->want & ASYNCORE_WRITE) && (revents & out))
        marks |= ASYNCORE_WRITE;
    if (c->expt_armed && (revents & POLLPRI))
        marks |= READY_EXPT;
    if (use_poll && (revents & (POLLHUP | POLLERR | POLLNVAL)))
        marks |= READY_HANGUP;
    return marks;
}

static void verify(struct channel *c, short revents, bool use_poll)
{
    unsigned marks = marks_of(c, revents, use_poll) | (c->ready & READY_UNWATCHED);

    /* Readiness of a socket object of its own mind is not the descriptor's. */
    if (c->own_mind)
        marks |= c->ready & READ_WRITE;
    if (marks == 0) {
        batch_remove(c);
        watch_none(c); /* until it is asked again */
        channel_touch(c);
        return;
    }
    if ((c->ready & ~marks) & ASYNCORE_WRITE)
        channel_touch(c);
    c->ready = (uint8_t)marks;
    c->batch->ready |= marks;
}

void watch_verify(struct asyncore_map *map)
{
    enum {
        CHUNK = 64
    };
    struct pollfd fds[CHUNK];
    struct channel *channels[CHUNK];
    struct channel *c = TAILQ_FIRST(&map->batch->channels);

    if (!map->batch->use_poll && !(map->batch->has_file && (map->batch->ready & ASYNCORE_WRITE)))
        return;
    while (c) {
        nfds_t n = 0;

        for (; c && n < CHUNK; c = TAILQ_NEXT(c, in_batch)) {
            if (!needs_look(c, map->batch->use_poll))
                continue;
            fds[n] = (struct pollfd){.fd = c->socket->fd, .events = poll_events(c)};
            channels[n++] = c;
        }
        if (n == 0 || poll(fds, n, 0) < 0)
            continue; /* what libevent said has to do */
        for (nfds_t i = 0; i < n; i++)
            verify(channels[i], fds[i].revents, map->batch->use_poll);
    }
}
