/* The parser of the scenario language. What it makes lies in blocks that are freed at once. */
#define _GNU_SOURCE
#include "scenario.h"

#include "bytes.h"

#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPACES " \t\n\r\v\f"

struct block {
    struct block *next;
    max_align_t memory[];
};

#define METHOD_NAME_(name) #name,
const char *const method_names[METHOD_COUNT] = {METHODS(METHOD_NAME_)};

void mistake(const char *format, ...)
{
    va_list arguments;

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

    for (;; ++*text) {
        *text += strspn(*text, SPACES);
        if (**text != '"')
            break;
        length = quoted_length(*text);
        if (length > 0) {
            *token = *text;
            *text += length;
            return length;
        }
    }
    length = **text == ';' ? 1 : strcspn(*text, SPACES ";\"");
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

static enum method method_of(const char *name)
{
    for (int i = 0; i < METHOD_COUNT; i++)
        if (strcmp(method_names[i], name) == 0)
            return (enum method)i;
    mistake("no method %s", name);
}

static enum super super_of(const char *name)
{
    static const char *const names[SUPER_COUNT] = {"dispatcher", "dispatcher_with_send",
                                                   "file_dispatcher"};

    for (int i = 0; i < SUPER_COUNT; i++)
        if (name && strcmp(names[i], name) == 0)
            return (enum super)i;
    mistake("class NAME SUPER [METHOD...]: %s", name ? name : "");
}

static struct class_plan *add_class(struct scenario *s, char *words)
{
    struct class_plan *cls = keep(s, sizeof *cls);
    const char *name = next_word(&words);
    const char *word;

    if (!name)
        mistake("class NAME SUPER [METHOD...]");
    cls->name = keep_text(s, name, strlen(name));
    cls->super = super_of(next_word(&words));
    while ((word = next_word(&words)))
        cls->overridden[method_of(word)] = true;
    cls->next = s->classes; /* a later one of the same name is found first */
    s->classes = cls;
    return cls;
}

static void add_method(struct scenario *s, struct class_plan *cls, char *line)
{
    char *colon = strchr(line, ':');
    struct call_plan *call = keep(s, sizeof *call);
    const char *word;
    enum method method;

    if (!cls || !colon)
        mistake("METHOD [NUMBER]: ACTION; ... expected: %s", line);
    *colon = '\0';
    word = next_word(&line);
    method = method_of(word ? word : "");
    word = next_word(&line);
    call->number = word ? (unsigned)strtoul(word, NULL, 10) : EVERY_CALL;
    call->actions = actions_of(s, colon + 1);
    call->next = cls->calls[method];
    cls->calls[method] = call;
    cls->overridden[method] = true;
}

static void add_step(struct scenario *s, const char *line)
{
    struct step *step = keep(s, sizeof *step);

    step->actions = actions_of(s, line);
    *s->last_step = step;
    s->last_step = &step->next;
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

static void rename_next(struct reader *reader, char *line)
{
    const char *name;

    line += strlen("scenario");
    name = next_word(&line);
    if (!name)
        mistake("scenario NAME");
    free(reader->name);
    reader->name = strdup(name);
}

/* Whether the line is the scenario's; otherwise it has told the name of the next one. */
static bool add_line(struct scenario *s, struct class_plan **cls, struct reader *reader)
{
    char *line = reader->line;
    const char *first = line + strspn(line, SPACES);

    if (*first == '\0' || *first == '#')
        return true;
    if (first == line && begins(line, "scenario")) {
        rename_next(reader, line);
        return false;
    }
    if (first != line)
        add_method(s, *cls, line);
    else if (begins(line, "class"))
        *cls = add_class(s, line + strlen("class"));
    else
        add_step(s, line);
    return true;
}

struct scenario *scenario_read(struct reader *reader)
{
    struct scenario *s = scenario_new(reader->name);
    struct class_plan *cls = NULL;

    while (getline(&reader->line, &reader->room, reader->file) >= 0) {
        if (add_line(s, &cls, reader))
            continue;
        if (s->steps)
            return s;
        scenario_free(s);
        s = scenario_new(reader->name);
        cls = NULL;
    }
    if (s->steps)
        return s;
    scenario_free(s);
    return NULL;
}
