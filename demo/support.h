/* What the programs have in common. None of it is needed to use the library. */
#ifndef DEMO_SUPPORT_H
#define DEMO_SUPPORT_H

#include <asyncore/asyncore.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;

/* What a loop returns that SIGINT or SIGTERM has ended. */
#define DEMO_STOPPED 100

/* With it set (-v), demo_log writes "NAME: MESSAGE" to stderr. */
extern bool demo_verbose;

void demo_log(const char *name, const char *format, ...) ASYNCORE_PRINTF(2, 3);

/* The same for data: NAME: METHOD -> (LENGTH) "DATA". */
void demo_log_data(const char *name, const char *method, const void *data, int length);

/* 0 to 65535, or -EINVAL. */
int demo_parse_port(const char *text, uint16_t *port);

/* HOST, HOST:PORT, [HOST] or [HOST]:PORT, the latter two for IPv6; without a PORT *port stays as
 * it is. -EINVAL. */
int demo_parse_host_port(const char *text, char *host, size_t size, uint16_t *port);

/* AF_INET6 for a numeric IPv6 host; otherwise AF_INET, which is Python's default too. */
int demo_family(const char *host);

/* Prints "listening on HOST:PORT" at once. 0 or a negative errno. */
int demo_print_listening(const struct asyncore_dispatcher *d);

/* The same for a socket that is no channel's, with what stands around HOST:PORT ("http://"). */
int demo_print_listening_socket(const char *before, int sock, const char *after);

/* Gives d, a channel without a socket, one that listens on host and port (0: any free one), and
 * prints that. 0 or a negative errno; demo_strerror says more. */
int demo_listen(struct asyncore_dispatcher *d, const char *host, uint16_t port);

/* Ends the loop of map with DEMO_STOPPED on SIGINT and SIGTERM. To be released before the map is
 * freed. 0 or -ENOMEM. */
struct demo_signals {
    struct event *interrupt;
    struct event *terminate;
};

int demo_catch_signals(struct demo_signals *signals, struct asyncore_map *map);
void demo_release_signals(struct demo_signals *signals);

/* The text of an error that a function of the library has returned for d: what is recorded about
 * it (the resolver's message, say), or else its name. */
const char *demo_strerror(const struct asyncore_dispatcher *d, int error);

/* A handle_error for programs that end with the first error: the loop returns it. */
int demo_handle_error(struct asyncore_dispatcher *d);

/* The options of a server that has no others, --host, --port and --help, in front of so many
 * operands, of which getopt's optind is the first. -1: serve; or the status with which the program
 * ends. */
int demo_parse_server_options(int argc, char **argv, const char *usage, const char **host,
                              uint16_t *port, int operands);

/* Listens on host and port with server, a channel without a socket, runs its map until SIGINT or
 * SIGTERM, and frees it. The program's status; an error is one line on stderr. NULL: what made
 * server has failed. */
int demo_serve(struct asyncore_dispatcher *server, const char *host, uint16_t port);

/* The last thing that main calls: status, or 1 when stdout could not be written. */
int demo_exit(int status);

#endif
