"""Kernels that run over blocks of scores which nothing stores: their parts.

A *stream* has products that give scores, arithmetic on these element by element, and
products that sum over them. Each of its programs has a block of rows of the results,
and goes through the streamed axes in blocks::

    s = contract over d: q * k             scored: rows (q) against the stream (k)
    p = exp(s - m) / l                     elementwise
    o = contract over k: p * v             summed: weights p, values v

The forward pass of attention is one with a maximum and sums (`online`); its backward
pass has more products, and no reductions. `hidden` tells which scores a mask of
positions hides: blocks of them may be left out.

Needs any kernel.
"""

from collections.abc import Iterator, Sequence
from math import prod

from ..ir.graph import Literal
from ..ir.ops.elementwise import (
    add_p,
    and_p,
    convert_p,
    exp_p,
    ge_p,
    gt_p,
    le_p,
    lt_p,
    not_p,
    or_p,
    select_p,
    sub_p,
)
from ..ir.primitive import Primitive
from ..records import dataclass
from .kernel import (
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Operand,
    Reduce,
    Store,
    Value,
    dtype_of,
    result_of,
)
from .maps import Affine, AxisIndex
from .online import LARGEST_COLUMNS, Online, online
from .pieces import axes_of, closure, names_read

_SUMS = 4  # axes that products of scores sum, apart from each other


@dataclass(frozen=True)
class Scored:
    """A product that gives scores.

    Parameters
    ----------
    product : Contract
    row, streamed : Value
        Its operands: that of the rows, and that along the streamed axes.
    """

    product: Contract
    row: Value
    streamed: Value

    @property
    def inner(self) -> tuple[str, ...]:
        """The axes that it sums."""
        return self.product.axes


@dataclass(frozen=True)
class Summed:
    """A product that sums over scores.

    Parameters
    ----------
    product : Contract
    weights, values : Value
        Its operands: what is computed from scores, and the other one.
    """

    product: Contract
    weights: Value
    values: Value


@dataclass(frozen=True)
class Stream:
    """The parts of a stream.

    Parameters
    ----------
    scored : tuple of Scored
    summed : tuple of Summed
    batch, rows, columns, streamed : frozenset of str
        Axes: one position a program, rows and columns of the results, those summed.
    online : Online or None
        The maximum and the sums of rows, if there are any.
    """

    scored: tuple[Scored, ...]
    summed: tuple[Summed, ...]
    batch: frozenset[str]
    rows: frozenset[str]
    columns: frozenset[str]
    streamed: frozenset[str]
    online: Online | None = None

    @property
    def scores(self) -> frozenset[str]:
        """The axes of scores."""
        return self.batch | self.rows | self.streamed

    @property
    def results(self) -> frozenset[str]:
        """The names of the values that are there once the stream has ended."""
        if self.online is not None:
            return self.online.results
        return frozenset(s.product.result.name for s in self.summed)


def stream_of(kernel: Kernel) -> Stream | None:
    """Return the parts of a kernel that is a stream; None for any other one.

    What depends on whole rows must be behind the products that sum (`online.delayed`).
    """
    roles = online(kernel)
    return _without_reductions(kernel) if roles is None else _with_maximum(roles)


def _with_maximum(r: Online) -> Stream:
    scored: tuple[Scored, ...] = ()
    if r.scored is not None and r.query is not None and r.key is not None:
        scored = (Scored(r.scored, r.query, r.key),)
    summed = Summed(r.product, r.weights, r.values)
    return Stream(scored, (summed,), r.batch, r.rows, r.columns, r.streamed, r)


def _without_reductions(kernel: Kernel) -> Stream | None:
    contracts = [op for op in kernel.body if isinstance(op, Contract)]
    if len(contracts) < 2:
        return None
    under = {op: _products_under(kernel.body, op) for op in contracts}
    inner = {x for found in under.values() for x in found}
    last = [op for op in contracts if op not in inner]
    streamed = frozenset(last[0].axes)
    if any(frozenset(op.axes) != streamed for op in last):
        return None
    summed = tuple(_summed(kernel.body, op) for op in last)
    weights, values = summed[0].weights.axes, summed[0].values.axes
    batch = (weights & values) - streamed
    rows = weights - batch - streamed
    columns = values - batch - streamed
    scored = tuple(_scored(op, streamed) for op in contracts if op in inner)
    if len({s.inner for s in scored}) > _SUMS:
        return None
    stream = Stream(scored, summed, batch, rows, columns, streamed)
    return stream if _holds(kernel, stream) else None


def _products_under(body: Sequence[KernelOp], op: Contract) -> list[Contract]:
    ops = closure(body, [op.lhs.name, op.rhs.name])
    return [x for x in ops if isinstance(x, Contract)]


def _summed(body: Sequence[KernelOp], op: Contract) -> Summed:
    is_left = any(isinstance(x, Contract) for x in closure(body, [op.lhs.name]))
    return Summed(op, op.lhs, op.rhs) if is_left else Summed(op, op.rhs, op.lhs)


def _scored(op: Contract, streamed: frozenset[str]) -> Scored:
    is_right = bool(op.rhs.axes & streamed)
    return Scored(op, op.lhs, op.rhs) if is_right else Scored(op, op.rhs, op.lhs)


def _holds(kernel: Kernel, s: Stream) -> bool:
    """Tell whether every operation has its place in a stream."""
    body, scores = kernel.body, s.scores
    known = [x.product.result.name for x in s.scored]
    weights = closure(body, [x.weights.name for x in s.summed], known)
    stores = [op for op in body if isinstance(op, Store)]
    read = [name for op in stores for name in names_read(op)]
    ops = [*closure(body, read, s.results), *stores]
    rest = [
        op for op in ops if not (isinstance(op, Reduce) and set(op.axes) == s.columns)
    ]
    reduced = sum(isinstance(op, Reduce) for op in body)
    sides = [(x.values, s.batch | s.streamed | s.columns) for x in s.summed]
    for x in s.scored:
        inner = frozenset(x.inner)
        sides += [(x.row, s.batch | s.rows | inner)]
        sides += [(x.streamed, s.batch | s.streamed | inner)]
        if inner & scores or not inner <= x.row.axes & x.streamed.axes:
            return False
    return (
        all(a.extent for a in kernel.axes)
        and prod(kernel.extent(a) for a in s.columns) <= LARGEST_COLUMNS
        and len({d.dtype for x in s.summed for d in (x.weights, x.values)}) == 1
        and all(x.weights.axes <= scores for x in s.summed)
        and all(x.values.axes - s.batch - s.streamed == s.columns for x in s.summed)
        and all(x.weights.axes - s.batch - s.streamed == s.rows for x in s.summed)
        and all(s.streamed <= x.weights.axes & x.values.axes for x in s.summed)
        and _within(weights, scores)
        and all(_within(closure(body, [v.name]), axes) for v, axes in sides)
        and _within(rest, s.batch | s.rows | s.columns)
        and len(ops) - len(rest) == reduced
    )


def _within(ops: Sequence[KernelOp], axes: frozenset[str]) -> bool:
    return all(
        not isinstance(op, Reduce | Contract) and axes_of(op) <= axes for op in ops
    )


# --- masks of positions -----------------------------------------------------------


@dataclass(frozen=True)
class Hidden:
    """Where scores are one number instead of what a product gave.

    Parameters
    ----------
    where : tuple of Affine
        A score is hidden where one of them is negative.
    test : Value
        What tells them apart, true where a score is shown if `is_shown`.
    is_shown : bool
    is_all : bool
        Whether a score is hidden nowhere else.
    fill : Literal
        What it is there.
    top : Operand
        What is subtracted before the exponential: where that is larger by far, the
        exponential is zero.
    """

    where: tuple[Affine, ...]
    test: Value
    is_shown: bool
    is_all: bool
    fill: Literal
    top: Operand


def hidden(kernel: Kernel) -> Hidden | None:
    """Return which scores of a stream a mask of positions hides, if it has one."""
    makers: dict[str, KernelOp] = {
        v.name: op for op in kernel.body if (v := result_of(op)) is not None
    }
    for op in kernel.body:
        if not isinstance(op, Compute) or op.primitive is not exp_p:
            continue
        shifted = _made(makers, op.operands[0])
        if shifted is None or shifted.primitive is not sub_p:
            continue
        score, top = shifted.operands
        chosen = _made(makers, score)
        if chosen is None or chosen.primitive is not select_p:
            continue
        test, yes, no = chosen.operands
        fill, is_shown = (no, True) if isinstance(no, Literal) else (yes, False)
        if isinstance(fill, Literal) and isinstance(test, Value):
            found = tuple(_never(makers, test, is_shown))
            where = tuple(x for x in found if x is not None)
            is_all = len(where) == len(found)
            return Hidden(where, test, is_shown, is_all, fill, top) if where else None
    return None


def _made(makers: dict[str, KernelOp], x: Operand) -> Compute | None:
    op = makers.get(x.name) if isinstance(x, Value) else None
    return op if isinstance(op, Compute) else None


def _never(
    makers: dict[str, KernelOp], test: Operand, truth: bool
) -> Iterator[Affine | None]:
    """Yield expressions that are negative only where a test is not `truth`.

    None stands for what is no such expression; without it, the test is not `truth`
    where one of them is negative, and nowhere else.
    """
    op = _made(makers, test)
    if op is not None and op.primitive is not_p:
        yield from _never(makers, op.operands[0], not truth)
    elif op is not None and op.primitive is (and_p if truth else or_p):
        for x in op.operands:
            yield from _never(makers, x, truth)
    elif op is not None and op.primitive in _TESTS:
        a, b = (_position(makers, x) for x in op.operands)
        if a is None or b is None:
            yield None
            return
        first, strict = _TESTS[op.primitive]
        if not truth:
            first, strict = not first, not strict
        yield (b + a * -1 if first else a + b * -1) + (-1 if strict else 0)
    else:
        yield None


# Whether a test holds where b - a is not negative (else a - b), and whether it is
# strict.
_TESTS: dict[Primitive, tuple[bool, bool]] = {
    le_p: (True, False),
    lt_p: (True, True),
    ge_p: (False, False),
    gt_p: (False, True),
}


def _position(makers: dict[str, KernelOp], x: Operand) -> Affine | None:
    """Return what an integer is, if it is an expression in axes."""
    if isinstance(x, Literal):
        return Affine((), int(x.value)) if x.aval.dtype.kind in "iu" else None
    op = makers[x.name]
    if isinstance(op, Compute):
        operands = [y for y in op.operands if _is_whole(y)]
        found = [_position(makers, y) for y in operands]
        known = [y for y in found if y is not None]
        if len(known) < len(op.operands):
            return None
        if op.primitive is convert_p:
            return known[0]
        if op.primitive in (add_p, sub_p):
            return known[0] + known[1] * (1 if op.primitive is add_p else -1)
        return None
    is_plain = isinstance(op, Iota) and all(
        isinstance(atom, AxisIndex) for atom, _ in op.index.terms
    )
    return op.index if is_plain and isinstance(op, Iota) else None


def _is_whole(x: Operand) -> bool:
    """Tell whether a value is a signed integer: positions wrap around nowhere else."""
    return dtype_of(x).kind == "i"
