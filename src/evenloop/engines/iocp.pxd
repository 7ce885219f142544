cimport cython

from evenloop.engines.afd cimport AfdEngine, Note
from evenloop.engines.engine cimport ACCEPT, RECV, RECV_INTO, RECVFROM, SEND, Op
from evenloop.engines.overlapped cimport Accepting, ReceivingFrom
from evenloop.engines.ports cimport base_socket
from evenloop.engines.readiness cimport Slot


cdef class IocpEngine(AfdEngine):
    @cython.locals(kind=int, slot=Slot, note=Note)
    cpdef bint start(self, Op op) except -1
    @cython.locals(note=Note)
    cdef Note _on_port(self, Slot slot)
    @cython.locals(note=Note, datagrams=ReceivingFrom)
    cdef bint _start_datagrams(self, Slot slot, Op op) except -1
    @cython.locals(note=Note, accepting=Accepting)
    cdef bint _start_accepting(self, Slot slot, Op op) except -1
