"""Contractions as blocked matrix products with ``tl.dot``.

A program computes one BLOCK_M × BLOCK_N block of the result: the axes of the left
operand alone are rows (``m``), those of the right one columns (``n``), those of both
batches, one position each. What comes before the contraction is computed on the blocks
as they are loaded, what comes after on the finished block. Where that reduces along the
columns, one block has all of them. float32 and float64 products are exact
(``input_precision="ieee"``: no tf32), halves are summed in float32.

Programs run in groups of GROUP_M rows, so that the blocks of the right operand that
neighbours read are still in the cache.
"""

from ...kernels.kernel import Contract, KernelOp, Reduce, Value
from ...kernels.pieces import Piece, axes_of, closure, needed_for
from .blocks import SMALLEST, MatrixDim, Operand, as_side, batch_lines, dot
from .code import Tuning, power_of_two
from .nests import Body
from .rows import Row
from .tiles import Dim, Frame
from .values import HALVES, register_type, rounded
from .writer import Writer, needs_64_bits

_GROUP = 8
_LARGEST = {"m": 128, "n": 128, "k": 64}
_FLOAT32_LARGEST = {"m": 64, "n": 64, "k": 32}
_ROWS_OF_8_WARPS = 32 * 256  # elements of rows that four warps would spill


def write_matmul(
    piece: Piece, tuning: Tuning, numbers: dict[str, int], program: str
) -> Body:
    """Return the body of a piece with one contraction.

    Reductions are along its columns, and come after it. `program` is the text of the
    program's number.
    """
    plan = _Plan(piece, tuning)
    product = _Product(piece, plan, numbers, program)
    product.write()
    dims = (plan.m, plan.n, plan.k)
    constexprs = {f"{d.letter.upper()}": d.numel for d in dims}
    constexprs.update({d.block_name: d.block for d in dims})
    constexprs["GROUP_M"] = _GROUP
    return Body(
        product.writer.lines,
        constexprs,
        programs_of(piece, tuning),
        plan.num_warps,
        3,
        "matmul",
        product.writer.can_fail,
    )


def programs_of(piece: Piece, tuning: Tuning) -> int:
    """Return how many programs a piece with one contraction has."""
    plan = _Plan(piece, tuning)
    return plan.m.steps * plan.n.steps * plan.batch.numel


class _Plan:
    """The dimensions of a product."""

    def __init__(self, piece: Piece, tuning: Tuning) -> None:
        self.piece, self.tuning = piece, tuning
        (op,) = (op for op in piece.kernel.body if isinstance(op, Contract))
        self.op = op
        both = op.lhs.axes & op.rhs.axes
        self.has_rows = any(isinstance(x, Reduce) for x in piece.kernel.body)
        self.n = self._dim("n", op.rhs.axes - both, "[None, :]")
        self.m = self._dim("m", op.lhs.axes - both, "[:, None]")
        self.k = self._dim("k", frozenset(op.axes), "[None, :]")
        self.batch = self._dim("b", both - set(op.axes), "")
        block = self.m.block * self.n.block
        many = _ROWS_OF_8_WARPS if self.has_rows else 128 * 128
        self.num_warps = 8 if block >= many else 4 if block >= 32 * 32 else 2

    def _dim(self, letter: str, axes: frozenset[str], place: str) -> MatrixDim:
        order = tuple(a for a in self.piece.loops if a in axes)
        extents = tuple(self.piece.kernel.extent(a) for a in order)
        name = f"BLOCK_{letter.upper()}"
        length = Dim(letter, order, extents, 1, place, name).numel
        block = 1 if letter == "b" else self._block(letter, name, length)
        return MatrixDim(letter, order, extents, block, place, name)

    def _block(self, letter: str, name: str, length: int) -> int:
        whole = max(power_of_two(length), SMALLEST)
        if letter == "n" and self.has_rows:
            return whole
        largest = _LARGEST if self.op.lhs.dtype in HALVES else _FLOAT32_LARGEST
        rows_are_wide = letter == "m" and self.n.block > _LARGEST["n"]
        limit = largest[letter] // 2 if rows_are_wide else largest[letter]
        return self.tuning.blocks.get(name, min(whole, limit))


class _Product:
    """Writes the statements of a product."""

    def __init__(
        self, piece: Piece, plan: _Plan, numbers: dict[str, int], program: str
    ) -> None:
        self.piece, self.plan, self.op = piece, plan, plan.op
        self.number = program
        self.body = piece.kernel.body
        self.scalars = {a: f"b_{a}" for a in plan.batch.axes}
        self.result = Frame((plan.m, plan.n), self.scalars)
        self.writer = Writer(piece.kernel, self.result, numbers)
        self.wide = needs_64_bits(piece.kernel, (plan.m, plan.n, plan.k))
        self.used = {a for op in self.body for a in axes_of(op)}

    def write(self) -> None:
        """Write the whole body."""
        w, op = self.writer, self.op
        self.program()
        inside = set(needed_for(self.body, [op]))
        hoisted = [x for x in self.body if x in inside and not self.is_inner(x)]
        for x in hoisted:
            w.write(x)
        type_ = register_type(op.result.dtype)
        w.line(f"acc = tl.full({self.result.shape}, 0.0, {type_})")
        with w.block("for koffset in range(0, K, BLOCK_K):"):
            lhs = self.operand(op.lhs, self.plan.m, "[None, :]", inside)
            rhs = self.operand(op.rhs, self.plan.n, "[:, None]", inside)
            w.line(f"acc = {dot(op, lhs, rhs, 'acc')}")
        w.frame = self.result
        w.bind(op.result.name, rounded("acc", op.result.dtype), frozenset("mn"))
        for x in self.body:
            if isinstance(x, Reduce):
                Row(w, self.plan.m, self.plan.n, w.extents).write(x)
            elif x not in inside:
                w.write(x)

    def is_inner(self, op: KernelOp) -> bool:
        """Tell whether an operation runs in the loop over `k`."""
        return op is self.op or bool(axes_of(op) & set(self.plan.k.axes))

    def program(self) -> None:
        """Write which block a program computes, and its positions."""
        w, plan = self.writer, self.plan
        wide = ".to(tl.int64)" if self.wide else ""
        w.line(f"pid = {self.number}{wide}")
        w.line("m_blocks = tl.cdiv(M, BLOCK_M)")
        w.line("n_blocks = tl.cdiv(N, BLOCK_N)")
        if plan.batch.axes:
            w.line("bindex = pid // (m_blocks * n_blocks)")
            w.line("pid = pid % (m_blocks * n_blocks)")
            batch = plan.batch
            for text in batch_lines(self.scalars, batch.axes, batch.extents):
                w.line(text)
        w.line("group = pid // (GROUP_M * n_blocks)")
        w.line("rows = tl.minimum(m_blocks - group * GROUP_M, GROUP_M)")
        w.line("inside = pid % (GROUP_M * n_blocks)")
        w.line("m_block = group * GROUP_M + inside % rows")
        w.line("n_block = inside // rows")
        for dim in (plan.m, plan.n):
            block = f"{dim.letter}_block * {dim.block_name}"
            arange = f"tl.arange(0, {dim.block_name}){dim.place}"
            w.line(f"{dim.index} = {block} + {arange}")
            for text in dim.lines(self.used):
                w.line(text)

    def operand(self, value: Value, dim: Dim, place: str, inside: set[KernelOp]) -> str:
        """Write one operand's block in the loop over k; return it.

        `place` is that of `k` in the block.
        """
        w, k = self.writer, self.plan.k
        side = as_side(k, place, dim.letter)
        rows = (dim, side) if place == "[None, :]" else (side, dim)
        w.frame = Frame(rows, self.scalars)
        w.line(f"{side.index} = koffset + tl.arange(0, {k.block_name}){place}")
        for text in side.lines(self.used):
            w.line(text)
        ops = [
            x
            for x in closure(self.body, [value.name])
            if x in inside and self.is_inner(x)
        ]
        return Operand(self.op, value, ops, self.body).write(w, side)
