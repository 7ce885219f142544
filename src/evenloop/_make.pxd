# Making handles without the argument tuple of a call: the classes themselves are called by the
# uncompiled core, which knows them by these names, too.

from evenloop._calls cimport copy_context, copy_variables
from evenloop.handles cimport Handle, ThreadSafeHandle, TimerHandle


cdef inline object _fill(Handle handle, object callback, tuple args, object loop, object context):
    handle._callback = callback
    handle._args = args
    handle._loop = loop
    handle._variables = context


cdef inline Handle new_handle(object callback, tuple args, object loop, object context):
    cdef Handle handle = <Handle>Handle.__new__(Handle)
    _fill(handle, callback, args, loop, copy_context() if context is None else context)
    return handle


# These may never run, or wait in great numbers: no context is made where it would be empty.

cdef inline TimerHandle new_timer(
    double when, long long order, object callback, tuple args, object loop, object context
):
    cdef TimerHandle handle = <TimerHandle>TimerHandle.__new__(TimerHandle)
    _fill(handle, callback, args, loop, copy_variables() if context is None else context)
    handle._when = when
    handle._order = order
    return handle


cdef inline ThreadSafeHandle new_thread_safe_handle(
    object callback, tuple args, object loop, object context, object lock
):
    cdef ThreadSafeHandle handle = <ThreadSafeHandle>ThreadSafeHandle.__new__(ThreadSafeHandle)
    _fill(handle, callback, args, loop, copy_variables() if context is None else context)
    handle._lock = lock
    return handle
