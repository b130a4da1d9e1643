/* An echo server and its client in one process, and in one map. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: echo_pair [-v] FILE\n"
    "Sends FILE to an echo server of its own and compares what comes back.\n"
    "  -v, --verbose  log what happens to stderr\n"
    "      --help     print this\n";

#define HANDLER_CHUNK 256
#define CLIENT_CHUNK 512

/* --- EchoHandler: sends back what one client sends ------------------------------------------- */

struct echo_handler {
    struct asyncore_dispatcher base;
    char name[64];
    char data_to_write[4 * HANDLER_CHUNK];
    size_t length;
};

ASYNCORE_DECLARE_LOCAL_CLASS(echo_handler, asyncore_dispatcher);

static int echo_handler_init(struct asyncore_dispatcher *d, int sock)
{
    struct echo_handler *self = echo_handler_of(d);
    struct sockaddr_in addr;
    socklen_t addrlen = sizeof addr;
    char text[48];
    int rc = asyncore_dispatcher_init(d, sock);

    if (rc == 0)
        rc = asyncore_getsockname(d, (struct sockaddr *)&addr, &addrlen);
    if (rc < 0)
        return rc;
    asyncore_addr_repr((struct sockaddr *)&addr, addrlen, text, sizeof text);
    snprintf(self->name, sizeof self->name, "EchoHandler%s", text);
    return 0;
}

static int echo_handler_readable(struct asyncore_dispatcher *d)
{
    struct echo_handler *self = echo_handler_of(d);

    return !d->closing && self->length + HANDLER_CHUNK <= sizeof self->data_to_write;
}

static int echo_handler_writable(struct asyncore_dispatcher *d)
{
    struct echo_handler *self = echo_handler_of(d);

    demo_log(self->name, "writable() -> %s", self->length > 0 ? "True" : "False");
    return self->length > 0;
}

static int echo_handler_handle_read(struct asyncore_dispatcher *d)
{
    struct echo_handler *self = echo_handler_of(d);
    char *end = self->data_to_write + self->length;
    int n = asyncore_recv(d, end, HANDLER_CHUNK);

    if (n < 0)
        return n;
    demo_log_data(self->name, "handle_read()", end, n);
    self->length += (size_t)n;
    return 0;
}

static int echo_handler_handle_write(struct asyncore_dispatcher *d)
{
    struct echo_handler *self = echo_handler_of(d);
    size_t length = self->length < HANDLER_CHUNK ? self->length : HANDLER_CHUNK;
    int sent = asyncore_send(d, self->data_to_write, length);

    if (sent < 0)
        return sent;
    demo_log_data(self->name, "handle_write()", self->data_to_write, sent);
    self->length -= (size_t)sent;
    memmove(self->data_to_write, self->data_to_write + sent, self->length);
    if (asyncore_writable(d) || !d->closing)
        return 0;
    return asyncore_handle_close(d);
}

/* The client has sent everything: what it has not got back yet goes out first. */
static int echo_handler_handle_close(struct asyncore_dispatcher *d)
{
    struct echo_handler *self = echo_handler_of(d);

    if (self->length > 0 && !d->closing) {
        asyncore_set_closing(d, true);
        return 0;
    }
    demo_log(self->name, "handle_close()");
    return asyncore_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(echo_handler, asyncore_dispatcher, .init = echo_handler_init,
                            .readable = echo_handler_readable, .writable = echo_handler_writable,
                            .handle_read = echo_handler_handle_read,
                            .handle_write = echo_handler_handle_write,
                            .handle_close = echo_handler_handle_close,
                            .handle_error = demo_handle_error);

/* --- EchoServer: accepts one connection ------------------------------------------------------ */

struct echo_server {
    struct asyncore_dispatcher base;
};

static int echo_server_handle_accept(struct asyncore_dispatcher *d)
{
    struct sockaddr_in addr;
    socklen_t addrlen = sizeof addr;
    char text[48];
    int sock = asyncore_accept(d, (struct sockaddr *)&addr, &addrlen);

    if (sock < 0)
        return sock;
    asyncore_addr_repr((struct sockaddr *)&addr, addrlen, text, sizeof text);
    demo_log("EchoServer", "handle_accept() -> %s", text);
    if (!echo_handler_new(sock, d->map))
        return -errno;
    return asyncore_handle_close(d); /* there is one client only */
}

static int echo_server_handle_close(struct asyncore_dispatcher *d)
{
    demo_log("EchoServer", "handle_close()");
    return asyncore_close(d);
}

ASYNCORE_CLASS(echo_server, asyncore_dispatcher, .handle_accept = echo_server_handle_accept,
               .handle_close = echo_server_handle_close, .handle_error = demo_handle_error);

/* Leaves the address that it listens on in *addr. */
static int echo_server_start(struct asyncore_map *map, struct sockaddr_in *addr)
{
    struct echo_server *self = echo_server_new(-1, map);
    struct asyncore_dispatcher *d = echo_server_dispatcher(self);
    socklen_t addrlen = sizeof *addr;
    char text[48];
    int rc;

    if (!self)
        return -errno;
    rc = asyncore_create_socket(d, AF_INET, SOCK_STREAM);
    if (rc == 0)
        rc = asyncore_bind_host(d, "127.0.0.1", 0);
    if (rc == 0)
        rc = asyncore_getsockname(d, (struct sockaddr *)addr, &addrlen);
    if (rc < 0)
        return rc;
    asyncore_addr_repr((struct sockaddr *)addr, addrlen, text, sizeof text);
    demo_log("EchoServer", "binding to %s", text);
    return asyncore_listen(d, 1);
}

/* --- EchoClient: sends a file and compares the echo ------------------------------------------ */

struct echo_client {
    struct asyncore_dispatcher base;
    int file;
    char to_send[CLIENT_CHUNK]; /* what the file has at sent */
    size_t to_send_length;      /* 0: everything is sent */
    off_t sent;
    off_t received;
    bool differs;
};

ASYNCORE_DECLARE_LOCAL_CLASS(echo_client, asyncore_dispatcher);

static int echo_client_read_file(struct echo_client *self)
{
    ssize_t n = pread(self->file, self->to_send, sizeof self->to_send, self->sent);

    if (n < 0)
        return -errno;
    self->to_send_length = (size_t)n;
    return 0;
}

/* Whether everything has come back. */
static bool echo_client_has_copy(const struct echo_client *self)
{
    return self->to_send_length == 0 && self->received == self->sent && !self->differs;
}

static int echo_client_handle_connect(struct asyncore_dispatcher *d)
{
    (void)d;
    demo_log("EchoClient", "handle_connect()");
    return 0;
}

static int echo_client_writable(struct asyncore_dispatcher *d)
{
    bool writable = echo_client_of(d)->to_send_length > 0 || !d->connected;

    demo_log("EchoClient", "writable() -> %s", writable ? "True" : "False");
    return writable;
}

static int echo_client_handle_write(struct asyncore_dispatcher *d)
{
    struct echo_client *self = echo_client_of(d);
    int sent = asyncore_send(d, self->to_send, self->to_send_length), rc;

    if (sent < 0)
        return sent;
    demo_log_data("EchoClient", "handle_write()", self->to_send, sent);
    self->sent += sent;
    rc = echo_client_read_file(self);
    if (rc < 0 || self->to_send_length > 0)
        return rc;
    return asyncore_shutdown(d, SHUT_WR);
}

static int echo_client_handle_read(struct asyncore_dispatcher *d)
{
    struct echo_client *self = echo_client_of(d);
    char data[CLIENT_CHUNK], expected[CLIENT_CHUNK];
    int n = asyncore_recv(d, data, sizeof data);

    if (n < 0)
        return n;
    demo_log_data("EchoClient", "handle_read()", data, n);
    if (pread(self->file, expected, (size_t)n, self->received) != n ||
        memcmp(data, expected, (size_t)n))
        self->differs = true;
    self->received += n;
    return 0;
}

static int echo_client_handle_close(struct asyncore_dispatcher *d)
{
    demo_log("EchoClient", "handle_close()");
    demo_log("EchoClient", "%s",
             echo_client_has_copy(echo_client_of(d)) ? "RECEIVED COPY OF MESSAGE"
                                                     : "ERROR IN TRANSMISSION");
    return asyncore_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(echo_client, asyncore_dispatcher,
                            .handle_connect = echo_client_handle_connect,
                            .writable = echo_client_writable,
                            .handle_write = echo_client_handle_write,
                            .handle_read = echo_client_handle_read,
                            .handle_close = echo_client_handle_close,
                            .handle_error = demo_handle_error);

static int echo_client_start(struct echo_client *self, int file, const struct sockaddr_in *addr)
{
    struct asyncore_dispatcher *d = echo_client_dispatcher(self);
    char text[48];
    int rc;

    self->file = file;
    rc = echo_client_read_file(self);
    if (rc == 0)
        rc = asyncore_create_socket(d, AF_INET, SOCK_STREAM);
    if (rc < 0)
        return rc;
    asyncore_addr_repr((const struct sockaddr *)addr, sizeof *addr, text, sizeof text);
    demo_log("EchoClient", "connecting to %s", text);
    return asyncore_connect(d, (const struct sockaddr *)addr, sizeof *addr);
}

/* --- the program ----------------------------------------------------------------------------- */

static int run(const char *path, int file)
{
    struct echo_client *client = echo_client_new(-1, NULL);
    struct sockaddr_in addr;
    int status = 1, rc;

    if (!client)
        err(1, NULL);
    asyncore_ref(echo_client_dispatcher(client)); /* it is looked at when the loop is over */
    rc = echo_server_start(NULL, &addr);
    if (rc == 0)
        rc = echo_client_start(client, file, &addr);
    if (rc == 0)
        rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, NULL, ASYNCORE_COUNT_NONE);
    if (rc < 0) {
        warnx("%s: %s", path, asyncore_strerror(rc));
    } else {
        status = echo_client_has_copy(client) ? 0 : 1;
        puts(status ? "ERROR IN TRANSMISSION" : "RECEIVED COPY OF MESSAGE");
        if (status)
            warnx("%s: what came back differs from it", path);
    }
    asyncore_unref(echo_client_dispatcher(client));
    asyncore_map_free(asyncore_socket_map());
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"verbose", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {0}};
    int option, file, status;

    while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
        switch (option) {
        case 'v':
            demo_verbose = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return demo_exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind != argc - 1) {
        fputs(usage, stderr);
        return 2;
    }
    file = open(argv[optind], O_RDONLY | O_CLOEXEC);
    if (file < 0)
        err(1, "%s", argv[optind]);
    status = run(argv[optind], file);
    close(file);
    return demo_exit(status);
}
