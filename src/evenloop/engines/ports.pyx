"""Completion ports, in C: what the engines for Windows ask of the system.

The twin of `_win32.py` for compiled builds, name by name; see there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.string cimport memset

from evenloop.engines.nt_errors import failure, status_to_error

cdef extern from *:
    """
    #define EVENLOOP_IOCTL_AFD_POLL 0x00012024
    #define EVENLOOP_SIO_BASE_HANDLE 0x48000022
    #define EVENLOOP_SIO_BSP_HANDLE 0x4800001B
    #define EVENLOOP_SIO_BSP_HANDLE_SELECT 0x4800001C
    #define EVENLOOP_SIO_BSP_HANDLE_POLL 0x4800001D

    static size_t evenloop_new_port(void)
    {
        return (size_t)CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    }

    static DWORD evenloop_associate(size_t port, size_t handle)
    {
        if (CreateIoCompletionPort((HANDLE)handle, (HANDLE)port, 0, 0))
            return 0;
        return GetLastError();
    }

    static int evenloop_wait(size_t port, evenloop_entries *entries, DWORD timeout, DWORD *error)
    {
        ULONG count = 0;
        *error = 0;
        if (GetQueuedCompletionStatusEx((HANDLE)port, entries->all, EVENLOOP_BATCH, &count,
                                        timeout, FALSE))
            return (int)count;
        *error = GetLastError();
        return 0;
    }

    static evenloop_carrier *evenloop_entry(evenloop_entries *entries, int index, DWORD *moved)
    {
        *moved = entries->all[index].dwNumberOfBytesTransferred;
        return (evenloop_carrier *)entries->all[index].lpOverlapped;
    }

    static BOOL evenloop_begin_poll(size_t poller, evenloop_poll *poll, size_t socket,
                                    ULONG events, evenloop_carrier *carrier)
    {
        memset(poll, 0, sizeof(*poll));
        poll->timeout.QuadPart = INT64_MAX;
        poll->count = 1;
        poll->handle = (HANDLE)socket;
        poll->events = events;
        return DeviceIoControl((HANDLE)poller, EVENLOOP_IOCTL_AFD_POLL, poll, sizeof(*poll), poll,
                               sizeof(*poll), NULL, &carrier->overlapped);
    }

    static BOOL evenloop_recv(size_t handle, char *memory, ULONG size, DWORD *moved,
                              evenloop_carrier *carrier)
    {
        WSABUF buffer = {size, memory};
        carrier->flags = 0;
        return WSARecv((SOCKET)handle, &buffer, 1, moved, &carrier->flags, &carrier->overlapped,
                       NULL) == 0;
    }

    static BOOL evenloop_recvfrom(size_t handle, char *memory, ULONG size, evenloop_address *from,
                                  DWORD *moved, evenloop_carrier *carrier)
    {
        WSABUF buffer = {size, memory};
        carrier->flags = 0;
        from->length = EVENLOOP_ADDRESS;
        return WSARecvFrom((SOCKET)handle, &buffer, 1, moved, &carrier->flags,
                           (struct sockaddr *)from->bytes, &from->length, &carrier->overlapped,
                           NULL) == 0;
    }

    static size_t evenloop_open_poller(void)
    {
        HANDLE handle = CreateFileW(L"\\\\\\\\.\\\\GLOBALROOT\\\\Device\\\\Afd\\\\evenloop", SYNCHRONIZE,
                                    FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING,
                                    FILE_FLAG_OVERLAPPED, NULL);
        return handle == INVALID_HANDLE_VALUE ? 0 : (size_t)handle;
    }

    static DWORD evenloop_base(size_t handle, DWORD request, size_t *base)
    {
        DWORD size;
        if (WSAIoctl((SOCKET)handle, request, NULL, 0, base, sizeof(*base), &size, NULL, NULL) == 0)
            return 0;
        return WSAGetLastError();
    }

    static int evenloop_is_socket(size_t handle)
    {
        int type, size = sizeof(type);
        return getsockopt((SOCKET)handle, SOL_SOCKET, SO_TYPE, (char *)&type, &size) == 0;
    }

    static void evenloop_cancel(size_t handle, evenloop_carrier *carrier)
    {
        CancelIoEx((HANDLE)handle, &carrier->overlapped);
    }

    static BOOL evenloop_accept(size_t listener, size_t connection, char *memory, DWORD *moved,
                                evenloop_carrier *carrier)
    {
        return AcceptEx((SOCKET)listener, (SOCKET)connection, memory, 0, EVENLOOP_ADDRESS + 16,
                        EVENLOOP_ADDRESS + 16, moved, &carrier->overlapped);
    }

    static BOOL evenloop_read(size_t handle, char *memory, DWORD size, DWORD *moved,
                              evenloop_carrier *carrier)
    {
        return ReadFile((HANDLE)handle, memory, size, moved, &carrier->overlapped);
    }

    static BOOL evenloop_write(size_t handle, char *memory, DWORD size, DWORD *moved,
                               evenloop_carrier *carrier)
    {
        return WriteFile((HANDLE)handle, memory, size, moved, &carrier->overlapped);
    }

    static BOOL evenloop_send(size_t handle, WSABUF *buffers, DWORD count, DWORD *moved,
                              evenloop_carrier *carrier)
    {
        return WSASend((SOCKET)handle, buffers, count, moved, 0, &carrier->overlapped, NULL) == 0;
    }

    static void evenloop_post(size_t port)
    {
        PostQueuedCompletionStatus((HANDLE)port, 0, 0, NULL);
    }

    static VOID CALLBACK evenloop_signalled(PVOID context, BOOLEAN timed_out)
    {
        evenloop_watch *watch = context;
        PostQueuedCompletionStatus(watch->port, 0, 0, (OVERLAPPED *)watch->number);
    }

    static DWORD evenloop_begin_watch(evenloop_watch *watch, size_t port, size_t handle)
    {
        watch->port = (HANDLE)port;
        if (RegisterWaitForSingleObject(&watch->wait, (HANDLE)handle, evenloop_signalled, watch,
                                        INFINITE, WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE))
            return 0;
        return GetLastError();
    }

    static BOOL evenloop_end_watch(evenloop_watch *watch)
    {
        return UnregisterWaitEx(watch->wait, INVALID_HANDLE_VALUE);
    }

    static size_t evenloop_posted(evenloop_entries *entries, int index)
    {
        return (size_t)entries->all[index].lpOverlapped;
    }

    static BOOL evenloop_skip(size_t handle)
    {
        return SetFileCompletionNotificationModes((HANDLE)handle, 1 | 2);
    }
    """
    ctypedef int BOOL
    ctypedef struct WSABUF:
        DWORD len
        char* buf
    enum:
        EVENLOOP_ADDRESS
        EVENLOOP_SIO_BASE_HANDLE
        EVENLOOP_SIO_BSP_HANDLE
        EVENLOOP_SIO_BSP_HANDLE_SELECT
        EVENLOOP_SIO_BSP_HANDLE_POLL
        ERROR_IO_PENDING
        WAIT_TIMEOUT
        INFINITE
        WSAENOTSOCK
    DWORD GetLastError() nogil
    int CloseHandle(void*) nogil
    size_t evenloop_new_port() nogil
    DWORD evenloop_associate(size_t port, size_t handle) nogil
    int evenloop_wait(size_t port, evenloop_entries* entries, DWORD timeout, DWORD* error) nogil
    evenloop_carrier* evenloop_entry(evenloop_entries* entries, int index, DWORD* moved) nogil
    BOOL evenloop_begin_poll(size_t poller, evenloop_poll* poll, size_t socket, DWORD events,
                             evenloop_carrier* carrier) nogil
    BOOL evenloop_recv(size_t handle, char* memory, DWORD size, DWORD* moved,
                       evenloop_carrier* carrier) nogil
    BOOL evenloop_recvfrom(size_t handle, char* memory, DWORD size, evenloop_address* sender,
                           DWORD* moved, evenloop_carrier* carrier) nogil
    BOOL evenloop_accept(size_t listener, size_t connection, char* memory, DWORD* moved,
                         evenloop_carrier* carrier) nogil
    BOOL evenloop_read(size_t handle, char* memory, DWORD size, DWORD* moved,
                       evenloop_carrier* carrier) nogil
    BOOL evenloop_write(size_t handle, char* memory, DWORD size, DWORD* moved,
                        evenloop_carrier* carrier) nogil
    BOOL evenloop_send(size_t handle, WSABUF* buffers, DWORD count, DWORD* moved,
                       evenloop_carrier* carrier) nogil
    size_t evenloop_open_poller() nogil
    DWORD evenloop_base(size_t handle, DWORD request, size_t* base) nogil
    int evenloop_is_socket(size_t handle) nogil
    void evenloop_cancel(size_t handle, evenloop_carrier* carrier) nogil
    void evenloop_post(size_t port) nogil
    DWORD evenloop_begin_watch(evenloop_watch* watch, size_t port, size_t handle) nogil
    BOOL evenloop_end_watch(evenloop_watch* watch) nogil
    size_t evenloop_posted(evenloop_entries* entries, int index) nogil
    BOOL evenloop_skip(size_t handle) nogil

cdef enum:
    # Buffers of one send that need no memory of their own.
    PIECES = 64


cpdef object close_handle(size_t handle):
    """Close a handle that is no socket."""
    CloseHandle(<void*>handle)


cpdef bint is_socket(size_t handle):
    """Whether a handle is a socket's."""
    return evenloop_is_socket(handle)


cpdef size_t base_socket(size_t handle) except 0:
    """Return the socket below the layers of other providers; OSError if it is no socket."""
    cdef size_t base = 0
    cdef DWORD first = evenloop_base(handle, EVENLOOP_SIO_BASE_HANDLE, &base)
    if first == 0:
        return base
    if first != WSAENOTSOCK:
        for request in (
            EVENLOOP_SIO_BSP_HANDLE_SELECT, EVENLOOP_SIO_BSP_HANDLE_POLL, EVENLOOP_SIO_BSP_HANDLE
        ):
            if evenloop_base(handle, request, &base) == 0 and base != handle:
                return base
    raise failure(first)


cpdef size_t open_poller() except 0:
    """Return a handle of the socket driver's own, through which sockets are polled."""
    cdef size_t handle = evenloop_open_poller()
    if handle == 0:
        raise failure(GetLastError())
    return handle


cpdef bint skip_port_when_done(size_t handle):
    """Have no completion queued for what is done at once; whether that is so from now on."""
    return evenloop_skip(handle)


cdef class Port:
    """An I/O completion port."""

    def __cinit__(self):
        self.again = []
        self.watches = {}
        self.entries = <evenloop_entries*>PyMem_Malloc(sizeof(evenloop_entries))
        if self.entries == NULL:
            raise MemoryError
        self.handle = evenloop_new_port()
        if self.handle == 0:
            raise failure(GetLastError())

    def __dealloc__(self):
        PyMem_Free(self.entries)

    cpdef int associate(self, size_t handle) except -1:
        """Have completions of a handle queued here, for as long as it is open: error or 0."""
        return evenloop_associate(self.handle, handle)

    cdef int wait(self, long milliseconds) except -1:
        """Wait for completions (negative: for ever) and return how many there are to take."""
        cdef DWORD error, timeout = INFINITE if milliseconds < 0 else <DWORD>milliseconds
        cdef int count
        if timeout == 0:
            count = evenloop_wait(self.handle, self.entries, 0, &error)
        else:
            # A signal that came since the last bytecode has not been handled yet.
            PyErr_CheckSignals()
            with nogil:
                count = evenloop_wait(self.handle, self.entries, timeout, &error)
        if error != 0 and error != WAIT_TIMEOUT:
            raise failure(error)
        self.taken = 0
        return count

    cdef Request take(self):
        """Return the next request of the last wait; None for what was only posted."""
        cdef DWORD moved
        cdef int index = self.taken
        cdef evenloop_carrier* carrier = evenloop_entry(self.entries, index, &moved)
        cdef Request request
        cdef size_t number
        self.taken += 1
        if carrier == NULL:
            return None
        number = evenloop_posted(self.entries, index)
        if number & 1:
            return self.watches.pop(number, None)
        request = <Request>carrier.request
        # Until now the kernel's hold on it was this reference.
        Py_DECREF(request)
        self.count -= 1
        request.transferred = moved
        request.status = <unsigned int>carrier.overlapped.Internal
        return request

    cdef object post(self):
        """End a wait, this or the next; from any thread."""
        evenloop_post(self.handle)

    cpdef Py_ssize_t in_flight(self):
        """Return how many requests the kernel has."""
        return self.count

    cpdef object close(self):
        """Close the port; nothing may be in flight."""
        cdef size_t handle = self.handle
        self.handle = 0
        if handle:
            CloseHandle(<void*>handle)


cdef class Request:
    """One OVERLAPPED, the memory that goes with it, and the operations it can carry."""

    def __cinit__(self):
        self.carrier.request = <PyObject*>self

    def __init__(self, Port port):
        self.port = port

    def __dealloc__(self):
        PyMem_Free(self.memory)
        PyMem_Free(self.polled)
        PyMem_Free(self.address)

    cpdef object arrived(self):
        """Take the completion, `land()`; called by the engine on the loop's thread."""
        raise NotImplementedError

    cdef void land(self) noexcept:
        """The completion has arrived: what it brought may be taken, and another one begin."""
        self.in_flight = False

    cdef int error(self) except -1:
        """Return the error code of the last operation, or 0."""
        if self.status == 0:
            return 0
        return status_to_error(self.status)

    cdef object cancel_io(self):
        """Ask for the operation to end; its completion comes all the same."""
        if self.in_flight:
            evenloop_cancel(self.handle, &self.carrier)

    cdef int poll(self, size_t poller, size_t sock, unsigned int events) except -2:
        """Wait until the base socket `sock` has one of the events of AFD."""
        cdef BOOL done
        if self.polled == NULL:
            self.polled = <evenloop_poll*>PyMem_Malloc(sizeof(evenloop_poll))
            if self.polled == NULL:
                raise MemoryError
        self.begin(poller)
        done = evenloop_begin_poll(poller, self.polled, sock, events, &self.carrier)
        return self.begun(done, GetLastError(), 0, False)

    cdef int events(self):
        """Return the events of AFD that a poll ended with."""
        if self.status != 0 or self.polled == NULL or self.polled.count < 1:
            return 0
        return <int>self.polled.events

    cdef int receive(self, size_t handle, Py_ssize_t size, bint skips) except -2:
        """Receive at most `size` bytes from a socket."""
        cdef DWORD moved = 0
        cdef BOOL done
        self.reserve(size)
        self.begin(handle)
        done = evenloop_recv(handle, self.memory, <DWORD>size, &moved, &self.carrier)
        return self.begun(done, GetLastError(), moved, skips)

    cdef int receive_from(self, size_t handle, Py_ssize_t size, bint skips) except -2:
        """Receive a datagram of at most `size` bytes."""
        cdef DWORD moved = 0
        cdef BOOL done
        self.reserve(size)
        if self.address == NULL:
            self.address = <evenloop_address*>PyMem_Malloc(sizeof(evenloop_address))
            if self.address == NULL:
                raise MemoryError
        self.begin(handle)
        done = evenloop_recvfrom(
            handle, self.memory, <DWORD>size, self.address, &moved, &self.carrier
        )
        return self.begun(done, GetLastError(), moved, skips)

    cdef bytes sender(self):
        """Return the sockaddr of the sender of a datagram."""
        cdef int length = self.address.length
        if length < 0 or length > EVENLOOP_ADDRESS:
            length = 0
        return PyBytes_FromStringAndSize(self.address.bytes, length)

    cdef int accept(self, size_t listener, size_t connection, bint skips) except -2:
        """Accept a connection into the unconnected socket `connection`."""
        cdef DWORD moved = 0
        cdef BOOL done
        self.reserve(2 * (EVENLOOP_ADDRESS + 16))
        self.begin(listener)
        done = evenloop_accept(listener, connection, self.memory, &moved, &self.carrier)
        return self.begun(done, GetLastError(), moved, skips)

    cdef int read(self, size_t handle, Py_ssize_t size, bint skips) except -2:
        """Read at most `size` bytes from a pipe."""
        cdef DWORD moved = 0
        cdef BOOL done
        self.reserve(size)
        self.begin(handle)
        done = evenloop_read(handle, self.memory, <DWORD>size, &moved, &self.carrier)
        return self.begun(done, GetLastError(), moved, skips)

    cdef bytes data(self):
        """Return what was received or read."""
        return PyBytes_FromStringAndSize(self.memory, self.transferred)

    cdef int send(self, size_t handle, list pieces, bint skips) except -2:
        """Send a list of bytes-likes to a socket, all of it."""
        cdef WSABUF few[PIECES]
        cdef WSABUF* buffers = few
        cdef Py_ssize_t count = len(pieces), index
        cdef DWORD moved = 0, code
        cdef BOOL done
        cdef list kept = []
        cdef object piece
        for index in range(count):
            piece = pieces[index]
            if type(piece) is not bytes:
                # It could change, or go away, before it is sent.
                piece = bytes(piece)
            kept.append(piece)
        if count > PIECES:
            buffers = <WSABUF*>PyMem_Malloc(count * sizeof(WSABUF))
            if buffers == NULL:
                raise MemoryError
        for index in range(count):
            buffers[index].len = <DWORD>PyBytes_GET_SIZE(kept[index])
            buffers[index].buf = PyBytes_AS_STRING(kept[index])
        self.kept = kept
        self.begin(handle)
        # The system copies the descriptions of the buffers before it returns.
        done = evenloop_send(handle, buffers, <DWORD>count, &moved, &self.carrier)
        code = GetLastError()
        if buffers != few:
            PyMem_Free(buffers)
        return self.begun(done, code, moved, skips)

    cdef int write(self, size_t handle, list pieces, bint skips) except -2:
        """Write a list of bytes-likes to a pipe, all of it."""
        cdef bytes kept = b"".join(pieces)
        cdef DWORD moved = 0
        cdef BOOL done
        self.kept = kept
        self.begin(handle)
        done = evenloop_write(
            handle, PyBytes_AS_STRING(kept), <DWORD>PyBytes_GET_SIZE(kept), &moved, &self.carrier
        )
        return self.begun(done, GetLastError(), moved, skips)

    cdef object let_go(self):
        """Drop what was sent."""
        self.kept = None

    cdef object reserve(self, Py_ssize_t size):
        """Have memory for `size` bytes to be received."""
        cdef char* memory
        if size > self.room or self.memory == NULL:
            memory = <char*>PyMem_Realloc(self.memory, size if size > 0 else 1)
            if memory == NULL:
                raise MemoryError
            self.memory = memory
            self.room = size

    cdef object begin(self, size_t handle):
        """Before the call: the completion may be queued as soon as it is made."""
        memset(&self.carrier.overlapped, 0, sizeof(self.carrier.overlapped))
        self.handle = handle
        self.in_flight = True
        self.port.count += 1
        Py_INCREF(self)

    cdef int begun(self, bint done, DWORD code, DWORD moved, bint skips) except -2:
        """After the call: DONE, PENDING or what went wrong."""
        cdef int outcome
        if done:
            if not skips:
                return PENDING
            self.transferred = moved
            outcome = DONE
        elif code == ERROR_IO_PENDING or code == ERROR_MORE_DATA:
            # A part of a message is no failure: its completion is queued.
            return PENDING
        else:
            self.transferred = 0
            outcome = <int>code if code != 0 else ERROR_IO_PENDING
        self.status = 0
        self.in_flight = False
        self.port.count -= 1
        Py_DECREF(self)
        return outcome


cdef class Watch(Request):
    """Has the port told once that a handle is signalled."""

    def __dealloc__(self):
        if self.watching != NULL and evenloop_end_watch(self.watching):
            PyMem_Free(self.watching)

    cdef object watch(self, size_t handle):
        """Begin; `arrived()` comes when it is signalled. OSError where that cannot be had."""
        cdef Port port = self.port
        cdef DWORD code
        cdef evenloop_watch* watching = <evenloop_watch*>PyMem_Malloc(sizeof(evenloop_watch))
        if watching == NULL:
            raise MemoryError
        port.watched += 1
        watching.number = 2 * port.watched + 1
        code = evenloop_begin_watch(watching, port.handle, handle)
        if code != 0:
            PyMem_Free(watching)
            raise failure(code)
        self.watching = watching
        port.watches[watching.number] = self

    cdef object unwatch(self):
        """End; afterwards the handle may be closed."""
        cdef evenloop_watch* watching = self.watching
        cdef BOOL ended
        if watching == NULL:
            return
        self.watching = NULL
        self.port.watches.pop(watching.number, None)
        with nogil:
            # Returns when the callback does not run and will not: soon.
            ended = evenloop_end_watch(watching)
        if ended:
            PyMem_Free(watching)
