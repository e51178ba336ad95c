"""The dtypes tracejit computes in, and their names in text form.

A dtype is a native-byte-order `numpy.dtype`; nothing is wrapped. This module fixes
which dtypes exist, what they are called (`f32`, `i64`, ...) and how they group.
"""

import ml_dtypes
import numpy as np

from ..errors import DTypeError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT8_E4M3FN = np.dtype(ml_dtypes.float8_e4m3fn)
FLOAT8_E5M2 = np.dtype(ml_dtypes.float8_e5m2)

NAME_TO_DTYPE: dict[str, np.dtype] = {
    "bool": np.dtype(np.bool_),
    **{f"{k}{n}": np.dtype(f"{k}{n // 8}") for k in "iu" for n in (8, 16, 32, 64)},
    "f8e4m3fn": FLOAT8_E4M3FN,
    "f8e5m2": FLOAT8_E5M2,
    "f16": np.dtype(np.float16),
    "bf16": BFLOAT16,
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
}
DTYPE_TO_NAME: dict[np.dtype, str] = {d: n for n, d in NAME_TO_DTYPE.items()}

BOOL = NAME_TO_DTYPE["bool"]
INT64 = NAME_TO_DTYPE["i64"]
FLOAT16 = NAME_TO_DTYPE["f16"]
FLOAT32 = NAME_TO_DTYPE["f32"]
FLOAT64 = NAME_TO_DTYPE["f64"]

BOOLS = frozenset({BOOL})
INTEGERS = frozenset(d for d in DTYPE_TO_NAME if d.kind in "iu")
SIGNED = frozenset(d for d in INTEGERS if d.kind == "i")
FLOAT8S = frozenset({FLOAT8_E4M3FN, FLOAT8_E5M2})
HALVES = frozenset({FLOAT16, BFLOAT16})
# Computed in float32 and rounded after each operation, as NumPy and ml_dtypes do.
NARROW_FLOATS = HALVES | FLOAT8S
OF_ML_DTYPES = FLOAT8S | {BFLOAT16}
FLOATS = NARROW_FLOATS | {FLOAT32, FLOAT64}
COMPLEX = frozenset(NAME_TO_DTYPE[n] for n in ("c64", "c128"))
INEXACT = FLOATS | COMPLEX
NUMERIC = INTEGERS | INEXACT
REAL = INTEGERS | FLOATS
ANY = NUMERIC | BOOLS


def canonical(dtype: object) -> np.dtype:
    """Return the supported `numpy.dtype` for anything NumPy accepts as a dtype.

    Platform aliases of one width (`long`, `longlong`) become one dtype.

    Raises
    ------
    DTypeError
        For object, string, structured, datetime and long double dtypes, other float8
        dtypes, and for a non-native byte order.

    Examples
    --------
    >>> canonical("float32")
    dtype('float32')
    """
    found = np.dtype(dtype)  # type: ignore[call-overload]
    name = DTYPE_TO_NAME.get(found)
    if name is not None:
        return NAME_TO_DTYPE[name]
    if not found.isnative:
        raise DTypeError(
            f"dtype {found.str!r} has a non-native byte order",
            hint=f"convert first: x.astype({found.newbyteorder('=').name!r})",
        )
    if found.kind in "iu" and found.itemsize in (1, 2, 4, 8):
        return np.dtype(f"{found.kind}{found.itemsize}")
    raise DTypeError(
        f"dtype {found} is not supported; supported are {', '.join(NAME_TO_DTYPE)}",
        hint="convert the array to a numeric dtype before the call",
    )


def dtype_name(dtype: np.dtype) -> str:
    """Return the short name of a supported dtype, e.g. ``f32``."""
    return DTYPE_TO_NAME[dtype]


def is_float(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is a real floating-point dtype."""
    return dtype in FLOATS


def lowest(dtype: np.dtype) -> float:
    """Return the least number of a floating-point dtype: -inf if it has that.

    Examples
    --------
    >>> lowest(FLOAT32), lowest(FLOAT8_E4M3FN)
    (-inf, -448.0)
    """
    return -highest(dtype)


def highest(dtype: np.dtype) -> float:
    """Return the greatest number of a floating-point dtype: inf if it has that."""
    return 448.0 if dtype == FLOAT8_E4M3FN else np.inf


def is_complex(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is complex."""
    return dtype.kind == "c"


def is_inexact(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is floating-point or complex, hence differentiable."""
    return dtype in INEXACT


def real_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of the real part: f32 for c64, f64 for c128, else itself."""
    return {"c64": FLOAT32, "c128": FLOAT64}.get(DTYPE_TO_NAME[dtype], dtype)
