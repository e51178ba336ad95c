"""Attention as one kernel: rows against blocks of columns, with a running maximum.

A program has BLOCK_M rows (``m``) of one position of the batch axes. It runs over the
streamed axis (``k``) in blocks: scores, their exponentials under the maximum so far,
the product with a block of values (``n``). Where the maximum grows, sums and product
are scaled. The axis of the scores' own contraction is ``d``: held whole if it fits,
so that the rows are loaded once, and looped over if not.

    for koffset ...:
        s = q @ k        m' = max(m, max s)       e = exp(s - m')
        l = l exp(m - m') + Σ e                   acc = acc exp(m - m') + e @ v

A row whose scores are all -inf is subtracted 0, not -inf, as long as it may yet get
others; if it does not, it is NaN, as in NumPy. Needs a piece that `online` knows.
"""

from collections.abc import Iterable

from ...ir import dtypes as dt
from ...ir.ops.elementwise import exp_p
from ...kernels.kernel import Contract, KernelOp, Reduce, Store, Value, values_of
from . import elementwise
from .blocks import SMALLEST, MatrixDim, Operand, as_side, batch_lines, dot, whole
from .code import Tuning, power_of_two
from .nests import Body
from .online import Online
from .pieces import Piece, axes_of, closure, names_read
from .tiles import Dim, Frame
from .values import HALVES, memory_type, register_type, rounded
from .writer import Writer, needs_64_bits, value_name

_LARGEST = {"m": 128, "k": 64, "d": 256}
_FLOAT32_LARGEST = {"m": 64, "k": 32, "d": 32}  # multiplied in registers
_WIDE = 128  # columns beyond which a program has half the rows
_INFINITY, _NAN = 'float("inf")', 'float("nan")'


def write_stream(
    piece: Piece, roles: Online, tuning: Tuning, numbers: dict[str, int], program: str
) -> Body:
    """Return the body of a piece whose structure is `roles`.

    `program` is the text of the program's number.
    """
    plan = _Plan(piece, roles, tuning)
    stream = _Stream(piece, roles, plan, numbers, program)
    stream.write()
    dims = plan.dims
    constexprs = {d.numel_name: d.numel for d in dims}
    constexprs.update({d.block_name: d.block for d in dims})
    return Body(
        stream.writer.lines,
        constexprs,
        plan.m.steps * plan.batch.numel,
        plan.num_warps,
        2,
        "stream",
        stream.writer.can_fail,
    )


class _Plan:
    """The dimensions of a stream."""

    def __init__(self, piece: Piece, roles: Online, tuning: Tuning) -> None:
        self.piece, self.tuning = piece, tuning
        self.is_half = roles.product.lhs.dtype in HALVES
        self.n = self._dim("n", roles.columns, "[None, :]")
        self.m = self._dim("m", roles.rows, "[:, None]")
        self.k = self._dim("k", roles.streamed, "[None, :]")
        self.d = self._dim("d", roles.inner, "[None, :]") if roles.scored else None
        self.batch = self._dim("b", roles.batch, "")
        self.num_warps = 8 if self.m.block * self.n.block >= 128 * 128 else 4

    @property
    def dims(self) -> tuple[MatrixDim, ...]:
        """The dimensions that have blocks."""
        inner = () if self.d is None else (self.d,)
        return (self.m, self.n, self.k, *inner)

    def _dim(self, letter: str, axes: frozenset[str], place: str) -> MatrixDim:
        order = tuple(a for a in self.piece.loops if a in axes)
        extents = tuple(self.piece.kernel.extent(a) for a in order)
        name = f"BLOCK_{letter.upper()}"
        length = Dim(letter, order, extents, 1, place, name).numel
        block = 1
        if letter != "b":
            least = min(power_of_two(length), self._largest(letter, length))
            block = self.tuning.blocks.get(name, max(least, SMALLEST))
        return MatrixDim(letter, order, extents, block, place, name)

    def _largest(self, letter: str, length: int) -> int:
        if letter == "n":
            return power_of_two(length)
        largest = (_LARGEST if self.is_half else _FLOAT32_LARGEST)[letter]
        return largest // 2 if letter == "m" and self.n.block > _WIDE else largest


class _Stream:
    """Writes the statements of a stream."""

    def __init__(
        self,
        piece: Piece,
        roles: Online,
        plan: _Plan,
        numbers: dict[str, int],
        program: str,
    ) -> None:
        self.piece, self.roles, self.plan = piece, roles, plan
        self.number = program
        self.body = piece.kernel.body
        self.scalars = {a: f"b_{a}" for a in plan.batch.axes}
        self.result = Frame((plan.m, plan.n), self.scalars)
        self.scores = Frame((plan.m, plan.k), self.scalars)
        self.writer = Writer(piece.kernel, self.result, numbers)
        self.wide = needs_64_bits(piece.kernel, plan.dims)
        self.used = {a for op in self.body for a in axes_of(op)}
        self.top = value_name(roles.top.result.name)
        self.run, self.scale = f"{self.top}_run", f"{self.top}_scale"
        self.hoisted = self.hoisted_names()
        self.ready = self.hoisted | roles.results

    def hoisted_names(self) -> set[str]:
        """Return the values that are the same in the whole row, and not its result."""
        late = set(self.roles.results)
        found: set[str] = set()
        for op in self.body:
            if late.intersection(names_read(op)):
                late |= set() if isinstance(op, Store) else {op.result.name}
            elif not isinstance(op, Store) and op.result.name not in late:
                is_row = axes_of(op) <= self.roles.batch | self.roles.rows
                found |= {op.result.name} if is_row else set()
        return found

    def write(self) -> None:
        """Write the whole body."""
        self.program()
        for op in self.body:
            if not isinstance(op, Store) and op.result.name in self.hoisted:
                self.writer.write(op)
        if self.plan.d is not None and self.plan.d.steps == 1:
            self.query("tl.arange(0, BLOCK_D)")
        self.start()
        with self.writer.block("for koffset in range(0, K, BLOCK_K):"):
            self.step()
        self.end()
        stores = [op for op in self.body if isinstance(op, Store)]
        roots = {name for op in stores for name in names_read(op)}
        for op in (*closure(self.body, roots, self.ready), *stores):
            self.writer.write(op)

    def positions(self, dim: Dim, start: str) -> None:
        """Write the positions along a dimension."""
        self.writer.line(f"{dim.index} = {start}{dim.place}")
        for text in dim.lines(self.used):
            self.writer.line(text)

    def program(self) -> None:
        """Write which rows a program has, and its positions."""
        w, plan = self.writer, self.plan
        wide = ".to(tl.int64)" if self.wide else ""
        w.line(f"pid = {self.number}{wide}")
        w.line("m_blocks = tl.cdiv(M, BLOCK_M)")
        if plan.batch.axes:
            w.line("bindex = pid // m_blocks")
            batch = plan.batch
            for text in batch_lines(self.scalars, batch.axes, batch.extents):
                w.line(text)
        self.positions(plan.m, "pid % m_blocks * BLOCK_M + tl.arange(0, BLOCK_M)")
        self.positions(plan.n, "tl.arange(0, BLOCK_N)")

    def start(self) -> None:
        """Write the state of an empty row."""
        w, r = self.writer, self.roles
        type_ = register_type(r.scores.dtype)
        w.line(f"{self.run} = tl.full([BLOCK_M, 1], -{_INFINITY}, {type_})")
        for op in r.sums:
            type_ = register_type(op.result.dtype)
            name = value_name(op.result.name)
            w.line(f"{name}_acc = tl.full([BLOCK_M, 1], 0.0, {type_})")
        type_ = register_type(r.product.lhs.dtype)
        w.line(f"acc = tl.full({self.result.shape}, 0.0, {type_})")

    def step(self) -> None:
        """Write one block of the streamed axis."""
        w, r = self.writer, self.roles
        w.frame = self.scores
        self.positions(self.plan.k, "koffset + tl.arange(0, BLOCK_K)")
        known = set(self.ready)
        if r.scored is not None:
            self.scored()
            known.add(r.scored.result.name)
        self.write_ops(closure(self.body, [r.scores.name], known))
        self.grow(r.scores)
        known.add(r.scores.name)
        summed = [x.name for op in r.sums for x in values_of(op)]
        self.write_ops(closure(self.body, [r.weights.name, *summed], known))
        for op in r.sums:
            self.add(op)
        self.accumulate()

    def write_ops(self, ops: Iterable[KernelOp]) -> None:
        """Write operations in the frame there is."""
        for op in ops:
            self.writer.write(op)

    def times(self, op: Contract, lhs: str, rhs: str, acc: str) -> str:
        """Return a product of two blocks, added to `acc`."""
        return dot(op, lhs, rhs, acc, self.plan.tuning.tf32)

    # --- scores

    def query(self, start: str) -> None:
        """Write the block of the rows' own operand."""
        d, op, value = self.plan.d, self.roles.scored, self.roles.query
        assert d is not None and op is not None and value is not None
        self.writer.frame = Frame((self.plan.m, d), self.scalars)
        self.positions(d, start)
        ops = closure(self.body, [value.name], self.ready)
        text = Operand(op, value, ops, self.body).write(self.writer, d)
        self.writer.line(f"query = {text}")
        self.positions(as_side(d, "[:, None]", "k"), start)

    def scored(self) -> None:
        """Write the scores' contraction on one block."""
        w, d, op = self.writer, self.plan.d, self.roles.scored
        assert d is not None and op is not None
        type_ = register_type(op.lhs.dtype)
        w.line(f"dots = tl.full({self.scores.shape}, 0.0, {type_})")
        if d.steps == 1:
            w.line(f"dots = {self.times(op, 'query', self.key(), 'dots')}")
        else:
            with w.block("for doffset in range(0, D, BLOCK_D):"):
                self.query("doffset + tl.arange(0, BLOCK_D)")
                w.line(f"dots = {self.times(op, 'query', self.key(), 'dots')}")
        w.frame = self.scores
        w.bind(op.result.name, rounded("dots", op.result.dtype), frozenset("mk"))

    def key(self) -> str:
        """Write the block of the streamed operand of the scores; return it."""
        d, op, value = self.plan.d, self.roles.scored, self.roles.key
        assert d is not None and op is not None and value is not None
        side = as_side(d, "[:, None]", "k")
        self.writer.frame = Frame((side, self.plan.k), self.scalars)
        ops = closure(self.body, [value.name], self.ready)
        return Operand(op, value, ops, self.body).write(self.writer, side)

    def grow(self, scores: Value) -> None:
        """Write the maximum with one more block, and the scale of what was before."""
        w, k, run = self.writer, self.plan.k, self.run
        if k.mask:
            name = value_name(scores.name)
            text = f"tl.where({k.mask}, {name}, -{_INFINITY})"
            w.bind(scores.name, text, w.letters[scores.name] | {k.letter})
        block = whole(w, value_name(scores.name), w.letters[scores.name])
        w.line(f"{self.top}_block = tl.reduce({block}, 1, nan_maximum)[:, None]")
        w.line(f"{self.top}_next = nan_maximum({run}, {self.top}_block)")
        finite = f"tl.where({self.top}_next == -{_INFINITY}, 0.0, {self.top}_next)"
        w.bind(self.roles.top.result.name, finite, frozenset("m"))
        # Not rounded to a half type: the factors of many blocks are multiplied.
        w.line(f"{self.scale} = {self.exponential(f'{run} - {self.top}')}")
        w.line(f"{run} = {self.top}_next")

    def exponential(self, text: str) -> str:
        """Return exp of an expression in registers."""
        dtype = self.roles.scores.dtype
        wide = dt.FLOAT32 if dtype in HALVES else dtype
        return elementwise.expression(
            exp_p, {}, [elementwise.Operand(text, wide)], wide
        )

    # --- sums and product

    def masked(self, value: Value) -> str:
        """Return a value along rows and one block, zero where the row has ended."""
        w, k = self.writer, self.plan.k
        text, letters = value_name(value.name), w.letters[value.name]
        if k.mask:
            text, letters = f"tl.where({k.mask}, {text}, 0.0)", letters | {k.letter}
        return whole(w, text, letters)

    def add(self, op: Reduce) -> None:
        """Write one more block of a sum."""
        (value,) = values_of(op)
        name = f"{value_name(op.result.name)}_acc"
        block = f"tl.sum({self.masked(value)}, 1)[:, None]"
        self.writer.line(f"{name} = {name} * {self.scale} + {block}")

    def accumulate(self) -> None:
        """Write one more block of the product."""
        w, r, k = self.writer, self.roles, self.plan.k
        text = self.masked(r.weights)
        if r.weights.dtype in HALVES:
            text = f"{text}.to({memory_type(r.weights.dtype)})"
        w.line(f"weights = {text}")
        side = as_side(k, "[:, None]", "n")
        w.frame = Frame((side, self.plan.n), self.scalars)
        self.positions(side, "koffset + tl.arange(0, BLOCK_K)")
        ops = closure(self.body, [r.values.name], self.ready)
        values = Operand(r.product, r.values, ops, self.body).write(w, side)
        w.line(
            f"acc = {self.times(r.product, 'weights', values, f'acc * {self.scale}')}"
        )

    def end(self) -> None:
        """Write the results of the whole row."""
        w, r, m = self.writer, self.roles, frozenset("m")
        w.frame = self.result
        w.bind(r.top.result.name, self.run, m)
        w.line(f"{self.top}_none = {self.top} == -{_INFINITY}")
        for op in r.sums:
            text = self.ended(f"{value_name(op.result.name)}_acc")
            w.bind(op.result.name, rounded(text, op.result.dtype), m)
        text = rounded(self.ended("acc"), r.product.result.dtype)
        w.bind(r.product.result.name, text, frozenset("mn"))

    def ended(self, text: str) -> str:
        """Return a sum of exponentials: NaN where all scores were -inf."""
        return f"tl.where({self.top}_none, {_NAN}, {text})"
