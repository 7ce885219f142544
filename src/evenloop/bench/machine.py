"""The machine and the software that a run was made on: figures mean nothing without them."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
import sys
import time
from typing import Any

__all__ = ["describe", "lines"]


def describe() -> dict[str, Any]:
    """What is stored with a run."""
    from evenloop import _mode
    from evenloop._version import __version__

    how = _mode.mode()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "openssl": ssl.OPENSSL_VERSION,
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "evenloop": __version__,
        "mode": how.name,
        "mode_reason": how.reason,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def lines(machine: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people: names and values."""
    memory = f", {machine['memory'] / 2**30:.0f} GiB" if machine["memory"] else ""
    commit = f", commit {machine['commit']}" if machine["commit"] else ""
    load = machine["load"]
    gil = "" if machine["gil"] else ", free-threaded"
    known = [
        ("machine", f"{machine['processor']}, {machine['cores']} cores{memory}"),
        ("system", machine["system"]),
        ("Python", f"{machine['python']}{gil}, {machine['openssl']}"),
        ("evenloop", f"{machine['evenloop']}{commit}, {machine['mode']}"),
        ("date", machine["date"]),
    ]
    if load:
        busy = "  <- not idle: figures will be noisy" if load[0] > 0.5 else ""
        known.append(("load", f"{load[0]:.2f} before the start{busy}"))
    if machine["mode"] != "compiled":
        known.append(("WARNING", f"evenloop is not compiled here: {machine['mode_reason']}"))
    return known


def _processor() -> str:
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    """Bytes of memory."""
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _commit() -> str | None:
    """The commit of the checkout that evenloop is imported from, if it is one."""
    folder = os.path.dirname(os.path.abspath(__file__))
    git = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        # Only a checkout of evenloop itself: an environment may lie within another project.
        subprocess.run(
            ["git", "-C", folder, "ls-files", "--error-unmatch", "machine.py"],
            check=True,
            capture_output=True,
            timeout=10,
        )
        told = subprocess.run(git, check=True, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
