"""Random kernels that hold every invariant, with all operations, for Hypothesis."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from tracejit.ir import dtypes as dt
from tracejit.ir import ops as _ops  # noqa: F401
from tracejit.ir.graph import Literal
from tracejit.ir.primitive import REGISTRY, Params
from tracejit.kernels.kernel import (
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
    computed_dtype,
    dtype_of,
)
from tracejit.kernels.maps import Affine, Map, ValueIndex, axes_in, axis, floordiv, mod
from tracejit.kernels.schedule import Placement, Role, Schedule

DTYPES = [dt.NAME_TO_DTYPE[n] for n in ("f32", "f64", "bf16", "i32", "i64", "bool")]
UNARY = {"f": ("neg", "exp", "abs"), "i": ("neg", "abs"), "b": ("not",)}
BINARY = {"f": ("add", "mul", "maximum"), "i": ("sub", "mul", "xor"), "b": ("or",)}
TESTS = ("lt", "eq", "ge")
REDUCTIONS = {
    "f": ("add", "max", "min", "argmax"),
    "i": ("add", "mul", "and", "or", "argmin"),
    "b": ("and", "or"),
}


def family(dtype: np.dtype) -> str:
    return "f" if dt.is_inexact(dtype) else dtype.kind


@st.composite
def kernels(draw: st.DrawFn) -> tuple[Kernel, Schedule]:
    """Draw a kernel and a schedule of it."""
    extents = draw(st.lists(st.integers(1, 4), max_size=3))
    maker = _Maker(draw, dict(zip("ijk", extents, strict=False)))
    maker.load()
    for _ in range(draw(st.integers(0, 8))):
        maker.step()
    for _ in range(draw(st.integers(1, 2))):
        maker.store()
    source = draw(st.lists(st.sampled_from(["a.py:1", "b.py:22"]), unique=True))
    axes = tuple(Axis(n, e) for n, e in maker.extents.items())
    kernel = Kernel(
        draw(st.sampled_from(["f", "f_k0", "main.inner"])),
        tuple(maker.inputs),
        tuple(maker.outputs),
        axes,
        tuple(maker.body),
        tuple(source),
    )
    return kernel, maker.schedule()


@dataclass
class _Maker:
    draw: st.DrawFn
    extents: dict[str, int]
    inputs: list[Buffer] = field(default_factory=list)
    outputs: list[Buffer] = field(default_factory=list)
    body: list[KernelOp] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def pick(self, items: Sequence[object]) -> object:
        return self.draw(st.sampled_from(list(items)))

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def fresh(self, axes: frozenset[str], dtype: np.dtype) -> Value:
        # Names as people write them too: e0 is what the parser gives.
        name = self.pick(["a", "e", "v", "x.", "_"])
        return Value(f"{name}{len(self.values)}", axes, dtype)

    def add(self, op: KernelOp) -> None:
        self.body.append(op)
        self.values.append(op.result)

    def step(self) -> None:
        self.pick(
            [self.load, self.iota, self.reduce, self.contract, *[self.compute] * 4]
        )()

    # --- operations

    def index(self, depth: int = 1) -> Affine:
        index = Affine((), self.draw(st.integers(-3, 9)))
        for name in self.extents:
            index = index + axis(name) * self.draw(st.integers(-2, 2))
        if depth and self.flip():
            divide = self.pick([floordiv, mod])
            index = index + divide(self.index(0), self.draw(st.integers(2, 4)))
        return index

    def iota(self) -> None:
        index = self.index()
        dtype = self.pick([dt.INT64, dt.NAME_TO_DTYPE["i32"]])
        self.add(Iota(self.fresh(frozenset(axes_in(index)), dtype), index))

    def buffer(self, name: str, dtype: np.dtype, shape: Sequence[int]) -> Buffer:
        """Return a buffer in any order of memory, perhaps backwards."""
        order = self.draw(st.permutations(range(len(shape))))
        strides, step = [0] * len(shape), 1
        for d in order:
            strides[d] = -step if self.draw(st.integers(0, 9)) == 9 else step
            step *= shape[d]
        return Buffer(name, dtype, tuple(shape), tuple(strides))

    def load(self) -> None:
        dtype = self.pick(DTYPES)
        names = self.draw(st.permutations(list(self.extents)))
        at: list[Affine] = [axis(n) for n in names]
        shape = [self.extents[n] for n in names]
        bounds: list[Bound] = []
        check: list[int] = []
        through = frozenset(names)
        integers = [v for v in self.values if v.dtype == dt.INT64]
        kind = self.pick(["plain", "bounds", "checked"])
        if kind == "bounds":
            index, extent = self.index(), self.draw(st.integers(1, 5))
            bounds.append(Bound(index, extent))
            at.append(index)
            shape.append(extent)
            through |= axes_in(index)
        if kind == "checked" and integers:
            value = self.pick(integers)
            check.append(len(at))
            at.append(Affine(((ValueIndex(value.name), 1),)))
            shape.append(self.draw(st.integers(1, 5)))
            through |= value.axes
        fill = self.literal(dtype) if bounds else None
        made = self.buffer(f"in{len(self.inputs)}", dtype, shape)
        self.inputs.append(made)
        clip = bool(check) and self.flip()
        result = self.fresh(through, dtype)
        load = Load(
            result, made.name, tuple(at), tuple(bounds), fill, tuple(check), clip
        )
        self.add(load)

    def literal(self, dtype: np.dtype) -> Literal:
        if dtype == dt.BOOL:
            return Literal(self.flip(), dtype)
        if not dt.is_inexact(dtype):
            return Literal(self.draw(st.integers(-9, 9)), dtype)
        special = [0.0, -0.0, 1.5, -2.0, float("inf"), float("nan"), 1e-3]
        return Literal(np.asarray(self.pick(special)).astype(dtype), dtype)

    def compute(self) -> None:
        x = self.pick(self.values)
        kind = family(x.dtype)
        params: Params = {}
        operands: list[Operand] = [x, self.like(x)]
        which = self.pick(["unary", "binary", "test", "select", "convert"])
        if which == "unary":
            name, operands = self.pick(UNARY[kind]), [x]
        elif which == "binary":
            name = self.pick(BINARY[kind])
        elif which == "test":
            name = self.pick(TESTS)
        elif which == "convert":
            name, operands, params = "convert", [x], {"dtype": self.pick(DTYPES)}
        else:
            tests = [v for v in self.values if v.dtype == dt.BOOL]
            name = "select" if tests else self.pick(UNARY[kind])
            operands = [self.pick(tests), *operands] if tests else [x]
        if self.flip() and which in ("binary", "test"):
            operands.reverse()
        self.applied(name, operands, params)

    def applied(self, name: str, operands: Sequence[Operand], params: Params) -> None:
        axes = [o.axes for o in operands if isinstance(o, Value)]
        result = self.fresh(frozenset().union(*axes), dt.INT64)
        op = Compute(result, REGISTRY[name], tuple(operands), params)
        dtype = computed_dtype(op)
        result = Value(result.name, result.axes, dtype)
        self.add(Compute(result, op.primitive, op.operands, params))

    def like(self, x: Value) -> Operand:
        same = [v for v in self.values if v.dtype == x.dtype]
        return self.literal(x.dtype) if self.flip() else self.pick(same)

    def reduce(self) -> None:
        able = [v for v in self.values if v.axes]
        if not able:
            return
        x = self.pick(able)
        op = self.pick(REDUCTIONS[family(x.dtype)])
        axes = self.some(x.axes)
        dtype = dt.INT64 if op.startswith("arg") else x.dtype
        is_fused = op == "add" and self.is_product(x) and self.flip()
        self.add(Reduce(self.fresh(x.axes - set(axes), dtype), op, axes, x, is_fused))

    def is_product(self, x: Value) -> bool:
        made = next(op for op in self.body if op.result == x)
        is_mul = isinstance(made, Compute) and made.primitive.name == "mul"
        return is_mul and x.dtype in (dt.FLOAT32, dt.FLOAT64)

    def contract(self) -> None:
        able = [v for v in self.values if v.axes and dt.is_inexact(v.dtype)]
        pairs = [(a, b) for a in able for b in able if a.dtype == b.dtype]
        pairs = [(a, b) for a, b in pairs if a.axes & b.axes]
        if not pairs:
            return
        lhs, rhs = self.pick(pairs)
        axes = self.some(lhs.axes & rhs.axes)
        result = self.fresh((lhs.axes | rhs.axes) - set(axes), lhs.dtype)
        self.add(Contract(result, axes, lhs, rhs))

    def some(self, axes: frozenset[str]) -> tuple[str, ...]:
        chosen = st.lists(st.sampled_from(sorted(axes)), min_size=1, unique=True)
        return tuple(self.draw(chosen))

    def store(self) -> None:
        value: Operand = self.pick(self.values)
        names = sorted(value.axes) if isinstance(value, Value) else []
        more = {n for n in self.extents if self.draw(st.integers(0, 3)) == 3}
        names = self.draw(st.permutations(sorted({*names, *more})))
        if self.draw(st.integers(0, 5)) == 5:
            value = self.literal(dtype_of(value))
        at: Map = tuple(axis(n) for n in names)
        shape = [self.extents[n] for n in names]
        made = self.buffer(f"out{len(self.outputs)}", dtype_of(value), shape)
        self.outputs.append(made)
        self.body.append(Store(made.name, at, value))

    # --- the schedule

    def schedule(self) -> Schedule:
        loops = tuple(self.draw(st.permutations(list(self.extents))))
        over = [op for op in self.body if isinstance(op, Reduce | Contract)]
        reduced = {a for op in over for a in op.axes}
        has_tiles = any(isinstance(op, Contract) for op in over)
        vector = self.pick([None, *loops])
        roles = {}
        for name in loops:
            able = [Role.SEQUENTIAL]
            able += [] if name in reduced else [Role.GRID]
            able += [Role.TILE] if has_tiles else []
            roles[name] = Role.VECTOR if name == vector else self.pick(able)
        kept = self.draw(st.sets(st.sampled_from(self.values), max_size=2))
        placements = {}
        for value in (v for v in self.values if v in kept):
            able = list(Placement)
            if value.axes.intersection(loops[-1:]):  # it varies inside of a block
                able.remove(Placement.BLOCK)
            placements[value.name] = self.pick(able)
        return Schedule(loops, roles, placements)
