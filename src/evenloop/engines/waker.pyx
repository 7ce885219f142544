"""What ends a wait from outside on Linux: an eventfd for threads, and a pipe for signals.

Signal handlers get a pipe of their own because the interpreter writes the signal's number, one
byte, and an eventfd takes eight. The engine watches both, each in its own way.
"""

from libc.errno cimport errno
from libc.stdint cimport uint64_t
from posix.unistd cimport close, read, write

import os

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)


cdef class Waker:
    """The descriptors that end a wait."""

    def __cinit__(self):
        self.counter = self.signals = self._signal_writer = -1

    def __dealloc__(self):
        self.close()

    cdef object open(self):
        """Make what threads write to, unless it is there."""
        if self.counter < 0:
            self.counter = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
            if self.counter < 0:
                raise OSError(errno, os.strerror(errno))

    cdef object close(self):
        for fd in (self.counter, self.signals, self._signal_writer):
            if fd >= 0:
                close(fd)
        self.counter = self.signals = self._signal_writer = -1

    cdef object wake(self):
        """End the wait; from any thread."""
        cdef uint64_t one = 1
        # A full counter or a closed engine: there is nobody left to wake.
        write(self.counter, &one, sizeof(one))

    cdef int make_pipe(self) except -1:
        """Return the writing end of the pipe for signals, made at the first call."""
        if self._signal_writer < 0:
            self.signals, self._signal_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self._signal_writer


cdef object drain(int fd):
    """Read all that is there."""
    cdef char junk[512]
    while read(fd, junk, sizeof(junk)) == sizeof(junk):
        pass
