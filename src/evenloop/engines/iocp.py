"""The `iocp` engine: a completion port, and readiness on the same port for the rest.

What a transport owns goes through the port: its streams are received and sent by requests that
are complete when the bytes have moved (`overlapped`). What is the user's does not. A handle
that a port has once stays with it until it is closed, no other loop could ever use it, and
memory of the user's would belong to the kernel until a request that was taken back has really
ended. So requests on sockets that nobody has adopted, and plain polls, are readiness (`afd`):
on the same port, by the same wait, and free at once when they are taken back.

- A socket that was used with another port before is refused by this one: readiness, then.
- What completes at once is not queued as well, where the socket is the driver's own. Handles
  of layered providers may be queued all the same, so with them everything is queued.
"""

from __future__ import annotations

import socket
import sys

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

assert sys.platform == "win32"

if not cython.compiled:
    from evenloop.engines._win32 import base_socket
    from evenloop.engines.afd import AfdEngine, Note
    from evenloop.engines.engine import ACCEPT, RECV, RECV_INTO, RECVFROM, SEND, Op
    from evenloop.engines.overlapped import Accepting, ReceivingFrom
    from evenloop.engines.readiness import Slot

__all__ = ["IocpEngine"]

_INTERNET = (socket.AF_INET, socket.AF_INET6)


class IocpEngine(AfdEngine):
    """A completion port."""

    name = "iocp"
    model = "completion"

    def start(self, op: Op) -> bool:
        """Begin a request; see `engine`."""
        if op.sock is None:
            return AfdEngine.start(self, op)
        kind = op.kind
        if kind in (RECV, RECV_INTO, SEND):
            slot = self._slot(op.fd)
            if slot.owner is not None:
                note = self._on_port(slot)
                if note is not None:
                    return self._start_stream(note, op)
        elif op.multishot and op.sock.family in _INTERNET:
            if kind == RECVFROM:
                slot = self._slot(op.fd)
                if slot.owner is not None and self._start_datagrams(slot, op):
                    return False
            elif kind == ACCEPT and self._start_accepting(self._claim(op), op):
                return False
        return AfdEngine.start(self, op)

    def _on_port(self, slot: Slot) -> Note | None:
        """Return what is known of a socket, if the port has it."""
        note = slot.note
        if note is None:
            note = slot.note = Note()
        if note.joined == 0 and self._join(note, slot.fd) and base_socket(slot.fd) != slot.fd:
            note.skips = False
        return note if note.joined > 0 else None

    def _start_datagrams(self, slot: Slot, op: Op) -> bool:
        note = self._on_port(slot)
        if note is None:
            return False
        datagrams = note.datagrams
        if datagrams is None:
            datagrams = note.datagrams = ReceivingFrom(self.port, op.fd, note.skips)
        elif datagrams.op is not None:
            return False
        op.result = op.error = None
        datagrams.start(op)
        return True

    def _start_accepting(self, slot: Slot, op: Op) -> bool:
        note = self._on_port(slot)
        if note is None:
            return False
        accepting = note.accepting
        if accepting is None:
            accepting = note.accepting = Accepting(self.port, op.sock, note.skips)
        elif accepting.op is not None:
            return False
        op.result = op.error = None
        accepting.start(op)
        return True
