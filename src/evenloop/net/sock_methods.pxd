from evenloop.engines.engine cimport ACCEPT, RECV, RECV_INTO, RECVFROM, SEND, SENDTO
from evenloop.net._make_request cimport new_request, new_send_all
from evenloop.net.sockets cimport Request
