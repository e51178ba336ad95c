"""The primitives, one file per family; importing this package fills the registry."""

from . import (
    composite,
    contract,
    control,
    conv,
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
    "composite",
    "contract",
    "control",
    "conv",
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
