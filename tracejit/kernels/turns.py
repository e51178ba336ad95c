"""Loops that each element runs for itself, so that a kernel can hold them."""

from collections.abc import Collection, Sequence

from ..ir.aval import Shape, ShapedArray
from ..ir.dtypes import is_complex
from ..ir.graph import Atom, Eqn, Graph
from ..ir.ops.loops import ScanParams, scan_p
from ..ir.ops.shape import broadcast_in_dim_p
from ..ir.primitive import Kind


def is_pointwise_loop(eqn: Eqn) -> bool:
    """Tell whether an equation is a loop that a kernel can hold.

    A `scan` that stacks nothing, whose carries are numbers or of one shape, the first
    one of that shape, and whose body is elementwise. What its turns read is one number
    for each turn, and constants of that shape or of rank 0. See `passes.turns`.
    """
    if eqn.primitive is not scan_p or eqn.effects:
        return False
    return is_pointwise(ScanParams.of(eqn.params), [x.aval for x in eqn.invars])


def has_read_numbers(eqn: Eqn, read: Collection[Atom]) -> bool:
    """Tell whether a carry of rank 0 beside arrays is among what is read afterwards."""
    numbers = [v for v in eqn.outvars if not v.aval.shape]
    return len(numbers) < len(eqn.outvars) and any(v in read for v in numbers)


def is_pointwise(p: ScanParams, avals: Sequence[ShapedArray]) -> bool:
    """Tell whether a loop on operands of some avals is one that a kernel can hold."""
    fixed, inits, xs = p.split(avals)
    if p.length < 1 or not inits or len(p.body.outvars) > p.carries:
        return False
    shape = inits[0].shape
    if 0 in shape or not all(a.shape in ((), shape) for a in (*fixed, *inits)):
        return False
    return all(a.ndim == 1 for a in xs) and is_elementwise(p.body, shape)


def is_elementwise(body: Graph, shape: Shape) -> bool:
    """Tell whether a graph computes elements of a shape, and numbers, one by one."""
    return all(_is_inside(eqn, shape) for eqn in body.eqns)


def _is_inside(eqn: Eqn, shape: Shape) -> bool:
    avals = [x.aval for x in (*eqn.invars, *eqn.outvars)]
    if any(a.shape not in ((), shape) or is_complex(a.dtype) for a in avals):
        return False
    if eqn.effects:
        return False
    if eqn.primitive is broadcast_in_dim_p:
        return not eqn.invars[0].aval.shape
    if eqn.primitive is scan_p:
        is_counted = ScanParams.of(eqn.params).split(eqn.invars)[2]
        return is_pointwise_loop(eqn) and not is_counted
    return eqn.primitive.kind is Kind.ELEMENTWISE
