cdef class Waker:
    # What other threads write to, an eventfd; and the pipe of signal handlers: -1 until it is used.
    cdef int counter
    cdef int signals
    cdef int _signal_writer

    cdef object open(self)
    cdef object close(self)
    cdef object wake(self)
    cdef int make_pipe(self) except -1


cdef object drain(int fd)
