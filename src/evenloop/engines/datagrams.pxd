from evenloop.engines.engine cimport Op

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        int sa_family
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        unsigned int s_addr
    struct sockaddr_in:
        int sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct in6_addr:
        pass
    struct sockaddr_in6:
        int sin6_family
        unsigned short sin6_port
        unsigned int sin6_flowinfo
        in6_addr sin6_addr
        unsigned int sin6_scope_id

cdef union SocketAddress:
    sockaddr any
    sockaddr_in four
    sockaddr_in6 six

cdef struct Room


cdef class Peer:
    cdef SocketAddress raw
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
    cdef object _address(self, SocketAddress* raw, socklen_t length)
    cdef Peer _peer(self, object address, int family)
