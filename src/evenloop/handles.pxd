cimport cython

from evenloop._calls cimport call_args, copy_context


cdef class TimerOwner:
    cdef object discard(self, TimerHandle handle)


cdef class Handle:
    cdef public object _loop
    cdef public object _callback
    cdef public tuple _args
    cdef public object _context
    cdef public bint _cancelled
    cdef public object _source_traceback
    cdef object _repr
    cdef object __weakref__

    cdef object run(self)
    cpdef object cancel(self)
    cdef object _failed(self, BaseException exc)


cdef class TimerHandle(Handle):
    cdef readonly double _when
    cdef long long _order
    cdef TimerOwner _owner

    cpdef object cancel(self)
    cdef bint _before(self, TimerHandle other)


cdef class ThreadSafeHandle(Handle):
    cdef object _lock
    cdef bint _running
    cdef object _finished

    cdef object run(self)
    cpdef object cancel(self)
    cdef object _wait(self)
