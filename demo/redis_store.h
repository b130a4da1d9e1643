/* Values under keys, some of which expire: a hash table with chains. */
#ifndef DEMO_REDIS_STORE_H
#define DEMO_REDIS_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Any bytes. Behind those of arguments and values there is a 0. */
struct bytes {
    const char *data;
    size_t length;
};

/* Is referred to by its key, and by replies that are on their way. */
struct value {
    size_t references;
    struct bytes bytes;
    char data[];
};

/* NULL: no memory. */
struct value *value_new(struct bytes bytes);

/* Gives up a reference. NULL is allowed. */
void value_unref(struct value *value);

struct entry {
    SLIST_ENTRY(entry) in_slot;
    struct value *value;
    int64_t expires; /* at this time of store_now(); 0: never */
    uint64_t hash;
    struct bytes key;
    char data[];
};

SLIST_HEAD(slot, entry);

struct store {
    struct slot *slots;
    size_t size; /* how many slots there are, a power of 2 */
    size_t count;
    size_t expiring;
    uint64_t seed; /* of the hash: a client is not to know which keys collide */
};

/* 0, or a negative errno. */
int store_init(struct store *store);
void store_free(struct store *store);

/* In milliseconds, from some time on. */
int64_t store_now(void);

/* NULL: there is none, or it has expired. */
struct entry *store_find(struct store *store, struct bytes key);

/* Takes value over, in place of the one that there may be. NULL is none for want of memory: 0, or
 * -ENOMEM. */
int store_put(struct store *store, struct bytes key, struct value *value, int64_t expires);

void store_remove(struct store *store, struct entry *entry);

#endif
