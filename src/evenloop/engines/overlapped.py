"""Streams on a completion port: what is received ahead, and what is being sent.

Each handle has one `Receiving` and, while something is under way, one `Sending` for each send.
They own the memory that the kernel uses, and they are not the loop's requests: an `Op` only
waits for what they bring. So a request can be taken back at any time and is free at once, and
nothing is lost by that:

- What was received while nobody waited for it is kept for the next request. A paused stream
  costs no system call; at most one buffer is received for it.
- What is being sent stays where it is until the kernel is done, whoever has lost interest.

A buffer is small while messages are, and large while a fast sender fills it.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

assert sys.platform == "win32"

from evenloop.engines.nt_errors import failure  # noqa: E402

if not cython.compiled:
    from evenloop.engines._win32 import (
        DONE,
        ERROR_BROKEN_PIPE,
        ERROR_HANDLE_EOF,
        ERROR_MORE_DATA,
        PENDING,
        WSAEMSGSIZE,
        Port,
        Request,
    )
    from evenloop.engines.engine import RECV_INTO, Op

    # What one receive takes: while messages are small, and while a fast sender fills that.
    SMALL = 8 * 1024
    LARGE = 256 * 1024

__all__ = ["Accepting", "ReadyPipe", "Receiving", "ReceivingFrom", "Sending"]

# Datagrams and connections taken in one go before others have their turn.
_BURST = 64

_SO_UPDATE_ACCEPT_CONTEXT = 0x700B


class Receiving(Request):
    """The receiving half of a stream."""

    def __init__(self, port: Port, handle: int, is_socket: bool, skips: bool) -> None:
        Request.__init__(self, port)
        self.stream = handle
        self.is_socket = is_socket
        self.skips = skips
        # The request that waits, and the tail of those behind it.
        self.op: Op | None = None
        # Received, or learned, while nobody waited.
        self.held: Any = None
        self.fault: Any = None
        self.size = SMALL
        # Has something for the next delivery.
        self.listed = False

    def start(self, op: Op) -> bool:
        """Have a request wait for what comes; True if that is there."""
        op.next = None
        head = self.op
        if head is not None:
            op.active = True
            while head.next is not None:
                head = head.next
            head.next = op
            return False
        if not self.has_news() and not self.in_flight:
            self.arm()
        if self.has_news():
            if not op.multishot:
                self.give(op)
                return True
            self.enlist()
        op.active = True
        self.op = op
        return False

    def cancel(self, op: Op) -> bool:
        """Take a request back; False if it does not wait here."""
        head = self.op
        if head is op:
            self.op = op.next
        else:
            while head is not None and head.next is not op:
                head = head.next
            if head is None:
                return False
            head.next = op.next
        op.next = None
        op.active = False
        return True

    def has_news(self) -> bool:
        """Whether something was received, or went wrong, that nobody was told of."""
        return self.held is not None or self.fault is not None

    def enlist(self) -> None:
        """Have what is there delivered in the next round."""
        if not self.listed:
            self.listed = True
            self.port.again.append(self)

    def arm(self) -> None:
        """Have the kernel receive."""
        if self.is_socket:
            code = self.receive(self.stream, self.size, self.skips)
        else:
            code = self.read(self.stream, self.size, self.skips)
        if code != PENDING:
            self.take(code)

    def take(self, code: int) -> None:
        """Note what has come: `code` is 0 or what went wrong."""
        if code in (DONE, ERROR_MORE_DATA, WSAEMSGSIZE):
            # Of a message in a pipe more is to come; ports call that as they do for datagrams.
            count = self.transferred
            self.held = self.data()
            if count == self.size:
                self.size = LARGE
            elif count < SMALL:
                self.size = SMALL
        elif code in (ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF):
            self.held = b""
        else:
            self.fault = failure(code)

    def give(self, op: Op) -> None:
        """Make what is there a request's outcome."""
        op.error = self.fault
        op.result = None
        if self.fault is not None:
            self.fault = None
            return
        data = self.held
        size = len(data)
        if op.kind == RECV_INTO:
            buffer = op.acquire()
            if buffer is None:
                # Its maker has given the stream up.
                return
            with memoryview(buffer) as view, view.cast("B") as target:
                room = min(size, len(target))
                target[:room] = data[:room]
            op.result = room
        else:
            room = min(size, op.size or size)
            op.result = data if room == size else data[:room]
        # Not before: what a refused buffer could not take is for the next request.
        self.held = data[room:] if room < size else None

    def arrived(self) -> None:
        """Deliver what the kernel, or an earlier round, has brought."""
        if self.listed:
            self.listed = False
        else:
            self.land()
            self.take(self.error())
        op = self.op
        if op is None:
            return
        try:
            if self.has_news():
                self.hand_over(op)
        finally:
            # The end of a stream comes again and again, as it does where readiness rules.
            if self.op is not None:
                if not self.has_news() and not self.in_flight:
                    self.arm()
                if self.has_news():
                    self.enlist()

    def hand_over(self, op: Op) -> None:
        """Complete the request that has waited longest with what is there."""
        try:
            self.give(op)
        except Exception as error:
            # A buffer that was released meanwhile, say: its maker's to hear.
            op.result = None
            op.error = error
        if not op.multishot:
            self.op = op.next
            op.next = None
            op.active = False
        if op.error is not None or op.result is not None:
            op.complete()

    def let_all_go(self) -> None:
        """End every request: the handle is about to be closed."""
        while self.op is not None:
            self.cancel(self.op)
        self.cancel_io()


class ReadyPipe(Request):
    """Waits until a pipe can be read: a read of no bytes, which ends when there are some."""

    def __init__(self, port: Port, op: Op) -> None:
        Request.__init__(self, port)
        self.op: Op | None = op

    def start(self) -> bool:
        """Begin; True if it is readable now."""
        op = self.op
        if op is None or self.read(op.fd, 0, False) != PENDING:
            # Readable, or broken: reading will tell.
            self.op = None
            return True
        op.active = True
        return False

    def arrived(self) -> None:
        """Complete the request, if there is still one."""
        self.land()
        op = self.op
        self.op = None
        if op is not None:
            op.active = False
            op.complete()


class Sending(Request):
    """One send, which is complete when all of it is sent."""

    def __init__(self, port: Port) -> None:
        Request.__init__(self, port)
        self.op: Op | None = None
        # Whose list of sends this is in, while it is in flight.
        self.note: Any = None

    def start(self, op: Op, handle: int, is_socket: bool, skips: bool) -> bool:
        """Begin to send what a request has; True if it is finished."""
        pieces = op.acquire()
        op.result = op.error = None
        if not pieces:
            op.result = 0
            return True
        code = self.send(handle, pieces, skips) if is_socket else self.write(handle, pieces, skips)
        if code == PENDING:
            op.active = True
            self.op = op
            return False
        self.outcome(op, code)
        return True

    def outcome(self, op: Op, code: int) -> None:
        """Make the end of the send a request's."""
        self.let_go()
        if code == DONE:
            op.result = self.transferred
        else:
            op.error = failure(code)

    def arrived(self) -> None:
        """Complete the request, if there is still one."""
        self.land()
        op = self.op
        if op is None:
            self.let_go()
            return
        self.op = None
        note = self.note
        self.note = None
        note.sends.remove(self)
        note.spare = self
        op.active = False
        self.outcome(op, self.error())
        op.complete()

    def give_up(self) -> None:
        """End the request, and the send as soon as may be."""
        op = self.op
        self.op = self.note = None
        if op is not None:
            op.active = False
        self.cancel_io()


class ReceivingFrom(Request):
    """Receives the datagrams of a socket."""

    def __init__(self, port: Port, handle: int, skips: bool) -> None:
        Request.__init__(self, port)
        self.stream = handle
        self.skips = skips
        self.op: Op | None = None
        # A datagram and its sender, or what the network said, that nobody was told of.
        self.held: Any = None
        self.fault: Any = None
        self.listed = False

    def start(self, op: Op) -> None:
        """Have a multishot request take what comes."""
        op.next = None
        op.active = True
        self.op = op
        self.go_on()

    def go_on(self) -> None:
        """Receive, or have what is there delivered in the next round."""
        op = self.op
        if op is None:
            return
        if self.held is None and self.fault is None and not self.in_flight:
            code = self.receive_from(self.stream, op.size, self.skips)
            if code != PENDING:
                self.take(code)
        if (self.held is not None or self.fault is not None) and not self.listed:
            self.listed = True
            self.port.again.append(self)

    def take(self, code: int) -> None:
        """Note what has come; what did not fit is cut off, as it is elsewhere."""
        if code in (DONE, ERROR_MORE_DATA, WSAEMSGSIZE):
            self.held = (self.data(), address_of(self.sender()))
        else:
            self.fault = failure(code)

    def arrived(self) -> None:
        """Deliver a datagram, or an error, and the next ones that are there."""
        if self.listed:
            self.listed = False
        else:
            self.land()
            self.take(self.error())
        burst: int = _BURST
        op = self.op
        try:
            while op is not None and (self.held is not None or self.fault is not None):
                op.result = self.held
                op.error = self.fault
                self.held = self.fault = None
                if op.error is not None and op.sock.fileno() != self.stream:
                    # Closed by someone else: there is nothing left to receive from.
                    self.cancel(op)
                op.complete()
                op = self.op
                burst -= 1
                if op is None or burst <= 0 or self.in_flight:
                    break
                if self.held is not None or self.fault is not None:
                    # It was taken back and started again.
                    continue
                code = self.receive_from(self.stream, op.size, self.skips)
                if code == PENDING:
                    break
                self.take(code)
        finally:
            self.go_on()

    def cancel(self, op: Op) -> bool:
        """Take the request back; False if it is not this one's."""
        if self.op is not op:
            return False
        self.op = None
        op.active = False
        return True

    def let_all_go(self) -> None:
        """End the request: the socket is about to be closed."""
        if self.op is not None:
            self.cancel(self.op)
        self.cancel_io()


class Accepting(Request):
    """Accepts the connections of a listening socket."""

    def __init__(self, port: Port, listener: socket.socket, skips: bool) -> None:
        Request.__init__(self, port)
        self.listener: Any = listener
        self.stream = listener.fileno()
        self.skips = skips
        self.op: Op | None = None
        # The socket that a connection shall be accepted into.
        self.connection: Any = None
        self.held: Any = None
        self.fault: Any = None
        self.listed = False

    def start(self, op: Op) -> None:
        """Have a multishot request take what comes."""
        op.next = None
        op.active = True
        self.op = op
        self.go_on()

    def go_on(self) -> None:
        """Accept, or have what is there delivered in the next round."""
        if self.op is None:
            return
        if self.held is None and self.fault is None and not self.in_flight:
            self.arm()
        if (self.held is not None or self.fault is not None) and not self.listed:
            self.listed = True
            self.port.again.append(self)

    def arm(self) -> None:
        """Have the kernel accept."""
        listener = self.listener
        try:
            if self.connection is None:
                self.connection = socket.socket(listener.family, listener.type, listener.proto)
        except OSError as error:
            self.fault = error
            return
        code = self.accept(self.stream, self.connection.fileno(), self.skips)
        if code != PENDING:
            self.take(code)

    def take(self, code: int) -> None:
        """Note a connection, or why there is none."""
        if code != DONE:
            self.fault = failure(code)
            return
        connection = self.connection
        self.connection = None
        try:
            connection.setsockopt(
                socket.SOL_SOCKET, _SO_UPDATE_ACCEPT_CONTEXT, self.stream.to_bytes(8, "little")
            )
            connection.setblocking(False)
            self.held = (connection, connection.getpeername())
        except OSError as error:
            # Gone again.
            connection.close()
            self.fault = ConnectionAbortedError(error.errno, error.strerror)

    def arrived(self) -> None:
        """Deliver a connection, or an error, and the next ones that are there."""
        if self.listener is None:
            return
        if self.listed:
            self.listed = False
        else:
            self.land()
            self.take(self.error())
        burst: int = _BURST
        try:
            while self.op is not None and (self.held is not None or self.fault is not None):
                op = self.op
                op.result = self.held
                op.error = self.fault
                self.held = self.fault = None
                if op.error is not None:
                    # Not at once again: it may be told to rest.
                    burst = 0
                    if self.listener.fileno() != self.stream:
                        # Closed by someone else: there is nothing left to accept from.
                        op.error = OSError(errno.EBADF, f"descriptor {self.stream} was closed")
                        self.cancel(op)
                op.complete()
                burst -= 1
                if burst <= 0 or self.in_flight:
                    break
                self.take_another()
        finally:
            self.go_on()

    def take_another(self) -> None:
        """Take a connection that waits: many come at once, or none for a while."""
        if self.op is None or self.held is not None or self.fault is not None:
            # Nobody wants it, or whoever was started anew has taken one already.
            return
        try:
            connection, address = self.listener.accept()
            connection.setblocking(False)
            self.held = (connection, address)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.fault = error

    def cancel(self, op: Op) -> bool:
        """Take the request back; False if it is not this one's."""
        if self.op is not op:
            return False
        self.op = None
        op.active = False
        return True

    def let_all_go(self) -> None:
        """End the request: the socket is about to be closed."""
        if self.op is not None:
            self.cancel(self.op)
        self.listener = None
        self.cancel_io()
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.held is not None:
            self.held[0].close()
            self.held = None


def address_of(raw: bytes) -> Any:
    """Return the address in a sockaddr of the Internet's families, as `socket` gives it."""
    if len(raw) < 16:
        return None
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return (socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
    flow = int.from_bytes(raw[4:8], "big")
    host = socket.inet_ntop(socket.AF_INET6, raw[8:24])
    return (host, port, flow, int.from_bytes(raw[24:28], "little"))
