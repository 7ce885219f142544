"""The `uring` engine: completions through io_uring on Linux.

How io_uring behaves, and what follows (`ring` says how it is entered):

- A multishot receive brings the data with the event, in a buffer that the kernel chose when
  there was something to put into it. So what a transport owns is received that way: a message
  costs no call of its own, and a connection that waits no memory.
- A buffer has to be copied from. So what goes into a receiver's own memory is read directly,
  whenever a poll says that it can be; and so, for a while, is a stream that fills two in a row.
- The kernel does its part only while the ring is entered. So a receive that is withdrawn brings
  no more than what has come already, which is kept for the next request; and while no receive is
  in flight a descriptor may be read directly, nothing can come in between.
- A send mostly goes at once, and then a plain call is the shortest way. So the rest is sent when
  a poll says that there is room.
- A poll completes once. It is put up again before the next wait, for as long as somebody waits,
  with the same call that waits; it reports at once what is still so, which makes it
  level-triggered. So what is the user's (`sock_*`, `add_reader`) is readiness here, as it is with
  a completion port: free at once when it is taken back, and no memory of the user's is lent out.
- A request holds its file: a socket that is closed is not closed before its requests have ended.
  So what is withdrawn from a descriptor that may be closed now is withdrawn in this moment.
- Regular files are always ready. They are refused with EPERM, as epoll does.
- One thread alone may enter a ring. A loop that goes on in another one gets a new ring.

All requests of one descriptor belong to its `Note`, which the slot of the readiness machinery
holds: `update` puts them up and takes them down, and their completions go through `dispatch`.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport (
    EAGAIN, EBADFD, ECONNABORTED, EINVAL, ENOBUFS, ENOTSOCK, EOPNOTSUPP, EPERM,
)
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from posix.unistd cimport close

from evenloop.engines.addresses cimport sockaddr, sockaddr_storage, socklen_t
from evenloop.engines.connections cimport connection_of, is_ordinary
from evenloop.engines.engine cimport (
    ACCEPT, READ_FILE, RECV, RECV_INTO, RECVFROM, SYNC_FILE, WRITE_FILE, Op,
)
from evenloop.engines.datagrams cimport Datagrams
from evenloop.engines.posix cimport PosixEngine, os_error
from evenloop.engines.provided cimport BUFFER_SIZE, Provided
from evenloop.engines.readiness cimport READABLE, WRITABLE, ReadinessEngine, Slot, wanted_by
from evenloop.engines.ring cimport (
    ACCEPT_MULTISHOT, CQE_BUFFER, CQE_MORE, OP_ACCEPT, OP_POLL_ADD, OP_READ_MULTISHOT, OP_RECV,
    OP_RECVMSG, RECV_MULTISHOT, SQE_BUFFER_SELECT, Request, Ring, Sqe,
)
from evenloop.engines.ring_engine cimport POLLIN, POLLOUT, RingEngine, poll_events
from evenloop.engines.ring_files cimport RingFiles

import os
import stat

cdef extern from "<errno.h>":
    enum:
        ECANCELED

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOCK_CLOEXEC
        SOCK_NONBLOCK
    int getpeername(int fd, sockaddr* address, socklen_t* size)

# What the kernel puts before a datagram and its sender.
cdef struct Heading:
    uint32_t name_size
    uint32_t control_size
    uint32_t data_size
    uint32_t flags

cdef enum:
    # That, and room for a sockaddr_storage.
    PACKET_HEAD = 16 + 128
    # No datagram of the Internet's families is larger.
    PACKET_SIZE = 64 * 1024 + 1024
    FIRST_PACKETS = 8
    MOST_PACKETS = 256
    # Reads made directly after one that filled a buffer, and after which a stream is no longer
    # taken for a fast one.
    BULK = 8

cdef class Note(Request):
    """All that the kernel has to do for one descriptor."""

    cdef object arrived(self, int role, int result, unsigned int flags):
        cdef UringEngine engine = self.engine
        cdef Slot slot = self.slot
        if not flags & CQE_MORE:
            self.roles &= ~(1 << role)
            self.ending &= ~(1 << role)
        if slot is None:
            # Forgotten meanwhile: nobody wants it.
            if flags & CQE_BUFFER:
                self.buffers.give_back(flags)
            elif role == ROLE_CONNECTIONS and result >= 0:
                close(result)
            return
        if role == ROLE_OUT:
            slot.armed &= ~WRITABLE
        elif not self.roles & READING:
            slot.armed &= ~READABLE
        engine.events += 1
        try:
            if role == ROLE_DATA and self.buffers is engine._packets:
                engine._received_from(self, slot, result, flags)
            elif role == ROLE_DATA:
                engine._received(self, slot, result, flags)
            elif role == ROLE_CONNECTIONS:
                engine._accepted(self, slot, result)
            else:
                engine._polled(slot, role, result)
        finally:
            if self.slot is not None and (wanted_by(slot) != slot.armed or slot.owner is None):
                engine._mark(slot)

    cdef bint has_news(self):
        """Return whether there is something for whoever asks next."""
        return self.held is not None or self.fault is not None or bool(self.connections)

    cdef object drop(self):
        """Let go: the descriptor is another file's, or about to be closed."""
        self.slot = None
        self.held = self.fault = None
        if self.connections:
            for connection, _ in self.connections:
                connection.close()
            self.connections = None


cdef class UringEngine(RingEngine):
    """Completions through io_uring."""

    name = "uring"
    model = "completion"
    regular_files = "refused"
    files = True

    def __init__(self, **places):
        RingEngine.__init__(self, **places)
        self._open()

    cdef object _open(self):
        RingEngine._open(self)
        self._buffers = Provided(self._ring)
        self._packets = None
        if self._files is None:
            self._files = RingFiles(self._ring)
        else:
            self._files.move(self._ring)

    # ---- telling the kernel ----------------------------------------------------------------

    cpdef object update(self, Slot slot, int wanted):
        cdef Note note = slot.note
        cdef int role
        if note is None:
            slot.armed = 0
            if wanted == 0:
                return
            if slot.owner is None and slot.sock is None:
                _check_pollable(slot.fd)
            note = slot.note = Note()
            note.engine = self
            note.slot = slot
        self.changes += 1
        if wanted & READABLE:
            role = self._reading_role(slot, note)
            self._end_all(note, READING & ~(1 << role))
            # Another one is at its end: when it has come this is looked at again.
            if not note.roles & READING:
                self._submit(note, role)
        else:
            self._end_all(note, READING)
        if not wanted & WRITABLE:
            self._end_all(note, 1 << ROLE_OUT)
        elif not note.roles & 1 << ROLE_OUT:
            self._submit(note, ROLE_OUT)
        slot.armed = wanted
        if wanted == 0 and slot.owner is None and self._withdrawn:
            # Its user may close it now.
            self._flush()

    cdef int _reading_role(self, Slot slot, Note note) except -1:
        """Return how the kernel shall serve whoever reads."""
        cdef Op op = slot.reader
        if note.plain:
            return ROLE_IN
        # Into the receiver's own memory it is read directly: from a buffer of ours would be a copy.
        if op.kind == RECV and slot.owner is not None and note.bulk == 0:
            return ROLE_DATA
        if op.kind == RECVFROM and op.multishot and op.family and slot.owner is not None:
            return ROLE_DATA
        if op.kind == ACCEPT and op.multishot and is_ordinary(op.sock):
            return ROLE_CONNECTIONS
        return ROLE_IN

    cdef object _submit(self, Note note, int role):
        cdef Sqe* sqe = self._ring.prepare(note, role)
        cdef Slot slot = note.slot
        note.roles |= 1 << role
        sqe.fd = slot.fd
        if role == ROLE_DATA:
            note.buffers = self._buffers
            if slot.reader.kind == RECVFROM:
                if self._packets is None:
                    self._packets = Provided(
                        self._ring, size=PACKET_SIZE, first=FIRST_PACKETS, most=MOST_PACKETS, group=1
                    )
                    self._head.msg_namelen = PACKET_HEAD - sizeof(Heading)
                note.buffers = self._packets
                sqe.opcode = OP_RECVMSG
                sqe.ioprio = RECV_MULTISHOT
                sqe.address = <uint64_t>&self._head
            elif slot.reader.sock is None:
                sqe.opcode = OP_READ_MULTISHOT
                sqe.offset = <uint64_t>-1
            else:
                sqe.opcode = OP_RECV
                sqe.ioprio = RECV_MULTISHOT
            sqe.flags = SQE_BUFFER_SELECT
            sqe.group = note.buffers.group
        elif role == ROLE_CONNECTIONS:
            sqe.opcode = OP_ACCEPT
            sqe.ioprio = ACCEPT_MULTISHOT
            sqe.op_flags = SOCK_NONBLOCK | SOCK_CLOEXEC
        else:
            sqe.opcode = OP_POLL_ADD
            sqe.op_flags = poll_events(POLLIN if role == ROLE_IN else POLLOUT)

    cdef object _end_all(self, Note note, int roles):
        """Withdraw what is in flight of these roles."""
        cdef int role
        roles &= note.roles & ~note.ending
        if roles == 0:
            return
        note.ending |= roles
        self._withdrawn = True
        for role in range(ROLE_CONNECTIONS + 1):
            if roles & 1 << role:
                self._ring.cancel(note, role)

    cdef Slot _renewed(self, Slot slot):
        cdef Note note = slot.note
        cdef Slot replacement = ReadinessEngine._renewed(self, slot)
        if note is not None:
            slot.note = None
            self._end_all(note, note.roles)
            note.drop()
            if self._withdrawn:
                self._flush()
        return replacement

    # ---- requests --------------------------------------------------------------------------

    cpdef bint start(self, Op op) except -1:
        cdef bint finished
        cdef Slot slot
        cdef Note note
        if op.kind == READ_FILE or op.kind == WRITE_FILE or op.kind == SYNC_FILE:
            return self._files.start(op)
        finished = ReadinessEngine.start(self, op)
        if not finished:
            slot = <Slot>self._slots[op.fd]
            note = slot.note
            if note is not None and slot.reader is op and note.has_news():
                self._enlist(note)
        return finished

    cpdef object cancel(self, Op op):
        if op.active and (
            op.kind == READ_FILE or op.kind == WRITE_FILE or op.kind == SYNC_FILE
        ):
            self._files.cancel(op)
            return False
        return ReadinessEngine.cancel(self, op)

    cdef bint _at_once(self, Slot slot, Op op) except -1:
        if op.kind == RECV and slot.left > 0:
            # A poll that is put up looks at once: nothing is missed.
            slot.left -= 1
            return False
        return ReadinessEngine._at_once(self, slot, op)

    cpdef bint attempt(self, Op op) except -1:
        cdef Note note
        if op.kind != RECV and op.kind != RECV_INTO and op.kind != ACCEPT:
            return PosixEngine.attempt(self, op)
        note = (<Slot>self._slots[op.fd]).note
        if note is None:
            return PosixEngine.attempt(self, op)
        if note.has_news():
            return self._take(note, op)
        if note.roles & (1 << ROLE_DATA | 1 << ROLE_CONNECTIONS):
            # What comes next comes that way, and nothing may overtake it.
            return False
        if not PosixEngine.attempt(self, op):
            return False
        if op.error is None and op.kind != ACCEPT:
            self._measured(note, PyBytes_GET_SIZE(op.result) if op.kind == RECV else op.result)
        return True

    cdef bint _take(self, Note note, Op op) except -1:
        """Answer a request with what came before it; False where it is given up."""
        cdef bytes data = note.held
        cdef Py_ssize_t count
        if op.kind == ACCEPT and note.connections:
            op.result = note.connections.pop(0)
        elif data is None:
            op.error = note.fault
            note.fault = None
        else:
            count = PyBytes_GET_SIZE(data)
            if op.kind == RECV_INTO:
                buffer = op.acquire()
                if buffer is None:
                    return False
                op.result = count = fill(buffer, data)
            elif 0 < op.size < count:
                count = op.size
                op.result = data[:count]
            else:
                op.result = data
            note.held = data[count:] if count < PyBytes_GET_SIZE(data) else None
        return True

    cdef object _measured(self, Note note, Py_ssize_t count):
        """Judge by a direct read whether the next ones shall be direct too."""
        if count >= BUFFER_SIZE:
            note.bulk = BULK
        elif note.bulk > 0:
            note.bulk -= 1

    # ---- events ----------------------------------------------------------------------------

    cdef object _polled(self, Slot slot, int role, int result):
        """A poll has come back."""
        if result >= 0:
            if not self._quiet:
                self.dispatch(slot, READABLE if role == ROLE_IN else WRITABLE)
        elif result != -ECANCELED:
            self._fail(slot, os_error(-result))
            if not self._quiet:
                self._deliver_failures()

    cdef object _received(self, Note note, Slot slot, int result, unsigned int flags):
        """A multishot receive has brought something, or come to its end."""
        cdef Op op = slot.reader
        cdef bytes data
        if result > 0:
            data = PyBytes_FromStringAndSize(note.buffers.data(flags), result)
            note.buffers.give_back(flags)
            if result < BUFFER_SIZE:
                note.full = False
            elif not note.full:
                note.full = True
            elif slot.owner is not None:
                note.full = False
                note.bulk = BULK
                self._end_all(note, 1 << ROLE_DATA)
            if note.held is not None:
                note.held += data
            elif op is not None and op.kind == RECV and op.multishot and not op.size and \
                    not self._quiet:
                # The straight way.
                op.error = None
                op.result = data
                op.complete()
                return
            else:
                note.held = data
        else:
            if flags & CQE_BUFFER:
                note.buffers.give_back(flags)
            if result == 0:
                # The end: it comes again and again, as long as somebody asks.
                if note.held is None:
                    note.held = b""
            elif result == -ENOBUFS:
                self._exhausted += 1
                note.buffers.grow()
            elif result == -ECANCELED:
                return
            elif result in _NOT_THAT_WAY:
                note.plain = True
                return
            elif note.fault is None:
                note.fault = os_error(-result)
        if self._quiet:
            return
        self.dispatch(slot, READABLE)
        if note.slot is slot and slot.reader is not None and note.has_news():
            self._enlist(note)

    cdef object _received_from(self, Note note, Slot slot, int result, unsigned int flags):
        """A multishot receive has brought a datagram, or come to its end."""
        cdef Op op = slot.reader
        cdef Heading* heading
        cdef char* data
        if flags & CQE_BUFFER:
            try:
                if op is None or op.kind != RECVFROM or result < <int>PACKET_HEAD:
                    return
                data = note.buffers.data(flags)
                heading = <Heading*>data
                result = min(result - <int>PACKET_HEAD, <int>op.size)
                if self._datagrams is None:
                    self._datagrams = Datagrams()
                op.error = None
                op.result = (
                    PyBytes_FromStringAndSize(data + PACKET_HEAD, result),
                    self._datagrams._address(
                        <sockaddr_storage*>(data + sizeof(Heading)), heading.name_size
                    ),
                )
            finally:
                note.buffers.give_back(flags)
        elif result == -ENOBUFS:
            self._exhausted += 1
            note.buffers.grow()
            return
        elif result == -ECANCELED or op is None:
            return
        elif result in _NOT_THAT_WAY:
            note.plain = True
            return
        else:
            op.result = None
            op.error = os_error(-result)
        if not self._quiet:
            op.complete()

    cdef object _accepted(self, Note note, Slot slot, int result):
        """A multishot accept has brought a connection, or come to its end."""
        cdef sockaddr_storage address
        cdef socklen_t size = sizeof(address)
        if result >= 0:
            address.ss_family = 0
            if slot.reader is None and slot.sock is None:
                close(result)
                return
            if getpeername(result, <sockaddr*>&address, &size) < 0:
                # Gone again.
                close(result)
                note.fault = os_error(ECONNABORTED)
            else:
                if note.connections is None:
                    note.connections = []
                note.connections.append(connection_of(slot.sock, result, &address))
        elif result == -ECANCELED:
            return
        elif result in _NOT_THAT_WAY:
            note.plain = True
            return
        else:
            note.fault = os_error(-result)
        if self._quiet:
            return
        self.dispatch(slot, READABLE)
        if note.slot is slot and slot.reader is not None and note.has_news():
            self._enlist(note)

    cdef object _enlist(self, Note note):
        """Have what is there delivered in the next round."""
        if not note.listed:
            note.listed = True
            self._news.append(note)

    cdef object _deliver_news(self):
        cdef Note note
        cdef Slot slot
        cdef list news = self._news
        self._news = []
        while news:
            note = <Note>news.pop(0)
            note.listed = False
            slot = note.slot
            if slot is None or slot.reader is None or not note.has_news():
                continue
            try:
                self.dispatch(slot, READABLE)
            except BaseException:
                self._news = news + self._news
                raise
            finally:
                if note.slot is slot and slot.reader is not None:
                    if note.has_news():
                        self._enlist(note)
                    elif wanted_by(slot) != slot.armed:
                        self._mark(slot)

    # ---- the end ---------------------------------------------------------------------------

    cdef object _move(self, bint child):
        """Go on with a new ring: in a forked child, or in another thread."""
        cdef Ring old = self._ring
        cdef Slot slot
        cdef Note note
        if not child:
            # What has come already is ours.
            self._quiet = True
            try:
                while old.deliver_one():
                    pass
            finally:
                self._quiet = False
        self._watch.engine = None
        for request in old.abandon():
            if isinstance(request, Note):
                note = request
                note.roles = note.ending = 0
                slot = note.slot
                if slot is not None:
                    slot.armed = 0
                    self._mark(slot)
                    if not child and note.has_news():
                        self._enlist(note)
        if child:
            self._waker.close()
            self._failures.extend(self._files.abandon())
        self._open()

    def after_fork(self):
        """Wait with a ring of our own from now on, not with the parent's."""
        self._move(True)

    def close(self):
        """End what is in flight, and give the ring back."""
        cdef Slot slot
        cdef Note note
        self._watch.engine = None
        for slot in self._slots:
            if slot is not None and slot.note is not None:
                note = slot.note
                note.drop()
        self._files.close()
        self._ring.end_all()
        self._slots.clear()
        self._dirty.clear()
        self._news.clear()
        self._ring.close()
        self._waker.close()


# Answers of the kernel that mean: not by a multishot request.
cdef tuple _NOT_THAT_WAY = (-EINVAL, -EOPNOTSUPP, -ENOTSOCK, -EAGAIN, -EBADFD)


cdef object _check_pollable(int fd):
    """Raise OSError for what cannot be polled, as epoll does."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        raise os_error(EPERM)


cdef Py_ssize_t fill(object buffer, bytes data) except -1:
    """Copy the beginning of `data` into a writable buffer; return how much."""
    cdef Py_buffer view
    cdef Py_ssize_t count
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    count = min(view.len, PyBytes_GET_SIZE(data))
    memcpy(view.buf, PyBytes_AS_STRING(data), count)
    PyBuffer_Release(&view)
    return count
