"""Memory that the kernel chooses from when data arrive: a ring of provided buffers.

A connection that waits has no memory of its own: the buffer is taken when there is something to
put into it. It is given back as soon as that has been copied, which is within the turn.

The kernel takes buffers in turn, so all that are on offer are used by and by. Few are, therefore:
they stay in the processor's cache. Whenever the kernel ran out of them (ENOBUFS) there are twice
as many, up to the limit; memory that was never on offer was never touched.
"""

from libc.errno cimport errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap,
)

from evenloop.engines.ring cimport CQE_BUFFER_SHIFT, Ring, ring_register

import os

cdef extern from *:
    """
    struct evenloop_buffer { uint64_t address; uint32_t length; uint16_t number, tail; };
    struct evenloop_buffers { uint64_t address; uint32_t entries; uint16_t group, flags;
                              uint64_t reserved[3]; };
    #define evenloop_publish(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    """
    ctypedef struct Buffer "struct evenloop_buffer":
        uint64_t address
        uint32_t length
        uint16_t number
        # Of the first one: the end of the ring.
        uint16_t tail
    ctypedef struct Buffers "struct evenloop_buffers":
        uint64_t address
        uint32_t entries
        uint16_t group
    void evenloop_publish(uint16_t* place, uint16_t value)

cdef enum:
    REGISTER_PBUF_RING = 22


cdef class Provided:
    """At most `most` buffers (a power of two) of `size` bytes for the requests of a ring."""

    def __init__(self, Ring ring, *, Py_ssize_t size=BUFFER_SIZE, int first=FIRST_BUFFERS,
                 int most=MOST_BUFFERS, int group=0):
        cdef Buffers what
        cdef int number
        self._ring = ring
        self.size = size
        self.most = most
        self.group = group
        # Shared, so that a fork copies nothing: the kernel goes by the pages, not by the address.
        self._shared = mmap(
            NULL, most * sizeof(Buffer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0
        )
        if self._shared == MAP_FAILED:
            self._shared = NULL
            raise MemoryError()
        self._memory = <char*>mmap(
            NULL, most * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        )
        if <void*>self._memory == MAP_FAILED:
            self._memory = NULL
            raise MemoryError()
        memset(&what, 0, sizeof(what))
        what.address = <uint64_t>self._shared
        what.entries = most
        what.group = group
        if ring_register(ring.fd, REGISTER_PBUF_RING, &what, 1) < 0:
            raise OSError(errno, f"no ring of buffers: {os.strerror(errno)}")
        for number in range(min(first, most)):
            self._publish(number)
        self.published = min(first, most)

    def __dealloc__(self):
        # The kernel writes here only while the ring is entered.
        if self._memory is not NULL:
            munmap(self._memory, self.most * self.size)
        if self._shared is not NULL:
            munmap(self._shared, self.most * sizeof(Buffer))

    cdef char* data(self, unsigned int flags):
        """Return where the data of a completion with these flags are."""
        return self._memory + <Py_ssize_t>(flags >> CQE_BUFFER_SHIFT) * self.size

    cdef object give_back(self, unsigned int flags):
        """Offer the buffer of a completion again."""
        self._publish(<int>(flags >> CQE_BUFFER_SHIFT))

    cdef object _publish(self, int number):
        cdef Buffer* buffers = <Buffer*>self._shared
        cdef Buffer* buffer = &buffers[self._tail & (self.most - 1)]
        buffer.address = <uint64_t>(self._memory + number * self.size)
        buffer.length = <uint32_t>self.size
        buffer.number = <uint16_t>number
        self._tail += 1
        evenloop_publish(&buffers[0].tail, self._tail)

    cpdef bint grow(self):
        """Offer twice as many; False if there are no more."""
        cdef int number
        cdef int before = self.published
        if before == self.most:
            return False
        self.published = min(2 * before, self.most)
        for number in range(before, self.published):
            self._publish(number)
        return True
