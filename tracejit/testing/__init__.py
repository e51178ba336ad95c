"""Helpers for tests of programs that use tracejit."""

from .derivatives import check_grads
from .traces import Traces, count_traces

__all__ = ["Traces", "check_grads", "count_traces"]
