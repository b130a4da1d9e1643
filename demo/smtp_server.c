/* A mail server: what Python's smtpd does, on async_chat. Messages go into a maildir, or are
 * printed.
 *
 * Where smtpd waits for CRLF.CRLF, a message is taken line by line here: it goes to its file as it
 * comes, and a dot at once is an empty one. */
#define _GNU_SOURCE 1
#include "mailbox.h"
#include "smtp_session.h"
#include "support.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: smtp_server [--maildir DIR] [--size BYTES] [--no-smtputf8] [--timeout SECONDS]\n"
    "                   [--host HOST] [--port PORT]\n"
    "Takes mail, and prints it, until SIGINT or SIGTERM.\n"
    "      --maildir DIR      write each message into the maildir DIR, made if it is missing\n"
    "      --size BYTES       how large a message may be (default: 33554432)\n"
    "      --no-smtputf8      do not offer SMTPUTF8\n"
    "      --timeout SECONDS  end connections that are idle for so long (default: 300)\n"
    "      --host HOST        listen on HOST, a name or an address (default: 127.0.0.1)\n"
    "      --port PORT        listen on PORT (default: 0, any free port)\n"
    "      --help             print this\n";

#define OUTPUT_SIZE 65536 /* of answers that a client does not read */

struct settings {
    struct smtp_settings smtp;
    int mailbox;
    uint64_t timeout; /* seconds */
};

/* --- one client ------------------------------------------------------------------------------ */

/* What has come of a line of a message. */
enum line {
    LINE_EMPTY,
    LINE_DOT,
    LINE_TEXT
};

struct channel {
    struct asynchat_async_chat base;
    const struct settings *settings;
    struct smtp_session session;
    char peer[NI_MAXHOST];
    bool too_long; /* the command */

    struct mail mail;
    uint64_t size; /* of the message as it came */
    enum line line;
    const char *refusal; /* the answer to a message that is not kept */
};

ASYNCORE_DECLARE_LOCAL_CLASS(channel, asynchat_async_chat);

static int reply(struct channel *self, const char *text)
{
    int rc = asynchat_push(channel_dispatcher(self), text, strlen(text));

    return rc < 0 ? rc : asynchat_push(channel_dispatcher(self), "\r\n", 2);
}

/* --- input ----------------------------------------------------------------------------------- */

/* Called when a command is too long; what follows of it is not kept. */
static int channel_handle_collect_limit(struct asyncore_dispatcher *d)
{
    channel_of(d)->too_long = true;
    return 0;
}

/* Lines of a message may have any length. */
static void limit_lines(struct channel *self)
{
    (void)asynchat_set_collect_limit(
        channel_dispatcher(self),
        self->session.state == SMTP_DATA ? 0 : smtp_command_size(&self->session));
}

static void refuse_message(struct channel *self, const char *answer)
{
    self->refusal = answer;
    mail_discard(&self->mail);
}

static void not_stored(struct channel *self, int error)
{
    warnx("a message from %s: %s", self->peer, asyncore_strerror(error));
    refuse_message(self, "451 Error: the message cannot be stored");
}

static int begin_message(struct channel *self, const char *answer)
{
    int rc = mail_begin(&self->mail, self->settings->mailbox);

    self->size = 0;
    self->line = LINE_EMPTY;
    self->refusal = NULL;
    if (rc < 0) {
        not_stored(self, rc);
        self->session.state = SMTP_RECIPIENT;
    }
    return reply(self, self->refusal ? self->refusal : answer);
}

static void write_message(struct channel *self, const void *data, size_t len)
{
    int rc;

    if (self->refusal)
        return;
    if (self->size > self->settings->smtp.size) {
        refuse_message(self, "552 Error: Too much mail data");
        return;
    }
    rc = mail_write(&self->mail, data, len);
    if (rc < 0)
        not_stored(self, rc);
}

static int end_message(struct channel *self)
{
    int rc = 0;

    if (!self->refusal)
        rc = mail_deliver(&self->mail, self->peer, self->session.parameters);
    if (rc < 0)
        not_stored(self, rc);
    self->session.state = SMTP_IDLE;
    return reply(self, self->refusal ? self->refusal : "250 OK");
}

static int found_command(struct channel *self)
{
    struct asyncore_dispatcher *d = channel_dispatcher(self);
    const char *answer = "500 Error: line too long";
    size_t len;
    char *line = asynchat_get_data(d, &len);
    int rc;

    if (!line)
        return -ENOMEM;
    if (!self->too_long)
        answer = smtp_answer(&self->session, line, len);
    self->too_long = false;
    if (self->session.state == SMTP_DATA)
        return begin_message(self, answer);
    rc = reply(self, answer);
    return rc == 0 && self->session.state == SMTP_QUIT ? asynchat_close_when_done(d) : rc;
}

static int found_line(struct channel *self)
{
    if (self->line == LINE_DOT)
        return end_message(self);
    self->line = LINE_EMPTY;
    write_message(self, "\n", 1);
    self->size += 2; /* afterwards: CRLF in front of the last dot does not count */
    return 0;
}

static int channel_collect_incoming_data(struct asyncore_dispatcher *d, const void *data,
                                         size_t len)
{
    struct channel *self = channel_of(d);
    const char *text = data;

    if (self->session.state == SMTP_QUIT || self->too_long)
        return 0;
    if (self->session.state != SMTP_DATA)
        return asynchat_keep_incoming_data(d, data, len);
    self->size += len;
    if (self->line == LINE_EMPTY && *text == '.') { /* the last one, or one too many */
        self->line = LINE_DOT;
        text++;
        len--;
    }
    if (len > 0) {
        self->line = LINE_TEXT;
        write_message(self, text, len);
    }
    return 0;
}

static int channel_found_terminator(struct asyncore_dispatcher *d)
{
    struct channel *self = channel_of(d);
    int rc;

    if (self->session.state == SMTP_QUIT)
        return 0;
    rc = self->session.state == SMTP_DATA ? found_line(self) : found_command(self);
    limit_lines(self);
    return rc;
}

/* --- its life -------------------------------------------------------------------------------- */

static int channel_handle_timeout(struct asyncore_dispatcher *d)
{
    struct channel *self = channel_of(d);

    if (self->session.state != SMTP_QUIT)
        (void)reply(self, "421 Error: timeout");
    return asyncore_close(d);
}

static void channel_finalize(struct asyncore_dispatcher *d)
{
    mail_discard(&channel_of(d)->mail);
}

ASYNCORE_DEFINE_LOCAL_CLASS(channel, asynchat_async_chat, .finalize = channel_finalize,
                            .handle_timeout = channel_handle_timeout,
                            .collect_incoming_data = channel_collect_incoming_data,
                            .found_terminator = channel_found_terminator,
                            .handle_collect_limit = channel_handle_collect_limit);

static int channel_start(struct channel *self, const struct settings *settings,
                         const struct sockaddr *addr, socklen_t addrlen)
{
    struct asyncore_dispatcher *d = channel_dispatcher(self);
    char greeting[HOST_NAME_MAX + 16];
    int rc;

    self->settings = settings;
    self->session.settings = &settings->smtp;
    if (getnameinfo(addr, addrlen, self->peer, sizeof self->peer, NULL, 0, NI_NUMERICHOST))
        return -EINVAL;
    rc = asyncore_set_timeout(d, (double)settings->timeout);
    if (rc == 0)
        rc = asynchat_set_terminator(d, "\r\n", 2);
    if (rc == 0)
        rc = asynchat_set_high_water(d, OUTPUT_SIZE, true);
    if (rc < 0)
        return rc;
    limit_lines(self);
    (void)snprintf(greeting, sizeof greeting, "220 %s ESMTP", settings->smtp.host);
    return reply(self, greeting);
}

/* --- the server ------------------------------------------------------------------------------ */

struct server {
    struct asyncore_dispatcher base;
    const struct settings *settings;
};

ASYNCORE_DECLARE_LOCAL_CLASS(server, asyncore_dispatcher);

static int server_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    struct channel *channel = channel_new(sock, d->map);
    int rc = channel ? channel_start(channel, server_of(d)->settings, addr, addrlen) : -errno;

    if (rc < 0) { /* the others are served on */
        warnx("a client: %s", asyncore_strerror(rc));
        if (channel)
            (void)asyncore_close(channel_dispatcher(channel));
    }
    return 0;
}

ASYNCORE_DEFINE_LOCAL_CLASS(server, asyncore_dispatcher, .handle_accepted = server_handle_accepted,
                            .handle_error = demo_handle_error);

static int serve(const struct settings *settings, const char *host, uint16_t port)
{
    struct server *server = server_new(-1, NULL);

    if (!server)
        err(1, NULL);
    server->settings = settings;
    return demo_serve(server_dispatcher(server), host, port);
}

/* --- the command line ------------------------------------------------------------------------ */

/* 1 to 1 000 000 000 000, or -EINVAL. */
static int parse_number(const char *text, uint64_t *number)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 12 || text[digits] != '\0')
        return -EINVAL;
    *number = strtoull(text, NULL, 10);
    return *number > 0 ? 0 : -EINVAL;
}

struct options {
    struct settings settings;
    const char *maildir;
    const char *host;
    uint16_t port;
};

/* Whether option has a value that it can have. */
static bool take_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case 'm':
        options->maildir = value;
        return true;
    case 's':
        return parse_number(value, &options->settings.smtp.size) == 0;
    case 't':
        return parse_number(value, &options->settings.timeout) == 0;
    case 'u':
        options->settings.smtp.smtputf8 = false;
        return true;
    case 'H':
        options->host = value;
        return true;
    default:
        return demo_parse_port(value, &options->port) == 0;
    }
}

static int run(struct options *options)
{
    struct settings *settings = &options->settings;
    int rc = 0;

    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        warnx("no locale C.UTF-8: commands are not checked for it");
    if (gethostname(settings->smtp.host, sizeof settings->smtp.host - 1) < 0)
        err(1, "the host's name");
    if (options->maildir)
        rc = mailbox_open(options->maildir, &settings->mailbox);
    if (rc < 0)
        errx(1, "%s: %s", options->maildir, strerror(-rc));
    rc = serve(settings, options->host, options->port);
    if (options->maildir)
        close(settings->mailbox);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"maildir", required_argument, NULL, 'm'}, {"size", required_argument, NULL, 's'},
        {"timeout", required_argument, NULL, 't'}, {"no-smtputf8", no_argument, NULL, 'u'},
        {"host", required_argument, NULL, 'H'},    {"port", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct options options = {
        .settings = {.smtp = {.size = 33554432, .smtputf8 = true},
                     .mailbox = MAILBOX_STDOUT,
                     .timeout = 300},
        .host = "127.0.0.1",
    };
    int option, index = 0;

    while ((option = getopt_long(argc, argv, "h", names, &index)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return demo_exit(0);
        }
        if (option == '?')
            break;
        if (!take_option(&options, option, optarg)) {
            warnx("bad %s: %s", names[index].name, optarg);
            return 2;
        }
    }
    if (option == '?' || optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    return demo_exit(run(&options));
}
