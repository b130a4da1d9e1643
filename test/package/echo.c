/* The consumer: a server and a client in one map; prints what came back. */
#include <asyncore/asyncore.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct echo {
    struct asyncore_dispatcher_with_send base;
};

static int echo_handle_read(struct asyncore_dispatcher *d)
{
    char data[64];
    int n = asyncore_recv(d, data, sizeof data);

    return n > 0 ? asyncore_send(d, data, (size_t)n) : n;
}

static int quiet_handle_close(struct asyncore_dispatcher *d)
{
    return asyncore_close(d);
}

ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .handle_read = echo_handle_read,
               .handle_close = quiet_handle_close);

struct server {
    struct asyncore_dispatcher base;
};

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    (void)addr, (void)addrlen;
    asyncore_close(d);
    return echo_new(sock, d->map) ? 0 : -1;
}

ASYNCORE_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted);

static const char message[] = "hello, package";

struct client {
    struct asyncore_dispatcher_with_send base;
    size_t length;
    char reply[sizeof message];
};

ASYNCORE_DECLARE_LOCAL_CLASS(client, asyncore_dispatcher_with_send);

static int client_handle_read(struct asyncore_dispatcher *d)
{
    struct client *self = client_of(d);
    int n = asyncore_recv(d, self->reply + self->length, sizeof message - 1 - self->length);

    if (n <= 0)
        return n;
    self->length += (size_t)n;
    if (self->length < sizeof message - 1)
        return 0;
    printf("echo: %s\n", self->reply);
    return asyncore_close(d);
}

ASYNCORE_DEFINE_LOCAL_CLASS(client, asyncore_dispatcher_with_send,
                            .handle_read = client_handle_read, .handle_close = quiet_handle_close);

static int start(struct asyncore_map *map)
{
    struct asyncore_dispatcher *s = server_dispatcher(server_new(-1, map));
    struct asyncore_dispatcher *c = client_dispatcher(client_new(-1, map));
    struct sockaddr_in addr;
    socklen_t addrlen = sizeof addr;

    if (!s || !c || asyncore_create_socket(s, AF_INET, SOCK_STREAM) < 0 ||
        asyncore_bind_host(s, "127.0.0.1", 0) < 0 || asyncore_listen(s, 1) < 0 ||
        asyncore_getsockname(s, (struct sockaddr *)&addr, &addrlen) < 0 ||
        asyncore_create_socket(c, AF_INET, SOCK_STREAM) < 0 ||
        asyncore_connect(c, (struct sockaddr *)&addr, addrlen) < 0)
        return -1;
    return asyncore_send(c, message, sizeof message - 1);
}

int main(void)
{
    struct asyncore_map *map = asyncore_map_new(NULL);
    int result = map && start(map) > 0 ? asyncore_loop(10, false, map, ASYNCORE_COUNT_NONE) : -1;

    asyncore_map_free(map);
    return result != ASYNCORE_LOOP_EMPTY;
}
