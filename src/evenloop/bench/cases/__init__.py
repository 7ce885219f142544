"""The cases, one file per topic."""

from __future__ import annotations

import importlib

__all__ = ["ROWS", "load"]

_FILES = (
    "scheduling",
    "threads",
    "sockets",
    "tls",
    "processes",
    "servers",
    "http",
    "memory",
    "start",
    "growth",
    "files",
)

ROWS = (
    "call_soon-chain",
    "call_soon-batches",
    "task-switches",
    "task-spawn",
    "timers-cancelled",
    "timers-fired",
    "timeouts",
    "call_soon_threadsafe",
    "run_in_executor",
    "sock-echo",
    "stream-echo",
    "readline",
    "protocol-echo",
    "tls-echo",
    "tls-echo-1m",
    "tcp-echo-1m",
    "tls-handshakes",
    "connects",
    "udp-echo",
    "process-true",
    "process-cat",
    "getaddrinfo",
    "pipe-writes",
)
"""The rows of the matrix, in their order; they come from several files."""


def load() -> None:
    """Import the files, which register their cases."""
    for name in _FILES:
        importlib.import_module(f"{__name__}.{name}")
