"""Accepting and connecting in C, for the readiness engines of POSIX systems.

How sockets behave, and what follows:

- `accept4` makes a socket that is non-blocking and closed on exec in the one call; and the
  `socket` object is told its family, type and protocol, lest it asks the kernel.
- A connection over loopback is established before a non-blocking `connect` returns, which says
  EINPROGRESS all the same. On Linux a second call tells: 0, EALREADY, or why it failed. So the
  common end of a local connect costs one cheap call, instead of a watch, a turn and a look.
- Where both ends of a call could block (the user's socket is a blocking one), the portable
  request is made, which lets go of the GIL.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EALREADY, EINPROGRESS, EINTR, EISCONN, errno
from posix.unistd cimport close

from evenloop.engines.addresses cimport (
    address_from, address_into, is_internet, sockaddr_storage, socklen_t,
)
from evenloop.engines.engine cimport Op

import os
import socket

import _socket

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    enum:
        SOL_SOCKET
        SO_ERROR
    int connect(int fd, const sockaddr* address, socklen_t size)
    int getsockname(int fd, sockaddr* address, socklen_t* size)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)

cdef extern from "Python.h":
    int PySys_Audit(const char* event, const char* format, ...) except -1

cdef extern from *:
    """
    #include <fcntl.h>
    #include <sys/socket.h>
    #include <unistd.h>

    static int evenloop_accept(int fd, struct sockaddr_storage *address, socklen_t *size)
    {
    #ifdef SOCK_NONBLOCK
        return accept4(fd, (struct sockaddr *)address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    #else
        int made = accept(fd, (struct sockaddr *)address, size);
        if (made >= 0) {
            fcntl(made, F_SETFD, FD_CLOEXEC);
            fcntl(made, F_SETFL, fcntl(made, F_GETFL) | O_NONBLOCK);
        }
        return made;
    #endif
    }

    #ifdef __linux__
    #define EVENLOOP_CONNECT_TELLS 1
    #else
    #define EVENLOOP_CONNECT_TELLS 0
    #endif
    """
    int evenloop_accept(int fd, sockaddr_storage* address, socklen_t* size) nogil
    bint EVENLOOP_CONNECT_TELLS

cdef object socket_class = socket.socket
# What the C class knows, without the detour through the enumerations of the Python class.
cdef object family_of = _socket.socket.family.__get__
cdef object kind_of = _socket.socket.type.__get__
cdef object proto_of = _socket.socket.proto.__get__
# Tells the socket object that its descriptor is non-blocking already.
cdef int NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)


cdef bint is_ordinary(object sock) except -1:
    """Whether this is the standard library's socket, of a family that C speaks, non-blocking."""
    return type(sock) is socket_class and is_internet(family_of(sock)) and sock.timeout == 0.0


cdef int accept_connection(Op op) except -1:
    """Accept: True when done, False when it would block, NOT_HERE for the portable request."""
    cdef object listener = op.sock
    cdef sockaddr_storage address
    cdef socklen_t size
    cdef int fd
    cdef int code
    if not is_ordinary(listener):
        return NOT_HERE
    while True:
        size = sizeof(address)
        address.ss_family = 0
        fd = evenloop_accept(op.fd, &address, &size)
        if fd >= 0:
            break
        code = errno
        if code == EAGAIN:
            return False
        if code != EINTR:
            op.error = OSError(code, os.strerror(code))
            return True
        PyErr_CheckSignals()
    op.result = connection_of(listener, fd, &address)
    return True


cdef object connection_of(object listener, int fd, const sockaddr_storage* address):
    """Return an accepted connection's socket and its address; the socket owns `fd` from now on."""
    try:
        connection = socket_class(
            family_of(listener), <int>kind_of(listener) | NONBLOCK, proto_of(listener), fd
        )
    except BaseException:
        close(fd)
        raise
    if NONBLOCK == 0:
        connection.setblocking(False)
    # macOS has no address for a peer that is gone already.
    return (connection, address_from(address) if is_internet(address.ss_family) else None)


cdef int connect_socket(Op op) except -1:
    """Begin to connect, or learn how it ended; the answers are those of `accept_connection`."""
    cdef object sock = op.sock
    cdef sockaddr_storage address
    cdef socklen_t size
    cdef int code = 0
    if op.result is not None:
        # It is writable: the attempt is over.
        size = sizeof(code)
        if getsockopt(op.fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0:
            code = errno
        # What kqueue has told: a library on Linux takes it from the socket in doing so.
        return _connected(op, code or <int>op.result)
    if not is_ordinary(sock):
        return NOT_HERE
    size = address_into(op.address, family_of(sock), &address)
    if size == 0:
        return NOT_HERE
    PySys_Audit("socket.connect", "OO", <void*>sock, <void*>op.address)
    if connect(op.fd, <sockaddr*>&address, size) == 0:
        return True
    code = errno
    if code != EINPROGRESS and code != EINTR:
        op.error = OSError(code, os.strerror(code))
        return True
    if EVENLOOP_CONNECT_TELLS:
        if connect(op.fd, <sockaddr*>&address, size) == 0:
            return True
        code = errno
        if code == EISCONN:
            return True
        if code != EALREADY and code != EINPROGRESS and code != EINTR:
            return _connected(op, code)
    op.result = 0
    return False


cdef object socket_name(object sock):
    """Return a socket's own address; None if it is not one of the Internet's."""
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    address.ss_family = 0
    if type(sock) is not socket_class or (
        getsockname(sock.fileno(), <sockaddr*>&address, &size) < 0
    ):
        return None
    return address_from(&address) if is_internet(address.ss_family) else None


cdef bint _connected(Op op, int code) except -1:
    """Record how an attempt to connect ended."""
    op.result = None
    if code:
        op.error = OSError(code, f"Connect call failed {op.address}")
    return True
