/* The monotonic clock, in ns. */
#include "internal.h"

#include <time.h>

#define NS_PER_S 1000000000LL

static int64_t to_ns(const struct timespec *ts)
{
    return ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return to_ns(&now);
}

int64_t clock_coarse(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return to_ns(&now);
}

int64_t clock_tick(void)
{
    struct timespec tick;

    clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
    return to_ns(&tick);
}

int64_t clock_safe(int64_t ns)
{
    return ns + 2 * clock_tick();
}
