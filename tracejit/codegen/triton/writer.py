"""Writes the operations of a kernel as Triton statements, in one frame of variables.

Each value becomes a variable of its name. A variable has as many dimensions as the
frame, or none; extents are one where the value does not vary, and Triton broadcasts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ...ir import dtypes as dt
from ...ir.graph import Literal
from ...kernels.joining import offset_of
from ...kernels.kernel import (
    Bound,
    Buffer,
    Carried,
    Compute,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Repeat,
    Store,
    Value,
    dtype_of,
    indices_of,
)
from ...kernels.maps import Affine, ValueIndex, axes_in, values_in
from ...kernels.pieces import buffers_of
from ..error_word import index_word
from . import elementwise
from .code import ERROR_NAME
from .helpers import HELPERS
from .indices import IndexText, bounds, identifier, is_wide
from .tiles import Dim, Frame
from .values import (
    constant,
    loaded,
    number,
    register_type,
    stored,
    stored_number,
)

_KEPT = {"acc", "pid", "query", "dots", "weights"}
_RESERVED = {"tl", "triton", "libdevice", "range", "float", *_KEPT, *HELPERS}


class Writer:
    """The statements of one kernel.

    Parameters
    ----------
    kernel : Kernel
        Flattened.
    frame : Frame
        Can be changed between operations.
    numbers : mapping of str to int
        What the error word calls each checked load, by the name of its result.
    """

    def __init__(
        self, kernel: Kernel, frame: Frame, numbers: Mapping[str, int]
    ) -> None:
        self.kernel, self.frame, self.numbers = kernel, frame, numbers
        self.extents = {a.name: a.extent for a in kernel.axes}
        self.lines: list[str] = []
        self.depth = 1
        self.letters: dict[str, frozenset[str]] = {}
        self.bits: dict[str, str] = {}  # of float8 numbers that were loaded
        self.can_fail = False
        self.index = IndexText(
            self.extents, lambda a: self.frame.axis_name(a), value_name
        )

    # --- lines

    def line(self, text: str) -> None:
        """Add a statement."""
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a compound statement; what is computed in it is forgotten after it."""
        self.line(head)
        before = dict(self.letters)
        self.depth += 1
        yield
        self.depth -= 1
        self.letters = before

    def bind(self, name: str, text: str, letters: frozenset[str]) -> None:
        """Add ``name = text`` for a value of these dimensions."""
        self.line(f"{value_name(name)} = {text}")
        self.letters[name] = letters

    # --- operations

    def write(self, op: KernelOp) -> None:
        """Add a load, store, computation or index."""
        if isinstance(op, Load):
            self.load(op)
        elif isinstance(op, Store):
            self.store(op)
        elif isinstance(op, Compute):
            operands = [self.operand(x) for x in op.operands]
            dtype = op.result.dtype
            text = elementwise.expression(op.primitive, op.params, operands, dtype)
            self.bind(op.result.name, text, self.along(op.operands))
        elif isinstance(op, Repeat):
            self.repeat(op)
        elif isinstance(op, Carried):
            text = value_name(f"{op.loop.name}_{op.place}")
            self.bind(op.result.name, text, self.frame.letters(op.result.axes))
        else:
            assert isinstance(op, Iota)
            self.iota(op)

    def repeat(self, op: Repeat) -> None:
        """Add a loop; its carries are variables, of one shape and type throughout."""
        after = [f"{op.result.name}_{k}" for k in range(len(op.carries))]
        for name, carry, x in zip(after, op.carries, op.inits, strict=True):
            letters = self.frame.letters(carry.axes)
            self.bind(name, self.carry(carry, x), letters)
        counter = f"{value_name(op.turn.name)}_turn"
        with self.block(f"for {counter} in range(0, {op.count}):"):
            turn = f"tl.full((), 0, tl.int64) + {counter}"
            self.bind(op.turn.name, turn, frozenset())
            for name, carry in zip(after, op.carries, strict=True):
                self.bind(carry.name, value_name(name), self.letters[name])
            for inner in op.body:
                self.write(inner)
            for name, carry, x in zip(after, op.carries, op.nexts, strict=True):
                self.line(f"{value_name(name)} = {self.carry(carry, x)}")
        self.bind(op.result.name, value_name(after[0]), self.letters[after[0]])

    def carry(self, carry: Value, x: Operand) -> str:
        """Return what a carry becomes, along all dimensions of the carry."""
        letters = self.frame.letters(carry.axes)
        shape = self.frame.shape if letters else "()"
        if isinstance(x, Literal):
            value = number(x.value, carry.dtype)
            return f"tl.full({shape}, {value}, {register_type(carry.dtype)})"
        text = self.argument(x)
        return (
            text
            if self.letters[x.name] == letters
            else f"tl.broadcast_to({text}, {shape})"
        )

    def operand(self, x: Operand) -> elementwise.Operand:
        """Return an operand as text."""
        if isinstance(x, Literal):
            return elementwise.Operand(None, x.aval.dtype, x.value)
        return elementwise.Operand(value_name(x.name), x.dtype)

    def argument(self, x: Operand) -> str:
        """Return an operand as a Triton value."""
        return self.operand(x).argument

    def along(self, operands: Iterable[Operand]) -> frozenset[str]:
        """Return the dimensions that the variables of operands have."""
        names = [x.name for x in operands if not isinstance(x, Literal)]
        return frozenset[str]().union(*(self.letters[n] for n in names))

    def iota(self, op: Iota) -> None:
        """Add an index as an int64 value."""
        letters = self.letters_of([op.index])
        if op.index.terms:
            text = self.index(op.index)
            text = f"{text if text.isidentifier() else f'({text})'}.to(tl.int64)"
        else:
            text = constant(op.index.constant, op.result.dtype)
        self.bind(op.result.name, text, letters)

    def letters_of(self, indices: Iterable[Affine]) -> frozenset[str]:
        """Return the dimensions of index expressions."""
        found: frozenset[str] = frozenset()
        for index in indices:
            found |= self.frame.letters(axes_in(index))
            found = found.union(*(self.letters[v] for v in values_in(index)))
        return found

    def masks_of(self, letters: frozenset[str]) -> list[str]:
        """Return the masks of these dimensions."""
        return [d.mask for d in self.frame.dims if d.mask and d.letter in letters]

    # --- memory

    def load(self, op: Load, other: str | None = None, widen: bool = True) -> None:
        """Add a load; where it is masked, it gives the fill, or `other`.

        Narrow floats are widened to float32 unless `widen` is off.
        """
        buffer = self.kernel.buffer(op.buffer)
        letters = self.letters_of(indices_of(op))
        masks = self.masks_of(letters)
        inside = [t for b in op.bounds for t in self.inside(b)]
        if op.check:
            op, missing = self.checked(op, buffer, [*masks, *inside])
            inside += missing
        offset = op.map[0] if not op.check else offset_of(op, buffer)
        have = self.letters_of([offset])
        at = self.spread(self.index(offset), letters - have)
        text = f"{pointer(op.buffer)} + {at}"
        if masks or inside:
            text += f", mask={self.mask(op.result.name, [*masks, *inside])}"
            value = 0 if op.fill is None else op.fill.value
            fill = stored_number(value, buffer.dtype)
            if inside or other is not None:
                text += f", other={other if op.fill is None and other else fill}"
        text = f"tl.load({text})"
        if buffer.dtype in dt.FLOAT8S:  # stored as it is where nothing else is done
            bits = f"{value_name(op.result.name)}_bits"
            self.line(f"{bits} = {text}")
            self.bits[op.result.name] = text = bits
        text = loaded(text, buffer.dtype) if widen else text
        self.bind(op.result.name, text, letters)

    def mask(self, name: str, conditions: Sequence[str]) -> str:
        """Return all conditions as one; a long one becomes a variable."""
        text = _all(conditions)
        if len(conditions) <= 2:
            return text
        self.line(f"{value_name(name)}_inside = {text}")
        return f"{value_name(name)}_inside"

    def inside(self, bound: Bound) -> list[str]:
        """Return the conditions that an index is in its extent, without sure ones."""
        range_ = bounds(bound.index, self.extents)
        text = self.index(bound.index)
        low = [] if range_ and range_[0] >= 0 else [f"({text} >= 0)"]
        high = (
            []
            if range_ and range_[1] < bound.extent
            else [f"({text} < {bound.extent})"]
        )
        return low + high

    def checked(
        self, op: Load, buffer: Buffer, masks: Sequence[str]
    ) -> tuple[Load, list[str]]:
        """Add safe indices for the checked dimensions, and the report of bad ones.

        Returns
        -------
        load : Load
            With the safe indices.
        masks : list of str
            More conditions for the load.
        """
        at, more = list(op.map), list[str]()
        for d in op.check:
            name = f"{op.result.name}_at{d}"
            extent, letters = buffer.shape[d], self.letters_of([op.map[d]])
            text = self.index(op.map[d])
            if op.clip:
                text = f"tl.minimum(tl.maximum({text}, 0), {max(extent - 1, 0)})"
                self.bind(name, text, letters)
            else:
                self.bind(name, text, letters)
                bad = f"{value_name(name)}_bad"
                at_ = value_name(name)
                self.line(f"{bad} = ({at_} < {-extent}) | ({at_} >= {extent})")
                self.report(op, d, at_, bad, masks)
                wrapped = f"tl.where({at_} < 0, {at_} + {extent}, {at_})"
                self.line(f"{at_} = tl.where({bad}, 0, {wrapped})")
            if not extent:
                more.append(f"({value_name(name)} < 0)")
            at[d] = _value_index(name)
        return replace(op, map=tuple(at)), more

    def report(
        self, op: Load, dimension: int, at: str, bad: str, masks: Sequence[str]
    ) -> None:
        """Add the stores into the error word."""
        self.can_fail = True
        word = index_word(self.numbers.get(op.result.name, 0), dimension)
        failed = _all([bad, *masks])
        self.line(f"{bad} = {failed}" if masks else f"{bad} = {bad}")
        where = f"{ERROR_NAME}_ptr + tl.where({bad}, 0, 0)"
        self.line(f"tl.store({where}, tl.full((), {word}, tl.int64), mask={bad})")
        self.line(f"tl.store({where} + 1, {at}, mask={bad})")

    def spread(self, text: str, letters: frozenset[str]) -> str:
        """Return an offset with more dimensions."""
        missing = [d.index for d in self.frame.dims if d.letter in letters]
        terms = [] if text == "0" and missing else [text]
        return " + ".join([*terms, *(f"0 * {name}" for name in missing)])

    def store(self, op: Store) -> None:
        """Add a store of a value in the type of its buffer."""
        buffer = self.kernel.buffer(op.buffer)
        (offset,) = op.map
        value = self.argument(op.value)
        bits = self.bits.get(op.value.name) if isinstance(op.value, Value) else None
        letters = self.letters_of([offset])
        at = self.spread(self.index(offset), self.along([op.value]) - letters)
        masks = self.masks_of(letters | self.along([op.value]))
        mask = f", mask={_all(masks)}" if masks else ""
        is_narrow = buffer.dtype in dt.NARROW_FLOATS
        if bits is not None:
            value = bits
        elif is_narrow or dtype_of(op.value) != buffer.dtype:
            value = stored(value, buffer.dtype)
        self.line(f"tl.store({pointer(op.buffer)} + {at}, {value}{mask})")


def value_name(name: str) -> str:
    """Return the variable of a value."""
    text = identifier(name)
    is_taken = text in _RESERVED or text.endswith(
        ("index", "mask", "numel", "_ptr", "_bits")
    )
    return f"{text}_" if is_taken else text


def pointer(buffer: str) -> str:
    """Return the argument that points to a buffer."""
    return identifier(f"{buffer}_ptr")


def _value_index(name: str) -> Affine:
    return Affine(((ValueIndex(name), 1),))


def _all(conditions: Sequence[str]) -> str:
    return " & ".join(conditions)


def needs_64_bits(kernel: Kernel, dims: Iterable[Dim]) -> bool:
    """Tell whether positions or offsets of a kernel do not fit 32 bits."""
    extents = {a.name: a.extent for a in kernel.axes}
    wide = any(is_wide(i, extents) for op in kernel.body for i in indices_of(op))
    sizes = (d.numel + d.block for d in dims)
    spans = (
        sum(abs(s) * max(n - 1, 0) for s, n in zip(b.strides, b.shape, strict=True))
        for b in buffers_of(kernel)
    )
    return wide or any(n >= 2**31 for n in (*sizes, *spans))
