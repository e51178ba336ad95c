"""Reductions as Triton text: of a whole tile, and step by step into an accumulator.

Half types are summed and multiplied in float32 and rounded once. Integers below 32
bits, and booleans, are reduced in int32. Maxima pass NaN on, as NumPy's do.
"""

from dataclasses import dataclass

import numpy as np

from ...ir import dtypes as dt
from .cuts import neutral
from .values import is_real_float, memory_type, number, register_type, rounded

_COMBINE = {
    "mul": "multiply",
    "and": "bit_and",
    "or": "bit_or",
    "argmax": "first_largest",
    "argmin": "first_smallest",
}
_EXTREMUM = {
    ("max", True): "nan_maximum",
    ("min", True): "nan_minimum",
    ("max", False): "larger",
    ("min", False): "smaller",
}


@dataclass(frozen=True)
class Reduction:
    """How one reduction is written.

    Parameters
    ----------
    op : str
        As in the kernel.
    dtype : numpy.dtype
        Of the operand.
    result : numpy.dtype
        Of the result.
    is_empty : bool
        Whether nothing is reduced.
    """

    op: str
    dtype: np.dtype
    result: np.dtype
    is_empty: bool = False

    @property
    def is_arg(self) -> bool:
        """Whether the result is a position."""
        return self.op.startswith("arg")

    @property
    def _op(self) -> str:
        """The operation; booleans add by or and multiply by and, as in NumPy."""
        if self.dtype.kind == "b":
            return {"add": "or", "mul": "and"}.get(self.op, self.op)
        return self.op

    @property
    def state_dtype(self) -> np.dtype:
        """The type of the accumulator."""
        if self.dtype.itemsize >= 4:
            return self.dtype
        return dt.NAME_TO_DTYPE["f32" if is_real_float(self.dtype) else "i32"]

    @property
    def state_type(self) -> str:
        """The Triton type of the accumulator."""
        return memory_type(self.state_dtype)

    @property
    def neutral(self) -> str:
        """The neutral element as a Python number of `state_type`."""
        value = neutral(self._op, self.dtype)
        if self.is_empty and self._op == "add":
            value = 0
        if self.dtype.kind == "b":
            value = int(bool(value))
        elif not is_real_float(self.dtype) and self.dtype.itemsize < 4:
            value = int(value)  # type: ignore[call-overload]
        return number(value, self.state_dtype)

    def widened(self, text: str) -> str:
        """Return an operand in the type of the accumulator."""
        is_same = register_type(self.dtype) == self.state_type
        return text if is_same else f"{text}.to({self.state_type})"

    @property
    def combine(self) -> str:
        """The helper that combines two elements."""
        is_float = is_real_float(self.dtype)
        return _COMBINE.get(self._op) or _EXTREMUM[self._op, is_float]

    def stepped(self, state: str, value: str) -> str:
        """Return the accumulator after one more tile."""
        if self._op == "add":
            return f"{state} + {value}"
        return f"{self.combine}({state}, {value})"

    def over_tile(self, value: str) -> str:
        """Return the reduction of a tile along its last axis, which stays."""
        if self._op == "add":
            return f"tl.sum({value}, 1)[:, None]"
        return f"tl.reduce({value}, 1, {self.combine})[:, None]"

    def finished(self, text: str) -> str:
        """Return a reduced accumulator as the result."""
        if is_real_float(self.dtype):
            # A sum of nothing but -0.0 is 0.0, as NumPy's are.
            total = f"({text} + 0.0)" if self._op == "add" else text
            return rounded(total, self.result)
        if self.result.kind == "b":
            return f"{text} != 0"
        if register_type(self.result) == self.state_type:
            return text
        return f"{text}.to({memory_type(self.result)})"
