/*
 * Maps that other threads may not call: libevent's threading, which cannot be turned off again, was
 * off when the map was made, or its base.
 */
#include "support.h"

#include <event2/event.h>
#include <event2/thread.h>

#include <errno.h>

static void never(struct asyncore_map *map, void *arg)
{
    (void)arg;
    ck_abort_msg("called for %p", (void *)map);
}

static void check_refused(struct asyncore_map *map)
{
    ck_assert_ptr_nonnull(map);
    ck_assert_int_eq(asyncore_map_call(map, never, NULL), -ENOTSUP);
    ck_assert_int_eq(asyncore_map_wakeup(map), -ENOTSUP);
    ck_assert_int_eq(event_base_dispatch(asyncore_map_base(map)), 1);
}

static void is_called(struct asyncore_map *map, void *arg)
{
    (void)map;
    *(bool *)arg = true;
}

/* In this order, for the tests of a suite may share a process. */
START_TEST(threading_comes_too_late)
{
    struct event_base *base = event_base_new();
    struct asyncore_map *before = asyncore_map_new(NULL), *on_old_base, *after;
    bool called = false;

    check_refused(before);
    ck_assert_int_eq(evthread_use_pthreads(), 0);
    check_refused(before);
    on_old_base = asyncore_map_new(base);
    check_refused(on_old_base);
    after = asyncore_map_new(NULL);
    ck_assert_int_eq(asyncore_map_call(after, is_called, &called), 0);
    ck_assert_int_eq(event_base_dispatch(asyncore_map_base(after)), 1);
    ck_assert(called);
    asyncore_map_free(before);
    asyncore_map_free(on_old_base);
    asyncore_map_free(after);
    event_base_free(base);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("thread_off");
    TCase *tc = tcase_create("late");

    test_add_fixture(tc);
    suite_add_tcase(s, tc);
    tcase_add_test(tc, threading_comes_too_late);
    return test_main(s);
}
