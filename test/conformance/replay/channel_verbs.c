/* The verbs of channels. */
#define _GNU_SOURCE
#include "show.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the socket ------------------------------------------------------------------------------ */

static int create(struct turn *turn)
{
    struct asyncore_dispatcher *d = turn->channel;
    const char *kind = turn->words[0] ? turn->words[0] : "tcp";
    int r = asyncore_create_socket(d, socket_family(kind), socket_type(kind));

    if (r == 0) {
        channel_note_socket(d);
        socket_set_nodelay(asyncore_fileno(d));
    }
    return r;
}

/* 0, or the error of a channel that has no socket to look an argument up for. */
static int has_socket_methods(struct asyncore_dispatcher *d)
{
    const struct actor *actor = actor_of(d);

    if (!actor->had_socket)
        return -EBADF;
    if (actor->family >= 0)
        return 0;
    return asyncore_fileno(d) < 0 ? -EBADF : -ENOTSOCK;
}

static int bind_any(struct turn *turn)
{
    struct address a;
    int r = has_socket_methods(turn->channel);

    if (r < 0)
        return r;
    a = kernel_any_address(actor_of(turn->channel)->family);
    return asyncore_bind(turn->channel, address_of(&a), a.length);
}

static int listen_with(struct turn *turn)
{
    return asyncore_listen(turn->channel, turn->words[0] ? word_int(turn->words[0]) : 5);
}

static int connect_to(struct turn *turn)
{
    struct address a;
    int r = world_address(turn->world, turn->frame, turn->words[0], &a);

    return r < 0 ? r : asyncore_connect(turn->channel, address_of(&a), a.length);
}

static int bind_host(struct turn *turn)
{
    return asyncore_bind_host(turn->channel, turn->words[0], 0);
}

static int connect_host(struct turn *turn)
{
    struct address a;
    int r = world_address(turn->world, turn->frame, turn->words[1], &a);

    if (r < 0)
        return r;
    return asyncore_connect_host(turn->channel, turn->words[0], kernel_port(&a));
}

static int accept_one(struct turn *turn)
{
    int sock = asyncore_accept(turn->channel, NULL, NULL);

    if (sock < 0 && sock != -EAGAIN)
        return sock;
    bytes_put(turn->result, sock < 0 ? "none" : "a connection");
    if (sock >= 0)
        world_keep_raw(turn->world, turn->words[0], RAW_SOCKET, sock);
    return 0;
}

static int shut_down(struct turn *turn)
{
    return asyncore_shutdown(turn->channel, word_how(turn->words[0]));
}

static int set_buffers(struct turn *turn)
{
    return socket_set_buffers(asyncore_fileno(turn->channel), turn->words[0]);
}

static int lose(struct turn *turn)
{
    int fd = asyncore_fileno(turn->channel);

    if (fd >= 0)
        return close(fd) < 0 ? -errno : 0;
    if (!actor_of(turn->channel)->had_socket)
        return -EBADF;
    bytes_put(turn->result, "nothing");
    return 0;
}

static int set_socket(struct turn *turn)
{
    struct raw *raw;
    int r = world_open_raw(turn->world, turn->frame, turn->words[0], &raw);
    int fd = raw ? raw_take(raw) : -1;

    if (r < 0)
        return r;
    if (fd < 0) {
        bytes_put(turn->result, "nothing");
        return 0;
    }
    r = asyncore_set_socket(turn->channel, fd, world_map(turn->world, turn->words + 1));
    channel_note_socket(turn->channel);
    return r;
}

static int set_file(struct turn *turn)
{
    struct raw *raw;
    int r = world_open_raw(turn->world, turn->frame, turn->words[0], &raw);

    if (r < 0)
        return r;
    if (!raw) {
        bytes_put(turn->result, "nothing");
        return 0;
    }
    if (!actor_is(actor_of(turn->channel), FILE_DISPATCHER))
        return -EBADF; /* in Python it has no such method */
    r = asyncore_set_file(turn->channel, raw->fd);
    channel_note_socket(turn->channel);
    return r;
}

static int add_channel(struct turn *turn)
{
    struct asyncore_map *map = world_map(turn->world, turn->words);

    if (turn->words[0] && !map)
        map = turn->world->maps[0]; /* NULL would be the channel's own */
    return asyncore_add_channel(turn->channel, map);
}

static int del_channel(struct turn *turn)
{
    asyncore_del_channel(turn->channel);
    return 0;
}

/* --- data ------------------------------------------------------------------------------------ */

static int show_count(struct turn *turn, int n)
{
    if (n < 0)
        return n;
    actor_of(turn->channel)->sent += (size_t)n;
    bytes_format(turn->result, "%d", n);
    return 0;
}

static int send_data(struct turn *turn)
{
    bool queues = actor_is(actor_of(turn->channel), DISPATCHER_WITH_SEND);
    struct bytes data = {.length = 0};
    int r;

    (void)turn_data(turn, turn->words, &data);
    r = asyncore_send(turn->channel, bytes_text(&data), data.length);
    if (r >= 0)
        turn_took(turn, turn->words[0], queues ? data.length : (size_t)r);
    if (r >= 0 && !queues)
        bytes_format(turn->result, "%d", r);
    bytes_clear(&data);
    return r;
}

/* What a call has received becomes "it". */
static int keep_received(struct turn *turn, char *data, int n)
{
    if (n >= 0) {
        bytes_clear(&turn->frame->it);
        bytes_add(&turn->frame->it, data, (size_t)n);
        show_data(turn->result, data, (size_t)n);
    }
    free(data);
    return n < 0 ? n : 0;
}

static char *room_for(struct turn *turn)
{
    bytes_clear(&turn->frame->it);
    return must_allocate(word_size(turn->words[0]));
}

static int recv_data(struct turn *turn)
{
    char *data = room_for(turn);

    return keep_received(turn, data, asyncore_recv(turn->channel, data, word_size(turn->words[0])));
}

static int flags_of(action_list words)
{
    int flags = 0;

    for (; *words; words++)
        flags |= strcmp(*words, "oob") == 0 ? MSG_OOB : MSG_PEEK;
    return flags;
}

static int socket_recv(struct turn *turn)
{
    char *data = room_for(turn);

    return keep_received(turn, data,
                         asyncore_recv_flags(turn->channel, data, word_size(turn->words[0]),
                                             flags_of(turn->words + 1)));
}

static int recvfrom_anyone(struct turn *turn)
{
    char *data = room_for(turn);

    return keep_received(
        turn, data, asyncore_recvfrom(turn->channel, data, word_size(turn->words[0]), NULL, NULL));
}

/* Only the first of the words is data. */
static void first_word_data(struct turn *turn, struct bytes *data)
{
    char *const first[] = {turn->words[0], NULL};

    (void)turn_data(turn, first, data);
}

static int socket_send(struct turn *turn)
{
    struct bytes data = {.length = 0};
    int n;

    first_word_data(turn, &data);
    n = asyncore_send_flags(turn->channel, bytes_text(&data), data.length,
                            flags_of(turn->words + 1));
    bytes_clear(&data);
    return show_count(turn, n);
}

static int send_to(struct turn *turn)
{
    struct bytes data = {.length = 0};
    struct address a;
    int n = has_socket_methods(turn->channel);

    first_word_data(turn, &data);
    if (n == 0)
        n = world_address(turn->world, turn->frame, turn->words[1], &a);
    if (n == 0)
        n = asyncore_sendto(turn->channel, bytes_text(&data), data.length, address_of(&a),
                            a.length);
    bytes_clear(&data);
    return show_count(turn, n);
}

static int put(struct turn *turn)
{
    struct bytes data = {.length = 0};

    (void)turn_data(turn, turn->words, &data);
    bytes_add(&actor_of(turn->channel)->buffer, bytes_text(&data), data.length);
    bytes_clear(&data);
    return 0;
}

/* --- attributes and logging ------------------------------------------------------------------ */

static int set(struct turn *turn)
{
    static const struct {
        const char *name;
        void (*set)(struct asyncore_dispatcher *, bool);
    } attributes[] = {{"connected", asyncore_set_connected},
                      {"accepting", asyncore_set_accepting},
                      {"connecting", asyncore_set_connecting},
                      {"closing", asyncore_set_closing},
                      {"debug", asyncore_set_debug}};

    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (strcmp(attributes[i].name, turn->words[0]) == 0) {
            attributes[i].set(turn->channel, strcmp(turn->words[1], "1") == 0);
            return 0;
        }
    mistake("no attribute %s", turn->words[0]);
}

static int ignore(struct turn *turn)
{
    struct actor *actor = actor_of(turn->channel);
    const char **ignored;
    size_t count = 0;

    while (turn->words[count])
        count++;
    ignored = must_allocate((count + 1) * sizeof *ignored);
    for (size_t i = 0; i < count; i++)
        ignored[i] = turn->words[i];
    asyncore_set_ignore_log_types(turn->channel, ignored);
    free(actor->ignored);
    actor->ignored = ignored;
    return 0;
}

static int log_message(struct turn *turn)
{
    struct bytes text = {.length = 0};
    int r;

    unquote(&text, turn->words[0]);
    r = asyncore_log(turn->channel, bytes_text(&text));
    bytes_clear(&text);
    return r;
}

static int log_info_message(struct turn *turn)
{
    struct bytes text = {.length = 0};
    int r;

    unquote(&text, turn->words[0]);
    r = asyncore_log_info(turn->channel, bytes_text(&text), turn->words[1]);
    bytes_clear(&text);
    return r;
}

static int repr(struct turn *turn)
{
    char text[1024];

    (void)asyncore_repr(turn->channel, text, sizeof text);
    show_normal(turn->result, text);
    return 0;
}

static int state(struct turn *turn)
{
    (void)turn; /* is shown after every verb */
    return 0;
}

static int readable(struct turn *turn)
{
    int r = asyncore_readable(turn->channel);

    if (r >= 0)
        bytes_put(turn->result, r ? "1" : "0");
    return r;
}

static int writable(struct turn *turn)
{
    int r = asyncore_writable(turn->channel);

    if (r >= 0)
        bytes_put(turn->result, r ? "1" : "0");
    return r;
}

/* --- methods --------------------------------------------------------------------------------- */

#define METHOD_VERBS(X)                                                                            \
    X(handle_read_event)                                                                           \
    X(handle_write_event)                                                                          \
    X(handle_expt_event)                                                                           \
    X(handle_connect_event)                                                                        \
    X(handle_read)                                                                                 \
    X(handle_write)                                                                                \
    X(handle_expt)                                                                                 \
    X(handle_connect)                                                                              \
    X(handle_accept)                                                                               \
    X(handle_close)                                                                                \
    X(close)                                                                                       \
    X(set_reuse_addr)

#define RUN_(name)                                                                                 \
    static int run_##name(struct turn *turn)                                                       \
    {                                                                                              \
        return asyncore_##name(turn->channel);                                                     \
    }
METHOD_VERBS(RUN_)

#define ENTRY_(name) {#name, "", run_##name},

/* With an error: one that was caught. */
static int handle_error(struct turn *turn)
{
    int number = turn->words[0] ? error_number(turn->words[0]) : 0;

    if (number)
        asyncore_raise(turn->channel, -number, "%s", asyncore_strerror(number));
    return asyncore_handle_error(turn->channel);
}

static int initiate_send(struct turn *turn)
{
    struct asyncore_dispatcher *d = turn->channel;

    if (actor_is(actor_of(d), ASYNC_CHAT))
        return asynchat_initiate_send(d);
    if (actor_is(actor_of(d), DISPATCHER_WITH_SEND))
        return asyncore_initiate_send(d);
    return -EBADF; /* in Python it has no such method */
}

const struct verb channel_verbs[] = {
    METHOD_VERBS(ENTRY_){"initiate_send", "", initiate_send},
    {"handle_error", "[ERRNO]", handle_error},
    {"readable", "", readable},
    {"writable", "", writable},
    {"create", "[KIND]", create},
    {"bind", "", bind_any},
    {"listen", "[SIZE]", listen_with},
    {"connect", "TARGET", connect_to},
    {"bind_host", "WORD", bind_host},
    {"connect_host", "WORD TARGET", connect_host},
    {"accept", "MADE", accept_one},
    {"shutdown", "r|w|rw", shut_down},
    {"buffers", "SIZE", set_buffers},
    {"lose", "", lose},
    {"set_socket", "NAME [IN]", set_socket},
    {"set_file", "NAME", set_file},
    {"add_channel", "[IN]", add_channel},
    {"del_channel", "", del_channel},
    {"send", "DATA", send_data},
    {"recv", "SIZE", recv_data},
    {"socket_recv", "SIZE [oob|peek]", socket_recv},
    {"socket_send", "DATA [oob]", socket_send},
    {"recvfrom", "SIZE", recvfrom_anyone},
    {"sendto", "DATA TARGET", send_to},
    {"put", "DATA", put},
    {"set", "ATTRIBUTE 0|1", set},
    {"ignore", "[WORD]...", ignore},
    {"log", "TEXT", log_message},
    {"log_info", "TEXT [WORD]", log_info_message},
    {"repr", "", repr},
    {"state", "", state},
    {NULL, NULL, NULL},
};
