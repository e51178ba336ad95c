"""Bisection of a call: a function and its own arguments instead of graphs and samples.

Needs the trace of the call. Establishes `bisect_call`, which lowers the graph as the
call does: for the strides of its arguments, and in their memory where they are written.
"""

from collections.abc import Callable
from typing import Any

from .. import config
from ..lowering import host_limits, passes_of
from ..offers import offers_of
from ..stages import Traced
from .bisect import bisect
from .checks import Check
from .culprit import Culprit
from .levels import Setting
from .stepping import traced_with_inputs


def setting_of(traced: Traced) -> Setting:
    """Return how a trace is lowered for the CPU."""
    mode = config.get("donation")
    offers = offers_of(traced.recording, traced.donated, mode)
    return Setting(passes_of(host_limits()), traced.in_strides, offers)


def bisect_call(
    function: Callable[..., Any],
    *args: Any,
    check: Check | None = None,
    seed: int = 0,
    **kwargs: Any,
) -> Culprit | None:
    """Find what makes the results of a call wrong: a rewrite, a kernel, or code.

    Parameters
    ----------
    function : callable
        Under `jit` or not.
    *args, **kwargs
        Of the call. Nothing is written to them.
    check : callable, optional
        Takes the graph after a pass and returns None if it is right, else what is
        wrong. Without one results are compared: of graphs, Programs and machine code,
        on these arguments and on samples.
    seed : int
        Of the samples.

    Returns
    -------
    Culprit or None
        None if nothing is wrong.

    Examples
    --------
    >>> tj.debug.bisect_call(np.sin, np.ones(3)) is None  # doctest: +SKIP
    True
    """
    with config.override(simplify=False):  # rules of the trace are no passes
        traced, inputs = traced_with_inputs(function, args, kwargs)
    return bisect(traced.graph, setting_of(traced), check, [inputs], seed)
