/*
 * dispatcher: construction, the map, sockets, addresses, data, printable forms, logging, and what
 * its methods do by default.
 */
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* The methods that were called, in order, each followed by a space. */
static char trace[512];

/* What handle_connect returns, and whether it closes first. */
static int connect_result;
static bool connect_closes;

static void note(const char *what)
{
    size_t used = strlen(trace);

    snprintf(trace + used, sizeof trace - used, "%s ", what);
}

struct recorder {
    struct asyncore_dispatcher base;
};

static int recorder_handle_read(struct asyncore_dispatcher *d)
{
    (void)d;
    note("read");
    return 0;
}

static int recorder_handle_write(struct asyncore_dispatcher *d)
{
    (void)d;
    note("write");
    return 0;
}

static int recorder_handle_expt(struct asyncore_dispatcher *d)
{
    (void)d;
    note("expt");
    return 0;
}

static int recorder_handle_connect(struct asyncore_dispatcher *d)
{
    note("connect");
    if (connect_closes)
        asyncore_close(d);
    return connect_result;
}

static int recorder_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                    const struct sockaddr *addr, socklen_t addrlen)
{
    (void)d;
    (void)addr;
    (void)addrlen;
    note("accepted");
    close(sock);
    return 0;
}

static int recorder_handle_close(struct asyncore_dispatcher *d)
{
    note("close");
    return asyncore_close(d);
}

static int recorder_handle_error(struct asyncore_dispatcher *d)
{
    note("error");
    return asyncore_close(d);
}

ASYNCORE_CLASS(recorder, asyncore_dispatcher, .handle_read = recorder_handle_read,
               .handle_write = recorder_handle_write, .handle_expt = recorder_handle_expt,
               .handle_connect = recorder_handle_connect,
               .handle_accepted = recorder_handle_accepted, .handle_close = recorder_handle_close,
               .handle_error = recorder_handle_error);

static struct asyncore_dispatcher *new_recorder(int fd)
{
    struct recorder *recorder = recorder_new(fd, NULL);

    ck_assert_ptr_nonnull(recorder);
    return recorder_dispatcher(recorder);
}

static struct asyncore_dispatcher *new_plain(int fd)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(fd, NULL);

    ck_assert_ptr_nonnull(d);
    return d;
}

static int new_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static void assert_addr(const struct asyncore_dispatcher *d, const struct test_addr *expected)
{
    socklen_t len = 0;
    const struct sockaddr *addr = asyncore_addr(d, &len);

    ck_assert_ptr_nonnull(addr);
    ck_assert_uint_eq(len, expected->len);
    ck_assert_mem_eq(addr, &expected->storage, len);
}

static int get_int(struct asyncore_dispatcher *d, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    ck_assert_int_eq(asyncore_getsockopt(d, SOL_SOCKET, name, &value, &len), 0);
    return value;
}

/* --- construction ---------------------------------------------------------------------------- */

START_TEST(new_without_socket)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    socklen_t len = 1;

    ck_assert_ptr_eq(d->cls, &asyncore_dispatcher_class);
    ck_assert_ptr_eq(d->map, asyncore_socket_map());
    ck_assert(!d->connected && !d->accepting && !d->connecting && !d->closing && !d->debug);
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_ptr_null(asyncore_socket(d));
    ck_assert_ptr_null(asyncore_addr(d, &len));
    ck_assert_uint_eq(len, 0);
    ck_assert_ptr_null(asyncore_addr(d, NULL));
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
}
END_TEST

START_TEST(new_with_a_connected_socket)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    int pair[2];

    test_pair(families[_i], pair);

    struct test_addr peer = test_peername(pair[0]);
    const struct asyncore_dispatcher *d = new_plain(pair[0]);

    ck_assert(d->connected);
    ck_assert(!d->accepting && !d->connecting);
    ck_assert_int_eq(asyncore_fileno(d), pair[0]);
    ck_assert(test_is_nonblocking(pair[0]));
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
    assert_addr(d, &peer);
    test_close(&pair[1]);
}
END_TEST

START_TEST(new_with_a_listening_socket)
{
    struct test_addr addr;
    const struct asyncore_dispatcher *d = new_plain(test_listener(AF_INET, &addr));

    ck_assert(d->accepting);
    ck_assert(!d->connected && !d->connecting);
    ck_assert(test_is_nonblocking(asyncore_fileno(d)));
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
}
END_TEST

START_TEST(new_with_an_unconnected_socket)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    const struct asyncore_dispatcher *d = new_plain(new_socket(AF_INET, types[_i]));

    ck_assert(!d->connected && !d->accepting && !d->connecting);
    ck_assert(test_is_nonblocking(asyncore_fileno(d)));
    ck_assert_ptr_null(asyncore_addr(d, NULL));
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
}
END_TEST

START_TEST(new_with_a_connected_datagram_socket)
{
    int peer = new_socket(AF_INET, SOCK_DGRAM);
    int fd = new_socket(AF_INET, SOCK_DGRAM);
    struct test_addr addr = test_addr_any(AF_INET);

    ck_assert_int_eq(bind(peer, test_sa(&addr), addr.len), 0);
    addr = test_sockname(peer);
    ck_assert_int_eq(connect(fd, test_sa(&addr), addr.len), 0);

    const struct asyncore_dispatcher *d = new_plain(fd);

    ck_assert(d->connected);
    assert_addr(d, &addr);
    test_close(&peer);
}
END_TEST

START_TEST(new_with_a_bad_descriptor)
{
    int fd = new_socket(AF_INET, SOCK_STREAM);
    int number = fd;

    test_close(&fd);
    (void)asyncore_socket_map(); /* its descriptors must not take the number */
    while (test_is_open(number))
        number++;
    errno = 0;
    ck_assert_ptr_null(asyncore_dispatcher_new(number, NULL));
    ck_assert_int_eq(errno, EBADF);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
}
END_TEST

START_TEST(new_with_what_is_no_socket)
{
    int pair[2];

    test_pipe(pair);
    errno = 0;
    ck_assert_ptr_null(asyncore_dispatcher_new(pair[0], NULL));
    ck_assert_int_eq(errno, ENOTSOCK);
    ck_assert(!test_is_open(pair[0])); /* consumed all the same */
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&pair[1]);
}
END_TEST

START_TEST(new_in_a_map_of_its_own)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);

    const struct asyncore_dispatcher *d = asyncore_dispatcher_new(pair[0], map);

    ck_assert_ptr_eq(d->map, map);
    ck_assert_ptr_eq(asyncore_map_next(map, NULL), d);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    asyncore_map_free(map);
    ck_assert(!test_is_open(pair[0]));
    test_close(&pair[1]);
}
END_TEST

/* --- the map --------------------------------------------------------------------------------- */

static struct asyncore_dispatcher *new_pair_end(int *peer)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    *peer = pair[1];
    return new_plain(pair[0]);
}

START_TEST(add_channel_keeps_the_order)
{
    int peers[3];
    struct asyncore_dispatcher *d[3];

    for (int i = 0; i < 3; i++)
        d[i] = new_pair_end(&peers[i]);
    ck_assert_int_eq(asyncore_add_channel(d[0], NULL), 0); /* it is in: stays where it is */
    ck_assert_uint_eq(asyncore_map_length(NULL), 3);
    ck_assert_ptr_eq(asyncore_map_next(NULL, NULL), d[0]);
    ck_assert_ptr_eq(asyncore_map_next(NULL, d[0]), d[1]);
    ck_assert_ptr_eq(asyncore_map_next(NULL, d[1]), d[2]);
    ck_assert_ptr_null(asyncore_map_next(NULL, d[2]));

    asyncore_del_channel(d[0]);
    asyncore_del_channel(d[0]);
    ck_assert_uint_eq(asyncore_map_length(NULL), 2);
    ck_assert_ptr_eq(asyncore_map_next(NULL, NULL), d[1]);
    ck_assert(test_is_open(asyncore_fileno(d[0]))); /* still owned, with its socket */

    ck_assert_int_eq(asyncore_add_channel(d[0], NULL), 0);
    ck_assert_ptr_eq(asyncore_map_next(NULL, d[2]), d[0]);
    for (int i = 0; i < 3; i++)
        test_close(&peers[i]);
}
END_TEST

START_TEST(add_channel_needs_a_socket)
{
    struct asyncore_dispatcher *d = new_plain(-1);

    ck_assert_int_eq(asyncore_add_channel(d, NULL), -EBADF);
    asyncore_del_channel(d);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
}
END_TEST

START_TEST(a_channel_out_of_the_map_is_not_served)
{
    int pair[2];
    struct asyncore_dispatcher *d;

    test_socketpair(SOCK_STREAM, pair);
    d = new_recorder(pair[0]);
    asyncore_del_channel(d);
    test_write_all(pair[1], "x", 1);
    test_wait_readable(pair[0]);
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    ck_assert_str_eq(trace, "");
    ck_assert_int_eq(asyncore_add_channel(d, NULL), 0);
    ck_assert_int_eq(run_passes(NULL, false, 1), 0);
    ck_assert_ptr_nonnull(strstr(trace, "read "));
    test_close(&pair[1]);
}
END_TEST

START_TEST(add_channel_moves_to_another_map)
{
    struct asyncore_map *first = asyncore_map_new(NULL);
    struct asyncore_map *second = asyncore_map_new(NULL);
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);

    struct recorder *recorder = recorder_new(pair[0], first);
    struct asyncore_dispatcher *d = recorder_dispatcher(recorder);

    ck_assert_int_eq(asyncore_add_channel(d, second), 0);
    ck_assert_ptr_eq(d->map, second);
    ck_assert_uint_eq(asyncore_map_length(first), 0);
    ck_assert_uint_eq(asyncore_map_length(second), 1);
    asyncore_map_free(first); /* no longer the owner */
    test_write_all(pair[1], "x", 1);
    test_wait_readable(pair[0]);
    ck_assert_int_eq(run_passes(second, false, 1), 0);
    ck_assert_ptr_nonnull(strstr(trace, "read "));
    asyncore_map_free(second);
    ck_assert(!test_is_open(pair[0]));
    test_close(&pair[1]);
}
END_TEST

START_TEST(a_freed_map_takes_nothing)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    struct asyncore_dispatcher *held = asyncore_ref(asyncore_dispatcher_new(-1, map));
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    asyncore_map_free(map); /* stays for the sake of held */

    struct asyncore_dispatcher *d = new_plain(pair[0]);

    ck_assert_int_eq(asyncore_add_channel(d, held->map), -EINVAL);
    ck_assert_ptr_eq(d->map, asyncore_socket_map());
    ck_assert_int_eq(asyncore_create_socket(held, AF_INET, SOCK_STREAM), -EINVAL);
    errno = 0;
    ck_assert_ptr_null(asyncore_dispatcher_new(pair[1], held->map));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert(!test_is_open(pair[1]));
    asyncore_unref(held);
}
END_TEST

START_TEST(detach_gives_the_descriptor)
{
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_pair_end(&peer));
    int number = asyncore_fileno(d);
    int fd = asyncore_detach(d);

    ck_assert_int_eq(fd, number);
    ck_assert(test_is_nonblocking(fd));
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert(!d->connected);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    ck_assert_int_eq(asyncore_detach(d), -EBADF);
    asyncore_unref(d);
    ck_assert_int_eq(run_passes(NULL, false, 1), 0);
    test_write_all(peer, "x", 1); /* still connected */
    test_wait_readable(fd);
    test_close(&fd);
    test_close(&peer);
}
END_TEST

/* --- sockets --------------------------------------------------------------------------------- */

static const struct {
    int family;
    int type;
} kinds[] = {{AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM},  {AF_INET6, SOCK_STREAM},
             {AF_INET6, SOCK_DGRAM}, {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM}};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

START_TEST(create_socket_of_every_kind)
{
    struct asyncore_dispatcher *d = new_plain(-1);

    ck_assert_int_eq(asyncore_create_socket(d, kinds[_i].family, kinds[_i].type), 0);
    ck_assert_int_eq(get_int(d, SO_DOMAIN), kinds[_i].family);
    ck_assert_int_eq(get_int(d, SO_TYPE), kinds[_i].type);
    ck_assert(test_is_nonblocking(asyncore_fileno(d)));
    ck_assert_int_eq(fcntl(asyncore_fileno(d), F_GETFD), FD_CLOEXEC);
    ck_assert(!d->connected && !d->accepting && !d->connecting);
    ck_assert_ptr_eq(asyncore_map_next(NULL, NULL), d);
}
END_TEST

START_TEST(create_socket_replaces)
{
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);
    char byte;

    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_uint_eq(test_read_to_end(peer, &byte, 1), 0); /* the old one is closed */
    ck_assert_int_eq(get_int(d, SO_DOMAIN), AF_INET);
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
    test_close(&peer);
}
END_TEST

START_TEST(create_socket_that_fails)
{
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);
    int fd = asyncore_fileno(d);

    ck_assert_int_eq(asyncore_create_socket(d, 4711, SOCK_STREAM), -EAFNOSUPPORT);
    ck_assert_int_eq(asyncore_fileno(d), fd);
    ck_assert(test_is_open(fd));
    test_close(&peer);
}
END_TEST

START_TEST(set_socket_replaces)
{
    struct asyncore_map *other = asyncore_map_new(NULL);
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);
    int fd = new_socket(AF_INET, SOCK_STREAM);
    char byte;

    ck_assert_int_eq(asyncore_set_socket(d, fd, other), 0);
    ck_assert_int_eq(asyncore_fileno(d), fd);
    ck_assert(test_is_nonblocking(fd));
    ck_assert_uint_eq(test_read_to_end(peer, &byte, 1), 0);
    ck_assert_ptr_eq(d->map, other);
    ck_assert_uint_eq(asyncore_map_length(other), 1);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&peer);
    asyncore_map_free(other);
}
END_TEST

START_TEST(set_socket_does_not_look)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(asyncore_set_socket(d, pair[0], NULL), 0);
    ck_assert(!d->connected);
    asyncore_set_connected(d, true);
    ck_assert(d->connected);
    test_close(&pair[1]);
}
END_TEST

START_TEST(set_socket_that_fails)
{
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);
    int fd = asyncore_fileno(d);
    int pair[2];

    test_pipe(pair);
    ck_assert_int_eq(asyncore_set_socket(d, pair[0], NULL), -ENOTSOCK);
    ck_assert(!test_is_open(pair[0]));
    ck_assert_int_eq(asyncore_set_socket(d, pair[0], NULL), -EBADF);
    ck_assert_int_eq(asyncore_fileno(d), fd); /* keeps what it had */
    ck_assert(test_is_open(fd));
    ck_assert_int_eq(asyncore_send(d, "x", 1), 1);
    test_close(&pair[1]);
    test_close(&peer);
}
END_TEST

START_TEST(socket_object)
{
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);
    const struct asyncore_socket *s = asyncore_socket(d);
    int fd = asyncore_fileno(d);

    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(asyncore_socket_fileno(s), fd);
    ck_assert_int_eq(asyncore_set_socket_object(d, asyncore_file_wrapper_new(fd), NULL), 0);
    ck_assert_ptr_ne(asyncore_socket(d)->cls, s->cls);
    ck_assert(!test_is_open(fd));
    ck_assert_int_eq(asyncore_send(d, "x", 1), 1);
    test_close(&peer);
}
END_TEST

START_TEST(set_reuse)
{
    struct asyncore_dispatcher *d = new_plain(-1);

    ck_assert_int_eq(asyncore_set_reuse_addr(d), -EBADF);
    ck_assert_int_eq(asyncore_set_reuse_port(d), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(get_int(d, SO_REUSEPORT), 0);
    ck_assert_int_eq(asyncore_set_reuse_addr(d), 0);
    ck_assert_int_eq(asyncore_set_reuse_port(d), 0);
    ck_assert_int_ne(get_int(d, SO_REUSEADDR), 0);
    ck_assert_int_ne(get_int(d, SO_REUSEPORT), 0);
}
END_TEST

START_TEST(listen_is_accepting)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_addr addr = test_addr_any(AF_INET);

    ck_assert_int_eq(asyncore_listen(d, 5), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_DGRAM), 0);
    ck_assert_int_eq(asyncore_listen(d, 5), -EOPNOTSUPP);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    asyncore_set_accepting(d, false);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(asyncore_listen(d, 5), 0);
    ck_assert(d->accepting);
    ck_assert_int_eq(get_int(d, SO_ACCEPTCONN), 1);
}
END_TEST

START_TEST(bind_notes_the_address)
{
    struct test_addr taken;
    int refuser = test_refuser(AF_INET, &taken);
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_addr any = test_addr_any(AF_INET6);

    ck_assert_int_eq(asyncore_bind(d, test_sa(&any), any.len), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&taken), taken.len), -EADDRINUSE);
    assert_addr(d, &taken);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET6, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&any), any.len), 0);
    assert_addr(d, &any); /* as given: with port 0 */
    any = test_addr_any(AF_UNIX);
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&any), any.len), 0);
    assert_addr(d, &any);
    test_close(&refuser);
}
END_TEST

START_TEST(close_twice)
{
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_pair_end(&peer));
    int fd = asyncore_fileno(d);

    asyncore_set_accepting(d, true);
    asyncore_set_connecting(d, true);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert(!d->connected && !d->accepting && !d->connecting);
    ck_assert(!test_is_open(fd));
    ck_assert_int_eq(asyncore_fileno(d), -1);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_add_channel(d, NULL), -EBADF);
    asyncore_unref(d);
    test_close(&peer);
}
END_TEST

START_TEST(close_of_what_is_closed_already)
{
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);
    int fd = asyncore_fileno(d);

    test_close(&fd); /* behind the channel's back */
    ck_assert_int_eq(asyncore_close(d), 0);
    test_close(&peer);
}
END_TEST

START_TEST(close_and_a_new_socket)
{
    int peer;
    struct asyncore_dispatcher *d = new_pair_end(&peer);

    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    ck_assert_ptr_eq(asyncore_map_next(NULL, NULL), d); /* it was not destroyed */
    ck_assert_int_ge(asyncore_fileno(d), 0);
    test_close(&peer);
}
END_TEST

/* --- connections ----------------------------------------------------------------------------- */

static bool has_error(void *arg)
{
    (void)arg;
    return strstr(trace, "error ") != NULL;
}

static bool is_connected(void *arg)
{
    const struct asyncore_dispatcher *d = arg;

    return d->connected;
}

START_TEST(connect_in_progress)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct test_addr addr;
    int listener = test_listener(families[_i], &addr);
    struct asyncore_dispatcher *d = new_recorder(-1);

    ck_assert_int_eq(asyncore_create_socket(d, families[_i], SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    assert_addr(d, &addr);
    ck_assert_int_eq(run_until_true(NULL, _i == 1, is_connected, d), 0);
    ck_assert(!d->connecting);
    ck_assert_int_eq(strncmp(trace, "connect ", 8), 0);
    ck_assert_ptr_null(strstr(trace + 1, "connect "));
    test_close(&listener);
}
END_TEST

START_TEST(connect_refused)
{
    struct test_addr addr;
    int refuser = test_refuser(AF_INET, &addr);
    struct asyncore_dispatcher *d = asyncore_ref(new_recorder(-1));
    int r;

    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    r = asyncore_connect(d, test_sa(&addr), addr.len);
    ck_assert(!d->connected);
    ck_assert(d->connecting);
    if (r == 0) {
        ck_assert_int_eq(run_until_true(NULL, _i == 1, has_error, NULL), 0);
        r = asyncore_compact_traceback(d)->error;
    }
    ck_assert_int_eq(r, -ECONNREFUSED);
    ck_assert_ptr_null(strstr(trace, "connect "));
    asyncore_unref(d);
    test_close(&refuser);
}
END_TEST

START_TEST(connect_that_fails_at_once)
{
    struct asyncore_dispatcher *d = new_recorder(-1);
    struct test_addr addr = test_addr_any(AF_UNIX);
    int refuser;

    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), -ENOENT);
    ck_assert(d->connecting); /* as in Python */
    ck_assert_ptr_null(asyncore_addr(d, NULL));
    refuser = test_refuser(AF_UNIX, &addr);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), -ECONNREFUSED);
    ck_assert_str_eq(trace, "");
    test_close(&refuser);
}
END_TEST

START_TEST(connect_at_once)
{
    struct test_addr addr;
    int listener = test_listener(AF_UNIX, &addr);
    struct asyncore_dispatcher *d = new_recorder(-1);

    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    ck_assert_str_eq(trace, "connect ");
    ck_assert(d->connected);
    ck_assert(!d->connecting);
    assert_addr(d, &addr);
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    ck_assert_ptr_null(strstr(trace + 1, "connect "));
    test_close(&listener);
}
END_TEST

START_TEST(connect_passes_on_the_error_of_handle_connect)
{
    struct test_addr addr;
    int listener = test_listener(AF_UNIX, &addr);
    struct asyncore_dispatcher *d = new_recorder(-1);

    connect_result = -EPROTO;
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), -EPROTO);
    ck_assert_str_eq(trace, "connect ");
    ck_assert(!d->connected);
    ck_assert(d->connecting);
    connect_result = 7; /* up from 0: no failure */
    ck_assert_int_ge(asyncore_handle_connect_event(d), 0);
    ck_assert(d->connected);
    test_close(&listener);
}
END_TEST

START_TEST(connect_of_what_is_connected)
{
    int pair[2];
    struct asyncore_dispatcher *d;
    struct test_addr addr;

    test_pair(AF_INET, pair);
    addr = test_peername(pair[0]);
    d = new_recorder(pair[0]);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    ck_assert_str_eq(trace, "connect ");
    ck_assert(d->connected);
    test_close(&pair[1]);
}
END_TEST

START_TEST(accept_gives_a_socket_and_its_address)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    struct test_addr addr;
    struct test_addr peer = {.len = sizeof peer.storage};
    struct asyncore_dispatcher *d = new_plain(test_listener(families[_i], &addr));
    int client;
    int fd;

    ck_assert_int_eq(asyncore_accept(d, NULL, NULL), -EAGAIN);
    client = test_connect(&addr);
    fd = asyncore_accept(d, (struct sockaddr *)&peer.storage, &peer.len);
    ck_assert_int_ge(fd, 0);
    ck_assert(test_is_nonblocking(fd));
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    addr = test_sockname(client);
    ck_assert_uint_eq(peer.len, addr.len);
    ck_assert_mem_eq(&peer.storage, &addr.storage, addr.len);
    test_close(&fd);
    test_close(&client);
}
END_TEST

START_TEST(accept_with_little_room)
{
    struct test_addr addr;
    struct asyncore_dispatcher *d = new_plain(test_listener(AF_INET, &addr));
    int client = test_connect(&addr);
    unsigned char buf[4] = {0, 0, 77, 77};
    socklen_t len = 2;
    int fd = asyncore_accept(d, (struct sockaddr *)(void *)buf, &len);
    sa_family_t family;

    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(len, sizeof(struct sockaddr_in)); /* what it would have taken */
    memcpy(&family, buf, sizeof family);
    ck_assert_int_eq(family, AF_INET);
    ck_assert_uint_eq(buf[2], 77);
    test_close(&fd);
    test_close(&client);
}
END_TEST

START_TEST(accept_that_fails)
{
    struct asyncore_dispatcher *d = new_plain(-1);

    ck_assert_int_eq(asyncore_accept(d, NULL, NULL), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_accept(d, NULL, NULL), -EINVAL); /* it does not listen */
}
END_TEST

/* A descriptor that accept gave, was closed, and is another socket now. */
START_TEST(accept_and_the_number_again)
{
    struct test_addr addr;
    struct asyncore_dispatcher *listener = new_plain(test_listener(AF_INET, &addr));
    int client = test_connect(&addr);
    int fd = asyncore_accept(listener, NULL, NULL);
    int number = fd;

    ck_assert_int_ge(fd, 0);
    test_close(&fd);
    fd = new_socket(AF_INET, SOCK_DGRAM);
    ck_assert_int_eq(fd, number);

    const struct asyncore_dispatcher *d = new_plain(fd);

    ck_assert(!d->connected);
    ck_assert_ptr_null(asyncore_addr(d, NULL));
    ck_assert(test_is_nonblocking(fd));
    test_close(&client);
}
END_TEST

/* --- hosts ----------------------------------------------------------------------------------- */

/* No resolver sends this anywhere: a label has at most 63 bytes. */
static const char no_host[] =
    "a-name-whose-only-label-is-longer-than-the-sixty-three-bytes-that-dns-has";

START_TEST(bind_host_of_every_form)
{
    static const struct {
        int family;
        const char *host;
        const char *address;
    } forms[] = {
        {AF_INET, "127.0.0.1", "127.0.0.1"},
        {AF_INET, "localhost", "127.0.0.1"},
        {AF_INET, NULL, "0.0.0.0"},
        {AF_INET, "", "0.0.0.0"},
        {AF_INET6, "::1", "::1"},
        {AF_INET6, NULL, "::"},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct asyncore_dispatcher *d = new_plain(-1);
        struct test_addr bound;
        char expected[128];
        char got[128];

        ck_assert_int_eq(asyncore_create_socket(d, forms[i].family, SOCK_STREAM), 0);
        ck_assert_int_eq(asyncore_bind_host(d, forms[i].host, 0), 0);
        bound = test_sockname(asyncore_fileno(d));
        ck_assert_uint_ne(test_port(&bound), 0);
        snprintf(expected, sizeof expected, "('%s', %u%s)", forms[i].address, test_port(&bound),
                 forms[i].family == AF_INET6 ? ", 0, 0" : "");
        asyncore_addr_repr(test_sa(&bound), bound.len, got, sizeof got);
        ck_assert_str_eq(got, expected);
        ck_assert_ptr_nonnull(asyncore_addr(d, NULL));
    }
}
END_TEST

START_TEST(connect_host_of_every_form)
{
    static const struct {
        int family;
        const char *host;
    } forms[] = {{AF_INET, "127.0.0.1"}, {AF_INET, "localhost"}, {AF_INET, NULL},
                 {AF_INET, ""},          {AF_INET6, "::1"},      {AF_INET6, NULL}};
    struct test_addr addr;
    int listener = test_listener(forms[_i].family, &addr);
    struct asyncore_dispatcher *d = new_recorder(-1);

    ck_assert_int_eq(asyncore_create_socket(d, forms[_i].family, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect_host(d, forms[_i].host, test_port(&addr)), 0);
    ck_assert_int_eq(run_until_true(NULL, false, is_connected, d), 0);
    assert_addr(d, &addr);
    test_close(&listener);
}
END_TEST

START_TEST(host_that_does_not_exist)
{
    struct asyncore_dispatcher *d = new_plain(-1);

    ck_assert_int_eq(asyncore_bind_host(d, "127.0.0.1", 0), -EBADF);
    ck_assert_int_eq(asyncore_connect_host(d, "127.0.0.1", 1), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect_host(d, no_host, 80), -EADDRNOTAVAIL);
    ck_assert_int_eq(asyncore_compact_traceback(d)->error, -EADDRNOTAVAIL);
    ck_assert_str_ne(asyncore_compact_traceback(d)->message, strerror(EADDRNOTAVAIL));
    ck_assert_str_ne(asyncore_compact_traceback(d)->message, "");
    ck_assert_int_eq(asyncore_bind_host(d, no_host, 0), -EADDRNOTAVAIL);
    ck_assert_int_eq(asyncore_bind_host(d, "::1", 0), -EADDRNOTAVAIL); /* the other family */
    ck_assert(!d->connecting);
    ck_assert_ptr_null(asyncore_addr(d, NULL));
}
END_TEST

/* --- data ------------------------------------------------------------------------------------ */

START_TEST(send_and_recv)
{
    int pair[2];
    char buf[16];

    test_pair(AF_INET, pair);

    struct asyncore_dispatcher *d = new_recorder(pair[0]);

    ck_assert_int_eq(asyncore_recv(d, buf, sizeof buf), -EAGAIN);
    ck_assert_int_eq(asyncore_send(d, "hello", 5), 5);
    test_read_all(pair[1], buf, 5);
    ck_assert_mem_eq(buf, "hello", 5);
    test_write_all(pair[1], "world!", 6);
    test_wait_readable(pair[0]);
    ck_assert_int_eq(asyncore_recv(d, buf, 5), 5);
    ck_assert_int_eq(asyncore_recv(d, buf + 5, 5), 1);
    ck_assert_mem_eq(buf, "world!", 6);
    ck_assert_str_eq(trace, "");
    test_close(&pair[1]);
}
END_TEST

START_TEST(send_that_comes_up_short)
{
    static char data[1 << 20];
    int pair[2];
    int n;

    test_socketpair(SOCK_STREAM, pair);
    test_small_buffers(pair[0]);

    struct asyncore_dispatcher *d = new_recorder(pair[0]);

    n = asyncore_send(d, data, sizeof data);
    ck_assert_int_gt(n, 0);
    ck_assert_int_lt(n, (int)sizeof data);
    test_fill(pair[0]);
    ck_assert_int_eq(asyncore_send(d, data, sizeof data), 0);
    ck_assert_str_eq(trace, "");
    test_close(&pair[1]);
}
END_TEST

START_TEST(recv_at_the_end)
{
    int pair[2];
    char buf[16];
    struct asyncore_dispatcher *d;

    test_pair(AF_INET, pair);
    d = asyncore_ref(new_recorder(pair[0]));
    test_close(&pair[1]);
    test_wait_readable(pair[0]);
    ck_assert_int_eq(asyncore_recv(d, buf, sizeof buf), 0);
    ck_assert_str_eq(trace, "close ");
    ck_assert_int_eq(asyncore_recv(d, buf, sizeof buf), 0); /* closed: nothing is called */
    ck_assert_int_eq(asyncore_send(d, buf, 1), 0);
    ck_assert_str_eq(trace, "close ");
    asyncore_unref(d);
}
END_TEST

START_TEST(a_reset_is_the_end_too)
{
    int pair[2];
    char buf[16];
    struct asyncore_dispatcher *d;

    test_pair(AF_INET, pair);
    d = new_recorder(pair[0]);
    test_reset(&pair[1]);
    test_wait_readable(pair[0]);
    if (_i == 0)
        ck_assert_int_eq(asyncore_recv(d, buf, sizeof buf), 0);
    else
        ck_assert_int_eq(asyncore_send(d, "x", 1), 0);
    ck_assert_str_eq(trace, "close ");
}
END_TEST

START_TEST(data_without_a_socket)
{
    struct asyncore_dispatcher *d = new_recorder(-1);
    char byte = 0;

    ck_assert_int_eq(asyncore_send(d, &byte, 1), -EBADF);
    ck_assert_int_eq(asyncore_recv(d, &byte, 1), -EBADF);
    ck_assert_str_eq(trace, "");
}
END_TEST

START_TEST(flags_go_to_the_socket)
{
    int pair[2];
    char buf[4];

    test_pair(AF_INET, pair);

    struct asyncore_dispatcher *d = asyncore_ref(new_recorder(pair[0]));

    ck_assert_int_eq(asyncore_recv_flags(d, buf, sizeof buf, MSG_PEEK), -EAGAIN);
    test_write_all(pair[1], "x", 1);
    test_wait_readable(pair[0]);
    ck_assert_int_eq(asyncore_recv_flags(d, buf, sizeof buf, MSG_PEEK), 1);
    ck_assert_int_eq(asyncore_recv_flags(d, buf, sizeof buf, 0), 1);
    ck_assert_int_eq(asyncore_send_flags(d, "oob", 3, MSG_OOB), 3);
    (void)test_wait(pair[1], POLLPRI);
    test_reset(&pair[1]);
    test_wait_readable(pair[0]);
    ck_assert_int_eq(asyncore_recv_flags(d, buf, 1, 0), -ECONNRESET);
    ck_assert_int_eq(asyncore_send_flags(d, buf, 1, 0), -EPIPE);
    ck_assert_str_eq(trace, ""); /* no method is called */
    asyncore_close(d);
    ck_assert_int_eq(asyncore_recv_flags(d, buf, 1, 0), -EBADF);
    ck_assert_int_eq(asyncore_send_flags(d, buf, 1, 0), -EBADF);
    asyncore_unref(d);
}
END_TEST

START_TEST(datagrams)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    struct test_addr here = test_addr_any(families[_i]);
    struct test_addr from = {.len = sizeof from.storage};
    int peer = new_socket(families[_i], SOCK_DGRAM);
    struct asyncore_dispatcher *d = new_recorder(-1);
    char buf[16];

    ck_assert_int_eq(bind(peer, test_sa(&here), here.len), 0);

    struct test_addr there = test_sockname(peer);

    here = test_addr_any(families[_i]);
    ck_assert_int_eq(asyncore_create_socket(d, families[_i], SOCK_DGRAM), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&here), here.len), 0);
    here = test_sockname(asyncore_fileno(d));
    ck_assert_int_eq(asyncore_recvfrom(d, buf, sizeof buf, NULL, NULL), -EAGAIN);
    ck_assert_int_eq(asyncore_sendto(d, "ping", 4, test_sa(&there), there.len), 4);
    test_read_all(peer, buf, 4);
    ck_assert_int_eq(sendto(peer, "pong", 4, 0, test_sa(&here), here.len), 4);
    ck_assert_int_eq(sendto(peer, "", 0, 0, test_sa(&here), here.len), 0);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_eq(
        asyncore_recvfrom(d, buf, sizeof buf, (struct sockaddr *)&from.storage, &from.len), 4);
    ck_assert_mem_eq(buf, "pong", 4);
    ck_assert_uint_eq(from.len, there.len);
    ck_assert_mem_eq(&from.storage, &there.storage, there.len);
    ck_assert_int_eq(asyncore_recvfrom(d, buf, sizeof buf, NULL, NULL), 0);
    ck_assert_str_eq(trace, "");
    test_close(&peer);
}
END_TEST

START_TEST(the_calls_of_their_names)
{
    int pair[2];
    struct test_addr addr = {.len = sizeof addr.storage};
    const int on = 1;
    char byte;

    test_pair(AF_INET, pair);

    struct test_addr local = test_sockname(pair[0]);
    struct test_addr peer = test_peername(pair[0]);
    struct asyncore_dispatcher *d = new_plain(pair[0]);

    ck_assert_int_eq(asyncore_getsockname(d, (struct sockaddr *)&addr.storage, &addr.len), 0);
    ck_assert_mem_eq(&addr.storage, &local.storage, local.len);
    addr.len = sizeof addr.storage;
    ck_assert_int_eq(asyncore_getpeername(d, (struct sockaddr *)&addr.storage, &addr.len), 0);
    ck_assert_mem_eq(&addr.storage, &peer.storage, peer.len);
    ck_assert_int_eq(asyncore_setsockopt(d, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    ck_assert_int_eq(get_int(d, SO_KEEPALIVE), 1);
    ck_assert_int_eq(asyncore_setsockopt(d, SOL_SOCKET, 4711, &on, sizeof on), -ENOPROTOOPT);
    ck_assert_int_eq(asyncore_shutdown(d, SHUT_WR), 0);
    ck_assert_uint_eq(test_read_to_end(pair[1], &byte, 1), 0);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_shutdown(d, SHUT_WR), -ENOTCONN);
    ck_assert_int_eq(asyncore_getpeername(d, (struct sockaddr *)&addr.storage, &addr.len),
                     -ENOTCONN);
    test_close(&pair[1]);
}
END_TEST

/* Of a channel that never had a socket, and of one that is closed. */
START_TEST(everything_needs_a_socket)
{
    struct asyncore_dispatcher *d = new_plain(_i == 0 ? -1 : new_socket(AF_INET, SOCK_STREAM));
    struct test_addr addr = test_addr_any(AF_INET);
    struct sockaddr *sa = (struct sockaddr *)&addr.storage;
    int value = 0;
    socklen_t len = sizeof value;

    if (_i == 1)
        ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_shutdown(d, SHUT_WR), -EBADF);
    ck_assert_int_eq(asyncore_getsockname(d, sa, &addr.len), -EBADF);
    ck_assert_int_eq(asyncore_getpeername(d, sa, &addr.len), -EBADF);
    ck_assert_int_eq(asyncore_setsockopt(d, SOL_SOCKET, SO_KEEPALIVE, &value, len), -EBADF);
    ck_assert_int_eq(asyncore_getsockopt(d, SOL_SOCKET, SO_ERROR, &value, &len), -EBADF);
    ck_assert_int_eq(asyncore_sendto(d, "x", 1, sa, addr.len), -EBADF);
    ck_assert_int_eq(asyncore_recvfrom(d, &value, 1, NULL, NULL), -EBADF);
    ck_assert_int_eq(asyncore_accept(d, NULL, NULL), -EBADF);
    ck_assert_int_eq(asyncore_detach(d), -EBADF);
    ck_assert_int_eq(asyncore_set_reuse_addr(d), _i == 0 ? -EBADF : 0);
    ck_assert_int_eq(asyncore_handle_expt_event(d), -EBADF);
    ck_assert_int_eq(asyncore_handle_connect_event(d), -EBADF);
}
END_TEST

START_TEST(setters)
{
    struct asyncore_dispatcher *d = new_plain(-1);

    asyncore_set_connected(d, true);
    asyncore_set_accepting(d, true);
    asyncore_set_connecting(d, true);
    asyncore_set_closing(d, true);
    asyncore_set_debug(d, true);
    ck_assert(d->connected && d->accepting && d->connecting && d->closing && d->debug);
    asyncore_set_closing(d, false);
    asyncore_set_debug(d, false);
    ck_assert(!d->closing && !d->debug);
}
END_TEST

/* --- printable forms ------------------------------------------------------------------------- */

/* What comes between the class's name and the place in memory. */
static void assert_repr(const struct asyncore_dispatcher *d, const char *expected)
{
    char got[512];
    char whole[512];

    snprintf(whole, sizeof whole, "<asyncore.dispatcher%s at %p>", expected, (const void *)d);
    ck_assert_int_eq(asyncore_repr(d, got, sizeof got), (int)strlen(whole));
    ck_assert_str_eq(got, whole);
}

START_TEST(repr_of_every_state)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_addr any = test_addr_any(AF_INET);
    struct test_addr addr;
    char expected[64];
    int pair[2];

    assert_repr(d, "");
    asyncore_set_connected(d, true);
    assert_repr(d, " connected");
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    asyncore_set_connected(d, false);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&any), any.len), 0);
    assert_repr(d, " 127.0.0.1:0");
    ck_assert_int_eq(asyncore_listen(d, 1), 0);
    assert_repr(d, " listening 127.0.0.1:0");
    ck_assert_int_eq(asyncore_close(d), 0);
    assert_repr(d, " 127.0.0.1:0");

    test_pair(AF_INET, pair);
    addr = test_peername(pair[0]);
    snprintf(expected, sizeof expected, " connected 127.0.0.1:%u", test_port(&addr));
    assert_repr(new_plain(pair[0]), expected);
    test_close(&pair[1]);
}
END_TEST

START_TEST(repr_of_ipv6)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_addr any = test_addr_any(AF_INET6);

    ck_assert_int_eq(asyncore_create_socket(d, AF_INET6, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&any), any.len), 0);
    ck_assert_int_eq(asyncore_listen(d, 1), 0);
    assert_repr(d, " listening ('::1', 0, 0, 0)");
}
END_TEST

START_TEST(repr_of_unix)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_addr any = test_addr_any(AF_UNIX);
    struct sockaddr_un un;
    char expected[256];
    int pair[2];

    memcpy(&un, &any.storage, sizeof un);
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&any), any.len), 0);
    ck_assert_int_eq(asyncore_listen(d, 1), 0);
    snprintf(expected, sizeof expected, " listening '%s'", un.sun_path);
    assert_repr(d, expected);
    test_socketpair(SOCK_STREAM, pair);
    assert_repr(new_plain(pair[0]), " connected ''");
    test_close(&pair[1]);
}
END_TEST

static socklen_t unix_address(struct sockaddr_un *un, const char *path, size_t len)
{
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(un->sun_path, path, len);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

START_TEST(repr_of_abstract_unix)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct sockaddr_un un;
    char name[64];
    char expected[128];
    int len = snprintf(name + 1, sizeof name - 1, "asyncore-%ld", (long)getpid()) + 1;

    name[0] = '\0';
    snprintf(expected, sizeof expected, " b'\\x00%s'", name + 1);
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d, (const struct sockaddr *)(const void *)&un,
                                   unix_address(&un, name, (size_t)len)),
                     0);
    assert_repr(d, expected);
}
END_TEST

START_TEST(repr_is_cut_like_snprintf)
{
    const struct asyncore_dispatcher *d = new_plain(-1);
    char whole[128];
    char buf[16];
    int len = asyncore_repr(d, whole, sizeof whole);

    ck_assert_int_eq(len, (int)strlen(whole));
    ck_assert_int_eq(asyncore_repr(d, NULL, 0), len);
    ck_assert_int_eq(asyncore_repr(d, buf, sizeof buf), len);
    ck_assert_uint_eq(strlen(buf), sizeof buf - 1);
    ck_assert_mem_eq(buf, whole, sizeof buf - 1);
}
END_TEST

static void assert_addr_repr(const void *addr, socklen_t len, const char *expected)
{
    char got[512];

    ck_assert_int_eq(asyncore_addr_repr(addr, len, got, sizeof got), (int)strlen(expected));
    ck_assert_str_eq(got, expected);
}

START_TEST(addr_repr_of_internet)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(65535)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};

    in.sin_addr.s_addr = htonl(0xc0a80001);
    assert_addr_repr(&in, sizeof in, "('192.168.0.1', 65535)");
    assert_addr_repr(&in6, sizeof in6, "('::', 80, 0, 0)");
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8:0:1:1:1:1:1", &in6.sin6_addr), 1);
    assert_addr_repr(&in6, sizeof in6, "('2001:db8:0:1:1:1:1:1', 80, 0, 0)");
    ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr), 1);
    assert_addr_repr(&in6, sizeof in6, "('::ffff:1.2.3.4', 80, 0, 0)");
    /* Python has the scope as a number only. */
    ck_assert_int_eq(inet_pton(AF_INET6, "ff01::1", &in6.sin6_addr), 1);
    in6.sin6_flowinfo = htonl(5);
    in6.sin6_scope_id = 1;
    assert_addr_repr(&in6, sizeof in6, "('ff01::1', 80, 5, 1)");
}
END_TEST

START_TEST(addr_repr_of_unix)
{
    static const struct {
        const char *path;
        size_t len;
        const char *expected;
    } cases[] = {
        {"", 0, "''"},
        {"/run/socket", 11, "'/run/socket'"},
        {"/run/socket", 12, "'/run/socket'"}, /* with its end */
        {"/it's", 5, "\"/it's\""},
        {"/\"q\"", 4, "'/\"q\"'"},
        {"/'\"", 3, "'/\\'\"'"},
        {"/\\x", 3, "'/\\\\x'"},
        {"/\n\t\r\x7f\x01", 6, "'/\\n\\t\\r\\x7f\\x01'"},
        {"/\xc3\xa9", 3, "'/\xc3\xa9'"},
        {"\0name", 5, "b'\\x00name'"},
        {"\0a\0\xffz", 5, "b'\\x00a\\x00\\xffz'"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sockaddr_un un;
        socklen_t len = unix_address(&un, cases[i].path, cases[i].len);

        assert_addr_repr(&un, len, cases[i].expected);
    }
}
END_TEST

START_TEST(addr_repr_is_cut_like_snprintf)
{
    struct test_addr addr = test_addr_any(AF_INET);
    struct sockaddr_un un;
    socklen_t len = unix_address(&un, "/run/socket", 11);
    char buf[8];

    ck_assert_int_eq(asyncore_addr_repr(test_sa(&addr), addr.len, buf, sizeof buf), 16);
    ck_assert_str_eq(buf, "('127.0");
    ck_assert_int_eq(asyncore_addr_repr(test_sa(&addr), addr.len, NULL, 0), 16);
    ck_assert_int_eq(asyncore_addr_repr((const struct sockaddr *)(const void *)&un, len, buf, 8),
                     13);
    ck_assert_str_eq(buf, "'/run/s");
    ck_assert_int_eq(asyncore_addr_repr((const struct sockaddr *)(const void *)&un, len, NULL, 0),
                     13);
}
END_TEST

/* --- logging --------------------------------------------------------------------------------- */

static const char *const nothing[] = {NULL};
static const char *const spam[] = {"spam", "eggs", NULL};

struct ignoring {
    struct asyncore_dispatcher base;
};

ASYNCORE_CLASS(ignoring, asyncore_dispatcher, .ignore_log_types = spam);

static const char *log_info_of(struct asyncore_dispatcher *d)
{
    static struct test_capture capture;

    test_capture_begin(&capture, STDOUT_FILENO);
    ck_assert_int_eq(asyncore_log_info(d, "a", "warning"), 0);
    ck_assert_int_eq(asyncore_log_info(d, "b", "spam"), 0);
    ck_assert_int_eq(asyncore_log_info(d, "c", "eggs"), 0);
    ck_assert_int_eq(asyncore_log_info(d, "d", NULL), 0);
    return test_capture_end(&capture);
}

START_TEST(ignored_types)
{
    struct asyncore_dispatcher *plain = new_plain(-1);
    struct asyncore_dispatcher *other = ignoring_dispatcher(ignoring_new(-1, NULL));

    ck_assert_str_eq(log_info_of(plain), "spam: b\neggs: c\ninfo: d\n");
    ck_assert_str_eq(log_info_of(other), "warning: a\ninfo: d\n"); /* the class's */
    asyncore_set_ignore_log_types(other, nothing);
    ck_assert_str_eq(log_info_of(other), "warning: a\nspam: b\neggs: c\ninfo: d\n");
    asyncore_set_ignore_log_types(plain, spam); /* the instance's */
    ck_assert_str_eq(log_info_of(plain), "warning: a\ninfo: d\n");
}
END_TEST

START_TEST(log_goes_to_stderr)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_capture capture;

    test_capture_begin(&capture, STDERR_FILENO);
    ck_assert_int_eq(asyncore_log(d, "100% %s"), 0);
    ck_assert_int_eq(asyncore_logf(d, "%s-%d", "x", 7), 0);
    ck_assert_int_eq(asyncore_log_info(d, "not here", "warning"), 0);
    ck_assert_str_eq(test_capture_end(&capture), "log: 100% %s\nlog: x-7\n");
}
END_TEST

START_TEST(formatted_log_is_cut)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_capture capture;
    char expected[1100];
    char long_word[2000];

    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    snprintf(expected, sizeof expected, "spam: %.1023s\n", long_word);
    test_capture_begin(&capture, STDOUT_FILENO);
    ck_assert_int_eq(asyncore_log_infof(d, "spam", "%s", long_word), 0);
    ck_assert_str_eq(test_capture_end(&capture), expected);
    test_capture_begin(&capture, STDOUT_FILENO);
    ck_assert_int_eq(asyncore_log_infof(d, NULL, "%d", 1), 0);
    ck_assert_int_eq(asyncore_log_infof(d, ASYNCORE_LOG_ERROR, "%d", 2), 0);
    ck_assert_int_eq(asyncore_log_infof(d, ASYNCORE_LOG_WARNING, "%d", 3), 0);
    ck_assert_str_eq(test_capture_end(&capture), "info: 1\nerror: 2\n");
}
END_TEST

/* --- default handlers ------------------------------------------------------------------------ */

START_TEST(default_handlers_say_so)
{
    struct asyncore_dispatcher *d = asyncore_ref(new_plain(-1));
    struct test_capture capture;
    int pair[2];
    const char *got;

    test_socketpair(SOCK_STREAM, pair);
    asyncore_set_ignore_log_types(d, nothing);
    test_capture_begin(&capture, STDOUT_FILENO);
    ck_assert_int_eq(asyncore_handle_expt(d), 0);
    ck_assert_int_eq(asyncore_handle_read(d), 0);
    ck_assert_int_eq(asyncore_handle_write(d), 0);
    ck_assert_int_eq(asyncore_handle_connect(d), 0);
    ck_assert_int_eq(asyncore_handle_accepted(d, pair[0], NULL, 0), 0);
    ck_assert_int_eq(asyncore_set_socket(d, pair[1], NULL), 0);
    ck_assert_int_eq(asyncore_handle_close(d), 0);
    got = test_capture_end(&capture);
    ck_assert_str_eq(got, "warning: unhandled incoming priority event\n"
                          "warning: unhandled read event\n"
                          "warning: unhandled write event\n"
                          "warning: unhandled connect event\n"
                          "warning: unhandled accepted event\n"
                          "warning: unhandled close event\n");
    ck_assert(!test_is_open(pair[0]));
    ck_assert(!test_is_open(pair[1]));
    ck_assert_int_eq(asyncore_fileno(d), -1);
    asyncore_unref(d);
}
END_TEST

START_TEST(default_handlers_are_quiet)
{
    struct asyncore_dispatcher *d = new_plain(-1);
    struct test_capture capture;

    test_capture_begin(&capture, STDOUT_FILENO);
    ck_assert_int_eq(asyncore_handle_read(d), 0);
    ck_assert_int_eq(asyncore_handle_close(d), 0);
    ck_assert_str_eq(test_capture_end(&capture), "");
}
END_TEST

/* --- the events' defaults -------------------------------------------------------------------- */

START_TEST(events_of_a_listening_channel)
{
    struct test_addr addr;
    struct asyncore_dispatcher *d = new_recorder(test_listener(AF_INET, &addr));
    int client;

    ck_assert_int_eq(asyncore_handle_read_event(d), 0); /* nobody there */
    ck_assert_int_eq(asyncore_handle_write_event(d), 0);
    ck_assert_str_eq(trace, "");
    client = test_connect(&addr);
    ck_assert_int_eq(asyncore_handle_read_event(d), 0);
    ck_assert_str_eq(trace, "accepted ");
    test_close(&client);
}
END_TEST

START_TEST(events_of_a_connected_channel)
{
    int pair[2];
    struct asyncore_dispatcher *d;

    test_socketpair(SOCK_STREAM, pair);
    d = new_recorder(pair[0]);
    asyncore_set_connecting(d, true); /* connected counts */
    ck_assert_int_eq(asyncore_handle_read_event(d), 0);
    ck_assert_int_eq(asyncore_handle_write_event(d), 0);
    ck_assert_int_eq(asyncore_handle_expt_event(d), 0);
    ck_assert_str_eq(trace, "read write expt ");
    test_close(&pair[1]);
}
END_TEST

START_TEST(events_of_an_unconnected_channel)
{
    struct asyncore_dispatcher *d = new_recorder(new_socket(AF_INET, SOCK_DGRAM));

    ck_assert_int_eq(asyncore_handle_read_event(d), 0);
    ck_assert_int_eq(asyncore_handle_write_event(d), 0);
    ck_assert_str_eq(trace, "read write ");
    ck_assert(!d->connected);
}
END_TEST

static struct asyncore_dispatcher *new_connecting(int *peer)
{
    int pair[2];
    struct asyncore_dispatcher *d;

    test_pair(AF_INET, pair);
    *peer = pair[1];
    d = new_recorder(pair[0]);
    asyncore_set_connected(d, false);
    asyncore_set_connecting(d, true);
    return d;
}

typedef int event_method(struct asyncore_dispatcher *d);

START_TEST(events_of_a_connecting_channel)
{
    event_method *event = _i == 0 ? asyncore_handle_read_event : asyncore_handle_write_event;
    int peer;
    struct asyncore_dispatcher *d = new_connecting(&peer);

    ck_assert_int_eq(event(d), 0);
    ck_assert_str_eq(trace, _i == 0 ? "connect read " : "connect write ");
    ck_assert(d->connected);
    ck_assert(!d->connecting);
    ck_assert_int_eq(event(d), 0);
    ck_assert_str_eq(trace, _i == 0 ? "connect read read " : "connect write write ");
    test_close(&peer);
}
END_TEST

START_TEST(events_of_a_channel_closed_in_handle_connect)
{
    event_method *event = _i == 0 ? asyncore_handle_read_event : asyncore_handle_write_event;
    int peer;
    struct asyncore_dispatcher *d = asyncore_ref(new_connecting(&peer));

    connect_closes = true;
    ck_assert_int_eq(event(d), 0);
    ck_assert_str_eq(trace, "connect ");
    ck_assert(!d->connected);
    asyncore_unref(d);
    test_close(&peer);
}
END_TEST

START_TEST(events_of_a_channel_whose_handle_connect_fails)
{
    event_method *event = _i == 0 ? asyncore_handle_read_event : asyncore_handle_write_event;
    int peer;
    struct asyncore_dispatcher *d = new_connecting(&peer);

    connect_result = -EPROTO;
    ck_assert_int_eq(event(d), -EPROTO);
    ck_assert_str_eq(trace, "connect ");
    ck_assert(!d->connected);
    ck_assert(d->connecting);
    test_close(&peer);
}
END_TEST

START_TEST(events_of_a_socket_with_an_error)
{
    int peer;
    struct asyncore_dispatcher *d = new_connecting(&peer);

    test_reset(&peer);
    test_wait_readable(asyncore_fileno(d));
    if (_i == 0) {
        ck_assert_int_eq(asyncore_handle_connect_event(d), -ECONNRESET);
        ck_assert_str_eq(trace, "");
        ck_assert(!d->connected);
    } else {
        ck_assert_int_eq(asyncore_handle_expt_event(d), 0);
        ck_assert_str_eq(trace, "close ");
    }
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    trace[0] = '\0';
    connect_result = 0;
    connect_closes = false;
}

static void add(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    suite_add_tcase(s, tc);
}

static void add_construction(Suite *s)
{
    TCase *tc = tcase_create("construction");

    add(s, tc);
    tcase_add_test(tc, new_without_socket);
    tcase_add_loop_test(tc, new_with_a_connected_socket, 0, 3);
    tcase_add_test(tc, new_with_a_listening_socket);
    tcase_add_loop_test(tc, new_with_an_unconnected_socket, 0, 2);
    tcase_add_test(tc, new_with_a_connected_datagram_socket);
    tcase_add_test(tc, new_with_a_bad_descriptor);
    tcase_add_test(tc, new_with_what_is_no_socket);
    tcase_add_test(tc, new_in_a_map_of_its_own);
}

static void add_map(Suite *s)
{
    TCase *tc = tcase_create("map");

    add(s, tc);
    tcase_add_test(tc, add_channel_keeps_the_order);
    tcase_add_test(tc, add_channel_needs_a_socket);
    tcase_add_test(tc, a_channel_out_of_the_map_is_not_served);
    tcase_add_test(tc, add_channel_moves_to_another_map);
    tcase_add_test(tc, a_freed_map_takes_nothing);
    tcase_add_test(tc, detach_gives_the_descriptor);
}

static void add_sockets(Suite *s)
{
    TCase *tc = tcase_create("sockets");

    add(s, tc);
    tcase_add_loop_test(tc, create_socket_of_every_kind, 0, KINDS);
    tcase_add_test(tc, create_socket_replaces);
    tcase_add_test(tc, create_socket_that_fails);
    tcase_add_test(tc, set_socket_replaces);
    tcase_add_test(tc, set_socket_does_not_look);
    tcase_add_test(tc, set_socket_that_fails);
    tcase_add_test(tc, socket_object);
    tcase_add_test(tc, set_reuse);
    tcase_add_test(tc, listen_is_accepting);
    tcase_add_test(tc, bind_notes_the_address);
    tcase_add_test(tc, close_twice);
    tcase_add_test(tc, close_of_what_is_closed_already);
    tcase_add_test(tc, close_and_a_new_socket);
}

static void add_connections(Suite *s)
{
    TCase *tc = tcase_create("connections");

    add(s, tc);
    tcase_add_loop_test(tc, connect_in_progress, 0, 2);
    tcase_add_loop_test(tc, connect_refused, 0, 2);
    tcase_add_test(tc, connect_that_fails_at_once);
    tcase_add_test(tc, connect_at_once);
    tcase_add_test(tc, connect_passes_on_the_error_of_handle_connect);
    tcase_add_test(tc, connect_of_what_is_connected);
    tcase_add_loop_test(tc, accept_gives_a_socket_and_its_address, 0, 3);
    tcase_add_test(tc, accept_with_little_room);
    tcase_add_test(tc, accept_that_fails);
    tcase_add_test(tc, accept_and_the_number_again);
}

static void add_hosts(Suite *s)
{
    TCase *tc = tcase_create("hosts");

    add(s, tc);
    tcase_add_test(tc, bind_host_of_every_form);
    tcase_add_loop_test(tc, connect_host_of_every_form, 0, 6);
    tcase_add_test(tc, host_that_does_not_exist);
}

static void add_data(Suite *s)
{
    TCase *tc = tcase_create("data");

    add(s, tc);
    tcase_add_test(tc, send_and_recv);
    tcase_add_test(tc, send_that_comes_up_short);
    tcase_add_test(tc, recv_at_the_end);
    tcase_add_loop_test(tc, a_reset_is_the_end_too, 0, 2);
    tcase_add_test(tc, data_without_a_socket);
    tcase_add_test(tc, flags_go_to_the_socket);
    tcase_add_loop_test(tc, datagrams, 0, 3);
    tcase_add_test(tc, the_calls_of_their_names);
    tcase_add_loop_test(tc, everything_needs_a_socket, 0, 2);
    tcase_add_test(tc, setters);
}

static void add_repr(Suite *s)
{
    TCase *tc = tcase_create("repr");

    add(s, tc);
    tcase_add_test(tc, repr_of_every_state);
    tcase_add_test(tc, repr_of_ipv6);
    tcase_add_test(tc, repr_of_unix);
    tcase_add_test(tc, repr_of_abstract_unix);
    tcase_add_test(tc, repr_is_cut_like_snprintf);
    tcase_add_test(tc, addr_repr_of_internet);
    tcase_add_test(tc, addr_repr_of_unix);
    tcase_add_test(tc, addr_repr_is_cut_like_snprintf);
}

static void add_logging(Suite *s)
{
    TCase *tc = tcase_create("logging");

    add(s, tc);
    tcase_add_test(tc, ignored_types);
    tcase_add_test(tc, log_goes_to_stderr);
    tcase_add_test(tc, formatted_log_is_cut);
    tcase_add_test(tc, default_handlers_say_so);
    tcase_add_test(tc, default_handlers_are_quiet);
}

static void add_events(Suite *s)
{
    TCase *tc = tcase_create("events");

    add(s, tc);
    tcase_add_test(tc, events_of_a_listening_channel);
    tcase_add_test(tc, events_of_a_connected_channel);
    tcase_add_test(tc, events_of_an_unconnected_channel);
    tcase_add_loop_test(tc, events_of_a_connecting_channel, 0, 2);
    tcase_add_loop_test(tc, events_of_a_channel_closed_in_handle_connect, 0, 2);
    tcase_add_loop_test(tc, events_of_a_channel_whose_handle_connect_fails, 0, 2);
    tcase_add_loop_test(tc, events_of_a_socket_with_an_error, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("dispatcher");

    add_construction(s);
    add_map(s);
    add_sockets(s);
    add_connections(s);
    add_hosts(s);
    add_data(s);
    add_repr(s);
    add_logging(s);
    add_events(s);
    return test_main(s);
}
