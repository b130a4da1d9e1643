/* Calls that raise SIGPIPE and have no flag against it: the signal is held off, and taken back
 * unless it was pending already. */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

static void pipe_signal(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

void sigpipe_hold(struct sigpipe *held)
{
    sigset_t pending, set;

    pipe_signal(&set);
    sigpending(&pending);
    held->was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &held->old);
}

void sigpipe_release(const struct sigpipe *held, bool raised)
{
    const struct timespec now = {0, 0};
    const int error = errno;
    sigset_t set;

    pipe_signal(&set);
    if (raised && !held->was_pending)
        while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &held->old, NULL);
    errno = error;
}
