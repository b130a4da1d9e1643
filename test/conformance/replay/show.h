/* How errors, data and texts are shown in the trace. oracle.py says the same. */
#ifndef CONFORMANCE_SHOW_H
#define CONFORMANCE_SHOW_H

#include "bytes.h"

/* The name of a negative errno, as Python's errno module has it. */
const char *error_name(int error);

/* The errno of that name, positive; 0: there is none. */
int error_number(const char *name);

/* The length, and the data, or its ends and a checksum. */
void show_data(struct bytes *out, const void *data, size_t length);

/* The text without what is one side's alone, and what differs from run to run. */
void show_normal(struct bytes *out, const char *text);

/* The bytes of a "quoted" token. */
void unquote(struct bytes *out, const char *token);

#endif
