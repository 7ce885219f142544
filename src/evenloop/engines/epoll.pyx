"""The `epoll` engine: readiness on Linux.

How epoll behaves, and what follows:

- Every watch carries 64 bits of ours. They hold the descriptor and the generation of its slot,
  so an event leads to its requests by one index and never to freed memory.
- EPOLLERR and EPOLLHUP come whether asked for or not, and come again until the watch is gone.
  So a descriptor that nobody waits for is taken out, not set to "no events".
- A watch belongs to the open file, not to the descriptor: when a descriptor is closed while a
  copy of it lives on (in a child, say), the watch goes on and cannot be removed by number.
  Its events are recognised by their generation; the cure is a new epoll set.
- `epoll_wait` counts in milliseconds. `epoll_pwait2` (Linux 5.11) counts in nanoseconds; on
  older kernels the time-out is rounded up, so a timer is late but never early.
- Regular files are refused with EPERM. Requests on them go through a ring of io_uring beside the
  epoll set (`aside`), where the kernel lets us have one; it is made when first asked for.
"""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport (
    EAGAIN, EBADF, EEXIST, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSYS, EPERM, errno,
)
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport close

from evenloop.engines.engine cimport READ_FILE, SYNC_FILE, WRITE_FILE, Op
from evenloop.engines.posix cimport PosixEngine
from evenloop.engines.readiness cimport READABLE, WRITABLE, Slot
from evenloop.engines.waker cimport Waker, drain

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLPRI
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int operation, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int size, int timeout)

cdef extern from *:
    """
    #include <errno.h>
    #include <math.h>
    #include <stdint.h>
    #include <sys/epoll.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    /* The kernel's own timespec for this call, whatever the C library's time_t is. */
    struct evenloop_timespec { int64_t seconds; int64_t nanoseconds; };

    #ifndef SYS_epoll_pwait2
    #define SYS_epoll_pwait2 441
    #endif

    static int evenloop_wait_exact(int epfd, struct epoll_event *events, int size, double timeout)
    {
        struct evenloop_timespec until;
        double whole = floor(timeout);
        until.seconds = (int64_t)whole;
        until.nanoseconds = (int64_t)ceil((timeout - whole) * 1e9);
        if (until.nanoseconds > 999999999) {
            until.seconds += 1;
            until.nanoseconds = 0;
        }
        return (int)syscall(SYS_epoll_pwait2, epfd, events, size, &until, NULL, (size_t)8);
    }
    """
    int evenloop_wait_exact(int epfd, epoll_event* events, int size, double timeout) nogil

cdef extern from "<math.h>" nogil:
    double ceil(double)

cdef enum:
    BATCH = 512

# A day; longer waits are taken in pieces.
cdef double LONGEST_WAIT = 86400.0
cdef uint64_t WAKE = <uint64_t>-1
cdef uint64_t SIGNAL = <uint64_t>-2
cdef uint64_t ASIDE = <uint64_t>-3
# Found out at the first wait: whether this kernel has epoll_pwait2.
cdef bint exact_wait = True


cdef class EpollEngine(PosixEngine):
    """Readiness through epoll."""

    name = "epoll"
    regular_files = "refused"

    cdef int _epfd
    cdef Waker _waker
    cdef bint _rebuild
    # A ring, once there was something for it (`aside`), or why there can be none.
    cdef object _aside
    cdef readonly str no_files
    cdef int _count
    cdef epoll_event _batch[BATCH]

    def __cinit__(self):
        self._epfd = -1
        self._waker = Waker()

    def __init__(self):
        PosixEngine.__init__(self)
        self.no_files = ""
        self._open()

    def __dealloc__(self):
        self._close()

    cdef object _open(self):
        self._epfd = epoll_create1(EPOLL_CLOEXEC)
        if self._epfd < 0:
            PyErr_SetFromErrno(OSError)
        self._waker.open()
        self._watch(self._waker.counter, EPOLLIN, WAKE)

    @property
    def files(self):
        """Whether requests on files are taken: the kernel lets us have a ring."""
        if self._aside is None and self.no_files == "" and self._epfd >= 0:
            # Not before it is needed: few programs have files that are not cached.
            from evenloop.engines.aside import RingAside

            try:
                aside = RingAside()
                self._watch(aside.fileno(), EPOLLIN, ASIDE)
            except OSError as error:
                if error.errno not in (EMFILE, ENFILE, ENOMEM):
                    self.no_files = error.strerror
            else:
                self._aside = aside
        return self._aside is not None

    cpdef bint start(self, Op op) except -1:
        if op.kind == READ_FILE or op.kind == WRITE_FILE or op.kind == SYNC_FILE:
            return self._aside.start(op)
        return PosixEngine.start(self, op)

    cpdef object cancel(self, Op op):
        if op.active and (
            op.kind == READ_FILE or op.kind == WRITE_FILE or op.kind == SYNC_FILE
        ):
            return self._aside.cancel(op)
        return PosixEngine.cancel(self, op)

    cdef object _close(self):
        if self._epfd >= 0:
            close(self._epfd)
            self._epfd = -1

    cdef object _watch(self, int fd, uint32_t events, uint64_t data):
        cdef epoll_event event
        event.events = events
        event.data.u64 = data
        if epoll_ctl(self._epfd, EPOLL_CTL_ADD, fd, &event) < 0:
            PyErr_SetFromErrno(OSError)

    cpdef object update(self, Slot slot, int wanted):
        cdef epoll_event event
        cdef int operation
        cdef int outcome
        self.changes += 1
        event.events = (EPOLLIN if wanted & READABLE else 0) | \
            (EPOLLOUT if wanted & WRITABLE else 0)
        event.data.u64 = (<uint64_t>slot.generation << 32) | <uint32_t>slot.fd
        if wanted == 0:
            operation = EPOLL_CTL_DEL
        elif slot.armed:
            operation = EPOLL_CTL_MOD
        else:
            operation = EPOLL_CTL_ADD
        slot.armed = 0
        outcome = epoll_ctl(self._epfd, operation, slot.fd, &event)
        if outcome < 0 and operation == EPOLL_CTL_MOD and errno == ENOENT:
            outcome = epoll_ctl(self._epfd, EPOLL_CTL_ADD, slot.fd, &event)
        elif outcome < 0 and operation == EPOLL_CTL_ADD and errno == EEXIST:
            outcome = epoll_ctl(self._epfd, EPOLL_CTL_MOD, slot.fd, &event)
        if outcome < 0:
            if operation == EPOLL_CTL_DEL and (
                errno == ENOENT or errno == EBADF or errno == EPERM
            ):
                return
            PyErr_SetFromErrno(OSError)
        slot.armed = wanted

    cpdef bint wait(self, double timeout) except -1:
        global exact_wait
        cdef int count
        cdef int milliseconds
        self._count = 0
        if self._rebuild:
            self._renew()
        if self._dirty:
            self.reconcile()
        self.waits += 1
        if self._aside is not None and self._aside.submit() or self._failures:
            timeout = 0
        if timeout == 0:
            count = epoll_wait(self._epfd, self._batch, BATCH, 0)
        else:
            # A signal that came since the last bytecode has not been handled yet.
            PyErr_CheckSignals()
            if timeout > LONGEST_WAIT:
                timeout = LONGEST_WAIT
            count = -1
            if timeout > 0 and exact_wait:
                with nogil:
                    count = evenloop_wait_exact(self._epfd, self._batch, BATCH, timeout)
                if count < 0 and (errno == ENOSYS or errno == EPERM):
                    exact_wait = False
            if timeout < 0 or not exact_wait:
                milliseconds = -1 if timeout < 0 else <int>ceil(timeout * 1000)
                with nogil:
                    count = epoll_wait(self._epfd, self._batch, BATCH, milliseconds)
        if count < 0:
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
            count = 0
        self._count = count
        return (
            count > 0 or len(self._failures) > 0
            or self._aside is not None and self._aside.submit()
        )

    cpdef object deliver(self):
        cdef int count = self._count
        cdef int index
        cdef int ready
        cdef uint32_t events
        cdef uint64_t data
        cdef uint32_t fd
        cdef Slot slot
        # Level-triggered: what an interrupt leaves undelivered will be reported again.
        self._count = 0
        if self._failures:
            self._deliver_failures()
        if self._aside is not None:
            self._aside.deliver()
        for index in range(count):
            data = self._batch[index].data.u64
            events = self._batch[index].events
            fd = <uint32_t>data
            if data == WAKE:
                drain(self._waker.counter)
                continue
            if data == ASIDE:
                continue
            if data == SIGNAL:
                drain(self._waker.signals)
                continue
            slot = None
            if fd < <uint32_t>len(self._slots):
                slot = <Slot>self._slots[fd]
            if slot is None or slot.generation != <uint32_t>(data >> 32):
                self._stale(fd, slot)
                continue
            ready = 0
            if events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLPRI):
                ready = READABLE
            if events & (EPOLLOUT | EPOLLHUP | EPOLLERR):
                ready |= WRITABLE
            self.events += 1
            self.dispatch(slot, ready)

    cdef object _stale(self, int fd, Slot slot):
        """An event of a file that nobody here knows any more."""
        if slot is not None and slot.born == self.waits:
            # Closed since this batch was collected: all is well.
            return
        # The watch lives on (the file has another descriptor, in a child, say), and cannot be
        # removed by number: build a new set.
        self._rebuild = True

    cdef object _renew(self):
        """Replace the epoll set by a new one with the watches that are wanted."""
        cdef Slot slot
        cdef int old = self._epfd
        cdef int new = epoll_create1(EPOLL_CLOEXEC)
        if new < 0:
            # Out of descriptors: go on with the old set and try again at the next wait.
            return
        self._rebuild = False
        self._epfd = new
        close(old)
        self._watch(self._waker.counter, EPOLLIN, WAKE)
        if self._waker.signals >= 0:
            self._watch(self._waker.signals, EPOLLIN, SIGNAL)
        if self._aside is not None:
            self._watch(self._aside.fileno(), EPOLLIN, ASIDE)
        for slot in self._slots:
            if slot is not None and slot.armed:
                slot.armed = 0
                self._mark(slot)

    cpdef object wake(self):
        self.wakes += 1
        self._waker.wake()

    def signal_fd(self):
        """Return the writing end of a pipe that ends a wait."""
        cdef bint known = self._waker.signals >= 0
        cdef int fd = self._waker.make_pipe()
        if not known:
            self._watch(self._waker.signals, EPOLLIN, SIGNAL)
        return fd

    def after_fork(self):
        """Wait with an epoll set of our own from now on, not with the parent's."""
        cdef Slot slot
        self._close()
        self._waker.close()
        self._open()
        if self._aside is not None:
            self._failures.extend(self._aside.abandon())
            self._aside = None
        for slot in self._slots:
            if slot is not None and slot.armed:
                slot.armed = 0
                self._mark(slot)

    def close(self):
        """Close the epoll set and the waker."""
        self._slots.clear()
        self._dirty.clear()
        if self._aside is not None:
            self._aside.close()
            self._aside = None
        self._close()
        self._waker.close()
