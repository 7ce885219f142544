"""Signals that a test may send to itself, by a call that means the same everywhere.

`os.kill` does not: on Windows it ends the process, whatever the number.
"""

from __future__ import annotations

import signal

#: Two that Python leaves alone.
ONE: signal.Signals
TWO: signal.Signals

if hasattr(signal, "SIGUSR1"):
    ONE, TWO = signal.SIGUSR1, signal.SIGUSR2
else:
    ONE, TWO = signal.Signals(signal.SIGBREAK), signal.SIGTERM


def send(number: int = ONE) -> None:
    """Send a signal to this process; its handler runs soon after, in the main thread."""
    signal.raise_signal(number)
