cimport cython

from evenloop.engines.engine cimport RECV_INTO, Op
from evenloop.engines.ports cimport (
    DONE, ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_MORE_DATA, PENDING, Port, Request,
    WSAEMSGSIZE,
)


cdef enum:
    SMALL = 8 * 1024
    LARGE = 256 * 1024


@cython.final
cdef class Receiving(Request):
    cdef size_t stream
    cdef bint is_socket
    cdef bint skips
    cdef Op op
    cdef object held
    cdef object fault
    cdef Py_ssize_t size
    cdef bint listed

    @cython.locals(head=Op)
    cdef bint start(self, Op op) except -1
    @cython.locals(head=Op)
    cdef bint cancel(self, Op op) except -1
    cdef bint has_news(self)
    cdef object enlist(self)
    @cython.locals(code=int)
    cdef object arm(self)
    @cython.locals(count=Py_ssize_t)
    cdef object take(self, int code)
    @cython.locals(size=Py_ssize_t, room=Py_ssize_t)
    cdef object give(self, Op op)
    cdef object hand_over(self, Op op)
    cdef object let_all_go(self)


@cython.final
cdef class ReadyPipe(Request):
    cdef Op op

    @cython.locals(op=Op)
    cdef bint start(self) except -1


@cython.final
cdef class Sending(Request):
    cdef Op op
    cdef object note

    @cython.locals(code=int)
    cdef bint start(self, Op op, size_t handle, bint is_socket, bint skips) except -1
    cdef object outcome(self, Op op, int code)
    @cython.locals(op=Op)
    cdef object give_up(self)


@cython.final
cdef class ReceivingFrom(Request):
    cdef size_t stream
    cdef bint skips
    cdef Op op
    cdef object held
    cdef object fault
    cdef bint listed

    cdef object start(self, Op op)
    @cython.locals(op=Op, code=int)
    cdef object go_on(self)
    cdef object take(self, int code)
    cdef bint cancel(self, Op op) except -1
    cdef object let_all_go(self)


@cython.final
cdef class Accepting(Request):
    cdef object listener
    cdef size_t stream
    cdef bint skips
    cdef Op op
    cdef object connection
    cdef object held
    cdef object fault
    cdef bint listed

    cdef object start(self, Op op)
    cdef object go_on(self)
    @cython.locals(code=int)
    cdef object arm(self)
    cdef object take(self, int code)
    cdef object take_another(self)
    cdef bint cancel(self, Op op) except -1
    cdef object let_all_go(self)
