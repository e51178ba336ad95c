"""The extension ``fft`` of the Array API."""

from typing import Any

import numpy as np
from numpy.fft import (
    fft,
    fftn,
    fftshift,
    hfft,
    ifft,
    ifftn,
    ifftshift,
    ihfft,
    irfft,
    irfftn,
    rfft,
    rfftn,
)

from .placing import make

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
    """Return the frequencies of `fft` of length `n`, in cycles per unit of `d`.

    Parameters
    ----------
    n : int
    d : float
        Distance of samples.
    dtype : dtype, optional
        float64, if None.
    device : str or Device, optional
    """
    return _converted(make(np.fft.fftfreq, (n, d), {}, device), dtype)


def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None
) -> Any:
    """Return the frequencies of `rfft` of length `n`; see `fftfreq`."""
    return _converted(make(np.fft.rfftfreq, (n, d), {}, device), dtype)


def _converted(x: Any, dtype: Any) -> Any:
    return x if dtype is None else x.astype(dtype, copy=False)
