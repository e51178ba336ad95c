"""Scaled dot-product attention.

The written-out form in NumPy, which the compiler recognises: one kernel forwards, and
three for gradients, none of which stores scores. Dropout is the exception: its weights
are stored.
"""

from math import sqrt
from typing import Any

import numpy as np

from ..tracing.tracer import Tracer
from .arguments import mistake
from .dropout import dropout
from .operands import floats, is_narrow, operand, positions, wide
from .rows import softmax


def attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    bias: Any = None,
    *,
    causal: bool = False,
    scale: Any = None,
    dropout_rate: float = 0.0,
    dropout_key: Any = None,
) -> Any:
    """Return ``softmax(scale * query @ keyᵀ + bias) @ value``, with masked scores.

    Parameters
    ----------
    query : array_like, (..., heads, n, depth)
    key : array_like, (..., key heads, m, depth)
    value : array_like, (..., key heads, m, width)
        Without an axis of heads all three are matrices. Where there are fewer key heads
        than heads, which they divide, each serves as many consecutive heads (grouped
        queries; with one key head, multi-query).
    mask : array_like of bool, broadcast to (..., heads, n, m), optional
        Where it is false, a query does not see a key.
    bias : array_like, broadcast to (..., heads, n, m), optional
        Added to the scaled scores.
    causal : bool
        Whether query i sees the keys up to i only.
    scale : float or array_like, optional
        By default 1/√depth.
    dropout_rate : float
        The probability with which weights are left out.
    dropout_key : uint32[2], optional
        For dropout; see `tracejit.nn.dropout`.

    Returns
    -------
    array, (..., heads, n, width)
        Of the common dtype of the operands. A query that sees no key gives the mean of
        all values: hidden scores are the least finite number.

    Raises
    ------
    ShapeError
        If depths, numbers of keys or heads do not fit.

    Notes
    -----
    A. Vaswani et al., arXiv:1706.03762; groups of queries, J. Ainslie et al.,
    arXiv:2305.13245. Of narrow floats, softmax is computed in float32.

    Examples
    --------
    >>> import numpy as np
    >>> q, k, v = np.eye(2), 100 * np.eye(2), np.array([[1.0], [2.0]])
    >>> attention(q, k, v)
    array([[1.],
           [2.]])
    """
    q, k, v = floats(query), floats(key), floats(value)
    _check(q.shape, k.shape, v.shape)
    dtype = np.result_type(q.dtype, k.dtype, v.dtype)
    q, k, v = (x.astype(dtype, copy=False) for x in (q, k, v))
    group = q.shape[-3] // k.shape[-3] if q.ndim > 2 and k.shape[-3] else 1
    heads = q.shape[:-2]
    q = _split_heads(q, group) if group != 1 else q
    scores = wide(_product(q, k.swapaxes(-1, -2), group).astype(dtype, copy=False))
    scores = scores * (1 / sqrt(q.shape[-1]) if scale is None else scale)
    scores = scores.astype(wide_dtype(dtype), copy=False)
    if bias is not None:
        extra = _rows_of_heads("bias", bias, scores.shape, group)
        scores = scores + extra.astype(scores.dtype, copy=False)
    seen = _seen(mask, causal, scores.shape, group)
    if seen is not None:
        scores = np.where(seen, scores, np.finfo(scores.dtype).min)
    weights = softmax(scores)
    if dropout_rate:
        weights = dropout(weights, dropout_rate, dropout_key)
    out = _product(weights.astype(dtype, copy=False), v, group)
    out = out.astype(dtype, copy=False)
    return out.reshape((*heads, *out.shape[-2:])) if group != 1 else out


def wide_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype that scores have."""
    return np.dtype(np.float32) if is_narrow(dtype) else dtype


def _product(a: Any, b: Any, group: int) -> Any:
    """Return a product of matrices, of which `b` serves groups of `a`.

    In a trace it says so, and no group has a copy; `np.einsum` itself is slow.
    """
    if group == 1:
        return np.matmul(a, b)
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return np.einsum("...hgij,...hjk->...hgik", a, b)
    return np.matmul(a, b[..., None, :, :])


def _split_heads(x: Any, group: int) -> Any:
    """Return (..., heads, n, m) as (..., heads / group, group, n, m)."""
    *lead, heads, n, m = x.shape
    return x.reshape((*lead, heads // group, group, n, m))


def _seen(mask: Any, causal: bool, shape: tuple[int, ...], group: int) -> Any:
    """Return where queries see keys, or None where all see all."""
    seen = None
    if causal:
        n, m = shape[-2:]
        seen = positions(n, mask)[:, None] >= positions(m, mask)
    if mask is not None:
        mask = _rows_of_heads("mask", mask, shape, group)
        if mask.dtype != np.bool_:
            raise mistake(
                f"attention: the mask is {mask.dtype}, expected bool",
                hint="bias= takes what is added to the scores",
            )
        seen = mask if seen is None else seen & mask
    return seen


def _rows_of_heads(what: str, x: Any, shape: tuple[int, ...], group: int) -> Any:
    """Return a mask or bias that broadcasts to the scores, in groups as they are."""
    x = operand(x)
    if group != 1 and x.ndim > 2:
        x = x[..., None, :, :] if x.shape[-3] == 1 else _split_heads(x, group)
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise mistake(
            f"attention: {what} of shape {x.shape} does not broadcast to the scores, "
            f"{shape}"
        )
    return x


def _check(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    shapes = f"query, key and value of shapes {q}, {k} and {v}"
    if not len(q) == len(k) == len(v) >= 2:
        raise mistake(
            f"attention: {shapes}; expected 2 axes at least, as many of each",
            hint="(..., heads, length, depth)",
        )
    if q[-1] != k[-1]:
        raise mistake(f"attention: {shapes} do not agree in depth, their last axis")
    if k[-2] != v[-2] or k[:-2] != v[:-2]:
        raise mistake(f"attention: {shapes}: as many values as keys are expected")
    if len(q) > 2 and (q[:-3] != k[:-3] or k[-3] < 1 or q[-3] % k[-3]):
        raise mistake(
            f"attention: {shapes}: expected the same leading axes, and a number of key "
            "heads that divides the heads"
        )
