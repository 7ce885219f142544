cimport cython

from evenloop._calls cimport call_none, call_one, copy_context
from evenloop.engines.engine cimport RECV, RECV_INTO, Op
from evenloop.scheduler cimport Scheduler
from evenloop.transports.feed cimport Feed
from evenloop.transports.outgoing cimport Outgoing


@cython.final
cdef class Reader(Op):
    cdef StreamTransport transport


cdef class StreamTransport(Outgoing):
    cdef public object _file
    cdef public object _server
    cdef public object _entry
    cdef Reader _reader
    cdef object _data_received
    cdef Feed _feed
    cdef public bint _paused
    cdef bint _begun

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


@cython.locals(transport=StreamTransport)
cpdef StreamTransport open_stream(Scheduler loop, object sock, object protocol, object peer)


# Without the price of a constructor's call.
cdef inline Reader new_reader(StreamTransport transport):
    cdef Reader op = <Reader>Reader.__new__(Reader)
    op.kind = RECV
    op.fd = transport._fd
    op.sock = transport._sock
    op.multishot = True
    op.transport = transport
    return op
