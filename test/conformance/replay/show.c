/* How errors, data and texts are shown. */
#define _GNU_SOURCE
#include "show.h"

#include "kernel.h"

#include <asyncore/asyncore.h>

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- errors ---------------------------------------------------------------------------------- */

const char *error_name(int error)
{
    switch (error) { /* of two names Python knows the other one */
    case -EDEADLK:
        return "EDEADLOCK";
    case -EOPNOTSUPP:
        return "ENOTSUP";
    default:
        return asyncore_errorcode(error);
    }
}

int error_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } others[] = {{"EWOULDBLOCK", EWOULDBLOCK}, {"EDEADLOCK", EDEADLK}, {"ENOTSUP", ENOTSUP}};
    const int last = EHWPOISON;

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].name, name) == 0)
            return others[i].number;
    for (int i = 1; i <= last; i++)
        if (strcmp(asyncore_errorcode(i), name) == 0)
            return i;
    return 0;
}

/* --- data ------------------------------------------------------------------------------------ */

static void show_byte(struct bytes *out, char byte)
{
    static const char bytes[] = "\n\r\t\"\\";
    static const char names[] = "nrt\"\\";
    const char *found = byte ? strchr(bytes, byte) : NULL;

    if (found)
        bytes_format(out, "\\%c", names[found - bytes]);
    else if (byte >= 0x20 && byte < 0x7f)
        bytes_add(out, &byte, 1);
    else
        bytes_format(out, "\\x%02x", (unsigned)(unsigned char)byte);
}

static void show_bytes(struct bytes *out, const char *data, size_t length)
{
    bytes_put(out, "\"");
    for (size_t i = 0; i < length; i++)
        show_byte(out, data[i]);
    bytes_put(out, "\"");
}

static uint32_t adler32(const char *data, size_t length)
{
    uint32_t a = 1;
    uint32_t b = 0;

    for (size_t i = 0; i < length; i++) {
        a = (a + (unsigned char)data[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

void show_data(struct bytes *out, const void *data, size_t length)
{
    const char *text = data;

    bytes_format(out, "%zu ", length);
    if (length <= 32) {
        show_bytes(out, text, length);
        return;
    }
    show_bytes(out, text, 12);
    bytes_put(out, "..");
    show_bytes(out, text + length - 8, 8);
    bytes_format(out, " %08x", (unsigned)adler32(text, length));
}

/* Whether it is xHH, and which byte that is. */
static bool hex_escape(const char *text, char *byte)
{
    static const char digits[] = "0123456789abcdef";
    char hex[3] = "";

    if (text[0] != 'x' || strspn(text + 1, digits) < 2)
        return false;
    memcpy(hex, text + 1, 2);
    *byte = (char)strtol(hex, NULL, 16);
    return true;
}

void unquote(struct bytes *out, const char *token)
{
    static const char names[] = "nrt0";
    static const char bytes[] = "\n\r\t\0";

    for (token++; token[0] && token[1]; token++) { /* up to the closing quote */
        const char *found;
        char byte;

        if (*token != '\\') {
            bytes_add(out, token, 1);
        } else if (hex_escape(token + 1, &byte)) {
            bytes_add(out, &byte, 1);
            token += 3;
        } else {
            found = strchr(names, *++token);
            bytes_add(out, found ? bytes + (found - names) : token, 1);
        }
    }
}

/* --- texts ----------------------------------------------------------------------------------- */

/* Each of these returns the length of what it knows at text and puts what stands for it; 0: it
 * does not know it. */

static size_t normal_pointer(struct bytes *out, const char *text)
{
    static const char before[] = " at 0x";
    size_t length = sizeof before - 1;
    size_t digits;

    if (strncmp(text, before, length) != 0)
        return 0;
    digits = strspn(text + length, "0123456789abcdef");
    if (digits == 0 || text[length + digits] != '>')
        return 0;
    bytes_put(out, ">");
    return length + digits + 1;
}

static size_t normal_port(struct bytes *out, const char *text)
{
    static const char *const hosts[] = {
        "127.0.0.1:", "127.0.0.1', ", "0.0.0.0:", "0.0.0.0', ", "::1', ", "::', "};

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        size_t length = strlen(hosts[i]);

        if (strncmp(text, hosts[i], length) == 0 && text[length] >= '1' && text[length] <= '9') {
            bytes_format(out, "%sPORT", hosts[i]);
            return length + strspn(text + length, "0123456789");
        }
    }
    return 0;
}

static size_t normal_directory(struct bytes *out, const char *text)
{
    size_t length = strlen(kernel_directory);

    if (length == 0 || strncmp(text, kernel_directory, length) != 0)
        return 0;
    bytes_put(out, "DIR");
    return length;
}

/* handle_error's report ends with " (ECODE:message [file|function|line])". */
static size_t normal_report(struct bytes *out, const char *text)
{
    size_t length = strlen(text);
    size_t code = text[0] == ' ' && text[1] == '(' ? strspn(text + 2, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                                      "0123456789unkow")
                                                   : 0;
    struct bytes name = {.length = 0};

    if (code == 0 || text[2 + code] != ':' || strcmp(text + length - 2, "])") != 0 ||
        !strstr(text + 2 + code, " ["))
        return 0;
    bytes_add(&name, text + 2, code);
    bytes_format(out, " (%s)", error_name(-error_number(bytes_text(&name))));
    bytes_clear(&name);
    return length;
}

void show_normal(struct bytes *out, const char *text)
{
    static size_t (*const rules[])(struct bytes *, const char *) = {
        normal_pointer, normal_port, normal_directory, normal_report};

    while (*text) {
        size_t length = 0;

        for (size_t i = 0; length == 0 && i < sizeof rules / sizeof *rules; i++)
            length = rules[i](out, text);
        if (length == 0)
            bytes_add(out, text, 1);
        text += length ? length : 1;
    }
}
