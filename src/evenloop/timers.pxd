cimport cython

from evenloop._heap cimport heapify, heappop, heappush
from evenloop.handles cimport TimerHandle


cdef double _NEVER


@cython.final
cdef class TimerHeap:
    cdef list _heap
    cdef Py_ssize_t _cancelled

    cdef object push(self, TimerHandle handle)
    @cython.locals(count=Py_ssize_t)
    cdef object discard(self, TimerHandle handle)
    cdef object clear(self)
    cdef double deadline(self)
    cdef object collect(self, double now, list ready)

    @cython.locals(handle=TimerHandle)
    cdef object _purge(self)

    @cython.locals(handle=TimerHandle)
    cdef object _drop_cancelled_head(self)
