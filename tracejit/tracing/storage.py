"""What tracers are made of: storages that writes replace, and blank shadows."""

import enum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy import empty  # while a trace runs, `np.empty` is a wrapper

from ..ir.aval import ShapedArray
from ..ir.graph import Atom
from ..ir.strided import strided
from ..records import dataclass

if TYPE_CHECKING:
    from .trace import Trace

Array = np.ndarray


class OwnArray(np.ndarray):
    """An array made by tracejit's own rules: a constant without a warning."""


def own(array: Array) -> OwnArray:
    """Mark `array` as made by a tracing rule."""
    return array.view(OwnArray)


class Kind(enum.Enum):
    """What a traced value is to Python."""

    ARRAY = "array"
    SCALAR = "NumPy scalar"
    PYTHON = "Python scalar"


@dataclass(eq=False)
class Storage:
    """Memory of the traced program: a value that writes replace.

    Parameters
    ----------
    home : Trace
    atom : Var or Literal
        The present value of the whole storage.
    known : bool
        The shadows of tracers on it carry real data.
    argument : int
        Index of the argument leaf it is, or -1.
    frozen : str
        Why it cannot be written; empty when it can.
    version : int
        Counts writes.
    depends : frozenset of int
        Argument leaves that decide the known value: Python may be told it once they
        are pinned.
    """

    home: "Trace"
    atom: Atom
    known: bool = False
    argument: int = -1
    frozen: str = ""
    version: int = 0
    depends: frozenset[int] = frozenset()


def blank(aval: ShapedArray, layout: Array | None = None) -> Array:
    """Return an array of the right shape, dtype and strides, without data of its own.

    Only its metadata may be looked at: traced arrays share it.
    """
    if layout is None or layout.flags.c_contiguous:
        return _contiguous(aval)
    return strided(empty(1, aval.dtype), aval.shape, layout.strides)


@lru_cache(maxsize=1 << 12)
def _contiguous(aval: ShapedArray) -> Array:
    if aval.nbytes <= 1 << 10:
        return empty(aval.shape, aval.dtype)
    return strided(empty(1, aval.dtype), aval.shape, contiguous_strides(aval))


def contiguous_strides(aval: ShapedArray) -> tuple[int, ...]:
    """Return the byte strides of a C-contiguous array."""
    strides, step = [], aval.dtype.itemsize
    for n in reversed(aval.shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))
