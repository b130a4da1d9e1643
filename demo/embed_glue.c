/* Channels on a base that exists: who connects to this libevent program's listener gets an echo. */
#include "support.h"

#include <err.h>
#include <event2/listener.h>
#include <signal.h>

struct echo {
    struct asynchat_async_chat base;
};

/* What comes in is pushed out again. */
ASYNCORE_CLASS(echo, asynchat_async_chat, .collect_incoming_data = asynchat_push);

static void on_connection(struct evconnlistener *listener, evutil_socket_t sock,
                          struct sockaddr *addr, int addrlen, void *map)
{
    struct echo *echo = echo_new(sock, map); /* glue; it takes sock, also when it fails */

    (void)listener, (void)addr, (void)addrlen;
    if (!echo || asynchat_set_high_water(echo_dispatcher(echo), 65536, true) < 0)
        warn("echo");
}

static void on_signal(evutil_socket_t signal, short what, void *base)
{
    (void)signal, (void)what;
    (void)event_base_loopbreak(base);
}

static void on_done(struct asyncore_map *map, int result, void *arg)
{
    (void)map, (void)arg;
    if (result != ASYNCORE_LOOP_EMPTY) /* that is: nobody is connected */
        errx(1, "%s", asyncore_strerror(result));
}

int main(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct event_base *base = event_base_new();
    struct event *term = base ? evsignal_new(base, SIGTERM, on_signal, base) : NULL;
    struct asyncore_map *map = base ? asyncore_map_new(base) : NULL; /* glue */
    struct evconnlistener *listener;

    if (!map || !term || event_add(term, NULL) < 0)
        err(1, NULL);
    listener = evconnlistener_new_bind(base, on_connection, map, LEV_OPT_CLOSE_ON_FREE, -1,
                                       (struct sockaddr *)&here, sizeof here);
    if (!listener || demo_print_listening_socket("", evconnlistener_get_fd(listener), "") < 0 ||
        asyncore_map_attach(map, on_done, NULL) < 0 /* glue */ || event_base_dispatch(base) < 0)
        err(1, NULL);

    evconnlistener_free(listener);
    asyncore_map_free(map); /* glue */
    event_free(term);
    event_base_free(base);
    return 0;
}
