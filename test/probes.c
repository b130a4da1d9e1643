#include "probes.h"

#include "support.h"

#include <string.h>

struct asyncore_map *the_map;
struct probe *probes[CHANNELS];
int peers[CHANNELS];

static void setup(void)
{
    probe_setup();
    the_map = asyncore_map_new(NULL);
    ck_assert_ptr_nonnull(the_map);
    memset(peers, -1, sizeof peers);
}

static void teardown(void)
{
    asyncore_map_free(the_map);
    for (int i = 0; i < CHANNELS; i++)
        if (peers[i] >= 0)
            test_close(&peers[i]);
}

TCase *add_case(Suite *s, TCase *tc)
{
    test_add_fixture(tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

void make(int count, int family, struct asyncore_map *map)
{
    static const char *const names[CHANNELS] = {"a", "b", "c", "d"};

    for (int i = 0; i < count; i++)
        probes[i] = probe_connected(names[i], family, map, &peers[i]);
}

struct asyncore_dispatcher *d(int i)
{
    return &probes[i]->base;
}
