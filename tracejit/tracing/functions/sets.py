"""Functions whose results are as long as values say: of known values alone.

`tracejit.numpy` has them with ``size=``, for values that are known at run time only.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ..source import user_line
from ..storage import own
from ..tracer import Tracer
from .registry import implements, lift, normalize_axis


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
        found = fn(v.shadow)
        parts = found if isinstance(found, tuple) else (found,)
        made = [trace.constant(np.asarray(p), born_here=True) for p in parts]
        if not isinstance(found, tuple):
            return made[0]
        return tuple(made) if type(found) is tuple else type(found)(*made)

    return rule


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
    return x[(*(slice(None),) * d, own(np.repeat(np.arange(x.shape[d]), counts)))]
