/* A channel that fetches one URL with HTTP/1.0: what http_client and loop_steps share. */
#ifndef DEMO_HTTP_H
#define DEMO_HTTP_H

#include <asyncore/asyncore.h>

#include <stdio.h>

struct http {
    struct asyncore_dispatcher base;
    const char *url;
    const char *output; /* where the body goes, or NULL */
    char *request;
    size_t request_length;
    size_t request_sent;
    char header[16384];
    size_t header_length;
    bool header_done;
    FILE *body;
    unsigned long long received; /* with the header */
    char failure[256];           /* empty: none */
};

ASYNCORE_DECLARE_CLASS(http, asyncore_dispatcher);

/* Starts to fetch url; the body is written to the file output, unless that is NULL. Both must
 * outlive the channel. The caller gives the channel back with asyncore_unref. A URL that is bad is
 * told by http_report. NULL with errno: as asyncore_new. */
struct http *http_get(const char *url, const char *output, struct asyncore_map *map);

/* After the loop: prints "URL got N bytes" and returns 0, or says on stderr what failed and returns
 * 1. */
int http_report(const struct http *self);

#endif
