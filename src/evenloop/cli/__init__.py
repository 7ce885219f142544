"""The command line: `evenloop`, also `python -m evenloop`.

Only the standard library is needed, so that `evenloop run` brings nothing into the program that
it runs; `evenloop doctor` and `check` write in colour where rich is installed (`evenloop[cli]`).

Exit status: 0 all is well, 1 a promise failed, 2 the command cannot be carried out as written
(one line on stderr says why), 141 nobody reads what it writes any more, as after `| head`;
`evenloop run` has the status of the program that it ran.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit status.

    Args:
        arguments: The words after `evenloop`; None takes them from `sys.argv`.
    """
    from evenloop.cli import bench, check, doctor, run

    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    run.add_command(commands)
    check.add_command(commands)
    doctor.add_command(commands)
    bench.add_command(commands)
    words, program = (check if words[:1] == ["check"] else run).split(words)
    if words and words[0].endswith(".py"):
        parser.error(f"{words[0]!r} is no command; to run the file: evenloop run {words[0]}")
    options, unknown = parser.parse_known_args(words)
    if unknown:
        # Said by the command, whose usage helps; argparse would show ours.
        asked = commands.choices.get(options.command, parser)
        asked.error(f"nobody knows {' '.join(unknown)!r}")
    if options.command is None:
        parser.print_help()
        return 2
    options.program = program
    try:
        status: int = options.carry_out(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except CommandError as error:
        print(f"evenloop: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if options.command == "run":
            raise  # the program's own
        _say_no_more()
        return 141  # what shells show of a program that SIGPIPE ended
    return status


def _say_no_more() -> None:
    """Send what is still to be flushed nowhere: else the interpreter complains at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class CommandError(Exception):
    """The command cannot be carried out as written; the message is one line for its author."""


def _parser() -> argparse.ArgumentParser:
    from evenloop._version import __version__

    parser = argparse.ArgumentParser(
        prog="evenloop",
        description="One asyncio event loop, the same and complete on every operating system.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"evenloop {__version__}")
    return parser
