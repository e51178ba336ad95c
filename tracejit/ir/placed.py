"""Arrays that are not NumPy's: traced ones, and those in the memory of a device.

Each has a *shadow*, a NumPy array of its dtype, shape and strides: NumPy computes views
and overlaps of shadows as of any array. That of an array on a device is at its address
there, and its elements must never be touched.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def namespace(api_version: str | None = None) -> ModuleType:
    """Return `tracejit.numpy`, for ``__array_namespace__``; loaded when first needed.

    Raises
    ------
    ValueError
        For versions of the Array API that it does not follow.
    """
    if api_version is not None and api_version not in API_VERSIONS:
        raise ValueError(
            f"tracejit.numpy follows the Array API {API_VERSIONS[-1]}, not "
            f"{api_version!r}"
        )
    return import_module("tracejit.numpy")


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
    device: Any  # the `tj.Device`

    def __init__(self, shadow: np.ndarray, place: str) -> None:
        self.shadow, self.place = shadow, place

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        return namespace(api_version)

    def numpy(self) -> np.ndarray:
        """Return a copy in the host's memory."""
        raise NotImplementedError

    def compute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of arrays, compiled for the device; inlined into a trace."""
