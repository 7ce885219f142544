"""Requests on files, through a ring: reads, writes and fsyncs at an offset.

What lies in the page cache is read while the request is submitted; the rest waits for the disk
with no thread, or in a thread of the kernel's. All that is asked for in a turn goes in one call.
The buffer is held until the kernel is done with it, whoever has lost interest.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINTR
from libc.stdint cimport uint64_t

from evenloop.engines.engine cimport READ_FILE, SYNC_FILE, Op
from evenloop.engines.ring cimport OP_FSYNC, OP_READ, OP_WRITE, Request, Ring, Sqe

import os

cdef extern from "<errno.h>":
    enum:
        ECANCELED

# The kernel moves no more at a time.
cdef Py_ssize_t LARGEST = 0x7ffff000


cdef class FileRequest(Request):
    """One request on a file, and its buffer."""

    def __dealloc__(self):
        self.let_go()

    cdef object submit(self):
        """Have the kernel begin."""
        cdef Op op = self.op
        cdef Sqe* sqe = self.files._ring.prepare(self, 0)
        sqe.fd = op.fd
        if op.kind == SYNC_FILE:
            sqe.opcode = OP_FSYNC
            return
        sqe.opcode = OP_READ if op.kind == READ_FILE else OP_WRITE
        sqe.address = <uint64_t>self.view.buf
        sqe.length = <unsigned int>min(self.view.len, LARGEST)
        sqe.offset = <uint64_t>op.offset

    cdef object arrived(self, int role, int result, unsigned int flags):
        cdef Op op = self.op
        if result == -EINTR or (
            result == -ECANCELED and not self.withdrawn and not self.files._closed
        ):
            # Nothing was done: a signal came, or the thread that asked has ended.
            self.submit()
            return
        self.let_go()
        self.op = None
        del self.files._flying[op]
        op.active = False
        if self.files._closed:
            return
        if result < 0:
            op.error = OSError(-result, os.strerror(-result))
        else:
            op.result = result
        op.complete()

    cdef object let_go(self):
        if self.held:
            self.held = False
            PyBuffer_Release(&self.view)


cdef class RingFiles:
    """The requests on files of one engine."""

    def __init__(self, Ring ring):
        self._ring = ring
        self._flying = {}

    cdef bint start(self, Op op) except -1:
        """Begin a request; it is never finished at once."""
        cdef FileRequest request = FileRequest()
        request.files = self
        request.op = op
        op.result = op.error = None
        if op.kind != SYNC_FILE:
            PyObject_GetBuffer(
                op.buffer, &request.view, PyBUF_WRITABLE if op.kind == READ_FILE else PyBUF_SIMPLE
            )
            request.held = True
        request.submit()
        self._flying[op] = request
        op.active = True
        return False

    cdef object cancel(self, Op op):
        """Ask for the end of a request; it completes with what became of it."""
        cdef FileRequest request = self._flying[op]
        request.withdrawn = True
        self._ring.cancel(request, 0)

    cdef object move(self, Ring ring):
        """Go on with another ring: what was in flight is submitted again."""
        cdef FileRequest request
        self._ring = ring
        for request in self._flying.values():
            request.submit()

    cdef list abandon(self):
        """Return the ops in flight, with an error: in a forked child they are the parent's."""
        cdef Op op
        cdef list lost = list(self._flying)
        self._flying.clear()
        for op in lost:
            op.active = False
            op.error = OSError(ECANCELED, os.strerror(ECANCELED))
        return lost

    cdef object close(self):
        """Complete nothing any more; the ring waits for the kernel to be done."""
        self._closed = True
