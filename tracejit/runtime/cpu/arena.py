"""The memory of a call: arenas for temporaries, aligned arrays for results.

Each call of an executable takes an arena from the executable's pool and gives it back,
so concurrent and re-entrant calls never share temporaries, and calls in a row reuse
memory that is already mapped. Needs NumPy alone; establishes the alignment that
kernels count on.
"""

from collections import deque

import numpy as np

from ...errors import InternalError
from ...records import dataclass
from .call import data_pointer

ALIGNMENT = 64
_KEPT = 8


@dataclass(frozen=True, eq=False)
class Arena:
    """Memory that one call owns while it runs.

    Parameters
    ----------
    address : int
        Aligned start; never 0, so also an empty arena is a valid pointer.
    buffer : numpy.ndarray
        The bytes it lies in, which it keeps alive.
    """

    address: int
    buffer: np.ndarray


class ArenaPool:
    """Arenas of one size, kept for reuse.

    Appending to and popping from a `deque` are atomic in Python, so no lock is needed.
    Contents are neither cleared nor kept between calls.

    Parameters
    ----------
    nbytes : int
        Bytes of an arena, 0 or more.
    alignment : int
        Of the start, in bytes; a power of two.
    kept : int
        How many free arenas are kept at most. More live while more calls run at once.

    Raises
    ------
    InternalError
        If a size is negative or the alignment is not a power of two.

    Examples
    --------
    >>> pool = ArenaPool(1000)
    >>> arena = pool.acquire()
    >>> arena.address % 64
    0
    >>> pool.release(arena)
    >>> pool.acquire() is arena
    True
    """

    __slots__ = ("_free", "alignment", "nbytes")

    def __init__(
        self, nbytes: int, alignment: int = ALIGNMENT, kept: int = _KEPT
    ) -> None:
        if nbytes < 0 or kept < 0:
            raise InternalError(f"arena of {nbytes} bytes, {kept} kept: below 0")
        self.nbytes = nbytes
        self.alignment = _checked(alignment)
        self._free: deque[Arena] = deque(maxlen=kept)

    def acquire(self) -> Arena:
        """Return an arena that nobody else has, a free one if there is."""
        try:
            return self._free.pop()
        except IndexError:
            return self._new()

    def release(self, arena: Arena) -> None:
        """Give an arena back; its memory may be reused at once."""
        self._free.append(arena)

    def clear(self) -> None:
        """Forget the free arenas."""
        self._free.clear()

    def _new(self) -> Arena:
        buffer = np.empty(self.nbytes + self.alignment, np.uint8)
        start = data_pointer(buffer)
        return Arena(start + -start % self.alignment, buffer)


def aligned_empty(
    shape: tuple[int, ...], dtype: np.dtype, alignment: int = ALIGNMENT
) -> np.ndarray:
    """Return an uninitialised C-contiguous array whose data start aligned.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    alignment : int
        In bytes; a power of two.

    Returns
    -------
    numpy.ndarray
        Of exactly that type, writeable; its `base` owns the memory.

    Raises
    ------
    InternalError
        If the alignment is not a power of two.

    Examples
    --------
    >>> aligned_empty((3, 5), np.dtype(np.float32)).ctypes.data % 64
    0
    """
    nbytes = dtype.itemsize
    for extent in shape:
        nbytes *= extent
    memory = np.empty(nbytes + _checked(alignment), np.uint8)
    start = data_pointer(memory)
    return np.ndarray(shape, dtype, memory, -start % alignment)


def _checked(alignment: int) -> int:
    if alignment < 1 or alignment & (alignment - 1):
        raise InternalError(f"alignment {alignment} is not a power of two")
    return alignment
