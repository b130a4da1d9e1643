/*
 * Maps that are attached: who is served, in which order, and when everyone is asked.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "chat_probe.h"
#include "hosted.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int dispatch(void)
{
    return event_base_dispatch(base);
}

static int attach_count(double timeout, bool use_poll, int count)
{
    return asyncore_map_attach_loop(timeout, use_poll, the_map, count, tell, NULL);
}

static struct asyncore_map_stats stats(void)
{
    struct asyncore_map_stats now;

    asyncore_map_stats(the_map, &now);
    return now;
}

/* --- serving -----------------------------------------------------------------------------------
 */

START_TEST(serves_until_the_map_is_empty)
{
    make_tcp(2);
    attach(_i);
    send_to(0);
    send_to(1);
    host_until("b.read", 1);
    check_trace("a.read b.read");
    test_close(&peers[0]);
    test_close(&peers[1]);
    ck_assert_int_eq(dispatch(), 1);
    ck_assert_int_eq(probe_count("a.close") + probe_count("b.close"), 2);
    ck_assert_int_eq(probe_count("done=EMPTY"), 1);
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

START_TEST(attaching_calls_nothing)
{
    make_tcp(1);
    send_to(0);
    probe_trace_predicates(true);
    attach(_i);
    check_trace("");
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    check_trace("");
}
END_TEST

CALLBACK(send_to_three)
{
    UNUSED_ARGUMENTS;
    for (int i = 2; i >= 0; i--)
        send_to(i);
}

/* In the order of the map, reads before writes; in poll's way channel by channel. */
START_TEST(order_of_a_pass)
{
    make_tcp(3);
    for (int i = 2; i >= 0; i--) {
        probes[i]->writable = true;
        send_to(i);
    }
    attach(_i);
    host_until("c.write", 1);
    host_until("c.read", 1);
    check_trace(_i ? "a.read a.write b.read b.write c.read c.write"
                   : "a.read b.read c.read a.write b.write c.write");
}
END_TEST

START_TEST(host_events_in_between)
{
    make_tcp(3);
    attach(_i);
    host_call(send_to_three, NULL, 0);
    host_until("c.read", 1);
    check_trace("a.read b.read c.read");
    ck_assert_uint_eq(stats().events, 3);
}
END_TEST

/* Once after attaching, and once after each pass. */
START_TEST(asked_once_a_pass)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    ck_assert_uint_eq(stats().predicate_calls, 2);
    for (unsigned i = 1; i <= 5; i++) {
        send_to(0);
        host_settle();
        ck_assert_uint_eq(stats().passes, i);
        ck_assert_uint_eq(stats().predicate_calls, 2 + 2 * i);
    }
}
END_TEST

START_TEST(asked_in_order_behind_the_pass)
{
    make_tcp(2);
    attach(_i);
    host_settle();
    probe_trace_predicates(true);
    send_to(1);
    host_until("b.writable", 1);
    check_trace("b.read a.readable a.writable b.readable b.writable");
}
END_TEST

static int write_nothing(struct probe *self)
{
    (void)self;
    return 0;
}

/* In poll's way a hang-up is told, by whatever event it comes. */
START_TEST(hang_up)
{
    make_tcp(1);
    probes[0]->readable = false;
    probes[0]->writable = true;
    probes[0]->hook[PROBE_WRITE] = write_nothing;
    test_fill(asyncore_fileno(d(0)));
    attach(true);
    host_settle();
    test_reset(&peers[0]);
    host_until("a.close", 1);
}
END_TEST

START_TEST(urgent_data)
{
    make_tcp(2);
    attach(_i);
    host_settle();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(send(peers[1], "!", 1, MSG_OOB), 1);
        send_to(0);
        test_wait(asyncore_fileno(d(1)), POLLPRI);
        host_until("b.expt", 1);
        host_until("a.read", 1);
        probe_clear();
        probes[0]->calls[PROBE_READABLE] = 0;
        host_settle();
        ck_assert_int_le(probes[0]->calls[PROBE_READABLE], 2);
        check_trace("");
    }
}
END_TEST

/* To the end: to the descriptor's, too. */
START_TEST(detached_from_urgent_data)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    ck_assert_int_ge(host_events(), 2);
    ck_assert_int_eq(asyncore_map_detach(the_map), 0);
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

/* A file is always ready; a host's timer comes in between, and each round is one pass. */
START_TEST(files_and_a_timer_of_the_host)
{
    static const char content[100];
    struct asyncore_file_dispatcher *file;
    FILE *opened = fopen(test_file("f", content, sizeof content), "re");
    struct asyncore_map_stats before;
    int rounds;

    ck_assert_ptr_nonnull(opened);
    file = asyncore_file_dispatcher_new(fileno(opened), the_map);
    ck_assert_ptr_nonnull(file);
    make_tcp(1);
    attach(_i);
    host_settle();
    before = stats();
    rounds = host_count_rounds(10000);
    ck_assert_uint_gt(stats().passes, before.passes);
    ck_assert_uint_le(stats().passes - before.passes, (unsigned)rounds + 1);
    send_to(0);
    host_until("a.read", 1);
    fclose(opened);
}
END_TEST

static int write_one(struct probe *self)
{
    return asyncore_send(&self->base, "x", 1);
}

/* Until the channel has had its share, too. */
CALLBACK(tick)
{
    (void)fd;
    (void)what;
    probe_note("tick");
    if (probes[0]->calls[PROBE_WRITE] >= 3)
        ck_assert_int_eq(event_base_loopbreak(base), 0);
    else
        host_call(tick, arg, 10000);
}

/* A channel that always writes, and can. */
START_TEST(writes_for_ever_and_a_timer_of_the_host)
{
    make_tcp(1);
    probes[0]->hook[PROBE_WRITE] = write_one;
    probes[0]->writable = true;
    attach(_i);
    host_call(tick, NULL, 10000);
    ck_assert_int_eq(dispatch(), 0);
    ck_assert_int_ge(probe_count("tick"), 1);
    ck_assert_int_ge(probes[0]->calls[PROBE_WRITE], 3);
}
END_TEST

static struct asyncore_map *default_map_attach(void)
{
    ck_assert_int_eq(asyncore_map_detach(NULL), -EINVAL);
    asyncore_map_touch(NULL);
    ck_assert_int_eq(asyncore_map_attach(NULL, tell, NULL), 0);
    return asyncore_socket_map();
}

START_TEST(default_map_is_attached)
{
    struct asyncore_map *map = default_map_attach();
    int peer;
    struct probe *probe = probe_connected("p", AF_INET, map, &peer);

    asyncore_map_touch(NULL);
    test_close(&peer);
    ck_assert_int_eq(event_base_dispatch(asyncore_map_base(map)), 1);
    ck_assert(probe != NULL);
    check_trace("p.read p.close p.finalize done=EMPTY");
    ck_assert_int_eq(asyncore_map_detach(NULL), 0);
}
END_TEST

/* --- what is closed outside of a pass ----------------------------------------------------------
 */

CALLBACK(close_first)
{
    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    probe_note("closed");
}

START_TEST(closed_by_the_host_and_destroyed)
{
    make_tcp(2);
    attach(_i);
    host_settle();
    host_call(close_first, NULL, 0);
    host_until("a.finalize", 1);
    check_trace("closed a.finalize");
}
END_TEST

START_TEST(last_reference_of_the_host)
{
    struct asyncore_dispatcher *held;

    make_tcp(2);
    attach(_i);
    held = asyncore_ref(d(0));
    asyncore_close(held);
    host_settle();
    check_trace("");
    asyncore_unref(held);
    host_settle();
    check_trace("a.finalize");
}
END_TEST

START_TEST(closed_while_ready)
{
    make_tcp(2);
    attach(_i);
    host_settle();
    send_to(0);
    send_to(1);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    host_until("b.read", 1);
    host_settle();
    check_trace("b.read a.finalize");
}
END_TEST

/* --- interest ----------------------------------------------------------------------------------
 */

static int readable_at_third(struct probe *self)
{
    return self->calls[PROBE_READABLE] >= 3;
}

/* When the timeout is over everyone is asked again: not before. */
START_TEST(timeout_asks_again)
{
    double begin = test_now();

    make_tcp(1);
    probes[0]->hook[PROBE_READABLE] = readable_at_third;
    send_to(0);
    ck_assert_int_eq(attach_count(0.02, _i, ASYNCORE_COUNT_NONE), 0);
    host_until("a.read", 1);
    ck_assert_double_ge(test_now() - begin, 0.04);
    ck_assert_uint_eq(stats().passes, 3);
}
END_TEST

CALLBACK(become_readable)
{
    UNUSED_ARGUMENTS;
    probes[0]->readable = true;
}

CALLBACK(become_readable_and_touch)
{
    become_readable(fd, what, arg);
    asyncore_map_touch(the_map);
}

CALLBACK(become_readable_and_touch_it)
{
    become_readable(fd, what, arg);
    asyncore_touch(d(0));
}

static void make_deaf(void)
{
    make_tcp(1);
    probes[0]->readable = false;
    send_to(0);
    attach(false);
    host_settle();
}

START_TEST(predicates_change_unseen)
{
    make_deaf();
    ck_assert_int_eq(host_events(), 0);
    host_call(become_readable, NULL, 0);
    host_settle();
    check_trace("");
}
END_TEST

START_TEST(touch_of_the_map_asks_again)
{
    make_deaf();
    host_call(become_readable_and_touch, NULL, 0);
    host_until("a.read", 1);
}
END_TEST

START_TEST(touch_of_a_channel_asks_again)
{
    make_deaf();
    host_call(become_readable_and_touch_it, NULL, 0);
    host_until("a.read", 1);
}
END_TEST

/* Those that are asked after changes want their own touch. */
START_TEST(quiet_channels)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peers[0] = pair[1];
    probes[0] = quiet_probe_make("a", pair[0], the_map);
    probes[0]->readable = false;
    send_to(0);
    attach(_i);
    host_settle();
    host_call(become_readable_and_touch, NULL, 0);
    host_settle();
    check_trace("");
    host_call(become_readable_and_touch_it, NULL, 0);
    host_until("a.read", 1);
}
END_TEST

START_TEST(many_touches_are_one)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    for (int i = 0; i < 100; i++)
        asyncore_map_touch(the_map);
    host_settle();
    ck_assert_uint_eq(stats().predicate_calls, 4);
}
END_TEST

static int touch_map(struct probe *self)
{
    asyncore_map_touch(the_map);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

START_TEST(touch_in_a_handler_does_nothing)
{
    make_tcp(1);
    probes[0]->hook[PROBE_READ] = touch_map;
    attach(_i);
    send_to(0);
    host_settle();
    ck_assert_uint_eq(stats().predicate_calls, 4);
}
END_TEST

START_TEST(touch_of_a_map_that_is_not_attached)
{
    make_tcp(1);
    asyncore_map_touch(the_map);
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

/* --- what the host's callbacks do ---------------------------------------------------------------
 */

/* Without any event of ours, or a timeout, that could help. */
static int run_host(event_callback_fn callback, const char *until)
{
    host_call(callback, NULL, 2000);
    host_until(until, 1);
    return probe_count(until);
}

static struct asyncore_dispatcher_with_send *sender;

CALLBACK(send_a_lot)
{
    static const char data[300000];

    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_send(&sender->base, data, sizeof data), sizeof data);
    ck_assert_uint_gt(asyncore_out_buffer_length(&sender->base), 0);
}

static int read_all(struct probe *self)
{
    char buf[65536];
    int n = asyncore_recv(&self->base, buf, sizeof buf);

    if (n > 0)
        self->total += (size_t)n;
    if (self->total == 300000)
        probe_note("all");
    return n;
}

START_TEST(host_sends)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    test_small_buffers(pair[1]);
    sender = asyncore_dispatcher_with_send_new(pair[1], the_map);
    ck_assert_ptr_nonnull(sender);
    probes[0] = probe_make("a", pair[0], the_map);
    probes[0]->hook[PROBE_READ] = read_all;
    attach(_i);
    host_settle();
    ck_assert_int_eq(run_host(send_a_lot, "all"), 1);
    ck_assert_uint_eq(asyncore_out_buffer_length(&sender->base), 0);
    host_settle();
    ck_assert_uint_eq(stats().queued, 0);
}
END_TEST

static struct test_addr address;

CALLBACK(connect_one)
{
    int r;

    UNUSED_ARGUMENTS;
    probes[1] = probe_make("b", -1, the_map);
    ck_assert_int_eq(asyncore_create_socket(d(1), AF_INET, SOCK_STREAM), 0);
    r = asyncore_connect(d(1), test_sa(&address), address.len);
    ck_assert_msg(r >= 0 || r == -EINPROGRESS, "%d", r);
}

START_TEST(host_connects)
{
    probes[0] = probe_make("a", test_listener(AF_INET, &address), the_map);
    attach(_i);
    host_settle();
    ck_assert_int_eq(run_host(connect_one, "b.connect"), 1);
    host_until("a.accept", 1);
    host_until("b.close", 1);
}
END_TEST

CALLBACK(listen_to_one)
{
    struct test_addr any = test_addr_any(AF_INET);

    UNUSED_ARGUMENTS;
    probes[0] = probe_make("a", -1, the_map);
    ck_assert_int_eq(asyncore_create_socket(d(0), AF_INET, SOCK_STREAM), 0);
    ck_assert_int_eq(asyncore_bind(d(0), test_sa(&any), any.len), 0);
    ck_assert_int_eq(asyncore_listen(d(0), 5), 0);
    address = test_sockname(asyncore_fileno(d(0)));
    peers[0] = test_connect(&address);
}

START_TEST(host_listens)
{
    attach(_i);
    ck_assert_int_eq(run_host(listen_to_one, "a.accept"), 1);
}
END_TEST

CALLBACK(add_one)
{
    UNUSED_ARGUMENTS;
    make(1, AF_INET, the_map);
    send_to(0);
}

START_TEST(host_adds)
{
    attach(_i);
    host_settle();
    ck_assert_int_eq(run_host(add_one, "a.read"), 1);
}
END_TEST

CALLBACK(take_out)
{
    UNUSED_ARGUMENTS;
    asyncore_del_channel(d(0));
    send_to(0);
}

CALLBACK(put_back)
{
    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0);
}

START_TEST(host_takes_out_and_puts_back)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    ck_assert_int_eq(run_host(take_out, "done=EMPTY"), 1);
    check_trace("done=EMPTY");
    ck_assert_int_eq(host_events(), 0);
    ck_assert_int_eq(run_host(put_back, "a.read"), 1);
    check_trace("a.read");
}
END_TEST

CALLBACK(replace_socket)
{
    int pair[2];

    UNUSED_ARGUMENTS;
    test_pair(AF_INET, pair);
    test_close(&peers[0]);
    peers[0] = pair[1];
    ck_assert_int_eq(asyncore_set_socket(d(0), pair[0], NULL), 0);
    send_to(0);
}

START_TEST(host_sets_a_socket)
{
    make_tcp(1);
    attach(_i);
    host_settle();
    ck_assert_int_eq(run_host(replace_socket, "a.read"), 1);
    check_trace("a.read");
}
END_TEST

CALLBACK(close_everything)
{
    UNUSED_ARGUMENTS;
    ck_assert_int_eq(asyncore_close_all(the_map, false), 0);
}

START_TEST(host_closes_all)
{
    make_tcp(3);
    attach(_i);
    for (int i = 0; i < 3; i++)
        send_to(i);
    ck_assert_int_eq(run_host(close_everything, "done=EMPTY"), 1);
    ck_assert_int_eq(probe_count("c.finalize"), 1);
    ck_assert_int_eq(host_events(), 0);
}
END_TEST

static int push_and_run_the_base(struct chat *self)
{
    ck_assert_int_eq(asynchat_push(&self->base.base, "hi", 2), 0);
    ck_assert_received(peers[0], "");
    host_settle();
    ck_assert_received(peers[0], "hi");
    ck_assert_int_eq(asynchat_push(&self->base.base, "ho", 2), 0);
    ck_assert_received(peers[0], "");
    return 0;
}

/* In a handler that runs outside of a pass, output is gathered; it goes out before the base's loop
 * in that handler waits, and what is pushed after that at the handler's end. */
START_TEST(base_runs_in_a_handler)
{
    make_connected_chats(1, AF_INET);
    chats[0]->hook[CHAT_FOUND] = push_and_run_the_base;
    attach(_i);
    host_settle();
    test_write_all(peers[0], "x\n", 2);
    test_wait_readable(asyncore_fileno(chat_d(0)));
    ck_assert_int_eq(asyncore_read(chat_d(0)), 0);
    ck_assert_int_eq(chats[0]->calls[CHAT_FOUND], 1);
    ck_assert_received(peers[0], "ho");
}
END_TEST

/* --- running -----------------------------------------------------------------------------------
 */

static void add_serving(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("serving"));

    tcase_add_loop_test(tc, serves_until_the_map_is_empty, 0, 2);
    tcase_add_loop_test(tc, attaching_calls_nothing, 0, 2);
    tcase_add_loop_test(tc, order_of_a_pass, 0, 2);
    tcase_add_loop_test(tc, host_events_in_between, 0, 2);
    tcase_add_loop_test(tc, asked_once_a_pass, 0, 2);
    tcase_add_loop_test(tc, asked_in_order_behind_the_pass, 0, 2);
    tcase_add_test(tc, hang_up);
    tcase_add_loop_test(tc, urgent_data, 0, 2);
    tcase_add_loop_test(tc, detached_from_urgent_data, 0, 2);
    tcase_add_loop_test(tc, files_and_a_timer_of_the_host, 0, 2);
    tcase_add_loop_test(tc, writes_for_ever_and_a_timer_of_the_host, 0, 2);
    tcase_add_test(tc, default_map_is_attached);
    tcase_add_loop_test(tc, closed_by_the_host_and_destroyed, 0, 2);
    tcase_add_loop_test(tc, last_reference_of_the_host, 0, 2);
    tcase_add_loop_test(tc, closed_while_ready, 0, 2);
}

static void add_interest(Suite *s)
{
    TCase *tc = add_hosted_case(s, tcase_create("interest"));

    tcase_add_loop_test(tc, timeout_asks_again, 0, 2);
    tcase_add_test(tc, predicates_change_unseen);
    tcase_add_test(tc, touch_of_the_map_asks_again);
    tcase_add_test(tc, touch_of_a_channel_asks_again);
    tcase_add_loop_test(tc, quiet_channels, 0, 2);
    tcase_add_loop_test(tc, many_touches_are_one, 0, 2);
    tcase_add_loop_test(tc, touch_in_a_handler_does_nothing, 0, 2);
    tcase_add_test(tc, touch_of_a_map_that_is_not_attached);

    tc = add_hosted_case(s, tcase_create("host"));
    tcase_add_loop_test(tc, host_sends, 0, 2);
    tcase_add_loop_test(tc, host_connects, 0, 2);
    tcase_add_loop_test(tc, host_listens, 0, 2);
    tcase_add_loop_test(tc, host_adds, 0, 2);
    tcase_add_loop_test(tc, host_takes_out_and_puts_back, 0, 2);
    tcase_add_loop_test(tc, host_sets_a_socket, 0, 2);
    tcase_add_loop_test(tc, host_closes_all, 0, 2);
    tcase_add_loop_test(tc, base_runs_in_a_handler, 0, 2);
}

int main(void)
{
    Suite *s = suite_create("attach");

    add_serving(s);
    add_interest(s);
    return hosted_main(s);
}
