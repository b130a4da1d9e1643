/* Plays a scenario: what its words mean, and what is left at the end. */
#define _GNU_SOURCE
#include "world.h"

#include "channel.h"
#include "kernel.h"
#include "show.h"
#include "trace.h"
#include "verbs.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- names ----------------------------------------------------------------------------------- */

struct asyncore_dispatcher *world_channel(struct world *w, struct frame *frame, const char *name)
{
    if (strcmp(name, "self") == 0)
        return frame->channel;
    if (strcmp(name, "sock") == 0)
        for (const struct frame *outer = w->frames; outer; outer = outer->outer)
            if (outer->sock)
                return NULL; /* it is a raw peer */
    for (const struct named *named = w->channels; named; named = named->next)
        if (strcmp(named->name, name) == 0)
            return named->channel;
    return NULL;
}

struct raw *world_raw(struct world *w, struct frame *frame, const char *name)
{
    if (world_channel(w, frame, name))
        return NULL;
    if (strcmp(name, "sock") == 0)
        for (const struct frame *outer = w->frames; outer; outer = outer->outer)
            if (outer->sock)
                return outer->sock;
    for (struct raw *raw = w->raws; raw; raw = raw->next)
        if (strcmp(raw->name, name) == 0)
            return raw;
    return NULL;
}

int world_open_raw(struct world *w, struct frame *frame, const char *name, struct raw **raw)
{
    *raw = world_raw(w, frame, name);
    if (*raw && (*raw)->fd < 0)
        *raw = NULL;
    return world_channel(w, frame, name) ? -EBADF : 0;
}

struct raw *world_keep_raw(struct world *w, const char *name, enum raw_kind kind, int fd)
{
    struct raw **at = &w->raws;

    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (*at) {
        (void)raw_close(*at);
    } else {
        *at = must_allocate(sizeof **at);
    }
    **at =
        (struct raw){.next = (*at)->next, .name = name, .kind = kind, .fd = fd, .readable = true};
    return *at;
}

static void forget_channel(struct named **at)
{
    struct named *named = *at;

    *at = named->next;
    asyncore_unref(named->channel);
    free(named);
}

void world_keep_channel(struct world *w, const char *name, struct asyncore_dispatcher *d)
{
    struct named *named = must_allocate(sizeof *named);
    struct named **at = &w->channels;

    *named = (struct named){.name = name, .channel = asyncore_ref(d)};
    while (*at)
        if (strcmp((*at)->name, name) == 0)
            forget_channel(at);
        else
            at = &(*at)->next;
    *at = named;
}

struct asyncore_map *world_map(struct world *w, action_list words)
{
    unsigned long number;

    if (!words[0] || !words[1] || words[2] || strcmp(words[0], "in") != 0)
        return NULL;
    number = strtoul(words[1], NULL, 10);
    return number == 0 ? NULL : w->maps[number];
}

int world_address(struct world *w, struct frame *frame, const char *name, struct address *a)
{
    struct asyncore_dispatcher *d = world_channel(w, frame, name);
    const struct raw *raw = world_raw(w, frame, name);

    if (strcmp(name, "nobody") == 0)
        *a = kernel_nobody(AF_INET);
    else if (strcmp(name, "nobody6") == 0)
        *a = kernel_nobody(AF_INET6);
    else if (strcmp(name, "nobody_unix") == 0)
        *a = kernel_nobody(AF_UNIX);
    else if (d && actor_of(d)->had_socket && actor_of(d)->family < 0)
        return -ENOTSOCK;
    else if (d)
        return socket_name(asyncore_fileno(d), a);
    else if (!raw || raw->kind == RAW_PIPE || raw->kind == RAW_FILE)
        return -EBADF;
    else
        return socket_name(raw->fd, a);
    return 0;
}

/* --- what controls --------------------------------------------------------------------------- */

/* NAME.WORD, or WORD of the channel itself. */
struct target {
    struct asyncore_dispatcher *channel;
    struct raw *raw;
    const char *word;
};

static struct target target_of(struct world *w, struct frame *frame, const char *word)
{
    const char *dot = strrchr(word, '.');
    struct target target = {.channel = frame->channel, .word = dot ? dot + 1 : word};
    struct bytes name = {.length = 0};

    if (dot) {
        bytes_add(&name, word, (size_t)(dot - word));
        target.channel = world_channel(w, frame, bytes_text(&name));
        target.raw = world_raw(w, frame, bytes_text(&name));
        bytes_clear(&name);
    }
    return target;
}

/* Whether it is so; or an error. */
static int condition(struct world *w, struct frame *frame, const char *word)
{
    struct target target = target_of(w, frame, word);
    const struct asyncore_dispatcher *d = target.channel;

    if (strcmp(word, "it") == 0)
        return frame->it.length > 0;
    if (!d)
        return -EBADF;
    if (strcmp(target.word, "buffer") == 0)
        return actor_of(target.channel)->buffer.length > 0;
    if (strcmp(target.word, "connected") == 0)
        return d->connected;
    if (strcmp(target.word, "accepting") == 0)
        return d->accepting;
    if (strcmp(target.word, "connecting") == 0)
        return d->connecting;
    if (strcmp(target.word, "closing") == 0)
        return d->closing;
    if (strcmp(target.word, "debug") == 0)
        return d->debug;
    mistake("no condition %s", word);
}

static int do_return(struct world *w, struct frame *frame, const char *word)
{
    int r = 0;

    if (word && isdigit((unsigned char)*word))
        r = (int)strtol(word, NULL, 10);
    else if (word)
        r = condition(w, frame, word);
    if (r < 0)
        return r;
    frame->value_type = word ? NUMBER : NOTHING;
    frame->value = r;
    return RETURNS;
}

int world_run(struct world *w, struct frame *frame, action_list actions)
{
    int r = 0;

    for (; r == 0 && *actions; actions = action_after(actions))
        r = world_do(w, frame, actions);
    return r;
}

static int raise_error(struct frame *frame, const char *name)
{
    int number = error_number(name);

    if (!frame->channel)
        return -number;
    return asyncore_raise(frame->channel, -number, "%s", asyncore_strerror(number));
}

/* --- actions --------------------------------------------------------------------------------- */

static void call_action(action_list action)
{
    struct bytes text = {.length = 0};

    bytes_put(&text, *action);
    while (*++action)
        bytes_format(&text, " %s", *action);
    trace_call(bytes_text(&text));
    bytes_clear(&text);
}

static void show_end(struct turn *turn, const char *error)
{
    struct bytes text = {.length = 0};

    if (error)
        bytes_format(&text, "! %s", error);
    else
        bytes_format(&text, "=%s%s", turn->result->length ? " " : "", bytes_text(turn->result));
    if (turn->channel) {
        bytes_put(&text, " ");
        channel_state(&text, turn->channel);
    }
    trace_result(bytes_text(&text));
    bytes_clear(&text);
}

static int say_nothing(struct turn *turn)
{
    bytes_put(turn->result, "nothing");
    return 0;
}

/* NULL: the target is of a kind that has no such verb. */
static const struct verb *choose_verb(struct turn *turn, struct target target)
{
    static const struct verb nothing = {"nothing", "", say_nothing};
    const struct verb *verb = verb_find(global_verbs, target.word);

    if (verb && !target.raw && target.channel == turn->frame->channel)
        return verb;
    if (target.channel) {
        turn->channel = target.channel;
        return channel_verb(target.word);
    }
    if (!target.raw || target.raw->fd < 0)
        return &nothing;
    turn->raw = target.raw;
    return verb_find(raw_verbs, target.word);
}

static int act(struct world *w, struct frame *frame, action_list action)
{
    struct target target = target_of(w, frame, *action);
    struct bytes result = {.length = 0};
    struct turn turn = {.world = w, .frame = frame, .words = action + 1, .result = &result};
    const struct verb *verb = choose_verb(&turn, target);
    int r = -EINVAL;

    if (turn.channel)
        asyncore_ref(turn.channel);
    call_action(action);
    if (verb)
        r = verb->run(&turn);
    show_end(&turn, !verb ? "KeyError" : r < 0 ? error_name(r) : NULL);
    bytes_clear(&result);
    if (turn.channel)
        asyncore_unref(turn.channel);
    return r;
}

static int do_super(struct frame *frame)
{
    return frame->call ? channel_call_super(frame) : 0;
}

static int do_give(struct world *w, struct frame *frame, action_list words)
{
    struct turn turn = {.world = w, .frame = frame, .channel = frame->channel, .words = words};
    struct bytes data = {.length = 0};

    (void)turn_data(&turn, words, &data);
    turn_took(&turn, words[0], data.length);
    bytes_add(&frame->made, bytes_text(&data), data.length);
    bytes_clear(&data);
    return 0;
}

/* Without what stands in front. */
static int do_plain(struct world *w, struct frame *frame, action_list action)
{
    int r;

    if (strcmp(*action, "return") == 0)
        return do_return(w, frame, action[1]);
    if (strcmp(*action, "super") == 0)
        r = do_super(frame);
    else if (strcmp(*action, "raise") == 0)
        r = raise_error(frame, action[1]);
    else if (strcmp(*action, "exit") == 0)
        r = ASYNCORE_EXIT_NOW;
    else if (strcmp(*action, "give") == 0)
        r = do_give(w, frame, action + 1);
    else
        r = act(w, frame, action);
    return r < 0 ? r : 0;
}

int world_do(struct world *w, struct frame *frame, action_list action)
{
    bool tried = false;
    int r = 0;

    while (r >= 0 && *action) {
        bool is_if = strcmp(*action, "if") == 0;

        if (strcmp(*action, "try") == 0) {
            tried = true;
            action++;
        } else if (is_if || strcmp(*action, "unless") == 0) {
            int holds = action[1] ? condition(w, frame, action[1]) : -EINVAL;

            if (holds == !is_if)
                return 0;
            r = holds < 0 ? holds : 0;
            action += 2;
        } else {
            r = do_plain(w, frame, action);
            break;
        }
    }
    return tried && r < 0 ? 0 : r;
}

bool world_count_call(struct world *w)
{
    return ++w->calls <= MAX_CALLS && w->depth < MAX_DEPTH;
}

/* --- the whole ------------------------------------------------------------------------------- */

static void show_channels(struct world *w)
{
    for (const struct named *named = w->channels; named; named = named->next) {
        struct bytes text = {.length = 0};

        bytes_format(&text, "end %s ", actor_of(named->channel)->name);
        channel_state(&text, named->channel);
        trace_line(bytes_text(&text));
        bytes_clear(&text);
    }
}

static void show_file(const struct raw *raw, struct bytes *text)
{
    enum {
        MOST = 1 << 20
    };
    char *data = must_allocate(MOST);
    ssize_t n = pread(raw->fd, data, MOST, 0);

    show_data(text, data, n > 0 ? (size_t)n : 0);
    free(data);
}

static void show_raws(struct world *w)
{
    for (struct raw *raw = w->raws; raw; raw = raw->next) {
        struct bytes text = {.length = 0};

        if (raw->fd < 0 || raw->kind == RAW_LISTENER || !raw->readable)
            continue;
        bytes_format(&text, "end %s ", raw->name);
        if (raw->kind == RAW_FILE)
            show_file(raw, &text);
        else
            raw_drain(raw, &text);
        trace_line(bytes_text(&text));
        bytes_clear(&text);
    }
}

/* Opens what the library opens when it first sees a class that looks at out-of-band data: so that
 * this does not fail, nor take a number that a scenario has lost. */
static void open_everything(struct asyncore_map *map)
{
    static const struct asyncore_class watching = {
        .table_size = sizeof watching,
        .name = "watching",
        .super = &asyncore_dispatcher_class,
        .size = sizeof(struct asyncore_dispatcher),
        .handle_expt = asyncore_dispatcher_handle_expt,
    };
    struct asyncore_dispatcher *d = asyncore_new(&watching, socket_new("tcp"), map);

    if (d)
        (void)asyncore_close(d);
}

static void make_maps(struct world *w)
{
    for (int i = 0; i < MAPS; i++) {
        w->maps[i] = i == 0 ? asyncore_socket_map() : asyncore_map_new(NULL);
        if (!w->maps[i])
            abort();
        if (w->plan->counts_descriptors)
            open_everything(w->maps[i]);
    }
}

static void play_steps(struct world *w)
{
    for (const struct step *step = w->plan->steps; step; step = step->next)
        for (action_list action = step->actions; *action; action = action_after(action)) {
            struct frame frame = {.channel = NULL};

            if (w->calls > MAX_CALLS) {
                trace_line("enough");
                return;
            }
            if (w->excepted)
                return;
            (void)world_do(w, &frame, action);
            bytes_clear(&frame.it);
        }
}

static void clean_up(struct world *w)
{
    kernel_relent();
    for (int i = 0; i < MAPS; i++)
        asyncore_map_free(w->maps[i]);
    while (w->channels)
        forget_channel(&w->channels);
    while (w->raws) {
        struct raw *raw = w->raws;

        w->raws = raw->next;
        (void)raw_close(raw);
        free(raw);
    }
    while (w->name_counts) {
        struct name_count *count = w->name_counts;

        w->name_counts = count->next;
        free(count);
    }
    channel_classes_free(w);
    kernel_clean();
}

void world_play(const struct scenario *plan, bool attached)
{
    struct world w = {.plan = plan, .attached = attached};
    struct bytes leak = {.length = 0};
    int descriptors = kernel_descriptors();
    int more;

    trace_begin(plan->name, plan->counts_descriptors);
    make_maps(&w);
    channel_classes_make(&w);
    play_steps(&w);
    kernel_settle();
    show_channels(&w);
    show_raws(&w);
    clean_up(&w);
    trace_go_on();
    more = kernel_descriptors() - descriptors;
    if (more > 0) {
        bytes_format(&leak, "LEAK %d descriptors", more);
        trace_line(bytes_text(&leak));
        bytes_clear(&leak);
    }
    if (w.unreleased != 0) {
        bytes_format(&leak, "LEAK %d producers", w.unreleased);
        trace_line(bytes_text(&leak));
        bytes_clear(&leak);
    }
    trace_end();
}
