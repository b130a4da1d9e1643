#ifndef DEMO_HTTP_CONNECTION_H
#define DEMO_HTTP_CONNECTION_H

struct asyncore_map;
struct http_site;

/* Serves the client on sock, which is consumed. 0 or a negative errno. */
int http_connection_new(int sock, struct asyncore_map *map, struct http_site *site);

#endif
