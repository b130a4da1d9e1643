#define _GNU_SOURCE 1
#include "http_answer.h"
#include "http_request.h"
#include "support.h"

#include <asyncore/chat.h>

#include <errno.h>
#include <event2/buffer.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct answer {
    struct asyncore_dispatcher *d;
    struct http_site *site;
    const struct http_request *request;
    const char *path; /* decoded */
    int fd;           /* the file, or -1 */
    struct stat st;
};

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Internal Server Error";
}

static void log_answer(const struct answer *a, int status)
{
    const struct http_request *r = a->request;
    char name[128];
    socklen_t length;
    const struct sockaddr *addr = asyncore_addr(a->d, &length);

    asyncore_addr_repr(addr, length, name, sizeof name);
    demo_log(name, "%s %s -> %d", r->method ? r->method : "-", r->target ? r->target : "-", status);
}

/* Queues the header of an answer, up to what format makes, which ends it or does not. */
static int push_header(const struct answer *a, int status, const char *format, ...)
    ASYNCORE_PRINTF(3, 4);

static int push_header(const struct answer *a, int status, const char *format, ...)
{
    const char *connection = "";
    char header[1024];
    va_list args;
    int length, rest;

    if (demo_verbose)
        log_answer(a, status);
    if (!a->request->keep_alive)
        connection = "Connection: close\r\n";
    else if (a->request->http_1_0)
        connection = "Connection: keep-alive\r\n";
    length = snprintf(header, sizeof header, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s", status,
                      reason(status), a->site->date.text, connection);
    va_start(args, format);
    rest = vsnprintf(header + length, sizeof header - (size_t)length, format, args);
    va_end(args);
    length += rest;
    if (rest < 0 || length >= (int)sizeof header)
        return -EOVERFLOW;
    return asynchat_push(a->d, header, (size_t)length);
}

/* An answer that is only a status; more are lines of its header. */
static int push_status(const struct answer *a, int status, const char *more)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%d %s\n", status, reason(status));

    return push_header(a, status, "%sContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
                       more, length, a->request->head ? "" : text);
}

static int push_error(const struct answer *a, int error)
{
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        return push_status(a, 404, "");
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENXIO:
    case EXDEV: /* it leads out */
        return push_status(a, 403, "");
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return push_status(a, 503, "");
    default:
        return push_status(a, 500, "");
    }
}

/* --- files ----------------------------------------------------------------------------------- */

/* Whether a part can be sent to who has the rest. A file that was changed in this second may be
 * changed again, with the same date. */
static bool is_what_client_has(const struct answer *a, time_t time, const char *modified)
{
    const char *date = a->request->fields[HTTP_IF_RANGE];

    return !date || (time < a->site->date.time && strcmp(date, modified) == 0);
}

static int push_file(struct answer *a)
{
    const struct http_request *r = a->request;
    const char *since = r->fields[HTTP_IF_MODIFIED_SINCE], *range = r->fields[HTTP_RANGE];
    const time_t now = a->site->date.time, time = a->st.st_mtime < now ? a->st.st_mtime : now;
    const char *modified = http_date(&a->site->modified, time);
    off_t first = 0, length = a->st.st_size;
    int status = 200, rc, fd = a->fd;
    char part[96] = "";

    if (since && !r->fields[HTTP_IF_NONE_MATCH] && http_not_modified_since(since, time))
        return push_header(a, 304, "Last-Modified: %s\r\n\r\n", modified);
    if (range && !r->head && is_what_client_has(a, time, modified))
        status = http_range(range, a->st.st_size, &first, &length);
    if (status == 416) {
        snprintf(part, sizeof part, "Content-Range: bytes */%jd\r\n", (intmax_t)a->st.st_size);
        return push_status(a, 416, part);
    }
    if (status == 206)
        snprintf(part, sizeof part, "Content-Range: bytes %jd-%jd/%jd\r\n", (intmax_t)first,
                 (intmax_t)(first + length - 1), (intmax_t)a->st.st_size);
    rc = push_header(a, status,
                     "Content-Type: %s\r\nContent-Length: %jd\r\nLast-Modified: %s\r\n"
                     "Accept-Ranges: bytes\r\n%s\r\n",
                     http_type(a->path), (intmax_t)length, modified, part);
    if (rc < 0 || r->head || length == 0)
        return rc;
    a->fd = -1;
    return asynchat_push_with_producer(a->d, asynchat_file_producer_new(fd, first, length));
}

/* --- directories ----------------------------------------------------------------------------- */

/* To the same with a slash behind it, for what is relative to it. Two in front would make the
 * beginning of the path the name of another host. */
static int push_redirect(const struct answer *a)
{
    static const char end[] = "\r\nContent-Length: 0\r\n\r\n";
    const char *target = a->request->target, *path = target + strspn(target, "/") - 1;
    const char *query = strchrnul(path, '?');
    int rc = push_header(a, 301, "Location: ");

    if (rc >= 0)
        rc = asynchat_push(a->d, path, (size_t)(query - path));
    if (rc >= 0)
        rc = asynchat_push(a->d, "/", 1);
    if (rc >= 0)
        rc = asynchat_push(a->d, query, strlen(query));
    return rc < 0 ? rc : asynchat_push(a->d, end, strlen(end));
}

static int push_listing(const struct answer *a)
{
    struct evbuffer *page = http_listing(a->fd, a->path);
    int rc;

    if (!page)
        return push_error(a, -errno);
    rc =
        push_header(a, 200, "Content-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n\r\n",
                    evbuffer_get_length(page));
    if (rc < 0 || a->request->head) {
        evbuffer_free(page);
        return rc;
    }
    rc = asynchat_push_with_producer(a->d, asynchat_evbuffer_producer_new(page));
    return rc < 0 ? rc : 1;
}

static int push_directory(struct answer *a)
{
    struct stat st;
    int fd;

    if (a->path[strlen(a->path) - 1] != '/')
        return push_redirect(a);
    fd = http_open(a->fd, "/index.html", &st);
    if (fd == -ENOENT)
        return push_listing(a);
    if (fd < 0)
        return push_error(a, fd);
    close(a->fd);
    a->fd = fd;
    a->st = st;
    a->path = "index.html";
    return S_ISREG(st.st_mode) ? push_file(a) : push_error(a, -EACCES);
}

/* --- requests -------------------------------------------------------------------------------- */

int http_answer(struct asyncore_dispatcher *d, struct http_site *site,
                const struct http_request *request)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char path[PATH_MAX];
    struct answer a = {.d = d, .site = site, .request = request, .path = path};
    int status = request->status, rc;

    http_date(&site->date, time(NULL));
    if (status == 100)
        return asynchat_push(d, go_on, strlen(go_on));
    if (status == 0)
        status = http_decode_path(request->target, path, sizeof path);
    if (status)
        return push_status(&a, status, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    a.fd = http_open(site->root, path, &a.st);
    if (a.fd < 0)
        return push_error(&a, a.fd);
    rc = S_ISDIR(a.st.st_mode) ? push_directory(&a) : push_file(&a);
    if (a.fd >= 0)
        close(a.fd);
    return rc;
}
