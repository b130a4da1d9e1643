/*
 * A socket object whose operations follow a script: see scripted_socket.h.
 */
#include "scripted_socket.h"

#include "support.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct scripted_socket *scripted_of(struct asyncore_socket *s)
{
    return (struct scripted_socket *)(void *)s;
}

static int next_step(struct script *script)
{
    return script->next < script->count ? script->steps[script->next++] : SCRIPTED_ALL;
}

static size_t least(size_t len, int step)
{
    return len < (size_t)step ? len : (size_t)step;
}

static int take_held(struct scripted_socket *s, void *buf, size_t len)
{
    size_t n = len < s->held_len ? len : s->held_len;

    memcpy(buf, s->held, n);
    s->held += n;
    s->held_len -= n;
    return (int)n;
}

static int scripted_do_recv(struct asyncore_socket *base, void *buf, size_t len, int flags)
{
    struct scripted_socket *s = scripted_of(base);
    int step = next_step(&s->recv);
    ssize_t n;

    s->calls->recv++;
    if (step <= 0)
        return step;
    if (s->held_len > 0)
        return take_held(s, buf, least(len, step));
    n = recv(base->fd, buf, least(len, step), flags);
    return n < 0 ? -errno : (int)n;
}

static int scripted_do_send(struct asyncore_socket *base, const void *buf, size_t len, int flags)
{
    struct scripted_socket *s = scripted_of(base);
    int step = next_step(&s->send);
    ssize_t n;

    s->calls->send++;
    if (step <= 0)
        return step;
    n = send(base->fd, buf, least(len, step), flags | MSG_NOSIGNAL);
    return n < 0 ? -errno : (int)n;
}

/* Buffer by buffer, up to what the step allows. */
static int send_each(struct scripted_socket *s, const struct iovec *iov, int count, int step)
{
    size_t room = (size_t)step;
    int total = 0;

    for (int i = 0; i < count && room > 0; i++) {
        size_t len = iov[i].iov_len < room ? iov[i].iov_len : room;
        ssize_t n = send(s->base.fd, iov[i].iov_base, len, MSG_NOSIGNAL);

        if (n < 0)
            return total > 0 ? total : -errno;
        total += (int)n;
        room -= (size_t)n;
        if ((size_t)n < len)
            break;
    }
    return total;
}

static int scripted_do_sendv(struct asyncore_socket *base, const struct iovec *iov, int count)
{
    struct scripted_socket *s = scripted_of(base);
    int step = next_step(&s->send);

    s->calls->send++;
    s->calls->sendv++;
    return step <= 0 ? step : send_each(s, iov, count, step);
}

static int scripted_do_getsockopt(struct asyncore_socket *base, int level, int name, void *value,
                                  socklen_t *len)
{
    struct scripted_socket *s = scripted_of(base);

    s->calls->getsockopt++;
    if (level == SOL_SOCKET && name == SO_ERROR && *len >= sizeof(int)) {
        memcpy(value, &s->so_error, sizeof(int));
        *len = sizeof(int);
        s->so_error = 0;
        return 0;
    }
    return getsockopt(base->fd, level, name, value, len) < 0 ? -errno : 0;
}

static int scripted_do_close(struct asyncore_socket *base)
{
    struct scripted_socket *s = scripted_of(base);
    int step;

    if (base->fd < 0)
        return 0;
    s->calls->close++;
    step = next_step(&s->close);
    close(base->fd);
    base->fd = -1;
    return step < 0 ? step : 0;
}

static int scripted_do_detach(struct asyncore_socket *base)
{
    int fd = base->fd;

    scripted_of(base)->calls->detach++;
    base->fd = -1;
    return fd;
}

static void scripted_do_free(struct asyncore_socket *base)
{
    struct scripted_socket *s = scripted_of(base);

    ck_assert_int_eq(base->fd, -1);
    s->calls->free++;
    free(s);
}

static size_t scripted_do_pending(struct asyncore_socket *base)
{
    return scripted_of(base)->held_len;
}

static int scripted_do_want(struct asyncore_socket *base, int direction)
{
    const struct scripted_socket *s = scripted_of(base);

    return direction == ASYNCORE_READ ? s->want_read : s->want_write;
}

struct scripted_socket *scripted_new(unsigned features, struct scripted_calls *calls, int *peer)
{
    struct scripted_socket *s = calloc(1, sizeof *s);
    int pair[2];

    ck_assert_ptr_nonnull(s);
    test_socketpair(SOCK_STREAM, pair);
    test_set_nonblocking(pair[0], true);
    *peer = pair[1];
    s->calls = calls;
    s->table = (struct asyncore_socket_class){
        .table_size = sizeof s->table,
        .name = "scripted",
        .recv = scripted_do_recv,
        .send = scripted_do_send,
        .sendv = features & SCRIPTED_SENDV ? scripted_do_sendv : NULL,
        .getsockopt = scripted_do_getsockopt,
        .close = scripted_do_close,
        .detach = features & SCRIPTED_DETACH ? scripted_do_detach : NULL,
        .free = scripted_do_free,
        .pending = features & SCRIPTED_PENDING ? scripted_do_pending : NULL,
        .want = features & SCRIPTED_WANT ? scripted_do_want : NULL,
    };
    s->base = (struct asyncore_socket){.cls = &s->table, .fd = pair[0]};
    return s;
}

static void set_script(struct script *script, const int *steps, size_t count)
{
    ck_assert_uint_le(count, SCRIPTED_STEPS);
    memcpy(script->steps, steps, count * sizeof *steps);
    script->count = count;
    script->next = 0;
}

void scripted_recv(struct scripted_socket *s, const int *steps, size_t count)
{
    set_script(&s->recv, steps, count);
}

void scripted_send(struct scripted_socket *s, const int *steps, size_t count)
{
    set_script(&s->send, steps, count);
}

void scripted_close(struct scripted_socket *s, const int *steps, size_t count)
{
    set_script(&s->close, steps, count);
}

size_t scripted_left(const struct script *script)
{
    return script->count - script->next;
}

void scripted_hold(struct scripted_socket *s, const char *data, size_t len)
{
    s->held = data;
    s->held_len = len;
}
