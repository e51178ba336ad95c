"""Joining loops that run through memory as one.

Two neighbouring loops are one loop if every access moves by the inner extent of steps
when the outer one takes a step, and every value varies along both axes or along
neither. Pointwise kernels on contiguous arrays become one long loop whatever their
rank, and sums over several contiguous axes become sums over one:

    for i < 3: for j < 5: y[i, j] = f(x[i, j])   →   for j < 15: y[j] = f(x[j])

Needs a kernel and its schedule; establishes an equal kernel over fewer axes. Accesses
without checked indices go through flat views of their buffers, which `Flat` lists.
"""

from collections.abc import Sequence
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
)
from ...kernels.maps import Affine, AxisIndex, FloorDiv, Mod
from ...kernels.schedule import Role, Schedule
from .indices import axes_in


@dataclass(frozen=True)
class Flat:
    """A kernel over joined axes.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
    views : mapping of str to (Buffer, str)
        Buffers that the body names besides the kernel's own, and whose memory each is.
    origin : mapping of KernelOp to KernelOp
        The operation that each operation was.
    """

    kernel: Kernel
    schedule: Schedule
    views: dict[str, tuple[Buffer, str]]
    origin: dict[KernelOp, KernelOp]


def flattened(kernel: Kernel, schedule: Schedule, apart: str | None = None) -> Flat:
    """Return an equal kernel with as many loops joined as can be, but for `apart`."""
    views: dict[str, tuple[Buffer, str]] = {}
    body = [_with_flat_access(op, kernel, views) for op in kernel.body]
    origin = dict(zip(body, kernel.body, strict=True))
    flat = Flat(replace(kernel, body=tuple(body)), schedule, views, origin)
    at = 0
    while at + 1 < len(flat.schedule.loops):
        outer, inner = flat.schedule.loops[at : at + 2]
        if apart not in (outer, inner) and _can_join(flat, outer, inner):
            flat = _joined(flat, outer, inner)
            at = max(at - 1, 0)
        else:
            at += 1
    return flat


def _with_flat_access(
    op: KernelOp, kernel: Kernel, views: dict[str, tuple[Buffer, str]]
) -> KernelOp:
    """Return a load or store with one index: the offset in elements."""
    if not isinstance(op, Load | Store) or (isinstance(op, Load) and op.check):
        return op
    buffer = kernel.buffer(op.buffer)
    offset = Affine()
    for index, stride in zip(op.map, buffer.strides, strict=True):
        offset = offset + index * stride
    name = f"{buffer.name}.flat"
    views[name] = Buffer(name, buffer.dtype, (1,), (1,)), buffer.name
    return replace(op, buffer=name, map=(offset,))


def _can_join(flat: Flat, outer: str, inner: str) -> bool:
    if flat.schedule.roles[outer] is Role.VECTOR:
        return False
    extent = flat.kernel.extent(inner)
    return all(_op_joins(op, outer, inner, extent) for op in flat.kernel.body)


def _op_joins(op: KernelOp, outer: str, inner: str, extent: int) -> bool:
    values: list[Operand] = [op.value] if isinstance(op, Store) else [op.result]
    for value in values:
        if isinstance(value, Value) and (outer in value.axes) != (inner in value.axes):
            return False
    if isinstance(op, Reduce | Contract):
        return _reduce_joins(op, outer, inner)
    return all(_index_joins(i, outer, inner, extent) for i in _indices(op))


def _reduce_joins(op: Reduce | Contract, outer: str, inner: str) -> bool:
    if outer not in op.axes and inner not in op.axes:
        return True
    pairs = zip(op.axes, op.axes[1:], strict=False)
    return (outer, inner) in list(pairs)


def _indices(op: KernelOp) -> Sequence[Affine]:
    if isinstance(op, Load):
        return [*op.map, *(b.index for b in op.bounds)]
    if isinstance(op, Store):
        return op.map
    return [op.index] if isinstance(op, Iota) else []


def _index_joins(index: Affine, outer: str, inner: str, extent: int) -> bool:
    """Tell whether an expression depends on outer · extent + inner alone."""
    steps = {outer: 0, inner: 0}
    for atom, coefficient in index.terms:
        if isinstance(atom, AxisIndex) and atom.axis in steps:
            steps[atom.axis] = coefficient
        elif isinstance(atom, FloorDiv | Mod) and not _index_joins(
            atom.inner, outer, inner, extent
        ):
            return False
    return steps[outer] == steps[inner] * extent


def _joined(flat: Flat, outer: str, inner: str) -> Flat:
    """Return the kernel with `outer` gone and `inner` as long as both were."""
    kernel, schedule = flat.kernel, flat.schedule
    body = [_joined_op(op, outer) for op in kernel.body]
    origin = {new: flat.origin[old] for new, old in zip(body, kernel.body, strict=True)}
    both = Axis(inner, kernel.extent(outer) * kernel.extent(inner))
    axes = tuple(both if a.name == inner else a for a in kernel.axes if a.name != outer)
    loops = tuple(a for a in schedule.loops if a != outer)
    roles = {a: schedule.roles[a] for a in loops}
    return Flat(
        replace(kernel, axes=axes, body=tuple(body)),
        Schedule(loops, roles, schedule.placements),
        flat.views,
        origin,
    )


def _joined_op(op: KernelOp, outer: str) -> KernelOp:
    if isinstance(op, Store):
        indices = tuple(_joined_index(i, outer) for i in op.map)
        return replace(op, map=indices, value=_joined_value(op.value, outer))
    result = replace(op.result, axes=op.result.axes - {outer})
    if isinstance(op, Load):
        indices = tuple(_joined_index(i, outer) for i in op.map)
        bounds = tuple(
            Bound(_joined_index(b.index, outer), b.extent) for b in op.bounds
        )
        return replace(op, result=result, map=indices, bounds=bounds)
    if isinstance(op, Compute):
        operands = tuple(_joined_value(x, outer) for x in op.operands)
        return replace(op, result=result, operands=operands)
    if isinstance(op, Reduce):
        axes = tuple(a for a in op.axes if a != outer)
        operand = _joined_value(op.operand, outer)
        return replace(op, result=result, axes=axes, operand=operand)
    if isinstance(op, Contract):
        axes = tuple(a for a in op.axes if a != outer)
        lhs, rhs = (replace(x, axes=x.axes - {outer}) for x in (op.lhs, op.rhs))
        return replace(op, result=result, axes=axes, lhs=lhs, rhs=rhs)
    assert isinstance(op, Iota)
    return replace(op, result=result, index=_joined_index(op.index, outer))


def _joined_value(value: Operand, outer: str) -> Operand:
    if isinstance(value, Value) and outer in value.axes:
        return replace(value, axes=value.axes - {outer})
    return value


def _joined_index(index: Affine, outer: str) -> Affine:
    return index.substitute({outer: Affine()}) if outer in axes_in(index) else index
