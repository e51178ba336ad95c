"""Sums of exp(x - max x) that one pass over the row can compute: attention.

The maximum, the sums and the contraction are one reduction whose state is the tuple
(m, Σ e, Σ e·v). When the maximum grows to m', the sums are scaled by exp(m - m'):

    m = reduce max over k: s
    e = exp(s - m)                         (m, Σe, Σe·v) over blocks of k
    l = reduce add over k: e          →    o = Σe·v / l
    o = contract over k: e / l * v

`delayed` moves what depends on the whole row, the division by `l`, behind the
contraction, with which it commutes. `online` then tells whether a kernel has this
structure, and which part of it each value and axis is. Needs any kernel.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod

from ..ir import dtypes as dt
from ..ir.graph import Literal
from ..ir.ops.elementwise import convert_p, div_p, exp_p, mul_p, neg_p, sub_p
from ..records import dataclass
from .kernel import (
    Compute,
    Contract,
    Kernel,
    KernelOp,
    Operand,
    Reduce,
    Store,
    Value,
    result_of,
    values_of,
)
from .pieces import Piece, axes_of, buffers_of, closure, names_read, needed_for, rebuilt

# Columns of a result of which a program holds whole rows. 256 is the widest product of
# Hopper's matrix unit (wgmma); twice as many would spill: already at 256, sm_90 has no
# registers left where the epilogue takes an argmax.
LARGEST_COLUMNS = 256
_LINEAR = {mul_p: (0, 1), div_p: (0,), neg_p: (0,), convert_p: (0,)}  # operands


@dataclass(frozen=True)
class Online:
    """The parts of a kernel that runs over blocks of a row.

    Parameters
    ----------
    product : Contract
        The last contraction.
    weights, values : Value
        Its operands: that from the exponentials, and the other one.
    scored : Contract or None
        The contraction in what the exponentials are of.
    query, key : Value or None
        Its operands: that of the rows, and that along the streamed axes.
    top : Reduce
        The maximum.
    exponential : Compute
    sums : tuple of Reduce
        Sums of exponentials. What is reduced over columns stands after them.
    batch, rows, columns, streamed, inner : frozenset of str
        Axes: one position a program, rows and columns of the result, those of the
        maximum, those of `scored`.
    """

    product: Contract
    weights: Value
    values: Value
    scored: Contract | None
    query: Value | None
    key: Value | None
    top: Reduce
    exponential: Compute
    sums: tuple[Reduce, ...]
    batch: frozenset[str]
    rows: frozenset[str]
    columns: frozenset[str]
    streamed: frozenset[str]
    inner: frozenset[str]

    @property
    def scores(self) -> Value:
        """What the maximum is of."""
        return next(values_of(self.top))

    @property
    def results(self) -> frozenset[str]:
        """The names of the values that are there once the row has ended."""
        sums = {op.result.name for op in self.sums}
        return frozenset({self.top.result.name, self.product.result.name} | sums)


class _Search:
    """What depends on the exponentials and the maximum of a kernel."""

    def __init__(
        self, kernel: Kernel, product: Contract, top: Reduce, exponential: Compute
    ) -> None:
        self.kernel, self.body = kernel, kernel.body
        self.product, self.top, self.exponential = product, top, exponential
        self.made: dict[str, KernelOp] = {
            op.result.name: op for op in self.body if not isinstance(op, Store)
        }
        self.from_top = self._after(top.result)
        self.from_exponential = self._after(exponential.result)

    def _after(self, value: Value) -> set[str]:
        found = {value.name}
        for op in self.body:
            result = result_of(op)
            if result is not None and found.intersection(names_read(op)):
                found.add(result.name)
        return found

    def carries(self, x: Operand) -> bool:
        """Tell whether a value has the exponentials in it, one by one."""
        if isinstance(x, Literal) or x.name not in self.from_exponential:
            return False
        return bool(x.axes & set(self.top.axes))

    def is_row(self, x: Operand) -> bool:
        """Tell whether a value is known only when the row has ended."""
        return isinstance(x, Value) and x.name in self.from_top

    def chain(self, value: Value) -> list[Compute] | None:
        """Return the products and quotients from the exponentials to a value."""
        ops: list[Compute] = []
        while value != self.exponential.result:
            op = self.made[value.name]
            if not isinstance(op, Compute) or op.primitive not in _LINEAR:
                return None
            inside = [d for d, x in enumerate(op.operands) if self.carries(x)]
            if len(inside) != 1 or inside[0] not in _LINEAR[op.primitive]:
                return None
            if any(self._is_entangled(x) for x in _others(op, inside[0])):
                return None
            ops.append(op)
            (value,) = (x for x in values_of(op) if self.carries(x))
        return ops[::-1]

    def _is_entangled(self, x: Operand) -> bool:
        along = isinstance(x, Value) and x.axes & set(self.top.axes)
        return bool(along) and self.is_row(x)

    def delays(self, op: Compute) -> bool:
        """Tell whether an operation has to wait until the row has ended."""
        return any(self.is_row(x) and not self.carries(x) for x in op.operands)

    def weights(self) -> Value | None:
        """Return the operand of the product that the exponentials are in."""
        both = (self.product.lhs, self.product.rhs)
        found = [x for x in both if self.carries(x)]
        return found[0] if len(found) == 1 else None


def _others(op: Compute, position: int) -> Iterator[Operand]:
    return (x for d, x in enumerate(op.operands) if d != position)


def _search(kernel: Kernel) -> _Search | None:
    """Return the maximum, its exponential and the last contraction, if there."""
    contracts = [op for op in kernel.body if isinstance(op, Contract)]
    reduces = [op for op in kernel.body if isinstance(op, Reduce)]
    maxima = [op for op in reduces if op.op == "max"]
    if not 1 <= len(contracts) <= 2 or len(maxima) != 1:
        return None
    (top,), product = maxima, contracts[-1]
    exponentials = [op for op in kernel.body if _is_exponential(op, kernel, top)]
    if (
        not isinstance(top.operand, Value)
        or len(exponentials) != 1
        or set(top.axes) != set(product.axes)
    ):
        return None
    (exponential,) = exponentials
    assert isinstance(exponential, Compute)
    return _Search(kernel, product, top, exponential)


def _is_exponential(op: KernelOp, kernel: Kernel, top: Reduce) -> bool:
    """Tell whether an operation is exp(x - max x)."""
    if not isinstance(op, Compute) or op.primitive != exp_p:
        return False
    (x,) = op.operands
    made = (y for y in kernel.body if isinstance(y, Compute) and y.result == x)
    return any(
        y.primitive == sub_p and y.operands == (top.operand, top.result) for y in made
    )


# --- what commutes with the contraction -------------------------------------------


def delayed(piece: Piece) -> Piece:
    """Return a piece that multiplies and divides by row values after the contraction.

    Sums of halves stay in float32 until then, where they would overflow before they
    are divided.
    """
    search = _search(piece.kernel)
    weights = None if search is None else search.weights()
    if search is None or weights is None:
        return piece
    chain = search.chain(weights)
    if not chain or not any(search.delays(op) for op in chain):
        return piece
    raw, left = _without_row_values(search, chain)
    product = _raw_product(search.product, weights, raw)
    late = [op for op in chain if search.delays(op)]
    after = list(_applied(search, product.result, late))
    body: list[KernelOp] = []
    for op in piece.kernel.body:
        body += [*left, product, *after] if op is search.product else [op]
    body = needed_for(body, [op for op in body if isinstance(op, Store)])
    return rebuilt(piece, piece.kernel.name, body, buffers_of(piece.kernel))


def _without_row_values(
    search: _Search, chain: Iterable[Compute]
) -> tuple[Value, list[Compute]]:
    """Return the weights before the delayed operations, and how they are computed."""
    current, left = search.exponential.result, list[Compute]()
    for op in chain:
        if search.delays(op):
            continue
        operands = tuple(current if search.carries(x) else x for x in op.operands)
        axes = frozenset[str]().union(
            *(x.axes for x in operands if isinstance(x, Value))
        )
        current = replace(op.result, name=f"{op.result.name}_raw", axes=axes)
        left.append(replace(op, result=current, operands=operands))
    return current, left


def _raw_product(op: Contract, weights: Value, raw: Value) -> Contract:
    dtype = dt.FLOAT32 if op.result.dtype in dt.NARROW_FLOATS else op.result.dtype
    result = replace(op.result, name=f"{op.result.name}_raw", dtype=dtype)
    lhs, rhs = (raw if x == weights else x for x in (op.lhs, op.rhs))
    return replace(op, result=result, lhs=lhs, rhs=rhs)


def _applied(search: _Search, raw: Value, late: Sequence[Compute]) -> Iterator[Compute]:
    """Yield the delayed operations on the contraction, and the last conversion."""
    result, current = search.product.result, raw
    is_same = result.dtype == raw.dtype
    for k, op in enumerate(late):
        (x,) = (x for x in op.operands if not search.carries(x))
        assert isinstance(x, Value)
        name = f"{result.name}_{k}"
        if x.dtype != raw.dtype:
            wide = replace(x, name=f"{name}_factor", dtype=raw.dtype)
            yield Compute(wide, convert_p, (x,), {"dtype": raw.dtype})
            x = wide
        made = Value(name, current.axes | x.axes, raw.dtype)
        made = result if is_same and op is late[-1] else made
        yield replace(op, result=made, operands=(current, x))
        current = made
    if not is_same:
        yield Compute(result, convert_p, (current,), {"dtype": result.dtype})


# --- roles ------------------------------------------------------------------------


def online(kernel: Kernel) -> Online | None:
    """Return the roles in a kernel of this structure; None for any other one."""
    search = _search(kernel)
    weights = None if search is None else search.weights()
    if search is None or weights is None:
        return None
    roles = _roles(search, weights)
    return roles if roles is not None and _Checks(search, roles).hold() else None


def _roles(search: _Search, weights: Value) -> Online | None:
    product, streamed = search.product, frozenset(search.top.axes)
    values = product.rhs if weights is product.lhs else product.lhs
    contracts = [op for op in search.body if isinstance(op, Contract)]
    scored = contracts[0] if len(contracts) == 2 else None
    sides = [scored.lhs, scored.rhs] if scored is not None else []
    keys = [x for x in sides if x.axes & streamed]
    if scored is not None and len(keys) != 1:
        return None
    key = keys[0] if keys else None
    query = next((x for x in sides if x is not key), None)
    inner = frozenset(scored.axes) if scored is not None else frozenset[str]()
    batch = weights.axes & (values.axes | (key.axes if key else set())) - streamed
    return Online(
        product=product,
        weights=weights,
        values=values,
        scored=scored,
        query=query,
        key=key,
        top=search.top,
        exponential=search.exponential,
        sums=tuple(
            op
            for op in search.body
            if isinstance(op, Reduce)
            and op is not search.top
            and set(op.axes) & streamed
        ),
        batch=batch,
        rows=weights.axes - batch - streamed,
        columns=values.axes - batch - streamed,
        streamed=streamed,
        inner=inner,
    )


class _Checks:
    """Tells whether every operation of a kernel has its place in a streamed one."""

    def __init__(self, search: _Search, roles: Online) -> None:
        self.search, self.roles, self.body = search, roles, search.body

    def hold(self) -> bool:
        """Tell whether all conditions do."""
        r = self.roles
        return (
            self._extents_fit()
            and _is_float(r.product.lhs, r.product.rhs)
            and self._is_one_type()
            and r.streamed <= r.values.axes & r.weights.axes
            and not r.inner & (r.batch | r.rows | r.streamed)
            and self._is_linear(r.weights)
            and all(self._is_sum(op) for op in r.sums)
            and self._sides_are_apart()
            and self._scores_are_scores()
            and self._rest_is_epilogue()
        )

    def _extents_fit(self) -> bool:
        kernel, r = self.search.kernel, self.roles
        columns = prod(kernel.extent(a) for a in r.columns)
        full = all(a.extent for a in kernel.axes)
        return full and columns <= LARGEST_COLUMNS

    def _is_one_type(self) -> bool:
        """Tell whether all of the state is of one type in registers."""
        r = self.roles
        values = (r.scores, r.product.lhs, *(op.result for op in r.sums))
        dtypes = {x.dtype for x in values}
        return dtypes <= dt.NARROW_FLOATS | {dt.FLOAT32} or dtypes == {dt.FLOAT64}

    def _is_linear(self, value: Value) -> bool:
        chain = self.search.chain(value)
        return chain is not None and not any(self.search.delays(op) for op in chain)

    def _is_sum(self, op: Reduce) -> bool:
        x, streamed = op.operand, self.roles.streamed
        is_add = op.op == "add" and set(op.axes) == streamed
        return is_add and isinstance(x, Value) and self._is_linear(x)

    def _within(self, ops: Iterable[KernelOp], axes: frozenset[str]) -> bool:
        return all(
            not isinstance(op, Reduce | Contract) and axes_of(op) <= axes for op in ops
        )

    def _sides_are_apart(self) -> bool:
        """Tell whether the operands of the contractions are blocks of their own."""
        r = self.roles
        allowed = [(r.values, r.batch | r.streamed | r.columns)]
        if r.scored is not None:
            assert r.query is not None and r.key is not None
            allowed.append((r.query, r.batch | r.rows | r.inner))
            allowed.append((r.key, r.batch | r.streamed | r.inner))
            if not _is_float(r.query, r.key):
                return False
            if not r.inner <= r.query.axes & r.key.axes:
                return False
        return all(
            self._within(closure(self.body, [x.name]), axes) for x, axes in allowed
        )

    def _scores_are_scores(self) -> bool:
        r = self.roles
        known = {r.scored.result.name} if r.scored is not None else set[str]()
        axes = r.batch | r.rows | r.streamed
        ops = closure(self.body, [r.scores.name], known)
        known |= {r.exponential.result.name, r.scores.name}
        summed = [x.name for op in r.sums for x in values_of(op)]
        ops += closure(self.body, [r.weights.name, *summed], known)
        return self._within(ops, axes)

    def _rest_is_epilogue(self) -> bool:
        r = self.roles
        stores = [op for op in self.body if isinstance(op, Store)]
        names = {name for op in stores for name in names_read(op)}
        ops = [*closure(self.body, names, r.results), *stores]
        rest = [op for op in ops if not _is_of_columns(op, r.columns)]
        return self._within(rest, r.batch | r.rows | r.columns)


def _is_of_columns(op: KernelOp, columns: frozenset[str]) -> bool:
    """Tell whether an operation reduces rows of results, which a program holds."""
    return isinstance(op, Reduce) and set(op.axes) == columns


def _is_float(*values: Value) -> bool:
    return len({x.dtype for x in values}) == 1 and values[0].dtype in dt.FLOATS
