cimport cython

from evenloop._calls cimport call_none, call_one, copy_context, drop_dict
from evenloop.scheduler cimport Flushable, Scheduler


cdef class BaseTransport(Flushable):
    # Programs keep things of their own on transports, and tests replace their methods.
    cdef dict __dict__
    cdef readonly Scheduler _loop
    cdef readonly object _protocol
    cdef readonly object _context
    cdef public dict _extra
    cdef object _untold
    cdef object _name
    cdef object _peer
    cdef public bint _closing
    cdef public Py_ssize_t _lost

    cdef object _set_up(self, Scheduler loop, dict extra, object context)
    cdef object _describe_later(self, object sock, object peer)
    cdef object _note_name(self)
    cdef object _tell(self)
    cdef object _bind(self, object protocol)
    cpdef object _force_close(self, object exc)
    cpdef object _fatal_error(self, object exc, object message=*)


cdef class FlowControl(BaseTransport):
    cdef public bint _writing_paused
    cdef public Py_ssize_t _high
    cdef public Py_ssize_t _low
    cdef public Py_ssize_t _pending_size

    cdef object _maybe_pause(self)
    cdef object _maybe_resume(self, bint inside=*)
