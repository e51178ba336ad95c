"""The text form of kernels: one line an operation, small expressions inside.

    kernel @softmax(%x: f32[4,8]) -> (%y: f32[4,8]) axes(i: 4, j: 8) {
      schedule i: grid, j: vector, scratch %e
      %a{i,j} = load %x[i, j]
      %m{i} = reduce max over j: %a
      %e{i,j} = exp(%a - %m)
      %s{i} = reduce add over j: %e
      store %y[i, j] = %e / %s
    }

A binder carries the value's axes; its dtype is written only where the operation does
not say it. A value that is used once, by the next line, is written inside that line.
Strides are written where they are not those of a dense row-major array. Loops are

    %y{i} = repeat %t < 100 with %z{i}: f32 = 0.0, %n{i}: f32 = %x {
      %w{i} = (%z * %n) + 1.0
    } next %w, %z
    %m{i}: f32 = carried 1 of %y

What is printed here is parsed by `parser`, up to the names of values written inside a
line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..ir.dtypes import dtype_name
from ..ir.printer import format_params, format_scalar
from ..records import dataclass
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
    default_dtype,
    dense_strides,
    indices_of,
    result_of,
    values_of,
    with_inner,
)
from .maps import (
    Affine,
    AxisIndex,
    FloorDiv,
    IndexAtom,
    Map,
    ValueIndex,
    values_in,
)
from .schedule import Schedule

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "floor_divide": "//",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "and": "&",
    "or": "|",
    "xor": "^",
}
LINE_LIMIT = 60  # characters of an expression beyond which it is cut
_UNPRINTABLE = re.compile(r"[^A-Za-z0-9_.]")
_NAME = re.compile(r"%[A-Za-z0-9_.]+")


def format_kernel(kernel: Kernel, schedule: Schedule | None = None) -> str:
    """Return a kernel as text, with its schedule where one is given.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule, optional

    Examples
    --------
    ``kernel @f(%x: f32[3]) -> (%y: f32[3]) axes(i: 3) { ... }``
    """
    return "\n".join(_Lines(kernel, schedule).all())


def format_anonymous(
    kernel: Kernel, schedule: Schedule | None = None
) -> tuple[str, dict[str, str]]:
    """Return a kernel's text with its names numbered as they come, and the numbers.

    The same for kernels that compute the same, in the same order, on whatever lines.
    """
    text = format_kernel(replace(kernel, name="k", source=()), schedule)
    numbers: dict[str, str] = {}
    return (
        _NAME.sub(lambda m: numbers.setdefault(m[0], f"%{len(numbers)}"), text),
        numbers,
    )


def format_operation(op: KernelOp) -> str:
    """Return one operation, right or wrong, by itself: every dtype is written."""
    result = result_of(op)
    if result is None:
        assert isinstance(op, Store)
        value = format_operand(op.value, None)
        return f"store %{op.buffer}{_map(op.map)} = {value}"
    left = f"{_binder(result, None)}"
    if isinstance(op, Compute):
        words = [(format_operand(x, None), False) for x in op.operands]
        return f"{left} = {_applied(op, words)[0]}"
    return f"{left} = {_right_side(op)}"


def format_schedule(schedule: Schedule) -> str:
    """Return a schedule as one line: ``i: grid, j: vector, scratch %e``."""
    loops = [f"{a}: {schedule.roles[a].value}" for a in schedule.loops]
    kept = [f"{p.value} %{name}" for name, p in schedule.placements.items()]
    return ", ".join((*loops, *kept))


def format_type(dtype: np.dtype, shape: Sequence[int], strides: Sequence[int]) -> str:
    """Return ``f32[2,3]``, and the strides unless the array is dense."""
    text = f"{dtype_name(dtype)}[{','.join(map(str, shape))}]"
    if tuple(strides) == dense_strides(tuple(shape)):
        return text
    return f"{text} strides({','.join(map(str, strides))})"


def format_index(index: Affine) -> str:
    """Return an index expression: ``2*i - j + (k // 4) + 1``."""
    text = ""
    for atom, coefficient in index.terms:
        size = abs(coefficient)
        term = _atom(atom) if size == 1 else f"{size}*{_atom(atom)}"
        text += _signed(term, coefficient < 0, not text)
    if index.constant or not text:
        text += _signed(str(abs(index.constant)), index.constant < 0, not text)
    return text


def _signed(term: str, is_negative: bool, is_first: bool) -> str:
    if is_first:
        return f"-{term}" if is_negative else term
    return f" - {term}" if is_negative else f" + {term}"


def _atom(atom: IndexAtom) -> str:
    if isinstance(atom, AxisIndex):
        return atom.axis
    if isinstance(atom, ValueIndex):
        return f"%{atom.value}"
    word = "//" if isinstance(atom, FloorDiv) else "mod"
    return f"({format_index(atom.inner)} {word} {atom.divisor})"


def format_name(name: str) -> str:
    """Return a name of which every character can be parsed."""
    return _UNPRINTABLE.sub("_", name)


def format_source(source: Iterable[str]) -> str:
    """Return user lines as the end of a line of text."""
    text = ", ".join(source)
    return f"  ; {text}" if text else ""


def _buffers(buffers: Iterable[Buffer]) -> str:
    types = ((b.name, format_type(b.dtype, b.shape, b.strides)) for b in buffers)
    return ", ".join(f"%{name}: {text}" for name, text in types)


def _map(at: Map) -> str:
    return f"[{', '.join(map(format_index, at))}]"


class _Lines:
    """Prints one kernel.

    Computed values wait on a stack; an operation takes those on top that are its
    operands into its own expression, so that parsing gives the same order back.
    """

    def __init__(self, kernel: Kernel, schedule: Schedule | None) -> None:
        self.kernel, self.schedule = kernel, schedule
        self.uses = _uses(kernel.body)
        self.pinned = set(schedule.placements) if schedule else set[str]()
        self.waiting: list[_Waiting] = []
        self.lines: list[str] = []

    def all(self) -> list[str]:
        kernel = self.kernel
        ins, outs = _buffers(kernel.inputs), _buffers(kernel.outputs)
        axes = ", ".join(f"{a.name}: {a.extent}" for a in kernel.axes)
        head = f"kernel @{format_name(kernel.name)}({ins}) -> ({outs}) axes({axes})"
        for op in kernel.body:
            self.operation(op)
        self.flush()
        plan = [f"schedule {format_schedule(self.schedule)}"] if self.schedule else []
        body = [f"  {line}".rstrip() for line in (*plan, *self.lines)]
        return [f"{head} {{{format_source(kernel.source)}", *body, "}"]

    def operation(self, op: KernelOp) -> None:
        if isinstance(op, Compute):
            self.compute(op)
            return
        if isinstance(op, Repeat):
            self.repeat(op)
            return
        right = self.right_side(op)
        self.flush()  # what `right` did not take comes first
        result = result_of(op)
        if result is None:
            assert isinstance(op, Store)
            self.lines.append(f"store %{op.buffer}{_map(op.map)} = {right}")
        else:
            is_carried = isinstance(op, Carried)  # its dtype is always written
            default = None if is_carried else default_dtype(op, self.kernel)
            self.lines.append(f"{_binder(result, default)} = {right}")

    def right_side(self, op: KernelOp) -> str:
        if isinstance(op, Store):
            dtype = self.kernel.buffer(op.buffer).dtype
            return self.operand(op.value, dtype)
        if isinstance(op, Reduce):
            return f"{_reduction(op)}: {self.operand(op.operand, None)}"
        return _right_side(op)

    def repeat(self, op: Repeat) -> None:
        """Write a loop: its head, its operations further in, what comes next."""
        self.flush()
        self.lines.append(f"{_binder(op.result, op.result.dtype)} = {_head(op)} {{")
        start = len(self.lines)
        for inner in op.body:
            self.operation(inner)
        self.flush()
        self.lines[start:] = [f"  {line}" for line in self.lines[start:]]
        self.lines.append(f"}} next {_nexts(op)}")

    # --- expressions

    def compute(self, op: Compute) -> None:
        dtype = literal_dtype(op.operands)
        words = self.operands(op.operands, op.result.axes, dtype)
        self.waiting.append(_Waiting(op, *_applied(op, words)))
        name = op.result.name
        if self.uses[name] != 1 or name in self.pinned or not _is_implied(op):
            self.flush()

    def operand(self, x: Operand, dtype: np.dtype | None) -> str:
        """Return the one operand of a line, as an expression if it can be one."""
        return self.operands([x], None, dtype)[0][0]

    def operands(
        self,
        operands: Sequence[Operand],
        axes: frozenset[str] | None,
        dtype: np.dtype | None,
    ) -> list[tuple[str, bool]]:
        """Return operands as text, and whether each stands in need of parentheses.

        Waiting values are taken from the right, where they vary along `axes`.
        """
        words: list[tuple[str, bool]] = []
        room = LINE_LIMIT
        for x in reversed(operands):
            word = format_operand(x, dtype), False
            top = self.waiting[-1] if self.waiting else None
            fits = axes is None or (isinstance(x, Value) and axes == x.axes)
            if top and top.op.result == x and fits and len(top.text) <= room:
                self.waiting.pop()
                word = top.text, top.is_infix
            room -= len(word[0])
            words.append(word)
        return words[::-1]

    def flush(self) -> None:
        """Write the waiting values, each on its line."""
        for one in self.waiting:
            left = _binder(one.op.result, computed_dtype(one.op))
            self.lines.append(f"{left} = {one.text}")
        self.waiting.clear()


def _head(op: Repeat) -> str:
    """Return ``repeat %t < 8 with %a{i}: f32 = %x``."""
    pairs = zip(op.carries, op.inits, strict=True)
    carries = (f"{_binder(v, None)} = {format_operand(x, v.dtype)}" for v, x in pairs)
    return f"repeat %{op.turn.name} < {op.count} with {', '.join(carries)}"


def _nexts(op: Repeat) -> str:
    pairs = zip(op.carries, op.nexts, strict=True)
    return ", ".join(format_operand(x, v.dtype) for v, x in pairs)


def _right_side(op: KernelOp) -> str:
    """Return what binds a value, of an operation that takes no expressions."""
    if isinstance(op, Repeat):
        return f"{_head(op)} {{ ... }} next {_nexts(op)}"
    if isinstance(op, Carried):
        return f"carried {op.place} of %{op.loop.name}"
    if isinstance(op, Load):
        return f"load %{op.buffer}{_map(op.map)}{_limits(op)}"
    if isinstance(op, Iota):
        return f"iota {format_index(op.index)}"
    if isinstance(op, Contract):
        axes = ", ".join(op.axes)
        return f"contract over {axes}: %{op.lhs.name} * %{op.rhs.name}"
    assert isinstance(op, Reduce)
    return f"{_reduction(op)}: {format_operand(op.operand, None)}"


def _reduction(op: Reduce) -> str:
    name = f"{op.op} unrounded" if op.unrounded else op.op
    return f"reduce {name} over {', '.join(op.axes)}"


def _limits(op: Load) -> str:
    text = ""
    if op.bounds:
        tests = (f"0 <= {format_index(b.index)} < {b.extent}" for b in op.bounds)
        text = f" where {', '.join(tests)}"
    if op.fill is not None:
        text += f" else {format_operand(op.fill, op.result.dtype)}"
    if op.check or op.clip:
        word = "clip" if op.clip else "check"
        text += f" {word}({', '.join(map(str, op.check))})"
    return text


@dataclass(frozen=True)
class _Waiting:
    """A computed value that may become part of the next expression."""

    op: Compute
    text: str
    is_infix: bool


def _applied(op: Compute, words: Sequence[tuple[str, bool]]) -> tuple[str, bool]:
    sign = INFIX.get(op.primitive.name)
    if sign is not None and len(words) == 2 and not op.params:
        left, right = (f"({text})" if inner else text for text, inner in words)
        return f"{left} {sign} {right}", True
    params = format_params(op.params)
    return f"{op.primitive.name}({', '.join(t for t, _ in words)}){params}", False


def _is_implied(op: Compute) -> bool:
    """Tell whether the operands say along what the result varies, and its dtype."""
    axes = (x.axes for x in op.operands if isinstance(x, Value))
    same_axes = op.result.axes == frozenset[str]().union(*axes)
    return same_axes and op.result.dtype == computed_dtype(op)


def _binder(value: Value, default: np.dtype | None) -> str:
    axes = f"{{{','.join(sorted(value.axes))}}}" if value.axes else ""
    is_said = default is not None and value.dtype == default  # None equals float64
    dtype = "" if is_said else f": {dtype_name(value.dtype)}"
    return f"%{value.name}{axes}{dtype}"


def format_operand(x: Operand, dtype: np.dtype | None) -> str:
    """Return an operand as text; literals of `dtype` need not say theirs."""
    if isinstance(x, Value):
        return f"%{x.name}"
    text = format_scalar(x.value, x.aval.dtype)
    is_said = dtype is not None and x.aval.dtype == dtype  # None equals float64
    return text if is_said else f"{text}:{dtype_name(x.aval.dtype)}"


def literal_dtype(operands: Sequence[Operand]) -> np.dtype | None:
    """Return the dtype that literals among `operands` have unless they say theirs."""
    return next((x.dtype for x in operands if isinstance(x, Value)), None)


def _uses(body: Sequence[KernelOp]) -> Counter[str]:
    """Count how often each value is read, in indices too."""
    every = list(with_inner(body))
    names = Counter(v.name for op in every for v in values_of(op))
    for op in every:
        if isinstance(op, Repeat):
            names.update(x.name for x in op.nexts if isinstance(x, Value))
        for index in indices_of(op):
            names.update(values_in(index))
    return names
