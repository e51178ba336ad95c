"""Arrays whose memory is a device's, as everything above the runtime sees them.

Such an array has a *shadow*: a NumPy array of its dtype, shape and strides at its
address on the device. NumPy computes views, overlaps and strides of shadows, as it does
of arrays in its own memory; their elements must never be touched.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np


class Placed:
    """An array on a device; see `tracejit.Array`.

    Parameters
    ----------
    shadow : numpy.ndarray
        Its dtype, shape, strides and address. Its elements are not the host's to touch.
    place : str
        The device: ``cuda:0``.
    """

    __slots__ = ("__weakref__", "place", "shadow")

    def __init__(self, shadow: np.ndarray, place: str) -> None:
        self.shadow, self.place = shadow, place

    @abstractmethod
    def compute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of arrays, compiled for the device; inlined into a trace."""
