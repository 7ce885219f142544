from libc.stdint cimport uint32_t

from evenloop.engines.posix cimport PosixEngine
from evenloop.engines.ring cimport Request, Ring
from evenloop.engines.waker cimport Waker

cdef extern from "<poll.h>":
    enum:
        POLLIN
        POLLOUT

cdef extern from *:
    """
    #include <endian.h>
    #include <stdint.h>

    /* The kernel takes the events of a poll in the order of a little machine's halves. */
    #if __BYTE_ORDER == __BIG_ENDIAN
    #define EVENLOOP_EVENTS(events) (((uint32_t)(events) << 16) | ((uint32_t)(events) >> 16))
    #else
    #define EVENLOOP_EVENTS(events) ((uint32_t)(events))
    #endif
    """
    uint32_t poll_events "EVENLOOP_EVENTS"(int events)


cdef class Watch(Request):
    cdef RingEngine engine


cdef class RingEngine(PosixEngine):
    cdef Ring _ring
    cdef Waker _waker
    cdef Watch _watch
    cdef unsigned int _requests
    cdef unsigned int _completions
    # Something was withdrawn that the kernel has not been told of.
    cdef bint _withdrawn
    # Completions are only noted, not delivered.
    cdef bint _quiet
    cdef list _news
    cdef Py_ssize_t _exhausted

    cdef object _open(self)
    cdef object _put_up(self, int role)
    cdef object _flush(self)
    cdef object _deliver_news(self)
    cdef object _move(self, bint child)
