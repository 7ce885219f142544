cimport cython

from evenloop._calls cimport call_args, call_one
from evenloop.engines.engine cimport Engine, Op, RECVFROM, SENDTO
from evenloop.scheduler cimport Scheduler
from evenloop.transports.base cimport FlowControl


@cython.final
cdef class Receiver(Op):
    cdef DatagramTransport transport


@cython.final
cdef class Sender(Op):
    cdef DatagramTransport transport


cdef class DatagramTransport(FlowControl):
    cdef readonly int _fd
    cdef readonly object _sock
    cdef readonly object _address
    cdef Engine _engine
    cdef Receiver _receiver
    cdef Sender _sender
    cdef object _pending
    cdef object _datagram_received
    cdef bint _connected
    cdef bint _copying

    @cython.locals(result=tuple)
    cdef object _received(self)
    cdef bint _start_sending(self, object data, object address) except -1
    cdef object _take_error(self)
    @cython.locals(finished=bint)
    cpdef object sendto(self, object data, object addr=*)
    cdef object _sent(self)
    cdef object _drained(self)
    cdef object _report(self, object exc, str method)
