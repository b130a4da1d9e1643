/* An echo server: what a client sends comes back to it. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: echo_server [--host HOST] [--port PORT]\n"
    "Sends what it receives back, until SIGINT or SIGTERM.\n"
    "      --host HOST  listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT  listen on PORT (default: 0, any free port)\n"
    "      --help       print this\n";

/* --- one client ------------------------------------------------------------------------------ */

struct echo {
    struct asyncore_dispatcher_with_send base;
};

/* Takes no more from a client that does not read what it gets. */
static int echo_readable(struct asyncore_dispatcher *d)
{
    return !d->closing && asyncore_out_buffer_length(d) < 65536;
}

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    char data[8192];
    int n = asyncore_recv(d, data, sizeof data);

    return n > 0 ? asyncore_send(d, data, (size_t)n) : n;
}

/* The client has sent everything: the channel closes when it has got everything back. When it is
 * gone, sending comes here a second time. */
static int echo_handle_close(struct asyncore_dispatcher *d)
{
    if (d->closing || asyncore_out_buffer_length(d) == 0)
        return asyncore_close(d);
    asyncore_set_closing(d, true);
    return 0;
}

static int echo_handle_write(struct asyncore_dispatcher *d)
{
    int rc = asyncore_initiate_send(d);

    if (rc < 0 || !d->closing || asyncore_out_buffer_length(d) > 0)
        return rc;
    return asyncore_close(d);
}

ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .interest = ASYNCORE_INTEREST_ON_CHANGE,
               .readable = echo_readable, .handle_read = echo_handle_read,
               .handle_write = echo_handle_write, .handle_close = echo_handle_close);

/* --- the server ------------------------------------------------------------------------------ */

struct server {
    struct asyncore_dispatcher base;
};

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    char text[128];

    asyncore_addr_repr(addr, addrlen, text, sizeof text);
    printf("Incoming connection from %s\n", text);
    fflush(stdout);
    if (!echo_new(sock, d->map))
        warn("%s", text); /* the others are served on */
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
    int status = demo_parse_server_options(argc, argv, usage, &host, &port, 0);

    return demo_exit(status < 0 ? serve(host, port) : status);
}
