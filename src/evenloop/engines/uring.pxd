from evenloop.engines.engine cimport Op
from evenloop.engines.provided cimport Provided
from evenloop.engines.readiness cimport Slot
from evenloop.engines.ring cimport Request
from evenloop.engines.ring_engine cimport RingEngine
from evenloop.engines.ring_files cimport RingFiles

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        unsigned int msg_namelen

cdef enum:
    # What is in flight for a descriptor: a poll each way, and a multishot receive or accept.
    ROLE_IN = 0
    ROLE_OUT = 1
    ROLE_DATA = 2
    ROLE_CONNECTIONS = 3
    READING = 1 << ROLE_IN | 1 << ROLE_DATA | 1 << ROLE_CONNECTIONS


cdef class Note(Request):
    cdef UringEngine engine
    # Whose: None once the descriptor is forgotten.
    cdef Slot slot
    # Bits by role: in flight, and of these withdrawn.
    cdef int roles
    cdef int ending
    # Came while nobody waited: bytes of a stream, connections, an error.
    cdef bytes held
    cdef list connections
    cdef object fault
    # Is in the engine's list of those with something to deliver.
    cdef bint listed
    # Whose buffers what is received comes in.
    cdef Provided buffers
    # The kernel does not do this one by multishot requests.
    cdef bint plain
    # What was received last filled its buffer.
    cdef bint full
    # Reads that are still to be made directly, as the stream is a fast one.
    cdef int bulk

    cdef bint has_news(self)
    cdef object drop(self)


cdef class UringEngine(RingEngine):
    cdef Provided _buffers
    # For datagrams, from the first that are received on; and what the kernel shall put before them.
    cdef Provided _packets
    cdef msghdr _head
    cdef RingFiles _files

    cdef int _reading_role(self, Slot slot, Note note) except -1
    cdef object _submit(self, Note note, int role)
    cdef object _end_all(self, Note note, int roles)
    cdef bint _take(self, Note note, Op op) except -1
    cdef object _enlist(self, Note note)
    cdef object _measured(self, Note note, Py_ssize_t count)
    cdef object _received(self, Note note, Slot slot, int result, unsigned int flags)
    cdef object _received_from(self, Note note, Slot slot, int result, unsigned int flags)
    cdef object _accepted(self, Note note, Slot slot, int result)
    cdef object _polled(self, Slot slot, int role, int result)
