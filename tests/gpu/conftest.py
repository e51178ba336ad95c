"""A CUDA device for every test: ``pytest -m gpu`` on a machine that has one.

The tests themselves mostly are those of `tests.runtime.cuda`, which runs them on a
driver that is none; here kernels are compiled, and the driver is the machine's.
"""

import os

import pytest

import tracejit as tj
from tracejit.placement import find_device


def pytest_collection_modifyitems(items):
    """Mark what is in this folder, and skip it where there is no device."""
    here = os.path.dirname(__file__)
    missing = len(tj.devices()) == 1
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(scope="session")
def device():
    return find_device("cuda:0")


@pytest.fixture(autouse=True)
def _wait(device):
    """Have errors of a test's kernels raised in that test."""
    yield
    device.synchronize()
