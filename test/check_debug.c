/*
 * The library under libevent's debug mode, which ends the program when an event is set up while it
 * is added, or used without having been set up. A program of its own: the mode is switched on
 * before anything else. Links probe.c.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "probe.h"
#include "support.h"

#include <event2/event.h>

#include <string.h>
#include <unistd.h>

static struct event_base *base;
static struct asyncore_map *the_map;
static struct asyncore_map *other_map;
static struct probe *probe;
static int peer;

static void setup(void)
{
    probe_setup();
    base = event_base_new();
    the_map = asyncore_map_new(base);
    other_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(the_map);
    ck_assert_ptr_nonnull(other_map);
    probe = probe_connected("p", AF_INET, the_map, &peer);
}

static void teardown(void)
{
    asyncore_map_free(the_map);
    asyncore_map_free(other_map);
    event_base_free(base);
    test_close(&peer);
}

static struct asyncore_dispatcher *d(void)
{
    return &probe->base;
}

/* Has events for both directions and for out-of-band data. */
static void use_all_events(bool use_poll)
{
    test_fill(asyncore_fileno(d()));
    probe->writable = true;
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
    probe->writable = true;
    ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
}

static int no_write(struct probe *self)
{
    (void)self;
    return 0;
}

START_TEST(close_while_watched)
{
    probe->hook[PROBE_WRITE] = no_write;
    use_all_events(_i);
    ck_assert_int_eq(asyncore_close(d()), 0);
    ck_assert_int_eq(asyncore_poll2(0, the_map), 0);
    ck_assert_int_eq(probe_count("p.finalize"), 1);
}
END_TEST

START_TEST(free_while_watched)
{
    probe->hook[PROBE_WRITE] = no_write;
    use_all_events(_i);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(probe_count("p.finalize"), 1);
}
END_TEST

START_TEST(replace_while_watched)
{
    probe->hook[PROBE_WRITE] = no_write;
    for (int i = 0; i < 3; i++) {
        int pair[2];

        use_all_events(_i);
        test_pair(AF_INET, pair);
        ck_assert_int_eq(asyncore_set_socket(d(), pair[0], NULL), 0);
        test_close(&peer);
        peer = pair[1];
    }
    ck_assert_int_eq(asyncore_create_socket(d(), AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
}
END_TEST

START_TEST(move_while_watched)
{
    struct asyncore_map *to = other_map;

    probe->hook[PROBE_WRITE] = no_write;
    for (int i = 0; i < 4; i++) {
        test_fill(asyncore_fileno(d()));
        probe->writable = true;
        ck_assert_int_eq(run_passes(d()->map, _i, 3), 0);
        ck_assert_int_eq(asyncore_add_channel(d(), to), 0);
        to = to == other_map ? the_map : other_map;
    }
}
END_TEST

START_TEST(delete_and_add_while_watched)
{
    probe->hook[PROBE_WRITE] = no_write;
    for (int i = 0; i < 3; i++) {
        use_all_events(_i);
        asyncore_del_channel(d());
        ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
        ck_assert_int_eq(asyncore_add_channel(d(), NULL), 0);
    }
}
END_TEST

START_TEST(detach_while_watched)
{
    int fd;

    probe->hook[PROBE_WRITE] = no_write;
    use_all_events(_i);
    fd = asyncore_detach(d());
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(asyncore_set_socket(d(), fd, other_map), 0);
    ck_assert_int_eq(run_passes(other_map, _i, 2), 0);
}
END_TEST

/* Parked by the other map's loop, and then closed, or watched again. */
START_TEST(park_while_watched)
{
    ck_assert_int_eq(run_passes(the_map, _i & 1, 1), 0);
    test_write_all(peer, "x", 1);
    test_wait_readable(asyncore_fileno(d()));
    ck_assert_int_eq(send(peer, "!", 1, MSG_OOB), 1);
    ck_assert_int_eq(asyncore_poll2(0.01, other_map), 0);
    if (_i & 2)
        ck_assert_int_eq(asyncore_close(d()), 0);
    ck_assert_int_eq(_i & 1 ? asyncore_poll2(0, the_map) : asyncore_poll(0, the_map), 0);
    ck_assert_int_eq(probe_count("p.read"), _i & 2 ? 0 : 1);
}
END_TEST

static int close_and_connect(struct probe *self)
{
    int pair[2];

    asyncore_close(&self->base);
    test_pair(AF_INET, pair);
    test_close(&peer);
    peer = pair[1];
    return asyncore_set_socket(&self->base, pair[0], NULL);
}

START_TEST(replace_in_a_handler)
{
    probe->hook[PROBE_READ] = close_and_connect;
    for (int i = 0; i < 3; i++) {
        probe->writable = true;
        test_write_all(peer, "x", 1);
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    }
    ck_assert_int_ge(probe_count("p.read"), 1);
}
END_TEST

/* Never in a map at all. */
START_TEST(destroy_without_socket)
{
    (void)probe_make("q", -1, the_map);
    ck_assert_ptr_null(probe_new(0x7ffffff0, the_map));
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(probe_count("q.finalize"), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("debug");
    TCase *tc = tcase_create("debug_mode");

    event_enable_debug_mode();
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, close_while_watched, 0, 2);
    tcase_add_loop_test(tc, free_while_watched, 0, 2);
    tcase_add_loop_test(tc, replace_while_watched, 0, 2);
    tcase_add_loop_test(tc, move_while_watched, 0, 2);
    tcase_add_loop_test(tc, delete_and_add_while_watched, 0, 2);
    tcase_add_loop_test(tc, detach_while_watched, 0, 2);
    tcase_add_loop_test(tc, park_while_watched, 0, 4);
    tcase_add_loop_test(tc, replace_in_a_handler, 0, 2);
    tcase_add_test(tc, destroy_without_socket);
    suite_add_tcase(s, tc);
    int status = test_main(s);

    libevent_global_shutdown(); /* what it still knows of events would be a leak */
    return status;
}
