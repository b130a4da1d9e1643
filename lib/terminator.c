/*
 * The terminator of an async_chat, and the search for it.
 *
 * Input comes in any cuts, so a search begins with how many bytes of the terminator the input ended
 * with before (the state), and ends with a new state. Those bytes need not be kept: they are the
 * terminator's. Bytes are looked at once or twice, whatever the terminator (Knuth, Morris and
 * Pratt).
 */
#include "chat_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* For each number k of matched bytes, how many of them match when the next byte does not. */
static void find_borders(size_t *borders, const char *bytes, size_t length)
{
    size_t k = 0;

    borders[0] = 0;
    for (size_t i = 1; i < length; i++) {
        borders[i] = k;
        while (k > 0 && bytes[i] != bytes[k])
            k = borders[k];
        k += bytes[i] == bytes[k];
    }
}

static bool is_set(const struct terminator *t, const void *bytes, size_t length)
{
    return length > 0 && t->length == length && memcmp(t->bytes, bytes, length) == 0;
}

int terminator_set(struct terminator *t, const void *bytes, size_t length)
{
    size_t *borders = NULL;

    if (!is_set(t, bytes, length)) {
        if (length > SIZE_MAX / (2 * sizeof *borders))
            return -ENOMEM;
        borders = length > 0 ? malloc(length * (sizeof *borders + 1)) : NULL;
        if (!borders && length > 0)
            return -ENOMEM;
        if (length > 0) {
            memcpy(borders + length, bytes, length);
            find_borders(borders, (char *)(borders + length), length);
        }
        free(t->borders);
        t->borders = borders;
        t->bytes = borders ? (char *)(borders + length) : NULL;
        t->length = length;
    }
    t->kind = bytes ? ASYNCHAT_TERMINATOR_BYTES : ASYNCHAT_TERMINATOR_NONE;
    t->version++;
    return 0;
}

/* The bytes stay: they are often the next terminator again. */
void terminator_set_count(struct terminator *t, uint64_t count)
{
    t->kind = ASYNCHAT_TERMINATOR_COUNT;
    t->count = count;
    t->version++;
}

/* Goes on from state *k until it has gone through data, or has found the terminator, or, if
 * to_start, is back at 0; the offset that it has come to. */
static size_t step(const struct terminator *t, size_t *k, const char *data, size_t len,
                   bool to_start)
{
    size_t i = 0;

    while (i < len && *k < t->length && (*k > 0 || !to_start)) {
        while (*k > 0 && t->bytes[*k] != data[i])
            *k = t->borders[*k];
        *k += t->bytes[*k] == data[i++];
    }
    return i;
}

/* From state 0. */
static size_t find_from_start(const struct terminator *t, size_t *state, const char *data,
                              size_t len)
{
    const size_t tail = t->length - 1;
    const char *found = memmem(data, len, t->bytes, t->length);
    const size_t last = len > tail ? len - tail : 0;

    if (found)
        return (size_t)(found - data) + t->length;
    step(t, state, data + last, len - last, false);
    return 0;
}

static size_t find_from_state(const struct terminator *t, size_t *state, const char *data,
                              size_t len)
{
    size_t i = step(t, state, data, len, true);
    size_t end;

    if (*state > 0 && *state < t->length)
        return 0; /* it is at the end of data */
    if (*state == 0) {
        end = find_from_start(t, state, data + i, len - i);
        return end > 0 ? i + end : 0;
    }
    *state = 0;
    return i;
}

size_t terminator_search(const struct terminator *t, size_t *state, const char *data, size_t len)
{
    return *state > 0 ? find_from_state(t, state, data, len) : find_from_start(t, state, data, len);
}

size_t asynchat_find_prefix_at_end(const void *haystack, size_t haystack_len, const void *needle,
                                   size_t needle_len)
{
    size_t n = needle_len > haystack_len ? haystack_len : needle_len > 0 ? needle_len - 1 : 0;
    const char *end;
    struct terminator t = {.length = 0};
    size_t state = 0;

    if (n == 0)
        return 0;
    end = (const char *)haystack + haystack_len;
    if (terminator_set(&t, needle, needle_len) == 0) {
        step(&t, &state, end - n, n, false);
        free(t.borders);
        return state;
    }
    while (n > 0 && memcmp(end - n, needle, n) != 0)
        n--;
    return n;
}
