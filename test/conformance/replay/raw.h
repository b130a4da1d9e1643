/* Raw peers: sockets and files that are no channel's. */
#ifndef CONFORMANCE_RAW_H
#define CONFORMANCE_RAW_H

#include "bytes.h"
#include "kernel.h"

#include <stdbool.h>
#include <stddef.h>

enum raw_kind {
    RAW_SOCKET,
    RAW_LISTENER,
    RAW_PIPE,
    RAW_FILE
};

struct raw {
    struct raw *next;
    const char *name; /* NULL: not kept under one */
    enum raw_kind kind;
    bool readable; /* its end line shows what can be read */
    int fd;        /* -1: closed, or given away */
    size_t sent;
};

/* Gives the socket away; -1: there is none. */
int raw_take(struct raw *raw);

/* 0 or a negative errno, as everything here. */
int raw_close(struct raw *raw);

/* Without waiting: the count. */
int raw_recv(struct raw *raw, void *data, size_t size);
int raw_send(struct raw *raw, const void *data, size_t size);

/* What can still be read, and why no more. */
void raw_drain(struct raw *raw, struct bytes *out);

/* The kinds of sockets that the language names: "tcp", "udp", ... */
int socket_family(const char *kind);
int socket_type(const char *kind);

/* A non-blocking one of that kind. */
int socket_new(const char *kind);
int socket_listener(const char *kind, int backlog);

/* Small segments are not to wait for acknowledgements, which come by a timer. */
void socket_set_nodelay(int fd);

int socket_name(int fd, struct address *name);

/* accept(2), non-blocking. */
int socket_accept(int fd);

#endif
