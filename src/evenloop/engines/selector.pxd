cimport cython

from evenloop.engines.readiness cimport READABLE, WRITABLE, ReadinessEngine, Slot


cdef class SelectorEngine(ReadinessEngine):
    cdef readonly object selector
    cdef set _registered
    cdef object _receiver
    cdef object _sender
    cdef object _events

    cpdef object update(self, Slot slot, int wanted)
    cpdef bint wait(self, double timeout) except -1
    @cython.locals(slot=Slot, ready=int)
    cpdef object deliver(self)
    cpdef object wake(self)
    cdef object _unregister(self, int fd)
    cdef object _drain(self)
    @cython.locals(slot=Slot)
    cdef object _renew(self)
