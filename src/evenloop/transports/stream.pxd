cimport cython

from evenloop._calls cimport call_none, call_one, copy_context
from evenloop.engines.engine cimport RECV, RECV_INTO, SEND, Engine, Op
from evenloop.scheduler cimport Scheduler
from evenloop.transports.base cimport BaseTransport, FlowControl
from evenloop.transports.feed cimport Feed


cdef enum:
    GATHERED = 64 * 1024
    PIECES = 256


@cython.final
cdef class Reader(Op):
    cdef StreamTransport transport


@cython.final
cdef class Writer(Op):
    cdef StreamTransport transport


cdef class StreamTransport(FlowControl):
    cdef readonly int _fd
    cdef public object _file
    cdef readonly object _sock
    cdef public object _server
    cdef public object _entry
    cdef Engine _engine
    cdef Reader _reader
    cdef Writer _writer
    cdef list _pending
    cdef Py_ssize_t _head
    cdef unsigned long long _turn
    cdef object _data_received
    cdef Feed _feed
    cdef public bint _eof
    cdef public bint _paused
    cdef bint _gathering
    cdef bint _begun
    cdef bint _copying
    cdef object _empty_waiter

    cdef object _take(
        self,
        Scheduler loop,
        object file,
        object protocol,
        object context,
        dict extra,
        object peer,
    )
    cpdef object _release(self)
    cdef object _start_reading(self)
    cdef object _stop_reading(self)
    @cython.locals(started=double)
    cdef object _deliver(self, bytes data)
    cdef object _delivered_into(self, Py_ssize_t count)
    cpdef object _ended(self)
    cdef object _acquire(self)
    cdef object _queue(self, bytes data)
    cdef object _send(self)
    @cython.locals(sent=Py_ssize_t)
    cdef bint _send_one(self, bytes data) except -1
    cdef object _sent(self, bint inside)
    @cython.locals(size=Py_ssize_t)
    cdef object _consume(self, Py_ssize_t count)
    cdef object _drained(self)


@cython.locals(transport=StreamTransport)
cpdef StreamTransport open_stream(Scheduler loop, object sock, object protocol, object peer)


# The halves of a stream without the price of a constructor's call.

cdef inline Reader new_reader(StreamTransport transport):
    cdef Reader op = <Reader>Reader.__new__(Reader)
    op.kind = RECV
    op.fd = transport._fd
    op.sock = transport._sock
    op.multishot = True
    op.transport = transport
    return op


cdef inline Writer new_writer(StreamTransport transport):
    cdef Writer op = <Writer>Writer.__new__(Writer)
    op.kind = SEND
    op.fd = transport._fd
    op.sock = transport._sock
    op.transport = transport
    return op
