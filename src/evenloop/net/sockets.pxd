from evenloop.engines.engine cimport (
    ACCEPT, CONNECT, Op, RECV, RECV_INTO, RECVFROM, SEND, SENDTO,
)


cdef class SocketOp(Op):
    cdef public object future


cdef class SendAll(SocketOp):
    cdef public object rest
    cdef public object engine

    cdef bint advance(self) except -1
