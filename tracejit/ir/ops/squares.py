"""Which values are sums of squares: their root has the gradient zero where they vanish.

At zero every square is zero and so is its derivative: the root's infinite slope meets a
tangent that is exactly zero. A norm or a deviation is such a root: its graph is a cone,
and zero is the subgradient of least norm at the tip.
"""

from ..builder import Builder
from ..graph import Atom, Eqn, Literal

# Steps that keep a sum of squares one, of their first operand.
_LINEAR = ("reduce_sum", "reshape", "broadcast_in_dim", "transpose", "convert", "slice")
_DEPTH = 12


def is_sum_of_squares(b: Builder, x: Atom, depth: int = _DEPTH) -> bool:
    """Tell whether `x` was emitted as a sum or mean of squares.

    Examples
    --------
    ``reduce_sum (mul %v, %v)``, ``div (reduce_sum (mul %v, %v)), 3.0``,
    ``add (mul %re, %re), (mul %im, %im)`` and the composite ``variance`` are.
    """
    eqn = b.definition(x)
    if eqn is None or not depth:
        return False
    name = eqn.primitive.name
    if name == "mul":
        return _is_square(b, eqn, depth)
    if name == "div":
        return _is_scale(eqn.invars[1]) and is_sum_of_squares(
            b, eqn.invars[0], depth - 1
        )
    if name == "composite":
        kind = eqn.params["name"]
        rows = kind == "mean" and is_sum_of_squares(b, eqn.invars[0], depth - 1)
        return kind == "variance" or rows
    if name == "add":
        return all(is_sum_of_squares(b, v, depth - 1) for v in eqn.invars)
    return name in _LINEAR and is_sum_of_squares(b, eqn.invars[0], depth - 1)


def _is_square(b: Builder, eqn: Eqn, depth: int) -> bool:
    """``v * v``, or a sum of squares times a number."""
    first, second = eqn.invars
    if first is second:
        return True
    return _is_scale(second) and is_sum_of_squares(b, first, depth - 1)


def _is_scale(x: Atom) -> bool:
    return isinstance(x, Literal) and bool(x.value > 0)
