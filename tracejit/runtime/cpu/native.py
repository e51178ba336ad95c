"""A compiled Program that can be called with arrays, whoever compiled it and when.

Needs machine code with the host function, and an `Interface` that says what it takes
and gives. A call checks the inputs, allocates the outputs, takes an arena and calls the
host function without the GIL, so that calls from several threads run at once. What an
error word means is known to those who know the Program: they say it in `_error`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from ...errors import InternalError
from ...records import dataclass
from .arena import ArenaPool, aligned_empty
from .call import NativeFunction, data_pointer
from .memory.pool import OutputPool

# From these sizes on, results are worth aligning to whole cache lines, and worth memory
# that was used before.
_ALIGN_FROM = 4096
_POOL_FROM = 1 << 16
OUTPUTS = OutputPool()

Allocator: TypeAlias = Callable[[tuple[int, ...], np.dtype], np.ndarray]
Layout: TypeAlias = tuple[np.dtype, tuple[int, ...], tuple[int, ...]]


class Loaded(Protocol):
    """Machine code in this process, as long as it lives."""

    def address(self, symbol: str) -> int:
        """Return the address of a function."""
        ...


@dataclass(frozen=True)
class Interface:
    """What the host function of a Program takes and gives.

    Parameters
    ----------
    name : str
        Of the Program.
    symbol : str
        Of its host function.
    inputs : tuple of (numpy.dtype, tuple of int, tuple of int)
        Dtype, shape, and strides in bytes.
    outputs : tuple of (numpy.dtype, tuple of int, tuple of int)
        The same.
    donors : mapping of int to int
        The results in the memory of an input: result to input.
    arena_bytes : int
    error_offset : int
        Bytes from the arena's start to the error word of kernels.
    is_short : bool
        Whether it runs alone, and for no longer than letting others run pays.
    """

    name: str
    symbol: str
    inputs: tuple[Layout, ...]
    outputs: tuple[Layout, ...]
    donors: Mapping[int, int]
    arena_bytes: int
    error_offset: int
    is_short: bool

    @property
    def input_strides(self) -> list[tuple[int, ...]]:
        """Strides of the inputs in elements."""
        return [
            tuple(n // dtype.itemsize for n in strides)
            for dtype, _, strides in self.inputs
        ]


class NativeProgram(ABC):
    """Machine code of a Program, and how it is called.

    Parameters
    ----------
    interface : Interface
    code : Loaded
        With the host function.
    """

    def __init__(self, interface: Interface, code: Loaded) -> None:
        self.interface = interface
        self._function = NativeFunction(code.address(interface.symbol), owner=code)
        self._arenas = ArenaPool(interface.arena_bytes)
        self._expected = interface.inputs
        self._outputs = [
            Result(np.empty, shape, dtype, None)
            if k in interface.donors
            else _output(dtype, shape, strides)
            for k, (dtype, shape, strides) in enumerate(interface.outputs)
        ]
        self._donors = interface.donors

    @abstractmethod
    def _error(self, word: int, arena: int) -> BaseException:
        """Return the exception that an error word stands for."""

    @abstractmethod
    def memory_error(self) -> MemoryError:
        """Return the exception for a call that gets no memory."""

    def memory(self, size: int) -> np.ndarray:
        """Return the memory of one large result; see `OutputPool.memory`.

        Raises
        ------
        CallMemoryError
            If there is none.
        """
        try:
            return OUTPUTS.memory(size)
        except MemoryError as error:
            raise self.memory_error() from error

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the program once.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray
            Of the dtypes, shapes and strides that the program was compiled for.

        Returns
        -------
        list of numpy.ndarray
            The results: new arrays, of rank 0 for scalars, and for those in the memory
            of an input an array of that memory.

        Raises
        ------
        InternalError
            If an input has another layout.
        IndexRangeError
            If an index that is known at run time only is out of range.
        numpy.linalg.LinAlgError
            For a matrix that is singular or not positive definite.
        CallMemoryError
            If there is no memory for results and temporaries.
        """
        self._check(inputs)
        outs = self.run_at([data_pointer(x) for x in inputs])
        return [
            inputs[self._donors[k]].view(np.ndarray).reshape(self._outputs[k].shape)
            if out is None
            else out
            for k, out in enumerate(outs)
        ]

    def run_at(self, addresses: Sequence[int]) -> list[np.ndarray | None]:
        """Run the program once, on inputs that are known to fit.

        Parameters
        ----------
        addresses : sequence of int
            Of the first element of each input, which the caller keeps alive.

        Returns
        -------
        list of (numpy.ndarray or None)
            None for what lies in the memory of an input.

        Raises
        ------
        IndexRangeError, numpy.linalg.LinAlgError, CallMemoryError
            As `run`.
        """
        try:
            outputs = [
                None if k in self._donors else result.new()
                for k, result in enumerate(self._outputs)
            ]
            arena = self._arenas.acquire()
        except MemoryError as refused:
            raise self.memory_error() from refused
        places = [*addresses, *(0 if x is None else data_pointer(x) for x in outputs)]
        word = self._function.at(places, arena.address)
        if word:
            error = self._error(int(word), arena.address)
            self._arenas.release(arena)
            raise error
        self._arenas.release(arena)
        return outputs

    def _check(self, inputs: Sequence[np.ndarray]) -> None:
        if len(inputs) != len(self._expected):
            raise InternalError(f"{len(inputs)} inputs for {len(self._expected)}")
        rows = zip(inputs, self._expected, strict=True)
        for number, (array, (dtype, shape, strides)) in enumerate(rows):
            if array.dtype != dtype or array.shape != shape:
                raise self._mismatch(number, array)
            if array.strides != strides and not _same_strides(array, strides):
                raise self._mismatch(number, array)
            if not array.flags.aligned:
                raise InternalError(
                    f"input {number} of {self.interface.name} is not aligned",
                    hint="pass a copy of it",
                )

    def _mismatch(self, number: int, array: np.ndarray) -> InternalError:
        dtype, shape, strides = self._expected[number]
        return InternalError(
            f"input {number} of {self.interface.name} is {array.dtype}{array.shape} "
            f"with strides {array.strides}; it was compiled for {dtype}{shape} with "
            f"strides {strides}"
        )

    # For callers in machine code

    @property
    def address(self) -> int:
        """Where the host function is."""
        return self._function.address

    @property
    def arenas(self) -> ArenaPool:
        """Memory for calls."""
        return self._arenas

    @property
    def results(self) -> Sequence["Result"]:
        """How each result is made."""
        return self._outputs

    @property
    def donors(self) -> Mapping[int, int]:
        """The results in the memory of an input: result to input."""
        return self._donors

    @property
    def pool(self) -> OutputPool:
        """Memory of large results, whose allocator is its `empty`."""
        return OUTPUTS

    @property
    def is_short(self) -> bool:
        """Whether it runs alone, and for no longer than letting others run pays."""
        return self.interface.is_short

    def raise_error(self, word: int, arena: int) -> None:
        """Raise what an error word says."""
        raise self._error(word, arena)


@dataclass(frozen=True)
class Result:
    """How a new array is made for a result.

    Parameters
    ----------
    allocate : callable
        ``(shape, dtype) -> numpy.ndarray``, C-contiguous.
    shape : tuple of int
        The extents as they lie in memory, outermost first.
    dtype : numpy.dtype
    axes : tuple of int, optional
        Where in `shape` each axis of the result is, if they do not lie in C order.
    """

    allocate: Allocator
    shape: tuple[int, ...]
    dtype: np.dtype
    axes: tuple[int, ...] | None

    def new(self) -> np.ndarray:
        """Return a new array."""
        made = self.allocate(self.shape, self.dtype)
        return made if self.axes is None else made.transpose(self.axes)


def _output(dtype: np.dtype, shape: Sequence[int], strides: Sequence[int]) -> Result:
    """Return how a result of a layout is made."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    order = sorted(range(len(shape)), key=lambda d: (-strides[d], d))
    in_place = tuple(np.argsort(order).tolist())
    axes = in_place if size and order != [*range(len(shape))] else None
    inner = tuple(shape[d] for d in order) if axes else tuple(shape)
    if size >= _POOL_FROM:
        return Result(OUTPUTS.empty, inner, dtype, axes)
    return Result(
        aligned_empty if size >= _ALIGN_FROM else np.empty, inner, dtype, axes
    )


def _same_strides(array: np.ndarray, strides: Sequence[int]) -> bool:
    """Tell whether strides agree where they matter."""
    rows = zip(array.shape, array.strides, strides, strict=True)
    return 0 in array.shape or all(n == 1 or a == b for n, a, b in rows)
