"""`tj.debug.nans()`: raise where compiled functions give NaN, and say who made it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .. import config
from ..api import JitFunction, jit
from ..errors import NonFiniteError
from ..tracing.nonfinite import Finding


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


def check(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    infinities: bool = False,
) -> Finding | None:
    """Call a function once; return where NaN in its results comes from, if any is.

    Parameters
    ----------
    fn : callable
        Jitted or not.
    args, kwargs
        Of the call.
    infinities : bool
        Whether results that are inf count, too.
    """
    jitted = fn if isinstance(fn, JitFunction) else jit(fn)
    try:
        with nans(infinities):
            jitted(*args, **kwargs)
    except NonFiniteError as error:
        if not isinstance(error.finding, Finding):
            raise
        return error.finding
    return None
