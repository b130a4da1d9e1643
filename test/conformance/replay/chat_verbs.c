/* The verbs of async_chat. */
#define _GNU_SOURCE
#include "producer.h"
#include "show.h"
#include "verbs.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- input ----------------------------------------------------------------------------------- */

static int with_data(struct turn *turn,
                     int (*function)(struct asyncore_dispatcher *, const void *, size_t))
{
    struct bytes data = {.length = 0};
    int r;

    (void)turn_data(turn, turn->words, &data);
    r = function(turn->channel, bytes_text(&data), data.length);
    bytes_clear(&data);
    return r;
}

static int collect_incoming_data(struct turn *turn)
{
    return with_data(turn, asynchat_collect_incoming_data);
}

static int collect(struct turn *turn)
{
    return with_data(turn, asynchat_keep_incoming_data);
}

static int found_terminator(struct turn *turn)
{
    return asynchat_found_terminator(turn->channel);
}

static int get_data(struct turn *turn)
{
    size_t length;
    const char *data = asynchat_get_data(turn->channel, &length);

    if (!data)
        return -EINVAL;
    show_data(turn->result, data, length);
    bytes_clear(&turn->frame->it);
    bytes_add(&turn->frame->it, data, length);
    return 0;
}

static int set_terminator(struct turn *turn)
{
    const char *word = turn->words[0];
    struct bytes data = {.length = 0};
    int r;

    if (strcmp(word, "none") == 0)
        return asynchat_set_terminator(turn->channel, NULL, 0);
    if (*word != '"')
        return asynchat_set_terminator_count(turn->channel, strtol(word, NULL, 10));
    unquote(&data, word);
    r = asynchat_set_terminator(turn->channel, bytes_text(&data), data.length);
    bytes_clear(&data);
    return r;
}

static int get_terminator(struct turn *turn)
{
    struct asynchat_terminator terminator = asynchat_get_terminator(turn->channel);

    switch (terminator.kind) {
    case ASYNCHAT_TERMINATOR_NONE:
        bytes_put(turn->result, "none");
        break;
    case ASYNCHAT_TERMINATOR_BYTES:
        show_data(turn->result, terminator.bytes, (size_t)terminator.length);
        break;
    case ASYNCHAT_TERMINATOR_COUNT:
        bytes_format(turn->result, "%llu", (unsigned long long)terminator.length);
        break;
    }
    return 0;
}

static int discard_buffers(struct turn *turn)
{
    return asynchat_discard_buffers(turn->channel);
}

/* --- output ---------------------------------------------------------------------------------- */

static int push(struct turn *turn)
{
    struct bytes data = {.length = 0};
    int r;

    (void)turn_data(turn, turn->words, &data);
    r = asynchat_push(turn->channel, bytes_text(&data), data.length);
    if (r >= 0)
        turn_took(turn, turn->words[0], data.length);
    bytes_clear(&data);
    return r;
}

static void release(const void *data, size_t length, void *arg)
{
    struct world *w = arg;

    (void)length;
    w->unreleased--;
    free((void *)(uintptr_t)data);
}

static int push_reference(struct turn *turn)
{
    struct bytes data = {.length = 0};
    size_t length;
    int r;

    (void)turn_data(turn, turn->words, &data);
    bytes_add(&data, "", 0); /* so that there is something to release */
    length = data.length;
    turn->world->unreleased++;
    r = asynchat_push_reference(turn->channel, data.data, length, release, turn->world);
    if (r >= 0)
        turn_took(turn, turn->words[0], length);
    return r;
}

static int push_simple(struct turn *turn)
{
    char *const first[] = {turn->words[0], NULL};
    size_t size = turn->words[1] ? word_size(turn->words[1]) : 0;
    struct bytes data = {.length = 0};
    int r;

    (void)turn_data(turn, first, &data);
    r = asynchat_push_with_producer(
        turn->channel, asynchat_simple_producer_new(bytes_text(&data), data.length, size));
    if (r >= 0)
        turn_took(turn, turn->words[0], data.length);
    bytes_clear(&data);
    return r;
}

static int push_with_producer(struct turn *turn)
{
    return asynchat_push_with_producer(turn->channel,
                                       producer_make(turn->world, turn->channel, turn->words[0]));
}

static int close_when_done(struct turn *turn)
{
    return asynchat_close_when_done(turn->channel);
}

/* --- sizes ----------------------------------------------------------------------------------- */

static int ac_in_buffer_size(struct turn *turn)
{
    int r = turn->words[0]
                ? asynchat_set_ac_in_buffer_size(turn->channel, word_size(turn->words[0]))
                : 0;

    bytes_format(turn->result, "%zu", asynchat_ac_in_buffer_size(turn->channel));
    return r;
}

static int ac_out_buffer_size(struct turn *turn)
{
    int r = turn->words[0]
                ? asynchat_set_ac_out_buffer_size(turn->channel, word_size(turn->words[0]))
                : 0;

    bytes_format(turn->result, "%zu", asynchat_ac_out_buffer_size(turn->channel));
    return r;
}

const struct verb chat_verbs[] = {
    {"collect_incoming_data", "DATA", collect_incoming_data},
    {"found_terminator", "", found_terminator},
    {"collect", "DATA", collect},
    {"get_data", "", get_data},
    {"set_terminator", "TERMINATOR", set_terminator},
    {"get_terminator", "", get_terminator},
    {"discard_buffers", "", discard_buffers},
    {"push", "DATA", push},
    {"push_reference", "DATA", push_reference},
    {"push_simple", "DATA [SIZE]", push_simple},
    {"push_with_producer", "PRODUCER", push_with_producer},
    {"close_when_done", "", close_when_done},
    {"ac_in_buffer_size", "[SIZE]", ac_in_buffer_size},
    {"ac_out_buffer_size", "[SIZE]", ac_out_buffer_size},
    {NULL, NULL, NULL},
};
