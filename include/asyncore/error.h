/*
 * Errors.
 *
 * Functions return 0 or a count, or a negative errno (-ECONNREFUSED). Handlers return the same;
 * a negative value returned by a handler is what an uncaught exception is in Python. A function
 * that returns a pointer returns NULL and sets errno.
 */
#ifndef ASYNCORE_ERROR_H
#define ASYNCORE_ERROR_H

#include <asyncore/export.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_dispatcher;

/* Returned by a handler: leave the loop, which returns this value; handle_error is not called.
 * Outside the errno range. Python: raise asyncore.ExitNow. */
#define ASYNCORE_EXIT_NOW (-4097)

/* An error on its way to handle_error. Python: what compact_traceback() returns. */
struct asyncore_error {
    int error;            /* the negative value that was returned; 0: there is no error */
    const char *message;  /* what asyncore_raise was given, else asyncore_strerror(error) */
    const char *function; /* where it was raised: the function, or, when asyncore_raise was not
                           * used, the method that returned it ("handle_read") */
    const char *file;     /* "" when asyncore_raise was not used */
    int line;             /* 0 when asyncore_raise was not used */
};

/* Records error, the message and the place for the channel's handle_error, and returns error:
 *
 *     return asyncore_raise(d, -EPROTO, "bad command %s", word);
 *
 * The message is cut at 255 bytes. May be called anywhere; does not allocate. What is recorded
 * counts for the handler that is running: the next one starts without an error.
 * Python: raise. */
#define asyncore_raise(d, error, ...)                                                              \
    asyncore_raise_at((d), (error), __FILE__, __func__, __LINE__, __VA_ARGS__)

/* What asyncore_raise calls; file and function must outlive the error (literals do). */
ASYNCORE_API int asyncore_raise_at(struct asyncore_dispatcher *d, int error, const char *file,
                                   const char *function, int line, const char *format, ...)
    ASYNCORE_PRINTF(6, 7);

/* The last error of d's map: in handle_error, the one that is being handled. Valid until the next
 * one. Never NULL. Python: compact_traceback(). */
ASYNCORE_API const struct asyncore_error *asyncore_compact_traceback(
    const struct asyncore_dispatcher *d);

/* "Connection refused" for -ECONNREFUSED or ECONNREFUSED; "ExitNow"; "Unknown error N". Never
 * NULL; valid until the thread's next call. Python: asyncore._strerror(). */
ASYNCORE_API const char *asyncore_strerror(int error);

/* "ECONNREFUSED" for -ECONNREFUSED or ECONNREFUSED; "ExitNow"; "unknown". Never NULL; static.
 * Python: errno.errorcode[]. */
ASYNCORE_API const char *asyncore_errorcode(int error);

ASYNCORE_END_DECLS

#endif
