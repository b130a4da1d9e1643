/* The verbs that are nobody's: making raw peers and channels, and the functions of the loop. */
#define _GNU_SOURCE
#include "attached.h"
#include "show.h"
#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- raw peers ------------------------------------------------------------------------------- */

static void keep(struct turn *turn, int word, int fd)
{
    world_keep_raw(turn->world, turn->words[word], RAW_SOCKET, fd);
}

/* Starts to connect; -EINPROGRESS is no failure. */
static int dial_address(int fd, struct address *a)
{
    int r = connect(fd, address_of(a), a->length) < 0 && errno != EINPROGRESS ? -errno : 0;

    kernel_settle();
    return r;
}

static int stream_pair(struct turn *turn, const char *kind)
{
    struct address a;
    int listener = socket_listener(kind, 1);
    int client = listener < 0 ? listener : socket_new(kind);
    int r = client < 0 ? client : socket_name(listener, &a);

    if (r == 0) {
        (void)dial_address(client, &a);
        r = socket_accept(listener);
    }
    if (listener >= 0)
        close(listener);
    if (r >= 0) {
        keep(turn, 0, r);
        keep(turn, 1, client);
    } else if (client >= 0) {
        close(client);
    }
    return r < 0 ? r : 0;
}

static int tcp(struct turn *turn)
{
    return stream_pair(turn, "tcp");
}

static int tcp6(struct turn *turn)
{
    return stream_pair(turn, "tcp6");
}

static int unix_pair(struct turn *turn)
{
    return stream_pair(turn, "unix");
}

static int socket_pair(struct turn *turn)
{
    const char *kind = turn->words[2] ? turn->words[2] : "unix";
    int fds[2];

    if (socketpair(AF_UNIX, socket_type(kind) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    keep(turn, 0, fds[0]);
    keep(turn, 1, fds[1]);
    return 0;
}

static int connect_to_each_other(const int fds[2])
{
    for (int i = 0; i < 2; i++) {
        struct address a = kernel_any_address(AF_INET);

        if (bind(fds[i], address_of(&a), a.length) < 0)
            return -errno;
    }
    for (int i = 0; i < 2; i++) {
        struct address other;
        int r = socket_name(fds[1 - i], &other);

        if (r < 0 || connect(fds[i], address_of(&other), other.length) < 0)
            return r < 0 ? r : -errno;
    }
    return 0;
}

static int udp(struct turn *turn)
{
    int fds[2];
    int r;

    fds[0] = socket_new("udp");
    fds[1] = fds[0] < 0 ? fds[0] : socket_new("udp");
    r = fds[1] < 0 ? fds[1] : connect_to_each_other(fds);
    for (int i = 0; i < 2; i++) {
        if (r == 0)
            keep(turn, i, fds[i]);
        else if (fds[i] >= 0)
            close(fds[i]);
    }
    return r;
}

static int make_pipe(struct turn *turn)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    world_keep_raw(turn->world, turn->words[0], RAW_PIPE, fds[0]);
    world_keep_raw(turn->world, turn->words[1], RAW_PIPE, fds[1])->readable = false;
    return 0;
}

static int make_file(struct turn *turn)
{
    struct bytes path = {.length = 0};
    struct bytes data = {.length = 0};
    int r = turn_data(turn, turn->words + 1, &data);
    int fd;

    if (r < 0)
        return r;
    kernel_new_path(&path);
    fd = open(bytes_text(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : 0;
    if (r == 0 && pwrite(fd, bytes_text(&data), data.length, 0) < 0)
        mistake("%s cannot be written", bytes_text(&path));
    if (r == 0)
        world_keep_raw(turn->world, turn->words[0], RAW_FILE, fd);
    bytes_clear(&path);
    bytes_clear(&data);
    return r;
}

/* A socket that is neither connected nor listening. */
static int fresh(struct turn *turn)
{
    int fd = socket_new(turn->words[1]);

    if (fd < 0)
        return fd;
    world_keep_raw(turn->world, turn->words[0], RAW_SOCKET, fd)->readable = false;
    return 0;
}

static int listener(struct turn *turn)
{
    const char *kind = turn->words[1] ? turn->words[1] : "tcp";
    int backlog = turn->words[1] && turn->words[2] ? word_int(turn->words[2]) : 5;
    int fd = socket_listener(kind, backlog);

    if (fd < 0)
        return fd;
    world_keep_raw(turn->world, turn->words[0], RAW_LISTENER, fd);
    return 0;
}

static int dial(struct turn *turn)
{
    struct address a;
    int error = 0;
    socklen_t length = sizeof error;
    int r = world_address(turn->world, turn->frame, turn->words[1], &a);
    int fd;

    if (r < 0)
        return r;
    fd = a.storage.ss_family == AF_UNIX
             ? socket_new("unix")
             : socket_new(a.storage.ss_family == AF_INET6 ? "tcp6" : "tcp");
    if (fd < 0)
        return fd;
    keep(turn, 0, fd);
    r = dial_address(fd, &a);
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        r = -errno;
    return r < 0 ? r : -error;
}

/* Keeps handle_accepted's socket under a name. */
static int keep_sock(struct turn *turn)
{
    struct raw *raw = world_raw(turn->world, turn->frame, "sock");

    if (!raw)
        return -EBADF;
    world_keep_raw(turn->world, turn->words[0], RAW_SOCKET, raw_take(raw));
    return 0;
}

/* --- channels -------------------------------------------------------------------------------- */

static int new_channel(struct turn *turn)
{
    return channel_make(turn->world, turn->words[0],
                        channel_class_find(turn->world, turn->words[1]), -1,
                        world_map(turn->world, turn->words + 2));
}

static int adopt(struct turn *turn)
{
    const struct channel_class *cls = channel_class_find(turn->world, turn->words[1]);
    struct raw *raw;
    int r = world_open_raw(turn->world, turn->frame, turn->words[2], &raw);

    if (r < 0)
        return r;
    if (!raw) {
        bytes_put(turn->result, "nothing");
        return 0;
    }
    return channel_make(turn->world, turn->words[0], cls,
                        cls->plan->super == FILE_DISPATCHER ? raw->fd : raw_take(raw),
                        world_map(turn->world, turn->words + 3));
}

/* --- the loop -------------------------------------------------------------------------------- */

static int loop(struct turn *turn)
{
    struct asyncore_map *map = world_map(turn->world, turn->words + 3);
    int count =
        strcmp(turn->words[2], "none") == 0 ? ASYNCORE_COUNT_NONE : word_int(turn->words[2]);
    const double timeout = word_seconds(turn->words[0]);
    const bool use_poll = strcmp(turn->words[1], "poll") == 0;
    int r = turn->world->attached ? attached_loop(turn->world, timeout, use_poll, map, count)
                                  : asyncore_loop(timeout, use_poll, map, count);

    if (r < 0)
        return r;
    if (r == ASYNCORE_LOOP_EMPTY || r == ASYNCORE_LOOP_COUNT)
        bytes_put(turn->result, r == ASYNCORE_LOOP_EMPTY ? "empty " : "count ");
    else
        bytes_format(turn->result, "%d ", r);
    channel_members(turn->result, map);
    return 0;
}

static int one_pass(struct turn *turn, bool use_poll)
{
    struct asyncore_map *map = world_map(turn->world, turn->words + 1);
    const double timeout = word_seconds(turn->words[0]);
    int r;

    if (turn->world->attached) {
        r = attached_loop(turn->world, timeout, use_poll, map, 1);
        r = r == ASYNCORE_LOOP_COUNT ? 0 : r;
    } else {
        r = use_poll ? asyncore_poll2(timeout, map) : asyncore_poll(timeout, map);
    }
    if (r == 0)
        channel_members(turn->result, map);
    else if (r > 0)
        bytes_format(turn->result, "%d", r);
    return r < 0 ? r : 0;
}

static int poll_pass(struct turn *turn)
{
    return one_pass(turn, false);
}

static int poll2_pass(struct turn *turn)
{
    return one_pass(turn, true);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* An action, and whether it takes as many seconds. */
static int timed(struct turn *turn)
{
    double start = now();
    int r = world_do(turn->world, turn->frame, turn->words + 1);

    if (r >= 0)
        bytes_format(turn->result, "%s %s",
                     now() - start >= strtod(turn->words[0], NULL) ? "at least" : "less than",
                     turn->words[0]);
    return r;
}

static int show_map(struct turn *turn)
{
    channel_members(turn->result, world_map(turn->world, turn->words));
    return 0;
}

static int close_all(struct turn *turn)
{
    bool ignore_all = turn->words[0] && strcmp(turn->words[0], "ignore_all") == 0;

    return asyncore_close_all(world_map(turn->world, turn->words + ignore_all), ignore_all);
}

static int with_channel(struct turn *turn, int (*function)(struct asyncore_dispatcher *))
{
    struct asyncore_dispatcher *d = world_channel(turn->world, turn->frame, turn->words[0]);

    return d ? function(d) : -EBADF;
}

static int read_function(struct turn *turn)
{
    return with_channel(turn, asyncore_read);
}

static int write_function(struct turn *turn)
{
    return with_channel(turn, asyncore_write);
}

static int exception(struct turn *turn)
{
    return with_channel(turn, asyncore_exception);
}

static int readwrite(struct turn *turn)
{
    static const struct {
        const char *name;
        int flag;
    } names[] = {{"POLLIN", POLLIN},   {"POLLOUT", POLLOUT}, {"POLLPRI", POLLPRI},
                 {"POLLHUP", POLLHUP}, {"POLLERR", POLLERR}, {"POLLNVAL", POLLNVAL}};
    struct asyncore_dispatcher *d = world_channel(turn->world, turn->frame, turn->words[0]);
    int flags = 0;

    for (action_list word = turn->words + 1; *word; word++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strcmp(names[i].name, *word) == 0)
                flags |= names[i].flag;
    return d ? asyncore_readwrite(d, flags) : -EBADF;
}

static int find_prefix_at_end(struct turn *turn)
{
    struct bytes haystack = {.length = 0};
    struct bytes needle = {.length = 0};

    unquote(&haystack, turn->words[0]);
    unquote(&needle, turn->words[1]);
    bytes_format(turn->result, "%zu",
                 asynchat_find_prefix_at_end(bytes_text(&haystack), haystack.length,
                                             bytes_text(&needle), needle.length));
    bytes_clear(&haystack);
    bytes_clear(&needle);
    return 0;
}

/* Leaves no descriptor, and gives them back. */
static int exhaust(struct turn *turn)
{
    (void)turn;
    kernel_exhaust();
    return 0;
}

static int relent(struct turn *turn)
{
    (void)turn;
    kernel_relent();
    return 0;
}

const struct verb global_verbs[] = {
    {"tcp", "MADE MADE", tcp},
    {"tcp6", "MADE MADE", tcp6},
    {"unix", "MADE MADE", unix_pair},
    {"socketpair", "MADE MADE [unix|dgram]", socket_pair},
    {"udp", "MADE MADE", udp},
    {"pipe", "MADE MADE", make_pipe},
    {"file", "MADE DATA", make_file},
    {"fresh", "MADE KIND", fresh},
    {"listener", "MADE [KIND] [SIZE]", listener},
    {"dial", "MADE TARGET", dial},
    {"keep", "MADE", keep_sock},
    {"new", "MADE CLASS [IN]", new_channel},
    {"adopt", "MADE CLASS NAME [IN]", adopt},
    {"loop", "SECONDS select|poll COUNT [IN]", loop},
    {"poll", "SECONDS [IN]", poll_pass},
    {"poll2", "SECONDS [IN]", poll2_pass},
    {"timed", "LEAST ACTION", timed},
    {"map", "[IN]", show_map},
    {"close_all", "[ignore_all] [IN]", close_all},
    {"read", "NAME", read_function},
    {"write", "NAME", write_function},
    {"exception", "NAME", exception},
    {"readwrite", "NAME [POLLFLAG]...", readwrite},
    {"exhaust", "", exhaust},
    {"relent", "", relent},
    {"find_prefix_at_end", "TEXT TEXT", find_prefix_at_end},
    {NULL, NULL, NULL},
};
