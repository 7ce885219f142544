cimport cython

from evenloop.engines.readiness cimport READABLE, WRITABLE, ReadinessEngine, Slot


cdef class SelectorEngine(ReadinessEngine):
    cdef readonly object selector
    cdef set _registered
    cdef object _receiver
    cdef object _sender

    cpdef object update(self, Slot slot, int wanted)
    @cython.locals(slot=Slot, ready=int)
    cpdef object wait(self, double timeout)
    cpdef object wake(self)
    cdef object _unregister(self, int fd)
    cdef object _drain(self)
    @cython.locals(slot=Slot)
    cdef object _renew(self)
