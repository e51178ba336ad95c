"""Tests here never measure the machine: its limits are made up."""

import pytest

from tracejit.debug import machine

LIMITS = machine.Limits(
    {"float32": 100.0, "float64": 50.0}, {1 << 18: 50.0, 1 << 28: 10.0}
)


@pytest.fixture
def known_machine(monkeypatch):
    monkeypatch.setattr(machine, "limits", lambda threads=None: LIMITS)
    return LIMITS
