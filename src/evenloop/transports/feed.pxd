cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memchr


cdef extern from *:
    """
    /* Of bytes or a bytearray, nothing else. */
    #define EVENLOOP_SIZE(data) Py_SIZE(data)
    #define EVENLOOP_MEMORY(data) \\
        (PyBytes_CheckExact(data) ? PyBytes_AS_STRING(data) : PyByteArray_AS_STRING(data))
    """
    Py_ssize_t size_of "EVENLOOP_SIZE"(object data)
    char* EVENLOOP_MEMORY(object data)
    Py_ssize_t PyNumber_AsSsize_t(object number, void* exception) except? -1


@cython.final
cdef class Feed:
    cdef public object _loop
    cdef public object _transport
    cdef public object _waiter
    cdef public object _exception
    cdef public object _owner
    cdef public Py_ssize_t _limit
    cdef public bint _eof
    cdef public bint _paused
    cdef object _data
    cdef Py_ssize_t _start
    cdef Py_ssize_t _searched
    cdef object _sought
    cdef bint _exposed
    cdef bint _stuck

    @cython.locals(size=Py_ssize_t)
    cpdef object put(self, object data)
    cdef object _append(self, object data)
    cdef object _wake(self)
    @cython.locals(place=Py_ssize_t, size=Py_ssize_t)
    cpdef object line(self, bint waited)
    @cython.locals(place=Py_ssize_t, size=Py_ssize_t, length=Py_ssize_t)
    cpdef object until(self, object separator, bint waited)
    @cython.locals(wanted=Py_ssize_t, size=Py_ssize_t)
    cpdef object some(self, object count, bint waited)
    @cython.locals(wanted=Py_ssize_t)
    cpdef object exactly(self, object count, bint waited)
    cpdef object wait(self, object name)
    @cython.locals(start=Py_ssize_t, end=Py_ssize_t)
    cdef object _consume(self, Py_ssize_t count)
    cdef object _resume(self)
    cdef object _not_found(self, object separator, Py_ssize_t searched)
    cdef Py_ssize_t _unsearched(self, object separator)
    @cython.locals(whole=Py_ssize_t)
    cdef object _take(self, Py_ssize_t count)


cdef inline Py_ssize_t clipped(object number) except? -1:
    return PyNumber_AsSsize_t(number, NULL)


cdef inline object piece_of(object data, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(EVENLOOP_MEMORY(data) + start, end - start)


cdef inline Py_ssize_t find_newline(object data, Py_ssize_t start):
    cdef char* memory = EVENLOOP_MEMORY(data)
    cdef char* place
    cdef Py_ssize_t size = size_of(data)
    if start >= size:
        return -1
    place = <char*>memchr(memory + start, 10, size - start)
    return -1 if place is NULL else place - memory
