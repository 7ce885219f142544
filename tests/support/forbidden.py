"""Programs that io_uring is taken from, by a seccomp filter."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import evenloop

__all__ = ["forbidden"]

FORBID = """
import ctypes, errno, struct, sys
def forbid(code):
    libc = ctypes.CDLL(None, use_errno=True)
    answer = 0x00050000 | code
    program = b"".join(struct.pack("HBBI", *each) for each in (
        (0x20, 0, 0, 0),                # the number of the call
        (0x35, 0, 2, 425),              # below io_uring's three
        (0x25, 1, 0, 427),              # above them
        (0x06, 0, 0, answer),
        (0x06, 0, 0, 0x7fff0000),
    ))
    memory = ctypes.create_string_buffer(program)
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(memory))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.create_string_buffer(head), 0, 0) == 0, ctypes.get_errno()
"""


def forbidden(code: int, program: str) -> str:
    """What a process prints that io_uring is taken from."""
    environment = {k: v for k, v in os.environ.items() if k != "EVENLOOP_ENGINE"}
    environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(evenloop.__file__))
    done = subprocess.run(
        [sys.executable, "-c", FORBID + f"forbid({code})\n" + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
