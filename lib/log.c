/* log and log_info, for 'hit' logging and for messages of a type. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int asyncore_dispatcher_log(struct asyncore_dispatcher *d, const char *message)
{
    (void)d;
    fprintf(stderr, "log: %s\n", message);
    return 0;
}

static const char *const *ignored_types(const struct asyncore_dispatcher *d)
{
    const struct asyncore_class *cls = d->cls;

    if (channel_of(d)->ignore_log_types)
        return channel_of(d)->ignore_log_types;
    while (!HAS(cls, ignore_log_types))
        cls = cls->super;
    return cls->ignore_log_types;
}

int asyncore_dispatcher_log_info(struct asyncore_dispatcher *d, const char *message,
                                 const char *type)
{
    for (const char *const *ignored = ignored_types(d); *ignored; ignored++)
        if (strcmp(*ignored, type) == 0)
            return 0;
    printf("%s: %s\n", type, message);
    return 0;
}

void asyncore_set_ignore_log_types(struct asyncore_dispatcher *d, const char *const *types)
{
    channel_of(d)->ignore_log_types = types;
}

int asyncore_logf(struct asyncore_dispatcher *d, const char *format, ...)
{
    char message[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return asyncore_log(d, message);
}

int asyncore_log_infof(struct asyncore_dispatcher *d, const char *type, const char *format, ...)
{
    char message[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return asyncore_log_info(d, message, type);
}
