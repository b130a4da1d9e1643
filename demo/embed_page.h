/* What embed_evhttp counts, as JSON and as a page. */
#ifndef DEMO_EMBED_PAGE_H
#define DEMO_EMBED_PAGE_H

#include <asyncore/map.h>

#include <stdint.h>

struct evbuffer;

struct figures {
    struct asyncore_map_stats map;
    uint64_t http_requests;
    uint64_t ticks;
    uint64_t answers; /* that the client got */
    uint64_t uptime;  /* milliseconds */
};

/* Add it to out; 0 or -ENOMEM. */
int page_add_json(struct evbuffer *out, const struct figures *figures);
int page_add_html(struct evbuffer *out, const struct figures *figures);

#endif
