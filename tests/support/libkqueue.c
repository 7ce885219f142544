/* libkqueue 2.3.1 as a kernel would answer, for tests on Linux.
 *
 * What that release does otherwise, and is mended here:
 *
 * - What it refuses, and receipts, it writes to the beginning of the event list without EV_ERROR
 *   and without counting them; events go behind. So changes are handed in one at a time.
 * - Whatever epoll refuses is EFAULT.
 * - A descriptor has one filter, for reading or for writing (EFAULT for the second). So what is
 *   to be written to is watched through a copy of the descriptor.
 * - There is no EVFILT_PROC (ENOSYS), and a pidfd is not watched either. A thread waits for that,
 *   and a pipe that it closes is readable then.
 * - Waits are whole milliseconds, rounded down.
 * - Its thread ends with the last queue, and now and then the next kqueue() waits for it for ever.
 *   So there is always one queue.
 *
 * docs/ci.md lists what it does in its own way besides; that is left as it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <sys/event.h>

/* A descriptor of ours that stands for what was to be watched. */
struct alias {
    int queue;
    int fd;
    uintptr_t ident;
    short filter;
};

static struct alias aliases[8192];
static int count_aliases;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void keep_a_queue(void)
{
    kqueue();
}

static struct alias *find(int queue, uintptr_t ident, short filter)
{
    int index;
    for (index = 0; index < count_aliases; index++)
        if (aliases[index].queue == queue && aliases[index].ident == ident &&
            aliases[index].filter == filter)
            return &aliases[index];
    return NULL;
}

static struct alias *find_fd(int queue, int fd)
{
    int index;
    for (index = 0; index < count_aliases; index++)
        if (aliases[index].queue == queue && aliases[index].fd == fd)
            return &aliases[index];
    return NULL;
}

static void drop(struct alias *alias)
{
    close(alias->fd);
    *alias = aliases[--count_aliases];
}

static int same_file(int one, int other)
{
    struct stat left, right;
    return fstat(one, &left) == 0 && fstat(other, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

static int hand_in(int queue, struct kevent change)
{
    static const struct timespec at_once = {0, 0};
    struct kevent receipt;
    int code;
    memset(&receipt, 0, sizeof(receipt));
    change.flags |= EV_RECEIPT;
    /* Room for the receipt and nothing else: so it takes no event along. */
    errno = 0;
    code = kevent(queue, &change, 1, &receipt, 1, &at_once);
    code = code < 0 ? (errno ? errno : EINVAL) : (int)receipt.data;
    if (code == EFAULT && change.filter != EVFILT_USER)
        code = fcntl((int)change.ident, F_GETFD) < 0 ? EBADF : EPERM;
    return code;
}

/* What the thread of a child holds. */
struct vigil {
    int pidfd;
    int pipe;
};

static void *wait_for_child(void *argument)
{
    struct vigil *vigil = argument;
    struct pollfd poller = {vigil->pidfd, POLLIN, 0};
    while (poll(&poller, 1, -1) < 0 && errno == EINTR)
        continue;
    close(vigil->pidfd);
    close(vigil->pipe);
    free(vigil);
    return NULL;
}

/* A descriptor that is readable once the process has ended, or -1. */
static int open_process(int pid)
{
    struct vigil *vigil;
    pthread_t thread;
    sigset_t all, old;
    int ends[2];
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -1;
    vigil = malloc(sizeof(*vigil));
    if (vigil == NULL || pipe2(ends, O_CLOEXEC) < 0)
        abort();
    vigil->pidfd = pidfd;
    vigil->pipe = ends[1];
    /* Signals are the program's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&thread, NULL, wait_for_child, vigil))
        abort();
    pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ends[0];
}

static int hand_in_aliased(int queue, struct kevent change)
{
    struct alias *alias = find(queue, change.ident, change.filter);
    struct alias fresh = {queue, -1, change.ident, change.filter};
    int pidfd = change.filter == EVFILT_PROC;
    int code;
    if (alias && !pidfd && !same_file(alias->fd, (int)change.ident)) {
        /* The number is another file's by now: a kernel would have dropped the watch. */
        struct kevent old = change;
        old.ident = (uintptr_t)alias->fd;
        old.flags = EV_DELETE;
        hand_in(queue, old);
        drop(alias);
        alias = NULL;
    }
    if (!alias) {
        if (!(change.flags & EV_ADD))
            return ENOENT;
        if (count_aliases == sizeof(aliases) / sizeof(aliases[0]))
            return ENOMEM;
        fresh.fd = pidfd ? open_process((int)change.ident)
                         : fcntl((int)change.ident, F_DUPFD_CLOEXEC, 3);
        if (fresh.fd < 0)
            return errno;
        alias = &aliases[count_aliases++];
        *alias = fresh;
    }
    change.ident = (uintptr_t)alias->fd;
    if (pidfd) {
        change.filter = EVFILT_READ;
        change.fflags = 0;
    }
    code = hand_in(queue, change);
    if (code || change.flags & EV_DELETE)
        drop(alias);
    return code;
}

int mended_kevent(int queue, const struct kevent *changes, int count, struct kevent *events,
                  int size, const struct timespec *timeout)
{
    struct timespec rounded;
    int answered = 0;
    int index;
    int found;
    for (index = 0; index < count; index++) {
        short filter = changes[index].filter;
        int code;
        pthread_mutex_lock(&lock);
        code = filter == EVFILT_WRITE || filter == EVFILT_PROC
                   ? hand_in_aliased(queue, changes[index])
                   : hand_in(queue, changes[index]);
        pthread_mutex_unlock(&lock);
        if (code == 0 && !(changes[index].flags & EV_RECEIPT))
            continue;
        if (answered == size) {
            errno = code;
            return code ? -1 : answered;
        }
        events[answered] = changes[index];
        events[answered].flags = EV_ERROR;
        events[answered++].data = code;
    }
    if (answered > 0 || size == 0)
        return answered;
    if (timeout != NULL) {
        rounded = *timeout;
        rounded.tv_nsec = (rounded.tv_nsec + 999999) / 1000000 * 1000000;
        if (rounded.tv_nsec == 1000000000) {
            rounded.tv_sec += 1;
            rounded.tv_nsec = 0;
        }
        timeout = &rounded;
    }
    errno = 0;
    found = kevent(queue, NULL, 0, events, size, timeout);
    if (found < 0 && errno == 0)
        errno = EINTR; /* a signal, and somebody has cleaned up behind it */
    if (found <= 0)
        return found;
    pthread_mutex_lock(&lock);
    for (index = 0; index < found; index++) {
        struct alias *alias = NULL;
        if (events[index].filter == EVFILT_READ || events[index].filter == EVFILT_WRITE)
            alias = find_fd(queue, (int)events[index].ident);
        if (!alias)
            continue;
        events[index].ident = alias->ident;
        events[index].filter = alias->filter;
        if (alias->filter == EVFILT_PROC) {
            /* Told once. */
            struct kevent old = events[index];
            old.ident = (uintptr_t)alias->fd;
            old.filter = EVFILT_READ;
            old.flags = EV_DELETE;
            hand_in(queue, old);
            drop(alias);
            events[index].fflags = NOTE_EXIT;
            events[index].flags = EV_EOF | EV_ONESHOT;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* For ctypes, whose errno a signal handler may change before it can be read: minus the errno. */
int mended_kevent_code(int queue, const struct kevent *changes, int count, struct kevent *events,
                       int size, const struct timespec *timeout)
{
    int found = mended_kevent(queue, changes, count, events, size, timeout);
    return found < 0 ? -errno : found;
}

int mended_close(int queue)
{
    int index = 0;
    pthread_mutex_lock(&lock);
    while (index < count_aliases) {
        if (aliases[index].queue == queue)
            drop(&aliases[index]);
        else
            index++;
    }
    pthread_mutex_unlock(&lock);
    return close(queue);
}
