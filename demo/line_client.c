/* Sends the lines of standard input to a server, and prints what it answers. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] =
    "usage: line_client HOST PORT\n"
    "Sends standard input to the server and prints what it answers, until both\n"
    "have ended.\n"
    "      --help  print this\n";

/* Standard input goes to the connection, and what comes from there to standard output. Each of the
 * three is a channel, and none reads while the next one has much to write. */
struct client {
    struct asyncore_dispatcher *input, *connection, *output;
    bool input_ended, answers_ended;
    char peer[NI_MAXHOST + 16];
    int status;
};

#define MAX_WAITING 65536

static int has_room(const struct asyncore_dispatcher *d)
{
    return asyncore_out_buffer_length(d) < MAX_WAITING;
}

/* Tells the server when it has got everything, and ends when it has answered. */
static int proceed(struct client *client)
{
    if (!client->input_ended || asyncore_out_buffer_length(client->connection) > 0)
        return 0;
    if (!client->answers_ended) {
        (void)asyncore_shutdown(client->connection, SHUT_WR); /* recv says if that is broken */
        return 0;
    }
    (void)asyncore_close(client->connection);
    return asynchat_close_when_done(client->output);
}

static void complain(struct client *client, const char *what, const char *message)
{
    if (client->status == 0)
        warnx("%s: %s", what, message);
    client->status = 1;
}

static int end_input(struct client *client)
{
    client->input_ended = true;
    (void)asyncore_close(client->input);
    return proceed(client);
}

/* --- standard input -------------------------------------------------------------------------- */

struct input {
    struct asyncore_file_dispatcher base;
    struct client *client;
};

ASYNCORE_DECLARE_LOCAL_CLASS(input, asyncore_file_dispatcher);

static int input_readable(struct asyncore_dispatcher *d)
{
    const struct asyncore_dispatcher *connection = input_of(d)->client->connection;

    return connection->connected && has_room(connection);
}

static int input_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int input_handle_read(struct asyncore_dispatcher *d)
{
    char data[MAX_WAITING];
    int n = asyncore_recv(d, data, sizeof data);

    return n > 0 ? asynchat_push(input_of(d)->client->connection, data, (size_t)n) : n;
}

static int input_handle_close(struct asyncore_dispatcher *d)
{
    return end_input(input_of(d)->client);
}

static int input_handle_error(struct asyncore_dispatcher *d)
{
    complain(input_of(d)->client, "standard input", asyncore_compact_traceback(d)->message);
    return end_input(input_of(d)->client);
}

ASYNCORE_DEFINE_LOCAL_CLASS(input, asyncore_file_dispatcher, .readable = input_readable,
                            .writable = input_writable, .handle_read = input_handle_read,
                            .handle_close = input_handle_close, .handle_error = input_handle_error);

/* --- the connection -------------------------------------------------------------------------- */

struct connection {
    struct asynchat_async_chat base;
    struct client *client;
};

ASYNCORE_DECLARE_LOCAL_CLASS(connection, asynchat_async_chat);

static int connection_readable(struct asyncore_dispatcher *d)
{
    const struct client *client = connection_of(d)->client;

    return !client->answers_ended && has_room(client->output);
}

/* The server may read on when it has ended; and a connection that breaks off is an error here. */
static int connection_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    struct client *client = connection_of(d)->client;
    int n = asyncore_recv_flags(d, buf, len, 0);

    if (n != 0)
        return n;
    client->answers_ended = true;
    return proceed(client);
}

/* Without a terminator everything is collected as it comes. */
static int connection_collect_incoming_data(struct asyncore_dispatcher *d, const void *data,
                                            size_t len)
{
    return asynchat_push(connection_of(d)->client->output, data, len);
}

static int connection_handle_write(struct asyncore_dispatcher *d)
{
    int rc = asynchat_initiate_send(d);

    return rc < 0 ? rc : proceed(connection_of(d)->client);
}

/* Nothing can be sent any more: what it has answered can still be read. */
static int connection_handle_close(struct asyncore_dispatcher *d)
{
    struct client *client = connection_of(d)->client;

    complain(client, client->peer, "The server takes no more");
    (void)asynchat_discard_buffers(d);
    return end_input(client);
}

static int connection_handle_error(struct asyncore_dispatcher *d)
{
    struct client *client = connection_of(d)->client;

    complain(client, client->peer, asyncore_compact_traceback(d)->message);
    (void)asynchat_discard_buffers(d);
    client->answers_ended = true;
    return end_input(client);
}

ASYNCORE_DEFINE_LOCAL_CLASS(connection, asynchat_async_chat, .readable = connection_readable,
                            .recv = connection_recv,
                            .collect_incoming_data = connection_collect_incoming_data,
                            .handle_write = connection_handle_write,
                            .handle_close = connection_handle_close,
                            .handle_error = connection_handle_error);

/* --- standard output: an async_chat, for its queue, on a file -------------------------------- */

struct output {
    struct asynchat_async_chat base;
    struct client *client;
};

ASYNCORE_DECLARE_LOCAL_CLASS(output, asynchat_async_chat);

static int output_init(struct asyncore_dispatcher *d, int nothing)
{
    int rc = asynchat_async_chat_init(d, nothing);

    asyncore_set_connected(d, true);
    return rc == 0 ? asyncore_set_file(d, STDOUT_FILENO) : rc;
}

static int output_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

/* Everything is written, or nobody reads it. */
static int output_handle_close(struct asyncore_dispatcher *d)
{
    return asyncore_out_buffer_length(d) > 0 ? -EPIPE : asyncore_close(d);
}

static int output_handle_error(struct asyncore_dispatcher *d)
{
    struct client *client = output_of(d)->client;

    complain(client, "standard output", asyncore_compact_traceback(d)->message);
    (void)asynchat_discard_buffers(d);
    (void)asyncore_close(client->input);
    (void)asyncore_close(client->connection);
    return asyncore_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(output, asynchat_async_chat, .init = output_init,
                            .readable = output_readable, .handle_close = output_handle_close,
                            .handle_error = output_handle_error);

/* --- all together ---------------------------------------------------------------------------- */

static int start(struct client *client, struct asyncore_map *map)
{
    struct input *input = input_new(STDIN_FILENO, map);
    struct connection *connection = connection_new(-1, map);
    struct output *output = output_new(-1, map);

    if (!input || !connection || !output)
        return -1;
    input->client = connection->client = output->client = client;
    client->input = asyncore_ref(input_dispatcher(input));
    client->connection = asyncore_ref(connection_dispatcher(connection));
    client->output = asyncore_ref(output_dispatcher(output));
    return 0;
}

static int run(const char *host, uint16_t port)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    struct demo_signals signals = {0};
    struct client client = {0};
    int rc;

    snprintf(client.peer, sizeof client.peer, "%s port %u", host, port);
    if (!map || demo_catch_signals(&signals, map) < 0 || start(&client, map) < 0)
        err(1, NULL);
    rc = asyncore_create_socket(client.connection, demo_family(host), SOCK_STREAM);
    if (rc == 0)
        rc = asyncore_connect_host(client.connection, host, port);
    if (rc < 0)
        warnx("%s: %s", client.peer, demo_strerror(client.connection, rc));
    else if ((rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, map, ASYNCORE_COUNT_NONE)) < 0)
        warnx("%s", asyncore_strerror(rc));

    asyncore_unref(client.input);
    asyncore_unref(client.connection);
    asyncore_unref(client.output);
    demo_release_signals(&signals);
    asyncore_map_free(map);
    return rc < 0 ? 1 : client.status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    uint16_t port;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        fputs(usage, option == 'h' ? stdout : stderr);
        return option == 'h' ? demo_exit(0) : 2;
    }
    if (argc - optind != 2) {
        fputs(usage, stderr);
        return 2;
    }
    if (demo_parse_port(argv[optind + 1], &port) < 0) {
        warnx("bad port: %s", argv[optind + 1]);
        return 2;
    }
    /* Before other files get these numbers. */
    if (fcntl(STDIN_FILENO, F_GETFD) < 0)
        err(1, "standard input");
    if (fcntl(STDOUT_FILENO, F_GETFD) < 0)
        err(1, "standard output");
    return run(argv[optind], port);
}
