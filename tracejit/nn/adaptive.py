"""Pooling to a given number of places, and over all of them.

Plain NumPy: means and maxima over slices.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.aval import Shape
from .arguments import PerAxis, is_channels_last, mistake, per_axis
from .operands import operand, rounded_once


def global_avg_pool(x: Any, layout: str = "NCHW", keepdims: bool = False) -> Any:
    """Return the mean over all spatial axes.

    Parameters
    ----------
    x : array_like, (batch, channels, *spatial)
        One to three spatial axes; with ``layout="NHWC"`` (batch, *spatial, channels).
    layout : str
    keepdims : bool
        Whether the spatial axes stay, with extent 1.

    Returns
    -------
    array, (batch, channels)

    Raises
    ------
    ShapeError

    Examples
    --------
    >>> import numpy as np
    >>> global_avg_pool(np.arange(6.0).reshape(1, 2, 3))
    array([[1., 4.]])
    """
    axes = _spatial("global_avg_pool", operand(x), layout)
    return _mean(x, axes, keepdims)


@rounded_once
def _mean(x: Any, axes: Shape, keepdims: bool) -> Any:
    return np.mean(x, axis=axes, keepdims=keepdims)


def global_max_pool(x: Any, layout: str = "NCHW", keepdims: bool = False) -> Any:
    """Return the maximum over all spatial axes; arguments as in `global_avg_pool`.

    Examples
    --------
    >>> import numpy as np
    >>> global_max_pool(np.arange(6.0).reshape(1, 2, 3))
    array([[2., 5.]])
    """
    x = operand(x)
    axes = _spatial("global_max_pool", x, layout)
    return np.max(x, axis=axes, keepdims=keepdims)


@rounded_once
def adaptive_avg_pool(x: Any, output: PerAxis, layout: str = "NCHW") -> Any:
    """Return means of windows, as many along each axis as wanted.

    Parameters
    ----------
    x : array_like, (batch, channels, *spatial)
        With ``layout="NHWC"`` (batch, *spatial, channels).
    output : int or sequence of int
        Places along each spatial axis. Window i of m over an extent n goes from
        ``floor(i n / m)`` to below ``ceil((i + 1) n / m)``, as in PyTorch.
    layout : str

    Returns
    -------
    array, (batch, channels, *output), or (batch, *output, channels)

    Raises
    ------
    ShapeError

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[1., 4.]]])
    """
    return _adaptive("adaptive_avg_pool", np.mean, x, output, layout)


def adaptive_max_pool(x: Any, output: PerAxis, layout: str = "NCHW") -> Any:
    """Return maxima of windows; arguments and windows as in `adaptive_avg_pool`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool(np.arange(6.0).reshape(1, 1, 6), 4)
    array([[[1., 2., 4., 5.]]])
    """
    return _adaptive("adaptive_max_pool", np.max, operand(x), output, layout)


def _adaptive(
    name: str, reduce: Callable[..., Any], x: Any, output: PerAxis, layout: str
) -> Any:
    """Reduce axis by axis: a window is the product of windows of its axes."""
    axes = _spatial(name, x, layout)
    counts = per_axis(name, "output", output, len(axes))
    for axis, count in zip(axes, counts, strict=True):
        x = _reduced(reduce, x, axis, count)
    return x


def _reduced(reduce: Callable[..., Any], x: Any, axis: int, count: int) -> Any:
    extent = x.shape[axis]
    if extent % count == 0:
        split = (*x.shape[:axis], count, extent // count, *x.shape[axis + 1 :])
        return reduce(x.reshape(split), axis=axis + 1)
    lead = (slice(None),) * axis
    windows = [
        (i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)
    ]
    parts = [
        reduce(x[(*lead, slice(first, stop))], axis=axis, keepdims=True)
        for first, stop in windows
    ]
    return np.concatenate(parts, axis=axis)


def _spatial(name: str, x: Any, layout: str) -> Shape:
    rank = x.ndim - 2
    if not 1 <= rank <= 3:
        raise mistake(
            f"{name}: x of shape {x.shape}; expected 3 to 5 axes",
            hint="give x a batch and a channel axis: x[None, None]",
        )
    first = 1 if is_channels_last(name, layout, rank) else 2
    if 0 in x.shape[first : first + rank]:
        raise mistake(f"{name}: x of shape {x.shape} has no places")
    return tuple(range(first, first + rank))
