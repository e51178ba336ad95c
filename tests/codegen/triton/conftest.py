"""One interpreter process for all tests of a worker; a cache of its own for Triton."""

import pytest

from .interpreter import Interpreter


@pytest.fixture(scope="session")
def interpreter():
    process = Interpreter()
    yield process
    process.close()
