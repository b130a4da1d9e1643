/* Maps after fork: what the kernel keeps for the parent's is not to be shared with the child's. */
#include "internal.h"

#include <errno.h>

static int reinit(struct asyncore_map *map)
{
    int r = 0;

    errno = 0;
    if (event_reinit(map->base) < 0)
        r = errno ? -errno : -ENOMEM;
    /* Nothing is to be taken out of the old epoll descriptor, which is the parent's, too: closed.
     */
    if (map->expt_fd >= 0)
        expt_restart(map);
    if (r < 0)
        watch_park_all(map); /* some of what is armed is not watched: it is put back */
    if (wakeup_reinit(map) < 0 && r == 0)
        r = -errno;
    return r;
}

int asyncore_map_reinit(struct asyncore_map *map)
{
    map = map ? map : map_default();
    if (!map)
        return 0;
    if (map->freed)
        return -EINVAL;
    if (!map_has_descriptors())
        return -errno;
    return reinit(map);
}
