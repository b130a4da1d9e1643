/*
 * Errors on their way to handle_error: a number, a message and a place, one a map, which needs no
 * memory when there is none left.
 */
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int positive(int error)
{
    return error < 0 && error != INT_MIN ? -error : error;
}

const char *asyncore_strerror(int error)
{
    return error == ASYNCORE_EXIT_NOW ? "ExitNow" : strerror(positive(error));
}

const char *asyncore_errorcode(int error)
{
    const char *name = error ? strerrorname_np(positive(error)) : NULL;

    if (error == ASYNCORE_EXIT_NOW)
        return "ExitNow";
    return name ? name : "unknown";
}

bool error_is_disconnect(int error)
{
    switch (error) {
    case -ECONNRESET:
    case -ENOTCONN:
    case -ESHUTDOWN:
    case -ECONNABORTED:
    case -EPIPE:
    case -EBADF:
        return true;
    default:
        return false;
    }
}

void error_note(struct asyncore_map *map, int error, const char *function)
{
    if (map->error.error == error || (map->handled && map->error.error != 0))
        return;
    map->error = (struct asyncore_error){
        .error = error, .message = map->message, .function = function, .file = ""};
    snprintf(map->message, sizeof map->message, "%s", asyncore_strerror(error));
}

void error_begin(struct asyncore_map *map, struct handled *handled)
{
    handled->error = map->error;
    memcpy(handled->message, map->message, sizeof map->message);
    handled->outer = map->handled;
    map->handled = handled;
}

void error_resume(struct asyncore_map *map, struct handled *handled)
{
    map->handled = handled;
    if (!handled)
        return;
    map->error = handled->error;
    memcpy(map->message, handled->message, sizeof map->message);
}

int asyncore_raise_at(struct asyncore_dispatcher *d, int error, const char *file,
                      const char *function, int line, const char *format, ...)
{
    struct asyncore_map *map = d->map;
    char message[sizeof map->message]; /* the arguments may lie in the old one */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    memcpy(map->message, message, sizeof message);
    map->error = (struct asyncore_error){
        .error = error, .message = map->message, .function = function, .file = file, .line = line};
    return error;
}

const struct asyncore_error *asyncore_compact_traceback(const struct asyncore_dispatcher *d)
{
    return &d->map->error;
}
