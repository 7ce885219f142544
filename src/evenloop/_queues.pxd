cimport cython
from cpython.object cimport PyObject

from evenloop.handles cimport Handle, TimerHandle

cdef extern from "Python.h":
    # By pointer: a move from place to place changes no reference count.
    PyObject* item_of "PyList_GET_ITEM" (list, Py_ssize_t) noexcept
    void set_item "PyList_SET_ITEM" (list, Py_ssize_t, PyObject*) noexcept
    Py_ssize_t list_size "PyList_GET_SIZE" (list) noexcept
    void Py_INCREF(object)
    void Py_DECREF(object)


cdef struct Key:
    double when
    long long order


@cython.final
cdef class HandleQueue:
    cdef list _items
    cdef Py_ssize_t _first
    cdef Py_ssize_t _count
    cdef Py_ssize_t _mask

    cdef object clear(self)
    cdef int _grow(self) except -1


# Inlined where they are used: a call from one compiled module to another costs more than these.

cdef inline Py_ssize_t size(HandleQueue queue) noexcept:
    return queue._count


@cython.nonecheck(False)
cdef inline int put(HandleQueue queue, Handle handle) except -1:
    cdef Py_ssize_t place
    if queue._count > queue._mask:
        queue._grow()
    place = (queue._first + queue._count) & queue._mask
    # A free place holds None.
    Py_DECREF(None)
    Py_INCREF(handle)
    set_item(queue._items, place, <PyObject*>handle)
    queue._count += 1
    return 0


@cython.nonecheck(False)
cdef inline Handle take(HandleQueue queue):
    # The queue lets go of the handle before it runs.
    cdef Handle handle
    if queue._count <= 0:
        raise IndexError("take from an empty queue")
    handle = <Handle>item_of(queue._items, queue._first)
    Py_DECREF(handle)
    Py_INCREF(None)
    set_item(queue._items, queue._first, <PyObject*>None)
    queue._first = (queue._first + 1) & queue._mask
    queue._count -= 1
    return handle


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


@cython.nonecheck(False)
cdef inline bint waiting(Heap heap) noexcept:
    return list_size(heap._handles) > 0
