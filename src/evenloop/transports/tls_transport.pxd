cimport cython

from evenloop.transports.tls_records cimport TLSRecords


@cython.final
cdef class TLSTransport:
    cdef object __weakref__
    cdef readonly TLSRecords _ssl_protocol
    cdef public bint _closed
