"""Elementwise primitives: one block each, with the partial derivatives.

Operands share one dtype (but for the condition of `select`) and have the result's
shape or rank 0. ``partials[i](b, g, out, *ins)`` multiplies `g` by ∂out/∂ins[i]; the
same rule serves forward mode (g a tangent) and reverse mode (g a cotangent).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ...errors import DTypeError, ShapeError
from .. import dtypes as dt
from ..aval import ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import Array, Kind, ParamKind, Partial, Primitive, register
from .exact_fma import fma
from .squares import is_sum_of_squares

Dtypes = frozenset[np.dtype]
Partials = tuple[Partial | None, ...]


def common_shape(name: str, avals: Sequence[ShapedArray]) -> tuple[int, ...]:
    """Return the one shape of the operands that are not rank 0.

    Raises
    ------
    ShapeError
        When two of them differ.
    """
    shape: tuple[int, ...] = ()
    for aval in avals:
        if aval.shape and shape and aval.shape != shape:
            raise ShapeError(f"{name} takes operands of one shape, not {list(avals)}")
        shape = shape or aval.shape
    return shape


def check_dtype(name: str, aval: ShapedArray, allowed: Dtypes) -> None:
    """Raise `DTypeError` when the dtype of `aval` is not `allowed`."""
    if aval.dtype not in allowed:
        names = sorted(dt.dtype_name(d) for d in allowed)
        raise DTypeError(f"{name} takes {', '.join(names)}, not {aval}")


def _elementwise_eval(
    name: str, arity: int, allowed: Dtypes, result: np.dtype | None
) -> Callable[..., ShapedArray]:
    @lru_cache(maxsize=1024)  # of avals, which are one object each
    def abstract_eval(*avals: ShapedArray) -> ShapedArray:
        if len(avals) != arity:
            raise ShapeError(f"{name} takes {arity} operands, not {len(avals)}")
        if any(a.dtype != avals[0].dtype for a in avals):
            raise DTypeError(f"{name} takes operands of one dtype, not {list(avals)}")
        check_dtype(name, avals[0], allowed)
        return ShapedArray(common_shape(name, avals), result or avals[0].dtype)

    return abstract_eval


def elementwise(
    name: str,
    impl: Callable[..., Array],
    allowed: Dtypes,
    partials: Partials,
    result: np.dtype | None = None,
    flops: float = 1.0,
) -> Primitive:
    """Declare an elementwise primitive of ``len(partials)`` operands of one dtype."""
    return register(
        Primitive(
            name,
            _elementwise_eval(name, len(partials), allowed, result),
            impl,
            kind=Kind.ELEMENTWISE,
            partials=partials,
            nondifferentiable=all(p is None for p in partials),
            flops=lambda i, o, p: flops * o[0].size,
        )
    )


# --- arithmetic -------------------------------------------------------------------

neg_p: Primitive = elementwise(
    "neg", np.negative, dt.NUMERIC, (lambda b, g, z, x: b.emit(neg_p, g),)
)
add_p: Primitive = elementwise(
    "add",
    np.add,
    dt.NUMERIC,
    (lambda b, g, z, x, y: g, lambda b, g, z, x, y: g),
)
sub_p: Primitive = elementwise(
    "sub",
    np.subtract,
    dt.NUMERIC,
    (lambda b, g, z, x, y: g, lambda b, g, z, x, y: b.emit(neg_p, g)),
)
mul_p: Primitive = elementwise(
    "mul",
    np.multiply,
    dt.NUMERIC,
    (
        lambda b, g, z, x, y: b.emit(mul_p, g, y),
        lambda b, g, z, x, y: b.emit(mul_p, g, x),
    ),
)
div_p: Primitive = elementwise(
    "div",
    np.true_divide,
    dt.INEXACT,
    (
        lambda b, g, z, x, y: b.emit(div_p, g, y),
        lambda b, g, z, x, y: b.emit(neg_p, b.emit(mul_p, g, b.emit(div_p, z, y))),
    ),
)
fma_p: Primitive = elementwise(
    "fma",
    fma,
    dt.FLOATS,
    (
        lambda b, g, o, x, y, z: b.emit(mul_p, g, y),
        lambda b, g, o, x, y, z: b.emit(mul_p, g, x),
        lambda b, g, o, x, y, z: g,
    ),
    flops=2.0,
)
floor_divide_p: Primitive = elementwise(
    "floor_divide", np.floor_divide, dt.REAL, (None, None)
)
remainder_p: Primitive = elementwise(
    "remainder",
    np.remainder,
    dt.REAL,
    (
        lambda b, g, z, x, y: g,
        lambda b, g, z, x, y: b.emit(
            neg_p, b.emit(mul_p, g, b.emit(floor_divide_p, x, y))
        ),
    ),
)
fmod_p: Primitive = elementwise(
    "fmod",
    np.fmod,
    dt.REAL,
    (
        lambda b, g, z, x, y: g,
        lambda b, g, z, x, y: b.emit(
            neg_p, b.emit(mul_p, g, b.emit(trunc_p, b.emit(div_p, x, y)))
        ),
    ),
)


def _pow_base(b: Builder, g: Atom, z: Atom, x: Atom, y: Atom) -> Atom:
    """g·y·x^(y-1), and 0 where y is 0 whatever x is."""
    slope = b.emit(mul_p, y, b.emit(pow_p, x, b.emit(sub_p, y, 1)))
    return b.emit(mul_p, g, b.emit(select_p, b.emit(eq_p, y, 0), zero(b, y), slope))


def _pow_exponent(b: Builder, g: Atom, z: Atom, x: Atom, y: Atom) -> Atom:
    """g·z·log x, and 0 where x is 0 (the limit for y > 0)."""
    safe = b.emit(select_p, b.emit(eq_p, x, 0), one(b, x), x)
    return b.emit(mul_p, g, b.emit(mul_p, z, b.emit(log_p, safe)))


def zero(b: Builder, like: Atom) -> Atom:
    """The literal 0 of the dtype of `like`."""
    return b.literal(0, like.aval.dtype)


def one(b: Builder, like: Atom) -> Atom:
    """The literal 1 of the dtype of `like`."""
    return b.literal(1, like.aval.dtype)


pow_p: Primitive = elementwise(
    "pow", np.power, dt.NUMERIC, (_pow_base, _pow_exponent), flops=20.0
)


def _winner(compare: Callable[[], Primitive], index: int) -> Partial:
    """Partial of max or min: the winner takes g, equal operands half each."""

    def partial_(b: Builder, g: Atom, z: Atom, x: Atom, y: Atom) -> Atom:
        mine, other = (x, y) if index == 0 else (y, x)
        half = b.emit(
            select_p,
            b.emit(eq_p, mine, other),
            b.emit(mul_p, g, 0.5),
            zero(b, g),
        )
        return b.emit(select_p, b.emit(compare(), mine, other), g, half)

    return partial_


def _winner_over_nan(compare: Callable[[], Primitive], index: int) -> Partial:
    """Partial of fmax or fmin: as of max or min, and g where the other is NaN."""
    of_numbers = _winner(compare, index)

    def partial_(b: Builder, g: Atom, z: Atom, x: Atom, y: Atom) -> Atom | None:
        share = of_numbers(b, g, z, x, y)
        assert share is not None
        return b.emit(select_p, b.emit(isnan_p, y if index == 0 else x), g, share)

    return partial_


def _extremum(
    name: str,
    impl: np.ufunc,
    compare: Callable[[], Primitive],
    winner: Callable[[Callable[[], Primitive], int], Partial] = _winner,
) -> Primitive:
    partials = (winner(compare, 0), winner(compare, 1))
    return elementwise(name, impl, dt.ANY - dt.COMPLEX, partials)


maximum_p: Primitive = _extremum("maximum", np.maximum, lambda: gt_p)
minimum_p: Primitive = _extremum("minimum", np.minimum, lambda: lt_p)
fmax_p: Primitive = _extremum("fmax", np.fmax, lambda: gt_p, _winner_over_nan)
fmin_p: Primitive = _extremum("fmin", np.fmin, lambda: lt_p, _winner_over_nan)

abs_p: Primitive = elementwise(
    "abs",
    np.absolute,
    dt.REAL,
    (lambda b, g, z, x: b.emit(mul_p, g, b.emit(sign_p, x)),),
)
sign_p: Primitive = elementwise("sign", np.sign, dt.REAL, (None,))
floor_p: Primitive = elementwise("floor", np.floor, dt.FLOATS, (None,))
ceil_p: Primitive = elementwise("ceil", np.ceil, dt.FLOATS, (None,))
trunc_p: Primitive = elementwise("trunc", np.trunc, dt.FLOATS, (None,))
rint_p: Primitive = elementwise("rint", np.rint, dt.FLOATS, (None,))
copysign_p: Primitive = elementwise(
    "copysign",
    np.copysign,
    dt.FLOATS,
    (
        lambda b, g, z, x, y: b.emit(
            mul_p, g, b.emit(mul_p, b.emit(sign_p, x), b.emit(copysign_p, one(b, y), y))
        ),
        None,
    ),
)
nextafter_p: Primitive = elementwise(
    "nextafter", np.nextafter, dt.FLOATS, (lambda b, g, z, x, y: g, None)
)

# --- powers, exponentials, logarithms ---------------------------------------------


def _sqrt_partial(b: Builder, g: Atom, z: Atom, x: Atom) -> Atom:
    """g/2z; of a sum of squares 0 where it vanishes, infinite elsewhere at 0."""
    twice = b.emit(mul_p, z, 2)
    if dt.is_complex(x.aval.dtype) or not is_sum_of_squares(b, x):
        return b.emit(div_p, g, twice)
    at_zero = b.emit(eq_p, z, 0)
    safe = b.emit(select_p, at_zero, one(b, z), twice)
    slope = b.emit(div_p, one(b, z), safe)
    return b.emit(mul_p, g, b.emit(select_p, at_zero, zero(b, z), slope))


sqrt_p: Primitive = elementwise("sqrt", np.sqrt, dt.INEXACT, (_sqrt_partial,))
cbrt_p: Primitive = elementwise(
    "cbrt",
    np.cbrt,
    dt.FLOATS,
    (lambda b, g, z, x: b.emit(div_p, g, b.emit(mul_p, b.emit(mul_p, z, z), 3)),),
    flops=20.0,
)
exp_p: Primitive = elementwise(
    "exp",
    np.exp,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, z),),
    flops=10.0,
)
exp2_p: Primitive = elementwise(
    "exp2",
    np.exp2,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, b.emit(mul_p, z, math.log(2))),),
    flops=10.0,
)
expm1_p: Primitive = elementwise(
    "expm1",
    np.expm1,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, b.emit(add_p, z, 1)),),
    flops=12.0,
)
log_p: Primitive = elementwise(
    "log",
    np.log,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, x),),
    flops=12.0,
)
log2_p: Primitive = elementwise(
    "log2",
    np.log2,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, b.emit(mul_p, x, math.log(2))),),
    flops=12.0,
)
log10_p: Primitive = elementwise(
    "log10",
    np.log10,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, b.emit(mul_p, x, math.log(10))),),
    flops=12.0,
)
log1p_p: Primitive = elementwise(
    "log1p",
    np.log1p,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, b.emit(add_p, x, 1)),),
    flops=12.0,
)


def _logaddexp_partial(index: int) -> Partial:
    """∂ log(e^x + e^y) / ∂x = e^(x - z); two equal infinities have half each."""

    def partial_(b: Builder, g: Atom, z: Atom, *ins: Atom) -> Atom:
        x = ins[index]
        gap = b.emit(select_p, b.emit(eq_p, x, z), zero(b, z), b.emit(sub_p, x, z))
        both = b.emit(and_p, b.emit(eq_p, *ins), b.emit(isinf_p, z))
        half = b.literal(0.5, z.aval.dtype)
        weight = b.emit(select_p, both, half, b.emit(exp_p, gap))
        return b.emit(mul_p, g, weight)

    return partial_


logaddexp_p: Primitive = elementwise(
    "logaddexp",
    np.logaddexp,
    dt.FLOATS,
    (_logaddexp_partial(0), _logaddexp_partial(1)),
    flops=25.0,
)

# --- trigonometric and hyperbolic -------------------------------------------------


def _one_plus(b: Builder, x: Atom, sign: int) -> Atom:
    """1 + sign·x²."""
    square = b.emit(mul_p, x, x)
    return b.emit(add_p if sign > 0 else sub_p, one(b, x), square)


sin_p: Primitive = elementwise(
    "sin",
    np.sin,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, b.emit(cos_p, x)),),
    flops=12.0,
)
cos_p: Primitive = elementwise(
    "cos",
    np.cos,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(neg_p, b.emit(mul_p, g, b.emit(sin_p, x))),),
    flops=12.0,
)
tan_p: Primitive = elementwise(
    "tan",
    np.tan,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, _one_plus(b, z, +1)),),
    flops=20.0,
)
sinh_p: Primitive = elementwise(
    "sinh",
    np.sinh,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, b.emit(cosh_p, x)),),
    flops=15.0,
)
cosh_p: Primitive = elementwise(
    "cosh",
    np.cosh,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, b.emit(sinh_p, x)),),
    flops=15.0,
)
tanh_p: Primitive = elementwise(
    "tanh",
    np.tanh,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(mul_p, g, _one_plus(b, z, -1)),),
    flops=12.0,
)
arcsin_p: Primitive = elementwise(
    "arcsin",
    np.arcsin,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, b.emit(sqrt_p, _one_plus(b, x, -1))),),
    flops=20.0,
)
arccos_p: Primitive = elementwise(
    "arccos",
    np.arccos,
    dt.INEXACT,
    (
        lambda b, g, z, x: b.emit(
            neg_p, b.emit(div_p, g, b.emit(sqrt_p, _one_plus(b, x, -1)))
        ),
    ),
    flops=20.0,
)
arctan_p: Primitive = elementwise(
    "arctan",
    np.arctan,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, _one_plus(b, x, +1)),),
    flops=20.0,
)
arcsinh_p: Primitive = elementwise(
    "arcsinh",
    np.arcsinh,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, b.emit(sqrt_p, _one_plus(b, x, +1))),),
    flops=20.0,
)
arccosh_p: Primitive = elementwise(
    "arccosh",
    np.arccosh,
    dt.INEXACT,
    (
        lambda b, g, z, x: b.emit(
            div_p,
            g,
            b.emit(
                mul_p,
                b.emit(sqrt_p, b.emit(sub_p, x, 1)),
                b.emit(sqrt_p, b.emit(add_p, x, 1)),
            ),
        ),
    ),
    flops=20.0,
)
arctanh_p: Primitive = elementwise(
    "arctanh",
    np.arctanh,
    dt.INEXACT,
    (lambda b, g, z, x: b.emit(div_p, g, _one_plus(b, x, -1)),),
    flops=20.0,
)


def _over_square_norm(b: Builder, g: Atom, x: Atom, y: Atom, top: Atom) -> Atom:
    norm = b.emit(add_p, b.emit(mul_p, x, x), b.emit(mul_p, y, y))
    return b.emit(mul_p, g, b.emit(div_p, top, norm))


arctan2_p: Primitive = elementwise(
    "arctan2",
    np.arctan2,
    dt.FLOATS,
    (
        lambda b, g, z, y, x: _over_square_norm(b, g, x, y, x),
        lambda b, g, z, y, x: _over_square_norm(b, g, x, y, b.emit(neg_p, y)),
    ),
    flops=25.0,
)


def _hypot_partial(index: int) -> Partial:
    """∂hypot/∂x = x / hypot, and 0 at the origin."""

    def partial_(b: Builder, g: Atom, z: Atom, *ins: Atom) -> Atom:
        at_zero = b.emit(eq_p, z, 0)
        safe = b.emit(select_p, at_zero, one(b, z), z)
        return b.emit(mul_p, g, b.emit(div_p, ins[index], safe))

    return partial_


hypot_p: Primitive = elementwise(
    "hypot",
    np.hypot,
    dt.FLOATS,
    (_hypot_partial(0), _hypot_partial(1)),
    flops=10.0,
)


def _erf(x: Array) -> Array:
    wide = np.asarray(_erf64(np.asarray(x, np.float64)))
    return wide.astype(np.asarray(x).dtype)


def _erfc(x: Array) -> Array:
    wide = np.asarray(_erfc64(np.asarray(x, np.float64)))
    return wide.astype(np.asarray(x).dtype)


_erf64 = np.vectorize(math.erf, otypes=[np.float64])
_erfc64 = np.vectorize(math.erfc, otypes=[np.float64])


def _gauss(sign: float) -> Partial:
    """Return the partial ``g · sign · 2/√π · e^(-x²)``."""

    def partial_(b: Builder, g: Atom, z: Atom, x: Atom) -> Atom:
        bell = b.emit(exp_p, b.emit(neg_p, b.emit(mul_p, x, x)))
        return b.emit(mul_p, g, b.emit(mul_p, bell, sign * 2 / math.sqrt(math.pi)))

    return partial_


erf_p: Primitive = elementwise("erf", _erf, dt.FLOATS, (_gauss(1.0),), flops=20.0)
erfc_p: Primitive = elementwise("erfc", _erfc, dt.FLOATS, (_gauss(-1.0),), flops=20.0)


def _logistic(x: Array) -> Array:
    """1 / (1 + e^-x), by the branch that does not overflow."""
    e = np.exp(-np.abs(x))
    out = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return np.asarray(out, np.asarray(x).dtype)


logistic_p: Primitive = elementwise(
    "logistic",
    _logistic,
    dt.FLOATS,
    (
        lambda b, g, z, x: b.emit(
            mul_p, g, b.emit(mul_p, z, b.emit(sub_p, one(b, z), z))
        ),
    ),
    flops=12.0,
)

# --- bits and logic ---------------------------------------------------------------

_BITS = dt.INTEGERS | dt.BOOLS
and_p: Primitive = elementwise("and", np.bitwise_and, _BITS, (None, None))
or_p: Primitive = elementwise("or", np.bitwise_or, _BITS, (None, None))
xor_p: Primitive = elementwise("xor", np.bitwise_xor, _BITS, (None, None))
not_p: Primitive = elementwise("not", np.invert, _BITS, (None,))
shift_left_p: Primitive = elementwise(
    "shift_left", np.left_shift, dt.INTEGERS, (None, None)
)
shift_right_p: Primitive = elementwise(
    "shift_right", np.right_shift, dt.INTEGERS, (None, None)
)

# --- comparison -------------------------------------------------------------------

eq_p: Primitive = elementwise("eq", np.equal, dt.ANY, (None, None), dt.BOOL)
ne_p: Primitive = elementwise("ne", np.not_equal, dt.ANY, (None, None), dt.BOOL)
lt_p: Primitive = elementwise("lt", np.less, dt.ANY, (None, None), dt.BOOL)
le_p: Primitive = elementwise("le", np.less_equal, dt.ANY, (None, None), dt.BOOL)
gt_p: Primitive = elementwise("gt", np.greater, dt.ANY, (None, None), dt.BOOL)
ge_p: Primitive = elementwise("ge", np.greater_equal, dt.ANY, (None, None), dt.BOOL)
isnan_p: Primitive = elementwise("isnan", np.isnan, dt.INEXACT, (None,), dt.BOOL)
isinf_p: Primitive = elementwise("isinf", np.isinf, dt.INEXACT, (None,), dt.BOOL)
isfinite_p: Primitive = elementwise(
    "isfinite", np.isfinite, dt.INEXACT, (None,), dt.BOOL
)
signbit_p: Primitive = elementwise("signbit", np.signbit, dt.FLOATS, (None,), dt.BOOL)

# --- selection, conversion, complex parts -----------------------------------------


def _select_eval(
    cond: ShapedArray, on_true: ShapedArray, on_false: ShapedArray
) -> ShapedArray:
    check_dtype("select condition", cond, dt.BOOLS)
    if on_true.dtype != on_false.dtype:
        raise DTypeError(f"select takes values of one dtype, not {on_true}, {on_false}")
    shape = common_shape("select", (cond, on_true, on_false))
    return ShapedArray(shape, on_true.dtype)


select_p: Primitive = register(
    Primitive(
        "select",
        _select_eval,
        lambda c, x, y: np.where(c, x, y),
        kind=Kind.ELEMENTWISE,
        partials=(
            None,
            lambda b, g, z, c, x, y: b.emit(select_p, c, g, zero(b, g)),
            lambda b, g, z, c, x, y: b.emit(select_p, c, zero(b, g), g),
        ),
    )
)


def _convert_partial(b: Builder, g: Atom, z: Atom, x: Atom) -> Atom | None:
    """Converting is linear between inexact dtypes and constant elsewhere.

    `g` has the dtype of x in forward mode and of z in reverse mode.
    """
    if not (dt.is_inexact(x.aval.dtype) and dt.is_inexact(z.aval.dtype)):
        return None
    here, there = x.aval.dtype, z.aval.dtype
    target = there if g.aval.dtype == here else here
    if dt.is_complex(g.aval.dtype) and not dt.is_complex(target):
        g = b.emit(real_p, g)
    return g if g.aval.dtype == target else b.emit(convert_p, g, dtype=target)


def _convert_eval(x: ShapedArray, dtype: np.dtype) -> ShapedArray:
    if dt.is_complex(x.dtype) and not dt.is_complex(dtype) and dtype != dt.BOOL:
        raise DTypeError(
            f"convert would drop the imaginary part of {x}", hint="take np.real first"
        )
    return x.with_dtype(dtype)


convert_p: Primitive = register(
    Primitive(
        "convert",
        _convert_eval,
        lambda x, dtype: np.asarray(x).astype(dtype),
        params={"dtype": ParamKind.DTYPE},
        kind=Kind.ELEMENTWISE,
        partials=(_convert_partial,),
    )
)


def _bitcast_eval(x: ShapedArray, dtype: np.dtype) -> ShapedArray:
    if dt.is_complex(x.dtype) or dt.is_complex(dtype):
        raise DTypeError(
            f"bitcast takes real dtypes, not {x} to {dt.dtype_name(dtype)}",
            hint="take the bits of the real and imaginary parts",
        )
    if x.dtype.itemsize != dtype.itemsize:
        raise DTypeError(
            f"bitcast of {x} to {dt.dtype_name(dtype)}, which has "
            f"{dtype.itemsize} bytes and not {x.dtype.itemsize}"
        )
    return x.with_dtype(dtype)


def _bitcast(x: Array, dtype: np.dtype) -> Array:
    if dtype == dt.BOOL:  # any other byte than 0 is true
        return np.not_equal(np.asarray(x).view(np.uint8), 0)
    return np.asarray(x).view(dtype)


bitcast_p: Primitive = register(
    Primitive(
        "bitcast",
        _bitcast_eval,
        _bitcast,
        params={"dtype": ParamKind.DTYPE},
        kind=Kind.ELEMENTWISE,
        partials=(None,),
        nondifferentiable=True,
        flops=lambda i, o, p: 0.0,
    )
)
stop_gradient_p: Primitive = elementwise("stop_gradient", np.array, dt.ANY, (None,))


def _part_eval(name: str) -> Callable[[ShapedArray], ShapedArray]:
    def abstract_eval(x: ShapedArray) -> ShapedArray:
        check_dtype(name, x, dt.COMPLEX)
        return x.with_dtype(dt.real_dtype(x.dtype))

    return abstract_eval


def _complex_eval(re: ShapedArray, im: ShapedArray) -> ShapedArray:
    half = frozenset({dt.FLOAT32, dt.FLOAT64})
    real = _elementwise_eval("complex", 2, half, None)(re, im)
    return real.with_dtype(np.dtype(f"c{2 * real.dtype.itemsize}"))


def _complex(re: Array, im: Array) -> Array:
    re, im = np.broadcast_arrays(re, im)
    out = np.empty(re.shape, f"c{2 * re.dtype.itemsize}")
    out.real, out.imag = re, im
    return out


# Between real and complex, forward and reverse differ: `g` is complex in one of them.
def _real_partial(b: Builder, g: Atom, z: Atom, x: Atom) -> Atom:
    if dt.is_complex(g.aval.dtype):
        return b.emit(real_p, g)
    return b.emit(complex_p, g, zero(b, g))


def _imag_partial(b: Builder, g: Atom, z: Atom, x: Atom) -> Atom:
    if dt.is_complex(g.aval.dtype):
        return b.emit(imag_p, g)
    return b.emit(complex_p, zero(b, g), b.emit(neg_p, g))


def _complex_re(b: Builder, g: Atom, z: Atom, re: Atom, im: Atom) -> Atom:
    if dt.is_complex(g.aval.dtype):
        return b.emit(real_p, g)
    return b.emit(complex_p, g, zero(b, g))


def _complex_im(b: Builder, g: Atom, z: Atom, re: Atom, im: Atom) -> Atom:
    if dt.is_complex(g.aval.dtype):
        return b.emit(neg_p, b.emit(imag_p, g))
    return b.emit(complex_p, zero(b, g), g)


def _part(name: str, impl: Callable[..., Array], partial_: Partial) -> Primitive:
    return register(
        Primitive(
            name,
            _part_eval(name),
            impl,
            kind=Kind.ELEMENTWISE,
            partials=(partial_,),
            flops=lambda i, o, p: 0.0,
        )
    )


real_p: Primitive = _part("real", np.real, _real_partial)
imag_p: Primitive = _part("imag", np.imag, _imag_partial)
complex_p: Primitive = register(
    Primitive(
        "complex",
        _complex_eval,
        _complex,
        kind=Kind.ELEMENTWISE,
        partials=(_complex_re, _complex_im),
        flops=lambda i, o, p: 0.0,
    )
)
conj_p: Primitive = elementwise(
    "conj", np.conjugate, dt.COMPLEX, (lambda b, g, z, x: b.emit(conj_p, g),)
)
