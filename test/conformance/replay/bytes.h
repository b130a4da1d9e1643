/* Bytes that grow. They always end with a NUL that does not count. */
#ifndef CONFORMANCE_BYTES_H
#define CONFORMANCE_BYTES_H

#include <stddef.h>

struct bytes {
    char *data; /* NULL: none yet */
    size_t length;
    size_t room;
};

void bytes_add(struct bytes *b, const void *data, size_t length);
void bytes_put(struct bytes *b, const char *text);
void bytes_format(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes length bytes, or all of them, from the beginning. */
void bytes_drop(struct bytes *b, size_t length);

/* Leaves length bytes of the beginning. */
void bytes_cut(struct bytes *b, size_t length);

/* The whole as a string: "" when there is nothing. */
const char *bytes_text(const struct bytes *b);

/* Frees them, and leaves none. */
void bytes_clear(struct bytes *b);

/* As malloc, zeroed, but ends the program when there is no memory. */
void *must_allocate(size_t size);

#endif
