/* A program of libevent's with channels in it: an HTTP server, a timer and signals of libevent's, a
 * line server and its client of asyncore's, on one base that event_base_dispatch runs. */
#define _GNU_SOURCE 1
#include "embed_lines.h"
#include "embed_page.h"
#include "support.h"

#include <err.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char usage[] =
    "usage: embed_evhttp [--host HOST] [--port PORT] [--line-port PORT] [--tick SECONDS]\n"
    "Shows by HTTP what it does, until SIGINT or SIGTERM: / is a page, /stats is JSON.\n"
    "Beside that it answers lines, echo TEXT, stats and quit, and a timer asks it one.\n"
    "      --host HOST       listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT       listen on PORT for HTTP (default: 0, any free port)\n"
    "      --line-port PORT  listen on PORT for lines (default: 0, any free port)\n"
    "      --tick SECONDS    of the timer (default: 1)\n"
    "      --help            print this\n";

#define MAX_HEADERS 16384
#define MAX_BODY 65536 /* of a request, which nobody looks at */
#define MAX_IDLE 60    /* seconds */

struct options {
    const char *host;
    uint16_t port;
    uint16_t line_port;
    struct timeval tick;
};

struct program {
    struct event_base *base;
    struct event *interrupt, *terminate, *timer;
    struct evhttp *http;
    struct asyncore_map *map;
    struct asyncore_dispatcher *server;
    struct lines lines;

    struct timespec start;
    uint64_t http_requests, ticks;
    int status;
};

static struct figures count(const struct program *program)
{
    struct figures figures = {.http_requests = program->http_requests,
                              .ticks = program->ticks,
                              .answers = program->lines.answers};
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    figures.uptime = (uint64_t)((now.tv_sec - program->start.tv_sec) * 1000 +
                                (now.tv_nsec - program->start.tv_nsec) / 1000000);
    asyncore_map_stats(program->map, &figures.map);
    return figures;
}

static int add_stats(struct evbuffer *out, void *arg)
{
    const struct figures figures = count(arg);

    return page_add_json(out, &figures);
}

/* --- HTTP ------------------------------------------------------------------------------------ */

/* Takes body over; NULL: there was no memory. evhttp would send a body to HEAD, too. */
static void answer(struct evhttp_request *request, int status, const char *reason, const char *type,
                   struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    char length[32];

    if (body)
        snprintf(length, sizeof length, "%zu", evbuffer_get_length(body));
    if (!body || evhttp_add_header(headers, "Content-Type", type) < 0 ||
        evhttp_add_header(headers, "Content-Length", length) < 0 ||
        evhttp_add_header(headers, "Cache-Control", "no-store") < 0) {
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
    } else {
        if (evhttp_request_get_command(request) == EVHTTP_REQ_HEAD)
            evbuffer_drain(body, evbuffer_get_length(body));
        evhttp_send_reply(request, status, reason, body);
    }
    if (body)
        evbuffer_free(body);
}

static void refuse(struct evhttp_request *request, int status, const char *reason)
{
    struct evbuffer *body = evbuffer_new();

    if (body && evbuffer_add_printf(body, "%s\n", reason) < 0) {
        evbuffer_free(body);
        body = NULL;
    }
    answer(request, status, reason, "text/plain; charset=utf-8", body);
}

/* Answers with what add makes of the figures. */
static void serve(struct evhttp_request *request, struct program *program, const char *type,
                  int (*add)(struct evbuffer *out, const struct figures *figures))
{
    const enum evhttp_cmd_type command = evhttp_request_get_command(request);
    struct figures figures;
    struct evbuffer *body;

    program->http_requests++;
    if (command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD) {
        evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", "GET, HEAD");
        refuse(request, HTTP_BADMETHOD, "Method Not Allowed");
        return;
    }
    figures = count(program);
    body = evbuffer_new();
    if (body && add(body, &figures) < 0) {
        evbuffer_free(body);
        body = NULL;
    }
    answer(request, HTTP_OK, "OK", type, body);
}

static void on_page(struct evhttp_request *request, void *arg)
{
    serve(request, arg, "text/html; charset=utf-8", page_add_html);
}

static void on_stats(struct evhttp_request *request, void *arg)
{
    serve(request, arg, "application/json", page_add_json);
}

static void on_other(struct evhttp_request *request, void *arg)
{
    struct program *program = arg;

    program->http_requests++;
    refuse(request, HTTP_NOTFOUND, "Not Found");
}

static void accept_again(evutil_socket_t fd, short what, void *listener)
{
    (void)fd;
    (void)what;
    (void)evconnlistener_enable(listener);
}

/* There are no descriptors: libevent would try again at once, and again. */
static void on_accept_error(struct evconnlistener *listener, void *http)
{
    const struct timeval moment = {.tv_usec = 100000};

    (void)http;
    if (event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, accept_again, listener,
                        &moment) == 0)
        (void)evconnlistener_disable(listener);
}

static int open_http(struct program *program, const struct options *options)
{
    struct evhttp_bound_socket *bound;

    program->http = evhttp_new(program->base);
    if (!program->http || evhttp_set_cb(program->http, "/", on_page, program) < 0 ||
        evhttp_set_cb(program->http, "/stats", on_stats, program) < 0)
        return -ENOMEM;
    evhttp_set_gencb(program->http, on_other, program);
    /* evhttp answers 501 for those that are not named here. */
    evhttp_set_allowed_methods(program->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                                  EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                                  EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                                  EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(program->http, MAX_HEADERS);
    evhttp_set_max_body_size(program->http, MAX_BODY);
    evhttp_set_timeout(program->http, MAX_IDLE);

    bound = evhttp_bind_socket_with_handle(program->http, options->host, options->port);
    if (!bound)
        return -errno;
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound), on_accept_error);
    return demo_print_listening_socket("http://", evhttp_bound_socket_get_fd(bound), "/");
}

/* --- the timer and the signals --------------------------------------------------------------- */

/* Outside of the channels' handlers, a client can be made like anywhere. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct program *program = arg;
    char text[32];
    int rc;

    (void)fd;
    (void)what;
    program->ticks++;
    if (program->lines.asking)
        return; /* the last one still is */
    snprintf(text, sizeof text, "tick %llu", (unsigned long long)program->ticks);
    rc = lines_ask(program->server, text);
    if (rc < 0)
        warnx("%s: %s", text, asyncore_strerror(rc));
}

static void on_signal(evutil_socket_t signal, short what, void *base)
{
    (void)signal;
    (void)what;
    (void)event_base_loopbreak(base);
}

static int open_events(struct program *program, const struct options *options)
{
    struct event_base *base = program->base;

    program->interrupt = evsignal_new(base, SIGINT, on_signal, base);
    program->terminate = evsignal_new(base, SIGTERM, on_signal, base);
    program->timer = event_new(base, -1, EV_PERSIST, on_tick, program);
    if (!program->interrupt || event_add(program->interrupt, NULL) < 0 || !program->terminate ||
        event_add(program->terminate, NULL) < 0 || !program->timer ||
        event_add(program->timer, &options->tick) < 0)
        return -ENOMEM;
    return 0;
}

/* --- the channels ---------------------------------------------------------------------------- */

/* The map has ended: its listener has closed, or something has failed. */
static void on_done(struct asyncore_map *map, int result, void *arg)
{
    struct program *program = arg;

    (void)map;
    warnx("lines: %s", result < 0 ? asyncore_strerror(result) : "the server has closed");
    program->status = 1;
    (void)event_base_loopbreak(program->base);
}

static int open_lines(struct program *program, const struct options *options)
{
    int rc;

    program->lines = (struct lines){.add_stats = add_stats, .arg = program};
    program->map = asyncore_map_new(program->base);
    program->server = program->map ? lines_server_new(program->map, &program->lines) : NULL;
    if (!program->server)
        return -errno;
    rc = demo_listen(program->server, options->host, options->line_port);
    return rc < 0 ? rc : asyncore_map_attach(program->map, on_done, program);
}

/* --- all of it ------------------------------------------------------------------------------- */

static int program_open(struct program *program, const struct options *options)
{
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &program->start);
    (void)signal(SIGPIPE, SIG_IGN); /* evhttp writes to who has gone */
    program->base = event_base_new();
    rc = program->base ? open_lines(program, options) : -ENOMEM;
    if (rc < 0) {
        warnx("%s port %u: %s", options->host, options->line_port,
              program->server ? demo_strerror(program->server, rc) : asyncore_strerror(rc));
        return rc;
    }
    rc = open_http(program, options);
    if (rc < 0)
        warnx("%s port %u: %s", options->host, options->port, asyncore_strerror(rc));
    else if ((rc = open_events(program, options)) < 0)
        warnx("%s", asyncore_strerror(rc));
    return rc;
}

static void program_close(struct program *program)
{
    struct event *const events[] = {program->interrupt, program->terminate, program->timer};

    asyncore_map_free(program->map);
    if (program->http)
        evhttp_free(program->http);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            event_free(events[i]);
    if (program->base)
        event_base_free(program->base);
}

static int run(const struct options *options)
{
    struct program program = {0};

    if (program_open(&program, options) < 0) {
        program.status = 1;
    } else if (event_base_dispatch(program.base) < 0) {
        warn("event_base_dispatch");
        program.status = 1;
    }
    program_close(&program);
    return program.status;
}

static int parse_tick(const char *text, struct timeval *tick)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= 0.001 && seconds <= 86400))
        return -EINVAL;
    tick->tv_sec = (time_t)seconds;
    tick->tv_usec = (suseconds_t)((seconds - (double)tick->tv_sec) * 1e6);
    return 0;
}

static int bad_option(const char *what, const char *value)
{
    warnx("bad %s: %s", what, value);
    return 2;
}

/* -1, or the status with which the program ends. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"host", required_argument, NULL, 'H'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"line-port", required_argument, NULL, 'l'},
                                          {"tick", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (option) {
        case 'H':
            options->host = optarg;
            break;
        case 'p':
        case 'l':
            if (demo_parse_port(optarg, option == 'p' ? &options->port : &options->line_port) < 0)
                return bad_option("port", optarg);
            break;
        case 't':
            if (parse_tick(optarg, &options->tick) < 0)
                return bad_option("number of seconds", optarg);
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
    struct options options = {.host = "127.0.0.1", .tick = {.tv_sec = 1}};
    int status = parse_options(argc, argv, &options);

    return demo_exit(status < 0 ? run(&options) : status);
}
