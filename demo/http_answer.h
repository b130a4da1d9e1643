/* What a request is answered with. */
#ifndef DEMO_HTTP_ANSWER_H
#define DEMO_HTTP_ANSWER_H

#include "http_files.h"

struct asyncore_dispatcher;
struct http_request;

/* What all connections have in common. */
struct http_site {
    int root;                  /* the directory that is served */
    long idle;                 /* how many seconds a connection may do nothing */
    struct http_date date;     /* now */
    struct http_date modified; /* of the last file */
};

/* Queues the answer on d, an async_chat. 0, 1: it takes much memory until it is sent; or a negative
 * errno. */
int http_answer(struct asyncore_dispatcher *d, struct http_site *site,
                const struct http_request *request);

#endif
