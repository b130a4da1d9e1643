/*
 * handle_timeout: its place in the pass, what it may do, and what others do to who is due.
 *
 * Tests with _i run in the ways of serving a map: select's, poll's, and by the host.
 */
#include "support.h"
#include "timed.h"

#include <errno.h>
#include <stddef.h>

/* --- in the pass ----------------------------------------------------------------------------- */

static int peek(struct probe *self)
{
    char byte;

    return asyncore_recv_flags(&self->base, &byte, 1, MSG_PEEK);
}

static double moved_at;

static int read_byte(struct probe *self)
{
    char byte;

    moved_at = test_now();
    return asyncore_recv(&self->base, &byte, 1);
}

/* Read in the pass in which it is due: it was not idle. */
START_TEST(a_read_in_the_same_pass)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->base.hook[PROBE_READ] = read_byte;
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    probe_clear();
    test_write_all(peer, "x", 1);
    test_wait_readable(asyncore_fileno(d));
    pass_time(2 * SHORT);
    serve_until(_i, "a.timeout", 1);
    check_trace("a.read a.timeout");
    ck_assert_double_ge(told_at - moved_at, SHORT);
}
END_TEST

static int write_byte(struct probe *self)
{
    self->writable = false;
    moved_at = test_now();
    return asyncore_send(&self->base, "x", 1);
}

START_TEST(a_write_in_the_same_pass)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->base.hook[PROBE_WRITE] = write_byte;
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    let_come_due(_i, 2 * SHORT);
    probe_clear();
    timed_channel->base.writable = true;
    asyncore_touch(d);
    serve_until(_i, "a.timeout", 1);
    check_trace("a.write a.timeout");
    ck_assert_double_ge(told_at - moved_at, SHORT);
}
END_TEST

/* Is told once. */
static int calms_down(struct timed *self)
{
    return asyncore_set_timeout(timed_dispatcher(self), LONG);
}

static int stop_writing(struct probe *self)
{
    self->writable = false;
    return 0;
}

/* Behind everything else, in poll's way too. */
START_TEST(served_last)
{
    struct asyncore_dispatcher *d = timed_make();
    struct timed *first = timed_channel, *second;
    int peers[2], pair[2];

    peers[0] = peer;
    test_pair(AF_INET, pair);
    peers[1] = pair[1];
    second = timed_named("b", pair[0], timed_map);
    first->base.hook[PROBE_WRITE] = second->base.hook[PROBE_WRITE] = stop_writing;
    first->base.hook[PROBE_READ] = second->base.hook[PROBE_READ] = peek;
    set_timeout(d, SHORT);
    set_timeout(timed_dispatcher(second), SHORT);
    serve_once(_i, 0);
    let_come_due(_i, 2 * SHORT);
    probe_clear();
    first->on_timeout = second->on_timeout = calms_down;
    first->base.writable = second->base.writable = true;
    asyncore_touch(d);
    asyncore_touch(timed_dispatcher(second));
    serve_once(_i, 0);
    check_trace("a.write b.write a.timeout b.timeout");
    test_close(&peers[1]);
}
END_TEST

/* --- what handle_timeout does ---------------------------------------------------------------- */

static int fails(struct timed *self)
{
    return asyncore_raise(timed_dispatcher(self), -EPROTO, "late");
}

START_TEST(an_error_goes_to_handle_error)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->on_timeout = fails;
    set_timeout(d, SHORT);
    serve_until(_i, "a.error", 1);
    check_trace("a.timeout a.error a.finalize");
}
END_TEST

static int disconnects(struct timed *self)
{
    (void)self;
    return -ECONNRESET;
}

/* In poll's way too, whose other handlers' errors of that kind are a close. */
START_TEST(a_disconnect_goes_to_handle_error)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->on_timeout = disconnects;
    set_timeout(d, SHORT);
    serve_until(_i, "a.error", 1);
    check_trace("a.timeout a.error a.finalize");
}
END_TEST

static int exits(struct timed *self)
{
    (void)self;
    return ASYNCORE_EXIT_NOW;
}

START_TEST(exit_now)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->on_timeout = exits;
    set_timeout(d, SHORT);
    ck_assert_int_eq(
        asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i == POLL, timed_map, ASYNCORE_COUNT_NONE),
        ASYNCORE_EXIT_NOW);
}
END_TEST

static int does_the_default(struct timed *self)
{
    return asyncore_dispatcher_handle_timeout(timed_dispatcher(self));
}

START_TEST(by_default_it_closes)
{
    struct asyncore_dispatcher *d = timed_make();

    timed_channel->on_timeout = does_the_default;
    set_timeout(d, SHORT);
    serve_until(_i, "a.close", 1);
    check_trace("a.timeout a.close a.finalize");
}
END_TEST

static int old_handle_close(struct asyncore_dispatcher *d)
{
    probe_note("old.close");
    return asyncore_dispatcher_close(d);
}

static int not_there(struct asyncore_dispatcher *d)
{
    (void)d;
    probe_note("old.timeout");
    return 0;
}

/* A table from before there was a handle_timeout. */
START_TEST(an_old_table)
{
    static const struct asyncore_class old = {
        .table_size = offsetof(struct asyncore_class, handle_timeout),
        .name = "old",
        .super = &asyncore_dispatcher_class,
        .size = sizeof(struct asyncore_dispatcher),
        .handle_close = old_handle_close,
        .handle_timeout = not_there, /* what lies behind it */
    };
    struct asyncore_dispatcher *d;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peer = pair[1];
    d = asyncore_new(&old, pair[0], timed_map);
    ck_assert_ptr_nonnull(d);
    set_timeout(d, SHORT);
    ck_assert_int_eq(asyncore_loop(LONG, _i == POLL, timed_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    check_trace("old.close");
}
END_TEST

/* --- two that are due ------------------------------------------------------------------------ */

static struct timed *other;
static int other_peer;

/* Two, "a" and the other one, "b", which are due in the next pass; a does what is given. */
static void make_two_due(int way, int (*on_timeout)(struct timed *))
{
    struct asyncore_dispatcher *d = timed_make();
    int pair[2];

    test_pair(AF_INET, pair);
    other_peer = pair[1];
    other = timed_named("b", pair[0], timed_map);
    set_timeout(d, SHORT);
    set_timeout(timed_dispatcher(other), SHORT);
    serve_once(way, 0);
    let_come_due(way, 2 * SHORT);
    probe_clear();
    other->on_timeout = calms_down;
    timed_channel->on_timeout = on_timeout;
}

static int closes_other(struct timed *self)
{
    (void)self;
    return asyncore_close(timed_dispatcher(other));
}

static int deletes_other(struct timed *self)
{
    (void)self;
    asyncore_del_channel(timed_dispatcher(other));
    return 0;
}

static int takes_it_from_other(struct timed *self)
{
    (void)self;
    return asyncore_set_timeout(timed_dispatcher(other), ASYNCORE_TIMEOUT_NONE);
}

static int frees_the_map(struct timed *self)
{
    asyncore_map_free(timed_dispatcher(self)->map);
    timed_map = NULL;
    return 0;
}

static int (*const saves[])(struct timed *) = {
    closes_other,
    deletes_other,
    takes_it_from_other,
    frees_the_map,
};

enum {
    SAVES = sizeof saves / sizeof *saves
};

START_TEST(a_handler_saves_another)
{
    make_two_due(_i % WAYS, saves[_i / WAYS]);
    for (int i = 0; i < 3 && timed_map; i++)
        serve_once(_i % WAYS, 0);
    ck_assert_int_ge(probe_count("a.timeout"), 1);
    ck_assert_int_eq(probe_count("b.timeout"), 0);
    test_close(&other_peer);
}
END_TEST

static int sends_for_other(struct timed *self)
{
    moved_at = test_now();
    ck_assert_int_eq(asyncore_send(timed_dispatcher(other), "x", 1), 1);
    return calms_down(self);
}

static int gives_other_a_socket(struct timed *self)
{
    int pair[2];

    moved_at = test_now();
    test_pair(AF_INET, pair);
    test_close(&other_peer);
    other_peer = pair[1];
    ck_assert_int_eq(asyncore_set_socket(timed_dispatcher(other), pair[0], NULL), 0);
    return calms_down(self);
}

/* For as long as that takes. */
START_TEST(a_handler_postpones_another)
{
    make_two_due(_i % WAYS, _i / WAYS ? sends_for_other : gives_other_a_socket);
    serve_until(_i % WAYS, "b.timeout", 1);
    check_trace("a.timeout b.timeout");
    ck_assert_double_ge(told_at - moved_at, SHORT);
    test_close(&other_peer);
}
END_TEST

static int runs_a_pass(struct timed *self)
{
    ck_assert_int_eq(calms_down(self), 0);
    probe_note("(");
    ck_assert_int_eq(run_passes(timed_map, false, 2), 0);
    probe_note(")");
    return 0;
}

/* It uses up what is due; the outer one does not tell it again. */
START_TEST(a_nested_pass)
{
    make_two_due(_i, runs_a_pass);
    serve_once(_i, 0);
    check_trace("a.timeout ( b.timeout )");
    test_close(&other_peer);
}
END_TEST

static int ends_the_loop(struct timed *self)
{
    ck_assert_int_eq(calms_down(self), 0);
    return asyncore_loop_exit(timed_map, 7);
}

/* What was due and not served comes back. */
START_TEST(a_loop_that_ends)
{
    make_two_due(_i, ends_the_loop);
    ck_assert_int_eq(asyncore_loop(0, _i == POLL, timed_map, 1), 7);
    check_trace("a.timeout");
    serve_once(_i, 0);
    check_trace("b.timeout");
    test_close(&other_peer);
}
END_TEST

struct reader {
    struct asyncore_dispatcher_with_send base;
};

static int reader_handle_read(struct asyncore_dispatcher *d)
{
    char byte;
    int r = asyncore_recv(d, &byte, 1);

    moved_at = test_now();
    ck_assert_int_eq(asyncore_loop_exit(timed_map, 7), 0);
    return r;
}

static int reader_handle_timeout(struct asyncore_dispatcher *d)
{
    (void)d;
    told_at = test_now();
    probe_note("reader.timeout");
    return 0;
}

ASYNCORE_CLASS(reader, asyncore_dispatcher_with_send, .handle_read = reader_handle_read,
               .handle_timeout = reader_handle_timeout);

/* By who is due in the same pass: its time counts from there. */
START_TEST(a_read_that_ends_the_loop)
{
    struct asyncore_dispatcher *d;
    int pair[2];

    test_pair(AF_INET, pair);
    peer = pair[1];
    d = reader_dispatcher(reader_new(pair[0], timed_map));
    set_timeout(d, SHORT);
    serve_once(_i, 0);
    let_come_due(_i, 2 * SHORT);
    probe_clear();
    test_write_all(peer, "x", 1);
    test_wait_readable(asyncore_fileno(d));
    ck_assert_int_eq(asyncore_loop(LONG, _i == POLL, timed_map, 1), 7);
    serve_until(_i, "reader.timeout", 1);
    ck_assert_double_ge(told_at - moved_at, SHORT);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, timed_setup, timed_teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static void add_due(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("due"));

    tcase_add_loop_test(tc, a_read_in_the_same_pass, 0, WAYS);
    tcase_add_loop_test(tc, a_write_in_the_same_pass, 0, ATTACHED);
    tcase_add_loop_test(tc, served_last, 0, ATTACHED);
    tcase_add_loop_test(tc, a_handler_saves_another, 0, SAVES * WAYS);
    tcase_add_loop_test(tc, a_handler_postpones_another, 0, 2 * WAYS);
    tcase_add_loop_test(tc, a_nested_pass, 0, ATTACHED);
    tcase_add_loop_test(tc, a_loop_that_ends, 0, ATTACHED);
    tcase_add_loop_test(tc, a_read_that_ends_the_loop, 0, ATTACHED);
}

static void add_handler(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("handler"));

    tcase_add_loop_test(tc, an_error_goes_to_handle_error, 0, WAYS);
    tcase_add_loop_test(tc, a_disconnect_goes_to_handle_error, 0, WAYS);
    tcase_add_loop_test(tc, exit_now, 0, ATTACHED);
    tcase_add_loop_test(tc, by_default_it_closes, 0, WAYS);
    tcase_add_loop_test(tc, an_old_table, 0, ATTACHED);
}

int main(void)
{
    Suite *s = suite_create("handle_timeout");

    add_due(s);
    add_handler(s);
    return test_main(s);
}
