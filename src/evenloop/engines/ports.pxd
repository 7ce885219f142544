# Completion ports, in C; the twin of _win32.py, whose docstrings hold here too.

from cpython.ref cimport PyObject

cdef extern from *:
    """
    #include <winsock2.h>
    #include <mswsock.h>
    #include <windows.h>

    typedef struct {
        OVERLAPPED overlapped;
        DWORD flags;
        PyObject *request;
    } evenloop_carrier;

    /* As the socket driver defines them; no header does. */
    typedef struct {
        LARGE_INTEGER timeout;
        ULONG count;
        ULONG exclusive;
        HANDLE handle;
        ULONG events;
        LONG status;
    } evenloop_poll;

    #define EVENLOOP_ADDRESS 128
    #define EVENLOOP_BATCH 256

    /* What a wait of the system's thread pool posts, and where. */
    typedef struct { HANDLE wait; HANDLE port; ULONG_PTR number; } evenloop_watch;

    typedef struct { OVERLAPPED_ENTRY all[EVENLOOP_BATCH]; } evenloop_entries;
    typedef struct { char bytes[EVENLOOP_ADDRESS]; int length; } evenloop_address;
    """
    ctypedef unsigned long DWORD
    ctypedef struct OVERLAPPED:
        size_t Internal
    ctypedef struct evenloop_carrier:
        OVERLAPPED overlapped
        PyObject* request
    ctypedef struct evenloop_poll:
        DWORD count
        DWORD events
    ctypedef struct evenloop_address:
        char* bytes
        int length
    ctypedef struct evenloop_entries:
        pass
    ctypedef struct evenloop_watch:
        size_t number

cdef enum:
    DONE = 0
    PENDING = -1
    AFD_RECEIVE = 0x001
    AFD_SEND = 0x004
    AFD_DISCONNECT = 0x008
    AFD_ABORT = 0x010
    AFD_LOCAL_CLOSE = 0x020
    AFD_ACCEPT = 0x080
    AFD_CONNECT_FAIL = 0x100
    ERROR_INVALID_HANDLE = 6
    ERROR_HANDLE_EOF = 38
    ERROR_BROKEN_PIPE = 109
    ERROR_MORE_DATA = 234
    WSAEMSGSIZE = 10040


cdef class Port:
    cdef readonly size_t handle
    cdef public list again
    cdef dict watches
    cdef size_t watched
    cdef Py_ssize_t count
    cdef int taken
    cdef evenloop_entries* entries

    cpdef int associate(self, size_t handle) except -1
    cdef int wait(self, long milliseconds) except -1
    cdef Request take(self)
    cdef object post(self)
    cpdef Py_ssize_t in_flight(self)
    cpdef object close(self)


cdef class Request:
    cdef Port port
    cdef size_t handle
    cdef public bint in_flight
    cdef public Py_ssize_t transferred
    cdef public unsigned int status
    cdef evenloop_carrier carrier
    cdef char* memory
    cdef Py_ssize_t room
    cdef object kept
    cdef evenloop_poll* polled
    cdef evenloop_address* address

    cpdef object arrived(self)
    cdef void land(self) noexcept
    cdef int error(self) except -1
    cdef object cancel_io(self)
    cdef int poll(self, size_t poller, size_t sock, unsigned int events) except -2
    cdef int events(self)
    cdef int receive(self, size_t handle, Py_ssize_t size, bint skips) except -2
    cdef int receive_from(self, size_t handle, Py_ssize_t size, bint skips) except -2
    cdef bytes sender(self)
    cdef int accept(self, size_t listener, size_t connection, bint skips) except -2
    cdef int read(self, size_t handle, Py_ssize_t size, bint skips) except -2
    cdef bytes data(self)
    cdef int send(self, size_t handle, list pieces, bint skips) except -2
    cdef int write(self, size_t handle, list pieces, bint skips) except -2
    cdef object let_go(self)
    cdef object reserve(self, Py_ssize_t size)
    cdef object begin(self, size_t handle)
    cdef int begun(self, bint done, DWORD code, DWORD moved, bint skips) except -2


cdef class Watch(Request):
    cdef evenloop_watch* watching

    cdef object watch(self, size_t handle)
    cdef object unwatch(self)


cpdef object close_handle(size_t handle)
cpdef bint is_socket(size_t handle)
cpdef size_t base_socket(size_t handle) except 0
cpdef size_t open_poller() except 0
cpdef bint skip_port_when_done(size_t handle)
