/*
 * Maps: membership and order, more than one of them, and close_all.
 */
#include "probes.h"
#include "support.h"

#include <event2/event.h>

#include <errno.h>
#include <string.h>

/* --- the default map ------------------------------------------------------------------------- */

START_TEST(default_map_is_null)
{
    make(CHANNELS, AF_UNIX, NULL);
    ck_assert_ptr_nonnull(asyncore_socket_map());
    ck_assert_ptr_eq(asyncore_socket_map(), asyncore_socket_map());
    ck_assert_ptr_eq(d(0)->map, asyncore_socket_map());
    ck_assert_uint_eq(asyncore_map_length(NULL), CHANNELS);
    ck_assert_uint_eq(asyncore_map_length(asyncore_socket_map()), CHANNELS);
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    ck_assert_str_eq(probe_names(NULL), "abcd");
    ck_assert_ptr_nonnull(asyncore_map_base(NULL));
    ck_assert_ptr_eq(asyncore_map_base(NULL), asyncore_map_base(asyncore_socket_map()));
    ck_assert_ptr_ne(asyncore_map_base(NULL), asyncore_map_base(the_map));
}
END_TEST

START_TEST(default_map_serves)
{
    make(CHANNELS, AF_UNIX, NULL);
    test_write_all(peers[1], "abc", 3);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, false, NULL, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_uint_eq(probes[1]->total, 3);
    ck_assert_int_eq(asyncore_close_all(NULL, false), 0);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, NULL, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
}
END_TEST

/* The next use of it makes another. */
START_TEST(default_map_is_made_anew)
{
    make(CHANNELS, AF_UNIX, NULL);
    asyncore_map_free(asyncore_socket_map());
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_uint_eq(asyncore_map_length(NULL), 0);
    test_close(&peers[0]);
    probes[0] = probe_connected("e", AF_UNIX, NULL, &peers[0]);
    ck_assert_uint_eq(asyncore_map_length(NULL), 1);
    ck_assert_ptr_eq(d(0)->map, asyncore_socket_map());
}
END_TEST

/* --- membership ------------------------------------------------------------------------------ */

START_TEST(new_map_is_empty)
{
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    ck_assert_ptr_null(asyncore_map_next(the_map, NULL));
    ck_assert_ptr_nonnull(asyncore_map_base(the_map));
}
END_TEST

START_TEST(borrowed_base_is_the_callers)
{
    struct event_base *base = event_base_new();
    struct asyncore_map *borrower = asyncore_map_new(base);

    ck_assert_ptr_eq(asyncore_map_base(borrower), base);
    asyncore_map_free(borrower);
    ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* nothing is left in it */
    event_base_free(base);
}
END_TEST

START_TEST(order_is_of_insertion)
{
    make(CHANNELS, AF_UNIX, the_map);
    ck_assert_str_eq(probe_names(the_map), "abcd");
    asyncore_del_channel(d(1));
    ck_assert_str_eq(probe_names(the_map), "acd");
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0); /* is in it already */
    ck_assert_str_eq(probe_names(the_map), "acd");
    ck_assert_int_eq(asyncore_add_channel(d(1), NULL), 0);
    ck_assert_str_eq(probe_names(the_map), "acdb");
    asyncore_del_channel(d(0));
    asyncore_del_channel(d(0));
    ck_assert_str_eq(probe_names(the_map), "cdb");
    ck_assert_int_eq(asyncore_close(d(3)), 0);
    ck_assert_str_eq(probe_names(the_map), "cb");
    ck_assert_ptr_null(asyncore_map_next(the_map, d(1)));
}
END_TEST

START_TEST(channel_without_socket_is_outside)
{
    struct probe *p = probe_make("p", -1, the_map);

    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    ck_assert_int_eq(asyncore_add_channel(&p->base, NULL), -EBADF);
    ck_assert_int_eq(asyncore_create_socket(&p->base, AF_INET, SOCK_STREAM), 0);
    ck_assert_uint_eq(asyncore_map_length(the_map), 1);
}
END_TEST

START_TEST(closed_channel_is_outside)
{
    make(CHANNELS, AF_UNIX, the_map);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), -EBADF);
    ck_assert_str_eq(probe_names(the_map), "bcd");
}
END_TEST

START_TEST(channel_outside_is_not_served)
{
    make(CHANNELS, AF_UNIX, the_map);
    test_write_all(peers[0], "abc", 3);
    asyncore_del_channel(d(0));
    ck_assert(test_is_open(asyncore_fileno(d(0))));
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(asyncore_add_channel(d(0), NULL), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.read");
}
END_TEST

START_TEST(iteration_and_close)
{
    struct asyncore_dispatcher *at, *next;

    make(CHANNELS, AF_UNIX, the_map);
    for (at = asyncore_map_next(the_map, NULL); at; at = next) {
        next = asyncore_map_next(the_map, at);
        if (probe_of(at) != probes[2])
            ck_assert_int_eq(asyncore_close(at), 0);
    }
    ck_assert_str_eq(probe_names(the_map), "c");
}
END_TEST

/* --- more than one map ----------------------------------------------------------------------- */

START_TEST(channel_moves)
{
    struct asyncore_map *other = asyncore_map_new(NULL);

    make(CHANNELS, AF_UNIX, the_map);
    test_write_all(peers[1], "abc", 3);
    ck_assert_int_eq(asyncore_add_channel(d(1), other), 0);
    ck_assert_ptr_eq(d(1)->map, other);
    ck_assert_str_eq(probe_names(the_map), "acd");
    ck_assert_str_eq(probe_names(other), "b");
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(run_passes(other, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "b.read");
    probe_clear();
    asyncore_map_free(the_map); /* owns it no more */
    the_map = other;
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_int_eq(probe_count("b.finalize"), 0);
    ck_assert_int_eq(asyncore_close(d(1)), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(probe_count("b.finalize"), 1);
}
END_TEST

/* A write event of the old map's base does not come along. */
START_TEST(channel_moves_with_its_write_event)
{
    struct asyncore_map *other = asyncore_map_new(NULL);

    make(CHANNELS, AF_UNIX, the_map);
    test_set_nonblocking(asyncore_fileno(d(1)), true);
    test_fill(asyncore_fileno(d(1)));
    probes[1]->writable = true;
    probes[1]->readable = false;
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    probe_clear();
    probes[1]->writable = true;
    ck_assert_int_eq(asyncore_add_channel(d(1), other), 0);
    ck_assert_int_eq(run_passes(other, _i, 2), 0);
    probes[1]->writable = true;
    asyncore_map_free(the_map);
    the_map = other;
    probe_clear();
    while (recv(peers[1], &(char[65536]){0}, 65536, MSG_DONTWAIT) > 0)
        ;
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, 1), ASYNCORE_LOOP_COUNT);
    ck_assert_str_eq(probe_trace(), "b.write");
}
END_TEST

static int move_on(struct probe *self)
{
    self->hook[PROBE_READ] = NULL;
    ck_assert_int_eq(asyncore_add_channel(&self->base, self->arg), 0);
    return 0;
}

START_TEST(channel_moves_in_its_handler)
{
    struct asyncore_map *other = asyncore_map_new(NULL);

    make(CHANNELS, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READ] = move_on;
    probes[1]->arg = other;
    probes[2]->arg = other;
    test_write_all(peers[1], "abc", 3);
    test_write_all(peers[2], "abc", 3);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_str_eq(probe_trace(), "b.read c.read");
    ck_assert_int_eq(run_passes(other, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "b.read c.read b.read");
    ck_assert_uint_eq(probes[1]->total, 3);
    asyncore_map_free(other);
}
END_TEST

/* A predicate may do all of it. */
static int move_to_the_end(struct probe *self)
{
    struct asyncore_map *other = asyncore_map_new(NULL);

    ck_assert_int_eq(asyncore_add_channel(&self->base, other), 0);
    asyncore_map_free(other);
    return *(int *)self->arg;
}

static int answers[] = {0, 1, -EPROTO};

START_TEST(predicate_moves_to_a_map_that_is_freed)
{
    make(2, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READABLE] = move_to_the_end;
    probes[0]->arg = &answers[_i];
    ck_assert_int_eq(asyncore_poll(0, the_map), answers[_i] < 0 ? answers[_i] : 0);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_str_eq(probe_names(the_map), "b");
}
END_TEST

START_TEST(quiet_predicate_moves_to_a_map_that_is_freed)
{
    int pair[2];
    struct probe *quiet;

    test_pair(AF_UNIX, pair);
    quiet = quiet_probe_make("q", pair[0], the_map);
    quiet->hook[PROBE_READABLE] = move_to_the_end;
    quiet->arg = &answers[_i];
    ck_assert_int_eq(asyncore_poll(0, the_map), answers[_i] < 0 ? answers[_i] : 0);
    ck_assert_int_eq(probe_count("q.finalize"), 1);
    test_close(&pair[1]);
}
END_TEST

START_TEST(set_socket_moves)
{
    struct asyncore_map *other = asyncore_map_new(NULL);
    struct probe *p = probe_make("p", -1, the_map);
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    peers[0] = pair[1];
    ck_assert_int_eq(asyncore_set_socket(&p->base, pair[0], other), 0);
    ck_assert_ptr_eq(p->base.map, other);
    ck_assert_str_eq(probe_names(other), "p");
    asyncore_map_free(other);
    ck_assert_str_eq(probe_trace(), "p.finalize");
}
END_TEST

/* --- close_all ------------------------------------------------------------------------------- */

/* Closes as its instance says: closes or stays, and returns. */
struct closer {
    struct asyncore_dispatcher base;
    const char *name;
    int result;
    bool stays;
};

static int closer_close(struct asyncore_dispatcher *dispatcher);
static void closer_finalize(struct asyncore_dispatcher *dispatcher);
ASYNCORE_CLASS(closer, asyncore_dispatcher, .close = closer_close, .finalize = closer_finalize);

static int closer_close(struct asyncore_dispatcher *dispatcher)
{
    struct closer *self = closer_of(dispatcher);

    probe_note("%s.close", self->name);
    if (!self->stays)
        asyncore_dispatcher_close(dispatcher);
    return self->result;
}

static void closer_finalize(struct asyncore_dispatcher *dispatcher)
{
    probe_note("%s.finalize", closer_of(dispatcher)->name);
}

static struct closer *closers[CHANNELS];

static void make_closers(void)
{
    static const char *const names[CHANNELS] = {"a", "b", "c", "d"};

    for (int i = 0; i < CHANNELS; i++) {
        int pair[2];

        test_socketpair(SOCK_STREAM, pair);
        peers[i] = pair[1];
        closers[i] = closer_new(pair[0], the_map);
        ck_assert_ptr_nonnull(closers[i]);
        closers[i]->name = names[i];
    }
}

START_TEST(close_all_closes)
{
    make_closers();
    ck_assert_int_eq(asyncore_close_all(the_map, _i), 0);
    ck_assert_str_eq(probe_trace(), "a.close b.close c.close d.close");
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    ck_assert_int_eq(asyncore_close_all(the_map, _i), 0);
    ck_assert_str_eq(probe_trace(), "a.close b.close c.close d.close");
}
END_TEST

START_TEST(close_all_ends_at_an_error)
{
    make_closers();
    closers[1]->result = -EIO;
    ck_assert_int_eq(asyncore_close_all(the_map, false), -EIO);
    ck_assert_str_eq(probe_trace(), "a.close b.close");
    ck_assert_uint_eq(asyncore_map_length(the_map), 2);
    ck_assert_ptr_eq(asyncore_map_next(the_map, NULL), &closers[2]->base);
}
END_TEST

START_TEST(close_all_ignores_all)
{
    make_closers();
    closers[1]->result = -EIO;
    closers[2]->result = -ENOMEM;
    ck_assert_int_eq(asyncore_close_all(the_map, true), 0);
    ck_assert_str_eq(probe_trace(), "a.close b.close c.close d.close");
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
}
END_TEST

START_TEST(close_all_ignores_ebadf)
{
    make_closers();
    closers[1]->result = -EBADF;
    ck_assert_int_eq(asyncore_close_all(the_map, _i), 0);
    ck_assert_str_eq(probe_trace(), "a.close b.close c.close d.close");
}
END_TEST

/* ExitNow is never ignored. */
START_TEST(close_all_ends_at_exit_now)
{
    make_closers();
    closers[1]->result = ASYNCORE_EXIT_NOW;
    ck_assert_int_eq(asyncore_close_all(the_map, _i), ASYNCORE_EXIT_NOW);
    ck_assert_str_eq(probe_trace(), "a.close b.close");
    ck_assert_uint_eq(asyncore_map_length(the_map), 2);
}
END_TEST

/* What stays in is taken out: still open, still owned, not served. */
START_TEST(close_all_clears)
{
    make_closers();
    closers[1]->stays = true;
    ck_assert_int_eq(asyncore_close_all(the_map, false), 0);
    ck_assert_str_eq(probe_trace(), "a.close b.close c.close d.close");
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
    ck_assert(test_is_open(asyncore_fileno(&closers[1]->base)));
    probe_clear();
    ck_assert_int_eq(asyncore_poll2(0, the_map), 0);
    ck_assert_str_eq(probe_trace(), "a.finalize c.finalize d.finalize");
    ck_assert_int_eq(asyncore_add_channel(&closers[1]->base, NULL), 0);
    ck_assert_uint_eq(asyncore_map_length(the_map), 1);
}
END_TEST

static int close_the_next(struct asyncore_dispatcher *dispatcher)
{
    struct asyncore_dispatcher *next = asyncore_map_next(dispatcher->map, dispatcher);

    probe_note("closing");
    asyncore_dispatcher_close(dispatcher);
    return next ? asyncore_dispatcher_close(next) : 0;
}

struct pair_closer {
    struct asyncore_dispatcher base;
};
ASYNCORE_CLASS(pair_closer, asyncore_dispatcher, .close = close_the_next);

/* Who was closed by another is not closed again. */
START_TEST(close_all_while_the_map_changes)
{
    for (int i = 0; i < CHANNELS; i++) {
        int pair[2];

        test_socketpair(SOCK_STREAM, pair);
        peers[i] = pair[1];
        ck_assert_ptr_nonnull(pair_closer_new(pair[0], the_map));
    }
    ck_assert_int_eq(asyncore_close_all(the_map, false), 0);
    ck_assert_str_eq(probe_trace(), "closing closing");
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
}
END_TEST

static int make_another(struct asyncore_dispatcher *dispatcher)
{
    struct asyncore_dispatcher *fresh = asyncore_dispatcher_new(-1, dispatcher->map);

    ck_assert_ptr_nonnull(fresh);
    probe_note("closing");
    ck_assert_int_eq(asyncore_create_socket(fresh, AF_INET, SOCK_STREAM), 0);
    return asyncore_dispatcher_close(dispatcher);
}

struct maker {
    struct asyncore_dispatcher base;
};
ASYNCORE_CLASS(maker, asyncore_dispatcher, .close = make_another);

/* Those that come in meanwhile are taken out and not closed: as in Python. */
START_TEST(close_all_is_over_what_was_there)
{
    for (int i = 0; i < 2; i++) {
        int pair[2];

        test_socketpair(SOCK_STREAM, pair);
        peers[i] = pair[1];
        ck_assert_ptr_nonnull(maker_new(pair[0], the_map));
    }
    ck_assert_int_eq(asyncore_close_all(the_map, false), 0);
    ck_assert_str_eq(probe_trace(), "closing closing");
    ck_assert_uint_eq(asyncore_map_length(the_map), 0);
}
END_TEST

static int close_everyone(struct probe *self)
{
    return asyncore_close_all(self->base.map, false);
}

START_TEST(close_all_in_a_handler)
{
    make(CHANNELS, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READ] = close_everyone;
    for (int i = 0; i < CHANNELS; i++)
        test_write_all(peers[i], "abc", 3);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_str_eq(probe_trace(), "a.read b.read a.finalize b.finalize c.finalize d.finalize");
}
END_TEST

/* --- finalize -------------------------------------------------------------------------------- */

/* Its finalize frees a map. */
struct ender {
    struct asyncore_dispatcher base;
    struct asyncore_map *ends;
};

static int ender_init(struct asyncore_dispatcher *dispatcher, int fd);
static void ender_finalize(struct asyncore_dispatcher *dispatcher);
ASYNCORE_CLASS(ender, asyncore_dispatcher, .init = ender_init, .finalize = ender_finalize);

static bool ender_fails;

static int ender_init(struct asyncore_dispatcher *dispatcher, int fd)
{
    ender_of(dispatcher)->ends = dispatcher->map;
    return ender_fails ? -EIO : asyncore_dispatcher_init(dispatcher, fd);
}

static void ender_finalize(struct asyncore_dispatcher *dispatcher)
{
    probe_note("end.finalize");
    if (ender_of(dispatcher)->ends == the_map)
        the_map = NULL;
    asyncore_map_free(ender_of(dispatcher)->ends);
}

static void finalize_setup(void)
{
    ender_fails = false;
}

static unsigned asked;

static int count_asked(struct probe *self)
{
    (void)self;
    asked++;
    return 1;
}

/* No predicate is called after that. */
START_TEST(finalize_frees_the_map_and_nobody_is_asked)
{
    struct asyncore_map *in = the_map;
    struct ender *ender = ender_new(-1, in);

    asked = 0;
    make(CHANNELS, AF_UNIX, in);
    probes[1]->hook[PROBE_READABLE] = count_asked;
    ck_assert_int_eq(asyncore_close(&ender->base), 0);
    ck_assert_int_eq(asyncore_loop(0, _i, in, 3), ASYNCORE_LOOP_EMPTY);
    ck_assert_uint_eq(asked, 1);
}
END_TEST

/* In the sweep of its own map's pass. */
START_TEST(finalize_frees_the_map)
{
    struct asyncore_map *in = the_map;
    struct ender *ender = ender_new(-1, in);

    make(CHANNELS, AF_UNIX, in);
    ck_assert_int_eq(asyncore_close(&ender->base), 0);
    ck_assert_int_eq(asyncore_loop(0, _i, in, 3), ASYNCORE_LOOP_EMPTY);
    ck_assert_ptr_null(the_map);
    ck_assert_int_eq(probe_count("end.finalize"), 1);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_int_eq(probe_count("d.finalize"), 1);
}
END_TEST

/* At the end of its own map: that is under way already. */
START_TEST(finalize_frees_the_map_that_ends)
{
    struct asyncore_map *in = the_map;

    ck_assert_ptr_nonnull(ender_new(-1, in));
    asyncore_map_free(in);
    ck_assert_str_eq(probe_trace(), "end.finalize");
}
END_TEST

START_TEST(finalize_frees_another_map)
{
    struct asyncore_map *other = asyncore_map_new(NULL);
    struct ender *ender = ender_new(-1, the_map);

    ck_assert_ptr_nonnull(other);
    make(CHANNELS, AF_UNIX, other);
    ender->ends = other;
    ck_assert_int_eq(asyncore_close(&ender->base), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(probe_count("end.finalize"), 1);
    ck_assert_int_eq(probe_count("d.finalize"), 1);
}
END_TEST

/* new destroys what could not be initialised, outside any pass. */
START_TEST(finalize_of_a_failed_new_frees_the_map)
{
    ender_fails = true;
    errno = 0;
    ck_assert_ptr_null(ender_new(-1, the_map));
    ck_assert_int_eq(errno, EIO);
    ck_assert_ptr_null(the_map);
    ck_assert_str_eq(probe_trace(), "end.finalize");
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static void add_membership(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("default_map"));

    tcase_add_test(tc, default_map_is_null);
    tcase_add_test(tc, default_map_serves);
    tcase_add_test(tc, default_map_is_made_anew);

    tc = add_case(s, tcase_create("membership"));
    tcase_add_test(tc, new_map_is_empty);
    tcase_add_test(tc, borrowed_base_is_the_callers);
    tcase_add_test(tc, order_is_of_insertion);
    tcase_add_test(tc, channel_without_socket_is_outside);
    tcase_add_test(tc, closed_channel_is_outside);
    tcase_add_loop_test(tc, channel_outside_is_not_served, 0, 2);
    tcase_add_test(tc, iteration_and_close);

    tc = add_case(s, tcase_create("moving"));
    tcase_add_loop_test(tc, channel_moves, 0, 2);
    tcase_add_loop_test(tc, channel_moves_with_its_write_event, 0, 2);
    tcase_add_loop_test(tc, channel_moves_in_its_handler, 0, 2);
    tcase_add_loop_test(tc, predicate_moves_to_a_map_that_is_freed, 0, 3);
    tcase_add_loop_test(tc, quiet_predicate_moves_to_a_map_that_is_freed, 0, 3);
    tcase_add_test(tc, set_socket_moves);
}

static void add_close_all(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("close_all"));

    tcase_add_loop_test(tc, close_all_closes, 0, 2);
    tcase_add_test(tc, close_all_ends_at_an_error);
    tcase_add_test(tc, close_all_ignores_all);
    tcase_add_loop_test(tc, close_all_ignores_ebadf, 0, 2);
    tcase_add_loop_test(tc, close_all_ends_at_exit_now, 0, 2);
    tcase_add_test(tc, close_all_clears);
    tcase_add_test(tc, close_all_while_the_map_changes);
    tcase_add_test(tc, close_all_is_over_what_was_there);
    tcase_add_loop_test(tc, close_all_in_a_handler, 0, 2);
}

static void add_finalize(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("finalize"));

    tcase_add_checked_fixture(tc, finalize_setup, NULL);
    tcase_add_loop_test(tc, finalize_frees_the_map, 0, 2);
    tcase_add_loop_test(tc, finalize_frees_the_map_and_nobody_is_asked, 0, 2);
    tcase_add_test(tc, finalize_frees_the_map_that_ends);
    tcase_add_loop_test(tc, finalize_frees_another_map, 0, 2);
    tcase_add_test(tc, finalize_of_a_failed_new_frees_the_map);
}

int main(void)
{
    Suite *s = suite_create("map");

    add_membership(s);
    add_close_all(s);
    add_finalize(s);
    return test_main(s);
}
