"""Kernels that one Triton kernel cannot be, or should not: cut into several.

Cutting at a value gives a kernel that stores it in a workspace buffer, and a rest that
loads it. It is done where a reduction runs inside the loop of another one, where a
contraction meets reductions that are not of its rows, held whole, and where a reduction
has too few results to keep the device busy: then each part of the reduced axis is a
partial result of its own, and a finishing kernel combines them.

    v = reduce add over r: x[r]      →   p[s] = reduce add over t: x[s·T + t]
                                         v    = reduce add over s: p[s]

Needs flattened and joined pieces for splitting, any for cutting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...ir import dtypes as dt
from ...ir.graph import Literal
from ...ir.ops.elementwise import add_p, and_p, convert_p, lt_p, mul_p, select_p
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
    result_of,
)
from ...kernels.maps import (
    Affine,
    AxisIndex,
    ValueIndex,
    axis,
    floordiv,
    mod,
)
from ...kernels.online import LARGEST_COLUMNS, delayed
from ...kernels.pieces import (
    Piece,
    axes_of,
    buffers_of,
    names_read,
    needed_for,
    rebuilt,
)
from ...kernels.streams import stream_of
from .code import Tuning, power_of_two
from .values import highest, is_real_float, lowest

COLUMN_BLOCK = 64  # columns that a program reduces side by side
_ALIGNED = 16  # elements that parts are a multiple of
_MANY_PASSES = 16  # parts from which a row in several passes is split, too
DOT_DTYPES = dt.FLOATS  # what tl.dot multiplies; integers are summed


def neutral(op: str, dtype: np.dtype) -> object:
    """Return the element that a reduction does not notice."""
    if op in ("max", "argmax"):
        return lowest(dtype)
    if op in ("min", "argmin"):
        return highest(dtype)
    if op == "add":
        return -0.0 if is_real_float(dtype) else 0
    if op == "mul":
        return 1
    return 0 if op == "or" else (True if dtype.kind == "b" else _all_ones(dtype))


def _all_ones(dtype: np.dtype) -> object:
    return np.invert(np.zeros((), dtype))[()]


# --- cutting at a value -----------------------------------------------------------


def cut(piece: Piece, values: Sequence[Value], suffix: str) -> tuple[Piece, Piece]:
    """Return a kernel that stores `values`, and the rest, which loads them."""
    kernel = piece.kernel
    names = {v.name for v in values}
    rows = {v.name: _workspace(piece, v) for v in values}
    sources = [
        op for op in kernel.body if getattr(result_of(op), "name", None) in names
    ]
    stores = [Store(rows[v.name].name, (_place(piece, v),), v) for v in values]
    first = [*needed_for(kernel.body, sources), *stores]
    loads = [
        Load(v, rows[v.name].name, (_place(piece, v),))
        if v is not None and v.name in names
        else op
        for op in kernel.body
        for v in [result_of(op)]
    ]
    rest = needed_for(loads, [op for op in loads if isinstance(op, Store)])
    buffers = [*buffers_of(kernel), *rows.values()]
    return (
        rebuilt(piece, f"{kernel.name}_{suffix}", first, buffers),
        rebuilt(piece, f"{kernel.name}_rest", rest, buffers),
    )


def _along(piece: Piece, value: Value) -> list[str]:
    return [a for a in piece.loops if a in value.axes]


def _place(piece: Piece, value: Value) -> Affine:
    """Return the position of a value in its workspace."""
    at, step = Affine(), 1
    for name in reversed(_along(piece, value)):
        at = at + axis(name) * step
        step *= piece.kernel.extent(name)
    return at


def _workspace(piece: Piece, value: Value) -> Buffer:
    size = prod(piece.kernel.extent(a) for a in _along(piece, value))
    return Buffer(f"ws_{value.name}", value.dtype, (size,), (1,))


# --- what has to be cut -----------------------------------------------------------


def separated(piece: Piece) -> Iterator[Piece]:
    """Yield kernels of which each is one contraction or independent reductions.

    What one pass over a row computes stays whole (`online`).
    """
    streamed = delayed(piece)
    if stream_of(streamed.kernel) is not None:
        yield streamed
        return
    piece = _without_small_contractions(piece)
    values = _first_cut(piece)
    if not values:
        yield piece
        return
    first, rest = cut(piece, values, values[0].name)
    yield from separated(first)
    yield from separated(rest)


def _without_small_contractions(piece: Piece) -> Piece:
    """Write contractions that no matrix unit does as products that are summed."""
    body: list[KernelOp] = []
    for op in piece.kernel.body:
        if isinstance(op, Contract) and not _is_dot(op, piece.kernel):
            body.extend(_as_sum(op))
        else:
            body.append(op)
    return Piece(replace(piece.kernel, body=tuple(body)), piece.loops)


def _is_dot(op: Contract, kernel: Kernel) -> bool:
    both = op.lhs.axes & op.rhs.axes
    rows = prod(kernel.extent(a) for a in op.lhs.axes - both)
    columns = prod(kernel.extent(a) for a in op.rhs.axes - both)
    one = op.lhs.dtype == op.rhs.dtype == op.result.dtype
    inside = set(op.axes) <= both
    return one and inside and op.result.dtype in DOT_DTYPES and min(rows, columns) > 1


def _as_sum(op: Contract) -> list[KernelOp]:
    lhs, rhs, dtype = op.lhs, op.rhs, op.result.dtype
    axes = lhs.axes | rhs.axes
    name = op.result.name
    times = and_p if dtype.kind == "b" else mul_p
    if dtype not in dt.NARROW_FLOATS:
        product = Value(f"{name}_product", axes, dtype)
        return [
            Compute(product, times, (lhs, rhs), {}),
            Reduce(op.result, "add", op.axes, product),
        ]
    wide = {"dtype": dt.FLOAT32}
    a, b, product = (Value(f"{name}_{x}", axes, dt.FLOAT32) for x in ("a", "b", "ab"))
    total = Value(f"{name}_sum", op.result.axes, dt.FLOAT32)
    return [
        Compute(replace(a, axes=lhs.axes), convert_p, (lhs,), wide),
        Compute(replace(b, axes=rhs.axes), convert_p, (rhs,), wide),
        Compute(
            product,
            mul_p,
            (replace(a, axes=lhs.axes), replace(b, axes=rhs.axes)),
            {},
        ),
        Reduce(total, "add", op.axes, product),
        Compute(op.result, convert_p, (total,), {"dtype": dtype}),
    ]


def _first_cut(piece: Piece) -> list[Value]:
    """Return the values to cut a kernel at, none if it need not be cut."""
    body = piece.kernel.body
    reduces = [op for op in body if isinstance(op, Reduce)]
    contracts = [op for op in body if isinstance(op, Contract)]
    if not contracts:
        return _nested(body, reduces)
    first = contracts[0]
    inside = needed_for(body, [first])
    before = [op for op in inside if isinstance(op, Reduce)]
    if before:
        return [op.result for op in before]
    alone = len(contracts) == 1 and _covers(piece.kernel, first)
    alone = alone and all(_is_held(piece.kernel, first, op) for op in reduces)
    is_done = len(body) == len(inside) + 1 and isinstance(body[-1], Store)
    return [] if alone or is_done else [first.result]


def _covers(kernel: Kernel, op: Contract) -> bool:
    """Tell whether all that is not before a contraction runs along its result."""
    before = set(needed_for(kernel.body, [op]))
    kept = op.lhs.axes | op.rhs.axes
    for other in kernel.body:
        along = axes_of(other)
        if not along <= kept or (other not in before and along & set(op.axes)):
            return False
    return True


def _is_held(kernel: Kernel, product: Contract, op: Reduce) -> bool:
    """Tell whether a reduction is of the rows of a product, which a program holds."""
    columns = product.rhs.axes - product.lhs.axes
    length = prod(kernel.extent(a) for a in columns)
    return set(op.axes) == columns and 0 < length <= LARGEST_COLUMNS


def _reduces_below(body: Sequence[KernelOp], op: Reduce) -> bool:
    return any(isinstance(x, Reduce) and x is not op for x in needed_for(body, [op]))


def _nested(body: Sequence[KernelOp], reduces: Sequence[Reduce]) -> list[Value]:
    """Return the results of the first reductions that run inside of others."""
    for op in reduces:
        if not any(_clash(body, op, other) for other in reduces):
            continue
        group = [r for r in reduces if set(r.axes) == set(op.axes)]
        return [r.result for r in group if _only_of(body, r, set(op.axes))]
    return []


def _only_of(body: Sequence[KernelOp], op: Reduce, axes: set[str]) -> bool:
    inside = needed_for(body, [op])
    return all(set(x.axes) == axes for x in inside if isinstance(x, Reduce))


def _clash(body: Sequence[KernelOp], op: Reduce, other: Reduce) -> bool:
    mine, theirs = set(op.axes), set(other.axes)
    if mine == theirs:
        return False
    return any(axes_of(x) & mine and axes_of(x) & theirs for x in body)


# --- splitting a reduction --------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """How a reduction is split.

    Parameters
    ----------
    axes : tuple of str
        The reduced axes, outermost first.
    extents : tuple of int
    count, size : int
        Parts, and elements of each; the last one may have fewer.
    """

    axes: tuple[str, ...]
    extents: tuple[int, ...]
    count: int
    size: int

    outer: str = "s_part"
    inner: str = "r_part"

    @property
    def length(self) -> int:
        return prod(self.extents)

    @property
    def flat(self) -> Affine:
        """The position along all reduced axes together."""
        return axis(self.outer) * self.size + axis(self.inner)

    @property
    def is_uneven(self) -> bool:
        return self.count * self.size != self.length

    def places(self) -> dict[str, Affine]:
        """Return the position along each reduced axis."""
        out, step = {}, self.length
        for name, extent in zip(self.axes, self.extents, strict=True):
            above, step = step, step // extent
            at = floordiv(self.flat, step)
            out[name] = at if above == self.length else mod(at, extent)
        return out


def split(piece: Piece, tuning: Tuning, wanted: int = 0) -> Iterator[Piece]:
    """Yield a piece, or its partial, finishing and remaining kernels.

    Parameters
    ----------
    piece : Piece
    tuning : Tuning
    wanted : int
        Parts of its first reduction; 0 leaves that to the heuristic.
    """
    parts = None if wanted == 1 else _parts(piece, tuning, wanted)
    if parts is None:
        yield piece
        return
    body = piece.kernel.body
    ready = [op for op in _reduces(body) if not _reduces_below(body, op)]
    ready = [op for op in ready if op.axes == parts.axes]
    splitting = _Splitting(piece, parts)
    partial = splitting.partial(ready)
    yield partial
    first, rest = splitting.finish(ready)
    yield first
    if rest is not None:
        yield from split(rest, tuning)


def parts_of(piece: Piece, tuning: Tuning) -> int:
    """Return into how many parts the first reduction is split; 1: it is not."""
    parts = _parts(piece, tuning)
    return 1 if parts is None else parts.count


def split_product(piece: Piece, count: int) -> Iterator[Piece]:
    """Yield a contraction, or one for each part of what it sums, and what adds them.

    Parameters
    ----------
    piece : Piece
        With one contraction.
    count : int
        Of parts: 1, or a divisor of the sum's length if nothing is reduced.
    """
    body = piece.kernel.body
    (op,) = (x for x in body if isinstance(x, Contract))
    extents = tuple(piece.kernel.extent(a) for a in op.axes)
    if count < 2:
        yield piece
        return
    parts = _Parts(op.axes, extents, count, prod(extents) // count)
    splitting = _Splitting(piece, parts)
    yield splitting.partial([op])
    first, rest = splitting.finish([Reduce(op.result, "add", op.axes, op.lhs)])
    assert rest is None, "what comes after a contraction does not run along its sum"
    yield first


def equal_parts(length: int, wanted: int, tuning: Tuning) -> int:
    """Return how many parts of one size a sum has, at most as many as are wanted."""
    most = min(wanted, length // tuning.product_part)
    sizes = (n for n in range(most, 1, -1) if length % (n * _ALIGNED) == 0)
    return next(sizes, 1)


def _reduces(body: Sequence[KernelOp]) -> list[Reduce]:
    return [op for op in body if isinstance(op, Reduce)]


def _parts(piece: Piece, tuning: Tuning, wanted: int = 0) -> _Parts | None:
    """Return how to split the first reduction that ought to be, if any.

    `wanted` parts, or as many as the device can use.
    """
    kernel = piece.kernel
    kept = [a.extent for a in kernel.axes if a.name not in piece.reduced]
    width = prod(kept)
    for op in _reduces(kernel.body):
        if _reduces_below(kernel.body, op) or not _same_order(kernel.body, op):
            continue
        side = min(width, COLUMN_BLOCK) if is_column(piece, op.axes) else 1
        programs = -(-width // max(side, 1))
        extents = tuple(kernel.extent(a) for a in op.axes)
        length = prod(extents)
        useful = length * side // tuning.split
        count = min(2 * tuning.processors // max(programs, 1), useful)
        count = power_of_two(count + 1) // 2
        if _runs_again(kernel.body, op) and useful < _MANY_PASSES:
            continue  # the row is short enough to stay in one kernel
        if count < 2 or programs >= tuning.processors:
            continue
        size = -(-length // (wanted or count))
        size = -(-size // _ALIGNED) * _ALIGNED
        return _Parts(op.axes, extents, -(-length // size), size)
    return None


def _runs_again(body: Sequence[KernelOp], op: Reduce) -> bool:
    """Tell whether the axes of a reduction are run along after it, too."""
    after = {op.result.name}
    for x in body:
        result = result_of(x)
        if after.intersection(names_read(x)):
            after |= set() if result is None else {result.name}
            if axes_of(x) & set(op.axes):
                return True
    return False


def _same_order(body: Sequence[KernelOp], op: Reduce) -> bool:
    others = [x for x in _reduces(body) if set(x.axes) == set(op.axes)]
    return all(x.axes == op.axes for x in others)


def is_column(piece: Piece, reduced: Sequence[str]) -> bool:
    """Tell whether neighbours in memory are along a kept axis, not a reduced one.

    Loads that run along one of the two alone are few, and say nothing.
    """
    kept = [a for a in piece.loops if a not in piece.reduced]
    if not kept:
        return False
    loads = [op for op in piece.kernel.body if isinstance(op, Load)]
    across = [op for op in loads if kept[-1] in axes_of(op)]
    along = [op for op in across if axes_of(op) & set(reduced)]
    columns = sum(_step(op, piece, kept[-1]) == 1 for op in along)
    rows = sum(any(_step(op, piece, a) == 1 for a in reduced) for op in along)
    return columns > rows


def _step(op: Load, piece: Piece, name: str) -> int:
    """Return how far a load moves in memory along an axis; 0 if that varies."""
    strides = piece.kernel.buffer(op.buffer).strides if op.check else (1,)
    total = Affine()
    for index, stride in zip(op.map, strides, strict=True):
        total = total + index * stride
    return next((c for a, c in total.terms if a == AxisIndex(name)), 0)


@dataclass
class _Splitting:
    """Makes the kernels of one split reduction."""

    piece: Piece
    parts: _Parts
    rows: dict[str, Buffer] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[Axis, ...]:
        p = self.parts
        return (
            Axis(p.outer, p.count),
            *self.piece.kernel.axes,
            Axis(p.inner, p.size),
        )

    @property
    def loops(self) -> tuple[str, ...]:
        return (self.parts.outer, *self.piece.loops, self.parts.inner)

    @property
    def buffers(self) -> list[Buffer]:
        return [*buffers_of(self.piece.kernel), *self.rows.values()]

    def name(self, suffix: str) -> str:
        return f"{self.piece.kernel.name}_{suffix}"

    # --- the partial kernel

    def partial(self, reduces: Sequence[Reduce | Contract]) -> Piece:
        """Return the kernel that reduces each part, and stores it."""
        body: list[KernelOp] = []
        for op in needed_for(self.piece.kernel.body, reduces):
            if isinstance(op, Reduce):
                body.extend(self._reduced_part(op))
            elif isinstance(op, Contract):
                body.extend(self._contracted_part(op))
            else:
                body.append(self._moved(op))
        name = self.name("partial")
        return rebuilt(self.piece, name, body, self.buffers, self.axes, self.loops)

    def _moved(self, op: KernelOp) -> KernelOp:
        """Return an operation with the reduced axes as part and position in it."""
        places = self.parts.places()
        if isinstance(op, Compute):
            operands = tuple(self._along_parts(x) for x in op.operands)
            return replace(op, result=self._value(op.result), operands=operands)
        if isinstance(op, Iota):
            index = op.index.substitute(places)
            return replace(op, result=self._value(op.result), index=index)
        assert isinstance(op, Load)
        at = tuple(i.substitute(places) for i in op.map)
        bounds = tuple(Bound(b.index.substitute(places), b.extent) for b in op.bounds)
        fill = op.fill
        if self.parts.is_uneven and axes_of(op) & set(self.parts.axes):
            bounds = (*bounds, Bound(self.parts.flat, self.parts.length))
            fill = fill or Literal(0, op.result.dtype)
        result = self._value(op.result)
        return replace(op, result=result, map=at, bounds=bounds, fill=fill)

    def _value(self, x: Value) -> Value:
        gone = x.axes & set(self.parts.axes)
        both = {self.parts.outer, self.parts.inner} if gone else set()
        return replace(x, axes=x.axes - gone | both)

    def _along_parts(self, x: Operand) -> Operand:
        return self._value(x) if isinstance(x, Value) else x

    def _reduced_part(self, op: Reduce) -> list[KernelOp]:
        """Return one reduction over a part, and the stores of its result."""
        parts = self.parts
        along = (op.result.axes - set(parts.axes)) | {parts.outer}
        operand, body = self._operand(op)
        dtype = operand.dtype
        if not op.op.startswith("arg"):
            value = Value(f"{op.result.name}_part", along, dtype)
            return [
                *body,
                Reduce(value, op.op, (parts.inner,), operand),
                self._store(value),
            ]
        best = Value(f"{op.result.name}_best", along, dtype)
        near = Value(f"{op.result.name}_near", along, dt.INT64)
        start = Value(f"{op.result.name}_start", frozenset({parts.outer}), dt.INT64)
        value = Value(f"{op.result.name}_part", along, dt.INT64)
        return [
            *body,
            Reduce(best, op.op[3:], (parts.inner,), operand),
            Reduce(near, op.op, (parts.inner,), operand),
            Iota(start, axis(parts.outer) * parts.size),
            Compute(value, add_p, (near, start), {}),
            self._store(best),
            self._store(value),
        ]

    def _contracted_part(self, op: Contract) -> list[KernelOp]:
        """Return one contraction over a part, in which the parts are a batch."""
        wide = dt.FLOAT32 if op.result.dtype in dt.NARROW_FLOATS else op.result.dtype
        along = op.result.axes | {self.parts.outer}
        value = Value(f"{op.result.name}_part", along, wide)
        lhs, rhs = self._value(op.lhs), self._value(op.rhs)
        part = replace(op, result=value, axes=(self.parts.inner,), lhs=lhs, rhs=rhs)
        return [part, self._store(value)]

    def _operand(self, op: Reduce) -> tuple[Value, list[KernelOp]]:
        """Return what is reduced: sums of halves in float32, nothing past the end."""
        parts, body = self.parts, list[KernelOp]()
        x = self._along_parts(op.operand)
        dtype = x.aval.dtype if isinstance(x, Literal) else x.dtype
        both = frozenset({parts.outer, parts.inner})
        along = (x.axes if isinstance(x, Value) else frozenset[str]()) | both
        name = op.result.name
        if op.op in ("add", "mul") and dtype in dt.NARROW_FLOATS:
            wide = Value(f"{name}_wide", along, dt.FLOAT32)
            body.append(Compute(wide, convert_p, (x,), {"dtype": dt.FLOAT32}))
            x, dtype = wide, dt.FLOAT32
        if parts.is_uneven or not isinstance(x, Value) or x.axes != along:
            at = Value(f"{name}_at", both, dt.INT64)
            inside = Value(f"{name}_inside", both, dt.BOOL)
            kept = Value(f"{name}_kept", along, dtype)
            end = Literal(parts.length, dt.INT64)
            nothing = Literal(neutral(op.op, dtype), dtype)
            body += [
                Iota(at, parts.flat),
                Compute(inside, lt_p, (at, end), {}),
                Compute(kept, select_p, (inside, x, nothing), {}),
            ]
            x = kept
        return x, body

    def _rows_along(self, value: Value) -> list[str]:
        return [a for a in self.loops if a in value.axes]

    def _extent(self, name: str) -> int:
        return next(a.extent for a in self.axes if a.name == name)

    def _place(self, value: Value) -> Affine:
        at, step = Affine(), 1
        for name in reversed(self._rows_along(value)):
            at = at + axis(name) * step
            step *= self._extent(name)
        return at

    def _store(self, value: Value) -> Store:
        size = prod(self._extent(a) for a in self._rows_along(value))
        row = Buffer(f"ws_{value.name}", value.dtype, (size,), (1,))
        self.rows[value.name] = row
        return Store(row.name, (self._place(value),), value)

    # --- the finishing kernel

    def finish(self, reduces: Sequence[Reduce]) -> tuple[Piece, Piece | None]:
        """Return the finishing kernel, and what is left if it is another kernel."""
        done = {op.result.name for op in reduces}
        head = [new for op in reduces for new in self._finished(op)]
        tail = [
            op
            for op in self.piece.kernel.body
            if getattr(result_of(op), "name", None) not in done
        ]
        body = [*head, *tail]
        body = needed_for(body, [op for op in body if isinstance(op, Store)])
        whole = rebuilt(
            self.piece, self.name("finish"), body, self.buffers, self.axes, self.loops
        )
        if not any(axes_of(op) & set(self.parts.axes) for op in body):
            return whole, None
        first, rest = cut(whole, [op.result for op in reduces], "parts")
        named = replace(first.kernel, name=self.name("finish"))
        left = replace(rest.kernel, name=self.name("rest"))
        return Piece(named, first.loops), Piece(left, rest.loops)

    def _finished(self, op: Reduce) -> list[KernelOp]:
        """Return the reduction of what the parts gave."""
        parts, name, result = self.parts, op.result.name, op.result
        along = result.axes | {parts.outer}
        row = self.rows[f"{name}_part"]
        value = Value(f"{name}_part", along, row.dtype)
        load = Load(value, row.name, (self._place(value),))
        if not op.op.startswith("arg"):
            total = replace(result, dtype=row.dtype)
            if total == result:
                return [load, Reduce(result, op.op, (parts.outer,), value)]
            total = replace(total, name=f"{name}_sum")
            return [
                load,
                Reduce(total, op.op, (parts.outer,), value),
                Compute(result, convert_p, (total,), {"dtype": result.dtype}),
            ]
        best = self.rows[f"{name}_best"]
        value = Value(f"{name}_best", along, best.dtype)
        which = Value(f"{name}_which", result.axes, dt.INT64)
        chosen = Affine(((ValueIndex(which.name), 1),))
        at = self._place(value).substitute({parts.outer: chosen})
        return [
            Load(value, best.name, (self._place(value),)),
            Reduce(which, op.op, (parts.outer,), value),
            Load(result, row.name, (at,)),
        ]
