/* A client that speaks Redis's protocol, RESP2: requests come in, replies go out. */
#ifndef DEMO_REDIS_CLIENT_H
#define DEMO_REDIS_CLIENT_H

#include "redis_store.h"

#include <asyncore/asyncore.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    struct asynchat_async_chat base;
    int (*run)(struct client *client); /* is called when a request has come, and replies to it */
    struct store *store;
    struct {
        size_t start, length; /* in data */
    } * arguments;            /* the first one is the command */
    size_t count, arguments_room;
    /* What of the request has come: arguments, and from start on what is being collected. */
    char *data;
    size_t start, length, room;
    enum {
        REQUEST,
        LENGTH,
        ARGUMENT
    } expected;    /* the first two are lines */
    size_t wanted; /* so many arguments will come */
};

ASYNCORE_DECLARE_CLASS(client, asynchat_async_chat);

/* --- the request ----------------------------------------------------------------------------- */

/* Valid until run returns. */
struct bytes argument(const struct client *client, size_t i);

/* Whether it is word, in upper or lower case. */
bool argument_is(const struct client *client, size_t i, const char *word);

/* Whether it is one, as Redis writes integers. */
bool parse_number(struct bytes bytes, int64_t *number);

/* --- replies: 0 or a negative errno ---------------------------------------------------------- */

/* As it is. */
int reply(struct client *client, const char *text);

/* In one line, whatever the client's own words in it are. */
int reply_error(struct client *client, const char *format, ...) ASYNCORE_PRINTF(2, 3);

int reply_number(struct client *client, int64_t number);
int reply_bytes(struct client *client, struct bytes bytes);

/* The same; a large one is not copied. */
int reply_value(struct client *client, struct value *value);

/* The last one has been given: closes when everything is sent. */
int reply_no_more(struct client *client);

#endif
