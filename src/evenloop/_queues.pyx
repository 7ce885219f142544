# cython: nonecheck=False
"""The C twins of what `_queues.py` takes from the standard library.

Beside the list of the heap lies an array of what timers are compared by: sifting touches that and
moves pointers, and looks into no handle. A node has four children, whose keys fill one cache line.

Where there are many, a handle is hidden from the garbage collector while it is here, and shown again
when it leaves, if anybody else holds it: pending timers were young objects to look through.
Instead the queue shows the collector what its handles refer to, as if that were its own. So a
loop that was dropped is collected with all that waits on it. Should somebody still hold one of its
handles then, its contents look like garbage at first; but closing the loop, or the end of
the queue itself, shows the handle, and the collector looks again after finalizers have run.
"""

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject, PyTypeObject, traverseproc, visitproc
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy

from evenloop.handles cimport Handle, TimerHandle

cdef extern from "<math.h>":
    double INFINITY

cdef enum:
    SMALLEST = 64
    CACHE_LINE = 64


cdef int visit_contents(list handles, Py_ssize_t index, visitproc visit, void* arg) noexcept:
    """Show the collector what a hidden handle refers to."""
    cdef Handle handle = <Handle>item_of(handles, index)
    cdef int outcome
    if is_seen(handle):
        return 0
    outcome = visit(<PyObject*>handle._callback, arg)
    if outcome == 0:
        outcome = visit(<PyObject*>handle._args, arg)
    if outcome == 0:
        outcome = visit(<PyObject*>handle._variables, arg)
    if outcome == 0:
        outcome = visit(<PyObject*>handle._loop, arg)
    if outcome == 0:
        outcome = visit(<PyObject*>handle._owner, arg)
    return outcome


cdef class HandleQueue:
    """A ring of handles; as much of collections.deque as the scheduler needs."""

    def __cinit__(self):
        self._items = [None] * SMALLEST
        self._mask = SMALLEST - 1

    def __len__(self):
        return self._count

    def __del__(self):
        self.clear()

    cdef object clear(self):
        cdef list items = [None] * SMALLEST
        cdef Py_ssize_t index
        for index in range(self._count):
            show(<Handle>item_of(self._items, (self._first + index) & self._mask))
        self._items, items = items, self._items
        self._mask = SMALLEST - 1
        self._first = self._count = 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t size = self._mask + 1
        cdef list items = [None] * (2 * size)
        cdef Py_ssize_t index, place
        cdef PyObject* none
        if self._mask + 1 != size:
            # To make the list may have run a finalizer or another thread, which did this already.
            return 0
        for index in range(size):
            place = (self._first + index) & self._mask
            none = item_of(items, index)
            set_item(items, index, item_of(self._items, place))
            set_item(self._items, place, none)
        self._items, items = items, self._items
        self._mask = 2 * size - 1
        self._first = 0
        return 0


cdef inline bint before(Key* one, Key* other) noexcept:
    return one.when < other.when or (one.when == other.when and one.order < other.order)


cdef class Heap:
    """A heap of timers, ordered by keys beside them."""

    def __cinit__(self):
        self._handles = []

    def __del__(self):
        self.clear()

    def __dealloc__(self):
        PyMem_Free(self._block)

    def __len__(self):
        return len(self._handles)

    cdef double when(self) noexcept:
        return self._keys[0].when if PyList_GET_SIZE(self._handles) > 0 else INFINITY

    cdef TimerHandle first(self):
        return <TimerHandle>PyList_GET_ITEM(self._handles, 0)

    cdef int push(self, TimerHandle handle) except -1:
        cdef Py_ssize_t position = PyList_GET_SIZE(self._handles)
        if position == self._room:
            self._grow()
        self._handles.append(handle)
        if position >= SEEN:
            hide(handle)
        self._keys[position].when = handle._when
        self._keys[position].order = handle._order
        self._sift_up(position)
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t room = 2 * self._room + SMALLEST
        cdef void* block = PyMem_Malloc(room * sizeof(Key) + CACHE_LINE)
        cdef Key* keys
        if block is NULL:
            raise MemoryError()
        # The second key is the first of four children: a cache line begins there.
        keys = <Key*>((<uintptr_t>block + sizeof(Key) + CACHE_LINE - 1) & -CACHE_LINE) - 1
        if self._block is not NULL:
            memcpy(keys, self._keys, self._room * sizeof(Key))
            PyMem_Free(self._block)
        self._block = block
        self._keys = keys
        self._room = room
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
        show(handle)
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
            else:
                show(handle)
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
            show(handle)

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


# The types' own functions go on to show the list; the handles that it holds are hidden.
cdef traverseproc traverse_queue = (<PyTypeObject*>HandleQueue).tp_traverse
cdef traverseproc traverse_heap = (<PyTypeObject*>Heap).tp_traverse


cdef int see_through_queue(PyObject* self, visitproc visit, void* arg) noexcept:
    cdef HandleQueue queue = <HandleQueue>self
    cdef int outcome = traverse_queue(self, visit, arg)
    cdef Py_ssize_t index
    for index in range(queue._count):
        if outcome != 0:
            break
        outcome = visit_contents(queue._items, (queue._first + index) & queue._mask, visit, arg)
    return outcome


cdef int see_through_heap(PyObject* self, visitproc visit, void* arg) noexcept:
    cdef list handles = (<Heap>self)._handles
    cdef int outcome = traverse_heap(self, visit, arg)
    cdef Py_ssize_t index
    for index in range(PyList_GET_SIZE(handles)):
        if outcome != 0:
            break
        outcome = visit_contents(handles, index, visit, arg)
    return outcome


if EVENLOOP_HIDES:
    (<PyTypeObject*>HandleQueue).tp_traverse = <traverseproc>see_through_queue
    (<PyTypeObject*>Heap).tp_traverse = <traverseproc>see_through_heap
