"""The Triton functions that emitted kernels may call, as source text.

What Triton's language lacks, or does otherwise than NumPy, is written here once. A
kernel's module gets the text of those that it calls (`library`), so that it can be read
and pasted on its own.
"""

import re

from . import float8

_SOURCES = '''
@triton.jit
def int_quotient(a, b):
    """a / b towards zero; for b = 0 any number, and wrapping for b = -1."""
    safe = tl.where((b == 0) | (b == -1), 1, b)
    return tl.where(b == -1, 0 - a, a // safe)


@triton.jit
def int_floor_divide(a, b):
    """Floor of a / b, and 0 where b is 0."""
    q = int_quotient(a, b)
    rest = a - q * b
    q = tl.where((rest != 0) & ((rest ^ b) < 0), q - 1, q)
    return tl.where(b == 0, 0, q)


@triton.jit
def int_remainder(a, b):
    """a - b floor(a / b), and 0 where b is 0."""
    rest = a - int_quotient(a, b) * b
    rest = tl.where((rest != 0) & ((rest ^ b) < 0), rest + b, rest)
    return tl.where(b == 0, 0, rest)


@triton.jit
def int_fmod(a, b):
    """The remainder with the sign of a, and 0 where b is 0."""
    return tl.where(b == 0, 0, a - int_quotient(a, b) * b)


@triton.jit
def uint_floor_divide(a, b):
    """Floor of a / b, and 0 where b is 0."""
    return tl.where(b == 0, 0, a // tl.where(b == 0, 1, b))


@triton.jit
def uint_remainder(a, b):
    """a mod b, and 0 where b is 0."""
    return tl.where(b == 0, 0, a % tl.where(b == 0, 1, b))


@triton.jit
def shift_left(a, b, BITS: tl.constexpr):
    """a << b, and 0 where b is negative, or BITS or more."""
    fits = (b >= 0) & (b < BITS)
    return tl.where(fits, a << tl.where(fits, b, 0), 0)


@triton.jit
def shift_right(a, b, BITS: tl.constexpr):
    """a >> b; where b is negative, or BITS or more, all bits are the sign."""
    fits = (b >= 0) & (b < BITS)
    return a >> tl.where(fits, b, BITS - 1)


@triton.jit
def ushift_right(a, b, BITS: tl.constexpr):
    """a >> b, and 0 where b is BITS or more."""
    return tl.where(b < BITS, a >> tl.where(b < BITS, b, 0), 0)


@triton.jit
def int_abs(a):
    """|a|; the smallest number stays as it is."""
    return tl.where(a < 0, 0 - a, a)


@triton.jit
def int_sign(a):
    """-1, 0 or 1."""
    return (a > 0).to(a.dtype) - (a < 0).to(a.dtype)


@triton.jit
def float_sign(a):
    """-1, 0 or 1, and NaN for NaN."""
    return tl.where(a > 0, 1.0, tl.where(a < 0, -1.0, tl.where(a == 0, 0.0, a)))


@triton.jit
def truncate(a):
    """a rounded towards zero, with the sign of a."""
    return tl.where(a < 0, tl.ceil(a), tl.floor(a))


@triton.jit
def nan_maximum(a, b):
    """The larger one; NaN if either is."""
    return tl.where((a >= b) | (a != a), a, b)


@triton.jit
def nan_minimum(a, b):
    """The smaller one; NaN if either is."""
    return tl.where((a <= b) | (a != a), a, b)


@triton.jit
def number_maximum(a, b):
    """The larger one; NaN only if both are."""
    return tl.where((a >= b) | (b != b), a, b)


@triton.jit
def number_minimum(a, b):
    """The smaller one; NaN only if both are."""
    return tl.where((a <= b) | (b != b), a, b)


@triton.jit
def divide(a, b):
    """a / b, rounded to nearest."""
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@triton.jit
def square_root(a):
    """The square root, rounded to nearest."""
    if a.dtype == tl.float32:
        return tl.sqrt_rn(a)
    else:
        return tl.sqrt(a)


@triton.jit
def exact_remainder(a, b):
    """fmod(a, b), moved to the sign of b; NaN where b is 0."""
    rest = libdevice.fmod(a, b)
    moved = tl.where((rest < 0) != (b < 0), rest + b, rest)
    return tl.where(rest == 0, libdevice.copysign(rest, b), moved)


@triton.jit
def float_remainder(a, b):
    """NumPy's a % b: fmod(a, b) with the sign of b."""
    return tl.where(b == 0, libdevice.fmod(a, b), exact_remainder(a, b))


@triton.jit
def float_floor_divide(a, b):
    """NumPy's a // b: from the exact remainder, and a / b where b is 0."""
    rest = libdevice.fmod(a, b)
    q = divide(a - rest, b)
    q = tl.where((rest != 0) & ((rest < 0) != (b < 0)), q - 1.0, q)
    low = tl.floor(q)
    low = tl.where(q - low > 0.5, low + 1.0, low)
    nothing = libdevice.copysign(q * 0.0, divide(a, b))
    return tl.where(b == 0, divide(a, b), tl.where(q == 0, nothing, low))


@triton.jit
def logistic(x):
    """1 / (1 + exp(-x)), by the branch that does not overflow."""
    e = libdevice.exp(-tl.abs(x))
    return divide(tl.where(x >= 0, 1.0, e), 1.0 + e)


@triton.jit
def logaddexp(a, b):
    """log(exp(a) + exp(b)) without overflow."""
    away = tl.abs(a - b)
    sum = nan_maximum(a, b) + libdevice.log1p(libdevice.exp(-away))
    return tl.where(a == b, a + 0.6931471805599453, sum)


@triton.jit
def float_key(x):
    """An int64 below 2**33 that orders as floats do, with equal zeros and NaN last."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)
    bits = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    bits = tl.where(x == 0.0, 0, bits)
    return tl.where(x != x, 0xFFFFFFFF, bits.to(tl.int64) + 0x80000000)


@triton.jit
def wide_float_key(x):
    """An int64 that orders as float64 does, with equal zeros and NaN last."""
    bits = (x + 0.0).to(tl.int64, bitcast=True)
    bits = tl.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)
    bits = tl.where(x == 0.0, 0, bits)
    return tl.where(x != x, 0x7FFFFFFFFFFFFFFF, bits)


@triton.jit
def multiply(a, b):
    """The product, for tl.reduce."""
    return a * b


@triton.jit
def bit_and(a, b):
    """The common bits, for tl.reduce."""
    return a & b


@triton.jit
def bit_or(a, b):
    """The bits of either, for tl.reduce."""
    return a | b


@triton.jit
def larger(a, b):
    """The larger integer, for tl.reduce."""
    return tl.maximum(a, b)


@triton.jit
def smaller(a, b):
    """The smaller integer, for tl.reduce."""
    return tl.minimum(a, b)


@triton.jit
def first_largest(a, i, b, j):
    """The larger of two (value, index); the first NaN or first of equals wins."""
    equal = (a == b) | ((a != a) & (b != b))
    later = (b > a) | ((b != b) & (a == a)) | (equal & (j < i))
    return tl.where(later, b, a), tl.where(later, j, i)


@triton.jit
def first_smallest(a, i, b, j):
    """The smaller of two (value, index); the first NaN or first of equals wins."""
    equal = (a == b) | ((a != a) & (b != b))
    later = (b < a) | ((b != b) & (a == a)) | (equal & (j < i))
    return tl.where(later, b, a), tl.where(later, j, i)
'''

HELPERS: dict[str, str] = {
    re.findall(r"def (\w+)\(", text)[0]: text.strip()
    for text in re.split(r"\n\n\n+", f"{_SOURCES}\n\n{float8.SOURCES}".strip())
}
_IMPORTS = "import triton\nimport triton.language as tl\n"
_LIBDEVICE = "from triton.language.extra import libdevice\n"
_CALLED = re.compile(r"(?<![.\w])[a-z_]\w*\b")
_PROSE = re.compile(r'""".*?"""|#[^\n]*', re.DOTALL)


def library(text: str) -> str:
    """Return the imports and the helpers that kernel text needs, in order."""
    needed: set[str] = set()
    waiting = [text]
    while waiting:
        code = _PROSE.sub("", waiting.pop())
        for name in _CALLED.findall(code):
            if name in HELPERS and name not in needed:
                needed.add(name)
                waiting.append(HELPERS[name])
    texts = [HELPERS[name] for name in HELPERS if name in needed]
    extra = any("libdevice." in t for t in (text, *texts))
    head = _IMPORTS + (_LIBDEVICE if extra else "")
    return "\n\n\n".join([head.rstrip(), *texts])
