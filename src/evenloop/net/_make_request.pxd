# Making requests without the argument tuple of a call: the classes themselves are called by the
# uncompiled core, which knows them by these names, too.

from evenloop.net.sockets cimport Request, SendAll
from evenloop.scheduler cimport Scheduler


cdef inline Request _fill(Request request, Scheduler loop, int kind, object sock, object argument):
    request.kind = kind
    request.fd = -1
    request.sock = sock
    request.loop = loop
    request.argument = argument
    return request


cdef inline Request new_request(Scheduler loop, int kind, object sock, object argument=None):
    return _fill(<Request>Request.__new__(Request), loop, kind, sock, argument)


cdef inline Request new_send_all(Scheduler loop, int kind, object sock, object argument):
    return _fill(<SendAll>SendAll.__new__(SendAll), loop, kind, sock, argument)
