/*
 * One pass: who is asked, who is called, in which order; and what happens when a handler or a
 * predicate changes the map meanwhile.
 *
 * Tests that run in both ways of the loop have _i for use_poll.
 */
#include "probes.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MANY = 300
};

static const char *const names[CHANNELS] = {"a", "b", "c", "d"};

static void make_quiet(int i)
{
    int pair[2];

    test_pair(AF_INET, pair);
    peers[i] = pair[1];
    probes[i] = quiet_probe_make(names[i], pair[0], the_map);
}

/* Sends to channel i, and waits until it has arrived. */
static void send_to(int i, const char *text)
{
    test_write_all(peers[i], text, strlen(text));
    test_wait_readable(asyncore_fileno(d(i)));
}

static void pass(bool use_poll)
{
    ck_assert_int_eq(run_passes(the_map, use_poll, 1), 0);
}

static void check_trace(const char *expected)
{
    ck_assert_str_eq(probe_trace(), expected);
    probe_clear();
}

/* --- order ----------------------------------------------------------------------------------- */

START_TEST(order_of_calls)
{
    make(3, AF_INET, the_map);
    for (int i = 2; i >= 0; i--) { /* the kernel hears of them in the other order */
        send_to(i, "x");
        probes[i]->writable = true;
    }
    ck_assert_int_eq(send(peers[1], "!", 1, MSG_OOB), 1);
    test_wait(asyncore_fileno(d(1)), POLLPRI);
    pass(_i);
    if (_i)
        check_trace("a.read a.write b.read b.write b.expt c.read c.write");
    else
        check_trace("a.read b.read c.read a.write b.write c.write b.expt");
    ck_assert_int_eq(probes[1]->oob, '!');
}
END_TEST

START_TEST(order_after_coming_back)
{
    make(3, AF_INET, the_map);
    asyncore_del_channel(d(0));
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    pass(_i);
    check_trace("b.read c.read a.read");
}
END_TEST

/* Who was closed and has got another socket goes last as well. */
START_TEST(order_after_reconnecting)
{
    int pair[2];

    make(3, AF_INET, the_map);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    test_close(&peers[0]);
    test_pair(AF_INET, pair);
    peers[0] = pair[1];
    ck_assert_int_eq(asyncore_set_socket(d(0), pair[0], NULL), 0);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    pass(_i);
    check_trace("b.read c.read a.read");
}
END_TEST

static struct {
    int last;
    int calls;
} in_order;

static int check_order(struct probe *self)
{
    int number = (int)(intptr_t)self->arg;

    ck_assert_int_gt(number, in_order.last);
    in_order.last = number;
    in_order.calls++;
    return asyncore_recv(&self->base, &(char){0}, 1);
}

/* Readiness comes in an order that has nothing to do with theirs, and what the kernel reports at
 * once is served in theirs. */
START_TEST(order_of_many)
{
    static int others[MANY];

    in_order.calls = 0;
    for (int i = 0; i < MANY; i++) {
        struct probe *p = probe_connected("many", AF_UNIX, the_map, &others[i]);

        p->hook[PROBE_READ] = check_order;
        p->arg = (void *)(intptr_t)i;
    }
    for (int i = 0; i < MANY; i++)
        test_write_all(others[i * 7 % MANY], "x", 1);
    while (in_order.calls < MANY) {
        int before = in_order.calls;

        in_order.last = -1;
        pass(_i);
        ck_assert_int_gt(in_order.calls, before);
    }
    for (int i = 0; i < MANY; i++)
        test_close(&others[i]);
}
END_TEST

/* --- who is asked ---------------------------------------------------------------------------- */

START_TEST(predicates_in_every_pass)
{
    make(3, AF_INET, the_map);
    probe_trace_predicates(true);
    for (int i = 0; i < 3; i++) {
        pass(_i);
        check_trace("a.readable a.writable b.readable b.writable c.readable c.writable");
    }
    asyncore_del_channel(d(0));
    pass(_i);
    check_trace("b.readable b.writable c.readable c.writable");
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0);
    pass(_i);
    check_trace("b.readable b.writable c.readable c.writable a.readable a.writable");
}
END_TEST

START_TEST(predicates_decide)
{
    make(2, AF_INET, the_map);
    probes[0]->readable = false;
    send_to(0, "x");
    send_to(1, "x");
    pass(_i);
    check_trace("b.read");
    probes[0]->readable = true;
    probes[1]->writable = true;
    pass(_i);
    check_trace("a.read b.write");
    pass(_i);
    check_trace("");
}
END_TEST

static int say_many(struct probe *self)
{
    (void)self;
    return 1000;
}

START_TEST(predicates_say_any_positive_number)
{
    make(1, AF_INET, the_map);
    probes[0]->hook[PROBE_READABLE] = probes[0]->hook[PROBE_WRITABLE] = say_many;
    send_to(0, "x");
    pass(_i);
    check_trace("a.read a.write");
}
END_TEST

/* A listening channel is asked like any, and never written to. */
START_TEST(listening_is_not_written_to)
{
    struct test_addr addr;

    probes[0] = probe_make("a", test_listener(AF_INET, &addr), the_map);
    ck_assert(probes[0]->base.accepting);
    probes[0]->writable = true;
    probe_trace_predicates(true);
    pass(_i);
    check_trace("a.readable a.writable");
    peers[0] = test_connect(&addr);
    test_wait_readable(asyncore_fileno(d(0)));
    pass(_i);
    check_trace("a.readable a.writable a.accept");
}
END_TEST

/* A stream socket that goes nowhere is asked, and not watched. */
START_TEST(created_socket_is_not_watched)
{
    probes[0] = probe_make("a", -1, the_map);
    ck_assert_int_eq(asyncore_create_socket(d(0), AF_INET, SOCK_STREAM), 0);
    probes[0]->writable = true;
    probe_trace_predicates(true);
    pass(_i);
    check_trace("a.readable a.writable");
}
END_TEST

/* In poll's way one that is full is not tried: the pass asks it once, and waits for its time. */
START_TEST(full_one_is_asked_once)
{
    double begin;

    make(1, AF_UNIX, the_map);
    test_set_nonblocking(asyncore_fileno(d(0)), true);
    (void)test_fill(asyncore_fileno(d(0)));
    probes[0]->writable = true;
    begin = test_now();
    ck_assert_int_eq(asyncore_poll2(0.03, the_map), 0);
    ck_assert_double_ge(test_now() - begin, 0.03);
    ck_assert_int_eq(probes[0]->calls[PROBE_WRITABLE], 1);
    check_trace("");
}
END_TEST

/* --- who is asked after changes only ---------------------------------------------------------- */

static int asked(int i)
{
    int n = probes[i]->calls[PROBE_READABLE];

    ck_assert_int_eq(probes[i]->calls[PROBE_WRITABLE], n);
    return n;
}

START_TEST(on_change_is_not_asked_while_idle)
{
    make_quiet(0);
    pass(_i);
    ck_assert_int_eq(asked(0), 1);
    ck_assert_int_eq(run_passes(the_map, _i, 10), 0);
    ck_assert_int_eq(asked(0), 1);
}
END_TEST

START_TEST(on_change_after_touch)
{
    make_quiet(0);
    pass(_i);
    probes[0]->writable = true;
    pass(_i);
    check_trace("");
    asyncore_touch(d(0));
    asyncore_touch(d(0));
    pass(_i);
    check_trace("a.write");
    pass(_i);
    int after = asked(0);

    ck_assert_int_ge(after, 2);
    ck_assert_int_eq(run_passes(the_map, _i, 10), 0);
    ck_assert_int_eq(asked(0), after);
}
END_TEST

static int turn_deaf(struct probe *self)
{
    char buf[1];

    self->readable = false;
    return asyncore_recv(&self->base, buf, sizeof buf);
}

START_TEST(on_change_after_a_handler)
{
    make_quiet(0);
    probes[0]->hook[PROBE_READ] = turn_deaf;
    send_to(0, "xyz");
    ck_assert_int_eq(run_passes(the_map, _i, 4), 0);
    check_trace("a.read");
    int after = asked(0);

    ck_assert_int_eq(run_passes(the_map, _i, 4), 0);
    ck_assert_int_eq(asked(0), after);
}
END_TEST

static int only_note(struct probe *self)
{
    self->readable = false;
    return 0;
}

/* The handler makes no call of the library at all. */
START_TEST(on_change_after_a_handler_of_its_own)
{
    make_quiet(0);
    probes[0]->hook[PROBE_READ] = only_note;
    send_to(0, "xyz");
    ck_assert_int_eq(run_passes(the_map, _i, 4), 0);
    check_trace("a.read");
}
END_TEST

static int call_send(struct asyncore_dispatcher *of)
{
    return asyncore_send(of, "x", 1);
}

static int call_recv(struct asyncore_dispatcher *of)
{
    char buf[1];

    return asyncore_recv(of, buf, 1) == -EAGAIN ? 0 : -1;
}

static int call_send_flags(struct asyncore_dispatcher *of)
{
    return asyncore_send_flags(of, "x", 1, 0);
}

static int call_recv_flags(struct asyncore_dispatcher *of)
{
    char buf[1];

    return asyncore_recv_flags(of, buf, 1, MSG_PEEK) == -EAGAIN ? 0 : -1;
}

static int call_set_connected(struct asyncore_dispatcher *of)
{
    asyncore_set_connected(of, true);
    return 0;
}

static int call_del_and_add(struct asyncore_dispatcher *of)
{
    asyncore_del_channel(of);
    return asyncore_add_channel(of, NULL);
}

static int call_handle_read(struct asyncore_dispatcher *of)
{
    int r = asyncore_read(of); /* as the loop does it */

    probe_clear();
    return r;
}

static int (*const touching_calls[])(struct asyncore_dispatcher *) = {
    call_send,          call_recv,        call_send_flags,  call_recv_flags,
    call_set_connected, call_del_and_add, call_handle_read,
};
enum {
    TOUCHING = sizeof touching_calls / sizeof *touching_calls
};

START_TEST(on_change_after_calls)
{
    for (int use_poll = 0; use_poll < 2; use_poll++) {
        int before;

        if (use_poll == 0)
            make_quiet(0);
        ck_assert_int_eq(run_passes(the_map, use_poll, 2), 0);
        before = asked(0);
        probes[0]->writable = true;
        ck_assert_int_ge(touching_calls[_i](d(0)), 0);
        pass(use_poll);
        ck_assert_int_gt(asked(0), before);
        check_trace("a.write");
    }
}
END_TEST

/* Its answer holds while another one's handler runs; its own calls are what changes it. */
START_TEST(on_change_by_another)
{
    make_quiet(0);
    make_quiet(1);
    pass(_i);
    int before = asked(0);

    send_to(1, "x");
    pass(_i);
    check_trace("b.read");
    pass(_i);
    ck_assert_int_eq(asked(0), before);
}
END_TEST

/* INHERIT takes what the super class says. */
struct quiet_child {
    struct quiet_probe base;
};
ASYNCORE_CLASS(quiet_child, quiet_probe, .interest = ASYNCORE_INTEREST_INHERIT);

struct loud_child {
    struct quiet_probe base;
};
ASYNCORE_CLASS(loud_child, quiet_probe, .interest = ASYNCORE_INTEREST_EVERY_PASS);

START_TEST(interest_is_inherited)
{
    int pair[2], other[2];

    test_socketpair(SOCK_STREAM, pair);
    test_socketpair(SOCK_STREAM, other);
    peers[0] = pair[1];
    peers[1] = other[1];
    probes[0] = &quiet_child_new(pair[0], the_map)->base.base;
    probes[1] = &loud_child_new(other[0], the_map)->base.base;
    ck_assert_int_eq(run_passes(the_map, _i, 5), 0);
    ck_assert_int_eq(asked(0), 1);
    ck_assert_int_eq(asked(1), 5);
}
END_TEST

/* A class that names one predicate is asked for both. */
struct half {
    struct asyncore_dispatcher base;
    bool deaf;
};

static int half_readable(struct asyncore_dispatcher *of);
static int half_handle_read(struct asyncore_dispatcher *of);
static int half_handle_write(struct asyncore_dispatcher *of);
ASYNCORE_CLASS(half, asyncore_dispatcher, .readable = half_readable,
               .handle_read = half_handle_read, .handle_write = half_handle_write);

static int half_readable(struct asyncore_dispatcher *of)
{
    probe_note("readable");
    return !half_of(of)->deaf;
}

static int half_handle_read(struct asyncore_dispatcher *of)
{
    (void)of;
    probe_note("read");
    return 0;
}

static int half_handle_write(struct asyncore_dispatcher *of)
{
    (void)of;
    probe_note("write");
    return 0;
}

START_TEST(one_predicate_is_inherited)
{
    int pair[2];
    struct half *half;

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    half = half_new(pair[0], the_map);
    ck_assert_ptr_nonnull(half);
    test_write_all(peers[0], "x", 1);
    pass(_i);
    check_trace("readable read write");
    half->deaf = true;
    pass(_i);
    check_trace("readable write");
}
END_TEST

/* --- predicates that fail -------------------------------------------------------------------- */

static int fail_once(struct probe *self)
{
    self->hook[(intptr_t)self->arg] = NULL;
    return -EPROTO;
}

static int exit_now(struct probe *self)
{
    self->hook[(intptr_t)self->arg] = NULL;
    return ASYNCORE_EXIT_NOW;
}

/* _i: use_poll, which predicate, and how. */
static int set_failing_predicate(int i, int how)
{
    intptr_t call = how & 2 ? PROBE_WRITABLE : PROBE_READABLE;

    probes[i]->hook[call] = how & 4 ? exit_now : fail_once;
    probes[i]->arg = (void *)call;
    return how & 4 ? ASYNCORE_EXIT_NOW : -EPROTO;
}

START_TEST(failing_predicate_leaves_the_loop)
{
    int result;

    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    result = set_failing_predicate(1, _i);
    ck_assert_int_eq(asyncore_loop(0, _i & 1, the_map, 1), result);
    check_trace("");
    pass(_i & 1); /* and nothing is lost */
    check_trace("a.read b.read c.read");
}
END_TEST

START_TEST(failing_predicate_is_asked_again)
{
    int result;

    make_quiet(0);
    send_to(0, "x");
    result = set_failing_predicate(0, _i);
    ck_assert_int_eq(asyncore_loop(0, _i & 1, the_map, 1), result);
    pass(_i & 1);
    check_trace("a.read");
}
END_TEST

/* --- predicates that change the map ----------------------------------------------------------- */

static int close_first(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    asyncore_close(d((int)(intptr_t)self->arg));
    return 1;
}

/* _i / 2: whom it closes: the one before, itself, the one behind. */
START_TEST(predicate_closes)
{
    static const char *const traces[] = {"b.read c.read a.finalize", "a.read c.read b.finalize",
                                         "a.read b.read c.finalize"};

    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[1]->hook[PROBE_READABLE] = close_first;
    probes[1]->arg = (void *)(intptr_t)(_i / 2);
    pass(_i % 2);
    check_trace(traces[_i / 2]);
    ck_assert_uint_eq(asyncore_map_length(the_map), 2);
    pass(_i % 2);
    check_trace("");
}
END_TEST

static int close_all_first(struct probe *self)
{
    asyncore_close_all(self->base.map, true);
    return 1;
}

START_TEST(predicate_closes_all)
{
    make(3, AF_INET, the_map);
    send_to(2, "x");
    probes[1]->hook[PROBE_READABLE] = close_all_first;
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    check_trace("a.finalize b.finalize c.finalize");
}
END_TEST

/* Its predicates are the library's. */
struct plain {
    struct asyncore_dispatcher base;
};

static int plain_reads;

static int plain_handle_read(struct asyncore_dispatcher *d)
{
    char byte;

    plain_reads++;
    return asyncore_recv(d, &byte, 1);
}

ASYNCORE_CLASS(plain, asyncore_dispatcher, .handle_read = plain_handle_read,
               .handle_write = asyncore_dispatcher_handle_write);

static int make_plain(struct probe *self)
{
    int pair[2];

    self->hook[PROBE_READABLE] = NULL;
    test_socketpair(SOCK_STREAM, pair);
    peers[1] = pair[1];
    test_write_all(peers[1], "x", 1);
    return plain_new(pair[0], self->base.map) ? 1 : -errno;
}

/* Who comes in while everyone is asked is asked, and served, in the next pass. */
START_TEST(predicate_adds_a_plain_one)
{
    make(1, AF_INET, the_map);
    plain_reads = 0;
    probes[0]->hook[PROBE_READABLE] = make_plain;
    pass(_i);
    ck_assert_int_eq(plain_reads, 0);
    pass(_i);
    ck_assert_int_eq(plain_reads, 1);
}
END_TEST

static int make_another(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    probes[2] = probe_connected("c", AF_INET, self->base.map, &peers[2]);
    send_to(2, "x");
    return 1;
}

/* Who comes in is asked in the next pass. */
START_TEST(predicate_adds)
{
    make(2, AF_INET, the_map);
    probes[0]->hook[PROBE_READABLE] = make_another;
    probe_trace_predicates(true);
    pass(_i);
    check_trace("a.readable a.writable b.readable b.writable");
    pass(_i);
    check_trace("a.readable a.writable b.readable b.writable c.readable c.writable c.read");
}
END_TEST

static struct asyncore_map *other_map;

static int move_away(struct probe *self)
{
    self->hook[(intptr_t)self->arg] = NULL;
    ck_assert_int_eq(asyncore_add_channel(&self->base, other_map), 0);
    return 1;
}

/* Into a map that is not served now: not this pass's any more, though it is ready. _i: use_poll,
 * and which predicate. */
START_TEST(predicate_moves)
{
    enum probe_call call = _i / 2 ? PROBE_WRITABLE : PROBE_READABLE;

    other_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(other_map);
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[1]->writable = true;
    probes[1]->hook[call] = move_away;
    probes[1]->arg = (void *)(intptr_t)call;
    pass(_i % 2);
    check_trace("a.read c.read");
    ck_assert_int_eq(run_passes(other_map, _i % 2, 1), 0);
    check_trace("b.read b.write");
    asyncore_map_free(other_map);
    check_trace("b.finalize");
}
END_TEST

static int come_last(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    asyncore_del_channel(&self->base);
    ck_assert_int_eq(asyncore_add_channel(&self->base, NULL), 0);
    return 1;
}

START_TEST(predicate_comes_back)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[0]->hook[PROBE_READABLE] = come_last;
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("b.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
    ck_assert_ptr_eq(asyncore_map_next(the_map, d(2)), d(0));
}
END_TEST

static int drain(struct probe *self)
{
    struct asyncore_dispatcher *queue = self->arg;

    return asyncore_out_buffer_length(queue) == 0 || asyncore_initiate_send(queue) >= 0;
}

/* One that was to be written to, and has nothing to write when everyone has been asked: its answer
 * has changed, and the pass waits for its time. */
START_TEST(predicate_drains_another)
{
    struct asyncore_dispatcher_with_send *sender;
    struct asyncore_dispatcher *queue;
    char sent[5];
    int pair[2];
    double begin;

    make(1, AF_UNIX, the_map);
    test_socketpair(SOCK_STREAM, pair);
    sender = asyncore_dispatcher_with_send_new(pair[0], the_map);
    ck_assert_ptr_nonnull(sender);
    queue = &sender->base;
    asyncore_set_connected(queue, false);
    ck_assert_int_eq(asyncore_send(queue, "hello", 5), 5);
    asyncore_set_connected(queue, true);
    ck_assert_uint_eq(asyncore_out_buffer_length(queue), 5);
    probes[0]->hook[PROBE_READABLE] = drain;
    probes[0]->arg = queue;
    begin = test_now();
    ck_assert_int_eq(asyncore_poll2(0.03, the_map), 0);
    ck_assert_double_ge(test_now() - begin, 0.03);
    ck_assert_int_eq(probes[0]->calls[PROBE_READABLE], 1);
    test_read_all(pair[1], sent, sizeof sent);
    ck_assert_mem_eq(sent, "hello", 5);
    check_trace("");
    test_close(&pair[1]);
}
END_TEST

/* --- handlers that change the map --------------------------------------------------------------
 */

static int close_other(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    return asyncore_close(self->arg);
}

/* The next, and the one behind it; then the last two are gone. */
START_TEST(handler_closes_the_next)
{
    make(4, AF_INET, the_map);
    for (int i = 0; i < 4; i++)
        send_to(i, "x");
    probes[0]->hook[PROBE_READ] = close_other;
    probes[0]->arg = d(1);
    probes[2]->hook[PROBE_READ] = close_other;
    probes[2]->arg = d(3);
    pass(_i);
    check_trace("a.read c.read b.finalize d.finalize");
}
END_TEST

/* The same for writes: with both to come. */
START_TEST(handler_closes_what_was_ready_for_both)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++) {
        send_to(i, "x");
        probes[i]->writable = true;
    }
    probes[0]->hook[PROBE_READ] = close_other;
    probes[0]->arg = d(0);
    probes[1]->hook[PROBE_WRITE] = close_other;
    probes[1]->arg = d(2);
    pass(_i);
    check_trace(_i ? "a.read b.read b.write a.finalize c.finalize"
                   : "a.read b.read c.read b.write a.finalize c.finalize");
}
END_TEST

static int delete_other(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    asyncore_del_channel(self->arg);
    return 0;
}

START_TEST(handler_deletes_the_next)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[0]->hook[PROBE_READ] = delete_other;
    probes[0]->arg = d(1);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    check_trace("a.read c.read");
    ck_assert_int_eq(asyncore_add_channel(d(1), NULL), 0);
    pass(_i);
    check_trace("b.read");
}
END_TEST

static int put_back(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    asyncore_del_channel(self->arg);
    return asyncore_add_channel(self->arg, NULL);
}

/* Its socket has data all the while, which arrives, once. */
START_TEST(handler_puts_the_next_back)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[0]->hook[PROBE_READ] = put_back;
    probes[0]->arg = d(1);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("b.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 1);
    ck_assert_uint_eq(probes[1]->total, 1);
}
END_TEST

static int spare;

/* Closes another, and makes a new channel that has its descriptor's number. */
static int take_number(struct probe *self)
{
    struct asyncore_dispatcher *other = self->arg;
    int number = asyncore_fileno(other);
    int fd;

    asyncore_recv(&self->base, &(char){0}, 1);
    asyncore_close(other);
    fd = fcntl(spare, F_DUPFD_CLOEXEC, number);
    ck_assert_int_eq(fd, number);
    test_close(&spare);
    probes[3] = probe_make("new", fd, self->base.map);
    probes[3]->writable = false;
    return 0;
}

/* The new one hears nothing of what the old one was ready for. */
START_TEST(number_is_used_again)
{
    int pair[2];

    make(3, AF_INET, the_map);
    test_pair(AF_INET, pair);
    spare = pair[0];
    peers[3] = pair[1];
    for (int i = 0; i < 3; i++) {
        send_to(i, "x");
        probes[i]->writable = i > 0;
    }
    probes[0]->hook[PROBE_READ] = take_number;
    probes[0]->arg = d(1);
    pass(_i);
    check_trace("a.read c.read c.write b.finalize");
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    check_trace("");
    send_to(3, "x");
    pass(_i);
    check_trace("new.read");
}
END_TEST

/* Another socket for a channel that is still to be called, under the same number. */
static int replace_socket(struct probe *self)
{
    struct asyncore_dispatcher *other = self->arg;
    int number = asyncore_fileno(other);
    int fd;

    asyncore_recv(&self->base, &(char){0}, 1);
    asyncore_close(other);
    fd = fcntl(spare, F_DUPFD_CLOEXEC, number);
    ck_assert_int_eq(fd, number);
    test_close(&spare);
    return asyncore_set_socket(other, fd, NULL);
}

/* _i / 2: whose socket. */
START_TEST(socket_is_replaced)
{
    int pair[2];

    make(2, AF_INET, the_map);
    test_pair(AF_INET, pair);
    spare = pair[0];
    for (int i = 0; i < 2; i++) {
        send_to(i, "x");
        probes[i]->writable = true;
    }
    probes[0]->hook[PROBE_READ] = replace_socket;
    probes[0]->arg = d(_i / 2);
    probes[_i / 2]->writable = true;
    pass(_i % 2);
    if (_i / 2 == 0)
        check_trace("a.read b.read b.write");
    else
        check_trace("a.read a.write");
    test_close(&peers[_i / 2]);
    peers[_i / 2] = pair[1];
    probes[_i / 2]->writable = false;
    ck_assert_int_eq(run_passes(the_map, _i % 2, 2), 0);
    check_trace("");
    probes[0]->hook[PROBE_READ] = NULL;
    send_to(_i / 2, "x");
    pass(_i % 2);
    check_trace(_i / 2 == 0 ? "a.read" : "b.read");
}
END_TEST

static int add_ready_one(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    probes[1] = probe_connected("b", AF_INET, self->base.map, &peers[1]);
    send_to(1, "x");
    return 0;
}

START_TEST(handler_adds)
{
    make(1, AF_INET, the_map);
    probes[0]->hook[PROBE_READ] = add_ready_one;
    send_to(0, "x");
    pass(_i);
    check_trace("a.read");
    pass(_i);
    check_trace("b.read");
}
END_TEST

/* --- nested passes -----------------------------------------------------------------------------
 */

static int read_and_nest(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    probe_note("(");
    int r =
        (intptr_t)self->arg ? asyncore_poll2(0, self->base.map) : asyncore_poll(0, self->base.map);

    probe_note(")");
    return r;
}

/* _i / 2: the way of the nested one. It uses up what is ready, and the outer one skips it. */
START_TEST(nested_pass_uses_up)
{
    make(4, AF_INET, the_map);
    for (int i = 0; i < 4; i++)
        send_to(i, "x");
    probes[1]->hook[PROBE_READ] = read_and_nest;
    probes[1]->arg = (void *)(intptr_t)(_i / 2);
    pass(_i % 2);
    check_trace("a.read b.read ( c.read d.read )");
}
END_TEST

static int nest_without_c(struct probe *self)
{
    int r;

    probes[2]->readable = false;
    r = read_and_nest(self);
    probes[2]->readable = true;
    return r;
}

/* What the nested pass does not use up stays with the outer one. */
START_TEST(nested_pass_leaves_the_rest)
{
    make(4, AF_INET, the_map);
    for (int i = 0; i < 4; i++)
        send_to(i, "x");
    probes[0]->hook[PROBE_READ] = nest_without_c;
    probes[0]->arg = (void *)(intptr_t)_i;
    pass(_i);
    check_trace("a.read ( b.read d.read ) c.read");
}
END_TEST

/* Who has still something to read is called again, nested or not. */
START_TEST(nested_pass_calls_the_same_channel)
{
    make(1, AF_INET, the_map);
    send_to(0, "xyz");
    probes[0]->hook[PROBE_READ] = read_and_nest;
    pass(_i);
    check_trace("a.read ( a.read ( a.read ( ) ) )");
}
END_TEST

START_TEST(nested_pass_closes_the_outer_ones_next)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[0]->hook[PROBE_READ] = read_and_nest;
    probes[1]->hook[PROBE_READ] = close_other;
    probes[1]->arg = d(2);
    pass(_i);
    check_trace("a.read ( b.read ) c.finalize");
}
END_TEST

static int nest_and_close(struct probe *self)
{
    asyncore_recv(&self->base, &(char){0}, 1);
    ck_assert_int_eq(asyncore_close(&self->base), 0);
    ck_assert_int_eq(asyncore_close(self->arg), 0);
    probe_note("(");
    ck_assert_int_eq(asyncore_loop(0, false, self->base.map, 2), ASYNCORE_LOOP_COUNT);
    probe_note(")");
    ck_assert_int_eq(self->base.closing, false); /* it is still there */
    return 0;
}

/* Destruction waits for the outermost pass, and goes in the order of closing. */
START_TEST(destruction_waits_for_the_outermost_pass)
{
    make(4, AF_INET, the_map);
    send_to(1, "x");
    probes[1]->hook[PROBE_READ] = nest_and_close;
    probes[1]->arg = d(0);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    check_trace("b.read ( ) b.finalize a.finalize");
}
END_TEST

static int nest_deeper(struct probe *self)
{
    int *depth = self->arg;

    asyncore_recv(&self->base, &(char){0}, 1);
    if (++*depth < 10) {
        ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, *depth & 1, self->base.map, 1),
                         ASYNCORE_LOOP_COUNT);
    } else {
        asyncore_close(d(1));
    }
    return 0;
}

START_TEST(nested_deeply)
{
    int depth = 0;

    make(2, AF_INET, the_map);
    probes[0]->hook[PROBE_READ] = nest_deeper;
    probes[0]->arg = &depth;
    send_to(0, "0123456789");
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_int_eq(depth, 10);
    ck_assert_int_eq(probe_count("a.read"), 10);
    ck_assert_int_eq(probe_count("b.finalize"), 1);
}
END_TEST

static int nest_until_empty(struct probe *self)
{
    asyncore_close(&self->base);
    return asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, self->base.map, ASYNCORE_COUNT_NONE);
}

/* A nested loop that empties the map ends the outer one too, and nobody is called twice. */
START_TEST(nested_loop_empties_the_map)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++) {
        send_to(i, "x");
        test_close(&peers[i]);
    }
    probes[0]->hook[PROBE_READ] = nest_until_empty;
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("b.close"), 1);
    ck_assert_int_eq(probe_count("c.close"), 1);
    ck_assert_int_eq(probe_count("c.finalize"), 1);
}
END_TEST

static int nest_once(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    ck_assert_int_eq(asyncore_poll(0, self->base.map), 0);
    return 1;
}

static int nest_in_the_other_way(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    ck_assert_int_eq(asyncore_poll2(0, self->base.map), 0);
    for (int i = 0; i < 2; i++) {
        send_to(i, "x");
        probes[i]->writable = true;
    }
    return 1;
}

/* The way of the outer pass stays what it is. */
static struct asyncore_dispatcher *sender;

/* Until the sender waits to be written to, and nobody asks it any more. */
static int fill_the_sender(struct probe *self)
{
    static char data[1 << 20];
    const bool *use_poll = self->arg;

    self->hook[PROBE_READABLE] = NULL;
    ck_assert_int_gt(asyncore_send(sender, data, sizeof data), 0);
    ck_assert_int_eq(run_passes(the_map, *use_poll, 20), 0);
    ck_assert_uint_gt(asyncore_out_buffer_length(sender), 0);
    return 1;
}

/* What a channel answered in there goes for the pass after this one. */
START_TEST(nested_in_a_predicate_and_queued)
{
    bool use_poll = _i;
    char data[65536];
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[1] = pair[1];
    test_set_nonblocking(peers[1], true);
    sender = &asyncore_dispatcher_with_send_new(pair[0], the_map)->base;
    pass(use_poll);
    make(1, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READABLE] = fill_the_sender;
    probes[0]->arg = &use_poll;
    pass(use_poll);
    for (int i = 0; i < 100 && asyncore_out_buffer_length(sender) > 0; i++) {
        while (read(peers[1], data, sizeof data) > 0)
            ;
        pass(use_poll);
    }
    ck_assert_uint_eq(asyncore_out_buffer_length(sender), 0);
}
END_TEST

START_TEST(nested_in_the_other_way)
{
    make(3, AF_INET, the_map);
    probes[2]->hook[PROBE_READABLE] = nest_in_the_other_way;
    pass(false);
    pass(false);
    check_trace("a.read b.read a.write b.write");
}
END_TEST

static int hung_up_behind(struct probe *self)
{
    self->hook[PROBE_READABLE] = NULL;
    ck_assert_int_eq(asyncore_poll2(0, self->base.map), 0);
    test_reset(&peers[0]);
    test_wait(asyncore_fileno(d(0)), POLLHUP);
    return 1;
}

static int leave_it(struct probe *self)
{
    (void)self;
    return 0;
}

/* A hang-up as such is told in poll's way only. */
START_TEST(nested_in_the_other_way_and_hang_up)
{
    make(2, AF_INET, the_map);
    probes[0]->hook[PROBE_READ] = leave_it;
    probes[1]->hook[PROBE_READABLE] = hung_up_behind;
    pass(false);
    check_trace("a.read");
}
END_TEST

START_TEST(nested_in_a_predicate)
{
    make(3, AF_INET, the_map);
    for (int i = 0; i < 3; i++)
        send_to(i, "x");
    probes[1]->hook[PROBE_READABLE] = nest_once;
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    check_trace("a.read b.read c.read");
}
END_TEST

/* A descriptor that was closed behind its channel's back is a hang-up to the nested pass and to the
 * one around it, and fails neither. */
START_TEST(nested_in_a_predicate_and_lost_descriptor)
{
    struct test_capture err;

    make(2, AF_INET, the_map);
    probes[0]->hook[PROBE_CLOSE] = leave_it;
    probes[1]->hook[PROBE_READABLE] = nest_once;
    test_capture_begin(&err, STDERR_FILENO); /* libevent warns */
    close(asyncore_fileno(d(0)));
    int result = asyncore_loop(0, _i, the_map, 1);

    asyncore_close(d(0)); /* while nobody else can have its number */
    (void)test_capture_end(&err);
    ck_assert_int_eq(result, ASYNCORE_LOOP_COUNT);
    check_trace("a.close a.close");
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static void add_order(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("order"));

    tcase_add_loop_test(tc, order_of_calls, 0, 2);
    tcase_add_loop_test(tc, order_after_coming_back, 0, 2);
    tcase_add_loop_test(tc, order_after_reconnecting, 0, 2);
    tcase_add_loop_test(tc, order_of_many, 0, 2);
}

static void add_interest(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("every_pass"));

    tcase_add_loop_test(tc, predicates_in_every_pass, 0, 2);
    tcase_add_loop_test(tc, predicates_decide, 0, 2);
    tcase_add_loop_test(tc, predicates_say_any_positive_number, 0, 2);
    tcase_add_loop_test(tc, listening_is_not_written_to, 0, 2);
    tcase_add_loop_test(tc, created_socket_is_not_watched, 0, 2);
    tcase_add_test(tc, full_one_is_asked_once);
    tcase_add_loop_test(tc, one_predicate_is_inherited, 0, 2);

    tc = add_case(s, tcase_create("on_change"));
    tcase_add_loop_test(tc, on_change_is_not_asked_while_idle, 0, 2);
    tcase_add_loop_test(tc, on_change_after_touch, 0, 2);
    tcase_add_loop_test(tc, on_change_after_a_handler, 0, 2);
    tcase_add_loop_test(tc, on_change_after_a_handler_of_its_own, 0, 2);
    tcase_add_loop_test(tc, on_change_after_calls, 0, TOUCHING);
    tcase_add_loop_test(tc, on_change_by_another, 0, 2);
    tcase_add_loop_test(tc, interest_is_inherited, 0, 2);

    tc = add_case(s, tcase_create("failing_predicate"));
    tcase_add_loop_test(tc, failing_predicate_leaves_the_loop, 0, 8);
    tcase_add_loop_test(tc, failing_predicate_is_asked_again, 0, 8);
}

static void add_changes(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("predicate_changes"));

    tcase_add_loop_test(tc, predicate_closes, 0, 6);
    tcase_add_loop_test(tc, predicate_closes_all, 0, 2);
    tcase_add_loop_test(tc, predicate_adds_a_plain_one, 0, 2);
    tcase_add_loop_test(tc, predicate_adds, 0, 2);
    tcase_add_loop_test(tc, predicate_moves, 0, 4);
    tcase_add_loop_test(tc, predicate_comes_back, 0, 2);
    tcase_add_test(tc, predicate_drains_another);

    tc = add_case(s, tcase_create("handler_changes"));
    tcase_add_loop_test(tc, handler_closes_the_next, 0, 2);
    tcase_add_loop_test(tc, handler_closes_what_was_ready_for_both, 0, 2);
    tcase_add_loop_test(tc, handler_deletes_the_next, 0, 2);
    tcase_add_loop_test(tc, handler_puts_the_next_back, 0, 2);
    tcase_add_loop_test(tc, number_is_used_again, 0, 2);
    tcase_add_loop_test(tc, socket_is_replaced, 0, 4);
    tcase_add_loop_test(tc, handler_adds, 0, 2);
}

static void add_nesting(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("nesting"));

    tcase_add_loop_test(tc, nested_pass_uses_up, 0, 4);
    tcase_add_loop_test(tc, nested_pass_leaves_the_rest, 0, 2);
    tcase_add_loop_test(tc, nested_pass_calls_the_same_channel, 0, 2);
    tcase_add_loop_test(tc, nested_pass_closes_the_outer_ones_next, 0, 2);
    tcase_add_loop_test(tc, destruction_waits_for_the_outermost_pass, 0, 2);
    tcase_add_loop_test(tc, nested_deeply, 0, 2);
    tcase_add_loop_test(tc, nested_loop_empties_the_map, 0, 2);
    tcase_add_loop_test(tc, nested_in_a_predicate, 0, 2);
    tcase_add_loop_test(tc, nested_in_a_predicate_and_lost_descriptor, 0, 2);
    tcase_add_loop_test(tc, nested_in_a_predicate_and_queued, 0, 2);
    tcase_add_test(tc, nested_in_the_other_way);
    tcase_add_test(tc, nested_in_the_other_way_and_hang_up);
}

int main(void)
{
    Suite *s = suite_create("pass");

    add_order(s);
    add_interest(s);
    add_changes(s);
    add_nesting(s);
    return test_main(s);
}
