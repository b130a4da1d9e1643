/*
 * Errors: how they are recorded and printed, and where those of each method go.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- a class whose methods return what the test says ------------------------------------------ */

enum method {
    READABLE,
    WRITABLE,
    READ,
    WRITE,
    EXPT,
    CONNECT,
    ACCEPT,
    ACCEPTED,
    CLOSE,
    ERROR,
    METHODS
};

static const char *const names[METHODS] = {
    "readable",       "writable",      "handle_read",     "handle_write", "handle_expt",
    "handle_connect", "handle_accept", "handle_accepted", "handle_close", "handle_error"};

static int results[METHODS];
static int calls[METHODS];

/* The error that handle_error found. */
static int seen_error;
static char seen_message[300];
static char seen_function[64];

static int answer(enum method method)
{
    calls[method]++;
    return results[method];
}

struct subject {
    struct asyncore_dispatcher base;
};

static int subject_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return answer(READABLE);
}

static int subject_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return answer(WRITABLE);
}

static int subject_handle_read(struct asyncore_dispatcher *d)
{
    (void)d;
    return answer(READ);
}

static int subject_handle_write(struct asyncore_dispatcher *d)
{
    (void)d;
    return answer(WRITE);
}

static int subject_handle_expt(struct asyncore_dispatcher *d)
{
    (void)d;
    return answer(EXPT);
}

static int subject_handle_connect(struct asyncore_dispatcher *d)
{
    (void)d;
    return answer(CONNECT);
}

static int subject_handle_accept(struct asyncore_dispatcher *d)
{
    int r = answer(ACCEPT);

    return r < 0 ? r : asyncore_dispatcher_handle_accept(d);
}

static int subject_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                   const struct sockaddr *addr, socklen_t addrlen)
{
    (void)d;
    (void)addr;
    (void)addrlen;
    close(sock);
    return answer(ACCEPTED);
}

static int subject_handle_close(struct asyncore_dispatcher *d)
{
    int r = answer(CLOSE);

    asyncore_close(d);
    return r;
}

static int subject_handle_error(struct asyncore_dispatcher *d)
{
    const struct asyncore_error *e = asyncore_compact_traceback(d);

    seen_error = e->error;
    snprintf(seen_message, sizeof seen_message, "%s", e->message);
    snprintf(seen_function, sizeof seen_function, "%s", e->function);
    return answer(ERROR);
}

ASYNCORE_CLASS(subject, asyncore_dispatcher, .readable = subject_readable,
               .writable = subject_writable, .handle_read = subject_handle_read,
               .handle_write = subject_handle_write, .handle_expt = subject_handle_expt,
               .handle_connect = subject_handle_connect, .handle_accept = subject_handle_accept,
               .handle_accepted = subject_handle_accepted, .handle_close = subject_handle_close,
               .handle_error = subject_handle_error);

static struct asyncore_dispatcher *new_subject(int fd)
{
    struct subject *subject = subject_new(fd, NULL);

    ck_assert_ptr_nonnull(subject);
    return subject_dispatcher(subject);
}

/* One that is connected, with a byte to read; its peer. */
static struct asyncore_dispatcher *new_ready(int *peer)
{
    int pair[2];

    test_pair(AF_INET, pair);
    test_write_all(pair[1], "x", 1);
    test_wait_readable(pair[0]);
    *peer = pair[1];
    return new_subject(pair[0]);
}

/* --- what is recorded ------------------------------------------------------------------------ */

START_TEST(raise_records)
{
    struct asyncore_dispatcher *d = new_subject(-1);
    const struct asyncore_error *e = asyncore_compact_traceback(d);
    int line;

    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(e->error, 0);
    line = __LINE__ + 1;
    ck_assert_int_eq(asyncore_raise(d, -EPROTO, "bad command %s %d", "spam", 7), -EPROTO);
    e = asyncore_compact_traceback(d);
    ck_assert_int_eq(e->error, -EPROTO);
    ck_assert_str_eq(e->message, "bad command spam 7");
    ck_assert_str_eq(e->file, __FILE__);
    ck_assert_str_eq(e->function, __func__);
    ck_assert_int_eq(e->line, line);
}
END_TEST

START_TEST(raise_cuts_the_message)
{
    struct asyncore_dispatcher *d = new_subject(-1);
    char message[300];

    memset(message, 'x', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    asyncore_raise(d, -EPROTO, "%s", message);
    ck_assert_uint_eq(strlen(asyncore_compact_traceback(d)->message), 255);
    ck_assert_mem_eq(asyncore_compact_traceback(d)->message, message, 255);
}
END_TEST

START_TEST(raise_with_the_old_message)
{
    struct asyncore_dispatcher *d = new_subject(-1);

    asyncore_raise(d, -EPROTO, "inner");
    asyncore_raise(d, -EIO, "outer: %s", asyncore_compact_traceback(d)->message);
    ck_assert_str_eq(asyncore_compact_traceback(d)->message, "outer: inner");
    ck_assert_int_eq(asyncore_compact_traceback(d)->error, -EIO);
}
END_TEST

START_TEST(an_error_of_each_method_has_its_name)
{
    static const struct {
        enum method method;
        int (*call)(struct asyncore_dispatcher *d);
    } cases[] = {{READABLE, asyncore_readable},    {WRITABLE, asyncore_writable},
                 {READ, asyncore_handle_read},     {WRITE, asyncore_handle_write},
                 {EXPT, asyncore_handle_expt},     {CONNECT, asyncore_handle_connect},
                 {ACCEPT, asyncore_handle_accept}, {CLOSE, asyncore_handle_close}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct asyncore_dispatcher *d = new_subject(-1);
        const struct asyncore_error *e;
        int error = -(ENOENT + (int)i);

        results[cases[i].method] = error;
        ck_assert_int_eq(cases[i].call(d), error);
        e = asyncore_compact_traceback(d);
        ck_assert_int_eq(e->error, error);
        ck_assert_str_eq(e->message, asyncore_strerror(error));
        ck_assert_str_eq(e->function, names[cases[i].method]);
        ck_assert_str_eq(e->file, "");
        ck_assert_int_eq(e->line, 0);
    }
}
END_TEST

/* A class that raises an error in one handler and does not return it. */
struct forgetful {
    struct subject base;
};

static int forgetful_handle_read(struct asyncore_dispatcher *d)
{
    asyncore_raise(d, -EPROTO, "not so bad");
    calls[READ]++;
    return results[READ];
}

ASYNCORE_CLASS(forgetful, subject, .handle_read = forgetful_handle_read);

START_TEST(another_error_than_the_raised_one)
{
    struct forgetful *forgetful = forgetful_new(-1, NULL);

    results[READ] = -EIO;
    ck_assert_int_eq(asyncore_read(forgetful_dispatcher(forgetful)), 0);
    ck_assert_int_eq(seen_error, -EIO);
    ck_assert_str_eq(seen_message, strerror(EIO));
    ck_assert_str_eq(seen_function, "handle_read");
}
END_TEST

START_TEST(the_next_handler_starts_without_an_error)
{
    struct asyncore_dispatcher *d = forgetful_dispatcher(forgetful_new(-1, NULL));

    ck_assert_int_eq(asyncore_read(d), 0);
    ck_assert_int_eq(calls[ERROR], 0);
    results[WRITE] = -EPROTO; /* the same number, from elsewhere */
    ck_assert_int_eq(asyncore_write(d), 0);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_str_eq(seen_message, strerror(EPROTO));
    ck_assert_str_eq(seen_function, "handle_write");
}
END_TEST

START_TEST(names_of_errors)
{
    static const struct {
        int error;
        const char *code;
        const char *message;
    } cases[] = {
        {ECONNREFUSED, "ECONNREFUSED", "Connection refused"},
        {-ECONNREFUSED, "ECONNREFUSED", "Connection refused"},
        {-EPIPE, "EPIPE", "Broken pipe"},
        {-EAGAIN, "EAGAIN", "Resource temporarily unavailable"},
        {ASYNCORE_EXIT_NOW, "ExitNow", "ExitNow"},
        {9999, "unknown", "Unknown error 9999"},
        {-9999, "unknown", "Unknown error 9999"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_str_eq(asyncore_errorcode(cases[i].error), cases[i].code);
        ck_assert_str_eq(asyncore_strerror(cases[i].error), cases[i].message);
    }
    ck_assert_ptr_nonnull(asyncore_strerror(INT_MIN));
    ck_assert_str_eq(asyncore_errorcode(INT_MIN), "unknown");
    ck_assert_str_eq(asyncore_errorcode(INT_MAX), "unknown");
}
END_TEST

/* --- the report ------------------------------------------------------------------------------ */

struct reporter {
    struct asyncore_dispatcher base;
};

static int raise_line;

static int reporter_handle_read(struct asyncore_dispatcher *d)
{
    raise_line = __LINE__ + 1;
    return asyncore_raise(d, -EPROTO, "bad command");
}

static int reporter_handle_write(struct asyncore_dispatcher *d)
{
    (void)d;
    return -ECONNREFUSED;
}

ASYNCORE_CLASS(reporter, asyncore_dispatcher, .handle_read = reporter_handle_read,
               .handle_write = reporter_handle_write);

static void assert_report(struct asyncore_dispatcher *d, int (*event)(struct asyncore_dispatcher *),
                          const char *what)
{
    struct test_capture capture;
    char expected[1024];

    snprintf(expected, sizeof expected,
             "error: uncaptured python exception, closing channel <reporter connected '' at %p> "
             "(%s)\n",
             (void *)d, what);
    test_capture_begin(&capture, STDOUT_FILENO);
    ck_assert_int_eq(event(d), 0);
    ck_assert_str_eq(test_capture_end(&capture), expected);
    ck_assert_int_eq(asyncore_fileno(d), -1); /* handle_close has run */
}

START_TEST(the_report_of_what_was_raised)
{
    int pair[2];
    char what[512];

    test_socketpair(SOCK_STREAM, pair);
    struct asyncore_dispatcher *d = asyncore_ref(reporter_dispatcher(reporter_new(pair[0], NULL)));

    (void)reporter_handle_read(d); /* for its line */
    snprintf(what, sizeof what, "EPROTO:bad command [%s|reporter_handle_read|%d]", __FILE__,
             raise_line);
    assert_report(d, asyncore_read, what);
    asyncore_unref(d);
    test_close(&pair[1]);
}
END_TEST

START_TEST(the_report_of_what_was_returned)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);

    struct asyncore_dispatcher *d = asyncore_ref(reporter_dispatcher(reporter_new(pair[0], NULL)));

    assert_report(d, asyncore_write, "ECONNREFUSED:Connection refused [|handle_write|0]");
    asyncore_unref(d);
    test_close(&pair[1]);
}
END_TEST

/* A class with a name and a log of its own. */
struct logging {
    struct reporter base;
};

static char logged[512];
static int log_result;

static int logging_repr(const struct asyncore_dispatcher *d, char *buf, size_t size)
{
    (void)d;
    return snprintf(buf, size, "[me]");
}

static int logging_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    (void)d;
    snprintf(logged, sizeof logged, "%s: %s", type, message);
    return log_result;
}

static int logging_handle_close(struct asyncore_dispatcher *d)
{
    calls[CLOSE]++;
    return asyncore_close(d);
}

ASYNCORE_CLASS(logging, reporter, .repr = logging_repr, .log_info = logging_log_info,
               .handle_close = logging_handle_close);

START_TEST(the_report_uses_repr_and_log_info)
{
    struct asyncore_dispatcher *d = logging_dispatcher(logging_new(-1, NULL));

    asyncore_raise_at(d, -EPROTO, "f.c", "f", 3, "spam");
    log_result = 0;
    ck_assert_int_eq(asyncore_handle_error(d), 0);
    ck_assert_str_eq(logged, "error: uncaptured python exception, closing channel [me] "
                             "(EPROTO:spam [f.c|f|3])");
    ck_assert_int_eq(calls[CLOSE], 1);

    log_result = -EIO; /* then handle_error has failed */
    ck_assert_int_eq(asyncore_handle_error(d), -EIO);
    ck_assert_int_eq(calls[CLOSE], 1);
}
END_TEST

/* One that does something else before it reports. */
struct busy {
    struct logging base;
};

static int (*meanwhile)(struct asyncore_dispatcher *other);
static struct asyncore_dispatcher *another;

static int busy_handle_error(struct asyncore_dispatcher *d)
{
    (void)meanwhile(another); /* whatever comes of it */
    return asyncore_dispatcher_handle_error(d);
}

ASYNCORE_CLASS(busy, logging, .handle_error = busy_handle_error);

static int raise_and_handle(struct asyncore_dispatcher *other)
{
    asyncore_raise(other, -EIO, "another");
    return asyncore_handle_error(other);
}

/* The report of an error while whose handle_error runs, another is handled, or one is forgotten. */
static void assert_own_report(int (*what)(struct asyncore_dispatcher *other))
{
    struct asyncore_dispatcher *d = busy_dispatcher(busy_new(-1, NULL));
    char expected[512];

    another = new_subject(-1);
    meanwhile = what;
    log_result = 0;
    ck_assert_int_eq(asyncore_read(d), 0);
    snprintf(expected, sizeof expected,
             "error: uncaptured python exception, closing channel [me] "
             "(EPROTO:bad command [%s|reporter_handle_read|%d])",
             __FILE__, raise_line);
    ck_assert_str_eq(logged, expected);
    ck_assert_int_eq(calls[CLOSE], 1);
}

START_TEST(an_error_handled_inside_handle_error)
{
    assert_own_report(raise_and_handle);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_int_eq(seen_error, -EIO);
    ck_assert_str_eq(seen_message, "another");
}
END_TEST

START_TEST(an_event_that_fails_inside_handle_error)
{
    results[READ] = -EIO;
    assert_own_report(asyncore_read);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_int_eq(seen_error, -EIO);
    ck_assert_str_eq(seen_function, "handle_read");
}
END_TEST

START_TEST(a_method_that_fails_inside_handle_error)
{
    results[READ] = -EIO;
    assert_own_report(asyncore_handle_read);
    ck_assert_int_eq(calls[READ], 1);
    ck_assert_int_eq(calls[ERROR], 0);
}
END_TEST

START_TEST(handle_error_without_an_error)
{
    struct asyncore_dispatcher *d = logging_dispatcher(logging_new(-1, NULL));

    logged[0] = '\0';
    ck_assert_int_eq(asyncore_handle_error(d), -EINVAL);
    ck_assert_str_eq(logged, "");
    ck_assert_int_eq(calls[CLOSE], 0);
}
END_TEST

/* --- in the loop ----------------------------------------------------------------------------- */

/* A channel for which the next pass calls method; what has to stay open for that. */
static struct asyncore_dispatcher *provoke(enum method method, int others[2])
{
    struct test_addr addr;
    struct asyncore_dispatcher *d;
    int listener;

    others[0] = others[1] = -1;
    switch (method) {
    case ACCEPT:
    case ACCEPTED:
        d = new_subject(test_listener(AF_INET, &addr));
        others[0] = test_connect(&addr);
        return d;
    case CONNECT:
        listener = test_listener(AF_INET, &addr);
        d = new_subject(-1);
        ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
        ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), 0);
        others[0] = listener;
        return d;
    case EXPT:
        d = new_ready(&others[0]);
        ck_assert_int_eq(send(others[0], "o", 1, MSG_OOB), 1);
        (void)test_wait(asyncore_fileno(d), POLLPRI);
        return d;
    default:
        return new_ready(&others[0]);
    }
}

static void close_others(int others[2])
{
    for (int i = 0; i < 2; i++) {
        if (others[i] >= 0)
            test_close(&others[i]);
    }
}

static bool was_called(void *arg)
{
    return calls[*(const enum method *)arg] > 0;
}

static const enum method handlers[] = {READ, WRITE, EXPT, CONNECT, ACCEPT, ACCEPTED};
#define HANDLERS 6

/* In select's way first, then in poll's. */
START_TEST(exit_now_leaves_the_loop)
{
    enum method method = handlers[_i % HANDLERS];
    int others[2];

    provoke(method, others);
    results[method] = ASYNCORE_EXIT_NOW;
    ck_assert_int_eq(asyncore_loop(1.0, _i >= HANDLERS, NULL, ASYNCORE_COUNT_NONE),
                     ASYNCORE_EXIT_NOW);
    ck_assert_int_eq(calls[method], 1);
    ck_assert_int_eq(calls[ERROR], 0);
    ck_assert_int_eq(calls[CLOSE], 0);
    ck_assert_uint_eq(asyncore_map_length(NULL), 1); /* nothing is closed */
    close_others(others);
}
END_TEST

START_TEST(an_error_goes_to_handle_error)
{
    enum method method = handlers[_i % HANDLERS];
    enum method error = ERROR;
    int others[2];

    provoke(method, others);
    results[method] = -EPROTO;
    ck_assert_int_eq(run_until_true(NULL, _i >= HANDLERS, was_called, &error), 0);
    ck_assert_int_eq(seen_error, -EPROTO);
    ck_assert_str_eq(seen_message, strerror(EPROTO));
    ck_assert_str_eq(seen_function, names[method]);
    ck_assert_int_eq(calls[CLOSE], 0);
    close_others(others);
}
END_TEST

START_TEST(an_error_of_handle_error_leaves_the_loop)
{
    enum method method = handlers[_i % HANDLERS];
    bool use_poll = _i >= HANDLERS;
    enum method error = ERROR;
    int others[2];

    provoke(method, others);
    results[method] = -EPROTO;
    results[ERROR] = -EIO;
    ck_assert_int_eq(asyncore_loop(1.0, use_poll, NULL, ASYNCORE_COUNT_NONE), -EIO);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
    results[ERROR] = 0; /* the loop can be called again */
    results[WRITABLE] = 1;
    results[WRITE] = -EPROTO;
    calls[ERROR] = 0;
    if (method != ACCEPT && method != ACCEPTED)
        ck_assert_int_eq(run_until_true(NULL, use_poll, was_called, &error), 0);
    close_others(others);
}
END_TEST

START_TEST(exit_now_of_handle_error_leaves_the_loop)
{
    int peer;

    new_ready(&peer);
    results[READ] = -EPROTO;
    results[ERROR] = ASYNCORE_EXIT_NOW;
    ck_assert_int_eq(asyncore_loop(1.0, _i == 1, NULL, ASYNCORE_COUNT_NONE), ASYNCORE_EXIT_NOW);
    ck_assert_int_eq(calls[ERROR], 1);
    test_close(&peer);
}
END_TEST

START_TEST(an_error_of_a_predicate_leaves_the_loop)
{
    static const int errors[] = {-EPROTO, ASYNCORE_EXIT_NOW};
    enum method method = _i & 1 ? READABLE : WRITABLE;
    bool use_poll = _i & 2;
    int error = errors[_i / 4];
    enum method read = READ;
    int peer;

    new_ready(&peer);
    results[method] = error;
    ck_assert_int_eq(asyncore_loop(1.0, use_poll, NULL, ASYNCORE_COUNT_NONE), error);
    ck_assert_int_eq(asyncore_loop(1.0, use_poll, NULL, 1), error);
    ck_assert_int_eq(calls[ERROR] + calls[CLOSE] + calls[READ] + calls[WRITE], 0);
    results[method] = 1; /* the loop can be called again */
    ck_assert_int_eq(run_until_true(NULL, use_poll, was_called, &read), 0);
    test_close(&peer);
}
END_TEST

START_TEST(eagain_is_no_failure)
{
    enum method method = handlers[_i % HANDLERS];
    int others[2];

    provoke(method, others);
    results[method] = -EAGAIN;
    ck_assert_int_eq(run_until_true(NULL, _i >= HANDLERS, was_called, &method), 0);
    ck_assert_int_eq(run_passes(NULL, _i >= HANDLERS, 2), 0);
    ck_assert_int_eq(calls[ERROR] + calls[CLOSE], 0);
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
    close_others(others);
}
END_TEST

/* An answer of handle_error that is no error: -EAGAIN, or a count. */
START_TEST(handle_error_that_does_not_fail)
{
    static const int answers[] = {-EAGAIN, 7};
    int peer;

    new_ready(&peer);
    results[READ] = -EPROTO;
    results[WRITABLE] = 0;
    results[ERROR] = answers[_i / 2];
    ck_assert_int_eq(asyncore_loop(1.0, _i % 2 == 1, NULL, 2), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(calls[ERROR], 2);
    test_close(&peer);
}
END_TEST

START_TEST(functions_of_the_loop_return_what_leaves_it)
{
    static const int errors[] = {-EIO, ASYNCORE_EXIT_NOW};
    int error = errors[_i];
    int peer;
    struct asyncore_dispatcher *d = new_ready(&peer);

    results[READ] = results[WRITE] = results[EXPT] = -EPROTO;
    results[ERROR] = error;
    ck_assert_int_eq(asyncore_poll(1.0, NULL), error);
    ck_assert_int_eq(asyncore_poll2(1.0, NULL), error);
    ck_assert_int_eq(asyncore_read(d), error);
    ck_assert_int_eq(asyncore_write(d), error);
    ck_assert_int_eq(asyncore_exception(d), error);
    ck_assert_int_eq(asyncore_readwrite(d, POLLIN), error);
    ck_assert_int_eq(calls[ERROR], 6);
    results[ERROR] = 0;
    ck_assert_int_eq(asyncore_read(d), 0);
    ck_assert_int_eq(asyncore_write(d), 0);
    ck_assert_int_eq(asyncore_exception(d), 0);
    ck_assert_int_eq(asyncore_readwrite(d, POLLIN), 0);
    test_close(&peer);
}
END_TEST

/* Runs a loop of its own, which its neighbour leaves, and passes that on or does not. */
struct nesting {
    struct subject base;
};

static int nesting_handle_read(struct asyncore_dispatcher *d)
{
    char byte;

    calls[READ]++;
    ck_assert_int_eq(asyncore_recv(d, &byte, 1), 1);
    ck_assert_int_eq(asyncore_loop(1.0, false, NULL, ASYNCORE_COUNT_NONE), ASYNCORE_EXIT_NOW);
    return results[CONNECT];
}

ASYNCORE_CLASS(nesting, subject, .handle_read = nesting_handle_read);

START_TEST(exit_now_of_a_nested_loop)
{
    int pair[2];
    int peer;

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_ptr_nonnull(nesting_new(pair[0], NULL));
    test_write_all(pair[1], "x", 1);
    new_ready(&peer);
    results[WRITABLE] = 0;
    results[READ] = ASYNCORE_EXIT_NOW;
    results[CONNECT] = _i == 0 ? 0 : ASYNCORE_EXIT_NOW;
    ck_assert_int_eq(asyncore_loop(1.0, false, NULL, 1),
                     _i == 0 ? ASYNCORE_LOOP_COUNT : ASYNCORE_EXIT_NOW);
    ck_assert_int_eq(calls[READ], 2);
    test_close(&pair[1]);
    test_close(&peer);
}
END_TEST

/* A handler that closes its channel and then returns an error has failed all the same. */
struct closing {
    struct subject base;
};

static int closing_handle_read(struct asyncore_dispatcher *d)
{
    calls[READ]++;
    asyncore_close(d);
    return asyncore_raise(d, -EPROTO, "closed, and failed");
}

ASYNCORE_CLASS(closing, subject, .handle_read = closing_handle_read);

START_TEST(an_error_after_close)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_ptr_nonnull(closing_new(pair[0], NULL));
    test_write_all(pair[1], "x", 1);
    ck_assert_int_eq(asyncore_loop(1.0, _i == 1, NULL, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(calls[READ], 1);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_str_eq(seen_message, "closed, and failed");
    test_close(&pair[1]);
}
END_TEST

/* ... but what it closed is not closed by the library once more. */
struct closed_once {
    struct asyncore_dispatcher base;
};

static int closed_once_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 1;
}

static int closed_once_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int closed_once_handle_read(struct asyncore_dispatcher *d)
{
    asyncore_handle_close(d);
    return results[READ];
}

static int closed_once_handle_close(struct asyncore_dispatcher *d)
{
    calls[CLOSE]++;
    return asyncore_close(d);
}

static int closed_once_log_info(struct asyncore_dispatcher *d, const char *message,
                                const char *type)
{
    (void)d;
    (void)message;
    (void)type;
    calls[ERROR]++;
    return 0;
}

ASYNCORE_CLASS(closed_once, asyncore_dispatcher, .readable = closed_once_readable,
               .writable = closed_once_writable, .handle_read = closed_once_handle_read,
               .handle_close = closed_once_handle_close, .log_info = closed_once_log_info);

static void close_once(int error, bool use_poll)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_ptr_nonnull(closed_once_new(pair[0], NULL));
    test_write_all(pair[1], "x", 1);
    results[READ] = error;
    ck_assert_int_eq(asyncore_loop(1.0, use_poll, NULL, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(calls[CLOSE], 1);
    test_close(&pair[1]);
}

START_TEST(an_error_after_close_does_not_close_again)
{
    close_once(-EPROTO, _i == 1);
    ck_assert_int_eq(calls[ERROR], 1); /* it is reported */
}
END_TEST

START_TEST(a_disconnect_after_close_does_not_close_again)
{
    close_once(-ECONNRESET, true);
    ck_assert_int_eq(calls[ERROR], 0);
}
END_TEST

START_TEST(the_others_are_served)
{
    int first;
    int second;
    int others[2];
    enum method read = READ;

    new_ready(&first);
    provoke(ACCEPT, others);
    new_ready(&second);
    results[READ] = -EPROTO;
    results[WRITABLE] = 0;
    ck_assert_int_eq(run_until_true(NULL, _i == 1, was_called, &read), 0);
    ck_assert_int_eq(calls[READ], 2);
    ck_assert_int_eq(calls[ERROR], 2);
    ck_assert_int_eq(calls[ACCEPTED], 1);
    close_others(others);
    test_close(&first);
    test_close(&second);
}
END_TEST

/* --- errors of the disconnected family -------------------------------------------------------- */

static const int disconnected[] = {-ECONNRESET,   -ENOTCONN, -ESHUTDOWN,
                                   -ECONNABORTED, -EPIPE,    -EBADF};
#define DISCONNECTED 6

START_TEST(disconnected_in_selects_way)
{
    int peer;

    new_ready(&peer);
    results[READ] = disconnected[_i];
    results[WRITABLE] = 0;
    ck_assert_int_eq(asyncore_poll(1.0, NULL), 0);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_int_eq(calls[CLOSE], 0);
    test_close(&peer);
}
END_TEST

START_TEST(disconnected_in_polls_way)
{
    int peer;

    new_ready(&peer);
    results[READ] = disconnected[_i];
    ck_assert_int_eq(asyncore_poll2(1.0, NULL), 0);
    ck_assert_int_eq(calls[READ], 1);
    ck_assert_int_eq(calls[WRITE], 0); /* an error ends the channel's turn */
    ck_assert_int_eq(calls[ERROR], 0);
    ck_assert_int_eq(calls[CLOSE], 1);
    test_close(&peer);
}
END_TEST

/* Also for a channel that is ready for nothing but this. */
START_TEST(disconnected_in_every_handler)
{
    enum method method = handlers[_i];
    enum method closed = CLOSE;
    int others[2];

    provoke(method, others);
    results[WRITABLE] = method == WRITE || method == CONNECT;
    results[method] = -EPIPE;
    ck_assert_int_eq(run_until_true(NULL, true, was_called, &closed), 0);
    ck_assert_int_eq(calls[method], 1);
    ck_assert_int_eq(calls[ERROR], 0);
    close_others(others);
}
END_TEST

/* -EAGAIN is no failure of a handle_close that stands in for handle_error either. */
START_TEST(disconnected_and_handle_close_says_eagain)
{
    int peer;

    new_ready(&peer);
    results[READ] = -ECONNRESET;
    results[CLOSE] = -EAGAIN;
    ck_assert_int_eq(asyncore_poll2(1.0, NULL), 0);
    ck_assert_int_eq(calls[CLOSE], 1);
    ck_assert_int_eq(calls[ERROR], 0);
    test_close(&peer);
}
END_TEST

START_TEST(disconnected_and_handle_close_fails)
{
    static const int errors[] = {-EPROTO, ASYNCORE_EXIT_NOW};
    int peer;

    new_ready(&peer);
    results[READ] = -ECONNRESET;
    results[CLOSE] = errors[_i];
    ck_assert_int_eq(asyncore_poll2(1.0, NULL), errors[_i]);
    ck_assert_int_eq(calls[ERROR], 0);
    test_close(&peer);
}
END_TEST

START_TEST(readwrite_ends_at_an_error)
{
    struct asyncore_dispatcher *d = new_subject(-1);
    const int all = POLLIN | POLLOUT | POLLPRI | POLLHUP;

    results[READ] = -EPROTO;
    ck_assert_int_eq(asyncore_readwrite(d, all), 0);
    ck_assert_int_eq(calls[READ], 1);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_int_eq(calls[WRITE] + calls[EXPT] + calls[CLOSE], 0);

    results[READ] = -EAGAIN; /* which is none */
    results[WRITE] = -EPROTO;
    ck_assert_int_eq(asyncore_readwrite(d, all), 0);
    ck_assert_int_eq(calls[WRITE], 1);
    ck_assert_int_eq(calls[ERROR], 2);
    ck_assert_int_eq(calls[EXPT] + calls[CLOSE], 0);

    results[WRITE] = ASYNCORE_EXIT_NOW;
    ck_assert_int_eq(asyncore_readwrite(d, all), ASYNCORE_EXIT_NOW);
    ck_assert_int_eq(calls[ERROR], 2);
    ck_assert_int_eq(calls[EXPT] + calls[CLOSE], 0);
}
END_TEST

/* --- errors of handle_close ------------------------------------------------------------------- */

START_TEST(recv_and_send_pass_on_the_error_of_handle_close)
{
    static const int errors[] = {-EPROTO, ASYNCORE_EXIT_NOW};
    bool receives = _i & 1;
    int error = errors[_i / 2];
    int pair[2];
    struct asyncore_dispatcher *d;
    char byte = 0;

    test_pair(AF_INET, pair);
    d = new_subject(pair[0]);
    test_reset(&pair[1]);
    (void)test_wait(pair[0], POLLHUP);
    results[CLOSE] = error;
    if (receives)
        ck_assert_int_eq(asyncore_recv(d, &byte, 1), error);
    else
        ck_assert_int_eq(asyncore_send(d, &byte, 1), error);
    ck_assert_int_eq(calls[CLOSE], 1);
}
END_TEST

START_TEST(recv_at_the_end_passes_on_the_error_of_handle_close)
{
    int pair[2];
    char byte;
    struct asyncore_dispatcher *d;

    test_socketpair(SOCK_STREAM, pair);
    d = new_subject(pair[0]);
    test_close(&pair[1]);
    results[CLOSE] = -EPROTO;
    ck_assert_int_eq(asyncore_recv(d, &byte, 1), -EPROTO);
    ck_assert_int_eq(calls[CLOSE], 1);
    ck_assert_str_eq(asyncore_compact_traceback(d)->function, "handle_close");
}
END_TEST

START_TEST(connect_passes_on_the_error_of_handle_connect)
{
    static const int errors[] = {-EPROTO, ASYNCORE_EXIT_NOW};
    struct test_addr addr;
    int listener = test_listener(AF_UNIX, &addr);
    struct asyncore_dispatcher *d = new_subject(-1);

    results[CONNECT] = errors[_i];
    ck_assert_int_eq(asyncore_create_socket(d, AF_UNIX, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(&addr), addr.len), errors[_i]);
    ck_assert_int_eq(calls[CONNECT], 1);
    ck_assert_int_eq(calls[ERROR], 0);
    test_close(&listener);
}
END_TEST

/* Reads: what recv returns, its handle_close's error among it, is what handle_read returns. */
struct reading {
    struct subject base;
};

static int reading_handle_read(struct asyncore_dispatcher *d)
{
    char buf[16];

    calls[READ]++;
    return asyncore_recv(d, buf, sizeof buf);
}

ASYNCORE_CLASS(reading, subject, .handle_read = reading_handle_read);

START_TEST(an_error_of_handle_close_goes_to_handle_error)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_ptr_nonnull(reading_new(pair[0], NULL));
    test_close(&pair[1]);
    results[CLOSE] = -EPROTO;
    results[WRITABLE] = 0;
    ck_assert_int_eq(asyncore_loop(1.0, false, NULL, ASYNCORE_COUNT_NONE), ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(calls[CLOSE], 1);
    ck_assert_int_eq(calls[ERROR], 1);
    ck_assert_int_eq(seen_error, -EPROTO);
    ck_assert_str_eq(seen_function, "handle_close");
}
END_TEST

START_TEST(exit_now_of_handle_close_leaves_the_loop)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    ck_assert_ptr_nonnull(reading_new(pair[0], NULL));
    test_close(&pair[1]);
    results[CLOSE] = ASYNCORE_EXIT_NOW;
    ck_assert_int_eq(asyncore_loop(1.0, _i == 1, NULL, ASYNCORE_COUNT_NONE), ASYNCORE_EXIT_NOW);
    ck_assert_int_eq(calls[CLOSE], 1);
    ck_assert_int_eq(calls[ERROR], 0);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void setup(void)
{
    memset(results, 0, sizeof results);
    memset(calls, 0, sizeof calls);
    results[READABLE] = 1;
    results[WRITABLE] = 1;
    seen_error = 0;
    seen_message[0] = '\0';
    seen_function[0] = '\0';
}

static void add(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    suite_add_tcase(s, tc);
}

static void add_records(Suite *s)
{
    TCase *records = tcase_create("records");
    TCase *report = tcase_create("report");

    add(s, records);
    tcase_add_test(records, raise_records);
    tcase_add_test(records, raise_cuts_the_message);
    tcase_add_test(records, raise_with_the_old_message);
    tcase_add_test(records, an_error_of_each_method_has_its_name);
    tcase_add_test(records, another_error_than_the_raised_one);
    tcase_add_test(records, the_next_handler_starts_without_an_error);
    tcase_add_test(records, names_of_errors);
    add(s, report);
    tcase_add_test(report, the_report_of_what_was_raised);
    tcase_add_test(report, the_report_of_what_was_returned);
    tcase_add_test(report, the_report_uses_repr_and_log_info);
    tcase_add_test(report, an_error_handled_inside_handle_error);
    tcase_add_test(report, an_event_that_fails_inside_handle_error);
    tcase_add_test(report, a_method_that_fails_inside_handle_error);
    tcase_add_test(report, handle_error_without_an_error);
}

static void add_loop(Suite *s)
{
    TCase *tc = tcase_create("loop");

    add(s, tc);
    tcase_add_loop_test(tc, exit_now_leaves_the_loop, 0, 2 * HANDLERS);
    tcase_add_loop_test(tc, an_error_goes_to_handle_error, 0, 2 * HANDLERS);
    tcase_add_loop_test(tc, an_error_of_handle_error_leaves_the_loop, 0, 2 * HANDLERS);
    tcase_add_loop_test(tc, exit_now_of_handle_error_leaves_the_loop, 0, 2);
    tcase_add_loop_test(tc, handle_error_that_does_not_fail, 0, 4);
    tcase_add_loop_test(tc, functions_of_the_loop_return_what_leaves_it, 0, 2);
    tcase_add_loop_test(tc, exit_now_of_a_nested_loop, 0, 2);
    tcase_add_loop_test(tc, an_error_of_a_predicate_leaves_the_loop, 0, 8);
    tcase_add_loop_test(tc, eagain_is_no_failure, 0, 2 * HANDLERS);
    tcase_add_loop_test(tc, an_error_after_close, 0, 2);
    tcase_add_loop_test(tc, an_error_after_close_does_not_close_again, 0, 2);
    tcase_add_test(tc, a_disconnect_after_close_does_not_close_again);
    tcase_add_loop_test(tc, the_others_are_served, 0, 2);
}

static void add_disconnected(Suite *s)
{
    TCase *tc = tcase_create("disconnected");

    add(s, tc);
    tcase_add_loop_test(tc, disconnected_in_selects_way, 0, DISCONNECTED);
    tcase_add_loop_test(tc, disconnected_in_polls_way, 0, DISCONNECTED);
    tcase_add_loop_test(tc, disconnected_in_every_handler, 0, HANDLERS);
    tcase_add_test(tc, disconnected_and_handle_close_says_eagain);
    tcase_add_loop_test(tc, disconnected_and_handle_close_fails, 0, 2);
    tcase_add_test(tc, readwrite_ends_at_an_error);
}

static void add_handle_close(Suite *s)
{
    TCase *tc = tcase_create("handle_close");

    add(s, tc);
    tcase_add_loop_test(tc, recv_and_send_pass_on_the_error_of_handle_close, 0, 4);
    tcase_add_test(tc, recv_at_the_end_passes_on_the_error_of_handle_close);
    tcase_add_loop_test(tc, connect_passes_on_the_error_of_handle_connect, 0, 2);
    tcase_add_test(tc, an_error_of_handle_close_goes_to_handle_error);
    tcase_add_loop_test(tc, exit_now_of_handle_close_leaves_the_loop, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("error");

    add_records(s);
    add_loop(s);
    add_disconnected(s);
    add_handle_close(s);
    return test_main(s);
}
