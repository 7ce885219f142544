"""Run a program of Windows in a terminal, and type what it asks for: on Linux, for Wine.

    python3 tests/platforms/terminal.py COMMAND...

Wine makes a console of the terminal and draws it with control sequences. A line of the program's
that reads ``TYPE 'keys'`` has the keys typed. Its other lines are shown; its exit status is ours.
"""

from __future__ import annotations

import ast
import os
import re
import select
import sys
import time

#: Seconds for the whole of it.
LIMIT = 300.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*([A-Za-z])|\x1b\][^\x07]*\x07")
_ASKS = re.compile(r"^TYPE ('.*')\s*$", re.MULTILINE)


def _plain(drawn: str) -> str:
    """What the screen says: only the cursor's way to the right is text, a space."""
    text = _CONTROL.sub(lambda match: " " if match[1] == "C" else "", drawn)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def main(command: list[str]) -> int:
    """Run it to its end; return its exit status."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    drawn = ""
    typed = 0
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:  # EIO: nobody has the other side any more
            break
        drawn += part.decode("utf-8", "replace")
        asked = _ASKS.findall(_plain(drawn))
        for keys in asked[typed:]:
            time.sleep(0.2)  # nothing may come before: a watch that is early would be seen
            os.write(terminal, ast.literal_eval(keys).encode())
        typed = len(asked)
    else:
        os.kill(pid, 9)
        print("it took too long")
    print(re.sub(r"\n\n+", "\n", _plain(drawn)))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
