/*
 * Maps of different threads, which share nothing: ThreadSanitizer has nothing to say of them.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>

enum {
    THREADS = 4,
    LINES = 2000
};

struct echo {
    struct asyncore_dispatcher_with_send base;
};

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    char data[512];
    int n = asyncore_recv(d, data, sizeof data);

    return n > 0 ? asyncore_send(d, data, (size_t)n) : n;
}

ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .handle_read = echo_handle_read);

struct line {
    struct asynchat_async_chat base;
    int left;
    int errors;
};

ASYNCORE_DECLARE_LOCAL_CLASS(line, asynchat_async_chat);

static int line_init(struct asyncore_dispatcher *d, int sock)
{
    int r = asynchat_async_chat_init(d, sock);

    return r == 0 ? asynchat_set_terminator(d, "\n", 1) : r;
}

static int line_found_terminator(struct asyncore_dispatcher *d)
{
    if (--line_of(d)->left == 0)
        return asyncore_close_all(d->map, false);
    return asyncore_raise(d, -EPROTO, "%d left", line_of(d)->left);
}

static int line_handle_error(struct asyncore_dispatcher *d)
{
    line_of(d)->errors++;
    return asynchat_push(d, "again\n", 6);
}

static int line_collect(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    (void)d;
    (void)data;
    (void)len;
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(line, asynchat_async_chat, .init = line_init,
                            .found_terminator = line_found_terminator,
                            .collect_incoming_data = line_collect,
                            .handle_error = line_handle_error);

struct server {
    struct asyncore_dispatcher base;
};

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr;
    (void)addrlen;
    return echo_new(sock, d->map) ? 0 : -errno;
}

ASYNCORE_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted);

/* Connects it to an echo server of the same map. */
static int connect_line(struct asyncore_dispatcher *line)
{
    struct server *server = server_new(-1, line->map);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    struct asyncore_dispatcher *d;
    int r;

    if (!server)
        return -errno;
    d = server_dispatcher(server);
    r = asyncore_create_socket(d, AF_INET, SOCK_STREAM);
    if (r == 0)
        r = asyncore_bind_host(d, "127.0.0.1", 0);
    if (r == 0)
        r = asyncore_listen(d, 1);
    if (r == 0)
        r = asyncore_getsockname(d, (struct sockaddr *)&addr, &len);
    if (r == 0)
        r = asyncore_create_socket(line, AF_INET, SOCK_STREAM);
    return r == 0 ? asyncore_connect(line, (struct sockaddr *)&addr, len) : r;
}

static char *serve_lines(struct asyncore_map *map)
{
    struct line *line = line_new(-1, map);
    int r, errors;

    if (!line)
        return "line";
    line->left = LINES;
    asyncore_ref(line_dispatcher(line));
    r = connect_line(line_dispatcher(line));
    if (r == 0)
        r = asynchat_push(line_dispatcher(line), "first\n", 6);
    if (r == 0)
        r = asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, map, ASYNCORE_COUNT_NONE);
    errors = line->errors;
    asyncore_unref(line_dispatcher(line));
    return r != ASYNCORE_LOOP_EMPTY ? "asyncore_loop" : errors != LINES - 1 ? "errors" : NULL;
}

/* Returns what has gone wrong, or NULL. */
static void *has_a_map(void *arg)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    char *wrong;

    (void)arg;
    if (!map)
        return "asyncore_map_new";
    wrong = serve_lines(map);
    asyncore_map_free(map);
    return wrong;
}

START_TEST(maps_of_threads_share_nothing)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, has_a_map, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;

        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_msg(!wrong, "%s", (const char *)wrong);
    }
}
END_TEST

/* --- the suite -------------------------------------------------------------------------------- */

int main(void)
{
    Suite *s = suite_create("thread_maps");
    TCase *tc = tcase_create("maps");

    test_add_fixture(tc);
    suite_add_tcase(s, tc);
    tcase_add_test(tc, maps_of_threads_share_nothing);
    return test_main(s);
}
