/* The printable forms: of addresses and channels, as Python prints them. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <event2/util.h>

static size_t quote_byte(unsigned char byte, char mark, bool is_bytes, char out[8])
{
    static const char names[] = {'t', 'n', 'r'};
    static const char bytes[] = {'\t', '\n', '\r'};
    const char *name = byte ? memchr(bytes, byte, sizeof bytes) : NULL;

    if (name)
        return (size_t)snprintf(out, 8, "\\%c", names[name - bytes]);
    if (byte == (unsigned char)mark || byte == '\\')
        return (size_t)snprintf(out, 8, "\\%c", byte);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && is_bytes))
        return (size_t)snprintf(out, 8, "\\x%02x", byte);
    out[0] = (char)byte;
    return 1;
}

static size_t put(char *buf, size_t size, size_t at, const char *text, size_t length)
{
    for (size_t i = 0; i < length && at + i + 1 < size; i++)
        buf[at + i] = text[i];
    return at + length;
}

size_t quote(const char *prefix, const char *text, size_t length, char *buf, size_t size)
{
    bool single = length > 0 && memchr(text, '\'', length);
    bool both = single && memchr(text, '"', length);
    char mark = single && !both ? '"' : '\'';
    size_t n = put(buf, size, 0, prefix, strlen(prefix));

    n = put(buf, size, n, &mark, 1);
    for (size_t i = 0; i < length; i++) {
        char out[8];
        size_t room = quote_byte((unsigned char)text[i], mark, *prefix, out);

        n = put(buf, size, n, out, room);
    }
    n = put(buf, size, n, &mark, 1);
    if (size > 0)
        buf[n < size ? n : size - 1] = '\0';
    return n;
}

static int unix_repr(const struct sockaddr_un *un, socklen_t addrlen, char *buf, size_t size)
{
    size_t room = offsetof(struct sockaddr_un, sun_path);
    size_t length = addrlen > room ? addrlen - room : 0;

    if (length > 0 && un->sun_path[0] == '\0')
        return (int)quote("b", un->sun_path, length, buf, size);
    return (int)quote("", un->sun_path, strnlen(un->sun_path, length), buf, size);
}

static int in6_repr(const struct sockaddr_in6 *in6, char *buf, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";

    evutil_inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
    return snprintf(buf, size, "('%s', %u, %u, %u)", host, ntohs(in6->sin6_port),
                    (unsigned)ntohl(in6->sin6_flowinfo), (unsigned)in6->sin6_scope_id);
}

int asyncore_addr_repr(const struct sockaddr *addr, socklen_t addrlen, char *buf, size_t size)
{
    char host[INET_ADDRSTRLEN] = "";

    if (!addr || addrlen < sizeof addr->sa_family)
        return snprintf(buf, size, "None");
    if (addr->sa_family == AF_UNIX)
        return unix_repr((const struct sockaddr_un *)(const void *)addr, addrlen, buf, size);
    if (addr->sa_family == AF_INET6 && addrlen >= sizeof(struct sockaddr_in6))
        return in6_repr((const struct sockaddr_in6 *)(const void *)addr, buf, size);
    if (addr->sa_family == AF_INET && addrlen >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;

        evutil_inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        return snprintf(buf, size, "('%s', %u)", host, ntohs(in->sin_port));
    }
    return snprintf(buf, size, "(%d, ...)", addr->sa_family);
}

/* The "IP:PORT" of repr; other addresses as asyncore_addr_repr, as in Python. */
static int status_repr(const struct sockaddr *addr, socklen_t addrlen, char *buf, size_t size)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
    char host[INET_ADDRSTRLEN] = "";

    if (addr->sa_family != AF_INET || addrlen < sizeof *in)
        return asyncore_addr_repr(addr, addrlen, buf, size);
    evutil_inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    return snprintf(buf, size, "%s:%u", host, ntohs(in->sin_port));
}

int asyncore_dispatcher_repr(const struct asyncore_dispatcher *d, char *buf, size_t size)
{
    socklen_t addrlen;
    const struct sockaddr *addr = asyncore_addr(d, &addrlen);
    char where[512] = " ";
    const char *status = "";

    if (d->accepting && addr && addrlen > sizeof addr->sa_family) /* Python: '' is false */
        status = " listening";
    else if (d->connected)
        status = " connected";
    if (addr)
        status_repr(addr, addrlen, where + 1, sizeof where - 1);
    return snprintf(buf, size, "<%s%s%s at %p>", d->cls->name, status, addr ? where : "",
                    (const void *)d);
}

int log_sending(struct asyncore_dispatcher *d, const char *data, size_t len)
{
    static const char before[] = "sending ";
    size_t room = sizeof before + quote("b", data, len, NULL, 0);
    char *message = malloc(room);
    int r;

    if (!message)
        return -ENOMEM;
    memcpy(message, before, sizeof before);
    quote("b", data, len, message + sizeof before - 1, room - sizeof before + 1);
    r = asyncore_log_info(d, message, ASYNCORE_LOG_INFO);
    free(message);
    return r;
}
