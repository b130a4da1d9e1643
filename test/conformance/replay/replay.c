/* Runs scenarios on our library and prints their traces: replay [FILE...]. README.md describes
 * them, oracle.py does the same with CPython's asyncore. */
#define _GNU_SOURCE
#include "kernel.h"
#include "scenario.h"
#include "trace.h"
#include "verbs.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

static void play_file(FILE *file, const char *name, size_t length)
{
    struct reader reader = {.file = file, .name = strndup(name, length)};
    struct scenario *plan;

    while ((plan = scenario_read(&reader))) {
        world_play(plan);
        scenario_free(plan);
    }
    free(reader.name);
    free(reader.line);
}

static void play_path(const char *path)
{
    static const char suffix[] = ".scn";
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t length = strlen(name);
    FILE *file = fopen(path, "re");

    if (!file)
        mistake("cannot open %s", path);
    if (length >= sizeof suffix && strcmp(name + length - (sizeof suffix - 1), suffix) == 0)
        length -= sizeof suffix - 1;
    play_file(file, name, length);
    fclose(file);
}

int main(int argc, char **argv)
{
    kernel_prepare();
    trace_prepare();
    verbs_prepare();
    if (argc < 2)
        play_file(stdin, "scenario", strlen("scenario"));
    for (int i = 1; i < argc; i++)
        play_path(argv[i]);
    verbs_end();
    kernel_end();
    return EXIT_SUCCESS;
}
