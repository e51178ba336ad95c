"""Functions whose results are as long as values say: of known values alone.

`tracejit.numpy` has them with ``size=``, for values that are known at run time only.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ..source import user_line
from ..storage import own
from ..trace import Trace
from ..tracer import Tracer
from ..ufuncs import unsupported
from .registry import implements, lift, normalize_axis, shadows, tracers_in


def _of_known(fn: Callable[..., Any], hint: str) -> Callable[..., Any]:
    def rule(x: Any, /) -> Any:
        trace, (v,) = lift(x)
        if not v.is_known:
            raise UnsupportedError(
                f"np.{fn.__name__} of a traced {v.aval} has a shape that depends on "
                "the data",
                source=user_line(),
                hint=hint,
            )
        return _constants(trace, fn(v.shadow))

    return rule


def _constants(trace: Trace, found: Any) -> Any:
    """One array, or a tuple of arrays of some type, in the trace."""
    parts = found if isinstance(found, tuple) else (found,)
    made = [trace.constant(np.asarray(p), born_here=True) for p in parts]
    if not isinstance(found, tuple):
        return made[0]
    return tuple(made) if type(found) is tuple else type(found)(*made)


def _sized(name: str) -> str:
    return (
        f"tracejit.numpy.{name}(x, size=n) keeps the first n and fills up what is "
        "missing; a masked reduction or np.where may need none of it"
    )


implements(np.nonzero)(_of_known(np.nonzero, _sized("nonzero")))
implements(np.unique_all)(_of_known(np.unique_all, _sized("unique_all")))
implements(np.unique_counts)(_of_known(np.unique_counts, _sized("unique_counts")))
implements(np.unique_inverse)(_of_known(np.unique_inverse, _sized("unique_inverse")))
implements(np.unique_values)(_of_known(np.unique_values, _sized("unique_values")))

# Those that `tracejit.numpy` has no counted form of.
_ALTERNATIVES: dict[Any, str] = {
    np.argwhere: "np.where(mask, a, b), or indices computed outside of the function",
    np.flatnonzero: "np.where(mask, a, b), or indices computed outside of the function",
    np.extract: "np.where(condition, x, other), or np.sum(x, where=condition)",
    np.trim_zeros: "slices of a known length",
    np.union1d: "np.isin, which gives a mask of known shape",
    np.intersect1d: "np.isin, which gives a mask of known shape",
    np.setdiff1d: "np.isin, which gives a mask of known shape",
    np.setxor1d: "np.isin, which gives a mask of known shape",
    np.unique: "np.sort, or np.bincount(x, minlength=n)",
}


def _of_known_values(fn: Callable[..., Any], alternative: str) -> Callable[..., Any]:
    def rule(*args: Any, **kwargs: Any) -> Any:
        trace, _ = lift(*args)
        if not all(x.is_known for x in tracers_in((*args, *kwargs.values()))):
            raise unsupported(
                f"np.{fn.__name__} of traced values, whose result has a shape that "
                "depends on the data,",
                alternative,
            )
        return _constants(trace, fn(*shadows(list(args)), **shadows(kwargs)))

    return rule


for _function, _alternative in _ALTERNATIVES.items():
    implements(_function)(_of_known_values(_function, _alternative))


def _repeated(x: Any, axis: int, times: int) -> Any:
    """Return each element along an axis so many times: a view of one axis more."""
    outer, inner = x.shape[: axis + 1], x.shape[axis + 1 :]
    one = x.reshape(*outer, 1, *inner)
    every = np.broadcast_to(one, (*outer, times, *inner))
    return every.reshape(*outer[:-1], outer[-1] * times, *inner)


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Each element as often as is known when the function is compiled."""
    _, (x,) = lift(a)
    if isinstance(repeats, Tracer):
        if not repeats.is_known:
            raise UnsupportedError(
                "np.repeat by traced counts has a shape that depends on the data",
                source=user_line(),
                hint="give the counts as a Python int, or as an array that is made in "
                "the function; or gather: x[i], i = np.searchsorted(np.cumsum(counts), "
                "np.arange(n), side='right')",
            )
        repeats = repeats.shadow
    if axis is None:
        x, axis = x.reshape(-1), 0
    d = normalize_axis(axis, x.ndim)
    counts = np.broadcast_to(np.asarray(repeats), (x.shape[d],))
    if counts.size and counts.min() == counts.max() >= 0:
        return _repeated(x, d, int(counts[0])).copy()
    return np.take(x, own(np.repeat(np.arange(x.shape[d]), counts)), d)
