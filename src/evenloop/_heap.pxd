# The C twins of heapq's functions for a list of TimerHandles: same algorithm, no comparisons
# through Python objects. The uncompiled core uses heapq itself.

from evenloop.handles cimport TimerHandle


cdef inline void _sift_up(list heap, Py_ssize_t position):
    cdef TimerHandle item = <TimerHandle>heap[position]
    cdef TimerHandle parent
    cdef Py_ssize_t above
    while position > 0:
        above = (position - 1) >> 1
        parent = <TimerHandle>heap[above]
        if not item._before(parent):
            break
        heap[position] = parent
        position = above
    heap[position] = item


cdef inline void _sift_down(list heap, Py_ssize_t position):
    cdef Py_ssize_t size = len(heap)
    cdef TimerHandle item = <TimerHandle>heap[position]
    cdef Py_ssize_t child = 2 * position + 1
    while child < size:
        if child + 1 < size and (<TimerHandle>heap[child + 1])._before(<TimerHandle>heap[child]):
            child += 1
        if not (<TimerHandle>heap[child])._before(item):
            break
        heap[position] = heap[child]
        position = child
        child = 2 * position + 1
    heap[position] = item


cdef inline object heappush(list heap, TimerHandle item):
    heap.append(item)
    _sift_up(heap, len(heap) - 1)


cdef inline TimerHandle heappop(list heap):
    cdef TimerHandle last = <TimerHandle>heap.pop()
    cdef TimerHandle first
    if not heap:
        return last
    first = <TimerHandle>heap[0]
    heap[0] = last
    _sift_down(heap, 0)
    return first


cdef inline object heapify(list heap):
    cdef Py_ssize_t position = len(heap) // 2 - 1
    while position >= 0:
        _sift_down(heap, position)
        position -= 1
