/* Fetches several URLs at the same time, in one loop. */
#define _GNU_SOURCE 1
#include "http.h"
#include "support.h"

#include <err.h>
#include <getopt.h>
#include <stdlib.h>

static const char usage[] = "usage: http_client [-v] URL...\n"
                            "       http_client [-v] -o FILE URL\n"
                            "Fetches all URLs at the same time and prints how much each\n"
                            "answer has, its header included.\n"
                            "  -v, --verbose      log what happens to stderr\n"
                            "  -o, --output FILE  write the body to FILE\n"
                            "      --help         print this\n";

static int fetch(char *const *urls, int count, const char *output)
{
    struct http **clients = calloc((size_t)count, sizeof *clients);
    int status = 0, rc;

    if (!clients)
        err(1, NULL);
    for (int i = 0; i < count; i++) {
        clients[i] = http_get(urls[i], output, NULL);
        if (!clients[i])
            err(1, "%s", urls[i]);
    }

    demo_log("root", "LOOP STARTING");
    rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, NULL, ASYNCORE_COUNT_NONE);
    demo_log("root", "LOOP DONE");
    if (rc < 0)
        errx(1, "%s", asyncore_strerror(rc));

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
    static const struct option options[] = {{"verbose", no_argument, NULL, 'v'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *output = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "vo:h", options, NULL)) != -1) {
        switch (option) {
        case 'v':
            demo_verbose = true;
            break;
        case 'o':
            output = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return demo_exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind == argc || (output && argc - optind > 1)) {
        fputs(usage, stderr);
        return 2;
    }
    return demo_exit(fetch(argv + optind, argc - optind, output));
}
