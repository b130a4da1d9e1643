/*
 * An async_chat that tells what is called on it: see chat_probe.h.
 */
#include "chat_probe.h"

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- the trace ------------------------------------------------------------------------------- */

enum {
    SHOWN = 60 /* bytes that are written out */
};

static const char *quoted(const char *data, size_t len)
{
    static char buf[4 * SHOWN + 3];
    size_t at = 0;

    if (len > SHOWN) {
        snprintf(buf, sizeof buf, "[%zu]", len);
        return buf;
    }
    buf[at++] = '\'';
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\r' || data[i] == '\n')
            at += (size_t)snprintf(buf + at, sizeof buf - at, "\\%c", data[i] == '\r' ? 'r' : 'n');
        else if (data[i] < ' ' || data[i] > '~')
            at += (size_t)snprintf(buf + at, sizeof buf - at, "\\x%02x", (unsigned char)data[i]);
        else
            buf[at++] = data[i];
    }
    buf[at++] = '\'';
    buf[at] = '\0';
    return buf;
}

static void note(const struct chat *self, const char *word)
{
    probe_note("%s%s%s", self->name ? self->name : "", self->name ? "." : "", word);
}

/* --- the class ------------------------------------------------------------------------------- */

static int call_hook(struct chat *self, enum chat_call call,
                     int (*otherwise)(struct asyncore_dispatcher *))
{
    self->calls[call]++;
    if (self->hook[call])
        return self->hook[call](self);
    return otherwise ? otherwise(chat_dispatcher(self)) : 0;
}

static int chat_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct chat *self = chat_of(d);

    note(self, quoted(data, len));
    self->data = data;
    self->len = len;
    self->total += len;
    return call_hook(self, CHAT_COLLECT, NULL);
}

#define METHOD(name, word, call, otherwise)                                                        \
    static int chat_##name(struct asyncore_dispatcher *d)                                          \
    {                                                                                              \
        note(chat_of(d), word);                                                                    \
        return call_hook(chat_of(d), call, otherwise);                                             \
    }

METHOD(found_terminator, "found", CHAT_FOUND, NULL)
METHOD(handle_collect_limit, "limit", CHAT_LIMIT, asynchat_async_chat_handle_collect_limit)
METHOD(handle_high_water, "high_water", CHAT_HIGH_WATER, asynchat_async_chat_handle_high_water)
METHOD(handle_connect, "connect", CHAT_CONNECT, NULL)
METHOD(handle_close, "close", CHAT_CLOSE, asyncore_close)

static int chat_handle_error(struct asyncore_dispatcher *d)
{
    struct chat *self = chat_of(d);
    char word[64];

    self->error = asyncore_compact_traceback(d)->error;
    snprintf(word, sizeof word, "error(%s)", asyncore_errorcode(self->error));
    note(self, word);
    return call_hook(self, CHAT_ERROR, asyncore_close);
}

ASYNCORE_DEFINE_CLASS(chat, asynchat_async_chat,
                      .collect_incoming_data = chat_collect_incoming_data,
                      .found_terminator = chat_found_terminator,
                      .handle_collect_limit = chat_handle_collect_limit,
                      .handle_high_water = chat_handle_high_water,
                      .handle_connect = chat_handle_connect, .handle_close = chat_handle_close,
                      .handle_error = chat_handle_error);

/* --- making ---------------------------------------------------------------------------------- */

struct chat *chat_make_of(const struct asyncore_class *cls, const char *name, int sock)
{
    struct asyncore_dispatcher *d = asyncore_new(cls, sock, the_map);

    ck_assert_ptr_nonnull(d);
    chat_of(d)->name = name;
    return chat_of(d);
}

struct chat *chat_make(const char *name, int sock)
{
    return chat_make_of(&chat_class, name, sock);
}

struct chat *chat_connected(const char *name, int family, int *peer)
{
    int pair[2];

    if (family == AF_UNIX)
        test_socketpair(SOCK_STREAM, pair);
    else
        test_pair(family, pair);
    *peer = pair[1];
    return chat_make(name, pair[0]);
}

/* --- input and output ------------------------------------------------------------------------ */

struct scripted_socket *chat_give_scripted(struct asyncore_dispatcher *d, unsigned features,
                                           struct scripted_calls *calls, int *peer)
{
    struct scripted_socket *s = scripted_new(features, calls, peer);

    ck_assert_int_eq(asyncore_set_socket_object(d, &s->base, NULL), 0);
    asyncore_set_connected(d, true);
    return s;
}

struct chat *chat_scripted(const char *name, unsigned features, struct scripted_calls *calls,
                           int *peer)
{
    struct chat *self = chat_make(name, -1);

    chat_give_scripted(chat_dispatcher(self), features, calls, peer);
    return self;
}

struct scripted_socket *chat_socket(const struct asyncore_dispatcher *d)
{
    return (struct scripted_socket *)(void *)asyncore_socket(d);
}

int chat_feed(struct asyncore_dispatcher *d, const char *data, size_t len)
{
    struct scripted_socket *s = chat_socket(d);
    int r = 0;

    ck_assert_ptr_nonnull(s);
    scripted_hold(s, data, len);
    while (r == 0 && chat_socket(d) == s && s->held_len > 0)
        r = asyncore_read(d);
    return r;
}

int chat_feed_text(struct asyncore_dispatcher *d, const char *text)
{
    return chat_feed(d, text, strlen(text));
}

int chat_feed_end(struct asyncore_dispatcher *d)
{
    struct scripted_socket *s = chat_socket(d);

    ck_assert_ptr_nonnull(s);
    scripted_recv(s, STEPS(0));
    return asyncore_read(d);
}

void chat_block(struct asyncore_dispatcher *d)
{
    int steps[SCRIPTED_STEPS];

    for (int i = 0; i < SCRIPTED_STEPS; i++)
        steps[i] = -EAGAIN;
    scripted_send(chat_socket(d), steps, SCRIPTED_STEPS);
}

void chat_unblock(struct asyncore_dispatcher *d)
{
    chat_socket(d)->send.count = chat_socket(d)->send.next = 0;
}

int chat_push_text(struct asyncore_dispatcher *d, const char *text)
{
    return asynchat_push(d, text, strlen(text));
}

const char *received(int fd, char *buf, size_t size)
{
    size_t total = 0;
    ssize_t n;

    while (total < size - 1 && (n = recv(fd, buf + total, size - 1 - total, MSG_DONTWAIT)) > 0)
        total += (size_t)n;
    buf[total] = '\0';
    return buf;
}

/* --- hooks, and the chats of a test ----------------------------------------------------------- */

int chat_stays_open(struct chat *self)
{
    (void)self;
    return 0;
}

int chat_fails(struct chat *self)
{
    (void)self;
    return -EPROTO;
}

int chat_closes(struct chat *self)
{
    return asyncore_close(chat_dispatcher(self));
}

int chat_discards(struct chat *self)
{
    return asynchat_discard_buffers(chat_dispatcher(self));
}

struct chat *chats[CHATS];
struct scripted_calls chat_calls[CHATS];

struct asyncore_dispatcher *chat_d(int i)
{
    return chat_dispatcher(chats[i]);
}

static const char *name_of(int i, int count)
{
    return count == 1 ? NULL : i == 0 ? "a" : "b";
}

void make_scripted_chats(int count)
{
    ck_assert_int_le(count, CHATS);
    for (int i = 0; i < count; i++) {
        chats[i] = chat_scripted(name_of(i, count), SCRIPTED_SENDV, &chat_calls[i], &peers[i]);
        ck_assert_int_eq(asynchat_set_terminator(chat_d(i), "\n", 1), 0);
    }
}

void make_connected_chats(int count, int family)
{
    ck_assert_int_le(count, CHATS);
    for (int i = 0; i < count; i++) {
        chats[i] = chat_connected(name_of(i, count), family, &peers[i]);
        ck_assert_int_eq(asynchat_set_terminator(chat_d(i), "\n", 1), 0);
    }
}

static void setup(void)
{
    memset(chats, 0, sizeof chats);
    memset(chat_calls, 0, sizeof chat_calls);
}

TCase *add_chat_case(Suite *s, TCase *tc)
{
    add_case(s, tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    return tc;
}
