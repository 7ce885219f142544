from evenloop.transports.tls_records cimport TLSRecords
from evenloop.transports.tls_transport cimport TLSTransport

cdef int UNWRAPPED, HANDSHAKE, WRAPPED, FLUSHING, SHUTDOWN
cdef int APP_NEW, APP_CONNECTED, APP_EOF, APP_LOST
cdef Py_ssize_t READ_SIZE, SPARE_BUFFERS
cdef list _spare_buffers


cdef class TLSProtocol(TLSRecords):
    cdef object _handshake_timeout
    cdef object _shutdown_timeout
    cdef object _waiter
    cdef object _timer
    cdef Py_ssize_t _unsent
    cdef double _started
    cdef object _error
    cdef object _buffer

    cdef object _do_handshake(self)
    cdef object _handshake_done(self)
    cdef object _handshake_failed(self, object exc)
    cdef object _wake_waiter(self, object exc)
    cdef object _cancel_timer(self)
    cdef object _say_goodbye(self)
    cdef object _expect_progress(self)
    cdef Py_ssize_t _unsent_bytes(self) except -1
    cdef object _app_transport_closed(self)
    cdef object _call_eof_received(self)
