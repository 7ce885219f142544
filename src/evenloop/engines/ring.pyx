"""One io_uring: requests go to the kernel, and completions come back, through shared memory.

How io_uring behaves, and what follows:

- With DEFER_TASKRUN (Linux 6.1) the kernel does its part of a request only within
  `io_uring_enter`, called by the one thread that may (SINGLE_ISSUER). So nothing moves behind
  the loop's back, and no other thread is interrupted. The thread is settled by the first
  `enter`: a loop may be made in one thread and run in another.
- The kernel says in shared memory if a call would bring anything (TASKRUN_FLAG): a ring that
  is asked for news while there are none costs no system call.
- Completions that do not fit are kept by the kernel (NODROP) until it is entered again.
- A request holds the file that it is for: the file is not closed before the request has ended,
  whoever closes the descriptor. So what is withdrawn is withdrawn at once (`flush`).
- What a kernel offers is found out by asking it: the flags of a set-up are refused together, so
  the next weaker set is tried; the requests it knows are in its own list (`supports`).
- To a forked child the ring is its parent's: it unmaps it, closes the descriptor and no more.

Each completion leads to its request by the number that it carries: an index into a table, and
three bits for the `role`, of which a `Request` may have several in flight at a time.
"""

from libc.errno cimport EAGAIN, EBUSY, EEXIST, EINTR, EINVAL, ETIME, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.mman cimport (
    MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap,
)
from posix.unistd cimport close

import os

cdef extern from *:
    """
    #include <errno.h>
    #include <math.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    #ifndef SYS_io_uring_setup
    #define SYS_io_uring_setup 425
    #define SYS_io_uring_enter 426
    #define SYS_io_uring_register 427
    #endif

    struct evenloop_offsets { uint32_t head, tail, mask, entries, a, b, c, d; uint64_t e; };
    struct evenloop_params {
        uint32_t sq_entries, cq_entries, flags, cpu, idle, features, wq_fd, reserved[3];
        struct evenloop_offsets sq;     /* ..., a: flags, b: dropped, c: array */
        struct evenloop_offsets cq;     /* ..., a: overflow, b: cqes, c: flags */
    };
    struct evenloop_wait { uint64_t sigmask; uint32_t sigmask_size, min_wait; uint64_t time; };

    static int evenloop_ring_setup(uint32_t entries, struct evenloop_params *params)
    { return (int)syscall(SYS_io_uring_setup, entries, params); }

    static int evenloop_ring_register(int fd, uint32_t what, void *argument, uint32_t count)
    { return (int)syscall(SYS_io_uring_register, fd, what, argument, count); }

    /* timeout < 0: as long as it takes */
    static int evenloop_ring_enter(int fd, uint32_t submit, uint32_t count, uint32_t flags,
                                   double timeout)
    {
        struct { int64_t seconds, nanoseconds; } time;
        struct evenloop_wait wait;
        double whole = floor(timeout);
        int done;
        if (count == 0 || timeout < 0) {
            done = (int)syscall(SYS_io_uring_enter, fd, submit, count, flags, NULL, (size_t)0);
        } else {
            time.seconds = (int64_t)whole;
            time.nanoseconds = (int64_t)ceil((timeout - whole) * 1e9);
            if (time.nanoseconds > 999999999) {
                time.seconds += 1;
                time.nanoseconds = 0;
            }
            memset(&wait, 0, sizeof(wait));
            wait.time = (uint64_t)(uintptr_t)&time;
            done = (int)syscall(SYS_io_uring_enter, fd, submit, count, flags | (1u << 3), &wait,
                                sizeof(wait));
        }
        return done < 0 ? -errno : done;
    }

    #define evenloop_acquire(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
    #define evenloop_release(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    """
    struct evenloop_offsets:
        uint32_t head, tail, mask, entries, a, b, c
    ctypedef struct Params "struct evenloop_params":
        uint32_t sq_entries, cq_entries, flags, features
        evenloop_offsets sq, cq
    int evenloop_ring_setup(uint32_t entries, Params* params)
    int evenloop_ring_register(int fd, uint32_t what, void* argument, uint32_t count)
    int evenloop_ring_enter(int fd, uint32_t submit, uint32_t count, uint32_t flags,
                            double timeout) nogil
    unsigned int evenloop_acquire(unsigned int* place)
    void evenloop_release(unsigned int* place, unsigned int value)

cdef enum:
    SETUP_CQSIZE = 1 << 3
    SETUP_CLAMP = 1 << 4
    SETUP_R_DISABLED = 1 << 6
    SETUP_SUBMIT_ALL = 1 << 7
    SETUP_TASKRUN_FLAG = 1 << 9
    FEATURE_SINGLE_MMAP = 1 << 0
    FEATURE_NODROP = 1 << 1
    FEATURE_EXT_ARG = 1 << 8
    FEATURE_CQE_SKIP = 1 << 11
    FEATURE_NO_IOWAIT = 1 << 17
    ENTER_GETEVENTS = 1 << 0
    ENTER_NO_IOWAIT = 1 << 7
    SQ_CQ_OVERFLOW = 1 << 1
    SQ_TASKRUN = 1 << 2
    REGISTER_PROBE = 8
    REGISTER_ENABLE_RINGS = 12
    NEEDED = FEATURE_SINGLE_MMAP | FEATURE_NODROP | FEATURE_EXT_ARG | FEATURE_CQE_SKIP
    PROBE_SIZE = 16 + 8 * 256
    RINGS_AT = 0
    REQUESTS_AT = 0x10000000

# From the best to what any kernel with the features has.
cdef tuple SETUPS = (
    SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SUBMIT_ALL,
    SETUP_COOP_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SUBMIT_ALL,
    0,
)


cdef int ring_register(int fd, unsigned int what, void* argument, unsigned int count) noexcept:
    """Call io_uring_register()."""
    return evenloop_ring_register(fd, what, argument, count)


# How often, and for how many seconds, the end of what was withdrawn is waited for.
cdef enum:
    CLOSING_WAITS = 100
cdef double CLOSING_WAIT = 0.05


cdef class Request:
    """Something that the kernel has to do; subclassed by its maker."""

    def __cinit__(self):
        self.index = -1

    cdef object arrived(self, int role, int result, unsigned int flags):
        """Take what came: a result, or minus the errno. More is to come with CQE_MORE only."""
        raise NotImplementedError


cdef class Call(Request):
    """A request whose completions a callable takes: `callback(result, flags)`."""

    def __init__(self, callback, keep=None):
        self._callback = callback
        # What the kernel reads or writes meanwhile.
        self._keep = keep

    cdef object arrived(self, int role, int result, unsigned int flags):
        self._callback(result, flags)


cdef class Ring:
    """A ring of `entries` requests and `completions` completions, at least (powers of two).

    Raises OSError where the kernel has none, or forbids it (EPERM, ENOSYS). With `deferred` it is
    one with DEFER_TASKRUN; without, any thread may enter it, and its descriptor can be polled.
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self, unsigned int entries=256, unsigned int completions=4096, bint deferred=True):
        cdef Params params
        for flags in SETUPS[:1] if deferred else SETUPS[1:]:
            memset(&params, 0, sizeof(params))
            params.flags = flags | SETUP_CQSIZE | SETUP_CLAMP | SETUP_R_DISABLED
            params.cq_entries = completions
            self.fd = evenloop_ring_setup(entries, &params)
            if self.fd >= 0 or errno != EINVAL:
                break
        if self.fd < 0:
            code = errno
            if code == EINVAL and deferred:
                raise OSError(code, "this kernel's io_uring has no DEFER_TASKRUN (Linux 6.1)")
            raise OSError(code, f"io_uring_setup: {os.strerror(code)}")
        self.setup = params.flags
        self.features = params.features
        if self.features & NEEDED != NEEDED:
            self.close()
            raise OSError(EINVAL, "this kernel's io_uring is too old (before Linux 5.17)")
        self._disabled = True
        self._enter_flags = ENTER_NO_IOWAIT if params.features & FEATURE_NO_IOWAIT else 0
        # Numbers in use, and those to use again; 0 is nobody's.
        self._table = [None]
        self._free = []
        self._map(&params)
        self._opcodes = bytearray(PROBE_SIZE)
        evenloop_ring_register(self.fd, REGISTER_PROBE, <char*>self._opcodes, 256)

    def __dealloc__(self):
        self._unmap()

    cdef object _map(self, void* parameters):
        cdef Params* params = <Params*>parameters
        cdef char* base
        cdef unsigned int* array
        cdef unsigned int index
        self._rings_size = max(
            params.sq.c + params.sq_entries * sizeof(uint32_t),
            params.cq.b + params.cq_entries * sizeof(Cqe),
        )
        self._sqes_size = params.sq_entries * sizeof(Sqe)
        self._rings = mmap(
            NULL, self._rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, self.fd, RINGS_AT
        )
        if self._rings == MAP_FAILED:
            self._rings = NULL
            raise OSError(errno, "mapping the ring failed")
        self._sqes = <Sqe*>mmap(
            NULL, self._sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, self.fd, REQUESTS_AT
        )
        if <void*>self._sqes == MAP_FAILED:
            self._sqes = NULL
            raise OSError(errno, "mapping the requests failed")
        base = <char*>self._rings
        self._sq_head = <unsigned int*>(base + params.sq.head)
        self._sq_tail = <unsigned int*>(base + params.sq.tail)
        self._sq_flags = <unsigned int*>(base + params.sq.a)
        self._sq_entries = params.sq_entries
        self._sq_mask = (<unsigned int*>(base + params.sq.mask))[0]
        self._cq_head = <unsigned int*>(base + params.cq.head)
        self._cq_tail = <unsigned int*>(base + params.cq.tail)
        self._cq_mask = (<unsigned int*>(base + params.cq.mask))[0]
        self._cq_lost = <unsigned int*>(base + params.cq.a)
        self._cqes = <Cqe*>(base + params.cq.b)
        # Requests are submitted in the order of their places.
        array = <unsigned int*>(base + params.sq.c)
        for index in range(params.sq_entries):
            array[index] = index

    # ---- requests --------------------------------------------------------------------------

    cdef Sqe* prepare(self, Request request, int role) except NULL:
        """Return an empty place for a request, which goes with the next `enter`."""
        cdef Sqe* sqe
        if self.fd < 0:
            raise OSError(EINVAL, "the ring is closed")
        if self._tail - evenloop_acquire(self._sq_head) >= self._sq_entries:
            self.flush()
            if self._tail - evenloop_acquire(self._sq_head) >= self._sq_entries:
                raise OSError(EBUSY, "the kernel takes no more requests")
        sqe = &self._sqes[self._tail & self._sq_mask]
        memset(sqe, 0, sizeof(Sqe))
        if request is not None:
            if request.index < 0:
                if self._free:
                    request.index = self._free.pop()
                    self._table[request.index] = request
                else:
                    request.index = len(self._table)
                    self._table.append(request)
            request.flying += 1
            sqe.user_data = (<uint64_t>request.index << ROLE_BITS) | <uint64_t>role
        self._tail += 1
        evenloop_release(self._sq_tail, self._tail)
        return sqe

    cdef object cancel(self, Request request, int role):
        """Ask for the end of a request in flight; its last completion tells of it."""
        cdef Sqe* sqe
        cdef uint64_t number = (<uint64_t>request.index << ROLE_BITS) | <uint64_t>role
        sqe = self.prepare(None, 0)
        sqe.opcode = OP_ASYNC_CANCEL
        sqe.fd = -1
        sqe.address = number
        sqe.flags = SQE_SKIP_SUCCESS

    cdef object cancel_all(self):
        """Ask for the end of everything in flight."""
        cdef Sqe* sqe = self.prepare(None, 0)
        sqe.opcode = OP_ASYNC_CANCEL
        sqe.fd = -1
        sqe.op_flags = CANCEL_ALL | CANCEL_ANY

    cdef int enter(self, unsigned int count, double timeout):
        """Submit, then wait for `count` completions; minus the errno if that failed.

        `timeout` is in seconds, negative for ever. Lets go of the GIL if it waits.
        """
        cdef unsigned int submit = self._tail - evenloop_acquire(self._sq_head)
        cdef unsigned int flags = ENTER_GETEVENTS | self._enter_flags
        cdef int done
        if self._disabled:
            # From now on this thread's.
            if evenloop_ring_register(self.fd, REGISTER_ENABLE_RINGS, NULL, 0) < 0:
                return -errno
            self._disabled = False
        self.enters += 1
        if count == 0:
            return evenloop_ring_enter(self.fd, submit, 0, flags, 0)
        with nogil:
            done = evenloop_ring_enter(self.fd, submit, count, flags, timeout)
        return done

    cdef int flush(self):
        """Submit, and have done what can be done without waiting; minus the errno if it failed."""
        cdef int done = -EINTR
        while done == -EINTR:
            done = self.enter(0, 0)
        return done

    cdef object end_all(self):
        """Withdraw all that is in flight, and see to its end: memory is the owners' again."""
        cdef int attempts = 0
        cdef int done
        if self.fd < 0 or self._disabled:
            return
        self.cancel_all()
        while attempts < CLOSING_WAITS and self.in_flight():
            attempts += 1
            done = self.enter(0 if self.has_news() else 1, CLOSING_WAIT)
            if done == -EEXIST:
                # Another thread's: the kernel ends it all when the ring is closed.
                return
            while self.deliver_one():
                pass

    # ---- completions -----------------------------------------------------------------------

    cdef bint has_news(self):
        """Return whether completions wait to be delivered."""
        return self._cq_head[0] != evenloop_acquire(self._cq_tail)

    cdef bint has_work(self):
        """Return whether entering the kernel would bring anything at once."""
        return self._tail != evenloop_acquire(self._sq_head) or not (
            self.setup & SETUP_TASKRUN_FLAG
        ) or 0 != evenloop_acquire(self._sq_flags) & (SQ_TASKRUN | SQ_CQ_OVERFLOW)

    cdef int count_news(self):
        """Return how many completions wait to be delivered."""
        return <int>(evenloop_acquire(self._cq_tail) - self._cq_head[0])

    cdef bint deliver_one(self) except -1:
        """Tell the first completion to its request; False if there is none."""
        cdef unsigned int head = self._cq_head[0]
        cdef Cqe found
        cdef Request request
        if head == evenloop_acquire(self._cq_tail):
            return False
        found = self._cqes[head & self._cq_mask]
        evenloop_release(self._cq_head, head + 1)
        request = <Request>self._table[<Py_ssize_t>(found.user_data >> ROLE_BITS)]
        if request is not None:
            if not found.flags & CQE_MORE:
                request.flying -= 1
                if request.flying == 0:
                    self._table[request.index] = None
                    self._free.append(request.index)
                    request.index = -1
            request.arrived(
                <int>(found.user_data & ((1 << ROLE_BITS) - 1)), found.result, found.flags
            )
        return True

    cdef list abandon(self):
        """Return what was in flight, and forget it; for a ring that is not to be used again."""
        cdef Request request
        cdef list lost = []
        for request in self._table:
            if request is not None:
                request.index = -1
                request.flying = 0
                lost.append(request)
        self._table = [None]
        self._free = []
        self._unmap()
        return lost

    # ---- for Python ------------------------------------------------------------------------

    def supports(self, int opcode):
        """Return whether the kernel knows a request."""
        return self._opcodes[1] > opcode and self._opcodes[16 + 8 * opcode + 2] & 1 != 0

    def issue(self, int opcode, int fd, callback, *, uint64_t address=0, unsigned int length=0,
              uint64_t offset=0, unsigned int op_flags=0, int ioprio=0, int flags=0, int group=0,
              object keep=None):
        """Prepare a request; `callback(result, flags)` gets each completion. Returns a `Call`."""
        cdef Call call = Call(callback, keep)
        cdef Sqe* sqe = self.prepare(call, 0)
        sqe.opcode = opcode
        sqe.fd = fd
        sqe.address = address
        sqe.length = length
        sqe.offset = offset
        sqe.op_flags = op_flags
        sqe.ioprio = ioprio
        sqe.flags = flags
        sqe.group = group
        return call

    def withdraw(self, Call call):
        """Ask for the end of a call, if it is in flight."""
        if call.index >= 0:
            self.cancel(call, 0)

    def turn(self, double timeout=0.0):
        """Submit, wait for a completion at most so many seconds, and deliver; return how many."""
        cdef int count
        cdef int done = self.enter(0 if timeout == 0 or self.has_news() else 1, timeout)
        cdef int delivered = 0
        if done < 0 and -done not in (ETIME, EINTR, EBUSY, EAGAIN):
            raise OSError(-done, f"io_uring_enter: {os.strerror(-done)}")
        count = self.count_news()
        while delivered < count and self.deliver_one():
            delivered += 1
        return delivered

    def in_flight(self):
        """Return how many requests have not ended."""
        return sum(request is not None for request in self._table)

    def lost(self):
        """Return how many completions the kernel had no memory for: 0, or the ring is broken."""
        return evenloop_acquire(self._cq_lost)

    cdef object _unmap(self):
        if self._sqes is not NULL:
            munmap(self._sqes, self._sqes_size)
            self._sqes = NULL
        if self._rings is not NULL:
            munmap(self._rings, self._rings_size)
            self._rings = NULL
        if self.fd >= 0:
            close(self.fd)
            self.fd = -1

    def close(self):
        """Give the ring back. Whoever has memory in flight ends that before."""
        self._unmap()
