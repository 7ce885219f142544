cimport cython

from evenloop.engines.engine cimport (
    ACCEPT, CONNECT, EXIT, Engine, Op, POLL_READ, POLL_WRITE, RECV, RECV_INTO, RECVFROM, SEND,
    SENDTO,
)

cdef enum:
    # No process has descriptors beyond this; a larger number is a mistake, not a table size.
    HIGHEST_FD = 1 << 22

cpdef enum:
    READABLE = 1
    WRITABLE = 2


@cython.final
cdef class Slot:
    cdef public int fd
    cdef public int armed
    cdef public unsigned int generation
    cdef public Py_ssize_t born
    cdef public int burst
    cdef public int lull
    cdef public int left
    cdef public Py_ssize_t heard
    cdef public bint dirty
    cdef public Op reader
    cdef public Op writer
    cdef public object owner
    cdef public object sock
    cdef public object note


cdef inline Slot new_slot(int fd, unsigned int generation):
    cdef Slot slot = <Slot>Slot.__new__(Slot)
    slot.fd = fd
    slot.generation = generation
    slot.burst = 1
    return slot


cdef class ReadinessEngine(Engine):
    cdef list _slots
    cdef list _dirty
    cdef list _failures
    cdef public Py_ssize_t waits
    cdef public Py_ssize_t events
    cdef public Py_ssize_t changes
    cdef public Py_ssize_t wakes
    cdef public Py_ssize_t idle

    @cython.locals(slot=Slot)
    cpdef object owner(self, int fd)
    @cython.locals(slot=Slot)
    cpdef object adopt(self, int fd, object owner)
    @cython.locals(slot=Slot)
    cpdef object forget(self, int fd)
    @cython.locals(op=Op, following=Op)
    cdef object _release(self, Slot slot)
    cdef Slot _slot(self, int fd)
    cdef Slot _claim(self, Op op)
    cdef object _mark(self, Slot slot)
    cpdef object reconcile(self)
    @cython.locals(op=Op, following=Op)
    cdef object _fail(self, Slot slot, object error)
    @cython.locals(op=Op)
    cdef object _deliver_failures(self)
    @cython.locals(replacement=Slot)
    cdef Slot _renewed(self, Slot slot)
    cdef bint _try(self, Op op) except -1
    cpdef bint dispatch(self, Slot slot, int ready) except -1
    cdef bint _at_once(self, Slot slot, Op op) except -1
    cdef int _appetite(self, Slot slot) except -1
    cdef object _sated(self, Slot slot, int taken)
    @cython.locals(following=Op, burst=int, asked=int)
    cdef bint _advance(self, Slot slot, Op op, bint reading) except -1
    cpdef object receive(self, Op op)
    cpdef bint attempt(self, Op op) except -1
    cpdef object update(self, Slot slot, int wanted)


cdef inline bint is_reading(int kind):
    return kind == RECV or kind == RECV_INTO or kind == ACCEPT or kind == RECVFROM \
        or kind == POLL_READ or kind == EXIT


cdef inline int wanted_by(Slot slot):
    return (READABLE if slot.reader is not None else 0) | \
        (WRITABLE if slot.writer is not None else 0)
