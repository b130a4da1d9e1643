/*
 * What the test suites share: see support.h.
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* --- running --------------------------------------------------------------------------------- */

enum {
    FD_LIST_MAX = 4096
};

struct fd_list {
    int count;
    int fds[FD_LIST_MAX];
};

static struct fd_list fds_before;
static char dir_name[64];

int test_main(Suite *s)
{
    SRunner *runner = srunner_create(s);

    srunner_run_all(runner, CK_ENV);

    int run = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    if (run == 0)
        fprintf(stderr, "no test was run\n");
    return run > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void list_fds(struct fd_list *list)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    list->count = 0;
    while ((entry = readdir(dir)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10);

        if (entry->d_name[0] == '.' || fd == dirfd(dir))
            continue;
        ck_assert_int_lt(list->count, FD_LIST_MAX);
        list->fds[list->count++] = fd;
    }
    closedir(dir);
}

static bool has_fd(const struct fd_list *list, int fd)
{
    for (int i = 0; i < list->count; i++) {
        if (list->fds[i] == fd)
            return true;
    }
    return false;
}

static void compare_fds(void)
{
    static struct fd_list now;

    list_fds(&now);
    for (int i = 0; i < now.count; i++) {
        char link[64];
        char target[128] = "";

        if (has_fd(&fds_before, now.fds[i]))
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", now.fds[i]);
        if (readlink(link, target, sizeof target - 1) < 0)
            target[0] = '\0';
        ck_abort_msg("descriptor %d (%s) is left open", now.fds[i], target);
    }
    for (int i = 0; i < fds_before.count; i++) {
        if (!has_fd(&now, fds_before.fds[i]))
            ck_abort_msg("descriptor %d was closed", fds_before.fds[i]);
    }
}

static void remove_dir(void)
{
    DIR *dir;
    const struct dirent *entry;

    if (dir_name[0] == '\0')
        return;
    dir = opendir(dir_name);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    ck_assert_int_eq(rmdir(dir_name), 0);
    dir_name[0] = '\0';
}

static void setup(void)
{
    list_fds(&fds_before);
}

static void teardown(void)
{
    asyncore_map_free(asyncore_socket_map());
    remove_dir();
    compare_fds();
}

void test_add_fixture(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, TEST_CASE_SECONDS);
}

/* --- addresses and files --------------------------------------------------------------------- */

const struct sockaddr *test_sa(const struct test_addr *addr)
{
    return (const struct sockaddr *)(const void *)&addr->storage;
}

static struct sockaddr *mutable_sa(struct test_addr *addr)
{
    return (struct sockaddr *)(void *)&addr->storage;
}

static void unused_path(char *buf, size_t size)
{
    static unsigned int number;

    ck_assert_int_lt(snprintf(buf, size, "%s/socket-%u", test_dir(), number++), (int)size);
}

struct test_addr test_addr_any(int family)
{
    struct test_addr addr = {0};

    if (family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        memcpy(&addr.storage, &in, sizeof in);
        addr.len = sizeof in;
    } else if (family == AF_INET6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

        memcpy(&addr.storage, &in6, sizeof in6);
        addr.len = sizeof in6;
    } else {
        struct sockaddr_un un = {.sun_family = AF_UNIX};

        ck_assert_int_eq(family, AF_UNIX);
        unused_path(un.sun_path, sizeof un.sun_path);
        memcpy(&addr.storage, &un, sizeof un);
        addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(un.sun_path) + 1);
    }
    return addr;
}

struct test_addr test_sockname(int fd)
{
    struct test_addr addr = {.len = sizeof addr.storage};

    ck_assert_int_eq(getsockname(fd, mutable_sa(&addr), &addr.len), 0);
    return addr;
}

struct test_addr test_peername(int fd)
{
    struct test_addr addr = {.len = sizeof addr.storage};

    ck_assert_int_eq(getpeername(fd, mutable_sa(&addr), &addr.len), 0);
    return addr;
}

uint16_t test_port(const struct test_addr *addr)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (addr->storage.ss_family == AF_INET) {
        memcpy(&in, &addr->storage, sizeof in);
        return ntohs(in.sin_port);
    }
    ck_assert_int_eq(addr->storage.ss_family, AF_INET6);
    memcpy(&in6, &addr->storage, sizeof in6);
    return ntohs(in6.sin6_port);
}

const char *test_dir(void)
{
    if (dir_name[0] != '\0')
        return dir_name;
    strcpy(dir_name, "/tmp/asyncore-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir_name));
    return dir_name;
}

const char *test_path(const char *name)
{
    static char paths[4][256];
    static unsigned int next;
    char *path = paths[next++ % 4];

    ck_assert_int_lt(snprintf(path, sizeof paths[0], "%s/%s", test_dir(), name),
                     (int)sizeof paths[0]);
    return path;
}

const char *test_file(const char *name, const void *data, size_t len)
{
    const char *path = test_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    test_write_all(fd, data, len);
    test_close(&fd);
    return path;
}

/* --- sockets --------------------------------------------------------------------------------- */

static int bound_socket(int family, struct test_addr *addr)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    *addr = test_addr_any(family);
    ck_assert_int_eq(bind(fd, test_sa(addr), addr->len), 0);
    *addr = test_sockname(fd);
    return fd;
}

int test_listener(int family, struct test_addr *addr)
{
    int fd = bound_socket(family, addr);

    ck_assert_int_eq(listen(fd, 128), 0);
    return fd;
}

int test_refuser(int family, struct test_addr *addr)
{
    return bound_socket(family, addr);
}

int test_connect(const struct test_addr *addr)
{
    int fd = socket(addr->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, test_sa(addr), addr->len), 0);
    return fd;
}

int test_accept(int listener)
{
    int fd;

    test_wait_readable(listener);
    fd = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    return fd;
}

void test_pair(int family, int pair[2])
{
    struct test_addr addr;
    int listener = test_listener(family, &addr);

    pair[0] = test_connect(&addr);
    pair[1] = test_accept(listener);
    test_close(&listener);
}

void test_socketpair(int type, int pair[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
}

void test_pipe(int pair[2])
{
    ck_assert_int_eq(pipe(pair), 0);
    ck_assert_int_eq(fcntl(pair[0], F_SETFD, FD_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(pair[1], F_SETFD, FD_CLOEXEC), 0);
}

void test_close(int *fd)
{
    ck_assert_int_eq(close(*fd), 0);
    *fd = -1;
}

void test_reset(int *fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    ck_assert_int_eq(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    test_close(fd);
}

void test_small_buffers(int fd)
{
    int size = 1;

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

size_t test_fill(int fd)
{
    static const char zeros[4096];
    size_t total = 0;
    size_t step = sizeof zeros;

    ck_assert(test_is_nonblocking(fd));
    while (step > 0) {
        ssize_t n = write(fd, zeros, step);

        if (n < 0) {
            ck_assert_msg(errno == EAGAIN, "write: %s", strerror(errno));
            step /= 2; /* a pipe takes none of a block that it cannot take whole */
            continue;
        }
        total += (size_t)n;
    }
    return total;
}

bool test_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

bool test_is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    ck_assert_int_ge(flags, 0);
    return (flags & O_NONBLOCK) != 0;
}

void test_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    ck_assert_int_ge(flags, 0);
    flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    ck_assert_int_eq(fcntl(fd, F_SETFL, flags), 0);
}

void test_need_descriptors(size_t count)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= count)
        return;
    ck_assert_msg(limit.rlim_max >= count, "the hard limit of descriptors is %llu, %zu are needed",
                  (unsigned long long)limit.rlim_max, count);
    limit.rlim_cur = count;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* --- waiting --------------------------------------------------------------------------------- */

short test_wait(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;

    do {
        n = poll(&p, 1, TEST_WAIT_SECONDS * 1000);
    } while (n < 0 && errno == EINTR);
    ck_assert_msg(n == 1, "descriptor %d: no event of %#x", fd, (unsigned int)events);
    return p.revents;
}

void test_wait_readable(int fd)
{
    (void)test_wait(fd, POLLIN);
}

void test_wait_writable(int fd)
{
    (void)test_wait(fd, POLLOUT);
}

void test_write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        test_wait_writable(fd);

        ssize_t n = write(fd, at, len);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        ck_assert_msg(n > 0, "write: %s", strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

void test_read_all(int fd, void *buf, size_t len)
{
    char *at = buf;

    while (len > 0) {
        test_wait_readable(fd);

        ssize_t n = read(fd, at, len);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        ck_assert_msg(n > 0, "read: %s", n == 0 ? "end of file" : strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

size_t test_read_to_end(int fd, void *buf, size_t size)
{
    char *at = buf;
    size_t total = 0;

    while (total < size) {
        test_wait_readable(fd);

        ssize_t n = read(fd, at + total, size - total);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == EIO)))
            break;
        ck_assert_msg(n > 0, "read: %s", strerror(errno));
        total += (size_t)n;
    }
    return total;
}

double test_now(void)
{
    struct timespec now;

    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- loops ----------------------------------------------------------------------------------- */

static bool is_set(void *arg)
{
    const bool *const *flag = arg;

    return **flag;
}

int run_until(struct asyncore_map *map, bool use_poll, const bool *flag)
{
    return run_until_true(map, use_poll, is_set, &flag);
}

int run_until_true(struct asyncore_map *map, bool use_poll, bool (*done)(void *arg), void *arg)
{
    double deadline = test_now() + TEST_WAIT_SECONDS;

    while (!done(arg)) {
        int r = asyncore_loop(1.0, use_poll, map, 1);

        if (r < 0)
            return r;
        if (done(arg))
            break;
        if (r == ASYNCORE_LOOP_EMPTY)
            return -ENOENT;
        if (test_now() > deadline)
            return -ETIMEDOUT;
    }
    return 0;
}

int run_passes(struct asyncore_map *map, bool use_poll, int count)
{
    int r = asyncore_loop(0.0, use_poll, map, count);

    return r < 0 ? r : 0;
}

/* --- capture --------------------------------------------------------------------------------- */

void test_capture_begin(struct test_capture *c, int fd)
{
    char path[] = "/tmp/asyncore-capture-XXXXXX";

    fflush(NULL);
    c->fd = fd;
    c->saved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    c->file = mkostemp(path, O_CLOEXEC | O_APPEND);
    ck_assert_int_ge(c->saved, 0);
    ck_assert_int_ge(c->file, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(dup2(c->file, fd), fd);
}

const char *test_capture_end(struct test_capture *c)
{
    ssize_t n;

    fflush(NULL);
    ck_assert_int_eq(dup2(c->saved, c->fd), c->fd);
    n = pread(c->file, c->text, sizeof c->text - 1, 0);
    ck_assert_int_ge(n, 0);
    c->text[n] = '\0';
    test_close(&c->saved);
    test_close(&c->file);
    return c->text;
}
