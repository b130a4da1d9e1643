/* The loop of a map that is attached: the host runs the base. */
#define _GNU_SOURCE
#include "attached.h"

#include "trace.h"

#include <errno.h>

#include <event2/event.h>

struct service {
    bool done;
    int result;
};

static void on_done(struct asyncore_map *map, int result, void *arg)
{
    struct service *service = arg;
    int r = asyncore_map_detach(map);

    if (service->done)
        trace_line("done is told twice");
    if (r != -EINVAL && (r != 0 || result != ASYNCORE_LOOP_EMPTY))
        trace_line("done is told, and the map is still attached");
    service->done = true;
    service->result = result;
}

/* Until done is told; an iteration at a time, so that loopback settles before each wait. */
static int run_host(struct world *w, struct asyncore_map *map, struct service *service)
{
    struct event_base *base = asyncore_map_base(map);
    int r = 0;

    while (r == 0 && !service->done && !w->excepted)
        r = event_base_loop(base, EVLOOP_ONCE);
    if (service->done)
        return service->result;
    if (!w->excepted)
        trace_line("nothing is pending, and done is not told");
    (void)asyncore_map_detach(map);
    return -EDEADLK;
}

static int except(struct world *w)
{
    trace_except("a loop inside of a loop");
    w->excepted = true;
    return -EDEADLK;
}

int attached_loop(struct world *w, double timeout, bool use_poll, struct asyncore_map *map,
                  int count)
{
    const bool has_pass =
        asyncore_map_length(map) > 0 && (count > 0 || count == ASYNCORE_COUNT_NONE);
    struct service service = {.done = false};
    int r = -EBUSY;

    if (w->excepted)
        return -EDEADLK;
    if (has_pass)
        r = asyncore_map_attach_loop(timeout, use_poll, map, count, on_done, &service);
    if (r == 0)
        return run_host(w, map, &service);
    if (r == -EBUSY) /* or nothing to serve */
        r = asyncore_loop(timeout, use_poll, map, has_pass ? count : 0);
    return r == -EDEADLK ? except(w) : r;
}
