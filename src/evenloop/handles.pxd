cimport cython

from evenloop._calls cimport call_caught, copy_context, new_context


cdef class TimerOwner:
    cdef object discard(self, TimerHandle handle)


cdef class Handle:
    cdef public object _loop
    cdef public object _callback
    cdef public tuple _args
    cdef object _variables
    cdef public bint _cancelled
    cdef public object _source_traceback
    cdef str _repr
    cdef object __weakref__
    # What only some kinds need. Objects of one size share the freelist.
    cdef bint _running
    cdef readonly double _when
    cdef long long _order
    cdef TimerOwner _owner
    cdef object _lock
    cdef object _finished

    cdef object run(self)
    cpdef object cancel(self)
    cdef object _failed(self, BaseException exc)
    cdef object _report(self, BaseException exc)


cdef class TimerHandle(Handle):
    cpdef object cancel(self)
    cdef bint _before(self, TimerHandle other)


cdef class ThreadSafeHandle(Handle):
    cdef object run(self)
    cpdef object cancel(self)
    cdef object _wait(self)
