/*
 * Classes: which tables are refused, what is inherited, and the life of instances.
 */
#include "support.h"

#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What happened, in order, each followed by a space. */
static char trace[1024];

static void note(const char *what)
{
    size_t used = strlen(trace);

    snprintf(trace + used, sizeof trace - used, "%s ", what);
}

static int one_end(int *peer)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    *peer = pair[1];
    return pair[0];
}

/* --- refused --------------------------------------------------------------------------------- */

static void assert_refused(const struct asyncore_class *cls)
{
    int peer;
    int fd = one_end(&peer);

    errno = 0;
    ck_assert_ptr_null(asyncore_new(cls, fd, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert(!test_is_open(fd)); /* consumed all the same */
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&peer);
}

START_TEST(without_super)
{
    static const struct asyncore_class cls = {
        .table_size = sizeof cls, .name = "x", .size = sizeof(struct asyncore_dispatcher)};
    static const struct asyncore_class derived = {
        .table_size = sizeof derived, .name = "y", .super = &cls, .size = 4096};

    assert_refused(&cls);
    assert_refused(&derived);
}
END_TEST

START_TEST(smaller_than_super)
{
    static const struct asyncore_class cls = {.table_size = sizeof cls,
                                              .name = "x",
                                              .super = &asyncore_dispatcher_class,
                                              .size = sizeof(struct asyncore_dispatcher) - 1};
    static const struct asyncore_class large = {.table_size = sizeof large,
                                                .name = "y",
                                                .super = &asyncore_dispatcher_class,
                                                .size = sizeof(struct asyncore_dispatcher) + 1};
    static const struct asyncore_class derived = {.table_size = sizeof derived,
                                                  .name = "z",
                                                  .super = &large,
                                                  .size = sizeof(struct asyncore_dispatcher)};

    assert_refused(&cls);
    assert_refused(&derived);
}
END_TEST

START_TEST(without_its_head)
{
    static const struct asyncore_class cls = {.table_size = offsetof(struct asyncore_class, size),
                                              .name = "x",
                                              .super = &asyncore_dispatcher_class,
                                              .size = sizeof(struct asyncore_dispatcher)};

    assert_refused(&cls);
}
END_TEST

/* A file is the caller's, whatever happens. */
START_TEST(refused_with_a_file)
{
    static const struct asyncore_class cls = {.table_size = sizeof cls,
                                              .name = "x",
                                              .super = &asyncore_file_dispatcher_class,
                                              .size = sizeof(struct asyncore_dispatcher) - 1};
    int pair[2];

    test_pipe(pair);
    errno = 0;
    ck_assert_ptr_null(asyncore_new(&cls, pair[0], NULL));
    ck_assert_int_eq(errno, EINVAL);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

/* --- tables of other versions ---------------------------------------------------------------- */

static int note_read(struct asyncore_dispatcher *d)
{
    (void)d;
    note("read");
    return 0;
}

static int note_write(struct asyncore_dispatcher *d)
{
    (void)d;
    note("write");
    return 0;
}

/* The table of a program that was built when handle_write was not there yet. */
START_TEST(a_shorter_table)
{
    static const struct asyncore_class cls = {
        .table_size = offsetof(struct asyncore_class, handle_write),
        .name = "x",
        .super = &asyncore_dispatcher_with_send_class,
        .size = sizeof(struct asyncore_dispatcher_with_send),
        .handle_read = note_read,
        .handle_write = note_write, /* what lies behind the table */
        .repr = NULL,
    };
    struct asyncore_dispatcher *d = asyncore_new(&cls, -1, NULL);
    char buf[64];

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(asyncore_handle_read(d), 0);
    ck_assert_int_eq(asyncore_handle_write(d), -EBADF); /* the super class's: no socket */
    ck_assert_str_eq(trace, "read ");
    ck_assert_int_gt(asyncore_repr(d, buf, sizeof buf), 0);
}
END_TEST

static int note_init(struct asyncore_dispatcher *d, int fd)
{
    (void)d;
    (void)fd;
    note("init");
    return -EPROTO;
}

static void note_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    note("finalize");
}

START_TEST(the_shortest_table)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    static const struct asyncore_class cls = {
        .table_size = offsetof(struct asyncore_class, interest),
        .name = "x",
        .super = &asyncore_dispatcher_class,
        .size = sizeof(struct asyncore_dispatcher),
        .interest = (enum asyncore_interest)77,
        .ignore_log_types = (const char *const *)(uintptr_t)8,
        .init = note_init,
        .finalize = note_finalize,
        .handle_read = note_read,
    };
    static const struct asyncore_class derived = {.table_size = sizeof derived,
                                                  .name = "y",
                                                  .super = &cls,
                                                  .size = sizeof(struct asyncore_dispatcher),
                                                  .handle_write = note_write};
    struct asyncore_dispatcher *d = asyncore_new(&cls, -1, map);
    struct asyncore_dispatcher *e = asyncore_new(&derived, -1, map);

    ck_assert_ptr_nonnull(d);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(asyncore_handle_read(d), 0); /* the library's */
    ck_assert_int_eq(asyncore_handle_read(e), 0);
    ck_assert_str_eq(trace, "");
    ck_assert_int_eq(asyncore_handle_write(e), 0); /* its own */
    asyncore_map_free(map);
    ck_assert_str_eq(trace, "write ");
}
END_TEST

START_TEST(a_longer_table)
{
    static const struct {
        struct asyncore_class cls;
        int (*later)(struct asyncore_dispatcher *d);
    } table = {.cls = {.table_size = sizeof table,
                       .name = "x",
                       .super = &asyncore_dispatcher_class,
                       .size = sizeof(struct asyncore_dispatcher),
                       .handle_read = note_read},
               .later = note_write};
    struct asyncore_dispatcher *d = asyncore_new(&table.cls, -1, NULL);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(asyncore_handle_read(d), 0);
    ck_assert_str_eq(trace, "read ");
}
END_TEST

/* --- three levels ---------------------------------------------------------------------------- */

struct bottom {
    struct asyncore_dispatcher_with_send base;
    int number;
};

static int bottom_handle_read(struct asyncore_dispatcher *d)
{
    (void)d;
    note("bottom.read");
    return 1;
}

static int bottom_handle_write(struct asyncore_dispatcher *d)
{
    note("bottom.write");
    return asyncore_dispatcher_with_send_handle_write(d);
}

static void bottom_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    note("bottom.finalize");
}

/* What init returns, before or after the super class's. */
static int bottom_early;
static int bottom_late;

static int bottom_init(struct asyncore_dispatcher *d, int fd)
{
    int r = bottom_early < 0 ? bottom_early : asyncore_dispatcher_init(d, fd);

    note("bottom.init");
    return r < 0 ? r : bottom_late;
}

ASYNCORE_CLASS(bottom, asyncore_dispatcher_with_send, .init = bottom_init,
               .finalize = bottom_finalize, .handle_read = bottom_handle_read,
               .handle_write = bottom_handle_write);

/* Declared and defined apart, and overrides nothing. */
struct middle {
    struct bottom base;
};

ASYNCORE_DECLARE_CLASS(middle, bottom);
ASYNCORE_DEFINE_CLASS(middle, bottom, .interest = ASYNCORE_INTEREST_INHERIT);

struct top {
    struct middle base;
    char letter;
};

static int top_handle_write(struct asyncore_dispatcher *d)
{
    note("top.write");
    return bottom_handle_write(d);
}

static void top_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    note("top.finalize");
}

ASYNCORE_CLASS(top, middle, .finalize = top_finalize, .handle_write = top_handle_write);

START_TEST(methods_are_inherited)
{
    struct top *top = top_new(-1, NULL);
    struct asyncore_dispatcher *d = top_dispatcher(top);

    ck_assert_ptr_nonnull(top);
    ck_assert_str_eq(trace, "bottom.init ");
    ck_assert_int_eq(asyncore_handle_read(d), 1);
    ck_assert_int_eq(asyncore_handle_write(d), -EBADF); /* what sends without a socket says */
    ck_assert_int_eq(asyncore_writable(d), 1);
    ck_assert_int_eq(asyncore_readable(d), 1);
    ck_assert_str_eq(trace, "bottom.init bottom.read top.write bottom.write ");
}
END_TEST

START_TEST(instances)
{
    struct top *top = top_new(-1, NULL);
    struct asyncore_dispatcher *d = top_dispatcher(top);

    ck_assert_ptr_eq(d->cls, &top_class);
    ck_assert_ptr_eq(top_of(d), top);
    ck_assert_ptr_eq(bottom_of(d), &top->base.base);
    ck_assert_int_eq(top->base.base.number, 0);
    ck_assert_int_eq(top->letter, 0);
    ck_assert_uint_eq((uintptr_t)d % alignof(max_align_t), 0);
    ck_assert_str_eq(top_class.name, "top");
}
END_TEST

START_TEST(isinstance)
{
    const struct asyncore_dispatcher *top = top_dispatcher(top_new(-1, NULL));
    const struct asyncore_dispatcher *bottom = bottom_dispatcher(bottom_new(-1, NULL));

    ck_assert_int_ne(asyncore_isinstance(top, &top_class), 0);
    ck_assert_int_ne(asyncore_isinstance(top, &middle_class), 0);
    ck_assert_int_ne(asyncore_isinstance(top, &bottom_class), 0);
    ck_assert_int_ne(asyncore_isinstance(top, &asyncore_dispatcher_with_send_class), 0);
    ck_assert_int_ne(asyncore_isinstance(top, &asyncore_dispatcher_class), 0);
    ck_assert_int_eq(asyncore_isinstance(top, &asyncore_file_dispatcher_class), 0);
    ck_assert_int_eq(asyncore_isinstance(bottom, &middle_class), 0);
}
END_TEST

/* --- init and finalize ----------------------------------------------------------------------- */

START_TEST(init_that_fails)
{
    int peer;
    int fd = one_end(&peer);

    if (_i == 0)
        bottom_early = -EPROTO;
    else
        bottom_late = -EPROTO;
    errno = 0;
    ck_assert_ptr_null(top_new(fd, NULL));
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_str_eq(trace, "bottom.init top.finalize bottom.finalize ");
    ck_assert(!test_is_open(fd));
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    ck_assert_str_eq(trace, "bottom.init top.finalize bottom.finalize ");
    test_close(&peer);
}
END_TEST

START_TEST(init_with_a_bad_descriptor)
{
    int pair[2];

    test_pipe(pair);
    errno = 0;
    ck_assert_ptr_null(top_new(pair[0], NULL));
    ck_assert_int_eq(errno, ENOTSOCK);
    ck_assert_str_eq(trace, "bottom.init top.finalize bottom.finalize ");
    test_close(&pair[1]);
}
END_TEST

struct file {
    struct asyncore_file_dispatcher base;
};

static int file_init(struct asyncore_dispatcher *d, int fd)
{
    int r = bottom_early < 0 ? bottom_early : asyncore_file_dispatcher_init(d, fd);

    return r < 0 ? r : bottom_late;
}

static void file_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    note("file.finalize");
}

ASYNCORE_CLASS(file, asyncore_file_dispatcher, .init = file_init, .finalize = file_finalize);

START_TEST(init_of_a_file_that_fails)
{
    int pair[2];

    test_pipe(pair);
    if (_i == 0)
        bottom_early = -EPROTO;
    else
        bottom_late = -EPROTO;
    errno = 0;
    ck_assert_ptr_null(file_new(pair[0], NULL));
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_str_eq(trace, "file.finalize ");
    ck_assert(!test_is_nonblocking(pair[0])); /* open, and as it was */
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

START_TEST(init_that_returns_a_count)
{
    bottom_late = 5; /* as after: return asyncore_send(...) */
    ck_assert_ptr_nonnull(top_new(-1, NULL));
}
END_TEST

START_TEST(finalize_at_the_end_of_the_map)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    int peer;

    ck_assert_ptr_nonnull(top_new(one_end(&peer), map));
    trace[0] = '\0';
    asyncore_map_free(map);
    ck_assert_str_eq(trace, "top.finalize bottom.finalize ");
    test_close(&peer);
}
END_TEST

START_TEST(finalize_after_close)
{
    int peer;
    struct asyncore_dispatcher *d = top_dispatcher(top_new(one_end(&peer), NULL));

    trace[0] = '\0';
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_str_eq(trace, "");
    ck_assert_ptr_eq(top_of(d)->base.base.base.base.cls, &top_class); /* still there */
    ck_assert_int_eq(asyncore_poll2(0.0, NULL), 0);
    ck_assert_str_eq(trace, "top.finalize bottom.finalize ");
    test_close(&peer);
}
END_TEST

/* The pass after the close destroys, though there is nobody left to serve. */
START_TEST(finalize_in_an_empty_map)
{
    static int (*const passes[])(double, struct asyncore_map *) = {asyncore_poll, asyncore_poll2};
    struct asyncore_dispatcher *d = top_dispatcher(top_new(-1, NULL));

    trace[0] = '\0';
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(passes[_i](0.0, NULL), 0);
    ck_assert_str_eq(trace, "top.finalize bottom.finalize ");
}
END_TEST

struct closer {
    struct asyncore_dispatcher base;
};

static int closer_handle_read(struct asyncore_dispatcher *d)
{
    note("read");
    asyncore_close(d);
    ck_assert_ptr_nonnull(d->map); /* d is valid until the pass ends */
    note("closed");
    return 0;
}

static void closer_finalize(struct asyncore_dispatcher *d)
{
    (void)d;
    note("finalize");
}

ASYNCORE_CLASS(closer, asyncore_dispatcher, .handle_read = closer_handle_read,
               .finalize = closer_finalize);

START_TEST(finalize_waits_for_the_pass)
{
    int peer;

    ck_assert_ptr_nonnull(closer_new(one_end(&peer), NULL));
    test_close(&peer);
    ck_assert_int_eq(asyncore_poll(1.0, NULL), 0);
    ck_assert_str_eq(trace, "read closed finalize ");
}
END_TEST

/* --- references ------------------------------------------------------------------------------ */

START_TEST(a_reference_keeps)
{
    int peer;
    struct asyncore_dispatcher *d = top_dispatcher(top_new(one_end(&peer), NULL));

    trace[0] = '\0';
    ck_assert_ptr_eq(asyncore_ref(d), d);
    ck_assert_ptr_eq(asyncore_ref(d), d);
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_poll2(0.0, NULL), 0);
    ck_assert_int_eq(asyncore_poll2(0.0, NULL), 0);
    ck_assert_ptr_null(asyncore_unref(d));
    ck_assert_int_eq(asyncore_poll2(0.0, NULL), 0);
    ck_assert_str_eq(trace, "");
    ck_assert_ptr_eq(d->cls, &top_class);
    ck_assert_ptr_null(asyncore_unref(d));
    ck_assert_int_eq(asyncore_poll2(0.0, NULL), 0);
    ck_assert_str_eq(trace, "top.finalize bottom.finalize ");
    test_close(&peer);
}
END_TEST

START_TEST(a_reference_keeps_the_map)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    int peer;
    int fd = one_end(&peer);
    struct asyncore_dispatcher *d = asyncore_ref(top_dispatcher(top_new(fd, map)));

    trace[0] = '\0';
    asyncore_map_free(map);
    ck_assert(!test_is_open(fd)); /* closed, and still there */
    ck_assert_str_eq(trace, "");
    ck_assert_ptr_eq(d->map, map);
    ck_assert_uint_eq(asyncore_map_length(d->map), 0);
    asyncore_unref(d);
    ck_assert_str_eq(trace, "top.finalize bottom.finalize ");
    test_close(&peer);
}
END_TEST

START_TEST(a_reference_that_is_given_up_early)
{
    int peer;
    struct asyncore_dispatcher *d = top_dispatcher(top_new(one_end(&peer), NULL));

    trace[0] = '\0';
    asyncore_unref(asyncore_ref(d));
    ck_assert_int_eq(run_passes(NULL, false, 1), 0);
    ck_assert_ptr_eq(asyncore_map_next(NULL, NULL), d);
    ck_assert_ptr_null(asyncore_unref(NULL));
    test_close(&peer);
}
END_TEST

/* --- every method ---------------------------------------------------------------------------- */

struct every {
    struct asyncore_dispatcher base;
};

#define NOTING(method)                                                                             \
    static int every_##method(struct asyncore_dispatcher *d)                                       \
    {                                                                                              \
        (void)d;                                                                                   \
        note(#method);                                                                             \
        return 1;                                                                                  \
    }

NOTING(readable)
NOTING(writable)
NOTING(handle_read_event)
NOTING(handle_write_event)
NOTING(handle_expt_event)
NOTING(handle_connect_event)
NOTING(handle_read)
NOTING(handle_write)
NOTING(handle_expt)
NOTING(handle_connect)
NOTING(handle_accept)
NOTING(handle_close)
NOTING(handle_error)
NOTING(handle_timeout)
NOTING(close)

static int every_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                 const struct sockaddr *addr, socklen_t addrlen)
{
    (void)d;
    ck_assert_int_eq(sock, 4711);
    ck_assert_ptr_null(addr);
    ck_assert_uint_eq(addrlen, 8);
    note("handle_accepted");
    return 1;
}

static int every_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    (void)d;
    ck_assert_str_eq(data, "data");
    ck_assert_uint_eq(len, 4);
    note("send");
    return 4;
}

static int every_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    (void)d;
    (void)buf;
    note("recv");
    return (int)len;
}

static int every_log(struct asyncore_dispatcher *d, const char *message)
{
    (void)d;
    note("log");
    note(message);
    return 1;
}

static int every_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    (void)d;
    note(type);
    note(message);
    return 1;
}

static int every_repr(const struct asyncore_dispatcher *d, char *buf, size_t size)
{
    (void)d;
    return snprintf(buf, size, "[me]");
}

ASYNCORE_CLASS(every, asyncore_dispatcher, .readable = every_readable, .writable = every_writable,
               .handle_read_event = every_handle_read_event,
               .handle_write_event = every_handle_write_event,
               .handle_expt_event = every_handle_expt_event,
               .handle_connect_event = every_handle_connect_event, .handle_read = every_handle_read,
               .handle_write = every_handle_write, .handle_expt = every_handle_expt,
               .handle_connect = every_handle_connect, .handle_accept = every_handle_accept,
               .handle_accepted = every_handle_accepted, .handle_close = every_handle_close,
               .handle_error = every_handle_error, .send = every_send, .recv = every_recv,
               .close = every_close, .log = every_log, .log_info = every_log_info,
               .repr = every_repr, .handle_timeout = every_handle_timeout);

START_TEST(every_method_can_be_overridden)
{
    static const struct {
        int (*call)(struct asyncore_dispatcher *d);
        const char *expected;
    } cases[] = {
        {asyncore_readable, "readable "},
        {asyncore_writable, "writable "},
        {asyncore_handle_read_event, "handle_read_event "},
        {asyncore_handle_write_event, "handle_write_event "},
        {asyncore_handle_expt_event, "handle_expt_event "},
        {asyncore_handle_connect_event, "handle_connect_event "},
        {asyncore_handle_read, "handle_read "},
        {asyncore_handle_write, "handle_write "},
        {asyncore_handle_expt, "handle_expt "},
        {asyncore_handle_connect, "handle_connect "},
        {asyncore_handle_accept, "handle_accept "},
        {asyncore_handle_close, "handle_close "},
        {asyncore_handle_error, "handle_error "},
        {asyncore_handle_timeout, "handle_timeout "},
        {asyncore_close, "close "},
    };
    struct asyncore_dispatcher *d = every_dispatcher(every_new(-1, NULL));

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trace[0] = '\0';
        ck_assert_int_eq(cases[i].call(d), 1);
        ck_assert_str_eq(trace, cases[i].expected);
    }
}
END_TEST

START_TEST(every_method_with_arguments)
{
    struct asyncore_dispatcher *d = every_dispatcher(every_new(-1, NULL));
    char buf[16];

    ck_assert_int_eq(asyncore_handle_accepted(d, 4711, NULL, 8), 1);
    ck_assert_int_eq(asyncore_send(d, "data", 4), 4);
    ck_assert_int_eq(asyncore_recv(d, buf, 9), 9);
    ck_assert_int_eq(asyncore_log(d, "a"), 1);
    ck_assert_int_eq(asyncore_logf(d, "%c", 'b'), 1);
    ck_assert_int_eq(asyncore_log_info(d, "c", NULL), 1);
    ck_assert_int_eq(asyncore_log_infof(d, "x", "%c", 'd'), 1);
    ck_assert_str_eq(trace, "handle_accepted send recv log a log b info c x d ");
    ck_assert_int_eq(asyncore_repr(d, buf, sizeof buf), 4);
    ck_assert_str_eq(buf, "[me]");
}
END_TEST

/* What the library does by default it does through the methods of the class. */
START_TEST(the_defaults_call_what_is_overridden)
{
    struct asyncore_dispatcher *d = every_dispatcher(every_new(-1, NULL));

    ck_assert_int_ge(asyncore_dispatcher_handle_read_event(d), 0);
    ck_assert_int_ge(asyncore_dispatcher_handle_write_event(d), 0);
    ck_assert_str_eq(trace, "handle_read handle_write ");

    trace[0] = '\0';
    asyncore_set_connecting(d, true);
    ck_assert_int_ge(asyncore_dispatcher_handle_read_event(d), 0);
    ck_assert_int_ge(asyncore_dispatcher_handle_write_event(d), 0);
    ck_assert_str_eq(trace, "handle_connect_event handle_read handle_connect_event handle_write ");

    trace[0] = '\0';
    asyncore_set_accepting(d, true);
    ck_assert_int_ge(asyncore_dispatcher_handle_read_event(d), 0);
    ck_assert_str_eq(trace, "handle_accept ");

    trace[0] = '\0';
    ck_assert_int_ge(asyncore_dispatcher_handle_close(d), 0);
    ck_assert_str_eq(trace, "warning unhandled close event close ");

    trace[0] = '\0';
    ck_assert_int_ge(asyncore_dispatcher_handle_timeout(d), 0);
    ck_assert_str_eq(trace, "handle_close ");

    trace[0] = '\0';
    asyncore_raise(d, -EPROTO, "spam");
    ck_assert_int_ge(asyncore_dispatcher_handle_error(d), 0);
    ck_assert_ptr_nonnull(strstr(trace, "closing channel [me] (EPROTO:spam ["));
    ck_assert_ptr_nonnull(strstr(trace, ") handle_close "));
}
END_TEST

START_TEST(send_and_recv_call_what_is_overridden)
{
    int pair[2];
    char byte;
    struct asyncore_dispatcher *d;

    test_socketpair(SOCK_STREAM, pair);
    d = every_dispatcher(every_new(pair[0], NULL));
    test_close(&pair[1]);
    ck_assert_int_eq(asyncore_dispatcher_recv(d, &byte, 1), 0);
    ck_assert_int_eq(asyncore_dispatcher_send(d, &byte, 1), 0);
    ck_assert_str_eq(trace, "handle_close handle_close ");
}
END_TEST

static bool was_written(void *arg)
{
    (void)arg;
    return strstr(trace, "handle_read_event ") && strstr(trace, "handle_write_event ");
}

START_TEST(the_loop_calls_what_is_overridden)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_ptr_nonnull(every_new(pair[0], NULL));
    test_write_all(pair[1], "x", 1);
    ck_assert_int_eq(run_until_true(NULL, false, was_written, NULL), 0);
    ck_assert_int_eq(strncmp(trace, "readable writable ", 18), 0);
    test_close(&pair[1]);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    trace[0] = '\0';
    bottom_early = 0;
    bottom_late = 0;
}

static void add(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    suite_add_tcase(s, tc);
}

static void add_tables(Suite *s)
{
    TCase *refused = tcase_create("refused");
    TCase *versions = tcase_create("versions");
    TCase *levels = tcase_create("levels");

    add(s, refused);
    tcase_add_test(refused, without_super);
    tcase_add_test(refused, smaller_than_super);
    tcase_add_test(refused, without_its_head);
    tcase_add_test(refused, refused_with_a_file);
    add(s, versions);
    tcase_add_test(versions, a_shorter_table);
    tcase_add_test(versions, the_shortest_table);
    tcase_add_test(versions, a_longer_table);
    add(s, levels);
    tcase_add_test(levels, methods_are_inherited);
    tcase_add_test(levels, instances);
    tcase_add_test(levels, isinstance);
}

static void add_life(Suite *s)
{
    TCase *init = tcase_create("init_and_finalize");
    TCase *references = tcase_create("references");

    add(s, init);
    tcase_add_loop_test(init, init_that_fails, 0, 2);
    tcase_add_test(init, init_with_a_bad_descriptor);
    tcase_add_loop_test(init, init_of_a_file_that_fails, 0, 2);
    tcase_add_test(init, init_that_returns_a_count);
    tcase_add_test(init, finalize_at_the_end_of_the_map);
    tcase_add_test(init, finalize_after_close);
    tcase_add_loop_test(init, finalize_in_an_empty_map, 0, 2);
    tcase_add_test(init, finalize_waits_for_the_pass);
    add(s, references);
    tcase_add_test(references, a_reference_keeps);
    tcase_add_test(references, a_reference_keeps_the_map);
    tcase_add_test(references, a_reference_that_is_given_up_early);
}

static void add_methods(Suite *s)
{
    TCase *tc = tcase_create("methods");

    add(s, tc);
    tcase_add_test(tc, every_method_can_be_overridden);
    tcase_add_test(tc, every_method_with_arguments);
    tcase_add_test(tc, the_defaults_call_what_is_overridden);
    tcase_add_test(tc, send_and_recv_call_what_is_overridden);
    tcase_add_test(tc, the_loop_calls_what_is_overridden);
}

int main(void)
{
    Suite *s = suite_create("class");

    add_tables(s);
    add_life(s);
    add_methods(s);
    return test_main(s);
}
