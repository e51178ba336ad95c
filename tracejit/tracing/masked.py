"""``x[mask]`` for a traced mask: a selection whose length is known at run time only.

It can be computed with element by element, written back (``x[mask] += 1``) and reduced
(``x[mask].sum()``); it has no shape, so all else raises.
"""

from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import UnsupportedError
from . import ufuncs
from .source import user_line
from .tracer import Tracer

REDUCTIONS = ("sum", "prod", "mean", "any", "all")


def unsupported_mask() -> UnsupportedError:
    """Return the error for uses that need the length of a selection."""
    return UnsupportedError(
        "indexing by a traced boolean mask has a shape that depends on the data",
        source=user_line(),
        hint="use np.where(mask, x, other), a masked reduction such as "
        "np.sum(x, where=mask), or assign through the mask: x[mask] = value",
    )


class Masked(NDArrayOperatorsMixin):
    """The elements of `full` where `mask` is true.

    Parameters
    ----------
    full : Tracer
        Values at every place; those off the mask mean nothing.
    mask : Tracer
        Boolean, of the leading axes of `full`.
    """

    def __init__(self, full: Tracer, mask: Tracer) -> None:
        self.full = full
        self.mask = mask

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> "Masked":
        # In-place operators rebind the name to the result.
        (target,) = kwargs.pop("out", (None,))
        if method != "__call__" or kwargs or ufunc.nout != 1:
            raise unsupported_mask()
        result = ufunc(*(self._operand(x) for x in inputs))
        if target is not None:
            ufuncs.check_out(ufunc, target.full, result, "same_kind")
        return Masked(result, self.mask)

    def _operand(self, x: Any) -> Any:
        if isinstance(x, Masked):
            if x.mask is not self.mask:
                raise unsupported_mask()
            return x.full
        if np.ndim(x) > self.full.ndim - self.mask.ndim:
            raise unsupported_mask()
        return x

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ in REDUCTIONS and len(args) == 1 and not kwargs:
            return self._reduced(func.__name__)
        raise unsupported_mask()

    def _reduced(self, name: str) -> Any:
        if self.mask.ndim != self.full.ndim:
            raise unsupported_mask()
        return getattr(np, name)(self.full, where=self.mask)

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the elements."""
        return self.full.dtype

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        raise unsupported_mask()

    def __getattr__(self, name: str) -> Any:
        if name in REDUCTIONS:
            return lambda: self._reduced(name)
        if hasattr(np.ndarray, name):
            raise unsupported_mask()
        raise AttributeError(name)

    def __len__(self) -> int:
        raise unsupported_mask()

    def __iter__(self) -> NoReturn:
        raise unsupported_mask()

    def __getitem__(self, index: object) -> NoReturn:
        raise unsupported_mask()
