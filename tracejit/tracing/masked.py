"""``x[mask]`` for a traced mask: a selection whose length is known at run time only.

It can be computed with element by element, written back (``x[mask] += 1``) and reduced
(``x[mask].sum()``); it has no shape, so all else raises.
"""

from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import UnsupportedError
from . import ufuncs
from .functions.checks import require
from .source import user_line
from .tracer import Tracer

REDUCTIONS = ("sum", "prod", "mean", "var", "std", "any", "all")
EXTREMES = ("max", "min")


def unsupported_mask() -> UnsupportedError:
    """Return the error for uses that need the length of a selection."""
    return UnsupportedError(
        "indexing by a traced boolean mask has a shape that depends on the data",
        source=user_line(),
        hint="use np.where(mask, x, other), a masked reduction such as "
        "np.sum(x, where=mask), or assign through the mask: x[mask] = value",
    )


class Masked(NDArrayOperatorsMixin):
    """The elements of `full` where `mask` is true: a copy, as NumPy's selections are.

    Parameters
    ----------
    full : Tracer
        Values at every place; those off the mask mean nothing.
    mask : Tracer
        Boolean, of axes of `full`.
    axis : int
        The first of those.
    """

    def __init__(self, full: Tracer, mask: Tracer, axis: int = 0) -> None:
        self.full = full.copy()
        self.mask = mask.copy()
        self.axis = axis

    def is_of(self, mask: Tracer, axis: int) -> bool:
        """Tell whether this was selected by what `mask` holds now."""
        return self.axis == axis and self.mask.read() is mask.read()

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> "Masked":
        # In-place operators rebind the name to the result.
        (target,) = kwargs.pop("out", (None,))
        is_elementwise = ufunc.nout == 1 and ufunc.signature is None
        if method != "__call__" or kwargs or not is_elementwise:
            raise unsupported_mask()
        result = ufunc(*(self._operand(x) for x in inputs))
        if target is not None:
            ufuncs.check_out(ufunc, target.full, result, "same_kind")
        return Masked(result, self.mask, self.axis)

    def _operand(self, x: Any) -> Any:
        if isinstance(x, Masked):
            if not self.is_of(x.mask, x.axis):
                raise unsupported_mask()
            return x.full
        if np.ndim(x) > self.full.ndim - self.axis - self.mask.ndim:
            raise unsupported_mask()
        return x

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__.removeprefix("a")  # amax, amin
        if name in EXTREMES or func.__name__ in REDUCTIONS:
            return self._reduced(func, *args[1:], **kwargs)
        raise unsupported_mask()

    def _reduced(self, function: Any, axis: Any = None, **kwargs: Any) -> Any:
        """Reduce all axes, or the one that the mask has selected from."""
        if axis not in (None, self.axis) or {"where", "out"} & kwargs.keys():
            raise unsupported_mask()
        sizes, end = self.full.shape, self.axis + self.mask.ndim
        full = self.full.reshape((*sizes[: self.axis], self.mask.size, *sizes[end:]))
        mask = self.mask.reshape((-1,) + (1,) * len(sizes[end:]))
        if function.__name__.removeprefix("a") in EXTREMES and "initial" not in kwargs:
            message = f"zero-size array to reduction operation {function.__name__}"
            require(np.any(mask), f"{message} which has no identity")
            kwargs["initial"] = _least(full, function)
        return function(full, axis=axis, where=mask, **kwargs)

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the elements."""
        return self.full.dtype

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        raise unsupported_mask()

    def __getattr__(self, name: str) -> Any:
        if name in REDUCTIONS or name in EXTREMES:
            return partial(self._reduced, getattr(np, name))
        if hasattr(np.ndarray, name):
            raise unsupported_mask()
        raise AttributeError(name)

    def __len__(self) -> int:
        raise unsupported_mask()

    def __iter__(self) -> NoReturn:
        raise unsupported_mask()

    def __getitem__(self, index: object) -> NoReturn:
        raise unsupported_mask()


def _least(x: Tracer, function: Any) -> Any:
    """What no element is beyond: where an extreme starts."""
    if x.dtype.kind == "b":
        return function.__name__.endswith("min")
    if x.dtype.kind in "iu":
        info = np.iinfo(x.dtype)
        return info.max if function.__name__.endswith("min") else info.min
    return np.inf if function.__name__.endswith("min") else -np.inf
