"""One interpreter process for all tests of a worker; a cache of its own for Triton."""

import os
import platform
from importlib.util import find_spec
from unittest.mock import patch

import pytest

from .interpreter import Interpreter

# Triton exists for Linux alone; there, missing it is an error.
if platform.system() != "Linux" and find_spec("triton") is None:
    collect_ignore_glob = ["test_*.py"]


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
