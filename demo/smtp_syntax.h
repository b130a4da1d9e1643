/* What the commands of SMTP are written in: addresses and parameters. */
#ifndef DEMO_SMTP_SYNTAX_H
#define DEMO_SMTP_SYNTAX_H

#include <stdbool.h>

/* Cuts the blanks at both ends of text off. Returns where it begins now. */
char *smtp_trim(char *text);

/* The address that text begins with, in angle brackets or without: what is behind it and behind the
 * blanks and comments that follow, or NULL when there is none. As forgiving as Python's smtpd: the
 * domain may be missing, and the last bracket. */
const char *smtp_skip_address(const char *text);

/* How long commands may be, without CRLF, and what the extensions add for MAIL. */
#define SMTP_COMMAND_SIZE 512
#define SMTP_SIZE_PARAMETER 26
#define SMTP_SMTPUTF8_PARAMETER 10
#define SMTP_LONGEST (SMTP_COMMAND_SIZE + SMTP_SIZE_PARAMETER + SMTP_SMTPUTF8_PARAMETER)

/* The parameters of MAIL: NULL, or the value, which is "" for one without. */
struct smtp_parameters {
    const char *body;
    const char *size;
    const char *smtputf8;
    bool others;
    char text[SMTP_LONGEST]; /* where the values are */
};

/* Returns whether text, of a command, is well formed. */
bool smtp_parse_parameters(const char *text, struct smtp_parameters *parameters);

#endif
