"""Elementary functions of complex numbers, on parts.

Infinities, NaN and signs of zeros are those of annex G of the C standard, which NumPy
follows. Roots, logarithms and powers of float32 parts are computed in doubles, where
squares neither overflow nor vanish; those of doubles are scaled.

Sources: W. Kahan, "Branch cuts for complex elementary functions", 1987 (square roots,
tangents); T. Dekker, "A floating-point technique for extending the available
precision", 1971 (squares near one).
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, log, nan

import numpy as np

from ..ir import dtypes as dt
from ..ir.graph import Atom, Literal
from ..ir.primitive import Params
from .complex_parts import Maker, Pair, Part, Rule, divided, multiplied, pair_of

_LARGE, _SMALL = 2.0**1000, 2.0**-900  # doubles beyond these are scaled
_DOWN, _UP = -60, 120  # and by these powers of two
_MOST_PRODUCTS = 100  # integer exponents below this are products, in NumPy too


def _of_pair(function: Callable[[Maker, Pair], Pair]) -> Rule:
    def rule(make: Maker, ins: Sequence[Part], params: Params) -> Part:
        return function(make, pair_of(ins[0]))

    return rule


def _wide(make: Maker, z: Pair) -> Pair:
    """Return parts in doubles."""
    if z.re.aval.dtype == dt.FLOAT64:
        return z
    return Pair(*(make.convert(part, dt.FLOAT64) for part in z))


def _rounded(make: Maker, z: Pair, like: Pair) -> Pair:
    """Return parts in the dtype of others."""
    dtype = like.re.aval.dtype
    if dtype == dt.FLOAT64:
        return z
    return Pair(*(make.convert(part, dtype) for part in z))


def _has_room(z: Pair) -> bool:
    """Tell whether doubles hold the squares of parts."""
    return z.re.aval.dtype != dt.FLOAT64


def _by_size(make: Maker, z: Pair) -> Callable[[float, float, float], Atom]:
    """Return a choice of a number: for large doubles, for small ones, for others."""
    size = make.call("maximum", *map(make.abs, z))
    is_large, is_small = make.is_above(size, _LARGE), make.is_below(size, _SMALL)

    def choice(large: float, small: float, other: float) -> Atom:
        numbers = (make.number(value, size) for value in (small, other))
        return make.select(
            is_large, make.number(large, size), make.select(is_small, *numbers)
        )

    return choice


# --- exponentials -----------------------------------------------------------------


def _top(x: Atom) -> float:
    """The largest integer whose exponential is finite."""
    return float(np.floor(np.log(np.finfo(x.aval.dtype).max)))


def _exp(make: Maker, z: Pair) -> Pair:
    """Return exp(re) (cos im + i sin im); real for a real operand, however large.

    Where exp(re) is too large, a product with a small cosine may not be: there it is
    exp(re - top) exp(top), as in C's libraries. Of infinities results are C's, too.
    """
    top = _top(z.re)
    is_over = make.is_above(z.re, top)
    rest = make.select(is_over, make.sub(z.re, make.number(top, z.re)), z.re)
    size, one = make.call("exp", rest), make.number(1, rest)
    factor = make.select(is_over, make.number(np.exp(top), rest), one)
    re = make.mul(size, make.mul(make.call("cos", z.im), factor))
    im = make.mul(size, make.mul(make.call("sin", z.im), factor))
    im = make.select(make.is_zero(z.im), z.im, im)
    # An angle that is none leaves infinity and zero what they are.
    is_turn = make.is_finite(z.im)
    is_wild = make.both(make.is_infinite(z.re), make.call("not", is_turn))
    is_nothing = make.both(is_wild, make.is_zero(size))
    zero = make.call("copysign", make.number(0, rest), z.im)
    return Pair(make.select(is_wild, size, re), make.select(is_nothing, zero, im))


def _exp2(make: Maker, z: Pair) -> Pair:
    return _exp(make, Pair(*(make.mul(part, log(2)) for part in z)))


def _expm1(make: Maker, z: Pair) -> Pair:
    """Return e^z - 1, its real part as expm1(x) cos y - 2 sin²(y/2), as NumPy does."""
    half = make.call("sin", make.mul(z.im, 0.5))
    less = make.mul(make.mul(half, half), 2.0)
    re = make.mul(make.call("expm1", z.re), make.call("cos", z.im))
    im = make.mul(make.call("exp", z.re), make.call("sin", z.im))
    return Pair(make.sub(re, less), im)


# --- logarithms and powers --------------------------------------------------------


def _log(make: Maker, z: Pair) -> Pair:
    """Return log abs z + i arg z."""
    size = _log_of_size(make, _wide(make, z), _has_room(z))
    if _has_room(z):
        size = make.convert(size, z.re.aval.dtype)
    return Pair(size, make.call("arctan2", z.im, z.re))


def _log_of_size(make: Maker, z: Pair, has_room: bool) -> Atom:
    """Return log abs z of doubles, exact where abs z is close to 1."""
    x, y = (make.call(p, *map(make.abs, z)) for p in ("maximum", "minimum"))
    if has_room:
        return _log_of_squares(make, z, x, y)
    choice = _by_size(make, z)
    factor = choice(2.0**_DOWN, 2.0**_UP, 1.0)
    size = make.call("hypot", *(make.mul(part, factor) for part in z))
    shift = choice(_DOWN * log(2), _UP * log(2), 0.0)
    far = make.sub(make.call("log", size), shift)
    near = make.mul(make.call("log1p", _square_less_one(make, x, y)), 0.5)
    is_near = make.both(make.is_above(size, 0.5), make.is_below(size, 2.0))
    return make.select(is_near, near, far)


def _log_of_squares(make: Maker, z: Pair, x: Atom, y: Atom) -> Atom:
    """Return log(x² + y²) / 2 of squares that are exact, x >= y.

    The logarithm of the rounded sum is exact to rounding; near 1 what rounding left out
    of the sum is left out of the logarithm.
    """
    large, small = make.mul(x, x), make.mul(y, y)
    total = make.add(large, small)
    rest = make.sub(small, make.sub(total, large))
    is_near = make.both(make.is_above(total, 0.5), make.is_below(total, 2.0))
    rest = make.select(is_near, rest, make.number(0, rest))
    is_far = make.either(*map(make.is_infinite, z))  # whatever the other part is
    total = make.select(is_far, make.number(inf, total), total)
    return make.mul(make.add(make.call("log", total), rest), 0.5)


def _square_less_one(make: Maker, x: Atom, y: Atom) -> Atom:
    """Return x² + y² - 1 = (x - 1)(x + 1) + y² with twice the digits, x about 1."""
    one = make.number(1, x)
    less, more = make.sub(x, one), make.add(x, one)
    rest = make.sub(x, make.sub(more, one))  # of x + 1, which rounds
    product, error = _exact_product(make, less, more)
    error = make.add(error, make.mul(less, rest))
    square, square_error = _exact_product(make, y, y)
    total = make.add(product, square)
    back = make.sub(total, product)
    lost = make.add(make.sub(product, make.sub(total, back)), make.sub(square, back))
    return make.add(total, make.add(lost, make.add(error, square_error)))


def _exact_product(make: Maker, x: Atom, y: Atom) -> tuple[Atom, Atom]:
    """Return x y and what rounding left out of it."""
    product = make.mul(x, y)
    return product, make.call("fma", x, y, make.neg(product))


def _scaled_log(base: float) -> Rule:
    def scaled(make: Maker, z: Pair) -> Pair:
        return Pair(*(make.mul(part, 1 / log(base)) for part in _log(make, z)))

    return _of_pair(scaled)


def _log1p(make: Maker, z: Pair) -> Pair:
    """Return log(1 + z), as NumPy does."""
    more = make.add(z.re, make.number(1, z.re))
    size = make.call("log", make.call("hypot", more, z.im))
    return Pair(size, make.call("arctan2", z.im, more))


def _pow(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    """Return exp(y log x); 0 to a power is 1 for 0, and 0 if the power is positive."""
    x, y = map(pair_of, ins)
    count = _whole_exponent(y)
    if count is not None:
        return _ends_of_power(make, x, y, _product(make, x, count))
    base, exponent = _wide(make, x), _wide(make, y)
    size = _log_of_size(make, base, _has_room(x))
    angle = make.call("arctan2", base.im, base.re)
    no_angle = make.both(make.call("isnan", angle), make.is_infinite(size))
    angle = make.select(no_angle, make.number(0, angle), angle)
    power = _exp(make, multiplied(make, exponent, Pair(size, angle)))
    return _ends_of_power(make, x, y, _rounded(make, power, x))


def _ends_of_power(make: Maker, x: Pair, y: Pair, power: Pair) -> Pair:
    nothing = make.both(*map(make.is_zero, x))
    no_power = make.both(*map(make.is_zero, y))
    zero, one = make.number(0, x.re), make.number(1, x.re)
    other = make.select(make.is_above(y.re, 0), zero, make.number(nan, x.re))
    re, im = (make.select(nothing, other, part) for part in power)
    return Pair(make.select(no_power, one, re), make.select(no_power, zero, im))


def _whole_exponent(y: Pair) -> int | None:
    """Return an exponent that is known, whole, small and not zero."""
    if not (isinstance(y.re, Literal) and isinstance(y.im, Literal)):
        return None
    re, im = float(y.re.value), float(y.im.value)
    is_small = 0 < abs(re) < _MOST_PRODUCTS
    return int(re) if is_small and im == 0 and re == int(re) else None


def _product(make: Maker, x: Pair, count: int) -> Pair:
    """Return x to a whole power by squares, in NumPy's order; see `nc_pow`."""
    if count in (1, 2, 3):
        square = multiplied(make, x, x) if count > 1 else x
        return multiplied(make, x, square) if count == 3 else square
    one = Pair(make.number(1, x.re), make.number(0, x.re))
    result, square, rest = one, x, abs(count)
    while rest:
        result = multiplied(make, result, square) if rest % 2 else result
        rest //= 2
        square = multiplied(make, square, square) if rest else square
    return result if count > 0 else divided(make, one, result)


def _sqrt(make: Maker, z: Pair) -> Pair:
    """Return the root in the right half-plane, without cancellation."""
    if _has_room(z):
        wide = _wide(make, z)
        squares = (make.mul(part, part) for part in wide)
        size = make.call("sqrt", make.add(*squares))
        return _rounded(make, _root(make, wide, size), z)
    choice = _by_size(make, z)
    factor = choice(2.0**_DOWN, 2.0**_UP, 1.0)
    scaled = Pair(*(make.mul(part, factor) for part in z))
    root = _root(make, scaled, make.call("hypot", *scaled))
    back = choice(2.0 ** (-_DOWN // 2), 2.0 ** (-_UP // 2), 1.0)
    return Pair(*(make.mul(part, back) for part in root))


def _root(make: Maker, z: Pair, size: Atom) -> Pair:
    """Return the root of z, whose size is known unless a part is infinite."""
    half = make.mul(make.add(make.abs(z.re), size), 0.5)
    infinity = make.number(inf, half)
    is_high = make.is_infinite(z.im)  # then both parts are infinite
    is_far = make.either(make.is_infinite(z.re), is_high)
    large = make.select(is_far, infinity, make.call("sqrt", half))
    double = make.add(large, large)
    divisor = make.select(make.is_zero(double), make.number(1, double), double)
    small = make.select(is_high, infinity, make.div(make.abs(z.im), divisor))
    is_right = make.call("ge", z.re, make.number(0, z.re))
    im = make.select(is_right, small, large)
    return Pair(make.select(is_right, large, small), make.call("copysign", im, z.im))


# --- trigonometric and hyperbolic -------------------------------------------------


def _hyperbolic(make: Maker, x: Atom) -> tuple[Atom, Atom, Atom]:
    """Return sinh x, cosh x and a factor of both, which overflow before products do."""
    size, top = make.abs(x), _top(x)
    is_over = make.is_above(size, top)
    rest = make.call("exp", make.sub(size, make.number(top, size)))
    rest = make.mul(rest, 0.5)
    odd = make.select(is_over, make.call("copysign", rest, x), make.call("sinh", x))
    even = make.select(is_over, rest, make.call("cosh", x))
    factor = make.select(is_over, make.number(np.exp(top), x), make.number(1, x))
    return odd, even, factor


def _sinh(make: Maker, z: Pair) -> Pair:
    odd, even, factor = _hyperbolic(make, z.re)
    re = make.mul(odd, make.mul(make.call("cos", z.im), factor))
    im = make.mul(even, make.mul(make.call("sin", z.im), factor))
    # An angle that is none leaves zero what it is, and infinity without a sign.
    size = make.select(make.is_zero(z.re), z.re, make.number(nan, z.re))
    size = make.select(make.is_infinite(z.re), make.abs(z.re), size)
    re = make.select(make.is_finite(z.im), re, size)
    return Pair(re, make.select(make.is_zero(z.im), z.im, im))


def _cosh(make: Maker, z: Pair) -> Pair:
    odd, even, factor = _hyperbolic(make, z.re)
    re = make.mul(even, make.mul(make.call("cos", z.im), factor))
    im = make.mul(odd, make.mul(make.call("sin", z.im), factor))
    is_turn = make.is_finite(z.im)
    is_wild = make.both(make.is_infinite(z.re), make.call("not", is_turn))
    re = make.select(is_wild, make.abs(z.re), re)
    zero = make.number(0, im)
    is_nothing = make.both(make.is_zero(z.re), make.call("not", is_turn))
    im = make.select(is_nothing, zero, im)
    is_left = make.both(make.call("signbit", z.re), make.call("eq", z.re, z.re))
    flat = make.select(is_left, make.neg(z.im), z.im)
    return Pair(re, make.select(make.is_zero(z.im), flat, im))


def _tanh(make: Maker, z: Pair) -> Pair:
    """Return Kahan's tangent; where the real part is large, what is left of it."""
    tan, sinh = make.call("tan", z.im), make.call("sinh", z.re)
    one = make.number(1, tan)
    beta = make.add(make.mul(tan, tan), one)
    square = make.mul(sinh, sinh)
    below = make.add(make.mul(beta, square), one)
    rho = make.call("sqrt", make.add(square, one))
    re = make.div(make.mul(make.mul(beta, rho), sinh), below)
    im = make.div(tan, below)
    size = make.abs(z.re)
    is_large = make.is_above(size, 11.0 if _has_room(z) else 22.0)
    decay = make.mul(make.call("exp", make.neg(size)), 2.0)
    wave = make.mul(make.call("sin", z.im), make.call("cos", z.im))
    small = make.mul(make.mul(wave, decay), decay)
    # An angle that is none leaves 1 of infinity, and nothing of large numbers.
    is_turn, is_far = make.is_finite(z.im), make.is_infinite(z.re)
    flat = make.call("copysign", make.number(0, im), z.im)
    small = make.select(make.either(is_turn, make.call("not", is_far)), small, flat)
    limit = make.select(make.either(is_turn, is_far), one, make.number(nan, one))
    re = make.select(is_large, make.call("copysign", limit, z.re), re)
    im = make.select(is_large, small, im)
    return Pair(
        make.select(make.is_zero(z.re), z.re, re),
        make.select(make.is_zero(z.im), z.im, im),
    )


def _turned(function: Callable[[Maker, Pair], Pair]) -> Rule:
    """Return the rule of i f(-iz)."""

    def turned(make: Maker, z: Pair) -> Pair:
        found = function(make, Pair(z.im, make.neg(z.re)))
        return Pair(make.neg(found.im), found.re)

    return _of_pair(turned)


def _cos(make: Maker, z: Pair) -> Pair:
    """Return cosh iz."""
    return _cosh(make, Pair(make.neg(z.im), z.re))


FUNCTIONS: Mapping[str, Rule] = {
    "exp": _of_pair(_exp),
    "exp2": _of_pair(_exp2),
    "expm1": _of_pair(_expm1),
    "log": _of_pair(_log),
    "log2": _scaled_log(2),
    "log10": _scaled_log(10),
    "log1p": _of_pair(_log1p),
    "pow": _pow,
    "sqrt": _of_pair(_sqrt),
    "sin": _turned(_sinh),
    "cos": _of_pair(_cos),
    "tan": _turned(_tanh),
    "sinh": _of_pair(_sinh),
    "cosh": _of_pair(_cosh),
    "tanh": _of_pair(_tanh),
}
