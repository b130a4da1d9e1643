/*
 * Counterparts, by the same name, of the functions of CPython's test_asyncore.
 *
 * The functions of its BaseTestAPI run over IPv4, IPv6 and Unix sockets, in select's way and in
 * poll's. There, as in CPython, test_handle_expt, test_bind and test_set_reuse_addr and
 * test_quick_connect are not for Unix sockets.
 *
 * Without a counterpart: test_resource_warning, about the warning that Python's garbage collector
 * gives for a file_wrapper that nobody closed. In C that is a leak, which the memory checkers find.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the test waits for: a channel may be gone when it is looked at. */
static bool flag;

static int family;
static bool use_poll;

/* --- helper functions ------------------------------------------------------------------------ */

struct exiting_dummy {
    struct asyncore_dispatcher base;
};

static int exit_now(struct asyncore_dispatcher *d)
{
    (void)d;
    return ASYNCORE_EXIT_NOW;
}

ASYNCORE_CLASS(exiting_dummy, asyncore_dispatcher, .handle_read_event = exit_now,
               .handle_write_event = exit_now, .handle_expt_event = exit_now,
               .handle_close = exit_now);

struct crashing_dummy {
    struct asyncore_dispatcher base;
    bool error_handled;
};

static int crash(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -EPROTO, "crashing");
}

static int crashing_dummy_handle_error(struct asyncore_dispatcher *d);

ASYNCORE_CLASS(crashing_dummy, asyncore_dispatcher, .handle_read_event = crash,
               .handle_write_event = crash, .handle_expt_event = crash, .handle_close = crash,
               .handle_error = crashing_dummy_handle_error);

static int crashing_dummy_handle_error(struct asyncore_dispatcher *d)
{
    crashing_dummy_of(d)->error_handled = true;
    return 0;
}

START_TEST(test_readwriteexc)
{
    static int (*const calls[])(struct asyncore_dispatcher *) = {asyncore_read, asyncore_write,
                                                                 asyncore_exception};

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct exiting_dummy *exiting = exiting_dummy_new(-1, NULL);
        struct crashing_dummy *crashing = crashing_dummy_new(-1, NULL);

        ck_assert_int_eq(calls[i](exiting_dummy_dispatcher(exiting)), ASYNCORE_EXIT_NOW);
        ck_assert_int_eq(calls[i](crashing_dummy_dispatcher(crashing)), 0);
        ck_assert(crashing->error_handled);
    }
}
END_TEST

struct called {
    struct asyncore_dispatcher base;
    unsigned set; /* one bit for each method that was called */
};

enum {
    CALLED_READ = 1,
    CALLED_EXPT = 2,
    CALLED_WRITE = 4,
    CALLED_CLOSE = 8,
    CALLED_ERROR = 16
};

static int called_handle_read_event(struct asyncore_dispatcher *d);
static int called_handle_write_event(struct asyncore_dispatcher *d);
static int called_handle_expt_event(struct asyncore_dispatcher *d);
static int called_handle_close(struct asyncore_dispatcher *d);
static int called_handle_error(struct asyncore_dispatcher *d);

ASYNCORE_CLASS(called, asyncore_dispatcher, .handle_read_event = called_handle_read_event,
               .handle_write_event = called_handle_write_event,
               .handle_expt_event = called_handle_expt_event, .handle_close = called_handle_close,
               .handle_error = called_handle_error);

static int called_add(struct asyncore_dispatcher *d, unsigned what)
{
    called_of(d)->set |= what;
    return 0;
}

static int called_handle_read_event(struct asyncore_dispatcher *d)
{
    return called_add(d, CALLED_READ);
}

static int called_handle_write_event(struct asyncore_dispatcher *d)
{
    return called_add(d, CALLED_WRITE);
}

static int called_handle_expt_event(struct asyncore_dispatcher *d)
{
    return called_add(d, CALLED_EXPT);
}

static int called_handle_close(struct asyncore_dispatcher *d)
{
    return called_add(d, CALLED_CLOSE);
}

static int called_handle_error(struct asyncore_dispatcher *d)
{
    return called_add(d, CALLED_ERROR);
}

START_TEST(test_readwrite)
{
    static const struct {
        int flags;
        unsigned expected;
    } cases[] = {
        {POLLIN, CALLED_READ},   {POLLPRI, CALLED_EXPT},  {POLLOUT, CALLED_WRITE},
        {POLLERR, CALLED_CLOSE}, {POLLHUP, CALLED_CLOSE}, {POLLNVAL, CALLED_CLOSE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct called *called = called_new(-1, NULL);
        struct exiting_dummy *exiting = exiting_dummy_new(-1, NULL);
        struct crashing_dummy *crashing = crashing_dummy_new(-1, NULL);
        int flags = cases[i].flags;

        ck_assert_int_eq(asyncore_readwrite(called_dispatcher(called), flags), 0);
        ck_assert_uint_eq(called->set, cases[i].expected);

        ck_assert_int_eq(asyncore_readwrite(exiting_dummy_dispatcher(exiting), flags),
                         ASYNCORE_EXIT_NOW);

        ck_assert(!crashing->error_handled);
        ck_assert_int_eq(asyncore_readwrite(crashing_dummy_dispatcher(crashing), flags), 0);
        ck_assert(crashing->error_handled);
    }
}
END_TEST

/* A channel whose close notes that it was called, and leaves the socket and the map alone. */
struct dummy_channel {
    struct asyncore_dispatcher base;
    bool closed;
};

static int dummy_channel_close(struct asyncore_dispatcher *d);

ASYNCORE_CLASS(dummy_channel, asyncore_dispatcher, .close = dummy_channel_close);

static int dummy_channel_close(struct asyncore_dispatcher *d)
{
    dummy_channel_of(d)->closed = true;
    return 0;
}

static void closeall_check(struct asyncore_map *map)
{
    struct dummy_channel *channels[10];

    for (size_t i = 0; i < 10; i++) {
        int pair[2];

        test_socketpair(SOCK_STREAM, pair);
        channels[i] = dummy_channel_new(pair[0], map);
        ck_assert_ptr_nonnull(channels[i]);
        ck_assert(!channels[i]->closed);
        asyncore_ref(dummy_channel_dispatcher(channels[i]));
        test_close(&pair[1]);
    }
    ck_assert_uint_eq(asyncore_map_length(map), 10);
    ck_assert_int_eq(asyncore_close_all(map, false), 0);
    ck_assert_uint_eq(asyncore_map_length(map), 0);
    for (size_t i = 0; i < 10; i++) {
        ck_assert(channels[i]->closed);
        asyncore_unref(dummy_channel_dispatcher(channels[i]));
    }
}

START_TEST(test_closeall)
{
    struct asyncore_map *map = asyncore_map_new(NULL);

    closeall_check(map);
    asyncore_map_free(map);
}
END_TEST

START_TEST(test_closeall_default)
{
    closeall_check(NULL);
}
END_TEST

START_TEST(test_compact_traceback)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);
    int line = __LINE__ + 1;
    int error = asyncore_raise(d, -EPROTO, "I don't like spam!");
    const struct asyncore_error *e = asyncore_compact_traceback(d);

    ck_assert_int_eq(error, -EPROTO);
    ck_assert_int_eq(e->error, -EPROTO);
    ck_assert_str_eq(e->message, "I don't like spam!");
    ck_assert_ptr_nonnull(strstr(e->file, "check_api.c"));
    ck_assert_ptr_nonnull(strstr(e->function, "test_compact_traceback"));
    ck_assert_int_eq(e->line, line);
}
END_TEST

/* --- dispatcher ------------------------------------------------------------------------------ */

START_TEST(test_basic)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);

    ck_assert_int_eq(asyncore_readable(d), 1);
    ck_assert_int_eq(asyncore_writable(d), 1);
}
END_TEST

START_TEST(test_repr)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);
    char expected[128];
    char got[128];
    int length = snprintf(expected, sizeof expected, "<asyncore.dispatcher at %p>", (void *)d);

    ck_assert_int_eq(asyncore_repr(d, got, sizeof got), length);
    ck_assert_str_eq(got, expected);
}
END_TEST

START_TEST(test_log)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);
    struct test_capture capture;

    test_capture_begin(&capture, STDERR_FILENO);
    asyncore_log(d, "Lovely spam! Wonderful spam!");
    asyncore_log(d, "I don't like spam!");
    ck_assert_str_eq(test_capture_end(&capture), "log: Lovely spam! Wonderful spam!\n"
                                                 "log: I don't like spam!\n");
}
END_TEST

START_TEST(test_log_info)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);
    struct test_capture capture;

    test_capture_begin(&capture, STDOUT_FILENO);
    asyncore_log_info(d, "Have you got anything without spam?", "EGGS");
    asyncore_log_info(d, "Why can't she have egg bacon spam and sausage?", NULL);
    asyncore_log_info(d, "THAT'S got spam in it!", "SPAM");
    ck_assert_str_eq(test_capture_end(&capture),
                     "EGGS: Have you got anything without spam?\n"
                     "info: Why can't she have egg bacon spam and sausage?\n"
                     "SPAM: THAT'S got spam in it!\n");
}
END_TEST

START_TEST(test_unhandled)
{
    static const char *const none[] = {NULL};
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);
    struct test_capture capture;

    asyncore_set_ignore_log_types(d, none);
    test_capture_begin(&capture, STDOUT_FILENO);
    asyncore_handle_expt(d);
    asyncore_handle_read(d);
    asyncore_handle_write(d);
    asyncore_handle_connect(d);
    ck_assert_str_eq(test_capture_end(&capture), "warning: unhandled incoming priority event\n"
                                                 "warning: unhandled read event\n"
                                                 "warning: unhandled write event\n"
                                                 "warning: unhandled connect event\n");
}
END_TEST

START_TEST(test_strerror)
{
    ck_assert_str_eq(asyncore_strerror(EPERM), strerror(EPERM));
    ck_assert_str_eq(asyncore_strerror(-EPERM), strerror(EPERM));
    ck_assert_str_ne(asyncore_strerror(INT_MAX), "");
    ck_assert_str_ne(asyncore_strerror(INT_MIN), "");
}
END_TEST

/* --- dispatcher_with_send -------------------------------------------------------------------- */

struct send_noread {
    struct asyncore_dispatcher_with_send base;
};

static int answer_no(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int pass(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

ASYNCORE_CLASS(send_noread, asyncore_dispatcher_with_send, .readable = answer_no,
               .handle_connect = pass);

static bool is_drained(void *d)
{
    const struct asyncore_dispatcher *channel = d;

    return channel->connected && asyncore_out_buffer_length(channel) == 0;
}

START_TEST(test_send)
{
    static const char data[] = "Suppose there isn't a 16-ton weight?";
    const size_t len = sizeof data - 1;
    struct test_addr addr;
    int listener = test_listener(AF_INET, &addr);
    struct asyncore_dispatcher *d = send_noread_dispatcher(send_noread_new(-1, NULL));
    char got[2 * sizeof data];

    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(asyncore_send(d, data, len), (int)len);
    ck_assert_int_eq(asyncore_send(d, data, len), (int)len);
    ck_assert_int_eq(asyncore_send(d, "\n", 1), 1);
    ck_assert_int_eq(run_until_true(NULL, false, is_drained, d), 0);

    int peer = test_accept(listener);

    test_read_all(peer, got, 2 * len + 1);
    ck_assert_mem_eq(got, data, len);
    ck_assert_mem_eq(got + len, data, len);
    ck_assert_int_eq(got[2 * len], '\n');
    test_close(&peer);
    test_close(&listener);
}
END_TEST

/* --- file_wrapper ---------------------------------------------------------------------------- */

static const char file_data[] = "It's not dead, it's sleeping!";
#define FILE_LENGTH (sizeof file_data - 1)

static int open_file(int flags)
{
    int fd = open(test_file("file", file_data, FILE_LENGTH), flags | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(test_recv)
{
    int fd = open_file(O_RDONLY);
    struct asyncore_socket *w = asyncore_file_wrapper_new(fd);
    char buf[32];

    ck_assert_ptr_nonnull(w);
    ck_assert_int_ne(w->fd, fd);
    ck_assert_int_ne(asyncore_socket_fileno(w), fd);
    test_close(&fd);
    ck_assert_int_eq(asyncore_socket_recv(w, buf, 13, 0), 13);
    ck_assert_mem_eq(buf, "It's not dead", 13);
    ck_assert_int_eq(asyncore_socket_recv(w, buf, 6, 0), 6);
    ck_assert_mem_eq(buf, ", it's", 6);
    ck_assert_int_eq(asyncore_socket_close(w), 0);
    ck_assert_int_eq(asyncore_socket_recv(w, buf, 1, 0), -EBADF);
    asyncore_socket_free(w);
}
END_TEST

/* test_send of FileWrapperTest: the name is taken. */
START_TEST(test_file_send)
{
    static const char first[] = "Come again?";
    static const char second[] = "I want to buy some cheese.";
    int fd = open_file(O_WRONLY | O_APPEND);
    struct asyncore_socket *w = asyncore_file_wrapper_new(fd);
    char expected[128];
    char got[128];
    size_t length = (size_t)snprintf(expected, sizeof expected, "%s%s%s", file_data, first, second);

    ck_assert_ptr_nonnull(w);
    test_close(&fd);
    ck_assert_int_eq(asyncore_socket_send(w, first, strlen(first), 0), (int)strlen(first));
    ck_assert_int_eq(asyncore_socket_send(w, second, strlen(second), 0), (int)strlen(second));
    ck_assert_int_eq(asyncore_socket_close(w), 0);
    asyncore_socket_free(w);

    fd = open(test_path("file"), O_RDONLY | O_CLOEXEC);
    ck_assert_uint_eq(test_read_to_end(fd, got, sizeof got), length);
    ck_assert_mem_eq(got, expected, length);
    test_close(&fd);
}
END_TEST

struct file_reader {
    struct asyncore_file_dispatcher base;
};

static char file_got[64];
static size_t file_got_length;

static int file_reader_handle_read(struct asyncore_dispatcher *d)
{
    int n = asyncore_recv(d, file_got + file_got_length, FILE_LENGTH);

    if (n > 0)
        file_got_length += (size_t)n;
    return n;
}

ASYNCORE_CLASS(file_reader, asyncore_file_dispatcher, .handle_read = file_reader_handle_read);

START_TEST(test_dispatcher)
{
    int fd = open_file(O_RDONLY);

    file_got_length = 0;
    ck_assert_ptr_nonnull(file_reader_new(fd, NULL));
    test_close(&fd);
    ck_assert_int_ge(asyncore_loop(0.01, true, NULL, 2), 0);
    ck_assert_uint_eq(file_got_length, FILE_LENGTH);
    ck_assert_mem_eq(file_got, file_data, FILE_LENGTH);
}
END_TEST

START_TEST(test_close_twice)
{
    int fd = open_file(O_RDONLY);
    struct asyncore_socket *w = asyncore_file_wrapper_new(fd);

    ck_assert_ptr_nonnull(w);
    test_close(&fd);
    fd = w->fd;
    test_close(&fd); /* behind the wrapper's back */
    ck_assert_int_eq(asyncore_socket_close(w), -EBADF);
    ck_assert_int_eq(w->fd, -1);
    ck_assert_int_eq(asyncore_socket_close(w), 0);
    asyncore_socket_free(w);
}
END_TEST

/* --- the API over real sockets: base classes ------------------------------------------------- */

/* Fails the test that gets an event it has not overridden. */
struct handler {
    struct asyncore_dispatcher base;
};

static int handler_handle_accept(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -EPROTO, "handle_accept not supposed to be called");
}

static int handler_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                   const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    close(sock);
    return asyncore_raise(d, -EPROTO, "handle_accepted not supposed to be called");
}

static int handler_handle_connect(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -EPROTO, "handle_connect not supposed to be called");
}

static int handler_handle_expt(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -EPROTO, "handle_expt not supposed to be called");
}

static int handler_handle_close(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -EPROTO, "handle_close not supposed to be called");
}

/* Raises the error again, which leaves the loop. */
static int reraise(struct asyncore_dispatcher *d)
{
    return asyncore_compact_traceback(d)->error;
}

ASYNCORE_CLASS(handler, asyncore_dispatcher, .handle_accept = handler_handle_accept,
               .handle_accepted = handler_handle_accepted, .handle_connect = handler_handle_connect,
               .handle_expt = handler_handle_expt, .handle_close = handler_handle_close,
               .handle_error = reraise);

static void bind_and_listen(struct asyncore_dispatcher *d)
{
    struct test_addr addr = test_addr_any(family);

    ck_assert_int_eq(asyncore_create_socket(d, family, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_set_reuse_addr(d), 0);
    ck_assert_int_eq(asyncore_bind(d, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(asyncore_listen(d, 5), 0);
}

/* Listens, and gives what it accepts to channels of a class. */
struct server {
    struct asyncore_dispatcher base;
    const struct asyncore_class *handler;
};

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen);

ASYNCORE_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
               .handle_error = reraise);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    return asyncore_new(server_of(d)->handler, sock, d->map) ? 0 : -errno;
}

static struct asyncore_dispatcher *start_server(const struct asyncore_class *handler)
{
    struct server *server = server_new(-1, NULL);

    ck_assert_ptr_nonnull(server);
    server->handler = handler;
    bind_and_listen(server_dispatcher(server));
    return server_dispatcher(server);
}

struct client {
    struct handler base;
};

ASYNCORE_CLASS(client, handler, .handle_connect = pass);

static struct asyncore_dispatcher *start_client(const struct asyncore_class *cls,
                                                const struct asyncore_dispatcher *server)
{
    struct asyncore_dispatcher *d = asyncore_new(cls, -1, NULL);
    struct test_addr addr = test_sockname(asyncore_fileno(server));

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(asyncore_create_socket(d, family, SOCK_STREAM), 0);
    ck_assert_int_ge(asyncore_connect(d, test_sa(&addr), addr.len), 0);
    return d;
}

static int set_flag(struct asyncore_dispatcher *d)
{
    (void)d;
    flag = true;
    return 0;
}

static int set_flag_and_close(struct asyncore_dispatcher *d)
{
    flag = true;
    return asyncore_close(d);
}

/* server stays: its map knows the last error. */
static void loop_waiting_for_flag(const struct asyncore_dispatcher *server)
{
    int r = run_until(NULL, use_poll, &flag);

    ck_assert_msg(r == 0, "%s: %s", asyncore_errorcode(r),
                  asyncore_compact_traceback(server)->message);
}

/* --- the API over real sockets: tests -------------------------------------------------------- */

struct connect_client {
    struct client base;
};

ASYNCORE_CLASS(connect_client, client, .handle_connect = set_flag);

START_TEST(test_handle_connect)
{
    struct asyncore_dispatcher *server = start_server(&handler_class);

    start_client(&connect_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct accept_listener {
    struct handler base;
};

ASYNCORE_CLASS(accept_listener, handler, .handle_accept = set_flag);

START_TEST(test_handle_accept)
{
    struct asyncore_dispatcher *server = accept_listener_dispatcher(accept_listener_new(-1, NULL));

    bind_and_listen(server);
    start_client(&client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct accepted_listener {
    struct handler base;
};

static int accepted_listener_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                             const struct sockaddr *addr, socklen_t addrlen)
{
    (void)d;
    ck_assert_ptr_nonnull(addr);
    ck_assert_uint_ge(addrlen, sizeof addr->sa_family);
    close(sock);
    flag = true;
    return 0;
}

ASYNCORE_CLASS(accepted_listener, handler, .handle_accept = asyncore_dispatcher_handle_accept,
               .handle_accepted = accepted_listener_handle_accepted);

START_TEST(test_handle_accepted)
{
    struct asyncore_dispatcher *server =
        accepted_listener_dispatcher(accepted_listener_new(-1, NULL));

    bind_and_listen(server);
    start_client(&client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct read_client {
    struct client base;
};

ASYNCORE_CLASS(read_client, client, .handle_read = set_flag);

struct sending_handler {
    struct handler base;
};

static int sending_handler_init(struct asyncore_dispatcher *d, int fd)
{
    char data[1024];
    int r = asyncore_dispatcher_init(d, fd);

    memset(data, 'x', sizeof data);
    return r < 0 ? r : asyncore_send(d, data, sizeof data);
}

ASYNCORE_CLASS(sending_handler, handler, .init = sending_handler_init);

START_TEST(test_handle_read)
{
    struct asyncore_dispatcher *server = start_server(&sending_handler_class);

    start_client(&read_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct write_client {
    struct client base;
};

ASYNCORE_CLASS(write_client, client, .handle_write = set_flag);

START_TEST(test_handle_write)
{
    struct asyncore_dispatcher *server = start_server(&handler_class);

    start_client(&write_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct close_client {
    struct client base;
};

/* handle_close is called by a recv. */
static int read_some(struct asyncore_dispatcher *d)
{
    char buf[1024];

    return asyncore_recv(d, buf, sizeof buf);
}

ASYNCORE_CLASS(close_client, client, .handle_read = read_some, .handle_close = set_flag_and_close);

struct closing_handler {
    struct handler base;
};

static int closing_handler_init(struct asyncore_dispatcher *d, int fd)
{
    int r = asyncore_dispatcher_init(d, fd);

    return r < 0 ? r : asyncore_close(d);
}

ASYNCORE_CLASS(closing_handler, handler, .init = closing_handler_init);

START_TEST(test_handle_close)
{
    struct asyncore_dispatcher *server = start_server(&closing_handler_class);

    start_client(&close_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct broken_client {
    struct client base;
};

static int broken_client_handle_write(struct asyncore_dispatcher *d)
{
    static const char data[128];

    return asyncore_send(d, data, sizeof data);
}

ASYNCORE_CLASS(broken_client, client, .handle_write = broken_client_handle_write,
               .handle_close = set_flag_and_close, .handle_expt = set_flag_and_close);

struct breaking_handler {
    struct handler base;
};

static int breaking_handler_handle_read(struct asyncore_dispatcher *d)
{
    char buf[128];
    int n = asyncore_recv(d, buf, sizeof buf);

    return n < 0 ? n : asyncore_close(d);
}

ASYNCORE_CLASS(breaking_handler, handler, .handle_read = breaking_handler_handle_read,
               .writable = answer_no);

START_TEST(test_handle_close_after_conn_broken)
{
    struct asyncore_dispatcher *server = start_server(&breaking_handler_class);

    start_client(&broken_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct expt_client {
    struct client base;
};

static int expt_client_handle_expt(struct asyncore_dispatcher *d)
{
    unsigned char byte;

    ck_assert_int_eq(asyncore_recv_flags(d, &byte, 1, MSG_OOB), 1);
    ck_assert_uint_eq(byte, 244);
    flag = true;
    return 0;
}

ASYNCORE_CLASS(expt_client, client, .handle_expt = expt_client_handle_expt);

struct oob_handler {
    struct handler base;
};

static int oob_handler_init(struct asyncore_dispatcher *d, int fd)
{
    int r = asyncore_dispatcher_init(d, fd);

    return r < 0 ? r : asyncore_send_flags(d, "\xf4", 1, MSG_OOB);
}

ASYNCORE_CLASS(oob_handler, handler, .init = oob_handler_init);

START_TEST(test_handle_expt)
{
    struct asyncore_dispatcher *server = start_server(&oob_handler_class);

    start_client(&expt_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

struct error_client {
    struct client base;
};

static int error_client_handle_write(struct asyncore_dispatcher *d)
{
    return asyncore_raise(d, -EDOM, "division by zero");
}

static int error_client_handle_error(struct asyncore_dispatcher *d)
{
    flag = true;
    if (asyncore_compact_traceback(d)->error != -EDOM)
        return asyncore_raise(d, -EPROTO, "not the error that was raised");
    return 0;
}

ASYNCORE_CLASS(error_client, client, .handle_write = error_client_handle_write,
               .handle_error = error_client_handle_error);

START_TEST(test_handle_error)
{
    struct asyncore_dispatcher *server = start_server(&handler_class);

    start_client(&error_client_class, server);
    loop_waiting_for_flag(server);
}
END_TEST

START_TEST(test_connection_attributes)
{
    struct asyncore_dispatcher *server = start_server(&handler_class);
    struct asyncore_dispatcher *client = asyncore_ref(start_client(&client_class, server));

    ck_assert(!server->connected);
    ck_assert(server->accepting);
    ck_assert(!client->accepting);

    ck_assert_int_eq(asyncore_loop(0.01, use_poll, NULL, 100), ASYNCORE_LOOP_COUNT);
    ck_assert(!server->connected);
    ck_assert(server->accepting);
    ck_assert(client->connected);
    ck_assert(!client->accepting);

    ck_assert_int_eq(asyncore_close(client), 0);
    ck_assert(!server->connected);
    ck_assert(server->accepting);
    ck_assert(!client->connected);
    ck_assert(!client->accepting);

    ck_assert_int_eq(asyncore_close(server), 0);
    ck_assert(!server->connected);
    ck_assert(!server->accepting);
    asyncore_unref(client);
}
END_TEST

static int get_option(struct asyncore_dispatcher *d, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    ck_assert_int_eq(asyncore_getsockopt(d, SOL_SOCKET, name, &value, &len), 0);
    return value;
}

START_TEST(test_create_socket)
{
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(-1, NULL);

    ck_assert_int_eq(asyncore_create_socket(d, family, SOCK_STREAM), 0);
    ck_assert_int_eq(get_option(d, SO_TYPE), SOCK_STREAM);
    ck_assert_int_eq(get_option(d, SO_DOMAIN), family);
    ck_assert(test_is_nonblocking(asyncore_fileno(d)));
    ck_assert_int_eq(fcntl(asyncore_fileno(d), F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(test_bind)
{
    struct asyncore_dispatcher *first = asyncore_dispatcher_new(-1, NULL);
    struct asyncore_dispatcher *second = asyncore_dispatcher_new(-1, NULL);
    struct test_addr addr = test_addr_any(family);

    ck_assert_int_eq(asyncore_create_socket(first, family, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(first, test_sa(&addr), addr.len), 0);
    ck_assert_int_eq(asyncore_listen(first, 5), 0);
    addr = test_sockname(asyncore_fileno(first));

    ck_assert_int_eq(asyncore_create_socket(second, family, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(second, test_sa(&addr), addr.len), -EADDRINUSE);
}
END_TEST

START_TEST(test_set_reuse_addr)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct asyncore_dispatcher *d = asyncore_dispatcher_new(fd, NULL);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(get_option(d, SO_REUSEADDR), 0);
    ck_assert_int_eq(asyncore_create_socket(d, family, SOCK_STREAM), 0);
    ck_assert_int_eq(get_option(d, SO_REUSEADDR), 0);
    ck_assert_int_eq(asyncore_set_reuse_addr(d), 0);
    ck_assert_int_ne(get_option(d, SO_REUSEADDR), 0);
}
END_TEST

/* Takes a connection that is over before it was accepted. */
struct quick_handler {
    struct handler base;
};

ASYNCORE_CLASS(quick_handler, handler, .handle_read = read_some,
               .handle_close = set_flag_and_close);

START_TEST(test_quick_connect)
{
    struct asyncore_dispatcher *server = start_server(&quick_handler_class);
    struct test_addr addr = test_sockname(asyncore_fileno(server));
    int fd = test_connect(&addr);

    test_reset(&fd);
    loop_waiting_for_flag(server);
    ck_assert(server->accepting);

    /* It still serves. */
    flag = false;
    fd = test_connect(&addr);
    test_close(&fd);
    loop_waiting_for_flag(server);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void set_variant(int new_family, bool new_use_poll)
{
    family = new_family;
    use_poll = new_use_poll;
    flag = false;
}

static void setup_ipv4_select(void)
{
    set_variant(AF_INET, false);
}

static void setup_ipv4_poll(void)
{
    set_variant(AF_INET, true);
}

static void setup_ipv6_select(void)
{
    set_variant(AF_INET6, false);
}

static void setup_ipv6_poll(void)
{
    set_variant(AF_INET6, true);
}

static void setup_unix_select(void)
{
    set_variant(AF_UNIX, false);
}

static void setup_unix_poll(void)
{
    set_variant(AF_UNIX, true);
}

static void add_api_tests(Suite *s, TCase *tc, void (*setup)(void))
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, test_handle_connect);
    tcase_add_test(tc, test_handle_accept);
    tcase_add_test(tc, test_handle_accepted);
    tcase_add_test(tc, test_handle_read);
    tcase_add_test(tc, test_handle_write);
    tcase_add_test(tc, test_handle_close);
    tcase_add_test(tc, test_handle_close_after_conn_broken);
    tcase_add_test(tc, test_handle_error);
    tcase_add_test(tc, test_connection_attributes);
    tcase_add_test(tc, test_create_socket);
    suite_add_tcase(s, tc);
}

static void add_internet_tests(TCase *tc)
{
    tcase_add_test(tc, test_handle_expt);
    tcase_add_test(tc, test_bind);
    tcase_add_test(tc, test_set_reuse_addr);
    tcase_add_test(tc, test_quick_connect);
}

static void add_api(Suite *s)
{
    TCase *ipv4_select = tcase_create("ipv4_select");
    TCase *ipv4_poll = tcase_create("ipv4_poll");
    TCase *ipv6_select = tcase_create("ipv6_select");
    TCase *ipv6_poll = tcase_create("ipv6_poll");
    TCase *unix_select = tcase_create("unix_select");
    TCase *unix_poll = tcase_create("unix_poll");

    add_api_tests(s, ipv4_select, setup_ipv4_select);
    add_api_tests(s, ipv4_poll, setup_ipv4_poll);
    add_api_tests(s, ipv6_select, setup_ipv6_select);
    add_api_tests(s, ipv6_poll, setup_ipv6_poll);
    add_api_tests(s, unix_select, setup_unix_select);
    add_api_tests(s, unix_poll, setup_unix_poll);
    add_internet_tests(ipv4_select);
    add_internet_tests(ipv4_poll);
    add_internet_tests(ipv6_select);
    add_internet_tests(ipv6_poll);
}

static void add_helper_functions(Suite *s)
{
    TCase *tc = tcase_create("helper_functions");

    test_add_fixture(tc);
    tcase_add_test(tc, test_readwriteexc);
    tcase_add_test(tc, test_readwrite);
    tcase_add_test(tc, test_closeall);
    tcase_add_test(tc, test_closeall_default);
    tcase_add_test(tc, test_compact_traceback);
    suite_add_tcase(s, tc);
}

static void add_dispatcher(Suite *s)
{
    TCase *tc = tcase_create("dispatcher");

    test_add_fixture(tc);
    tcase_add_test(tc, test_basic);
    tcase_add_test(tc, test_repr);
    tcase_add_test(tc, test_log);
    tcase_add_test(tc, test_log_info);
    tcase_add_test(tc, test_unhandled);
    tcase_add_test(tc, test_strerror);
    suite_add_tcase(s, tc);

    tc = tcase_create("dispatcher_with_send");
    test_add_fixture(tc);
    tcase_add_test(tc, test_send);
    suite_add_tcase(s, tc);
}

static void add_file_wrapper(Suite *s)
{
    TCase *tc = tcase_create("file_wrapper");

    test_add_fixture(tc);
    tcase_add_test(tc, test_recv);
    tcase_add_test(tc, test_file_send);
    tcase_add_test(tc, test_dispatcher);
    tcase_add_test(tc, test_close_twice);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("api");

    add_helper_functions(s);
    add_dispatcher(s);
    add_file_wrapper(s);
    add_api(s);
    return test_main(s);
}
