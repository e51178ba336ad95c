"""Axes that every access runs through as one, joined.

Two neighbouring axes are one axis if every access moves by the inner extent of steps
when the outer one takes a step, and every value varies along both or along neither.
Pointwise kernels on contiguous arrays become one long loop whatever their rank, and
sums over several contiguous axes become sums over one:

    for i < 3: for j < 5: y[i, j] = f(x[i, j])   →   for j < 15: y[j] = f(x[j])

That shows where accesses are offsets in memory (`with_offsets`). Needs a kernel and the
order of its axes; establishes an equal kernel with the same operations, in the same
order, over fewer axes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from .kernel import (
    Axis,
    Bound,
    Buffer,
    Carried,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
    Value,
    indices_of,
    result_of,
)
from .maps import Affine, AxisIndex, FloorDiv, Mod, axes_in, recombined

NONE: Mapping[str, frozenset[str]] = MappingProxyType({})

# --- accesses as offsets ----------------------------------------------------------


def offset_of(op: Load | Store, buffer: Buffer) -> Affine:
    """Return the offset of an access, in elements."""
    total = Affine()
    for index, stride in zip(op.map, buffer.strides, strict=True):
        total = total + index * stride
    return recombined(total)


def has_offset(op: KernelOp) -> bool:
    """Tell whether an operation is an access without checked indices."""
    return isinstance(op, Store) or (isinstance(op, Load) and not op.check)


def with_offsets(kernel: Kernel) -> Kernel:
    """Return a kernel whose unchecked accesses have ``map = (offset in elements,)``."""
    body = (
        replace(op, map=(offset_of(op, kernel.buffer(op.buffer)),))
        if isinstance(op, Load | Store) and has_offset(op)
        else op
        for op in kernel.body
    )
    return replace(kernel, body=tuple(body))


# --- joining axes -----------------------------------------------------------------


def with_joined_axes(
    kernel: Kernel,
    loops: Sequence[str],
    may_join: Callable[[str, str], bool] = lambda outer, inner: True,
) -> tuple[Kernel, tuple[str, ...]]:
    """Return an equal kernel with as few axes as its accesses need, and their order.

    Parameters
    ----------
    kernel : Kernel
        With offsets for accesses; others keep the axes of their indices apart.
    loops : sequence of str
        Its axes, outermost first.
    may_join : callable
        Whether an outer and an inner axis may become one, which has the inner's name.
    """
    loops, at = tuple(loops), 0
    while at + 1 < len(loops):
        outer, inner = loops[at : at + 2]
        if may_join(outer, inner) and _can_join(kernel, outer, inner):
            kernel = _with_joined(kernel, outer, inner)
            loops = loops[:at] + loops[at + 1 :]
            at = max(at - 1, 0)
        else:
            at += 1
    return kernel, loops


def _can_join(kernel: Kernel, outer: str, inner: str) -> bool:
    extent = kernel.extent(inner)
    return all(_op_joins(op, outer, inner, extent) for op in kernel.body)


def _op_joins(op: KernelOp, outer: str, inner: str, extent: int) -> bool:
    if isinstance(op, Repeat):
        both = [(outer in x.axes) == (inner in x.axes) for x in op.carries]
        if not all(both):
            return False
        if not all(_op_joins(x, outer, inner, extent) for x in op.body):
            return False
    result = result_of(op)
    if result is not None and (outer in result.axes) != (inner in result.axes):
        return False
    if isinstance(op, Reduce | Contract) and {outer, inner} & set(op.axes):
        return (outer, inner) in list(zip(op.axes, op.axes[1:], strict=False))
    return all(_index_joins(i, outer, inner, extent) for i in indices_of(op))


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


def _with_joined(kernel: Kernel, outer: str, inner: str) -> Kernel:
    """Return the kernel with `outer` gone and `inner` as long as both were."""
    both = Axis(inner, kernel.extent(outer) * kernel.extent(inner))
    axes = tuple(both if a.name == inner else a for a in kernel.axes if a.name != outer)
    return replace(
        kernel, axes=axes, body=tuple(_without(op, outer) for op in kernel.body)
    )


def _without(op: KernelOp, axis: str) -> KernelOp:
    """Return an operation for an axis that is gone; its index counts as zero."""
    zero = {axis: Affine()}

    def at(index: Affine) -> Affine:
        return index.substitute(zero) if axis in axes_in(index) else index

    return over_axes(op, at, lambda axes: tuple(a for a in axes if a != axis))


def over_axes(
    op: KernelOp,
    at: Callable[[Affine], Affine],
    along: Callable[[Iterable[str]], Iterable[str]],
    axes_of: Mapping[str, frozenset[str]] = NONE,
) -> KernelOp:
    """Return an operation over other axes.

    Parameters
    ----------
    op : KernelOp
    at : callable
        An index expression over them.
    along : callable
        The axes that take the place of some, in order.
    axes_of : mapping of str to frozenset of str
        Those of values that vary along fewer than take the place of theirs, by name.
    """

    def less(x: Value) -> Value:
        axes = axes_of[x.name] if x.name in axes_of else frozenset(along(x.axes))
        return x if axes == x.axes else replace(x, axes=axes)

    def value(x: Operand) -> Operand:
        return less(x) if isinstance(x, Value) else x

    if isinstance(op, Store):
        return replace(op, map=tuple(map(at, op.map)), value=value(op.value))
    result = less(op.result)
    if isinstance(op, Load):
        bounds = tuple(Bound(at(b.index), b.extent) for b in op.bounds)
        return replace(op, result=result, map=tuple(map(at, op.map)), bounds=bounds)
    if isinstance(op, Compute):
        return replace(op, result=result, operands=tuple(map(value, op.operands)))
    if isinstance(op, Iota):
        return replace(op, result=result, index=at(op.index))
    if isinstance(op, Carried):
        return replace(op, result=result, loop=less(op.loop))
    if isinstance(op, Repeat):
        return replace(
            op,
            result=result,
            carries=tuple(map(less, op.carries)),
            inits=tuple(map(value, op.inits)),
            body=tuple(over_axes(inner, at, along, axes_of) for inner in op.body),
            nexts=tuple(map(value, op.nexts)),
        )
    axes = tuple(along(op.axes))
    if isinstance(op, Reduce):
        return replace(op, result=result, axes=axes, operand=value(op.operand))
    return replace(op, result=result, axes=axes, lhs=less(op.lhs), rhs=less(op.rhs))
