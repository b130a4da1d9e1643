/* What is written wrongly is found before anything runs. */
#ifndef CONFORMANCE_CHECK_H
#define CONFORMANCE_CHECK_H

#include "scenario.h"

/* What is made in a scenario, and what is asked of it: known when all of it was read. */
struct checker {
    struct check_note *notes;
    unsigned line; /* the one that is being read */
};

/* The actions of a line; inside: the class of the method, or NULL. */
void check_actions(struct checker *checker, action_list actions, const struct class_plan *inside);

/* When all of the scenario was read. Forgets what was noted. */
void check_end(struct checker *checker, const struct scenario *s);

/* Whether it can be the name of something. */
bool check_is_name(const char *word);

#endif
