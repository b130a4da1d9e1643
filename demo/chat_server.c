/* A chat: what one user says the others get. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

static const char usage[] =
    "usage: chat_server [--host HOST] [--port PORT]\n"
    "Passes each user's lines on to the others, until SIGINT or SIGTERM; for nc\n"
    "and telnet. Commands are /nick NAME, /who and /quit.\n"
    "      --host HOST  listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT  listen on PORT (default: 0, any free port)\n"
    "      --help       print this\n";

#define MAX_LINE 1024
#define MAX_NAME 20
#define MAX_WAITING 262144 /* bytes, for a user who does not read them */

/* --- users ----------------------------------------------------------------------------------- */

struct user {
    struct asynchat_async_chat base;
    char name[MAX_NAME + 1];
    bool skipping; /* what is left of a line that is too long */
};

ASYNCORE_DECLARE_LOCAL_CLASS(user, asynchat_async_chat);

/* The map has them all, in the order in which they came: the one behind user, NULL: the first. */
static struct user *next_user(struct asyncore_map *map, struct user *user)
{
    struct asyncore_dispatcher *d = user ? user_dispatcher(user) : NULL;

    while ((d = asyncore_map_next(map, d)))
        if (asyncore_isinstance(d, &user_class))
            return user_of(d);
    return NULL;
}

static struct user *find_user(struct asyncore_map *map, const char *name)
{
    struct user *user = next_user(map, NULL);

    while (user && strcasecmp(user->name, name) != 0)
        user = next_user(map, user);
    return user;
}

/* Is called while somebody walks over the users: the loop will find the connection ended, and close
 * the channel. */
static void drop(struct user *user)
{
    struct asyncore_dispatcher *d = user_dispatcher(user);

    asyncore_set_closing(d, true);
    (void)asynchat_discard_buffers(d);
    (void)asyncore_shutdown(d, SHUT_RDWR);
}

static void tell(struct user *user, const char *text)
{
    struct asyncore_dispatcher *d = user_dispatcher(user);

    if (!d->closing && asynchat_push(d, text, strlen(text)) < 0)
        drop(user);
}

/* Tells everyone but one, who may be NULL. */
ASYNCORE_PRINTF(3, 4)
static void tell_all(struct asyncore_map *map, const struct user *but, const char *format, ...)
{
    char line[MAX_LINE + 2 * MAX_NAME + 32];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (struct user *user = next_user(map, NULL); user; user = next_user(map, user))
        if (user != but)
            tell(user, line);
}

/* --- what they can say ----------------------------------------------------------------------- */

static bool valid_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789-_");

    return length > 0 && length <= MAX_NAME && name[length] == '\0';
}

static int nick(struct user *user, const char *name)
{
    struct asyncore_map *map = user_dispatcher(user)->map;
    const struct user *other = find_user(map, name);

    if (!valid_name(name)) {
        tell(user, "* a name is up to 20 letters, digits, - and _\n");
    } else if (other && other != user) {
        tell(user, "* that name is taken\n");
    } else {
        tell_all(map, NULL, "* %s is now %s\n", user->name, name);
        memcpy(user->name, name, strlen(name) + 1);
    }
    return 0;
}

static int who(struct user *user, const char *argument)
{
    struct asyncore_map *map = user_dispatcher(user)->map;

    (void)argument;
    tell(user, "* here:");
    for (struct user *u = next_user(map, NULL); u; u = next_user(map, u)) {
        tell(user, " ");
        tell(user, u->name);
    }
    tell(user, "\n");
    return 0;
}

static int quit(struct user *user, const char *argument)
{
    struct asyncore_dispatcher *d = user_dispatcher(user);

    (void)argument;
    tell(user, "* goodbye\n");
    asyncore_set_closing(d, true);
    return asynchat_close_when_done(d);
}

static int command(struct user *user, char *text)
{
    static const struct {
        const char *name;
        int (*run)(struct user *user, const char *argument);
    } commands[] = {{"nick", nick}, {"who", who}, {"quit", quit}};
    const char *name = strsep(&text, " ");

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(user, text ? text + strspn(text, " ") : "");
    tell(user, "* commands are /nick NAME, /who and /quit\n");
    return 0;
}

/* Keeps what can be printed, in UTF-8, so that no line plays tricks on a terminal; the CR that
 * telnet puts in front of the LF goes with the blanks at the end. */
static void clean(char *line, size_t length)
{
    const char *end = line + length;
    char *to = line;

    for (const char *from = line; from < end;) {
        mbstate_t state = {0};
        wchar_t c;
        size_t n = mbrtowc(&c, from, (size_t)(end - from), &state);

        if (n == 0 || n > MB_LEN_MAX) {
            n = 1; /* a zero byte, or no character */
        } else if (iswspace((wint_t)c)) {
            *to++ = ' ';
        } else if (iswprint((wint_t)c)) {
            memmove(to, from, n);
            to += n;
        }
        from += n;
    }
    while (to > line && to[-1] == ' ')
        to--;
    *to = '\0';
}

/* --- their channels -------------------------------------------------------------------------- */

static int user_init(struct asyncore_dispatcher *d, int sock)
{
    int rc = asynchat_async_chat_init(d, sock);

    if (rc == 0)
        rc = asynchat_set_terminator(d, "\n", 1);
    if (rc == 0)
        rc = asynchat_set_collect_limit(d, MAX_LINE);
    return rc == 0 ? asynchat_set_high_water(d, MAX_WAITING, false) : rc;
}

static int user_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return user_of(d)->skipping ? 0 : asynchat_keep_incoming_data(d, data, len);
}

static int user_handle_collect_limit(struct asyncore_dispatcher *d)
{
    user_of(d)->skipping = true;
    tell(user_of(d), "* that line is too long\n");
    return 0;
}

static int user_found_terminator(struct asyncore_dispatcher *d)
{
    struct user *user = user_of(d);
    bool skipped = user->skipping;
    size_t length;
    char *line = asynchat_get_data(d, &length);

    user->skipping = false;
    if (!line)
        return -ENOMEM;
    if (skipped || d->closing)
        return 0;
    clean(line, length);
    if (*line == '/')
        return command(user, line + 1);
    if (*line)
        tell_all(d->map, user, "%s: %s\n", user->name, line);
    return 0;
}

static int user_handle_high_water(struct asyncore_dispatcher *d)
{
    warnx("%s does not read, and is dropped", user_of(d)->name);
    drop(user_of(d));
    return 0;
}

static int user_handle_close(struct asyncore_dispatcher *d)
{
    int rc = asyncore_close(d);

    tell_all(d->map, NULL, "* %s has left\n", user_of(d)->name);
    return rc;
}

ASYNCORE_DEFINE_LOCAL_CLASS(user, asynchat_async_chat, .init = user_init,
                            .collect_incoming_data = user_collect_incoming_data,
                            .handle_collect_limit = user_handle_collect_limit,
                            .found_terminator = user_found_terminator,
                            .handle_high_water = user_handle_high_water,
                            .handle_close = user_handle_close);

/* --- the server ------------------------------------------------------------------------------ */

struct server {
    struct asyncore_dispatcher base;
    unsigned guests; /* so many there have been */
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    char from[128], name[MAX_NAME + 1];
    struct user *user = user_new(sock, d->map);

    asyncore_addr_repr(addr, addrlen, from, sizeof from);
    printf("Incoming connection from %s\n", from);
    fflush(stdout);
    if (!user) {
        warn("%s", from); /* the others are served on */
        return 0;
    }
    do
        snprintf(name, sizeof name, "guest%u", ++server_of(d)->guests);
    while (find_user(d->map, name));
    memcpy(user->name, name, sizeof name);
    tell_all(d->map, user, "* %s has joined\n", name);
    tell(user, "* welcome, ");
    tell(user, name);
    tell(user, ": /nick NAME, /who, /quit\n");
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
                            .handle_error = demo_handle_error);

static int serve(const char *host, uint16_t port)
{
    struct server *server = server_new(-1, NULL);

    return demo_serve(server ? server_dispatcher(server) : NULL, host, port);
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1";
    uint16_t port = 0;
    int status = demo_parse_server_options(argc, argv, usage, &host, &port, 0);

    setlocale(LC_CTYPE, "C.UTF-8");
    return demo_exit(status < 0 ? serve(host, port) : status);
}
