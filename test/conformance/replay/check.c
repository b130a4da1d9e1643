/* What is written wrongly is found before anything runs. scenario.py says the same. */
#define _GNU_SOURCE
#include "check.h"

#include "bytes.h"
#include "show.h"
#include "verbs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_DIGITS 8

/* What controls, as verbs. */
static const struct verb controls[] = {
    {"super", "", NULL},
    {"return", "[NUMBER|CONDITION]", NULL},
    {"if", "CONDITION ACTION", NULL},
    {"unless", "CONDITION ACTION", NULL},
    {"try", "ACTION", NULL},
    {"raise", "ERRNO", NULL},
    {"exit", "", NULL},
    {NULL, NULL, NULL},
};

/* In a producer's methods. */
static const struct verb producer_controls[] = {
    {"give", "DATA", NULL},
    {NULL, NULL, NULL},
};

static const char attributes[] = "connected|accepting|connecting|closing|debug";
static const char conditions[] = "connected|accepting|connecting|closing|debug|buffer";
static const char nobodies[] = "nobody|nobody6|nobody_unix";

/* --- words ----------------------------------------------------------------------------------- */

/* Whether it is one of those that stand between bars. */
static bool is_one_of(const char *word, const char *bars)
{
    size_t length = strlen(word);

    while (bars) {
        if (strncmp(bars, word, length) == 0 && strchr("|", bars[length]))
            return true;
        bars = strchr(bars, '|');
        if (bars)
            bars++;
    }
    return false;
}

static bool is_size(const char *word)
{
    size_t digits = strspn(word, "0123456789");

    return digits > 0 && digits <= SIZE_DIGITS && !word[digits];
}

static bool is_decimal(const char *word)
{
    size_t whole = strspn(word, "0123456789");
    size_t part;

    if (whole == 0 || whole > 6)
        return false;
    if (word[whole] != '.')
        return !word[whole];
    word += whole + 1;
    part = strspn(word, "0123456789");
    return part > 0 && part <= 9 && !word[part];
}

static bool is_none(const char *word)
{
    return strcmp(word, "none") == 0;
}

static bool is_count(const char *word)
{
    return is_none(word) || is_size(word + (*word == '-'));
}

static bool is_seconds(const char *word)
{
    return is_none(word) || is_decimal(word + (*word == '-'));
}

static bool is_kind(const char *word)
{
    return is_one_of(word, "tcp|tcp6|udp|unix|dgram");
}

static bool is_poll_flag(const char *word)
{
    return is_one_of(word, "POLLIN|POLLOUT|POLLPRI|POLLHUP|POLLERR|POLLNVAL");
}

static bool is_attribute(const char *word)
{
    return is_one_of(word, attributes);
}

static bool is_text(const char *word)
{
    return *word == '"';
}

static bool is_word(const char *word)
{
    return *word != '"';
}

static bool is_data(const char *word)
{
    return is_text(word) || is_size(word) || is_one_of(word, "it|lorem|buffer");
}

static bool is_terminator(const char *word)
{
    return is_text(word) || is_none(word) || is_size(word + (*word == '-'));
}

static bool is_error(const char *word)
{
    return error_number(word) != 0;
}

static bool is_any(const char *word)
{
    return *word != '\0';
}

bool check_is_name(const char *word)
{
    if (!isalpha((unsigned char)*word) && *word != '_')
        return false;
    while (isalnum((unsigned char)*word) || (*word && strchr("_-", *word)))
        word++;
    return !*word;
}

static const struct {
    const char *name;
    bool (*is)(const char *);
} kinds[] = {{"SIZE", is_size},
             {"COUNT", is_count},
             {"SECONDS", is_seconds},
             {"LEAST", is_decimal},
             {"KIND", is_kind},
             {"POLLFLAG", is_poll_flag},
             {"ATTRIBUTE", is_attribute},
             {"TEXT", is_text},
             {"WORD", is_word},
             {"DATA", is_data},
             {"ERRNO", is_error},
             {"NAME", is_any},
             {"TARGET", is_any},
             {"CLASS", is_any},
             {"CONDITION", is_any},
             {"PRODUCER", is_any},
             {"TERMINATOR", is_terminator}};

static bool is_of_kind(const char *word, const char *kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, kind) == 0)
            return kinds[i].is(word);
    return is_one_of(word, kind);
}

/* --- names ----------------------------------------------------------------------------------- */

enum note_kind {
    RAW_MADE,
    CHANNEL_MADE,
    VERB_USED,
    CLASS_USED,
    PRODUCER_USED
};

struct check_note {
    struct check_note *next;
    enum note_kind what;
    unsigned line;
    char *name;
    const char *verb;
};

static void note(struct checker *checker, enum note_kind what, const char *name, size_t length,
                 const char *verb)
{
    struct check_note *new = must_allocate(sizeof *new);

    new->next = checker->notes;
    new->what = what;
    new->line = checker->line;
    new->name = must_allocate(length + 1);
    memcpy(new->name, name, length);
    new->verb = verb;
    checker->notes = new;
}

static void check_use(const struct checker *checker, const struct check_note *use)
{
    bool is_made = false;
    bool has = false;

    for (const struct check_note *n = checker->notes; n; n = n->next) {
        if (n->what > CHANNEL_MADE || strcmp(n->name, use->name) != 0)
            continue;
        is_made = true;
        has |= n->what == RAW_MADE
                   ? verb_find(raw_verbs, use->verb) != NULL
                   : channel_verb(use->verb) != NULL || is_one_of(use->verb, conditions);
    }
    if (is_made && !has)
        mistake("%s has no %s", use->name, use->verb);
}

static void check_class(const struct scenario *s, const char *name, bool of_producer)
{
    for (const struct class_plan *cls = s->classes; cls; cls = cls->next)
        if (strcmp(cls->name, name) == 0) {
            if ((cls->super == PRODUCER) != of_producer)
                mistake("%s is %s producer", name, of_producer ? "no" : "a");
            return;
        }
    mistake("no class %s", name);
}

void check_end(struct checker *checker, const struct scenario *s)
{
    for (const struct check_note *n = checker->notes; n; n = n->next) {
        mistake_line(n->line);
        if (n->what == CLASS_USED || n->what == PRODUCER_USED)
            check_class(s, n->name, n->what == PRODUCER_USED);
        else if (n->what == VERB_USED)
            check_use(checker, n);
    }
    while (checker->notes) {
        struct check_note *n = checker->notes;

        checker->notes = n->next;
        free(n->name);
        free(n);
    }
}

/* --- actions --------------------------------------------------------------------------------- */

static void check_condition(struct checker *checker, const char *word)
{
    const char *dot = strrchr(word, '.');
    const char *condition = dot ? dot + 1 : word;

    if (!is_one_of(condition, conditions) && strcmp(word, "it") != 0)
        mistake("no condition %s", word);
    if (dot)
        note(checker, VERB_USED, word, (size_t)(dot - word), condition);
}

static void make(struct checker *checker, const char *verb, const char *name)
{
    if (!check_is_name(name) || is_one_of(name, "self|sock") || is_one_of(name, nobodies))
        mistake("%s cannot be a name", name);
    note(checker, is_one_of(verb, "new|adopt") ? CHANNEL_MADE : RAW_MADE, name, strlen(name), NULL);
}

/* A word, of a kind without brackets. */
static void check_word(struct checker *checker, const struct verb *verb, const char *kind,
                       const char *word)
{
    if (strcmp(kind, "MADE") == 0)
        make(checker, verb->name, word);
    else if (strcmp(kind, "NUMBER|CONDITION") == 0 && is_size(word))
        return;
    else if (strcmp(kind, "CONDITION") == 0 || strcmp(kind, "NUMBER|CONDITION") == 0)
        check_condition(checker, word);
    else if (!is_of_kind(word, kind))
        mistake("%s is not %s (%s %s)", word, kind, verb->name, verb->words);
    else if (strcmp(kind, "CLASS") == 0)
        note(checker, CLASS_USED, word, strlen(word), NULL);
    else if (strcmp(kind, "PRODUCER") == 0)
        note(checker, PRODUCER_USED, word, strlen(word), NULL);
}

/* The words that are left, but for "in N" at the end. */
static size_t count_words(action_list words, bool in)
{
    size_t count = 0;

    while (words[count])
        count++;
    if (!in || count < 2 || strcmp(words[count - 2], "in") != 0)
        return count;
    if (!is_one_of(words[count - 1], "0|1|2|3"))
        mistake("no map %s: 0 to 3", words[count - 1]);
    return count - 2;
}

/* What a verb wants of the next word, or of those that are left. */
struct want {
    bool optional;
    bool many;
    char kind[64];
};

/* Takes it from *at, which moves to the next one. */
static struct want next_want(const char **at)
{
    struct want want = {.optional = **at == '['};
    const char *kind = *at + want.optional;
    size_t length = strcspn(kind, "] ");

    memcpy(want.kind, kind, length);
    want.many = strncmp(kind + length, "]...", 4) == 0;
    *at = kind + length + strcspn(kind + length, " ");
    *at += strspn(*at, " ");
    return want;
}

/* The action that is among the words, or NULL. */
static action_list check_words(struct checker *checker, const struct verb *verb, action_list words)
{
    size_t left = count_words(words, strstr(verb->words, "[IN]") != NULL);
    const char *at = verb->words;

    while (*at && strcmp(at, "[IN]") != 0) {
        struct want want = next_want(&at);

        if (strcmp(want.kind, "ACTION") == 0)
            return words;
        if (left == 0 && !want.optional)
            mistake("%s is missing (%s %s)", want.kind, verb->name, verb->words);
        for (size_t n = want.many ? left : left > 0; n > 0; n--, left--)
            check_word(checker, verb, want.kind, *words++);
        if (!*at && left > 0 && strcmp(want.kind, "DATA") == 0 &&
            strcmp(words[-1], "buffer") == 0) {
            check_word(checker, verb, "SIZE", *words++);
            left--;
        }
    }
    if (left > 0)
        mistake("too many words: %s (%s%s%s)", *words, verb->name, *verb->words ? " " : "",
                verb->words);
    return NULL;
}

/* NULL: there is no such verb here. */
static const struct verb *verb_here(const char *action, const char *name,
                                    const struct class_plan *inside)
{
    const struct verb *verb;

    if (name != action) {
        verb = verb_find(raw_verbs, name);
        return verb ? verb : channel_verb(name);
    }
    if (inside && inside->super == PRODUCER && verb_find(producer_controls, name))
        return verb_find(producer_controls, name);
    verb = verb_find(controls, name);
    if (verb)
        return inside || strcmp(name, "super") != 0 ? verb : NULL;
    verb = verb_find(global_verbs, name);
    return verb || !inside ? verb : channel_verb(name);
}

static bool is_verb(const char *name)
{
    return verb_find(controls, name) || verb_find(global_verbs, name) ||
           verb_find(raw_verbs, name) || channel_verb(name) || verb_find(producer_controls, name);
}

static void check_action(struct checker *checker, action_list action,
                         const struct class_plan *inside)
{
    while (action) {
        const char *dot = *action ? strrchr(*action, '.') : NULL;
        const char *name = dot ? dot + 1 : *action;
        const struct verb *verb;

        if (!*action)
            mistake("an action is missing");
        verb = verb_here(*action, name, inside);
        if (!verb)
            mistake("no verb %s%s", *action, is_verb(name) ? " here" : "");
        if (dot)
            note(checker, VERB_USED, *action, (size_t)(dot - *action), name);
        action = check_words(checker, verb, action + 1);
    }
}

void check_actions(struct checker *checker, action_list actions, const struct class_plan *inside)
{
    for (; *actions; actions = action_after(actions))
        check_action(checker, actions, inside);
}
