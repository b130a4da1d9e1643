/*
 * A socket object whose operations follow a script: EAGAIN, short counts, resets, the end of the
 * stream, whenever the test wants them.
 *
 * It lies over one end of a socketpair. What its script lets through goes to and comes from the
 * other end, the peer, with which the test also decides what the kernel calls readable and
 * writable.
 */
#ifndef TEST_SCRIPTED_SOCKET_H
#define TEST_SCRIPTED_SOCKET_H

#include <asyncore/asyncore.h>

#include <stddef.h>

/* One step, for one call: a negative errno is returned as it is; 0 is the end of the stream, or
 * nothing taken; a positive one lets at most so many bytes through. Without any step that is
 * left a call does what the descriptor does. */
#define SCRIPTED_ALL INT_MAX
#define SCRIPTED_STEPS 32

/* The steps of a script, as two arguments: scripted_recv(s, STEPS(-EAGAIN, 5, 0)). */
#define STEPS(...) (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int)

/* Which of the optional operations it has, beside free. */
#define SCRIPTED_SENDV 1u
#define SCRIPTED_DETACH 2u
#define SCRIPTED_PENDING 4u
#define SCRIPTED_WANT 8u

/* How often the operations were called: the test's, for it outlives the socket. */
struct scripted_calls {
    int recv;
    int send; /* and sendv, where there is one */
    int sendv;
    int getsockopt;
    int close; /* of an open one */
    int detach;
    int free;
};

struct script {
    int steps[SCRIPTED_STEPS];
    size_t count;
    size_t next;
};

struct scripted_socket {
    struct asyncore_socket base;
    struct asyncore_socket_class table; /* its own, for a test to change */
    struct scripted_calls *calls;
    struct script recv;
    struct script send;
    struct script close;
    int so_error;     /* what SO_ERROR gives, once */
    const char *held; /* what recv gives before the descriptor's, and pending counts */
    size_t held_len;
    int want_read; /* what want answers for a read and for a write; 0: no opinion */
    int want_write;
};

/* A new one, non-blocking, and its peer, blocking and the test's to close. */
struct scripted_socket *scripted_new(unsigned features, struct scripted_calls *calls, int *peer);

/* Sets what the next calls do, in place of what is left of the old script. */
void scripted_recv(struct scripted_socket *s, const int *steps, size_t count);
void scripted_send(struct scripted_socket *s, const int *steps, size_t count);
void scripted_close(struct scripted_socket *s, const int *steps, size_t count);

/* How many steps are left. */
size_t scripted_left(const struct script *script);

/* Sets what is decrypted already, so to say; it must outlive its being read. */
void scripted_hold(struct scripted_socket *s, const char *data, size_t len);

#endif
