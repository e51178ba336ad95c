"""Sums of exponentials: `logsumexp`, `softmax` and `log_softmax`, as in SciPy."""

from typing import Any

import numpy as np

from ... import nn
from ...nn.operands import axes_of, operand, wide
from ..optional import like_scipy


@like_scipy("special")
def logsumexp(
    a: Any,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Return the logarithm of a sum of exponentials, times factors, along axes.

    Parameters
    ----------
    a : array_like
    axis : int, tuple of int or None
        None is all.
    b : array_like, optional
        Factors, real; broadcast with `a`. Where one is 0, `a` does not count.
    keepdims : bool
        Whether reduced axes stay, with extent 1.
    return_sign : bool
        Whether the sign of the sum is returned too. Without it the logarithm of a
        negative sum is NaN.

    Returns
    -------
    array, or tuple of two

    Examples
    --------
    >>> import numpy as np
    >>> logsumexp(np.array([1000.0, 1000.0]), b=np.array([2.0, -1.0]))
    np.float64(1000.0)
    """
    a = operand(a)
    if b is None:
        out = nn.logsumexp(a, axis, keepdims)
        if not return_sign:
            return out
        return out, np.where(out == -np.inf, 0, np.where(np.isnan(out), out, 1))
    a, b = wide(a), operand(b)
    a, b = np.broadcast_arrays(a, b)
    axes = axes_of(axis, a.ndim)
    counts = b != 0
    top = np.max(np.where(counts, a, -np.inf), axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    shifted = np.where(counts, a - top, 0)
    total = np.sum(b * np.exp(shifted), axis=axes, keepdims=True)
    sign = np.sign(total)
    size = np.abs(total)
    is_empty = size == 0
    log = np.log(np.where(is_empty, 1, size)) + top
    out = np.where(is_empty, -np.inf, log)
    if not return_sign:
        out = np.where(sign < 0, np.nan, out)
    if not keepdims:
        out, sign = (np.squeeze(x, axis=axes)[()] for x in (out, sign))
    return (out, sign) if return_sign else out


@like_scipy("special")
def softmax(x: Any, axis: Any = None) -> Any:
    """Return exponentials over their sum along axes; None is all.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    return nn.softmax(x, axis)


@like_scipy("special")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """Return the logarithm of `softmax`, precise where that is small.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.array([0.0, -1000.0]))
    array([    0., -1000.])
    """
    return nn.log_softmax(x, axis)
