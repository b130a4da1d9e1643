/*
 * What the test suites share: a fixture that counts descriptors, sockets on the loopback, waiting
 * without timing, and the capture of what is printed.
 *
 * A helper that cannot do its work fails the test that called it. No helper sleeps: each waits for
 * an event, with a bound that only a hung test reaches.
 */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <asyncore/asyncore.h>

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define TEST_WAIT_SECONDS 20 /* how long a helper waits for what must come */
#define TEST_CASE_SECONDS 60 /* how long a test may run */

/* --- running --------------------------------------------------------------------------------- */

/* Runs the suite as the environment says (CK_RUN_CASE, CK_FORK), frees it, and returns the
 * program's exit status: a run without any test has failed. */
int test_main(Suite *s);

/* Every test case has this fixture; add it before others. Around each test it compares the open
 * descriptors. After the test it frees the default map and removes test_dir. */
void test_add_fixture(TCase *tc);

/* --- addresses and files --------------------------------------------------------------------- */

struct test_addr {
    struct sockaddr_storage storage;
    socklen_t len;
};

const struct sockaddr *test_sa(const struct test_addr *addr);

/* 127.0.0.1, ::1, with port 0, or an unused Unix path in test_dir. */
struct test_addr test_addr_any(int family);

/* The address that fd is bound to, or connected to. */
struct test_addr test_sockname(int fd);
struct test_addr test_peername(int fd);

/* The port of an IPv4 or IPv6 address, in the host's order. */
uint16_t test_port(const struct test_addr *addr);

/* A directory for the running test, made at the first call. */
const char *test_dir(void);

/* PATH/name in test_dir, in a buffer that the next call of four overwrites. */
const char *test_path(const char *name);

/* A new file in test_dir with this content; its path, as test_path. */
const char *test_file(const char *name, const void *data, size_t len);

/* --- sockets: blocking and close-on-exec unless stated otherwise ------------------------------ */

/* A listening stream socket of the family on test_addr_any; its address in *addr. */
int test_listener(int family, struct test_addr *addr);

/* Bound and not listening: connecting to it is refused while it is open. */
int test_refuser(int family, struct test_addr *addr);

/* A socket that is connected to addr. */
int test_connect(const struct test_addr *addr);

/* The next connection of a listener. */
int test_accept(int listener);

/* A connected pair of stream sockets of the family: TCP, or Unix. */
void test_pair(int family, int pair[2]);

/* socketpair(AF_UNIX, type), and pipe: [0] reads, [1] writes. */
void test_socketpair(int type, int pair[2]);
void test_pipe(int pair[2]);

/* Closes *fd and sets it to -1. */
void test_close(int *fd);

/* Closes *fd with a reset to its peer (SO_LINGER with 0), and sets it to -1. */
void test_reset(int *fd);

/* Makes both of the socket's buffers as small as the kernel lets them be. */
void test_small_buffers(int fd);

/* Writes until fd takes no more; how many bytes that were. fd must be non-blocking. */
size_t test_fill(int fd);

bool test_is_open(int fd);
bool test_is_nonblocking(int fd);
void test_set_nonblocking(int fd, bool on);

/* Raises the soft limit of descriptors to count if it is lower. */
void test_need_descriptors(size_t count);

/* --- waiting --------------------------------------------------------------------------------- */

/* Waits with poll(2) for one of events; what came. Nothing in TEST_WAIT_SECONDS: fails. */
short test_wait(int fd, short events);
void test_wait_readable(int fd);
void test_wait_writable(int fd);

/* Writes, or reads, exactly len bytes, waiting as needed. The end of the stream fails. */
void test_write_all(int fd, const void *data, size_t len);
void test_read_all(int fd, void *buf, size_t len);

/* Reads up to the end of the stream, at most size bytes; how many. A reset counts as the end. */
size_t test_read_to_end(int fd, void *buf, size_t size);

/* Seconds of the monotonic clock. */
double test_now(void);

/* --- loops ----------------------------------------------------------------------------------- */

/* Runs passes of the map until *flag is set: 0. What ends it otherwise: the negative result of
 * asyncore_loop, -ENOENT when the map is empty, -ETIMEDOUT after TEST_WAIT_SECONDS. */
int run_until(struct asyncore_map *map, bool use_poll, const bool *flag);

/* The same until done(arg) is true. */
int run_until_true(struct asyncore_map *map, bool use_poll, bool (*done)(void *arg), void *arg);

/* Runs count passes that do not wait; 0, or what asyncore_loop returned if that is negative. */
int run_passes(struct asyncore_map *map, bool use_poll, int count);

/* --- capture --------------------------------------------------------------------------------- */

struct test_capture {
    int fd;    /* STDOUT_FILENO or STDERR_FILENO */
    int saved; /* where it went before */
    int file;  /* where it goes now */
    char text[8192];
};

/* From here on fd goes to a file. */
void test_capture_begin(struct test_capture *c, int fd);

/* Restores fd. What was written, at most sizeof text - 1 bytes; it stays in c->text. */
const char *test_capture_end(struct test_capture *c);

#endif
