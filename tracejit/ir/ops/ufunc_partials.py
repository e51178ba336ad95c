"""Derivatives of ufuncs that run by name: those of `scipy.special`.

`PARTIALS` maps an import path to one partial derivative per operand, as elementwise
primitives have them: ``partial(b, g, outs, *ins)`` multiplies `g` by ∂out₀/∂inᵢ. None
says that it is zero wherever it is defined, `undeclared` that there is no formula here.

Formulas are those of the NIST Digital Library of Mathematical Functions: §5 (gamma), §6
(exponential integrals), §7 (error functions), §8 (incomplete gamma), §10 (Bessel), §19
(elliptic integrals).
"""

import math
from collections.abc import Callable, Sequence

from ...errors import UnsupportedError
from ..builder import Builder
from ..graph import Atom
from ..primitive import REGISTRY
from . import elementwise as ew
from .shape import broadcast_to

# partial(b, g, outs, *ins) -> g times the partial derivative
NamedPartial = Callable[..., Atom]
# slope(b, out, *ins) -> the partial derivative
Slope = Callable[..., Atom]

SCIPY = "scipy.special."
ZETA = "_ufuncs._zeta"  # what scipy.special.zeta, a Python function, calls


def named(b: Builder, name: str, *xs: Atom) -> Atom:
    """Emit the first result of the ufunc ``scipy.special.<name>``."""
    return b.emit_all(REGISTRY["ufunc"], xs, {"name": SCIPY + name})[0]


def times(slope: Slope) -> NamedPartial:
    """Return the partial that multiplies by `slope`."""
    return lambda b, g, outs, *ins: b.emit(ew.mul_p, g, slope(b, outs[0], *ins))


def _square(b: Builder, x: Atom) -> Atom:
    return b.emit(ew.mul_p, x, x)


def _gauss(b: Builder, x: Atom, factor: float, scale: float) -> Atom:
    """Return ``factor · e^(-scale · x²)``."""
    bell = b.emit(ew.exp_p, b.emit(ew.mul_p, _square(b, x), -scale))
    return b.emit(ew.mul_p, bell, factor)


def _log_or_zero(b: Builder, x: Atom, y: Atom) -> Atom:
    """Return log y, and 0 where x is 0, as xlogy takes it."""
    safe = b.emit(ew.select_p, b.emit(ew.eq_p, x, 0), ew.one(b, y), y)
    return b.emit(ew.log_p, safe)


# --- one operand ------------------------------------------------------------------


def _normal_ratio(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope of log_ndtr: φ(x)/Φ(x) = √(2/π) / erfcx(-x/√2), precise in both tails."""
    scaled = named(b, "erfcx", b.emit(ew.mul_p, x, -math.sqrt(0.5)))
    return b.emit(ew.div_p, b.literal(math.sqrt(2 / math.pi), x.aval.dtype), scaled)


def _trigamma(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope of the digamma function: ζ(2, x)."""
    two = broadcast_to(b, b.literal(2, x.aval.dtype), x.aval.shape)
    return named(b, ZETA, two, x)


def _inverse_gauss(b: Builder, z: Atom, sign: float) -> Atom:
    """Slope of erfinv and erfcinv: ± √π/2 · e^(z²)."""
    return _gauss(b, z, sign * math.sqrt(math.pi) / 2, -1.0)


def _scaled_slope(b: Builder, z: Atom, x: Atom, factor: float, constant: float) -> Atom:
    """Slope ``factor·x·z + constant`` of dawsn and erfcx."""
    product = b.emit(ew.mul_p, b.emit(ew.mul_p, x, z), factor)
    return b.emit(ew.add_p, product, constant)


def _logit_slope(b: Builder, z: Atom, x: Atom) -> Atom:
    bottom = b.emit(ew.mul_p, x, b.emit(ew.sub_p, ew.one(b, x), x))
    return b.emit(ew.div_p, ew.one(b, x), bottom)


def _spence_slope(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope log x/(1 - x), and -1 at 1."""
    at_one = b.emit(ew.eq_p, x, 1)
    safe = b.emit(ew.select_p, at_one, b.literal(2, x.aval.dtype), x)
    slope = b.emit(
        ew.div_p, b.emit(ew.log_p, safe), b.emit(ew.sub_p, ew.one(b, x), safe)
    )
    return b.emit(ew.select_p, at_one, b.literal(-1, x.aval.dtype), slope)


def _i1_slope(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope I₀ - I₁/x, and 1/2 at 0 (DLMF 10.29.2)."""
    return b.emit(ew.sub_p, named(b, "i0", x), _over(b, z, x, 0.5))


def _j1_slope(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope J₀ - J₁/x, and 1/2 at 0 (DLMF 10.6.2)."""
    return b.emit(ew.sub_p, named(b, "j0", x), _over(b, z, x, 0.5))


def _over(b: Builder, z: Atom, x: Atom, limit: float) -> Atom:
    """Return z/x, and `limit` at 0."""
    at_zero = b.emit(ew.eq_p, x, 0)
    safe = b.emit(ew.select_p, at_zero, ew.one(b, x), x)
    ratio = b.emit(ew.div_p, z, safe)
    return b.emit(ew.select_p, at_zero, b.literal(limit, x.aval.dtype), ratio)


def _i0e_slope(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope I₁ₑ - sign(x)·I₀ₑ."""
    flat = b.emit(ew.mul_p, b.emit(ew.sign_p, x), z)
    return b.emit(ew.sub_p, named(b, "i1e", x), flat)


def _i1e_slope(b: Builder, z: Atom, x: Atom) -> Atom:
    """Slope I₀ₑ - I₁ₑ·(sign(x) + 1/x), and 1/2 at 0."""
    flat = b.emit(ew.mul_p, b.emit(ew.sign_p, x), z)
    rest = b.emit(ew.sub_p, named(b, "i0e", x), flat)
    return b.emit(ew.sub_p, rest, _over(b, z, x, 0.5))


def _second_kind(first: str, minus: bool) -> Slope:
    """Slope ±f₀ - f₁/x of K₁ and Y₁."""

    def slope(b: Builder, z: Atom, x: Atom) -> Atom:
        zeroth = named(b, first, x)
        zeroth = b.emit(ew.neg_p, zeroth) if minus else zeroth
        return b.emit(ew.sub_p, zeroth, b.emit(ew.div_p, z, x))

    return slope


def _minus(name: str) -> Slope:
    return lambda b, z, x: b.emit(ew.neg_p, named(b, name, x))


def _ellipk_slope(b: Builder, z: Atom, m: Atom) -> Atom:
    """Slope (E - (1 - m)·K)/(2m(1 - m)), and π/8 at 0 (DLMF 19.4.1)."""
    rest = b.emit(ew.sub_p, ew.one(b, m), m)
    top = b.emit(ew.sub_p, named(b, "ellipe", m), b.emit(ew.mul_p, rest, z))
    top = b.emit(ew.div_p, top, b.emit(ew.mul_p, rest, 2.0))
    return _over(b, top, m, math.pi / 8)


def _ellipe_slope(b: Builder, z: Atom, m: Atom) -> Atom:
    """Slope (E - K)/2m, and -π/8 at 0 (DLMF 19.4.2)."""
    top = b.emit(ew.mul_p, b.emit(ew.sub_p, z, named(b, "ellipk", m)), 0.5)
    return _over(b, top, m, -math.pi / 8)


ONE_OPERAND: dict[str, Slope] = {
    "gammaln": lambda b, z, x: named(b, "psi", x),
    "loggamma": lambda b, z, x: named(b, "psi", x),
    "gamma": lambda b, z, x: b.emit(ew.mul_p, z, named(b, "psi", x)),
    "rgamma": lambda b, z, x: b.emit(ew.neg_p, b.emit(ew.mul_p, z, named(b, "psi", x))),
    "psi": _trigamma,
    "erfinv": lambda b, z, x: _inverse_gauss(b, z, 1.0),
    "erfcinv": lambda b, z, x: _inverse_gauss(b, z, -1.0),
    "erfcx": lambda b, z, x: _scaled_slope(b, z, x, 2.0, -2 / math.sqrt(math.pi)),
    "erfi": lambda b, z, x: _gauss(b, x, 2 / math.sqrt(math.pi), -1.0),
    "dawsn": lambda b, z, x: _scaled_slope(b, z, x, -2.0, 1.0),
    "ndtr": lambda b, z, x: _gauss(b, x, 1 / math.sqrt(2 * math.pi), 0.5),
    "ndtri": lambda b, z, x: _gauss(b, z, math.sqrt(2 * math.pi), -0.5),
    "log_ndtr": _normal_ratio,
    "logit": _logit_slope,
    "log_expit": lambda b, z, x: b.emit(ew.logistic_p, b.emit(ew.neg_p, x)),
    "entr": lambda b, z, x: b.emit(
        ew.sub_p, b.emit(ew.neg_p, b.emit(ew.log_p, x)), 1.0
    ),
    "spence": _spence_slope,
    "exp1": lambda b, z, x: b.emit(
        ew.neg_p, b.emit(ew.div_p, b.emit(ew.exp_p, b.emit(ew.neg_p, x)), x)
    ),
    "expi": lambda b, z, x: b.emit(ew.div_p, b.emit(ew.exp_p, x), x),
    "exp10": lambda b, z, x: b.emit(ew.mul_p, z, math.log(10)),
    "exp2": lambda b, z, x: b.emit(ew.mul_p, z, math.log(2)),
    "expm1": lambda b, z, x: b.emit(ew.add_p, z, 1.0),
    "log1p": lambda b, z, x: b.emit(ew.div_p, ew.one(b, x), b.emit(ew.add_p, x, 1.0)),
    "cbrt": lambda b, z, x: b.emit(
        ew.div_p, ew.one(b, x), b.emit(ew.mul_p, _square(b, z), 3.0)
    ),
    "cosm1": lambda b, z, x: b.emit(ew.neg_p, b.emit(ew.sin_p, x)),
    "i0": lambda b, z, x: named(b, "i1", x),
    "i1": _i1_slope,
    "i0e": _i0e_slope,
    "i1e": _i1e_slope,
    "j0": _minus("j1"),
    "j1": _j1_slope,
    "y0": _minus("y1"),
    "y1": _second_kind("y0", minus=False),
    "k0": _minus("k1"),
    "k1": _second_kind("k0", minus=True),
    "ellipk": _ellipk_slope,
    "ellipe": _ellipe_slope,
}

# --- more operands ----------------------------------------------------------------


def undeclared(b: Builder, g: Atom, outs: Sequence[Atom], *ins: Atom) -> Atom:
    """Mark an operand without a derivative here."""
    raise UnsupportedError("this derivative is not defined")


def _safe_ratio(b: Builder, x: Atom, y: Atom) -> Atom:
    """Return x/y, and 0 where x is 0."""
    at_zero = b.emit(ew.eq_p, x, 0)
    safe = b.emit(ew.select_p, at_zero, ew.one(b, y), y)
    return b.emit(ew.div_p, x, safe)


def _log_ratio(b: Builder, x: Atom, y: Atom) -> Atom:
    return b.emit(ew.sub_p, b.emit(ew.log_p, x), b.emit(ew.log_p, y))


def _bessel(name: str, sign: float) -> Slope:
    """Slope (f(v-1) + sign·f(v+1))/2 in the argument (DLMF 10.6.1, 10.29.1)."""

    def slope(b: Builder, z: Atom, v: Atom, x: Atom) -> Atom:
        below = named(b, name, b.emit(ew.sub_p, v, 1.0), x)
        above = named(b, name, b.emit(ew.add_p, v, 1.0), x)
        total = b.emit(ew.add_p, below, b.emit(ew.mul_p, above, sign))
        return b.emit(ew.mul_p, total, 0.5)

    return slope


def _kv_slope(b: Builder, z: Atom, v: Atom, x: Atom) -> Atom:
    return b.emit(ew.neg_p, _bessel("kv", 1.0)(b, z, v, x))


def _gammainc_slope(b: Builder, z: Atom, a: Atom, x: Atom) -> Atom:
    """Slope x^(a-1)·e^-x/Γ(a), through logarithms (DLMF 8.8.13)."""
    power = named(b, "xlogy", b.emit(ew.sub_p, a, 1.0), x)
    total = b.emit(ew.sub_p, b.emit(ew.sub_p, power, x), named(b, "gammaln", a))
    return b.emit(ew.exp_p, total)


def _expn_slope(b: Builder, z: Atom, n: Atom, x: Atom) -> Atom:
    """Slope -E of order n - 1 (DLMF 8.19.13), and of order -1 where n is 0."""
    at_zero = b.emit(ew.eq_p, n, 0)
    below = b.emit(ew.maximum_p, b.emit(ew.sub_p, n, 1), ew.zero(b, n))
    decay = b.emit(ew.exp_p, b.emit(ew.neg_p, x))
    last = b.emit(ew.div_p, decay, b.emit(ew.mul_p, x, x))
    last = b.emit(ew.mul_p, last, b.emit(ew.add_p, x, 1.0))
    return b.emit(
        ew.neg_p, b.emit(ew.select_p, at_zero, last, named(b, "expn", below, x))
    )


def _betainc_slope(b: Builder, z: Atom, p: Atom, q: Atom, x: Atom) -> Atom:
    """Slope x^(p-1)·(1-x)^(q-1)/B(p, q) (DLMF 8.17.1)."""
    low = named(b, "xlogy", b.emit(ew.sub_p, p, 1.0), x)
    high = named(b, "xlog1py", b.emit(ew.sub_p, q, 1.0), b.emit(ew.neg_p, x))
    total = b.emit(ew.sub_p, b.emit(ew.add_p, low, high), named(b, "betaln", p, q))
    return b.emit(ew.exp_p, total)


def _betaln_part(index: int) -> Slope:
    def slope(b: Builder, z: Atom, *ins: Atom) -> Atom:
        both = named(b, "psi", b.emit(ew.add_p, *ins))
        return b.emit(ew.sub_p, named(b, "psi", ins[index]), both)

    return slope


def _beta_part(index: int) -> Slope:
    return lambda b, z, *ins: b.emit(ew.mul_p, z, _betaln_part(index)(b, z, *ins))


def _zeta_slope(b: Builder, z: Atom, s: Atom, q: Atom) -> Atom:
    """Slope -s·ζ(s+1, q) (DLMF 25.11.17)."""
    more = named(b, ZETA, b.emit(ew.add_p, s, 1.0), q)
    return b.emit(ew.neg_p, b.emit(ew.mul_p, s, more))


def _log1p_slope(b: Builder, z: Atom, x: Atom, y: Atom) -> Atom:
    return b.emit(ew.div_p, x, b.emit(ew.add_p, y, 1.0))


def _log1p_or_zero(b: Builder, z: Atom, x: Atom, y: Atom) -> Atom:
    safe = b.emit(ew.select_p, b.emit(ew.eq_p, x, 0), ew.zero(b, y), y)
    return b.emit(ew.log1p_p, safe)


# Per operand; None is a slope without a formula (of orders and shapes, mostly).
MORE_OPERANDS: dict[str, tuple[Slope | None, ...]] = {
    "xlogy": (
        lambda b, z, x, y: _log_or_zero(b, x, y),
        lambda b, z, x, y: _safe_ratio(b, x, y),
    ),
    "xlog1py": (_log1p_or_zero, _log1p_slope),
    "rel_entr": (
        lambda b, z, x, y: b.emit(ew.add_p, _log_ratio(b, x, y), 1.0),
        lambda b, z, x, y: b.emit(ew.neg_p, b.emit(ew.div_p, x, y)),
    ),
    "kl_div": (
        lambda b, z, x, y: _log_ratio(b, x, y),
        lambda b, z, x, y: b.emit(ew.sub_p, ew.one(b, y), b.emit(ew.div_p, x, y)),
    ),
    "beta": (_beta_part(0), _beta_part(1)),
    "betaln": (_betaln_part(0), _betaln_part(1)),
    ZETA: (None, _zeta_slope),
    "jv": (None, _bessel("jv", -1.0)),
    "yv": (None, _bessel("yv", -1.0)),
    "iv": (None, _bessel("iv", 1.0)),
    "kv": (None, _kv_slope),
    "gammainc": (None, _gammainc_slope),
    "gammaincc": (
        None,
        lambda b, z, a, x: b.emit(ew.neg_p, _gammainc_slope(b, z, a, x)),
    ),
    "betainc": (None, None, _betainc_slope),
    "expn": (None, _expn_slope),
}


PARTIALS: dict[str, tuple[NamedPartial | None, ...]] = {
    **{SCIPY + name: (times(slope),) for name, slope in ONE_OPERAND.items()},
    **{
        SCIPY + name: tuple(undeclared if s is None else times(s) for s in slopes)
        for name, slopes in MORE_OPERANDS.items()
    },
}
