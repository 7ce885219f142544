from evenloop.engines.engine cimport Op

cdef enum:
    NOT_HERE = 2

cdef int accept_connection(Op op) except -1
cdef int connect_socket(Op op) except -1
