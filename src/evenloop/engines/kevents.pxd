cdef extern from "<sys/types.h>":
    pass

cdef extern from "<sys/event.h>" nogil:
    ctypedef struct kevent_t "struct kevent":
        size_t ident
        short filter
        unsigned short flags
        unsigned int fflags
        Py_ssize_t data
        void* udata

cdef enum:
    BATCH = 512

# What differs from system to system, as the system's own header has it.
cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/event.h>

    #ifdef EVFILT_USER
    #define EVENLOOP_EVFILT_USER EVFILT_USER
    #define EVENLOOP_USER_EVENTS 1
    #else   /* OpenBSD, NetBSD before 10 */
    #define EVENLOOP_EVFILT_USER 0x7f7f
    #define EVENLOOP_USER_EVENTS 0
    #define NOTE_TRIGGER 0
    #endif
    #define EVENLOOP_NOTE_EXIT ((unsigned int)NOTE_EXIT)
    """
    enum:
        EVFILT_READ
        EVFILT_WRITE
        EVFILT_VNODE
        EVFILT_PROC
        EVFILT_USER "EVENLOOP_EVFILT_USER"
        EV_ADD
        EV_CLEAR
        EV_DELETE
        EV_EOF
        EV_ERROR
        EV_ONESHOT
        NOTE_DELETE
        NOTE_WRITE
        NOTE_EXTEND
        NOTE_ATTRIB
    unsigned int NOTE_EXIT "EVENLOOP_NOTE_EXIT"


cdef class Kevents:
    cdef public int fd
    cdef public bint user_events
    cdef public int pending
    cdef public Py_ssize_t ident
    cdef public int filter
    cdef public int flags
    cdef public unsigned int fflags
    cdef public unsigned int mark
    cdef public Py_ssize_t data
    cdef kevent_t _changes[BATCH]
    cdef kevent_t _events[BATCH]

    cpdef bint change(
        self, Py_ssize_t ident, int filter, int flags, unsigned int fflags, unsigned int mark
    ) except -1
    cpdef int submit(self, int index) except -1
    cpdef int ask(
        self, Py_ssize_t ident, int filter, int flags, unsigned int fflags, unsigned int mark
    ) except -1
    cdef int _hand_in(self, kevent_t change) except -1
    cpdef object clear(self)
    cpdef int wait(self, double timeout) except? -1
    cpdef object take(self, int index)
    cpdef object trigger(self)
    cpdef bint is_regular(self, int fd) except -1
    cpdef object close(self)
