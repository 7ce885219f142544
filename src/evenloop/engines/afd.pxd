cimport cython

from evenloop.engines.engine cimport EXIT, POLL_READ, RECV, RECV_INTO, RECVFROM, SEND, Op
from evenloop.engines.exits cimport Exit
from evenloop.engines.overlapped cimport (
    Accepting, ReadyPipe, Receiving, ReceivingFrom, Sending,
)
from evenloop.engines.ports cimport (
    AFD_ABORT, AFD_ACCEPT, AFD_CONNECT_FAIL, AFD_DISCONNECT, AFD_LOCAL_CLOSE, AFD_RECEIVE,
    AFD_SEND, ERROR_INVALID_HANDLE, Port, Request, base_socket, close_handle, is_socket,
    open_poller, skip_port_when_done,
)
from evenloop.engines.readiness cimport READABLE, WRITABLE, ReadinessEngine, Slot, wanted_by


@cython.final
cdef class Group:
    cdef size_t handle
    cdef int sockets


@cython.final
cdef class Poll(Request):
    cdef AfdEngine engine
    cdef Slot slot
    cdef int bit
    cdef bint cancelled


@cython.final
cdef class Note:
    cdef size_t base
    cdef Group group
    cdef Poll reading
    cdef Poll writing
    cdef int joined
    cdef bint skips
    cdef Receiving receiving
    cdef public list sends
    cdef public Sending spare
    cdef ReadyPipe ready
    cdef ReceivingFrom datagrams
    cdef Accepting accepting
    cdef list exits


cdef class AfdEngine(ReadinessEngine):
    cdef readonly Port port
    cdef list _groups
    cdef list _every_group
    cdef list _arrived
    cdef Py_ssize_t _position
    cdef object _receiver
    cdef object _sender
    cdef object _blocking
    cdef object _alarm
    cdef bint _alarm_known
    cdef double _alarm_time

    @cython.locals(note=Note)
    cpdef object update(self, Slot slot, int wanted)
    @cython.locals(group=Group, code=int)
    cdef object _look_up(self, Note note, size_t handle)
    @cython.locals(note=Note)
    cdef Slot _renewed(self, Slot slot)
    @cython.locals(poll=Poll, group=Group, send=Sending, exit=Exit)
    cdef object _drop(self, Note note)
    @cython.locals(code=int)
    cdef object _put_up(self, Note note, Poll poll, int events)
    cdef object _take_down(self, Poll poll)
    @cython.locals(slot=Slot, bit=int, events=int, code=int)
    cdef object _polled(self, Poll poll)
    cpdef bint start(self, Op op) except -1
    @cython.locals(slot=Slot, note=Note, ready=ReadyPipe)
    cdef bint _start_on_handle(self, Op op) except -1
    @cython.locals(note=Note, exit=Exit)
    cdef bint _start_exit(self, Slot slot, Op op) except -1
    cpdef bint attempt(self, Op op) except -1
    cdef bint _attempt_part(self, Op op, object piece) except -1
    @cython.locals(count=Py_ssize_t)
    cdef bint _attempt_datagram(self, Op op) except -1
    cdef bint _join(self, Note note, size_t handle, bint skips=*) except -1
    @cython.locals(receiving=Receiving, send=Sending)
    cdef bint _start_stream(self, Note note, Op op) except -1
    @cython.locals(note=Note)
    cpdef object cancel(self, Op op)
    @cython.locals(send=Sending, ready=ReadyPipe, exit=Exit)
    cdef bint _cancel_on_port(self, Note note, Op op) except -1
    cpdef object forget(self, int fd)
    @cython.locals(slot=Slot)
    cpdef object adopt(self, int fd, object owner)
    @cython.locals(port=Port, request=Request, count=int)
    cpdef bint wait(self, double timeout) except -1
    cdef bint _has_news(self) except -1
    @cython.locals(deadline=double, count=int, milliseconds=long)
    cdef int _wait_until(self, double timeout) except -1
    @cython.locals(now=double)
    cdef bint _set_alarm(self, double deadline, double timeout) except -1
    @cython.locals(arrived=list, request=Request)
    cpdef object deliver(self)
    cpdef object wake(self)
    @cython.locals(slot=Slot, group=Group, count=int)
    cpdef object close(self)
