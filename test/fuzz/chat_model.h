/*
 * What an async_chat does with its input, without regard to time: everything that has arrived and
 * was not handed out is one string, which is searched from its beginning.
 */
#ifndef FUZZ_CHAT_MODEL_H
#define FUZZ_CHAT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_SIZE 8192

struct term {
    enum {
        TERM_NONE,
        TERM_COUNT,
        TERM_BYTES
    } kind;
    size_t length; /* or the number */
    const uint8_t *bytes;
};

struct model {
    uint8_t input[MODEL_SIZE];
    size_t len;
    struct term term;
    unsigned version; /* of term */
    void (*collect)(struct model *m, const uint8_t *data, size_t len);
    void (*found)(struct model *m);
};

void model_set(struct model *m, const struct term *term);

/* One read. */
void model_receive(struct model *m, const uint8_t *data, size_t len);

/* The end of the input. */
void model_end(struct model *m);

#endif
