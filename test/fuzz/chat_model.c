#include "chat_model.h"

#include <string.h>

void model_set(struct model *m, const struct term *term)
{
    m->term = *term;
    m->version++;
}

static void collect(struct model *m, size_t len)
{
    uint8_t piece[MODEL_SIZE];

    memcpy(piece, m->input, len);
    m->len -= len;
    memmove(m->input, m->input + len, m->len);
    m->collect(m, piece, len);
}

static void until_count(struct model *m)
{
    const unsigned version = m->version;
    const size_t len = m->len < m->term.length ? m->len : m->term.length;
    const bool reached = len == m->term.length;

    collect(m, len);
    if (reached) {
        model_set(m, &(struct term){.kind = TERM_COUNT});
        m->found(m);
    } else if (m->version == version) {
        m->term.length -= len;
    }
}

static bool is_at(const struct model *m, size_t at, size_t len)
{
    return at + len <= m->len && memcmp(m->input + at, m->term.bytes, len) == 0;
}

/* How much of the end of the input begins the terminator. */
static size_t held(const struct model *m)
{
    size_t len = m->term.length - 1 < m->len ? m->term.length - 1 : m->len;

    while (len > 0 && !is_at(m, m->len - len, len))
        len--;
    return len;
}

/* Whether to go on. */
static bool until_bytes(struct model *m)
{
    const size_t length = m->term.length;
    size_t at = 0, keep;

    while (at < m->len && !is_at(m, at, length))
        at++;
    if (at == m->len) {
        keep = held(m);
        if (keep < m->len)
            collect(m, m->len - keep);
        return false;
    }
    m->len -= length; /* the terminator goes before its callbacks */
    memmove(m->input + at, m->input + at + length, m->len - at);
    if (at > 0)
        collect(m, at);
    m->found(m);
    return true;
}

static void hand_out(struct model *m)
{
    bool more = true;

    while (more && m->len > 0) {
        if (m->term.kind == TERM_NONE || m->term.length == 0)
            collect(m, m->len);
        else if (m->term.kind == TERM_COUNT)
            until_count(m);
        else
            more = until_bytes(m);
    }
}

void model_receive(struct model *m, const uint8_t *data, size_t len)
{
    memcpy(m->input + m->len, data, len);
    m->len += len;
    hand_out(m);
}

void model_end(struct model *m)
{
    unsigned version;

    do { /* what the last terminator held back is input of the next */
        version = m->version;
        hand_out(m);
    } while (m->version != version);
    if (m->len > 0)
        collect(m, m->len);
}
