/*
 * An async_chat that tells what is called on it, and does what a test says: probe.h for chats, in
 * the same trace, and with the fixture of probes.h, in whose map it lives.
 *
 * The words of the trace are 'data' for collect_incoming_data, found, limit, high_water, connect,
 * close and error(CODE), with "NAME." in front where the chat has a name.
 */
#ifndef TEST_CHAT_PROBE_H
#define TEST_CHAT_PROBE_H

#include "probes.h"
#include "scripted_socket.h"

#include <asyncore/chat.h>

#include <stdbool.h>
#include <stddef.h>

enum chat_call {
    CHAT_COLLECT,    /* by itself: nothing */
    CHAT_FOUND,      /* by itself: nothing */
    CHAT_LIMIT,      /* by itself: what the library does */
    CHAT_HIGH_WATER, /* by itself: what the library does */
    CHAT_CONNECT,    /* by itself: nothing */
    CHAT_CLOSE,      /* by itself: closes */
    CHAT_ERROR,      /* by itself: notes the error, and closes */
    CHAT_CALLS
};

struct chat {
    struct asynchat_async_chat base;
    const char *name;
    int (*hook[CHAT_CALLS])(struct chat *self); /* takes the place of what it does by itself */
    int calls[CHAT_CALLS];
    const char *data; /* what collect_incoming_data is given, for its hook */
    size_t len;
    size_t total; /* bytes collected */
    int error;    /* the last one that came to handle_error */
    void *arg;    /* the hooks' */
};

ASYNCORE_DECLARE_CLASS(chat, asynchat_async_chat);

/* A new one in the_map; sock as of asyncore_new. Failing fails the test. */
struct chat *chat_make(const char *name, int sock);

/* The same for a class that is derived from chat. */
struct chat *chat_make_of(const struct asyncore_class *cls, const char *name, int sock);

/* A connected one: see probe_connected. */
struct chat *chat_connected(const char *name, int family, int *peer);

/* Gives d a scripted socket, which counts as connected. */
struct scripted_socket *chat_give_scripted(struct asyncore_dispatcher *d, unsigned features,
                                           struct scripted_calls *calls, int *peer);

/* A new one with a scripted socket. */
struct chat *chat_scripted(const char *name, unsigned features, struct scripted_calls *calls,
                           int *peer);

/* The scripted socket that d has. */
struct scripted_socket *chat_socket(const struct asyncore_dispatcher *d);

/* Lets d read data from its scripted socket, until it has read it all, or has another socket, or
 * none; what the last asyncore_read returned. */
int chat_feed(struct asyncore_dispatcher *d, const char *data, size_t len);

/* The same for a string: in one read, unless ac_in_buffer_size is less. */
int chat_feed_text(struct asyncore_dispatcher *d, const char *text);

/* Lets d read the end of its scripted socket's stream. */
int chat_feed_end(struct asyncore_dispatcher *d);

/* The scripted socket of d takes nothing from now on, or everything again. */
void chat_block(struct asyncore_dispatcher *d);
void chat_unblock(struct asyncore_dispatcher *d);

int chat_push_text(struct asyncore_dispatcher *d, const char *text);

/* Ready-made hooks: 0, -EPROTO, and what asyncore_close or asynchat_discard_buffers returns. */
int chat_stays_open(struct chat *self);
int chat_fails(struct chat *self);
int chat_closes(struct chat *self);
int chat_discards(struct chat *self);

#define ck_assert_trace(expected) ck_assert_str_eq(probe_trace(), expected)

/* Whether what has come to peer by now is text, and nothing more. */
#define ck_assert_received(peer, text)                                                             \
    do {                                                                                           \
        char got_[4096];                                                                           \
        ck_assert_str_eq(received(peer, got_, sizeof got_), text);                                 \
    } while (0)

/* What has come to fd by now, as a string, at most size - 1 bytes. */
const char *received(int fd, char *buf, size_t size);

/* --- the chats of a test: a fixture ----------------------------------------------------------- */

enum {
    CHATS = 2
};

/* The other end of chats[i] is peers[i]; its scripted socket counts in chat_calls[i]. */
extern struct chat *chats[CHATS];
extern struct scripted_calls chat_calls[CHATS];

/* The channel of chat i. */
struct asyncore_dispatcher *chat_d(int i);

/* Makes the first count of them, with the terminator "\n", on scripted sockets that have sendv, or
 * on connections as of probe_connected. Two have the names "a" and "b". */
void make_scripted_chats(int count);
void make_connected_chats(int count, int family);

/* Adds the test case, with the fixture of probes.h, to the suite. */
TCase *add_chat_case(Suite *s, TCase *tc);

#endif
