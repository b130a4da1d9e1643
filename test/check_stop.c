/*
 * A host that ends its loop, or frees the map, wherever it may; and loops where a map is attached.
 * What is ready is served once, now or when the host goes on. Where asyncore_loop runs the base,
 * check_host.c has more of it.
 */
#include "hosted.h"

#include <errno.h>
#include <unistd.h>

/* --- ways to stop ------------------------------------------------------------------------------
 *
 * Tests of them have _i for use_poll, and the way. */

enum {
    BREAK,
    EXIT,
    EXIT_LATER,
    CONTINUE,
    WAYS
};

static int way;

static void stop(void)
{
    const struct timeval soon = {0, 2000};

    probe_note("stop");
    if (way == BREAK)
        ck_assert_int_eq(event_base_loopbreak(base), 0);
    else if (way == CONTINUE)
        ck_assert_int_eq(event_base_loopcontinue(base), 0);
    else
        ck_assert_int_eq(event_base_loopexit(base, way == EXIT ? NULL : &soon), 0);
}

CALLBACK(stop_from_host)
{
    UNUSED_ARGUMENTS;
    stop();
}

static int stop_once(struct probe *self)
{
    for (int i = 0; i < PROBE_CALLS; i++)
        self->hook[i] = NULL;
    stop();
    return 0;
}

static int stop_and_read(struct probe *self)
{
    (void)stop_once(self);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

static int stop_and_say_yes(struct probe *self)
{
    return stop_once(self) + 1;
}

/* Runs the base until it is stopped. */
static void run_to_the_stop(void)
{
    if (way == CONTINUE)
        host_until("stop", 1);
    else
        ck_assert_int_eq(event_base_dispatch(base), 0);
    ck_assert_int_eq(probe_count("stop"), 1);
}

/* The host goes on: nothing is lost, and nothing is served twice. */
static void check_each_served_once(int count)
{
    static const char *const words[] = {"a.read", "b.read", "c.read"};

    for (int i = 0; i < count; i++)
        host_until(words[i], 1);
    host_settle();
    for (int i = 0; i < count; i++) {
        ck_assert_msg(probe_count(words[i]) == 1, "%s", probe_trace());
        ck_assert_uint_eq(probes[i]->total, 1);
    }
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
}

static void begin_ready(int i)
{
    way = i / 2;
    make_ready(i % 2);
}

static int stop_and_count(struct probe *self)
{
    int n = stop_and_read(self);

    self->total += (size_t)n;
    return n;
}

/* event_base_loopexit lets libevent's callbacks end: the pass is one. */
START_TEST(in_a_handler)
{
    begin_ready(_i);
    probes[0]->hook[PROBE_READ] = stop_and_count;
    run_to_the_stop();
    ck_assert_str_eq(probe_trace(), way == BREAK ? "a.read stop" : "a.read stop b.read c.read");
    check_each_served_once(3);
}
END_TEST

START_TEST(in_the_last_handler)
{
    begin_ready(_i);
    probes[2]->hook[PROBE_READ] = stop_and_count;
    run_to_the_stop();
    ck_assert_str_eq(probe_trace(), "a.read b.read c.read stop");
    check_each_served_once(3);
}
END_TEST

START_TEST(in_a_predicate)
{
    way = _i / 2;
    make_tcp(3);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[1]->hook[PROBE_READABLE] = stop_and_say_yes;
    attach(_i % 2);
    run_to_the_stop();
    check_each_served_once(3);
}
END_TEST

/* The one that is asked last, when those before it have been served. */
START_TEST(in_a_predicate_after_a_pass)
{
    begin_ready(_i);
    probes[2]->hook[PROBE_WRITABLE] = stop_once;
    run_to_the_stop();
    ck_assert_str_eq(probe_trace(), "a.read b.read c.read stop");
    check_each_served_once(3);
    ck_assert_int_eq(asyncore_map_attach(the_map, tell, NULL), 0);
    probe_clear();
    send_to(2);
    host_until("c.read", 1);
}
END_TEST

static int stop_and_accept(struct probe *self)
{
    int sock = asyncore_accept(&self->base, NULL, NULL);

    ck_assert_int_ge(sock, 0);
    close(sock);
    return stop_once(self);
}

START_TEST(in_handle_accept)
{
    struct test_addr addr;
    struct probe *listener;

    way = _i / 2;
    listener = probe_make("l", test_listener(AF_INET, &addr), the_map);
    listener->hook[PROBE_ACCEPT] = stop_and_accept;
    peers[3] = test_connect(&addr);
    make_tcp(1);
    send_to(0);
    test_wait_readable(asyncore_fileno(&listener->base));
    attach(_i % 2);
    run_to_the_stop();
    check_each_served_once(1);
    ck_assert_int_eq(probe_count("l.accept"), 1);
}
END_TEST

/* A timer that is due: its callback comes between the events of the channels and their pass. */
START_TEST(in_front_of_the_pass)
{
    begin_ready(_i);
    host_call(stop_from_host, NULL, 0);
    run_to_the_stop();
    if (way == BREAK)
        ck_assert_str_eq(probe_trace(), "stop");
    check_each_served_once(3);
}
END_TEST

static struct event *active;

static int activate_and_read(struct probe *self)
{
    int n = asyncore_recv(&self->base, &(char){0}, 1);

    event_active(active, EV_TIMEOUT, 0);
    self->hook[PROBE_READ] = NULL;
    self->total += (size_t)n;
    return n;
}

START_TEST(behind_the_pass)
{
    active = evtimer_new(base, stop_from_host, NULL);
    ck_assert_ptr_nonnull(active);
    begin_ready(_i);
    probes[0]->hook[PROBE_READ] = activate_and_read;
    run_to_the_stop();
    ck_assert_str_eq(probe_trace(), "a.read b.read c.read stop");
    check_each_served_once(3);
    event_free(active);
}
END_TEST

/* Breaking what does not run yet is forgotten by libevent, exiting is not. */
START_TEST(before_the_loop)
{
    begin_ready(_i);
    stop();
    check_each_served_once(3);
}
END_TEST

static void stop_in_done(struct asyncore_map *map)
{
    done_hook = NULL;
    stop();
    ck_assert_int_eq(asyncore_map_attach(map, tell, NULL), 0);
}

START_TEST(in_done)
{
    way = _i / 2;
    make_tcp(3);
    ck_assert_int_eq(asyncore_map_attach_loop(0, _i % 2, the_map, 1, tell, NULL), 0);
    done_hook = stop_in_done;
    run_to_the_stop();
    for (int i = 0; i < 3; i++)
        send_to(i);
    check_each_served_once(3);
}
END_TEST

/* Of the map that is in it, after the host has stopped: the pass is still to come. */
START_TEST(and_then_other_calls)
{
    begin_ready(_i);
    host_call(stop_from_host, NULL, 0);
    run_to_the_stop();
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    asyncore_del_channel(d(1));
    asyncore_map_touch(the_map);
    host_settle();
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
    if (way == BREAK)
        ck_assert_int_eq(probe_count("a.read") + probe_count("b.read"), 0);
}
END_TEST

static struct asyncore_map *other_map;

/* What the one map's handler stops is not lost for the other. */
START_TEST(two_maps)
{
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
    begin_ready(_i);
    probes[3] = probe_connected("d", AF_INET, other_map, &peers[3]);
    ck_assert_int_eq(asyncore_map_attach(other_map, tell, NULL), 0);
    send_to(3);
    probes[0]->hook[PROBE_READ] = stop_and_count;
    run_to_the_stop();
    check_each_served_once(3);
    host_until("d.read", 1);
    ck_assert_int_eq(probe_count("d.read"), 1);
    asyncore_map_free(other_map);
}
END_TEST

/* --- where asyncore_loop runs the base ----------------------------------------------------------
 */

/* libevent looks at its events again, and the pass goes on. _i: use_poll. */
START_TEST(continue_in_a_handler)
{
    way = CONTINUE;
    make_tcp(3);
    for (int i = 0; i < 3; i++)
        send_to(i);
    probes[1]->hook[PROBE_READ] = stop_and_read;
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    check_trace("a.read b.read stop c.read");
}
END_TEST

START_TEST(continue_in_a_callback)
{
    way = CONTINUE;
    make_tcp(3);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    for (int i = 0; i < 3; i++)
        send_to(i);
    host_call(stop_from_host, NULL, 0);
    while (probe_count("c.read") == 0 || probe_count("stop") == 0)
        ck_assert_int_eq(asyncore_loop(0.01, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("stop a.read b.read c.read");
}
END_TEST

/* A map that is attached ends the loop of another one on its base. */
START_TEST(handler_of_an_attached_map_ends_another_loop)
{
    way = _i / 2;
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
    probes[3] = probe_connected("d", AF_INET, other_map, &peers[3]);
    make_tcp(1);
    send_to(0);
    probes[0]->hook[PROBE_READ] = stop_and_count;
    attach(_i % 2);
    ck_assert_int_eq(asyncore_loop(way == CONTINUE ? 0.01 : ASYNCORE_TIMEOUT_NONE, _i % 2,
                                   other_map, way == CONTINUE ? 1 : ASYNCORE_COUNT_NONE),
                     way == CONTINUE ? ASYNCORE_LOOP_COUNT : ASYNCORE_LOOP_BROKEN);
    check_each_served_once(1);
    asyncore_map_free(other_map);
}
END_TEST

/* --- freeing the map ---------------------------------------------------------------------------
 *
 * _i: use_poll. */

static void free_map(void)
{
    asyncore_map_free(the_map);
    the_map = NULL;
}

/* Nothing is left in the base, and done has not been called. */
static void check_freed(const char *expected)
{
    host_settle();
    ck_assert_int_eq(host_events(), 0);
    check_trace(expected);
}

static int free_in_handler(struct probe *self)
{
    (void)self;
    free_map();
    return 0;
}

START_TEST(freed_in_a_handler)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = free_in_handler;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_freed("a.read b.read a.finalize b.finalize c.finalize");
}
END_TEST

static int free_and_exit(struct probe *self)
{
    (void)free_in_handler(self);
    return ASYNCORE_EXIT_NOW;
}

START_TEST(freed_in_a_handler_that_exits)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = free_and_exit;
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_freed("a.read b.read a.finalize b.finalize c.finalize");
}
END_TEST

static int free_in_predicate(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    free_map();
    return 1;
}

START_TEST(freed_in_a_predicate)
{
    make_tcp(3);
    probes[1]->hook[PROBE_READABLE] = free_in_predicate;
    attach(_i);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_freed("a.finalize b.finalize c.finalize");
}
END_TEST

CALLBACK(free_from_host)
{
    UNUSED_ARGUMENTS;
    free_map();
}

/* Between the events of the channels and their pass. */
START_TEST(freed_while_channels_are_ready)
{
    make_ready(_i);
    host_call(free_from_host, NULL, 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_freed("a.finalize b.finalize c.finalize");
}
END_TEST

CALLBACK(break_and_free)
{
    UNUSED_ARGUMENTS;
    ck_assert_int_eq(event_base_loopbreak(base), 0);
    free_map();
}

START_TEST(freed_while_the_base_is_stopping)
{
    make_ready(_i);
    host_call(break_and_free, NULL, 0);
    ck_assert_int_eq(event_base_dispatch(base), 0);
    check_freed("a.finalize b.finalize c.finalize");
}
END_TEST

static int break_and_free_in_handler(struct probe *self)
{
    ck_assert_int_eq(event_base_loopbreak(base), 0);
    return free_in_handler(self);
}

START_TEST(freed_in_a_handler_that_stops_the_base)
{
    make_ready(_i);
    probes[1]->hook[PROBE_READ] = break_and_free_in_handler;
    ck_assert_int_eq(event_base_dispatch(base), 0);
    check_freed("a.read b.read a.finalize b.finalize c.finalize");
}
END_TEST

/* With the pass that is still to come. */
START_TEST(freed_with_its_base)
{
    way = BREAK;
    make_ready(_i);
    host_call(stop_from_host, NULL, 0);
    run_to_the_stop();
    free_map();
    event_base_free(base);
    base = NULL;
    check_trace("stop a.finalize b.finalize c.finalize");
}
END_TEST

/* The base is the map's own, and runs. */
START_TEST(freed_with_its_own_base)
{
    struct event_base *own;

    free_map();
    the_map = asyncore_map_new(NULL);
    own = asyncore_map_base(the_map);
    make_tcp(1);
    attach(_i);
    send_to(0);
    while (probe_count("a.read") == 0)
        ck_assert_int_eq(event_base_loop(own, EVLOOP_ONCE), 0);
    free_map();
    check_trace("a.read a.finalize");
}
END_TEST

static int free_other(struct probe *self)
{
    asyncore_map_free(other_map);
    other_map = NULL;
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* Another attached map, of which channels are ready too. */
START_TEST(freed_in_a_handler_of_another)
{
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
    ck_assert_int_eq(asyncore_map_attach(other_map, tell, NULL), 0);
    probes[3] = probe_connected("d", AF_INET, other_map, &peers[3]);
    make_ready(_i);
    send_to(3);
    probes[0]->hook[PROBE_READ] = free_other;
    host_until("c.read", 1);
    host_settle();
    ck_assert_int_eq(probe_count("d.finalize"), 1);
    ck_assert_int_le(probe_count("d.read"), 1);
    ck_assert_int_eq(probe_count("done=EMPTY"), 0);
}
END_TEST

/* --- loops inside ------------------------------------------------------------------------------
 */

static struct asyncore_map *inner_map;

static void try_loops(void)
{
    const int results[] = {
        asyncore_loop(0, false, inner_map, 1),
        asyncore_poll(0, inner_map),
        asyncore_poll2(0, inner_map),
    };

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(results[i], -EDEADLK);
    probe_note("tried");
}

CALLBACK(try_loops_from_host)
{
    UNUSED_ARGUMENTS;
    try_loops();
}

static int try_loops_and_read(struct probe *self)
{
    try_loops();
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* _i: of the map itself, or of another one on its base. */
static void make_inner(int i)
{
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(other_map);
    probes[3] = probe_connected("d", AF_INET, other_map, &peers[3]);
    make_tcp(1);
    attach(false);
    inner_map = i ? other_map : the_map;
}

/* libevent warns of it. */
static void check_tried(void)
{
    struct test_capture err;

    test_capture_begin(&err, STDERR_FILENO);
    host_settle();
    (void)test_capture_end(&err);
    ck_assert_int_eq(probe_count("tried"), 1);
    probe_clear();
    send_to(0);
    host_until("a.read", 1);
    check_trace("a.read");
    asyncore_map_free(other_map);
}

START_TEST(loop_in_a_callback_of_the_host)
{
    make_inner(_i);
    host_call(try_loops_from_host, NULL, 0);
    check_tried();
}
END_TEST

static int try_loops_once(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    return try_loops_and_read(self);
}

START_TEST(loop_in_a_handler)
{
    make_inner(_i);
    probes[0]->hook[PROBE_READ] = try_loops_once;
    send_to(0);
    check_tried();
}
END_TEST

static int run_inner(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    probe_note("inner=%d", asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, inner_map, 1));
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* Of a map on another base. */
START_TEST(loop_of_another_base_in_a_handler)
{
    inner_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(inner_map);
    probes[3] = probe_connected("d", AF_INET, inner_map, &peers[3]);
    send_to(3);
    make_ready(_i);
    probes[0]->hook[PROBE_READ] = run_inner;
    host_until("c.read", 1);
    check_trace("a.read d.read inner=1 b.read c.read");
    asyncore_map_free(inner_map);
}
END_TEST

/* A handler of a map that asyncore_loop serves may run it again; meanwhile the attached one is
 * served. */
START_TEST(loop_in_a_handler_of_a_loop)
{
    inner_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(inner_map);
    probes[2] = probe_connected("c", AF_INET, inner_map, &peers[2]);
    probes[3] = probe_connected("d", AF_INET, inner_map, &peers[3]);
    make_tcp(1);
    attach(_i);
    probes[2]->hook[PROBE_READ] = run_inner;
    send_to(2);
    send_to(3);
    send_to(0);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, inner_map, 1), ASYNCORE_LOOP_COUNT);
    host_until("a.read", 1);
    ck_assert_int_eq(probe_count("inner=1"), 1);
    ck_assert_int_eq(probe_count("d.read"), 1);
    ck_assert_int_eq(probe_count("a.read"), 1);
    asyncore_map_free(inner_map);
}
END_TEST

/* --- running -----------------------------------------------------------------------------------
 */

static void add_stopping(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("stopping"));

    tcase_add_loop_test(tc, in_a_handler, 0, 2 * WAYS);
    tcase_add_loop_test(tc, in_the_last_handler, 0, 2 * WAYS);
    tcase_add_loop_test(tc, in_a_predicate, 0, 2 * WAYS);
    tcase_add_loop_test(tc, in_a_predicate_after_a_pass, 0, 2 * WAYS);
    tcase_add_loop_test(tc, in_handle_accept, 0, 2 * WAYS);
    tcase_add_loop_test(tc, in_front_of_the_pass, 0, 2 * WAYS);
    tcase_add_loop_test(tc, behind_the_pass, 0, 2 * WAYS);
    tcase_add_loop_test(tc, before_the_loop, 0, 2 * WAYS);
    tcase_add_loop_test(tc, in_done, 0, 2 * WAYS);
    tcase_add_loop_test(tc, and_then_other_calls, 0, 2 * WAYS);
    tcase_add_loop_test(tc, two_maps, 0, 2 * WAYS);

    tc = add_hosted_case(s, tcase_create("loops"));
    tcase_add_loop_test(tc, continue_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, continue_in_a_callback, 0, 2);
    tcase_add_loop_test(tc, handler_of_an_attached_map_ends_another_loop, 0, 2 * WAYS);
}

static void add_freeing(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("freeing"));

    tcase_add_loop_test(tc, freed_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, freed_in_a_handler_that_exits, 0, 2);
    tcase_add_loop_test(tc, freed_in_a_predicate, 0, 2);
    tcase_add_loop_test(tc, freed_while_channels_are_ready, 0, 2);
    tcase_add_loop_test(tc, freed_while_the_base_is_stopping, 0, 2);
    tcase_add_loop_test(tc, freed_in_a_handler_that_stops_the_base, 0, 2);
    tcase_add_loop_test(tc, freed_with_its_base, 0, 2);
    tcase_add_loop_test(tc, freed_with_its_own_base, 0, 2);
    tcase_add_loop_test(tc, freed_in_a_handler_of_another, 0, 2);

    tc = add_hosted_case(s, tcase_create("inside"));
    tcase_add_loop_test(tc, loop_in_a_callback_of_the_host, 0, 2);
    tcase_add_loop_test(tc, loop_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, loop_of_another_base_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, loop_in_a_handler_of_a_loop, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("stop");

    add_stopping(s);
    add_freeing(s);
    return hosted_main(s);
}
