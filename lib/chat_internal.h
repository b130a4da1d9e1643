/* What the files of async_chat know of each other. */
#ifndef ASYNCORE_CHAT_INTERNAL_H
#define ASYNCORE_CHAT_INTERNAL_H

#include "internal.h"

#include <errno.h>
#include <string.h>

#include <event2/buffer.h>

/* --- terminator.c ---------------------------------------------------------------------------- */

struct terminator {
    enum asynchat_terminator_kind kind;
    unsigned version; /* counts the settings */
    uint64_t count;   /* of COUNT */
    char *bytes;      /* kept when another kind is set */
    size_t length;
    size_t *borders; /* and behind them the bytes */
};

/* No bytes (NULL): none. 0 or -ENOMEM. */
int terminator_set(struct terminator *t, const void *bytes, size_t length);
void terminator_set_count(struct terminator *t, uint64_t count);

/* Looks for the bytes in data, behind an input that ended with the first *state of them: the offset
 * behind them, 0: they are not there; then *state of them end the input now. */
size_t terminator_search(const struct terminator *t, size_t *state, const char *data, size_t len);

/* The same, fast for most texts, where the first byte of the terminator is where the terminator is:
 * once a line. */
static inline size_t terminator_find(const struct terminator *t, size_t *state, const char *data,
                                     size_t len)
{
    const char *first = data;
    size_t k = 1, end;

    if (*state == 0) {
        first = memchr(data, *t->bytes, len);
        if (!first)
            return 0;
        len -= (size_t)(first - data);
        while (k < t->length && k < len && first[k] == t->bytes[k])
            k++;
        if (k == t->length)
            return (size_t)(first - data) + k;
    }
    end = terminator_search(t, state, first, len);
    return end > 0 ? (size_t)(first - data) + end : 0;
}

/* --- producer.c ------------------------------------------------------------------------------ */

/* What is queued: producers, and marks between what was pushed. */
struct asynchat_producer {
    TAILQ_ENTRY(asynchat_producer) in_queue;
    asynchat_more more; /* NULL: a mark */
    void (*release)(void *arg);
    void *arg;
    struct evbuffer *behind; /* what was pushed after it; NULL: nothing */
    bool busy;               /* it is being asked */
    bool freed;              /* and that was the last time */
    bool closes;             /* a mark of close_when_done */
};

TAILQ_HEAD(producer_queue, asynchat_producer);

/* A mark; NULL: no memory. */
struct asynchat_producer *producer_new_mark(bool closes);

/* Whether it is a file with more than len bytes to come that sendfile can send. */
bool producer_is_large_file(const struct asynchat_producer *producer, size_t len);

/* Sends a piece of such a file: the count, -ENOTSUP: that cannot be, or a negative errno. */
int producer_sendfile(struct asynchat_producer *producer, int sock, size_t *offered);

/* --- async_chat ------------------------------------------------------------------------------ */

/* Input that a handle_read is handing out, and input that waits for the next one: chat_input.c. */
struct input;

struct rest {
    char *block; /* where it lies; NULL: there is none */
    char *bytes;
    size_t len;
};

/* Of push_reference; release is called when nothing is in the middle of a buffer. */
struct reference {
    STAILQ_ENTRY(reference) in_ended;
    struct chat *chat;
    const void *data;
    size_t len;
    void (*release)(const void *data, size_t len, void *arg);
    void *arg;
};

struct chat {
    struct channel *channel;
    TAILQ_ENTRY(chat) in_gathered;

    /* Input. The methods are those of its class. */
    int (*collect)(struct asyncore_dispatcher *d, const void *data, size_t len);
    int (*found)(struct asyncore_dispatcher *d);
    struct terminator terminator;
    size_t held; /* the input ended with so many bytes of the terminator */
    struct rest rest;
    struct input *input; /* of the innermost handle_read; NULL: none is running */
    size_t in_size;
    size_t collected; /* since the last terminator */
    size_t collect_limit;
    unsigned discards; /* how often */

    /* What is kept: collector.c. */
    struct evbuffer *incoming; /* made when it is first needed */
    size_t given;              /* bytes at its front that asynchat_get_data gave out */
    char *lendable;            /* a piece that is being handed out, and ends at a terminator */
    char *lent;                /* the piece, if that is all that is kept; NULL: it is not */
    size_t lent_len;

    /* Output, behind the channel's out_buffer. */
    struct producer_queue queue;
    STAILQ_HEAD(, reference) ended; /* to be released */
    size_t behind;                  /* bytes in the queue's buffers */
    size_t out_size;
    size_t high_water;

    bool limit_told : 1;
    bool high_told : 1;
    bool pauses : 1;
    bool gathered : 1;  /* on the map's list */
    bool over : 1;      /* the end is being handled: nothing more is to be sent */
    bool own_send : 1;  /* its class has a send of its own */
    bool releasing : 1; /* chat_release_references is running */
    bool starved : 1;   /* there was no memory to send */
    bool in_send : 1;   /* which is running, with a piece of the out_buffer */
};

static inline struct chat *chat_of(const struct asyncore_dispatcher *d)
{
    return channel_of(d)->chat;
}

static inline size_t buffer_length(const struct evbuffer *buffer)
{
    return buffer ? evbuffer_get_length(buffer) : 0;
}

/* --- chat_queue.c ---------------------------------------------------------------------------- */

/* What comes behind the out_buffer; NULL: nothing. */
static inline struct asynchat_producer *chat_first(const struct chat *chat)
{
    return TAILQ_FIRST(&chat->queue);
}

/* Takes it away; what was pushed behind it is the front now. 0 or -ENOMEM. */
int chat_remove_first(struct chat *chat);

/* Bytes, what producers will make not counted; and whether there is nothing, no producer either. */
size_t chat_length(const struct chat *chat);
bool chat_is_empty(const struct chat *chat);

/* Releases the references that were sent or discarded. */
void chat_release_references(struct chat *chat);

/* Moves what is in the map's room to the out_buffer, which is empty then. 0 or -ENOMEM: it stays
 * there. */
int chat_spill(struct chat *chat);

/* Notes that it was for want of memory that nothing was sent. -ENOMEM. */
static inline int chat_without_memory(struct chat *chat)
{
    chat->starved = true;
    return -ENOMEM;
}

/* --- chat_output.c --------------------------------------------------------------------------- */

/* initiate_send; may_close: and acts on close_when_done. */
int chat_send(struct asyncore_dispatcher *d, bool may_close);

/* --- discard_buffers, and the collector ------------------------------------------------------ */

void chat_discard_input(struct chat *chat);
void chat_discard_incoming(struct chat *chat);
void chat_discard_output(struct chat *chat);

/* Before the lent piece is overwritten. 0 or -ENOMEM. */
int chat_copy_lent(struct chat *chat);

#endif
