"""The arithmetic of a stream on one tile of scores, as kernels without products.

A tile has `block` positions of the streamed axis and `rows` rows of the results; in
scratch it lies with the rows innermost, so that what is reduced over the stream is
reduced lane by lane. What is computed for each element of it, and for each row, are
kernels in the IR: they are emitted as any others are.

Needs a kernel and its parts (`kernels.streams`); accesses that are linear in the axes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace

import numpy as np

from ...ir import dtypes as dt
from ...ir.graph import Literal
from ...ir.ops.elementwise import (
    add_p,
    convert_p,
    eq_p,
    exp_p,
    maximum_p,
    mul_p,
    select_p,
    sub_p,
)
from ...ir.primitive import Primitive
from ...kernels.kernel import (
    Axis,
    Buffer,
    Compute,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Store,
    Value,
    dense_strides,
    values_of,
)
from ...kernels.maps import Affine, AxisIndex, Map, axis
from ...kernels.online import Online
from ...kernels.pieces import closure, names_read, needed_for
from ...kernels.schedule import Role, Schedule
from ...kernels.schedules import placements_of
from ...kernels.streams import Hidden, Stream
from ...records import dataclass
from .contraction import Nested

TOP, SUM, SCALE = "stream.top", "stream.sum", "stream.scale"


def wide(dtype: np.dtype) -> np.dtype:
    """Return the dtype that products of one are summed in."""
    return dt.FLOAT32 if dtype in dt.NARROW_FLOATS else dtype


def tile_of(value: Value) -> str:
    """Return the scratch that holds a value along a tile."""
    return f"stream.tile.{value.name}"


def result_in(value: Value) -> str:
    """Return the scratch that holds the sums of a product."""
    return f"stream.acc.{value.name}"


def positions_in(name: str) -> str:
    """Return the scratch that holds positions along an axis."""
    return f"stream.at.{name}"


@dataclass(frozen=True)
class Access:
    """A buffer of the whole kernel as one of its loads or stores addresses it.

    Parameters
    ----------
    buffer : Buffer
        Of the whole kernel.
    strides : mapping of axis to int
        Elements from one position to the next.
    start : int
        Elements to the first one.
    """

    buffer: Buffer
    strides: dict[str, int]
    start: int


def access_of(kernel: Kernel, op: Load | Store) -> Access | None:
    """Return what an operation addresses, if it is linear in the axes."""
    if isinstance(op, Load) and (op.bounds or op.check):
        return None
    buffer = kernel.buffer(op.buffer)
    strides: dict[str, int] = {}
    start = 0
    for index, stride in zip(op.map, buffer.strides, strict=True):
        start += index.constant * stride
        for atom, coefficient in index.terms:
            if not isinstance(atom, AxisIndex):
                return None
            at = strides.get(atom.axis, 0) + coefficient * stride
            strides[atom.axis] = at
    return Access(buffer, strides, start)


@dataclass
class TileKernels:
    """Kernels on tiles of one size.

    Parameters
    ----------
    kernel : Kernel
    stream : Stream
    row, streamed, column : str
        The axes of a tile, and that of results.
    rows, block : int
        Extents of a tile.
    shown : Hidden or None
        A mask that hides nothing of the tile.
    accesses : dict of str to Access
        Filled in: buffers of the kernels that are buffers of the whole one.
    """

    kernel: Kernel
    stream: Stream
    row: str
    streamed: str
    column: str
    rows: int
    block: int
    shown: Hidden | None = None
    accesses: dict[str, Access] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._is_simpler = False  # than it is where the mask hides something
        own = {self.row: self.rows, self.streamed: self.block}
        self.extents = {a.name: own.get(a.name, a.extent) for a in self.kernel.axes}
        inner = {a for s in self.stream.scored for a in s.inner}
        self.kept = {self.row, self.streamed, self.column, *inner}

    # --- the kernels

    def operand(self, name: str, value: Value, axes: Sequence[str]) -> Nested:
        """Return the kernel that computes an operand, and stores it along `axes`."""
        body = self._local(closure(self.kernel.body, [value.name]))
        body += self._stored(name, value, axes)
        return self._nested(f"operand.{value.name}", body, axes)

    def weights(self) -> Nested:
        """Return the kernel from scores to the weights of all sums."""
        known = [s.product.result.name for s in self.stream.scored]
        values = [s.weights for s in self.stream.summed]
        ops = closure(self.kernel.body, [v.name for v in values], known)
        body = [*self._scores(), *self._local(ops)]
        for value in values:
            body += self._stored(tile_of(value), value, self._tile)
        return self._nested("weights", body, self._tile)

    def grown(self, r: Online) -> Nested:
        """Return the kernel of the scores, their maximum, and the scale of sums."""
        known = [s.product.result.name for s in self.stream.scored]
        score = self._along(r.scores)
        made = _Body(wide(score.dtype), frozenset({self.row}))
        body = [
            *self._scores(),
            *self._local(closure(self.kernel.body, [r.scores.name], known)),
        ]
        body += self._stored(f"{tile_of(r.scores)}.masked", r.scores, self._tile)
        if made.dtype != score.dtype:
            score = made.convert(score, score.axes, "score")
        best = made.value("block")
        made.ops.append(Reduce(best, "max", (self.streamed,), score))
        before = made.load(f"{TOP}.old", self.row, "before")
        after = made.compute(maximum_p, before, best)
        made.store(TOP, self.row, after)
        fall = made.compute(sub_p, before, made.finite(after))
        made.store(SCALE, self.row, made.compute(exp_p, fall))
        return self._nested("grown", [*body, *made.ops], self._columns, self.row)

    def exponentials(self, r: Online) -> Nested:
        """Return the kernel of the weights under the maximum so far, and their sums."""
        made = _Body(wide(r.scores.dtype), frozenset({self.row}))
        after = made.load(TOP, self.row, "after")
        top = self._along(r.top.result)
        made.ops.append(self._as(made.finite(after), top))
        score = self._along(r.scores)
        made.ops.append(
            Load(score, f"{tile_of(r.scores)}.masked", self._places(self._tile))
        )
        known = {r.scores.name, r.top.result.name}
        summed = [x.name for op in r.sums for x in values_of(op)]
        (last,) = self.stream.summed
        ops = closure(self.kernel.body, [last.weights.name, *summed], known)
        made.ops += self._local(ops)
        made.ops += self._stored(tile_of(last.weights), last.weights, self._tile)
        scale = made.load(SCALE, self.row, "scale")
        for op in r.sums:
            (x,) = values_of(op)
            x = self._along(x)
            if x.dtype != made.dtype:
                x = made.convert(x, x.axes, f"{op.result.name}.x")
            part = made.value(f"{op.result.name}.part")
            made.ops.append(Reduce(part, "add", (self.streamed,), x))
            old = made.load(f"{SUM}.{op.result.name}.old", self.row, op.result.name)
            new = made.compute(add_p, made.compute(mul_p, old, scale), part)
            made.store(f"{SUM}.{op.result.name}", self.row, new)
        return self._nested("exponentials", made.ops, self._columns, self.row)

    def scaled(self) -> Nested:
        """Return the kernel that scales the sums of a product."""
        (last,) = self.stream.summed
        both = frozenset({self.row, self.column})
        made = _Body(wide(last.weights.dtype), both)
        name = result_in(last.product.result)
        place = self._places((self.row, self.column))
        old = made.value("old")
        made.ops.append(Load(old, f"{name}.old", place))
        scale = made.load(SCALE, self.row, "scale")
        made.ops.append(Store(name, place, made.compute(mul_p, old, scale)))
        return self._nested("scaled", made.ops, (self.row, self.column))

    def ended(self) -> Nested:
        """Return the kernel of everything that is left once the stream has ended."""
        r = self.stream.online
        body: list[KernelOp] = []
        if r is not None:
            body += self._statistics(r)
        for s in self.stream.summed:
            result = self._along(s.product.result)
            place = self._places((self.row, self.column))
            name = result_in(s.product.result)
            value = replace(
                result, name=f"{result.name}.sum", dtype=wide(s.weights.dtype)
            )
            body.append(Load(value, name, place))
            if r is not None:
                value = self._unless_none(body, value)
            body.append(self._as(value, result))
        stores = [op for op in self.kernel.body if isinstance(op, Store)]
        read = [name for op in stores for name in names_read(op)]
        rest = closure(self.kernel.body, read, self.stream.results)
        body += self._local([*rest, *stores])
        return self._nested("ended", body, (self.row, self.column))

    def _statistics(self, r: Online) -> list[KernelOp]:
        """Bind the maximum and the sums of rows; NaN where all scores were -inf."""
        made = _Body(wide(r.scores.dtype), frozenset({self.row}))
        top = made.load(TOP, self.row, "top")
        none = replace(made.value("none"), dtype=dt.BOOL)
        low = Literal(-np.inf, made.dtype)
        made.ops.append(Compute(none, eq_p, (top, low), {}))
        made.ops.append(self._as(top, self._along(r.top.result)))
        for op in r.sums:
            total = made.load(f"{SUM}.{op.result.name}", self.row, op.result.name)
            kept = self._unless_none(made.ops, total)
            made.ops.append(self._as(kept, self._along(op.result)))
        return made.ops

    def _unless_none(self, body: list[KernelOp], value: Value) -> Value:
        none = Value("stream.none", frozenset({self.row}), dt.BOOL)
        kept = replace(value, name=f"{value.name}.kept")
        nan = Literal(np.nan, value.dtype)
        body.append(Compute(kept, select_p, (none, nan, value), {}))
        return kept

    # --- parts of bodies

    @property
    def _tile(self) -> tuple[str, str]:
        return self.streamed, self.row

    @property
    def _columns(self) -> tuple[str, str]:
        """Return the loops where the stream is reduced: lanes are rows."""
        return self.row, self.streamed

    def _places(self, axes: Iterable[str]) -> Map:
        return tuple(axis(a) for a in axes)

    def _scores(self) -> list[KernelOp]:
        """Return loads of the tiles that products gave."""
        out: list[KernelOp] = []
        for s in self.stream.scored:
            result = self._along(s.product.result)
            raw = replace(result, name=f"{result.name}.sum", dtype=wide(s.row.dtype))
            place = self._places(self._tile)
            out.append(Load(raw, tile_of(s.product.result), place))
            out.append(self._as(raw, result))
        return out

    def _stored(self, name: str, value: Value, axes: Sequence[str]) -> list[KernelOp]:
        """Return the store of a value along axes, as wide as products are."""
        value = self._along(value)
        stored = replace(value, name=f"{value.name}.stored", dtype=wide(value.dtype))
        return [self._as(value, stored), Store(name, self._places(axes), stored)]

    def _as(self, value: Value, result: Value) -> KernelOp:
        """Return the operation that gives a value another name, axes and dtype."""
        return Compute(result, convert_p, (value,), {"dtype": result.dtype})

    def _along(self, value: Value) -> Value:
        return replace(value, axes=value.axes & self.kept)

    def _local(self, ops: Iterable[KernelOp]) -> list[KernelOp]:
        """Return operations as they are on a tile."""
        out: list[KernelOp] = []
        for op in ops:
            if isinstance(op, Load | Store):
                out.append(self._access(op))
            elif isinstance(op, Iota):
                out += self._iota(op)
            elif isinstance(op, Reduce):
                assert isinstance(op.operand, Value)
                operand = self._along(op.operand)
                result = self._along(op.result)
                out.append(replace(op, result=result, operand=operand))
            else:
                assert isinstance(op, Compute)
                out.append(self._computed(op))
        return out

    def _computed(self, op: Compute) -> Compute:
        operands = tuple(
            self._along(x) if isinstance(x, Value) else x for x in op.operands
        )
        result, mask = self._along(op.result), self.shown
        is_mask = mask is not None and op.primitive is select_p
        if mask is not None and is_mask and op.operands[0] == mask.test:
            self._is_simpler = True
            shown = operands[1 if mask.is_shown else 2]
            params = {"dtype": result.dtype}
            return Compute(result, convert_p, (shown,), params)
        return replace(op, result=result, operands=operands)

    def _access(self, op: Load | Store) -> Load | Store:
        found = access_of(self.kernel, op)
        assert found is not None
        key = op.result.name if isinstance(op, Load) else "result"
        name = f"{op.buffer}.{key}"
        self.accesses[name] = found
        gone = {a: Affine() for a in found.strides if a not in self.kept}
        place = tuple(replace(i.substitute(gone), constant=0) for i in op.map)
        if isinstance(op, Load):
            return Load(self._along(op.result), name, place)
        value = self._along(op.value) if isinstance(op.value, Value) else op.value
        return Store(name, place, value)

    def _iota(self, op: Iota) -> list[KernelOp]:
        """Return the sum of the positions that an index is made of."""
        ops: list[KernelOp] = []
        total: Value | None = None
        for n, (atom, coefficient) in enumerate(op.index.terms):
            assert isinstance(atom, AxisIndex)
            own = frozenset({atom.axis}) & self.kept
            at = Value(f"{op.result.name}.{n}", own, dt.INT64)
            place = axis(atom.axis) if own else Affine()
            ops.append(Load(at, positions_in(atom.axis), (place,)))
            if coefficient != 1:
                factor = Literal(coefficient, dt.INT64)
                at = self._count(ops, mul_p, at, factor)
            total = at if total is None else self._count(ops, add_p, total, at)
        if total is None:
            return [Iota(self._along(op.result), op.index)]
        if op.index.constant:
            constant = Literal(op.index.constant, dt.INT64)
            total = self._count(ops, add_p, total, constant)
        ops.append(self._as(total, self._along(op.result)))
        return ops

    def _count(
        self, ops: list[KernelOp], primitive: Primitive, x: Value, y: Operand
    ) -> Value:
        """Apply a primitive to integers."""
        axes = x.axes | (y.axes if isinstance(y, Value) else frozenset())
        result = Value(f"{x.name}.{primitive.name}", axes, dt.INT64)
        ops.append(Compute(result, primitive, (x, y), {}))
        return result

    # --- kernels

    def scratch(self, name: str) -> Buffer:
        """Return a buffer in scratch."""
        name = name.removesuffix(".old")
        shapes: list[tuple[str, tuple[int, ...], np.dtype]] = []
        for s in self.stream.summed:
            dtype = wide(s.weights.dtype)
            columns = self.extents[self.column]
            shapes.append((result_in(s.product.result), (self.rows, columns), dtype))
        kind = wide(self.stream.summed[0].weights.dtype)
        found = {n: (shape, dtype) for n, shape, dtype in shapes}
        if name in found:
            return self._buffer(name, *found[name])
        if name.startswith("stream.at."):
            own = name.removeprefix("stream.at.")
            size = self.extents[own] if own in self.kept else 1
            return self._buffer(name, (size,), dt.INT64)
        if name.startswith("stream.tile."):
            return self._buffer(name, (self.block, self.rows), kind)
        return self._buffer(name, (self.rows,), kind)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        return Buffer(name, dtype, shape, dense_strides(shape))

    def _nested(
        self,
        name: str,
        body: Sequence[KernelOp],
        loops: Sequence[str],
        vector: str | None = None,
    ) -> Nested:
        # What has no mask in it is the same kernel, under the same name.
        suffix = ".shown" if self._is_simpler else ""
        self._is_simpler = False
        body = needed_for(body, [op for op in body if isinstance(op, Store)])
        read = {op.buffer for op in body if isinstance(op, Load)}
        written = {op.buffer for op in body if isinstance(op, Store)}
        shapes: dict[str, Buffer] = {}
        for n in sorted(read | written):
            if n in self.accesses:
                shapes[n] = replace(self.accesses[n].buffer, name=n)
            elif n.startswith("operand."):
                shape = tuple(self.extents[a] for a in loops)
                dtype = next(
                    op.value.dtype
                    for op in body
                    if isinstance(op, Store) and isinstance(op.value, Value)
                )
                shapes[n] = self._buffer(n, shape, dtype)
            else:
                shapes[n] = replace(self.scratch(n), name=n)
        kernel = Kernel(
            f"{self.kernel.name}.{name}.{self.rows}x{self.block}{suffix}",
            tuple(shapes[n] for n in sorted(read)),
            tuple(shapes[n] for n in sorted(written)),
            tuple(Axis(a, self.extents[a]) for a in loops),
            tuple(body),
            self.kernel.source,
        )
        vector = vector or loops[-1]
        roles = {a: Role.VECTOR if a == vector else Role.SEQUENTIAL for a in loops}
        placements = placements_of(kernel, vector)
        return Nested(kernel, Schedule(tuple(loops), roles, placements))


class _Body:
    """Operations on values along rows, in the order they are made."""

    def __init__(self, dtype: np.dtype, axes: frozenset[str]) -> None:
        self.dtype, self.axes = dtype, axes
        self.ops: list[KernelOp] = []
        self.count = 0

    def value(self, name: str) -> Value:
        """Return a value that something will bind."""
        return Value(f"stream.{name}", self.axes, self.dtype)

    def load(self, name: str, row: str, value: str) -> Value:
        """Load a value of each row."""
        result = Value(f"stream.{value}", frozenset({row}), self.dtype)
        self.ops.append(Load(result, name, (axis(row),)))
        return result

    def store(self, name: str, row: str, value: Value) -> None:
        """Store a value of each row."""
        self.ops.append(Store(name, (axis(row),), value))

    def compute(self, primitive: Primitive, *operands: Operand) -> Value:
        """Apply a primitive that gives numbers."""
        self.count += 1
        result = self.value(f"{primitive.name}{self.count}")
        self.ops.append(Compute(result, primitive, operands, {}))
        return result

    def convert(self, x: Value, axes: frozenset[str], name: str) -> Value:
        """Return a value as wide as sums are."""
        result = Value(f"stream.{name}.wide", axes, self.dtype)
        self.ops.append(Compute(result, convert_p, (x,), {"dtype": self.dtype}))
        return result

    def finite(self, x: Value) -> Value:
        """Return a maximum, 0 where all scores were -inf: it will be subtracted."""
        none = replace(self.value(f"none{self.count}"), dtype=dt.BOOL)
        low = Literal(-np.inf, self.dtype)
        self.ops.append(Compute(none, eq_p, (x, low), {}))
        return self.compute(select_p, none, Literal(0.0, self.dtype), x)
