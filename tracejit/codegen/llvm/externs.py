"""Calls to NumPy's compiled ufunc loops over buffers of any strides.

A loop runs along one axis; the other axes are loops around it. Axes that lie
one after another in memory for every operand are joined first, so that most calls are
one call. Needs static shapes and strides and an `ExternLoop`; establishes that no step
is negative and that the core dimensions are laid out as the loop wants them.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...errors import InternalError
from ...ir.aval import Shape
from ...program.program import Extern, ProgramBuffer, Step, nested
from ...records import dataclass
from .indices import Index, multiply
from .text import Emitter


@dataclass(frozen=True)
class LoopStatus:
    """How to learn that a loop failed: C's ``feclearexcept`` and ``fetestexcept``.

    Parameters
    ----------
    clear, test : int
        Their addresses.
    invalid : int
        The flag that says so.
    """

    clear: int
    test: int
    invalid: int
    clear_symbol: str = "tracejit_clear_status"
    test_symbol: str = "tracejit_test_status"


@dataclass(frozen=True)
class ExternLoop:
    """A compiled ufunc loop.

    Parameters
    ----------
    symbol : str
        A name for it, the same for the same loop.
    function, data : int
        Its address, and its last argument.
    core : tuple of tuple of str
        Names of each operand's core dimensions, inputs then outputs.
    status : LoopStatus, optional
        Where failure is to be looked for.
    in_place : bool
        The loop changes its first operand, which is the step's first result: the caller
        copies the step's only input there, and the loop's operands are the results.
    axis : int, optional
        Of all operands, the one core dimension, where it is not the last.
    factor : tuple of (str, float), optional
        A scalar, with its type, that the loop takes between inputs and outputs.
    """

    symbol: str
    function: int
    data: int
    core: tuple[tuple[str, ...], ...]
    status: LoopStatus | None = None
    in_place: bool = False
    axis: int | None = None
    factor: tuple[str, float] | None = None

    @property
    def data_symbol(self) -> str:
        """The name of the last argument."""
        return f"{self.symbol}.data"

    @property
    def imports(self) -> dict[str, int]:
        """Everything that a call refers to, by symbol."""
        found = {self.symbol: self.function}
        if self.data:
            found[self.data_symbol] = self.data
        if self.status is not None:
            found[self.status.clear_symbol] = self.status.clear
            found[self.status.test_symbol] = self.status.test
        return found


@dataclass(frozen=True)
class Layout:
    """Outer axes of a call: extents, and each operand's strides in bytes."""

    shape: Shape
    strides: tuple[Shape, ...]

    def without(self, axis: int) -> "Layout":
        """Return the layout without one axis."""
        shape = _drop(self.shape, axis)
        return Layout(shape, tuple(_drop(s, axis) for s in self.strides))


def _drop(values: Shape, axis: int) -> Shape:
    return (*values[:axis], *values[axis + 1 :])


def _with_last(buffer: ProgramBuffer, axis: int) -> ProgramBuffer:
    """Return a buffer with one of its axes moved to the end."""
    shape, strides = buffer.shape, buffer.strides
    return replace(
        buffer,
        shape=(*_drop(shape, axis), shape[axis]),
        strides=(*_drop(strides, axis), strides[axis]),
    )


def pointer_count(steps: Sequence[Step]) -> int:
    """Return how many operands the largest call has, with a factor if it takes one."""
    calls = (s for s in nested(steps) if isinstance(s, Extern))
    return max((len(s.inputs) + 1 + len(s.outputs) for s in calls), default=0)


def joined(layout: Layout) -> Layout:
    """Drop axes of extent 1, and join axes that are one axis to every operand."""
    for axis, extent in enumerate(layout.shape):
        if extent == 1:
            return joined(layout.without(axis))
    for axis in range(len(layout.shape) - 1):
        inner = layout.shape[axis + 1]
        if all(s[axis] == s[axis + 1] * inner for s in layout.strides):
            shape = list(_drop(layout.shape, axis))
            shape[axis] = inner * layout.shape[axis]
            strides = tuple(_drop(s, axis) for s in layout.strides)
            return joined(Layout(tuple(shape), strides))
    return layout


class LoopCall:
    """One call of a loop over whole buffers.

    Parameters
    ----------
    em : Emitter
    loop : ExternLoop
    operands : sequence of ProgramBuffer
        Inputs, then outputs. Inputs of rank 0 are the same everywhere.
    inputs : int
        How many of them are inputs.
    arguments : str
        Address of memory for one pointer per operand.
    """

    def __init__(
        self,
        em: Emitter,
        loop: ExternLoop,
        operands: Sequence[ProgramBuffer],
        inputs: int,
        arguments: str,
    ) -> None:
        if loop.axis is not None:
            operands = [_with_last(b, loop.axis) for b in operands]
        self.em, self.loop, self.operands = em, loop, operands
        self.inputs, self.arguments = inputs, arguments
        if len(loop.core) != len(operands):
            raise InternalError(
                f"{loop.symbol} has {len(loop.core)} operands, not {len(operands)}"
            )

    def emit(self, pointers: Sequence[str]) -> None:
        """Write the call for operands at these addresses."""
        layout = joined(self._outer())
        if 0 in layout.shape:
            return
        axis = self._inner_axis(layout)
        if axis is None:
            self._nest(layout, 0, list(pointers), 1, [0] * len(pointers))
            return
        steps = [s[axis] for s in layout.strides]
        extent = layout.shape[axis]
        if any(step < 0 for step in steps):
            last = [step * (extent - 1) for step in steps]
            moved = zip(pointers, last, strict=True)
            pointers = [self.em.gep("i8", p, offset) for p, offset in moved]
            steps = [-step for step in steps]
        self._nest(layout.without(axis), 0, list(pointers), extent, steps)

    def _split(self, operand: ProgramBuffer, names: Sequence[str]) -> int:
        return len(operand.shape) - len(names)

    def _outer(self) -> Layout:
        """Return the axes that are not core, operands of rank 0 spread over them."""
        shape: Shape = ()
        rows = []
        for operand, names in zip(self.operands, self.loop.core, strict=True):
            at = self._split(operand, names)
            if at:
                shape = operand.shape[:at]
            rows.append(tuple(s * operand.dtype.itemsize for s in operand.strides[:at]))
        zero = (0,) * len(shape)
        return Layout(shape, tuple(row or zero for row in rows))

    def _inner_axis(self, layout: Layout) -> int | None:
        """Return the axis the loop itself runs along: long, strides of one sign."""
        fitting = []
        for axis, extent in enumerate(layout.shape):
            signs = {s[axis] > 0 for s in layout.strides if s[axis]}
            if len(signs) < 2:
                fitting.append((extent, axis))
        return max(fitting)[1] if fitting else None

    def _nest(
        self,
        layout: Layout,
        axis: int,
        pointers: list[str],
        count: int,
        steps: Sequence[int],
    ) -> None:
        if axis == len(layout.shape):
            self._call(pointers, count, steps)
            return
        with self.em.loop(0, layout.shape[axis], 1) as loop:
            index: Index = loop.index
            moved = []
            for pointer, strides in zip(pointers, layout.strides, strict=True):
                offset = multiply(self.em, index, strides[axis])
                moved.append(self.em.gep("i8", pointer, offset))
            self._nest(layout, axis + 1, moved, count, steps)
            loop.yield_([])

    def _call(self, pointers: Sequence[str], count: int, steps: Sequence[int]) -> None:
        em = self.em
        if self.loop.factor is not None:
            pointers = [*pointers]
            pointers.insert(self.inputs, self._factor(*self.loop.factor))
            steps = [*steps[: self.inputs], 0, *steps[self.inputs :]]
        for k, pointer in enumerate(pointers):
            em.store("ptr", pointer, em.gep("ptr", self.arguments, k), 8)
        sizes, core_steps = self._core()
        dimensions = self._table((count, *sizes))
        strides = self._table((*steps, *core_steps))
        values = [self.arguments, dimensions, strides, self._data()]
        em.extern("void", self.loop.symbol, [("ptr", v) for v in values])

    def _factor(self, element: str, value: float) -> str:
        """Return the address of a scalar operand."""
        name = f"factor.{element}.{value.hex()}".replace("+", "")
        return self.em.table(name.replace("-", "m"), element, [value])

    def _data(self) -> str:
        """Return the loop's last argument: by symbol, the text has no addresses."""
        if not self.loop.data:
            return "null"
        symbol = self.loop.data_symbol
        self.em.globals_[symbol] = f"@{symbol} = external global i8"
        return f"@{symbol}"

    def _table(self, values: Sequence[int]) -> str:
        name = "longs." + ".".join(map(str, values)).replace("-", "m")
        return self.em.table(name, "i64", values)

    def _core(self) -> tuple[list[int], list[int]]:
        """Return the sizes of the core dimensions and the operands' core strides."""
        sizes: dict[str, int] = {}
        steps: list[int] = []
        for operand, names in zip(self.operands, self.loop.core, strict=True):
            at = self._split(operand, names)
            for name, extent in zip(names, operand.shape[at:], strict=True):
                sizes[name] = extent
            steps += [s * operand.dtype.itemsize for s in operand.strides[at:]]
        return list(sizes.values()), steps
