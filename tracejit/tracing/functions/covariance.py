"""Rules for covariances and correlations."""

from typing import Any

import numpy as np

from ..tracer import Tracer
from .checks import require
from .registry import complex_of, implements, lift
from .shape import atleast_2d, concatenate


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """Covariance of variables in rows (or columns), of observations with weights."""
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    ddof = (0 if bias else 1) if ddof is None else ddof
    x = _variables(m, y, rowvar, dtype)
    if not x.shape[0]:
        return x.home.constant(np.zeros((0, 0)), born_here=True)
    weights = _weights(x, fweights, aweights)
    if weights is None:
        x = x - np.mean(x, axis=1, keepdims=True)
        scale: Any = x.dtype.type(max(x.shape[1] - ddof, 0))
        return np.squeeze(np.dot(x, np.conjugate(x.T)) / scale)
    total = np.sum(weights)
    x = x - (np.sum(x * weights, axis=1) / total)[:, None]
    lost = ddof if aweights is None else ddof * np.sum(weights * aweights) / total
    scale = np.maximum(total - lost, 0)
    return np.squeeze(np.dot(x, np.conjugate((x * weights).T)) / scale)


def _variables(m: Any, y: Any, rowvar: bool, dtype: Any) -> Tracer:
    """Variables in rows, those of `y` behind those of `m`."""
    given = [lift(v)[1][0] for v in (m, y) if v is not None]
    for name, v in zip("my", given, strict=False):
        if v.ndim > 2:
            raise ValueError(f"{name} has more than 2 dimensions")
    inner = np.result_type(*(v.dtype for v in given), np.float64)
    rows = [
        v.T if not rowvar and v.shape[0] != 1 else v
        for v in (atleast_2d(g.astype(dtype or inner)) for g in given)
    ]
    return concatenate(rows) if y is not None else rows[0]


def _weights(x: Tracer, fweights: Any, aweights: Any) -> Any:
    """How often an observation counts, by both kinds of weights: None for once."""
    weights: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        each = lift(given)[1][0].astype(np.float64)
        if name == "fweights":
            require(each == np.round(each), "fweights must be integer", TypeError)
        if each.ndim > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if each.shape[0] != x.shape[1]:
            raise RuntimeError(f"incompatible numbers of samples and {name}")
        require(each >= 0, f"{name} cannot be negative")
        weights = each if weights is None else weights * each
    return weights


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    scale = np.sqrt(np.diagonal(c).real)
    c = c / scale[:, None] / scale[None, :]
    if c.dtype.kind != "c":
        return np.clip(c, -1, 1)
    real, imag = (np.clip(part, -1, 1) for part in (c.real, c.imag))
    return complex_of(real, imag)
