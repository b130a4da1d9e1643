/*
 * Maps with an event priority of their own: libevent serves the lowest number that is ready, and
 * looks at the others when there is nothing else.
 *
 * _i is for use_poll.
 */
#include "hosted.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    URGENT,
    NORMAL,
    SLOW,
    PRIORITIES
};

/* Beside the_map, with a: this one has b, c and d. */
static struct asyncore_map *second_map;
static struct event *host; /* the host's own, of the normal priority */

static void priority_setup(void)
{
    asyncore_map_free(the_map);
    event_base_free(base);
    base = hosted_base_new();
    ck_assert_int_eq(event_base_priority_init(base, PRIORITIES), 0);
    the_map = asyncore_map_new(base);
    second_map = asyncore_map_new(base);
    ck_assert_ptr_nonnull(second_map);
    host = NULL;
}

static void priority_teardown(void)
{
    asyncore_map_free(second_map);
    if (host)
        event_free(host);
}

static void make_one_in(struct asyncore_map *map, int i)
{
    static const char *const names[] = {"a", "b", "c", "d"};

    probes[i] = probe_connected(names[i], AF_INET, map, &peers[i]);
}

static void set_priorities(int first, int second)
{
    ck_assert_int_eq(asyncore_map_set_priority(the_map, first), 0);
    ck_assert_int_eq(asyncore_map_set_priority(second_map, second), 0);
}

static void attach_both(bool use_poll)
{
    attach(use_poll);
    ck_assert_int_eq(asyncore_map_attach_loop(ASYNCORE_TIMEOUT_NONE, use_poll, second_map,
                                              ASYNCORE_COUNT_NONE, tell, NULL),
                     0);
    host_settle();
}

/* What both have to do at the same time. */
static void check_order(const char *first, const char *second)
{
    char expected[64];

    probe_clear();
    send_to(0);
    send_to(1);
    host_until(first, 1);
    host_until(second, 1);
    snprintf(expected, sizeof expected, "%s %s", first, second);
    check_trace(expected);
}

START_TEST(bad_priorities)
{
    struct asyncore_dispatcher *held;
    struct asyncore_map *map;

    ck_assert_int_eq(asyncore_map_set_priority(the_map, -1), -EINVAL);
    ck_assert_int_eq(asyncore_map_set_priority(the_map, PRIORITIES), -EINVAL);
    ck_assert_int_eq(asyncore_map_set_priority(the_map, PRIORITIES - 1), 0);
    ck_assert_int_eq(asyncore_map_set_priority(NULL, 0), 0);
    ck_assert_int_eq(asyncore_map_set_priority(NULL, 1), -EINVAL);
    make_one_in(the_map, 0);
    held = asyncore_ref(d(0));
    map = held->map;
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(asyncore_map_set_priority(map, 0), -EINVAL);
    asyncore_unref(held);
}
END_TEST

START_TEST(lower_number_first)
{
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    set_priorities(URGENT, SLOW);
    attach_both(_i);
    check_order("a.read", "b.read");
    set_priorities(SLOW, URGENT);
    host_settle();
    check_order("b.read", "a.read");
    set_priorities(NORMAL, SLOW);
    check_order("a.read", "b.read");
}
END_TEST

/* It is known before there are channels, or the map is attached. */
START_TEST(set_before_there_are_channels)
{
    set_priorities(SLOW, URGENT);
    attach_both(_i);
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    host_settle();
    check_order("b.read", "a.read");
}
END_TEST

/* Writes have an event of their own, too. */
START_TEST(events_for_writing)
{
    for (int i = 0; i < 2; i++) {
        make_one_in(i ? second_map : the_map, i);
        probes[i]->writable = true;
        test_fill(asyncore_fileno(d(i)));
    }
    set_priorities(SLOW, URGENT);
    attach_both(_i);
    probe_clear();
    probes[0]->calls[PROBE_WRITE] = probes[1]->calls[PROBE_WRITE] = 0;
    for (int i = 0; i < 2; i++) {
        probes[i]->writable = true;
        asyncore_map_touch(i ? second_map : the_map);
    }
    host_settle();
    probe_clear();
    for (int i = 0; i < 2; i++)
        test_close(&peers[i]);
    host_until("a.close", 1);
    host_until("b.close", 1);
    ck_assert_int_eq(strncmp(probe_trace(), "b.", 2), 0);
}
END_TEST

CALLBACK(on_host)
{
    UNUSED_ARGUMENTS;
    probe_note("host");
}

/* The host's own events are between the two. */
START_TEST(beside_the_host)
{
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    set_priorities(SLOW, URGENT);
    attach_both(_i);
    host = evtimer_new(base, on_host, NULL);
    ck_assert_int_eq(event_priority_set(host, NORMAL), 0);
    send_to(0);
    send_to(1);
    event_active(host, EV_TIMEOUT, 0);
    host_until("a.read", 1);
    ck_assert_ptr_nonnull(strstr(probe_trace(), "b.read"));
    ck_assert(strstr(probe_trace(), "host") < strstr(probe_trace(), "a.read"));
    ck_assert(strstr(probe_trace(), "b.read") < strstr(probe_trace(), "a.read"));
}
END_TEST

static int write_few(struct probe *self)
{
    self->writable = self->calls[PROBE_WRITE] < FEW;
    return asyncore_send(&self->base, "x", 1);
}

/* The slow one waits while the urgent one has something to do, and then has its turn. */
START_TEST(others_have_their_turn)
{
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    set_priorities(URGENT, SLOW);
    attach_both(_i);
    probes[0]->writable = true;
    probes[0]->hook[PROBE_WRITE] = write_few;
    asyncore_map_touch(the_map);
    send_to(1);
    host_until("b.read", 1);
    ck_assert_int_eq(probe_count("a.write"), FEW);
    ck_assert_str_eq(probe_trace() + strlen(probe_trace()) - strlen("b.read"), "b.read");
}
END_TEST

static int become_slow(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    set_priorities(SLOW, URGENT);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(changed_in_a_handler)
{
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    set_priorities(URGENT, SLOW);
    attach_both(_i);
    probes[0]->hook[PROBE_READ] = become_slow;
    check_order("a.read", "b.read");
    check_order("b.read", "a.read");
}
END_TEST

CALLBACK(make_slow)
{
    UNUSED_ARGUMENTS;
    probe_note("slow");
    set_priorities(SLOW, URGENT);
}

/* While its channels are ready, and the pass is still to come: it is not lost. */
START_TEST(changed_while_ready)
{
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    set_priorities(NORMAL, NORMAL);
    attach_both(_i);
    send_to(0);
    send_to(1);
    host_call(make_slow, NULL, 0);
    host_until("a.read", 1);
    host_until("b.read", 1);
    check_trace("slow b.read a.read");
}
END_TEST

/* What done is still to be told is not lost either. */
START_TEST(changed_while_emptied)
{
    make_one_in(the_map, 0);
    set_priorities(NORMAL, NORMAL);
    attach_both(_i);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(asyncore_map_set_priority(the_map, URGENT), 0);
    ck_assert_int_eq(event_base_dispatch(base), 1);
    check_trace("a.finalize done=EMPTY");
}
END_TEST

/* Out-of-band data comes by an event of the map. */
START_TEST(changed_beside_urgent_data)
{
    make_one_in(the_map, 0);
    set_priorities(NORMAL, NORMAL);
    attach_both(_i);
    for (int priority = URGENT; priority <= SLOW; priority++) {
        ck_assert_int_eq(asyncore_map_set_priority(the_map, priority), 0);
        ck_assert_int_eq(send(peers[0], "!", 1, MSG_OOB), 1);
        host_until("a.expt", 1);
        probe_clear();
    }
}
END_TEST

/* Where asyncore_loop runs the base: what is ready is served in its pass, whatever the priority. */
START_TEST(in_a_loop)
{
    make_one_in(the_map, 0);
    set_priorities(SLOW, URGENT);
    host = evtimer_new(base, on_host, NULL);
    ck_assert_int_eq(event_priority_set(host, NORMAL), 0);
    for (int priority = URGENT; priority <= SLOW; priority++) {
        ck_assert_int_eq(asyncore_map_set_priority(the_map, priority), 0);
        event_active(host, EV_TIMEOUT, 0);
        send_to(0);
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
        check_trace("host a.read");
        ck_assert_int_eq(asyncore_loop(0.005, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    }
}
END_TEST

/* The host always has something to do, behind the map: both have their turn. */
START_TEST(in_a_loop_beside_a_busy_host)
{
    int pair[2];

    test_pipe(pair);
    test_write_all(pair[1], "x", 1);
    test_set_nonblocking(pair[0], true);
    host = event_new(base, pair[0], EV_READ | EV_PERSIST, on_host, NULL);
    ck_assert_int_eq(event_priority_set(host, SLOW), 0);
    ck_assert_int_eq(event_add(host, NULL), 0);
    make_one_in(the_map, 0);
    ck_assert_int_eq(asyncore_map_set_priority(the_map, URGENT), 0);
    for (int i = 1; i <= FEW; i++) {
        send_to(0);
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
        ck_assert_int_eq(probe_count("a.read"), i);
        ck_assert_int_ge(probe_count("host"), i);
    }
    test_close(&pair[0]);
    test_close(&pair[1]);
}
END_TEST

static int become_urgent(struct probe *self)
{
    ck_assert_int_eq(asyncore_map_set_priority(the_map, URGENT), 0);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(changed_in_a_handler_of_a_loop)
{
    make_one_in(the_map, 0);
    make_one_in(the_map, 1);
    probes[0]->hook[PROBE_READ] = become_urgent;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(asyncore_map_set_priority(the_map, SLOW), 0);
        send_to(0);
        send_to(1);
        ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
        check_trace("a.read b.read");
    }
}
END_TEST

/* Both ways at once: the attached one has its turn while the other's loop waits. */
START_TEST(attached_beside_a_loop)
{
    make_one_in(the_map, 0);
    make_one_in(second_map, 1);
    set_priorities(SLOW, URGENT);
    attach(_i);
    host_settle();
    send_to(0);
    send_to(1);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, second_map, 1), ASYNCORE_LOOP_COUNT);
    host_until("a.read", 1);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("b.read"), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("priority");
    TCase *tc = add_hosted_case(s, tcase_create("priorities"));

    tcase_add_checked_fixture(tc, priority_setup, priority_teardown);
    tcase_add_test(tc, bad_priorities);
    tcase_add_loop_test(tc, lower_number_first, 0, 2);
    tcase_add_loop_test(tc, set_before_there_are_channels, 0, 2);
    tcase_add_loop_test(tc, events_for_writing, 0, 2);
    tcase_add_loop_test(tc, beside_the_host, 0, 2);
    tcase_add_loop_test(tc, others_have_their_turn, 0, 2);
    tcase_add_loop_test(tc, changed_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, changed_while_ready, 0, 2);
    tcase_add_loop_test(tc, changed_while_emptied, 0, 2);
    tcase_add_loop_test(tc, changed_beside_urgent_data, 0, 2);
    tcase_add_loop_test(tc, in_a_loop, 0, 2);
    tcase_add_loop_test(tc, in_a_loop_beside_a_busy_host, 0, 2);
    tcase_add_loop_test(tc, changed_in_a_handler_of_a_loop, 0, 2);
    tcase_add_loop_test(tc, attached_beside_a_loop, 0, 2);
    return hosted_main(s);
}
