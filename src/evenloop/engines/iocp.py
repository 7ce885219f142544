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

import sys

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

assert sys.platform == "win32"

if not cython.compiled:
    from evenloop.engines._win32 import base_socket
    from evenloop.engines.afd import AfdEngine, Note
    from evenloop.engines.engine import RECV, RECV_INTO, SEND, Op

__all__ = ["IocpEngine"]


class IocpEngine(AfdEngine):
    """A completion port."""

    name = "iocp"
    model = "completion"

    def start(self, op: Op) -> bool:
        """Begin a request; see `engine`."""
        if op.sock is not None and op.kind in (RECV, RECV_INTO, SEND):
            slot = self._slot(op.fd)
            if slot.owner is not None:
                note = slot.note
                if note is None:
                    note = slot.note = Note()
                if note.joined == 0 and self._join(note, op.fd) and base_socket(op.fd) != op.fd:
                    note.skips = False
                if note.joined > 0:
                    return self._start_stream(note, op)
        return AfdEngine.start(self, op)
