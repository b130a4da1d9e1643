#define _GNU_SOURCE 1
#include "redis_store.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t store_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct value *value_new(struct bytes bytes)
{
    struct value *value = malloc(sizeof *value + bytes.length + 1);

    if (!value)
        return NULL;
    memcpy(value->data, bytes.data, bytes.length);
    value->data[bytes.length] = '\0';
    value->bytes = (struct bytes){value->data, bytes.length};
    value->references = 1;
    return value;
}

void value_unref(struct value *value)
{
    if (value && --value->references == 0)
        free(value);
}

/* FNV-1a. */
static uint64_t hash_of(const struct store *store, struct bytes key)
{
    uint64_t hash = store->seed;

    for (size_t i = 0; i < key.length; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 0x100000001b3;
    return hash ^ hash >> 32;
}

static struct slot *slot_of(const struct store *store, uint64_t hash)
{
    return &store->slots[hash & (store->size - 1)];
}

static bool has_expired(const struct entry *entry)
{
    return entry->expires && entry->expires <= store_now();
}

/* One that is in no chain any more. */
static void entry_free(struct store *store, struct entry *entry)
{
    store->count--;
    store->expiring -= entry->expires != 0;
    value_unref(entry->value);
    free(entry);
}

int store_init(struct store *store)
{
    *store = (struct store){.size = 1024};
    store->slots = calloc(store->size, sizeof *store->slots);
    return store->slots && getentropy(&store->seed, sizeof store->seed) == 0 ? 0 : -errno;
}

void store_free(struct store *store)
{
    struct entry *entry;

    for (size_t i = 0; i < store->size; i++)
        while ((entry = SLIST_FIRST(&store->slots[i]))) {
            SLIST_REMOVE_HEAD(&store->slots[i], in_slot);
            entry_free(store, entry);
        }
    free(store->slots);
}

void store_remove(struct store *store, struct entry *entry)
{
    SLIST_REMOVE(slot_of(store, entry->hash), entry, entry, in_slot);
    entry_free(store, entry);
}

struct entry *store_find(struct store *store, struct bytes key)
{
    uint64_t hash = hash_of(store, key);
    struct entry *entry;

    SLIST_FOREACH(entry, slot_of(store, hash), in_slot)
    if (entry->hash == hash && entry->key.length == key.length &&
        memcmp(entry->key.data, key.data, key.length) == 0)
        break;
    if (!entry || !has_expired(entry))
        return entry;
    store_remove(store, entry);
    return NULL;
}

/* Moves what has not expired into twice as many slots. Without memory the chains get longer. */
static void grow(struct store *store)
{
    const struct store old = *store;
    struct slot *slots = calloc(old.size * 2, sizeof *slots);
    struct entry *entry;

    if (!slots)
        return;
    store->slots = slots;
    store->size *= 2;
    for (size_t i = 0; i < old.size; i++)
        while ((entry = SLIST_FIRST(&old.slots[i]))) {
            SLIST_REMOVE_HEAD(&old.slots[i], in_slot);
            if (has_expired(entry))
                entry_free(store, entry);
            else
                SLIST_INSERT_HEAD(slot_of(store, entry->hash), entry, in_slot);
        }
    free(old.slots);
}

/* A key without a value yet. */
static struct entry *add(struct store *store, struct bytes key)
{
    struct entry *entry = malloc(sizeof *entry + key.length);

    if (!entry)
        return NULL;
    if (store->count >= store->size)
        grow(store);
    memcpy(entry->data, key.data, key.length);
    entry->key = (struct bytes){entry->data, key.length};
    entry->hash = hash_of(store, key);
    entry->value = NULL;
    entry->expires = 0;
    SLIST_INSERT_HEAD(slot_of(store, entry->hash), entry, in_slot);
    store->count++;
    return entry;
}

int store_put(struct store *store, struct bytes key, struct value *value, int64_t expires)
{
    struct entry *entry = value ? store_find(store, key) : NULL;

    if (value && !entry)
        entry = add(store, key);
    if (!entry) {
        value_unref(value);
        return -ENOMEM;
    }
    value_unref(entry->value);
    entry->value = value;
    store->expiring += (size_t)(expires != 0) - (size_t)(entry->expires != 0);
    entry->expires = expires;
    return 0;
}
