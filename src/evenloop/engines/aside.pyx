"""A ring beside an engine of readiness, for what readiness cannot do: requests on files.

The engine watches the ring's own descriptor, which is readable while completions wait, calls
`submit()` before each wait, and `deliver()` after it. All requests of a turn go in one call.

- It is no ring with DEFER_TASKRUN: that one posts completions only when it is entered, and whoever
  polls it waits for ever. Here the kernel does its part when the thread is next in the kernel, and
  ends a wait for that, so that `epoll_wait` mostly fails with EINTR and completions are there.
- It belongs to no thread: a loop may be run in one thread, then in another.
- What a thread has in flight when it ends is cancelled by the kernel, and asked for again.
"""

from libc.errno cimport EAGAIN, EBUSY

from evenloop.engines.engine cimport Op
from evenloop.engines.posix cimport os_error
from evenloop.engines.ring cimport Ring
from evenloop.engines.ring_files cimport RingFiles

cdef enum:
    REQUESTS = 128
    COMPLETIONS = 1024


cdef class RingAside:
    """A ring for requests on files. Raises OSError where the kernel has none, or forbids it."""

    def __init__(self):
        self._ring = Ring(REQUESTS, COMPLETIONS, False)
        self._files = RingFiles(self._ring)

    def fileno(self):
        """Return what is readable while completions wait."""
        return self._ring.fd

    def start(self, Op op):
        """Begin a request, which goes to the kernel with the next `submit()`."""
        return self._files.start(op)

    def cancel(self, Op op):
        """Ask for the end of a request; it completes with what became of it."""
        self._files.cancel(op)
        return False

    def submit(self):
        """Have the kernel begin what was asked for; return whether there is to deliver."""
        cdef int done = 0
        if self._ring.has_work():
            done = self._ring.flush()
            # Completions are to be taken first, or the kernel is out of memory for now.
            if done < 0 and done != -EBUSY and done != -EAGAIN:
                raise os_error(-done)
        return done < 0 or self._ring.has_news()

    def deliver(self):
        """Complete what is done."""
        cdef int count = self._ring.count_news()
        while count > 0 and self._ring.deliver_one():
            count -= 1

    def abandon(self):
        """Leave the ring to the parent process, and return the requests in flight, with an error."""
        cdef list lost = self._files.abandon()
        self._ring.abandon()
        return lost

    def close(self):
        """End what is in flight, and give the ring back."""
        self._files.close()
        self._ring.end_all()
        self._ring.close()
