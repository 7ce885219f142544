from evenloop.engines.datagrams cimport Datagrams
from evenloop.engines.engine cimport Op
from evenloop.engines.readiness cimport ReadinessEngine

cdef enum:
    # Reads into the slab, and reads of streams that send more than that at a time.
    SLAB_SIZE = 64 * 1024
    LARGE_READ = 256 * 1024


cdef object os_error(int code)


cdef class PosixEngine(ReadinessEngine):
    cdef char* _memory
    cdef char* _slab
    cdef Datagrams _datagrams
    cpdef Py_ssize_t send_now(self, Op op, bytes data) except -2
    cdef bint attempt_recv(self, Op op) except -1
    cdef bint _recv_large(self, Op op, Py_ssize_t size) except -1
    cdef bint attempt_recv_into(self, Op op) except -1
    cdef bint attempt_send(self, Op op) except -1
    cdef bint _attempt_sendto(self, Op op) except -1
    cdef object _hand_out(self, Op op, list found)
    cdef ssize_t _read(self, Op op, void* buffer, size_t size) except -2
    cdef bint _refused(self, Op op, int code) except -1


cdef class Leftover(Op):
    cdef PosixEngine engine
    cdef Op op
    cdef list found
