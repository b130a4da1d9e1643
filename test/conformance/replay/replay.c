/* Runs scenarios on our library and prints their traces: replay [--attached] [FILE...]. README.md
 * describes them, oracle.py does the same with CPython's asyncore. */
#define _GNU_SOURCE
#include "kernel.h"
#include "scenario.h"
#include "trace.h"
#include "verbs.h"
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Those that were read, in order. */
struct plans {
    struct scenario *first;
    struct scenario **last;
};

static void read_file(struct plans *plans, FILE *file, const char *path, const char *name,
                      size_t length)
{
    struct reader reader = {.file = file, .path = path, .name = strndup(name, length)};
    struct scenario *plan;

    while ((plan = scenario_read(&reader))) {
        *plans->last = plan;
        plans->last = &plan->next;
    }
    free(reader.name);
    free(reader.line);
}

static void read_path(struct plans *plans, const char *path)
{
    static const char suffix[] = ".scn";
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t length = strlen(name);
    FILE *file = fopen(path, "re");

    if (!file)
        mistake("%s: %s", path, strerror(errno));
    if (length >= sizeof suffix && strcmp(name + length - (sizeof suffix - 1), suffix) == 0)
        length -= sizeof suffix - 1;
    read_file(plans, file, path, name, length);
    fclose(file);
}

static void play(struct scenario *plan, bool attached)
{
    while (plan) {
        struct scenario *next = plan->next;

        world_play(plan, attached);
        scenario_free(plan);
        plan = next;
    }
}

/* All is read before anything runs: a mistake leaves no trace. */
int main(int argc, char **argv)
{
    struct plans plans = {.last = &plans.first};
    const bool attached = argc > 1 && strcmp(argv[1], "--attached") == 0;
    const int files = attached ? 2 : 1;

    if (argc <= files)
        read_file(&plans, stdin, "standard input", "scenario", strlen("scenario"));
    for (int i = files; i < argc; i++)
        read_path(&plans, argv[i]);
    kernel_prepare();
    trace_prepare();
    verbs_prepare();
    play(plans.first, attached);
    verbs_end();
    kernel_end();
    return EXIT_SUCCESS;
}
