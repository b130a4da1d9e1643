/*
 * Sets of deadlines, of which the first is at hand: pairing heaps, whose nodes lie in what the
 * deadline is for. Adding takes constant time and, as removing, no memory.
 *
 * A node's children come after it in time. prev is the sibling before a child, or, for the first
 * one, its parent.
 */
#include "internal.h"

static bool comes_before(const struct deadline *a, const struct deadline *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

/* Two heaps as one; either may be empty. */
static struct deadline *meld(struct deadline *a, struct deadline *b)
{
    struct deadline *first, *other;

    if (!a || !b)
        return a ? a : b;
    first = comes_before(b, a) ? b : a;
    other = first == a ? b : a;
    other->prev = first;
    other->next = first->child;
    if (first->child)
        first->child->prev = other;
    first->child = other;
    return first;
}

static struct deadline *cut(struct deadline *d)
{
    d->next = d->prev = NULL;
    return d;
}

/* The siblings as one heap: in pairs, and then the pairs from the last to the first. */
static struct deadline *meld_siblings(struct deadline *d)
{
    struct deadline *pairs = NULL, *all = NULL;

    while (d) {
        struct deadline *a = d, *b = a->next;

        d = b ? b->next : NULL;
        a = meld(cut(a), b ? cut(b) : NULL);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct deadline *pair = pairs;

        pairs = pair->next;
        all = meld(all, cut(pair));
    }
    return all;
}

void deadline_add(struct deadline **set, struct deadline *d)
{
    d->child = NULL;
    *set = meld(*set, cut(d));
}

void deadline_remove(struct deadline **set, struct deadline *d)
{
    struct deadline *children = meld_siblings(d->child);

    if (*set == d) {
        *set = children;
        return;
    }
    if (d->prev->child == d)
        d->prev->child = d->next;
    else
        d->prev->next = d->next;
    if (d->next)
        d->next->prev = d->prev;
    *set = meld(*set, children);
}

struct deadline *deadline_next(struct deadline *d)
{
    if (d->child)
        return d->child;
    while (d && !d->next) {
        while (d->prev && d->prev->child != d)
            d = d->prev;
        d = d->prev; /* the parent */
    }
    return d ? d->next : NULL;
}
