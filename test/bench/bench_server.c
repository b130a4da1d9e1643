/*
 * The server of the benchmarks, written as a user of dispatcher_with_send and async_chat would.
 *
 *     bench_server --port N --proto echo|line
 *
 * sends everything back, or answers every line "PING x" with "PONG x" and others with "ERR". It
 * listens on 127.0.0.1 (port 0: any), prints "port N", serves until SIGTERM or the end of standard
 * input, and prints what it has used: "rusage user_us=... sys_us=... maxrss_kb=... nvcsw=...
 * nivcsw=...".
 */
#include <asyncore/asyncore.h>

#include <event2/event.h>

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct echo {
    struct asyncore_dispatcher_with_send base;
};

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    static char data[65536];
    int n = asyncore_recv(d, data, sizeof data);

    return n <= 0 ? n : asyncore_send(d, data, (size_t)n);
}

ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .handle_read = echo_handle_read);

struct line {
    struct asynchat_async_chat base;
};

static int line_init(struct asyncore_dispatcher *d, int sock)
{
    int r = asynchat_async_chat_init(d, sock);

    return r < 0 ? r : asynchat_set_terminator(d, "\r\n", 2);
}

static int line_found_terminator(struct asyncore_dispatcher *d)
{
    size_t len;
    char *line = asynchat_get_data(d, &len);

    if (!line)
        return -ENOMEM;
    if (len < 5 || memcmp(line, "PING ", 5) != 0)
        return asynchat_push(d, "ERR\r\n", 5);
    line[1] = 'O';
    asynchat_push(d, line, len);
    return asynchat_push(d, "\r\n", 2);
}

ASYNCORE_CLASS(line, asynchat_async_chat, .init = line_init,
               .collect_incoming_data = asynchat_keep_incoming_data,
               .found_terminator = line_found_terminator);

struct server {
    struct asyncore_dispatcher base;
    bool lines;
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    if (server_of(d)->lines)
        return line_new(sock, d->map) ? 0 : -errno;
    return echo_new(sock, d->map) ? 0 : -errno;
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted);

/* Standard input: its end is the end of the server. */
struct input {
    struct asyncore_file_dispatcher base;
};

static int input_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int input_handle_read(struct asyncore_dispatcher *d)
{
    char data[256];

    return asyncore_recv(d, data, sizeof data);
}

static int input_handle_close(struct asyncore_dispatcher *d)
{
    return asyncore_loop_exit(d->map, 0);
}

ASYNCORE_CLASS(input, asyncore_file_dispatcher, .interest = ASYNCORE_INTEREST_ON_CHANGE,
               .writable = input_writable, .handle_read = input_handle_read,
               .handle_close = input_handle_close);

static int is_watchable(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

static void on_signal(evutil_socket_t sig, short what, void *map)
{
    (void)sig;
    (void)what;
    (void)asyncore_loop_exit(map, 0);
}

/* TCP_NODELAY on the listener: the sockets that it accepts inherit it. */
static int start(struct asyncore_map *map, uint16_t port, bool lines)
{
    struct server *server = server_new(-1, map);
    struct asyncore_dispatcher *d = server ? server_dispatcher(server) : NULL;
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t addrlen = sizeof addr;
    const int on = 1;
    int r;

    if (!d)
        return -errno;
    server->lines = lines;
    r = asyncore_create_socket(d, AF_INET, SOCK_STREAM);
    if (r == 0)
        r = asyncore_set_reuse_addr(d);
    if (r == 0)
        r = asyncore_setsockopt(d, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (r == 0)
        r = asyncore_bind_host(d, "127.0.0.1", port);
    if (r == 0)
        r = asyncore_listen(d, 4096);
    if (r == 0)
        r = asyncore_getsockname(d, (struct sockaddr *)&addr, &addrlen);
    if (r < 0)
        return r;
    printf("port %u\n", ntohs(addr.sin_port));
    fflush(stdout);
    return is_watchable(STDIN_FILENO) && !input_new(STDIN_FILENO, map) ? -errno : 0;
}

static void report(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    printf("rusage user_us=%lld sys_us=%lld maxrss_kb=%ld nvcsw=%ld nivcsw=%ld\n",
           used.ru_utime.tv_sec * 1000000LL + used.ru_utime.tv_usec,
           used.ru_stime.tv_sec * 1000000LL + used.ru_stime.tv_usec, used.ru_maxrss, used.ru_nvcsw,
           used.ru_nivcsw);
}

struct settings {
    uint16_t port;
    bool lines;
    bool attached; /* event_base_dispatch runs the base */
};

static int parse(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"proto", required_argument, NULL, 'P'},
        {"attached", no_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            settings->port = (uint16_t)strtoul(optarg, NULL, 10);
        else if (option == 'P' && (!strcmp(optarg, "echo") || !strcmp(optarg, "line")))
            settings->lines = strcmp(optarg, "line") == 0;
        else if (option == 'a')
            settings->attached = true;
        else
            return -EINVAL;
    }
    return optind == argc ? 0 : -EINVAL;
}

static void on_done(struct asyncore_map *map, int result, void *arg)
{
    *(int *)arg = result;
    event_base_loopbreak(asyncore_map_base(map));
}

static int serve(struct asyncore_map *map, bool attached)
{
    int result = 0;
    int r;

    if (!attached)
        return asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, map, ASYNCORE_COUNT_NONE);
    r = asyncore_map_attach(map, on_done, &result);
    if (r == 0)
        event_base_dispatch(asyncore_map_base(map));
    return r < 0 ? r : result;
}

int main(int argc, char **argv)
{
    struct settings settings = {.port = 0};
    struct asyncore_map *map;
    struct event *term;
    int r;

    if (parse(argc, argv, &settings) < 0) {
        fprintf(stderr, "usage: %s --port N --proto echo|line [--attached]\n", argv[0]);
        return 2;
    }
    map = asyncore_map_new(NULL);
    if (!map) {
        perror("bench_server");
        return 1;
    }
    term = evsignal_new(asyncore_map_base(map), SIGTERM, on_signal, map);
    r = term && evsignal_add(term, NULL) == 0 ? start(map, settings.port, settings.lines) : -ENOMEM;
    if (r == 0)
        r = serve(map, settings.attached);
    if (r < 0)
        fprintf(stderr, "bench_server: %s\n", asyncore_strerror(r));
    else
        report();
    if (term)
        event_free(term);
    asyncore_map_free(map);
    return r < 0;
}
