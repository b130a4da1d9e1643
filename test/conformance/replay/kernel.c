/* The kernel's side. */
#define _GNU_SOURCE
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#define DESCRIPTORS 256 /* kernel_exhaust leaves none of them */

char kernel_directory[256];

static int marker = -1;
static int nobodies[2] = {-1, -1}; /* bound, and not listening */
static unsigned paths;
static int hogs[DESCRIPTORS];
static int hog_count;
static struct rlimit limit;

static _Noreturn void fail(const char *what)
{
    dprintf(STDERR_FILENO, "replay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- settling -------------------------------------------------------------------------------- */

static void use_one_cpu(void)
{
    cpu_set_t all;
    cpu_set_t one;
    int wanted, cpu;

    if (sched_getaffinity(0, sizeof all, &all) < 0)
        fail("sched_getaffinity");
    wanted = (int)getpid() % CPU_COUNT(&all);
    for (cpu = 0; !CPU_ISSET((size_t)cpu, &all) || wanted-- > 0;)
        cpu++;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        fail("sched_setaffinity");
}

static int bound_socket(int family, int type)
{
    struct address a = kernel_any_address(family);
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, address_of(&a), a.length) < 0)
        fail("a socket on loopback");
    return fd;
}

static struct address name_of(int fd)
{
    struct address a = {.length = sizeof a.storage};

    if (getsockname(fd, address_of(&a), &a.length) < 0)
        fail("getsockname");
    return a;
}

void kernel_settle(void)
{
    char byte = '.';

    for (int i = 0; i < 4; i++)
        if (send(marker, &byte, 1, 0) != 1 || recv(marker, &byte, 1, 0) != 1)
            fail("the marker");
}

/* The linker puts this in front of libevent's, for the library. */
int __real_event_base_loop(struct event_base *base, int flags);
int __wrap_event_base_loop(struct event_base *base, int flags);

int __wrap_event_base_loop(struct event_base *base, int flags)
{
    kernel_settle();
    return __real_event_base_loop(base, flags);
}

void kernel_prepare(void)
{
    const char *temporary = getenv("TMPDIR");
    struct address a;

    use_one_cpu();
    snprintf(kernel_directory, sizeof kernel_directory, "%s/replay.XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(kernel_directory))
        fail("mkdtemp");
    nobodies[0] = bound_socket(AF_INET, SOCK_STREAM);
    nobodies[1] = bound_socket(AF_INET6, SOCK_STREAM);
    marker = bound_socket(AF_INET, SOCK_DGRAM);
    a = name_of(marker);
    if (connect(marker, address_of(&a), a.length) < 0)
        fail("connect");
}

void kernel_clean(void)
{
    struct bytes path = {.length = 0};

    for (; paths > 0; paths--) {
        bytes_format(&path, "%s/%u", kernel_directory, paths);
        unlink(bytes_text(&path));
        bytes_clear(&path);
    }
}

void kernel_end(void)
{
    rmdir(kernel_directory);
    close(marker);
    close(nobodies[0]);
    close(nobodies[1]);
}

/* --- addresses ------------------------------------------------------------------------------- */

void kernel_new_path(struct bytes *path)
{
    bytes_format(path, "%s/%u", kernel_directory, ++paths);
}

struct address kernel_path_address(const char *path)
{
    struct address a = {.storage.ss_family = AF_UNIX};
    struct sockaddr_un *un = (struct sockaddr_un *)&a.storage;
    size_t length = strlen(path);

    if (length >= sizeof un->sun_path) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    memcpy(un->sun_path, path, length + 1);
    a.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return a;
}

struct address kernel_any_address(int family)
{
    struct address a = {.storage.ss_family = (sa_family_t)family};
    struct bytes path = {.length = 0};

    if (family == AF_INET) {
        a.length = sizeof(struct sockaddr_in);
        ((struct sockaddr_in *)&a.storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (family == AF_INET6) {
        a.length = sizeof(struct sockaddr_in6);
        ((struct sockaddr_in6 *)&a.storage)->sin6_addr = in6addr_loopback;
    } else {
        kernel_new_path(&path);
        a = kernel_path_address(bytes_text(&path));
        bytes_clear(&path);
    }
    return a;
}

struct address kernel_nobody(int family)
{
    struct bytes path = {.length = 0};
    struct address a;

    if (family != AF_UNIX)
        return name_of(nobodies[family == AF_INET6]);
    bytes_format(&path, "%s/nobody", kernel_directory);
    a = kernel_path_address(bytes_text(&path));
    bytes_clear(&path);
    return a;
}

uint16_t kernel_port(const struct address *a)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->storage;

    return ntohs(in->sin_port); /* in6 has it there too */
}

static bool same_path(const struct sockaddr *a, socklen_t a_length, const struct sockaddr *b,
                      socklen_t b_length)
{
    const struct sockaddr_un *x = (const struct sockaddr_un *)(const void *)a;
    const struct sockaddr_un *y = (const struct sockaddr_un *)(const void *)b;
    const size_t before = offsetof(struct sockaddr_un, sun_path);

    if (a_length <= before || b_length <= before)
        return a_length <= before && b_length <= before;
    return strncmp(x->sun_path, y->sun_path,
                   (a_length < b_length ? a_length : b_length) - before) == 0;
}

bool kernel_same_address(const struct sockaddr *a, socklen_t a_length, const struct sockaddr *b,
                         socklen_t b_length)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *x = (const struct sockaddr_in *)(const void *)a;
        const struct sockaddr_in *y = (const struct sockaddr_in *)(const void *)b;

        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)(const void *)a;
        const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)(const void *)b;

        return x->sin6_port == y->sin6_port && x->sin6_flowinfo == y->sin6_flowinfo &&
               x->sin6_scope_id == y->sin6_scope_id &&
               memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
    }
    return same_path(a, a_length, b, b_length);
}

/* --- descriptors ----------------------------------------------------------------------------- */

int kernel_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;
    int count = -1; /* this one's own */

    if (!directory)
        fail("/proc/self/fd");
    while ((entry = readdir(directory)))
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

void kernel_exhaust(void)
{
    struct rlimit few;
    int fd;

    if (hog_count > 0)
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    few = (struct rlimit){.rlim_cur = DESCRIPTORS, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &few) < 0)
        fail("setrlimit");
    while (hog_count < DESCRIPTORS && (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        hogs[hog_count++] = fd;
}

void kernel_relent(void)
{
    if (hog_count > 0 && setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("setrlimit");
    while (hog_count > 0)
        close(hogs[--hog_count]);
}
