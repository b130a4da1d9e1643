#define _GNU_SOURCE 1
#include "support.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool demo_verbose;

void demo_log(const char *name, const char *format, ...)
{
    va_list args;

    if (!demo_verbose)
        return;
    fprintf(stderr, "%s: ", name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void demo_log_data(const char *name, const char *method, const void *data, int length)
{
    if (!demo_verbose)
        return;
    fprintf(stderr, "%s: %s -> (%d) \"", name, method, length);
    fwrite(data, 1, (size_t)length, stderr);
    fputs("\"\n", stderr);
}

int demo_parse_port(const char *text, uint16_t *port)
{
    char *end;
    long value;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    value = strtol(text, &end, 10);
    if (*end != '\0' || value > UINT16_MAX)
        return -EINVAL;
    *port = (uint16_t)value;
    return 0;
}

static bool valid_host(const char *host, bool brackets)
{
    struct in6_addr addr;

    if (brackets)
        return evutil_inet_pton(AF_INET6, host, &addr) == 1;
    for (; *host; host++)
        if (!isalnum((unsigned char)*host) && !strchr("-._", *host))
            return false;
    return true;
}

int demo_parse_host_port(const char *text, char *host, size_t size, uint16_t *port)
{
    bool brackets = *text == '[';
    const char *start = text + brackets;
    size_t length = strcspn(start, brackets ? "]" : ":");
    const char *rest = start + length;

    if (length == 0 || length >= size || (brackets && *rest++ != ']'))
        return -EINVAL;
    memcpy(host, start, length);
    host[length] = '\0';
    if (!valid_host(host, brackets))
        return -EINVAL;
    if (*rest == '\0')
        return 0;
    return *rest == ':' ? demo_parse_port(rest + 1, port) : -EINVAL;
}

int demo_family(const char *host)
{
    return strchr(host, ':') ? AF_INET6 : AF_INET;
}

int demo_print_listening_socket(const char *before, int sock, const char *after)
{
    struct sockaddr_storage addr = {0};
    socklen_t length = sizeof addr;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    bool brackets;

    if (getsockname(sock, (struct sockaddr *)&addr, &length))
        return -errno;
    if (getnameinfo((struct sockaddr *)&addr, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return -EINVAL;
    brackets = addr.ss_family == AF_INET6;
    printf("listening on %s%s%s%s:%s%s\n", before, brackets ? "[" : "", host, brackets ? "]" : "",
           port, after);
    return fflush(stdout) ? -errno : 0;
}

int demo_print_listening(const struct asyncore_dispatcher *d)
{
    return demo_print_listening_socket("", asyncore_fileno(d), "");
}

/* Signals arrive while the loop waits, so there is one to end. */
static void stop(evutil_socket_t signal, short what, void *map)
{
    (void)signal;
    (void)what;
    (void)asyncore_loop_exit(map, DEMO_STOPPED);
}

int demo_catch_signals(struct demo_signals *signals, struct asyncore_map *map)
{
    struct event_base *base = asyncore_map_base(map);

    signals->interrupt = evsignal_new(base, SIGINT, stop, map);
    signals->terminate = evsignal_new(base, SIGTERM, stop, map);
    if (signals->interrupt && signals->terminate && event_add(signals->interrupt, NULL) == 0 &&
        event_add(signals->terminate, NULL) == 0)
        return 0;
    demo_release_signals(signals);
    return -ENOMEM;
}

void demo_release_signals(struct demo_signals *signals)
{
    if (signals->interrupt)
        event_free(signals->interrupt);
    if (signals->terminate)
        event_free(signals->terminate);
    signals->interrupt = signals->terminate = NULL;
}

const char *demo_strerror(const struct asyncore_dispatcher *d, int error)
{
    const struct asyncore_error *recorded = asyncore_compact_traceback(d);

    return recorded->error == error ? recorded->message : asyncore_strerror(error);
}

int demo_handle_error(struct asyncore_dispatcher *d)
{
    return asyncore_compact_traceback(d)->error;
}

int demo_parse_server_options(int argc, char **argv, const char *usage, const char **host,
                              uint16_t *port, int operands)
{
    static const struct option options[] = {{"host", required_argument, NULL, 'H'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'H':
            *host = optarg;
            break;
        case 'p':
            if (demo_parse_port(optarg, port) == 0)
                break;
            warnx("bad port: %s", optarg);
            return 2;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (argc - optind == operands)
        return -1;
    fputs(usage, stderr);
    return 2;
}

int demo_listen(struct asyncore_dispatcher *d, const char *host, uint16_t port)
{
    const int on = 1;
    int rc = asyncore_create_socket(d, demo_family(host), SOCK_STREAM);

    if (rc == 0)
        rc = asyncore_set_reuse_addr(d);
    if (rc == 0) /* inherited by connections: what has been queued at once goes out at once */
        rc = asyncore_setsockopt(d, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (rc == 0)
        rc = asyncore_bind_host(d, host, port);
    if (rc == 0)
        rc = asyncore_listen(d, SOMAXCONN);
    return rc < 0 ? rc : demo_print_listening(d);
}

int demo_serve(struct asyncore_dispatcher *server, const char *host, uint16_t port)
{
    struct asyncore_map *map = server ? server->map : NULL;
    struct demo_signals signals = {0};
    int rc;

    if (!server || demo_catch_signals(&signals, map) < 0)
        err(1, NULL);
    rc = demo_listen(server, host, port);
    if (rc < 0)
        warnx("%s port %u: %s", host, port, demo_strerror(server, rc));
    else if ((rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, map, ASYNCORE_COUNT_NONE)) < 0)
        warnx("%s", asyncore_strerror(rc));

    demo_release_signals(&signals);
    asyncore_map_free(map);
    return rc == DEMO_STOPPED ? 0 : 1;
}

int demo_exit(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    warnx("standard output: %s", strerror(errno));
    return 1;
}
