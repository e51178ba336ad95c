"""The fixed summation tree: the same bits whatever the vector width or tiling.

An add-reduction of n elements x[0..n) (row-major over the reduced axes) is cut into
leaves of `LEAF` consecutive elements. Within a leaf, element k goes to virtual lane
``k mod LANES`` and each lane adds its elements in increasing k, from its first on.
Leaves (vectors of `LANES` partial sums; lanes without elements hold -0.0, the neutral
element) are combined pairwise like a binary counter: leaf 0+1, 2+3, then (0+1)+(2+3),
...; what is left at the end is combined from the most recent to the oldest, older
operand on the left. At last the lanes are folded: lane l with l+32, l+16, ..., l+1, and
what that gives is added to 0.0: a sum of nothing but -0.0 is 0.0, as NumPy's sums are.
Emitters and the interpreter of kernels all follow this page.
"""

import functools

import numpy as np

from ..ir.ops.exact_fma import fma

LEAF = 1024
LANES = 64


def tree_sum(x: np.ndarray, factors: np.ndarray | None = None) -> np.ndarray:
    """Sum over the last axis by the fixed tree.

    Parameters
    ----------
    x : numpy.ndarray, shape (..., n)
        Any numeric dtype; the sum is carried out in that dtype.
    factors : numpy.ndarray, shape (..., n), optional
        Of floats: the sum is that of ``x * factors``, each product added unrounded.

    Returns
    -------
    numpy.ndarray, shape (...)
        Positive zero where n is 0.
    """
    n = x.shape[-1]
    if n == 0:
        return np.zeros(x.shape[:-1], x.dtype)
    stack: list[tuple[int, np.ndarray]] = []
    for start in range(0, n, LEAF):
        leaf = slice(start, start + LEAF)
        by = None if factors is None else factors[..., leaf]
        level, part = 0, _leaf(x[..., leaf], by)
        while stack and stack[-1][0] == level:
            part = stack.pop()[1] + part
            level += 1
        stack.append((level, part))
    _, total = stack.pop()
    while stack:
        total = stack.pop()[1] + total
    return _fold_lanes(total) + np.zeros((), x.dtype)


def _leaf(x: np.ndarray, factors: np.ndarray | None) -> np.ndarray:
    rows = _rows(x, -0.0 if x.dtype.kind in "fcV" else 0)
    if factors is None:
        return functools.reduce(np.add, rows)
    others = _rows(factors, 1.0)
    total: np.ndarray = rows[0] * others[0]
    for row, other in zip(rows[1:], others[1:], strict=True):
        total = fma(row, other, total)
    return total


def _rows(x: np.ndarray, neutral: float) -> np.ndarray:
    """Return the rows of lanes of a leaf; elements beyond its end are neutral."""
    ends = np.full((*x.shape[:-1], -x.shape[-1] % LANES), neutral, x.dtype)
    rows = np.concatenate([x, ends], axis=-1)
    rows = rows.reshape(*x.shape[:-1], rows.shape[-1] // LANES, LANES)
    return np.moveaxis(rows, -2, 0)


def _fold_lanes(lanes: np.ndarray) -> np.ndarray:
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width : 2 * width]
    return lanes[..., 0]
