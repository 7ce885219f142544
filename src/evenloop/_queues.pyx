# cython: nonecheck=False
"""The C twins of what `_queues.py` takes from the standard library.

Handles lie in ordinary lists, so the garbage collector sees them. Beside the list of the heap
lies an array of what timers are compared by: sifting touches that and moves pointers, and looks
into no handle. A node has four children, whose keys fill one cache line.
"""

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject

from evenloop.handles cimport Handle, TimerHandle

cdef extern from "<math.h>":
    double INFINITY

cdef enum:
    SMALLEST = 64


cdef class HandleQueue:
    """A ring of handles; as much of collections.deque as the scheduler needs."""

    def __cinit__(self):
        self._items = [None] * SMALLEST
        self._mask = SMALLEST - 1

    def __len__(self):
        return self._count

    cdef object clear(self):
        self._items = [None] * SMALLEST
        self._mask = SMALLEST - 1
        self._first = self._count = 0

    cdef int _grow(self) except -1:
        cdef list items = self._items[self._first:] + self._items[:self._first]
        self._items = items + [None] * len(items)
        self._mask = 2 * len(items) - 1
        self._first = 0
        return 0


cdef inline bint before(Key* one, Key* other) noexcept:
    return one.when < other.when or (one.when == other.when and one.order < other.order)


cdef class Heap:
    """A heap of timers, ordered by keys beside them."""

    def __cinit__(self):
        self._handles = []

    def __dealloc__(self):
        PyMem_Free(self._keys)

    def __len__(self):
        return len(self._handles)

    cdef double when(self) noexcept:
        return self._keys[0].when if PyList_GET_SIZE(self._handles) > 0 else INFINITY

    cdef TimerHandle first(self):
        return <TimerHandle>PyList_GET_ITEM(self._handles, 0)

    cdef int push(self, TimerHandle handle) except -1:
        cdef Py_ssize_t position = PyList_GET_SIZE(self._handles)
        cdef Key* keys
        if position == self._room:
            keys = <Key*>PyMem_Realloc(self._keys, (2 * position + SMALLEST) * sizeof(Key))
            if keys is NULL:
                raise MemoryError()
            self._keys = keys
            self._room = 2 * position + SMALLEST
        self._handles.append(handle)
        self._keys[position].when = handle._when
        self._keys[position].order = handle._order
        self._sift_up(position)
        return 0

    cdef TimerHandle pop(self):
        cdef TimerHandle last = <TimerHandle>self._handles.pop()
        cdef Py_ssize_t count = PyList_GET_SIZE(self._handles)
        cdef TimerHandle first
        if count == 0:
            return last
        first = <TimerHandle>PyList_GET_ITEM(self._handles, 0)
        Py_INCREF(last)
        set_item(self._handles, 0, <PyObject*>last)
        Py_DECREF(first)
        self._keys[0] = self._keys[count]
        self._sift_down(0)
        return first

    cdef bint drop_last(self, TimerHandle handle) except -1:
        cdef Py_ssize_t count = PyList_GET_SIZE(self._handles)
        if count == 0 or item_of(self._handles, count - 1) != <PyObject*>handle:
            return False
        self._handles.pop()
        return True

    cdef object keep_scheduled(self):
        cdef list kept = []
        cdef Py_ssize_t count = PyList_GET_SIZE(self._handles)
        cdef Py_ssize_t index
        cdef TimerHandle handle
        for index in range(count):
            handle = <TimerHandle>PyList_GET_ITEM(self._handles, index)
            if handle._owner is not None:
                self._keys[PyList_GET_SIZE(kept)] = self._keys[index]
                kept.append(handle)
        self._handles = kept
        index = (PyList_GET_SIZE(kept) + 2) // 4 - 1
        while index >= 0:
            self._sift_down(index)
            index -= 1

    cdef object clear(self):
        cdef list handles = self._handles
        cdef TimerHandle handle
        self._handles = []
        for handle in handles:
            handle._owner = None

    cdef void _sift_up(self, Py_ssize_t position) noexcept:
        cdef list handles = self._handles
        cdef Key* keys = self._keys
        cdef Key key = keys[position]
        cdef PyObject* item = item_of(handles, position)
        cdef Py_ssize_t above
        while position > 0:
            above = (position - 1) >> 2
            if not before(&key, &keys[above]):
                break
            keys[position] = keys[above]
            set_item(handles, position, item_of(handles, above))
            position = above
        keys[position] = key
        set_item(handles, position, item)

    cdef void _sift_down(self, Py_ssize_t position) noexcept:
        cdef list handles = self._handles
        cdef Py_ssize_t count = PyList_GET_SIZE(handles)
        cdef Key* keys = self._keys
        cdef Key key = keys[position]
        cdef PyObject* item = item_of(handles, position)
        cdef Py_ssize_t child, best, end
        while True:
            best = 4 * position + 1
            if best >= count:
                break
            end = best + 4 if best + 4 < count else count
            for child in range(best + 1, end):
                if before(&keys[child], &keys[best]):
                    best = child
            if not before(&keys[best], &key):
                break
            keys[position] = keys[best]
            set_item(handles, position, item_of(handles, best))
            position = best
        keys[position] = key
        set_item(handles, position, item)
