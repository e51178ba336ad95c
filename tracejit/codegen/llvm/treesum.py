"""Sums of floats by the fixed tree of `tracejit.kernels.tree`.

A leaf of up to 1024 elements has 64 virtual lanes. Along the vector axis they are the
lanes of consecutive vectors: four vectors of 16, or eight of 8, and so on, kept in
registers, or in memory where the loop body is too large to repeat for each vector.
Across it (column sums) each virtual lane is a whole vector of columns, in memory.
Finished leaves lie on a stack in memory and are merged like a binary counter: the slot
of leaf t is the number of ones in t, and it is merged as often as t ends in ones.
"""

from collections.abc import Sequence

from ...kernels.kernel import Reduce
from ...kernels.tree import LANES, LEAF
from .elementwise import combine
from .indices import Index, add, multiply
from .reduce import Regs, Shape, Term, halves, select, splits
from .target import Target
from .text import Emitter, Loop, bits_of, constant, vec
from .values import register_type

NEUTRAL = (-0.0, 1.0)  # what adds nothing: a term, or the factors of one


class TreeSum:
    """The accumulator of one sum.

    Parameters
    ----------
    em : Emitter
    target : Target
    op : Reduce
    shape : Shape
    in_registers : bool
        Keep the 64 lanes of a leaf in registers: for `shape.across` only, in blocks of
        64 elements.
    stack : str
        Address of `stack_bytes` bytes.
    """

    def __init__(
        self,
        em: Emitter,
        target: Target,
        op: Reduce,
        shape: Shape,
        in_registers: bool,
        stack: str,
    ) -> None:
        self.em, self.target, self.op, self.shape = em, target, op, shape
        self.dtype = op.result.dtype
        self.element = register_type(self.dtype)
        self.size = bits_of(self.element) // 8
        self.count = shape.count
        self.in_registers = in_registers
        self.stack = stack
        self.type = vec(self.element, shape.lanes)
        self.width = 1 if shape.across else shape.lanes * shape.units
        self.regs: list[tuple[str, str]] = []
        self.slot = stack
        self.pending = 0  # slots in use after `merge_partials`
        self.is_first = False  # whether updates find nothing in memory to add to
        self.kept: list[list[str]] | None = None  # registers, one list for each vector

    # A leaf

    @property
    def single_axis(self) -> bool:
        """Whether the loop over the reduced axis can be cut into leaves."""
        return len(self.shape.extents) == 1

    @property
    def is_short(self) -> bool:
        """Whether each virtual lane is one element, and a vector of results at most."""
        return self.single_axis and 0 < self.count <= LANES and not self.shape.across

    @property
    def needs_places(self) -> bool:
        """Whether elements are added to lanes in memory, by where they are."""
        return self.kept is None and not self.in_registers

    def begin(self) -> None:
        """Start the only leaf of a sum over several axes."""
        if not self.single_axis and 0 < self.count <= LEAF:
            self.begin_leaf(0)

    def begin_leaf(self, leaf: Index) -> None:
        """Start leaf number `leaf`: all lanes are -0.0."""
        if self.in_registers:
            zeros = constant(self.element, -0.0, self.shape.lanes)
            self.regs = [(self.type, zeros)] * self.shape.units
            return
        self.slot = self._slot(leaf)
        # With one element a lane at most nothing is added up, and which lanes have none
        # is known; but blocks along the vector axis may leave any out, so they fill.
        self.is_first = self.count <= LANES and not self.shape.across
        if not self.is_first:
            self._fill(self.slot)

    def _fill(self, slot: str) -> None:
        em, lanes = self.em, self.shape.lanes
        zeros = constant(self.element, -0.0, lanes)
        with em.loop(0, LANES * self.width, lanes) as loop:
            at = em.gep(self.element, slot, loop.index)
            em.store(self.type, zeros, at, self.size)
            loop.yield_([])

    def update(self, unit: int, term: Term) -> None:
        """Add one vector."""
        term = self._within(term)
        if self.kept is not None:
            self.kept[unit].append(term.value)
            return
        if self.in_registers:
            total = self._with_term(self.regs[unit][1], term)
            self.regs[unit] = self.type, total
            return
        if not self.single_axis and self.count > LEAF:
            self._enter(unit, term.place)
        self._update_memory(unit, term)
        if not self.single_axis and self.count > LEAF:
            self._leave(unit, term.place)

    def keep(self) -> None:
        """Take elements in the order of `folding_order` from here on, in registers."""
        self.kept = [[] for _ in range(self.shape.units)]

    def fold_kept(self, merges: int) -> None:
        """Add the last vectors that are kept to those before, `merges` times."""
        for values in self.kept or ():
            for _ in range(merges):
                last = values.pop()
                values[-1] = self._add(values[-1], last)

    def _within(self, term: Term) -> Term:
        """Return a vector that adds nothing in the lanes that its mask leaves out."""
        lanes = self.shape.lanes

        def within(value: str, other: float) -> str:
            neutral = constant(self.element, other, lanes)
            return select(self.em, term.mask, self.type, lanes, value, neutral)

        factors = [within(*x) for x in zip(term.factors, NEUTRAL, strict=False)]
        return Term(within(term.value, NEUTRAL[0]), None, term.place, factors)

    def _update_memory(self, unit: int, term: Term) -> None:
        em, lanes = self.em, self.shape.lanes
        value, lane = term.value, self._and(term.place, LANES - 1)
        if not self.shape.across:
            lane = multiply(em, lane, self.width)
            lane = add(em, lane, unit * lanes)
        at = em.gep(self.element, self.slot, lane)
        if not self.is_first:
            total = em.load(self.type, at, self.size)
            value = self._with_term(total, term)
        em.store(self.type, value, at, self.size)

    def end_leaf(self, leaf: Index) -> None:
        """Put the leaf on the stack and merge it with those it completes."""
        if self.count <= LEAF:
            return
        if self.in_registers:
            self._put([value for _, value in self.regs], self._slot(leaf))
            self.regs = []
        self._merge(leaf)

    def _enter(self, unit: int, flat: Index) -> None:
        """Over several axes: find the slot, and start a leaf at its first element."""
        em = self.em
        if unit:
            return
        leaf = self._shift(flat)
        self.slot = self._slot(leaf)
        first = em.op(f"icmp eq i64 {self._and(flat, LEAF - 1)}, 0")
        with em.if_(first):
            self._fill(self.slot)

    def _leave(self, unit: int, flat: Index) -> None:
        """Over several axes: merge after the last element of a full leaf."""
        em, shape = self.em, self.shape
        if unit != shape.units - 1:
            return
        after = add(em, flat, shape.lanes if shape.across else 1)
        last = em.op(f"icmp eq i64 {self._and(after, LEAF - 1)}, 0")
        with em.if_(last):
            self._merge(self._shift(flat))

    # The stack of leaves

    @staticmethod
    def slots(count: int) -> int:
        """Return how many slots the stack of a sum of `count` elements needs."""
        return (-(-count // LEAF)).bit_length() + 1

    def _slot(self, leaf: Index) -> str:
        size = LANES * self.width
        if isinstance(leaf, int):
            return self.em.gep(self.element, self.stack, leaf.bit_count() * size)
        ones = self.em.intrinsic("llvm.ctpop", "i64", leaf)
        return self.em.row(self.element, self.stack, multiply(self.em, ones, size))

    def _merge(self, leaf: Index) -> None:
        em = self.em
        if isinstance(leaf, int):
            times: Index = ((leaf + 1) & ~leaf).bit_length() - 1
        else:
            flipped = em.op(f"xor i64 {leaf}, -1")
            times = self._trailing(flipped)
        if times == 0:
            return
        upper = self._slot(leaf)
        with em.loop(0, times, 1, [("ptr", upper)]) as loop:
            loop.yield_([self._add_slots(loop.carried[0])])

    def _trailing(self, value: str) -> str:
        em = self.em
        symbol = "llvm.cttz.i64"
        return em.extern("i64", symbol, [("i64", value), ("i1", "true")])

    def _add_slots(self, upper: str) -> str:
        """Add the slot at `upper` to the one below it, the older on the left."""
        em, lanes = self.em, self.shape.lanes
        size = LANES * self.width
        lower = em.gep(self.element, upper, -size)
        with em.loop(0, size, lanes) as loop:
            at = em.gep(self.element, lower, loop.index)
            old = em.load(self.type, at, self.size)
            new_at = em.gep(self.element, upper, loop.index)
            new = em.load(self.type, new_at, self.size)
            em.store(self.type, self._add(old, new), at, self.size)
            loop.yield_([])
        return lower

    # Parts of a sum, which other threads have summed

    @property
    def partial_bytes(self) -> int:
        """Size of what `store_partial` writes."""
        return LANES * self.size

    def store_partial(self, at: str) -> None:
        """Write the 64 lanes of this sum, which is a part of a larger one."""
        self._combine_stack()
        self._put(self._lanes(), at)

    def _put(self, values: Sequence[str], at: str) -> None:
        """Store the 64 lanes of a sum."""
        for unit, value in enumerate(values):
            to = self.em.gep(self.element, at, unit * self.shape.lanes)
            self.em.store(self.type, value, to, self.size)

    def merge_partials(self, at: str, stride: int, whole: int, rest: bool) -> None:
        """Take in parts: `whole` of equal size, a power of two of leaves, and a rest.

        Parts are nodes of the tree, so they are merged as leaves are.
        """
        with self.em.loop(0, whole, 1) as loop:
            self._push(loop.index, self.em.gep("i8", at, self._times(loop, stride)))
            self._merge(loop.index)
            loop.yield_([])
        if rest:
            self._push(whole, self.em.gep("i8", at, whole * stride))
        self.pending = whole.bit_count() + rest

    def _times(self, loop: Loop, stride: int) -> Index:
        return multiply(self.em, loop.index, stride)

    def _push(self, number: Index, source: str) -> None:
        """Copy a part to its place on the stack."""
        to = self._slot(number)
        for unit in range(LANES // self.shape.lanes):
            offset = unit * self.shape.lanes
            value = self.em.load(
                self.type, self.em.gep(self.element, source, offset), self.size
            )
            self.em.store(
                self.type, value, self.em.gep(self.element, to, offset), self.size
            )

    # The result

    def finish(self) -> Regs:
        """Return the sum: what is left on the stack, combined, and its lanes folded."""
        if self.count == 0:
            units = 1 if self.shape.across else self.shape.units
            lanes = 1 if self.shape.across else self.shape.lanes
            return [constant(self.element, 0.0, lanes)] * units
        if self.kept is not None:
            return [self._signed(value) for (value,) in self.kept]
        self._combine_stack()
        if self.shape.across:
            return self._fold_across()
        self._fold_rows()
        lanes = self.shape.lanes
        places = [
            self.em.gep(self.element, self.stack, unit * lanes)
            for unit in range(self.shape.units)
        ]
        return [self._signed(self.em.load(self.type, at, self.size)) for at in places]

    def _signed(self, total: str) -> str:
        """Add 0.0: -0.0 becomes 0.0, and all else stays."""
        return self._add(total, constant(self.element, 0.0, self.shape.lanes))

    def _combine_stack(self) -> None:
        leaves = -(-self.count // LEAF)
        if not self.single_axis and self.count > LEAF and self.count % LEAF:
            self._merge(leaves - 1)
        pending = self.pending or leaves.bit_count()
        for left in range(pending - 1, 0, -1):
            size = LANES * self.width
            self._add_slots(self.em.gep(self.element, self.stack, left * size))

    def _fold_across(self) -> Regs:
        """Fold the 64 lanes of a row; vectors beyond its end hold -0.0 only."""
        em, lanes = self.em, self.shape.lanes
        parts = self._lanes()
        half = LANES // lanes
        while half > 1:
            half //= 2
            for k in range(max(0, len(parts) - half)):
                parts[k] = self._add(parts[k], parts[k + half])
            parts = parts[:half]
        total = parts[0]
        for width in splits(lanes):
            low, high = halves(em, self.element, total, 2 * width)
            total = self._add_lanes(low, high, width)
        return [self._add_lanes(total, constant(self.element, 0.0, 1), 1)]

    def _lanes(self) -> list[str]:
        """Return the lanes of a row: registers, or what is left on the stack."""
        if self.regs:
            return [value for _, value in self.regs]
        lanes = self.shape.lanes
        places = [
            self.em.gep(self.element, self.stack, unit * lanes)
            for unit in range(LANES // lanes)
        ]
        return [self.em.load(self.type, at, self.size) for at in places]

    def _fold_rows(self) -> None:
        """Fold 64 lanes that are vectors in memory; those without elements are -0.0."""
        have = min(LANES, self.count)
        half = LANES
        while half > 1:
            half //= 2
            if have > half:
                self._fold_half(half, have - half)
                have = half

    def _fold_half(self, half: int, rows: int) -> None:
        """Add lane l + half to lane l, for the first `rows` lanes."""
        em, lanes, width = self.em, self.shape.lanes, self.width
        with em.loop(0, rows * width, lanes) as loop:
            at = em.gep(self.element, self.stack, loop.index)
            other = em.gep(self.element, at, half * width)
            low = em.load(self.type, at, self.size)
            high = em.load(self.type, other, self.size)
            em.store(self.type, self._add(low, high), at, self.size)
            loop.yield_([])

    # Arithmetic

    def _with_term(self, total: str, term: Term) -> str:
        """Add a vector, or the product of two."""
        if not term.factors:
            return self._add(total, term.value)
        return self.em.intrinsic("llvm.fma", self.type, *term.factors, total)

    def _add(self, a: str, b: str) -> str:
        return self._add_lanes(a, b, self.shape.lanes)

    def _add_lanes(self, a: str, b: str, lanes: int) -> str:
        return combine(self.em, self.target, "add", self.dtype, a, b, lanes)

    def _and(self, value: Index, mask: int) -> Index:
        if isinstance(value, int):
            return value & mask
        return self.em.op(f"and i64 {value}, {mask}")

    def _shift(self, flat: Index) -> Index:
        """Return the number of the leaf that holds element `flat`."""
        if isinstance(flat, int):
            return flat // LEAF
        return self.em.op(f"lshr i64 {flat}, {LEAF.bit_length() - 1}")


def folding_order(count: int) -> list[tuple[int, int]]:
    """Return at most 64 elements in an order in which their sum needs few registers.

    Each comes with how often two partial sums, the last two, are then added.

    Examples
    --------
    >>> folding_order(5)
    [(0, 0), (4, 1), (2, 1), (1, 0), (3, 2)]
    """
    order: list[tuple[int, int]] = []

    def visit(lane: int, step: int) -> None:
        """Take the elements lane, lane + step, ... of a row of 64."""
        if step == LANES:
            order.append((lane, 0))
            return
        visit(lane, 2 * step)
        if lane + step < count:
            visit(lane + step, 2 * step)
            last, merges = order.pop()
            order.append((last, merges + 1))

    visit(0, 1)
    return order


def stack_bytes(op: Reduce, shape: Shape) -> int:
    """Return the bytes of memory that a sum needs."""
    size = bits_of(register_type(op.result.dtype)) // 8
    width = 1 if shape.across else shape.lanes * shape.units
    return TreeSum.slots(shape.count) * LANES * width * size
