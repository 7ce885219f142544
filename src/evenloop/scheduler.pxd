cimport cython

from evenloop._calls cimport copy_context
from evenloop._queues cimport HandleQueue, put, show_shared, size, take
from evenloop.engines.engine cimport Engine
from evenloop._make cimport new_handle, new_thread_safe_handle, new_timer
from evenloop.handles cimport Handle, TimerHandle
from evenloop.timers cimport TimerHeap, pending


cdef bint _FREE_THREADED
cdef bint _LOCKED_HANDLES
cdef double _NEVER
cdef double LONGEST_BETWEEN_POLLS
cdef Py_ssize_t CALLBACKS_BETWEEN_POLLS
cdef Py_ssize_t CALLBACKS_BETWEEN_LOOKS

cdef double _seconds(str name, object value) except? -1.0


cdef class Flushable:
    cdef object __weakref__

    cdef object flush(self)


cdef class Scheduler:
    cdef readonly Engine engine
    cdef readonly unsigned long long turn
    cdef public double slow_callback_duration
    cdef HandleQueue _ready
    cdef HandleQueue _due
    cdef list _incoming
    cdef TimerHeap _timers
    cdef list _unsent
    cdef bint _own_clock
    cdef object _exception_handler
    cdef object _task_factory
    cdef long long _order
    cdef public object _thread_id
    cdef Py_ssize_t _credit
    cdef Py_ssize_t _look_at
    cdef Py_ssize_t _unlooked
    cdef double _looked
    cdef double _polled
    cdef bint _asleep
    cdef public bint _debug
    cdef public bint _stopping
    cdef readonly bint _closed

    @cython.locals(handle=Handle)
    cdef Handle schedule(self, object callback, tuple args, object context)
    cdef object flush_later(self, Flushable item)
    cdef object poll_soon(self)
    cdef double _now(self) except? -1.0
    @cython.locals(handle=TimerHandle)
    cdef TimerHandle _call_at(
        self, str method, double when, object callback, tuple args, object context
    )
    @cython.locals(when=double, delay=double)
    cdef double _patience(self) except? -2.0
    @cython.locals(count=Py_ssize_t, index=Py_ssize_t)
    cdef object _take_incoming(self)
    @cython.locals(item=Flushable, index=Py_ssize_t)
    cdef object _flush(self)
    cpdef object _run_turns(self)
    cdef bint _busy_long(self) except -1
    @cython.locals(arrived=bint)
    cdef object _run_turn(self)
    @cython.locals(count=Py_ssize_t, handle=Handle)
    cdef object _run_all(self, HandleQueue queue)
    cpdef object _run_now(self, Handle handle)
    cdef object _run_timed(self, Handle handle)
