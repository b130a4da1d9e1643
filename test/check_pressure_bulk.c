/*
 * Back-pressure: much data through two sockets of which the second one is slower. The other ends
 * are child processes, which do without libcheck and tell by their exit status what they have seen.
 */
#include "probes.h"
#include "support.h"

#include <asyncore/chat.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BULK = 200 << 20,
    BLOCK = 65536,
    MARK = 256 << 10
};

/* What the children tell by their exit status. */
enum {
    CHILD_OK,
    CHILD_WRITE,
    CHILD_READ,
    CHILD_DIFFERENT
};

/* Blocks differ, so that one that is lost or out of place is seen. */
static void make_block(char *block, unsigned number)
{
    for (unsigned i = 0; i < BLOCK; i++)
        block[i] = (char)(i * 31 + number * 7 + (i >> 8) * (number >> 5));
}

static int write_blocks(int fd)
{
    static char block[BLOCK];

    for (unsigned number = 0; number < BULK / BLOCK; number++) {
        make_block(block, number);
        for (size_t at = 0; at < BLOCK;) {
            ssize_t n = write(fd, block + at, BLOCK - at);

            if (n <= 0)
                return CHILD_WRITE;
            at += (size_t)n;
        }
    }
    return CHILD_OK;
}

/* In many small reads: slower than who sends them. */
static int read_blocks(int fd)
{
    static char block[BLOCK], got[BLOCK];
    char byte;

    for (unsigned number = 0; number < BULK / BLOCK; number++) {
        make_block(block, number);
        for (size_t at = 0; at < BLOCK;) {
            ssize_t n = read(fd, got + at, BLOCK - at < 2048 ? BLOCK - at : 2048);

            if (n <= 0)
                return CHILD_READ;
            at += (size_t)n;
        }
        if (memcmp(block, got, BLOCK) != 0)
            return CHILD_DIFFERENT;
    }
    return read(fd, &byte, 1) == 0 ? CHILD_OK : CHILD_READ;
}

/* A child on the other end of *fd, which is a socket of the parent's. */
static pid_t start_child(int family, int (*run)(int fd), int *fd)
{
    int pair[2];
    pid_t child;

    test_pair(family, pair);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(pair[0]);
        _exit(run(pair[1]));
    }
    test_close(&pair[1]);
    *fd = pair[0];
    return child;
}

static void check_child(pid_t child)
{
    int status;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "the child was killed by signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), CHILD_OK);
}

static struct asyncore_dispatcher *sink; /* of the forwarder's */
static pid_t reader;                     /* stopped until the queue has been above the mark */

struct forwarder {
    struct asyncore_dispatcher_with_send base;
    size_t peak; /* of the sink's queue */
    unsigned drains;
};

ASYNCORE_DECLARE_LOCAL_CLASS(forwarder, asyncore_dispatcher_with_send);

static int forwarder_handle_read(struct asyncore_dispatcher *d)
{
    static char data[BLOCK];
    int n = asyncore_recv(d, data, sizeof data);

    if (n <= 0)
        return n;
    n = asyncore_isinstance(sink, &asynchat_async_chat_class)
            ? asynchat_push(sink, data, (size_t)n)
            : asyncore_send(sink, data, (size_t)n);
    if (asyncore_out_buffer_length(sink) > forwarder_of(d)->peak)
        forwarder_of(d)->peak = asyncore_out_buffer_length(sink);
    if (asyncore_out_buffer_length(sink) > MARK)
        ck_assert_int_eq(kill(reader, SIGCONT), 0);
    return n;
}

static int forwarder_handle_drain(struct asyncore_dispatcher *d)
{
    ck_assert_uint_le(asyncore_out_buffer_length(sink), MARK / 4);
    forwarder_of(d)->drains++;
    return 0;
}

static int forwarder_handle_close(struct asyncore_dispatcher *d)
{
    return asyncore_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(forwarder, asyncore_dispatcher_with_send,
                            .handle_read = forwarder_handle_read,
                            .handle_drain = forwarder_handle_drain,
                            .handle_close = forwarder_handle_close);

static bool all_is_sent(void *arg)
{
    return asyncore_fileno(arg) < 0 && asyncore_out_buffer_length(sink) == 0;
}

START_TEST(bulk_with_a_flat_queue)
{
    static const struct asyncore_class *const sinks[] = {&asyncore_dispatcher_with_send_class,
                                                         &asynchat_async_chat_class};
    const int family = _i / 4 ? AF_INET : AF_UNIX;
    int in, out;
    pid_t writer = start_child(family, write_blocks, &in);
    struct asyncore_dispatcher *d = forwarder_dispatcher(forwarder_new(in, the_map));

    reader = start_child(family, read_blocks, &out);
    ck_assert_int_eq(kill(reader, SIGSTOP), 0);
    sink = asyncore_new(sinks[_i / 2 % 2], out, the_map);
    ck_assert_ptr_nonnull(sink);
    asyncore_ref(d);
    ck_assert_int_eq(asyncore_set_back_pressure(d, sink, MARK, MARK / 4), 0);
    ck_assert_int_eq(run_until_true(the_map, _i % 2, all_is_sent, d), 0);
    ck_assert_int_eq(asyncore_close(sink), 0);
    ck_assert_uint_le(forwarder_of(d)->peak, MARK + BLOCK);
    ck_assert_uint_ge(forwarder_of(d)->drains, 1);
    asyncore_unref(d);
    check_child(writer);
    check_child(reader);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pressure_bulk");

    tcase_add_loop_test(add_case(s, tcase_create("stress_bulk")), bulk_with_a_flat_queue, 0, 8);
    return test_main(s);
}
