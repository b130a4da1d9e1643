/* The scenario's channels. */
#define _GNU_SOURCE
#include "channel.h"

#include "show.h"
#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The call of an overridden method, with its arguments. */
struct method_call {
    enum method method;
    const void *data; /* of send, and collect_incoming_data */
    void *buffer;     /* of recv */
    size_t size;      /* of these */
    const struct sockaddr *addr;
    socklen_t addrlen;
    int sock;
    const char *message;
    const char *type;
};

/* --- state ----------------------------------------------------------------------------------- */

static bool has_address(struct asyncore_dispatcher *d, const struct sockaddr *addr, socklen_t len,
                        int (*get)(const struct asyncore_dispatcher *, struct sockaddr *,
                                   socklen_t *))
{
    struct address a = {.length = sizeof a.storage};

    return get(d, address_of(&a), &a.length) == 0 &&
           kernel_same_address(addr, len, address_of(&a), a.length);
}

static const char *address_kind(struct asyncore_dispatcher *d, const struct sockaddr *addr,
                                socklen_t len)
{
    if (has_address(d, addr, len, asyncore_getpeername))
        return "peer";
    return has_address(d, addr, len, asyncore_getsockname) ? "self" : "other";
}

static bool is_in(const struct asyncore_map *map, const struct asyncore_dispatcher *d)
{
    const struct asyncore_dispatcher *member = NULL;

    while (map && (member = asyncore_map_next(map, member)))
        if (member == d)
            return true;
    return false;
}

void channel_state(struct bytes *out, struct asyncore_dispatcher *d)
{
    struct world *w = actor_of(d)->world;
    socklen_t len;
    const struct sockaddr *addr = asyncore_addr(d, &len);
    struct bytes words = {.length = 0};

    bytes_put(&words, d->connected ? " connected" : "");
    bytes_put(&words, d->accepting ? " accepting" : "");
    bytes_put(&words, d->connecting ? " connecting" : "");
    bytes_put(&words, d->closing ? " closing" : "");
    for (int i = 0; i < MAPS; i++)
        if (is_in(w->maps[i], d))
            bytes_format(&words, " map%d", i);
    if (addr)
        bytes_format(&words, " addr=%s", address_kind(d, addr, len));
    if (asyncore_out_buffer_length(d) > 0)
        bytes_format(&words, " out=%zu", asyncore_out_buffer_length(d));
    bytes_drop(&words, 1); /* the first space */
    bytes_format(out, "[%s]", bytes_text(&words));
    bytes_clear(&words);
}

void channel_members(struct bytes *out, const struct asyncore_map *map)
{
    struct asyncore_dispatcher *d = NULL;
    const char *before = "";

    bytes_put(out, "(");
    while ((d = asyncore_map_next(map, d))) {
        bytes_format(out, "%s%s", before, actor_of(d)->name);
        before = " ";
    }
    bytes_put(out, ")");
}

/* --- super ----------------------------------------------------------------------------------- */

#define SUPER_(name) [METHOD_##name] = asyncore_dispatcher_##name,

static int call_simple_super(struct asyncore_dispatcher *d, enum method method)
{
    static int (*const supers[METHOD_COUNT])(struct asyncore_dispatcher *) = {
        SIMPLE_METHODS(SUPER_)};
    static int (*const chat[METHOD_COUNT])(struct asyncore_dispatcher *) = {
        [METHOD_readable] = asynchat_async_chat_readable,
        [METHOD_writable] = asynchat_async_chat_writable,
        [METHOD_handle_read] = asynchat_async_chat_handle_read,
        [METHOD_handle_write] = asynchat_async_chat_handle_write,
        [METHOD_handle_close] = asynchat_async_chat_handle_close,
        [METHOD_found_terminator] = asynchat_async_chat_found_terminator,
    };

    if (actor_is(actor_of(d), ASYNC_CHAT) && chat[method])
        return chat[method](d);
    if (actor_is(actor_of(d), DISPATCHER_WITH_SEND) && method == METHOD_writable)
        return asyncore_dispatcher_with_send_writable(d);
    if (actor_is(actor_of(d), DISPATCHER_WITH_SEND) && method == METHOD_handle_write)
        return asyncore_dispatcher_with_send_handle_write(d);
    return supers[method](d);
}

static int super_send(struct frame *frame)
{
    struct asyncore_dispatcher *d = frame->channel;
    const struct method_call *call = frame->call;

    if (actor_is(actor_of(d), DISPATCHER_WITH_SEND))
        return asyncore_dispatcher_with_send_send(d, call->data, call->size);
    return asyncore_dispatcher_send(d, call->data, call->size);
}

static int super_recv(struct frame *frame)
{
    const struct method_call *call = frame->call;
    int n = asyncore_dispatcher_recv(frame->channel, call->buffer, call->size);

    if (n >= 0) {
        bytes_clear(&frame->it);
        bytes_add(&frame->it, call->buffer, (size_t)n);
    }
    return n;
}

static int super_accepted(struct frame *frame)
{
    int sock = raw_take(frame->sock);

    if (sock < 0)
        return -EBADF; /* it was given away */
    return asyncore_dispatcher_handle_accepted(frame->channel, sock, frame->call->addr,
                                               frame->call->addrlen);
}

int channel_call_super(struct frame *frame)
{
    struct asyncore_dispatcher *d = frame->channel;
    enum method method = frame->call->method;
    int r;

    switch (method) {
    case METHOD_handle_accepted:
        r = super_accepted(frame);
        break;
    case METHOD_send:
        r = super_send(frame);
        break;
    case METHOD_recv:
        r = super_recv(frame);
        break;
    case METHOD_collect_incoming_data:
        r = asynchat_async_chat_collect_incoming_data(d, frame->call->data, frame->call->size);
        break;
    case METHOD_log:
        r = asyncore_dispatcher_log(d, frame->call->message);
        break;
    case METHOD_log_info:
        r = asyncore_dispatcher_log_info(d, frame->call->message, frame->call->type);
        break;
    default:
        r = call_simple_super(d, method);
    }
    if (r >= 0) {
        frame->value = r;
        frame->value_type = method == METHOD_recv ? DATA : NUMBER;
    }
    return r;
}

/* --- calls ----------------------------------------------------------------------------------- */

static void show_quoted(struct bytes *out, const char *text)
{
    bytes_put(out, "\"");
    show_normal(out, text);
    bytes_put(out, "\"");
}

/* Whether handle_accepted is given the address of its socket's peer. */
static bool is_peer(const struct method_call *call)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;

    return getpeername(call->sock, (struct sockaddr *)&peer, &length) == 0 &&
           kernel_same_address(call->addr, call->addrlen, (struct sockaddr *)&peer, length);
}

static void show_arguments(struct bytes *out, struct asyncore_dispatcher *d,
                           const struct method_call *call)
{
    int error;

    switch (call->method) {
    case METHOD_send:
    case METHOD_collect_incoming_data:
        show_data(out, call->data, call->size);
        break;
    case METHOD_recv:
        bytes_format(out, "%zu", call->size);
        break;
    case METHOD_log:
        show_quoted(out, call->message);
        break;
    case METHOD_log_info:
        show_quoted(out, call->message);
        bytes_put(out, ", ");
        show_quoted(out, call->type);
        break;
    case METHOD_handle_accepted:
        bytes_put(out, is_peer(call) ? "addr=peer" : "addr=other");
        break;
    case METHOD_handle_error:
        error = asyncore_compact_traceback(d)->error;
        bytes_put(out, error ? error_name(error) : "none");
        break;
    default:
        break;
    }
}

static bool is_predicate(enum method method)
{
    return method == METHOD_readable || method == METHOD_writable;
}

/* What the method returns to the library. */
static int returned(const struct frame *frame, enum method method)
{
    if (is_predicate(method))
        return frame->value_type == NUMBER && frame->value != 0;
    if (method == METHOD_recv)
        return frame->value_type == DATA ? frame->value : 0;
    if (method == METHOD_send)
        return frame->value_type == NUMBER ? frame->value : 0;
    return 0;
}

static void show_result(const struct frame *frame, const struct method_call *call, int r)
{
    struct asyncore_dispatcher *d = frame->channel;
    struct bytes text = {.length = 0};

    if (r < 0) {
        bytes_format(&text, "! %s ", error_name(r));
    } else {
        bytes_put(&text, "= ");
        if (call->method == METHOD_recv) {
            show_data(&text, call->buffer, (size_t)r);
            bytes_put(&text, " ");
        } else if (is_predicate(call->method) ||
                   (call->method == METHOD_send && !actor_is(actor_of(d), DISPATCHER_WITH_SEND))) {
            bytes_format(&text, "%d ", r);
        }
    }
    channel_state(&text, d);
    trace_result(bytes_text(&text));
    bytes_clear(&text);
}

static int run_method(struct asyncore_dispatcher *d, struct method_call *call, unsigned number)
{
    static char word[] = "super";
    static char *const inherited[] = {word, NULL, NULL};
    struct actor *actor = actor_of(d);
    struct world *w = actor->world;
    struct raw sock = {.fd = call->sock};
    struct frame frame = {.outer = w->frames, .channel = d, .call = call};
    action_list actions = class_actions(actor->cls->plan, call->method, number);
    int r;

    if (call->method == METHOD_handle_accepted)
        frame.sock = &sock;
    if (call->method == METHOD_collect_incoming_data)
        bytes_add(&frame.it, call->data, call->size);
    w->frames = &frame;
    w->depth++;
    r = world_run(w, &frame, actions ? actions : inherited);
    w->depth--;
    w->frames = frame.outer;
    if (frame.sock)
        (void)raw_close(&sock);
    bytes_clear(&frame.it);
    if (r >= 0)
        r = returned(&frame, call->method);
    show_result(&frame, call, r);
    return r;
}

static int called(struct asyncore_dispatcher *d, struct method_call *call)
{
    struct actor *actor = actor_of(d);
    struct bytes text = {.length = 0};

    if (!world_count_call(actor->world)) {
        if (call->method == METHOD_handle_accepted)
            close(call->sock);
        return ASYNCORE_EXIT_NOW;
    }
    bytes_format(&text, "%s.%s(", actor->name, method_names[call->method]);
    show_arguments(&text, d, call);
    bytes_put(&text, ")");
    trace_call(bytes_text(&text));
    bytes_clear(&text);
    return run_method(d, call, ++actor->calls[call->method]);
}

/* --- methods --------------------------------------------------------------------------------- */

#define SIMPLE_(name)                                                                              \
    static int traced_##name(struct asyncore_dispatcher *d)                                        \
    {                                                                                              \
        return called(d, &(struct method_call){.method = METHOD_##name, .sock = -1});              \
    }

SIMPLE_METHODS(SIMPLE_)
SIMPLE_(found_terminator)

static int traced_handle_accepted(struct asyncore_dispatcher *d, int sock,
                                  const struct sockaddr *addr, socklen_t addrlen)
{
    return called(
        d, &(struct method_call){
               .method = METHOD_handle_accepted, .sock = sock, .addr = addr, .addrlen = addrlen});
}

static int traced_send(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return called(
        d, &(struct method_call){.method = METHOD_send, .sock = -1, .data = data, .size = len});
}

static int traced_collect_incoming_data(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    return called(
        d, &(struct method_call){
               .method = METHOD_collect_incoming_data, .sock = -1, .data = data, .size = len});
}

static int traced_recv(struct asyncore_dispatcher *d, void *buf, size_t len)
{
    return called(
        d, &(struct method_call){.method = METHOD_recv, .sock = -1, .buffer = buf, .size = len});
}

static int traced_log(struct asyncore_dispatcher *d, const char *message)
{
    return called(d, &(struct method_call){.method = METHOD_log, .sock = -1, .message = message});
}

static int traced_log_info(struct asyncore_dispatcher *d, const char *message, const char *type)
{
    return called(d, &(struct method_call){
                         .method = METHOD_log_info, .sock = -1, .message = message, .type = type});
}

static void finalize(struct asyncore_dispatcher *d)
{
    struct actor *actor = actor_of(d);

    free(actor->name);
    free(actor->ignored);
    bytes_clear(&actor->buffer);
}

/* --- classes --------------------------------------------------------------------------------- */

/* Only what the scenario overrides: the library looks at it. */
#define OVERRIDE_(name)                                                                            \
    if (plan->overridden[METHOD_##name])                                                           \
        table->name = traced_##name;

static void fill_in(struct asyncore_class *table, const struct class_plan *plan)
{
    static const struct asyncore_class *const supers[SUPER_COUNT] = {
        [DISPATCHER] = &asyncore_dispatcher_class,
        [DISPATCHER_WITH_SEND] = &asyncore_dispatcher_with_send_class,
        [FILE_DISPATCHER] = &asyncore_file_dispatcher_class,
        [ASYNC_CHAT] = &asynchat_async_chat_class};

    *table = (struct asyncore_class){.table_size = sizeof *table,
                                     .super = supers[plan->super],
                                     .size = sizeof(struct actor),
                                     .ac_in_buffer_size = plan->sizes[AC_IN_BUFFER_SIZE],
                                     .ac_out_buffer_size = plan->sizes[AC_OUT_BUFFER_SIZE],
                                     .finalize = finalize};
    METHODS(OVERRIDE_)
}

void channel_classes_make(struct world *w)
{
    for (const struct class_plan *plan = w->plan->classes; plan; plan = plan->next) {
        struct channel_class *cls;
        struct channel_class **last = &w->classes;
        struct bytes name = {.length = 0};

        if (plan->super == PRODUCER)
            continue;
        cls = must_allocate(sizeof *cls);
        bytes_format(&name, "scenario.%s", plan->name);
        fill_in(&cls->table, plan);
        cls->plan = plan;
        cls->table.name = cls->name = name.data;
        while (*last)
            last = &(*last)->next;
        *last = cls;
    }
}

void channel_classes_free(struct world *w)
{
    while (w->classes) {
        struct channel_class *cls = w->classes;

        w->classes = cls->next;
        free(cls->name);
        free(cls);
    }
}

const struct channel_class *channel_class_find(const struct world *w, const char *name)
{
    const struct channel_class *cls = w->classes;

    while (cls && strcmp(cls->plan->name, name) != 0)
        cls = cls->next;
    if (!cls)
        mistake("no class %s", name);
    return cls;
}

/* --- construction ---------------------------------------------------------------------------- */

/* How often the name was given, this time included. */
static unsigned count_name(struct world *w, const char *name)
{
    struct name_count *count = w->name_counts;

    while (count && strcmp(count->name, name) != 0)
        count = count->next;
    if (!count) {
        count = must_allocate(sizeof *count);
        count->name = name;
        count->next = w->name_counts;
        w->name_counts = count;
    }
    return ++count->count;
}

static char *name_of(struct world *w, const char *name, const struct channel_class *cls)
{
    struct bytes text = {.length = 0};
    unsigned count = count_name(w, name);

    w->made++;
    if (strcmp(name, "_") == 0)
        bytes_format(&text, "%s#%u", cls->plan->name, w->made);
    else if (count > 1)
        bytes_format(&text, "%s.%u", name, count);
    else
        bytes_put(&text, name);
    return text.data;
}

int channel_make(struct world *w, const char *name, const struct channel_class *cls, int fd,
                 struct asyncore_map *map)
{
    char *full_name = name_of(w, name, cls);
    struct asyncore_dispatcher *d = asyncore_new(&cls->table, fd, map);

    if (!d) {
        int error = errno;

        free(full_name);
        return -error;
    }
    actor_of(d)->world = w;
    actor_of(d)->cls = cls;
    actor_of(d)->name = full_name;
    channel_note_socket(d);
    if (strcmp(name, "_") != 0)
        world_keep_channel(w, name, d);
    return 0;
}

void channel_note_socket(struct asyncore_dispatcher *d)
{
    struct actor *actor = actor_of(d);
    socklen_t length = sizeof actor->family;

    if (!asyncore_socket(d))
        return;
    actor->had_socket = true;
    if (asyncore_getsockopt(d, SOL_SOCKET, SO_DOMAIN, &actor->family, &length) < 0)
        actor->family = -1;
}
