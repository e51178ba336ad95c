"""Pooling: the maximum or the mean of windows.

The derivative of a maximum goes to the **first** of equal maxima, in row-major order of
the window, as in PyTorch; NaN is a maximum, as in NumPy. Means count the padding.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.ops.conv import conv_general_p
from ..ir.ops.shape import full_like, inverse_permutation, reshape, transpose_p
from ..ir.ops.window import places, window_max_p
from ..records import dataclass
from ..tracing.functions.registry import dispatch, implements, lift, wrap
from ..tracing.source import user_line
from ..tracing.storage import Kind
from ..tracing.tracer import Tracer
from .arguments import (
    Padding,
    PerAxis,
    is_channels_last,
    mistake,
    paddings,
    per_axis,
)


@dataclass(frozen=True)
class Plan:
    """Windows over an operand with the channels first.

    Parameters
    ----------
    perm : tuple of int
        To (batch, channels, *spatial).
    window, strides, low, high : tuple of int
        For each spatial axis.
    """

    perm: Shape
    window: Shape
    strides: Shape
    low: Shape
    high: Shape

    @property
    def params(self) -> dict[str, Shape]:
        """The params of the primitives over windows."""
        names = ("window", "strides", "low", "high")
        return {name: getattr(self, name) for name in names}


def max_pool(
    x: Any,
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    layout: str = "NCHW",
) -> Any:
    """Return the maximum of each window.

    Parameters
    ----------
    x : array_like, (batch, channels, *spatial)
        One to three spatial axes; with ``layout="NHWC"`` (batch, *spatial, channels).
    window : int or sequence of int
    stride : int or sequence of int, optional
        By default the window: tiles.
    padding : int, "same", "valid" or sequence of (int or (before, after))
        Less than the window; padding is never a maximum.
    layout : str

    Returns
    -------
    array, (batch, channels, *places), or (batch, *places, channels)

    Raises
    ------
    ShapeError
        If the window or the padding does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[1., 3., 5.]]])
    """
    if isinstance(x, Tracer):
        arguments = {"window": window, "stride": stride, "padding": padding}
        return dispatch(max_pool, (x,), {**arguments, "layout": layout})
    x = np.asarray(x)
    plan = _plan("max_pool", x.shape, window, stride, padding, layout)
    out = window_max_p.impl(x.transpose(plan.perm), **plan.params)
    assert isinstance(out, np.ndarray)
    return np.ascontiguousarray(out.transpose(inverse_permutation(plan.perm)))


@implements(max_pool)
def _traced_max_pool(
    x: Any, window: PerAxis, stride: PerAxis | None, padding: Padding, layout: str
) -> Any:
    trace, (operand,) = lift(x)
    plan = _plan("max_pool", operand.shape, window, stride, padding, layout)
    first = trace.emit(transpose_p, operand.read(), perm=plan.perm)
    out = trace.emit(window_max_p, first, **plan.params)
    perm = inverse_permutation(plan.perm)
    return wrap(trace, trace.emit(transpose_p, out, perm=perm), Kind.ARRAY)


def avg_pool(
    x: Any,
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    layout: str = "NCHW",
) -> Any:
    """Return the mean of each window of a float array; zeros of the padding count.

    Parameters and errors are those of `max_pool`.

    Raises
    ------
    DTypeError
        If `x` is not a float or complex array.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[0.5, 2.5, 4.5]]])
    """
    if isinstance(x, Tracer):
        arguments = {"window": window, "stride": stride, "padding": padding}
        return dispatch(avg_pool, (x,), {**arguments, "layout": layout})
    x = np.asarray(x)
    _check_inexact(x.dtype)
    plan = _plan("avg_pool", x.shape, window, stride, padding, layout)
    first = x.transpose(plan.perm)
    share = np.full((1, 1, 1, *plan.window), 1 / prod(plan.window), x.dtype)
    rows = first.reshape((prod(first.shape[:2]), 1, 1, *first.shape[2:]))
    out = conv_general_p.impl(rows, share, **_conv_params(plan))
    assert isinstance(out, np.ndarray)
    out = out.reshape((*first.shape[:2], *out.shape[3:]))
    return np.ascontiguousarray(out.transpose(inverse_permutation(plan.perm)))


@implements(avg_pool)
def _traced_avg_pool(
    x: Any, window: PerAxis, stride: PerAxis | None, padding: Padding, layout: str
) -> Any:
    trace, (operand,) = lift(x)
    _check_inexact(operand.dtype)
    plan = _plan("avg_pool", operand.shape, window, stride, padding, layout)
    b = trace.builder
    first = trace.emit(transpose_p, operand.read(), perm=plan.perm)
    n, channels, *extents = first.aval.shape
    rows = reshape(b, first, (n * channels, 1, 1, *extents))
    filters = first.aval.with_shape((1, 1, 1, *plan.window))
    share = full_like(b, 1 / prod(plan.window), filters)
    out = trace.emit(conv_general_p, rows, share, **_conv_params(plan))
    out = reshape(b, out, (n, channels, *out.aval.shape[3:]))
    perm = inverse_permutation(plan.perm)
    return wrap(trace, trace.emit(transpose_p, out, perm=perm), Kind.ARRAY)


def _conv_params(plan: Plan) -> dict[str, Shape]:
    ones = (1,) * len(plan.window)
    params = {"strides": plan.strides, "low": plan.low, "high": plan.high}
    return {**params, "lhs_dilation": ones, "rhs_dilation": ones}


def _check_inexact(dtype: np.dtype) -> None:
    if not dt.is_inexact(dtype):
        raise DTypeError(
            f"avg_pool: the operand is {dtype}, expected floats",
            source=user_line(),
            hint="convert it: x.astype(np.float32)",
        )


def _plan(
    name: str,
    shape: Shape,
    window: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    layout: str,
) -> Plan:
    """Check the arguments and spell them out."""
    rank = len(shape) - 2
    if not 1 <= rank <= 3:
        raise mistake(
            f"{name}: x of shape {shape}; expected 3 to 5 axes",
            hint="give x a batch and a channel axis: x[None, None]",
        )
    perm: Sequence[int] = range(rank + 2)
    if is_channels_last(name, layout, rank):
        perm = (0, rank + 1, *range(1, rank + 1))
    extents = tuple(shape[d] for d in perm[2:])
    sizes = per_axis(name, "window", window, rank)
    strides = per_axis(name, "stride", window if stride is None else stride, rank)
    low, high = paddings(name, padding, extents, sizes, strides, (1,) * rank)
    if any(max(a, z) >= k for a, z, k in zip(low, high, sizes, strict=True)):
        raise mistake(
            f"{name}: padding {tuple(zip(low, high, strict=True))} is not less than "
            f"the window {sizes}"
        )
    if 0 in places(extents, sizes, strides, low, high):
        raise mistake(
            f"{name}: a window of {sizes} does not fit into x of shape {shape}",
            hint='padding="same" keeps the extents',
        )
    return Plan(tuple(perm), sizes, strides, low, high)
