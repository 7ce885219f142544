cimport cython

from evenloop._queues cimport HandleQueue, Heap, put, show_shared, size, waiting
from evenloop.handles cimport TimerHandle, TimerOwner


@cython.final
cdef class TimerHeap(TimerOwner):
    cdef Heap _heap
    cdef Py_ssize_t _cancelled

    cdef object push(self, TimerHandle handle)
    cdef object clear(self)
    cdef double deadline(self)
    @cython.locals(handle=TimerHandle)
    cdef object collect(self, double now, HandleQueue ready)
    @cython.locals(handle=TimerHandle)
    cdef object _drop_cancelled_head(self)


# Inlined where it is used: most turns of most loops ask nothing else of their timers.
@cython.nonecheck(False)
cdef inline bint pending(TimerHeap timers) noexcept:
    return waiting(timers._heap)
