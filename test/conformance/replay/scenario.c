/* The parser of the scenario language. What it makes lies in blocks that are freed at once. */
#define _GNU_SOURCE
#include "scenario.h"

#include "bytes.h"
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPACES " \t\n\r\v\f"

static const char *const super_names[SUPER_COUNT] = {"dispatcher", "dispatcher_with_send",
                                                     "file_dispatcher", "async_chat", "producer"};

struct block {
    struct block *next;
    max_align_t memory[];
};

#define METHOD_NAME_(name) #name,
const char *const method_names[METHOD_COUNT] = {METHODS(METHOD_NAME_) "more"};

static const char *mistake_path;
static unsigned mistake_number;

void mistake_file(const char *path)
{
    mistake_path = path;
    mistake_number = 0;
}

void mistake_line(unsigned number)
{
    mistake_number = number;
}

void mistake(const char *format, ...)
{
    va_list arguments;

    dprintf(STDERR_FILENO, "replay: ");
    if (mistake_path)
        dprintf(STDERR_FILENO, "%s:", mistake_path);
    if (mistake_path && mistake_number > 0)
        dprintf(STDERR_FILENO, "%u:", mistake_number);
    dprintf(STDERR_FILENO, "%s", mistake_path ? " " : "");
    va_start(arguments, format);
    vdprintf(STDERR_FILENO, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "\n");
    _exit(2);
}

static void *keep(struct scenario *s, size_t size)
{
    struct block *block = must_allocate(sizeof *block + size);

    block->next = s->memory;
    s->memory = block;
    return block->memory;
}

static char *keep_text(struct scenario *s, const char *text, size_t length)
{
    char *copy = keep(s, length + 1);

    memcpy(copy, text, length);
    return copy;
}

/* --- tokens ---------------------------------------------------------------------------------- */

/* The length of the quoted token at text; 0: it does not end. */
static size_t quoted_length(const char *text)
{
    for (size_t i = 1; text[i]; i++) {
        if (text[i] == '"')
            return i + 1;
        if (text[i] == '\\' && text[++i] == '\0')
            return 0;
    }
    return 0;
}

/* The next token at *text, which moves behind it; 0: there is none. */
static size_t next_token(const char **text, const char **token)
{
    size_t length;

    *text += strspn(*text, SPACES);
    if (**text == '"') {
        length = quoted_length(*text);
        if (length == 0)
            mistake("a quote is not closed");
    } else {
        length = **text == ';' ? 1 : strcspn(*text, SPACES ";\"");
    }
    *token = *text;
    *text += length;
    return length;
}

static bool counts_descriptors(const char *token)
{
    const char *dot = strrchr(token, '.');
    const char *word = dot ? dot + 1 : token;

    return strcmp(word, "lose") == 0 || strcmp(word, "exhaust") == 0;
}

static action_list actions_of(struct scenario *s, const char *text)
{
    char **tokens = keep(s, (strlen(text) + 2) * sizeof *tokens);
    size_t count = 0;
    const char *token;
    size_t length;

    while ((length = next_token(&text, &token)) > 0 && *token != '#') {
        if (*token != ';') {
            tokens[count] = keep_text(s, token, length);
            s->counts_descriptors |= counts_descriptors(tokens[count++]);
        } else if (count > 0 && tokens[count - 1]) {
            count++; /* NULL is there already */
        }
    }
    return tokens;
}

action_list action_after(action_list action)
{
    while (*action)
        action++;
    return action + 1;
}

/* The next word at *text, which moves behind it; NULL: there is none. */
static char *next_word(char **text)
{
    char *word = *text + strspn(*text, SPACES);

    *text = word + strcspn(word, SPACES);
    if (**text)
        *(*text)++ = '\0';
    return *word ? word : NULL;
}

/* --- lines ----------------------------------------------------------------------------------- */

static bool has_method(enum super super, enum method method)
{
    if (super == PRODUCER || method == METHOD_more)
        return super == PRODUCER && method == METHOD_more;
    return super == ASYNC_CHAT ||
           (method != METHOD_collect_incoming_data && method != METHOD_found_terminator);
}

static enum method method_of(const struct class_plan *cls, const char *name)
{
    for (int i = 0; i < METHOD_COUNT; i++) {
        if (strcmp(method_names[i], name) != 0)
            continue;
        if (!has_method(cls->super, (enum method)i))
            mistake("no method %s of %s", name, super_names[cls->super]);
        return (enum method)i;
    }
    mistake("no method %s", name);
}

static enum super super_of(const char *name)
{
    for (int i = 0; i < SUPER_COUNT; i++)
        if (name && strcmp(super_names[i], name) == 0)
            return (enum super)i;
    mistake("class NAME SUPER [METHOD...] expected");
}

/* SIZE=BYTES, of which value is the second part. */
static void add_size(struct class_plan *cls, const char *name, const char *value)
{
    static const char *const names[SIZE_COUNT] = {"ac_in_buffer_size", "ac_out_buffer_size"};
    size_t length = (size_t)(value - name) - 1;
    size_t digits = strspn(value, "0123456789");

    for (int i = 0; i < SIZE_COUNT; i++) {
        if (strlen(names[i]) != length || strncmp(names[i], name, length) != 0)
            continue;
        if (cls->super == ASYNC_CHAT && !cls->has_size[i] && digits > 0 && digits <= 8 &&
            !value[digits]) {
            cls->has_size[i] = true;
            cls->sizes[i] = (size_t)strtoul(value, NULL, 10);
            return;
        }
    }
    mistake("%s: SIZE=BYTES expected, of async_chat, once", name);
}

static struct class_plan *add_class(struct scenario *s, char *words)
{
    struct class_plan *cls = keep(s, sizeof *cls);
    const char *name = next_word(&words);
    const char *word;

    if (!name || !check_is_name(name))
        mistake("class NAME SUPER [METHOD...] expected");
    for (const struct class_plan *other = s->classes; other; other = other->next)
        if (strcmp(other->name, name) == 0)
            mistake("class %s is there already", name);
    cls->name = keep_text(s, name, strlen(name));
    cls->super = super_of(next_word(&words));
    while ((word = next_word(&words))) {
        const char *equals = strchr(word, '=');

        if (equals)
            add_size(cls, word, equals + 1);
        else
            cls->overridden[method_of(cls, word)] = true;
    }
    cls->next = s->classes;
    s->classes = cls;
    return cls;
}

/* The number of a call: what stands behind the method's name. */
static unsigned call_number(const char *word)
{
    size_t digits = strspn(word, "0123456789");

    if (word[digits] || digits == 0 || digits > 8 || *word == '0')
        mistake("%s is not the number of a call: 1, 2, ...", word);
    return (unsigned)strtoul(word, NULL, 10);
}

static action_list add_method(struct scenario *s, struct class_plan *cls, char *line)
{
    char *colon = strchr(line, ':');
    struct call_plan *call = keep(s, sizeof *call);
    const char *word;
    enum method method;

    if (!cls)
        mistake("a line of a class, without a class");
    if (!colon)
        mistake("METHOD [NUMBER]: ACTION; ... expected");
    *colon = '\0';
    word = next_word(&line);
    method = method_of(cls, word ? word : "");
    word = next_word(&line);
    call->number = word ? call_number(word) : EVERY_CALL;
    if (next_word(&line))
        mistake("METHOD [NUMBER]: ACTION; ... expected");
    for (const struct call_plan *other = cls->calls[method]; other; other = other->next)
        if (other->number == call->number)
            mistake("%s is there already", method_names[method]);
    call->actions = actions_of(s, colon + 1);
    call->next = cls->calls[method];
    cls->calls[method] = call;
    cls->overridden[method] = true;
    return call->actions;
}

static action_list add_step(struct scenario *s, const char *line)
{
    struct step *step = keep(s, sizeof *step);

    step->actions = actions_of(s, line);
    *s->last_step = step;
    s->last_step = &step->next;
    return step->actions;
}

action_list class_actions(const struct class_plan *cls, enum method method, unsigned number)
{
    const struct call_plan *every = NULL;

    for (const struct call_plan *call = cls->calls[method]; call; call = call->next) {
        if (call->number == number)
            return call->actions;
        if (call->number == EVERY_CALL && !every)
            every = call;
    }
    return every ? every->actions : NULL;
}

/* --- scenarios ------------------------------------------------------------------------------- */

static struct scenario *scenario_new(const char *name)
{
    struct scenario *s = must_allocate(sizeof *s);

    s->last_step = &s->steps;
    s->name = keep_text(s, name, strlen(name));
    return s;
}

void scenario_free(struct scenario *s)
{
    while (s->memory) {
        struct block *block = s->memory;

        s->memory = block->next;
        free(block);
    }
    free(s);
}

static bool begins(const char *line, const char *word)
{
    size_t length = strlen(word);

    return strncmp(line, word, length) == 0 && (!line[length] || strchr(SPACES, line[length]));
}

/* The name is the rest of the line. */
static void rename_next(struct reader *reader, const char *line)
{
    size_t length;

    line += strlen("scenario");
    line += strspn(line, SPACES);
    length = strlen(line);
    while (length > 0 && strchr(SPACES, line[length - 1]))
        length--;
    if (length == 0)
        mistake("scenario NAME expected");
    free(reader->name);
    reader->name = strndup(line, length);
}

/* A scenario that is being read. */
struct draft {
    struct scenario *scenario;
    struct class_plan *cls;
    struct checker checker;
};

static void begin(struct draft *draft, const struct reader *reader)
{
    *draft = (struct draft){.scenario = scenario_new(reader->name)};
}

/* NULL: it has no steps. */
static struct scenario *end(struct draft *draft)
{
    check_end(&draft->checker, draft->scenario);
    if (draft->scenario->steps)
        return draft->scenario;
    scenario_free(draft->scenario);
    return NULL;
}

static void add_line(struct draft *draft, char *line, bool indented)
{
    if (indented)
        check_actions(&draft->checker, add_method(draft->scenario, draft->cls, line), draft->cls);
    else if (begins(line, "class"))
        draft->cls = add_class(draft->scenario, line + strlen("class"));
    else
        check_actions(&draft->checker, add_step(draft->scenario, line), NULL);
}

struct scenario *scenario_read(struct reader *reader)
{
    struct draft draft;
    struct scenario *done = NULL;

    mistake_file(reader->path);
    begin(&draft, reader);
    while (!done && getline(&reader->line, &reader->room, reader->file) >= 0) {
        const char *first = reader->line + strspn(reader->line, SPACES);

        draft.checker.line = ++reader->number;
        mistake_line(reader->number);
        if (*first == '\0' || *first == '#')
            continue;
        if (first != reader->line || !begins(first, "scenario")) {
            add_line(&draft, reader->line, first != reader->line);
            continue;
        }
        done = end(&draft);
        mistake_line(reader->number);
        rename_next(reader, reader->line);
        if (!done)
            begin(&draft, reader);
    }
    if (ferror(reader->file))
        mistake("cannot be read: %s", strerror(errno));
    if (!done)
        done = end(&draft);
    mistake_file(NULL);
    return done;
}
