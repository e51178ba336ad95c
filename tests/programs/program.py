"""What a test program is: a plain NumPy function, its arguments and its tolerances.

Needs NumPy alone. Establishes the records that the program modules fill in and that
`registry.py` gathers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

DEFAULT_RTOL32 = 2e-5
DEFAULT_RTOL64 = 1e-12


@dataclass(frozen=True)
class Arguments:
    """One call's positional and keyword arguments."""

    args: tuple[object, ...]
    kwargs: dict[str, object] = field(default_factory=dict)


def arguments(*args: object, **kwargs: object) -> Arguments:
    """Write a call's arguments as in the call itself."""
    return Arguments(args, kwargs)


ArgsBuilder = Callable[[np.random.Generator, np.dtype], Arguments]


@dataclass(frozen=True)
class Program:
    """A NumPy function with a builder of its arguments.

    Attributes
    ----------
    name : str
        Unique name, the test's id.
    fn : callable
        Plain NumPy code; it may write into its arguments and return views of them.
    make_args : callable
        `make_args(rng, dtype)` builds new arguments; the same seed gives equal ones,
        which is how a test gets copies that keep strides and aliasing.
    rtol32, rtol64 : float
        Largest allowed error of a result leaf, relative to the largest magnitude in
        that leaf, in float32 and float64. `test_eager.py` bounds both from below and
        `rtol32` from above by the program's own sensitivity to rounding.
    static_argnames : tuple of str
        Passed on to `jit`.
    """

    name: str
    fn: Callable[..., object]
    make_args: ArgsBuilder
    rtol32: float = DEFAULT_RTOL32
    rtol64: float = DEFAULT_RTOL64
    static_argnames: tuple[str, ...] = ()

    def fresh_args(self, dtype: np.dtype) -> Arguments:
        """Arguments that share nothing with those of any other call, equal values."""
        return self.make_args(np.random.default_rng(20240611), dtype)

    def rtol(self, dtype: np.dtype) -> float:
        """The tolerance for runs on arguments of `dtype`."""
        return self.rtol32 if dtype == np.float32 else self.rtol64


def normal(rng: np.random.Generator, dtype: np.dtype, *shape: int) -> np.ndarray:
    """Standard normal values of `shape` and `dtype`."""
    return rng.standard_normal(shape).astype(dtype)


def uniform(
    rng: np.random.Generator,
    dtype: np.dtype,
    *shape: int,
    low: float = 0.0,
    high: float = 1.0,
) -> np.ndarray:
    """Values of `shape` and `dtype`, uniform in [low, high)."""
    return rng.uniform(low, high, shape).astype(dtype)
