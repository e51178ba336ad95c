"""Convolution of one, two or three spatial axes.

Needs `conv_general` and the tracing registry. In NumPy it looks through windows and
multiplies matrices; traced it is one `conv_general` between views.
"""

from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.graph import Atom
from ..ir.ops.conv import conv_general_p, dilated
from ..ir.ops.shape import inverse_permutation, reshape, transpose_p
from ..records import dataclass
from ..tracing.functions.registry import dispatch, implements, lift, wrap
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
    """A convolution brought to the canonical layout.

    Parameters
    ----------
    x_perm, w_perm : tuple of int
        To (batch, channels, *spatial) and (out, channels, *spatial).
    groups : int
    params : dict of str to tuple of int
        Of `conv_general`.
    """

    x_perm: Shape
    w_perm: Shape
    groups: int
    params: dict[str, Shape]


def conv(
    x: Any,
    w: Any,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> Any:
    """Convolve a batch with filters (cross-correlation, as networks use it).

    Parameters
    ----------
    x : array_like, (batch, channels, *spatial)
        One to three spatial axes. With ``layout="NHWC"`` (batch, *spatial, channels).
    w : array_like, (out, channels / groups, *window)
        With ``layout="NHWC"`` (*window, channels / groups, out).
    stride, dilation : int or sequence of int
        Steps of the window, and between its elements.
    padding : int, "same", "valid" or sequence of (int or (before, after))
        Zeros around each spatial axis. "same" gives ``ceil(extent / stride)`` places.
    groups : int
        The channels, and the filters, in as many groups that do not mix; as many as
        there are channels make a depthwise convolution.
    layout : str
        ``NCHW`` or ``NHWC`` for any number of axes; ``NCW``, ``NDHWC``, ... for theirs.

    Returns
    -------
    array, (batch, out, *places), or (batch, *places, out)
        Of NumPy's common dtype of `x` and `w`.

    Raises
    ------
    ShapeError
        If shapes, groups or arguments do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> conv(np.ones((1, 1, 4)), np.ones((1, 1, 3)), padding="same")
    array([[[2., 3., 3., 2.]]])
    """
    if isinstance(x, Tracer) or isinstance(w, Tracer):
        arguments = {"stride": stride, "padding": padding, "dilation": dilation}
        return dispatch(conv, (x, w), {**arguments, "groups": groups, "layout": layout})
    x, w = np.asarray(x), np.asarray(w)
    dtype = np.result_type(x, w)
    plan = _plan(x.shape, w.shape, stride, padding, dilation, groups, layout)
    x, w = x.transpose(plan.x_perm), w.transpose(plan.w_perm)
    out = conv_general_p.impl(
        x.astype(dtype, copy=False).reshape(_grouped_x(x.shape, groups)),
        w.astype(dtype, copy=False).reshape(_grouped_w(w.shape, groups)),
        **plan.params,
    )
    assert isinstance(out, np.ndarray)
    out = out.reshape((out.shape[0], w.shape[0], *out.shape[3:]))
    return np.ascontiguousarray(out.transpose(inverse_permutation(plan.x_perm)))


@implements(conv)
def _traced_conv(
    x: Any,
    w: Any,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    groups: int,
    layout: str,
) -> Any:
    trace, (image, filters) = lift(x, w)
    dtype = dt.canonical(np.result_type(image.dtype, filters.dtype))
    plan = _plan(image.shape, filters.shape, stride, padding, dilation, groups, layout)

    def canonical(value: Atom, perm: Shape) -> Atom:
        return trace.emit(transpose_p, value, perm=perm)

    b = trace.builder
    left = canonical(image.convert(dtype), plan.x_perm)
    right = canonical(filters.convert(dtype), plan.w_perm)
    out = trace.emit(
        conv_general_p,
        reshape(b, left, _grouped_x(left.aval.shape, groups)),
        reshape(b, right, _grouped_w(right.aval.shape, groups)),
        **plan.params,
    )
    n, _, _, *places = out.aval.shape
    out = reshape(b, out, (n, right.aval.shape[0], *places))
    perm = inverse_permutation(plan.x_perm)
    return wrap(trace, trace.emit(transpose_p, out, perm=perm), Kind.ARRAY)


def _grouped_x(shape: Shape, groups: int) -> Shape:
    return (shape[0], groups, shape[1] // groups, *shape[2:])


def _grouped_w(shape: Shape, groups: int) -> Shape:
    return (groups, shape[0] // groups, *shape[1:])


def _plan(
    x: Shape,
    w: Shape,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    groups: int,
    layout: str,
) -> Plan:
    """Check the arguments and bring them to the canonical layout."""
    rank = len(x) - 2
    if len(w) != len(x) or not 1 <= rank <= 3:
        raise mistake(
            f"conv: x of shape {x} and w of shape {w}; expected 3 to 5 axes, as many "
            "of both",
            hint="give x a batch axis: x[None]",
        )
    last = is_channels_last("conv", layout, rank)
    axes = tuple(range(rank))
    x_perm = (0, rank + 1, *(d + 1 for d in axes)) if last else tuple(range(rank + 2))
    w_perm = (rank + 1, rank, *axes) if last else tuple(range(rank + 2))
    _check_channels(x, w, x_perm, w_perm, groups)
    extents = tuple(x[d] for d in x_perm[2:])
    window = tuple(w[d] for d in w_perm[2:])
    strides = per_axis("conv", "stride", stride, rank)
    steps = per_axis("conv", "dilation", dilation, rank)
    low, high = paddings("conv", padding, extents, window, strides, steps)
    reach = tuple(map(dilated, window, steps))
    padded = tuple(n + a + z for n, a, z in zip(extents, low, high, strict=True))
    if 0 in window or any(k > n for k, n in zip(reach, padded, strict=True)):
        raise mistake(
            f"conv: a window of {reach} (dilated) does not fit into the padded extents "
            f"{padded} of x of shape {x}",
            hint='padding="same" keeps the extents',
        )
    params = {"strides": strides, "low": low, "high": high}
    ones = (1,) * rank
    return Plan(
        x_perm,
        w_perm,
        groups,
        {**params, "lhs_dilation": ones, "rhs_dilation": steps},
    )


def _check_channels(
    x: Shape, w: Shape, x_perm: Shape, w_perm: Shape, groups: int
) -> None:
    channels, filters, depth = x[x_perm[1]], w[w_perm[0]], w[w_perm[1]]
    if groups < 1 or filters % groups:
        raise mistake(f"conv: {filters} filters do not make {groups} equal groups")
    if channels != depth * groups:
        raise mistake(
            f"conv: x of shape {x} has {channels} channels, but w of shape {w} takes "
            f"{depth} in each of {groups} groups",
            hint="w is (out, channels / groups, *window)",
        )
