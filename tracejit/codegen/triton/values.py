"""How dtypes are called in Triton, and what a value of each is computed in.

Memory holds what the kernel says. In registers, float16 and bfloat16 are float32
numbers that fit the half type: they are widened when loaded and rounded where the
kernel computes a value of the half type.
"""

import math
import re

import numpy as np

from ...errors import DTypeError
from ...ir import dtypes as dt

_CALL = re.compile(r"[\w.]+\([^()]*\)")
HALVES = frozenset(dt.NAME_TO_DTYPE[n] for n in ("f16", "bf16"))

_MEMORY = {
    "bool": "int1",
    **{f"i{n}": f"int{n}" for n in (8, 16, 32, 64)},
    **{f"u{n}": f"uint{n}" for n in (8, 16, 32, 64)},
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
}
_SIGNATURE = {"bool": "i1", "f16": "fp16", "bf16": "bf16", "f32": "fp32", "f64": "fp64"}


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
    return "tl.float32" if dtype in HALVES else memory_type(dtype)


def signature_type(dtype: np.dtype) -> str:
    """Return what a compile signature calls a pointer to `dtype`, e.g. ``*fp32``."""
    name = dt.dtype_name(dtype)
    return f"*{_SIGNATURE.get(name, name)}"


def rounded(text: str, dtype: np.dtype) -> str:
    """Return an expression rounded to a half type, if `dtype` is one."""
    if dtype not in HALVES:
        return text
    is_simple = text.isidentifier() or _CALL.fullmatch(text)
    inner = text if is_simple else f"({text})"
    return f"{inner}.to({memory_type(dtype)}).to(tl.float32)"


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
    short = str(np.float32(real))
    exact = np.float32(float(short)) == np.float32(real) == real
    return repr(float(short)) if exact and dtype != dt.FLOAT64 else repr(real)


def constant(value: object, dtype: np.dtype) -> str:
    """Return a constant as a Triton scalar of its register type."""
    return f"tl.full((), {number(value, dtype)}, {register_type(dtype)})"


def lowest(dtype: np.dtype) -> object:
    """Return the neutral element of a maximum."""
    if is_real_float(dtype):
        return -math.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def highest(dtype: np.dtype) -> object:
    """Return the neutral element of a minimum."""
    if is_real_float(dtype):
        return math.inf
    return True if dtype.kind == "b" else np.iinfo(dtype).max
