"""The clock of the loop: seconds, monotonic. Compiled modules take its C twin in `_clock.pxd`.

On Windows before Python 3.13 time.monotonic() goes in steps of 15.6 ms, and the performance
counter in steps of 0.1 µs; from 3.13 on they are the same there.
"""

from __future__ import annotations

import sys
import time

__all__ = ["clock"]

clock = time.perf_counter if sys.platform == "win32" else time.monotonic
