"""What samples and the site need beyond evenloop itself."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(module: str, extra: str) -> None:
    """Skip without the module; CI sets EVENLOOP_TEST_DOCS=1, and then it is a failure."""
    if importlib.util.find_spec(module) is not None:
        return
    message = f'{module} is not installed: python -m pip install -e ".[{extra}]"'
    if os.environ.get("EVENLOOP_TEST_DOCS"):
        pytest.fail(message)
    pytest.skip(message)
