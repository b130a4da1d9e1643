/*
 * The batch: what a pass has found ready, in the order of the map.
 *
 * A channel is in one batch at most. The batch of a nested pass takes it over from the outer ones',
 * which then skip it.
 */
#include "internal.h"

#include <assert.h>

void batch_remove(struct channel *c)
{
    struct batch *batch = c->batch;

    c->ready = 0;
    if (!batch)
        return;
    if (batch->next == c)
        batch->next = TAILQ_NEXT(c, in_batch);
    TAILQ_REMOVE(&batch->channels, c, in_batch);
    c->batch = NULL;
}

void batch_mark(struct channel *c, unsigned ready)
{
    struct batch *batch = dispatcher_of(c)->map->batch;

    assert(batch && c->place == PLACE_IN_MAP);
    if (c->batch != batch) {
        struct channel *last = TAILQ_LAST(&batch->channels, channel_list);

        batch_remove(c); /* from the outer pass's: this one uses its readiness up */
        if (last && last->order > c->order)
            batch->sorted = false;
        TAILQ_INSERT_TAIL(&batch->channels, c, in_batch);
        c->batch = batch;
    }
    c->ready |= (uint8_t)ready;
    batch->ready |= ready;
    batch->has_file |= c->is_file;
}

/* One ascending run of the list, cut off; *rest is what follows it. */
static struct channel *cut_run(struct channel *c, struct channel **rest)
{
    struct channel *first = c;

    while (TAILQ_NEXT(c, in_batch) && TAILQ_NEXT(c, in_batch)->order > c->order)
        c = TAILQ_NEXT(c, in_batch);
    *rest = TAILQ_NEXT(c, in_batch);
    TAILQ_NEXT(c, in_batch) = NULL;
    return first;
}

static struct channel *merge_runs(struct channel *a, struct channel *b)
{
    struct channel *first = NULL;
    struct channel **end = &first;

    while (a && b) {
        struct channel **least = a->order < b->order ? &a : &b;

        *end = *least;
        end = &TAILQ_NEXT(*least, in_batch);
        *least = *end;
    }
    *end = a ? a : b;
    return first;
}

/* The kernel reports in an order that is mostly right: a merge of the runs there are. Slot i holds
 * 2^i of them. */
void batch_sort(struct batch *batch)
{
    struct channel *slots[48] = {NULL};
    struct channel *rest = TAILQ_FIRST(&batch->channels);
    struct channel *all = NULL;
    unsigned i;

    while (rest) {
        struct channel *run = cut_run(rest, &rest);

        for (i = 0; slots[i]; i++) {
            run = merge_runs(slots[i], run);
            slots[i] = NULL;
        }
        slots[i] = run;
    }
    for (i = 0; i < sizeof slots / sizeof *slots; i++)
        all = merge_runs(all, slots[i]);
    TAILQ_INIT(&batch->channels);
    while ((rest = all)) {
        all = TAILQ_NEXT(rest, in_batch);
        TAILQ_INSERT_TAIL(&batch->channels, rest, in_batch);
    }
    batch->sorted = true;
}
