"""Compile a function of the vector math and measure its errors.

References are NumPy's functions in a wider format: doubles for float32, the x87 or
quad long double for float64, where the error of the C library's long double functions
(about 2**-63) is far below what is measured. `erf` and `erfc`, which NumPy lacks, are
SciPy's in doubles, and in long doubles a series of positive terms and a continued
fraction.
"""

import ctypes
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import scipy.special

from tracejit.codegen.llvm.target import host_target
from tracejit.codegen.llvm.text import Emitter, module_text, vec
from tracejit.codegen.llvm.vmath import emit

from .compiling import address_of, compile_text

ELEMENTS = {"f32": "float", "f64": "double"}
DTYPES = {"f32": np.float32, "f64": np.float64}
WIDER = {"f32": np.float64, "f64": np.longdouble}
Function = Callable[..., np.ndarray]


class Compiled:
    """A compiled loop over one function, called with arrays of one length."""

    def __init__(
        self, name: str, dtype: str, isa: str, arity: int = 1, lanes: int | None = None
    ) -> None:
        target = host_target(isa)
        self.lanes = lanes or target.lanes(int(dtype[1:]))
        self.library: llvm.ResourceTracker = compile_text(
            loop_text(name, dtype, isa, arity, self.lanes), target
        )
        pointers = [ctypes.c_void_p] * (arity + 1)
        prototype = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)
        self.function = prototype(address_of(self.library, "f"))

    def __call__(self, *args: np.ndarray) -> np.ndarray:
        """Return the function of arrays, padded to whole vectors."""
        count = len(args[0])
        padded = [np.resize(a, -(-count // self.lanes) * self.lanes) for a in args]
        out = np.empty_like(padded[0])
        pointers = [a.ctypes.data for a in (*padded, out)]
        self.function(*pointers, len(out))
        return out[:count]


def loop_text(name: str, dtype: str, isa: str, arity: int, lanes: int) -> str:
    """Return a module whose function ``f`` loops over arrays in whole vectors."""
    target, element, size = host_target(isa), ELEMENTS[dtype], int(dtype[1:]) // 8
    type_, em = vec(element, lanes), Emitter()
    with em.loop(0, "%n", lanes) as loop:
        args = [
            em.load(type_, em.gep(element, f"%x{k}", loop.index), size)
            for k in range(arity)
        ]
        result = emit(em, name, dtype, lanes, args, target)
        em.store(type_, result, em.gep(element, "%out", loop.index), size)
    em.ret()
    names = [*(f"ptr %x{k}" for k in range(arity)), "ptr %out", "i64 %n"]
    function = em.function("f", names)
    return module_text(
        target, em.declarations.values(), [function], em.globals_.values()
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function; both forms keep small results."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, np.ones_like(x)) / (1 + e)


def erf(x: np.ndarray) -> np.ndarray:
    """Return erf in the format of x."""
    if x.dtype == np.float64:
        return np.asarray(scipy.special.erf(x))
    size = np.abs(x)
    near = np.where(size < 1, size, 0)
    term = total = near.copy()
    for n in range(1, 40):
        term = term * near * near * 2 / (2 * n + 1)
        total = total + term
    series = total * np.exp(-near * near) * 2 / np.sqrt(_pi(x))
    result = np.where(size < 1, series, 1 - _erfc_far(size))
    return np.copysign(np.where(np.isnan(x), x, result), x)


def erfc(x: np.ndarray) -> np.ndarray:
    """Return erfc in the format of x."""
    if x.dtype == np.float64:
        return np.asarray(scipy.special.erfc(x))
    near = 1 - erf(np.where(np.abs(x) < 1, x, 0))
    far = _erfc_far(np.abs(x))
    return np.where(np.abs(x) < 1, near, np.where(x < 0, 2 - far, far))


def _pi(x: np.ndarray) -> np.ndarray:
    return 4 * np.arctan(np.ones((), x.dtype))


def _erfc_far(size: np.ndarray) -> np.ndarray:
    """Return erfc for size >= 1 by its continued fraction."""
    size = np.clip(size, 1, 100)
    below = size
    for n in range(400, 0, -1):
        below = size + (n / size.dtype.type(2)) / below
    # The square in two parts, the first exact.
    high = size.astype(np.float32).astype(size.dtype)
    rest = (size - high) * (size + high)
    return np.exp(-high * high) * np.exp(-rest) / (below * np.sqrt(_pi(size)))


REFERENCES: dict[str, Function] = {
    "sigmoid": sigmoid,
    "erf": erf,
    "erfc": erfc,
    "pow": np.power,
}


def reference(name: str, *args: np.ndarray) -> np.ndarray:
    """Return the function in the wider format of its arguments'."""
    dtype = "f32" if args[0].dtype == np.float32 else "f64"
    function = REFERENCES.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        result: np.ndarray = function(*(a.astype(WIDER[dtype]) for a in args))
    return result


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Return the errors in units in the last place of the exact result's format.

    Infinite where one is NaN and the other not, an infinity or the sign of a zero is
    wrong; an overflow is right where the exact result rounds to infinity.
    """
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        finite = np.isfinite(rounded)
        unit = np.spacing(np.abs(np.where(finite, rounded, 1))).astype(want.dtype)
        errors = np.abs(got.astype(want.dtype) - want) / unit
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    errors = np.where(finite & np.isfinite(got), errors, np.where(same, 0, np.inf))
    zeros = (got == 0) & (rounded == 0) & (np.signbit(got) != np.signbit(rounded))
    return np.where(zeros, np.inf, errors).astype(np.float64)


def suspects(got: np.ndarray, want: np.ndarray, bound: float) -> np.ndarray:
    """Return the places of float32 results that may be off by more than a bound.

    `ulps` looks at each case of a result; this passes over those that are surely
    right, several times faster.
    """
    exponents = want.view(np.int64) & np.int64(0x7FF0_0000_0000_0000)
    unit = np.maximum(exponents.view(np.float64), 2.0**-126) * 2.0**-23
    with np.errstate(all="ignore"):
        fine = np.abs(got - want) < bound * unit  # never if that is infinite
    fine &= np.signbit(got) == np.signbit(want)
    if not fine.all():
        fine |= np.isnan(got) & np.isnan(want)
    return np.flatnonzero(~fine)


_INTERESTING = """
    0 1 inf nan 5e-324 1e-310 2.2250738585072014e-308 1.7976931348623157e308 0.5 2
    1e-45 1e-40 1.1754943508222875e-38 3.4028234663852886e38 1e22 3.141592653589793
    709.782712893384 709.7827128933841 745.1332191019411 745.1332191019412 708.3964
    88.72283 88.722839 87.33654 103.97208 103.97209 1.5707963267948966 1024 1074 1075
    1076 128 127.99999 149 150 151 126 710.475 710.4758600739439 710.475860073944
    89.41599 9007199254740992 0.9999999999999999 1.0000000000000002 0.99999994
    1.00000012 6 4 9.1 19.1 27.3 10.06
"""
SPECIAL = np.array(_INTERESTING.split(), dtype=np.float64)
SPECIAL = np.concatenate([SPECIAL, -SPECIAL])
# Where a function of float64 has its interesting values.
RANGES = {
    "exp": (-750, 715),
    "exp2": (-1080, 1030),
    "expm1": (-50, 715),
    "sigmoid": (-750, 50),
    "sinh": (-715, 715),
    "cosh": (-715, 715),
    "log1p": (-1, 10),
    "erf": (-6.5, 6.5),
    "erfc": (-6.5, 28),
    "tanh": (-20, 20),
}


def random_doubles(name: str, count: int) -> np.ndarray:
    """Return doubles of every kind: bit patterns, ranges, near 0 and 1, special."""
    rng = np.random.default_rng(20)
    low, high = RANGES.get(name, (-30, 30))
    signs = rng.choice([-1.0, 1.0], count)
    return np.concatenate(
        [
            rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64),
            rng.uniform(low, high, count),
            rng.uniform(-2, 2, count),
            np.exp(rng.uniform(-40, 3, count)) * signs,
            1 + rng.uniform(-1e-3, 1e-3, count),
            SPECIAL,
        ]
    )


def random_pairs(dtype: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return arguments of a function of two: every pair of special ones, and others."""
    rng = np.random.default_rng(21)
    grid = np.concatenate([SPECIAL, [3.0, -3.0, 1.5, -7.0, 2.0**53 + 2, 7e9]])
    a, b = (part.ravel() for part in np.meshgrid(grid, grid))
    x = [
        rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64),
        rng.uniform(-5, 5, count),
        np.exp(rng.uniform(-20, 20, count)),
        1 + rng.uniform(-1e-3, 1e-3, count),
        rng.uniform(0, 2, count),
    ]
    y = [
        rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64),
        rng.integers(-20, 20, count).astype(np.float64),
        rng.uniform(-40, 40, count),
        rng.uniform(-7e5, 7e5, count),
        rng.uniform(-1000, 1000, count),
    ]
    with np.errstate(all="ignore"):
        first = np.concatenate([a, *x]).astype(DTYPES[dtype])
        second = np.concatenate([b, *y]).astype(DTYPES[dtype])
    return first, second
