/* Reads a file with a file_dispatcher. */
#define _GNU_SOURCE 1
#include "support.h"

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] = "usage: file_reader FILE\n"
                            "Prints each piece of up to 256 bytes that it reads from FILE.\n"
                            "      --help  print this\n";

struct file_reader {
    struct asyncore_file_dispatcher base;
};

static int file_reader_writable(struct asyncore_dispatcher *d)
{
    (void)d;
    return 0;
}

static int file_reader_handle_read(struct asyncore_dispatcher *d)
{
    char data[256];
    int n = asyncore_recv(d, data, sizeof data);

    if (n < 0)
        return n;
    printf("READ: (%d) \"", n);
    fwrite(data, 1, (size_t)n, stdout);
    puts("\"");
    fflush(stdout);
    return 0;
}

static int file_reader_handle_close(struct asyncore_dispatcher *d)
{
    return asyncore_close(d);
}

ASYNCORE_CLASS(file_reader, asyncore_file_dispatcher, .writable = file_reader_writable,
               .handle_read = file_reader_handle_read, .handle_close = file_reader_handle_close,
               .handle_error = demo_handle_error);

int main(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    const char *path;
    int option, fd, rc;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        fputs(usage, option == 'h' ? stdout : stderr);
        return option == 'h' ? demo_exit(0) : 2;
    }
    if (optind != argc - 1) {
        fputs(usage, stderr);
        return 2;
    }
    path = argv[optind];
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !file_reader_new(fd, NULL))
        err(1, "%s", path);
    close(fd); /* the channel has a duplicate */

    rc = asyncore_loop(ASYNCORE_TIMEOUT_DEFAULT, false, NULL, ASYNCORE_COUNT_NONE);
    if (rc < 0)
        warnx("%s: %s", path, asyncore_strerror(rc));
    asyncore_map_free(asyncore_socket_map());
    return demo_exit(rc < 0);
}
