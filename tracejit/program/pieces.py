"""Arrays that are put together of many pieces: each is written in its place.

A kernel with many pieces would ask, at each element, which one it belongs to. Where
pieces are rows, or parts of the first axis that is not one, each is contiguous in the
whole, so that what computes it can write it there:

    %9 = concatenate %a, %b, ... {axis=0}

    run @k0(...) -> (%a)           %a = alias %y9 + 0
    run @k1(...) -> (%b)           %b = alias %y9 + 64
"""

from collections.abc import Iterable, Iterator
from math import prod

from ..ir.aval import Shape, ShapedArray
from ..ir.graph import Eqn, Var
from ..ir.ops.shape import concatenate_p
from .program import ProgramBuffer, Storage

MANY = 16  # pieces
LEAST_BYTES = 256  # of a piece: a step to itself costs some ten nanoseconds


def is_in_pieces(eqn: Eqn) -> bool:
    """Tell whether an equation puts an array together of many contiguous pieces."""
    if eqn.primitive is not concatenate_p or len(eqn.invars) < MANY:
        return False
    axis = eqn.params["axis"]
    assert isinstance(axis, int)
    avals = [x.aval for x in eqn.invars]
    is_outer = prod(avals[0].shape[:axis]) == 1
    has_arrays = all(isinstance(x, Var) for x in eqn.invars)
    return has_arrays and is_outer and are_worth_steps(avals)


def are_worth_steps(pieces: Iterable[ShapedArray]) -> bool:
    """Tell whether pieces are large enough for steps of their own."""
    return all(a.size * a.dtype.itemsize >= LEAST_BYTES for a in pieces)


def pieces_of(eqn: Eqn, strides: Shape) -> Iterator[tuple[Var, int]]:
    """Yield the pieces, and where they begin in an array of these element strides."""
    axis = eqn.params["axis"]
    assert isinstance(axis, int)
    at = 0
    for x in eqn.invars:
        assert isinstance(x, Var)
        yield x, at * strides[axis]
        at += x.aval.shape[axis]


def is_piece(
    buffer: ProgramBuffer, whole: ProgramBuffer, shape: Shape, offset: int
) -> bool:
    """Tell whether a buffer is the part of another that starts at an offset."""
    start = whole.offset if whole.storage is Storage.ALIAS else 0
    steps = zip(shape, buffer.strides, whole.strides, strict=True)
    return (
        buffer.storage is Storage.ALIAS
        and buffer.base == (whole.base or whole.name)
        and (buffer.offset, buffer.moves) == (start + offset, whole.moves)
        and all(mine == its for n, mine, its in steps if n != 1)
    )
