cimport cython

from evenloop._calls cimport call_none, call_one
from evenloop.engines.engine cimport ACCEPT, Op
from evenloop.scheduler cimport Scheduler
from evenloop.transports.stream cimport StreamTransport


@cython.final
cdef class Acceptor(Op):
    cdef readonly object server
    cdef readonly Scheduler loop
    cdef set clients
    cdef object discard
    cdef public object retry
    cdef object inherits

    @cython.locals(transport=StreamTransport)
    cdef object _welcome(self, object connection, object address)
    cdef object _see_to_delay(self, object connection)
