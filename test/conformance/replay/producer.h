/* The producers of a scenario: what its classes of them say. */
#ifndef CONFORMANCE_PRODUCER_H
#define CONFORMANCE_PRODUCER_H

#include "channel.h"

/* For a channel. NULL: no memory. */
struct asynchat_producer *producer_make(struct world *w, struct asyncore_dispatcher *d,
                                        const char *class_name);

#endif
