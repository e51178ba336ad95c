"""Kernels built by hand, and a way to run one alone."""

import ctypes
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tests.sampling import sampled
from tracejit.codegen.llvm.emission import ModuleScope
from tracejit.codegen.llvm.kernels import emit_kernel
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.codegen.llvm.text import module_text
from tracejit.errors import TracejitError
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
)
from tracejit.kernels.maps import Affine, axis
from tracejit.kernels.schedule import Placement, Role, Schedule
from tracejit.runtime.cpu.engine import engine_for

Index = Affine | str


def targets() -> list[Target]:
    """Return the targets that this machine can run."""
    found = []
    for isa in ("avx512", "avx2", "baseline", "generic"):
        try:
            found.append(host_target(isa))
        except TracejitError:
            continue
    return found


def named(value: object) -> str | None:
    """Return the name of a target, for `ids`; others have pytest's own."""
    return value.name if isinstance(value, Target) else None


def on_targets(cases: Iterable[Any], every: int) -> list[Any]:
    """Return cases with a target for `parametrize`; others than the first are sampled.

    Parameters
    ----------
    cases : iterable
        Tuples, or single values.
    every : int
        One in so many stays for the other targets, and the rest are slow.
    """
    tuples = [case if isinstance(case, tuple) else (case,) for case in cases]
    first, *others = targets()
    rest = [(*case, target) for case in tuples for target in others]
    return [*((*case, first) for case in tuples), *sampled(rest, every)]


def strides_of(array: np.ndarray) -> tuple[int, ...]:
    return tuple(s // array.itemsize for s in array.strides)


def _index(i: Index) -> Affine:
    return axis(i) if isinstance(i, str) else i


class KernelBuilder:
    """Builds a kernel over the axes ``{name: extent}``, outermost first."""

    def __init__(self, name: str, **axes: int) -> None:
        self.name, self.axes = name, axes
        self.inputs: list[Buffer] = []
        self.outputs: list[Buffer] = []
        self.body: list[KernelOp] = []
        self.count = 0

    def _value(self, axes: Sequence[str], dtype: np.dtype) -> Value:
        self.count += 1
        return Value(f"v{self.count}", frozenset(axes), np.dtype(dtype))

    def input(self, array: np.ndarray) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(Buffer(name, array.dtype, array.shape, strides_of(array)))
        return name

    def output(self, array: np.ndarray) -> str:
        name = f"y{len(self.outputs)}"
        self.outputs.append(Buffer(name, array.dtype, array.shape, strides_of(array)))
        return name

    def load(
        self,
        array: np.ndarray,
        *index: Index,
        axes: Sequence[str] | None = None,
        bounds: Sequence[tuple[Index, int]] = (),
        fill: float | None = None,
        check: tuple[int, ...] = (),
        clip: bool = False,
        buffer: str | None = None,
    ) -> Value:
        name = buffer or self.input(array)
        indices = tuple(_index(i) for i in index)
        result = self._value(axes or self._axes_in(indices), array.dtype)
        limits = tuple(Bound(_index(i), n) for i, n in bounds)
        literal = None if fill is None else Literal(fill, array.dtype)
        self.body.append(Load(result, name, indices, limits, literal, check, clip))
        return result

    def _axes_in(self, indices: Sequence[Affine]) -> list[str]:
        text = repr(indices)
        return [a for a in self.axes if f"AxisIndex(axis='{a}')" in text]

    def compute(self, name: str, *operands: Operand, **params: object) -> Value:
        primitive = REGISTRY[name]
        axes = frozenset().union(*(x.axes for x in operands if isinstance(x, Value)))
        avals = [
            x.aval if isinstance(x, Literal) else Literal(0, x.dtype).aval
            for x in operands
        ]
        checked: Params = params  # type: ignore[assignment]
        (aval,) = primitive.out_avals(avals, checked)
        result = self._value(axes, aval.dtype)
        self.body.append(Compute(result, primitive, operands, checked))
        return result

    def iota(self, index: Affine, axes: Sequence[str], dtype: str) -> Value:
        result = self._value(axes, np.dtype(dtype))
        self.body.append(Iota(result, index))
        return result

    def reduce(
        self, op: str, axes: Sequence[str], operand: Value, unrounded: bool = False
    ) -> Value:
        dtype = np.dtype("i8") if op.startswith("arg") else operand.dtype
        result = self._value(operand.axes - set(axes), dtype)
        self.body.append(Reduce(result, op, tuple(axes), operand, unrounded))
        return result

    def contract(self, axes: Sequence[str], lhs: Value, rhs: Value) -> Value:
        result = self._value((lhs.axes | rhs.axes) - set(axes), lhs.dtype)
        self.body.append(Contract(result, tuple(axes), lhs, rhs))
        return result

    def store(self, array: np.ndarray, value: Operand, *index: Index) -> None:
        name = self.output(array)
        self.body.append(Store(name, tuple(_index(i) for i in index), value))

    def kernel(self) -> Kernel:
        axes = tuple(Axis(n, e) for n, e in self.axes.items())
        return Kernel(
            self.name, tuple(self.inputs), tuple(self.outputs), axes, tuple(self.body)
        )


def schedule(
    *loops: str, vector: str | None = None, scratch: Sequence[Value] = ()
) -> Schedule:
    """Return a schedule: loops outermost first, one of them vectorised."""
    roles = {a: Role.VECTOR if a == vector else Role.SEQUENTIAL for a in loops}
    return Schedule(loops, roles, {v.name: Placement.SCRATCH for v in scratch})


def run_kernel(
    kernel: Kernel,
    plan: Schedule,
    target: Target,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
) -> tuple[int, int]:
    """Run a kernel; return the error word and the index in question."""
    scope = ModuleScope()
    code = emit_kernel(kernel, plan, target, scope, linkage="")
    text = module_text(
        target, scope.declarations.values(), [code.text], scope.globals_.values()
    )
    library = engine_for(target).load(text)
    scratch = np.full(code.scratch_bytes + 192, 0xA5, np.uint8)
    start = -scratch.ctypes.data % 64 + 64
    error = np.zeros(2, np.int64)
    addresses = [a.ctypes.data for a in (*inputs, *outputs)]
    addresses += [scratch.ctypes.data + start, error.ctypes.data]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(addresses))
    prototype(library.address(code.symbol))(*addresses)
    after = scratch[start + code.scratch_bytes :]
    assert (scratch[:start] == 0xA5).all(), "wrote before the scratch memory"
    assert (after == 0xA5).all(), "wrote behind the scratch memory"
    return int(error[0]), int(error[1])


def guarded(shape: tuple[int, ...], dtype: str | np.dtype) -> np.ndarray:
    """Return an output array between bytes that `check_guards` looks at.

    Aligned to 64 bytes, as large results must be.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.full(size + 320, 0x5A, np.uint8)
    return np.ndarray(shape, dtype, memory, 128 + -memory.ctypes.data % 64)


def check_guards(array: np.ndarray) -> None:
    """Fail if anything was written around an array from `guarded`."""
    memory = array.base
    assert isinstance(memory, np.ndarray)
    start = array.ctypes.data - memory.ctypes.data
    assert (memory[:start] == 0x5A).all(), "wrote before the output"
    assert (memory[start + array.nbytes :] == 0x5A).all(), "wrote behind the output"
