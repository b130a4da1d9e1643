/* The line protocol of embed_evhttp: `echo TEXT`, `stats` and `quit`, and a client. */
#ifndef DEMO_EMBED_LINES_H
#define DEMO_EMBED_LINES_H

#include <asyncore/asyncore.h>

struct evbuffer;

/* The service, which must outlive its map. */
struct lines {
    /* Adds what `stats` answers, a line. 0 or a negative errno. */
    int (*add_stats)(struct evbuffer *out, void *arg);
    void *arg;

    uint64_t answers; /* that clients got */
    bool asking;      /* a client is under way: there is one at a time */
};

/* A channel for demo_listen. NULL with errno. */
struct asyncore_dispatcher *lines_server_new(struct asyncore_map *map, struct lines *lines);

/* Has a client connect to server, send `echo TEXT` and read the answer. May be called anywhere but
 * while one is asking. 0, or a negative errno when it cannot begin. */
int lines_ask(struct asyncore_dispatcher *server, const char *text);

#endif
