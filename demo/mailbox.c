#define _GNU_SOURCE 1
#include "mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- a maildir: written in tmp, complete in new ---------------------------------------------- */

int mailbox_open(const char *path, int *mailbox)
{
    static const char *const parts[] = {"tmp", "new", "cur"};
    int fd, error;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (mkdirat(fd, parts[i], 0700) < 0 && errno != EEXIST) {
            error = errno;
            close(fd);
            return -error;
        }
    }
    *mailbox = fd;
    return 0;
}

/* Unique on all hosts that share the maildir. */
static void make_name(char *name, size_t size)
{
    static unsigned count;
    char host[HOST_NAME_MAX + 1] = "localhost";
    struct timespec now;

    (void)gethostname(host, sizeof host - 1);
    for (char *p = host; *p != '\0'; p++)
        if (*p == '/' || *p == ':')
            *p = '_';
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(name, size, "%lld.M%ldP%ldQ%u.%s", (long long)now.tv_sec, now.tv_nsec / 1000,
                   (long)getpid(), ++count, host);
}

static void make_path(char *path, size_t size, const char *part, const struct mail *mail)
{
    (void)snprintf(path, size, "%s/%s", part, mail->name);
}

static int begin_in_maildir(struct mail *mail)
{
    char path[sizeof mail->name + 4];
    int fd, error;

    make_name(mail->name, sizeof mail->name);
    make_path(path, sizeof path, "tmp", mail);
    fd = openat(mail->mailbox, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    mail->stream = fdopen(fd, "w");
    if (mail->stream)
        return 0;
    error = errno;
    close(fd);
    (void)unlinkat(mail->mailbox, path, 0);
    return -error;
}

/* What has been renamed is there for good when its directory has been written. */
static int sync_directory(int mailbox, const char *part)
{
    int fd = openat(mailbox, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) < 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    return -error;
}

static int deliver_to_maildir(struct mail *mail)
{
    char from[sizeof mail->name + 4], to[sizeof mail->name + 4];
    int error = fflush(mail->stream) || fsync(fileno(mail->stream)) < 0 ? errno : 0;

    if (fclose(mail->stream) && error == 0)
        error = errno;
    mail->stream = NULL;
    make_path(from, sizeof from, "tmp", mail);
    make_path(to, sizeof to, "new", mail);
    if (error == 0 && renameat(mail->mailbox, from, mail->mailbox, to) < 0)
        error = errno;
    if (error != 0) {
        (void)unlinkat(mail->mailbox, from, 0);
        return -error;
    }
    return sync_directory(mail->mailbox, "new");
}

/* --- standard output ------------------------------------------------------------------------- */

/* As Python shows bytes. */
static void print_bytes(const char *data, size_t len)
{
    char quote = memchr(data, '\'', len) && !memchr(data, '"', len) ? '"' : '\'';

    printf("b%c", quote);
    for (const char *p = data; p < data + len; p++) {
        if (*p == quote || *p == '\\')
            printf("\\%c", *p);
        else if (*p == '\t')
            fputs("\\t", stdout);
        else if (*p >= ' ' && *p <= '~')
            putchar(*p);
        else
            printf("\\x%02x", (unsigned char)*p);
    }
    printf("%c\n", quote);
}

/* As Python shows a list of strings. */
static void print_list(const char *name, const char *words)
{
    const char *separator = "";

    printf("%s: [", name);
    for (const char *p = words; *(p += strspn(p, " \t")) != '\0'; p += strcspn(p, " \t")) {
        printf("%s'%.*s'", separator, (int)strcspn(p, " \t"), p);
        separator = ", ";
    }
    puts("]");
}

/* A line ends with LF, CR, or both. */
static const char *end_of_line(const char *line, const char *end)
{
    while (line < end && *line != '\n' && *line != '\r')
        line++;
    return line;
}

static int print_mail(const struct mail *mail, const char *host, const char *parameters)
{
    /* The end of the last line is not part of the message there. */
    const char *end = mail->text + mail->length - (mail->length > 0);
    bool in_header = true;

    puts("---------- MESSAGE FOLLOWS ----------");
    if (*parameters != '\0')
        print_list("mail options", parameters);
    for (const char *line = mail->text; line < end;) {
        const char *p = end_of_line(line, end);

        if (p == line && in_header) {
            printf("b'X-Peer: %s'\n", host);
            in_header = false;
        }
        print_bytes(line, (size_t)(p - line));
        p += p + 1 < end && p[0] == '\r' && p[1] == '\n';
        line = p + 1;
    }
    puts("------------ END MESSAGE ------------");
    return fflush(stdout) || ferror(stdout) ? -EIO : 0;
}

/* --- both ------------------------------------------------------------------------------------ */

int mail_begin(struct mail *mail, int mailbox)
{
    memset(mail, 0, sizeof *mail);
    mail->mailbox = mailbox;
    if (mailbox != MAILBOX_STDOUT)
        return begin_in_maildir(mail);
    mail->stream = open_memstream(&mail->text, &mail->length);
    return mail->stream ? 0 : -errno;
}

int mail_write(struct mail *mail, const void *data, size_t len)
{
    return fwrite(data, 1, len, mail->stream) == len ? 0 : -errno;
}

int mail_deliver(struct mail *mail, const char *host, const char *parameters)
{
    int rc;

    if (mail->mailbox != MAILBOX_STDOUT)
        return deliver_to_maildir(mail);
    rc = fflush(mail->stream) ? -errno : print_mail(mail, host, parameters);
    mail_discard(mail);
    return rc;
}

void mail_discard(struct mail *mail)
{
    char path[sizeof mail->name + 4];

    if (!mail->stream)
        return;
    (void)fclose(mail->stream);
    mail->stream = NULL;
    free(mail->text);
    if (mail->mailbox == MAILBOX_STDOUT)
        return;
    make_path(path, sizeof path, "tmp", mail);
    (void)unlinkat(mail->mailbox, path, 0);
}
