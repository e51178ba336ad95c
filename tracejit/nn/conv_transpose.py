"""Transposed convolution: each element of the operand puts down a whole window.

Needs `conv_general`; the transpose of a convolution is one over the operand with zeros
between its elements, by filters turned around.
"""

from operator import index
from typing import Any

import numpy as np

from ..ir.aval import Shape
from ..ir.ops.conv import conv_general_p, dilated
from ..ir.ops.shape import inverse_permutation
from ..tracing.functions.registry import dispatch, implements, lift, wrap
from ..tracing.tracer import Tracer
from .arguments import (
    Padding,
    PerAxis,
    is_channels_last,
    mistake,
    paddings,
    per_axis,
)
from .operands import operand


def conv_transpose(
    x: Any,
    w: Any,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> Any:
    """Apply the transpose of a convolution with the same arguments.

    Parameters
    ----------
    x : array_like, (batch, channels, *spatial)
        One to three spatial axes. With ``layout="NHWC"`` (batch, *spatial, channels).
    w : array_like, (channels, out / groups, *window)
        The filters of the convolution that it is the transpose of. With
        ``layout="NHWC"`` (*window, out / groups, channels).
    stride, dilation : int or sequence of int
        Steps between windows, and between elements of a window.
    padding : int, "same", "valid" or sequence of (int or (before, after))
        What is cut off on each side; "same" gives ``extent * stride`` places.
    output_padding : int or sequence of int
        Places more at the end of each axis, less than a stride. The extents of what a
        convolution with a stride came from are not known from its result alone.
    groups : int
    layout : str
        As in `tracejit.nn.conv`.

    Returns
    -------
    array, (batch, out, *places), or (batch, *places, out)
        With ``(n - 1) * stride - before - after + dilation * (window - 1) + 1 +
        output_padding`` places for each extent n; of the common dtype of `x` and `w`.

    Raises
    ------
    ShapeError
        If shapes, groups or arguments do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 2., 2.]]])
    """
    x, w = operand(x), operand(w)
    rank = x.ndim - 2
    if w.ndim != x.ndim or not 1 <= rank <= 3:
        raise mistake(
            f"conv_transpose: x of shape {x.shape} and w of shape {w.shape}; expected "
            "3 to 5 axes, as many of both",
            hint="give x a batch axis: x[None]",
        )
    axes = range(rank)
    x_perm: Shape = tuple(range(rank + 2))
    w_perm = x_perm
    if is_channels_last("conv_transpose", layout, rank):
        x_perm = (0, rank + 1, *(d + 1 for d in axes))
        w_perm = (rank + 1, rank, *axes)
    image, filters = x.transpose(x_perm), w.transpose(w_perm)
    _check_channels(image.shape, filters.shape, groups)
    params = _params(
        image.shape[2:], filters.shape[2:], stride, padding, output_padding, dilation
    )
    out = _transposed(image, filters, groups, params)
    return out.transpose(inverse_permutation(x_perm)).copy()


def _transposed(x: Any, w: Any, groups: int, params: dict[str, Shape]) -> Any:
    """Convolve (batch, channels, ...) with (channels, out / groups, ...) turned."""
    dtype = np.result_type(x.dtype, w.dtype)
    n, channels, *extents = x.shape
    per, window = w.shape[1], w.shape[2:]
    turned = np.flip(w, tuple(range(2, w.ndim)))
    turned = turned.reshape((groups, channels // groups, per, *window))
    out = conv_general(
        x.astype(dtype, copy=False).reshape((n, groups, channels // groups, *extents)),
        turned.swapaxes(1, 2).astype(dtype, copy=False),
        **params,
    )
    return out.reshape((n, groups * per, *out.shape[3:]))


def conv_general(x: Any, w: Any, **params: Shape) -> Any:
    """Apply the primitive to arrays in its own layout."""
    if isinstance(x, Tracer) or isinstance(w, Tracer):
        return dispatch(conv_general, (x, w), params)
    return conv_general_p.impl(x, w, **params)


@implements(conv_general)
def _traced_conv_general(x: Any, w: Any, **params: Shape) -> Any:
    trace, (image, filters) = lift(x, w)
    return wrap(
        trace, trace.emit(conv_general_p, image.read(), filters.read(), **params)
    )


def _params(
    extents: Shape,
    window: Shape,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    dilation: PerAxis,
) -> dict[str, Shape]:
    """Return the params of `conv_general` that is the transpose."""
    name, rank = "conv_transpose", len(extents)
    strides = per_axis(name, "stride", stride, rank)
    steps = per_axis(name, "dilation", dilation, rank)
    more = _extra(output_padding, strides)
    # "same" of the convolution whose result has these extents.
    full = tuple(n * s for n, s in zip(extents, strides, strict=True))
    low, high = paddings(name, padding, full, window, strides, steps)
    reach = tuple(map(dilated, window, steps))
    if padding == "same":
        shortfall = zip(strides, reach, strict=True)
        more = tuple(max(0, s - k) for s, k in shortfall)
    params = {
        "strides": (1,) * rank,
        "low": tuple(k - 1 - a for k, a in zip(reach, low, strict=True)),
        "high": tuple(k - 1 - z + m for k, z, m in zip(reach, high, more, strict=True)),
        "lhs_dilation": strides,
        "rhs_dilation": steps,
    }
    places = tuple(
        (n - 1) * s + k - a - z + m
        for n, s, k, a, z, m in zip(
            extents, strides, reach, low, high, more, strict=True
        )
    )
    if 0 in window or min(places) < 1:
        raise mistake(
            f"conv_transpose: padding {tuple(zip(low, high, strict=True))} leaves "
            f"{places} places of extents {extents} and windows of {reach} (dilated)"
        )
    return params


def _extra(output_padding: PerAxis, strides: Shape) -> Shape:
    rank = len(strides)
    given = (
        (output_padding,) * rank
        if isinstance(output_padding, int)
        else tuple(output_padding)
    )
    more = tuple(index(n) for n in given)
    fits = len(more) == rank and all(
        0 <= n < s for n, s in zip(more, strides, strict=True)
    )
    if not fits:
        raise mistake(
            f"conv_transpose: output_padding is {output_padding!r}; expected {rank} "
            f"numbers from 0 to below the strides {strides}"
        )
    return more


def _check_channels(x: Shape, w: Shape, groups: int) -> None:
    if x[1] != w[0]:
        raise mistake(
            f"conv_transpose: x of shape {x} has {x[1]} channels (batch and channels "
            f"first), but w of shape {w} is of {w[0]}",
            hint="w is (channels, out / groups, *window)",
        )
    if groups < 1 or x[1] % groups:
        raise mistake(
            f"conv_transpose: {x[1]} channels do not make {groups} equal groups"
        )
