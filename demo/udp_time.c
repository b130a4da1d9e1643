/* A datagram service that answers with the time of day, and its client. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: udp_time [--host HOST] [--port PORT]\n"
    "       udp_time --query HOST:PORT\n"
    "Answers each datagram with the time of day (ISO 8601, UTC), until SIGINT or SIGTERM.\n"
    "      --host HOST        listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT        listen on PORT (default: 0, any free port)\n"
    "      --query HOST:PORT  ask the service there, and print what it answers\n"
    "      --help             print this\n";

#define PATIENCE 5 /* seconds that a query waits */
#define TIMED_OUT 1000

static int not_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

/* --- the service ----------------------------------------------------------------------------- */

struct service {
    struct asyncore_dispatcher base;
};

static int service_handle_read(struct asyncore_dispatcher *d)
{
    struct sockaddr_storage addr;
    socklen_t addrlen = sizeof addr;
    char question[512], answer[64], text[128];
    time_t now = time(NULL);
    struct tm utc;
    int rc = asyncore_recvfrom(d, question, sizeof question, (struct sockaddr *)&addr, &addrlen);

    if (rc < 0)
        return rc;
    if (!gmtime_r(&now, &utc))
        return -errno;
    strftime(answer, sizeof answer, "%Y-%m-%dT%H:%M:%SZ\n", &utc);
    rc = asyncore_sendto(d, answer, strlen(answer), (struct sockaddr *)&addr, addrlen);
    if (rc < 0) { /* one client's trouble is not the others' */
        asyncore_addr_repr((struct sockaddr *)&addr, addrlen, text, sizeof text);
        warnx("%s: %s", text, asyncore_strerror(rc));
    }
    return 0;
}

ASYNCORE_CLASS(service, asyncore_dispatcher, .writable = not_writable,
               .handle_read = service_handle_read, .handle_error = demo_handle_error);

static int serve(const char *host, uint16_t port)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    struct service *self = map ? service_new(-1, map) : NULL;
    struct asyncore_dispatcher *d = service_dispatcher(self);
    struct demo_signals signals = {0};
    int rc;

    if (!self || demo_catch_signals(&signals, map) < 0)
        err(1, NULL);
    rc = asyncore_create_socket(d, demo_family(host), SOCK_DGRAM);
    if (rc == 0)
        rc = asyncore_bind_host(d, host, port);
    if (rc == 0)
        rc = demo_print_listening(d);
    if (rc < 0)
        warnx("%s port %u: %s", host, port, demo_strerror(d, rc));
    else if ((rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, map, ASYNCORE_COUNT_NONE)) < 0)
        warnx("%s", asyncore_strerror(rc));

    demo_release_signals(&signals);
    asyncore_map_free(map);
    return rc == DEMO_STOPPED ? 0 : 1;
}

/* --- the client ------------------------------------------------------------------------------ */

struct query {
    struct asyncore_dispatcher base;
};

static int query_handle_read(struct asyncore_dispatcher *d)
{
    char answer[512];
    int n = asyncore_recvfrom(d, answer, sizeof answer, NULL, NULL);

    if (n < 0)
        return n;
    while (n > 0 && answer[n - 1] == '\n')
        n--;
    printf("%.*s\n", n, answer);
    return asyncore_close(d);
}

ASYNCORE_CLASS(query, asyncore_dispatcher, .writable = not_writable,
               .handle_read = query_handle_read, .handle_error = demo_handle_error);

static int query_start(struct asyncore_dispatcher *d, const char *host, uint16_t port)
{
    int rc = asyncore_create_socket(d, demo_family(host), SOCK_DGRAM);

    if (rc == 0)
        rc = asyncore_connect_host(d, host, port);
    return rc < 0 ? rc : asyncore_send(d, "time?\n", 6);
}

static void give_up(evutil_socket_t fd, short what, void *map)
{
    (void)fd;
    (void)what;
    (void)asyncore_loop_exit(map, TIMED_OUT);
}

static int ask(const char *where, const char *host, uint16_t port)
{
    const struct timeval patience = {.tv_sec = PATIENCE};
    struct asyncore_map *map = asyncore_map_new(NULL);
    struct query *self = map ? query_new(-1, map) : NULL;
    struct event *timer = self ? evtimer_new(asyncore_map_base(map), give_up, map) : NULL;
    int rc;

    if (!timer || event_add(timer, &patience) < 0)
        err(1, NULL);
    rc = query_start(query_dispatcher(self), host, port);
    if (rc < 0)
        warnx("%s: %s", where, demo_strerror(query_dispatcher(self), rc));
    else if ((rc = asyncore_loop(PATIENCE, false, map, ASYNCORE_COUNT_NONE)) < 0)
        warnx("%s: %s", where, asyncore_strerror(rc));
    else if (rc == TIMED_OUT)
        warnx("%s: no answer within %d seconds", where, PATIENCE);

    event_free(timer);
    asyncore_map_free(map);
    return rc == ASYNCORE_LOOP_EMPTY ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"host", required_argument, NULL, 'H'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"query", required_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *host = NULL, *where = NULL;
    bool has_port = false;
    char there[256];
    uint16_t port = 0;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'H':
            host = optarg;
            break;
        case 'p':
            has_port = true;
            if (demo_parse_port(optarg, &port) == 0)
                break;
            warnx("bad port: %s", optarg);
            return 2;
        case 'q':
            where = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return demo_exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (where && (host || has_port)) {
        fputs(usage, stderr);
        return 2;
    }
    if (where && (demo_parse_host_port(where, there, sizeof there, &port) < 0 || port == 0)) {
        warnx("not HOST:PORT: %s", where);
        return 2;
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    return demo_exit(where ? ask(where, there, port) : serve(host ? host : "127.0.0.1", port));
}
