/*
 * asyncore_map_stats: each member of what it tells.
 *
 * _i is for use_poll.
 */
#include "chat_probe.h"
#include "support.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static struct asyncore_map_stats stats(void)
{
    struct asyncore_map_stats now;

    memset(&now, 0xff, sizeof now);
    asyncore_map_stats(the_map, &now);
    return now;
}

static void send_to(int i)
{
    test_write_all(peers[i], "x", 1);
    test_wait_readable(asyncore_fileno(d(i)));
}

START_TEST(new_map_has_done_nothing)
{
    const struct asyncore_map_stats now = stats();

    ck_assert_uint_eq(now.channels, 0);
    ck_assert_uint_eq(now.queued, 0);
    ck_assert_uint_eq(now.passes, 0);
    ck_assert_uint_eq(now.events, 0);
    ck_assert_uint_eq(now.predicate_calls, 0);
    ck_assert_uint_eq(now.bytes_in, 0);
    ck_assert_uint_eq(now.bytes_out, 0);
}
END_TEST

START_TEST(default_map)
{
    struct asyncore_map_stats now = {.channels = 1, .passes = 1};

    asyncore_map_stats(NULL, &now);
    ck_assert_uint_eq(now.channels + now.passes, 0);
    peers[0] = -1;
    ck_assert_ptr_nonnull(probe_connected("p", AF_UNIX, NULL, &peers[0]));
    ck_assert_int_eq(run_passes(NULL, false, 2), 0);
    asyncore_map_stats(NULL, &now);
    ck_assert_uint_eq(now.channels, 1);
    ck_assert_uint_eq(now.passes, 2);
}
END_TEST

START_TEST(channels_that_are_in_the_map)
{
    make(3, AF_UNIX, the_map);
    ck_assert_uint_eq(stats().channels, 3);
    asyncore_del_channel(d(0));
    ck_assert_uint_eq(stats().channels, 2);
    ck_assert_int_eq(asyncore_close(d(1)), 0);
    ck_assert_uint_eq(stats().channels, 1);
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0);
    ck_assert_uint_eq(stats().channels, 2);
}
END_TEST

static int nest(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    ck_assert_int_eq(asyncore_loop(0, false, the_map, 2), ASYNCORE_LOOP_COUNT);
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* The nested ones as well. */
START_TEST(passes_that_are_done)
{
    make(1, AF_UNIX, the_map);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_uint_eq(stats().passes, 3);
    probes[0]->hook[PROBE_READ] = nest;
    send_to(0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_uint_eq(stats().passes, 6);
}
END_TEST

/* In select's way each thing that a channel is ready for is one, in poll's they are one together.
 */
START_TEST(events_that_were_served)
{
    make(2, AF_UNIX, the_map);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_uint_eq(stats().events, 0);
    probes[0]->writable = true;
    send_to(0);
    send_to(1);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_uint_eq(stats().events, _i ? 2 : 3);
}
END_TEST

START_TEST(predicates_that_were_asked)
{
    make(2, AF_UNIX, the_map);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_uint_eq(stats().predicate_calls, 12);
}
END_TEST

/* By whatever function; what was only looked at does not count. */
START_TEST(bytes_that_came)
{
    char buf[16];

    make(1, AF_INET, the_map);
    test_write_all(peers[0], "0123456789", 10);
    test_wait_readable(asyncore_fileno(d(0)));
    ck_assert_int_eq(asyncore_recv_flags(d(0), buf, sizeof buf, MSG_PEEK), 10);
    ck_assert_uint_eq(stats().bytes_in, 0);
    ck_assert_int_eq(asyncore_recv(d(0), buf, 4), 4);
    ck_assert_uint_eq(stats().bytes_in, 4);
    ck_assert_int_eq(asyncore_recv_flags(d(0), buf, 4, 0), 4);
    ck_assert_uint_eq(stats().bytes_in, 8);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_uint_eq(stats().bytes_in, 10);
    ck_assert_int_eq(asyncore_recv(d(0), buf, 4), -EAGAIN);
    ck_assert_uint_eq(stats().bytes_in, 10);
    ck_assert_uint_eq(stats().bytes_out, 0);
}
END_TEST

START_TEST(bytes_that_went)
{
    make(1, AF_INET, the_map);
    ck_assert_int_eq(asyncore_send(d(0), "abc", 3), 3);
    ck_assert_int_eq(asyncore_send_flags(d(0), "de", 2, 0), 2);
    ck_assert_uint_eq(stats().bytes_out, 5);
    test_close(&peers[0]);
    test_wait(asyncore_fileno(d(0)), POLLIN);
    ck_assert_int_eq(asyncore_recv(d(0), &(char){0}, 1), 0);
    ck_assert_uint_eq(stats().bytes_in, 0);
    ck_assert_int_le(asyncore_send(d(0), "abc", 3), 0);
    ck_assert_uint_eq(stats().bytes_out, 5);
}
END_TEST

START_TEST(datagrams)
{
    struct test_addr addr = test_addr_any(AF_INET);
    struct probe *p = probe_make("p", -1, the_map);
    char buf[8];

    ck_assert_int_eq(asyncore_create_socket(&p->base, AF_INET, SOCK_DGRAM), 0);
    ck_assert_int_eq(asyncore_bind(&p->base, test_sa(&addr), addr.len), 0);
    addr = test_sockname(asyncore_fileno(&p->base));
    ck_assert_int_eq(asyncore_sendto(&p->base, "1234", 4, test_sa(&addr), addr.len), 4);
    test_wait_readable(asyncore_fileno(&p->base));
    ck_assert_int_eq(asyncore_recvfrom(&p->base, buf, sizeof buf, NULL, NULL), 4);
    ck_assert_uint_eq(stats().bytes_out, 4);
    ck_assert_uint_eq(stats().bytes_in, 4);
}
END_TEST

/* What the socket has not taken, which goes out later. */
START_TEST(output_that_is_queued)
{
    enum {
        SIZE = 300000
    };
    static char data[SIZE];
    struct asyncore_dispatcher_with_send *sender;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    sender = asyncore_dispatcher_with_send_new(pair[0], the_map);
    ck_assert_ptr_nonnull(sender);
    ck_assert_int_eq(asyncore_send(&sender->base, data, SIZE), SIZE);
    ck_assert_uint_gt(stats().queued, 0);
    ck_assert_uint_eq(stats().queued + stats().bytes_out, SIZE);
    while (stats().queued > 0) {
        test_read_all(peers[0], data, SIZE / 100);
        ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
        ck_assert_uint_eq(stats().queued, asyncore_out_buffer_length(&sender->base));
        ck_assert_uint_eq(stats().queued + stats().bytes_out, SIZE);
    }
}
END_TEST

/* The same of an async_chat, which gathers what it sends in a handler. */
START_TEST(output_of_a_chat)
{
    make_connected_chats(1, AF_INET);
    ck_assert_int_eq(chat_push_text(chat_d(0), "hello\n"), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_uint_eq(stats().queued, 0);
    ck_assert_uint_eq(stats().bytes_out, 6);
    test_write_all(peers[0], "12345\n", 6);
    test_wait_readable(asyncore_fileno(chat_d(0)));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_uint_eq(stats().bytes_in, 6);
}
END_TEST

/* Who moves takes its queue along; what it has done was done in the old map. */
START_TEST(another_map)
{
    struct asyncore_map *other = asyncore_map_new(NULL);
    struct asyncore_map_stats now;

    make(1, AF_INET, the_map);
    ck_assert_int_eq(asyncore_send(d(0), "abc", 3), 3);
    ck_assert_int_eq(asyncore_add_channel(d(0), other), 0);
    ck_assert_int_eq(asyncore_send(d(0), "de", 2), 2);
    ck_assert_uint_eq(stats().bytes_out, 3);
    ck_assert_uint_eq(stats().channels, 0);
    asyncore_map_stats(other, &now);
    ck_assert_uint_eq(now.bytes_out, 2);
    ck_assert_uint_eq(now.channels, 1);
    asyncore_map_free(other);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stats");
    TCase *tc = add_case(s, tcase_create("stats"));

    tcase_add_test(tc, new_map_has_done_nothing);
    tcase_add_test(tc, default_map);
    tcase_add_test(tc, channels_that_are_in_the_map);
    tcase_add_loop_test(tc, passes_that_are_done, 0, 2);
    tcase_add_loop_test(tc, events_that_were_served, 0, 2);
    tcase_add_loop_test(tc, predicates_that_were_asked, 0, 2);
    tcase_add_loop_test(tc, bytes_that_came, 0, 2);
    tcase_add_test(tc, bytes_that_went);
    tcase_add_test(tc, datagrams);
    tcase_add_loop_test(tc, output_that_is_queued, 0, 2);
    tcase_add_loop_test(tc, output_of_a_chat, 0, 2);
    tcase_add_test(tc, another_map);
    return test_main(s);
}
