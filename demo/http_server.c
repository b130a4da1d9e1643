/* A web server: the files below a directory, by HTTP/1.1. */
#define _GNU_SOURCE 1
#include "http_answer.h"
#include "http_connection.h"
#include "support.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: http_server [--root DIR] [--host HOST] [--port PORT] [--idle SECONDS] [-v]\n"
    "Serves the files below DIR by HTTP, until SIGINT or SIGTERM.\n"
    "      --root DIR      what is served; links that lead out of it are not followed\n"
    "                      (default: the current directory)\n"
    "      --host HOST     listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT     listen on PORT (default: 0, any free port)\n"
    "      --idle SECONDS  close connections on which nothing moves (default: 60)\n"
    "  -v, --verbose       log requests to stderr\n"
    "      --help          print this\n";

struct options {
    const char *root;
    const char *host;
    uint16_t port;
    long idle;
};

struct server {
    struct asyncore_dispatcher base;
    struct http_site site;
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    char text[128];
    int rc = http_connection_new(sock, d->map, &server_of(d)->site);

    if (rc < 0) {
        asyncore_addr_repr(addr, addrlen, text, sizeof text);
        warnx("%s: %s", text, asyncore_strerror(rc)); /* the others are served on */
    }
    return 0;
}

static int server_init(struct asyncore_dispatcher *d, int sock)
{
    server_of(d)->site.root = -1;
    return asyncore_dispatcher_init(d, sock);
}

static void server_finalize(struct asyncore_dispatcher *d)
{
    if (server_of(d)->site.root >= 0)
        close(server_of(d)->site.root);
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .init = server_init,
                            .finalize = server_finalize, .handle_accepted = server_handle_accepted,
                            .handle_error = demo_handle_error);

static int server_open(struct server *self, const struct options *options)
{
    struct asyncore_dispatcher *d = server_dispatcher(self);
    struct http_site *site = &self->site;

    site->idle = options->idle;
    site->root = open(options->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (site->root < 0)
        return asyncore_raise(d, -errno, "%s: %s", options->root, strerror(errno));
    return 0;
}

static int serve(const struct options *options)
{
    struct server *server = server_new(-1, NULL);
    int rc;

    if (!server)
        err(1, NULL);
    rc = server_open(server, options);
    if (rc == 0)
        return demo_serve(server_dispatcher(server), options->host, options->port);
    warnx("%s", demo_strerror(server_dispatcher(server), rc));
    asyncore_map_free(asyncore_socket_map());
    return 1;
}

static int parse_seconds(const char *text, long *seconds)
{
    char *end;

    *seconds = strtol(text, &end, 10);
    return *end || *seconds < 1 || *seconds > 86400 ? -EINVAL : 0;
}

static int bad_option(const char *what, const char *value)
{
    warnx("bad %s: %s", what, value);
    return 2;
}

/* -1, or the status with which the program ends. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"root", required_argument, NULL, 'r'},
                                          {"host", required_argument, NULL, 'H'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"idle", required_argument, NULL, 'i'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;

    while ((option = getopt_long(argc, argv, "vh", names, NULL)) != -1) {
        switch (option) {
        case 'r':
            options->root = optarg;
            break;
        case 'H':
            options->host = optarg;
            break;
        case 'p':
            if (demo_parse_port(optarg, &options->port) < 0)
                return bad_option("port", optarg);
            break;
        case 'i':
            if (parse_seconds(optarg, &options->idle) < 0)
                return bad_option("number of seconds", optarg);
            break;
        case 'v':
            demo_verbose = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct options options = {.root = ".", .host = "127.0.0.1", .idle = 60};
    int status = parse_options(argc, argv, &options);

    return demo_exit(status < 0 ? serve(&options) : status);
}
