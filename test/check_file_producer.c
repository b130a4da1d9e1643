/*
 * The file producer: what it makes of a file, and how a channel sends that.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* --- sendfile: the linker leads it here ------------------------------------------------------- */

static struct {
    int calls;
    int error;   /* what the next call fails with; 0: it does not */
    size_t most; /* what the next calls send at most; 0: everything */
    bool breaks; /* they raise SIGPIPE as well: the connection breaks in the middle */
} files;

ssize_t __real_sendfile(int out, int in, off_t *offset, size_t count);
ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t count);

ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t count)
{
    const int error = files.error;

    files.calls++;
    files.error = 0;
    if (error) {
        errno = error;
        return -1;
    }
    if (files.breaks)
        ck_assert_int_eq(raise(SIGPIPE), 0);
    return __real_sendfile(out, in, offset, files.most && files.most < count ? files.most : count);
}

/* --- what it makes ----------------------------------------------------------------- */

static void fill_pattern(char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

enum {
    SMALL_FILE = 1000
};

static char small_file[SMALL_FILE];

static int open_small_file(void)
{
    int fd;

    fill_pattern(small_file, SMALL_FILE);
    fd = open(test_file("small", small_file, SMALL_FILE), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* What is asked of a file, and what of it comes: all, or up to an error. */
static const struct {
    off_t offset, length;
    size_t made;
    int error;
} ranges[] = {
    {0, -1, 1000, 0},    {0, 1000, 1000, 0},    {10, -1, 990, 0},    {10, 20, 20, 0},
    {999, 1, 1, 0},      {1000, -1, 0, 0},      {5000, -1, 0, 0},    {0, 0, 0, 0},
    {5000, 0, 0, 0},     {0, 1001, 1000, -EIO}, {990, 20, 10, -EIO}, {1000, 1, 0, -EIO},
    {-1, 5, 0, -EINVAL},
};

START_TEST(file_producer)
{
    const off_t offset = ranges[_i].offset;
    int fd = open_small_file();
    struct asynchat_producer *producer = asynchat_file_producer_new(fd, offset, ranges[_i].length);
    struct evbuffer *out = evbuffer_new();
    int r;

    ck_assert_ptr_nonnull(producer);
    do
        r = asynchat_producer_more(producer, out);
    while (r > 0);
    ck_assert_int_eq(r, ranges[_i].error);
    ck_assert_uint_eq(evbuffer_get_length(out), ranges[_i].made);
    if (ranges[_i].made > 0)
        ck_assert_mem_eq(evbuffer_pullup(out, -1), small_file + offset, ranges[_i].made);
    asynchat_producer_free(producer);
    ck_assert(!test_is_open(fd));
    evbuffer_free(out);
}
END_TEST

/* The position of the open file, which others may share, stays. */
START_TEST(position_of_a_file)
{
    int fd = open_small_file();
    int other = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    struct evbuffer *out = evbuffer_new();
    struct asynchat_producer *producer;

    ck_assert_int_eq(lseek(other, 7, SEEK_SET), 7);
    producer = asynchat_file_producer_new(fd, 990, -1);
    ck_assert_int_eq(asynchat_producer_more(producer, out), 10);
    asynchat_producer_free(producer);
    evbuffer_free(out);
    ck_assert_int_eq(lseek(other, 0, SEEK_CUR), 7);
    test_close(&other);
}
END_TEST

/* Up to where its end is when it is first asked. */
START_TEST(a_file_that_grows)
{
    struct asynchat_producer *producer = asynchat_file_producer_new(open_small_file(), 995, -1);
    struct evbuffer *out = evbuffer_new();
    int fd = open(test_path("small"), O_WRONLY | O_APPEND | O_CLOEXEC);

    test_write_all(fd, "before", 6);
    ck_assert_int_eq(asynchat_producer_more(producer, out), 11);
    test_write_all(fd, "after", 5);
    ck_assert_int_eq(asynchat_producer_more(producer, out), 0);
    asynchat_producer_free(producer);
    evbuffer_free(out);
    test_close(&fd);
}
END_TEST

START_TEST(no_regular_file)
{
    static const struct {
        off_t length;
        int error;
    } cases[] = {{10, -ESPIPE}, {10, -EISDIR}, {-1, -ESPIPE}};
    struct evbuffer *out = evbuffer_new();
    struct asynchat_producer *producer;
    int pair[2] = {-1, -1};

    if (_i != 1)
        test_pipe(pair);
    else
        pair[0] = open(test_dir(), O_RDONLY | O_CLOEXEC);
    producer = asynchat_file_producer_new(pair[0], 0, cases[_i].length);
    ck_assert_ptr_nonnull(producer);
    ck_assert_int_eq(asynchat_producer_more(producer, out), cases[_i].error);
    asynchat_producer_free(producer);
    if (_i != 1)
        test_close(&pair[1]);
    evbuffer_free(out);
}
END_TEST

/* Opening and pushing may be one expression. */
START_TEST(no_file)
{
    errno = ENOENT;
    ck_assert_ptr_null(asynchat_file_producer_new(-1, 0, 10));
    ck_assert_int_eq(errno, ENOENT);
    errno = 0;
    ck_assert_ptr_null(asynchat_file_producer_new(-1, 0, 10));
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

/* --- in a channel's queue --------------------------------------------------------------------- */

static int push(struct asynchat_producer *producer)
{
    return asynchat_push_with_producer(chat_d(0), producer);
}

#define MEGA ((size_t)1 << 20)

static char *large_file;
static size_t large_size;

static int open_large_file(size_t size)
{
    int fd;

    large_size = size;
    large_file = malloc(size);
    ck_assert_ptr_nonnull(large_file);
    fill_pattern(large_file, size);
    fd = open(test_file("large", large_file, size), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Of "[", the file from offset on, and "]": total bytes. */
static char large_file_byte(size_t offset, size_t at, size_t total)
{
    if (at == 0)
        return '[';
    if (at == total - 1)
        return ']';
    return large_file[offset + at - 1];
}

/* Compares what comes with that. */
static void receive_file(size_t offset, bool use_poll)
{
    static char got[1 << 18];
    size_t total = 0;
    const size_t expected = large_size - offset + 2;

    while (total < expected) {
        ssize_t n = recv(peers[0], got, sizeof got, MSG_DONTWAIT);
        size_t i = 0;

        if (n < 0)
            ck_assert_int_ge(asyncore_loop(TEST_WAIT_SECONDS, use_poll, the_map, 1), 0);
        for (; n > 0 && i < (size_t)n; i++) {
            const size_t at = total + i;
            const char byte = large_file_byte(offset, at, expected);

            if (got[i] != byte)
                ck_abort_msg("byte %zu is wrong", at);
        }
        total += i;
        ck_assert_int_ne((int)n, 0);
    }
    ck_assert_uint_eq(total, expected);
}

static const struct {
    int family; /* AF_UNSPEC: a scripted socket */
    bool sendfile;
} sockets[] = {{AF_INET, true}, {AF_UNIX, true}, {AF_UNSPEC, false}};

START_TEST(a_large_file)
{
    const size_t offset = 12345;
    int fd = open_large_file(20 * MEGA);

    if (sockets[_i / 2].family == AF_UNSPEC)
        make_scripted_chats(1);
    else
        make_connected_chats(1, sockets[_i / 2].family);
    ck_assert_int_eq(chat_push_text(chat_d(0), "["), 0);
    ck_assert_int_eq(push(asynchat_file_producer_new(fd, (off_t)offset, -1)), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "]"), 0);
    ck_assert_int_eq(asynchat_close_when_done(chat_d(0)), 0);
    receive_file(offset, _i % 2);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i % 2, the_map, 5), ASYNCORE_LOOP_EMPTY);
    ck_assert_trace("close");
    ck_assert_int_eq(files.calls > 0, sockets[_i / 2].sendfile);
    ck_assert(!test_is_open(fd));
    free(large_file);
}
END_TEST

/* sendfile takes little, or cannot do it at all. */
START_TEST(sendfile_fails)
{
    static const int errors[] = {0, EINVAL, ENOSYS, EAGAIN, EINTR};
    int fd = open_large_file(3 * MEGA);

    make_connected_chats(1, AF_UNIX);
    files.error = errors[_i];
    files.most = 300001;
    ck_assert_int_eq(chat_push_text(chat_d(0), "["), 0);
    ck_assert_int_eq(push(asynchat_file_producer_new(fd, 0, -1)), 0);
    ck_assert_int_eq(chat_push_text(chat_d(0), "]"), 0);
    receive_file(0, false);
    ck_assert_int_gt(files.calls, 0);
    ck_assert_trace("");
    free(large_file);
}
END_TEST

START_TEST(sendfile_to_nobody)
{
    static const struct {
        int error;
        const char *trace;
    } cases[] = {{EPIPE, "close"}, {ECONNRESET, "close"}, {EIO, "error(EIO)"}};
    int fd = open_large_file(3 * MEGA);

    make_connected_chats(1, AF_UNIX);
    files.error = cases[_i].error;
    ck_assert_int_eq(push(asynchat_file_producer_new(fd, 0, -1)), 0);
    ck_assert_trace(cases[_i].trace);
    ck_assert_int_eq(asyncore_fileno(chat_d(0)), -1);
    free(large_file);
}
END_TEST

/* The peer goes, as it does: without a SIGPIPE. */
START_TEST(the_peer_goes)
{
    int fd = open_large_file(3 * MEGA);

    make_connected_chats(1, _i / 2 ? AF_INET : AF_UNIX);
    ck_assert_int_eq(push(asynchat_file_producer_new(fd, 0, -1)), 0);
    test_close(&peers[0]);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, _i % 2, the_map, 1000), ASYNCORE_LOOP_EMPTY);
    ck_assert_trace("close");
    ck_assert(!test_is_open(fd));
    free(large_file);
}
END_TEST

static bool sigpipe_is_pending(void)
{
    sigset_t set;

    ck_assert_int_eq(sigpending(&set), 0);
    return sigismember(&set, SIGPIPE) == 1;
}

static void set_sigpipe_blocked(bool on)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    ck_assert_int_eq(sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL), 0);
}

/* That kills nobody, and is taken back, though sendfile returns a count. */
START_TEST(a_short_sendfile_raises_sigpipe)
{
    int fd = open_large_file(3 * MEGA);

    signal(SIGPIPE, SIG_DFL);
    make_connected_chats(1, AF_UNIX);
    set_sigpipe_blocked(_i);
    files.most = 1000;
    files.breaks = true;
    ck_assert_int_eq(push(asynchat_file_producer_new(fd, 0, -1)), 0);
    ck_assert_int_eq(files.calls, 1);
    ck_assert(!sigpipe_is_pending());
    set_sigpipe_blocked(false);
    free(large_file);
}
END_TEST

static int closes_channel(struct evbuffer *out, void *arg)
{
    (void)out;
    (void)arg;
    return asyncore_close(chat_d(0));
}

/* The file is read, then; what comes behind it in the same send closes the channel. */
START_TEST(closed_behind_a_sendfile_that_fails)
{
    make_connected_chats(1, AF_UNIX);
    files.error = EINVAL;
    ck_assert_int_eq(asynchat_set_ac_out_buffer_size(chat_d(0), 100), 0);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(asynchat_push(chat_d(0), small_file, 100), 0);
    ck_assert_int_eq(push(asynchat_file_producer_new(open_small_file(), 0, 10)), 0);
    ck_assert_int_eq(push(asynchat_callback_producer_new(closes_channel, NULL, NULL)), 0);
    asyncore_set_connected(chat_d(0), true);
    asyncore_ref(chat_d(0));
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(files.calls, 1);
    ck_assert_int_eq(asynchat_initiate_send(chat_d(0)), 0);
    ck_assert_int_eq(asyncore_fileno(chat_d(0)), -1);
    ck_assert_trace("");
    asyncore_unref(chat_d(0));
}
END_TEST

/* On any socket: what there is comes, and then it is an error. */
START_TEST(a_file_that_is_too_short)
{
    static char got[3 * MEGA / 2 + 2];
    int fd = open_large_file(3 * MEGA);

    if (_i)
        make_scripted_chats(1);
    else
        make_connected_chats(1, AF_UNIX);
    ck_assert_int_eq(ftruncate(fd, 0), -1); /* it is open for reading only */
    ck_assert_int_eq(push(asynchat_file_producer_new(fd, 0, 3 * MEGA)), 0);
    ck_assert_int_eq(truncate(test_path("large"), 3 * MEGA / 2), 0);
    for (size_t total = 0; asyncore_fileno(chat_d(0)) >= 0;) {
        ssize_t n = recv(peers[0], got + total, sizeof got - total, MSG_DONTWAIT);

        total += n > 0 ? (size_t)n : 0;
        if (n < 0)
            ck_assert_int_ge(asyncore_loop(TEST_WAIT_SECONDS, false, the_map, 1), 0);
        if (asyncore_map_length(the_map) > 0)
            continue;
        total += test_read_to_end(peers[0], got + total, sizeof got - total);
        ck_assert_uint_eq(total, 3 * MEGA / 2);
        break;
    }
    ck_assert_mem_eq(got, large_file, 3 * MEGA / 2);
    ck_assert_trace("error(EIO)");
    free(large_file);
}
END_TEST

START_TEST(a_pipe_is_no_file)
{
    int pair[2];

    if (_i)
        make_scripted_chats(1);
    else
        make_connected_chats(1, AF_UNIX);
    test_pipe(pair);
    test_write_all(pair[1], "abc", 3);
    asyncore_set_connected(chat_d(0), false);
    ck_assert_int_eq(chat_push_text(chat_d(0), "front"), 0);
    ck_assert_int_eq(push(asynchat_file_producer_new(pair[0], 0, 1 << 20)), 0);
    asyncore_set_connected(chat_d(0), true);
    ck_assert_int_eq(run_passes(the_map, false, 3), 0);
    ck_assert_received(peers[0], "front");
    ck_assert_trace("error(ESPIPE)");
    test_close(&pair[1]);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    memset(&files, 0, sizeof files);
}

int main(void)
{
    Suite *s = suite_create("file_producer");
    TCase *making = add_case(s, tcase_create("making"));
    TCase *sending = add_chat_case(s, tcase_create("sending"));

    tcase_add_checked_fixture(sending, setup, NULL);
    tcase_add_loop_test(making, file_producer, 0, sizeof ranges / sizeof *ranges);
    tcase_add_test(making, position_of_a_file);
    tcase_add_test(making, a_file_that_grows);
    tcase_add_loop_test(making, no_regular_file, 0, 3);
    tcase_add_test(making, no_file);
    tcase_add_loop_test(sending, a_large_file, 0, 6);
    tcase_add_loop_test(sending, sendfile_fails, 0, 5);
    tcase_add_loop_test(sending, sendfile_to_nobody, 0, 3);
    tcase_add_loop_test(sending, the_peer_goes, 0, 4);
    tcase_add_loop_test(sending, a_short_sendfile_raises_sigpipe, 0, 2);
    tcase_add_test(sending, closed_behind_a_sendfile_that_fails);
    tcase_add_loop_test(sending, a_file_that_is_too_short, 0, 2);
    tcase_add_loop_test(sending, a_pipe_is_no_file, 0, 2);
    return test_main(s);
}
