/* A server that keeps values under keys, in memory, with some of Redis's commands. */
#define _GNU_SOURCE 1
#include "redis_client.h"
#include "redis_store.h"
#include "support.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] =
    "usage: redis_server [--host HOST] [--port PORT]\n"
    "Keeps values under keys, for redis-cli and the like, until SIGINT or SIGTERM.\n"
    "Commands are GET, SET (with EX, PX, NX, XX), DEL, EXISTS, INCR, TTL, PTTL,\n"
    "PING, ECHO, INFO, QUIT, and as much of COMMAND, CONFIG and SELECT as the\n"
    "stock clients need.\n"
    "      --host HOST  listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT  listen on PORT (default: 0, any free port)\n"
    "      --help       print this\n";

/* --- commands -------------------------------------------------------------------------------- */

static const char not_a_number[] = "ERR value is not an integer or out of range";

static int get(struct client *client)
{
    struct entry *entry = store_find(client->store, argument(client, 1));

    return entry ? reply_value(client, entry->value) : reply(client, "$-1\r\n");
}

struct set_options {
    bool nx, xx;
    int64_t expires;
};

/* Returns what is wrong with them, or NULL. */
static const char *parse_set_options(const struct client *client, struct set_options *options)
{
    for (size_t i = 3; i < client->count; i++) {
        bool seconds = argument_is(client, i, "ex");
        int64_t time, unit = seconds ? 1000 : 1;

        if (argument_is(client, i, "nx") && !options->xx) {
            options->nx = true;
        } else if (argument_is(client, i, "xx") && !options->nx) {
            options->xx = true;
        } else if ((seconds || argument_is(client, i, "px")) && !options->expires &&
                   ++i < client->count) {
            if (!parse_number(argument(client, i), &time))
                return not_a_number;
            if (time <= 0 || time > INT64_MAX / 2 / unit)
                return "ERR invalid expire time in 'set' command";
            options->expires = store_now() + time * unit;
        } else {
            return "ERR syntax error";
        }
    }
    return NULL;
}

static int set(struct client *client)
{
    struct bytes key = argument(client, 1);
    struct set_options options = {0};
    const char *error = parse_set_options(client, &options);
    int rc;

    if (error)
        return reply_error(client, "%s", error);
    if ((options.nx || options.xx) && options.nx == !!store_find(client->store, key))
        return reply(client, "$-1\r\n");
    rc = store_put(client->store, key, value_new(argument(client, 2)), options.expires);
    return rc < 0 ? rc : reply(client, "+OK\r\n");
}

static int del(struct client *client)
{
    int64_t found = 0;

    for (size_t i = 1; i < client->count; i++) {
        struct entry *entry = store_find(client->store, argument(client, i));

        found += entry != NULL;
        if (entry)
            store_remove(client->store, entry);
    }
    return reply_number(client, found);
}

static int exists(struct client *client)
{
    int64_t found = 0;

    for (size_t i = 1; i < client->count; i++)
        found += store_find(client->store, argument(client, i)) != NULL;
    return reply_number(client, found);
}

static int incr(struct client *client)
{
    struct bytes key = argument(client, 1);
    const struct entry *entry = store_find(client->store, key);
    char text[32];
    int64_t number = 0;
    int rc;

    if (entry && !parse_number(entry->value->bytes, &number))
        return reply_error(client, "%s", not_a_number);
    if (number == INT64_MAX)
        return reply_error(client, "ERR increment or decrement would overflow");
    number++;
    rc = snprintf(text, sizeof text, "%lld", (long long)number);
    rc = store_put(client->store, key, value_new((struct bytes){text, (size_t)rc}),
                   entry ? entry->expires : 0);
    return rc < 0 ? rc : reply_number(client, number);
}

static int64_t time_to_live(struct client *client)
{
    const struct entry *entry = store_find(client->store, argument(client, 1));

    if (!entry)
        return -2;
    return entry->expires ? entry->expires - store_now() : -1;
}

static int ttl(struct client *client)
{
    int64_t left = time_to_live(client);

    return reply_number(client, left < 0 ? left : (left + 500) / 1000);
}

static int pttl(struct client *client)
{
    return reply_number(client, time_to_live(client));
}

static int echo(struct client *client)
{
    return reply_bytes(client, argument(client, 1));
}

static int ping(struct client *client)
{
    if (client->count > 2)
        return reply_error(client, "ERR wrong number of arguments for 'ping' command");
    return client->count == 2 ? echo(client) : reply(client, "+PONG\r\n");
}

static int info(struct client *client)
{
    const struct store *store = client->store;
    char text[256];
    int length = snprintf(text, sizeof text,
                          "# Server\r\nprocess_id:%ld\r\n\r\n"
                          "# Clients\r\nconnected_clients:%zu\r\n\r\n"
                          "# Keyspace\r\n",
                          (long)getpid(), asyncore_map_length(client_dispatcher(client)->map) - 1);

    if (store->count > 0)
        length += snprintf(text + length, sizeof text - (size_t)length,
                           "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", store->count, store->expiring);
    return reply_bytes(client, (struct bytes){text, (size_t)length});
}

/* redis-cli asks for their documentation. */
static int command(struct client *client)
{
    return reply(client, "*0\r\n");
}

/* redis-benchmark asks for these two. */
static int config(struct client *client)
{
    if (!argument_is(client, 1, "get"))
        return reply_error(client, "ERR unknown subcommand '%.128s'", argument(client, 1).data);
    if (client->count == 3 && argument_is(client, 2, "save"))
        return reply(client, "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    if (client->count == 3 && argument_is(client, 2, "appendonly"))
        return reply(client, "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n");
    return reply(client, "*0\r\n");
}

static int select_db(struct client *client)
{
    if (!argument_is(client, 1, "0"))
        return reply_error(client, "ERR DB index is out of range");
    return reply(client, "+OK\r\n");
}

static int quit(struct client *client)
{
    int rc = reply(client, "+OK\r\n");

    return rc < 0 ? rc : reply_no_more(client);
}

static int run(struct client *client)
{
    static const struct {
        const char *name;
        int arity; /* with the name; negative: at least */
        int (*run)(struct client *client);
    } commands[] = {{"get", 2, get},          {"set", -3, set},         {"incr", 2, incr},
                    {"ping", -1, ping},       {"del", -2, del},         {"exists", -2, exists},
                    {"ttl", 2, ttl},          {"pttl", 2, pttl},        {"echo", 2, echo},
                    {"info", -1, info},       {"command", -1, command}, {"config", -2, config},
                    {"select", 2, select_db}, {"quit", -1, quit}};

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int arity = commands[i].arity;

        if (!argument_is(client, 0, commands[i].name))
            continue;
        if (arity < 0 ? client->count < (size_t)-arity : client->count != (size_t)arity)
            return reply_error(client, "ERR wrong number of arguments for '%s' command",
                               commands[i].name);
        return commands[i].run(client);
    }
    return reply_error(client, "ERR unknown command '%.128s'", argument(client, 0).data);
}

/* --- the server ------------------------------------------------------------------------------ */

struct server {
    struct asyncore_dispatcher base;
    struct store *store;
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    struct client *client = client_new(sock, d->map);
    char from[128];

    if (client) {
        client->store = server_of(d)->store;
        client->run = run;
        return 0;
    }
    asyncore_addr_repr(addr, addrlen, from, sizeof from);
    warn("%s", from); /* the others are served on */
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
                            .handle_error = demo_handle_error);

static int serve(const char *host, uint16_t port)
{
    struct server *server = server_new(-1, NULL);
    struct store store;
    int status;

    if (!server || store_init(&store) < 0)
        err(1, NULL);
    server->store = &store;
    status = demo_serve(server_dispatcher(server), host, port);
    store_free(&store);
    return status;
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1";
    uint16_t port = 0;
    int status = demo_parse_server_options(argc, argv, usage, &host, &port, 0);

    return demo_exit(status < 0 ? serve(host, port) : status);
}
