#define _GNU_SOURCE 1
#include "smtp_session.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t smtp_command_size(const struct smtp_session *session)
{
    if (session->greeting != SMTP_EHLO)
        return SMTP_COMMAND_SIZE;
    return SMTP_COMMAND_SIZE + SMTP_SIZE_PARAMETER +
           (session->settings->smtputf8 ? SMTP_SMTPUTF8_PARAMETER : 0);
}

/* --- commands: each returns its answer ------------------------------------------------------- */

static const char syntax_error[] = "501 Syntax: ";

static const char *smtp_helo(struct smtp_session *session, const char *argument)
{
    if (*argument == '\0')
        return syntax_error;
    if (session->greeting != SMTP_NOT_GREETED)
        return "503 Duplicate HELO/EHLO";
    session->greeting = SMTP_HELO;
    (void)snprintf(session->text, sizeof session->text, "250 %s", session->settings->host);
    return session->text;
}

static const char *smtp_ehlo(struct smtp_session *session, const char *argument)
{
    if (*argument == '\0')
        return syntax_error;
    if (session->greeting != SMTP_NOT_GREETED)
        return "503 Duplicate HELO/EHLO";
    session->greeting = SMTP_EHLO;
    (void)snprintf(session->text, sizeof session->text,
                   "250-%s\r\n250-SIZE %llu\r\n250-8BITMIME\r\n%s250 HELP", session->settings->host,
                   (unsigned long long)session->settings->size,
                   session->settings->smtputf8 ? "250-SMTPUTF8\r\n" : "");
    return session->text;
}

/* What is behind KEYWORD and an address in argument; NULL: it has not this form. */
static const char *skip_path(const char *argument, const char *keyword)
{
    size_t len = strlen(keyword);

    if (strncasecmp(argument, keyword, len) != 0)
        return NULL;
    argument += len + strspn(argument + len, " \t");
    return *argument == '\0' ? NULL : smtp_skip_address(argument);
}

static const char *check_size(const struct smtp_session *session, const char *size)
{
    if (*size == '\0' || size[strspn(size, "0123456789")] != '\0')
        return syntax_error;
    if (strtoull(size, NULL, 10) > session->settings->size)
        return "552 Error: message size exceeds fixed maximum message size";
    return NULL;
}

/* NULL: they are right. */
static const char *check_mail_parameters(const struct smtp_session *session, const char *text)
{
    struct smtp_parameters parameters;
    const char *error = NULL;

    if (!smtp_parse_parameters(text, &parameters))
        return syntax_error;
    if (parameters.body && strcasecmp(parameters.body, "7BIT") != 0 &&
        strcasecmp(parameters.body, "8BITMIME") != 0)
        return "501 Error: BODY can only be one of 7BIT, 8BITMIME";
    if (parameters.smtputf8 && !session->settings->smtputf8)
        parameters.others = true;
    else if (parameters.smtputf8 && *parameters.smtputf8 != '\0')
        return "501 Error: SMTPUTF8 takes no arguments";
    if (parameters.size)
        error = check_size(session, parameters.size);
    if (!error && parameters.others)
        return "555 MAIL FROM parameters not recognized or not implemented";
    return error;
}

static const char *smtp_mail(struct smtp_session *session, const char *argument)
{
    const char *error;
    const char *rest;

    if (session->greeting == SMTP_NOT_GREETED)
        return "503 Error: send HELO first";
    rest = skip_path(argument, "FROM:");
    if (!rest || (session->greeting == SMTP_HELO && *rest != '\0'))
        return syntax_error;
    if (session->state != SMTP_IDLE)
        return "503 Error: nested MAIL command";
    (void)snprintf(session->parameters, sizeof session->parameters, "%s", rest);
    for (char *p = session->parameters; *p != '\0'; p++)
        *p = (char)toupper((unsigned char)*p);
    error = check_mail_parameters(session, rest);
    if (error)
        return error;
    session->state = SMTP_SENDER;
    return "250 OK";
}

static const char *smtp_rcpt(struct smtp_session *session, const char *argument)
{
    struct smtp_parameters parameters;
    const char *rest;

    if (session->greeting == SMTP_NOT_GREETED)
        return "503 Error: send HELO first";
    if (session->state == SMTP_IDLE)
        return "503 Error: need MAIL command";
    rest = skip_path(argument, "TO:");
    if (!rest || (*rest != '\0' && session->greeting == SMTP_HELO))
        return syntax_error;
    if (*rest != '\0')
        return smtp_parse_parameters(rest, &parameters)
                   ? "555 RCPT TO parameters not recognized or not implemented"
                   : syntax_error;
    session->state = SMTP_RECIPIENT;
    return "250 OK";
}

static const char *smtp_data(struct smtp_session *session, const char *argument)
{
    if (session->greeting == SMTP_NOT_GREETED)
        return "503 Error: send HELO first";
    if (session->state != SMTP_RECIPIENT)
        return "503 Error: need RCPT command";
    if (*argument != '\0')
        return syntax_error;
    session->state = SMTP_DATA;
    return "354 End data with <CR><LF>.<CR><LF>";
}

static const char *smtp_rset(struct smtp_session *session, const char *argument)
{
    if (*argument != '\0')
        return syntax_error;
    session->state = SMTP_IDLE;
    return "250 OK";
}

static const char *smtp_noop(struct smtp_session *session, const char *argument)
{
    (void)session;
    return *argument == '\0' ? "250 OK" : syntax_error;
}

static const char *smtp_vrfy(struct smtp_session *session, const char *argument)
{
    (void)session;
    if (*argument == '\0')
        return syntax_error;
    return smtp_skip_address(argument)
               ? "252 Cannot VRFY user, but will accept message and attempt delivery"
               : "502 Could not VRFY that";
}

static const char *smtp_expn(struct smtp_session *session, const char *argument)
{
    (void)session;
    (void)argument;
    return "502 EXPN not implemented";
}

static const char *smtp_quit(struct smtp_session *session, const char *argument)
{
    (void)argument;
    session->state = SMTP_QUIT;
    return "221 Bye";
}

static const char *smtp_help(struct smtp_session *session, const char *argument);

static const struct command {
    const char *name;
    const char *syntax; /* NULL: help has nothing on it */
    bool parameters;    /* after EHLO */
    const char *(*run)(struct smtp_session *session, const char *argument);
} commands[] = {
    {"EHLO", "EHLO hostname", false, smtp_ehlo},
    {"HELO", "HELO hostname", false, smtp_helo},
    {"MAIL", "MAIL FROM: <address>", true, smtp_mail},
    {"RCPT", "RCPT TO: <address>", true, smtp_rcpt},
    {"DATA", "DATA", false, smtp_data},
    {"RSET", "RSET", false, smtp_rset},
    {"NOOP", "NOOP", false, smtp_noop},
    {"QUIT", "QUIT", false, smtp_quit},
    {"VRFY", "VRFY <address>", false, smtp_vrfy},
    {"HELP", NULL, false, smtp_help},
    {"EXPN", NULL, false, smtp_expn},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcasecmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static const char *explain(struct smtp_session *session, const char *prefix,
                           const struct command *command)
{
    (void)snprintf(session->text, sizeof session->text, "%s%s%s", prefix, command->syntax,
                   command->parameters && session->greeting == SMTP_EHLO ? " [SP <mail-parameters>]"
                                                                         : "");
    return session->text;
}

static const char *smtp_help(struct smtp_session *session, const char *argument)
{
    const struct command *command = find_command(argument);

    if (command && command->syntax)
        return explain(session, "250 Syntax: ", command);
    return *argument == '\0'
               ? "250 Supported commands: EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY"
               : "501 Supported commands: EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY";
}

const char *smtp_answer(struct smtp_session *session, char *line, size_t len)
{
    const struct command *command;
    const char *answer;
    char *argument;

    /* Commands are UTF-8; SMTP has no NUL. */
    if (len == 0 || strlen(line) != len || mbstowcs(NULL, line, 0) == (size_t)-1)
        return "500 Error: bad syntax";
    argument = line + strcspn(line, " ");
    if (*argument == ' ')
        *argument++ = '\0';
    command = find_command(line);
    if (len > SMTP_COMMAND_SIZE && !(command && command->run == smtp_mail))
        return "500 Error: line too long";
    if (!command)
        return "500 Error: command not recognized";
    answer = command->run(session, smtp_trim(argument));
    return answer == syntax_error ? explain(session, answer, command) : answer;
}
