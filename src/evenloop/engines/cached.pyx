"""The compiled twin of `cached.py`: see there."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno

import os

__all__ = ["OFFERED", "read_cached"]

cdef extern from "Python.h":
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** data, Py_ssize_t size) except -1
    char* content "PyBytes_AS_STRING"(PyObject* data)

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    struct evenloop_piece { void *start; size_t size; };

    #ifndef SYS_preadv2
    #define SYS_preadv2 (-1)
    #endif

    /* The system call itself: older C libraries lack it. RWF_NOWAIT is 8. */
    static ssize_t evenloop_read_cached(int fd, void *start, size_t size, long long offset)
    {
        struct evenloop_piece piece = { start, size };
        unsigned long low = (unsigned long)offset;
        unsigned long high = sizeof(long) < 8 ? (unsigned long)((uint64_t)offset >> 32) : 0;
        if (offset == -1)
            high = sizeof(long) < 8 ? (unsigned long)-1 : 0;
        return syscall(SYS_preadv2, fd, &piece, 1UL, low, high, 8);
    }
    """
    ssize_t evenloop_read_cached(int fd, void* start, size_t size, long long offset) nogil

cdef enum:
    # From so many bytes on the copy takes longer than another thread's waiting is worth.
    LARGE = 65536

#: Whether this system can be asked so.
OFFERED = True


cpdef object read_cached(int fd, Py_ssize_t size, long long offset):
    """Read at most `size` bytes at `offset`; None if that would wait. See `cached.py`."""
    cdef PyObject* data = NULL
    cdef ssize_t count
    cdef void* start
    cdef int code
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")
    data = new_bytes(NULL, size)
    start = content(data)
    if size >= LARGE:
        with nogil:
            count = evenloop_read_cached(fd, start, size, offset)
    else:
        count = evenloop_read_cached(fd, start, size, offset)
    if count < 0:
        code = errno
        Py_XDECREF(data)
        if code == EAGAIN or code == EINTR:
            return None
        raise OSError(code, os.strerror(code))
    if count != size:
        # On failure the object is gone already.
        _PyBytes_Resize(&data, count)
    result = <object>data
    Py_XDECREF(data)
    return result
