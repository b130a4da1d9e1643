/*
 * Back-pressure: the end of sources, sinks and maps in every order, and without memory.
 */
#include "fault.h"
#include "pressure_probe.h"
#include "support.h"

#include <errno.h>

enum {
    HIGH = 100,
    LOW = 40
};

static bool use_poll;
static struct source *a;                 /* a source with something to read, in the_map */
static struct asyncore_dispatcher *sink; /* of a's, and it is held; its other end is peers[3] */
static struct asyncore_map *other_map;   /* NULL: none */

#define ck_assert_trace(expected) ck_assert_str_eq(probe_trace(), expected)

static void make_held_in(struct asyncore_map *map, int i)
{
    use_poll = i % 2;
    a = source_ready(&source_class, 0);
    sink = sink_make(i / 2 % SINK_KINDS, map, &peers[3]);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
    ck_assert_int_eq(sink_put(sink, HIGH + 1), 0);
}

static void make_held(int i)
{
    make_held_in(the_map, i);
}

static void make_held_by_other_map(int i)
{
    other_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(other_map);
    make_held_in(other_map, i);
}

static void passes_of(struct asyncore_map *map, int count)
{
    ck_assert_int_eq(run_passes(map, use_poll, count), 0);
}

static void passes(int count)
{
    passes_of(the_map, count);
}

static void setup(void)
{
    other_map = NULL;
}

static void teardown(void)
{
    asyncore_map_free(other_map);
}

/* --- closing --------------------------------------------------------------------------------- */

/* The source reads again, and is not told. */
START_TEST(closed_sink)
{
    make_held(_i);
    passes(1);
    ck_assert_int_eq(asyncore_close(sink), 0);
    passes(2);
    ck_assert_trace("a.read");
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), NULL, 0, 0), 0);
}
END_TEST

START_TEST(closed_sink_that_has_drained)
{
    make_held(_i);
    sink_take(sink, HIGH + 1);
    ck_assert_int_eq(asyncore_close(sink), 0);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

START_TEST(closed_source)
{
    make_held(_i);
    ck_assert_int_eq(asyncore_close(source_dispatcher(a)), 0);
    passes(1); /* it is destroyed */
    sink_take(sink, HIGH + 1);
    passes(2);
    ck_assert_trace("");
}
END_TEST

START_TEST(closed_source_that_is_due)
{
    make_held(_i);
    sink_take(sink, HIGH + 1);
    ck_assert_int_eq(asyncore_close(source_dispatcher(a)), 0);
    passes(2);
    ck_assert_trace("");
}
END_TEST

/* The one that is closed first is kept: its relation is over all the same. */
START_TEST(both_closed)
{
    struct asyncore_dispatcher *first, *second;

    make_held(_i);
    first = _i / 4 ? sink : source_dispatcher(a);
    second = _i / 4 ? source_dispatcher(a) : sink;
    asyncore_ref(first);
    ck_assert_int_eq(asyncore_close(first), 0);
    ck_assert_int_eq(asyncore_close(second), 0);
    passes(1);
    asyncore_unref(first);
    passes(1);
    ck_assert_trace("");
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
}
END_TEST

START_TEST(closed_by_itself)
{
    make_held(_i);
    ck_assert_int_eq(asyncore_set_back_pressure(sink, sink, HIGH, LOW), 0);
    ck_assert_int_eq(asyncore_close(sink), 0);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

static int closes_sink(struct source *self)
{
    return asyncore_close(self->sink);
}

static int closes(struct source *self)
{
    return asyncore_close(source_dispatcher(self));
}

static int closes_both(struct source *self)
{
    int r = closes(self);

    return r < 0 ? r : closes_sink(self);
}

/* In handle_drain, which another one was to get as well. */
START_TEST(closed_in_handle_drain)
{
    static int (*const hooks[])(struct source * self) = {closes_sink, closes, closes_both};
    static const char *const traces[] = {"a.drain a.read b.read", "a.drain b.drain b.read",
                                         "a.drain b.read"};
    struct source *b;

    make_held(_i);
    b = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(b), sink, HIGH, LOW), 0);
    a->on_drain = hooks[_i / 4];
    a->sink = sink;
    sink_take(sink, HIGH + 1);
    passes(3);
    ck_assert_trace(traces[_i / 4]);
}
END_TEST

static struct source *victim;

static int closes_victim(struct source *self)
{
    (void)self;
    return asyncore_close(source_dispatcher(victim));
}

START_TEST(closed_before_its_turn)
{
    make_held(_i);
    victim = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(victim), sink, HIGH, LOW), 0);
    a->on_drain = closes_victim;
    sink_take(sink, HIGH + 1);
    passes(3);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* What it sends from then on is for the next connection, without back-pressure. */
START_TEST(closed_and_connected_again)
{
    make_held(_i);
    test_close(&peers[3]);
    ck_assert_int_eq(asyncore_close(sink), 0);
    sink_give_socket(sink, &peers[3]);
    ck_assert_int_eq(sink_put(sink, HIGH + 1), 0);
    passes(2);
    ck_assert_trace("a.read");
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
    test_write_all(peers[0], "x", 1);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

/* The queue is kept, and what it holds too. */
START_TEST(another_socket)
{
    make_held(_i);
    test_close(&peers[3]);
    sink_give_socket(sink, &peers[3]);
    passes(2);
    ck_assert_trace("");
    sink_open(sink, HIGH + 1);
    passes(2);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* To the old one goes what that still takes. */
START_TEST(another_socket_and_the_rest)
{
    make_held(2 * SINK_CHAT + _i);
    sink_open(sink, HIGH + 1);
    test_close(&peers[3]);
    sink_give_socket(sink, &peers[3]);
    asyncore_del_channel(sink);
    passes(2);
    ck_assert_trace("a.drain a.read");
}
END_TEST

struct clinging {
    struct asyncore_dispatcher base;
};

ASYNCORE_DECLARE_LOCAL_CLASS(clinging, asyncore_dispatcher);

static void clinging_finalize(struct asyncore_dispatcher *d)
{
    ck_assert_int_eq(asyncore_create_socket(d, AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_set_back_pressure(d, sink, HIGH, LOW), 0);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), d, HIGH, LOW), 0);
}

ASYNCORE_DEFINE_LOCAL_CLASS(clinging, asyncore_dispatcher, .finalize = clinging_finalize);

/* Relations that it enters at the last moment. */
START_TEST(destroyed)
{
    make_held(_i);
    ck_assert_int_eq(asyncore_close(clinging_dispatcher(clinging_new(-1, the_map))), 0);
    passes(1);
    ck_assert_trace("");
    sink_take(sink, HIGH + 1);
    passes(1);
    ck_assert_trace("a.read"); /* the new sink has gone */
    ck_assert_int_eq(asyncore_close(source_dispatcher(a)), 0);
    passes(1);
}
END_TEST

START_TEST(detached_sink)
{
    int fd;

    use_poll = _i;
    a = source_ready(&source_class, 0);
    sink = &source_make(&source_class, "b", the_map, &peers[3])->base.base;
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
    while (asyncore_out_buffer_length(sink) <= HIGH)
        ck_assert_int_eq(sink_put(sink, 65536), 0);
    passes(1);
    ck_assert_trace("");
    fd = asyncore_detach(sink);
    ck_assert_int_ge(fd, 0);
    test_close(&fd);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

/* --- in and out of maps ---------------------------------------------------------------------- */

/* What it has not been told waits for it to come back. */
START_TEST(source_out_of_the_map)
{
    make_held(_i);
    if (_i / 4)
        sink_take(sink, HIGH + 1);
    asyncore_del_channel(source_dispatcher(a));
    passes(1);
    if (_i / 4 == 0)
        sink_take(sink, HIGH + 1);
    passes(1);
    ck_assert_trace("");
    ck_assert_int_eq(asyncore_add_channel(source_dispatcher(a), NULL), 0);
    passes(2);
    ck_assert_trace("a.drain a.read");
}
END_TEST

START_TEST(sink_out_of_the_map)
{
    make_held(_i);
    asyncore_del_channel(sink);
    sink_open(sink, HIGH + 1);
    passes(2);
    ck_assert_trace("");
    ck_assert_int_eq(asyncore_add_channel(sink, NULL), 0);
    passes(2);
    ck_assert_trace("a.drain a.read");
}
END_TEST

static int leaves(struct source *self)
{
    (void)self;
    asyncore_del_channel(source_dispatcher(victim));
    return 0;
}

START_TEST(out_of_the_map_before_its_turn)
{
    make_held(_i);
    victim = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(victim), sink, HIGH, LOW), 0);
    a->on_drain = leaves;
    sink_take(sink, HIGH + 1);
    passes(2);
    ck_assert_trace("a.drain a.read");
    ck_assert_int_eq(asyncore_add_channel(source_dispatcher(victim), NULL), 0);
    passes(1);
    ck_assert_trace("a.drain a.read b.drain b.read");
}
END_TEST

/* Told in a pass of its own map. */
START_TEST(sink_of_another_map)
{
    make_held_by_other_map(_i);
    passes(2);
    sink_open(sink, HIGH + 1);
    passes_of(other_map, 2);
    ck_assert_trace("");
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

START_TEST(source_moves)
{
    make_held(_i);
    other_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(other_map);
    if (_i / 4)
        sink_take(sink, HIGH + 1);
    ck_assert_int_eq(asyncore_add_channel(source_dispatcher(a), other_map), 0);
    passes(1);
    if (_i / 4 == 0)
        passes_of(other_map, 1);
    ck_assert_trace("");
    if (_i / 4 == 0)
        sink_take(sink, HIGH + 1);
    passes_of(other_map, 1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

START_TEST(sink_moves)
{
    make_held(_i);
    other_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(other_map);
    ck_assert_int_eq(asyncore_add_channel(sink, other_map), 0);
    passes(2);
    ck_assert_trace("");
    sink_open(sink, HIGH + 1);
    passes_of(other_map, 2);
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* --- the end of maps ------------------------------------------------------------------------- */

START_TEST(map_of_both_is_freed)
{
    make_held(_i);
    if (_i / 4)
        sink_take(sink, HIGH + 1);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_trace("");
}
END_TEST

START_TEST(map_of_the_sink_is_freed)
{
    make_held_by_other_map(_i);
    asyncore_map_free(other_map);
    other_map = NULL;
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

START_TEST(map_of_the_source_is_freed)
{
    make_held_by_other_map(_i);
    asyncore_map_free(the_map);
    the_map = NULL;
    sink_open(sink, HIGH + 1);
    passes_of(other_map, 2);
    ck_assert_uint_eq(asyncore_out_buffer_length(sink), 0);
    ck_assert_trace("");
}
END_TEST

static int frees_map(struct source *self)
{
    (void)self;
    asyncore_map_free(the_map);
    the_map = NULL;
    return 0;
}

START_TEST(map_freed_in_handle_drain)
{
    struct source *b;

    make_held(_i);
    b = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(b), sink, HIGH, LOW), 0);
    a->on_drain = frees_map;
    sink_take(sink, HIGH + 1);
    ck_assert_int_eq(asyncore_loop(TEST_WAIT_SECONDS, use_poll, the_map, 3), ASYNCORE_LOOP_EMPTY);
    ck_assert_trace("a.drain");
}
END_TEST

/* --- without memory -------------------------------------------------------------------------- */

/* Each of the two needs some, once. */
START_TEST(no_memory)
{
    int r[2];

    a = source_ready(&source_class, 0);
    sink = sink_make(SINK_SENDER, the_map, &peers[3]);
    ck_assert_int_eq(sink_put(sink, HIGH + 1), 0);
    fault_begin(1 + _i, false);
    r[0] = asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW);
    fault_end();
    ck_assert_int_eq(r[0], -ENOMEM);
    passes(1);
    ck_assert_trace("a.read");
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
    fault_begin(1, true);
    r[1] = asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW);
    fault_end();
    ck_assert_int_eq(r[1], 0);
    test_write_all(peers[0], "x", 1);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_life_case(Suite *s, TCase *tc)
{
    add_case(s, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    return tc;
}

static void add_closing(Suite *s)
{
    TCase *tc = add_life_case(s, tcase_create("closing"));

    tcase_add_loop_test(tc, closed_sink, 0, 4);
    tcase_add_loop_test(tc, closed_sink_that_has_drained, 0, 4);
    tcase_add_loop_test(tc, closed_source, 0, 4);
    tcase_add_loop_test(tc, closed_source_that_is_due, 0, 4);
    tcase_add_loop_test(tc, both_closed, 0, 8);
    tcase_add_loop_test(tc, closed_by_itself, 0, 4);
    tcase_add_loop_test(tc, closed_in_handle_drain, 0, 12);
    tcase_add_loop_test(tc, closed_before_its_turn, 0, 4);
    tcase_add_loop_test(tc, closed_and_connected_again, 0, 4);
    tcase_add_loop_test(tc, another_socket, 0, 4);
    tcase_add_loop_test(tc, another_socket_and_the_rest, 0, 2);
    tcase_add_loop_test(tc, destroyed, 0, 4);
    tcase_add_loop_test(tc, detached_sink, 0, 2);
}

static void add_maps(Suite *s)
{
    TCase *tc = add_life_case(s, tcase_create("maps"));

    tcase_add_loop_test(tc, source_out_of_the_map, 0, 8);
    tcase_add_loop_test(tc, sink_out_of_the_map, 0, 4);
    tcase_add_loop_test(tc, out_of_the_map_before_its_turn, 0, 4);
    tcase_add_loop_test(tc, sink_of_another_map, 0, 4);
    tcase_add_loop_test(tc, source_moves, 0, 8);
    tcase_add_loop_test(tc, sink_moves, 0, 4);
    tcase_add_loop_test(tc, map_of_both_is_freed, 0, 8);
    tcase_add_loop_test(tc, map_of_the_sink_is_freed, 0, 4);
    tcase_add_loop_test(tc, map_of_the_source_is_freed, 0, 4);
    tcase_add_loop_test(tc, map_freed_in_handle_drain, 0, 4);
}

int main(void)
{
    Suite *s = suite_create("pressure_life");

    add_closing(s);
    add_maps(s);
    tcase_add_loop_test(add_life_case(s, tcase_create("memory")), no_memory, 0, 2);
    fault_install();
    return test_main(s);
}
