# The addresses of sockets, between Python's tuples and C; inlined where a leaf cimports them.
#
# What these functions do not take (names, zones, families other than IPv4 and IPv6) is the
# `socket` module's to do: each says so instead of guessing.

from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset, strlen

cdef extern from "Python.h":
    # ASCII text is kept as UTF-8 and an exact int is a number: neither of these can fail here.
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size)
    long PyLong_AsLongAndOverflow(object number, int* overflow)
    bint PyUnicode_IS_ASCII(object)
    bint PyLong_CheckExact(object)
    bint PyTuple_CheckExact(object)
    object PyUnicode_FromString(const char* text)
    object PyUnicode_FromStringAndSize(const char* text, Py_ssize_t size)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    enum:
        AF_INET
        AF_INET6
    struct sockaddr:
        int sa_family
    struct sockaddr_storage:
        int ss_family

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)
    int inet_pton(int family, const char* text, void* address)
    uint16_t htons(uint16_t)
    uint16_t ntohs(uint16_t)
    uint32_t htonl(uint32_t)
    uint32_t ntohl(uint32_t)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        INET6_ADDRSTRLEN
    struct in_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct in6_addr:
        pass
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id


cdef inline bint is_internet(int family) noexcept:
    """Whether this family's addresses are written and read here."""
    return family == AF_INET or family == AF_INET6


cdef inline Py_ssize_t write_four(const uint8_t* numbers, char* text) noexcept:
    """Write an IPv4 address and return its length: a tenth of what `inet_ntop()` takes."""
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t index
    cdef int number
    for index in range(4):
        number = numbers[index]
        if index:
            text[size] = b"."
            size += 1
        if number >= 100:
            text[size] = <char>(48 + number // 100)
            size += 1
        if number >= 10:
            text[size] = <char>(48 + number // 10 % 10)
            size += 1
        text[size] = <char>(48 + number % 10)
        size += 1
    return size


cdef inline object address_from(const sockaddr_storage* address):
    """Return the tuple for an IPv4 or IPv6 address, as the `socket` module writes it."""
    cdef char text[INET6_ADDRSTRLEN + 1]
    cdef const sockaddr_in* four
    cdef const sockaddr_in6* six
    if address.ss_family == AF_INET:
        four = <const sockaddr_in*>address
        return (
            PyUnicode_FromStringAndSize(text, write_four(<const uint8_t*>&four.sin_addr, text)),
            ntohs(four.sin_port),
        )
    six = <const sockaddr_in6*>address
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
    return (
        PyUnicode_FromString(text),
        ntohs(six.sin6_port),
        ntohl(six.sin6_flowinfo),
        six.sin6_scope_id,
    )


cdef inline long number_within(object value, long limit) noexcept:
    """Return an int between 0 and `limit`, or -1 for anything else."""
    cdef int overflow = 0
    cdef long number
    if not PyLong_CheckExact(value):
        return -1
    number = PyLong_AsLongAndOverflow(value, &overflow)
    return number if overflow == 0 and 0 <= number <= limit else -1


cdef inline socklen_t address_into(
    object address, int family, sockaddr_storage* into
) noexcept:
    """Write an address tuple of numbers as C wants it; return its size, 0 if it is another kind."""
    cdef sockaddr_in* four
    cdef sockaddr_in6* six
    cdef const char* host
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t length
    cdef long port
    cdef object text
    cdef long flow = 0
    cdef long scope = 0
    if not is_internet(family) or not PyTuple_CheckExact(address):
        return 0
    length = len(<tuple>address)
    if length < 2 or length > 4:
        return 0
    text = (<tuple>address)[0]
    if not PyUnicode_CheckExact(text) or not PyUnicode_IS_ASCII(text):
        return 0
    port = number_within((<tuple>address)[1], 0xFFFF)
    host = PyUnicode_AsUTF8AndSize(text, &size)
    if port < 0 or <Py_ssize_t>strlen(host) != size:
        return 0
    if family == AF_INET:
        four = <sockaddr_in*>into
        memset(four, 0, sizeof(sockaddr_in))
        if length != 2 or inet_pton(AF_INET, host, &four.sin_addr) != 1:
            return 0
        four.sin_port = htons(<uint16_t>port)
        into.ss_family = AF_INET
        return sizeof(sockaddr_in)
    if length > 2:
        flow = number_within((<tuple>address)[2], 0xFFFFF)
    if length > 3:
        scope = number_within((<tuple>address)[3], 0xFFFFFFFF)
    six = <sockaddr_in6*>into
    memset(six, 0, sizeof(sockaddr_in6))
    if flow < 0 or scope < 0 or inet_pton(AF_INET6, host, &six.sin6_addr) != 1:
        return 0
    six.sin6_port = htons(<uint16_t>port)
    six.sin6_flowinfo = htonl(<uint32_t>flow)
    six.sin6_scope_id = <uint32_t>scope
    into.ss_family = AF_INET6
    return sizeof(sockaddr_in6)
