"""The primitives, one file per family; importing this package fills the registry."""

from . import (
    callback,
    composite,
    contract,
    control,
    conv,
    custom,
    elementwise,
    fft,
    indexing,
    linalg,
    loops,
    reduce,
    shape,
    sort,
    ufunc,
    window,
)

__all__ = [
    "callback",
    "composite",
    "contract",
    "control",
    "conv",
    "custom",
    "elementwise",
    "fft",
    "indexing",
    "linalg",
    "loops",
    "reduce",
    "shape",
    "sort",
    "ufunc",
    "window",
]
