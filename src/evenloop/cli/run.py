"""`evenloop run`: any asyncio program, unchanged, on evenloop."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["add_command", "check_engine", "split"]

_WITH_VALUE = frozenset({"--engine", "--profile"})

_EPILOG = """\
The program finds itself where `python FILE` or `python -m MODULE` would put it: sys.argv,
sys.path[0], __main__, exit status, tracebacks and Ctrl+C are the same. evenloop makes every loop
that it asks asyncio for: asyncio.run, Runner, new_event_loop, get_event_loop, the policies and loop
classes of asyncio by name, and the entry points of uvloop, winloop, zuvloop and rloop.
Worker processes started by multiprocessing follow.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `run` to the commands."""
    parser = commands.add_parser(
        "run",
        help="run a program on evenloop",
        description="Run any asyncio program, unchanged, on evenloop.",
        usage="evenloop run [--engine NAME] [--profile NAME] [--debug] FILE | -m MODULE [ARGS ...]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--engine", metavar="NAME", help="what speaks to the system (default: the best one here)"
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="with the limits of that platform's own asyncio"
    )
    parser.add_argument("--debug", action="store_true", help="asyncio's debug mode")
    parser.add_argument("-m", metavar="MODULE", help="run a module or package by its name")
    parser.add_argument("FILE", nargs="?", help="a .py file, or a folder or zip with __main__.py")
    parser.set_defaults(carry_out=carry_out)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split `run`'s own words from the program's.

    argparse cannot: what follows the program's name belongs to it, options included.
    """
    if not words or words[0] != "run":
        return list(words), []
    at = 1
    while at < len(words):
        word = words[at]
        if word == "-m":
            at += 2
            break
        if word.startswith("-m") and not word.startswith("--"):
            at += 1
            break
        if not word.startswith("-") or word == "-":
            at += 1
            break
        at += 2 if word in _WITH_VALUE else 1
    return list(words[:at]), list(words[at:])


def check_engine(name: str | None) -> None:
    """Refuse the name of an engine that cannot run here, with the reason.

    Raises:
        CommandError: There is no such engine, or it cannot run here.
    """
    from evenloop.cli import CommandError
    from evenloop.runners import new_event_loop

    if name is None and not os.environ.get("EVENLOOP_ENGINE"):
        return
    try:
        new_event_loop(name).close()
    except (ValueError, OSError, RuntimeError, NotImplementedError) as error:
        raise CommandError(str(error)) from None


def check_profile() -> None:
    """Refuse the name in EVENLOOP_PROFILE if no profile has it.

    Raises:
        CommandError: There is no such profile.
    """
    from evenloop.cli import CommandError

    name = os.environ.get("EVENLOOP_PROFILE")
    if name:
        from evenloop.platforms import profiles

        try:
            profiles.check_name(name)
        except ValueError as error:
            raise CommandError(str(error)) from None


def carry_out(options: Any) -> int:
    """Become the program. Comes back only if it runs to its end."""
    from evenloop.cli import CommandError, launch, substitute

    if options.m is None and options.FILE is None:
        raise CommandError("run what? Name a FILE, or -m MODULE; evenloop run --help says more")
    check_engine(options.engine)
    # The environment carries both to the child processes as well.
    if options.engine is not None:
        os.environ["EVENLOOP_ENGINE"] = options.engine
    if options.profile is not None:
        os.environ["EVENLOOP_PROFILE"] = options.profile
    check_profile()
    if options.debug:
        os.environ["PYTHONASYNCIODEBUG"] = "1"
    substitute.everywhere()
    if options.m is not None:
        launch.launch(lambda: launch.from_module(options.m), options.program)
    else:
        launch.launch(lambda: launch.from_file(options.FILE), options.program)
    return 0
