from evenloop.engines.addresses cimport sockaddr_storage
from evenloop.engines.engine cimport Op

cdef enum:
    NOT_HERE = 2

cdef bint is_ordinary(object sock) except -1
cdef int accept_connection(Op op) except -1
cdef object connection_of(object listener, int fd, const sockaddr_storage* address)
cdef int connect_socket(Op op) except -1
cdef object socket_name(object sock)
