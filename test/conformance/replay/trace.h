/* The trace: a call is a line; what happens in it is indented, and its result stands behind the
 * call if nothing happened. */
#ifndef CONFORMANCE_TRACE_H
#define CONFORMANCE_TRACE_H

#include <stdbool.h>

/* Before the first scenario: what the program prints, and SIGPIPE, become lines of the trace. */
void trace_prepare(void);

/* A scenario's trace; it may take a minute. loses: descriptors are closed behind libevent. */
void trace_begin(const char *name, bool loses);
void trace_end(void);

/* Says why the scenario is not compared from the call on whose line this is; nothing is traced
 * until trace_go_on. */
void trace_except(const char *why);
void trace_go_on(void);

void trace_line(const char *text);
void trace_call(const char *text);
void trace_result(const char *text);

#endif
