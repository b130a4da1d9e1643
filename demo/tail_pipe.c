/* Merges the lines of standard input and of a command's output, as they come. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: tail_pipe -- COMMAND...\n"
    "Prints the lines of standard input, marked \"in: \", and those of the\n"
    "output of COMMAND, marked \"out: \", until both have ended.\n"
    "      --help  print this\n";

/* --- tail: one of the two files -------------------------------------------------------------- */

struct tail {
    struct asyncore_file_dispatcher base;
    const char *mark;
    struct evbuffer *line; /* what there is of the line that comes next */
};

ASYNCORE_DECLARE_LOCAL_CLASS(tail, asyncore_file_dispatcher);

static int tail_init(struct asyncore_dispatcher *d, int fd)
{
    tail_of(d)->line = evbuffer_new();
    return tail_of(d)->line ? asyncore_file_dispatcher_init(d, fd) : -ENOMEM;
}

static void tail_finalize(struct asyncore_dispatcher *d)
{
    if (tail_of(d)->line)
        evbuffer_free(tail_of(d)->line);
}

/* A terminal that is standard input too is non-blocking by now, for output as well. */
static int write_out(struct evbuffer *data)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    while (evbuffer_get_length(data) > 0) {
        if (evbuffer_write(data, STDOUT_FILENO) >= 0 || errno == EINTR)
            continue;
        if (errno != EAGAIN || (poll(&out, 1, -1) < 0 && errno != EINTR))
            return -errno;
    }
    return 0;
}

static int tail_print(struct tail *self)
{
    if (evbuffer_prepend(self->line, self->mark, strlen(self->mark)) < 0)
        return -ENOMEM;
    return write_out(self->line);
}

static int tail_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int tail_handle_read(struct asyncore_dispatcher *d)
{
    struct tail *self = tail_of(d);
    char data[4096], *start = data, *newline;
    int n = asyncore_recv(d, data, sizeof data), rc;

    if (n <= 0)
        return n;
    while ((newline = memchr(start, '\n', (size_t)(data + n - start)))) {
        if (evbuffer_add(self->line, start, (size_t)(newline + 1 - start)) < 0)
            return -ENOMEM;
        rc = tail_print(self);
        if (rc < 0)
            return rc;
        start = newline + 1;
    }
    return evbuffer_add(self->line, start, (size_t)(data + n - start)) < 0 ? -ENOMEM : 0;
}

static int tail_handle_close(struct asyncore_dispatcher *d)
{
    struct tail *self = tail_of(d);
    int rc = asyncore_close(d);

    if (rc < 0 || evbuffer_get_length(self->line) == 0)
        return rc;
    return evbuffer_add(self->line, "\n", 1) < 0 ? -ENOMEM : tail_print(self);
}

ASYNCORE_DEFINE_LOCAL_CLASS(tail, asyncore_file_dispatcher, .init = tail_init,
                            .finalize = tail_finalize, .writable = tail_writable,
                            .handle_read = tail_handle_read, .handle_close = tail_handle_close,
                            .handle_error = demo_handle_error);

static int tail_start(int fd, const char *mark, struct asyncore_map *map)
{
    struct tail *self = tail_new(fd, map);

    if (!self)
        return -errno;
    self->mark = mark;
    return 0;
}

/* --- the command ----------------------------------------------------------------------------- */

/* Starts the command with no input and with output as its standard output. */
static pid_t spawn(char *const *command, int output)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc)
        return -rc;
    rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawnp(&pid, command[0], &actions, NULL, command, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc ? -rc : pid;
}

/* Waits for the end of the command. Returns 0, or 1 when it has failed, told unless quiet. */
static int reap(const char *name, pid_t pid, bool quiet)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "%s", name);
    if (!quiet && WIFSIGNALED(status))
        warnx("%s: %s", name, strsignal(WTERMSIG(status)));
    else if (!quiet && WEXITSTATUS(status))
        warnx("%s: exit status %d", name, WEXITSTATUS(status));
    return status ? 1 : 0;
}

/* Serves both until they end. Returns what the loop returned. */
static int merge(int output)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    struct demo_signals signals = {0};
    int rc = map ? demo_catch_signals(&signals, map) : -errno;

    if (rc == 0)
        rc = tail_start(STDIN_FILENO, "in: ", map);
    if (rc == 0)
        rc = tail_start(output, "out: ", map);
    close(output); /* the channel has a duplicate */
    if (rc == 0)
        rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, map, ASYNCORE_COUNT_NONE);
    demo_release_signals(&signals);
    asyncore_map_free(map);
    return rc;
}

static int run(char *const *command)
{
    int output[2], rc;
    pid_t pid;

    if (pipe2(output, O_CLOEXEC) < 0)
        err(1, NULL);
    pid = spawn(command, output[1]);
    close(output[1]);
    if (pid < 0) {
        warnx("%s: %s", command[0], strerror(-pid));
        close(output[0]);
        return 1;
    }
    rc = merge(output[0]);
    if (rc == ASYNCORE_LOOP_EMPTY)
        return reap(command[0], pid, false);
    if (rc < 0)
        warnx("%s", asyncore_strerror(rc));
    kill(pid, SIGTERM);
    reap(command[0], pid, true);
    return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int option;

    while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        fputs(usage, option == 'h' ? stdout : stderr);
        return option == 'h' ? demo_exit(0) : 2;
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    return run(argv + optind);
}
