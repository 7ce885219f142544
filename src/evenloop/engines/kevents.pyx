"""The system call of kqueue in C; `kevents_select` is the same over `select.kqueue`.

How the call behaves, and what follows:

- One call takes a list of changes and waits. What it refuses of the changes comes first among
  the events, with EV_ERROR, and then it does not wait.
- With EV_RECEIPT it answers every change and takes no events along: for a change that somebody
  wants to hear about at once.
- Some systems let the whole call fail for one change (EPIPE on macOS 10.11, for a pipe whose
  reader is gone). Then the changes are still pending, to be submitted one by one.
- Interrupted by a signal, it has carried out the changes: they are not handed in again.
- A kqueue is not inherited by a forked child; its number there may be another file's, so a
  child forgets it and never closes it.
"""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from libc.stdint cimport uintptr_t
from posix.unistd cimport close

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/event.h>
    #include <sys/stat.h>
    #include <sys/time.h>
    #include <fcntl.h>
    #include <math.h>
    #include <stdint.h>
    #include <time.h>
    #include <unistd.h>

    /* A macro on most systems, of which none casts to what its own field is. */
    static void evenloop_set(struct kevent *event, uintptr_t ident, int filter, int flags,
                             unsigned int fflags, uintptr_t mark)
    {
        EV_SET(event, ident, filter, flags, fflags, 0, (void *)mark);
    }

    static uintptr_t evenloop_mark(const struct kevent *event)
    {
        return (uintptr_t)event->udata;
    }

    static int evenloop_kqueue(void)
    {
        int made = kqueue();
        if (made >= 0)
            fcntl(made, F_SETFD, FD_CLOEXEC);
        return made;
    }

    /* Seconds, never rounded down; a negative time-out waits for ever. */
    static int evenloop_kevent(int queue, const struct kevent *changes, int count,
                               struct kevent *events, int size, double timeout)
    {
        struct timespec until;
        double whole;
        if (timeout < 0)
            return kevent(queue, changes, count, events, size, NULL);
        whole = floor(timeout);
        until.tv_sec = (time_t)whole;
        until.tv_nsec = (long)ceil((timeout - whole) * 1e9);
        if (until.tv_nsec > 999999999) {
            until.tv_sec += 1;
            until.tv_nsec = 0;
        }
        return kevent(queue, changes, count, events, size, &until);
    }

    static int evenloop_is_regular(int fd)
    {
        struct stat found;
        return fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    }
    """
    bint EVENLOOP_USER_EVENTS
    enum:
        EV_RECEIPT
        NOTE_TRIGGER
    void evenloop_set(kevent_t* event, uintptr_t ident, int filter, int flags,
                      unsigned int fflags, uintptr_t mark) nogil
    uintptr_t evenloop_mark(const kevent_t* event) nogil
    int evenloop_kqueue() nogil
    int evenloop_kevent(int queue, const kevent_t* changes, int count, kevent_t* events,
                        int size, double timeout) nogil
    bint evenloop_is_regular(int fd) nogil


cdef class Kevents:
    """A kqueue, its pending changes and the events of its last wait."""

    def __cinit__(self):
        self.fd = -1

    def __init__(self):
        self.fd = evenloop_kqueue()
        if self.fd < 0:
            PyErr_SetFromErrno(OSError)
        self.user_events = EVENLOOP_USER_EVENTS

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)

    cpdef bint change(
        self, Py_ssize_t ident, int filter, int flags, unsigned int fflags, unsigned int mark
    ) except -1:
        evenloop_set(&self._changes[self.pending], ident, filter, flags, fflags, mark)
        self.pending += 1
        return self.pending == BATCH

    cpdef int submit(self, int index) except -1:
        cdef kevent_t* change = &self._changes[index]
        self.ident = change.ident
        self.filter = change.filter
        self.flags = change.flags
        self.mark = <unsigned int>evenloop_mark(change)
        return self._hand_in(change[0])

    cpdef int ask(
        self, Py_ssize_t ident, int filter, int flags, unsigned int fflags, unsigned int mark
    ) except -1:
        cdef kevent_t change
        evenloop_set(&change, ident, filter, flags, fflags, mark)
        return self._hand_in(change)

    cdef int _hand_in(self, kevent_t change) except -1:
        """Hand in one change; return the errno, or 0."""
        cdef kevent_t receipt
        cdef int count
        change.flags |= EV_RECEIPT
        count = evenloop_kevent(self.fd, &change, 1, &receipt, 1, 0.0)
        if count < 0:
            return errno if errno != EINTR else 0
        return <int>receipt.data if count > 0 and receipt.flags & EV_ERROR else 0

    cpdef object clear(self):
        self.pending = 0

    cpdef int wait(self, double timeout) except? -1:
        cdef int count
        if timeout == 0:
            count = evenloop_kevent(
                self.fd, self._changes, self.pending, self._events, BATCH, 0.0
            )
        else:
            # A signal that came since the last bytecode has not been handled yet.
            PyErr_CheckSignals()
            with nogil:
                count = evenloop_kevent(
                    self.fd, self._changes, self.pending, self._events, BATCH, timeout
                )
        if count < 0:
            if errno == EINTR:
                self.pending = 0
                PyErr_CheckSignals()
                return 0
            if self.pending:
                return -2
            PyErr_SetFromErrno(OSError)
        self.pending = 0
        return count

    cpdef object take(self, int index):
        cdef kevent_t* event = &self._events[index]
        self.ident = event.ident
        self.filter = event.filter
        self.flags = event.flags
        self.fflags = event.fflags
        self.data = event.data
        self.mark = <unsigned int>evenloop_mark(event)

    cpdef object trigger(self):
        cdef kevent_t change
        # A closed queue: there is nobody left to wake.
        evenloop_set(&change, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0)
        evenloop_kevent(self.fd, &change, 1, NULL, 0, 0.0)

    cpdef bint is_regular(self, int fd) except -1:
        return evenloop_is_regular(fd)

    cpdef object close(self):
        cdef int fd = self.fd
        self.fd = -1
        if fd >= 0:
            close(fd)

    def forget(self):
        """Let go of a queue that a fork has left to the parent."""
        self.fd = -1
