/* A TCP forwarder: what arrives on a connection goes on to another server, and back. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

static const char usage[] =
    "usage: proxy [--host HOST] [--port PORT] TARGET-HOST TARGET-PORT\n"
    "Forwards connections to TARGET-PORT of TARGET-HOST, which is looked up for each of them, "
    "until\n"
    "SIGINT or SIGTERM.\n"
    "      --host HOST  listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT  listen on PORT (default: 0, any free port)\n"
    "      --help       print this\n";

/* What is read at once, and how much may wait for a side that reads slowly. */
enum {
    PIECE = 65536,
    HIGH = 4 * PIECE,
    LOW = PIECE
};

static struct {
    const char *host;
    uint16_t port;
} target;

static void complain(const struct asyncore_dispatcher *d, int error)
{
    warnx("%s port %u: %s", target.host, target.port, demo_strerror(d, error));
}

/* --- one side of a connection ---------------------------------------------------------------- */

/* What a side reads, the other one sends. They are closed together. */
struct side {
    struct asyncore_dispatcher_with_send base;
    struct side *other;
    bool done; /* the end of what it reads has been sent; closing: it has been read */
};

ASYNCORE_DECLARE_LOCAL_CLASS(side, asyncore_dispatcher_with_send);

static struct asyncore_dispatcher *other_of(struct asyncore_dispatcher *d)
{
    return side_dispatcher(side_of(d)->other);
}

/* The client is not read from before the target is there. */
static int side_readable(struct asyncore_dispatcher *d)
{
    return !d->closing && other_of(d)->connected;
}

static int side_handle_connect(struct asyncore_dispatcher *d)
{
    asyncore_touch(other_of(d)); /* it is readable now */
    return 0;
}

static int side_handle_close(struct asyncore_dispatcher *d)
{
    int rc = asyncore_close(other_of(d));

    return rc < 0 ? rc : asyncore_close(d);
}

/* Everything that d has read is sent, and now the end of it; the other direction goes on. */
static int send_end(struct asyncore_dispatcher *d)
{
    side_of(d)->done = true;
    if (side_of(d)->other->done)
        return asyncore_handle_close(d);
    return asyncore_shutdown(other_of(d), SHUT_WR);
}

/* Not asyncore_recv, for which the end of the stream is the end of the connection. */
static int side_handle_read(struct asyncore_dispatcher *d)
{
    static char data[PIECE];
    int n = asyncore_recv_flags(d, data, sizeof data, 0);

    if (n != 0)
        return n < 0 ? n : asyncore_send(other_of(d), data, (size_t)n);
    asyncore_set_closing(d, true);
    if (asyncore_out_buffer_length(other_of(d)) == 0)
        return send_end(d);
    return asyncore_set_back_pressure(d, other_of(d), 0, 0); /* until all is sent */
}

static int side_handle_drain(struct asyncore_dispatcher *d)
{
    return d->closing ? send_end(d) : 0;
}

/* The target cannot be reached, or one of the sides is gone. */
static int side_handle_error(struct asyncore_dispatcher *d)
{
    if (d->connecting)
        complain(d, asyncore_compact_traceback(d)->error);
    return asyncore_handle_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(side, asyncore_dispatcher_with_send,
                            .interest = ASYNCORE_INTEREST_ON_CHANGE, .readable = side_readable,
                            .handle_connect = side_handle_connect, .handle_read = side_handle_read,
                            .handle_drain = side_handle_drain, .handle_close = side_handle_close,
                            .handle_error = side_handle_error);

/* --- the server ------------------------------------------------------------------------------ */

struct server {
    struct asyncore_dispatcher base;
};

static int connect_to_target(struct asyncore_dispatcher *d)
{
    const int on = 1;
    int rc = asyncore_create_socket(d, demo_family(target.host), SOCK_STREAM);

    if (rc == 0)
        rc = asyncore_setsockopt(d, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return rc < 0 ? rc : asyncore_connect_host(d, target.host, target.port);
}

static int forward(struct side *client, struct side *server)
{
    struct asyncore_dispatcher *from = side_dispatcher(client), *to = side_dispatcher(server);
    int rc;

    client->other = server;
    server->other = client;
    rc = asyncore_set_back_pressure(from, to, HIGH, LOW);
    if (rc == 0)
        rc = asyncore_set_back_pressure(to, from, HIGH, LOW);
    return rc == 0 ? connect_to_target(to) : rc;
}

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    struct side *client = side_new(sock, d->map);
    struct side *server = client ? side_new(-1, d->map) : NULL;
    int rc = server ? forward(client, server) : -errno;

    (void)addr;
    (void)addrlen;
    if (rc == 0)
        return 0;
    complain(d, rc); /* the others are served on */
    if (server)
        (void)asyncore_close(side_dispatcher(server));
    if (client)
        (void)asyncore_close(side_dispatcher(client));
    return 0;
}

ASYNCORE_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
               .handle_error = demo_handle_error);

static int serve(const char *host, uint16_t port)
{
    struct server *server = server_new(-1, NULL);

    return demo_serve(server ? server_dispatcher(server) : NULL, host, port);
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1";
    uint16_t port = 0;
    int status = demo_parse_server_options(argc, argv, usage, &host, &port, 2);

    if (status < 0) {
        target.host = argv[optind];
        if (demo_parse_port(argv[optind + 1], &target.port) == 0)
            return demo_exit(serve(host, port));
        warnx("bad port: %s", argv[optind + 1]);
        status = 2;
    }
    return demo_exit(status);
}
