"""The verifier of kernels: what is true of every kernel and its schedule.

K1  Names of axes, buffers and values are each bound once; extents are not negative.
K2  A buffer has a stride for each axis; no two elements of an output share a place.
K3  Operands, also those inside of index expressions, are bound by earlier operations.
K4  Index expressions refer to axes of the kernel and to integer values; no atom stands
    in one twice or with factor zero; divisors are positive.
K5  Loads read inputs and stores write outputs; a map has one index for each axis.
K6  Indices are in range wherever they count; run-time indices are checked or clipped.
K7  A load has a fill if it has bounds, and none otherwise; its checked axes exist.
K8  A result varies along the union of its operands' axes, less those reduced.
K9  Reduced axes are axes of what is reduced, each once; a `reduce` has at least one.
K10 Dtypes agree: a result has that which its operation gives, a stored value that of
    its buffer.
K11 Computed values come of registered elementwise primitives with the params that they
    declare; reductions are those that there are.
K12 Every element of every output is stored once, and the stored value does not vary
    along other axes than its place does.
K13 The schedule has each axis once and a role for each; at most one is the vector axis
    of each independent part; grid axes are not reduced; tiles are there only for
    contractions.
K14 Placements are of values of the kernel; those of blocks do not vary inside of one.
K15 A loop has a turn, a count of at least one, and an init and a next of its dtype for
    each carry, along no other axes than the carry; in it stands nothing that is summed
    or stored, and what it loads is at places that only the turn decides. What is bound
    inside is read inside only. A `carried` is of one of the carries of a loop.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from ..errors import TracejitError, VerifyError
from ..ir.dtypes import BOOL, FLOAT32, FLOAT64, INT64
from ..ir.primitive import REGISTRY, Kind
from .interp import REDUCTIONS
from .kernel import (
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
    computed_dtype,
    dtype_of,
    factors_of,
    has_overlaps,
    indices_of,
    result_of,
    values_of,
)
from .maps import Affine, FloorDiv, Mod, axes_in, values_in
from .parts import parts_of
from .printer import format_index, format_operation, format_schedule
from .ranges import Limits, is_in_range, stores_each_once
from .schedule import Placement, Role, Schedule


def verify_kernel(kernel: Kernel, schedule: Schedule | None = None) -> Kernel:
    """Check every invariant and return `kernel`.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule, optional
        Checked with it where one is given.

    Raises
    ------
    VerifyError
        Naming the invariant, the operation with its neighbours, and the user's lines.
    """
    _Checks(kernel).all()
    if schedule is not None:
        _check_schedule(kernel, schedule)
    return kernel


class _Checks:
    """One verification: the values bound so far, by name."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.extents = {a.name: a.extent for a in kernel.axes}
        self.inputs = {b.name: b for b in kernel.inputs}
        self.outputs = {b.name: b for b in kernel.outputs}
        self.values: dict[str, Value] = {}
        self.makers: dict[str, KernelOp] = {}  # by their results
        self.loops: dict[str, Repeat] = {}  # by their results
        self.gone: set[str] = set()  # values that were bound inside of loops
        self.index: int | None = None

    def all(self) -> None:
        self.parameters()
        for i, op in enumerate(self.kernel.body):
            self.index = i
            self.one(op)
        self.index = None
        self.stores()

    def one(self, op: KernelOp) -> None:
        """Check an operation and bind its result."""
        self.operands(op)
        self.indices(op)
        self.operation(op)
        self.bind(op)

    def fail(self, number: str, message: str) -> NoReturn:
        fail(self.kernel, self.index, number, message)

    # --- names and buffers

    def parameters(self) -> None:
        buffers = (*self.kernel.inputs, *self.kernel.outputs)
        for kind, names in (
            ("axis", [a.name for a in self.kernel.axes]),
            ("buffer", [b.name for b in buffers]),
        ):
            for name, count in Counter(names).items():
                if count > 1:
                    self.fail("K1", f"{kind} {name} is bound {count} times")
        for axis in self.kernel.axes:
            if axis.extent < 0:
                self.fail("K1", f"axis {axis.name} has extent {axis.extent}")
        for buffer in buffers:
            self.strides(buffer)

    def strides(self, buffer: Buffer) -> None:
        if len(buffer.strides) != len(buffer.shape):
            self.fail(
                "K2",
                f"%{buffer.name} has shape {list(buffer.shape)} and strides "
                f"{list(buffer.strides)}",
            )
        if min(buffer.shape, default=0) < 0:
            self.fail("K1", f"%{buffer.name} has shape {list(buffer.shape)}")
        if buffer.name in self.outputs and has_overlaps(buffer.shape, buffer.strides):
            self.fail(
                "K2",
                f"elements of output %{buffer.name} share places: shape "
                f"{list(buffer.shape)}, strides {list(buffer.strides)}",
            )

    def bind(self, op: KernelOp) -> None:
        result = result_of(op)
        if result is not None:
            self.bind_value(result)
            self.makers[result.name] = op

    def bind_value(self, value: Value) -> None:
        if value.name in self.values or value.name in self.gone:
            self.fail("K1", f"%{value.name} is bound twice")
        self.values[value.name] = value

    # --- operands and indices

    def operands(self, op: KernelOp) -> None:
        for value in values_of(op):
            self.read(value)

    def read(self, value: Value) -> None:
        found = self.values.get(value.name)
        if found is None:
            self.fail("K3", f"%{value.name} is not bound before its use")
        if found != value:
            self.fail("K3", f"%{value.name} is read as {value}, but is {found}")

    def indices(self, op: KernelOp) -> None:
        for index in indices_of(op):
            for name in axes_in(index) - set(self.extents):
                self.fail("K4", f"{format_index(index)} names {name}, which is no axis")
            for name in values_in(index):
                if name not in self.values:
                    self.fail("K3", f"%{name} is not bound before its use as an index")
                if not is_integer(self.values[name]):
                    dtype = self.values[name].dtype
                    self.fail("K4", f"the index %{name} is of dtype {dtype}")
            self.terms(index)

    def terms(self, index: Affine) -> None:
        atoms = [atom for atom, _ in index.terms]
        if len(set(atoms)) < len(atoms) or not all(c for _, c in index.terms):
            self.fail("K4", f"{format_index(index)} has a term twice or zero times")
        for atom in atoms:
            if isinstance(atom, FloorDiv | Mod):
                if atom.divisor < 1:
                    self.fail("K4", f"{format_index(index)} divides by {atom.divisor}")
                self.terms(atom.inner)

    def place(self, op: Load | Store, buffers: dict[str, Buffer], what: str) -> Buffer:
        """Return the buffer that an operation reads or writes."""
        buffer = buffers.get(op.buffer)
        if buffer is None:
            self.fail("K5", f"%{op.buffer} is no {what} of the kernel")
        if len(op.map) != len(buffer.shape):
            self.fail(
                "K5",
                f"{len(op.map)} indices for the {len(buffer.shape)} axes of "
                f"%{buffer.name}",
            )
        return buffer

    def in_range(self, op: Load | Store, shape: tuple[int, ...]) -> None:
        bounds, checked = (op.bounds, op.check) if isinstance(op, Load) else ((), ())
        limits: Limits = [(b.index, b.extent) for b in bounds]
        if 0 in self.extents_of(op):
            return  # it never happens
        for d, (index, extent) in enumerate(zip(op.map, shape, strict=True)):
            if d in checked:
                continue
            if not is_in_range(index, extent, self.extents, limits):
                self.fail(
                    "K6",
                    f"index {format_index(index)} of axis {d} of %{op.buffer} may be "
                    f"outside of [0, {extent})",
                )

    def extents_of(self, op: KernelOp) -> list[int]:
        """Return the extents of the axes that an operation acts on."""
        axes = set[str]().union(*(self.varies(i) for i in indices_of(op)))
        return [self.extents[a] for a in axes.union(*(v.axes for v in values_of(op)))]

    def varies(self, index: Affine) -> frozenset[str]:
        """Return the axes along which an index varies, through values too."""
        through = (self.values[name].axes for name in values_in(index))
        return frozenset(axes_in(index)).union(*through)

    # --- operations

    def operation(self, op: KernelOp) -> None:
        """Check what is particular to each kind of operation."""
        if isinstance(op, Load):
            self.load(op)
        elif isinstance(op, Iota):
            self.iota(op)
        elif isinstance(op, Compute):
            self.compute(op)
        elif isinstance(op, Reduce):
            self.reduce(op)
        elif isinstance(op, Contract):
            self.contract(op)
        elif isinstance(op, Repeat):
            self.repeat(op)
        elif isinstance(op, Carried):
            self.carried(op)
        else:
            self.store(op)

    def result(self, value: Value, axes: frozenset[str], dtype: np.dtype) -> None:
        """Check what an operation gives: its axes and its dtype."""
        if value.axes != axes:
            have, want = (f"{{{', '.join(sorted(a))}}}" for a in (value.axes, axes))
            self.fail("K8", f"%{value.name} varies along {have}, expected {want}")
        if value.dtype != dtype:
            self.fail("K10", f"%{value.name} is {value.dtype}, expected {dtype}")

    def load(self, op: Load) -> None:
        buffer = self.place(op, self.inputs, "input")
        for d in op.check:
            if not 0 <= d < len(buffer.shape):
                self.fail("K7", f"there is no axis {d} of %{buffer.name} to check")
        if op.clip and not op.check:
            self.fail("K7", "nothing is clipped")
        if (op.fill is None) is bool(op.bounds):
            self.fail("K7", "bounds and a fill go together")
        if op.fill is not None and op.fill.aval.dtype != buffer.dtype:
            fill, dtype = op.fill.aval.dtype, buffer.dtype
            self.fail("K10", f"the fill of a load of {dtype} is {fill}")
        self.in_range(op, buffer.shape)
        axes = frozenset[str]().union(*(self.varies(i) for i in indices_of(op)))
        self.result(op.result, axes, buffer.dtype)

    def iota(self, op: Iota) -> None:
        if not is_integer(op.result) or op.result.dtype == BOOL:
            self.fail("K10", f"an index is given as {op.result.dtype}")
        self.result(op.result, self.varies(op.index), op.result.dtype)

    def compute(self, op: Compute) -> None:
        primitive = op.primitive
        if REGISTRY.get(primitive.name) is not primitive:
            self.fail("K11", f"{primitive.name} is not the registered primitive")
        if primitive.kind is not Kind.ELEMENTWISE:
            self.fail("K11", f"{primitive.name} is not elementwise")
        if set(op.params) != set(primitive.params):
            have, want = sorted(op.params), sorted(primitive.params)
            self.fail("K11", f"params {have}, expected {want}")
        try:
            dtype = computed_dtype(op)
        except TracejitError as error:
            self.fail("K10", str(error))
        axes = (v.axes for v in values_of(op))
        self.result(op.result, frozenset[str]().union(*axes), dtype)

    def reduce(self, op: Reduce) -> None:
        if op.op not in REDUCTIONS:
            self.fail("K11", f"there is no reduction {op.op!r}")
        axes = op.operand.axes if isinstance(op.operand, Value) else frozenset[str]()
        if not op.axes:
            self.fail("K9", "no axis is reduced")
        if op.unrounded and not self.adds_products(op):
            self.fail("K11", "what is added unrounded is no product of floats")
        self.reduced(op.axes, axes)
        is_place = op.op.startswith("arg")
        dtype = INT64 if is_place else dtype_of(op.operand)
        self.result(op.result, axes - set(op.axes), dtype)

    def adds_products(self, op: Reduce) -> bool:
        is_sum = op.op == "add" and dtype_of(op.operand) in (FLOAT32, FLOAT64)
        return is_sum and bool(factors_of(op, self.makers))

    def contract(self, op: Contract) -> None:
        self.reduced(op.axes, op.lhs.axes & op.rhs.axes)
        if op.lhs.dtype != op.rhs.dtype:
            self.fail("K10", f"operands are {op.lhs.dtype} and {op.rhs.dtype}")
        axes = (op.lhs.axes | op.rhs.axes) - set(op.axes)
        self.result(op.result, axes, op.lhs.dtype)

    def repeat(self, op: Repeat) -> None:
        """Check a loop and what is inside of it."""
        sizes = len(op.carries), len(op.inits), len(op.nexts)
        if len(set(sizes)) > 1 or not op.carries:
            self.fail("K15", "{} carries, {} inits and {} nexts".format(*sizes))
        if op.count < 1:
            self.fail("K15", f"a loop runs {op.count} times")
        if (op.turn.dtype, op.turn.axes) != (INT64, frozenset()):
            self.fail("K15", f"the turn %{op.turn.name} is no one i64")
        outside = dict(self.values)
        for value in (op.turn, *op.carries):
            self.bind_value(value)
        for inner in op.body:
            self.inside(inner)
            self.one(inner)
        for carry, *ends in zip(op.carries, op.inits, op.nexts, strict=True):
            for x in ends:
                self.carry(carry, x)
        self.gone |= self.values.keys() - outside.keys()
        self.values = outside
        self.loops[op.result.name] = op
        self.result(op.result, op.carries[0].axes, op.carries[0].dtype)

    def inside(self, op: KernelOp) -> None:
        """Check that an operation may stand in a loop."""
        if isinstance(op, Reduce | Contract | Store):
            self.fail("K15", f"a loop cannot hold: {format_operation(op)}")
        if isinstance(op, Load) and any(map(axes_in, indices_of(op))):
            self.fail("K15", "a load in a loop is at places along axes")

    def carry(self, carry: Value, x: Operand) -> None:
        if isinstance(x, Value):
            self.read(x)
        if dtype_of(x) != carry.dtype:
            self.fail("K15", f"%{carry.name} is {carry.dtype}, and made {dtype_of(x)}")
        if isinstance(x, Value) and not x.axes <= carry.axes:
            self.fail("K15", f"%{x.name} varies along other axes than %{carry.name}")

    def carried(self, op: Carried) -> None:
        loop = self.loops.get(op.loop.name)
        if loop is None or not 0 <= op.place < len(loop.carries):
            self.fail("K15", f"there is no carry {op.place} of %{op.loop.name}")
        carry = loop.carries[op.place]
        self.result(op.result, carry.axes, carry.dtype)

    def reduced(self, axes: tuple[str, ...], there: frozenset[str]) -> None:
        if len(set(axes)) < len(axes):
            self.fail("K9", f"axes ({', '.join(axes)}) have one twice")
        for name in axes:
            if name not in there:
                self.fail("K9", f"{name} is no axis of what is reduced")

    def store(self, op: Store) -> None:
        buffer = self.place(op, self.outputs, "output")
        if dtype_of(op.value) != buffer.dtype:
            self.fail(
                "K10",
                f"{dtype_of(op.value)} is stored to %{buffer.name} of {buffer.dtype}",
            )
        for index in op.map:
            if values_in(index):
                self.fail("K12", f"{format_index(index)} is known at run time only")
        self.in_range(op, buffer.shape)
        own = op.value.axes if isinstance(op.value, Value) else frozenset[str]()
        others = own.difference(*(axes_in(i) for i in op.map))
        if others:
            names = ", ".join(sorted(others))
            self.fail("K12", f"the value varies along {names}, its place does not")

    def stores(self) -> None:
        """Check that the stores to each output reach every element once."""
        for buffer in self.kernel.outputs:
            maps = [
                op.map
                for op in self.kernel.body
                if isinstance(op, Store) and op.buffer == buffer.name
            ]
            if not stores_each_once(maps, buffer.shape, self.extents):
                self.fail("K12", f"not every element of %{buffer.name} is stored once")


def is_integer(value: Value) -> bool:
    """Tell whether a value can be an index."""
    return value.dtype.kind in "iub"


# --- the schedule -----------------------------------------------------------------


def _check_schedule(kernel: Kernel, schedule: Schedule) -> None:
    for number, message in _schedule_faults(kernel, schedule):
        if schedule.roles.keys() >= set(schedule.loops):
            message += f"\n  schedule {format_schedule(schedule)}"
        fail(kernel, None, number, message)


def _schedule_faults(kernel: Kernel, schedule: Schedule) -> Iterator[tuple[str, str]]:
    names = sorted(a.name for a in kernel.axes)
    if sorted(schedule.loops) != names:
        yield "K13", f"loops over {', '.join(schedule.loops)}, axes {', '.join(names)}"
    if sorted(schedule.roles) != sorted(set(schedule.loops)):
        yield "K13", f"roles for {', '.join(schedule.roles)}"
    for part, plan in parts_of(kernel, schedule):
        yield from _role_faults(part, plan)
    bound = {v.name: v for v in map(result_of, kernel.body) if v is not None}
    for name, placement in schedule.placements.items():
        if name not in bound:
            yield "K14", f"there is no value %{name} to be placed"
        elif placement is Placement.BLOCK:
            inner = bound[name].axes.intersection(schedule.loops[-1:])
            yield from (("K14", f"%{name} of a block varies along {a}") for a in inner)


def _role_faults(part: Kernel, plan: Schedule) -> Iterator[tuple[str, str]]:
    count = Counter(plan.roles.values())
    if count[Role.VECTOR] > 1:
        yield "K13", f"{count[Role.VECTOR]} axes are vectors"
    over = [op for op in part.body if isinstance(op, Reduce | Contract)]
    for op in over:
        for name in op.axes:
            if plan.roles.get(name) is Role.GRID:
                yield "K13", f"grid axis {name} is reduced"
    if count[Role.TILE] and not any(isinstance(op, Contract) for op in over):
        yield "K13", "there are tiles, but no contraction"


# --- errors -----------------------------------------------------------------------


def fail(kernel: Kernel, index: int | None, number: str, message: str) -> NoReturn:
    """Raise the error of a broken invariant, with what it is about."""
    context = "" if index is None else "\n" + _neighbours(kernel, index)
    raise VerifyError(
        f"invariant {number} is broken in kernel @{kernel.name}: {message}{context}",
        equation=index,
        source=", ".join(kernel.source) or None,
    )


def _neighbours(kernel: Kernel, index: int) -> str:
    rows = []
    for i in range(max(index - 1, 0), min(index + 2, len(kernel.body))):
        mark = ">" if i == index else " "
        rows.append(f"  {mark} {format_operation(kernel.body[i])}")
    return "\n".join(rows)
