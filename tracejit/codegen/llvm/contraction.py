"""Kernels with contractions, as stages that run one after another.

    operands that are not plain loads  →  matrices in scratch
    the product                        →  the output, or a matrix in scratch
    everything else (the epilogue)     →  a kernel that loads the product

Stages that are not products are kernels of their own, emitted like any other; what
follows a product is taken apart again if it contains another. Half-precision products
are taken in float32, as NumPy does, and rounded once. Those of narrow integers, and
products of matrices with vectors along contiguous rows, are multiplied and summed by
the loop nest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ...errors import InternalError
from ...ir.dtypes import BFLOAT16, FLOAT32, NARROW_FLOATS
from ...ir.ops.elementwise import convert_p, mul_p
from ...kernels.joining import offset_of
from ...kernels.kernel import (
    Axis,
    Buffer,
    Compute,
    Contract,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Store,
    Value,
    dense_strides,
    result_of,
)
from ...kernels.maps import AxisIndex, Map, axes_in, axis, floordiv, mod
from ...kernels.schedule import Role, Schedule
from ...kernels.schedules import placements_of
from ...kernels.splitting import run_of
from ...records import dataclass
from .conv_forms import panel_of
from .conv_shape import convolution_of, has_convolution
from .gemm import Problem, Split
from .phases import Analysis
from .target import Target
from .values import is_real

SCRATCH = "scratch."
_WIDE_INTEGER = 4  # bytes; narrower ones fill vectors better in the loop nest
Row = tuple[int, int, int]  # extent, stride in an operand, stride in the product


@dataclass(frozen=True)
class Matrix:
    """An operand or result of a product: a buffer and its strides along axes.

    Parameters
    ----------
    buffer : str
    start : int
        Elements from the buffer's pointer to the first one.
    strides : mapping of axis to int
    """

    buffer: str
    start: int
    strides: dict[str, int]

    def along(self, name: str) -> int:
        """Return the stride along an axis, 0 if it does not vary along it."""
        return self.strides.get(name, 0)


@dataclass(frozen=True)
class Product:
    """A stage that is a matrix product: the problem and its operands.

    `split` says what of the problem runs along the axis that was kept apart; None if
    the product does not vary along it.
    """

    problem: Problem
    lhs: Matrix
    rhs: Matrix
    out: Matrix
    split: Split | None = None


@dataclass(frozen=True)
class Nested:
    """A stage that is a kernel of its own.

    `kernel` reads and writes buffers of the whole kernel and of `Stages.temporaries`
    under the same names.
    """

    kernel: Kernel
    schedule: Schedule


@dataclass(frozen=True)
class Stages:
    """A kernel taken apart.

    Parameters
    ----------
    temporaries : tuple of Buffer
        Matrices in scratch.
    stages : tuple of Nested or Product
    """

    temporaries: tuple[Buffer, ...]
    stages: tuple[Nested | Product, ...]


def stages_of(
    kernel: Kernel,
    schedule: Schedule,
    apart: str | None = None,
    *,
    target: Target,
) -> Stages:
    """Take apart a kernel at its contractions.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
    apart : str, optional
        An axis that products do not join with others, so that the stages can be run
        over a part of it; see `Product.split`.
    target : Target
        Whether products of bfloat16 numbers take them as they are (`gemm.pairs`), and
        how filters of convolutions lie (`conv_forms.panel_of`), are up to it.

    Raises
    ------
    InternalError
        If a contraction's operands vary along an axis in a way no product has.
    """
    temporaries: list[Buffer] = []
    stages: list[Nested | Product] = []
    while any(isinstance(op, Contract) for op in kernel.body):
        splitter = _Splitter(kernel, schedule, apart, target, len(temporaries))
        rest = splitter.split()
        temporaries += splitter.temporaries
        stages += splitter.stages
        if rest is None:
            return Stages(tuple(temporaries), tuple(stages))
        kernel, schedule = rest.kernel, rest.schedule
    return Stages(tuple(temporaries), (*stages, Nested(kernel, schedule)))


class _Splitter:
    """Builds the stages for the first contraction of a kernel."""

    def __init__(
        self,
        kernel: Kernel,
        schedule: Schedule,
        apart: str | None,
        target: Target,
        serial: int,
    ) -> None:
        self.kernel, self.schedule, self.apart = kernel, schedule, apart
        self.target, self.serial = target, serial
        self.analysis = Analysis(kernel, schedule)
        self.extents = {a.name: a.extent for a in kernel.axes}
        self.makers = {v.name: op for op in kernel.body if (v := result_of(op))}
        self.contract = next(op for op in kernel.body if isinstance(op, Contract))
        self.temporaries: list[Buffer] = []
        self.stages: list[Nested | Product] = []
        self.made: dict[str, Matrix] = {}
        self.halves = self._halves() if target.has_pairs else None

    def split(self) -> Nested | None:
        """Find temporaries and stages; return what is left to be done after them."""
        contract = self.contract
        store = self._only_store()
        is_convolution = has_convolution(self.kernel)
        wide = FLOAT32 if contract.lhs.dtype in NARROW_FLOATS else contract.lhs.dtype
        direct = store is not None and contract.result.dtype == wide
        out = self._matrix(store.buffer, store.map) if direct and store else None
        if is_convolution:
            self._convolved(*self._target(store if direct else None, wide))
        elif not _is_multiplied(wide) or self._is_vector_product():
            out_buffer, out_map = self._target(store if direct else None, wide)
            self._summed(out_buffer, out_map, wide)
        else:
            self._product(out, wide)
        stores = [op for op in self.kernel.body if isinstance(op, Store)]
        if self._stored_directly and stores == [store]:
            return None
        return self._epilogue(store if self._stored_directly else None, wide)

    # Roles of the axes

    @property
    def _batch(self) -> list[str]:
        shared = self.contract.lhs.axes & self.contract.rhs.axes
        return self._ordered(shared - set(self.contract.axes))

    @property
    def _rows(self) -> list[str]:
        mine = self.contract.lhs.axes - self.contract.rhs.axes
        return self._ordered(mine - set(self.contract.axes))

    @property
    def _columns(self) -> list[str]:
        mine = self.contract.rhs.axes - self.contract.lhs.axes
        return self._ordered(mine - set(self.contract.axes))

    def _ordered(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda a: self.analysis.position[a])

    def _size(self, names: Iterable[str]) -> int:
        return prod(self.extents[a] for a in names)

    # The product

    def _halves(self) -> tuple[Value, Value] | None:
        """Return the operands as bfloat16 numbers, if they are such, perhaps widened.

        Their products are exact in float32.
        """
        lhs, rhs = (self._narrow(v) for v in (self.contract.lhs, self.contract.rhs))
        is_summed = self.contract.result.dtype in (BFLOAT16, FLOAT32)
        return (lhs, rhs) if lhs and rhs and is_summed else None

    def _narrow(self, value: Value) -> Value | None:
        if value.dtype == BFLOAT16:
            return value
        op = self.makers[value.name]
        if not isinstance(op, Compute) or op.primitive is not convert_p:
            return None
        (x,) = op.operands
        if value.dtype != FLOAT32 or not isinstance(x, Value) or x.dtype != BFLOAT16:
            return None
        return x if x.axes == value.axes else None

    def _is_vector_product(self) -> bool:
        """Tell whether rows of both operands are contiguous and one is a vector."""
        if self._size(self._rows) > 1 and self._size(self._columns) > 1:
            return False
        k = self.contract.axes[-1]
        operands = (self._plain(self.contract.lhs), self._plain(self.contract.rhs))
        return all(m is None or m.along(k) == 1 for m in operands)

    def _product(self, out: Matrix | None, dtype: np.dtype) -> None:
        operands = self.halves or (self.contract.lhs, self.contract.rhs)
        narrow = BFLOAT16 if self.halves else dtype
        lhs, rhs = (self._operand(value, narrow) for value in operands)
        found = None if out is None else self._problem(lhs, rhs, out, dtype)
        self._stored_directly = found is not None
        self.stages.append(found or self._product_in_scratch(lhs, rhs, dtype))

    def _product_in_scratch(self, lhs: Matrix, rhs: Matrix, dtype: np.dtype) -> Product:
        """Return the product, into a matrix in scratch.

        In the order of the loops that read it, or with its columns innermost.
        """
        free = (*self._batch, *self._rows, *self._columns)
        out = self._product_matrix(dtype, self._ordered(free))
        found = self._problem(lhs, rhs, out, dtype)
        if found is None:
            self.temporaries = [t for t in self.temporaries if t.name != out.buffer]
            out = self._product_matrix(dtype, free)
            found = self._problem(lhs, rhs, out, dtype)
            found = found or self._problem(lhs, rhs, out, dtype, innermost=True)
        assert found is not None
        return found

    def _problem(
        self,
        lhs: Matrix,
        rhs: Matrix,
        out: Matrix,
        dtype: np.dtype,
        innermost: bool = False,
    ) -> Product | None:
        """Return the product; None if neither rows nor columns of C are contiguous.

        Of rows and columns that cannot be joined the longest are taken, or of columns
        those innermost in C.
        """
        ks = self._joined(self.contract.axes, lhs, rhs)
        if len(ks) > 1:
            narrow = BFLOAT16 if self.halves else dtype
            lhs, rhs = self._packed(lhs, narrow, 0), self._packed(rhs, narrow, 1)
            ks = self._joined(self.contract.axes, lhs, rhs)
        assert len(ks) <= 1
        k, a_k, b_k = ks[0] if ks else (1, 0, 0)
        split, rows, columns, batch = self._cut(lhs, rhs, out)
        m, n = _best(rows), _best(columns[-1:] if innermost else columns)
        batch += [(e, s, 0, c) for e, s, c in rows if (e, s, c) != m]
        batch += [(e, 0, s, c) for e, s, c in columns if (e, s, c) != n]
        is_row = n[2] == 1 or n[0] == 1
        is_column = m[2] == 1 or m[0] == 1
        if not is_row and not is_column:
            return None
        # A single column is one row of the transposed product, whose vectors are full.
        if is_row and not (is_column and n[0] == 1 and m[0] > 1):
            c = (m[2], 1)
            a, b = (m[1], a_k), (b_k, n[1])
            problem = Problem(
                dtype, m[0], n[0], k, a, b, c, tuple(batch), self.halves is not None
            )
            return Product(problem, lhs, rhs, out, split)
        swapped = tuple((e, b, a, c) for e, a, b, c in batch)
        a, b, c = (n[1], b_k), (a_k, m[1]), (n[2], 1)
        problem = Problem(
            dtype, n[0], m[0], k, a, b, c, swapped, self.halves is not None
        )
        turned = {Split.ROWS: Split.COLUMNS, Split.COLUMNS: Split.ROWS}
        split = split and turned.get(split, split)
        return Product(problem, rhs, lhs, out, split)

    def _cut(
        self, lhs: Matrix, rhs: Matrix, out: Matrix
    ) -> tuple[Split | None, list[Row], list[Row], list[tuple[int, int, int, int]]]:
        """Return what the axis apart is; rows and columns, joined; and batch axes."""
        rows, columns, batch = self._rows, self._columns, self._batch
        split = None
        if self.apart in rows and rows == [self.apart]:
            split = Split.ROWS
        elif self.apart in columns and columns == [self.apart]:
            split = Split.COLUMNS
        elif self.apart in (*rows, *columns, *batch):
            split = Split.BATCH
            batch = [self.apart, *(a for a in batch if a != self.apart)]
            rows = [a for a in rows if a != self.apart]
            columns = [a for a in columns if a != self.apart]
        loops = [
            (self.extents[a], lhs.along(a), rhs.along(a), out.along(a)) for a in batch
        ]
        joined = self._joined(rows, lhs, out), self._joined(columns, rhs, out)
        return split, *joined, loops

    def _joined(self, names: Sequence[str], left: Matrix, right: Matrix) -> list[Row]:
        """Return (extent, stride, stride) of axes, joined where they are one axis.

        Axes of which one has no elements are one that has none.
        """
        if 0 in (self.extents[name] for name in names):
            return [(0, left.along(names[-1]), right.along(names[-1]))]
        out: list[Row] = []
        for name in names:
            extent = self.extents[name]
            if extent == 1:
                continue
            row = (extent, left.along(name), right.along(name))
            before = out[-1] if out else (0, 0, 0)
            if before[1] == row[1] * extent and before[2] == row[2] * extent and out:
                out[-1] = (before[0] * extent, row[1], row[2])
            else:
                out.append(row)
        return out

    # Operands

    def _matrix(self, buffer: str, place: Map) -> Matrix | None:
        """Return what a map addresses if it is linear in the axes."""
        strides: dict[str, int] = {}
        start = 0
        for index, stride in zip(place, self._buffer(buffer).strides, strict=True):
            start += index.constant * stride
            for atom, coefficient in index.terms:
                if not isinstance(atom, AxisIndex):
                    return None
                at = strides.get(atom.axis, 0) + coefficient * stride
                strides[atom.axis] = at
        return Matrix(buffer, start, strides)

    def _buffer(self, name: str) -> Buffer:
        known = (*self.kernel.inputs, *self.kernel.outputs, *self.temporaries)
        return next(b for b in known if b.name == name)

    def _plain(self, value: Value) -> Matrix | None:
        """Return the matrix a value is loaded from; None if it is computed."""
        op = self.makers[value.name]
        if not isinstance(op, Load) or op.bounds or op.check:
            return None
        return self._matrix(op.buffer, op.map)

    def _operand(self, value: Value, dtype: np.dtype) -> Matrix:
        matrix = self._plain(value) if value.dtype == dtype else None
        return matrix or self._materialised(value, dtype)

    def _packed(self, matrix: Matrix, dtype: np.dtype, side: int) -> Matrix:
        """Return an operand whose contracted axes are contiguous in memory."""
        if any(matrix.buffer == t.name for t in self.temporaries):
            return matrix
        value = (self.halves or (self.contract.lhs, self.contract.rhs))[side]
        return self._materialised(value, dtype)

    def _materialised(self, value: Value, dtype: np.dtype) -> Matrix:
        """Return a value in scratch, stored there by a stage of its own."""
        if value.name in self.made:  # one value may be both operands
            return self.made[value.name]
        body = self._closure([value.name])
        axes = self._layout(value, body)
        out = self.made[value.name] = self._temporary(value.name, axes, dtype)
        stored = value
        if value.dtype != dtype:
            stored = Value(f"{value.name}.wide", value.axes, dtype)
            body.append(Compute(stored, convert_p, (value,), {"dtype": dtype}))
        body.append(Store(out.buffer, tuple(axis(a) for a in axes), stored))
        vector = axes[-1] if axes else None
        summed = {a for op in body if isinstance(op, Reduce) for a in op.axes}
        loops = [*axes[:-1], *self._ordered(summed.difference(axes)), *axes[-1:]]
        self.stages.append(self._nested(value.name, body, loops, vector))
        return out

    def _layout(self, value: Value, body: Sequence[KernelOp]) -> list[str]:
        """Return the axes of a materialised operand, outermost first.

        The contracted axes come last, unless what it is computed from is contiguous
        along another.
        """
        ks = [a for a in self.contract.axes if a in value.axes]
        others = self._ordered(value.axes - set(ks))
        if not others or any(isinstance(op, Reduce) for op in body):
            return [*others, *ks]
        loads = (op for op in body if isinstance(op, Load))
        near = {run_of(offset_of(op, self._buffer(op.buffer))) for op in loads}
        if others[-1] not in near or (ks and ks[-1] in near):
            return [*others, *ks]
        return [*others[:-1], *ks, others[-1]]

    def _temporary(self, name: str, axes: Sequence[str], dtype: np.dtype) -> Matrix:
        shape = tuple(self.extents[a] for a in axes)
        buffer = self._scratch(name, shape, dtype)
        return Matrix(buffer.name, 0, dict(zip(axes, buffer.strides, strict=True)))

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        number = self.serial + len(self.temporaries)
        buffer = Buffer(f"{SCRATCH}{number}.{name}", dtype, shape, dense_strides(shape))
        self.temporaries.append(buffer)
        return buffer

    def _product_matrix(self, dtype: np.dtype, order: Sequence[str]) -> Matrix:
        """Return a matrix in scratch for the product, with axes in some order."""
        # Blocks of the axis apart are contiguous.
        axes = sorted(order, key=lambda a: a != self.apart)
        out = self._temporary("product", axes, dtype)
        self._product_buffer = out.buffer
        self._product_map: Map = tuple(axis(a) for a in axes)
        return out

    def _closure(self, names: Sequence[str]) -> list[KernelOp]:
        """Return the operations that values need, in order."""
        needed = set(names)
        out: list[KernelOp] = []
        for op in reversed(self.kernel.body):
            value = result_of(op)
            if value is not None and value.name in needed:
                needed.update(self.analysis.uses(op))
                out.append(op)
        return out[::-1]

    # Stages that are kernels

    def _only_store(self) -> Store | None:
        """Return the store of the product if nothing else uses it."""
        name = self.contract.result.name
        users = [op for op in self.kernel.body if name in self.analysis.uses(op)]
        only = users[0] if len(users) == 1 else None
        return only if isinstance(only, Store) else None

    def _target(self, store: Store | None, dtype: np.dtype) -> tuple[str, Map]:
        """Return where a product goes that another kernel computes."""
        self._stored_directly = store is not None
        if store is not None:
            return store.buffer, store.map
        axes = (*self._batch, *self._rows, *self._columns)
        matrix = self._product_matrix(dtype, self._ordered(axes))
        return matrix.buffer, self._product_map

    def _convolved(self, buffer: str, place: Map) -> None:
        """Add a stage that is a convolution, of filters in panels if it takes them."""
        contract = self.contract
        left, right = (self.makers[v.name] for v in (contract.lhs, contract.rhs))
        assert isinstance(right, Load)
        loops = [*self._ordered(contract.result.axes), *contract.axes]
        done = contract, Store(buffer, place, contract.result)
        stage = self._nested("conv", [left, right, *done], loops, None)
        found = convolution_of(stage.kernel)
        assert found is not None
        panel = panel_of(found, self.target)
        if panel:
            right = self._in_panels(right, panel)
            stage = self._nested("conv", [left, right, *done], loops, None)
        self.stages.append(stage)

    def _in_panels(self, load: Load, panel: int) -> Load:
        """Return a load of filters from scratch, where a stage puts them into panels.

        There they lie as (group, panel, *taps, channel, filter).
        """
        group, filters, channels, *taps = load.map
        (name,) = axes_in(filters)
        number, lane = f"{name}.panel", f"{name}.lane"
        extents = {**self.extents, number: self.extents[name] // panel, lane: panel}
        to = (group, axis(number), *taps, channels, axis(lane))
        shape = tuple(prod(extents[a] for a in axes_in(index)) for index in to)
        buffer = self._scratch(load.result.name, shape, load.result.dtype)
        loops = [a for index in to for a in axes_in(index)]
        value = replace(load.result, axes=frozenset(loops))
        source = (group, axis(number) * panel + axis(lane), channels, *taps)
        moved = replace(load, result=value, map=source)
        body = (moved, Store(buffer.name, to, value))
        axes = tuple(Axis(a, extents[a]) for a in loops)
        self.stages.append(self._nested("filters", body, loops, lane, axes))
        here = (floordiv(filters, panel), *taps, channels, mod(filters, panel))
        return replace(load, buffer=buffer.name, map=(group, *here))

    def _summed(self, buffer: str, place: Map, dtype: np.dtype) -> None:
        """Add a stage that multiplies and sums in the loop nest."""
        contract = self.contract
        body = self._closure([contract.lhs.name, contract.rhs.name])
        operands = []
        for value in (contract.lhs, contract.rhs):
            if value.dtype != dtype:
                wide = Value(f"{value.name}.wide", value.axes, dtype)
                body.append(Compute(wide, convert_p, (value,), {"dtype": dtype}))
                value = wide
            operands.append(value)
        both = contract.lhs.axes | contract.rhs.axes
        product = Value(f"{contract.result.name}.product", both, dtype)
        body.append(Compute(product, mul_p, tuple(operands), {}))
        result = replace(contract.result, dtype=dtype)
        body.append(Reduce(result, "add", contract.axes, product))
        body.append(Store(buffer, place, result))
        kept = [*self._batch, *self._rows, *self._columns]
        along_k = self._is_vector_product()
        vector = contract.axes[-1] if along_k else (kept[-1] if kept else None)
        loops = [*kept, *contract.axes]
        self.stages.append(self._nested("sum", body, loops, vector))

    def _epilogue(self, done: Store | None, dtype: np.dtype) -> Nested:
        """Return everything that is left: with the product loaded, without `done`."""
        contract = self.contract
        body: list[KernelOp] = []
        for op in self.kernel.body:
            if op is not contract:
                body.append(op)
            elif done is None:
                body.extend(self._product_loads(dtype))
        roots = [op for op in body if isinstance(op, Store) and op is not done]
        live = _live(body, roots, self.analysis)
        used = set().union(*(self._axes_of(op) for op in live))
        loops = [a for a in self.schedule.loops if a in used]
        vector = self.schedule.vector_axis
        if vector not in loops:
            free = self._ordered((*self._rows, *self._columns))
            near = [a for a in free if a in loops]
            vector = near[-1] if near else None
        return self._nested("epilogue", live, loops, vector)

    def _product_loads(self, dtype: np.dtype) -> list[KernelOp]:
        narrow = self.contract.result
        if narrow.dtype == dtype:
            return [Load(narrow, self._product_buffer, self._product_map)]
        wide = replace(narrow, name=f"{narrow.name}.wide", dtype=dtype)
        return [
            Load(wide, self._product_buffer, self._product_map),
            Compute(narrow, convert_p, (wide,), {"dtype": narrow.dtype}),
        ]

    def _axes_of(self, op: KernelOp) -> set[str]:
        if isinstance(op, Load) and op.buffer.startswith(SCRATCH):
            return set(op.result.axes)
        if isinstance(op, Compute):
            return set(op.result.axes)
        return self.analysis.axes(op)

    def _nested(
        self,
        name: str,
        body: Sequence[KernelOp],
        loops: Sequence[str],
        vector: str | None,
        axes: tuple[Axis, ...] = (),
    ) -> Nested:
        """Return a stage that is a kernel over some of the loops, or of other axes."""
        read = {op.buffer for op in body if isinstance(op, Load)}
        written = {op.buffer for op in body if isinstance(op, Store)}
        known = (*self.kernel.inputs, *self.kernel.outputs, *self.temporaries)
        buffers = {b.name: b for b in known}
        kernel = Kernel(
            f"{self.kernel.name}.{name}",
            tuple(buffers[b] for b in sorted(read)),
            tuple(buffers[b] for b in sorted(written)),
            axes or tuple(a for a in self.kernel.axes if a.name in loops),
            tuple(body),
            self.kernel.source,
        )
        roles = {a: Role.VECTOR if a == vector else Role.SEQUENTIAL for a in loops}
        placements = {**placements_of(kernel, vector), **self.schedule.placements}
        schedule = Schedule(tuple(loops), roles, placements)
        return Nested(kernel, schedule)


def _is_multiplied(dtype: np.dtype) -> bool:
    """Tell whether matrices of a dtype are multiplied by blocks in registers."""
    return is_real(dtype) or (dtype.kind in "iu" and dtype.itemsize >= _WIDE_INTEGER)


def _best(rows: list[Row]) -> Row:
    """Return the axis to run the product along: contiguous in C, or the longest."""
    if not rows:
        return 1, 0, 1
    return max(rows, key=lambda row: (row[2] == 1 and row[1] <= 1, row[0]))


def _live(
    body: Sequence[KernelOp], roots: Iterable[KernelOp], analysis: Analysis
) -> list[KernelOp]:
    """Return the operations that roots need, in order."""
    wanted = set(roots)
    names: set[str] = set()
    out: list[KernelOp] = []
    for op in reversed(body):
        value = result_of(op)
        if op in wanted or (value is not None and value.name in names):
            out.append(op)
            loaded = isinstance(op, Load) and op.buffer.startswith(SCRATCH)
            if not loaded:
                names.update(analysis.uses(op))
    return out[::-1]


def check_contraction(kernel: Kernel) -> None:
    """Raise `InternalError` if a contraction's axes do not fit its operands."""
    for op in kernel.body:
        if not isinstance(op, Contract):
            continue
        for name in op.axes:
            if name not in op.lhs.axes or name not in op.rhs.axes:
                raise InternalError(
                    f"kernel {kernel.name}: {op.result.name} is contracted over "
                    f"{name}, along which an operand does not vary"
                )
