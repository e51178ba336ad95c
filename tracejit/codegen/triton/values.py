"""How dtypes are called in Triton, and what a value of each is computed in.

Memory holds what the kernel says. In registers, float16, bfloat16 and float8 are
float32 numbers that fit the narrow type: they are widened when loaded and rounded where
the kernel computes a value of the narrow type. To Triton, memory of float8 is bytes.
"""

import math
import re

import numpy as np

from ...errors import DTypeError
from ...ir import dtypes as dt
from . import float8

_CALL = re.compile(r"[\w.]+\([^()]*\)")

_MEMORY = {
    "bool": "int1",
    **{f"i{n}": f"int{n}" for n in (8, 16, 32, 64)},
    **{f"u{n}": f"uint{n}" for n in (8, 16, 32, 64)},
    "f8e4m3fn": "uint8",
    "f8e5m2": "uint8",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
}
_SIGNATURE = {
    "bool": "i1",
    "f8e4m3fn": "u8",
    "f8e5m2": "u8",
    "f16": "fp16",
    "bf16": "bf16",
    "f32": "fp32",
    "f64": "fp64",
}


def is_real_float(dtype: np.dtype) -> bool:
    """Tell whether values of `dtype` are floating-point numbers in registers."""
    return dtype in dt.FLOATS


def is_signed(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is a signed integer."""
    return dtype.kind == "i"


def memory_type(dtype: np.dtype) -> str:
    """Return the Triton type of an element in memory, e.g. ``tl.bfloat16``.

    Raises
    ------
    DTypeError
        For complex dtypes, which Triton does not have.
    """
    name = dt.dtype_name(dtype)
    if name not in _MEMORY:
        raise DTypeError(
            f"kernels in Triton have no {name}",
            hint="compute the real and imaginary parts",
        )
    return f"tl.{_MEMORY[name]}"


def register_type(dtype: np.dtype) -> str:
    """Return the Triton type that values of `dtype` are computed in."""
    return "tl.float32" if dtype in dt.NARROW_FLOATS else memory_type(dtype)


def signature_type(dtype: np.dtype) -> str:
    """Return what a compile signature calls a pointer to `dtype`, e.g. ``*fp32``."""
    name = dt.dtype_name(dtype)
    return f"*{_SIGNATURE.get(name, name)}"


def rounded(text: str, dtype: np.dtype) -> str:
    """Return an expression rounded to a narrow type, if `dtype` is one."""
    if dtype in dt.FLOAT8S:
        return float8.rounded(text, dtype)
    if dtype not in dt.HALVES:
        return text
    is_simple = text.isidentifier() or _CALL.fullmatch(text)
    inner = text if is_simple else f"({text})"
    return f"{inner}.to({memory_type(dtype)}).to(tl.float32)"


def loaded(text: str, dtype: np.dtype) -> str:
    """Return what was loaded in its register type."""
    if dtype in dt.FLOAT8S:
        return float8.loaded(text, dtype)
    return f"{text}.to(tl.float32)" if dtype in dt.HALVES else text


def stored(text: str, dtype: np.dtype) -> str:
    """Return a register value of `dtype` as it is stored."""
    if dtype in dt.FLOAT8S:
        return float8.stored(text, dtype)
    return f"{text}.to({memory_type(dtype)})"


def stored_number(value: object, dtype: np.dtype) -> str:
    """Return a constant as what memory of it holds, as a Python number.

    Examples
    --------
    >>> stored_number(1.0, dt.FLOAT8_E5M2), stored_number(1.0, dt.FLOAT32)
    ('60', '1.0')
    """
    if dtype in dt.FLOAT8S:
        return str(int(np.asarray(value, dtype).view(np.uint8)))
    return number(value, dtype)


def number(value: object, dtype: np.dtype) -> str:
    """Return a constant as a Python number.

    Examples
    --------
    >>> number(np.float32(0.1), np.dtype("f4"))
    '0.1'
    """
    if dtype.kind == "b":
        return str(bool(value))
    if dtype.kind in "iu":
        return str(int(value))  # type: ignore[call-overload]
    real = float(value)  # type: ignore[arg-type]
    if math.isnan(real):
        return 'float("nan")'
    if math.isinf(real):
        return 'float("inf")' if real > 0 else '-float("inf")'
    if dtype == dt.FLOAT64:
        return repr(real)
    short = str(np.float32(real))
    exact = np.float32(float(short)) == np.float32(real) == real
    return repr(float(short)) if exact else repr(real)


def constant(value: object, dtype: np.dtype) -> str:
    """Return a constant as a Triton scalar of its register type."""
    return f"tl.full((), {number(value, dtype)}, {register_type(dtype)})"


def lowest(dtype: np.dtype) -> object:
    """Return the neutral element of a maximum."""
    if is_real_float(dtype):
        return dt.lowest(dtype)
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def highest(dtype: np.dtype) -> object:
    """Return the neutral element of a minimum."""
    if is_real_float(dtype):
        return dt.highest(dtype)
    return True if dtype.kind == "b" else np.iinfo(dtype).max
