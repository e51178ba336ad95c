"""What tracers ask of the rules for NumPy.

Rules make tracers, and tracers ask for rules: a trace is given them when it begins, so
that neither imports the other. `numpy_rules.RULES` fills the table.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import dataclass

if TYPE_CHECKING:
    from .trace import Trace
    from .tracer import Tracer


@dataclass(frozen=True)
class Rules:
    """How NumPy is traced.

    Parameters
    ----------
    ufunc : callable
        ``(ufunc, method, inputs, kwargs)``, as for ``__array_ufunc__``.
    function : callable
        ``(func, args, kwargs)``, as for ``__array_function__``.
    plain : callable
        ``(func, args, kwargs)``: the same for functions that ask no argument.
    get : callable
        ``(x, index)``: ``x[index]``.
    set_item : callable
        ``(x, index, value)``: ``x[index] = value``.
    binary : callable
        ``(name, x, y)``: an operator between Python scalars of which one is traced.
    unary : callable
        ``(name, x)``: the same for one operand.
    array_of : callable
        ``(trace, sequence)``: what `np.array` makes of nested sequences.
    """

    ufunc: Callable[[np.ufunc, str, Sequence[object], dict[str, Any]], Any]
    function: Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]
    plain: Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]
    get: Callable[["Tracer", Any], Any]
    set_item: Callable[["Tracer", Any, object], None]
    binary: Callable[[str, object, object], Any]
    unary: Callable[[str, "Tracer"], Any]
    array_of: Callable[["Trace", Sequence[object]], "Tracer"]
