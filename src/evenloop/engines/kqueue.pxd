cimport cython

from evenloop.engines.engine cimport CONNECT, EXIT, Op
from evenloop.engines.kevents cimport (
    EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EV_ONESHOT, EVFILT_PROC, EVFILT_READ,
    EVFILT_USER, EVFILT_VNODE, EVFILT_WRITE, NOTE_ATTRIB, NOTE_DELETE, NOTE_EXIT, NOTE_EXTEND,
    NOTE_WRITE, Kevents,
)
from evenloop.engines.posix cimport PosixEngine
from evenloop.engines.readiness cimport READABLE, WRITABLE, Slot


cdef class KqueueEngine(PosixEngine):
    cdef Kevents _kevents
    cdef int _count
    cdef bint _gathering
    cdef bint _stale
    cdef dict _children
    cdef dict _awake
    cdef list _levels
    cdef list _ended
    cdef object _aside
    cdef int _pipe_reader
    cdef int _pipe_writer
    cdef bint _user_events

    cpdef bint start(self, Op op) except -1
    cpdef object cancel(self, Op op)
    cpdef object update(self, Slot slot, int wanted)
    cdef object _change(self, Py_ssize_t ident, int filter, int flags, unsigned int mark)
    cdef int _settle(self, Slot slot) except -1
    cdef int _judge(self, Slot slot, int code) except -1
    cdef object _refuse(self, Slot slot, int code)
    cdef bint _needs_other_way(self, Slot slot) except -1
    cpdef object watch_file(self, Slot slot)
    cdef object _update_apart(self, Slot slot, int wanted)
    cdef object _look_apart(self)
    @cython.locals(op=Op)
    cdef bint _start_exit(self, Op op) except -1
    @cython.locals(op=Op)
    cdef object _exited(self, Py_ssize_t pid)
    @cython.locals(count=int)
    cpdef bint wait(self, double timeout) except -1
    @cython.locals(slot=Slot)
    cdef object _rejected(self, int count)
    @cython.locals(slot=Slot, index=int, count=int, filter=int, fd=Py_ssize_t, kevents=Kevents)
    cpdef object deliver(self)
    cdef object _note_failure(self, Op op)
    cdef object _keep(self, int index, int count)
    @cython.locals(op=Op)
    cdef object _complete_ended(self)
    @cython.locals(slot=Slot)
    cdef object _take_levels(self)
    cdef object _unknown(self, Slot slot, Py_ssize_t ident, int filter)
    cpdef object wake(self)
    cdef object _drain(self)
    @cython.locals(slot=Slot)
    cdef object _watch_all(self)
