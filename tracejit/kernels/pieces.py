"""Parts of kernels that become Triton kernels: what they read, need and run along.

A `Piece` is a kernel and the order of its axes.
"""

from collections.abc import Iterable, Iterator, Sequence

from ..records import dataclass
from .joining import with_joined_axes, with_offsets
from .kernel import (
    Axis,
    Buffer,
    Contract,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Store,
    Value,
    indices_of,
    result_of,
    values_of,
    with_inner,
)
from .maps import axes_in, values_in
from .schedule import Schedule


@dataclass(frozen=True, eq=False)
class Piece:
    """A kernel that becomes one Triton kernel, or is cut further.

    Parameters
    ----------
    kernel : Kernel
    loops : tuple of str
        Its axes, outermost first.
    """

    kernel: Kernel
    loops: tuple[str, ...]

    @property
    def reduced(self) -> frozenset[str]:
        """The axes that some reduction or contraction removes."""
        ops = (op for op in self.kernel.body if isinstance(op, Reduce | Contract))
        return frozenset(a for op in ops for a in op.axes)


def piece_of(kernel: Kernel, schedule: Schedule) -> Piece:
    """Return a kernel with the axes in the order of its schedule.

    The rest of the schedule is about CPUs: which axis is in vector lanes, which values
    are kept in rows.
    """
    return Piece(kernel, schedule.loops)


def joined(piece: Piece) -> Piece:
    """Return an equal piece with offsets for accesses, and as few axes as they need."""
    kernel, loops = with_joined_axes(with_offsets(piece.kernel), piece.loops)
    return Piece(kernel, loops)


def names_read(op: KernelOp) -> Iterator[str]:
    """Yield the names of the values that an operation reads, in indices too."""
    yield from (v.name for v in values_of(op))
    for index in indices_of(op):
        yield from sorted(values_in(index))


def axes_of(op: KernelOp) -> frozenset[str]:
    """Return the axes that an operation runs along."""
    result = result_of(op)
    found = set() if result is None else set(result.axes)
    if isinstance(op, Reduce):
        found |= set(op.axes)
    elif isinstance(op, Store) and isinstance(op.value, Value):
        found |= op.value.axes
    return frozenset(found.union(*(axes_in(i) for i in indices_of(op))))


def needed_for(body: Sequence[KernelOp], roots: Iterable[KernelOp]) -> list[KernelOp]:
    """Return `roots` and the operations they need, in order."""
    wanted: set[str] = set()
    chosen, kept = set(roots), []
    for op in reversed(body):
        result = result_of(op)
        if op in chosen or (result is not None and result.name in wanted):
            kept.append(op)
            wanted.update(names_read(op))
    return kept[::-1]


def closure(
    body: Iterable[KernelOp], roots: Iterable[str], known: Iterable[str] = ()
) -> list[KernelOp]:
    """Return the operations that `roots` need, in order, without those of `known`."""
    stops = set(known)
    wanted, kept = set(roots) - stops, []
    for op in reversed(list(body)):
        result = result_of(op)
        if result is not None and result.name in wanted:
            kept.append(op)
            wanted.update(set(names_read(op)) - stops)
    return kept[::-1]


def rebuilt(
    piece: Piece,
    name: str,
    body: Sequence[KernelOp],
    buffers: Sequence[Buffer],
    axes: Sequence[Axis] | None = None,
    loops: Sequence[str] | None = None,
) -> Piece:
    """Return a piece with another body, and the buffers and axes that it uses.

    Parameters
    ----------
    buffers : sequence of Buffer
        All that the body may name.
    axes : sequence of Axis, optional
        All that the body may run over; the kernel's by default.
    loops : sequence of str, optional
        Their order.
    """
    kernel = piece.kernel
    read = {op.buffer for op in with_inner(body) if isinstance(op, Load)}
    written = {op.buffer for op in body if isinstance(op, Store)}
    used: set[str] = set()
    for op in body:
        result = result_of(op)
        used |= set() if result is None else result.axes
        used |= set(op.axes) if isinstance(op, Reduce | Contract) else set()
        used |= {a for index in indices_of(op) for a in axes_in(index)}
    new = Kernel(
        name,
        tuple(b for b in buffers if b.name in read and b.name not in written),
        tuple(b for b in buffers if b.name in written),
        tuple(a for a in (axes or kernel.axes) if a.name in used),
        tuple(body),
        kernel.source,
    )
    order = piece.loops if loops is None else loops
    return Piece(new, tuple(a for a in order if a in used))


def buffers_of(kernel: Kernel) -> tuple[Buffer, ...]:
    """Return all parameters of a kernel."""
    return (*kernel.inputs, *kernel.outputs)
