"""Softmax and its relatives along axes, and one-hot rows.

Plain NumPy with the maximum subtracted, which the compiler recognises: one kernel each,
with derivatives that keep no masks.
"""

from typing import Any

import numpy as np

from .operands import Axes, axes_of, operand, positions, rounded_once


@rounded_once
def softmax(x: Any, axis: Axes | None = -1) -> Any:
    """Return exponentials over their sum along an axis.

    Parameters
    ----------
    x : array_like
        Floats, or integers, which become float64.
    axis : int, tuple of int or None
        Along which the result sums to 1; None is all.

    Returns
    -------
    array of the shape of `x`
        0 where `x` is -inf; NaN along rows that are nothing else.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    axes = axes_of(axis, x.ndim)
    e = np.exp(x - np.max(x, axis=axes, keepdims=True))
    return e / np.sum(e, axis=axes, keepdims=True)


@rounded_once
def log_softmax(x: Any, axis: Axes | None = -1) -> Any:
    """Return ``log(softmax(x))``, precise where that is small; see `softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.array([0.0, -1000.0]))
    array([    0., -1000.])
    """
    axes = axes_of(axis, x.ndim)
    shifted = x - np.max(x, axis=axes, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axes, keepdims=True))


@rounded_once
def logsumexp(x: Any, axis: Axes | None = None, keepdims: bool = False) -> Any:
    """Return the logarithm of the sum of exponentials along axes.

    Parameters
    ----------
    x : array_like
    axis : int, tuple of int or None
        None is all.
    keepdims : bool
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    array
        -inf, with the derivative 0, where every operand is -inf.

    Examples
    --------
    >>> import numpy as np
    >>> logsumexp(np.array([[1000.0, 1000.0], [-np.inf, -np.inf]]), axis=1)
    array([1000.69314718,          -inf])
    """
    axes = axes_of(axis, x.ndim)
    if 0 in (x.shape[d] for d in axes):
        return np.log(np.sum(np.exp(x), axis=axes, keepdims=keepdims))
    top = np.max(x, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.sum(np.exp(x - top), axis=axes, keepdims=True)
    is_empty = total == 0
    finite = np.log(np.where(is_empty, 1, total)) + top
    out = np.where(is_empty, x.dtype.type(-np.inf), finite)
    return out if keepdims else np.squeeze(out, axis=axes)[()]


def one_hot(labels: Any, num_classes: int, dtype: Any = float, axis: int = -1) -> Any:
    """Return rows that are 1 at their label, else 0.

    Parameters
    ----------
    labels : array_like of int, (*lead)
        Labels outside of 0 to ``num_classes - 1`` give rows of zeros.
    num_classes : int
    dtype : dtype
        Of the result.
    axis : int
        Of the result, along which the classes lie.

    Returns
    -------
    array, (*lead, num_classes)
        With the last axis moved to `axis`.

    Examples
    --------
    >>> import numpy as np
    >>> one_hot(np.array([0, 2]), 3, np.int8)
    array([[1, 0, 0],
           [0, 0, 1]], dtype=int8)
    """
    labels = operand(labels)
    hot = labels[..., None] == positions(num_classes, labels)
    return np.moveaxis(hot.astype(dtype), -1, axis)
