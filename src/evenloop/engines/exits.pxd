cimport cython

from evenloop.engines.engine cimport Op
from evenloop.engines.ports cimport Port, Watch


@cython.final
cdef class Exit(Watch):
    cdef Op op
    cdef list waiting

    @cython.locals(op=Op)
    cdef bint start(self) except -1
    cdef object outcome(self, Op op)
    @cython.locals(op=Op)
    cdef object give_up(self)
