"""Random graphs of what fusion works on, from a seed, with arguments for them.

Values that rounding may change (sums, products, transcendental functions) are only used
by continuous operations, so that every way of computing a graph gives close results.
"""

from typing import Any

import numpy as np

from tracejit.ir import dtypes as dt
from tracejit.ir.aval import Shape, ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Atom, Graph, Literal, Var
from tracejit.ir.ops.contract import dot_general_p
from tracejit.ir.ops.control import call_p, cond_p
from tracejit.ir.ops.elementwise import convert_p, select_p
from tracejit.ir.ops.indexing import gather_p, scatter_p
from tracejit.ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from tracejit.ir.ops.reduce import argmax_p, argmin_p, cumsum_p
from tracejit.ir.ops.shape import (
    broadcast_in_dim_p,
    concatenate_p,
    constant_p,
    iota_p,
    pad_p,
    reshape_p,
    rev_p,
    slice_p,
    transpose_p,
    update_slice_p,
)
from tracejit.ir.ops.sort import sort_p
from tracejit.ir.primitive import REGISTRY, ArrayConstant, Primitive

DTYPES = [dt.NAME_TO_DTYPE[n] for n in ("f32", "f64", "i32", "i64", "u8", "bool")]
EXACT_FLOAT = ("neg", "abs", "maximum", "minimum")
ROUNDED_FLOAT = ("mul", "add", "sub", "tanh", "sin", "exp")
INTEGER = ("add", "sub", "mul", "maximum", "minimum", "neg", "abs")
BOOLEAN = ("and", "or", "xor", "not")
FLOAT_REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min")
INTEGER_REDUCTIONS = (*FLOAT_REDUCTIONS, "reduce_prod", "reduce_and", "reduce_or")
UNARY = ("neg", "abs", "tanh", "sin", "exp", "not")
MOST_ELEMENTS = 4000


LOOP_SEEDS = 1 << 40  # from this seed on, graphs have loops
SCATTER_SEEDS = 1 << 39  # from this seed up to those, scatters


def random_graph(seed: int) -> tuple[Graph, list[np.ndarray]]:
    """Return a graph and arguments for it.

    It has loops from `LOOP_SEEDS` on, scatters from `SCATTER_SEEDS` up to there.
    """
    rng = np.random.default_rng(seed)
    kind: type[Maker] = LoopMaker if seed >= LOOP_SEEDS else Maker
    if SCATTER_SEEDS <= seed < LOOP_SEEDS:
        kind = ScatterMaker
    maker = kind(rng, Builder(f"g{seed}"))
    maker.inputs(int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(2, 7 if kind is LoopMaker else 14))):
        maker.step(nested=True)
    graph = maker.finished()
    args = [random_array(rng, v.aval) for v in graph.invars]
    return graph, args


def random_array(rng: np.random.Generator, aval: ShapedArray) -> np.ndarray:
    """Return values of moderate size; quarters among the floats."""
    if aval.dtype == dt.BOOL:
        return rng.integers(0, 2, aval.shape).astype(bool)
    low = 0 if aval.dtype.kind == "u" else -8
    whole = rng.integers(low, 9, aval.shape)
    return (whole / 4 if aval.dtype.kind == "f" else whole).astype(aval.dtype)


class Maker:
    """Adds random equations to a builder."""

    def __init__(self, rng: np.random.Generator, b: Builder) -> None:
        self.rng, self.b = rng, b
        self.values: list[Atom] = []
        self.rounded: set[Atom] = set()
        extents = [int(n) for n in rng.choice([1, 2, 3, 4, 5, 7, 17], 3)]
        if rng.random() < 0.08:
            extents[int(rng.integers(3))] = 0
        self.extents = extents

    # --- drawing

    def shape(self) -> Shape:
        ndim = int(self.rng.integers(0, 4))
        return tuple(self.pick(self.extents) for _ in range(ndim))

    def pick(self, items: object) -> object:
        items = list(items)
        return items[int(self.rng.integers(len(items)))]

    def any(self) -> Atom:
        """Return a value, later ones more often."""
        if self.rng.random() < 0.5:
            return self.values[-1]
        return self.pick(self.values)

    def like(self, x: Atom) -> Atom:
        """Return a value of the shape and dtype of `x`: an old one, or one made so."""
        found = [v for v in self.values if v.aval == x.aval and v is not x]
        if found and self.rng.random() < 0.7:
            return self.pick(found)
        same = [v for v in self.values if v.aval.dtype == x.aval.dtype]
        for v in reversed(same):
            dims = self.aligned(v.aval.shape, x.aval.shape)
            if dims is not None and v.aval.shape != x.aval.shape:
                params = {"shape": x.aval.shape, "dims": dims}
                return self.emit(broadcast_in_dim_p, v, **params)
        return self.literal(x.aval.dtype) if self.rng.random() < 0.5 else x

    def aligned(self, small: Shape, large: Shape) -> Shape | None:
        """Return axes of `large` that the axes of `small` could be, if any fit."""
        dims: list[int] = []
        for n in small:
            start = dims[-1] + 1 if dims else 0
            fits = [d for d in range(start, len(large)) if n in (1, large[d])]
            if not fits:
                return None
            dims.append(fits[0])
        return tuple(dims)

    def literal(self, dtype: np.dtype) -> Literal:
        return Literal(random_array(self.rng, ShapedArray((), dtype)), dtype)

    def is_rounded(self, *xs: Atom) -> bool:
        return any(x in self.rounded for x in xs)

    def emit(self, primitive: Primitive, *xs: Atom, **params: object) -> Atom:
        out = self.b.emit(primitive, *xs, **params)
        if self.is_rounded(*xs):
            self.rounded.add(out)
        return out

    # --- steps

    def inputs(self, count: int) -> None:
        for i in range(count):
            aval = ShapedArray(self.shape(), self.pick(DTYPES))
            self.values.append(self.b.input(aval, f"x{i}"))

    def step(self, nested: bool) -> None:
        rules = [self.elementwise] * 5 + [self.view] * 3 + [self.reduction] * 3
        rules += [self.pieces] * 2 + [self.gather, self.made, self.other]
        rules += [self.dot, self.subgraph] if nested else []
        x = self.any()
        out = self.pick(rules)(x)
        small = [v for v in out if v.aval.size <= MOST_ELEMENTS]
        self.values.extend(v for v in small if isinstance(v, Var))

    def elementwise(self, x: Atom) -> list[Atom]:
        kind = x.aval.dtype.kind
        rule = self.rng.random()
        if rule < 0.15 and not (self.is_rounded(x) and kind == "f"):
            return [self.emit(convert_p, x, dtype=self.safe_target(x.aval.dtype))]
        if rule < 0.3 and not self.is_rounded(x):
            y = self.like(x)
            if not self.is_rounded(y):
                test = self.emit(REGISTRY[self.pick(["lt", "eq", "ge"])], x, y)
                return [test, self.emit(select_p, test, x, y)]
        names = {"f": EXACT_FLOAT + ROUNDED_FLOAT, "b": BOOLEAN}.get(kind, INTEGER)
        name = self.pick(names)
        if kind == "u" and name in ("neg", "abs"):
            name = "add"
        xs = [x] if name in UNARY else [x, self.like(x)]
        out = self.emit(REGISTRY[name], *xs)
        if kind == "f" and name in ROUNDED_FLOAT:
            self.rounded.add(out)
            out = self.emit(REGISTRY["minimum"], out, Literal(8.0, x.aval.dtype))
            out = self.emit(REGISTRY["maximum"], out, Literal(-8.0, x.aval.dtype))
        return [out]

    def safe_target(self, dtype: np.dtype) -> np.dtype:
        """Return a dtype that NumPy converts to in one way: no negative to unsigned."""
        names = ["f32", "f64", "i64", "bool"] if dtype.kind == "f" else ["f64", "i32"]
        return dt.NAME_TO_DTYPE[self.pick(names)]

    def view(self, x: Atom) -> list[Atom]:
        n, shape = x.aval.ndim, x.aval.shape
        which = int(self.rng.integers(6))
        perm = tuple(int(p) for p in self.rng.permutation(n))
        if which == 0:
            return [self.emit(transpose_p, x, perm=perm)]
        if which == 1:
            return [self.emit(reshape_p, x, shape=self.reshaped(x.aval))]
        if which == 2:
            return [self.emit(rev_p, x, axes=perm[:1])]
        if which == 3:
            at = int(self.rng.integers(n + 1))
            full = (*shape[:at], self.pick(self.extents), *shape[at:])
            dims = tuple(d for d in range(n + 1) if d != at)
            return [self.emit(broadcast_in_dim_p, x, shape=full, dims=dims)]
        start = tuple(int(self.rng.integers(0, max(s, 1))) for s in shape)
        stop = tuple(
            int(self.rng.integers(a, s + 1)) if s else 0
            for a, s in zip(start, shape, strict=True)
        )
        start = tuple(min(a, z) for a, z in zip(start, stop, strict=True))
        stride = tuple(int(self.rng.integers(1, 4)) for _ in shape)
        return [self.emit(slice_p, x, start=start, stop=stop, stride=stride)]

    def reshaped(self, aval: ShapedArray) -> Shape:
        size, shape = aval.size, aval.shape
        divisors = [k for k in range(1, size + 1) if size % k == 0] or [1]
        first = self.pick(divisors)
        options = [(size,), (first, size // first), (size, 1), (*shape, 1)]
        if len(shape) > 1:
            options.append((shape[0] * shape[1], *shape[2:]))
        if len(shape) > 2:
            options.append((shape[0], shape[1] * shape[2], *shape[3:]))
        return self.pick(options)

    def reduction(self, x: Atom) -> list[Atom]:
        n, kind = x.aval.ndim, x.aval.dtype.kind
        axes = tuple(d for d in range(n) if self.rng.random() < 0.5)
        has_all = all(x.aval.shape[d] for d in axes)
        if n and kind in "iub" and self.rng.random() < 0.2:
            axis = int(self.rng.integers(n))
            if x.aval.shape[axis]:
                return [self.emit(self.pick([argmax_p, argmin_p]), x, axis=axis)]
        if kind == "b":
            names: tuple[str, ...] = ("reduce_and", "reduce_or")
        else:
            names = FLOAT_REDUCTIONS if kind == "f" else INTEGER_REDUCTIONS
        name = self.pick(names)
        if not has_all and name in ("reduce_max", "reduce_min"):
            name = "reduce_sum"
        out = self.emit(REGISTRY[name], x, axes=axes)
        if kind == "f" and name == "reduce_sum":
            self.rounded.add(out)
        return [out]

    def pieces(self, x: Atom) -> list[Atom]:
        n, shape = x.aval.ndim, x.aval.shape
        which = int(self.rng.integers(3))
        if which == 0:
            low, high = (tuple(map(int, self.rng.integers(0, 3, n))) for _ in range(2))
            value = self.literal(x.aval.dtype)
            return [self.emit(pad_p, x, value, low=low, high=high)]
        if which == 1 and n:
            axis = int(self.rng.integers(n))
            parts = [x, self.like(x)]
            parts = [p for p in parts if p.aval.shape == shape]
            return [self.emit(concatenate_p, *parts, axis=axis)]
        start = tuple(int(self.rng.integers(0, s + 1)) for s in shape)
        stride = tuple(int(self.rng.integers(1, 3)) for _ in shape)
        stop = tuple(
            min(a + int(self.rng.integers(0, 6)), s)
            for a, s in zip(start, shape, strict=True)
        )
        piece = self.emit(slice_p, x, start=start, stop=stop, stride=stride)
        other = self.emit(
            REGISTRY["xor" if x.aval.dtype == dt.BOOL else "maximum"],
            piece,
            self.literal(x.aval.dtype),
        )
        return [self.emit(update_slice_p, x, other, start=start, stride=stride)]

    def gather(self, x: Atom) -> list[Atom]:
        if not x.aval.ndim or 0 in x.aval.shape:
            return []
        indices, how = self.places(x)
        return [self.emit(gather_p, x, *indices, **how)]

    def places(self, x: Atom) -> tuple[list[Atom], dict[str, Any]]:
        """Return indices for some axes of an array, and the params that say which."""
        n, shape = x.aval.ndim, x.aval.shape
        count = int(self.rng.integers(1, n + 1))
        axes = tuple(sorted(int(a) for a in self.rng.permutation(n)[:count]))
        batch = axes[0] if self.rng.random() < 0.3 else 0
        index_shape = (*shape[:batch], *self.shape()[: 3 - batch])
        mode = self.pick(["raise", "clip"])
        indices: list[Atom] = []
        for axis in axes:
            low = 0 if mode == "clip" else -shape[axis]
            found = self.rng.integers(low, shape[axis], index_shape)
            value = ArrayConstant(np.asarray(found, np.int64))
            indices.append(self.b.emit(constant_p, value=value))
        if self.rng.random() < 0.3:
            zero = Literal(0, dt.INT64)
            indices = [self.b.emit(REGISTRY["add"], i, zero) for i in indices]
        return indices, {"axes": axes, "batch": batch, "mode": mode}

    def made(self, x: Atom) -> list[Atom]:
        shape = (*x.aval.shape, 2)
        axis = int(self.rng.integers(len(shape)))
        dtype = self.pick(DTYPES[:4])
        return [self.b.emit(iota_p, shape=shape, axis=axis, dtype=dtype)]

    def other(self, x: Atom) -> list[Atom]:
        if not x.aval.ndim or x.aval.dtype == dt.BOOL:
            return []
        axis = int(self.rng.integers(x.aval.ndim))
        if self.rng.random() < 0.5:
            return [self.emit(sort_p, x, axis=axis)]
        out = self.emit(cumsum_p, x, axis=axis, reverse=bool(self.rng.random() < 0.5))
        self.rounded.add(out)
        return [out]

    def dot(self, x: Atom) -> list[Atom]:
        n = x.aval.ndim
        if x.aval.dtype.kind != "f" or not n:
            return []
        perm = tuple(int(p) for p in self.rng.permutation(n))
        y = self.emit(transpose_p, x, perm=perm)
        summed = int(self.rng.integers(1, n + 1))
        axes = tuple(int(a) for a in self.rng.permutation(n)[:summed])
        other = tuple(perm.index(a) for a in axes)
        cut = int(self.rng.integers(0, summed))
        contract = (axes[cut:], other[cut:])
        batch = (axes[:cut], other[:cut])
        out = self.emit(dot_general_p, x, y, contract=contract, batch=batch)
        self.rounded.add(out)
        return [out]

    def subgraph(self, x: Atom) -> list[Atom]:
        args = [x, self.any()]
        graphs = []
        for name in ("first", "second"):
            inner = Maker(self.rng, Builder(name))
            inner.extents = self.extents
            inner.values = [inner.b.input(a.aval) for a in args]
            inner.rounded = set(inner.values)
            for _ in range(int(self.rng.integers(1, 4))):
                inner.step(nested=False)
            graphs.append(inner.b.build([inner.any(), *inner.values[-1:]]))
        first, second = graphs
        called = [*self.b.emit_all(call_p, args, {"graph": first})]
        called += self.b.emit_all(call_p, args[:1] + args[1:], {"graph": first})
        if first.out_avals == second.out_avals:
            pred = Literal(bool(self.rng.random() < 0.5), dt.BOOL)
            params = {"on_true": first, "on_false": second}
            called += self.b.emit_all(cond_p, [pred, *args], params)
        self.rounded.update(called)
        return called

    def finished(self) -> Graph:
        """Return the graph with some of the values as results."""
        count = int(self.rng.integers(1, 5))
        outs = [self.any() for _ in range(count)]
        if self.rng.random() < 0.1:
            outs.append(self.literal(dt.FLOAT32))
        return self.b.build(outs)


class ScatterMaker(Maker):
    """Adds scatters too, of what lies at other indices or of one number."""

    def step(self, nested: bool) -> None:
        x = self.any()
        if self.rng.random() > 0.3 or not x.aval.ndim or 0 in x.aval.shape:
            super().step(nested)
            return
        out = self.scatter(x)
        if out.aval.size <= MOST_ELEMENTS:
            self.values.append(out)

    def scatter(self, x: Atom) -> Var:
        """Return an array of which some places are written, some of them twice."""
        indices, how = self.places(x)
        source = x
        if self.rng.random() < 0.3:
            zero = self.literal(x.aval.dtype)
            source = self.b.emit(broadcast_in_dim_p, zero, shape=x.aval.shape, dims=())
        updates = self.emit(gather_p, x, *indices, **how)
        if self.rng.random() < 0.3:
            number = self.literal(x.aval.dtype)
            shape = updates.aval.shape
            updates = self.b.emit(broadcast_in_dim_p, number, shape=shape, dims=())
        op = self.pick(["add", "add", "set", "max", "min", "mul"])
        out = self.emit(scatter_p, source, updates, *indices, **how, op=op)
        if op in ("add", "mul") and x.aval.dtype.kind == "f":
            self.rounded.add(out)
        return out


class LoopMaker(Maker):
    """Adds loops too, now and then one inside of another."""

    def __init__(self, rng: np.random.Generator, b: Builder, depth: int = 0) -> None:
        super().__init__(rng, b)
        self.depth = depth

    def step(self, nested: bool) -> None:
        if self.depth > 1 or self.rng.random() > 0.4 / (1 + self.depth):
            super().step(nested)
            return
        out = self.scan() if self.rng.random() < 0.7 else self.while_()
        self.rounded.update(out)
        self.values.extend(v for v in out if v.aval.size <= MOST_ELEMENTS)

    def some(self, most: int) -> list[Atom]:
        return [self.any() for _ in range(int(self.rng.integers(0, most + 1)))]

    def body(self, ins: list[ShapedArray]) -> "LoopMaker":
        """Return the maker of a body that has these inputs and some equations."""
        inner = LoopMaker(self.rng, Builder("turn"), self.depth + 1)
        inner.extents = self.extents
        inner.values = [inner.b.input(a) for a in ins]
        inner.rounded = set(inner.values)
        for _ in range(int(self.rng.integers(1, 5))):
            inner.step(nested=bool(self.rng.random() < 0.3))
        return inner

    def of_type(self, aval: ShapedArray) -> Atom:
        """Return a value of a type that some value has; seldom a literal."""
        if not aval.shape and self.rng.random() < 0.1:
            return self.literal(aval.dtype)
        return self.pick(v for v in self.values if v.aval == aval)

    def scan(self) -> list[Atom]:
        length = int(self.rng.choice([0, 1, 2, 3, 5]))
        xs = [v for v in self.some(2) if v.aval.ndim]
        if xs:
            length = xs[0].aval.shape[0]
            xs = [v for v in xs if v.aval.shape[0] == length]
        fixed, carries = self.some(2), self.some(3)
        slices = [x.aval.with_shape(x.aval.shape[1:]) for x in xs]
        avals = [v.aval for v in (*fixed, *carries)]
        inner = self.body([*avals, *slices, ShapedArray((), dt.FLOAT32)])
        unused = Literal(0.5, dt.FLOAT32)
        last = inner.b.invars.pop()
        inner.b.invars.insert(0, last)  # always one constant
        after = [inner.of_type(c.aval) for c in carries]
        graph = inner.b.build([*after, *inner.some(2)])
        p = ScanParams(
            graph,
            length,
            bool(self.rng.random() < 0.3),
            len(fixed) + 1,
            len(carries),
            int(self.rng.choice([1, 1, 2, 3])),
        )
        ins = [unused, *fixed, *carries, *xs]
        return list(self.b.emit_all(scan_p, ins, p.params))

    def while_(self) -> list[Atom]:
        fixed, carries = self.some(2), self.some(3)
        count = ShapedArray((), dt.INT64)
        inner = self.body([*(v.aval for v in (*fixed, *carries)), count])
        n = inner.b.invars[-1]
        after = [inner.of_type(c.aval) for c in carries]
        turn = inner.b.build([*after, inner.b.emit(REGISTRY["add"], n, 1)])
        test = Builder("test")
        limit = test.input(count)
        for x in carries:
            test.input(x.aval)
        below = test.emit(REGISTRY["lt"], test.input(count), limit)
        p = WhileParams(test.build([below]), turn, 1, len(fixed))
        turns = Literal(int(self.rng.integers(0, 5)), dt.INT64)
        ins = [turns, *fixed, *carries, Literal(0, dt.INT64)]
        return list(self.b.emit_all(while_p, ins, p.params))
