"""`tj.debug.nans()`: raise where compiled functions give NaN, and say who made it."""

from collections.abc import Iterator
from contextlib import contextmanager

from .. import config


@contextmanager
def nans(infinities: bool = False) -> Iterator[None]:
    """Raise `NonFiniteError` where a compiled function gives NaN, in this block.

    The error names the first of the user's lines that made NaN or inf of finite
    numbers: in the value or in the gradient, in which turn of a loop, for which example
    of a `vmap`, with its operands. To find it the function runs once more, in the
    interpreter, as it was traced; prints and checks do not happen again, callbacks with
    results do. The switch ``nans`` (``TRACEJIT_NANS=nan``) does the same for a process.

    Parameters
    ----------
    infinities : bool
        Raise where results are inf, too.

    Raises
    ------
    NonFiniteError
        By compiled functions; its attribute `finding` has the same as data.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> @tj.jit
    ... def f(x):
    ...     return np.log(x) * x
    >>> with tj.debug.nans():
    ...     f(np.array([0.5, 0.0]))  # doctest: +SKIP
    Traceback (most recent call last):
    tracejit.errors.NonFiniteError: f gave NaN: -inf was first made in ...
    """
    with config.override(nans="inf" if infinities else "nan"):
        yield
