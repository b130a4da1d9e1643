#define _GNU_SOURCE 1
#include "smtp_syntax.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

char *smtp_trim(char *text)
{
    char *end;

    while (isspace((unsigned char)*text))
        text++;
    end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return text;
}

/* --- addresses: each function goes over one part, and returns NULL if it is not there -------- */

static const char *skip_escaped(const char *p)
{
    return *p == '\\' && p[1] != '\0' ? p + 2 : p + 1;
}

/* Blanks and comments, which nest. */
static const char *skip_blanks(const char *p)
{
    int depth = 0;

    for (; *p != '\0'; p = skip_escaped(p)) {
        if (*p == '(')
            depth++;
        else if (depth > 0 && *p == ')')
            depth--;
        else if (depth == 0 && *p != ' ' && *p != '\t')
            break;
    }
    return p;
}

static const char *skip_quoted(const char *p)
{
    p++;
    while (*p != '\0' && *p != '"')
        p = skip_escaped(p);
    return *p == '"' ? p + 1 : p;
}

static const char *skip_local_part(const char *p)
{
    const char *start = p = skip_blanks(p);

    while (*p != '\0' && !strchr(")<>@,:;[]", *p)) {
        if (*p == '"')
            p = skip_quoted(p);
        else
            p = *p == '(' ? skip_blanks(p) : p + 1;
    }
    return p > start ? p : NULL;
}

static const char *skip_domain_literal(const char *p)
{
    p++;
    while (*p != '\0' && *p != '[' && *p != ']')
        p = skip_escaped(p);
    return *p == ']' ? skip_blanks(p + 1) : NULL;
}

static const char *skip_domain(const char *p)
{
    p = skip_blanks(p);
    if (*p == '[')
        return skip_domain_literal(p);
    for (;;) {
        size_t atom = strcspn(p, "()<>@,:;.\\\"[] \t");

        if (atom == 0)
            return NULL;
        p = skip_blanks(p + atom);
        if (*p != '.')
            return *p == '@' ? NULL : p;
        p = skip_blanks(p + 1);
    }
}

/* The hosts of an old source route, @ONE,@TWO: and so on, which are ignored. */
static const char *skip_route(const char *p)
{
    const char *start = p = skip_blanks(p);

    while (*p == ',')
        p = skip_blanks(p + 1);
    if (*p != '@')
        return start;
    while (p && (*p == '@' || *p == ','))
        p = *p == '@' ? skip_domain(p + 1) : skip_blanks(p + 1);
    return p && *p == ':' ? p + 1 : NULL;
}

static const char *skip_mailbox(const char *p)
{
    p = skip_local_part(p);
    return p && *p == '@' ? skip_domain(p + 1) : p;
}

const char *smtp_skip_address(const char *text)
{
    const char *p = text;

    if (*p != '<')
        return skip_mailbox(p);
    if (p[1] == '>') /* the null sender */
        return p + 2;
    p = skip_route(p + 1);
    if (p)
        p = skip_mailbox(p);
    return p ? skip_blanks(*p == '>' ? p + 1 : p) : NULL;
}

/* --- parameters ------------------------------------------------------------------------------ */

/* Letters, which may be other than ASCII's, and digits. */
static bool is_keyword(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (isascii(*text) && !isalnum((unsigned char)*text))
            return false;
    return true;
}

bool smtp_parse_parameters(const char *text, struct smtp_parameters *parameters)
{
    char *rest = NULL;

    memset(parameters, 0, sizeof *parameters);
    (void)snprintf(parameters->text, sizeof parameters->text, "%s", text);
    for (char *name = strtok_r(parameters->text, " \t", &rest); name;
         name = strtok_r(NULL, " \t", &rest)) {
        char *end = name + strcspn(name, "=");
        const char *value = *end == '=' ? end + 1 : end;

        if (value > end && *value == '\0')
            return false;
        *end = '\0';
        if (!is_keyword(name))
            return false;
        if (strcasecmp(name, "BODY") == 0)
            parameters->body = value;
        else if (strcasecmp(name, "SIZE") == 0)
            parameters->size = value;
        else if (strcasecmp(name, "SMTPUTF8") == 0)
            parameters->smtputf8 = value;
        else
            parameters->others = true;
    }
    return true;
}
