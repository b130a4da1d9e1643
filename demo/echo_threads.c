/* An echo server with several threads: each has a map, a base and a listener of its own, and the
 * kernel deals the connections out among the listeners. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <event2/thread.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: echo_threads [--threads N] [--host HOST] [--port PORT]\n"
    "Sends what it receives back, until SIGINT or SIGTERM; then tells how many\n"
    "connections each thread has had.\n"
    "      --threads N  serve with N threads, 1 to 256 (default: 2)\n"
    "      --host HOST  listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT  listen on PORT (default: 0, any free port)\n"
    "      --help       print this\n";

enum {
    MAX_THREADS = 256
};

struct worker {
    pthread_t thread;
    struct asyncore_map *map; /* the thread's, from its start to its end */
    struct asyncore_dispatcher *server;
    unsigned long connections; /* accepted */
    int result;                /* of its loop */
};

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

/* --- one listener ---------------------------------------------------------------------------- */

struct server {
    struct asyncore_dispatcher base;
    struct worker *worker;
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    server_of(d)->worker->connections++;
    if (!echo_new(sock, d->map))
        warn("a connection is lost"); /* the others are served on */
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
                            .handle_error = demo_handle_error);

/* On addr, of which the others' sockets have the port already, or else on host and *port. */
static int server_listen(struct asyncore_dispatcher *d, const char *host, uint16_t port,
                         const struct sockaddr *addr, socklen_t addrlen)
{
    const int on = 1;
    int rc = asyncore_create_socket(d, addr ? addr->sa_family : demo_family(host), SOCK_STREAM);

    if (rc == 0)
        rc = asyncore_set_reuse_addr(d);
    if (rc == 0)
        rc = asyncore_setsockopt(d, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (rc == 0)
        rc = addr ? asyncore_bind(d, addr, addrlen) : asyncore_bind_host(d, host, port);
    return rc == 0 ? asyncore_listen(d, SOMAXCONN) : rc;
}

/* --- the threads ----------------------------------------------------------------------------- */

static int worker_init(struct worker *self)
{
    struct server *server;

    self->map = asyncore_map_new(NULL);
    server = self->map ? server_new(-1, self->map) : NULL;
    if (!server)
        return -errno;
    server->worker = self;
    self->server = server_dispatcher(server);
    return 0;
}

static void *worker_run(void *arg)
{
    struct worker *self = arg;

    self->result = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, self->map, ASYNCORE_COUNT_NONE);
    if (self->result < 0) {
        warnx("a thread ends: %s", asyncore_strerror(self->result));
        (void)kill(getpid(), SIGTERM); /* and the others with it */
    }
    return NULL;
}

/* In the worker's thread, whose loop then ends. */
static void close_all(struct asyncore_map *map, void *arg)
{
    struct worker *self = arg;
    int rc = asyncore_close_all(map, true);

    if (rc < 0)
        (void)asyncore_loop_exit(map, self->result = rc);
}

static void worker_stop(struct worker *self)
{
    int rc = asyncore_map_call(self->map, close_all, self);

    if (rc < 0)
        errx(1, "%s", asyncore_strerror(rc));
    pthread_join(self->thread, NULL);
}

/* --- the program ----------------------------------------------------------------------------- */

struct options {
    const char *host;
    uint16_t port;
    int threads;
};

/* Every listener, before the first thread. */
static int listen_all(struct worker *workers, const struct options *options)
{
    struct sockaddr_storage addr;
    socklen_t addrlen = sizeof addr;
    int rc = 0;

    for (int i = 0; rc == 0 && i < options->threads; i++) {
        rc = worker_init(&workers[i]);
        if (rc < 0)
            warnx("%s", asyncore_strerror(rc));
        else if ((rc = server_listen(workers[i].server, options->host, options->port,
                                     i > 0 ? (struct sockaddr *)&addr : NULL, addrlen)) < 0)
            warnx("%s port %u: %s", options->host, options->port,
                  demo_strerror(workers[i].server, rc));
        else if (i == 0)
            rc = asyncore_getsockname(workers[0].server, (struct sockaddr *)&addr, &addrlen);
    }
    return rc == 0 ? demo_print_listening(workers[0].server) : rc;
}

/* Until a signal; the signals are blocked in the threads, too. */
static int run_threads(struct worker *workers, int count, const sigset_t *signals)
{
    int started = 0, signal, rc = 0;

    while (rc == 0 && started < count) {
        rc = -pthread_create(&workers[started].thread, NULL, worker_run, &workers[started]);
        started += rc == 0;
    }
    if (rc == 0)
        rc = -sigwait(signals, &signal);
    if (rc < 0)
        warnx("%s", asyncore_strerror(rc));
    for (int i = 0; i < started; i++) {
        worker_stop(&workers[i]);
        printf("thread %d: %lu connections\n", i + 1, workers[i].connections);
        rc = rc == 0 ? workers[i].result : rc;
    }
    return rc;
}

static int serve(const struct options *options)
{
    struct worker *workers = calloc((size_t)options->threads, sizeof *workers);
    sigset_t signals;
    int rc;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    /* Before the maps, or other threads may not call them. */
    if (!workers || pthread_sigmask(SIG_BLOCK, &signals, NULL) || evthread_use_pthreads() < 0)
        err(1, NULL);
    rc = listen_all(workers, options);
    if (rc == 0)
        rc = run_threads(workers, options->threads, &signals);
    for (int i = 0; i < options->threads; i++)
        asyncore_map_free(workers[i].map);
    free(workers);
    return rc == 0 ? 0 : 1;
}

static int parse_threads(const char *text, int *count)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < 1 || value > MAX_THREADS)
        return -EINVAL;
    *count = (int)value;
    return 0;
}

/* -1: serve; or the status with which the program ends. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"threads", required_argument, NULL, 't'},
                                          {"host", required_argument, NULL, 'H'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option, rc = 0;

    while (rc == 0 && (option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (option) {
        case 't':
            rc = parse_threads(optarg, &options->threads);
            break;
        case 'H':
            options->host = optarg;
            break;
        case 'p':
            rc = demo_parse_port(optarg, &options->port);
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
        if (rc < 0)
            warnx("bad %s: %s", option == 't' ? "number of threads" : "port", optarg);
    }
    if (rc == 0 && optind == argc)
        return -1;
    if (rc == 0)
        fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct options options = {.host = "127.0.0.1", .threads = 2};
    int status = parse_options(argc, argv, &options);

    return demo_exit(status < 0 ? serve(&options) : status);
}
