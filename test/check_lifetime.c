/*
 * How long channels and maps live: ownership, references, and the ends of maps, in handlers too;
 * and maps that cannot be made.
 */
#define _GNU_SOURCE
#include "probes.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- lifetimes ------------------------------------------------------------------------------- */

START_TEST(closed_outside_a_pass_lives_on)
{
    make(CHANNELS, AF_UNIX, the_map);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert(!d(0)->connected);
    ck_assert_int_eq(asyncore_fileno(d(0)), -1);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.finalize");
}
END_TEST

START_TEST(closed_outside_a_pass_dies_with_the_map)
{
    make(CHANNELS, AF_UNIX, the_map);
    ck_assert_int_eq(asyncore_close(d(1)), 0);
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(probe_count("b.finalize"), 1);
    ck_assert_int_eq(probe_count("d.finalize"), 1);
}
END_TEST

/* new, and a connect that fails: still there to be looked at, and given away in the end. */
START_TEST(owned_without_socket)
{
    (void)probe_make("p", -1, the_map);
    ck_assert_int_eq(run_passes(the_map, false, 1), 0);
    ck_assert_str_eq(probe_trace(), "");
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_str_eq(probe_trace(), "p.finalize");
}
END_TEST

START_TEST(new_socket_before_the_sweep_saves)
{
    int pair[2];

    make(CHANNELS, AF_UNIX, the_map);
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(asyncore_set_socket(d(0), pair[0], NULL), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 2), 0);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_str_eq(probe_names(the_map), "bcda");
    test_write_all(pair[1], "abc", 3);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.read");
    test_close(&pair[1]);
}
END_TEST

START_TEST(referenced_channel_survives)
{
    make(CHANNELS, AF_UNIX, the_map);
    ck_assert_ptr_eq(asyncore_ref(d(0)), d(0));
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_int_eq(run_passes(the_map, _i, 3), 0);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_int_eq(asyncore_create_socket(d(0), AF_INET, SOCK_STREAM), 0);
    ck_assert_str_eq(probe_names(the_map), "bcda");
    ck_assert_int_eq(asyncore_close(d(0)), 0);
    ck_assert_ptr_null(asyncore_unref(d(0)));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.finalize");
    ck_assert_ptr_null(asyncore_unref(NULL));
}
END_TEST

/* The last reference goes after the sweep that spared it: with the next one. */
START_TEST(released_channel_dies)
{
    make(CHANNELS, AF_UNIX, the_map);
    asyncore_ref(d(0));
    asyncore_ref(d(0));
    asyncore_close(d(0));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    asyncore_unref(d(0));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "");
    asyncore_unref(d(0));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "a.finalize");
}
END_TEST

/* A reference keeps an open one no longer than the map does without it. */
START_TEST(unref_of_an_open_one)
{
    make(CHANNELS, AF_UNIX, the_map);
    asyncore_ref(d(0));
    asyncore_unref(d(0));
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "");
    ck_assert_str_eq(probe_names(the_map), "abcd");
}
END_TEST

/* --- map_free -------------------------------------------------------------------------------- */

START_TEST(free_of_null)
{
    make(CHANNELS, AF_UNIX, NULL);
    asyncore_map_free(NULL);
    ck_assert_uint_eq(asyncore_map_length(NULL), CHANNELS);
}
END_TEST

START_TEST(free_closes_and_destroys)
{
    int fd;

    make(CHANNELS, AF_UNIX, the_map);
    fd = asyncore_fileno(d(2));
    asyncore_del_channel(d(2)); /* outside, and owned all the same */
    asyncore_map_free(the_map);
    the_map = NULL;
    for (int i = 0; i < CHANNELS; i++) {
        char word[16];

        snprintf(word, sizeof word, "%c.finalize", 'a' + i);
        ck_assert_int_eq(probe_count(word), 1);
    }
    ck_assert(!test_is_open(fd));
}
END_TEST

static void check_useless(struct asyncore_dispatcher *held)
{
    struct test_addr addr = test_addr_any(AF_INET);
    int pair[2];

    ck_assert_int_eq(asyncore_fileno(held), -1);
    ck_assert_int_eq(asyncore_close(held), 0);
    ck_assert_int_eq(asyncore_send(held, "x", 1), 0);
    ck_assert_int_eq(asyncore_recv(held, &(char){0}, 1), 0);
    ck_assert_int_eq(asyncore_create_socket(held, AF_INET, SOCK_STREAM), -EINVAL);
    ck_assert_int_eq(asyncore_add_channel(held, NULL), -EINVAL);
    ck_assert_int_eq(asyncore_connect(held, test_sa(&addr), addr.len), -EBADF);
    ck_assert_int_eq(asyncore_listen(held, 1), -EBADF);
    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(asyncore_set_socket(held, pair[0], NULL), -EINVAL);
    ck_assert(!test_is_open(pair[0]));
    errno = 0;
    ck_assert_ptr_null(asyncore_dispatcher_new(pair[1], held->map));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert(!test_is_open(pair[1]));
    asyncore_touch(held);
    asyncore_del_channel(held);
    ck_assert_uint_eq(asyncore_map_length(held->map), 0);
}

START_TEST(free_leaves_the_referenced)
{
    struct asyncore_map *freed = the_map;

    make(CHANNELS, AF_UNIX, the_map);
    asyncore_ref(d(1));
    asyncore_map_free(the_map);
    the_map = NULL;
    ck_assert_int_eq(probe_count("a.finalize"), 1);
    ck_assert_int_eq(probe_count("b.finalize"), 0);
    ck_assert_ptr_eq(d(1)->map, freed);
    check_useless(d(1));
    asyncore_map_free(freed); /* it is: nothing happens */
    asyncore_unref(d(1));
    ck_assert_int_eq(probe_count("b.finalize"), 1);
}
END_TEST

/* One that is held moves to a map that lives, and is good again. */
START_TEST(referenced_moves_from_a_freed_map)
{
    struct asyncore_map *other = asyncore_map_new(NULL);
    int pair[2];

    make(CHANNELS, AF_UNIX, the_map);
    asyncore_ref(d(1));
    asyncore_map_free(the_map);
    the_map = other;
    test_socketpair(SOCK_STREAM, pair);
    ck_assert_int_eq(asyncore_set_socket(d(1), pair[0], other), 0);
    asyncore_unref(d(1));
    probe_clear();
    test_write_all(pair[1], "abc", 3);
    ck_assert_int_eq(run_passes(the_map, _i, 1), 0);
    ck_assert_str_eq(probe_trace(), "b.read");
    test_close(&pair[1]);
}
END_TEST

static int free_map(struct probe *self)
{
    asyncore_map_free(self->base.map);
    the_map = NULL;
    return 0;
}

START_TEST(free_in_a_handler)
{
    make(CHANNELS, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READ] = free_map;
    for (int i = 0; i < CHANNELS; i++)
        test_write_all(peers[i], "abc", 3);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("a.read"), 1);
    ck_assert_int_eq(probe_count("b.read"), 1);
    ck_assert_int_eq(probe_count("c.read"), 0);
    ck_assert_int_eq(probe_count("d.finalize"), 1);
}
END_TEST

static int refuse_after_free(struct probe *self)
{
    struct asyncore_map *own = self->base.map;

    asyncore_map_free(own);
    the_map = NULL;
    ck_assert_int_eq(asyncore_create_socket(&self->base, AF_INET, SOCK_STREAM), -EINVAL);
    ck_assert_ptr_null(asyncore_dispatcher_new(-1, own));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(asyncore_loop(0, false, own, 1), ASYNCORE_LOOP_EMPTY);
    asyncore_map_free(own);
    probe_note("refused");
    return 0;
}

START_TEST(freed_map_takes_nothing_in_the_handler)
{
    make(CHANNELS, AF_UNIX, the_map);
    probes[0]->hook[PROBE_READ] = refuse_after_free;
    test_write_all(peers[0], "abc", 3);
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("refused"), 1);
    ck_assert_int_eq(probe_count("a.finalize"), 1);
}
END_TEST

START_TEST(free_in_a_predicate)
{
    make(CHANNELS, AF_UNIX, the_map);
    probes[1]->hook[PROBE_READABLE] = free_map;
    ck_assert_int_eq(asyncore_loop(ASYNCORE_TIMEOUT_NONE, _i, the_map, ASYNCORE_COUNT_NONE),
                     ASYNCORE_LOOP_EMPTY);
    ck_assert_int_eq(probe_count("d.finalize"), 1);
}
END_TEST

/* --- calls outside a pass ------------------------------------------------------------------------
 */

/* No pass holds the channel: what its handlers do to it must not pull the ground from under the
 * call that called them. Both ways to destroy it there: */

static void close_and_sweep(struct asyncore_dispatcher *dispatcher)
{
    struct asyncore_map *map = dispatcher->map;

    asyncore_close(dispatcher);
    ck_assert_int_eq(asyncore_poll2(0, map), 0);
}

static void end_map(struct asyncore_dispatcher *dispatcher)
{
    asyncore_map_free(dispatcher->map);
    the_map = NULL;
}

static void (*const destroyers[])(struct asyncore_dispatcher *) = {close_and_sweep, end_map};

enum {
    DESTROYERS = sizeof destroyers / sizeof *destroyers
};

struct victim {
    struct asyncore_dispatcher_with_send base;
    void (*destroy)(struct asyncore_dispatcher *dispatcher);
};

static int victim_destroy(struct asyncore_dispatcher *dispatcher);
static int victim_writable(struct asyncore_dispatcher *dispatcher);
static void victim_finalize(struct asyncore_dispatcher *dispatcher);
ASYNCORE_CLASS(victim, asyncore_dispatcher_with_send, .handle_connect = victim_destroy,
               .handle_close = victim_destroy, .writable = victim_writable,
               .interest = ASYNCORE_INTEREST_ON_CHANGE, .finalize = victim_finalize);

static int victim_result;

static int victim_destroy(struct asyncore_dispatcher *dispatcher)
{
    probe_note("destroy");
    victim_of(dispatcher)->destroy(dispatcher);
    return victim_result;
}

static int victim_writable(struct asyncore_dispatcher *dispatcher)
{
    return asyncore_dispatcher_with_send_writable(dispatcher);
}

static void victim_finalize(struct asyncore_dispatcher *dispatcher)
{
    (void)dispatcher;
    probe_note("finalize");
}

/* A victim on a connection whose other end is closed. */
static struct asyncore_dispatcher *make_victim(int how)
{
    struct victim *victim;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    victim = victim_new(pair[0], the_map);
    ck_assert_ptr_nonnull(victim);
    victim->destroy = destroyers[how];
    test_close(&pair[1]);
    return victim_dispatcher(victim);
}

/* At the latest in the next pass, for the call may have held it. */
static void check_destroyed(void)
{
    if (the_map)
        ck_assert_int_eq(asyncore_poll2(0, the_map), 0);
    ck_assert_str_eq(probe_trace(), "destroy finalize");
}

/* With an error of handle_close, which recv passes on, and without. */
START_TEST(destroyed_in_recv)
{
    char buf[4];
    int result = _i / DESTROYERS ? -EPROTO : 0;

    victim_result = result;
    ck_assert_int_eq(asyncore_recv(make_victim(_i % DESTROYERS), buf, sizeof buf), result);
    victim_result = 0;
    check_destroyed();
}
END_TEST

START_TEST(destroyed_in_send)
{
    (void)asyncore_send(make_victim(_i), "abc", 3);
    check_destroyed();
}
END_TEST

START_TEST(destroyed_in_send_of_the_queue)
{
    struct asyncore_dispatcher *victim = make_victim(_i);

    asyncore_set_connected(victim, false);
    ck_assert_int_eq(asyncore_send(victim, "abc", 3), 3);
    asyncore_set_connected(victim, true);
    (void)asyncore_initiate_send(victim);
    check_destroyed();
}
END_TEST

START_TEST(destroyed_in_send_behind_the_queue)
{
    struct asyncore_dispatcher *victim = make_victim(_i);

    asyncore_set_connected(victim, false);
    ck_assert_int_eq(asyncore_send(victim, "abc", 3), 3);
    asyncore_set_connected(victim, true);
    (void)asyncore_send(victim, "def", 3);
    check_destroyed();
}
END_TEST

/* A Unix socket connects at once, so that handle_connect is called in connect. */
START_TEST(destroyed_in_connect)
{
    struct test_addr addr;
    int listener = test_listener(AF_UNIX, &addr);
    struct victim *victim = victim_new(-1, the_map);

    ck_assert_ptr_nonnull(victim);
    victim->destroy = destroyers[_i];
    ck_assert_int_eq(asyncore_create_socket(victim_dispatcher(victim), AF_UNIX, SOCK_STREAM), 0);
    (void)asyncore_connect(victim_dispatcher(victim), test_sa(&addr), addr.len);
    check_destroyed();
    test_close(&listener);
}
END_TEST

/* The functions of the loop, called by the program, and the event layer. */
static int (*const entries[])(struct asyncore_dispatcher *) = {
    asyncore_read,
    asyncore_write,
    asyncore_exception,
    asyncore_handle_read_event,
    asyncore_handle_write_event,
    asyncore_handle_connect_event,
};

enum {
    ENTRIES = sizeof entries / sizeof *entries
};

static int read_end(struct asyncore_dispatcher *dispatcher)
{
    return asyncore_recv(dispatcher, &(char){0}, 1);
}

struct reader {
    struct victim base;
};
ASYNCORE_CLASS(reader, victim, .handle_read = read_end, .handle_expt = read_end);

START_TEST(destroyed_in_an_event)
{
    struct reader *reader;
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    reader = reader_new(pair[0], the_map);
    ck_assert_ptr_nonnull(reader);
    reader->base.destroy = destroyers[_i % DESTROYERS];
    test_close(&pair[1]);
    asyncore_set_connected(reader_dispatcher(reader), false);
    asyncore_set_connecting(reader_dispatcher(reader), true);
    (void)entries[_i / DESTROYERS](reader_dispatcher(reader));
    check_destroyed();
}
END_TEST

START_TEST(destroyed_in_readwrite)
{
    struct asyncore_dispatcher *victim = make_victim(_i);

    ck_assert_int_eq(asyncore_readwrite(victim, POLLOUT | POLLHUP), 0);
    check_destroyed();
}
END_TEST

/* Its own init destroys what it is part of, and then fails or not. */
struct born_dead {
    struct asyncore_dispatcher base;
};

static int born_how;

static int born_dead_init(struct asyncore_dispatcher *dispatcher, int fd)
{
    ck_assert_int_eq(asyncore_dispatcher_init(dispatcher, fd), 0);
    destroyers[born_how](dispatcher);
    return -EPROTO;
}

ASYNCORE_CLASS(born_dead, asyncore_dispatcher, .init = born_dead_init, .finalize = victim_finalize);

START_TEST(destroyed_in_new)
{
    int pair[2];

    test_socketpair(SOCK_STREAM, pair);
    born_how = _i;
    errno = 0;
    ck_assert_ptr_null(born_dead_new(pair[0], the_map));
    ck_assert_int_eq(errno, EPROTO);
    if (the_map)
        ck_assert_int_eq(asyncore_poll2(0, the_map), 0);
    ck_assert_str_eq(probe_trace(), "finalize");
    test_close(&pair[1]);
}
END_TEST

/* --- descriptors ----------------------------------------------------------------------------- */

/* In a process of its own, with room for so many more descriptors: whether map_new got by with
 * them, or else returned NULL with EMFILE. */
static bool map_fits(int room)
{
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int free_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
        struct asyncore_map *fresh;
        struct rlimit limit;

        close(free_fd);
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
            _exit(9);
        limit.rlim_cur = (rlim_t)free_fd + (rlim_t)room;
        while (fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, free_fd + room) >= 0)
            ; /* none is left beyond the limit that is to come */
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            _exit(10);
        errno = 0;
        fresh = asyncore_map_new(NULL);
        if (!fresh)
            _exit(errno == EMFILE ? 1 : 11);
        asyncore_map_free(fresh);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_msg(WEXITSTATUS(status) <= 1, "with %d descriptors: %d", room, WEXITSTATUS(status));
    return WEXITSTATUS(status) == 0;
}

START_TEST(map_new_without_descriptors)
{
    ck_assert(!map_fits(0));
    ck_assert(!map_fits(1));
    (void)map_fits(2); /* whatever libevent needs: no exit, no signal */
    (void)map_fits(3);
    (void)map_fits(4);
    ck_assert(map_fits(10));
}
END_TEST

static void fill_descriptors(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) >= 0)
        ;
}

/* The default map that cannot be made is an error of every call that needs it. Where there is none,
 * there is nothing to close and no loop to end. */
static int without_default_map(void)
{
    fill_descriptors();
    errno = 0;
    if (asyncore_socket_map() || errno != EMFILE)
        return 1;
    errno = 0;
    if (asyncore_dispatcher_new(-1, NULL) || errno != EMFILE)
        return 2;
    if (asyncore_loop(0, false, NULL, 1) != -EMFILE || asyncore_poll2(0, NULL) != -EMFILE)
        return 3;
    if (asyncore_close_all(NULL, false) != 0 || asyncore_loop_exit(NULL, 1) != -EINVAL)
        return 4;
    return asyncore_map_length(NULL) != 0 || asyncore_map_base(NULL) ? 5 : 0;
}

START_TEST(default_map_without_descriptors)
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(without_default_map());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* --- running --------------------------------------------------------------------------------- */

static void add_lifetimes(Suite *s)
{
    TCase *tc = add_case(s, tcase_create("lifetime"));

    tcase_add_loop_test(tc, closed_outside_a_pass_lives_on, 0, 2);
    tcase_add_test(tc, closed_outside_a_pass_dies_with_the_map);
    tcase_add_test(tc, owned_without_socket);
    tcase_add_loop_test(tc, new_socket_before_the_sweep_saves, 0, 2);
    tcase_add_loop_test(tc, referenced_channel_survives, 0, 2);
    tcase_add_loop_test(tc, released_channel_dies, 0, 2);
    tcase_add_loop_test(tc, unref_of_an_open_one, 0, 2);

    tc = add_case(s, tcase_create("map_free"));
    tcase_add_test(tc, free_of_null);
    tcase_add_test(tc, free_closes_and_destroys);
    tcase_add_test(tc, free_leaves_the_referenced);
    tcase_add_loop_test(tc, referenced_moves_from_a_freed_map, 0, 2);
    tcase_add_loop_test(tc, free_in_a_handler, 0, 2);
    tcase_add_loop_test(tc, freed_map_takes_nothing_in_the_handler, 0, 2);
    tcase_add_loop_test(tc, free_in_a_predicate, 0, 2);

    tc = add_case(s, tcase_create("outside_a_pass"));
    tcase_add_loop_test(tc, destroyed_in_recv, 0, 2 * DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_send, 0, DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_send_of_the_queue, 0, DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_send_behind_the_queue, 0, DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_connect, 0, DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_an_event, 0, ENTRIES * DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_readwrite, 0, DESTROYERS);
    tcase_add_loop_test(tc, destroyed_in_new, 0, DESTROYERS);

    tc = add_case(s, tcase_create("descriptors"));
    tcase_add_test(tc, map_new_without_descriptors);
    tcase_add_test(tc, default_map_without_descriptors);
}

int main(void)
{
    Suite *s = suite_create("lifetime");

    add_lifetimes(s);
    return test_main(s);
}
