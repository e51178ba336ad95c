"""The primitives, one file per family; importing this package fills the registry."""

from . import (
    composite,
    contract,
    control,
    conv,
    custom,
    elementwise,
    fft,
    indexing,
    linalg,
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
    "custom",
    "elementwise",
    "fft",
    "indexing",
    "linalg",
    "reduce",
    "shape",
    "sort",
    "ufunc",
    "window",
]
