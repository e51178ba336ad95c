"""Random graphs for hypothesis: many primitives, dtypes, literals, sub-graphs."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Atom, Graph, Literal, Var
from tracejit.ir.ops.control import call_p, cond_p
from tracejit.ir.ops.elementwise import convert_p, eq_p, maximum_p, not_p, select_p
from tracejit.ir.ops.indexing import gather_p
from tracejit.ir.ops.reduce import argmax_p, reduce_max_p
from tracejit.ir.ops.shape import (
    broadcast_in_dim_p,
    concatenate_p,
    constant_p,
    full_like,
    iota_p,
    pad_p,
    reshape_p,
    rev_p,
    transpose_p,
)
from tracejit.ir.ops.sort import sort_p
from tracejit.ir.primitive import ArrayConstant

Draw = Callable[[st.SearchStrategy], object]
DTYPES = st.sampled_from(list(dt.NAME_TO_DTYPE.values()))
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
NAMES = st.text("abcxyz_.019", max_size=4)
SOURCES = st.lists(
    st.sampled_from(["model.py:3", "train.py:17", "a/b.py:100"]),
    max_size=2,
    unique=True,
).map(tuple)


@st.composite
def scalars(draw: Draw, dtype: np.dtype) -> Literal:
    """Any bits: NaN with payload, infinities, -0.0, subnormals, extreme integers."""
    if dtype == dt.BOOL:
        return Literal(draw(st.booleans()), dtype)
    if draw(st.booleans()):
        simple = (
            [0, 1, 2] if dtype in dt.INTEGERS else [-0.0, 0.1, np.inf, np.nan, -1e30]
        )
        with np.errstate(over="ignore"):
            return Literal(
                np.asarray(draw(st.sampled_from(simple))).astype(dtype), dtype
            )
    raw = draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize))
    return Literal(np.frombuffer(raw, dtype)[0], dtype)


@st.composite
def constants(draw: Draw) -> ArrayConstant:
    dtype, shape = draw(DTYPES), draw(SHAPES)
    if draw(st.integers(0, 5)) == 0:
        shape = (65,)  # written as hex
    rows = [draw(scalars(dtype)).value for _ in range(min(int(np.prod(shape)), 3))]
    array = np.zeros(shape, dtype)
    if array.size:
        array.reshape(-1)[: len(rows)] = np.array(rows, dtype)
    return ArrayConstant(array)


class GraphMaker:
    """Adds random equations to a builder; `values` can be operands."""

    def __init__(self, draw: Draw, b: Builder) -> None:
        self.draw = draw
        self.b = b
        self.values: list[Atom] = []

    def any(self) -> Atom:
        return self.draw(st.sampled_from(self.values))

    def step(self, depth: int) -> None:
        self.b.source = self.draw(SOURCES)
        x = self.any()
        rules = [self.elementwise, self.views, self.made, self.picked]
        if depth:
            rules.append(self.subgraphs)
        rule = self.draw(st.sampled_from(rules))
        self.values.extend(rule(x))

    def elementwise(self, x: Atom) -> tuple[Atom, ...]:
        b, dtype = self.b, x.aval.dtype
        y = self.draw(scalars(dtype))
        if dtype == dt.BOOL:
            chosen = [self.draw(scalars(dt.FLOAT32)) for _ in range(2)]
            return b.emit(not_p, x), b.emit(select_p, x, *chosen)
        made = b.emit(eq_p, y, x)
        out = [made, b.emit(select_p, made, x, y)]
        if dtype not in dt.COMPLEX:
            target = self.draw(DTYPES)
            out += [b.emit(convert_p, x, dtype=target), b.emit(maximum_p, y, x)]
        return tuple(out)

    def views(self, x: Atom) -> tuple[Atom, ...]:
        b, n, shape = self.b, x.aval.ndim, x.aval.shape
        perm = tuple(self.draw(st.permutations(range(n))))
        out = [
            b.emit(reshape_p, x, shape=(x.aval.size, 1)),
            b.emit(transpose_p, x, perm=perm),
            b.emit(rev_p, x, axes=perm[:1]),
            b.emit(
                broadcast_in_dim_p, x, shape=(2, *shape), dims=tuple(range(1, n + 1))
            ),
            b.emit(pad_p, x, self.draw(scalars(x.aval.dtype)), low=(1,) * n, high=perm),
        ]
        if n:
            out.append(b.emit(concatenate_p, x, x, axis=0))
        return tuple(out)

    def made(self, x: Atom) -> tuple[Atom, ...]:
        shape = (*x.aval.shape, 2)
        return (
            self.b.emit(constant_p, value=self.draw(constants())),
            self.b.emit(
                iota_p, shape=shape, axis=len(shape) - 1, dtype=self.draw(DTYPES)
            ),
        )

    def picked(self, x: Atom) -> tuple[Atom, ...]:
        b, n = self.b, x.aval.ndim
        if not n or x.aval.dtype in dt.COMPLEX or not x.aval.size:
            return ()
        index = b.emit(argmax_p, x, axis=n - 1)
        mode = self.draw(st.sampled_from(["raise", "clip"]))
        return (
            b.emit(gather_p, x, index, axes=(n - 1,), batch=0, mode=mode),
            b.emit(sort_p, x, axis=0),
            b.emit(reduce_max_p, x, axes=tuple(range(n))),
        )

    def subgraphs(self, x: Atom) -> tuple[Atom, ...]:
        args = [x, self.any()]
        avals = [a.aval for a in args]
        first = self.draw(graphs(avals=avals, depth=0))
        called = self.b.emit_all(call_p, args, {"graph": first})
        if self.draw(st.booleans()):
            return called
        second = Builder("other")
        for aval in avals:
            second.input(aval)
        zeros = second.build([full_like(second, 0, a) for a in first.out_avals])
        pred = self.draw(scalars(dt.BOOL))
        params = {"on_true": first, "on_false": zeros}
        return (*called, *self.b.emit_all(cond_p, [pred, *args], params))


@st.composite
def graphs(draw: Draw, avals: list[ShapedArray] | None = None, depth: int = 1) -> Graph:
    """Draw a valid graph."""
    b = Builder(draw(st.sampled_from(["main", "f_1", "model.forward"])))
    maker = GraphMaker(draw, b)
    if avals is None:
        count = draw(st.integers(1, 3))
        avals = [ShapedArray(draw(SHAPES), draw(DTYPES)) for _ in range(count)]
    maker.values = [b.input(a, draw(NAMES)) for a in avals]
    for _ in range(draw(st.integers(0, 4))):
        maker.step(depth)
    outs = draw(st.lists(st.sampled_from(maker.values), max_size=3))
    outs += [draw(scalars(draw(DTYPES)))] if draw(st.booleans()) else []
    for x in maker.values:
        if isinstance(x, Var) and not x.name:
            x.name = draw(NAMES)
    return b.build(outs)
