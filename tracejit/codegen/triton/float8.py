"""float8 numbers as Triton text: decoded, rounded and encoded by integer arithmetic.

Memory of float8 is bytes to Triton. Its own float8 types exist on some devices only,
and conversions of PTX give the largest number where ml_dtypes gives NaN or infinity;
these functions are right on every device and in the interpreter. Establishes `SOURCES`,
which `helpers` offers to kernels, and the calls of them.
"""

import struct

import numpy as np

from ...ir import dtypes as dt
from ...ir.float8 import FORMATS, Float8

_DECODED = '''
@triton.jit
def {name}_decoded(x):
    """The float32 numbers that are 8 bits of {name}."""
    bits = x.to(tl.int32)
    magnitude = bits & 0x7F
    normal = (magnitude << {shift}) + {rebias}
    small = (magnitude.to(tl.float32) * {step}).to(tl.int32, bitcast=True)
    value = tl.where(magnitude < {normals}, small, normal)
{infinity_decoded}    value = tl.where(magnitude >= {first_nan}, 0x7FC00000, value)
    return (value | ((bits & 0x80) << 24)).to(tl.float32, bitcast=True)
'''
_ROUNDED = '''
@triton.jit
def {name}_rounded(x):
    """x rounded to {name}, ties to even; what is too large becomes {overflow}."""
    bits = x.to(tl.int32, bitcast=True)
    magnitude = bits & 0x7FFFFFFF
    nearly = magnitude + {below_half} + ((magnitude >> {shift}) & 1)
    steps = {name}_steps(magnitude)
    small = (steps.to(tl.float32) * {step}).to(tl.int32, bitcast=True)
    value = tl.where(magnitude < {smallest}, small, nearly & {kept})
    value = tl.where(value > {largest}, {too_large}, value)
    value = tl.where(magnitude > 0x7F800000, 0x7FC00000, value)
    return (value | (bits ^ magnitude)).to(tl.float32, bitcast=True)
'''
_STEPS = '''
@triton.jit
def {name}_steps(magnitude):
    """The number as a multiple of the smallest one, rounded, if it is subnormal."""
    total = magnitude.to(tl.float32, bitcast=True) + {anchor}
    return total.to(tl.int32, bitcast=True) - {anchor_bits}
'''
_ENCODED = '''
@triton.jit
def {name}_encoded(x):
    """The 8 bits of float32 numbers that are {name} numbers."""
    bits = x.to(tl.int32, bitcast=True)
    magnitude = bits & 0x7FFFFFFF
    normal = (magnitude - {rebias}) >> {shift}
    value = tl.where(magnitude < {smallest}, {name}_steps(magnitude), normal)
    value = tl.minimum(value, {after_largest})
{nan_encoded}    return (value | ((bits >> 24) & 0x80)).to(tl.uint8)
'''
_INTEGER = '''
@triton.jit
def finite_or_zero(x):
    """x, and 0 where it is infinite or NaN."""
    return tl.where(tl.abs(x) < float("inf"), x, 0.0)


@triton.jit
def at_infinities(x, whole, LEAST: tl.constexpr, MOST: tl.constexpr):
    """An integer, and the ends of its range where x is infinite."""
    whole = tl.where(x == float("inf"), tl.full((), MOST, whole.dtype), whole)
    return tl.where(x == -float("inf"), tl.full((), LEAST, whole.dtype), whole)
'''


def _functions(dtype: np.dtype, format_: Float8) -> str:
    """Return the functions of one format."""
    shift, has_infinity = format_.shift, format_.has_infinity
    first_nan = format_.largest + 1 + has_infinity
    infinity = (
        f"    value = tl.where(magnitude == {first_nan - 1}, 0x7F800000, value)\n"
    )
    nan = f"    value = tl.where(magnitude > 0x7F800000, {format_.nan}, value)\n"
    anchor = struct.unpack("<f", struct.pack("<I", format_.anchor))[0]
    words = {
        "name": name_of(dtype),
        "shift": shift,
        "rebias": hex(format_.rebias),
        "step": format_.step,
        "normals": 1 << format_.mantissa,
        "first_nan": first_nan,
        "below_half": hex((1 << (shift - 1)) - 1),
        "kept": -(1 << shift),
        "smallest": hex(format_.smallest_normal),
        "largest": hex(format_.largest_finite),
        "too_large": "0x7F800000" if has_infinity else "0x7FC00000",
        "overflow": "infinite" if has_infinity else "NaN",
        "anchor": anchor,
        "anchor_bits": hex(format_.anchor),
        "after_largest": format_.largest + 1,
        "infinity_decoded": infinity if has_infinity else "",
        "nan_encoded": nan if has_infinity else "",
    }
    texts = (_DECODED, _STEPS, _ROUNDED, _ENCODED)
    return "\n\n".join(text.format(**words) for text in texts)


def name_of(dtype: np.dtype) -> str:
    """Return what functions call a format.

    Examples
    --------
    >>> name_of(dt.FLOAT8_E5M2)
    'e5m2'
    """
    return dt.dtype_name(dtype).removeprefix("f8")


SOURCES = "\n\n".join([*(_functions(*row) for row in FORMATS.items()), _INTEGER])


def loaded(text: str, dtype: np.dtype) -> str:
    """Return loaded bytes as float32."""
    return f"{name_of(dtype)}_decoded({text})"


def rounded(text: str, dtype: np.dtype) -> str:
    """Return float32 numbers rounded to the format."""
    return f"{name_of(dtype)}_rounded({text})"


def stored(text: str, dtype: np.dtype) -> str:
    """Return the bytes of float32 numbers that fit the format."""
    return f"{name_of(dtype)}_encoded({text})"


def integer(text: str, dtype: np.dtype, whole: str, to: np.dtype) -> str:
    """Return a conversion to an integer dtype as that of ml_dtypes.

    Parameters
    ----------
    text : str
        A variable or constant, float32.
    whole : str
        How ``finite_or_zero(text)`` is converted.
    """
    if not FORMATS[dtype].has_infinity:
        return whole
    ends = np.iinfo(to)
    return f"at_infinities({text}, {whole}, {ends.min}, {ends.max})"
