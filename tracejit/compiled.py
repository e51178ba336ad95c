"""Compiled code of one signature: what feeds it, and how results are made of its own.

The last of the stages; see `stages` for those before it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .debugging import Shown, debug_module
from .donation import overwrite
from .errors import ShapeError
from .ir.strided import raw_dtype
from .runtime.cpu.call import data_pointer
from .runtime.overlap import byte_range, has_hazard
from .tracing.record import OutputLeaf, Recording, StaticLeaf, ViewLeaf
from .tracing.storage import Kind
from .tracing.tree import unflatten

if TYPE_CHECKING:
    from .kernels.kernel import Kernel
    from .runtime.cuda.device import Device
    from .stages import Lowered, Stored


class Compiled(Shown):
    """Machine code for one signature.

    Called with the argument leaves of a call; gives the function's result.

    Attributes
    ----------
    device : Device, optional
        Where it runs; the CPU if there is none.
    """

    device: "Device | None" = None

    def __init__(self, stage: "Lowered | Stored", executable: Any) -> None:
        self._stage = stage
        self.recording = stage.recording
        self.executable = executable
        self.timings = {**stage.timings, **executable.timings}
        avals = self.recording.graph.in_avals
        self.feeds = tuple(
            (feed, aval.dtype)
            for feed, aval in zip(self.recording.inputs, avals, strict=True)
        )
        self._captures = self.recording.captures
        self._are_current = [c.is_current for c in self._captures]
        self._are_current += [c.is_current for c in self.recording.constants]
        self._new_arrays = _new_arrays(self.recording)
        self._is_one_leaf = self.recording.spec.kind is None
        self._lost = stage.lost
        self.donors = {
            output: leaf
            for output, k in executable.donors.items()
            if isinstance(leaf := self.recording.inputs[k], int)
        }

    @property
    def is_stored(self) -> bool:
        """Whether the code was on disk, so that nothing was lowered to make it."""
        return self._stage.is_stored

    @cached_property
    def lowered(self) -> "Lowered":
        """The stage before this one, made now if the code was on disk."""
        return self._stage.as_lowered()

    @property
    def kernels(self) -> tuple["Kernel", ...]:
        """The kernels, in the order they run."""
        return self.lowered.kernels

    def as_text(self) -> str:
        """Return the LLVM module."""
        text: str = self.executable.as_text()
        return text

    def explain(self) -> Any:
        """Return what the compiler did, and why: a `tracejit.debug.Explanation`."""
        return debug_module("explanation").explain(self)

    def view(self, path: Any = None) -> Any:
        """Return a page that shows every level; see `Lowered.view`."""
        return debug_module("page.page").view(self, path)

    @cached_property
    def written_leaves(self) -> tuple[int, ...]:
        """The leaves that a call may write to."""
        written = (leaf for leaf, _ in self.recording.writes)
        return tuple(dict.fromkeys((*written, *self.donors.values())))

    @property
    def changes_arguments(self) -> bool:
        """Whether a call writes into what it was given."""
        return bool(self.written_leaves or self._lost or self.recording.changes)

    def captures_current(self) -> bool:
        """Tell whether every captured array and constant is where it was found."""
        return all(is_current() for is_current in self._are_current)

    def writes_overlap(self, leaves: list[Any]) -> bool:
        """Tell whether an argument that is written shares memory with another array."""
        if not self.written_leaves:
            return False
        written = {id(leaves[i]) for i in self.written_leaves}
        arguments = {id(x): x for x in leaves if isinstance(x, np.ndarray)}
        captured = [c.array for c in self._captures]
        return has_hazard(
            (data_pointer(x) + first, data_pointer(x) + end, is_written)
            for x, is_written in (
                *((x, i in written) for i, x in arguments.items()),
                *((x, False) for x in captured),
            )
            for first, end in [byte_range(x)]
        )

    def __call__(self, leaves: list[Any]) -> Any:
        """Run on a call's argument leaves and return the function's result."""
        for i in self.written_leaves:
            if not leaves[i].flags.writeable:
                raise ValueError("assignment destination is read-only")
        inputs = [
            as_input(leaves[feed] if isinstance(feed, int) else feed.array, dtype)
            for feed, dtype in self.feeds
        ]
        return self.finish(leaves, self.executable.run(inputs))

    def finish(self, leaves: Sequence[Any], outs: Sequence[np.ndarray | None]) -> Any:
        """Write back what was written, and return the function's result.

        Parameters
        ----------
        leaves : sequence
            Of the call.
        outs : sequence of numpy.ndarray
            None for those that lie in the memory of a leaf.
        """
        outs = self._found(leaves, outs)
        for leaf, out in self.recording.writes:
            if data_pointer(leaves[leaf]) != data_pointer(outs[out]):
                np.copyto(leaves[leaf], outs[out])
        for leaf in self._lost:
            overwrite(leaves[leaf])
        results: list[Any]
        if self._new_arrays is not None:
            results = [outs[i] for i in self._new_arrays]
        else:
            results = [make_result(r, leaves, outs) for r in self.recording.results]
        if self._is_one_leaf:
            return results[0]
        return unflatten(self.recording.spec, results)

    def _found(
        self, leaves: Sequence[Any], outs: Sequence[np.ndarray | None]
    ) -> list[np.ndarray]:
        """Return all outputs, with those that lie in the memory of leaves."""
        avals = self.recording.graph.out_avals
        return [
            within(leaves[self.donors[k]], avals[k].shape) if out is None else out
            for k, out in enumerate(outs)
        ]

    @property
    def makes_results(self) -> bool:
        """Whether there is nothing to do after a call but to make its results."""
        return not self._lost


def within(memory: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a new array of another's memory, with a shape of as many elements."""
    return memory.view(np.ndarray).reshape(shape)


def _new_arrays(recording: Recording) -> list[int] | None:
    """Return the outputs that are the results, when results are new arrays alone."""
    found = [
        r.index
        for r in recording.results
        if isinstance(r, OutputLeaf) and r.kind is Kind.ARRAY
    ]
    return found if len(found) == len(recording.results) else None


def is_passed_as_is(x: np.ndarray) -> bool:
    """Tell whether machine code can read an array where it lies."""
    return x.flags.aligned and not any(s % x.itemsize for s in x.strides)


def as_input(x: Any, dtype: np.dtype) -> np.ndarray:
    """Return what the program reads: the array, or a copy where it cannot be."""
    if isinstance(x, np.ndarray):
        return x if is_passed_as_is(x) else np.array(x)
    try:
        return np.asarray(x, dtype)
    except OverflowError as error:
        raise ShapeError(f"the integer {x} does not fit {dtype}") from error


class _Memory:
    """Presents memory of `base` to NumPy with another offset, shape and strides."""

    def __init__(self, base: np.ndarray, leaf: ViewLeaf) -> None:
        self.base = base
        assert leaf.dtype is not None
        interface = dict(base.__array_interface__)
        address, read_only = interface["data"]
        interface.update(
            data=(address + leaf.offset, read_only or not leaf.writeable),
            shape=leaf.shape,
            strides=leaf.strides,
            typestr=raw_dtype(leaf.dtype).str,
        )
        self.__array_interface__ = interface


def make_result(leaf: Any, leaves: Sequence[Any], outs: list[np.ndarray]) -> Any:
    """Return one result leaf of a call."""
    if isinstance(leaf, StaticLeaf):
        return leaf.value
    if isinstance(leaf, OutputLeaf):
        out = outs[leaf.index]
        if leaf.kind is Kind.ARRAY:
            return out
        return out[()] if leaf.kind is Kind.SCALAR else out.item()
    base = leaves[leaf.argument] if leaf.argument >= 0 else outs[leaf.output]
    if leaf.whole:
        return base
    view = np.asarray(_Memory(base, leaf))
    return view if view.dtype == leaf.dtype else view.view(leaf.dtype)
