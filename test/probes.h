/* Four probes, "a" to "d", in a map: a fixture for test cases. */
#ifndef TEST_PROBES_H
#define TEST_PROBES_H

#include "probe.h"

#include <check.h>

enum {
    CHANNELS = 4
};

/* A map on a base of its own, freed after the test (NULL: the test did); the probes of make, and
 * the other ends of their connections, closed after the test unless they are -1. */
extern struct asyncore_map *the_map;
extern struct probe *probes[CHANNELS];
extern int peers[CHANNELS];

/* Makes the first count of them, in the map, on connections of the family: see probe_connected. */
void make(int count, int family, struct asyncore_map *map);

/* The channel of probe i. */
struct asyncore_dispatcher *d(int i);

/* Adds the test case, with this fixture, to the suite. */
TCase *add_case(Suite *s, TCase *tc);

#endif
