#define _GNU_SOURCE 1
#include "http.h"
#include "support.h"

#include <err.h>
#include <errno.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME "http://"

static int http_fail(struct http *self, int error)
{
    struct asyncore_dispatcher *d = http_dispatcher(self);

    snprintf(self->failure, sizeof self->failure, "%s", demo_strerror(d, error));
    return asyncore_close(d);
}

/* --- the request ----------------------------------------------------------------------------- */

struct target {
    char authority[300]; /* HOST[:PORT], as in the URL */
    char host[256];
    uint16_t port;
    const char *path; /* with the query; points into the URL */
    int path_length;  /* without the fragment */
};

/* Takes a URL apart. Returns NULL, or what is wrong with it. */
static const char *parse_url(const char *url, struct target *target)
{
    size_t length;

    for (const char *c = url; *c; c++)
        if (*c <= ' ' || *c > '~')
            return "bad URL: a character in it must be percent-encoded";
    if (evutil_ascii_strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
        return "only " SCHEME " URLs can be fetched";
    url += strlen(SCHEME);
    length = strcspn(url, "/?#");
    if (memchr(url, '@', length))
        return "bad URL: user names are not supported";
    if (length >= sizeof target->authority)
        return "bad URL: the host is too long";
    memcpy(target->authority, url, length);
    target->authority[length] = '\0';
    target->port = 80;
    if (demo_parse_host_port(target->authority, target->host, sizeof target->host, &target->port))
        return "bad URL: no HOST[:PORT]";
    target->path = url + length;
    target->path_length = (int)strcspn(target->path, "#");
    return NULL;
}

static int http_start(struct http *self)
{
    struct asyncore_dispatcher *d = http_dispatcher(self);
    struct target target;
    const char *problem = parse_url(self->url, &target);
    int rc;

    if (problem)
        return asyncore_raise(d, -EINVAL, "%s", problem);
    rc =
        asprintf(&self->request, "GET %s%.*s HTTP/1.0\r\nHost: %s\r\n\r\n",
                 *target.path == '/' ? "" : "/", target.path_length, target.path, target.authority);
    if (rc < 0) {
        self->request = NULL;
        return -ENOMEM;
    }
    self->request_length = (size_t)rc;
    demo_log(self->url, "connecting to ('%s', %d)", target.host, target.port);
    rc = asyncore_create_socket(d, demo_family(target.host), SOCK_STREAM);
    return rc < 0 ? rc : asyncore_connect_host(d, target.host, target.port);
}

struct http *http_get(const char *url, const char *output, struct asyncore_map *map)
{
    struct http *self = http_new(-1, map);
    int rc;

    if (!self)
        return NULL;
    asyncore_ref(http_dispatcher(self));
    self->url = url;
    self->output = output;
    rc = http_start(self);
    if (rc < 0)
        http_fail(self, rc);
    return self;
}

/* --- the response ---------------------------------------------------------------------------- */

/* The value of the header's field, up to the end of the header, or NULL. */
static const char *header_field(const struct http *self, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = strchr(self->header, '\n'); line; line = strchr(line + 1, '\n'))
        if (evutil_ascii_strncasecmp(line + 1, name, length) == 0 && line[1 + length] == ':')
            return line + 2 + length + strspn(line + 2 + length, " \t");
    return NULL;
}

static int check_header(struct http *self)
{
    struct asyncore_dispatcher *d = http_dispatcher(self);
    long status = strtol(self->header + strcspn(self->header, " \n"), NULL, 10);

    if (strncmp(self->header, "HTTP/", 5) != 0 || status < 100)
        return asyncore_raise(d, -EPROTO, "not an HTTP response");
    if (status >= 400)
        return asyncore_raise(d, -EPROTO, "%.*s", (int)strcspn(self->header, "\r\n"), self->header);
    if (header_field(self, "Transfer-Encoding"))
        return asyncore_raise(d, -EPROTO, "Transfer-Encoding in a response to HTTP/1.0");
    if (self->output && !(self->body = fopen(self->output, "wb")))
        return asyncore_raise(d, -errno, "%s: %s", self->output, strerror(errno));
    return 0;
}

/* Takes what belongs to the header, which may come in any pieces. The count, or an error. */
static int take_header(struct http *self, const char *data, int length)
{
    struct asyncore_dispatcher *d = http_dispatcher(self);
    int taken = 0, rc;

    while (taken < length && !self->header_done) {
        if (self->header_length == sizeof self->header - 1 || data[taken] == '\0')
            return asyncore_raise(d, -EPROTO, "not an HTTP response");
        self->header[self->header_length++] = data[taken++];
        if (data[taken - 1] == '\n') {
            const char *end = self->header + self->header_length;
            size_t n = self->header_length;

            self->header_done = (n >= 2 && memcmp(end - 2, "\n\n", 2) == 0) ||
                                (n >= 3 && memcmp(end - 3, "\n\r\n", 3) == 0);
        }
    }
    rc = self->header_done && taken > 0 ? check_header(self) : 0;
    return rc < 0 ? rc : taken;
}

/* The connection has ended: is the response whole? */
static int check_end(struct http *self)
{
    struct asyncore_dispatcher *d = http_dispatcher(self);
    const char *field = header_field(self, "Content-Length");
    unsigned long long expected, got = self->received - self->header_length;
    FILE *body = self->body;

    self->body = NULL;
    if (body && fclose(body))
        return asyncore_raise(d, -errno, "%s: %s", self->output, strerror(errno));
    if (!self->header_done)
        return asyncore_raise(d, -EPROTO, "connection closed before the end of the header");
    if (!field)
        return 0;
    if (*field < '0' || *field > '9')
        return asyncore_raise(d, -EPROTO, "bad Content-Length");
    expected = strtoull(field, NULL, 10);
    if (got != expected)
        return asyncore_raise(d, -EPROTO, "got %llu bytes of a body of %llu", got, expected);
    return 0;
}

int http_report(const struct http *self)
{
    if (self->failure[0]) {
        warnx("%s: %s", self->url, self->failure);
        return 1;
    }
    printf("%s got %llu bytes\n", self->url, self->received);
    return 0;
}

/* --- the channel ----------------------------------------------------------------------------- */

static int http_readable(struct asyncore_dispatcher *d)
{
    demo_log(http_of(d)->url, "readable() -> True");
    return 1;
}

static int http_writable(struct asyncore_dispatcher *d)
{
    struct http *self = http_of(d);

    if (self->request_sent == self->request_length)
        return 0;
    demo_log(self->url, "writable() -> True");
    return 1;
}

static int http_handle_connect(struct asyncore_dispatcher *d)
{
    demo_log(http_of(d)->url, "handle_connect()");
    return 0;
}

static int http_handle_write(struct asyncore_dispatcher *d)
{
    struct http *self = http_of(d);
    const char *rest = self->request + self->request_sent;
    int sent = asyncore_send(d, rest, self->request_length - self->request_sent);

    if (sent < 0)
        return sent;
    demo_log(self->url, "handle_write() -> \"%.*s\"", sent, rest);
    self->request_sent += (size_t)sent;
    return 0;
}

static int http_handle_read(struct asyncore_dispatcher *d)
{
    struct http *self = http_of(d);
    char data[8192];
    int n = asyncore_recv(d, data, sizeof data), taken;

    if (n < 0)
        return n;
    demo_log(self->url, "handle_read() -> %d bytes", n);
    self->received += (unsigned)n;
    taken = self->header_done ? 0 : take_header(self, data, n);
    if (taken < 0)
        return taken;
    if (self->body &&
        fwrite(data + taken, 1, (size_t)(n - taken), self->body) < (size_t)(n - taken))
        return asyncore_raise(d, -errno, "%s: %s", self->output, strerror(errno));
    return 0;
}

static int http_handle_close(struct asyncore_dispatcher *d)
{
    int rc;

    demo_log(http_of(d)->url, "handle_close()");
    rc = asyncore_close(d);
    return rc < 0 ? rc : check_end(http_of(d));
}

/* An error of one URL is no error of the others. */
static int http_handle_error(struct asyncore_dispatcher *d)
{
    return http_fail(http_of(d), asyncore_compact_traceback(d)->error);
}

static void http_finalize(struct asyncore_dispatcher *d)
{
    struct http *self = http_of(d);

    free(self->request);
    if (self->body)
        fclose(self->body);
}

ASYNCORE_DEFINE_CLASS(http, asyncore_dispatcher, .readable = http_readable,
                      .writable = http_writable, .handle_connect = http_handle_connect,
                      .handle_write = http_handle_write, .handle_read = http_handle_read,
                      .handle_close = http_handle_close, .handle_error = http_handle_error,
                      .finalize = http_finalize);
