/* The scenario language: text to classes and steps. scenario.py says the same; README.md describes
 * it. */
#ifndef CONFORMANCE_SCENARIO_H
#define CONFORMANCE_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* X(NAME) for each method: those that have the channel only; those of async_chat; and all. */
#define SIMPLE_METHODS(X)                                                                          \
    X(readable)                                                                                    \
    X(writable)                                                                                    \
    X(handle_read_event)                                                                           \
    X(handle_write_event)                                                                          \
    X(handle_expt_event)                                                                           \
    X(handle_connect_event)                                                                        \
    X(handle_read)                                                                                 \
    X(handle_write)                                                                                \
    X(handle_expt)                                                                                 \
    X(handle_connect)                                                                              \
    X(handle_accept)                                                                               \
    X(handle_close)                                                                                \
    X(handle_error)                                                                                \
    X(close)

/* Of async_chat only. */
#define CHAT_METHODS(X)                                                                            \
    X(collect_incoming_data)                                                                       \
    X(found_terminator)

#define METHODS(X)                                                                                 \
    SIMPLE_METHODS(X)                                                                              \
    X(handle_accepted)                                                                             \
    X(send)                                                                                        \
    X(recv)                                                                                        \
    X(log)                                                                                         \
    X(log_info)                                                                                    \
    CHAT_METHODS(X)

#define METHOD_NUMBER_(name) METHOD_##name,
enum method {
    METHODS(METHOD_NUMBER_) METHOD_more, /* of producers */
    METHOD_COUNT
};

enum super {
    DISPATCHER,
    DISPATCHER_WITH_SEND,
    FILE_DISPATCHER,
    ASYNC_CHAT,
    PRODUCER,
    SUPER_COUNT
};

/* What a class of async_chat can have. */
enum size {
    AC_IN_BUFFER_SIZE,
    AC_OUT_BUFFER_SIZE,
    SIZE_COUNT
};

#define EVERY_CALL 0

/* Actions are lists of tokens that end with NULL, one behind the other, until an empty one. */
typedef char *const *action_list;

/* The next action. */
action_list action_after(action_list action);

/* What a method does on its call of this number. */
struct call_plan {
    struct call_plan *next;
    unsigned number;
    action_list actions;
};

struct class_plan {
    struct class_plan *next;
    char *name;
    enum super super;
    bool overridden[METHOD_COUNT];
    bool has_size[SIZE_COUNT];
    size_t sizes[SIZE_COUNT];
    struct call_plan *calls[METHOD_COUNT];
};

struct step {
    struct step *next;
    action_list actions;
};

struct scenario {
    char *name;
    struct class_plan *classes;
    struct step *steps;
    struct step **last_step;
    struct scenario *next;
    bool counts_descriptors; /* says "lose" or "exhaust" */
    struct block *memory;
};

extern const char *const method_names[METHOD_COUNT];

/* The actions of the method's call of that number; NULL: nothing is said of it. */
action_list class_actions(const struct class_plan *cls, enum method method, unsigned number);

/* The scenarios of a file, one after the other. */
struct reader {
    FILE *file;
    const char *path;
    char *name; /* of the next one; the first is named by who sets this up, with malloc */
    char *line;
    size_t room;
    unsigned number; /* of the line */
};

/* NULL: there are no more. What is no scenario ends the program. */
struct scenario *scenario_read(struct reader *reader);
void scenario_free(struct scenario *s);

/* Where a mistake is: the file, NULL for nowhere; and the number of the line, 0 for none. */
void mistake_file(const char *path);
void mistake_line(unsigned number);

/* Ends the program: what is written is not a scenario. */
void mistake(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
