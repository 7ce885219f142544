"""The requests of a stream in C, for the readiness engines of POSIX systems.

`recv`, `read`, `send` and `sendmsg` never block here (sockets are told so by a flag, every other
descriptor is non-blocking), so the GIL stays held: giving it up costs more than the call.

Reads land in one slab that the engine keeps, and become one `bytes` of the exact size; nothing
large is allocated per read. A stream that filled the slab is read straight into a large `bytes`
until it sends less again: then the copy would cost more than the allocation.

Where the slab begins matters: AMD's processors copy from the start of a page to a place 1 to 31
bytes into another one six times slower than to anywhere else. That is where `malloc` puts large
blocks (at 16), and how the kernel copies out of its pages.

What is not hot is left to the portable requests of `readiness`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.unistd cimport read, write

from evenloop.engines.connections cimport (
    NOT_HERE, accept_connection, connect_socket, socket_name,
)
from evenloop.engines.datagrams cimport Datagrams
from evenloop.engines.engine cimport (
    ACCEPT, CONNECT, RECV, RECV_INTO, RECVFROM, SEND, SENDTO, Op,
)
from evenloop.engines.readiness cimport ReadinessEngine

import os

from evenloop.engines.readiness import SENDING_MEANS

cdef extern from "Python.h":
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** data, Py_ssize_t size) except -1

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec* vector, int count)

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    int MSG_DONTWAIT
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)

cdef extern from *:
    """
    #ifdef MSG_NOSIGNAL
    #define EVENLOOP_SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
    #else
    #define EVENLOOP_SEND_FLAGS MSG_DONTWAIT   /* macOS: the interpreter ignores SIGPIPE */
    #endif
    """
    int EVENLOOP_SEND_FLAGS

cdef enum:
    # Pieces of one vectored send; a longer queue takes another call. Enough for small messages to
    # fill a pipe at once, so that the call tells that it is full.
    MAX_PIECES = 256
    PAGE = 4096
    # How far into a page the slab begins: see above.
    INTO_PAGE = 256
    # Batches of datagrams taken from one socket before others have their turn.
    BURSTS = 4


cdef object os_error(int code):
    """Return the OSError (of the subclass that fits) for an error number."""
    return OSError(code, os.strerror(code))


cdef class PosixEngine(ReadinessEngine):
    """Readiness whose stream requests are system calls made from C."""

    def __cinit__(self):
        self._memory = <char*>malloc(SLAB_SIZE + PAGE + INTO_PAGE)
        if self._memory is NULL:
            raise MemoryError()
        self._slab = self._memory + (PAGE - <size_t>self._memory % PAGE) + INTO_PAGE

    def __dealloc__(self):
        free(self._memory)

    cpdef bint attempt(self, Op op) except -1:
        cdef int kind = op.kind
        cdef int done
        if kind == RECV:
            return self.attempt_recv(op)
        if kind == SEND:
            return self.attempt_send(op)
        if kind == RECV_INTO:
            return self.attempt_recv_into(op)
        if kind == SENDTO and op.family:
            return self._attempt_sendto(op)
        if kind == ACCEPT or kind == CONNECT:
            done = accept_connection(op) if kind == ACCEPT else connect_socket(op)
            if done != NOT_HERE:
                return done
        return ReadinessEngine.attempt(self, op)

    cdef bint attempt_recv(self, Op op) except -1:
        cdef Py_ssize_t size = op.size
        cdef ssize_t count
        if size > SLAB_SIZE or op.plenty:
            if size <= 0:
                # A pipe holds no more than the slab, as a rule.
                size = SLAB_SIZE if op.sock is None else LARGE_READ
            return self._recv_large(op, size)
        if size <= 0:
            size = SLAB_SIZE
        count = self._read(op, self._slab, size)
        if count >= 0:
            op.plenty = count == SLAB_SIZE and op.size <= 0
            op.result = PyBytes_FromStringAndSize(self._slab, count)
            return True
        return self._refused(op, errno)

    cdef bint _recv_large(self, Op op, Py_ssize_t size) except -1:
        """Read straight into what will be the result."""
        cdef PyObject* data = new_bytes(NULL, size)
        cdef ssize_t count
        cdef int code
        try:
            count = self._read(op, PyBytes_AS_STRING(<object>data), size)
            code = errno
            if count >= 0:
                op.plenty = count >= SLAB_SIZE and op.size <= 0
                if count < size:
                    _PyBytes_Resize(&data, count)
                op.result = <object>data
                return True
        finally:
            Py_XDECREF(data)
        return self._refused(op, code)

    cdef bint attempt_recv_into(self, Op op) except -1:
        cdef Py_buffer view
        cdef ssize_t count
        cdef int code
        buffer = op.acquire()
        if buffer is None:
            return False
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            count = self._read(op, view.buf, view.len)
            code = errno
        finally:
            PyBuffer_Release(&view)
        if count >= 0:
            op.result = count
            return True
        return self._refused(op, code)

    cdef bint attempt_send(self, Op op) except -1:
        cdef list pieces = op.acquire()
        cdef Py_ssize_t total = len(pieces)
        cdef iovec vector[MAX_PIECES]
        cdef Py_buffer views[MAX_PIECES]
        cdef int held = 0
        cdef int count = 0
        cdef size_t given = 0
        cdef ssize_t sent
        cdef int code = 0
        cdef msghdr message
        cdef object piece
        if total > MAX_PIECES:
            total = MAX_PIECES
        try:
            while count < total:
                piece = pieces[count]
                if PyBytes_CheckExact(piece):
                    vector[count].iov_base = PyBytes_AS_STRING(piece)
                    vector[count].iov_len = PyBytes_GET_SIZE(piece)
                else:
                    PyObject_GetBuffer(piece, &views[held], PyBUF_SIMPLE)
                    vector[count].iov_base = views[held].buf
                    vector[count].iov_len = views[held].len
                    held += 1
                given += vector[count].iov_len
                count += 1
            while True:
                if count == 1:
                    if op.sock is not None:
                        sent = send(
                            op.fd, vector[0].iov_base, vector[0].iov_len, EVENLOOP_SEND_FLAGS
                        )
                    else:
                        sent = write(op.fd, vector[0].iov_base, vector[0].iov_len)
                elif op.sock is not None:
                    memset(&message, 0, sizeof(message))
                    message.msg_iov = vector
                    message.msg_iovlen = count
                    sent = sendmsg(op.fd, &message, EVENLOOP_SEND_FLAGS)
                else:
                    sent = writev(op.fd, vector, count)
                code = errno
                if sent >= 0 or code != EINTR:
                    break
                PyErr_CheckSignals()
        finally:
            while held > 0:
                held -= 1
                PyBuffer_Release(&views[held])
        if sent >= 0:
            op.plenty = <size_t>sent < given
            op.result = sent
            return True
        return self._refused(op, code)

    cdef bint _attempt_sendto(self, Op op) except -1:
        cdef int outcome
        if self._datagrams is None:
            self._datagrams = Datagrams()
        outcome = self._datagrams.send(op)
        if outcome > 0:
            return ReadinessEngine.attempt(self, op)
        return outcome == 0 or self._refused(op, -outcome)

    cpdef object receive(self, Op op):
        cdef int left = BURSTS
        cdef int outcome = 1
        cdef list found
        if not op.family:
            return ReadinessEngine.receive(self, op)
        if self._datagrams is None:
            self._datagrams = Datagrams()
        self.idle += 1
        if not self._datagrams.expects_many(op, self.waits):
            outcome = self._datagrams.receive(op)
            if outcome == 0 or self._refused(op, -outcome):
                self.idle = 0
                op.complete()
            return
        while left > 0 and outcome > 0 and op.active:
            left -= 1
            found = []
            outcome = self._datagrams.receive_many(op, found)
            if outcome >= 0:
                self.idle = 0
                self._hand_out(op, found)
            elif self._refused(op, -outcome):
                self.idle = 0
                op.complete()

    cdef object _hand_out(self, Op op, list found):
        """Complete a request with each of the datagrams that were found."""
        cdef Py_ssize_t index = 0
        cdef Py_ssize_t count = len(found)
        try:
            while index < count and op.active:
                op.result = found[index]
                op.error = None
                index += 1
                op.complete()
        except BaseException:
            if index < count:
                self._failures.append(Leftover(self, op, found[index:]))
            raise

    cpdef object name_of(self, object sock):
        cdef object name = socket_name(sock)
        return ReadinessEngine.name_of(self, sock) if name is None else name

    cpdef Py_ssize_t send_now(self, Op op, bytes data) except -2:
        cdef ssize_t sent
        op.error = None
        while True:
            if op.sock is not None:
                sent = send(
                    op.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), EVENLOOP_SEND_FLAGS
                )
            else:
                sent = write(op.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            if sent >= 0:
                op.plenty = sent < PyBytes_GET_SIZE(data)
                return sent
            if errno != EINTR:
                break
            PyErr_CheckSignals()
        op.plenty = not self._refused(op, errno)
        return 0

    cdef ssize_t _read(self, Op op, void* buffer, size_t size) except -2:
        """Read what is there; -1 with errno if nothing is."""
        cdef ssize_t count
        while True:
            if op.sock is not None:
                # Should the user's socket be a blocking one, it must not block the process.
                count = recv(op.fd, buffer, size, MSG_DONTWAIT)
            else:
                count = read(op.fd, buffer, size)
            if count >= 0 or errno != EINTR:
                return count
            PyErr_CheckSignals()

    cdef bint _refused(self, Op op, int code) except -1:
        """Record why a call failed; False where it would only have blocked."""
        if op.kind == SEND and SENDING_MEANS:
            code = SENDING_MEANS.get(code, code)
        if code == EAGAIN:
            return False
        op.error = os_error(code)
        return True


cdef class Leftover(Op):
    """Datagrams that an interrupt kept from their protocol: they come with the next `wait()`."""

    def __init__(self, engine, op, found):
        Op.__init__(self, RECVFROM, op.fd)
        self.engine = engine
        self.op = op
        self.found = found
        self.error = InterruptedError()

    cpdef object complete(self):
        self.engine._hand_out(self.op, self.found)
