/* The kernel's side: loopback settles before anything waits, addresses, descriptors. */
#ifndef CONFORMANCE_KERNEL_H
#define CONFORMANCE_KERNEL_H

#include "bytes.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    socklen_t length;
    struct sockaddr_storage storage;
};

static inline struct sockaddr *address_of(struct address *a)
{
    return (struct sockaddr *)&a->storage;
}

/* Of the Unix sockets and files; "" until kernel_prepare. */
extern char kernel_directory[256];

/* Before the first scenario: one CPU, the directory, and what is needed until the end. */
void kernel_prepare(void);

/* Removes what the scenario has left in the directory. */
void kernel_clean(void);

/* Removes the directory. */
void kernel_end(void);

/* Waits until loopback has delivered what was sent: packets of one CPU stay in order, and no
 * connection needs more than four packets that wait for each other. */
void kernel_settle(void);

/* A path in the directory that was not given before in this scenario. */
void kernel_new_path(struct bytes *path);

/* The address of that path. */
struct address kernel_path_address(const char *path);

/* An address that nobody has: a port, or a path, of the loopback of that family. */
struct address kernel_any_address(int family);

/* An address that refuses connections. */
struct address kernel_nobody(int family);

/* The port of an address that has one. */
uint16_t kernel_port(const struct address *a);

/* Whether Python would call them equal. */
bool kernel_same_address(const struct sockaddr *a, socklen_t a_length, const struct sockaddr *b,
                         socklen_t b_length);

/* How many descriptors are open. */
int kernel_descriptors(void);

/* Leaves no descriptor, and gives them back. */
void kernel_exhaust(void);
void kernel_relent(void);

#endif
