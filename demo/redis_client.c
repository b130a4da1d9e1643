#define _GNU_SOURCE 1
#include "redis_client.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE 65536
#define MAX_ARGUMENTS 1048576
#define MAX_REQUEST 67108864 /* bytes in all arguments */
#define MAX_WAITING 1048576  /* bytes of replies: with more no request is read */
#define LARGE_VALUE 16384

/* --- replies --------------------------------------------------------------------------------- */

int reply(struct client *client, const char *text)
{
    return asynchat_push(client_dispatcher(client), text, strlen(text));
}

int reply_error(struct client *client, const char *format, ...)
{
    char text[256] = "-";
    va_list args;
    int rc;

    va_start(args, format);
    vsnprintf(text + 1, sizeof text - 1, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = ' ';
    rc = reply(client, text);
    return rc < 0 ? rc : reply(client, "\r\n");
}

int reply_number(struct client *client, int64_t number)
{
    char text[32];

    snprintf(text, sizeof text, ":%lld\r\n", (long long)number);
    return reply(client, text);
}

static int reply_header(struct client *client, size_t length)
{
    char text[32];

    snprintf(text, sizeof text, "$%zu\r\n", length);
    return reply(client, text);
}

int reply_bytes(struct client *client, struct bytes bytes)
{
    int rc = reply_header(client, bytes.length);

    if (rc >= 0)
        rc = asynchat_push(client_dispatcher(client), bytes.data, bytes.length);
    return rc < 0 ? rc : reply(client, "\r\n");
}

static void release_value(const void *data, size_t len, void *value)
{
    (void)data;
    (void)len;
    value_unref(value);
}

int reply_value(struct client *client, struct value *value)
{
    int rc;

    if (value->bytes.length < LARGE_VALUE)
        return reply_bytes(client, value->bytes);
    rc = reply_header(client, value->bytes.length);
    if (rc < 0)
        return rc;
    value->references++;
    rc = asynchat_push_reference(client_dispatcher(client), value->bytes.data, value->bytes.length,
                                 release_value, value);
    return rc < 0 ? rc : reply(client, "\r\n");
}

int reply_no_more(struct client *client)
{
    struct asyncore_dispatcher *d = client_dispatcher(client);

    asyncore_set_closing(d, true);
    return asynchat_close_when_done(d);
}

/* --- requests -------------------------------------------------------------------------------- */

struct bytes argument(const struct client *client, size_t i)
{
    return (struct bytes){client->data + client->arguments[i].start, client->arguments[i].length};
}

bool argument_is(const struct client *client, size_t i, const char *word)
{
    struct bytes bytes = argument(client, i);

    return bytes.length == strlen(word) && strcasecmp(bytes.data, word) == 0;
}

bool parse_number(struct bytes bytes, int64_t *number)
{
    const char *digits = bytes.data + (*bytes.data == '-');
    char *end;

    if (!isdigit((unsigned char)*digits) || (*digits == '0' && bytes.length > 1))
        return false;
    errno = 0;
    *number = strtoll(bytes.data, &end, 10);
    return end == bytes.data + bytes.length && errno == 0;
}

/* Where the next request would begin, nobody knows. */
static int protocol_error(struct client *client, const char *what)
{
    int rc = reply_error(client, "ERR Protocol error: %s", what);

    return rc < 0 ? rc : reply_no_more(client);
}

/* Makes room for more, and a 0 behind it. */
static int reserve(struct client *client, size_t more)
{
    size_t room = client->length + more + 1;
    char *data;

    if (room <= client->room)
        return 0;
    room = room > client->room * 2 ? room : client->room * 2;
    data = realloc(client->data, room);
    if (!data)
        return -ENOMEM;
    client->data = data;
    client->room = room;
    return 0;
}

static int add_argument(struct client *client, size_t start, size_t length)
{
    if (client->count == client->arguments_room) {
        size_t room = client->count * 2 + 8;
        void *arguments = reallocarray(client->arguments, room, sizeof *client->arguments);

        if (!arguments)
            return -ENOMEM;
        client->arguments = arguments;
        client->arguments_room = room;
    }
    client->arguments[client->count].start = start;
    client->arguments[client->count++].length = length;
    return 0;
}

static void forget_request(struct client *client)
{
    client->count = client->length = client->start = 0;
    client->expected = REQUEST;
    if (client->room + client->arguments_room <= MAX_LINE)
        return;
    free(client->data);
    free(client->arguments);
    client->data = NULL;
    client->arguments = NULL;
    client->room = client->arguments_room = 0;
}

static int run_and_forget(struct client *client)
{
    int rc = client->count > 0 ? client->run(client) : 0;

    forget_request(client);
    return rc;
}

/* Words with blanks between them: what people type into telnet. */
static int found_inline_request(struct client *client, char *line)
{
    int rc = 0;

    while (rc == 0 && *(line += strspn(line, " \t"))) {
        size_t length = strcspn(line, " \t");
        bool last = line[length] == '\0';

        line[length] = '\0';
        rc = add_argument(client, (size_t)(line - client->data), length);
        line += length + !last;
    }
    return rc < 0 ? rc : run_and_forget(client);
}

/* "*3": three arguments follow. */
static int found_request(struct client *client, struct bytes line)
{
    int64_t count;

    if (!parse_number((struct bytes){line.data + 1, line.length - 1}, &count) ||
        count > MAX_ARGUMENTS)
        return protocol_error(client, "invalid multibulk length");
    client->length = client->start;
    if (count <= 0)
        return 0;
    client->wanted = (size_t)count;
    client->expected = LENGTH;
    return 0;
}

/* "$5": an argument of five bytes follows, and "\r\n". */
static int found_length(struct client *client, struct bytes line)
{
    char wrong[32];
    int64_t length;

    if (*line.data != '$') {
        snprintf(wrong, sizeof wrong, "expected '$', got '%c'", *line.data ? *line.data : ' ');
        return protocol_error(client, wrong);
    }
    if (!parse_number((struct bytes){line.data + 1, line.length - 1}, &length) || length < 0 ||
        length > MAX_REQUEST - (int64_t)client->start)
        return protocol_error(client, "invalid bulk length");
    client->length = client->start;
    client->expected = ARGUMENT;
    return asynchat_set_terminator_count(client_dispatcher(client), length + 2);
}

static int found_argument(struct client *client)
{
    size_t length = client->length - client->start - 2;
    char *end = client->data + client->start + length;
    int rc;

    if (memcmp(end, "\r\n", 2) != 0)
        return protocol_error(client, "expected CR LF behind a bulk string");
    *end = '\0';
    rc = add_argument(client, client->start, length);
    if (rc == 0)
        rc = asynchat_set_terminator(client_dispatcher(client), "\n", 1);
    if (rc < 0)
        return rc;
    client->start = client->length = client->start + length + 1;
    client->expected = LENGTH;
    return client->count == client->wanted ? run_and_forget(client) : 0;
}

static int client_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    struct client *client = client_of(d);

    if (d->closing)
        return 0;
    if (reserve(client, len) < 0)
        return -ENOMEM;
    memcpy(client->data + client->length, data, len);
    client->length += len;
    return 0;
}

static int client_found_terminator(struct asyncore_dispatcher *d)
{
    struct client *client = client_of(d);
    size_t length = client->length - client->start;
    char *line;

    if (d->closing)
        return 0;
    if (client->expected == ARGUMENT)
        return found_argument(client);
    if (reserve(client, 0) < 0)
        return -ENOMEM;
    line = client->data + client->start;
    length -= length > 0 && line[length - 1] == '\r'; /* nc sends LF only */
    line[length] = '\0';
    if (client->expected == LENGTH)
        return found_length(client, (struct bytes){line, length});
    if (*line == '*')
        return found_request(client, (struct bytes){line, length});
    return found_inline_request(client, line);
}

static int client_handle_collect_limit(struct asyncore_dispatcher *d)
{
    struct client *client = client_of(d);

    return protocol_error(client, client->expected == REQUEST ? "too big inline request"
                                                              : "too big bulk count string");
}

/* --- the channel ----------------------------------------------------------------------------- */

static int client_init(struct asyncore_dispatcher *d, int sock)
{
    int rc = asynchat_async_chat_init(d, sock);

    if (rc == 0)
        rc = asynchat_set_terminator(d, "\n", 1);
    if (rc == 0)
        rc = asynchat_set_collect_limit(d, MAX_LINE);
    if (rc == 0)
        rc = asynchat_set_high_water(d, MAX_WAITING, true);
    if (rc == 0) /* replies to what is still coming do not wait for the client's kernel */
        rc = asyncore_setsockopt(d, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return rc;
}

static void client_finalize(struct asyncore_dispatcher *d)
{
    free(client_of(d)->data);
    free(client_of(d)->arguments);
}

static int client_readable(struct asyncore_dispatcher *d)
{
    return !d->closing && asynchat_async_chat_readable(d);
}

/* A client that sends nothing more still gets its replies. */
static int client_handle_close(struct asyncore_dispatcher *d)
{
    if (d->closing || asyncore_out_buffer_length(d) == 0)
        return asyncore_close(d);
    return reply_no_more(client_of(d));
}

ASYNCORE_DEFINE_CLASS(client, asynchat_async_chat, .interest = ASYNCORE_INTEREST_ON_CHANGE,
                      .init = client_init, .finalize = client_finalize, .readable = client_readable,
                      .collect_incoming_data = client_collect_incoming_data,
                      .found_terminator = client_found_terminator,
                      .handle_collect_limit = client_handle_collect_limit,
                      .handle_close = client_handle_close);
