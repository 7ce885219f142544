cimport cython

from evenloop.handles cimport Handle, TimerHandle


cdef struct Key:
    double when
    long long order


@cython.final
cdef class HandleQueue:
    cdef list _items
    cdef Py_ssize_t _first
    cdef Py_ssize_t _count
    cdef Py_ssize_t _mask

    cdef int append(self, Handle handle) except -1
    cdef Handle popleft(self)
    cdef object clear(self)
    cdef int _grow(self) except -1


cdef inline Py_ssize_t size(HandleQueue queue) noexcept:
    return queue._count


@cython.final
cdef class Heap:
    cdef Key* _keys
    cdef Py_ssize_t _room
    cdef list _handles

    cdef double when(self) noexcept
    cdef TimerHandle first(self)
    cdef int push(self, TimerHandle handle) except -1
    cdef TimerHandle pop(self)
    cdef bint drop_last(self, TimerHandle handle) except -1
    cdef object keep_scheduled(self)
    cdef object clear(self)
    cdef void _sift_up(self, Py_ssize_t position) noexcept
    cdef void _sift_down(self, Py_ssize_t position) noexcept
