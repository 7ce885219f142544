cimport cython

from evenloop.engines.engine cimport (
    ACCEPT, CONNECT, Op, RECV, RECV_INTO, RECVFROM, SEND, SENDTO,
)
from evenloop.scheduler cimport Scheduler

cdef enum:
    NEW = 0
    WAITING = 1
    READY = 2
    OVER = 3
    BEGUN = 4


cdef class Request(Op):
    cdef Scheduler loop
    cdef object argument
    cdef object future
    cdef int state

    cdef object _wait(self)
    cdef object _withdraw(self)
    cdef object _raise(self)
    cdef bint _prepare(self) except -1
    @cython.locals(finished=bint)
    cdef bint _start(self) except -1


cdef inline Request new_request(Scheduler loop, int kind, object sock):
    cdef Request request = <Request>Request.__new__(Request)
    request.loop = loop
    request.kind = kind
    request.sock = sock
    return request


@cython.locals(request=Request, fd=int)
cpdef Request connect(Scheduler loop, object sock, object address)


cpdef int check(Scheduler loop, object sock) except -1


cdef class SendAll(Request):
    cdef bint _prepare(self) except -1
    cdef bint _start(self) except -1
    cdef bint _advance(self) except -1
