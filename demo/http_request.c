/*
 * What other programs on the way to the server could understand differently (where a request ends,
 * above all) is refused, and the connection ends with the answer.
 */
#define _GNU_SOURCE 1
#include "http_request.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const field_names[HTTP_FIELDS] = {
    [HTTP_HOST] = "Host",
    [HTTP_CONTENT_LENGTH] = "Content-Length",
    [HTTP_TRANSFER_ENCODING] = "Transfer-Encoding",
    [HTTP_EXPECT] = "Expect",
    [HTTP_RANGE] = "Range",
    [HTTP_IF_RANGE] = "If-Range",
    [HTTP_IF_NONE_MATCH] = "If-None-Match",
    [HTTP_IF_MODIFIED_SINCE] = "If-Modified-Since",
};

/* --- characters ------------------------------------------------------------------------------ */

/* No control characters but tabs, and CR and LF only together. */
static bool is_clean(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c >= ' ' && c != 0x7f) || c == '\t')
            continue;
        if (c != '\r' || i + 1 == len || text[++i] != '\n')
            return false;
    }
    return true;
}

/* How many characters of a token text begins with. */
static size_t token_length(const char *text)
{
    const char *c = text;

    while (isalnum((unsigned char)*c) || (*c && strchr("!#$%&'*+-.^_`|~", *c)))
        c++;
    return (size_t)(c - text);
}

/* Whether a list like "close, upgrade" has the token. */
static bool has_token(const char *list, const char *token)
{
    size_t length;

    for (; *list; list += length) {
        list += strspn(list, ", \t");
        length = strcspn(list, ", \t");
        if (length == strlen(token) && strncasecmp(list, token, length) == 0)
            return true;
    }
    return false;
}

/* --- the request line ------------------------------------------------------------------------ */

/* Of "http://HOST/PATH", which a server has to take too, what begins with the path; NULL: neither
 * that nor a path. */
static const char *find_path(const char *target)
{
    static const char scheme[] = "http://";

    if (strncasecmp(target, scheme, strlen(scheme)) == 0) {
        target += strlen(scheme);
        target += strcspn(target, "/?#");
        if (*target != '/')
            return *target ? NULL : "/";
    }
    return *target == '/' && !strchr(target, '#') ? target : NULL;
}

static int check_method(const struct http_request *r)
{
    static const char *const others[] = {"POST",  "PUT",     "DELETE", "OPTIONS",
                                         "TRACE", "CONNECT", "PATCH"};

    if (r->head || strcmp(r->method, "GET") == 0)
        return 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(r->method, others[i]) == 0)
            return 405;
    return 501;
}

/* 0, or the status for which the connection ends. */
static int take_request_line(struct http_request *r, char *line)
{
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version || target != line + token_length(line) || strchr(version + 1, ' '))
        return 400;
    *target++ = *version++ = '\0';
    if (strlen(version) != 8 || strncmp(version, "HTTP/", 5) != 0 ||
        !isdigit((unsigned char)version[5]) || version[6] != '.' ||
        !isdigit((unsigned char)version[7]))
        return 400;
    r->method = line;
    r->head = strcmp(line, "HEAD") == 0;
    r->target = target;
    if (version[5] != '1')
        return 505;
    r->http_1_0 = version[7] == '0';
    return 0;
}

/* --- the fields ------------------------------------------------------------------------------ */

struct connection {
    bool close;
    bool keep_alive;
};

static int take_field(struct http_request *r, char *line, struct connection *connection)
{
    size_t name_length = token_length(line);
    char *value = line + name_length, *end;

    if (name_length == 0 || *value != ':')
        return 400;
    *value++ = '\0';
    value += strspn(value, " \t");
    for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t');)
        *--end = '\0';

    if (strcasecmp(line, "Connection") == 0) {
        connection->close |= has_token(value, "close");
        connection->keep_alive |= has_token(value, "keep-alive");
        return 0;
    }
    for (int i = 0; i < HTTP_FIELDS; i++) {
        if (strcasecmp(line, field_names[i]) != 0)
            continue;
        if (r->fields[i])
            return 400;
        r->fields[i] = value;
        break;
    }
    return 0;
}

static int check_host(const struct http_request *r)
{
    const char *host = r->fields[HTTP_HOST];

    if (!host)
        return r->http_1_0 ? 0 : 400;
    while (isalnum((unsigned char)*host) || (*host && strchr("-._~%!$&'()*+,;=:[]", *host)))
        host++;
    return *host ? 400 : 0;
}

static int check_body(struct http_request *r)
{
    const char *length = r->fields[HTTP_CONTENT_LENGTH];
    const char *coding = r->fields[HTTP_TRANSFER_ENCODING];

    if (coding && (length || r->http_1_0))
        return 400;
    if (coding && strcasecmp(coding, "chunked") != 0)
        return 501;
    r->chunked = coding;
    if (!length)
        return 0;
    if (!*length || strlen(length) > 18 || length[strspn(length, "0123456789")])
        return 400;
    r->body_length = strtoll(length, NULL, 10);
    return 0;
}

/* What has to be right for that what follows can be read. 0, or a status. */
static int take_header(struct http_request *r, size_t len)
{
    struct connection connection = {0};
    char *line = r->text, *end;
    int status;

    if (!is_clean(line, len))
        return 400;
    if (strncmp(line, "\r\n", 2) == 0)
        line += 2; /* behind a body of old browsers */
    for (bool first = true; line; first = false, line = end) {
        end = strchr(line, '\r');
        if (end) {
            *end = '\0';
            end += 2;
        }
        status = first ? take_request_line(r, line) : take_field(r, line, &connection);
        if (status)
            return status;
    }
    status = check_host(r);
    if (!status)
        status = check_body(r);
    if (!status)
        r->keep_alive = !connection.close && (!r->http_1_0 || connection.keep_alive);
    return status;
}

/* Any that is not of this kind is refused. */
static int check_expectation(const struct http_request *r)
{
    return !r->expects || strcasecmp(r->fields[HTTP_EXPECT], "100-continue") == 0 ? 0 : 417;
}

struct http_request *http_request_new(struct evbuffer *header)
{
    size_t len = evbuffer_get_length(header);
    struct http_request *r = calloc(1, sizeof *r + len + 1);

    if (!r)
        return NULL;
    evbuffer_remove(header, r->text, len);
    r->status = take_header(r, len);
    if (r->status)
        return r;
    r->expects = r->fields[HTTP_EXPECT] && !r->http_1_0;
    r->status = check_expectation(r);
    if (!r->status)
        r->status = check_method(r);
    if (!r->status && !(r->target = find_path(r->target)))
        r->status = 400;
    return r;
}

struct http_request *http_request_for_status(int status, bool keep_alive)
{
    struct http_request *r = calloc(1, sizeof *r + 1);

    if (r) {
        r->status = status;
        r->keep_alive = keep_alive;
    }
    return r;
}

/* --- bodies ---------------------------------------------------------------------------------- */

int64_t http_chunk_size(const char *line, size_t len)
{
    size_t digits = 0;
    const char *rest;

    while (isxdigit((unsigned char)line[digits]))
        digits++;
    rest = line + digits + strspn(line + digits, " \t");
    if (digits == 0 || digits > 15 || (*rest && *rest != ';') || !is_clean(line, len))
        return -1;
    return strtoll(line, NULL, 16);
}
