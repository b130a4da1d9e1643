/* The producers of a scenario. */
#include "producer.h"

#include "show.h"
#include "trace.h"

#include <event2/buffer.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct maker {
    struct world *world;
    struct asyncore_dispatcher *channel; /* to which it was pushed, and which owns it */
    const struct class_plan *plan;
    char *name;
    unsigned calls;
};

static void show_result(struct maker *maker, const struct bytes *made, int r)
{
    struct bytes text = {.length = 0};

    if (r < 0) {
        bytes_format(&text, "! %s ", error_name(r));
    } else {
        bytes_put(&text, "= ");
        show_data(&text, bytes_text(made), made->length);
        bytes_put(&text, " ");
    }
    channel_state(&text, maker->channel);
    trace_result(bytes_text(&text));
    bytes_clear(&text);
}

static int run(struct maker *maker, struct evbuffer *out, action_list actions)
{
    struct world *w = maker->world;
    struct frame frame = {.outer = w->frames, .channel = maker->channel};
    int r;

    w->frames = &frame;
    w->depth++;
    r = world_run(w, &frame, actions);
    w->depth--;
    w->frames = frame.outer;
    if (r >= 0)
        r = evbuffer_add(out, bytes_text(&frame.made), frame.made.length) < 0 ? -ENOMEM : 0;
    show_result(maker, &frame.made, r);
    bytes_clear(&frame.made);
    bytes_clear(&frame.it);
    return r;
}

static int more(struct evbuffer *out, void *arg)
{
    static char *const nothing[] = {NULL};
    struct maker *maker = arg;
    struct bytes text = {.length = 0};
    action_list actions = class_actions(maker->plan, METHOD_more, ++maker->calls);

    if (!world_count_call(maker->world))
        return ASYNCORE_EXIT_NOW;
    bytes_format(&text, "%s.more()", maker->name);
    trace_call(bytes_text(&text));
    bytes_clear(&text);
    return run(maker, out, actions ? actions : nothing);
}

static void release(void *arg)
{
    struct maker *maker = arg;

    maker->world->unreleased--;
    free(maker->name);
    free(maker);
}

struct asynchat_producer *producer_make(struct world *w, struct asyncore_dispatcher *d,
                                        const char *class_name)
{
    struct maker *maker = must_allocate(sizeof *maker);
    struct bytes name = {.length = 0};

    bytes_format(&name, "%s#%u", class_name, ++w->producers);
    *maker = (struct maker){.world = w, .channel = d, .name = name.data};
    for (maker->plan = w->plan->classes; strcmp(maker->plan->name, class_name) != 0;)
        maker->plan = maker->plan->next;
    w->unreleased++;
    return asynchat_callback_producer_new(more, release, maker);
}
