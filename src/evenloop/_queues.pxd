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

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    /* That collector looks at all objects, and has no young ones. */
    #define evenloop_hide(handle) ((void)0)
    #define evenloop_show(handle) ((void)0)
    #define EVENLOOP_HIDES 0
    #else
    #define evenloop_hide(handle) PyObject_GC_UnTrack(handle)
    #define EVENLOOP_HIDES 1
    static inline void evenloop_show(PyObject *handle)
    {
        if (!PyObject_GC_IsTracked(handle))
            PyObject_GC_Track(handle);
    }
    #endif
    /* For who holds the only reference that may be the last. */
    static inline void evenloop_show_shared(PyObject *handle)
    {
        if (Py_REFCNT(handle) > 1)
            evenloop_show(handle);
    }
    """
    const bint EVENLOOP_HIDES
    bint is_seen "PyObject_GC_IsTracked"(object) noexcept
    # What the collector sees of handles; see _queues.pyx.
    void hide "evenloop_hide"(object handle) noexcept
    void show "evenloop_show"(object handle) noexcept
    void show_shared "evenloop_show_shared"(object handle) noexcept


cdef enum:
    # As many handles as the freelist keeps: those beyond are allocations that the collector counts.
    SEEN = 1024


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
    if queue._count >= SEEN:
        hide(handle)
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
    cdef void* _block
    cdef Py_ssize_t _room
    cdef list _handles

    cdef double when(self) noexcept
    cdef TimerHandle first(self)
    cdef int push(self, TimerHandle handle) except -1
    cdef int _grow(self) except -1
    cdef TimerHandle pop(self)
    cdef bint drop_last(self, TimerHandle handle) except -1
    cdef object keep_scheduled(self)
    cdef object clear(self)
    cdef void _sift_up(self, Py_ssize_t position) noexcept
    cdef void _sift_down(self, Py_ssize_t position) noexcept


@cython.nonecheck(False)
cdef inline bint waiting(Heap heap) noexcept:
    return list_size(heap._handles) > 0
