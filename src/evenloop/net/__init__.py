"""The network: everything of the loop that opens, accepts and feeds sockets."""

from __future__ import annotations

from evenloop.net.connect import Connecting
from evenloop.net.datagrams import Datagrams
from evenloop.net.listen import Listening, Server
from evenloop.net.resolve import Resolving
from evenloop.net.sendfile import Sendfile
from evenloop.net.sock_methods import SocketMethods
from evenloop.net.unix import UnixSockets

__all__ = ["Network", "Server"]


class Network(Connecting, Listening, UnixSockets, Datagrams, Sendfile, SocketMethods, Resolving):
    """The loop's methods for the network, room by room."""
