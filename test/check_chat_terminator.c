/*
 * Terminators: however the input is cut, async_chat makes the calls that a naive reference makes
 * for the same reads, and hands out the same data in front of the same terminators.
 */
#include "chat_probe.h"
#include "support.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- transcripts of calls -------------------------------------------------------------------- */

enum {
    FOUND = 256, /* found_terminator was called */
    CUT          /* a call of collect_incoming_data ends here */
};

/* The bytes that were collected, and codes between them. */
struct transcript {
    uint16_t *codes;
    size_t count, room;
};

static void transcribe(struct transcript *t, uint16_t code)
{
    if (t->count == t->room) {
        t->room = t->room > 0 ? 2 * t->room : 256;
        t->codes = realloc(t->codes, t->room * sizeof *t->codes);
        ck_assert_ptr_nonnull(t->codes);
    }
    t->codes[t->count++] = code;
}

static void transcribe_data(struct transcript *t, const char *data, size_t len)
{
    ck_assert_uint_gt(len, 0);
    for (size_t i = 0; i < len; i++)
        transcribe(t, (unsigned char)data[i]);
    transcribe(t, CUT);
}

/* Forgets where calls of collect_incoming_data ended. */
static void join(struct transcript *t)
{
    size_t count = 0;

    for (size_t i = 0; i < t->count; i++)
        if (t->codes[i] != CUT)
            t->codes[count++] = t->codes[i];
    t->count = count;
}

static void check_same(const struct transcript *got, const struct transcript *expected)
{
    size_t least = got->count < expected->count ? got->count : expected->count;
    size_t i = 0;

    while (i < least && got->codes[i] == expected->codes[i])
        i++;
    ck_assert_msg(i == least && got->count == expected->count,
                  "%zu codes, %zu expected; they differ at %zu: %d, %d expected", got->count,
                  expected->count, i, i < got->count ? got->codes[i] : -1,
                  i < expected->count ? expected->codes[i] : -1);
}

static void free_transcript(struct transcript *t)
{
    free(t->codes);
    *t = (struct transcript){0};
}

/* --- what a test plays ----------------------------------------------------------------------- */

struct term {
    enum asynchat_terminator_kind kind;
    const char *bytes;
    uint64_t length;
};

#define BYTES(text)                                                                                \
    {                                                                                              \
        .kind = ASYNCHAT_TERMINATOR_BYTES, .bytes = (text), .length = sizeof(text) - 1             \
    }
#define COUNT(n)                                                                                   \
    {                                                                                              \
        .kind = ASYNCHAT_TERMINATOR_COUNT, .length = (n)                                           \
    }
#define NONE                                                                                       \
    {                                                                                              \
        .kind = ASYNCHAT_TERMINATOR_NONE                                                           \
    }

enum {
    TERMS = 4
};

/* The first terminator is set at the start, the next ones in found_terminator, and so around. */
struct plan {
    struct term terms[TERMS];
    size_t count;
};

/* Input, and the lengths of the pieces in which it arrives. */
struct input {
    const char *data;
    size_t len;
    const size_t *cuts;
    size_t cut_count;
};

/* --- the naive reference --------------------------------------------------------------------- */

struct naive {
    const struct plan *plan;
    size_t next; /* terminator of the plan */
    struct term term;
    char *waiting; /* what has not been handed out */
    size_t len;
    struct transcript out;
};

static bool naive_fits(const struct naive *n, size_t at)
{
    size_t rest = n->len - at;
    size_t len = rest < n->term.length ? rest : (size_t)n->term.length;

    return memcmp(n->waiting + at, n->term.bytes, len) == 0;
}

/* How much is handed out next; with the terminator found behind it, how long that is there. */
static size_t naive_part(struct naive *n, bool *found, size_t *skip)
{
    size_t at = 0;

    *found = false;
    *skip = 0;
    if (n->term.length == 0)
        return n->len;
    if (n->term.kind == ASYNCHAT_TERMINATOR_COUNT) {
        *found = n->len >= n->term.length;
        at = *found ? (size_t)n->term.length : n->len;
        n->term.length -= at;
        return at;
    }
    while (at < n->len && !naive_fits(n, at))
        at++;
    *found = n->len - at >= n->term.length;
    *skip = *found ? (size_t)n->term.length : 0;
    return at;
}

static void naive_read(struct naive *n, const char *data, size_t len)
{
    bool found = true;

    memcpy(n->waiting + n->len, data, len);
    n->len += len;
    while (n->len > 0 && found) {
        size_t skip;
        size_t part = naive_part(n, &found, &skip);

        if (part > 0)
            transcribe_data(&n->out, n->waiting, part);
        n->len -= part + skip;
        memmove(n->waiting, n->waiting + part + skip, n->len);
        if (!found)
            continue;
        transcribe(&n->out, FOUND);
        n->next = (n->next + 1) % n->plan->count;
        n->term = n->plan->terms[n->next];
    }
}

static struct transcript naive_play(const struct plan *plan, const struct input *input)
{
    struct naive n = {.plan = plan, .term = plan->terms[0], .waiting = malloc(input->len + 1)};
    const char *at = input->data;

    ck_assert_ptr_nonnull(n.waiting);
    for (size_t i = 0; i < input->cut_count; at += input->cuts[i++])
        naive_read(&n, at, input->cuts[i]);
    free(n.waiting);
    return n.out;
}

/* --- the channel ----------------------------------------------------------------------------- */

struct player {
    struct asynchat_async_chat base;
    const struct plan *plan;
    size_t next;
    struct transcript out;
};

ASYNCORE_DECLARE_LOCAL_CLASS(player, asynchat_async_chat);

static int set_term(struct asyncore_dispatcher *d, const struct term *term)
{
    if (term->kind == ASYNCHAT_TERMINATOR_COUNT)
        return asynchat_set_terminator_count(d, (int64_t)term->length);
    return asynchat_set_terminator(d, term->bytes, (size_t)term->length);
}

static int player_collect(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    transcribe_data(&player_of(d)->out, data, len);
    return 0;
}

static int player_found_terminator(struct asyncore_dispatcher *d)
{
    struct player *self = player_of(d);

    transcribe(&self->out, FOUND);
    self->next = (self->next + 1) % self->plan->count;
    return set_term(d, &self->plan->terms[self->next]);
}

ASYNCORE_DEFINE_LOCAL_CLASS(player, asynchat_async_chat, .collect_incoming_data = player_collect,
                            .found_terminator = player_found_terminator);

static struct scripted_calls calls;

static struct player *new_player(void)
{
    struct player *self = player_new(-1, the_map);

    ck_assert_ptr_nonnull(self);
    chat_give_scripted(player_dispatcher(self), 0, &calls, &peers[0]);
    return self;
}

static struct transcript play(struct player *self, const struct plan *plan,
                              const struct input *input)
{
    struct asyncore_dispatcher *d = player_dispatcher(self);
    const char *at = input->data;

    self->plan = plan;
    self->next = 0;
    self->out = (struct transcript){0};
    ck_assert_int_eq(asynchat_discard_buffers(d), 0);
    ck_assert_int_eq(set_term(d, &plan->terms[0]), 0);
    for (size_t i = 0; i < input->cut_count; at += input->cuts[i++])
        ck_assert_int_eq(chat_feed(d, at, input->cuts[i]), 0);
    return self->out;
}

/* Call by call as the reference for the same reads; joined as the reference for a single one. */
static void check_play(struct player *self, const struct plan *plan, const struct input *input)
{
    const struct input whole = {input->data, input->len, &input->len, 1};
    struct transcript got = play(self, plan, input);
    struct transcript expected = naive_play(plan, input);
    struct transcript uncut = naive_play(plan, &whole);

    check_same(&got, &expected);
    join(&got);
    join(&uncut);
    check_same(&got, &uncut);
    free_transcript(&got);
    free_transcript(&expected);
    free_transcript(&uncut);
}

/* Pieces of step bytes, and what is left; how many. */
static size_t cut_evenly(size_t *cuts, size_t len, size_t step)
{
    size_t count = 0;

    for (size_t at = 0; at < len; at += step)
        cuts[count++] = len - at < step ? len - at : step;
    return count;
}

/* --- every cut ------------------------------------------------------------------------------- */

#define TEXT(text) (text), sizeof(text) - 1

static const struct {
    const char *data;
    size_t len;
    struct plan plan;
} rows[] = {
    {TEXT("ab\n\ncd\ne"), {{BYTES("\n")}, 1}},
    {TEXT("a\r\n\r\r\nb\r"), {{BYTES("\r\n")}, 1}},
    {TEXT("aaabaabaaa"), {{BYTES("aab")}, 1}},
    {TEXT("\r\n.\r\r\n.\r\n"), {{BYTES("\r\n.\r\n")}, 1}},
    {TEXT("ababababca"), {{BYTES("ababc")}, 1}},
    {TEXT("aaaaaaaaaa"), {{BYTES("aaaa")}, 1}},
    {TEXT("abaabaabac"), {{BYTES("abaabac")}, 1}},
    {TEXT("a\0\0b\0\xff\0a"), {{BYTES("\0\xff")}, 1}},
    {TEXT("abcdefgh"), {{COUNT(3)}, 1}},
    {TEXT("abc"), {{COUNT(1)}, 1}},
    {TEXT("abcdefgh"), {{COUNT(3), NONE}, 2}},
    {TEXT("abcdefgh"), {{COUNT(3), COUNT(0)}, 2}},
    {TEXT("a\nbcd\nef\n"), {{BYTES("\n"), COUNT(2), NONE}, 3}},
    {TEXT("$2\r\nab\r\nc\r"), {{BYTES("\r\n"), COUNT(2), BYTES("\r\n")}, 3}},
    {TEXT("xabbbabab"), {{BYTES("ab"), BYTES("b")}, 2}},
    {TEXT("aabcabaabc"), {{BYTES("aabc"), BYTES("ab")}, 2}},
    {TEXT("abcdefgh"), {{NONE}, 1}},
};

static void check_every_cut(struct player *self, const struct plan *plan, const char *data,
                            size_t len)
{
    for (unsigned mask = 0; mask < (1U << len) / 2; mask++) {
        size_t cuts[16] = {0};
        size_t count = 0;

        for (size_t i = 0; i < len; i++) {
            cuts[count]++;
            if (i == len - 1 || (mask >> i & 1) != 0)
                count++;
        }
        check_play(self, plan, &(struct input){data, len, cuts, count});
    }
}

START_TEST(every_cut)
{
    ck_assert_uint_le(rows[_i].len, 11);
    check_every_cut(new_player(), &rows[_i].plan, rows[_i].data, rows[_i].len);
}
END_TEST

/* What is no scripted socket may be read in another way. */
START_TEST(every_cut_of_a_plain_socket_in_two)
{
    static const char data[] = "$2\r\nab\r\n\r";
    const struct plan plan = {{BYTES("\r\n"), COUNT(2), BYTES("\r\n")}, 3};

    for (size_t first = 1; first < sizeof data - 1; first++) {
        const size_t cuts[] = {first, sizeof data - 1 - first};
        const struct input input = {data, sizeof data - 1, cuts, 2};
        struct transcript expected = naive_play(&plan, &input);
        int pair[2];

        test_socketpair(SOCK_STREAM, pair);

        struct player *self = player_new(pair[0], the_map);

        ck_assert_ptr_nonnull(self);
        self->plan = &plan;
        ck_assert_int_eq(set_term(player_dispatcher(self), &plan.terms[0]), 0);
        test_write_all(pair[1], data, first);
        ck_assert_int_eq(run_passes(the_map, _i == 1, 1), 0);
        test_write_all(pair[1], data + first, cuts[1]);
        ck_assert_int_eq(run_passes(the_map, _i == 1, 1), 0);
        check_same(&self->out, &expected);
        free_transcript(&self->out);
        free_transcript(&expected);
        ck_assert_int_eq(asyncore_close(player_dispatcher(self)), 0);
        test_close(&pair[1]);
    }
}
END_TEST

/* --- long ones, and any ---------------------------------------------------------------------- */

enum {
    LONG = 5000
};

static uint32_t seed;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

/* Terminators of LONG bytes: one run and an end, a period, a period with a fault, all different. */
static void fill_long(char *term, int kind)
{
    for (size_t i = 0; i < LONG; i++) {
        static const char period[] = "abacab";

        term[i] = (char)(kind == 0 ? 'a' : kind == 3 ? 'a' + (int)any(26) : period[i % 6]);
    }
    if (kind != 1)
        term[LONG - 1] = '!';
}

/* The terminator behind parts of itself. */
static size_t fill_long_input(char *data, const char *term)
{
    static const size_t parts[] = {1, LONG - 1, LONG, LONG / 2, LONG - 6, LONG, 7, LONG, LONG - 1};
    size_t len = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        memcpy(data + len, term, parts[i]);
        len += parts[i];
    }
    return len;
}

START_TEST(long_terminators)
{
    static const size_t steps[] = {1, 7, 1000, LONG - 1, LONG, LONG + 1, 65536};
    static char term[LONG], data[9 * LONG];
    static size_t cuts[sizeof data];
    const struct plan plan = {{{ASYNCHAT_TERMINATOR_BYTES, term, LONG}}, 1};
    struct player *self = new_player();
    size_t len;

    seed = 1;
    fill_long(term, _i);
    len = fill_long_input(data, term);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        size_t count = cut_evenly(cuts, len, steps[i]);

        check_play(self, &plan, &(struct input){data, len, cuts, count});
    }
}
END_TEST

static struct term any_term(char *bytes)
{
    uint32_t kind = any(8);
    size_t len = 1 + any(4);

    if (kind == 0)
        return (struct term)COUNT(1 + any(6));
    if (kind == 1 && any(8) == 0)
        return (struct term)NONE;
    for (size_t i = 0; i < len; i++)
        bytes[i] = "ab"[any(2)];
    return (struct term){ASYNCHAT_TERMINATOR_BYTES, bytes, len};
}

START_TEST(any_input)
{
    struct player *self = new_player();

    seed = 1000 + (uint32_t)_i;
    for (int round = 0; round < 500; round++) {
        char bytes[TERMS][4], data[60];
        size_t cuts[sizeof data], count = 0;
        const size_t len = 1 + any(sizeof data);
        struct plan plan = {.count = 1 + any(TERMS)};

        for (size_t i = 0; i < plan.count; i++)
            plan.terms[i] = any_term(bytes[i]);
        for (size_t i = 0; i < len; i++)
            data[i] = "ab"[any(2)];
        for (size_t at = 0; at < len; at += cuts[count++]) {
            cuts[count] = 1 + any(9);
            if (cuts[count] > len - at)
                cuts[count] = len - at;
        }
        check_play(self, &plan, &(struct input){data, len, cuts, count});
    }
}
END_TEST

/* --- find_prefix_at_end ---------------------------------------------------------------------- */

START_TEST(prefix_at_end)
{
    static const struct {
        const char *haystack, *needle;
        size_t expected;
    } cases[] = {
        {"qwerty\r", "\r\n", 1},
        {"qwertydkjf", "\r\n", 0},
        {"", "\r\n", 0},
        {"x", "x", 0},
        {"x", "", 0},
        {"", "", 0},
        {"aa", "aab", 2},
        {"aaa", "aab", 2},
        {"aaaa", "aaaa", 3},
        {"abcab", "abcabd", 5},
        {"xabcab", "abcabd", 5},
        {"abab", "babc", 3},
        {"\r\n.\r", "\r\n.\r\n", 4},
        {"\r\n.\n", "\r\n.\r\n", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_uint_eq(asynchat_find_prefix_at_end(cases[i].haystack, strlen(cases[i].haystack),
                                                      cases[i].needle, strlen(cases[i].needle)),
                          cases[i].expected);
    ck_assert_uint_eq(asynchat_find_prefix_at_end("a\0b\0", 4, "b\0c", 3), 2);
}
END_TEST

static size_t naive_prefix(const char *haystack, size_t haystack_len, const char *needle,
                           size_t needle_len)
{
    size_t len = needle_len - 1 < haystack_len ? needle_len - 1 : haystack_len;

    while (len > 0 && memcmp(haystack + haystack_len - len, needle, len) != 0)
        len--;
    return len;
}

START_TEST(any_prefix_at_end)
{
    seed = 7;
    for (int round = 0; round < 20000; round++) {
        char haystack[12], needle[8];
        size_t haystack_len = any(sizeof haystack + 1), needle_len = 1 + any(sizeof needle);

        for (size_t i = 0; i < haystack_len; i++)
            haystack[i] = "ab"[any(2)];
        for (size_t i = 0; i < needle_len; i++)
            needle[i] = "ab"[any(2)];
        ck_assert_uint_eq(asynchat_find_prefix_at_end(haystack, haystack_len, needle, needle_len),
                          naive_prefix(haystack, haystack_len, needle, needle_len));
    }
}
END_TEST

START_TEST(prefix_of_a_long_needle)
{
    static char haystack[LONG], needle[LONG];

    memset(haystack, 'a', LONG);
    memset(needle, 'a', LONG);
    haystack[LONG - 1] = needle[LONG / 2] = 'b';
    ck_assert_uint_eq(asynchat_find_prefix_at_end(haystack, LONG, needle, LONG), LONG / 2 + 1);
    needle[LONG / 2] = 'c';
    ck_assert_uint_eq(asynchat_find_prefix_at_end(haystack, LONG, needle, LONG), 0);
}
END_TEST

/* --- much input: linear, or longer than a test may be ---------------------------------------- */

static struct {
    const char *period; /* what the input repeats */
    size_t period_len;
    size_t made;     /* bytes of input */
    size_t collects; /* calls */
    size_t collected;
    size_t found;
    bool wrong; /* what is collected is not the input */
} much;

static int much_recv(struct asyncore_socket *s, void *buf, size_t len, int flags)
{
    char *to = buf;

    (void)s;
    (void)flags;
    for (size_t i = 0; i < len; i++)
        to[i] = much.period[(much.made + i) % much.period_len];
    much.made += len;
    return (int)len;
}

struct counter {
    struct asynchat_async_chat base;
};

static int counter_collect(struct asyncore_dispatcher *d, const void *data, size_t len)
{
    const char *at = data;

    (void)d;
    for (size_t i = 0; i < len; i += 997)
        much.wrong |= at[i] != much.period[(much.collected + i) % much.period_len];
    much.collects++;
    much.collected += len;
    return 0;
}

static int counter_found_terminator(struct asyncore_dispatcher *d)
{
    (void)d;
    much.found++;
    return 0;
}

ASYNCORE_CLASS(counter, asynchat_async_chat, .collect_incoming_data = counter_collect,
               .found_terminator = counter_found_terminator);

/* Reads total bytes, step at a time. What is held back at the end is held bytes; each read makes
 * one call at most. */
static void read_much(const char *period, const char *term, size_t term_len, size_t step,
                      size_t total, size_t held)
{
    struct asyncore_dispatcher *d = counter_dispatcher(counter_new(-1, the_map));
    size_t reads = 0;

    memset(&much, 0, sizeof much);
    much.period = period;
    much.period_len = strlen(period);
    ck_assert_ptr_nonnull(d);
    chat_give_scripted(d, 0, &calls, &peers[0])->table.recv = much_recv;
    ck_assert_int_eq(asynchat_set_terminator(d, term, term_len), 0);
    ck_assert_int_eq(asynchat_set_ac_in_buffer_size(d, step), 0);
    while (much.made < total && asyncore_read(d) == 0)
        reads++;
    ck_assert_uint_eq(much.made, total);
    ck_assert(!much.wrong);
    ck_assert_uint_eq(much.found, 0);
    ck_assert_uint_eq(much.collected, total - held);
    ck_assert_uint_le(much.collects, reads);
}

#define MEGA ((size_t)1 << 20)

START_TEST(one_byte_a_read)
{
    static const struct {
        const char *period, *term;
        size_t total, held;
    } cases[] = {{"x", "\r\n", 64 * MEGA, 0},
                 {"\r", "\r\n", 16 * MEGA, 1},
                 {"\r\n.", "\r\n.\r\n!", 16 * MEGA, 4}};
    const char *term = cases[_i].term;

    read_much(cases[_i].period, term, strlen(term), 1, cases[_i].total, cases[_i].held);
}
END_TEST

START_TEST(whole_buffers)
{
    static const struct {
        const char *period, *term;
        size_t held;
    } cases[] = {{"x", "\r\n", 0}, {"\r", "\r\n", 1}, {"ab", "abababababababac", 14}};
    const char *term = cases[_i].term;

    read_much(cases[_i].period, term, strlen(term), ASYNCHAT_BUFFER_SIZE, 64 * MEGA,
              cases[_i].held);
}
END_TEST

enum {
    VERY_LONG = 200 * 1000
};

/* All of what could be its beginning is held back, and each byte more moves that on by one. */
START_TEST(very_long_terminator)
{
    static const size_t steps[] = {1, 13, ASYNCHAT_BUFFER_SIZE};
    static const size_t totals[] = {8 * MEGA, 64 * MEGA / 13 * 13, 64 * MEGA};
    static char term[VERY_LONG];

    memset(term, 'a', sizeof term);
    term[sizeof term - 1] = 'b';
    read_much("a", term, sizeof term, steps[_i], totals[_i], sizeof term - 1);
}
END_TEST

/* --- the suite ------------------------------------------------------------------------------- */

int main(void)
{
    Suite *s = suite_create("chat_terminator");
    TCase *cuts = add_case(s, tcase_create("cuts"));
    TCase *long_ones = add_case(s, tcase_create("long"));
    TCase *prefix = add_case(s, tcase_create("prefix"));
    TCase *stress = add_case(s, tcase_create("stress_linear"));
    TCase *bytes = add_case(s, tcase_create("stress_one_byte_a_read"));

    tcase_add_loop_test(cuts, every_cut, 0, sizeof rows / sizeof *rows);
    tcase_add_loop_test(cuts, every_cut_of_a_plain_socket_in_two, 0, 2);
    tcase_add_loop_test(cuts, any_input, 0, 8);
    tcase_add_loop_test(long_ones, long_terminators, 0, 4);
    tcase_add_test(prefix, prefix_at_end);
    tcase_add_test(prefix, any_prefix_at_end);
    tcase_add_test(prefix, prefix_of_a_long_needle);
    tcase_set_timeout(bytes, 200); /* 64 million reads, on a machine that is busy */
    tcase_add_loop_test(bytes, one_byte_a_read, 0, 3);
    tcase_add_loop_test(stress, whole_buffers, 0, 3);
    tcase_add_loop_test(stress, very_long_terminator, 0, 3);
    return test_main(s);
}
