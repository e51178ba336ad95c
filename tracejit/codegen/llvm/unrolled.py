"""Short last axes, column by column.

Along a last axis of two to four elements, say the coordinates of points, most lanes of
a vector are idle. Rows are joined where nothing but rows is read (`dense`). Where rows
are summed, or what is read lies otherwise, each column is a value of its own; vectors
run along rows, and what they store is woven (`interleaved`):

    for i < n:                               for i < n:
      s = sum over j < 2: x[i, j]              s = x[i, 0] + x[i, 1]
      for j < 2: y[i, j] = x[i, j] / s    →    y[i, 0] = x[i, 0] / s
                                               y[i, 1] = x[i, 1] / s
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from ...ir.graph import Literal
from ...ir.ops.elementwise import add_p, maximum_p, minimum_p
from ...kernels.joining import over_axes
from ...kernels.kernel import (
    Axis,
    Compute,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Store,
    Value,
    needed,
    result_of,
)
from ...kernels.maps import Affine, AxisIndex
from ...kernels.schedule import Role, Schedule
from ...kernels.schedules import MOST_APART, SHORT_ROW, placements_of
from ...kernels.views import simplified
from ...records import dataclass
from .collapse import Flat

_MOST_OPERATIONS = 128  # of the columns together
_STEPS = {"add": add_p, "max": maximum_p, "min": minimum_p}


def with_columns_apart(flat: Flat, apart: str | None = None) -> Flat:
    """Return a kernel whose short last axis is written out, where vectors gain by it.

    Parameters
    ----------
    flat : Flat
    apart : str, optional
        An axis that stays as it is.
    """
    kernel, schedule = flat.kernel, flat.schedule
    found = _rows_and_columns(kernel)
    if found is None or apart in found:
        return flat
    rows, columns = found
    extents = {a.name: a.extent for a in kernel.axes}
    body = _Body(kernel.body, flat.origin)
    body = _columns_apart(body, Axis(columns, extents[columns]), extents)
    for axis in kernel.axes:
        if 2 <= axis.extent <= MOST_APART and axis.name != rows:
            body = _sums_apart(body, axis, extents)
    reduced = {a for op in body.ops if isinstance(op, Reduce) for a in op.axes}
    gone = {a for a in schedule.loops if a not in reduced and _is_reduced(kernel, a)}
    kept = [a for a in schedule.loops if a not in {rows, columns, *reduced, *gone}]
    loops = (*kept, rows, *(a for a in schedule.loops if a in reduced))
    roles = {a: Role.SEQUENTIAL if a in reduced else Role.GRID for a in loops}
    axes = tuple(a for a in kernel.axes if a.name in loops)
    kernel = replace(kernel, axes=axes, body=body.ops)
    plan = Schedule(loops, {**roles, rows: Role.VECTOR}, placements_of(kernel, rows))
    return Flat(kernel, plan, flat.views, dict(body.origin))


def _rows_and_columns(kernel: Kernel) -> tuple[str, str] | None:
    """Return the axes of rows and of columns, if columns should be written out."""
    if not all(
        isinstance(op, Load | Compute | Iota | Reduce | Store) for op in kernel.body
    ):
        return None
    stores = [op for op in kernel.body if isinstance(op, Store)]
    found = next(filter(None, (_short_last_axis(op, kernel) for op in stores)), None)
    if found is None or any(_is_over(op, found[0]) for op in kernel.body):
        return None
    count = kernel.extent(found[1])
    if len(kernel.body) * count > _MOST_OPERATIONS:
        return None
    for op in stores:
        if _steps(op, found) not in ((count, 1), (1, 0)):
            return None
    loads = [op for op in kernel.body if isinstance(op, Load)]
    if any(op.check or not _is_near(op, found) for op in loads):
        return None
    is_dense = {_steps(op, found) for op in loads} <= {(count, 1), (0, 0), (0, 1)}
    has_sums = any(isinstance(op, Reduce) for op in kernel.body)
    return found if has_sums or not is_dense else None


def _short_last_axis(store: Store, kernel: Kernel) -> tuple[str, str] | None:
    """Return the axes of rows and of columns of a store to short, dense rows."""
    steps = {atom.axis: step for atom, step in _linear(store.map[0])}
    columns = next((a for a, step in steps.items() if step == 1), None)
    if columns is None or not 2 <= kernel.extent(columns) <= MOST_APART:
        return None
    width = kernel.extent(columns)
    rows = (a for a, step in steps.items() if step == width and a != columns)
    name = next(rows, None)
    if name is None or kernel.extent(name) < SHORT_ROW:
        return None
    return name, columns


def _is_over(op: KernelOp, name: str) -> TypeGuard[Reduce]:
    return isinstance(op, Reduce) and name in op.axes


def _is_reduced(kernel: Kernel, name: str) -> bool:
    return any(_is_over(op, name) for op in kernel.body)


def _linear(index: Affine) -> Iterator[tuple[AxisIndex, int]]:
    return ((a, n) for a, n in index.terms if isinstance(a, AxisIndex))


def _steps(op: Load | Store, axes: tuple[str, str]) -> tuple[int, int]:
    """Return how far neighbours along both axes lie apart in memory."""
    steps = {a.axis: n for a, n in _linear(op.map[0])}
    return steps.get(axes[0], 0), steps.get(axes[1], 0)


def _is_near(op: Load, axes: tuple[str, str]) -> bool:
    """Tell whether vectors along rows are loaded without gathers."""
    is_linear = all(isinstance(atom, AxisIndex) for atom, _ in op.map[0].terms)
    return is_linear and abs(_steps(op, axes)[0]) <= MOST_APART


@dataclass(frozen=True)
class _Body:
    """Operations, and which of the kernel's each of them was."""

    ops: tuple[KernelOp, ...]
    origin: Mapping[KernelOp, KernelOp]

    def rewritten(self, made: Callable[[KernelOp], Sequence[KernelOp]]) -> "_Body":
        """Return what others take the place of operations, without what is not used."""
        origin = {new: self.origin[op] for op in self.ops for new in made(op)}
        ops = needed([*origin])
        return _Body(ops, {op: origin[op] for op in ops})


def _columns_apart(body: _Body, columns: Axis, extents: Mapping[str, int]) -> _Body:
    """Return a body with what is along columns written once for each.

    What is summed along columns keeps its axis.
    """

    def made(op: KernelOp) -> list[KernelOp]:
        if not _is_along(op, columns.name):
            return [op]
        copies = [_at(op, columns.name, k, extents) for k in range(columns.extent)]
        return copies if isinstance(op, Store) else [op, *copies]

    return body.rewritten(made)


def _sums_apart(body: _Body, summed: Axis, extents: Mapping[str, int]) -> _Body:
    """Return a body with what is summed along one short axis written out."""
    over = [op for op in body.ops if _is_over(op, summed.name)]
    if not over or not all(map(_is_plain, over)):
        return body

    def made(op: KernelOp) -> list[KernelOp]:
        if op in over:
            return _combined(op, summed)
        if not _is_along(op, summed.name):
            return [op]
        return [_at(op, summed.name, k, extents) for k in range(summed.extent)]

    return body.rewritten(made)


def _is_plain(op: Reduce) -> bool:
    """Tell whether a reduction of numbers is steps of one operation, along one axis."""
    return op.op in _STEPS and len(op.axes) == 1 and op.result.dtype.kind in "iuf"


def _combined(op: Reduce, summed: Axis) -> list[KernelOp]:
    """Return a reduction of two to four values: sums in the order of `kernels.tree`."""
    result, made = op.result, list[KernelOp]()

    def step(x: Operand, y: Operand, name: str) -> Operand:
        value = replace(result, name=name)
        made.append(Compute(value, _STEPS[op.op], (x, y), {}))
        return value

    values = [_named(op.operand, summed.name, k) for k in range(summed.extent)]
    if op.op != "add":
        total = values[0]
        for k, value in enumerate(values[1:-1]):
            total = step(total, value, f"{result.name}.to{k}")
        step(total, values[-1], result.name)
        return made
    for k, late in enumerate(values[2:]):
        values[k] = step(values[k], late, f"{result.name}.lane{k}")
    total = step(values[0], values[1], f"{result.name}.lanes")
    step(total, Literal(0, result.dtype), result.name)
    return made


def _is_along(op: KernelOp, name: str) -> bool:
    """Tell whether an operation is done for each element along an axis."""
    if isinstance(op, Store):
        return any(a.axis == name for a, _ in _linear(op.map[0]))
    value = result_of(op)
    return value is not None and name in value.axes


def _named(x: Operand, name: str, k: int) -> Operand:
    return _value_at(x, name, k) if isinstance(x, Value) else x


def _value_at(x: Value, name: str, k: int) -> Value:
    return (
        replace(x, name=f"{x.name}.{k}", axes=x.axes - {name}) if name in x.axes else x
    )


def _at(op: KernelOp, name: str, k: int, extents: Mapping[str, int]) -> KernelOp:
    """Return an operation at one place of an axis, with names of its own for values."""

    def at(index: Affine) -> Affine:
        return simplified(index.substitute({name: Affine((), k)}), extents)

    if isinstance(op, Compute):
        op = replace(op, operands=tuple(_named(x, name, k) for x in op.operands))
    elif isinstance(op, Reduce):
        op = replace(op, operand=_named(op.operand, name, k))
    elif isinstance(op, Store):
        op = replace(op, value=_named(op.value, name, k))
    if not isinstance(op, Store):
        op = replace(op, result=_value_at(op.result, name, k))
    return over_axes(op, at, lambda axes: [a for a in axes if a != name])
