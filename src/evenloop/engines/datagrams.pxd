from evenloop.engines.addresses cimport sockaddr_storage, socklen_t
from evenloop.engines.engine cimport Op

cdef struct Room


cdef class Peer:
    cdef sockaddr_storage raw
    cdef socklen_t length
    cdef object address


cdef class Datagrams:
    cdef Room* _room
    cdef list _by_raw
    cdef list _by_object
    # Where the last datagrams came from, and in which wait.
    cdef int _last_fd
    cdef Py_ssize_t _last_wait

    cdef bint expects_many(self, Op op, Py_ssize_t wait)
    cdef int receive(self, Op op) except? -1
    cdef int receive_many(self, Op op, list found) except? -1
    cdef int send(self, Op op) except? -1
    cdef object _address(self, sockaddr_storage* raw, socklen_t length)
    cdef Peer _peer(self, object address, int family)
