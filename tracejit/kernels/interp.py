"""The interpreter of kernels: what a kernel means, in NumPy.

Needs a verified kernel. Each independent part of it runs by itself: a kernel of many
has more axes than an array can. Values are arrays over the part's axes with extent 1
where they do not vary, so one NumPy call computes an operation everywhere; the schedule
has no say in it. Sums follow `tracejit.kernels.tree`, as emitted code does.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import IndexRangeError, InternalError
from ..ir.dtypes import NARROW_FLOATS
from ..ir.graph import Literal
from .kernel import (
    Carried,
    Compute,
    Contract,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
    factors_of,
)
from .maps import Affine, AxisIndex, FloorDiv, IndexAtom, ValueIndex
from .parts import separated
from .tree import tree_sum

Array = np.ndarray


def run_kernel(
    kernel: Kernel, inputs: Sequence[Array], outputs: Sequence[Array]
) -> None:
    """Run a kernel.

    Parameters
    ----------
    kernel : Kernel
    inputs, outputs : sequence of numpy.ndarray
        Of the shapes and dtypes of the kernel's buffers, any strides; outputs are
        written.

    Raises
    ------
    IndexRangeError
        When a checked index is out of range.
    InternalError
        When an access that must be in range is not.
    """
    arrays = dict(zip((b.name for b in kernel.inputs), inputs, strict=True))
    arrays.update(zip((b.name for b in kernel.outputs), outputs, strict=True))
    with np.errstate(all="ignore"):
        for part in separated(kernel):
            run = _Run(part, arrays)
            for op in part.body:
                run.operation(op)


class _Run:
    """One run of a part of a kernel: the arrays of its buffers and values."""

    def __init__(self, kernel: Kernel, arrays: Mapping[str, Array]) -> None:
        self.kernel, self.arrays = kernel, arrays
        self.extents = tuple(a.extent for a in kernel.axes)
        self.place = {a.name: d for d, a in enumerate(kernel.axes)}
        self.values: dict[str, Array] = {}
        self.carried: dict[str, list[Array]] = {}  # after loops, by their results
        self.makers: dict[str, KernelOp] = {}

    def operation(self, op: KernelOp) -> None:
        if isinstance(op, Store):
            self.store(op)
            return
        if isinstance(op, Load):
            out = self.load(op)
        elif isinstance(op, Compute):
            operands = [self.operand(x) for x in op.operands]
            (out,) = op.primitive.evaluate(operands, op.params)
        elif isinstance(op, Reduce):
            out = self.reduce(op)
        elif isinstance(op, Contract):
            out = self.contract(op)
        elif isinstance(op, Repeat):
            out = self.repeat(op)
        elif isinstance(op, Carried):
            out = self.carried[op.loop.name][op.place]
        else:
            out = self.index(op.index).astype(op.result.dtype)
        out = np.asarray(out)
        if out.dtype != op.result.dtype:
            raise InternalError(f"{op} of @{self.kernel.name} gave {out.dtype}")
        self.values[op.result.name] = self.spread(out, op.result.axes)
        self.makers[op.result.name] = op

    def repeat(self, op: Repeat) -> Array:
        """Run a loop; return its first carry after the last turn."""
        carried = [self.operand(x) for x in op.inits]
        for turn in range(op.count):
            self.values[op.turn.name] = np.asarray(turn)
            for value, x in zip(op.carries, carried, strict=True):
                self.values[value.name] = self.spread(x, value.axes)
            for inner in op.body:
                self.operation(inner)
            carried = [self.operand(x) for x in op.nexts]
        pairs = zip(carried, op.carries, strict=True)
        self.carried[op.result.name] = [self.spread(x, v.axes) for x, v in pairs]
        return self.carried[op.result.name][0]

    def spread(self, x: Array, axes: frozenset[str]) -> Array:
        """Return `x` with the extent of each of its axes, and one in all others."""
        shape = tuple(a.extent if a.name in axes else 1 for a in self.kernel.axes)
        return np.broadcast_to(x, shape)

    def operand(self, x: Operand) -> Array:
        return np.asarray(x.value) if isinstance(x, Literal) else self.values[x.name]

    # --- index expressions

    def index(self, index: Affine) -> Array:
        total: Array = np.full((1,) * len(self.extents), index.constant, np.int64)
        for atom, coefficient in index.terms:
            total = total + self.atom(atom) * coefficient
        return total

    def atom(self, atom: IndexAtom) -> Array:
        if isinstance(atom, ValueIndex):
            return self.values[atom.value].astype(np.int64)
        if isinstance(atom, AxisIndex):
            d = self.place[atom.axis]
            shape = [1] * len(self.extents)
            shape[d] = self.extents[d]
            return np.arange(self.extents[d]).reshape(shape)
        inner = self.index(atom.inner)
        return (
            inner // atom.divisor
            if isinstance(atom, FloorDiv)
            else inner % atom.divisor
        )

    def load(self, op: Load) -> Array:
        array = self.arrays[op.buffer]
        inside = np.ones((1,) * len(self.extents), bool)
        for bound in op.bounds:
            at = self.index(bound.index)
            inside = inside & (at >= 0) & (at < bound.extent)
        where = [self.index(i) for i in op.map]
        for d, extent in enumerate(array.shape):
            where[d] = self.position(op, d, where[d], extent, inside)
        if not array.size:
            everywhere = np.broadcast_arrays(inside, *where)[0]
            found = np.zeros(everywhere.shape, array.dtype)
        else:
            found = array[tuple(where)] if where else array[()]
        if op.fill is None:
            return np.asarray(found)
        return np.where(inside, found, op.fill.value)

    def position(
        self, op: Load, d: int, at: Array, extent: int, inside: Array
    ) -> Array:
        """Return positions along one axis, in range where the load counts."""
        if d in op.check and op.clip:
            return np.asarray(np.clip(at, 0, max(extent - 1, 0)))
        bad = (at < 0) | (at >= extent)
        if d in op.check:
            bad = (at < -extent) | (at >= extent)
        if (bad & inside).any():
            both = np.broadcast_arrays(at, bad & inside)
            first = both[0][both[1]].flat[0]
            kind = IndexRangeError if d in op.check else InternalError
            raise kind(f"index {first} is out of bounds for an axis of {extent}")
        if d in op.check:
            at = np.where(at < 0, at + extent, at)
        return np.asarray(np.where(bad, 0, at))

    def store(self, op: Store) -> None:
        array = self.arrays[op.buffer]
        where = tuple(self.index(i) for i in op.map)
        shape = np.broadcast_shapes((1,) * len(self.extents), *(i.shape for i in where))
        value = np.broadcast_to(self.operand(op.value), shape)
        if value.size:
            array[where] = value if where else value.reshape(())

    # --- reductions

    def flat(self, x: Array, axes: Sequence[str]) -> Array:
        """Bring `axes` to the end as one axis, in row-major order."""
        places = [self.place[a] for a in axes]
        shape = list(np.shape(x) or (1,) * len(self.extents))
        for d in places:
            shape[d] = self.extents[d]
        full = np.broadcast_to(x, shape)
        kept = [1 if d in places else n for d, n in enumerate(shape)]
        ends = range(full.ndim - len(places), full.ndim)
        size = int(np.prod([self.extents[d] for d in places]))
        return np.moveaxis(full, places, list(ends)).reshape((*kept, size))

    def reduce(self, op: Reduce) -> Array:
        factors = factors_of(op, self.makers)
        if factors:
            arrays = np.broadcast_arrays(*map(self.operand, factors))
            return tree_sum(*(self.flat(x, op.axes) for x in arrays))
        return REDUCTIONS[op.op](self.flat(self.operand(op.operand), op.axes))

    def contract(self, op: Contract) -> Array:
        """Multiply in at least float32 and round once at the end."""
        lhs, rhs = self.values[op.lhs.name], self.values[op.rhs.name]
        dtype = op.result.dtype
        if dtype in NARROW_FLOATS:
            lhs, rhs = lhs.astype(np.float32), rhs.astype(np.float32)
        places = [self.place[a] for a in op.axes]
        every = list(range(len(self.extents)))
        kept = [d for d in every if d not in places]
        total = np.einsum(
            *_squeezed(lhs, op.lhs.axes, self.place),
            *_squeezed(rhs, op.rhs.axes, self.place),
            [d for d in kept if self._varies(op, d)],
        )
        shape = [n if self._varies(op, d) else 1 for d, n in enumerate(self.extents)]
        shape = [1 if d in places else n for d, n in enumerate(shape)]
        return np.asarray(total).reshape(shape).astype(dtype)

    def _varies(self, op: Contract, d: int) -> bool:
        return self.kernel.axes[d].name in op.lhs.axes | op.rhs.axes


def _squeezed(
    x: Array, axes: frozenset[str], place: Mapping[str, int]
) -> tuple[Array, list[int]]:
    dims = sorted(place[a] for a in axes)
    return x.reshape([x.shape[d] for d in dims]), dims


def _extremum(ufunc: np.ufunc) -> Callable[[Array], Array]:
    def reduce(x: Array) -> Array:
        return x[..., 0] if 0 in x.shape[:-1] else ufunc.reduce(x, axis=-1)

    return reduce


REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "add": tree_sum,
    "mul": lambda x: np.multiply.reduce(x, axis=-1, dtype=x.dtype),
    "max": _extremum(np.maximum),
    "min": _extremum(np.minimum),
    "and": lambda x: np.bitwise_and.reduce(x, axis=-1, dtype=x.dtype),
    "or": lambda x: np.bitwise_or.reduce(x, axis=-1, dtype=x.dtype),
    "argmax": lambda x: np.argmax(x, axis=-1).astype(np.int64),
    "argmin": lambda x: np.argmin(x, axis=-1).astype(np.int64),
}
