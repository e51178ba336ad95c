"""Abstract values: what the compiler knows of an array before it has data."""

from math import prod
from typing import ClassVar

import numpy as np

from .dtypes import DTYPE_TO_NAME

Shape = tuple[int, ...]


class ShapedArray:
    """Shape and dtype of an array; interned, so equal avals are the same object.

    Parameters
    ----------
    shape : tuple of int
        Extents, outermost first.
    dtype : numpy.dtype
        One of `tracejit.ir.dtypes`.

    Examples
    --------
    >>> ShapedArray((2, 3), np.dtype("float32"))
    f32[2,3]
    """

    __slots__ = ("_text", "dtype", "shape", "size")
    shape: Shape
    dtype: np.dtype
    size: int
    _text: str
    _interned: ClassVar[dict[tuple[Shape, np.dtype], "ShapedArray"]] = {}

    def __new__(cls, shape: Shape, dtype: np.dtype) -> "ShapedArray":
        """Return the one aval of this shape and dtype."""
        key = (shape, dtype)
        found = cls._interned.get(key)
        if found is not None:
            return found
        self = super().__new__(cls)
        shape = tuple(int(n) for n in shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)
        object.__setattr__(self, "size", prod(shape))
        dims = ",".join(str(n) for n in shape)
        object.__setattr__(self, "_text", f"{DTYPE_TO_NAME[dtype]}[{dims}]")
        return cls._interned.setdefault((shape, dtype), self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"aval is frozen; cannot set {name}")

    def __reduce__(self) -> tuple[type, tuple[Shape, np.dtype]]:
        return ShapedArray, (self.shape, self.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a dense array of this shape and dtype."""
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Shape) -> "ShapedArray":
        """Return the aval of the same dtype and another shape."""
        return ShapedArray(shape, self.dtype)

    def with_dtype(self, dtype: np.dtype) -> "ShapedArray":
        """Return the aval of the same shape and another dtype."""
        return ShapedArray(self.shape, dtype)

    def __repr__(self) -> str:
        return self._text
