"""Datagrams of the Internet's families in C, for the readiness engines of POSIX systems.

Python's sockets make an address of every datagram that comes, and take one apart for every one
that goes. Most go to where one came from a moment ago. So both directions share a small table:
who receives finds the address by the kernel's form of it, who sends finds that form by the
address object. An entry keeps its object alive, so an object that is found is the one that was
put there; and only tuples of exact `str` and `int` are kept, which cannot change.

Nothing is asked only to hear that nothing is there: one datagram is taken per event, and the
kernel tells if there are more. A socket that several are found in is read with `recvmmsg`,
where the system has that, until it has only one again. (For one datagram `recvmmsg` costs as
much as the call that it saves, so it is tried only now and then.)

What is not numeric (names, scopes by name) is left to Python.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from evenloop.engines.addresses cimport (
    address_from, address_into, is_internet, sockaddr, sockaddr_storage,
    socklen_t,
)

cdef extern from "Python.h":
    int PySys_Audit(const char* event, const char* form, ...) except -1

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t recvfrom(int fd, void* buffer, size_t size, int flags,
                     sockaddr* address, socklen_t* length)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)
    ssize_t sendto(int fd, const void* buffer, size_t size, int flags,
                   const sockaddr* address, socklen_t length)

cdef extern from *:
    """
    #include <sys/socket.h>

    #ifdef MSG_NOSIGNAL
    #define EVENLOOP_DATAGRAM_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
    #else
    #define EVENLOOP_DATAGRAM_FLAGS MSG_DONTWAIT   /* macOS: the interpreter ignores SIGPIPE */
    #endif

    #ifdef __linux__
    #define EVENLOOP_BATCH 16
    typedef struct mmsghdr evenloop_message;
    #define evenloop_receive(fd, heads, flags) recvmmsg(fd, heads, EVENLOOP_BATCH, flags, NULL)
    #else
    #define EVENLOOP_BATCH 1
    typedef struct { struct msghdr msg_hdr; unsigned int msg_len; } evenloop_message;
    static int evenloop_receive(int fd, evenloop_message *heads, int flags)
    {
        ssize_t size = recvmsg(fd, &heads->msg_hdr, flags);
        if (size < 0)
            return -1;
        heads->msg_len = (unsigned int)size;
        return 1;
    }
    #endif
    """
    int EVENLOOP_DATAGRAM_FLAGS
    enum:
        BATCH "EVENLOOP_BATCH"
    ctypedef struct message "evenloop_message":
        msghdr msg_hdr
        unsigned int msg_len
    int evenloop_receive(int fd, message* heads, int flags) nogil

cdef enum:
    # No datagram of these families is larger.
    LARGEST = 64 * 1024
    # Of waits in a row that found something in the same socket, every how manieth tries a batch.
    TRY_BATCH = 8
    # Addresses that are remembered, each way.
    PEERS = 256

# Room for a batch: what no datagram has reached costs no memory.
cdef struct Room:
    message heads[BATCH]
    iovec pieces[BATCH]
    sockaddr_storage sources[BATCH]
    char data[BATCH][LARGEST]


cdef inline Py_ssize_t spread(uint32_t value):
    """Return a place in a table for whatever tells addresses apart."""
    return <Py_ssize_t>((value * <uint32_t>2654435761u) >> 24)


cdef inline Py_ssize_t place_of(object address):
    """Return a place in the table by object."""
    return spread(<uint32_t>(<uintptr_t><void*>address >> 4))


cdef class Peer:
    """An address in the kernel's form and in Python's."""


cdef class Datagrams:
    """The calls, and what they need to keep."""

    def __cinit__(self):
        cdef int index
        self._room = <Room*>calloc(1, sizeof(Room))
        if self._room is NULL:
            raise MemoryError()
        for index in range(BATCH):
            self._room.pieces[index].iov_base = self._room.data[index]
            self._room.heads[index].msg_hdr.msg_iov = &self._room.pieces[index]
            self._room.heads[index].msg_hdr.msg_iovlen = 1
            self._room.heads[index].msg_hdr.msg_name = &self._room.sources[index]
        self._by_raw = [None] * PEERS
        self._by_object = [None] * PEERS

    def __dealloc__(self):
        free(self._room)

    cdef bint expects_many(self, Op op, Py_ssize_t wait):
        """Return whether to take a batch."""
        cdef bint again = op.fd == self._last_fd and wait == self._last_wait + 1
        self._last_fd = op.fd
        self._last_wait = wait
        return BATCH > 1 and (op.plenty or (again and wait % TRY_BATCH == 0))

    cdef int receive(self, Op op) except? -1:
        """Take one datagram as the result; return 0, or minus the errno."""
        cdef Room* room = self._room
        cdef size_t size = op.size if 0 < op.size < LARGEST else LARGEST
        cdef socklen_t length
        cdef ssize_t count
        while True:
            length = sizeof(sockaddr_storage)
            count = recvfrom(
                op.fd, room.data[0], size, MSG_DONTWAIT, <sockaddr*>&room.sources[0], &length
            )
            if count >= 0:
                break
            if errno != EINTR:
                return -errno
            PyErr_CheckSignals()
        op.result = (
            PyBytes_FromStringAndSize(room.data[0], count),
            self._address(&room.sources[0], length),
        )
        return 0

    cdef int receive_many(self, Op op, list found) except? -1:
        """Append what is there; return 1 if there may be more, 0 if not, or minus the errno."""
        cdef Room* room = self._room
        cdef msghdr* head
        cdef size_t size = op.size if 0 < op.size < LARGEST else LARGEST
        cdef int index
        cdef int count
        for index in range(BATCH):
            room.pieces[index].iov_len = size
            room.heads[index].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        while True:
            count = evenloop_receive(op.fd, room.heads, MSG_DONTWAIT)
            if count >= 0:
                break
            if errno != EINTR:
                return -errno
            PyErr_CheckSignals()
        for index in range(count):
            head = &room.heads[index].msg_hdr
            found.append(
                (
                    PyBytes_FromStringAndSize(room.data[index], room.heads[index].msg_len),
                    self._address(&room.sources[index], head.msg_namelen),
                )
            )
        op.plenty = count > 1
        return count == BATCH

    cdef int send(self, Op op) except? -1:
        """Send; return 0 if it is sent, 1 if Python has to do it, or minus the errno."""
        cdef object data = op.buffer
        cdef object address = op.address
        cdef Peer peer = None
        cdef Py_buffer view
        cdef ssize_t sent
        cdef int code
        cdef bint exact = PyBytes_CheckExact(data)
        if address is not None:
            peer = self._peer(address, op.family)
            if peer is None:
                return 1
            PySys_Audit("socket.sendto", "OO", <void*>op.sock, <void*>address)
        if exact:
            view.buf = PyBytes_AS_STRING(data)
            view.len = PyBytes_GET_SIZE(data)
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while True:
                if peer is None:
                    sent = send(op.fd, view.buf, view.len, EVENLOOP_DATAGRAM_FLAGS)
                else:
                    sent = sendto(
                        op.fd, view.buf, view.len, EVENLOOP_DATAGRAM_FLAGS,
                        <sockaddr*>&peer.raw, peer.length,
                    )
                code = errno
                if sent >= 0 or code != EINTR:
                    break
                PyErr_CheckSignals()
        finally:
            if not exact:
                PyBuffer_Release(&view)
        if sent < 0:
            return -code
        op.result = sent
        return 0

    cdef object _address(self, sockaddr_storage* raw, socklen_t length):
        """Return the tuple for an address of the kernel's."""
        cdef uint32_t* words = <uint32_t*>raw
        cdef Py_ssize_t place
        cdef Peer peer
        if length < 2 * sizeof(uint32_t) or not is_internet(raw.ss_family):
            # As Python's sockets say it of a datagram without a sender.
            return None
        # Family and port, and the end of the host: all that differs within one network.
        place = spread(words[0] ^ (words[1] if length < 24 else words[5]))
        peer = <Peer>self._by_raw[place]
        if peer is not None and peer.length == length and not memcmp(&peer.raw, raw, length):
            return peer.address
        peer = Peer()
        peer.raw = raw[0]
        peer.length = length
        peer.address = address_from(raw)
        self._by_raw[place] = peer
        self._by_object[place_of(peer.address)] = peer
        return peer.address

    cdef Peer _peer(self, object address, int family):
        """Return the kernel's form of a numeric address; None if it is anything else."""
        cdef Py_ssize_t place = place_of(address)
        cdef Peer peer = <Peer>self._by_object[place]
        if peer is not None and peer.address is address and peer.raw.ss_family == family:
            return peer
        peer = Peer()
        peer.length = address_into(address, family, &peer.raw)
        if peer.length == 0:
            return None
        peer.address = address
        self._by_object[place] = peer
        return peer
