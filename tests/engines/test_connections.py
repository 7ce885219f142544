"""Connecting and accepting through an engine: what comes out, and how much it costs."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evenloop.engines import Engine
from evenloop.engines import engine as kinds

from tests.engines.test_contract import Record, engine, turn

__all__ = ["engine"]

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def _has(family: int) -> bool:
    try:
        with socket.socket(family) as sock:
            sock.bind((HOSTS[socket.AddressFamily(family)], 0))
    except OSError:
        return False
    return True


class Duck(socket.socket):
    """A socket of the user's, which may do as it likes."""

    asked = 0

    def accept(self) -> Any:
        Duck.asked += 1
        return super().accept()


@pytest.fixture(params=HOSTS)
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    if not _has(request.param):
        pytest.skip("this machine does not speak it")
    with socket.create_server(
        (HOSTS[request.param], 0), family=request.param, backlog=500
    ) as listener:
        listener.setblocking(False)
        yield listener


def _accept(engine: Engine, listener: socket.socket) -> Record:
    accepting = Record(kinds.ACCEPT, listener.fileno(), listener, multishot=True)
    engine.start(accepting)
    return accepting


def _connect(engine: Engine, address: Any, family: int) -> socket.socket:
    client = socket.socket(family)
    client.setblocking(False)
    op = Record(kinds.CONNECT, client.fileno(), client, address=address)
    if not engine.start(op):
        while not op.outcomes:
            turn(engine, 1)
    assert op.error is None
    return client


def test_both_ends_are_described_in_full(engine: Engine, listener: socket.socket) -> None:
    accepting = _accept(engine, listener)
    client = _connect(engine, listener.getsockname(), listener.family)
    while not accepting.outcomes:
        turn(engine, 1)
    connection, address = accepting.outcomes[0]
    with client, connection:
        assert type(connection) is socket.socket
        assert address == client.getsockname() == connection.getpeername()
        assert connection.gettimeout() == 0
        assert not connection.get_inheritable()
        for name in ("family", "type", "proto"):
            assert getattr(connection, name) == getattr(listener, name)
    engine.forget(listener.fileno())


def test_a_queue_of_connections_is_taken_in_a_few_turns(
    engine: Engine, listener: socket.socket
) -> None:
    accepting = _accept(engine, listener)
    clients = []
    for _ in range(200):
        client = socket.socket(listener.family)
        client.connect(listener.getsockname())
        clients.append(client)
    turns = 0
    while len(accepting.outcomes) < len(clients):
        turn(engine, 1)
        turns += 1
    assert turns <= 20
    assert [address for _, address in accepting.outcomes] == [
        client.getsockname() for client in clients
    ]
    for client in clients:
        client.close()
    for connection, _ in accepting.outcomes:
        connection.close()
    engine.forget(listener.fileno())


def test_a_socket_of_another_class_is_asked_itself(engine: Engine) -> None:
    with Duck() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        accepting = _accept(engine, listener)
        client = _connect(engine, listener.getsockname(), socket.AF_INET)
        while not accepting.outcomes:
            turn(engine, 1)
        connection, address = accepting.outcomes[0]
        with client, connection:
            assert address == client.getsockname()
            if engine.model == "readiness":
                assert Duck.asked
        engine.forget(listener.fileno())


# PyPy's sockets have errors of their own for what is no address.
_MISFIT = TypeError if sys.implementation.name == "cpython" else (TypeError, ValueError)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (("127.0.0.1", 99999), OverflowError),
        (("127.0.0.1", "80"), TypeError),
        (("127.0.0.1",), _MISFIT),
        (("not a host name\0", 80), (OSError, ValueError, TypeError)),
        ("127.0.0.1", _MISFIT),
    ],
)
def test_an_address_that_is_none(engine: Engine, address: Any, error: Any) -> None:
    if engine.model != "readiness":
        pytest.skip("how it fails is the operating system's to say")
    with socket.socket() as client:
        client.setblocking(False)
        op = Record(kinds.CONNECT, client.fileno(), client, address=address)
        with pytest.raises(error):
            if engine.start(op) and op.error is not None:
                raise op.error
        engine.forget(client.fileno())


def test_an_end_within_a_batch_costs_nothing_of_the_others(engine: Engine) -> None:
    """An event of a descriptor that was closed meanwhile is no reason to look at the rest."""
    pairs = [socket.socketpair() for _ in range(100)]
    for left, _ in pairs:
        left.setblocking(False)
        engine.adopt(left.fileno(), left)
        engine.start(Record(kinds.RECV, left.fileno(), left, multishot=True))
    turn(engine, 0)
    before = engine.stats()
    gone = pairs[0][0]
    pairs[0][1].send(b"x")
    if engine.wait(1):
        engine.forget(gone.fileno())
        gone.close()
        engine.deliver()
    for _ in range(3):
        turn(engine, 0)
    assert engine.stats()["changes"] - before["changes"] <= 2
    for left, right in pairs:
        if left is not gone:
            engine.forget(left.fileno())
        left.close()
        right.close()
