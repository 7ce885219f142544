"""What an engine over a ring has beside its requests: waiting, waking, and being told why not."""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport (
    EACCES, EAGAIN, EBUSY, EEXIST, EINTR, ENOSYS, EPERM, ETIME,
)

from evenloop.engines.posix cimport PosixEngine, os_error
from evenloop.engines.ring cimport (
    CQE_MORE, OP_POLL_ADD, POLL_MULTISHOT, Request, Ring, Sqe,
)
from evenloop.engines.waker cimport Waker, drain

cdef enum:
    REQUESTS = 512
    COMPLETIONS = 4096
    # What is watched of the waker.
    BY_THREAD = 0
    BY_SIGNAL = 1

# A day; longer waits are taken in pieces.
cdef double LONGEST_WAIT = 86400.0


cdef class Watch(Request):
    """The polls of what ends a wait from outside."""

    cdef object arrived(self, int role, int result, unsigned int flags):
        cdef RingEngine engine = self.engine
        if engine is None:
            return
        if role == BY_SIGNAL:
            drain(engine._waker.signals)
        # The counter of the other is never read: every write to it is an event.
        if not flags & CQE_MORE:
            engine._put_up(role)


cdef class RingEngine(PosixEngine):
    """An engine that waits by entering a ring; a leaf adds what is put into it.

    The ring has places for so many `requests` and `completions`.
    """

    def __init__(self, unsigned int requests=REQUESTS, unsigned int completions=COMPLETIONS):
        PosixEngine.__init__(self)
        self._requests = requests
        self._completions = completions
        self._news = []
        self._waker = Waker()

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
        self._ring = Ring(self._requests, self._completions)
        self._watch = Watch()
        self._watch.engine = self
        self._waker.open()
        self._put_up(BY_THREAD)
        if self._waker.signals >= 0:
            self._put_up(BY_SIGNAL)

    cdef object _put_up(self, int role):
        """Poll a descriptor of the waker, again and again."""
        cdef Sqe* sqe = self._ring.prepare(self._watch, role)
        sqe.opcode = OP_POLL_ADD
        sqe.fd = self._waker.counter if role == BY_THREAD else self._waker.signals
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
        self.wakes += 1
        self._waker.wake()

    def signal_fd(self):
        """Return the writing end of a pipe that ends a wait."""
        cdef bint known = self._waker.signals >= 0
        cdef int fd = self._waker.make_pipe()
        if not known:
            self._put_up(BY_SIGNAL)
        return fd

    def stats(self):
        """Return counters since the start.

        `enters` are the system calls that waited or looked, `exhausted` tells how often there was
        no buffer for what came, and `lost` how many completions the kernel had no memory for.
        """
        return PosixEngine.stats(self) | {
            "enters": self._ring.enters,
            "exhausted": self._exhausted,
            "lost": self._ring.lost() if self._ring.fd >= 0 else 0,
        }
