"""``out=`` of NumPy's functions: where it stands, and what NumPy lets be written to it.

A rule gives its result as without ``out=``; it is converted and written afterwards.
Needs NumPy's signatures. Establishes that a result fits its target as NumPy wants it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...ir import dtypes as dt
from .. import ufuncs
from ..source import user_line
from ..tracer import Tracer

Fn = Callable[..., Any]

# Sets, as `np.mean` itself may be a wrapper while a trace runs.
# These compute with ufuncs that broadcast to the target.
_BROADCAST: frozenset[Fn] = frozenset(
    {
        np.clip,
        np.nanmedian,
        np.nanpercentile,
        np.nanquantile,
        np.outer,
        np.percentile,
        np.quantile,
    }
)
# These add or multiply in a dtype that holds the target's numbers too.
_IN_WIDER_DTYPE: frozenset[Fn] = frozenset(
    {np.sum, np.prod, np.cumsum, np.cumprod, np.nansum, np.nanprod, np.mean}
)
_MEANS: frozenset[Fn] = frozenset({np.mean})
_SAME_KIND: frozenset[Fn] = frozenset(
    {
        np.around,
        np.clip,
        np.nanmean,
        np.nanstd,
        np.nanvar,
        np.outer,
        np.percentile,
        np.ptp,
        np.quantile,
        np.round,
        np.std,
        *(getattr(np.fft, name) for name in np.fft.__all__ if name.endswith("fft")),
    }
)
_JOINS: frozenset[Fn] = frozenset({np.concatenate, np.stack, np.vstack, np.hstack})
# The target, not the result, is what must be convertible without loss.
_CONVERTS_TARGET: frozenset[Fn] = frozenset(
    {
        np.argmax,
        np.argmin,
        np.compress,
        np.nanargmax,
        np.nanargmin,
        np.take,
    }
)
_PRODUCTS: frozenset[Fn] = frozenset({np.einsum})
_SAME_DTYPE: frozenset[Fn] = frozenset({np.dot, np.linalg.multi_dot})
_COMPILED: dict[Fn, tuple[str, ...]] = {
    np.concatenate: ("arrays", "axis", "out"),
    np.dot: ("a", "b", "out"),
}


def split(
    func: Fn, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any], Any]:
    """Take ``out=`` from the arguments of a call, by name or by position.

    Returns
    -------
    args : sequence
    kwargs : dict
        With ``dtype=`` where the target decides what NumPy computes in.
    target : Tracer, numpy.ndarray or None
    """
    names = _names(func)
    out = kwargs.get("out")
    if out is None and "out" in names[: len(args)]:
        at = names.index("out")
        out = args[at]
        rest = args[at + 1 :]
        args = (*args[:at], None, *rest) if rest else args[:at]
    kwargs = {k: v for k, v in kwargs.items() if k != "out"}
    target = out[0] if isinstance(out, tuple) else out
    if target is not None and func in _IN_WIDER_DTYPE:
        args, kwargs = _in_dtype(func, names.index("dtype"), args, kwargs, target)
    return args, kwargs, target


@cache
def _names(func: Fn) -> tuple[str, ...]:
    """Names of the arguments that may be given by position, where one is ``out``."""
    code = getattr(getattr(func, "_implementation", None), "__code__", None)
    if code is None:
        return _COMPILED.get(func, ())
    return tuple(code.co_varnames[: code.co_argcount])


def _in_dtype(
    func: Fn, at: int, args: Sequence[Any], kwargs: dict[str, Any], target: Any
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Ask for a dtype that holds operand and target, unless the call says which."""
    given = args[at] if len(args) > at else kwargs.get("dtype")
    x = args[0] if args else None
    if given is not None or not isinstance(x, Tracer | np.ndarray):
        return args, kwargs
    if func in _MEANS and not (dt.is_inexact(x.dtype) and x.dtype.itemsize > 2):
        return args, kwargs  # of halves and integers in a wider dtype in any case
    dtype = np.result_type(x.dtype, target.dtype)
    if len(args) > at:
        return (*args[:at], dtype, *args[at + 1 :]), kwargs
    return args, {**kwargs, "dtype": dtype}


def write(func: Fn, target: Any, result: Any, casting: str | None) -> Any:
    """Write a result to the target of a call, and return that.

    Raises
    ------
    UnsupportedError
        When the target is no traced array.
    ShapeError, DTypeError
        Where NumPy refuses the target.
    """
    ufuncs.check_writable(target)
    name = func.__name__
    check_shape(name, target, result.shape, broadcasts=func in _BROADCAST)
    if not _can_write(func, result.dtype, target.dtype, casting):
        raise DTypeError(
            f"np.{name} gives {result.dtype}, which cannot be written into an array of "
            f"{target.dtype}",
            source=user_line(),
            hint=f"an array of {result.dtype} as out=, or y[...] = x, which converts",
        )
    target.assign(result)
    return target


def check_shape(
    name: str, target: Tracer, shape: tuple[int, ...], broadcasts: bool = False
) -> None:
    """Raise where a result of a shape does not fit its target."""
    if target.shape == shape:
        return
    try:
        if broadcasts and np.broadcast_shapes(shape, target.shape) == target.shape:
            return
    except ValueError:
        pass  # named below
    raise ShapeError(
        f"{name}: the result has shape {shape}, and out= has shape {target.shape}",
        source=user_line(),
        hint=f"make the array that is passed as out= of shape {shape}",
    )


def _can_write(
    func: Fn, result: np.dtype, target: np.dtype, casting: str | None
) -> bool:
    if func in _SAME_DTYPE:
        return result == target
    if func in _CONVERTS_TARGET:
        return np.can_cast(target, result, "safe")
    rule: Any = "unsafe"
    if func in _PRODUCTS:
        rule = casting or "safe"
    elif func in _SAME_KIND or func in _JOINS:
        rule = casting or "same_kind"
    return bool(np.can_cast(result, target, rule))
