/*
 * One connection of the web server.
 *
 * What comes is cut by terminators: a header ends with an empty line, a body is so many bytes, or
 * chunks, which are lines and so many bytes in turns. A request waits, when it is complete, until
 * the answers to those before it have been sent, but for a few; while one waits no more is read. So
 * a client that sends many and reads nothing has no more than these few files open. (A high-water
 * mark counts bytes: here most of them are still in the files.)
 */
#define _GNU_SOURCE 1
#include "http_connection.h"
#include "http_answer.h"
#include "http_request.h"
#include "support.h"

#include <asyncore/chat.h>

#include <err.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long a header, or a line between the chunks of a body, may be. */
#define HEADER_LIMIT 16384

/* How many answers may be queued, each with its file. */
#define ANSWERS_AT_ONCE 16

/* What comes next, or what is done about it. */
enum state {
    HEADER,
    BODY,
    CHUNK_SIZE,
    CHUNK,
    CHUNK_END,
    TRAILER,
    DISCARD, /* no further request */
    LAST,    /* and the last answer is queued */
    LINGER,  /* and sent: closing before the client does would drop what it has not read yet */
};

struct client {
    struct asynchat_async_chat base;
    struct http_site *site;
    time_t moved; /* when a request has come, or some of a body or of an answer has moved */
    enum state state;
    bool ended;                    /* the client sends no more */
    bool writing;                  /* in handle_write */
    unsigned queued;               /* answers since nothing was queued */
    struct http_request *request;  /* whose body comes */
    struct http_requests requests; /* to be answered */
};

ASYNCORE_DECLARE_LOCAL_CLASS(client, asynchat_async_chat);

static time_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

/* --- answers --------------------------------------------------------------------------------- */

static bool client_is_sending(struct client *self)
{
    return asynchat_async_chat_writable(client_dispatcher(self)) > 0;
}

/* Answers what may be answered by now. */
static int client_answer(struct client *self)
{
    struct asyncore_dispatcher *d = client_dispatcher(self);
    struct http_request *r;
    int rc = 0;

    if (!client_is_sending(self))
        self->queued = 0;
    while (rc >= 0 && self->queued < ANSWERS_AT_ONCE && (r = TAILQ_FIRST(&self->requests))) {
        TAILQ_REMOVE(&self->requests, r, in_queue);
        rc = http_answer(d, self->site, r);
        self->queued = rc > 0 ? ANSWERS_AT_ONCE : self->queued + 1;
        free(r);
    }
    if (rc < 0 || self->state != DISCARD || !TAILQ_EMPTY(&self->requests))
        return rc;
    self->state = LAST;
    return asynchat_close_when_done(d);
}

/* --- the requests ---------------------------------------------------------------------------- */

/* What comes next ends with a line, or with two line ends. */
static int client_expect(struct client *self, enum state state)
{
    const char *end = state == HEADER ? "\r\n\r\n" : "\r\n";

    self->state = state;
    return asynchat_set_terminator(client_dispatcher(self), end, strlen(end));
}

static int client_expect_bytes(struct client *self, enum state state, int64_t count)
{
    self->state = state;
    return asynchat_set_terminator_count(client_dispatcher(self), count);
}

/* Owns r, which may be NULL: no memory. */
static int client_add_request(struct client *self, struct http_request *r)
{
    if (!r)
        return -ENOMEM;
    TAILQ_INSERT_TAIL(&self->requests, r, in_queue);
    if (!r->keep_alive)
        self->state = DISCARD;
    self->moved = now();
    return client_answer(self);
}

static int client_refuse(struct client *self, int status)
{
    free(self->request);
    self->request = NULL;
    return client_add_request(self, http_request_for_status(status, false));
}

/* The request is there, with its body. */
static int client_complete(struct client *self)
{
    struct http_request *r = self->request;
    int rc = client_expect(self, HEADER);

    self->request = NULL;
    if (rc >= 0)
        return client_add_request(self, r);
    free(r);
    return rc;
}

static int client_found_header(struct client *self)
{
    struct evbuffer *header = asynchat_incoming(client_dispatcher(self));
    struct http_request *r;
    int rc = 0;

    if (!header || evbuffer_get_length(header) == 0)
        return header ? 0 : -ENOMEM;
    r = http_request_new(header);
    if (!r || (!r->chunked && r->body_length == 0))
        return client_add_request(self, r);
    if (r->expects && r->status) {
        r->keep_alive = false; /* the body may come or not */
        return client_add_request(self, r);
    }
    self->request = r;
    if (r->expects)
        rc = client_add_request(self, http_request_for_status(100, true));
    if (rc < 0)
        return rc;
    return r->chunked ? client_expect(self, CHUNK_SIZE)
                      : client_expect_bytes(self, BODY, r->body_length);
}

/* A line between chunks. */
static int client_found_line(struct client *self)
{
    size_t len;
    const char *line = asynchat_get_data(client_dispatcher(self), &len);
    int64_t size;

    if (!line)
        return -ENOMEM;
    switch (self->state) {
    case CHUNK_SIZE:
        size = http_chunk_size(line, len);
        if (size < 0)
            return client_refuse(self, 400);
        return size > 0 ? client_expect_bytes(self, CHUNK, size) : client_expect(self, TRAILER);
    case CHUNK_END:
        return len > 0 ? client_refuse(self, 400) : client_expect(self, CHUNK_SIZE);
    default:
        return len > 0 ? 0 : client_complete(self);
    }
}

static int client_found_terminator(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);

    switch (self->state) {
    case HEADER:
        return client_found_header(self);
    case BODY:
        return client_complete(self);
    case CHUNK:
        return client_expect(self, CHUNK_END);
    case CHUNK_SIZE:
    case CHUNK_END:
    case TRAILER:
        return client_found_line(self);
    default:
        return 0;
    }
}

static int client_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct client *self = client_of(d);

    if (self->state >= DISCARD)
        return 0;
    if (self->state == HEADER)
        return asynchat_keep_incoming_data(d, data, len);
    self->moved = now();
    return self->state == BODY || self->state == CHUNK ? 0
                                                       : asynchat_keep_incoming_data(d, data, len);
}

static int client_handle_collect_limit(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);

    return self->state >= DISCARD ? 0 : client_refuse(self, self->state == HEADER ? 431 : 400);
}

/* --- the connection -------------------------------------------------------------------------- */

static int client_readable(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);

    return !self->ended && TAILQ_EMPTY(&self->requests) && asynchat_async_chat_readable(d);
}

static int client_writable(struct asyncore_dispatcher *d)
{
    return client_is_sending(client_of(d)) || !TAILQ_EMPTY(&client_of(d)->requests);
}

static int client_handle_write(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);
    int rc;

    self->writing = true;
    rc = asynchat_async_chat_handle_write(d);
    self->writing = false;
    if (rc < 0 || self->state == LINGER)
        return rc;
    self->moved = now();
    return self->state == LAST ? 0 : client_answer(self);
}

/* The client has sent everything; or everything has been sent to it; or it is gone, which is found
 * out again by who goes on. */
static int client_handle_close(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);

    if (self->state == LINGER)
        return asyncore_close(d);
    if (self->writing) {
        if (self->ended || asyncore_shutdown(d, SHUT_WR) < 0)
            return asyncore_close(d);
        self->state = LINGER;
        return 0;
    }
    if (!client_is_sending(self) && TAILQ_EMPTY(&self->requests))
        return asyncore_close(d);
    self->ended = true;
    if (self->state >= DISCARD)
        return 0;
    self->state = DISCARD;
    return client_answer(self);
}

static int client_handle_error(struct asyncore_dispatcher *d)
{
    warnx("a client's connection: %s", asyncore_compact_traceback(d)->message);
    return asyncore_close(d);
}

/* Nothing moves: who has begun a request is told. */
static int client_handle_timeout(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);
    struct evbuffer *header = asynchat_incoming(d);

    if (self->state != HEADER || client_is_sending(self) || !header ||
        evbuffer_get_length(header) == 0)
        return asyncore_close(d);
    return client_refuse(self, 408);
}

/* To the library every byte is one that moves. But who sends a header bit by bit is not waited for,
 * nor who goes on after the last answer. */
static int client_handle_read(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);

    if (now() - self->moved > self->site->idle)
        return client_handle_timeout(d);
    return asynchat_async_chat_handle_read(d);
}

static int client_init(struct asyncore_dispatcher *d, int sock)
{
    struct client *self = client_of(d);
    int rc;

    TAILQ_INIT(&self->requests);
    rc = asynchat_async_chat_init(d, sock);
    if (rc >= 0)
        rc = asynchat_set_collect_limit(d, HEADER_LIMIT);
    return rc >= 0 ? client_expect(self, HEADER) : rc;
}

static void client_finalize(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);
    struct http_request *r;

    while ((r = TAILQ_FIRST(&self->requests))) {
        TAILQ_REMOVE(&self->requests, r, in_queue);
        free(r);
    }
    free(self->request);
}

ASYNCORE_DEFINE_LOCAL_CLASS(client, asynchat_async_chat, .interest = ASYNCORE_INTEREST_ON_CHANGE,
                            .init = client_init, .finalize = client_finalize,
                            .readable = client_readable, .writable = client_writable,
                            .collect_incoming_data = client_collect_incoming_data,
                            .found_terminator = client_found_terminator,
                            .handle_collect_limit = client_handle_collect_limit,
                            .handle_read = client_handle_read, .handle_write = client_handle_write,
                            .handle_timeout = client_handle_timeout,
                            .handle_close = client_handle_close,
                            .handle_error = client_handle_error, .ac_in_buffer_size = 16384);

int http_connection_new(int sock, struct asyncore_map *map, struct http_site *site)
{
    struct client *self = client_new(sock, map);
    int rc;

    if (!self)
        return -errno;
    self->site = site;
    self->moved = now();
    rc = asyncore_set_timeout(client_dispatcher(self), (double)site->idle);
    if (rc < 0)
        (void)asyncore_close(client_dispatcher(self));
    return rc;
}
