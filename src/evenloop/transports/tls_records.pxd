cimport cython

from evenloop.transports.feed cimport Feed

cdef int UNWRAPPED, HANDSHAKE, WRAPPED, FLUSHING, SHUTDOWN
cdef int APP_NEW, APP_CONNECTED, APP_EOF, APP_LOST
cdef int MORE, NOTHING, END
cdef Py_ssize_t RECORD_SIZE, WRITE_SLICE, DELIVERY_SIZE, WARN_AFTER_LOST_WRITES


cdef class TLSRecords:
    cdef object __weakref__
    cdef readonly object _loop
    cdef readonly object _transport
    cdef object _lower_write
    cdef readonly int _state
    cdef int _app_state
    cdef object _incoming
    cdef object _outgoing
    cdef object _feed
    cdef object _take
    cdef public object _sslobj
    cdef object _decrypt
    cdef object _encrypt
    cdef object _undelivered
    cdef dict _extra

    cdef bint _eof
    cdef bint _app_closed
    cdef bint _partial
    cdef bint _corked
    cdef Py_ssize_t _corked_bytes
    cdef readonly bint _app_reading_paused  # by the name asyncio has for it
    cdef bint _lower_reading_paused
    cdef readonly bint _app_writing_paused
    cdef bint _lower_writing_paused
    cdef object _backlog
    cdef Py_ssize_t _backlog_bytes
    cdef Py_ssize_t _backlog_done
    cdef Py_ssize_t _lost_writes
    cdef Py_ssize_t _write_high
    cdef Py_ssize_t _write_low
    cdef Py_ssize_t _read_high
    cdef Py_ssize_t _read_low

    cdef readonly object _app_transport
    cdef readonly object _app_protocol
    cdef bint _app_buffered
    cdef Feed _app_feed

    cdef object _fatal_error(self, object exc, str message)
    cdef object _abort(self, object exc)
    cdef object _app_close(self)
    cdef object _peer_closed(self)
    cdef object _do_shutdown(self)

    cdef object _set_app_protocol(self, object protocol)
    cdef object _get_extra_info(self, object name, object default)
    cdef bint _is_lower_closing(self) except -1
    cdef object _use_sslobj(self)

    @cython.locals(found=int)
    cdef object _do_read(self)
    @cython.locals(found=int, total=Py_ssize_t, want=Py_ssize_t, size=Py_ssize_t)
    cdef int _read_bytes(self) except -1
    @cython.locals(found=int, room=Py_ssize_t, filled=Py_ssize_t, size=Py_ssize_t)
    cdef int _read_into_buffer(self) except -1
    cdef object _discard(self)
    cdef object _resume_reading(self)
    cdef object _control_reading(self)
    cdef object _set_read_limits(self, object high, object low)
    cdef Py_ssize_t _read_size(self) except -1

    @cython.locals(size=Py_ssize_t, done=Py_ssize_t)
    cdef object _app_write(self, object data)
    cdef object _enqueue(self, object data)
    cdef object _flush(self)
    @cython.locals(start=Py_ssize_t, left=Py_ssize_t, done=Py_ssize_t)
    cdef object _encrypt_backlog(self)
    cdef object _send(self)
    @cython.locals(size=Py_ssize_t)
    cdef object _control_writing(self)
    cdef object _call_flow_control(self, str name)
    cdef object _set_write_limits(self, object high, object low)
    cdef Py_ssize_t _write_size(self) except -1
