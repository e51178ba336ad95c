"""Instruction sets that the machine may not have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import tracejit as tj
from tracejit.errors import TracejitError


@contextmanager
def instruction_set(isa: str) -> Iterator[None]:
    """Compile for an instruction set; skip the test where the machine has it not."""
    try:
        with tj.config.override(isa=isa):
            yield
    except TracejitError as error:
        if "cannot run the instruction set" not in str(error):
            raise
        pytest.skip(str(error))


def jitted(fn: Callable, isa: str, *args: Any) -> Any:
    """Call under `jit` on an instruction set."""
    with instruction_set(isa):
        return tj.jit(fn)(*args)
