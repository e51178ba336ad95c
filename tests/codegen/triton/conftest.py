"""One interpreter process for all tests of a worker; a cache of its own for Triton."""

import os
from unittest.mock import patch

import pytest

from .interpreter import Interpreter


@pytest.fixture(scope="session")
def interpreter():
    process = Interpreter()
    yield process
    process.close()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Compile in earnest, and leave nothing in the user's cache."""
    folder = str(tmp_path_factory.mktemp("triton"))
    with patch.dict(os.environ, {"TRITON_CACHE_DIR": folder}):
        yield
