/*
 * Memory that runs out, in the library and in libevent.
 *
 * The linker leads the library's calls here (--wrap=malloc,calloc,realloc); libevent gets its
 * memory through event_set_mem_functions. Between fault_begin and fault_end nothing of libcheck may
 * be called, for it allocates too.
 */
#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include <stdbool.h>
#include <time.h>

struct fault {
    bool on;
    bool lasts; /* every allocation fails from then on, until the failure is told */
    long at;    /* the allocation that fails, counted from 1 */
    long seen;
    int told;          /* how often the library has reported it */
    const char *step;  /* what the scenario is doing */
    const char *where; /* what it was doing when the first one failed */
};

extern struct fault fault;

/* What main does before the tests: libevent's memory, and no warnings of what is done to it. */
void fault_install(void);

void fault_begin(long at, bool lasts);
void fault_end(void);

/* Whether what returned r is to be called again: there was no memory, and now there is. */
bool fault_again(int r);

/* test_now asserts, and libcheck allocates then. */
time_t fault_seconds(void);

/* How many descriptors are open. */
int fault_count_descriptors(void);

#endif
