/*
 * Back-pressure: when a source is held and when it is told, with which marks and in which pass.
 */
#include "pressure_probe.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>

enum {
    HIGH = 100,
    LOW = 40
};

static bool use_poll;
static struct source *a;                 /* a source that has something to read */
static struct asyncore_dispatcher *sink; /* of a's; its other end is peers[3] */

#define ck_assert_trace(expected) ck_assert_str_eq(probe_trace(), expected)

static void make_pair(const struct asyncore_class *cls, int kind)
{
    a = source_ready(cls, 0);
    sink = sink_make(kind, the_map, &peers[3]);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
}

/* For loops over ways, classes and kinds of sinks. */
enum {
    WAYS = 2,
    MATRIX = WAYS * SOURCE_CLASSES * SINK_KINDS,
    WAYS_AND_SINKS = WAYS * SINK_KINDS
};

static void make_matrix(int i)
{
    use_poll = i % WAYS;
    make_pair(source_classes[i / WAYS / SINK_KINDS], i / WAYS % SINK_KINDS);
}

static void make_plain(int i)
{
    use_poll = i % WAYS;
    make_pair(&source_class, i / WAYS);
}

static void passes(int count)
{
    ck_assert_int_eq(run_passes(the_map, use_poll, count), 0);
}

static void put(size_t count)
{
    ck_assert_int_eq(sink_put(sink, count), 0);
}

/* --- the marks ------------------------------------------------------------------------------- */

START_TEST(held_above_high_until_low)
{
    make_matrix(_i);
    put(HIGH + 1);
    passes(3);
    ck_assert_trace("");
    sink_take(sink, HIGH - LOW);
    passes(3);
    ck_assert_trace(""); /* one is too many */
    sink_take(sink, 1);
    passes(1);
    ck_assert_trace("a.drain a.read");
    passes(3);
    ck_assert_trace("a.drain a.read");
}
END_TEST

START_TEST(not_held_at_high)
{
    make_matrix(_i);
    put(HIGH);
    passes(2);
    ck_assert_trace("a.read");
}
END_TEST

/* Who was not held is not told. */
START_TEST(not_told_without_need)
{
    make_matrix(_i);
    put(HIGH);
    sink_take(sink, HIGH);
    passes(3);
    ck_assert_trace("a.read");
}
END_TEST

START_TEST(told_each_time)
{
    make_matrix(_i);
    for (int round = 0; round < 3; round++) {
        passes(2);
        probe_clear();
        put(HIGH + 1);
        test_write_all(peers[0], "x", 1);
        passes(2);
        ck_assert_trace("");
        sink_take(sink, HIGH + 1);
        passes(1);
        ck_assert_trace("a.drain a.read");
    }
}
END_TEST

/* Twice before the next pass. */
START_TEST(told_once_a_pass)
{
    make_plain(_i);
    for (int round = 0; round < 2; round++) {
        put(HIGH + 1);
        sink_take(sink, HIGH + 1);
    }
    passes(3);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* Filled again in the meantime, it is told all the same, and held. */
START_TEST(told_and_held_again)
{
    make_plain(_i);
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    put(HIGH + 1);
    passes(3);
    ck_assert_trace("a.drain");
    sink_take(sink, HIGH + 1);
    passes(3);
    ck_assert_trace("a.drain a.drain a.read");
}
END_TEST

START_TEST(held_at_the_time_of_the_call)
{
    use_poll = _i % WAYS;
    a = source_ready(&source_class, 0);
    sink = sink_make(_i / WAYS, the_map, &peers[3]);
    put(HIGH + 1);
    passes(1);
    ck_assert_trace("a.read");
    test_write_all(peers[0], "x", 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, HIGH, LOW), 0);
    passes(3);
    ck_assert_trace("a.read");
    sink_take(sink, HIGH + 1);
    passes(1);
    ck_assert_trace("a.read a.drain a.read");
}
END_TEST

START_TEST(marks_of_zero)
{
    make_plain(_i);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, 0, 0), 0);
    put(2);
    sink_take(sink, 1);
    passes(2);
    ck_assert_trace("");
    sink_take(sink, 1);
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* As if it were the first call: between the new marks it is not held. */
START_TEST(other_marks)
{
    make_plain(_i);
    put(HIGH + 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), sink, (size_t)2 * HIGH, LOW),
                     0);
    passes(3);
    ck_assert_trace("a.read");
    put(HIGH);
    sink_take(sink, (size_t)2 * HIGH + 1);
    passes(3);
    ck_assert_trace("a.read a.drain");
}
END_TEST

START_TEST(taken_back)
{
    make_matrix(_i);
    put(HIGH + 1);
    passes(1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), NULL, 1, 2), 0);
    passes(1);
    ck_assert_trace("a.read");
    sink_take(sink, HIGH + 1);
    put(HIGH + 1);
    test_write_all(peers[0], "x", 1);
    passes(2);
    ck_assert_trace("a.read a.read");
}
END_TEST

/* After it has drained, and before it is told. */
START_TEST(taken_back_when_due)
{
    make_plain(_i);
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), NULL, 0, 0), 0);
    passes(3);
    ck_assert_trace("a.read");
}
END_TEST

START_TEST(another_sink)
{
    struct asyncore_dispatcher *other;

    make_plain(_i);
    put(HIGH + 1);
    other = sink_make(_i / WAYS, the_map, &peers[2]);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(a), other, HIGH, LOW), 0);
    passes(1);
    ck_assert_trace("a.read");
    test_write_all(peers[0], "x", 1);
    ck_assert_int_eq(sink_put(other, HIGH + 1), 0);
    sink_take(sink, HIGH + 1);
    passes(3);
    ck_assert_trace("a.read");
    sink_take(other, HIGH + 1);
    passes(1);
    ck_assert_trace("a.read a.drain a.read");
}
END_TEST

START_TEST(what_is_refused)
{
    struct asyncore_dispatcher *d;

    make_plain(0);
    d = source_dispatcher(a);
    put(HIGH + 1);
    ck_assert_int_eq(asyncore_set_back_pressure(d, sink, LOW, HIGH), -EINVAL);
    passes(2);
    ck_assert_trace(""); /* it is as it was */
    ck_assert_int_eq(asyncore_close(d), 0);
    ck_assert_int_eq(asyncore_set_back_pressure(d, sink, HIGH, LOW), -EBADF);
    ck_assert_int_eq(asyncore_set_back_pressure(sink, d, HIGH, LOW), -EBADF);
    ck_assert_int_eq(asyncore_set_back_pressure(d, NULL, HIGH, LOW), 0);
}
END_TEST

/* --- many, and one --------------------------------------------------------------------------- */

START_TEST(several_sources)
{
    struct source *b, *c;

    make_plain(_i);
    b = source_ready(&quiet_source_class, 1);
    c = source_ready(&asked_source_class, 2);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(b), sink, 50, 0), 0);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(c), sink, HIGH, LOW), 0);
    put(60);
    passes(2);
    ck_assert_trace("a.read c.read");
    put(60);
    for (int i = 0; i < 3; i++)
        test_write_all(peers[i], "x", 1);
    passes(2);
    ck_assert_trace("a.read c.read");
    probe_clear();
    sink_take(sink, 80);
    passes(2);
    ck_assert_trace("a.drain c.drain a.read c.read");
    sink_take(sink, 40);
    passes(2);
    ck_assert_trace("a.drain c.drain a.read c.read b.drain b.read");
}
END_TEST

static int fills(struct source *self)
{
    return sink_put(self->sink, HIGH + 1);
}

/* Nobody keeps the others from being told, and from reading in turn. */
START_TEST(sources_that_fill_it_again)
{
    struct source *b;

    make_plain(_i);
    b = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(b), sink, HIGH, LOW), 0);
    a->sink = b->sink = sink;
    a->on_read = b->on_read = a->on_drain = b->on_drain = fills;
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    passes(1);
    ck_assert_trace("a.drain b.drain a.read b.read");
    passes(2);
    ck_assert_trace("a.drain b.drain a.read b.read");
}
END_TEST

START_TEST(its_own_sink)
{
    struct asyncore_dispatcher *d;

    use_poll = _i % WAYS;
    a = source_make(source_classes[_i / WAYS], "a", the_map, &peers[1]);
    d = source_dispatcher(a);
    test_close(&peers[1]);
    sink_give_socket(d, &peers[0]);
    test_write_all(peers[0], "x", 1);
    ck_assert_int_eq(asyncore_set_back_pressure(d, d, HIGH, LOW), 0);
    ck_assert_int_eq(sink_put(d, HIGH + 1), 0);
    passes(3);
    ck_assert_trace("");
    sink_open(d, HIGH + 1); /* its own handle_write sends it */
    passes(3);
    ck_assert_trace("a.drain a.read");
    ck_assert_int_eq(asyncore_close(d), 0);
}
END_TEST

/* --- in passes ------------------------------------------------------------------------------- */

static int fails(struct source *self)
{
    (void)self;
    return -EPROTO;
}

START_TEST(an_error_goes_to_handle_error)
{
    make_plain(_i);
    a->on_drain = fails;
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    passes(2);
    ck_assert_trace("a.drain a.error(EPROTO)");
}
END_TEST

static int exits(struct source *self)
{
    self->on_drain = NULL;
    return ASYNCORE_EXIT_NOW;
}

/* Others who were to be told are told in the next loop. */
START_TEST(exit_now_leaves_the_loop)
{
    struct source *b;

    make_plain(_i);
    b = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(b), sink, HIGH, LOW), 0);
    a->on_drain = exits;
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), ASYNCORE_EXIT_NOW);
    ck_assert_trace("a.drain");
    passes(1);
    ck_assert_trace("a.drain b.drain a.read b.read");
}
END_TEST

static int runs_a_pass(struct source *self)
{
    (void)self;
    return run_passes(the_map, use_poll, 1);
}

/* The nested pass takes over who is still to be told. */
START_TEST(told_by_a_nested_pass)
{
    struct source *b;

    make_plain(_i);
    b = source_ready(&source_class, 1);
    ck_assert_int_eq(asyncore_set_back_pressure(source_dispatcher(b), sink, HIGH, LOW), 0);
    a->on_drain = runs_a_pass;
    put(HIGH + 1);
    sink_take(sink, HIGH + 1);
    passes(2);
    ck_assert_trace("a.drain b.drain a.read b.read");
}
END_TEST

static int drains_and_runs_a_pass(struct source *self)
{
    sink_take(self->sink, HIGH + 1);
    return run_passes(the_map, use_poll, 1);
}

/* Drained in a handler whose own pass is the next one. */
START_TEST(drained_around_a_nested_pass)
{
    struct source *b;

    make_plain(_i);
    put(HIGH + 1);
    b = source_ready(&quiet_source_class, 1);
    b->sink = sink;
    b->on_read = drains_and_runs_a_pass;
    passes(1);
    ck_assert_trace("b.read a.drain a.read");
}
END_TEST

static void on_host_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    sink_take(sink, HIGH + 1);
}

/* The loop does not wait on: its timeout is longer than that of the test. */
START_TEST(a_host_drains_while_the_loop_waits)
{
    const struct timeval now = {0, 0};

    make_plain(_i);
    put(HIGH + 1);
    passes(2);
    asyncore_del_channel(sink); /* it does not wake the loop up */
    ck_assert_int_eq(
        event_base_once(asyncore_map_base(the_map), -1, EV_TIMEOUT, on_host_event, NULL, &now), 0);
    while (a->total == 0)
        ck_assert_int_eq(asyncore_loop(10.0 * TEST_CASE_SECONDS, use_poll, the_map, 1),
                         ASYNCORE_LOOP_COUNT);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* The host runs the base, and calls what drains the sink. */
START_TEST(in_an_attached_map)
{
    struct event_base *base = asyncore_map_base(the_map);
    struct asyncore_map_stats before, after;

    make_plain(_i);
    put(HIGH + 1);
    asyncore_del_channel(sink);
    ck_assert_int_eq(asyncore_map_attach_loop(ASYNCORE_TIMEOUT_NONE, use_poll, the_map,
                                              ASYNCORE_COUNT_NONE, NULL, NULL),
                     0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    ck_assert_trace("");
    sink_take(sink, HIGH + 1);
    while (a->total == 0)
        ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
    ck_assert_trace("a.drain a.read");
    asyncore_map_stats(the_map, &before);
    for (int i = 0; i < 10; i++)
        ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    asyncore_map_stats(the_map, &after);
    ck_assert_uint_eq(after.events, before.events); /* it is not told again */
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
}
END_TEST

struct drainer {
    struct asyncore_dispatcher base;
};

static int drainer_readable(struct asyncore_dispatcher *d)
{
    (void)d;
    if (asyncore_out_buffer_length(sink) > 0)
        sink_take(sink, HIGH + 1);
    return 0;
}

static int never(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

ASYNCORE_CLASS(drainer, asyncore_dispatcher, .readable = drainer_readable, .writable = never);

struct deaf_source {
    struct source base;
};

ASYNCORE_CLASS(deaf_source, source, .readable = never, .writable = never);

/* Who waits for nothing is not looked at, and does not see that its peer has gone. */
START_TEST(told_and_nothing_else)
{
    make_pair(&deaf_source_class, _i / WAYS);
    use_poll = _i % WAYS;
    put(HIGH + 1);
    passes(1);
    test_close(&peers[0]);
    sink_take(sink, HIGH + 1);
    passes(3);
    ck_assert_trace("a.drain");
}
END_TEST

/* By one whose turn is after the source's, which is told in the next pass. */
START_TEST(drained_while_another_is_asked)
{
    int pair[2];

    make_plain(_i);
    put(HIGH + 1);
    passes(1);
    test_socketpair(SOCK_STREAM, pair);
    peers[1] = pair[1];
    ck_assert_ptr_nonnull(drainer_new(pair[0], the_map));
    passes(1);
    ck_assert_trace("");
    passes(1);
    ck_assert_trace("a.drain a.read");
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static void add_marks(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("marks"));

    tcase_add_loop_test(tc, held_above_high_until_low, 0, MATRIX);
    tcase_add_loop_test(tc, not_held_at_high, 0, MATRIX);
    tcase_add_loop_test(tc, not_told_without_need, 0, MATRIX);
    tcase_add_loop_test(tc, told_each_time, 0, MATRIX);
    tcase_add_loop_test(tc, told_once_a_pass, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, told_and_held_again, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, held_at_the_time_of_the_call, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, marks_of_zero, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, other_marks, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, taken_back, 0, MATRIX);
    tcase_add_loop_test(tc, taken_back_when_due, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, another_sink, 0, WAYS_AND_SINKS);
    tcase_add_test(tc, what_is_refused);
}

static void add_sources(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("sources"));

    tcase_add_loop_test(tc, several_sources, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, sources_that_fill_it_again, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, its_own_sink, 0, WAYS * SOURCE_CLASSES);
}

static void add_passes(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("passes"));

    tcase_add_loop_test(tc, an_error_goes_to_handle_error, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, exit_now_leaves_the_loop, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, told_by_a_nested_pass, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, drained_around_a_nested_pass, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, a_host_drains_while_the_loop_waits, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, in_an_attached_map, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, told_and_nothing_else, 0, WAYS_AND_SINKS);
    tcase_add_loop_test(tc, drained_while_another_is_asked, 0, WAYS_AND_SINKS);
}

int main(void)
{
    Suite *s = suite_create("pressure");

    add_marks(s);
    add_sources(s);
    add_passes(s);
    return test_main(s);
}
