/*
 * file_wrapper and file_dispatcher, on everything that is a file: pipes, FIFOs, terminals, sockets,
 * regular files, directories and devices.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* --- a channel that notes what happens -------------------------------------------------------- */

/* Reads into got, then writes what to_send has; each only if it is meant to. */
struct file_end {
    struct asyncore_file_dispatcher base;
    bool reads;
    bool writes;
    const char *to_send;
};

static char got[256];
static size_t got_length;
static int read_result; /* of the last recv */
static int asked;       /* how often writable was called */
static int read_calls;
static int write_calls;
static int closes;
static int errors;

static int file_end_readable(struct asyncore_dispatcher *d);
static int file_end_writable(struct asyncore_dispatcher *d);
static int file_end_handle_read(struct asyncore_dispatcher *d);
static int file_end_handle_write(struct asyncore_dispatcher *d);

static int file_end_handle_close(struct asyncore_dispatcher *d)
{
    closes++;
    return asyncore_close(d);
}

static int file_end_handle_error(struct asyncore_dispatcher *d)
{
    errors++;
    return asyncore_close(d);
}

ASYNCORE_CLASS(file_end, asyncore_file_dispatcher, .readable = file_end_readable,
               .writable = file_end_writable, .handle_read = file_end_handle_read,
               .handle_write = file_end_handle_write, .handle_close = file_end_handle_close,
               .handle_error = file_end_handle_error);

static int file_end_readable(struct asyncore_dispatcher *d)
{
    return file_end_of(d)->reads;
}

static int file_end_writable(struct asyncore_dispatcher *d)
{
    asked++;
    return file_end_of(d)->writes;
}

static int file_end_handle_read(struct asyncore_dispatcher *d)
{
    read_calls++;
    read_result = asyncore_recv(d, got + got_length, sizeof got - got_length);
    if (read_result > 0)
        got_length += (size_t)read_result;
    return read_result;
}

static int file_end_handle_write(struct asyncore_dispatcher *d)
{
    struct file_end *self = file_end_of(d);
    int n;

    write_calls++;
    if (!self->to_send)
        return 0;
    n = asyncore_send(d, self->to_send, strlen(self->to_send));
    if (n > 0)
        self->to_send += n;
    if (*self->to_send == '\0')
        self->writes = false;
    return n;
}

static struct asyncore_dispatcher *new_reader(int fd)
{
    struct file_end *self = file_end_new(fd, NULL);

    ck_assert_ptr_nonnull(self);
    self->reads = true;
    return file_end_dispatcher(self);
}

static struct asyncore_dispatcher *new_writer(int fd, const char *to_send)
{
    struct file_end *self = file_end_new(fd, NULL);

    ck_assert_ptr_nonnull(self);
    self->writes = true;
    self->to_send = to_send;
    return file_end_dispatcher(self);
}

static bool has_closed(void *arg)
{
    (void)arg;
    return closes > 0;
}

static const char *awaited;

static bool has_got_text(void *arg)
{
    (void)arg;
    return got_length == strlen(awaited) && memcmp(got, awaited, got_length) == 0;
}

/* Runs passes until this is all that has been read. */
static int run_until_text(bool use_poll, const char *text)
{
    awaited = text;
    return run_until_true(NULL, use_poll, has_got_text, NULL);
}

static bool has_written(void *arg)
{
    const struct file_end *self = arg;

    return !self->writes;
}

static int open_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    return fd;
}

/* --- kinds of files with two ends: [0] is read, [1] is written ---------------------------------
 */

static void open_fifo(int ends[2])
{
    const char *path = test_path("fifo");

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ends[0] = open_path(path, O_RDONLY | O_NONBLOCK);
    ends[1] = open_path(path, O_WRONLY);
    test_set_nonblocking(ends[0], false);
}

static void open_terminal(int ends[2])
{
    struct termios raw;

    ck_assert_int_eq(openpty(&ends[1], &ends[0], NULL, NULL, NULL), 0);
    ck_assert_int_eq(tcgetattr(ends[0], &raw), 0);
    cfmakeraw(&raw);
    ck_assert_int_eq(tcsetattr(ends[0], TCSANOW, &raw), 0);
}

static void open_terminal_the_other_way(int ends[2])
{
    int slave;

    open_terminal(ends);
    slave = ends[0];
    ends[0] = ends[1];
    ends[1] = slave;
}

static void open_sockets(int ends[2])
{
    test_socketpair(SOCK_STREAM, ends);
}

static void (*const kinds[])(int ends[2]) = {test_pipe, open_fifo, open_sockets, open_terminal,
                                             open_terminal_the_other_way};
#define KINDS 5
#define KINDS_WITH_AN_END 3 /* the end of a terminal is an error */

/* Loop tests run over kinds in select's way, then in poll's. */
static bool open_kind(int i, int count, int ends[2])
{
    kinds[i % count](ends);
    return i >= count;
}

START_TEST(reading)
{
    int ends[2];
    bool use_poll = open_kind(_i, KINDS, ends);
    const struct asyncore_dispatcher *d = new_reader(ends[0]);

    ck_assert(d->connected);
    ck_assert_int_ne(asyncore_fileno(d), ends[0]);
    test_close(&ends[0]); /* the channel has its own */
    test_write_all(ends[1], "hello", 5);
    ck_assert_int_eq(run_until_text(use_poll, "hello"), 0);
    ck_assert_int_eq(run_passes(NULL, use_poll, 2), 0);
    ck_assert_int_eq(read_calls, 1);
    test_write_all(ends[1], " world", 6);
    ck_assert_int_eq(run_until_text(use_poll, "hello world"), 0);
    ck_assert_int_eq(write_calls, 0);
    ck_assert_int_eq(closes + errors, 0);
    test_close(&ends[1]);
}
END_TEST

START_TEST(writing)
{
    int ends[2];
    bool use_poll = open_kind(_i, KINDS, ends);
    struct asyncore_dispatcher *d = new_writer(ends[1], "hello");
    char buf[5];

    test_close(&ends[1]);
    ck_assert_int_eq(run_until_true(NULL, use_poll, has_written, file_end_of(d)), 0);
    ck_assert_int_eq(run_passes(NULL, use_poll, 2), 0);
    ck_assert_int_eq(write_calls, 1);
    ck_assert_int_eq(read_calls, 0);
    test_read_all(ends[0], buf, 5);
    ck_assert_mem_eq(buf, "hello", 5);
    ck_assert_int_eq(closes + errors, 0);
    test_close(&ends[0]);
}
END_TEST

/* The reader is asked for writing too, and a hang-up is not writable: in select's way it is the
 * end, in poll's a hang-up. */
START_TEST(the_end_of_a_reader)
{
    int ends[2];
    bool use_poll = open_kind(_i, KINDS_WITH_AN_END, ends);
    bool is_socket = _i % KINDS_WITH_AN_END == 2;

    if (is_socket)
        new_reader(ends[0]);
    else
        file_end_of(new_reader(ends[0]))->writes = true;
    test_close(&ends[0]);
    test_write_all(ends[1], "last", 4);
    test_close(&ends[1]);
    ck_assert_int_eq(run_until_true(NULL, use_poll, has_closed, NULL), 0);
    ck_assert_int_eq(closes, 1);
    ck_assert_int_eq(errors, 0);
    ck_assert_int_eq(write_calls, 0);
    ck_assert_uint_eq(got_length, 4);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
}
END_TEST

START_TEST(the_end_of_a_writer)
{
    int ends[2];
    bool use_poll = open_kind(_i, KINDS_WITH_AN_END, ends);

    signal(SIGPIPE, SIG_DFL);
    new_writer(ends[1], "nobody reads this");
    test_close(&ends[1]);
    test_close(&ends[0]);
    ck_assert_int_eq(run_until_true(NULL, use_poll, has_closed, NULL), 0);
    ck_assert_int_eq(closes, 1);
    ck_assert_int_eq(errors, 0);
}
END_TEST

/* One that is full takes nothing: send returns 0, and handle_write comes when there is room. */
START_TEST(a_full_pipe)
{
    int ends[2];
    char buf[4096];
    struct asyncore_dispatcher *d;
    size_t filled;

    test_pipe(ends);
    d = new_writer(ends[1], "late");
    filled = test_fill(ends[1]);
    ck_assert_int_eq(asyncore_send(d, "x", 1), 0);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 3), 0);
    ck_assert_int_eq(write_calls, 0);
    while (filled > 0) {
        size_t part = filled < sizeof buf ? filled : sizeof buf;

        test_read_all(ends[0], buf, part);
        filled -= part;
    }
    ck_assert_int_eq(run_until_true(NULL, _i == 1, has_written, file_end_of(d)), 0);
    test_read_all(ends[0], buf, 4);
    ck_assert_mem_eq(buf, "late", 4);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

/* libevent calls a hang-up readable and writable; it is not writable. */
START_TEST(a_pipe_that_hung_up_is_not_writable)
{
    int pair[2];

    test_pipe(pair);
    file_end_of(new_reader(pair[0]))->writes = true;
    test_write_all(pair[1], "abc", 3);
    test_close(&pair[1]);
    ck_assert_int_ge(asyncore_loop(0.0, _i, NULL, 2), 0);
    ck_assert_uint_eq(got_length, 3);
    ck_assert_int_eq(write_calls, 0);
    ck_assert_int_eq(closes, 1);
    test_close(&pair[0]);
}
END_TEST

/* One that looks at out-of-band data, of which the hang-up is told there too. */
struct urgent_end {
    struct file_end base;
};

static int urgent_end_handle_expt(struct asyncore_dispatcher *d)
{
    (void)d;
    errors++;
    return 0;
}

ASYNCORE_CLASS(urgent_end, file_end, .handle_expt = urgent_end_handle_expt);

/* Who only wants to write to it is not called in select's way, and the pass waits for its time
 * without asking over and over. _i % 2: it hangs up while it is watched; _i / 2: the class. */
START_TEST(a_pipe_that_hung_up_does_not_spin)
{
    struct asyncore_dispatcher *d;
    int pair[2];
    double begin;

    test_pipe(pair);
    d = asyncore_new(_i / 2 ? &urgent_end_class : &file_end_class, pair[0], NULL);
    ck_assert_ptr_nonnull(d);
    file_end_of(d)->writes = true;
    if (_i % 2)
        ck_assert_int_eq(run_passes(NULL, false, 1), 0);
    test_close(&pair[1]);
    asked = 0;
    begin = test_now();
    ck_assert_int_eq(asyncore_poll(0.05, NULL), 0);
    ck_assert_double_ge(test_now() - begin, 0.05);
    ck_assert_int_le(asked, 3);
    ck_assert_int_eq(read_calls + write_calls + closes + errors, 0);
    test_close(&pair[0]);
}
END_TEST

/* An EAGAIN of a recv is no failure. */
START_TEST(an_empty_pipe)
{
    int ends[2];
    char byte;
    struct asyncore_dispatcher *d;

    test_pipe(ends);
    d = new_reader(ends[0]);
    ck_assert_int_eq(asyncore_recv(d, &byte, 1), -EAGAIN);
    ck_assert_int_eq(closes, 0);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

/* --- files that cannot be watched ------------------------------------------------------------ */

START_TEST(a_regular_file_is_read)
{
    int fd = open_path(test_file("file", "some text", 9), O_RDONLY);
    struct test_capture capture;

    new_reader(fd);
    test_close(&fd);
    test_capture_begin(&capture, STDERR_FILENO);
    ck_assert_int_eq(run_until_true(NULL, _i == 1, has_closed, NULL), 0);
    ck_assert_str_eq(test_capture_end(&capture), ""); /* libevent has not tried to watch it */
    ck_assert_uint_eq(got_length, 9);
    ck_assert_mem_eq(got, "some text", 9);
    ck_assert_int_eq(read_result, 0);
    ck_assert_int_eq(closes, 1);
    ck_assert_int_eq(errors, 0);
}
END_TEST

START_TEST(a_regular_file_is_written)
{
    int fd = open_path(test_path("file"), O_RDWR | O_CREAT);
    struct asyncore_dispatcher *d = new_writer(fd, "some text");
    char buf[16];

    ck_assert_int_eq(run_until_true(NULL, _i == 1, has_written, file_end_of(d)), 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_uint_eq(test_read_to_end(fd, buf, sizeof buf), 9);
    ck_assert_mem_eq(buf, "some text", 9);
    ck_assert_int_eq(asyncore_close(d), 0);
    test_close(&fd);
}
END_TEST

START_TEST(a_regular_file_is_left_alone)
{
    int fd = open_path(test_file("file", "x", 1), O_RDWR);
    struct asyncore_dispatcher *d = new_reader(fd);

    ck_assert(!test_is_nonblocking(fd));
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(!test_is_nonblocking(fd));
    test_close(&fd);
}
END_TEST

START_TEST(a_directory)
{
    int fd = open_path(test_dir(), O_RDONLY | O_DIRECTORY);
    struct asyncore_dispatcher *d = new_reader(fd);
    char byte;

    ck_assert_int_eq(asyncore_recv(d, &byte, 1), -EISDIR);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_int_eq(errors, 1);
    test_close(&fd);
}
END_TEST

START_TEST(dev_null)
{
    int fd = open_path("/dev/null", O_RDWR);
    struct asyncore_dispatcher *d = new_writer(fd, "anything");

    ck_assert_int_eq(run_until_true(NULL, _i == 1, has_written, file_end_of(d)), 0);
    file_end_of(d)->reads = true;
    ck_assert_int_eq(run_until_true(NULL, _i == 1, has_closed, NULL), 0);
    ck_assert_int_eq(read_result, 0);
    ck_assert_int_eq(errors, 0);
    ck_assert(!test_is_nonblocking(fd));
    test_close(&fd);
}
END_TEST

/* A file that is always ready is served beside a pipe that is not. */
START_TEST(a_file_beside_a_pipe)
{
    int fd = open_path("/dev/zero", O_RDONLY);
    struct asyncore_file_dispatcher *zeros = asyncore_file_dispatcher_new(fd, NULL);
    int ends[2];

    ck_assert_ptr_nonnull(zeros);
    test_pipe(ends);
    new_reader(ends[0]);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 3), 0);
    ck_assert_int_eq(read_calls, 0);
    test_write_all(ends[1], "x", 1);
    ck_assert_int_eq(run_passes(NULL, _i == 1, 1), 0);
    ck_assert_int_eq(read_calls, 1);
    test_close(&ends[0]);
    test_close(&ends[1]);
    test_close(&fd);
}
END_TEST

/* --- O_NONBLOCK, which is shared ------------------------------------------------------------- */

START_TEST(nonblocking_while_it_is_open)
{
    int ends[2];
    struct asyncore_dispatcher *d;

    kinds[_i](ends);
    ck_assert(!test_is_nonblocking(ends[0]));
    d = new_reader(ends[0]);
    ck_assert(test_is_nonblocking(ends[0]));
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(!test_is_nonblocking(ends[0]));
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(nonblocking_as_it_was)
{
    int ends[2];
    struct asyncore_dispatcher *d;

    test_pipe(ends);
    test_set_nonblocking(ends[0], true);
    d = new_reader(ends[0]);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(test_is_nonblocking(ends[0]));
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(nonblocking_until_the_map_ends)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    int ends[2];

    test_pipe(ends);
    ck_assert_ptr_nonnull(asyncore_file_dispatcher_new(ends[0], map));
    ck_assert(test_is_nonblocking(ends[0]));
    asyncore_map_free(map);
    ck_assert(!test_is_nonblocking(ends[0]));
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(detach_gives_it_as_it_was)
{
    int ends[2];
    struct asyncore_dispatcher *d;
    int fd;

    test_pipe(ends);
    d = new_reader(ends[0]);
    fd = asyncore_detach(d);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fd, ends[0]);
    ck_assert(!test_is_nonblocking(fd));
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&fd);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

/* --- construction ---------------------------------------------------------------------------- */

START_TEST(a_bad_descriptor)
{
    int ends[2];
    int bad;

    test_pipe(ends);
    (void)asyncore_socket_map();
    bad = dup(ends[0]);
    test_close(&ends[0]);
    ck_assert_int_eq(close(bad), 0);
    errno = 0;
    ck_assert_ptr_null(asyncore_file_dispatcher_new(bad, NULL));
    ck_assert_int_eq(errno, EBADF);
    errno = 0;
    ck_assert_ptr_null(asyncore_file_wrapper_new(bad));
    ck_assert_int_eq(errno, EBADF);
    errno = 0;
    ck_assert_ptr_null(asyncore_file_wrapper_new(-1));
    ck_assert_int_eq(errno, EBADF);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&ends[1]);
}
END_TEST

struct failing {
    struct asyncore_file_dispatcher base;
};

static int failing_init(struct asyncore_dispatcher *d, int fd)
{
    int r = asyncore_file_dispatcher_init(d, fd);

    return r < 0 ? r : -EPROTO;
}

ASYNCORE_CLASS(failing, asyncore_file_dispatcher, .init = failing_init);

START_TEST(the_file_stays_the_callers)
{
    int ends[2];
    struct asyncore_dispatcher *d;

    test_pipe(ends);
    errno = 0;
    ck_assert_ptr_null(failing_new(ends[0], NULL));
    ck_assert_int_eq(errno, EPROTO);
    ck_assert(test_is_open(ends[0]));
    ck_assert(!test_is_nonblocking(ends[0]));
    d = new_reader(ends[0]);
    ck_assert_int_eq(fcntl(asyncore_fileno(d), F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(test_is_open(ends[0]));
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(without_a_file_yet)
{
    int ends[2];
    struct asyncore_dispatcher *d = new_reader(-1);

    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_pipe(ends);
    ck_assert_int_eq(asyncore_set_file(d, ends[0]), 0);
    test_write_all(ends[1], "x", 1);
    ck_assert_int_eq(run_until_text(_i == 1, "x"), 0);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(set_file_replaces)
{
    int first[2];
    int second[2];
    struct asyncore_dispatcher *d;
    int old;

    test_pipe(first);
    test_pipe(second);
    d = new_reader(first[0]);
    old = asyncore_fileno(d);
    ck_assert_int_eq(asyncore_set_file(d, -1), -EBADF);
    ck_assert_int_eq(asyncore_fileno(d), old);
    ck_assert(test_is_nonblocking(first[0]));
    ck_assert_int_eq(asyncore_set_file(d, second[0]), 0);
    ck_assert_int_ne(asyncore_fileno(d), second[0]);
    ck_assert(!test_is_nonblocking(first[0]));
    ck_assert(test_is_nonblocking(second[0]));
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
    test_write_all(first[1], "old", 3);
    test_write_all(second[1], "new", 3);
    ck_assert_int_eq(run_until_text(_i == 1, "new"), 0);
    for (int i = 0; i < 2; i++) {
        test_close(&first[i]);
        test_close(&second[i]);
    }
}
END_TEST

START_TEST(set_file_in_a_freed_map)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    struct asyncore_dispatcher *d =
        asyncore_ref((struct asyncore_dispatcher *)(void *)asyncore_file_dispatcher_new(-1, map));
    int ends[2];

    test_pipe(ends);
    asyncore_map_free(map);
    ck_assert_int_eq(asyncore_set_file(d, ends[0]), -EINVAL);
    ck_assert(!test_is_nonblocking(ends[0]));
    asyncore_unref(d);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(close_twice)
{
    int ends[2];
    struct asyncore_dispatcher *d;

    test_pipe(ends);
    d = new_reader(ends[0]);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_int_eq(asyncore_recv(d, got, 1), 0);
    ck_assert_int_eq(closes, 0);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

/* --- file_wrapper ---------------------------------------------------------------------------- */

START_TEST(wrapper_of_every_kind)
{
    int ends[2];
    struct asyncore_socket *in;
    struct asyncore_socket *out;
    char buf[8];

    kinds[_i](ends);
    in = asyncore_file_wrapper_new(ends[0]);
    out = asyncore_file_wrapper_new(ends[1]);
    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(fcntl(in->fd, F_GETFD), FD_CLOEXEC);
    test_close(&ends[0]);
    test_close(&ends[1]);
    ck_assert(!test_is_nonblocking(in->fd)); /* the flags are left alone */
    ck_assert_int_eq(asyncore_socket_send(out, "hello", 5, 0), 5);
    test_wait_readable(in->fd);
    ck_assert_int_eq(asyncore_socket_recv(in, buf, sizeof buf, 0), 5);
    ck_assert_mem_eq(buf, "hello", 5);
    ck_assert_ptr_null(asyncore_socket_free(in));
    ck_assert_ptr_null(asyncore_socket_free(out));
}
END_TEST

START_TEST(wrapper_options)
{
    int ends[2];
    struct asyncore_socket *s;
    int value = 77;
    socklen_t len = sizeof value;

    test_pipe(ends);
    s = asyncore_file_wrapper_new(ends[0]);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(asyncore_socket_getsockopt(s, SOL_SOCKET, SO_ERROR, &value, &len), 0);
    ck_assert_int_eq(value, 0);
    ck_assert_uint_eq(len, sizeof value);
    ck_assert_int_lt(asyncore_socket_getsockopt(s, SOL_SOCKET, SO_TYPE, &value, &len), 0);
    asyncore_socket_free(s);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(wrapper_that_is_closed)
{
    int ends[2];
    struct asyncore_socket *s;
    int value;
    socklen_t len = sizeof value;
    char byte = 0;

    test_pipe(ends);
    s = asyncore_file_wrapper_new(ends[0]);
    ck_assert_int_eq(asyncore_socket_close(s), 0);
    ck_assert_int_eq(asyncore_socket_fileno(s), -1);
    ck_assert_int_eq(asyncore_socket_close(s), 0);
    ck_assert_int_eq(asyncore_socket_recv(s, &byte, 1, 0), -EBADF);
    ck_assert_int_eq(asyncore_socket_send(s, &byte, 1, 0), -EBADF);
    ck_assert_int_eq(asyncore_socket_getsockopt(s, SOL_SOCKET, SO_ERROR, &value, &len), -EBADF);
    ck_assert_ptr_null(asyncore_socket_free(s));
    ck_assert_ptr_null(asyncore_socket_free(NULL));
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

/* --- SIGPIPE --------------------------------------------------------------------------------- */

static bool is_pending(void)
{
    sigset_t set;

    ck_assert_int_eq(sigpending(&set), 0);
    return sigismember(&set, SIGPIPE) == 1;
}

static bool is_blocked(void)
{
    sigset_t set;

    ck_assert_int_eq(sigprocmask(SIG_SETMASK, NULL, &set), 0);
    return sigismember(&set, SIGPIPE) == 1;
}

static void set_blocked(bool on)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    ck_assert_int_eq(sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL), 0);
}

/* What can be written to without a reader. */
static struct asyncore_socket *without_a_reader(int i)
{
    int ends[2];
    struct asyncore_socket *s;

    signal(SIGPIPE, SIG_DFL);
    kinds[i](ends);
    s = asyncore_file_wrapper_new(ends[1]);
    ck_assert_ptr_nonnull(s);
    test_close(&ends[0]);
    test_close(&ends[1]);
    return s;
}

START_TEST(sigpipe_does_not_kill)
{
    struct asyncore_socket *s = without_a_reader(_i);

    ck_assert_int_eq(asyncore_socket_send(s, "x", 1, 0), -EPIPE);
    ck_assert_int_eq(asyncore_socket_send(s, "x", 1, 0), -EPIPE);
    ck_assert(!is_blocked());
    ck_assert(!is_pending());
    asyncore_socket_free(s);
}
END_TEST

/* A reader that goes in the middle: a short count, and the signal. */
static bool breaks;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (breaks)
        raise(SIGPIPE);
    return __real_write(fd, data, breaks ? len / 2 : len);
}

START_TEST(sigpipe_with_a_short_count)
{
    struct asyncore_socket *s;
    int ends[2];

    signal(SIGPIPE, SIG_DFL);
    test_pipe(ends);
    s = asyncore_file_wrapper_new(ends[1]);
    ck_assert_ptr_nonnull(s);
    breaks = true;
    ck_assert_int_eq(asyncore_socket_send(s, "abcd", 4, 0), 2);
    breaks = false;
    ck_assert(!is_blocked());
    ck_assert(!is_pending());
    asyncore_socket_free(s);
    test_close(&ends[0]);
    test_close(&ends[1]);
}
END_TEST

START_TEST(sigpipe_stays_blocked)
{
    struct asyncore_socket *s = without_a_reader(_i);

    set_blocked(true);
    ck_assert_int_eq(asyncore_socket_send(s, "x", 1, 0), -EPIPE);
    ck_assert(is_blocked());
    ck_assert(!is_pending());
    set_blocked(false);
    asyncore_socket_free(s);
}
END_TEST

START_TEST(sigpipe_of_another_stays_pending)
{
    struct asyncore_socket *s = without_a_reader(_i);

    set_blocked(true);
    ck_assert_int_eq(raise(SIGPIPE), 0);
    ck_assert(is_pending());
    ck_assert_int_eq(asyncore_socket_send(s, "x", 1, 0), -EPIPE);
    ck_assert(is_pending());
    signal(SIGPIPE, SIG_IGN); /* takes the pending one away */
    set_blocked(false);
    signal(SIGPIPE, SIG_DFL);
    asyncore_socket_free(s);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    got_length = 0;
    read_result = -1;
    read_calls = 0;
    write_calls = 0;
    closes = 0;
    errors = 0;
}

static void add(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    suite_add_tcase(s, tc);
}

static void add_events(Suite *s)
{
    TCase *tc = tcase_create("events");

    add(s, tc);
    tcase_add_loop_test(tc, reading, 0, 2 * KINDS);
    tcase_add_loop_test(tc, writing, 0, 2 * KINDS);
    tcase_add_loop_test(tc, the_end_of_a_reader, 0, 2 * KINDS_WITH_AN_END);
    tcase_add_loop_test(tc, the_end_of_a_writer, 0, 2 * KINDS_WITH_AN_END);
    tcase_add_loop_test(tc, a_full_pipe, 0, 2);
    tcase_add_test(tc, an_empty_pipe);
    tcase_add_loop_test(tc, a_pipe_that_hung_up_is_not_writable, 0, 2);
    tcase_add_loop_test(tc, a_pipe_that_hung_up_does_not_spin, 0, 4);
}

static void add_always_ready(Suite *s)
{
    TCase *tc = tcase_create("always_ready");

    add(s, tc);
    tcase_add_loop_test(tc, a_regular_file_is_read, 0, 2);
    tcase_add_loop_test(tc, a_regular_file_is_written, 0, 2);
    tcase_add_test(tc, a_regular_file_is_left_alone);
    tcase_add_loop_test(tc, a_directory, 0, 2);
    tcase_add_loop_test(tc, dev_null, 0, 2);
    tcase_add_loop_test(tc, a_file_beside_a_pipe, 0, 2);
}

static void add_nonblocking(Suite *s)
{
    TCase *tc = tcase_create("nonblocking");

    add(s, tc);
    tcase_add_loop_test(tc, nonblocking_while_it_is_open, 0, KINDS);
    tcase_add_test(tc, nonblocking_as_it_was);
    tcase_add_test(tc, nonblocking_until_the_map_ends);
    tcase_add_test(tc, detach_gives_it_as_it_was);
}

static void add_construction(Suite *s)
{
    TCase *tc = tcase_create("construction");

    add(s, tc);
    tcase_add_test(tc, a_bad_descriptor);
    tcase_add_test(tc, the_file_stays_the_callers);
    tcase_add_loop_test(tc, without_a_file_yet, 0, 2);
    tcase_add_loop_test(tc, set_file_replaces, 0, 2);
    tcase_add_test(tc, set_file_in_a_freed_map);
    tcase_add_test(tc, close_twice);
}

static void add_wrapper(Suite *s)
{
    TCase *wrapper = tcase_create("wrapper");
    TCase *sigpipe = tcase_create("sigpipe");

    add(s, wrapper);
    tcase_add_loop_test(wrapper, wrapper_of_every_kind, 0, KINDS);
    tcase_add_test(wrapper, wrapper_options);
    tcase_add_test(wrapper, wrapper_that_is_closed);
    add(s, sigpipe);
    tcase_add_loop_test(sigpipe, sigpipe_does_not_kill, 0, KINDS_WITH_AN_END);
    tcase_add_test(sigpipe, sigpipe_with_a_short_count);
    tcase_add_loop_test(sigpipe, sigpipe_stays_blocked, 0, KINDS_WITH_AN_END);
    tcase_add_loop_test(sigpipe, sigpipe_of_another_stays_pending, 0, KINDS_WITH_AN_END);
}

int main(void)
{
    Suite *s = suite_create("file");

    add_events(s);
    add_always_ready(s);
    add_nonblocking(s);
    add_construction(s);
    add_wrapper(s);
    return test_main(s);
}
