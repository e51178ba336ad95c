"""Calls of compiled code on a device: what goes there, and what comes back.

Arrays that are there are passed by their addresses; NumPy's are copied there, and all
numbers of a call in one copy. What the function writes to is copied back.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import Compiled, as_input, make_result, within
from .ir.placed import Placed
from .records import dataclass
from .runtime.cpu.call import data_pointer
from .runtime.cuda.array import Array, lose
from .runtime.cuda.copies import aligned_copy, copy_on_device
from .runtime.cuda.device import Device
from .runtime.cuda.executable import CudaExecutable
from .runtime.cuda.memory import Allocation
from .runtime.cuda.shadow import memory_of, set_mark, uploaded
from .tracing.capture import CapturedArray
from .tracing.record import OutputLeaf, ResultLeaf, StaticLeaf
from .tracing.storage import Kind
from .tracing.tree import unflatten

if TYPE_CHECKING:
    from .stages import Lowered

ALIGNMENT = 16  # bytes; kernels count on it for what they are passed
_SLOT = 16  # bytes of a number in the block of a call's numbers


@dataclass(frozen=True)
class Numbers:
    """Numbers of a call on a device.

    Parameters
    ----------
    places : list of int
        The address of each.
    owner : Allocation, optional
        What keeps them.
    """

    places: list[int]
    owner: Allocation | None


class DeviceCompiled(Compiled):
    """Machine code for one signature on one device.

    Called with the leaves of a call as they were given.
    """

    def __init__(self, lowered: "Lowered", device: Device) -> None:
        super().__init__(lowered, CudaExecutable(lowered.program, device))
        self.device: Device = device
        avals = self.recording.graph.in_avals
        self._numbers = [
            (k, feed, dtype)
            for k, (feed, dtype) in enumerate(self.feeds)
            if isinstance(feed, int) and not avals[k].ndim
        ]

    def writes_overlap(self, leaves: list[Any]) -> bool:
        """Tell whether an argument that is written shares memory with another array."""
        return super().writes_overlap(_shadows(leaves))

    def __call__(self, leaves: list[Any]) -> Any:
        """Run on a call's argument leaves and return the function's result."""
        shadows = _shadows(leaves)
        for i in self.written_leaves:
            if not shadows[i].flags.writeable:
                raise ValueError("assignment destination is read-only")
        kept: list[object] = []  # until the work is asked for
        shadows = self._inputs(leaves, kept)
        addresses = [x if isinstance(x, int) else data_pointer(x) for x in shadows]
        outs = self.executable.run_at(addresses)
        self._take_copies(leaves, shadows, outs)
        result = self.finish(leaves, outs)
        self.lose(leaves)
        return result

    def _take_copies(
        self,
        leaves: list[Any],
        inputs: Sequence[np.ndarray | int],
        outs: list[np.ndarray | None],
    ) -> None:
        """Put in the results that lie in the copies of inputs, not in those."""
        given = _shadows(leaves)
        for k, leaf in self.donors.items():
            used = inputs[self.recording.inputs.index(leaf)]
            assert not isinstance(used, int)
            if used is not given[leaf]:
                outs[k] = within(used, self.recording.graph.out_avals[k].shape)

    def lose(self, leaves: Sequence[Any]) -> None:
        """Have nobody use the arrays that a call gave away."""
        for i in self._lost:
            if isinstance(leaves[i], Array):
                lose(leaves[i])

    # Inputs

    def _inputs(self, leaves: list[Any], kept: list[object]) -> list[np.ndarray | int]:
        """Return the shadow of each input on the device, or the address of a number."""
        own = [row for row in self._numbers if not isinstance(leaves[row[1]], Placed)]
        numbers = self.numbers([leaves[i] for _, i, _ in own], [d for *_, d in own])
        kept.append(numbers)
        places = {k: at for (k, *_), at in zip(own, numbers.places, strict=True)}
        out: list[np.ndarray | int] = []
        for k, (feed, dtype) in enumerate(self.feeds):
            if k in places:
                out.append(places[k])
                continue
            shadow = self._placed(leaves, feed, dtype)
            out.append(shadow)
        return out

    def numbers(self, values: Sequence[Any], dtypes: Sequence[np.dtype]) -> Numbers:
        """Copy the numbers of a call to the device, all at once."""
        if not values:
            return Numbers([], None)
        block = np.zeros((len(values), _SLOT), np.uint8)
        for row, value, dtype in zip(block, values, dtypes, strict=True):
            row[: dtype.itemsize] = np.frombuffer(
                as_input(value, dtype).tobytes(), np.uint8
            )
        owner = self.device.upload(block, "numbers of a call")
        places = [owner.address + _SLOT * n for n in range(len(values))]
        return Numbers(places, owner)

    def _placed(
        self, leaves: list[Any], feed: int | CapturedArray, dtype: np.dtype
    ) -> np.ndarray:
        """Return the shadow of an input that is there, or is copied there."""
        if isinstance(feed, CapturedArray):
            is_placed, x = isinstance(feed.owner, Placed), feed.array
        else:
            is_placed, x = isinstance(leaves[feed], Placed), leaves[feed]
            x = x.shadow if is_placed else x
        if not is_placed:
            return uploaded(self.device, as_input(x, dtype), "an argument")
        is_aligned = data_pointer(x) % ALIGNMENT == 0
        return x if is_aligned else aligned_copy(self.device, x, ALIGNMENT)

    # Results

    def finish(self, leaves: Sequence[Any], outs: Sequence[np.ndarray | None]) -> Any:
        """Write back what was written, and return the function's result.

        `leaves` are those of the call, or shadows where no result is one of them.
        """
        for k, leaf in self.donors.items():
            if outs[k] is None:
                set_mark(_shadows(leaves)[leaf], self.device.marks.last)
        written = {out: leaf for leaf, out in self.recording.writes}
        for k, leaf in written.items():
            out = outs[k]
            if out is not None:
                self._write_back(leaves[leaf], out)
        outs = self._found(_shadows(leaves), outs)
        results = [self._result(r, leaves, outs) for r in self.recording.results]
        if self._is_one_leaf:
            return results[0]
        return unflatten(self.recording.spec, results)

    def _write_back(self, to: Any, out: np.ndarray) -> None:
        shadow = to.shadow if isinstance(to, Placed) else to
        if memory_of(shadow) is None:
            np.copyto(to, Array(out).numpy())
        else:
            copy_on_device(self.device, shadow, out)

    def _result(
        self, leaf: ResultLeaf, leaves: Sequence[Any], outs: list[np.ndarray]
    ) -> Any:
        if isinstance(leaf, StaticLeaf):
            return leaf.value
        if isinstance(leaf, OutputLeaf):
            out = Array(outs[leaf.index])
            return out.item() if leaf.kind is Kind.PYTHON else out
        if leaf.whole and leaf.argument >= 0:
            return leaves[leaf.argument]
        made = make_result(leaf, _shadows(leaves), outs)
        return made if memory_of(made) is None else Array(made)


def _shadows(leaves: Sequence[Any]) -> list[Any]:
    return [x.shadow if isinstance(x, Placed) else x for x in leaves]
