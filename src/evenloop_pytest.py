"""The door of evenloop's pytest plugin: its options, and nothing else until one is used.

    pytest --evenloop
    pytest --evenloop-profile=windows-proactor,windows-selector

It lies outside of the package because pytest imports it at every start, and evenloop with all that
it needs shall not be imported then. See `evenloop.integrations.pytest_profiles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--evenloop` and `--evenloop-profile`."""
    group = parser.getgroup("evenloop", "asyncio tests on evenloop")
    group.addoption(
        "--evenloop", action="store_true", help="run asyncio tests on the event loop of evenloop"
    )
    group.addoption(
        "--evenloop-profile",
        metavar="NAMES",
        default="",
        help="run all tests once under each of these platforms' limits (names with commas "
        "between them: linux, macos, macos-10.8, windows-proactor, windows-selector, stock), "
        "and show what they met",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Put asyncio on evenloop if an option asks for it."""
    names = [name.strip() for name in config.option.evenloop_profile.split(",") if name.strip()]
    if names or config.option.evenloop:
        from evenloop.integrations import pytest_profiles

        pytest_profiles.begin(config, names)
