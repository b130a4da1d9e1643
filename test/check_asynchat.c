/*
 * Counterparts, by the same name, of the functions of CPython's test_asynchat, in select's way and
 * in poll's.
 *
 * CPython's echo server is a thread. Here it is two channels of the same map: it answers a chunk a
 * pass, so that each chunk is read on its own, without waiting for time to pass.
 */
#include "chat_probe.h"
#include "support.h"

#include <event2/buffer.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_QUIT "QUIT\n"

static bool use_poll;

/* --- the server ------------------------------------------------------------------------------ */

static struct {
    size_t chunk_size;
    bool waits; /* does not answer yet */
    char buffer[256];
    size_t length;   /* of what it has got, without SERVER_QUIT once that has come */
    size_t answered; /* how much it has sent back */
    bool quit;
} server;

struct echo {
    struct asyncore_dispatcher base;
};

static int echo_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    return !server.quit;
}

static int echo_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return server.quit && !server.waits;
}

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    int n = asyncore_recv(d, server.buffer + server.length, 1);
    const size_t tail = strlen(SERVER_QUIT);

    if (n <= 0)
        return n;
    ck_assert_uint_lt(++server.length, sizeof server.buffer);
    server.quit = server.length >= tail &&
                  memcmp(server.buffer + server.length - tail, SERVER_QUIT, tail) == 0;
    if (server.quit)
        server.length -= tail;
    return 0;
}

static int echo_handle_write(struct asyncore_dispatcher *d)
{
    size_t rest = server.length - server.answered;
    size_t len = rest < server.chunk_size ? rest : server.chunk_size;
    int n;

    if (rest == 0)
        return asyncore_close(d);
    n = asyncore_send(d, server.buffer + server.answered, len);
    server.answered += n > 0 ? (size_t)n : 0;
    return n;
}

ASYNCORE_CLASS(echo, asyncore_dispatcher, .readable = echo_readable, .writable = echo_writable,
               .handle_read = echo_handle_read, .handle_write = echo_handle_write,
               .handle_close = asyncore_dispatcher_close);

struct listener {
    struct asyncore_dispatcher base;
};

/* Accepts one connection. */
static int listener_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                    const struct sockaddr *addr, socklen_t addrlen)
{
    const int on = 1;
    struct echo *echo = echo_new(sock, d->map);
    int r =
        echo ? asyncore_setsockopt(echo_dispatcher(echo), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)
             : -errno;

    (void)addr;
    (void)addrlen;
    return r < 0 ? r : asyncore_close(d);
}

ASYNCORE_CLASS(listener, asyncore_dispatcher, .handle_accepted = listener_handle_accepted);

static struct test_addr start_echo_server(size_t chunk_size)
{
    struct test_addr addr;

    memset(&server, 0, sizeof server);
    server.chunk_size = chunk_size;
    ck_assert_ptr_nonnull(listener_new(test_listener(AF_INET, &addr), NULL));
    return addr;
}

/* --- the client ------------------------------------------------------------------------------ */

static struct {
    char contents[8][64]; /* what was in front of a terminator */
    size_t count;
    char buffer[256];
    size_t length;
} client;

struct echo_client {
    struct asynchat_async_chat base;
};

static int pass(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int echo_client_collect_incoming_data(struct asyncore_dispatcher *d, const void *data,
                                             size_t len)
{
    (void)d;
    ck_assert_uint_lt(client.length + len, sizeof client.buffer);
    memcpy(client.buffer + client.length, data, len);
    client.length += len;
    client.buffer[client.length] = '\0';
    return 0;
}

static int echo_client_found_terminator(struct asyncore_dispatcher *d)
{
    (void)d;
    ck_assert_uint_lt(client.count, sizeof client.contents / sizeof *client.contents);
    ck_assert_uint_lt(client.length, sizeof *client.contents);
    memcpy(client.contents[client.count++], client.buffer, client.length + 1);
    client.length = 0;
    client.buffer[0] = '\0';
    return 0;
}

ASYNCORE_CLASS(echo_client, asynchat_async_chat, .handle_connect = pass,
               .collect_incoming_data = echo_client_collect_incoming_data,
               .found_terminator = echo_client_found_terminator);

static struct asyncore_dispatcher *new_client(const struct test_addr *addr)
{
    struct asyncore_dispatcher *d = echo_client_dispatcher(echo_client_new(-1, NULL));

    memset(&client, 0, sizeof client);
    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_connect(d, test_sa(addr), addr->len), 0);
    return d;
}

static struct asyncore_dispatcher *new_line_client(const struct test_addr *addr,
                                                   const char *terminator)
{
    struct asyncore_dispatcher *d = new_client(addr);

    ck_assert_int_eq(asynchat_set_terminator(d, terminator, strlen(terminator)), 0);
    return d;
}

static void push(struct asyncore_dispatcher *d, const char *text)
{
    ck_assert_int_eq(asynchat_push(d, text, strlen(text)), 0);
}

/* Until client and server have closed. */
static void run(void)
{
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, use_poll, NULL, 1000), ASYNCORE_LOOP_EMPTY);
}

static void check_contents(size_t count, const char *const *expected)
{
    ck_assert_uint_eq(client.count, count);
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(client.contents[i], expected[i]);
}

#define CHECK_CONTENTS(...)                                                                        \
    check_contents(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                         \
                   (const char *[]){__VA_ARGS__})

/* --- TestAsynchat ---------------------------------------------------------------------------- */

/* With chunks of 1, 2 and 3 bytes all branches of handle_read are taken. */
static void line_terminator_check(const char *terminator)
{
    for (size_t chunk_size = 1; chunk_size <= 3; chunk_size++) {
        struct test_addr addr = start_echo_server(chunk_size);
        struct asyncore_dispatcher *d = new_line_client(&addr, terminator);

        push(d, "hello ");
        push(d, "world");
        push(d, terminator);
        push(d, "I'm not dead yet!");
        push(d, terminator);
        push(d, SERVER_QUIT);
        run();
        CHECK_CONTENTS("hello world", "I'm not dead yet!");
    }
}

START_TEST(test_line_terminator1)
{
    line_terminator_check("\n");
}
END_TEST

START_TEST(test_line_terminator2)
{
    line_terminator_check("\r\n");
}
END_TEST

START_TEST(test_line_terminator3)
{
    line_terminator_check("qqq");
}
END_TEST

static void numeric_terminator_check(int64_t count, const char *expected)
{
    struct test_addr addr = start_echo_server(1);
    struct asyncore_dispatcher *d = new_client(&addr);

    ck_assert_int_eq(asynchat_set_terminator_count(d, count), 0);
    push(d, "hello world, I'm not dead yet!\n");
    push(d, SERVER_QUIT);
    run();
    CHECK_CONTENTS(expected);
}

START_TEST(test_numeric_terminator1)
{
    numeric_terminator_check(1, "h");
}
END_TEST

START_TEST(test_numeric_terminator2)
{
    numeric_terminator_check(6, "hello ");
}
END_TEST

START_TEST(test_none_terminator)
{
    static const char data[] = "hello world, I'm not dead yet!\n";
    struct test_addr addr = start_echo_server(1);
    struct asyncore_dispatcher *d = new_client(&addr);

    ck_assert_int_eq(asynchat_set_terminator(d, NULL, 0), 0);
    push(d, data);
    push(d, SERVER_QUIT);
    run();
    ck_assert_uint_eq(client.count, 0);
    ck_assert_str_eq(client.buffer, data);
}
END_TEST

static void producer_check(struct asynchat_producer *producer)
{
    struct test_addr addr = start_echo_server(1);
    struct asyncore_dispatcher *d = new_line_client(&addr, "\n");

    ck_assert_int_eq(asynchat_push_with_producer(d, producer), 0);
    run();
    CHECK_CONTENTS("hello world", "I'm not dead yet!");
}

START_TEST(test_simple_producer)
{
    static const char data[] = "hello world\nI'm not dead yet!\n" SERVER_QUIT;

    producer_check(asynchat_simple_producer_new(data, sizeof data - 1, 8));
}
END_TEST

/* There, what push_with_producer is given is a string; here a buffer that holds one. */
START_TEST(test_string_producer)
{
    struct evbuffer *buffer = evbuffer_new();

    ck_assert_ptr_nonnull(buffer);
    ck_assert_int_ge(evbuffer_add_printf(buffer, "hello world\nI'm not dead yet!\n" SERVER_QUIT),
                     0);
    producer_check(asynchat_evbuffer_producer_new(buffer));
}
END_TEST

START_TEST(test_empty_line)
{
    struct test_addr addr = start_echo_server(1);
    struct asyncore_dispatcher *d = new_line_client(&addr, "\n");

    push(d, "hello world\n\nI'm not dead yet!\n");
    push(d, SERVER_QUIT);
    run();
    CHECK_CONTENTS("hello world", "", "I'm not dead yet!");
}
END_TEST

static bool is_closed(void *arg)
{
    const struct asyncore_dispatcher *d = arg;

    return asyncore_fileno(d) < 0;
}

/* The server answers when the client has closed its connection. */
START_TEST(test_close_when_done)
{
    struct test_addr addr = start_echo_server(1);
    struct asyncore_dispatcher *d = asyncore_ref(new_line_client(&addr, "\n"));

    server.waits = true;
    push(d, "hello world\nI'm not dead yet!\n");
    push(d, SERVER_QUIT);
    ck_assert_int_eq(asynchat_close_when_done(d), 0);
    ck_assert_int_eq(run_until_true(NULL, use_poll, is_closed, d), 0);
    server.waits = false;
    run();
    ck_assert_uint_eq(client.count, 0);
    ck_assert_uint_gt(server.length, 0);
    asyncore_unref(d);
}
END_TEST

/* bytes, bytearray and memoryview are constant, changing and part of something else; what is none
 * of them does not compile. */
START_TEST(test_push)
{
    static const char data[] = "bytes\n";
    struct test_addr addr = start_echo_server(1);
    struct asyncore_dispatcher *d = new_line_client(&addr, "\n");
    char array[] = "bytes\n";
    char view[] = "[bytes\n]";

    ck_assert_int_eq(asynchat_push(d, data, 6), 0);
    ck_assert_int_eq(asynchat_push(d, array, 6), 0);
    ck_assert_int_eq(asynchat_push(d, view + 1, 6), 0);
    memset(array, '?', sizeof array);
    memset(view, '?', sizeof view);
    push(d, SERVER_QUIT);
    run();
    CHECK_CONTENTS("bytes", "bytes", "bytes");
}
END_TEST

/* --- TestAsynchatMocked, TestHelperFunctions, TestNotConnected ------------------------------- */

START_TEST(test_blockingioerror)
{
    static struct scripted_calls calls;
    struct asyncore_dispatcher *d = chat_dispatcher(chat_scripted(NULL, 0, &calls, &peers[0]));

    scripted_recv(chat_socket(d), STEPS(-EAGAIN));
    ck_assert_int_eq(asyncore_read(d), 0);
    ck_assert_int_eq(calls.recv, 1);
    ck_assert_str_eq(probe_trace(), "");
}
END_TEST

START_TEST(test_find_prefix_at_end)
{
    ck_assert_uint_eq(asynchat_find_prefix_at_end("qwerty\r", 7, "\r\n", 2), 1);
    ck_assert_uint_eq(asynchat_find_prefix_at_end("qwertydkjf", 10, "\r\n", 2), 0);
}
END_TEST

START_TEST(test_disallow_negative_terminator)
{
    struct chat *chat = chat_make(NULL, -1);

    ck_assert_int_eq(asynchat_set_terminator_count(chat_dispatcher(chat), -1), -EINVAL);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void set_select(void)
{
    use_poll = false;
}

static void set_poll(void)
{
    use_poll = true;
}

static void add_asynchat(Suite *s, TCase *tc, void (*setup)(void))
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, test_line_terminator1);
    tcase_add_test(tc, test_line_terminator2);
    tcase_add_test(tc, test_line_terminator3);
    tcase_add_test(tc, test_numeric_terminator1);
    tcase_add_test(tc, test_numeric_terminator2);
    tcase_add_test(tc, test_none_terminator);
    tcase_add_test(tc, test_simple_producer);
    tcase_add_test(tc, test_string_producer);
    tcase_add_test(tc, test_empty_line);
    tcase_add_test(tc, test_close_when_done);
    tcase_add_test(tc, test_push);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("asynchat");
    TCase *asynchat_select = tcase_create("asynchat_select");
    TCase *asynchat_poll = tcase_create("asynchat_poll");
    TCase *others = tcase_create("others");

    add_asynchat(s, asynchat_select, set_select);
    add_asynchat(s, asynchat_poll, set_poll);
    add_case(s, others);
    tcase_add_test(others, test_blockingioerror);
    tcase_add_test(others, test_find_prefix_at_end);
    tcase_add_test(others, test_disallow_negative_terminator);
    return test_main(s);
}
