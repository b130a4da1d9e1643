/* Addresses: kept by channels, and looked up from host and port. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/util.h>

static bool is_far(socklen_t length)
{
    return length > sizeof(struct sockaddr_in6);
}

int address_set(struct address *a, const struct sockaddr *addr, socklen_t length)
{
    struct address copy = {.length = length};

    if (is_far(length)) {
        copy.u.far = malloc(length);
        if (!copy.u.far)
            return -ENOMEM;
        memcpy(copy.u.far, addr, length);
    } else {
        memcpy(&copy.u, addr, length);
    }
    address_clear(a);
    *a = copy;
    return 0;
}

void address_clear(struct address *a)
{
    if (is_far(a->length))
        free(a->u.far);
    a->length = 0;
}

const struct sockaddr *address_get(const struct address *a)
{
    if (a->length == 0)
        return NULL;
    return is_far(a->length) ? a->u.far : &a->u.any;
}

const struct sockaddr *asyncore_addr(const struct asyncore_dispatcher *d, socklen_t *addrlen)
{
    const struct address *a = &channel_of(d)->addr;

    if (addrlen)
        *addrlen = a->length;
    return address_get(a);
}

/* The one address that the socket's family has for host and port; the caller frees *found. */
static int look_up(struct asyncore_dispatcher *d, const char *host, uint16_t port, int flags,
                   struct evutil_addrinfo **found)
{
    struct evutil_addrinfo hints = {.ai_flags = flags};
    socklen_t length = sizeof hints.ai_family;
    char service[8];
    int r = asyncore_getsockopt(d, SOL_SOCKET, SO_DOMAIN, &hints.ai_family, &length);

    if (r == 0)
        r = asyncore_getsockopt(d, SOL_SOCKET, SO_TYPE, &hints.ai_socktype, &length);
    if (r < 0)
        return r;
    snprintf(service, sizeof service, "%u", port);
    r = evutil_getaddrinfo(host && *host ? host : NULL, service, &hints, found);
    if (r == 0)
        return 0;
    if (r == EVUTIL_EAI_MEMORY)
        return -ENOMEM;
    if (r == EVUTIL_EAI_SYSTEM && errno)
        return -errno;
    return asyncore_raise(d, -EADDRNOTAVAIL, "%s", evutil_gai_strerror(r));
}

typedef int address_call(struct asyncore_dispatcher *, const struct sockaddr *, socklen_t);

static int with_host(struct asyncore_dispatcher *d, const char *host, uint16_t port, int flags,
                     address_call *call)
{
    struct evutil_addrinfo *found = NULL;
    int r = look_up(d, host, port, flags, &found);

    if (r < 0)
        return r;
    r = call(d, found->ai_addr, (socklen_t)found->ai_addrlen);
    evutil_freeaddrinfo(found);
    return r;
}

int asyncore_bind_host(struct asyncore_dispatcher *d, const char *host, uint16_t port)
{
    return with_host(d, host, port, EVUTIL_AI_PASSIVE, asyncore_bind);
}

int asyncore_connect_host(struct asyncore_dispatcher *d, const char *host, uint16_t port)
{
    return with_host(d, host, port, 0, asyncore_connect);
}
