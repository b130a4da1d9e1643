/* The verbs of raw peers, and what all verbs share. */
#define _GNU_SOURCE
#include "show.h"
#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- words ----------------------------------------------------------------------------------- */

const struct verb *verb_find(const struct verb *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

const struct verb *channel_verb(const char *name)
{
    const struct verb *verb = verb_find(channel_verbs, name);

    return verb ? verb : verb_find(chat_verbs, name);
}

size_t word_size(const char *word)
{
    return (size_t)strtoul(word, NULL, 10);
}

int word_int(const char *word)
{
    return (int)strtol(word, NULL, 10);
}

double word_seconds(const char *word)
{
    return strcmp(word, "none") == 0 ? ASYNCORE_TIMEOUT_NONE : strtod(word, NULL);
}

int word_how(const char *word)
{
    if (strcmp(word, "r") == 0)
        return SHUT_RD;
    return strcmp(word, "w") == 0 ? SHUT_WR : SHUT_RDWR;
}

/* What a sender sends when only the length is given: bytes that tell their place. */
static void add_pattern(struct bytes *data, size_t offset, size_t length)
{
    static const char pattern[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456789";

    for (size_t i = 0; i < length; i++)
        bytes_add(data, &pattern[(offset + i) % (sizeof pattern - 1)], 1);
}

static struct bytes lorem;

void verbs_prepare(void)
{
    char part[4096];
    FILE *file = fopen(LOREM, "r");
    size_t n;

    if (!file)
        mistake("cannot open %s", LOREM);
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        bytes_add(&lorem, part, n);
    fclose(file);
}

void verbs_end(void)
{
    bytes_clear(&lorem);
}

static int add_buffer(struct turn *turn, const char *size, struct bytes *data)
{
    const struct bytes *buffer;
    size_t length;

    if (!turn->channel)
        return -EBADF;
    buffer = &actor_of(turn->channel)->buffer;
    length = size ? word_size(size) : buffer->length;
    bytes_add(data, bytes_text(buffer), length < buffer->length ? length : buffer->length);
    return 0;
}

int turn_data(struct turn *turn, action_list words, struct bytes *data)
{
    size_t sent = turn->raw ? turn->raw->sent : 0;

    if (turn->channel)
        sent = actor_of(turn->channel)->sent;
    if (*words[0] == '"')
        unquote(data, words[0]);
    else if (strcmp(words[0], "it") == 0)
        bytes_add(data, bytes_text(&turn->frame->it), turn->frame->it.length);
    else if (strcmp(words[0], "lorem") == 0)
        bytes_add(data, lorem.data, lorem.length);
    else if (strcmp(words[0], "buffer") == 0)
        return add_buffer(turn, words[1], data);
    else
        add_pattern(data, sent, word_size(words[0]));
    return 0;
}

void turn_took(struct turn *turn, const char *word, size_t length)
{
    struct actor *actor = actor_of(turn->channel);

    actor->sent += length;
    if (strcmp(word, "buffer") == 0)
        bytes_drop(&actor->buffer, length);
}

/* --- verbs ----------------------------------------------------------------------------------- */

static int result(int r)
{
    return r < 0 ? -errno : r;
}

/* The socket's descriptor, -1 when it has none. */
static int socket_of(const struct turn *turn)
{
    const struct raw *raw = turn->raw;

    return raw->kind == RAW_PIPE || raw->kind == RAW_FILE ? -1 : raw->fd;
}

static int show_count(struct turn *turn, int n)
{
    if (n < 0)
        return n;
    bytes_format(turn->result, "%d", n);
    return 0;
}

static int send_data(struct turn *turn)
{
    struct bytes data = {.length = 0};
    int n = turn_data(turn, turn->words, &data);

    if (n == 0)
        n = raw_send(turn->raw, bytes_text(&data), data.length);
    bytes_clear(&data);
    return show_count(turn, n);
}

static int recv_data(struct turn *turn)
{
    size_t size = word_size(turn->words[0]);
    char *data = must_allocate(size);
    int n;

    kernel_settle();
    n = raw_recv(turn->raw, data, size);
    if (n >= 0)
        show_data(turn->result, data, (size_t)n);
    free(data);
    return n;
}

static int drain(struct turn *turn)
{
    kernel_settle();
    raw_drain(turn->raw, turn->result);
    return 0;
}

static int close_it(struct turn *turn)
{
    return raw_close(turn->raw);
}

static int shut_down(struct turn *turn)
{
    return result(shutdown(socket_of(turn), word_how(turn->words[0])));
}

static int reset(struct turn *turn)
{
    const struct linger at_once = {.l_onoff = 1};
    int r = result(setsockopt(socket_of(turn), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));

    return r < 0 ? r : raw_close(turn->raw);
}

static int send_oob(struct turn *turn)
{
    return show_count(turn, result((int)send(socket_of(turn), "!", 1, MSG_OOB | MSG_NOSIGNAL)));
}

static int accept_one(struct turn *turn)
{
    int sock;

    kernel_settle();
    sock = socket_accept(socket_of(turn));
    if (sock < 0)
        return sock;
    world_keep_raw(turn->world, turn->words[0], RAW_SOCKET, sock);
    return 0;
}

int socket_set_buffers(int fd, const char *size)
{
    const int value = word_int(size);

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value) < 0)
        return -errno;
    return result(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value));
}

static int set_buffers(struct turn *turn)
{
    return socket_set_buffers(socket_of(turn), turn->words[0]);
}

static int show_flags(struct turn *turn)
{
    int flags = result(fcntl(turn->raw->fd, F_GETFL));

    if (flags < 0)
        return flags;
    bytes_put(turn->result, flags & O_NONBLOCK ? "nonblocking" : "blocking");
    return 0;
}

const struct verb raw_verbs[] = {
    {"send", "DATA", send_data},
    {"recv", "SIZE", recv_data},
    {"drain", "", drain},
    {"close", "", close_it},
    {"shutdown", "r|w|rw", shut_down},
    {"reset", "", reset},
    {"oob", "", send_oob},
    {"accept", "MADE", accept_one},
    {"buffers", "SIZE", set_buffers},
    {"flags", "", show_flags},
    {NULL, NULL, NULL},
};
