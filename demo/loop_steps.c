/* A program with a loop of its own, which gives asyncore one pass of at most a second at a time. */
#define _GNU_SOURCE 1
#include "http.h"
#include "support.h"

#include <err.h>
#include <getopt.h>
#include <stdlib.h>

static const char usage[] = "usage: loop_steps [-v] URL...\n"
                            "Fetches all URLs with a loop of its own around single passes.\n"
                            "  -v, --verbose  log what happens to stderr\n"
                            "      --help     print this\n";

static int step_through(char *const *urls, int count)
{
    struct http **clients = calloc((size_t)count, sizeof *clients);
    int status = 0;

    if (!clients)
        err(1, NULL);
    for (int i = 0; i < count; i++) {
        clients[i] = http_get(urls[i], NULL, NULL);
        if (!clients[i])
            err(1, "%s", urls[i]);
    }

    for (int loop_counter = 1; asyncore_map_length(NULL) > 0; loop_counter++) {
        int rc;

        printf("loop_counter=%d\n", loop_counter);
        fflush(stdout);
        rc = asyncore_loop(1, false, NULL, 1);
        if (rc < 0)
            errx(1, "%s", asyncore_strerror(rc));
        /* Here the program does work of its own. */
    }

    for (int i = 0; i < count; i++) {
        status |= http_report(clients[i]);
        asyncore_unref(http_dispatcher(clients[i]));
    }
    free(clients);
    asyncore_map_free(asyncore_socket_map());
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"verbose", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {0}};
    int option;

    while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
        switch (option) {
        case 'v':
            demo_verbose = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return demo_exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    return demo_exit(step_through(argv + optind, argc - optind));
}
