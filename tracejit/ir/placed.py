"""Arrays that are not NumPy's: traced ones, and those in the memory of a device.

Each has a *shadow*, a NumPy array of its dtype, shape and strides: NumPy computes views
and overlaps of shadows as of any array. That of an array on a device is at its address
there, and its elements must never be touched.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


class Shadowed:
    """What NumPy's attributes say of an array, read off its shadow.

    Parameters
    ----------
    shadow : numpy.ndarray
        Its dtype, shape and strides.
    """

    __slots__ = ("shadow",)
    shadow: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the axes."""
        return self.shadow.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the elements."""
        return self.shadow.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.shadow.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.shadow.size

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.shadow.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.shadow.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        return self.shadow.strides

    @property
    def flags(self) -> Any:
        """Whether it is contiguous, and may be written."""
        return self.shadow.flags


class Placed(Shadowed):
    """An array on a device; see `tracejit.Array`.

    Parameters
    ----------
    shadow : numpy.ndarray
        Its dtype, shape, strides and address. Its elements are not the host's to touch.
    place : str
        The device: ``cuda:0``.
    """

    __slots__ = ("__weakref__", "place")

    def __init__(self, shadow: np.ndarray, place: str) -> None:
        self.shadow, self.place = shadow, place

    def compute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of arrays, compiled for the device; inlined into a trace."""
