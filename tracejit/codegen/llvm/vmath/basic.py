"""Exactly rounded operations: roots, rounding, signs, extremes, fused multiply-add.

Where the machine has no instruction (rounding before SSE4.1), a formula stands in;
`fma` without one is the C library's, correct and slow.
"""

from .vector import Vector


def sqrt(v: Vector, x: str) -> str:
    """Return the square root; NaN for x < 0, -0 for -0."""
    return v.sqrt(x)


def fabs(v: Vector, x: str) -> str:
    """Return |x|, clearing the sign of NaN too."""
    return v.abs(x)


def copysign(v: Vector, x: str, sign: str) -> str:
    """Return |x| with the sign of ``sign``."""
    return v.copysign(x, sign)


def fma(v: Vector, a: str, b: str, c: str) -> str:
    """Return a b + c, rounded once on every machine."""
    return v.em.intrinsic("llvm.fma", v.type, a, b, c)


def rint(v: Vector, x: str) -> str:
    """Return the nearest integral value, ties to even."""
    return v.round(x)


def floor(v: Vector, x: str) -> str:
    """Return the largest integral value that is not above x."""
    if v.target.has_rounding:
        return v.em.intrinsic("llvm.floor", v.type, x)
    return _correct(v, x, "ogt", -1.0)


def ceil(v: Vector, x: str) -> str:
    """Return the least integral value that is not below x."""
    if v.target.has_rounding:
        return v.em.intrinsic("llvm.ceil", v.type, x)
    return _correct(v, x, "olt", 1.0)


def trunc(v: Vector, x: str) -> str:
    """Return the integral part."""
    if v.target.has_rounding:
        return v.em.intrinsic("llvm.trunc", v.type, x)
    return v.copysign(_correct(v, v.abs(x), "ogt", -1.0), x)


def _correct(v: Vector, x: str, wrong: str, step: float) -> str:
    """Return the nearest integral value, one step further where it is ``wrong``."""
    nearest = v.round(x)
    moved = v.add(nearest, v.select(v.cmp(wrong, nearest, x), step, 0.0))
    return v.copysign(moved, x)


def maximum(v: Vector, a: str, b: str) -> str:
    """Return the greater, NaN if either is; the first of equal ones (0 and -0)."""
    return v.select(v.is_nan(b), b, v.select(v.cmp("olt", a, b), b, a))


def minimum(v: Vector, a: str, b: str) -> str:
    """Return the lesser, NaN if either is; the first of equal ones (0 and -0)."""
    return v.select(v.is_nan(b), b, v.select(v.cmp("ogt", a, b), b, a))


def fmax(v: Vector, a: str, b: str) -> str:
    """Return the greater, or the one that is not NaN."""
    return v.select(v.is_nan(a), b, v.select(v.cmp("olt", a, b), b, a))


def fmin(v: Vector, a: str, b: str) -> str:
    """Return the lesser, or the one that is not NaN."""
    return v.select(v.is_nan(a), b, v.select(v.cmp("ogt", a, b), b, a))
