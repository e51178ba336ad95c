"""Blocks of matrices: their dimensions, and the operands of ``tl.dot``.

What an operand is computed from is computed on its block as it is loaded; past the end
of the axes that are summed it is zero. Halves are multiplied as halves and summed in
float32; float32 and float64 products are exact, unless tf32 is asked for. float8 is
multiplied as float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir import dtypes as dt
from ...kernels.kernel import Contract, KernelOp, Load, Value, values_of
from ...kernels.pieces import axes_of
from .tiles import Dim
from .values import memory_type
from .writer import Writer, value_name

SMALLEST = 16  # the least block of tl.dot
_FLOAT64 = ', input_precision="ieee", out_dtype=tl.float64'


def dot(op: Contract, lhs: str, rhs: str, acc: str, tf32: bool = False) -> str:
    """Return a product of two blocks, added to `acc`.

    Products of float32 numbers are exact, or those of numbers rounded to `tf32`.
    """
    dtype = op.lhs.dtype
    if dtype in dt.HALVES:
        precision = ""  # their products are exact in float32
    elif dtype == dt.FLOAT64:
        precision = _FLOAT64
    else:
        precision = f', input_precision="{"tf32" if tf32 else "ieee"}"'
    return f"tl.dot({lhs}, {rhs}, {acc}{precision})"


@dataclass(frozen=True)
class MatrixDim(Dim):
    """A dimension named as in matrix products: ``offs_m``, ``m_mask``, ``M``."""

    @property
    def index(self) -> str:
        """The variable of the flattened position."""
        return f"offs_{self.letter}"

    @property
    def mask(self) -> str | None:
        """The variable that says which positions exist; None if all do."""
        return f"{self.letter}_mask" if super().mask else None

    @property
    def numel_name(self) -> str:
        """The constexpr of `numel`."""
        return self.letter.upper()


@dataclass(frozen=True)
class Side(MatrixDim):
    """The dimension k as rows or columns of one operand: ``offs_km``, ``offs_kn``."""

    with_: str = ""

    @property
    def index(self) -> str:
        """The variable of the flattened position."""
        return f"offs_{self.letter}{self.with_}"

    @property
    def mask(self) -> str | None:
        """The variable that says which positions exist; None if all do."""
        name = f"{self.letter}{self.with_}_mask"
        return name if Dim.mask.fget(self) else None  # type: ignore[attr-defined]

    def axis_name(self, axis: str) -> str:
        """Return the variable of the position along one of its axes."""
        if len(self.axes) == 1:
            return self.index
        return f"{self.letter}{self.with_}_{axis}"


def as_side(dim: Dim, place: str, other: str) -> Side:
    """Return a dimension as rows or columns of the block with dimension `other`."""
    return Side(
        dim.letter, dim.axes, dim.extents, dim.block, place, dim.block_name, other
    )


class Operand:
    """One operand of a product.

    Parameters
    ----------
    op : Contract
    value : Value
    ops : sequence of KernelOp
        What it is computed from, in order, without what is there already.
    body : sequence of KernelOp
        Of the kernel.
    """

    def __init__(
        self,
        op: Contract,
        value: Value,
        ops: Sequence[KernelOp],
        body: Sequence[KernelOp],
    ) -> None:
        self.op, self.value, self.ops, self.body = op, value, ops, body

    def write(self, w: Writer, summed: Dim) -> str:
        """Write the operand in the writer's frame; return it as a block.

        Where `summed` has ended it is zero.
        """
        if self.is_direct():
            (load,) = self.ops
            assert isinstance(load, Load)
            is_byte = self.value.dtype in dt.FLOAT8S
            w.load(load, "0" if is_byte else "0.0", widen=is_byte)
            return whole(w, value_name(self.value.name), w.letters[self.value.name])
        for x in self.ops:
            w.write(x)
        text = value_name(self.value.name)
        letters = w.letters[self.value.name]
        if summed.mask:
            text = f"tl.where({summed.mask}, {text}, 0.0)"
            letters = letters | {summed.letter}
        if self.value.dtype in dt.HALVES:
            text = f"{text}.to({memory_type(self.value.dtype)})"
        return whole(w, text, letters)

    def is_direct(self) -> bool:
        """Tell whether the operand is nothing but loaded, and for nothing else."""
        users = [x for x in self.body if self.value in values_of(x)]
        only = self.ops[0] if len(self.ops) == 1 and users == [self.op] else None
        along = set(self.op.axes)
        return (
            isinstance(only, Load) and bool(axes_of(only) & along) and not only.bounds
        )


def whole(w: Writer, text: str, letters: frozenset[str]) -> str:
    """Return a value with these dimensions along both of the writer's frame."""
    if letters == {d.letter for d in w.frame.dims}:
        return text
    return f"tl.broadcast_to({text}, {w.frame.shape})"


def batch_lines(
    frame_scalars: Mapping[str, str], axes: Sequence[str], extents: Sequence[int]
) -> list[str]:
    """Return the positions along batch axes, from ``bindex``."""
    out, inner = [], 1
    for a, n in reversed(list(zip(axes, extents, strict=True))):
        at = "bindex" if inner == 1 else f"bindex // {inner}"
        out.append(f"{frame_scalars[a]} = {at} % {n}")
        inner *= max(n, 1)
    return out[::-1]
