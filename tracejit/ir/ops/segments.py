"""Products over segments of a sorted row, by scans: exact where factors are zero.

Needs segment numbers in ascending order. Everything is slices, pads, selections and
multiplications, so that derivatives of any order follow.
"""

from ..builder import Builder
from ..graph import Atom
from .elementwise import eq_p, mul_p, one, select_p
from .shape import pad_p, rev_p, slice_p


def products_of_others(b: Builder, values: Atom, segments: Atom) -> Atom:
    """Return per element the product of the others of its segment.

    Parameters
    ----------
    b : Builder
    values : Var or Literal
        Of shape (n,).
    segments : Var or Literal
        Integers of shape (n,), not negative, ascending.

    Returns
    -------
    Var or Literal
        Of shape (n,); log₂ n steps from either side.
    """
    before = _products_before(b, values, segments)
    turned = (b.emit(rev_p, v, axes=(0,)) for v in (values, segments))
    after = b.emit(rev_p, _products_before(b, *turned), axes=(0,))
    return b.emit(mul_p, before, after)


def _products_before(b: Builder, values: Atom, segments: Atom) -> Atom:
    """Return the products of the elements before each one in its segment."""
    running = _earlier(b, values, segments, 1)
    step = 1
    while step < values.aval.size:
        earlier = _earlier(b, running, segments, step)
        running = b.emit(mul_p, running, earlier)
        step *= 2
    return running


def _earlier(b: Builder, values: Atom, segments: Atom, step: int) -> Atom:
    """Return the value `step` places before, and 1 where the segment is another."""
    same = b.emit(eq_p, segments, _delayed(b, segments, step, -1))
    return b.emit(select_p, same, _delayed(b, values, step, 1), one(b, values))


def _delayed(b: Builder, x: Atom, step: int, fill: int) -> Atom:
    wide = b.emit(pad_p, x, b.literal(fill, x.aval.dtype), low=(step,), high=(0,))
    return b.emit(slice_p, wide, start=(0,), stop=x.aval.shape, stride=(1,))
