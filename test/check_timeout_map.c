/*
 * Timeouts and maps: channels that move, maps that nobody serves, and what is left on the base.
 */
#include "support.h"
#include "timed.h"

#include <event2/event.h>

/* --- maps ------------------------------------------------------------------------------------ */

static struct asyncore_map *other_map;

static void setup(void)
{
    timed_setup();
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
}

static void teardown(void)
{
    asyncore_map_free(other_map);
    timed_teardown();
}

static void delete_channel(struct asyncore_dispatcher *d)
{
    asyncore_del_channel(d);
}

static void close_channel(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_close(d), 0);
}

static void take_back(struct asyncore_dispatcher *d)
{
    set_timeout(d, ASYNCORE_TIMEOUT_NONE);
}

static void move_away(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_add_channel(d, other_map), 0);
}

static void (*const leaving[])(struct asyncore_dispatcher *) = {delete_channel, close_channel,
                                                                take_back, move_away};

enum {
    LEAVING = sizeof leaving / sizeof *leaving
};

static int move_to_the_end(struct probe *self)
{
    move_away(probe_dispatcher(self));
    asyncore_map_free(other_map);
    other_map = NULL;
    return 0;
}

/* In poll's way it is all one turn. */
START_TEST(who_goes_with_another_map_is_not_told)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    let_come_due(_i, 2 * SHORT);
    probe_clear();
    timed_channel->base.hook[PROBE_READ] = move_to_the_end;
    test_write_all(peer, "x", 1);
    serve_until(_i, "a.finalize", 1);
    check_trace("a.read a.finalize");
}
END_TEST

/* Who leaves is not told, though it was armed, or due already. _i / 2: how; _i % 2: it was due. */
START_TEST(who_leaves_is_not_told)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    if (_i % 2)
        let_come_due(SELECT, 2 * SHORT);
    probe_clear();
    leaving[_i / 2](d);
    pass_time(2 * SHORT);
    serve_due(SELECT);
    ck_assert_int_eq(probe_count("a.timeout"), 0);
}
END_TEST

/* It holds in the other map, and counts anew there. */
START_TEST(who_moves_is_told_by_the_other)
{
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    pass_time(SHORT);
    probe_clear();
    begin = test_now();
    move_away(d);
    while (probe_count("a.timeout") == 0)
        ck_assert_int_eq(asyncore_loop(1, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(told_at - begin, SHORT);
    check_trace("a.timeout");
}
END_TEST

START_TEST(who_comes_back_is_told)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(_i, 0);
    asyncore_del_channel(d);
    serve_once(_i, 0);
    ck_assert_int_eq(asyncore_add_channel(d, NULL), 0);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* With nobody left nothing keeps the base running. */
START_TEST(nothing_is_left_on_the_base)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->base.readable = false; /* only its timer is on the base */
    set_timeout(d, LONG);
    serve_once(SELECT, 0);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 1);
    leaving[_i](d);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
}
END_TEST

/* Nor is anything put there for who is not in the map. */
START_TEST(set_outside_of_the_map)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, LONG);
    asyncore_del_channel(d);
    set_timeout(d, SHORT);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    ck_assert_int_eq(asyncore_add_channel(d, NULL), 0);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* The map's end. */
START_TEST(a_map_that_is_freed)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    if (_i)
        let_come_due(SELECT, 2 * SHORT);
    probe_clear();
    asyncore_map_free(timed_map);
    timed_map = NULL;
    pass_time(2 * SHORT);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize");
}
END_TEST

static struct timed *in_other_map(const char *name, int *its_peer)
{
    int pair[2];

    test_pair(AF_INET, pair);
    *its_peer = pair[1];
    return timed_named(name, pair[0], other_map);
}

/* A map that nobody serves neither loses its timeouts nor makes the other one spin. */
START_TEST(nobody_serves_the_map)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timed *served;
    int its_peer, calls;

    served = in_other_map("b", &its_peer);
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    ck_assert_int_eq(asyncore_loop(0, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    probe_clear();
    calls = served->base.calls[PROBE_READABLE];
    ck_assert_int_eq(asyncore_loop(5 * SHORT, _i, other_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_le(served->base.calls[PROBE_READABLE] - calls, 10);
    check_trace("");
    serve_once(_i, 0);
    check_trace("a.timeout");
    test_close(&its_peer);
}
END_TEST

/* Its time is up before its first pass. */
START_TEST(nobody_has_served_the_map)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    let_come_due(SELECT, 2 * SHORT);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* One that is not attached any more. */
START_TEST(the_host_stops_serving)
{
    struct asyncore_dispatcher *d = timed_make();

    set_timeout(d, SHORT);
    serve_once(ATTACHED, 0);
    ck_assert_int_eq(asyncore_map_detach(timed_map), 0);
    probe_clear();
    let_come_due(SELECT, 2 * SHORT);
    check_trace("");
    serve_once(_i, 0);
    check_trace("a.timeout");
}
END_TEST

/* The map's timer waits for the first of all. */
START_TEST(the_shortest_is_first)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timed *second;
    int pair[2];

    test_pair(AF_INET, pair);
    second = timed_named("b", pair[0], timed_map);
    set_timeout(d, LONG);
    serve_once(_i, 0);
    set_timeout(timed_dispatcher(second), SHORT);
    serve_until(_i, "b.timeout", 1);
    check_trace("b.timeout");
    test_close(&pair[1]);
}
END_TEST

START_TEST(priority)
{
    struct asyncore_dispatcher *d;

    asyncore_map_free(timed_map);
    asyncore_map_free(other_map);
    other_map = NULL;
    ck_assert_int_eq(event_base_priority_init(base, 3), 0);
    timed_map = asyncore_map_new(base);
    d = timed_make();
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    ck_assert_int_eq(asyncore_map_set_priority(timed_map, 2), 0);
    serve_until(_i, "a.timeout", 1);
}
END_TEST

/* Each map's are its base's. */
START_TEST(who_moves_to_another_base)
{
    struct event_base *second_base = event_base_new();
    struct asyncore_map *second = asyncore_map_new(second_base);
    struct asyncore_dispatcher *d = timed_make();
    double begin;

    ck_assert_ptr_nonnull(second);
    set_timeout(d, SHORT);
    serve_once(SELECT, 0);
    begin = test_now();
    ck_assert_int_eq(asyncore_add_channel(d, second), 0);
    probe_clear();
    while (probe_count("a.timeout") == 0)
        ck_assert_int_eq(asyncore_loop(1, _i, second, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_double_ge(told_at - begin, SHORT);
    asyncore_map_free(second);
    event_base_free(second_base);
}
END_TEST

/* --- libevent's debug mode -------------------------------------------------------------------- */

/* It must be switched on before anything else: this case comes first. */
static void debug_setup(void)
{
    static bool on;

    if (!on)
        event_enable_debug_mode();
    on = true;
    setup();
}

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc, SFun set_up, SFun tear_down)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_maps(TCase *tc)
{
    tcase_add_loop_test(tc, who_leaves_is_not_told, 0, 2 * LEAVING);
    tcase_add_loop_test(tc, who_goes_with_another_map_is_not_told, 0, ATTACHED);
    tcase_add_loop_test(tc, who_moves_is_told_by_the_other, 0, 2);
    tcase_add_loop_test(tc, who_comes_back_is_told, 0, WAYS);
    tcase_add_loop_test(tc, nothing_is_left_on_the_base, 0, LEAVING - 1);
    tcase_add_loop_test(tc, set_outside_of_the_map, 0, WAYS);
    tcase_add_loop_test(tc, a_map_that_is_freed, 0, 2);
    tcase_add_loop_test(tc, nobody_serves_the_map, 0, 2);
    tcase_add_loop_test(tc, nobody_has_served_the_map, 0, WAYS);
    tcase_add_loop_test(tc, the_host_stops_serving, 0, 2);
    tcase_add_loop_test(tc, the_shortest_is_first, 0, WAYS);
    tcase_add_loop_test(tc, priority, 0, WAYS);
    tcase_add_loop_test(tc, who_moves_to_another_base, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("timeout_map");

    add_maps(add_case(s, tcase_create("debug_mode"), debug_setup, teardown));
    add_maps(add_case(s, tcase_create("maps"), setup, teardown));
    return test_main(s);
}
