"""What rules for complex arithmetic in parts are written with, and its products."""

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

import numpy as np

from ..ir.builder import Builder
from ..ir.graph import Atom, Literal
from ..ir.ops import elementwise as ew
from ..ir.primitive import Params


class Pair(NamedTuple):
    """Real and imaginary part of a value."""

    re: Atom
    im: Atom


Part = Atom | Pair  # of an operand: what is complex is a pair
Rule = Callable[["Maker", Sequence[Part], Params], Part]


class Maker:
    """Emits real operations, in few letters."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def add(self, x: Atom, y: Atom) -> Atom:
        """Emit x + y."""
        return self.b.emit(ew.add_p, x, y)

    def sub(self, x: Atom, y: Atom) -> Atom:
        """Emit x - y."""
        return self.b.emit(ew.sub_p, x, y)

    def mul(self, x: Atom, y: Atom | float) -> Atom:
        """Emit x y."""
        return self.b.emit(ew.mul_p, x, y)

    def div(self, x: Atom, y: Atom) -> Atom:
        """Emit x / y."""
        return self.b.emit(ew.div_p, x, y)

    def neg(self, x: Atom) -> Atom:
        """Emit -x."""
        return self.b.emit(ew.neg_p, x)

    def abs(self, x: Atom) -> Atom:
        """Emit the size of x."""
        return self.b.emit(ew.abs_p, x)

    def call(self, name: str, *operands: Atom) -> Atom:
        """Emit an elementwise function by name."""
        return self.b.emit(getattr(ew, f"{name}_p"), *operands)

    def convert(self, x: Atom, dtype: np.dtype) -> Atom:
        """Emit x in another dtype."""
        return self.b.emit(ew.convert_p, x, dtype=dtype)

    def number(self, value: float, like: Atom) -> Literal:
        """Return a literal of the dtype of `like`."""
        return self.b.literal(value, like.aval.dtype)

    def select(self, mask: Atom, x: Atom, y: Atom) -> Atom:
        """Emit x where the mask holds, else y."""
        return self.b.emit(ew.select_p, mask, x, y)

    def both(self, x: Atom, y: Atom) -> Atom:
        """Emit whether both masks hold."""
        return self.b.emit(ew.and_p, x, y)

    def either(self, x: Atom, y: Atom) -> Atom:
        """Emit whether one of two masks holds."""
        return self.b.emit(ew.or_p, x, y)

    def is_zero(self, x: Atom) -> Atom:
        """Emit x == 0."""
        return self.b.emit(ew.eq_p, x, self.number(0, x))

    def is_infinite(self, x: Atom) -> Atom:
        """Emit whether x is infinite, not NaN."""
        return self.b.emit(ew.eq_p, self.abs(x), self.number(inf, x))

    def is_finite(self, x: Atom) -> Atom:
        """Emit whether x is neither infinite nor NaN."""
        return self.b.emit(ew.lt_p, self.abs(x), self.number(inf, x))

    def is_above(self, x: Atom, limit: float) -> Atom:
        """Emit x > limit."""
        return self.b.emit(ew.gt_p, x, self.number(limit, x))

    def is_below(self, x: Atom, limit: float) -> Atom:
        """Emit x < limit."""
        return self.b.emit(ew.lt_p, x, self.number(limit, x))


def pair_of(x: Part) -> Pair:
    """Return a part that is known to be a pair."""
    assert isinstance(x, Pair)
    return x


def multiplied(make: Maker, x: Pair, y: Pair) -> Pair:
    """Return x y."""
    re = make.sub(make.mul(x.re, y.re), make.mul(x.im, y.im))
    return Pair(re, make.add(make.mul(x.re, y.im), make.mul(x.im, y.re)))


def divided(make: Maker, x: Pair, y: Pair) -> Pair:
    """Return Smith's quotient, with the larger part of the divisor as divisor."""
    is_wide = make.b.emit(ew.ge_p, make.abs(y.re), make.abs(y.im))
    large, small = make.select(is_wide, *y), make.select(is_wide, y.im, y.re)
    first, second = make.select(is_wide, *x), make.select(is_wide, x.im, x.re)
    ratio = make.div(small, large)
    scale = make.div(make.number(1, large), make.add(large, make.mul(small, ratio)))
    re = make.mul(make.add(first, make.mul(second, ratio)), scale)
    other = make.mul(first, ratio)
    difference = make.select(is_wide, make.sub(second, other), make.sub(other, second))
    im = make.mul(difference, scale)
    # Of NaN and zero, the larger part is neither.
    nothing = make.both(is_wide, make.is_zero(large))
    size = make.abs(large)
    return Pair(
        make.select(nothing, make.div(x.re, size), re),
        make.select(nothing, make.div(x.im, size), im),
    )
