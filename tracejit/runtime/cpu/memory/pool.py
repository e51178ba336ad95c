"""Large results in memory that was used before.

The system hands out fresh pages cleared, on first touch, which costs about a
microsecond for 4 KiB: more than most kernels take to fill them. So the memory of large
results is remembered, and used again once no array refers to it.

There is no finaliser: the pool holds a reference to the array of bytes that each result
lies in (its `base`), and memory whose only reference is the pool's is free. Views,
memory views and everything else that may look at a result refer to that base too, by
NumPy's own rules, so none of them can see memory change owner. What the pool remembers,
live and free, never exceeds a number of bytes; what it forgets is freed by NumPy when
its last array dies, as ever.

Results start pages. Processors take a load for one of what was just stored if the
addresses have the same last 12 bits; large arrays of NumPy start 16 bytes into a page,
so what a kernel loads from these is always ahead of what it stores.

Needs a Python that counts references under a lock; elsewhere every result is new.
"""

import sys
import threading
import weakref
from collections import deque

import numpy as np

from ....records import dataclass
from ..call import data_pointer

PAGE = 4096
CAPACITY = 256 << 20
_LOOKS = 8  # how many arrays of a size are looked at for one that is free


@dataclass
class Counters:
    """What a pool did: results in memory used before, and in new memory."""

    reused: int = 0
    new: int = 0


class OutputPool:
    """Memory for large results. Safe to use from several threads.

    Parameters
    ----------
    capacity : int
        Bytes that are remembered at most, in use or not.

    Attributes
    ----------
    counters : Counters

    Examples
    --------
    >>> pool = OutputPool()
    >>> first = pool.empty((100, 1000), np.dtype(np.float32))
    >>> address = first.ctypes.data
    >>> del first
    >>> pool.empty((1000, 100), np.dtype(np.int32)).ctypes.data == address
    True
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.counters = Counters()
        self._sizes: dict[int, deque[np.ndarray]] = {}  # least recently used first
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """How many bytes are remembered."""
        return self._bytes

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised C-contiguous array that starts a page.

        Parameters
        ----------
        shape : tuple of int
        dtype : numpy.dtype

        Returns
        -------
        numpy.ndarray
            Writeable, of exactly that type. It does not own its memory
            (``flags.owndata``), its `base` does, so `resize` in place raises
            ValueError.
        """
        nbytes = dtype.itemsize
        for extent in shape:
            nbytes *= extent
        memory = self.memory(room_for(nbytes))
        return np.ndarray(shape, dtype, memory, -data_pointer(memory) % PAGE)

    def clear(self) -> None:
        """Forget all memory."""
        with self._lock:
            self._sizes.clear()
            self._bytes = 0

    def memory(self, size: int) -> np.ndarray:
        """Return bytes for one result, which must become the `base` of its array.

        Parameters
        ----------
        size : int
            From `room_for`.
        """
        with self._lock:
            known = self._sizes.pop(size, None) or deque()
            self._sizes[size] = known  # now the most recently used size
            for _ in range(min(len(known), _LOOKS)):
                memory = known.popleft()
                known.append(memory)
                if _references(memory) == _REMEMBERED and not _is_watched(memory):
                    self.counters.reused += 1
                    return memory
            self.counters.new += 1
        memory = np.empty(size, np.uint8)
        if _IS_COUNTED:
            self._remember(memory)
        return memory

    def _remember(self, memory: np.ndarray) -> None:
        size = memory.nbytes
        if size > self.capacity:
            return
        with self._lock:
            self._sizes.setdefault(size, deque()).append(memory)
            self._bytes += size
            while self._bytes > self.capacity:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        size = next(iter(self._sizes))
        known = self._sizes[size]
        if known:
            known.popleft()
            self._bytes -= size
        else:
            del self._sizes[size]


def room_for(nbytes: int) -> int:
    """Return how many bytes to take for so many that start a page."""
    return (-(-nbytes // PAGE) + 1) * PAGE


def _is_watched(memory: np.ndarray) -> bool:
    """Tell whether a weak reference could bring the array back."""
    return weakref.getweakrefcount(memory) > 0


def _references(memory: np.ndarray) -> int:
    """Return the number of references, with those of this call."""
    return sys.getrefcount(memory)


def _references_if_remembered() -> int:
    """Return what `_references` says of an array that a pool alone remembers."""
    known = deque([np.empty(0)])
    memory = known.popleft()
    known.append(memory)
    return _references(memory)


_IS_COUNTED = (
    sys.implementation.name == "cpython"
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)
_REMEMBERED = _references_if_remembered() if _IS_COUNTED else 0
