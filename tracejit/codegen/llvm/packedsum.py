"""Sums over several axes whose rows do not fill the lanes of the summation tree.

Element number n of such a sum belongs to virtual lane n mod 64 of its leaf, so a vector
of a row meets other lanes in each row. Rows are written into a leaf of memory one after
another, and what is there in full is added up:

    row 0: | 0 1 2 ... 997 |
    row 1:                 | 998 ... 1023 | 1024 ... → the start of the next leaf
"""

from collections.abc import Sequence

from ...kernels.kernel import Reduce
from ...kernels.tree import LANES, LEAF
from .indices import Index, add
from .reduce import Regs, Shape, Term
from .target import Target
from .text import Emitter, bits_of, constant
from .treesum import NEUTRAL, TreeSum
from .values import register_type


def leaf_bytes(op: Reduce, shape: Shape) -> int:
    """Return the bytes of memory of leaves, each with a vector beyond its end."""
    size = _leaf_size(shape) * bits_of(register_type(op.result.dtype)) // 8
    return _leaves(op) * size


def _leaf_size(shape: Shape) -> int:
    return LEAF + shape.lanes


def _leaves(op: Reduce) -> int:
    """Return how many leaves are written: products that are not rounded have two."""
    return 2 if op.unrounded else 1


class PackedSum(TreeSum):
    """The accumulator of a sum along the vector axis and others outside of it.

    Parameters
    ----------
    em, target, op, shape, stack
        As for `TreeSum`, with one vector in a block.
    leaf : str
        Address of `leaf_bytes` bytes.
    """

    def __init__(
        self,
        em: Emitter,
        target: Target,
        op: Reduce,
        shape: Shape,
        stack: str,
        leaf: str,
    ) -> None:
        super().__init__(em, target, op, shape, False, stack)
        size = _leaf_size(shape)
        starts = range(0, _leaves(op) * size, size)
        self.leaves = [em.gep(self.element, leaf, start) for start in starts]

    def begin(self) -> None:
        """Nothing is to be done: elements come to their places."""

    def update(self, unit: int, term: Term) -> None:
        """Write a vector; close a full leaf.

        Lanes that its mask leaves out are at the end: the next row overwrites them.
        """
        em, lanes = self.em, self.shape.lanes
        place = self._and(term.place, LEAF - 1)
        for leaf, x in zip(self.leaves, term.factors or (term.value,), strict=True):
            em.store(self.type, x, em.gep(self.element, leaf, place), self.size)
        if self.count <= LEAF:
            return
        there = lanes if term.mask is None else self.shape.extents[-1] % lanes
        is_full = em.op(f"icmp sge i64 {add(em, place, there)}, {LEAF}")
        with em.if_(is_full, unlikely=True):
            number = self._shift(term.place)
            self._close(number, LEAF)
            self._merge(number)
            for leaf in self.leaves:
                em.store(self.type, self._vector(leaf, LEAF), leaf, self.size)

    def finish(self) -> Regs:
        """Return the sum, with what is left in the leaf."""
        number, rest = (
            divmod(self.count, LEAF) if self.count > LEAF else (0, self.count)
        )
        if rest:
            end = -(-rest // LANES) * LANES
            with self.em.loop(rest, end, 1) as loop:
                for leaf, neutral in zip(self.leaves, NEUTRAL, strict=False):
                    at = self.em.gep(self.element, leaf, loop.index)
                    value = constant(self.element, neutral, 1)
                    self.em.store(self.element, value, at, self.size)
                loop.yield_([])
            self._close(number, end)
        return super().finish()

    def _close(self, number: Index, length: int) -> None:
        """Add up the lanes of the leaf, and put them on the stack."""
        em, lanes = self.em, self.shape.lanes
        zeros = constant(self.element, -0.0, lanes)
        start = [(self.type, zeros)] * (LANES // lanes)
        with em.loop(0, length, LANES, start) as loop:
            loop.yield_(
                [
                    self._with_vectors(total, add(em, loop.index, k))
                    for k, total in zip(self._starts(), loop.carried, strict=True)
                ]
            )
        self._put(loop.results, self._slot(number))

    def _with_vectors(self, total: str, place: Index) -> str:
        """Add a vector of the leaf, or the product of two."""
        vectors = [self._vector(leaf, place) for leaf in self.leaves]
        factors = vectors if self.op.unrounded else ()
        return self._with_term(total, Term(vectors[0], None, place, factors))

    def _starts(self) -> Sequence[int]:
        return range(0, LANES, self.shape.lanes)

    def _vector(self, base: str, place: Index) -> str:
        at = self.em.gep(self.element, base, place)
        return self.em.load(self.type, at, self.size)
