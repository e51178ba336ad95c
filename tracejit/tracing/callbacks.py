"""Python called while compiled code runs: prints, checks, breakpoints, callbacks.

With no trace running they happen at once, and so they do where a function outside of
`jit` is only differentiated: its values are known, and it runs once. Elsewhere they
become equations.
"""

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CheckError, ShapeError, UnsupportedError, locate
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.ops.callback import callback_p, check_p
from ..ir.primitive import HostFunction, Param, Primitive
from .checks import record_check
from .inner import with_kind
from .source import user_frame, user_line
from .storage import Kind
from .trace import Trace, current_trace
from .tracer import Tracer
from .tree import TreeSpec, flatten, unflatten

Arrays = tuple[np.ndarray, ...]


class ShapeDtype:
    """What a callback promises of one result; arrays and scalars do as well.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype_like

    Examples
    --------
    >>> ShapeDtype((2, 3), np.float32)
    ShapeDtype((2, 3), float32)
    """

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    def __repr__(self) -> str:
        return f"ShapeDtype({self.shape}, {self.dtype})"


class _Values:
    """A tree of arguments: traced leaves are operands, others stay as they are."""

    def __init__(self, tree: object) -> None:
        self.leaves, self.spec = flatten(tree)
        self.places = [i for i, x in enumerate(self.leaves) if _is_operand(x)]

    @property
    def operands(self) -> list[Any]:
        """The leaves that are known at run time only."""
        return [self.leaves[i] for i in self.places]

    def rebuilt(self, arrays: Sequence[np.ndarray]) -> Any:
        """Return the tree with values in place of the operands."""
        leaves = list(self.leaves)
        for i, x in zip(self.places, arrays, strict=True):
            leaves[i] = _as_python(x, leaves[i])
        return unflatten(self.spec, leaves)

    def without_tracers(self) -> "_Values":
        """Return the same tree, holding no traced value when the trace is over."""
        made = object.__new__(_Values)
        made.spec, made.places = self.spec, self.places
        kinds = {i: _kind(self.leaves[i]) for i in self.places}
        made.leaves = [kinds.get(i, x) for i, x in enumerate(self.leaves)]
        return made


def _is_operand(x: object) -> bool:
    return isinstance(x, Tracer) or type(x) is np.ndarray


def _kind(x: object) -> Kind:
    return x.kind if isinstance(x, Tracer) else Kind.ARRAY


def _as_python(x: np.ndarray, kind: Any) -> Any:
    """Return an array as what it was to Python."""
    if kind is Kind.PYTHON:
        return x.item()
    return x[()] if kind is Kind.SCALAR else x


def _record(
    trace: Trace,
    host: HostFunction,
    operands: Sequence[Any],
    results: Sequence[ShapedArray],
    effect: str,
) -> list[Tracer]:
    """Make the call, at once if values are there and it happens once, or later."""
    lifted = [trace.lift(x) for x in operands]
    atoms = [x.read() for x in lifted]
    params: dict[str, Param] = {
        "fn": host,
        "results": tuple(results),
        "effect": effect,
    }
    known = all(x.is_known for x in lifted) and trace.concrete
    if known and effect != "pure" and trace.runs_once:
        _refuse_derivative(trace, host, lifted, results)
        outs = _run_now(callback_p, lifted, params)
        return [trace.constant(np.asarray(x), born_here=True) for x in outs]
    made = trace.emit_all(callback_p, atoms, params)
    if not known or effect != "pure":
        return [trace.result(x) for x in made]
    values = _run_now(callback_p, lifted, params)
    return [trace.result(x, v) for x, v in zip(made, values, strict=True)]


def _run_now(
    primitive: Primitive, operands: Sequence[Tracer], params: Mapping[str, Param]
) -> Arrays:
    """Return what a call gives for the known values of its operands."""
    try:
        return primitive.evaluate([np.asarray(x.shadow) for x in operands], params)
    except Exception as error:
        locate(error, [user_line()])
        raise


def _refuse_derivative(
    trace: Trace,
    host: HostFunction,
    operands: Sequence[Tracer],
    results: Sequence[ShapedArray],
) -> None:
    """Raise where a result could have a derivative, which the call would drop."""
    has_tangent = any(dt.is_inexact(a.dtype) for a in results)
    if has_tangent and any(trace.is_differentiated(x.read()) for x in operands):
        raise UnsupportedError(
            f"the callback {host!r} has no derivative",
            source=user_line(),
            hint="call it in a function with a rule (custom_jvp, custom_vjp), or on "
            "stop_gradient of its arguments",
        )


# --- debugging --------------------------------------------------------------------


def debug_print(fmt: str, *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """Print values at run time, each time this line runs.

    Parameters
    ----------
    fmt : str
        As of `str.format`.
    *args, **kwargs
        Values, or nested containers of values.
    ordered : bool
        Print in the order of the program. Unordered prints may change places.

    Notes
    -----
    A function that is differentiated prints its values once, in the forward pass.

    Examples
    --------
    >>> debug_print("x = {}", 3)
    x = 3
    """
    trace = current_trace()
    if trace is None:
        builtins.print(fmt.format(*args, **kwargs))
        return
    values = _Values((args, kwargs))
    later = values.without_tracers()

    def call(*arrays: np.ndarray) -> Arrays:
        some, named = later.rebuilt(arrays)
        builtins.print(fmt.format(*some, **named))
        return ()

    effect = "ordered" if ordered else "io"
    _record(trace, HostFunction("print", call), values.operands, (), effect)


def debug_breakpoint(**values: Any) -> None:
    """Stop in the debugger at run time (`sys.breakpointhook`).

    Parameters
    ----------
    **values
        What to look at, found in `values` there. Without any: the local variables of
        the line that calls.
    """
    trace = current_trace()
    if not values:
        values = _locals()
    if trace is None:
        _stop(values)
        return
    taken = _Values(values)
    later = taken.without_tracers()

    def call(*arrays: np.ndarray) -> Arrays:
        _stop(later.rebuilt(arrays))
        return ()

    _record(trace, HostFunction("breakpoint", call), taken.operands, (), "ordered")


def _stop(values: Mapping[str, Any]) -> None:
    sys.breakpointhook()


def _locals() -> dict[str, Any]:
    frame = user_frame(2)
    return {} if frame is None else dict(frame.f_locals)


def debug_check(cond: Any, msg: str, *args: Any) -> None:
    """Raise at run time unless all of `cond` is true.

    Parameters
    ----------
    cond : bool or array_like of bool
    msg : str
        Formatted with `args`, as by `str.format`.
    *args
        Values for the message.

    Raises
    ------
    CheckError
        With the line of this call.

    Examples
    --------
    >>> debug_check(True, "never seen")
    """
    trace = current_trace()
    if trace is None:
        if not np.all(cond):
            raise CheckError(msg.format(*args), source=user_line())
        return
    values = _Values(args)
    later = values.without_tracers()

    def call(*arrays: np.ndarray) -> Arrays:
        raise CheckError(msg.format(*later.rebuilt(arrays)))

    holds = trace.lift(np.all(cond))
    operands = [trace.lift(x) for x in values.operands]
    is_known = all(x.is_known for x in (holds, *operands)) and trace.concrete
    if is_known and trace.runs_once:
        _run_now(check_p, [holds, *operands], {"fn": HostFunction("check", call)})
    else:
        record_check(holds, call, operands)


# --- values from Python -----------------------------------------------------------


def callback_pure(
    fn: Callable[..., Any], result_shape_dtypes: Any, *args: Any, **kwargs: Any
) -> Any:
    """Call a Python function without effects from compiled code.

    Parameters
    ----------
    fn : callable
        Takes NumPy arrays and scalars; gives what was promised. It may be called any
        number of times, or not at all if nothing needs its results.
    result_shape_dtypes : nested container
        Of things with a `shape` and a `dtype`: arrays, `ShapeDtype`.
    *args, **kwargs
        Nested containers of values.

    Returns
    -------
    nested container
        Of the results, like `result_shape_dtypes`.

    Raises
    ------
    ShapeError
        At run time, when the results are not those promised.
    UnsupportedError
        When it is differentiated.

    Examples
    --------
    >>> callback_pure(np.sin, ShapeDtype((), np.float64), 0.0)
    np.float64(0.0)
    """
    return _called(fn, result_shape_dtypes, args, kwargs, "pure")


def callback_io(
    fn: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    ordered: bool = False,
    **kwargs: Any,
) -> Any:
    """Call a Python function with effects from compiled code, once each run.

    Parameters
    ----------
    fn, result_shape_dtypes, *args, **kwargs
        As for `callback_pure`; None for no results.
    ordered : bool
        Keep the order of the program among ordered calls.

    Examples
    --------
    >>> callback_io(print, None, 3)
    3
    """
    effect = "ordered" if ordered else "io"
    return _called(fn, result_shape_dtypes, args, kwargs, effect)


def _called(
    fn: Callable[..., Any],
    promised: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    effect: str,
) -> Any:
    likes, spec = flatten(promised)
    avals = [_promise(x) for x in likes]
    label = getattr(fn, "__name__", type(fn).__name__)
    values = _Values((args, kwargs))
    later = values.without_tracers()

    def call(*arrays: np.ndarray) -> Arrays:
        some, named = later.rebuilt(arrays)
        return _results(fn(*some, **named), spec, avals, label)

    trace = current_trace()
    host = HostFunction(label, call)
    outs: Sequence[Any]
    if trace is None:
        params: dict[str, Param] = {
            "fn": host,
            "results": tuple(avals),
            "effect": effect,
        }
        operands = [np.asarray(x) for x in values.operands]
        outs = callback_p.evaluate(operands, params)
    else:
        outs = _record(trace, host, values.operands, avals, effect)
    kinds = [Kind.ARRAY if a.shape else Kind.SCALAR for a in avals]
    return unflatten(spec, [with_kind(x, k) for x, k in zip(outs, kinds, strict=True)])


def _promise(x: Any) -> ShapedArray:
    return ShapedArray(tuple(x.shape), dt.canonical(np.dtype(x.dtype)))


def _results(
    got: Any, spec: TreeSpec, avals: Sequence[ShapedArray], label: str
) -> Arrays:
    """Return the leaves of what a callback gave; numbers take the dtype promised."""
    leaves, found = flatten(got)
    if found != spec:
        raise ShapeError(
            f"the callback {label} gave {got!r}, whose structure is not the one "
            f"promised: {unflatten(spec, list(avals))!r}"
        )
    numbers = (bool, int, float, complex)
    return tuple(
        np.asarray(x, a.dtype if type(x) in numbers else None)
        for x, a in zip(leaves, avals, strict=True)
    )
