"""Kernels rewritten for Triton: axes joined, unused operations dropped.

A `Piece` is a kernel and the order of its axes. Joining turns each access into an
offset in elements and makes one axis of two that every access runs through as one, so
that most kernels are left with one axis of each kind:

    axes(i: 4, j: 8)   load %x[i, j]        →   axes(i: 32)   load %x[i]
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...kernels.kernel import (
    Axis,
    Bound,
    Buffer,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Store,
    Value,
    indices_of,
    result_of,
    values_of,
)
from ...kernels.maps import Affine, AxisIndex, FloorDiv, Mod, axes_in, values_in
from ...kernels.schedule import Schedule


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
    read = {op.buffer for op in body if isinstance(op, Load)}
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


# --- joining axes -----------------------------------------------------------------


def flattened(piece: Piece) -> Piece:
    """Return a piece whose unchecked accesses have ``map = (offset in elements,)``."""
    body = tuple(_flat(op, piece.kernel) for op in piece.kernel.body)
    return Piece(replace(piece.kernel, body=body), piece.loops)


def joined(piece: Piece) -> Piece:
    """Return a flattened piece with as few axes as its accesses need."""
    found = True
    while found:
        pairs = zip(piece.loops, piece.loops[1:], strict=False)
        pair = next((p for p in pairs if _can_join(piece, *p)), None)
        found = pair is not None
        if pair is not None:
            piece = _with_joined(piece, *pair)
    return piece


def offset_of(op: Load | Store, buffer: Buffer) -> Affine:
    """Return the offset of an access, in elements."""
    total = Affine()
    for index, stride in zip(op.map, buffer.strides, strict=True):
        total = total + index * stride
    return total


def _flat(op: KernelOp, kernel: Kernel) -> KernelOp:
    """Return an unchecked access with ``map = (offset,)``."""
    if not isinstance(op, Load | Store) or (isinstance(op, Load) and op.check):
        return op
    return replace(op, map=(offset_of(op, kernel.buffer(op.buffer)),))


def _can_join(piece: Piece, outer: str, inner: str) -> bool:
    extent = piece.kernel.extent(inner)
    return all(_op_joins(op, outer, inner, extent) for op in piece.kernel.body)


def _op_joins(op: KernelOp, outer: str, inner: str, extent: int) -> bool:
    result = result_of(op)
    if result is not None and (outer in result.axes) != (inner in result.axes):
        return False
    if isinstance(op, Reduce | Contract) and {outer, inner} & set(op.axes):
        return (outer, inner) in list(zip(op.axes, op.axes[1:], strict=False))
    return all(_index_joins(i, outer, inner, extent) for i in indices_of(op))


def _index_joins(index: Affine, outer: str, inner: str, extent: int) -> bool:
    steps = {outer: 0, inner: 0}
    for atom, coefficient in index.terms:
        if isinstance(atom, AxisIndex) and atom.axis in steps:
            steps[atom.axis] = coefficient
        elif isinstance(atom, FloorDiv | Mod) and not _index_joins(
            atom.inner, outer, inner, extent
        ):
            return False
    return steps[outer] == steps[inner] * extent


def _with_joined(piece: Piece, outer: str, inner: str) -> Piece:
    kernel = piece.kernel
    both = Axis(inner, kernel.extent(outer) * kernel.extent(inner))
    axes = tuple(both if a.name == inner else a for a in kernel.axes if a.name != outer)
    body = tuple(without_axis(op, outer) for op in kernel.body)
    loops = tuple(a for a in piece.loops if a != outer)
    return Piece(replace(kernel, axes=axes, body=body), loops)


def without_axis(op: KernelOp, axis: str) -> KernelOp:
    """Return an operation for an axis that is gone; its index counts as zero."""
    zero = {axis: Affine()}

    def value(x: Operand) -> Operand:
        is_along = isinstance(x, Value) and axis in x.axes
        return _less(x, axis) if is_along and isinstance(x, Value) else x

    def at(index: Affine) -> Affine:
        return index.substitute(zero) if axis in axes_in(index) else index

    if isinstance(op, Store):
        return replace(op, map=tuple(map(at, op.map)), value=value(op.value))
    result = _less(op.result, axis)
    if isinstance(op, Load):
        bounds = tuple(Bound(at(b.index), b.extent) for b in op.bounds)
        return replace(op, result=result, map=tuple(map(at, op.map)), bounds=bounds)
    if isinstance(op, Compute):
        return replace(op, result=result, operands=tuple(map(value, op.operands)))
    if isinstance(op, Iota):
        return replace(op, result=result, index=at(op.index))
    rest = tuple(a for a in op.axes if a != axis)
    if isinstance(op, Reduce):
        return replace(op, result=result, axes=rest, operand=value(op.operand))
    lhs, rhs = _less(op.lhs, axis), _less(op.rhs, axis)
    return replace(op, result=result, axes=rest, lhs=lhs, rhs=rhs)


def _less(x: Value, axis: str) -> Value:
    return replace(x, axes=x.axes - {axis})
