#define _GNU_SOURCE 1
#include "embed_lines.h"
#include "support.h"

#include <err.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#define MAX_LINE 1024
#define MAX_WAITING 65536 /* bytes, for a client that does not read them */

/* The line that has come, without the CR that telnet sends. NULL: no memory. */
static char *get_line(struct asyncore_dispatcher *d)
{
    size_t length;
    char *line = asynchat_get_data(d, &length);

    if (line && length > 0 && line[length - 1] == '\r')
        line[length - 1] = '\0';
    return line;
}

static int push_line(struct asyncore_dispatcher *d, const char *text)
{
    int rc = asynchat_push(d, text, strlen(text));

    return rc < 0 ? rc : asynchat_push(d, "\n", 1);
}

/* --- the server's side of a connection ------------------------------------------------------- */

struct line {
    struct asynchat_async_chat base;
    struct lines *lines;
    bool too_long;
};

ASYNCORE_DECLARE_LOCAL_CLASS(line, asynchat_async_chat);

static int line_init(struct asyncore_dispatcher *d, int sock)
{
    int rc = asynchat_async_chat_init(d, sock);

    if (rc == 0)
        rc = asynchat_set_terminator(d, "\n", 1);
    if (rc == 0)
        rc = asynchat_set_collect_limit(d, MAX_LINE);
    return rc < 0 ? rc : asynchat_set_high_water(d, MAX_WAITING, true);
}

static int line_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return line_of(d)->too_long || d->closing ? 0 : asynchat_keep_incoming_data(d, data, len);
}

static int line_handle_collect_limit(struct asyncore_dispatcher *d)
{
    line_of(d)->too_long = true;
    return 0;
}

/* Not as a producer, of which nobody counts what it will make. */
static int push_stats(struct asyncore_dispatcher *d)
{
    const struct lines *lines = line_of(d)->lines;
    struct evbuffer *text = evbuffer_new();
    int rc = text ? lines->add_stats(text, lines->arg) : -ENOMEM;
    const void *bytes = rc == 0 ? evbuffer_pullup(text, -1) : NULL;

    if (rc == 0)
        rc = bytes ? asynchat_push(d, bytes, evbuffer_get_length(text)) : -ENOMEM;
    if (text)
        evbuffer_free(text);
    return rc;
}

static int quit(struct asyncore_dispatcher *d)
{
    int rc = push_line(d, "bye");

    asyncore_set_closing(d, true);
    return rc < 0 ? rc : asynchat_close_when_done(d);
}

static int line_found_terminator(struct asyncore_dispatcher *d)
{
    const bool too_long = line_of(d)->too_long;
    const char *line = get_line(d);

    if (!line)
        return -ENOMEM;
    line_of(d)->too_long = false;
    if (d->closing)
        return 0;
    if (too_long)
        return push_line(d, "error: that line is too long");
    if (strncmp(line, "echo ", 5) == 0)
        return push_line(d, line + 5);
    if (strcmp(line, "stats") == 0)
        return push_stats(d);
    if (strcmp(line, "quit") == 0)
        return quit(d);
    return push_line(d, "error: commands are echo TEXT, stats, quit");
}

/* Who has sent everything gets all answers first. When the connection is gone, sending comes here a
 * second time. */
static int line_handle_close(struct asyncore_dispatcher *d)
{
    if (d->closing || !asynchat_async_chat_writable(d))
        return asyncore_close(d);
    asyncore_set_closing(d, true);
    return asynchat_close_when_done(d);
}

static int line_readable(struct asyncore_dispatcher *d)
{
    return !d->closing && asynchat_async_chat_readable(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(line, asynchat_async_chat, .interest = ASYNCORE_INTEREST_ON_CHANGE,
                            .init = line_init, .readable = line_readable,
                            .collect_incoming_data = line_collect_incoming_data,
                            .handle_collect_limit = line_handle_collect_limit,
                            .found_terminator = line_found_terminator,
                            .handle_close = line_handle_close);

/* --- the server ------------------------------------------------------------------------------ */

struct server {
    struct asyncore_dispatcher base;
    struct lines *lines;
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    struct line *line = line_new(sock, d->map);
    char text[128];

    if (line) {
        line->lines = server_of(d)->lines;
        return 0;
    }
    asyncore_addr_repr(addr, addrlen, text, sizeof text);
    warn("%s", text); /* the others are served on */
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
                            .handle_error = demo_handle_error);

struct asyncore_dispatcher *lines_server_new(struct asyncore_map *map, struct lines *lines)
{
    struct server *server = server_new(-1, map);

    if (!server)
        return NULL;
    server->lines = lines;
    return server_dispatcher(server);
}

/* --- a client -------------------------------------------------------------------------------- */

struct client {
    struct asynchat_async_chat base;
    struct lines *lines;
    char question[64];
};

ASYNCORE_DECLARE_LOCAL_CLASS(client, asynchat_async_chat);

static int client_init(struct asyncore_dispatcher *d, int sock)
{
    int rc = asynchat_async_chat_init(d, sock);

    if (rc == 0)
        rc = asynchat_set_terminator(d, "\n", 1);
    return rc < 0 ? rc : asynchat_set_collect_limit(d, MAX_LINE);
}

static int client_found_terminator(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);
    const char *line = get_line(d);

    if (!line)
        return -ENOMEM;
    if (strcmp(line, self->question) != 0)
        return asyncore_raise(d, -EPROTO, "%s was answered %s", self->question, line);
    self->lines->answers++;
    return asyncore_close(d);
}

static void client_finalize(struct asyncore_dispatcher *d)
{
    if (client_of(d)->lines)
        client_of(d)->lines->asking = false;
}

ASYNCORE_DEFINE_LOCAL_CLASS(client, asynchat_async_chat, .init = client_init,
                            .finalize = client_finalize,
                            .collect_incoming_data = asynchat_keep_incoming_data,
                            .found_terminator = client_found_terminator);

int lines_ask(struct asyncore_dispatcher *server, const char *text)
{
    struct client *self = client_new(-1, server->map);
    struct asyncore_dispatcher *d = self ? client_dispatcher(self) : NULL;
    struct sockaddr_storage addr;
    socklen_t addrlen = sizeof addr;
    int rc;

    if (!self)
        return -errno;
    self->lines = server_of(server)->lines;
    self->lines->asking = true;
    snprintf(self->question, sizeof self->question, "%s", text);
    rc = asyncore_getsockname(server, (struct sockaddr *)&addr, &addrlen);
    if (rc == 0)
        rc = asyncore_create_socket(d, addr.ss_family, SOCK_STREAM);
    if (rc == 0) /* what is pushed before it is connected goes out then */
        rc = asynchat_push(d, "echo ", 5);
    if (rc == 0)
        rc = push_line(d, self->question);
    if (rc == 0)
        rc = asyncore_connect(d, (struct sockaddr *)&addr, addrlen);
    if (rc < 0)
        (void)asyncore_close(d);
    return rc;
}
