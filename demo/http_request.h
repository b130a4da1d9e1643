/* HTTP/1.1 requests: the header, taken apart and checked. */
#ifndef DEMO_HTTP_REQUEST_H
#define DEMO_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct evbuffer;

/* The fields that a server of files looks at, and that may come once. */
enum http_field {
    HTTP_HOST,
    HTTP_CONTENT_LENGTH,
    HTTP_TRANSFER_ENCODING,
    HTTP_EXPECT,
    HTTP_RANGE,
    HTTP_IF_RANGE,
    HTTP_IF_NONE_MATCH,
    HTTP_IF_MODIFIED_SINCE,
    HTTP_FIELDS
};

struct http_request {
    TAILQ_ENTRY(http_request) in_queue;
    int status;          /* what it is answered with, whatever the target is; 0: it is well */
    bool keep_alive;     /* false: nothing behind it can be, or shall be, read as a request */
    bool http_1_0;       /* the client is of that version */
    bool head;           /* the answer has no body */
    bool expects;        /* to be told before it sends the body */
    bool chunked;        /* the body's length is in the body */
    int64_t body_length; /* otherwise */
    const char *method;
    const char *target;              /* begins with a slash, is not decoded */
    const char *fields[HTTP_FIELDS]; /* NULL: there is none */
    char text[];
};

TAILQ_HEAD(http_requests, http_request);

/* Takes the request out of header, which ends in front of the empty line; one that is not well has
 * a status. To be freed by free. NULL: no memory. */
struct http_request *http_request_new(struct evbuffer *header);

/* One that stands for an answer of this status, after which keep_alive says how it goes on. */
struct http_request *http_request_for_status(int status, bool keep_alive);

/* The size in the first line of a chunk, which a 0 is behind; -1: there is none. */
int64_t http_chunk_size(const char *line, size_t len);

#endif
