"""The loops of tests/files."""

from tests.files.conftest import new_loop, pytest_generate_tests, pytest_pyfunc_call

__all__ = ["new_loop", "pytest_generate_tests", "pytest_pyfunc_call"]
