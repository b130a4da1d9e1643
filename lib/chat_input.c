/*
 * Input of an async_chat: what is read is handed out in pieces that end at terminators.
 *
 * Reading goes into a room of the map's, and pieces are handed out from there. What could be the
 * beginning of a terminator is held back, as a number only (terminator.c); when it turns out to be
 * data, it is written in front of what was read next, where there is room for it. Input that has to
 * wait (a method has failed, or the terminator is another while something was held back) is the
 * rest, which goes in front of what is read next. While there is a rest, nothing is held.
 *
 * Before a method is called, what it is given counts as handed out; so a pass in a method goes on
 * behind it.
 */
#include "chat_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COLLECT "collect_incoming_data"

struct input {
    char *data;
    size_t len;
    uint64_t counted; /* bytes that the terminator, a number, is to be reduced by */
    unsigned version; /* of this terminator */
    bool found;       /* found_terminator is to be called */
    bool taken;       /* a handle_read in a method has gone on with it */
};

/* --- the room for reading -------------------------------------------------------------------- */

/* More than this is given back to the system. */
#define ROOM_KEPT ((size_t)4 * ASYNCHAT_BUFFER_SIZE)

struct room {
    char *bytes;
    size_t size;
};

static int room_take(struct asyncore_map *map, size_t before, size_t len, struct room *room)
{
    const size_t size = before + len;

    if (size < len)
        return -ENOMEM;
    *room = (struct room){.bytes = map->input_room, .size = map->input_room_size};
    map->input_room = NULL;
    if (room->bytes && room->size >= size)
        return 0;
    free(room->bytes);
    *room = (struct room){.bytes = malloc(size), .size = size};
    return room->bytes ? 0 : -ENOMEM;
}

static void room_give_back(struct asyncore_map *map, struct room *room)
{
    if (map->input_room || room->size == 0 || room->size > ROOM_KEPT || !map->base) {
        free(room->bytes);
        return;
    }
    map->input_room = room->bytes;
    map->input_room_size = room->size;
}

/* --- the rest -------------------------------------------------------------------------------- */

static int rest_copy(struct chat *chat, const char *bytes, size_t len)
{
    char *block = len > 0 ? malloc(len) : NULL;

    assert(!chat->rest.block || len == 0);
    if (len == 0)
        return 0;
    if (!block)
        return -ENOMEM;
    memcpy(block, bytes, len);
    chat->rest = (struct rest){.block = block, .bytes = block, .len = len};
    return 0;
}

static void rest_drop(struct chat *chat)
{
    free(chat->rest.block);
    chat->rest = (struct rest){.len = 0};
}

/* What is held back is the rest, should it be no beginning of the next terminator. */
static int unhold(struct chat *chat)
{
    int r = rest_copy(chat, chat->terminator.bytes, chat->held);

    if (r == 0)
        chat->held = 0;
    return r;
}

/* The input becomes the rest, with the room that it lies in, where there is room behind it for what
 * follows: it was there once. */
static void rest_keep(struct chat *chat, struct room *room, const struct input *in)
{
    struct rest rest = {.block = room->bytes, .bytes = in->data, .len = in->len};

    if (chat->held > 0)
        memcpy(rest.bytes + rest.len, chat->terminator.bytes, chat->held);
    else if (chat->rest.len > 0)
        memcpy(rest.bytes + rest.len, chat->rest.bytes, chat->rest.len);
    rest.len += chat->held + chat->rest.len;
    rest_drop(chat);
    chat->held = 0;
    chat->rest = rest;
    *room = (struct room){.bytes = NULL};
}

/* The rest becomes the input, with its own block for the room. */
static void rest_take(struct chat *chat, struct room *room, struct input *in)
{
    in->data = chat->rest.bytes;
    in->len = chat->rest.len;
    in->taken = false;
    *room = (struct room){.bytes = chat->rest.block}; /* not large enough to be kept */
    chat->rest = (struct rest){.len = 0};
}

void chat_discard_input(struct chat *chat)
{
    if (chat->rest.block && chat_copy_lent(chat) < 0)
        chat->lent = NULL; /* it lies there */
    chat->discards++;
    chat->held = 0;
    rest_drop(chat);
    if (chat->input)
        chat->input->len = 0;
}

void chat_drop_input(struct channel *c)
{
    if (!c->chat)
        return;
    chat_discard_input(c->chat);
    if (c->chat->input)
        c->chat->input->counted = c->chat->input->found = false;
}

/* --- the terminator -------------------------------------------------------------------------- */

int asynchat_set_terminator(struct asyncore_dispatcher *d, const void *terminator, size_t len)
{
    struct chat *chat = chat_of(d);
    int r;

    if (!chat)
        return -EINVAL;
    r = unhold(chat);
    return r < 0 ? r : terminator_set(&chat->terminator, terminator, terminator ? len : 0);
}

int asynchat_set_terminator_count(struct asyncore_dispatcher *d, int64_t count)
{
    struct chat *chat = chat_of(d);
    int r;

    if (!chat)
        return -EINVAL;
    if (count < 0)
        return asyncore_raise(d, -EINVAL, "the number of received bytes must not be negative");
    r = unhold(chat);
    if (r == 0)
        terminator_set_count(&chat->terminator, (uint64_t)count);
    return r;
}

struct asynchat_terminator asynchat_get_terminator(const struct asyncore_dispatcher *d)
{
    const struct chat *chat = chat_of(d);
    struct asynchat_terminator result = {.kind = ASYNCHAT_TERMINATOR_NONE};

    if (!chat)
        return result;
    result.kind = chat->terminator.kind;
    if (result.kind == ASYNCHAT_TERMINATOR_BYTES) {
        result.bytes = chat->terminator.bytes;
        result.length = chat->terminator.length;
    } else if (result.kind == ASYNCHAT_TERMINATOR_COUNT) {
        result.length = chat->terminator.count;
    }
    return result;
}

/* --- handing out ----------------------------------------------------------------------------- */

/* What a method returned; -EAGAIN is no failure. They are called once a line, so not by asynchat_X:
 * who reads has the channel's reference. */
static inline int result(struct asyncore_dispatcher *d, int r, const char *method)
{
    if (r >= 0 || r == -EAGAIN)
        return 0;
    error_note(d->map, r, method);
    return r;
}

/* Whether there has been no close, new socket, or end of the map. */
static bool goes_on(const struct channel *c, unsigned generation)
{
    return c->generation == generation && !dispatcher_of(c)->map->freed;
}

int asynchat_set_collect_limit(struct asyncore_dispatcher *d, size_t bytes)
{
    struct chat *chat = chat_of(d);

    if (!chat)
        return -EINVAL;
    chat->collect_limit = bytes;
    chat->collected = 0;
    chat->limit_told = false;
    return 0;
}

int asynchat_async_chat_handle_collect_limit(struct asyncore_dispatcher *d)
{
    if (!chat_of(d))
        return -EINVAL;
    return asyncore_raise(d, -EMSGSIZE, "more than %zu bytes without a terminator",
                          chat_of(d)->collect_limit);
}

static int keep_limit(struct asyncore_dispatcher *d, size_t len)
{
    struct chat *chat = chat_of(d);

    if (chat->collect_limit == 0)
        return 0;
    if (chat->terminator.kind == ASYNCHAT_TERMINATOR_COUNT && chat->terminator.count > 0)
        return 0;
    chat->collected += len;
    if (chat->collected <= chat->collect_limit || chat->limit_told)
        return 0;
    chat->limit_told = true;
    return asynchat_handle_collect_limit(d);
}

/* Hands out a piece, with in behind it already: when that fails, in is put back in front of it,
 * unless others have had in since. */
static int collect(struct asyncore_dispatcher *d, struct input *in, char *piece, size_t len)
{
    struct channel *c = channel_of(d);
    const unsigned generation = c->generation, discards = c->chat->discards;
    const size_t collected = c->chat->collected;
    int r = result(d, keep_limit(d, len), "handle_collect_limit");

    if (c->chat->discards != discards)
        in->counted = in->found = false; /* that was input too */
    else if (r >= 0 && goes_on(c, generation))
        r = result(d, c->chat->collect(d, piece, len), COLLECT);
    c->chat->lendable = NULL;
    if (r < 0 && c->generation == generation && c->chat->discards == discards && !in->taken) {
        in->len += (size_t)(in->data - piece);
        in->data = piece;
        in->counted = 0;
        in->found = false;
        c->chat->collected = collected;
    }
    return r;
}

/* What follows a piece: the number is counted down, or the terminator has come. */
static inline int follow(struct asyncore_dispatcher *d, struct input *in)
{
    struct chat *chat = chat_of(d);
    struct terminator *t = &chat->terminator;

    if (in->counted > 0 && in->found)
        terminator_set_count(t, 0);
    else if (in->counted > 0 && t->version == in->version)
        t->count -= in->counted;
    in->counted = 0;
    if (!in->found)
        return 0;
    in->found = false;
    chat->collected = 0;
    chat->limit_told = false;
    return result(d, chat->found(d), "found_terminator");
}

static char *advance(struct input *in, size_t len)
{
    char *piece = in->data;

    in->data += len;
    in->len -= len;
    return piece;
}

static int hand_out_all(struct asyncore_dispatcher *d, struct input *in)
{
    size_t len = in->len;

    return collect(d, in, advance(in, len), len);
}

static int hand_out_count(struct asyncore_dispatcher *d, struct input *in)
{
    const struct terminator *t = &chat_of(d)->terminator;
    size_t len = in->len < t->count ? in->len : (size_t)t->count;

    in->counted = len;
    in->version = t->version;
    in->found = len == t->count;
    return collect(d, in, advance(in, len), len);
}

/* Of what is held back as much as is in the piece is written in front of it; all of it where the
 * terminator is found, for in may be put back. */
static int hand_out_until(struct asyncore_dispatcher *d, struct input *in)
{
    struct chat *chat = chat_of(d);
    const struct terminator *t = &chat->terminator;
    const size_t before = chat->held;
    size_t end = terminator_find(t, &chat->held, in->data, in->len);
    size_t len = before + (end > 0 ? end - t->length : in->len - chat->held);
    char *piece = in->data - before;

    if (before > 0)
        memcpy(piece, t->bytes, end > 0 || len > before ? before : len);
    in->found = end > 0;
    (void)advance(in, end > 0 ? end : in->len);
    if (len == 0)
        return 0;
    if (end == 0)
        in->data = piece + len; /* where collect finds its end */
    else
        chat->lendable = piece;
    return collect(d, in, piece, len);
}

static int hand_out(struct asyncore_dispatcher *d, struct input *in)
{
    const struct terminator *t = &chat_of(d)->terminator;
    const unsigned generation = channel_of(d)->generation;
    int r, lent;

    if (t->kind == ASYNCHAT_TERMINATOR_BYTES && t->length > 0)
        r = hand_out_until(d, in);
    else if (t->kind == ASYNCHAT_TERMINATOR_COUNT && t->count > 0)
        r = hand_out_count(d, in);
    else
        r = hand_out_all(d, in);
    if (r >= 0 && goes_on(channel_of(d), generation))
        r = follow(d, in);
    lent = chat_of(d)->lent ? chat_copy_lent(chat_of(d)) : 0;
    return r < 0 ? r : lent;
}

/* Hands out input that lies in room, unless the channel is closed meanwhile. In front of it there
 * is space for what is held back. */
static int receive(struct asyncore_dispatcher *d, struct room *room, struct input *in)
{
    struct channel *c = channel_of(d);
    struct chat *chat = c->chat;
    const unsigned generation = c->generation;
    struct input *outer = chat->input;
    int r = 0;

    chat->input = in;
    while (r >= 0 && goes_on(c, generation)) {
        if (in->len == 0 && in->taken && chat->rest.len > 0) { /* what that handle_read left */
            room_give_back(d->map, room);
            rest_take(chat, room, in);
        }
        if (in->len == 0)
            break;
        r = hand_out(d, in);
    }
    chat->input = outer;
    if (c->generation != generation)
        chat->lent = NULL; /* the room is another's now */
    else if (in->len > 0 || chat->lent)
        rest_keep(chat, room, in); /* with what there is no memory to keep elsewhere */
    return r;
}

/* What reads in a method goes on where the handle_read around it is. */
static int take_over(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    struct input *in = chat->input;
    int r;

    if (!in)
        return 0;
    r = rest_copy(chat, in->data, in->len);
    if (r < 0)
        return r;
    in->len = 0;
    in->taken = true;
    return follow(d, in);
}

/* What is held back is no terminator any more. */
static int hand_out_held(struct asyncore_dispatcher *d)
{
    const unsigned generation = channel_of(d)->generation;
    struct chat *chat = chat_of(d);
    int r = unhold(chat);
    struct rest held = chat->rest;

    if (r < 0 || held.len == 0)
        return r;
    chat->rest = (struct rest){.len = 0};
    r = result(d, keep_limit(d, held.len), "handle_collect_limit");
    if (r == 0 && goes_on(channel_of(d), generation))
        r = result(d, chat->collect(d, held.bytes, held.len), COLLECT);
    free(held.block);
    return r;
}

/* Hands out the rest at the end, where a method that fails is not given the same again. */
static int hand_out_rest(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    struct chat *chat = c->chat;
    const unsigned generation = c->generation;
    int r = 0;

    while (r >= 0 && goes_on(c, generation) && chat->rest.len > 0) {
        const size_t len = chat->rest.len;
        struct input in = {.data = NULL};
        struct room room;

        rest_take(chat, &room, &in);
        r = receive(d, &room, &in);
        free(room.bytes);
        if (r < 0 && goes_on(c, generation) && chat->rest.len >= len)
            chat_discard_input(chat);
        r = dispatch_error(d, r, "recv");
    }
    return r;
}

int chat_end_of_input(struct asyncore_dispatcher *d)
{
    struct channel *c = channel_of(d);
    const unsigned generation = c->generation;
    int r = chat_copy_lent(c->chat);

    if (r == 0)
        r = take_over(d); /* a method may have read itself */
    r = dispatch_error(d, r, "recv");
    if (r >= 0 && goes_on(c, generation))
        r = hand_out_rest(d);
    if (r >= 0 && goes_on(c, generation))
        r = dispatch_error(d, hand_out_held(d), "recv");
    return r;
}

/* --- reading --------------------------------------------------------------------------------- */

/* What goes in front of what is read next. */
static size_t length_before(const struct chat *chat)
{
    return chat->rest.len > 0 ? chat->rest.len : chat->held;
}

/* A pass in a method recv has read as well, and left more than there is room for. */
static int make_room(struct chat *chat, struct room *room, size_t *before, size_t len)
{
    const size_t more = length_before(chat);
    char *bytes;

    if (more <= *before)
        return 0;
    bytes = malloc(more + len);
    if (!bytes)
        return -ENOMEM;
    memcpy(bytes + more, room->bytes + *before, len);
    free(room->bytes);
    *room = (struct room){.bytes = bytes, .size = more + len};
    *before = more;
    return 0;
}

/* Those for which Python raises BlockingIOError. */
static bool is_blocking(int error)
{
    return error == -EAGAIN || error == -EALREADY || error == -EINPROGRESS;
}

static int read_into(struct asyncore_dispatcher *d, struct room *room, size_t before)
{
    struct channel *c = channel_of(d);
    struct chat *chat = c->chat;
    const unsigned generation = c->generation;
    int n = asyncore_recv(d, room->bytes + before, chat->in_size);
    struct input in = {.data = NULL};
    int r;

    if (n < 0)
        return is_blocking(n) ? 0 : dispatch_error(d, n, "recv");
    if (c->generation != generation)
        return 0;
    r = make_room(chat, room, &before, (size_t)n);
    if (r < 0)
        return r;
    in.data = room->bytes + before - chat->rest.len;
    in.len = (size_t)n + chat->rest.len;
    if (chat->rest.len > 0)
        memcpy(in.data, chat->rest.bytes, chat->rest.len);
    rest_drop(chat);
    return receive(d, room, &in);
}

static int read_once(struct asyncore_dispatcher *d)
{
    struct chat *chat = chat_of(d);
    struct room room;
    size_t before;
    int r = chat_copy_lent(chat);

    if (r == 0)
        r = take_over(d);
    if (r < 0)
        return r;
    before = length_before(chat);
    r = room_take(d->map, before, chat->in_size, &room);
    if (r < 0)
        return r;
    r = read_into(d, &room, before);
    room_give_back(d->map, &room);
    return r;
}

int asynchat_async_chat_handle_read(struct asyncore_dispatcher *d)
{
    int r;

    if (!chat_of(d))
        return -EINVAL;
    asyncore_ref(d);
    r = read_once(d);
    asyncore_unref(d);
    return r;
}
