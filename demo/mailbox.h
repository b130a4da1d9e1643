/* Where messages go: into a maildir, or to standard output as Python's DebuggingServer prints them.
 * All functions return 0 or a negative errno. */
#ifndef DEMO_MAILBOX_H
#define DEMO_MAILBOX_H

#include <stddef.h>
#include <stdio.h>

/* A maildir's descriptor, or this. */
#define MAILBOX_STDOUT (-1)

/* Opens a maildir, which is made if there is none. */
int mailbox_open(const char *path, int *mailbox);

/* A message that is being written. Zeroed, it is none. */
struct mail {
    FILE *stream;
    int mailbox;
    char name[128]; /* in the maildir */
    char *text;     /* for standard output */
    size_t length;
};

int mail_begin(struct mail *mail, int mailbox);
int mail_write(struct mail *mail, const void *data, size_t len);

/* Also when it fails the mail is gone. What does not go into a maildir: the host that it comes
 * from, and the parameters of MAIL. */
int mail_deliver(struct mail *mail, const char *host, const char *parameters);

void mail_discard(struct mail *mail);

#endif
