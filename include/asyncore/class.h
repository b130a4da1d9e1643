/*
 * Classes: how a program overrides methods.
 *
 *     struct echo {
 *         struct asyncore_dispatcher_with_send base;
 *         size_t total;
 *     };
 *
 *     ASYNCORE_DECLARE_LOCAL_CLASS(echo, asyncore_dispatcher_with_send);
 *
 *     static int echo_handle_read(struct asyncore_dispatcher *d) { ... echo_of(d)->total ... }
 *
 *     ASYNCORE_DEFINE_LOCAL_CLASS(echo, asyncore_dispatcher_with_send,
 *                                 .handle_read = echo_handle_read);
 *
 * makes echo_class, echo_new(fd, map), echo_of(d) and echo_dispatcher(e). A method that is not
 * named is inherited. A super call is a call of the library's function for the method of that
 * class (asyncore_dispatcher_with_send_handle_write(d)), or of the program's own.
 */
#ifndef ASYNCORE_CLASS_H
#define ASYNCORE_CLASS_H

#include <asyncore/export.h>

#include <stddef.h>
#include <sys/socket.h>

ASYNCORE_BEGIN_DECLS

struct asyncore_dispatcher;
struct asyncore_map;

/* When readable and writable are asked, in a class that overrides one of them. */
enum asyncore_interest {
    ASYNCORE_INTEREST_INHERIT = 0, /* as the super class says */
    ASYNCORE_INTEREST_EVERY_PASS,  /* in every pass, as in Python; the library's classes say this */
    ASYNCORE_INTEREST_ON_CHANGE,   /* after the channel's handlers, after calls of the library on
                                    * it, and after asyncore_touch: their answer changes at no
                                    * other time. Costs nothing while the channel idles. */
};

/* The table of a class: constant, and alive as long as its channels. All methods are optional; a
 * NULL one is inherited. Unless stated otherwise a method may close its channel or any other, and
 * free the map. What each does by default is said in dispatcher.h, at the function of its name. */
struct asyncore_class {
    size_t table_size;                  /* sizeof(struct asyncore_class) */
    const char *name;                   /* for repr */
    const struct asyncore_class *super; /* required */
    size_t size;                        /* of the instance */
    enum asyncore_interest interest;
    const char *const *ignore_log_types; /* ends with NULL; Python: the attribute of this name */

    /* Sets the instance up: called once, by new, for a zeroed instance that is owned by d->map.
     * Call the super class's init first, with fd. An error destroys the instance (finalize is
     * called) and makes new return NULL. Python: __init__. */
    int (*init)(struct asyncore_dispatcher *d, int fd);

    /* Releases what the instance itself holds. Called once, at its destruction, for each class
     * that has one, derived first, without super calls. Must not use d in calls of the library
     * that read or write, and cannot keep d alive. */
    void (*finalize)(struct asyncore_dispatcher *d);

    /* Predicates: > 0 yes, 0 no; a negative value leaves the loop. */
    int (*readable)(struct asyncore_dispatcher *d);
    int (*writable)(struct asyncore_dispatcher *d);

    /* Handlers: a negative value other than -EAGAIN is an error and goes to handle_error;
     * ASYNCORE_EXIT_NOW leaves the loop. */
    int (*handle_read_event)(struct asyncore_dispatcher *d);
    int (*handle_write_event)(struct asyncore_dispatcher *d);
    int (*handle_expt_event)(struct asyncore_dispatcher *d);
    int (*handle_connect_event)(struct asyncore_dispatcher *d);
    int (*handle_read)(struct asyncore_dispatcher *d);
    int (*handle_write)(struct asyncore_dispatcher *d);
    int (*handle_expt)(struct asyncore_dispatcher *d);
    int (*handle_connect)(struct asyncore_dispatcher *d);
    int (*handle_accept)(struct asyncore_dispatcher *d);
    /* Owns sock: hands it to a new channel (new consumes it even when it fails) or closes it. addr
     * is valid during the call. */
    int (*handle_accepted)(struct asyncore_dispatcher *d, int sock, const struct sockaddr *addr,
                           socklen_t addrlen);
    int (*handle_close)(struct asyncore_dispatcher *d);
    int (*handle_error)(struct asyncore_dispatcher *d); /* an error of its own leaves the loop */

    /* What handlers call. */
    int (*send)(struct asyncore_dispatcher *d, const void *data, size_t len);
    int (*recv)(struct asyncore_dispatcher *d, void *buf, size_t len);
    int (*close)(struct asyncore_dispatcher *d);
    int (*log)(struct asyncore_dispatcher *d, const char *message);
    int (*log_info)(struct asyncore_dispatcher *d, const char *message, const char *type);

    /* As snprintf: the length without the end, what does not fit is cut. May not close. */
    int (*repr)(const struct asyncore_dispatcher *d, char *buf, size_t size);

    /* Of async_chat, chat.h; the first two are required there. */
    int (*collect_incoming_data)(struct asyncore_dispatcher *d, const void *data, size_t len);
    int (*found_terminator)(struct asyncore_dispatcher *d);
    int (*handle_collect_limit)(struct asyncore_dispatcher *d);
    int (*handle_high_water)(struct asyncore_dispatcher *d);
    size_t ac_in_buffer_size;  /* bytes; 0: as the super class says */
    size_t ac_out_buffer_size; /* bytes; 0: as the super class says */

    /* Handlers without a counterpart in Python. */
    int (*handle_timeout)(struct asyncore_dispatcher *d); /* see asyncore_set_timeout */
    int (*handle_drain)(struct asyncore_dispatcher *d);   /* see asyncore_set_back_pressure */
};

/* A new channel of class cls, owned by map. fd: a connected, listening or unconnected socket; the
 * file of a file_dispatcher; or -1 for none yet. A socket is consumed, closed even when this
 * fails; a file is duplicated and stays the caller's.
 * NULL with errno: EINVAL (cls has no super, is smaller than it, or map has been freed), ENOMEM,
 * EMFILE, what init returned (EBADF, ENOTSOCK; ECANCELED for ASYNCORE_EXIT_NOW). Usually called as
 * NAME_new. */
ASYNCORE_API struct asyncore_dispatcher *asyncore_new(const struct asyncore_class *cls, int fd,
                                                      struct asyncore_map *map);

/* Whether d's class is cls or derived from it. Python: isinstance(). */
ASYNCORE_API int asyncore_isinstance(const struct asyncore_dispatcher *d,
                                     const struct asyncore_class *cls);

/* The library's classes: for use as SUPER in the macros below. Their instances are made with
 * asyncore_dispatcher_new and so on. */
ASYNCORE_API extern const struct asyncore_class asyncore_dispatcher_class;
ASYNCORE_API extern const struct asyncore_class asyncore_dispatcher_with_send_class;
ASYNCORE_API extern const struct asyncore_class asyncore_file_dispatcher_class;

ASYNCORE_END_DECLS

/* C only (they use _Generic and designated initialisers): C++ can call everything, and gets its
 * classes from a C file, or fills in a struct asyncore_class by hand. */
#ifndef __cplusplus

/* All at once: for methods that do without NAME_of. */
#define ASYNCORE_CLASS(NAME, SUPER, ...)                                                           \
    ASYNCORE_DECLARE_LOCAL_CLASS(NAME, SUPER);                                                     \
    ASYNCORE_DEFINE_LOCAL_CLASS(NAME, SUPER, __VA_ARGS__)

/* In front of the methods, after struct NAME, whose first member is "struct SUPER base": declares
 * NAME_class, static, and defines NAME_of, NAME_dispatcher and NAME_new. */
#define ASYNCORE_DECLARE_LOCAL_CLASS(NAME, SUPER)                                                  \
    ASYNCORE_TABLE static const struct asyncore_class NAME##_class;                                \
    ASYNCORE_CLASS_FUNCTIONS_(NAME, SUPER)

/* Behind the methods: the table of a class that was declared so. */
#define ASYNCORE_DEFINE_LOCAL_CLASS(NAME, SUPER, ...)                                              \
    ASYNCORE_TABLE static const struct asyncore_class NAME##_class =                               \
        ASYNCORE_CLASS_TABLE_(NAME, SUPER, __VA_ARGS__)

/* The same for a class that is used in several files: the one in a header, the other in a file. */
#define ASYNCORE_DECLARE_CLASS(NAME, SUPER)                                                        \
    ASYNCORE_UNUSED extern const struct asyncore_class NAME##_class;                               \
    ASYNCORE_CLASS_FUNCTIONS_(NAME, SUPER)
#define ASYNCORE_DEFINE_CLASS(NAME, SUPER, ...)                                                    \
    ASYNCORE_TABLE const struct asyncore_class NAME##_class =                                      \
        ASYNCORE_CLASS_TABLE_(NAME, SUPER, __VA_ARGS__)

#define ASYNCORE_CLASS_TABLE_(NAME, SUPER, ...)                                                    \
    {                                                                                              \
        .table_size = sizeof(struct asyncore_class), .name = #NAME, .super = &SUPER##_class,       \
        .size = sizeof(struct NAME), __VA_ARGS__                                                   \
    }

#define ASYNCORE_CLASS_FUNCTIONS_(NAME, SUPER)                                                     \
    _Static_assert(_Generic(((struct NAME *)0)->base, struct SUPER : 1, default : 0),              \
                   "struct " #NAME " needs a member \"struct " #SUPER " base\"");                  \
    _Static_assert(offsetof(struct NAME, base) == 0,                                               \
                   "base must be the first member of struct " #NAME);                              \
    ASYNCORE_UNUSED static inline struct NAME *NAME##_of(struct asyncore_dispatcher *d)            \
    {                                                                                              \
        return (struct NAME *)(void *)d;                                                           \
    }                                                                                              \
    ASYNCORE_UNUSED static inline struct asyncore_dispatcher *NAME##_dispatcher(struct NAME *self) \
    {                                                                                              \
        return (struct asyncore_dispatcher *)(void *)self;                                         \
    }                                                                                              \
    ASYNCORE_UNUSED static inline struct NAME *NAME##_new(int fd, struct asyncore_map *map)        \
    {                                                                                              \
        return (struct NAME *)(void *)asyncore_new(&NAME##_class, fd, map);                        \
    }                                                                                              \
    _Static_assert(1, "the user's semicolon")

#endif

#endif
