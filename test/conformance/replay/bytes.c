/* Bytes that grow. */
#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

void *must_allocate(size_t size)
{
    return must(calloc(1, size ? size : 1));
}

static void reserve(struct bytes *b, size_t more)
{
    size_t needed = b->length + more + 1;

    if (needed <= b->room)
        return;
    b->room = needed > 2 * b->room ? needed : 2 * b->room;
    b->data = must(realloc(b->data, b->room));
}

void bytes_add(struct bytes *b, const void *data, size_t length)
{
    reserve(b, length);
    if (length > 0)
        memcpy(b->data + b->length, data, length);
    b->length += length;
    b->data[b->length] = '\0';
}

void bytes_put(struct bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

void bytes_format(struct bytes *b, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    reserve(b, (size_t)length);
    va_start(arguments, format);
    vsnprintf(b->data + b->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    b->length += (size_t)length;
}

void bytes_drop(struct bytes *b, size_t length)
{
    if (length > b->length)
        length = b->length;
    if (length == 0)
        return;
    memmove(b->data, b->data + length, b->length - length + 1);
    b->length -= length;
}

void bytes_cut(struct bytes *b, size_t length)
{
    if (length >= b->length)
        return;
    b->length = length;
    b->data[length] = '\0';
}

const char *bytes_text(const struct bytes *b)
{
    return b->data ? b->data : "";
}

void bytes_clear(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){.data = NULL};
}
