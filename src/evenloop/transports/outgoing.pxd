cimport cython

from evenloop.engines.engine cimport SEND, Engine, Op
from evenloop.transports.base cimport FlowControl


cdef enum:
    GATHERED = 64 * 1024
    PIECES = 256


@cython.final
cdef class Writer(Op):
    cdef Outgoing transport


cdef class Outgoing(FlowControl):
    cdef readonly int _fd
    cdef readonly object _sock
    cdef Engine _engine
    cdef Writer _writer
    cdef list _pending
    cdef Py_ssize_t _head
    cdef unsigned long long _turn
    cdef public bint _eof
    cdef bint _gathering
    cdef bint _copying
    cdef object _empty_waiter

    cdef object _send_to(self, int fd, object sock)
    cdef object _queue(self, bytes data)
    cdef object _send(self)
    @cython.locals(sent=Py_ssize_t)
    cdef bint _send_one(self, bytes data) except -1
    cdef object _sent(self, bint inside)
    @cython.locals(size=Py_ssize_t)
    cdef object _consume(self, Py_ssize_t count)
    cdef object _drained(self)


# Without the price of a constructor's call.
cdef inline Writer new_writer(Outgoing transport):
    cdef Writer op = <Writer>Writer.__new__(Writer)
    op.kind = SEND
    op.fd = transport._fd
    op.sock = transport._sock
    op.transport = transport
    return op
