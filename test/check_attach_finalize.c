/* Attached maps: what the finalize of a channel does that a predicate has closed. */
#include "hosted.h"

#include <stddef.h>
#include <unistd.h>

/* Closes itself when it is asked; then its arg is called. */
struct leaver {
    struct probe base;
};

static int leaver_readable(struct asyncore_dispatcher *d)
{
    return asyncore_close(d);
}

ASYNCORE_DECLARE_LOCAL_CLASS(leaver, probe);

static void (*last_will)(struct asyncore_map *map);

static void leaver_finalize(struct asyncore_dispatcher *d)
{
    last_will(d->map);
}

ASYNCORE_DEFINE_LOCAL_CLASS(leaver, probe, .interest = ASYNCORE_INTEREST_ON_CHANGE,
                            .readable = leaver_readable, .finalize = leaver_finalize);

static void make_leaver(void (*will)(struct asyncore_map *map))
{
    int pair[2];
    struct leaver *self;

    test_pair(AF_INET, pair);
    test_close(&pair[1]);
    self = leaver_new(pair[0], the_map);
    ck_assert_ptr_nonnull(self);
    self->base.name = "leaver";
    last_will = will;
}

/* What reads in the end; it does not read before. */
static struct probe *heir;
static int heirs_socket;

static void make_heir(struct asyncore_map *map)
{
    heir = quiet_probe_make("heir", heirs_socket, map);
}

static void wake_heir(struct asyncore_map *map)
{
    (void)map;
    heir->readable = true;
    asyncore_touch(probe_dispatcher(heir));
}

/* With a byte that waits for it. */
static void make_heirs_socket(void)
{
    int pair[2];

    test_pair(AF_INET, pair);
    heirs_socket = pair[0];
    test_write_all(pair[1], "x", 1);
    peers[0] = pair[1];
}

START_TEST(what_finalize_touches_is_asked)
{
    make_heirs_socket();
    make_heir(the_map);
    heir->readable = false;
    make_leaver(wake_heir);
    attach(_i);
    host_until("heir.read", 1);
}
END_TEST

START_TEST(what_finalize_makes_is_served)
{
    make_heirs_socket();
    make_leaver(make_heir);
    attach(_i);
    host_until("heir.read", 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("attach_finalize");
    TCase *tc = add_hosted_case(s, tcase_create("finalize"));

    tcase_add_loop_test(tc, what_finalize_touches_is_asked, 0, 2);
    tcase_add_loop_test(tc, what_finalize_makes_is_served, 0, 2);
    return hosted_main(s);
}
