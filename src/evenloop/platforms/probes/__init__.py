"""The probes, one module per group of topics; `evenloop.platforms.probe` runs them."""

from __future__ import annotations

from evenloop.platforms.probes import (
    callbacks,
    local,
    network,
    running,
    secure,
    sockets,
)

__all__ = ["MODULES"]

MODULES = (running, callbacks, network, secure, sockets, local)
