"""The primitives, one file per family; importing this package fills the registry."""

from . import (
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
