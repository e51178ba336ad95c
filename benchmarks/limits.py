"""The least time that a row needs by the measured limits of the machine."""

from tracejit.debug.machine import Limits

from .row import Row


def least_seconds(limits: Limits, row: Row) -> float:
    """The least time that `row` takes; NaN where its kind was not measured."""
    return limits.seconds(row.flops, row.bytes, row.arithmetic or row.dtype)
