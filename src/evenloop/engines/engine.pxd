from evenloop._clock cimport clock


cpdef enum:
    RECV = 1
    RECV_INTO = 2
    SEND = 3
    ACCEPT = 4
    CONNECT = 5
    RECVFROM = 6
    SENDTO = 7
    POLL_READ = 8
    POLL_WRITE = 9
    EXIT = 10
    READ_FILE = 11
    WRITE_FILE = 12
    SYNC_FILE = 13


cdef class Op:
    cdef public int kind
    cdef public int fd
    cdef public bint multishot
    cdef public bint active
    cdef public bint plenty
    cdef public Py_ssize_t size
    cdef public long long offset
    cdef public int family
    cdef public object sock
    cdef public object buffer
    cdef public object address
    cdef public object result
    cdef public object error
    cdef public Op next

    cpdef object complete(self)
    cpdef bint wanted(self) except -1
    cpdef object acquire(self)


cdef class Engine:
    cpdef double now(self) except? -1
    cpdef bint start(self, Op op) except -1
    cpdef Py_ssize_t send_now(self, Op op, bytes data) except -2
    cpdef object cancel(self, Op op)
    cpdef bint wait(self, double timeout) except -1
    cpdef object deliver(self)
    cpdef object wake(self)
    cpdef object adopt(self, int fd, object owner)
    cpdef object owner(self, int fd)
    cpdef object name_of(self, object sock)
    cpdef object forget(self, int fd)
