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
others; if it does not, it is NaN, as in NumPy.

The derivative of attention is the same with more products, and without the maximum,
which is known: a program has rows of queries and sums over keys, or the other way
round. Blocks that a mask of positions hides are left out (`_Limits`).

Needs a piece whose parts are a `Stream`.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ...ir import dtypes as dt
from ...ir.ops.elementwise import exp_p
from ...kernels.kernel import Contract, KernelOp, Reduce, Store, Value, values_of
from ...kernels.maps import Affine, AxisIndex
from ...kernels.online import Online
from ...kernels.pieces import Piece, axes_of, closure, names_read
from ...kernels.streams import Hidden, Scored, Stream, Summed, hidden
from . import elementwise
from .blocks import SMALLEST, MatrixDim, Operand, as_side, batch_lines, dot, whole
from .code import Tuning, power_of_two
from .nests import Body
from .rows import Row
from .tiles import Dim, Frame
from .values import memory_type, register_type, rounded
from .writer import Writer, needs_64_bits, value_name

_LARGEST = {"m": 128, "k": 64, "d": 256}
_FLOAT32_LARGEST = {"m": 64, "k": 32, "d": 32}  # multiplied in registers
# With the products of the derivative, of which a program holds twice as many blocks.
_BACKWARD = {"m": 64, "k": 64, "d": 256}
_FLOAT32_BACKWARD = {"m": 32, "k": 32, "d": 32}
_WIDE = 128  # columns beyond which a program has half the rows
_OF_FORWARD = 2  # products
_LONG = 128  # positions that fill blocks by themselves
_MANY = 128 * 128  # elements of blocks from which a program has eight warps
_FLOAT32_MANY = 64 * 128
# Below this, exp gives zero: exp(-104) in float32, exp(-746) in float64.
_UNDERFLOW_32, _UNDERFLOW_64 = 110.0, 760.0
_INFINITY, _NAN = 'float("inf")', 'float("nan")'


def write_stream(
    piece: Piece, roles: Stream, tuning: Tuning, numbers: dict[str, int], program: str
) -> Body:
    """Return the body of a piece whose parts are `roles`.

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

    def __init__(self, piece: Piece, roles: Stream, tuning: Tuning) -> None:
        self.piece, self.tuning = piece, tuning
        self.is_half = roles.summed[0].weights.dtype in dt.HALVES
        self.held = len(roles.summed) + len(roles.scored)
        self.n = self._dim("n", roles.columns, "[None, :]")
        self.m = self._dim("m", roles.rows, "[:, None]")
        self.turns = self._turns(roles)
        self.k = self._dim("k", roles.streamed - set(self.turns), "[None, :]")
        self.inner = self._inner(roles)
        self.batch = self._dim("b", roles.batch, "")
        many = _MANY if self.is_half or self.held <= _OF_FORWARD else _FLOAT32_MANY
        is_large = self.m.block * self.n.block * (self.held - 1) >= many
        self.num_warps = 8 if is_large else 4

    def _turns(self, roles: Stream) -> tuple[str, ...]:
        """Return the streamed axes outside of a long one: heads of a group."""
        order = tuple(a for a in self.piece.loops if a in roles.streamed)
        is_long = self.piece.kernel.extent(order[-1]) >= _LONG
        return order[:-1] if is_long else ()

    @property
    def dims(self) -> tuple[MatrixDim, ...]:
        """The dimensions that have blocks."""
        return (self.m, self.n, self.k, *dict.fromkeys(self.inner))

    def _inner(self, roles: Stream) -> tuple[MatrixDim, ...]:
        """Return the dimension that each product of scores sums."""
        found = list(dict.fromkeys(s.inner for s in roles.scored))
        return tuple(
            self._dim("dcef"[found.index(s.inner)], frozenset(s.inner), "[None, :]")
            for s in roles.scored
        )

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
        sizes = _LARGEST if self.is_half else _FLOAT32_LARGEST
        if self.held > _OF_FORWARD:
            sizes = _BACKWARD if self.is_half else _FLOAT32_BACKWARD
        largest = sizes[letter if letter in "mk" else "d"]
        return largest // 2 if letter == "m" and self.n.block > _WIDE else largest


class _Stream:
    """Writes the statements of a stream."""

    def __init__(
        self,
        piece: Piece,
        roles: Stream,
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
        self.online = _Running(self, roles.online) if roles.online else None
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
        for n, d in enumerate(self.plan.inner):
            if d.steps == 1:
                self.row(n, "tl.arange(0, {})")
        self.start()
        self.loops(self.plan.turns)
        self.end()
        stores = [op for op in self.body if isinstance(op, Store)]
        roots = {name for op in stores for name in names_read(op)}
        for op in (*closure(self.body, roots, self.ready), *stores):
            if isinstance(op, Reduce):
                w = self.writer
                Row(w, self.plan.m, self.plan.n, w.extents).write(op)
            else:
                self.writer.write(op)

    def loops(self, turns: Sequence[str]) -> None:
        """Write the loops over the streamed axes."""
        w = self.writer
        if not turns:
            limits = _Limits(self)
            with w.block(f"for koffset in range({limits.write()}, BLOCK_K):"):
                self.step()
            for rest in limits.write_rest():
                with w.block(f"for koffset in range({rest}, BLOCK_K):"):
                    self.step()
            return
        first, *inside = turns
        name = self.scalars[first] = f"turn_{first}"
        with w.block(f"for {name} in range(0, {self.piece.kernel.extent(first)}):"):
            if self.wide:
                w.line(f"{name} = {name} + pid * 0")
            self.loops(inside)

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
        """Write sums of nothing."""
        if self.online is not None:
            self.online.start()
        for n, s in enumerate(self.roles.summed):
            type_ = register_type(s.product.lhs.dtype)
            text = f"tl.full({self.result.shape}, 0.0, {type_})"
            self.writer.line(f"{_numbered('acc', n)} = {text}")

    def step(self) -> None:
        """Write one block of the streamed axis."""
        w = self.writer
        w.frame = self.scores
        self.positions(self.plan.k, "koffset + tl.arange(0, BLOCK_K)")
        known = set(self.ready)
        for n, s in enumerate(self.roles.scored):
            self.scored(n, s)
            known.add(s.product.result.name)
        wanted = [s.weights.name for s in self.roles.summed]
        if self.online is not None:
            known |= self.online.grow(known)
            wanted += self.online.summed()
        self.write_ops(closure(self.body, wanted, known))
        if self.online is not None:
            self.online.add()
        for n, one in enumerate(self.roles.summed):
            self.accumulate(n, one)

    def write_ops(self, ops: Iterable[KernelOp]) -> None:
        """Write operations in the frame there is."""
        for op in ops:
            self.writer.write(op)

    def times(self, op: Contract, lhs: str, rhs: str, acc: str) -> str:
        """Return a product of two blocks, added to `acc`."""
        return dot(op, lhs, rhs, acc, self.plan.tuning.tf32)

    # --- scores

    def row(self, n: int, start: str) -> None:
        """Write the block of the rows' own operand of a product of scores."""
        d, s = self.plan.inner[n], self.roles.scored[n]
        self.writer.frame = Frame((self.plan.m, d), self.scalars)
        self.positions(d, start.format(d.block_name))
        ops = closure(self.body, [s.row.name], self.ready)
        text = Operand(s.product, s.row, ops, self.body).write(self.writer, d)
        self.writer.line(f"{_numbered('query', n)} = {text}")
        self.positions(as_side(d, "[:, None]", "k"), start.format(d.block_name))

    def scored(self, n: int, s: Scored) -> None:
        """Write a product of scores on one block."""
        w, d, op = self.writer, self.plan.inner[n], s.product
        type_ = register_type(op.lhs.dtype)
        dots, query = _numbered("dots", n), _numbered("query", n)
        w.line(f"{dots} = tl.full({self.scores.shape}, 0.0, {type_})")
        if d.steps == 1:
            w.line(f"{dots} = {self.times(op, query, self.key(n, s), dots)}")
        else:
            name = f"{d.letter}offset"
            with w.block(f"for {name} in range(0, {d.numel_name}, {d.block_name}):"):
                self.row(n, f"{name} + tl.arange(0, {{}})")
                w.line(f"{dots} = {self.times(op, query, self.key(n, s), dots)}")
        w.frame = self.scores
        w.bind(op.result.name, rounded(dots, op.result.dtype), frozenset("mk"))

    def key(self, n: int, s: Scored) -> str:
        """Write the block of the streamed operand of scores; return it."""
        side = as_side(self.plan.inner[n], "[:, None]", "k")
        self.writer.frame = Frame((side, self.plan.k), self.scalars)
        ops = closure(self.body, [s.streamed.name], self.ready)
        return Operand(s.product, s.streamed, ops, self.body).write(self.writer, side)

    # --- sums

    def masked(self, value: Value) -> str:
        """Return a value along rows and one block, zero where the row has ended."""
        w, k = self.writer, self.plan.k
        text, letters = value_name(value.name), w.letters[value.name]
        if k.mask:
            text, letters = f"tl.where({k.mask}, {text}, 0.0)", letters | {k.letter}
        return whole(w, text, letters)

    def accumulate(self, n: int, s: Summed) -> None:
        """Write one more block of a sum."""
        w, k = self.writer, self.plan.k
        w.frame = self.scores
        text = self.masked(s.weights)
        if s.weights.dtype in dt.HALVES:
            text = f"{text}.to({memory_type(s.weights.dtype)})"
        weights, acc = _numbered("weights", n), _numbered("acc", n)
        w.line(f"{weights} = {text}")
        side = as_side(k, "[:, None]", "n")
        w.frame = Frame((side, self.plan.n), self.scalars)
        self.positions(side, "koffset + tl.arange(0, BLOCK_K)")
        ops = closure(self.body, [s.values.name], self.ready)
        values = Operand(s.product, s.values, ops, self.body).write(w, side)
        before = f"{acc} * {self.online.scale}" if self.online is not None else acc
        w.line(f"{acc} = {self.times(s.product, weights, values, before)}")

    def end(self) -> None:
        """Write the results of the whole row."""
        w = self.writer
        w.frame = self.result
        if self.online is not None:
            self.online.end()
        for n, s in enumerate(self.roles.summed):
            text = _numbered("acc", n)
            text = text if self.online is None else self.online.ended(text)
            result = s.product.result
            w.bind(result.name, rounded(text, result.dtype), frozenset("mn"))


def _numbered(name: str, n: int) -> str:
    """Return the variable of the n-th product; the first has no number."""
    return f"{name}{n}" if n else name


class _Running:
    """The maximum of the rows so far, and the sums under it."""

    def __init__(self, stream: _Stream, roles: Online) -> None:
        self.stream, self.roles = stream, roles
        self.writer = stream.writer
        self.top = value_name(roles.top.result.name)
        self.run, self.scale = f"{self.top}_run", f"{self.top}_scale"

    def start(self) -> None:
        """Write the state of an empty row."""
        w, r = self.writer, self.roles
        type_ = register_type(r.scores.dtype)
        w.line(f"{self.run} = tl.full([BLOCK_M, 1], -{_INFINITY}, {type_})")
        for op in r.sums:
            type_ = register_type(op.result.dtype)
            name = value_name(op.result.name)
            w.line(f"{name}_acc = tl.full([BLOCK_M, 1], 0.0, {type_})")

    def summed(self) -> list[str]:
        """Return the names of the values that are summed."""
        return [x.name for op in self.roles.sums for x in values_of(op)]

    def grow(self, known: set[str]) -> set[str]:
        """Write the maximum with one more block, and the scale of what was before.

        Returns what is there then.
        """
        w, k, run, scores = self.writer, self.stream.plan.k, self.run, self.roles.scores
        self.stream.write_ops(closure(self.stream.body, [scores.name], known))
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
        return {scores.name}

    def exponential(self, text: str) -> str:
        """Return exp of an expression in registers."""
        dtype = self.roles.scores.dtype
        wide = dt.FLOAT32 if dtype in dt.NARROW_FLOATS else dtype
        return elementwise.expression(
            exp_p, {}, [elementwise.Operand(text, wide)], wide
        )

    def add(self) -> None:
        """Write one more block of the sums."""
        for op in self.roles.sums:
            (value,) = values_of(op)
            name = f"{value_name(op.result.name)}_acc"
            block = f"tl.sum({self.stream.masked(value)}, 1)[:, None]"
            self.writer.line(f"{name} = {name} * {self.scale} + {block}")

    def end(self) -> None:
        """Write the maximum and the sums of the whole row."""
        w, r, m = self.writer, self.roles, frozenset("m")
        w.bind(r.top.result.name, self.run, m)
        w.line(f"{self.top}_none = {self.top} == -{_INFINITY}")
        for op in r.sums:
            text = self.ended(f"{value_name(op.result.name)}_acc")
            w.bind(op.result.name, rounded(text, op.result.dtype), m)

    def ended(self, text: str) -> str:
        """Return a sum of exponentials: NaN where all scores were -inf."""
        return f"tl.where({self.top}_none, {_NAN}, {text})"


# --- blocks that a mask hides -----------------------------------------------------


class _Limits:
    """Which blocks of the stream a program goes through.

    Scores that a mask of positions hides do not count if their exponentials are zero.
    In the forward pass they are where they are -inf (only rows without any score would
    notice); else the hidden blocks come last, if the maxima are not far enough above
    what is hidden by then. Where the maxima are known, they are looked at before. What
    is hidden is then not multiplied by zero, which only infinite or NaN values in
    hidden places would show.

    Parameters
    ----------
    stream : _Stream
    """

    def __init__(self, stream: _Stream) -> None:
        self.stream = stream
        self.later: Hidden | None = None  # a mask whose hidden blocks may come last
        self.ends: set[str] = set()  # the limits that a mask moves

    def write(self) -> str:
        """Write the first position and the end; return both."""
        plan, w = self.stream.plan, self.stream.writer
        mask = hidden(self.stream.piece.kernel)
        if mask is None or len(plan.m.axes) != 1 or len(plan.k.axes) != 1:
            return "0, K"
        w.line("k_begin, k_end = 0, K")
        w.line("m_first = pid % m_blocks * BLOCK_M")
        w.line("m_last = tl.minimum(m_first + BLOCK_M, M) - 1")
        for index in mask.where:
            self.bound(index)
        if not self.ends:
            return "0, K"
        if self.stream.online is None:
            self.unless_felt(mask)
        elif float(mask.fill.value) != -float("inf"):
            self.later = mask
        return "k_begin, k_end"

    def write_rest(self) -> list[str]:
        """Write the limits of the hidden blocks that come last; return them."""
        w, online = self.stream.writer, self.stream.online
        if self.later is None or online is None:
            return []
        w.line("felt = tl.full([], 0, tl.int32)")
        dtype = online.roles.scores.dtype
        self.note(self.gap(self.later, online.run, dtype), self.stream.plan.m)
        rest = []
        if "k_begin" in self.ends:
            w.line("k_before = tl.where(felt == 0, 0, k_begin)")
            rest.append("0, k_before")
        if "k_end" in self.ends:
            w.line("k_after = tl.cdiv(k_end, BLOCK_K) * BLOCK_K")
            w.line("k_after = tl.where(felt == 0, K, k_after)")
            rest.append("k_after, K")
        return rest

    def bound(self, index: Affine) -> None:
        """Write the limit from an expression that must not be negative somewhere."""
        plan, w = self.stream.plan, self.stream.writer
        terms = {
            atom.axis: coefficient
            for atom, coefficient in index.terms
            if isinstance(atom, AxisIndex)
        }
        row, step = terms.pop(plan.m.axes[0], 0), terms.pop(plan.k.axes[0], 0)
        if terms or len(index.terms) != bool(row) + bool(step) or abs(step) != 1:
            return
        best = f"{row} * {'m_last' if row > 0 else 'm_first'} + {index.constant}"
        if step < 0:
            self.ends.add("k_end")
            w.line(f"k_end = tl.minimum(k_end, tl.maximum({best} + 1, 0))")
        else:
            self.ends.add("k_begin")
            first = f"tl.maximum(-({best}), 0) // BLOCK_K * BLOCK_K"
            w.line(f"k_begin = tl.maximum(k_begin, {first})")

    def gap(self, mask: Hidden, top: str, dtype: np.dtype) -> str:
        """Return whether maxima are so far above a fill that exp gives zero."""
        least = _UNDERFLOW_64 if dtype == dt.FLOAT64 else _UNDERFLOW_32
        return f"{top} - float({str(float(mask.fill.value))!r}) > {least}"

    def unless_felt(self, mask: Hidden) -> None:
        """Write the whole stream as the limits where a maximum is not far enough."""
        w, plan = self.stream.writer, self.stream.plan
        assert isinstance(mask.top, Value)
        name = value_name(mask.top.name)
        gap = self.gap(mask, name, mask.top.dtype)
        along = mask.top.axes & frozenset(plan.k.axes)
        w.line("felt = tl.full([], 0, tl.int32)")
        if not along:
            self.note(gap, plan.m)
        else:
            for start, stop in (("0", "k_begin"), ("k_end", "K")):
                with w.block(f"for koffset in range({start}, {stop}, BLOCK_K):"):
                    w.frame = self.stream.scores
                    self.stream.positions(plan.k, "koffset + tl.arange(0, BLOCK_K)")
                    ops = closure(self.stream.body, [mask.top.name], self.stream.ready)
                    self.stream.write_ops(ops)
                    self.note(gap, plan.k)
        w.line("k_begin = tl.where(felt == 0, k_begin, 0)")
        w.line("k_end = tl.where(felt == 0, k_end, K)")

    def note(self, gap: str, dim: Dim) -> None:
        """Write whether a block of maxima has one that is not far enough above."""
        near = f"tl.where({gap}, 0, 1)"
        near = f"tl.where({dim.mask}, {near}, 0)" if dim.mask else near
        self.stream.writer.line(f"felt = tl.maximum(felt, tl.max({near}))")
