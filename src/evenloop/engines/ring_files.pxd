from cpython.buffer cimport Py_buffer

from evenloop.engines.engine cimport Op
from evenloop.engines.ring cimport Request, Ring


cdef class FileRequest(Request):
    cdef RingFiles files
    cdef Op op
    cdef Py_buffer view
    cdef bint held
    # Its end was asked for.
    cdef bint withdrawn

    cdef object submit(self)
    cdef object let_go(self)


cdef class RingFiles:
    cdef Ring _ring
    # Requests in flight, by op.
    cdef dict _flying
    cdef bint _closed

    cdef bint start(self, Op op) except -1
    cdef object cancel(self, Op op)
    cdef object move(self, Ring ring)
    cdef list abandon(self)
    cdef object close(self)
