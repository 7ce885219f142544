from evenloop.engines.ring cimport Ring
from evenloop.engines.ring_files cimport RingFiles


cdef class RingAside:
    cdef Ring _ring
    cdef RingFiles _files
