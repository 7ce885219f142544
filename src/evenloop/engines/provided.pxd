from libc.stdint cimport uint16_t

from evenloop.engines.ring cimport Ring

cdef enum:
    # What one buffer holds, and how many there are at first and at most (a power of two).
    BUFFER_SIZE = 64 * 1024
    FIRST_BUFFERS = 16
    MOST_BUFFERS = 1024


cdef class Provided:
    cdef readonly int group
    cdef readonly int published
    cdef readonly int most
    cdef readonly Py_ssize_t size
    cdef Ring _ring
    cdef void* _shared
    cdef char* _memory
    cdef uint16_t _tail

    cdef char* data(self, unsigned int flags)
    cdef object give_back(self, unsigned int flags)
    cdef object _publish(self, int number)
    cpdef bint grow(self)
