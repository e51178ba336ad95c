"""The table from NumPy's functions to their tracing rules, and the dispatch on it.

A rule takes the arguments of the NumPy function (tracers among them) and returns
tracers. Known values need no care of the rules: where all operands are known, dispatch
also runs NumPy on them.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import TracejitError
from ...ir.graph import Atom
from ...ir.ops.elementwise import complex_p
from .. import alternatives, ufuncs
from ..source import user_line
from ..storage import Kind
from ..trace import Trace, trace_of
from ..tracer import Tracer, depends_of
from . import outputs

Rule = Callable[..., Any]
FUNCTIONS: dict[Callable[..., Any], Rule] = {}


def implements(*functions: Callable[..., Any]) -> Callable[[Rule], Rule]:
    """Register a rule for NumPy functions."""

    def wrap(rule: Rule) -> Rule:
        for function in functions:
            FUNCTIONS[function] = rule
        return rule

    return wrap


def dispatch(
    func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """Trace ``func(*args, **kwargs)``.

    Raises
    ------
    UnsupportedError
        When the function has no rule.
    """
    rule = FUNCTIONS.get(func)
    if rule is None:
        module = getattr(func, "__module__", "numpy")
        hint = alternatives.FUNCTIONS.get(func.__name__, "")
        raise ufuncs.unsupported(f"{module}.{func.__name__}", hint)
    args, kwargs, target = outputs.split(func, args, kwargs)
    result = _run(rule, args, kwargs)
    _attach_known(func, args, kwargs, result)
    if target is None:
        return result
    return outputs.write(func, target, result, kwargs.get("casting"))


def _run(rule: Rule, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a rule; its errors carry the user's line."""
    try:
        return rule(*args, **kwargs)
    except TracejitError as error:
        error.source = error.source or user_line()
        raise


def _attach_known(
    func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> None:
    """Give fresh results their value when every operand has one."""
    if not isinstance(result, Tracer) or result.storage.known or result.chain:
        return
    operands = list(tracers_in((*args, *kwargs.values())))
    if not operands or not all(x.storage.known for x in operands):
        return
    if not result.home.may_know(result.size):
        return
    with np.errstate(all="ignore"):
        known = np.asarray(func(*shadows(list(args)), **shadows(kwargs)))
    if known.shape == result.shape and known.dtype == result.dtype:
        result.storage.known = True
        result.storage.depends = depends_of(operands)
        result.shadow = np.array(known)


def tracers_in(values: Sequence[object]) -> Iterator[Tracer]:
    """Yield the tracers among nested sequences."""
    for x in values:
        if isinstance(x, Tracer):
            yield x
        elif isinstance(x, list | tuple):
            yield from tracers_in(x)


def shadows(x: Any) -> Any:
    """Replace tracers in nested containers by their shadows."""
    if isinstance(x, Tracer):
        return x.shadow
    if isinstance(x, list | tuple):
        return type(x)(shadows(v) for v in x)
    if isinstance(x, dict):
        return {k: shadows(v) for k, v in x.items()}
    return x


def lift(*values: Any) -> tuple[Trace, tuple[Tracer, ...]]:
    """Return the trace of `values` and each of them as its tracer."""
    trace = trace_of(tracers_in(values))
    return trace, tuple(trace.lift(v) for v in values)


def wrap(
    trace: Trace,
    atom: Atom,
    kind: Kind | None = None,
    layout: np.ndarray | None = None,
) -> Tracer:
    """Return a fresh tracer; rank 0 gives a NumPy scalar, as NumPy's functions do.

    Its strides are those of `layout`; without, it is in C order.
    """
    if kind is None:
        kind = Kind.ARRAY if atom.aval.shape else Kind.SCALAR
    return trace.result(atom, layout=layout, kind=kind)


def in_rows(x: Tracer) -> Tracer:
    """Return an array as a fresh one in C order; scalars as they are."""
    return x.copy() if x.ndim else x


def complex_of(real: Any, imag: Any) -> Tracer:
    """Return complex numbers of these parts."""
    trace, (x, y) = lift(real, imag)
    return wrap(trace, trace.emit(complex_p, x.read(), y.read()))


def truths_of(x: Any) -> Any:
    """Return what is not zero; truths are what they are."""
    return x if x.dtype.kind == "b" else x != 0


def normalize_axis(axis: Any, ndim: int) -> int:
    """Return a non-negative axis.

    Raises
    ------
    numpy.exceptions.AxisError
    """
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return int(axis % ndim) if ndim else 0


def normalize_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return `axis` (None, int or tuple) as sorted non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    out = tuple(sorted(normalize_axis(a, ndim) for a in axes))
    if len(set(out)) != len(out):
        raise ValueError("duplicate value in 'axis'")
    return out


def is_given(value: object) -> bool:
    """Tell whether an optional argument was passed."""
    return value is not None and value is not np._NoValue
