/* The verbs of the scenario language. */
#ifndef CONFORMANCE_VERBS_H
#define CONFORMANCE_VERBS_H

#include "channel.h"

struct turn {
    struct world *world;
    struct frame *frame;
    struct asyncore_dispatcher *channel; /* of a channel's verb */
    struct raw *raw;                     /* of a raw peer's */
    action_list words;                   /* behind the verb */
    struct bytes *result;                /* what is shown of it */
};

struct verb {
    const char *name;
    const char *words;         /* scenario.py explains them */
    int (*run)(struct turn *); /* 0 or a negative error */
};

/* They end with an empty one. */
extern const struct verb global_verbs[];
extern const struct verb raw_verbs[];
extern const struct verb channel_verbs[];
extern const struct verb chat_verbs[]; /* of channels, too */

/* Reads what the verbs need, once; and lets go of it. */
void verbs_prepare(void);
void verbs_end(void);

/* NULL: the table has none of that name. */
const struct verb *verb_find(const struct verb *table, const char *name);
const struct verb *channel_verb(const char *name);

/* The bytes that are to be sent: of words of a scenario. -EBADF: who sends has no buffer. */
int turn_data(struct turn *turn, action_list words, struct bytes *data);

/* The channel has taken so many of them. */
void turn_took(struct turn *turn, const char *word, size_t length);

/* Words that mean numbers. */
size_t word_size(const char *word);
int word_int(const char *word);
double word_seconds(const char *word);

/* SHUT_RD for "r", and so on. */
int word_how(const char *word);

/* SO_SNDBUF and SO_RCVBUF. */
int socket_set_buffers(int fd, const char *size);

#endif
