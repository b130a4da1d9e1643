/* The loop of a map that is attached: the host runs the base. */
#ifndef CONFORMANCE_ATTACHED_H
#define CONFORMANCE_ATTACHED_H

#include "world.h"

/* What asyncore_loop does with these arguments, and its result. A loop of the map inside it is what
 * an attached map does not have: there the trace ends, and so does the scenario. */
int attached_loop(struct world *w, double timeout, bool use_poll, struct asyncore_map *map,
                  int count);

#endif
