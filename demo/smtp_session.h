/* One client's session: what it may say, and what it is answered. */
#ifndef DEMO_SMTP_SESSION_H
#define DEMO_SMTP_SESSION_H

#include "smtp_syntax.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp_settings {
    char host[HOST_NAME_MAX + 1];
    uint64_t size; /* of a message, at most */
    bool smtputf8; /* is offered */
};

enum smtp_greeting {
    SMTP_NOT_GREETED,
    SMTP_HELO,
    SMTP_EHLO
};

enum smtp_state {
    SMTP_IDLE,
    SMTP_SENDER,    /* is known */
    SMTP_RECIPIENT, /* at least one is known */
    SMTP_DATA,      /* a message comes, not commands; whoever reads it sets SMTP_IDLE */
    SMTP_QUIT,
};

/* Zeroed, but for settings, a new one. */
struct smtp_session {
    const struct smtp_settings *settings;
    enum smtp_greeting greeting;
    enum smtp_state state;
    char parameters[SMTP_LONGEST];  /* of MAIL */
    char text[HOST_NAME_MAX + 128]; /* of an answer */
};

/* The longest command that there can be now. */
size_t smtp_command_size(const struct smtp_session *session);

/* Does what line says, a command, which it cuts up, of len bytes with a 0 behind it. Returns the
 * answer, without the last CRLF; valid until the next call. */
const char *smtp_answer(struct smtp_session *session, char *line, size_t len);

#endif
