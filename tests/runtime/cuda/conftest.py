"""A driver and a device for each test; Triton's interpreter for all of them."""

import pytest

from tests.codegen.triton.conftest import interpreter  # noqa: F401

from .fake import FakeDriver


@pytest.fixture
def fake(interpreter):  # noqa: F811
    made = FakeDriver(interpreter)
    yield made
    if made.errors:
        raise made.errors[0]
    assert not made.order.faults, made.order.faults[0]


@pytest.fixture
def device(fake):
    return fake.device()
