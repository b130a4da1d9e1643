#define _GNU_SOURCE
#include "fault.h"
#include "support.h"

#include <event2/event.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fault fault;

static bool fails(void)
{
    if (!fault.on)
        return false;
    fault.seen++;
    if (fault.seen < fault.at || (fault.seen > fault.at && (!fault.lasts || fault.told > 0)))
        return false;
    if (!fault.where)
        fault.where = fault.step;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void fault_begin(long at, bool lasts)
{
    memset(&fault, 0, sizeof fault);
    fault.at = at;
    fault.lasts = lasts;
    fault.on = true;
}

void fault_end(void)
{
    fault.on = false;
}

bool fault_again(int r)
{
    if (r != -ENOMEM || fault.told > 0)
        return false;
    fault.told++;
    return true;
}

int fault_count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

time_t fault_seconds(void)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void ignore_warning(int severity, const char *message)
{
    (void)severity;
    (void)message;
}

void fault_install(void)
{
    event_set_log_callback(ignore_warning);
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
}
