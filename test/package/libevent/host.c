/* A program with a base of its own that it lends to a map. */
#include <asyncore/asyncore.h>

#include <event2/event.h>
#include <stdio.h>

int main(void)
{
    struct event_base *base = event_base_new();
    struct asyncore_map *map = base ? asyncore_map_new(base) : NULL;
    int ok = map && asyncore_map_base(map) == base;

    if (ok)
        puts("host: one base");
    asyncore_map_free(map);
    if (base)
        event_base_free(base);
    return !ok;
}
