"""The `afd` engine: readiness on Windows, through the socket driver and a completion port.

How Windows behaves, and what follows:

- `select()` there takes sockets only, 512 of them, and looks at each at every call. But the
  driver below all sockets, AFD, answers a poll as it answers a receive: later, on a completion
  port. So there is no limit, and the cost is that of the events. The request is documented
  nowhere; its users (wepoll, trio, mio, libuv) have kept it as it is since Windows 2000.
- A poll completes once. So it is put up again before the next wait, for as long as somebody
  waits; it reports at once what is still so, which makes it level-triggered.
- A poll cannot be changed, but a socket can have several. So reading and writing have one
  each, and none is taken down because the other begins.
- To cancel a poll, the system looks through all that go through the same handle. So no handle
  of the driver serves more than a few.
- A layered provider puts its own handle over the socket's, which AFD does not know. So the
  handle below is asked for first.
- A socket that is closed ends its polls with "closed here", and the number may come back as
  another socket: such a poll is not put up again.
- Only sockets can be polled. The end of a process is told by the port as well (`exits`); what
  else there is goes to the threads of `blocking`.
- Waits end on a tick of the clock: late, and by some measures a little early. So an `alarm` ends
  them where the system has one, and a wait that ends early with nothing to show goes on.
"""

from __future__ import annotations

import errno
import math
import socket
import sys
from typing import Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

assert sys.platform == "win32"

from evenloop.engines import winapi  # noqa: E402
from evenloop.engines.alarm import new_alarm  # noqa: E402
from evenloop.engines.blocking import Blocking  # noqa: E402
from evenloop.engines.nt_errors import failure  # noqa: E402

if not cython.compiled:
    from evenloop.engines._win32 import (
        AFD_ABORT,
        AFD_ACCEPT,
        AFD_CONNECT_FAIL,
        AFD_DISCONNECT,
        AFD_LOCAL_CLOSE,
        AFD_RECEIVE,
        AFD_SEND,
        ERROR_INVALID_HANDLE,
        Port,
        Request,
        base_socket,
        close_handle,
        is_socket,
        open_poller,
        skip_port_when_done,
    )
    from evenloop.engines.engine import EXIT, POLL_READ, RECV, RECV_INTO, RECVFROM, SEND, Op
    from evenloop.engines.exits import Exit
    from evenloop.engines.overlapped import (
        Accepting,
        ReadyPipe,
        Receiving,
        ReceivingFrom,
        Sending,
    )
    from evenloop.engines.readiness import READABLE, WRITABLE, ReadinessEngine, Slot, wanted_by

__all__ = ["AfdEngine"]

# What ends a poll for reading and one for writing. Whatever breaks the connection ends both.
_READING = AFD_RECEIVE | AFD_ACCEPT | AFD_DISCONNECT | AFD_ABORT | AFD_LOCAL_CLOSE
_WRITING = AFD_SEND | AFD_CONNECT_FAIL | AFD_ABORT | AFD_LOCAL_CLOSE

# Sent to a user's socket in one call.
_SEND_SIZE = 256 * 1024
_LARGEST_DATAGRAM = 64 * 1024

# Polls through one handle of the driver's.
_GROUP = 32

# A day, in seconds; longer waits are taken in pieces.
_LONGEST_WAIT = 86400.0

# How near to its time an alarm is not trusted to come still, in seconds, and how long a wait goes
# on if it does not, in milliseconds.
_ALARM_MARGIN = 0.0001
_ALARM_GRACE = 20

# Times that close() waits a moment for the kernel to give memory back.
_CLOSING_WAITS = 100


class Group:
    """A handle of the socket driver's, and how many sockets are polled through it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.sockets = 0


class Poll(Request):
    """A poll of one socket for one direction."""

    def __init__(self, engine: AfdEngine, slot: Slot, bit: int) -> None:
        Request.__init__(self, engine.port)
        self.engine: Any = engine
        self.slot = slot
        self.bit = bit
        # No longer wanted; its completion is still to come.
        self.cancelled = False

    def arrived(self) -> None:
        """Tell the engine."""
        self.land()
        self.engine._polled(self)


class Note:
    """What the engine and the kernel have to do with one handle, beside its requests."""

    def __init__(self) -> None:
        # For polls: the socket below all layers, and whose handle they go through.
        self.base = 0
        self.group: Any = None
        self.reading: Poll | None = None
        self.writing: Poll | None = None
        # Whether the port takes its completions: 1, or -1 where it refuses to; 0: not tried.
        self.joined = 0
        self.skips = False
        self.receiving: Receiving | None = None
        # The sends in flight, and one that can be used again.
        self.sends: list[Sending] = []
        self.spare: Sending | None = None
        self.ready: ReadyPipe | None = None
        self.datagrams: ReceivingFrom | None = None
        self.accepting: Accepting | None = None
        # Of a process: what waits for its end.
        self.exits: list[Exit] | None = None


class AfdEngine(ReadinessEngine):
    """Readiness through polls of the socket driver."""

    name = "afd"

    def __init__(self) -> None:
        super().__init__()
        self.port = Port()
        # Groups with room left.
        self._groups: list[Group] = []
        self._every_group: list[Group] = []
        # Requests that came with the last wait, and the first of them that was not delivered.
        self._arrived: list[Any] = []
        self._position = 0
        self._receiver: Any = None
        self._sender: Any = None
        # What ends waits to a fraction of a millisecond, where the system has it.
        self._alarm: Any = None
        self._alarm_known = False
        self._alarm_time = 0.0
        # Threads for handles that the port does not take, from the first such handle on.
        self._blocking: Any = None

    # ---- polling ---------------------------------------------------------------------------

    def update(self, slot: Slot, wanted: int) -> None:
        """Have a socket polled for `wanted`."""
        note = slot.note
        slot.armed = 0
        if note is None:
            if wanted == 0:
                return
            note = slot.note = Note()
        if note.group is None:
            if wanted == 0:
                return
            self._look_up(note, slot.fd)
        self.changes += 1
        if wanted & READABLE:
            if note.reading is None:
                note.reading = Poll(self, slot, READABLE)
            self._put_up(note, note.reading, _READING)
        elif note.reading is not None:
            self._take_down(note.reading)
        if wanted & WRITABLE:
            if note.writing is None:
                note.writing = Poll(self, slot, WRITABLE)
            self._put_up(note, note.writing, _WRITING)
        elif note.writing is not None:
            self._take_down(note.writing)
        slot.armed = wanted

    def _look_up(self, note: Note, handle: int) -> None:
        """Prepare to poll a socket; OSError if it is none."""
        base = base_socket(handle)
        if not self._groups:
            poller = open_poller()
            code = self.port.associate(poller)
            if code:
                close_handle(poller)
                raise failure(code)
            group = Group(poller)
            self._groups.append(group)
            self._every_group.append(group)
        group = self._groups[len(self._groups) - 1]
        group.sockets += 1
        if group.sockets >= _GROUP:
            self._groups.pop()
        note.base = base
        note.group = group

    def _renewed(self, slot: Slot) -> Slot:
        """Begin a new life for a number: all that is in flight under the old one shall end."""
        note = slot.note
        replacement = ReadinessEngine._renewed(self, slot)
        if note is not None:
            slot.note = None
            self._drop(note)
        return replacement

    def _drop(self, note: Note) -> None:
        for poll in (note.reading, note.writing):
            if poll is not None:
                self._take_down(poll)
        group = note.group
        if group is not None:
            note.group = None
            group.sockets -= 1
            if group.sockets == _GROUP - 1:
                self._groups.append(group)
        if note.receiving is not None:
            note.receiving.let_all_go()
        if note.datagrams is not None:
            note.datagrams.let_all_go()
        if note.accepting is not None:
            note.accepting.let_all_go()
        for send in note.sends:
            send.give_up()
        note.sends.clear()
        if note.ready is not None:
            note.ready.op = None
            note.ready.cancel_io()
        while note.exits:
            exit = note.exits[0]
            exit.give_up()

    def _put_up(self, note: Note, poll: Poll, events: int) -> None:
        if poll.in_flight:
            # If it is being cancelled, it will be put up again when that is done.
            return
        poll.cancelled = False
        code = poll.poll(note.group.handle, note.base, events)
        if code > 0:
            raise failure(code)

    def _take_down(self, poll: Poll) -> None:
        if poll.in_flight and not poll.cancelled:
            poll.cancelled = True
            poll.cancel_io()

    def _polled(self, poll: Poll) -> None:
        """A poll has come back."""
        slot = poll.slot
        if slot.fd >= len(self._slots) or self._slots[slot.fd] is not slot:
            return
        bit = poll.bit
        slot.armed &= ~bit
        events = poll.events()
        if poll.cancelled or events == 0:
            code = 0 if poll.cancelled else poll.error()
            poll.cancelled = False
            if code:
                self._fail(slot, failure(code))
                self._deliver_failures()
            elif wanted_by(slot) != slot.armed:
                self._mark(slot)
            return
        if events & AFD_LOCAL_CLOSE and slot.sock is None:
            # Closed by its user, who may have forgotten that it was watched.
            slot.armed |= bit
            return
        self.dispatch(slot, bit)
        if wanted_by(slot) != slot.armed and self._slots[slot.fd] is slot:
            self._mark(slot)

    # ---- requests --------------------------------------------------------------------------

    def start(self, op: Op) -> bool:
        """Begin a request; see `engine`."""
        if op.sock is None and not is_socket(op.fd):
            return self._start_on_handle(op)
        return ReadinessEngine.start(self, op)

    def _start_on_handle(self, op: Op) -> bool:
        """Begin a request on what is no socket: on the port if that takes it, or else a thread."""
        slot = self._slot(op.fd)
        if op.kind in (RECV, RECV_INTO, SEND) or (
            op.kind == POLL_READ and not op.multishot and slot.owner is not None
        ):
            note = slot.note
            if note is None:
                note = slot.note = Note()
            if note.joined == 0:
                # A read of a part of a message is done at once, and may be queued all the same.
                skips = not winapi.reads_messages(op.fd)
                joins = winapi.is_overlapped(op.fd) and self._join(note, op.fd, skips)
                note.joined = 1 if joins else -1
            if note.joined > 0:
                if op.kind != POLL_READ:
                    return self._start_stream(note, op)
                op.result = op.error = None
                ready = note.ready = ReadyPipe(self.port, op)
                return ready.start()
        try:
            if op.kind == EXIT:
                return self._start_exit(slot, op)
            if self._blocking is None:
                self._blocking = Blocking(self.wake)
            return bool(self._blocking.start(op))
        except OSError as error:
            if error.winerror == ERROR_INVALID_HANDLE:
                raise OSError(errno.EBADF, f"{op.fd} is not an open descriptor") from None
            raise

    def _start_exit(self, slot: Slot, op: Op) -> bool:
        note = slot.note
        if note is None:
            note = slot.note = Note()
        if note.exits is None:
            note.exits = []
        exit = Exit(self.port, note.exits, op)
        return exit.start()

    def attempt(self, op: Op) -> bool:
        """Try a request on a socket; False when it would block."""
        if op.kind == SEND:
            # A socket takes any amount at once while it has some room: that would be no limit.
            pieces = op.acquire()
            if len(pieces) == 1 and len(pieces[0]) > _SEND_SIZE:
                return self._attempt_part(op, pieces[0])
        elif op.kind == RECVFROM and op.size < _LARGEST_DATAGRAM:
            return self._attempt_datagram(op)
        return ReadinessEngine.attempt(self, op)

    def _attempt_part(self, op: Op, piece: Any) -> bool:
        try:
            op.result = op.sock.send(memoryview(piece)[:_SEND_SIZE])
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            op.result = None
            op.error = error
        return True

    def _attempt_datagram(self, op: Op) -> bool:
        """Receive all of a datagram, for the system drops those that do not fit."""
        try:
            data, address = op.sock.recvfrom(_LARGEST_DATAGRAM)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            op.result = None
            op.error = error
            return True
        count = min(len(data), op.size)
        if op.buffer is None:
            op.result = (data[:count], address)
        else:
            with memoryview(op.buffer) as view, view.cast("B") as target:
                target[:count] = data[:count]
            op.result = (count, address)
        return True

    def _join(self, note: Note, handle: int, skips: bool = True) -> bool:
        """Have the port take the completions of a handle; whether it does."""
        if self.port.associate(handle):
            # Another port has it, or it is not of the kind that completes.
            note.joined = -1
            return False
        note.joined = 1
        note.skips = skips and skip_port_when_done(handle)
        return True

    def _start_stream(self, note: Note, op: Op) -> bool:
        """Begin to receive or to send on the port."""
        if op.kind != SEND:
            receiving = note.receiving
            if receiving is None:
                receiving = note.receiving = Receiving(
                    self.port, op.fd, op.sock is not None, note.skips
                )
            op.result = op.error = None
            return receiving.start(op)
        send = note.spare
        if send is None:
            send = Sending(self.port)
        note.spare = None
        if send.start(op, op.fd, op.sock is not None, note.skips):
            note.spare = send
            return True
        send.note = note
        note.sends.append(send)
        return False

    def cancel(self, op: Op) -> bool:
        """Take a request back: always free at once."""
        if not op.active:
            return True
        note = self._slot(op.fd).note
        if note is not None and self._cancel_on_port(note, op):
            return True
        if self._blocking is not None and op.sock is None and self._blocking.owns(op):
            return bool(self._blocking.cancel(op))
        return ReadinessEngine.cancel(self, op)

    def _cancel_on_port(self, note: Note, op: Op) -> bool:
        if note.receiving is not None and note.receiving.cancel(op):
            return True
        for send in note.sends:
            if send.op is op:
                note.sends.remove(send)
                send.give_up()
                return True
        if note.datagrams is not None and note.datagrams.cancel(op):
            return True
        if note.accepting is not None and note.accepting.cancel(op):
            return True
        ready = note.ready
        if ready is not None and ready.op is op:
            ready.op = None
            ready.cancel_io()
            op.active = False
            return True
        if note.exits is not None:
            for exit in note.exits:
                if exit.op is op:
                    exit.give_up()
                    return True
        return False

    def forget(self, fd: int) -> None:
        """Drop all that is known of a descriptor, before it is closed."""
        if self._blocking is not None:
            self._blocking.forget(fd)
        ReadinessEngine.forget(self, fd)

    def adopt(self, fd: int, owner: object) -> None:
        """Note that a transport owns this descriptor; what was known of the number is void."""
        slot = self._slot(fd)
        if slot.note is not None:
            self._renewed(slot)
        ReadinessEngine.adopt(self, fd, owner)

    # ---- waiting ---------------------------------------------------------------------------

    def wait(self, timeout: float) -> bool:
        """Wait for completions."""
        self.reconcile()
        self.waits += 1
        if self._has_news():
            timeout = 0.0
        port = self.port
        if timeout == 0.0:
            count = port.wait(0)
        elif timeout < 0.0:
            count = port.wait(-1)
        else:
            count = self._wait_until(min(timeout, _LONGEST_WAIT))
        while count > 0:
            request = port.take()
            if request is not None:
                self._arrived.append(request)
            count -= 1
        if self.port.again:
            self._arrived.extend(self.port.again)
            self.port.again.clear()
        return self._has_news()

    def _has_news(self) -> bool:
        """Whether there is something to deliver."""
        if self._arrived or self.port.again or self._failures:
            return True
        return self._blocking is not None and bool(self._blocking.ready)

    def _wait_until(self, timeout: float) -> int:
        """Wait so many seconds, and not less."""
        deadline = self.now() + timeout
        if not self._alarm_known:
            self._alarm_known = True
            self._alarm = new_alarm(self.port.handle)
        while True:
            milliseconds = math.ceil(timeout * 1000.0)
            if self._alarm is not None and self._set_alarm(deadline, timeout):
                # It is the alarm that ends this wait; the rest is for a system that slept.
                milliseconds += _ALARM_GRACE
            count = self.port.wait(milliseconds)
            if count:
                return count
            timeout = deadline - self.now()
            if timeout <= 0.0:
                return 0

    def _set_alarm(self, deadline: float, timeout: float) -> bool:
        """Have the port told of a deadline; one that is set and a little earlier will do."""
        now = deadline - timeout
        if now + _ALARM_MARGIN < self._alarm_time <= deadline + _ALARM_MARGIN:
            return True
        self._alarm_time = deadline
        if self._alarm.set(timeout):
            return True
        self._alarm_time = 0.0
        return False

    def deliver(self) -> None:
        """Complete what the last wait has collected."""
        self._deliver_failures()
        arrived = self._arrived
        while self._position < len(arrived):
            # What an interrupt leaves behind has its turn the next time.
            request = arrived[self._position]
            arrived[self._position] = None
            self._position += 1
            self.events += 1
            request.arrived()
        arrived.clear()
        self._position = 0
        if self._blocking is not None:
            self._blocking.deliver()

    def wake(self) -> None:
        """Make `wait()` return; from any thread, or a signal handler."""
        self.wakes += 1
        self.port.post()

    def signal_fd(self) -> int:
        """Return a socket; a byte sent to it wakes."""
        if self._sender is None:
            self._receiver, self._sender = socket.socketpair()
            self._receiver.setblocking(False)
            self._sender.setblocking(False)
            self._slot(self._receiver.fileno()).owner = self
            self.start(_Drain(self._receiver))
        sender: int = self._sender.fileno()
        return sender

    # ---- the end ---------------------------------------------------------------------------

    def after_fork(self) -> None:
        """Nothing: there is no fork on Windows."""

    def close(self) -> None:
        """Cancel what is in flight, wait for the kernel to let go of it, and close the port."""
        if self._blocking is not None:
            self._blocking.close()
        for slot in self._slots:
            if slot is not None and slot.note is not None:
                self._release(slot)
                self._drop(slot.note)
        for group in self._every_group:
            close_handle(group.handle)
        attempts = 0
        while self.port.in_flight() and attempts < _CLOSING_WAITS:
            attempts += 1
            count = self.port.wait(10)
            while count > 0:
                count -= 1
                self.port.take()
        self._slots.clear()
        self._dirty.clear()
        self._arrived.clear()
        self.port.again.clear()
        self._groups.clear()
        self._every_group.clear()
        if self._alarm is not None:
            self._alarm.close()
        self.port.close()
        if self._sender is not None:
            self._receiver.close()
            self._sender.close()


class _Drain(Op):
    """Takes the bytes off the socket that signal handlers write to."""

    def __init__(self, sock: socket.socket) -> None:
        Op.__init__(self, RECV, sock.fileno(), sock)
        self.multishot = True

    def complete(self) -> None:
        """Nothing: to have ended the wait was all."""
        self.result: Any = None
