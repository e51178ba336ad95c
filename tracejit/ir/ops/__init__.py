"""The primitives, one file per family; importing this package fills the registry."""

from . import (
    composite,
    contract,
    control,
    elementwise,
    fft,
    indexing,
    linalg,
    reduce,
    shape,
    sort,
    ufunc,
)

__all__ = [
    "composite",
    "contract",
    "control",
    "elementwise",
    "fft",
    "indexing",
    "linalg",
    "reduce",
    "shape",
    "sort",
    "ufunc",
]
