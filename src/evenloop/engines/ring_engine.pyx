"""What an engine over a ring has beside its requests: waiting, waking, and being told why not."""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport (
    EACCES, EAGAIN, EBUSY, EEXIST, EINTR, ENOSYS, EPERM, ETIME, errno,
)
from libc.stdint cimport uint64_t
from posix.unistd cimport close, read, write

from evenloop.engines.posix cimport PosixEngine, os_error
from evenloop.engines.ring cimport (
    CQE_MORE, OP_POLL_ADD, POLL_MULTISHOT, Request, Ring, Sqe,
)

import os

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)

cdef enum:
    REQUESTS = 512
    COMPLETIONS = 4096
    # What ends a wait.
    BY_THREAD = 0
    BY_SIGNAL = 1

# A day; longer waits are taken in pieces.
cdef double LONGEST_WAIT = 86400.0


cdef class Waker(Request):
    """What ends a wait from outside: other threads (BY_THREAD), and signal handlers (BY_SIGNAL)."""

    cdef object arrived(self, int role, int result, unsigned int flags):
        cdef RingEngine engine = self.engine
        if engine is None:
            return
        if role == BY_SIGNAL:
            engine._drain(engine._signal_reader)
        # The counter of the other is never read: every write to it is an event.
        if not flags & CQE_MORE:
            engine._watch(engine._wakefd if role == BY_THREAD else engine._signal_reader, role)


cdef class RingEngine(PosixEngine):
    """An engine that waits by entering a ring; a leaf adds what is put into it."""

    def __cinit__(self):
        self._wakefd = self._signal_reader = self._signal_writer = -1

    def __init__(self):
        PosixEngine.__init__(self)
        self._news = []

    def __dealloc__(self):
        self._close_descriptors()

    @staticmethod
    def why_not():
        """Return why this process may not have a ring, or an empty string."""
        try:
            Ring(8, 16).close()
        except OSError as error:
            reason = error.strerror
            if error.errno == EPERM or error.errno == EACCES:
                reason = "io_uring is forbidden (kernel.io_uring_disabled, or a seccomp filter)"
            elif error.errno == ENOSYS:
                reason = "this kernel has no io_uring, or a seccomp filter hides it"
            return f"{reason}; ProactorEventLoop is one of readiness"
        return ""

    cdef object _open(self):
        self._ring = Ring(REQUESTS, COMPLETIONS)
        self._waker = Waker()
        self._waker.engine = self
        if self._wakefd < 0:
            self._wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
            if self._wakefd < 0:
                raise os_error(errno)
        self._watch(self._wakefd, BY_THREAD)
        if self._signal_reader >= 0:
            self._watch(self._signal_reader, BY_SIGNAL)

    cdef object _close_descriptors(self):
        for fd in (self._wakefd, self._signal_reader, self._signal_writer):
            if fd >= 0:
                close(fd)
        self._wakefd = self._signal_reader = self._signal_writer = -1

    cdef object _watch(self, int fd, int role):
        """Poll a descriptor of the engine's own, again and again."""
        cdef Sqe* sqe = self._ring.prepare(self._waker, role)
        sqe.opcode = OP_POLL_ADD
        sqe.fd = fd
        sqe.op_flags = poll_events(POLLIN)
        sqe.length = POLL_MULTISHOT

    cdef object _deliver_news(self):
        """Deliver what was kept from earlier rounds, to whoever asks for it now."""
        raise NotImplementedError

    cdef object _move(self, bint child):
        """Go on with a new ring: in a forked child, or in another thread."""
        raise NotImplementedError

    cdef object _flush(self):
        """Have the kernel end what was withdrawn, now."""
        cdef int done
        self._withdrawn = False
        if self._ring._disabled:
            # Nothing has been submitted yet: both will be, one right after the other.
            return
        done = self._ring.flush()
        if done == -EEXIST:
            self._move(False)

    cpdef bint wait(self, double timeout) except -1:
        cdef Ring ring = self._ring
        cdef int done = 0
        if self._dirty:
            self.reconcile()
        self.waits += 1
        if self._failures or self._news or ring.has_news():
            timeout = 0
        if timeout != 0:
            # A signal that came since the last bytecode has not been handled yet.
            PyErr_CheckSignals()
            if timeout > LONGEST_WAIT:
                timeout = LONGEST_WAIT
            done = ring.enter(1, timeout)
            self._withdrawn = False
        elif ring.has_work():
            done = ring.enter(0, 0)
            self._withdrawn = False
        if done < 0:
            if done == -EINTR:
                PyErr_CheckSignals()
            elif done == -EEXIST:
                self._move(False)
                return self.wait(timeout)
            elif done != -ETIME and done != -EBUSY and done != -EAGAIN:
                raise os_error(-done)
        return ring.has_news() or len(self._news) > 0 or len(self._failures) > 0

    cpdef object deliver(self):
        cdef int count = self._ring.count_news()
        if self._failures:
            self._deliver_failures()
        if self._news:
            self._deliver_news()
        # What comes meanwhile is for the next round; what an interrupt leaves is still there.
        while count > 0 and self._ring.deliver_one():
            count -= 1

    cpdef object wake(self):
        cdef uint64_t one = 1
        self.wakes += 1
        # A full counter or a closed engine: there is nobody left to wake.
        write(self._wakefd, &one, sizeof(one))

    cdef object _drain(self, int fd):
        cdef char junk[512]
        while read(fd, junk, sizeof(junk)) == sizeof(junk):
            pass

    def signal_fd(self):
        """Return the writing end of a pipe that ends a wait."""
        if self._signal_writer < 0:
            self._signal_reader, self._signal_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._watch(self._signal_reader, BY_SIGNAL)
        return self._signal_writer

    def stats(self):
        """Return counters since the start; `enters` are the system calls that waited or looked."""
        return PosixEngine.stats(self) | {
            "enters": self._ring.enters, "exhausted": self._exhausted,
        }
