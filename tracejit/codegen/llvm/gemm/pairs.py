"""Products of bfloat16 numbers by instructions that take them in pairs.

The instruction multiplies two neighbours along k and adds both products to a float32
sum, twice the work of a multiply-add. Packed operands have a pair, as 32 bits, where
others have a number: the loops and the tiles are those of float32 with half the k.

It takes subnormal numbers as zero and returns none, which no result may show. So
packing notes the least magnitude, zero apart, of each row of A and each column of B. If
none is below ``LEAST`` in a tile, all products and sums are multiples of 2**-124, and
none is subnormal. Another tile is computed from the same pairs by multiply-adds of
float32, half as fast. Which way a tile goes depends on its own numbers alone.
"""

from collections.abc import Sequence

from ..indices import Index, multiply
from ..memory import lanes_mask
from ..target import Target
from ..text import Emitter, constant, vec
from .micro import MicroKernel, Operands
from .packing import Pieces, Transposition, subtract
from .problem import Pair, Tile

LANES = 16  # pairs in a vector
LEAST = (127 - 55) << 7  # 2**-55 as bfloat16: eight significant bits, squared
_PAIRS, _HALVES = vec("i32", LANES), vec("i16", 2 * LANES)
_NUMBERS = vec("i16", LANES)
_BF16 = vec("bfloat", 2 * LANES)
_FLOATS = vec("float", LANES)
_MAGNITUDE = 0x7FFF
_NONE = constant("i32", -1, LANES)  # the least magnitude of no numbers, less one


def minima_bytes(count: int) -> int:
    """Return the size of the minima of rows or columns, and of a vector more."""
    return 4 * (-(-count // LANES) + 1) * LANES


class _Pairs:
    """What copies of bfloat16 numbers, as i16, into pairs share."""

    def __init__(self, em: Emitter, strides: Pair) -> None:
        self.em, self.strides = em, strides

    def number(self, pointer: str, offset: Index) -> str:
        """Return the address of a number."""
        return self.em.gep("i16", pointer, offset)

    def pair(self, pointer: str, offset: Index) -> str:
        """Return the address of a pair."""
        return self.em.gep("i32", pointer, offset)

    def load(self, at: str, mask: str | None, type_: str = _NUMBERS) -> str:
        """Load a vector of numbers, zero where the mask is off."""
        if mask is None:
            return self.em.load(type_, at, 2)
        return self.em.masked_load(type_, at, mask, 2, "zeroinitializer")

    def joined(self, low: str, high: str | None, lanes: int = LANES) -> str:
        """Return pairs of the numbers of two vectors; of one and zeros."""
        em, wide = self.em, vec("i32", lanes)
        out = em.op(f"zext {vec('i16', lanes)} {low} to {wide}")
        if high is None:
            return out
        high = em.op(f"zext {vec('i16', lanes)} {high} to {wide}")
        shift = constant("i32", 16, lanes)
        return em.op(f"or {wide} {out}, {em.op(f'shl {wide} {high}, {shift}')}")

    def single(self, at: str, step: int, has_two: bool) -> str:
        """Return one pair of numbers that are `step` apart."""
        low = self.em.load("i16", at, 2)
        high = self.em.load("i16", self.number(at, step), 2) if has_two else None
        return self.joined(low, high, 1)

    def magnitudes(self, pairs: str) -> str:
        """Return magnitudes less one, as unsigned halves: zero is the greatest."""
        halves = self.em.op(f"bitcast {_PAIRS} {pairs} to {_HALVES}")
        positive = constant("i16", _MAGNITUDE, 2 * LANES)
        halves = self.em.op(f"and {_HALVES} {halves}, {positive}")
        return self.em.op(f"sub {_HALVES} {halves}, {constant('i16', 1, 2 * LANES)}")

    def least(self, so_far: str, pairs: str) -> str:
        """Return the lesser magnitudes, as pairs."""
        old = self.em.op(f"bitcast {_PAIRS} {so_far} to {_HALVES}")
        new = self.em.intrinsic("llvm.umin", _HALVES, old, self.magnitudes(pairs))
        return self.em.op(f"bitcast {_HALVES} {new} to {_PAIRS}")

    def minima_of_columns(
        self, packed: str, to: str, depth: int, width: int, vectors: int
    ) -> None:
        """Write the minima of vectors of columns, in rows of `width` pairs."""
        em = self.em
        with em.loop(0, depth, 1, [(_PAIRS, _NONE)] * vectors) as loop:
            row = self.pair(packed, multiply(em, loop.index, width))
            ats = [self.pair(row, v * LANES) for v in range(vectors)]
            values = [em.load(_PAIRS, at, 4) for at in ats]
            pairs = zip(loop.carried, values, strict=True)
            loop.yield_([self.least(old, value) for old, value in pairs])
        for v, value in enumerate(loop.results):
            em.store(_PAIRS, value, self.pair(to, v * LANES), 4)


class PackPairsA(_Pairs):
    """Copies a block of A.

    Parameters
    ----------
    em : Emitter
    strides : tuple of int
        Of A along (i, k), in numbers.
    packed : tuple of int
        Of the copy, in pairs.
    """

    def __init__(self, em: Emitter, strides: Pair, packed: Pair) -> None:
        super().__init__(em, strides)
        self.packed = packed

    def emit(self, source: str, to: str, rows: Index, values: int, minima: str) -> None:
        """Write the copy of `rows` rows of `values` numbers, and their minima."""
        if self.packed[0] == 1:
            self._along_rows(source, to, rows, values, minima)
            return
        em = self.em
        with em.loop(0, rows, 1) as loop:
            here = self.number(source, multiply(em, loop.index, self.strides[0]))
            there = self.pair(to, multiply(em, loop.index, self.packed[0]))
            if self.strides[1] == 1:
                self._row(here, there, values)
            else:
                self._elements(here, there, values)
            self._minimum(there, self.pair(minima, loop.index), -(-values // 2))
            loop.yield_([])

    def _row(self, source: str, to: str, values: int) -> None:
        em, size = self.em, 2 * LANES
        whole = values // size * size
        with em.loop(0, whole, size) as loop:
            value = em.load(_HALVES, self.number(source, loop.index), 2)
            em.store(_HALVES, value, self.number(to, loop.index), 4)
            loop.yield_([])
        if values > whole:
            mask = lanes_mask(size, values - whole)
            value = self.load(self.number(source, whole), mask, _HALVES)
            em.store(_HALVES, value, self.number(to, whole), 4)

    def _elements(self, source: str, to: str, values: int) -> None:
        em, step = self.em, self.strides[1]
        with em.loop(0, values // 2, 1) as loop:
            at = self.number(source, multiply(em, loop.index, 2 * step))
            pair = self.single(at, step, True)
            em.store("i32", pair, self.pair(to, loop.index), 4)
            loop.yield_([])
        if values % 2:
            at = self.number(source, (values - 1) * step)
            pair = self.single(at, step, False)
            em.store("i32", pair, self.pair(to, values // 2), 4)

    def _minimum(self, row: str, to: str, depth: int) -> None:
        """Write the minimum of a packed row, twice, as a pair."""
        em = self.em
        whole = depth // LANES * LANES
        with em.loop(0, whole, LANES, [(_PAIRS, _NONE)]) as loop:
            value = em.load(_PAIRS, self.pair(row, loop.index), 4)
            loop.yield_([self.least(loop.carried[0], value)])
        (least,) = loop.results
        if depth > whole:
            mask = lanes_mask(LANES, depth - whole)
            at = self.pair(row, whole)
            value = em.masked_load(_PAIRS, at, mask, 4, "zeroinitializer")
            least = self.least(least, value)
        single = reduced(em, least)
        em.store("i16", single, to, 2)
        em.store("i16", single, self.number(to, 1), 2)

    def _along_rows(
        self, source: str, to: str, rows: Index, values: int, minima: str
    ) -> None:
        """Copy numbers that are contiguous along rows; vectors of rows are whole."""
        em, (by_row, by_k) = self.em, self.strides
        assert by_row == 1

        def pair(index: Index, has_two: bool) -> None:
            first = self.number(source, multiply(em, index, 2 * by_k))
            there = self.pair(to, multiply(em, index, self.packed[1]))
            with em.loop(0, rows, LANES) as loop:
                mask = em.lane_mask(LANES, str(subtract(em, rows, loop.index)))
                low = self.load(self.number(first, loop.index), mask)
                high = None
                if has_two:
                    second = self.number(first, by_k)
                    high = self.load(self.number(second, loop.index), mask)
                at = self.pair(there, loop.index)
                em.store(_PAIRS, self.joined(low, high), at, 4)
                loop.yield_([])

        with em.loop(0, values // 2, 1) as outer:
            pair(outer.index, True)
            outer.yield_([])
        if values % 2:
            pair(values // 2, False)
        depth = -(-values // 2)
        with em.loop(0, rows, LANES) as loop:
            here, there = (self.pair(p, loop.index) for p in (to, minima))
            self.minima_of_columns(here, there, depth, self.packed[1], 1)
            loop.yield_([])


class PackPairsB(_Pairs):
    """Copies a block of B into strips.

    Parameters
    ----------
    em : Emitter
    strides : tuple of int
        Of B along (k, j), in numbers.
    width : int
        Columns of a strip.
    square : str
        The symbol of a `PairTransposition`.
    """

    def __init__(self, em: Emitter, strides: Pair, width: int, square: str) -> None:
        super().__init__(em, strides)
        self.width, self.square = width, square

    def emit(
        self, source: str, to: str, values: int, strips: Pieces, minima: str
    ) -> None:
        """Write the copy of `values` rows, and the minima of its columns."""
        depth = -(-values // 2)

        def strip(j: Index, columns: int) -> None:
            here = self.number(source, multiply(self.em, j, self.strides[1]))
            there = self.pair(to, multiply(self.em, j, depth))
            if self.strides[1] == 1:
                self._rows(here, there, values, columns)
            elif self.strides[0] == 1:
                self._transposed(here, there, values, columns)
            else:
                self._scattered(here, there, values, columns, 0)
            vectors = -(-columns // LANES)
            at = self.pair(minima, j)
            self.minima_of_columns(there, at, depth, self.width, vectors)

        strips(strip)

    def _rows(self, source: str, to: str, values: int, columns: int) -> None:
        em, step = self.em, self.strides[0]

        def row(index: Index, has_two: bool) -> None:
            first = self.number(source, multiply(em, index, 2 * step))
            there = self.pair(to, multiply(em, index, self.width))
            for j in range(0, columns, LANES):
                count = columns - j
                mask = lanes_mask(LANES, count) if count < LANES else None
                low = self.load(self.number(first, j), mask)
                high = (
                    self.load(self.number(first, step + j), mask) if has_two else None
                )
                em.store(_PAIRS, self.joined(low, high), self.pair(there, j), 4)

        with em.loop(0, values // 2, 1) as loop:
            row(loop.index, True)
            loop.yield_([])
        if values % 2:
            row(values // 2, False)

    def _transposed(self, source: str, to: str, values: int, columns: int) -> None:
        """Copy squares of pairs through registers, k being contiguous."""
        depth = values // 2
        whole = depth // LANES * LANES
        with self.em.loop(0, whole, LANES) as loop:
            self._squares(source, to, loop.index, LANES, columns)
            loop.yield_([])
        if depth > whole:
            self._squares(source, to, whole, depth - whole, columns)
        if values % 2:
            self._scattered(source, to, values, columns, depth)

    def _squares(self, source: str, to: str, p: Index, rows: int, columns: int) -> None:
        here = self.pair(source, p)
        there = self.pair(to, multiply(self.em, p, self.width))
        for first in range(0, columns, LANES):
            numbers = (rows, min(LANES, columns - first))
            arguments = [
                ("ptr", self.number(here, first * self.strides[1])),
                ("ptr", self.pair(there, first)),
                *(("i64", str(n)) for n in numbers),
            ]
            self.em.call("void", self.square, arguments)

    def _scattered(
        self, source: str, to: str, values: int, columns: int, start: int
    ) -> None:
        """Copy pair by pair, from pair `start` of each column on."""
        em, (by_row, by_column) = self.em, self.strides

        def row(index: Index, has_two: bool) -> None:
            first = self.number(source, multiply(em, index, 2 * by_row))
            there = self.pair(to, multiply(em, index, self.width))
            last = (columns - 1) // LANES * LANES
            em.store(_PAIRS, "zeroinitializer", self.pair(there, last), 4)
            with em.loop(0, columns, 1) as inner:
                at = self.number(first, multiply(em, inner.index, by_column))
                pair = self.single(at, by_row, has_two)
                em.store("i32", pair, self.pair(there, inner.index), 4)
                inner.yield_([])

        with em.loop(start, max(start, values // 2), 1) as loop:
            row(loop.index, True)
            loop.yield_([])
        if values % 2:
            row(values // 2, False)


class PairTransposition(Transposition):
    """A `Transposition` of pairs between runs that are `step` numbers apart."""

    def emit(self, symbol: str, sizes: tuple[str, ...] = ()) -> str:
        """Return the function."""
        self.source, self.alignment = "i16", 2
        return super().emit(symbol, sizes)


def reduced(em: Emitter, minima: str) -> str:
    """Return the least of the halves of a vector of pairs."""
    halves = em.op(f"bitcast {_PAIRS} {minima} to {_HALVES}")
    name = f"llvm.vector.reduce.umin.v{2 * LANES}i16"
    return em.extern("i16", name, [(_HALVES, halves)])


class PairKernel(MicroKernel):
    """The micro-kernel of pairs.

    Parameters
    ----------
    symbol, tile, operands, target, em
    is_exact : bool
        Whether it multiplies numbers one by one, as float32.
    """

    def __init__(
        self,
        symbol: str,
        tile: Tile,
        operands: Operands,
        target: Target,
        em: Emitter,
        is_exact: bool,
    ) -> None:
        super().__init__(symbol, tile, operands, target, em)
        self.is_exact = is_exact
        if not is_exact:
            features = f"{target.features},+avx512bf16"
            self.attributes += f' "target-features"="{features}"'

    def _multiply_add(self, x: str, y: str, z: str) -> str:
        if self.is_exact:
            for pick in (self._low, self._high):
                z = super()._multiply_add(pick(x), pick(y), z)
            return z
        pairs = [self.em.op(f"bitcast {_FLOATS} {v} to {_BF16}") for v in (x, y)]
        arguments = [(_FLOATS, z), *((_BF16, v) for v in pairs)]
        return self.em.extern(_FLOATS, "llvm.x86.avx512bf16.dpbf16ps.512", arguments)

    def _low(self, pairs: str) -> str:
        """Return the first numbers of pairs, as float32."""
        bits = self._bits(pairs)
        return self._floats(
            self.em.op(f"shl {_PAIRS} {bits}, {constant('i32', 16, 16)}")
        )

    def _high(self, pairs: str) -> str:
        mask = constant("i32", -(1 << 16), LANES)
        return self._floats(self.em.op(f"and {_PAIRS} {self._bits(pairs)}, {mask}"))

    def _bits(self, pairs: str) -> str:
        return self.em.op(f"bitcast {_FLOATS} {pairs} to {_PAIRS}")

    def _floats(self, bits: str) -> str:
        return self.em.op(f"bitcast {_PAIRS} {bits} to {_FLOATS}")


def emit_choice(symbol: str, ways: Sequence[str], tile: Tile, em: Emitter) -> str:
    """Return the function of a tile of pairs, which runs one of two.

    ``void (ptr A, ptr B, ptr C, i64 k, i1 more, ptr minima of A, ptr of B)``. The
    second way, the exact one, is taken if a magnitude is below `LEAST`.
    """
    mask = lanes_mask(LANES, tile.rows)
    found = em.masked_load(_PAIRS, "%rows", mask, 4, _NONE)
    halves = em.op(f"bitcast {_PAIRS} {found} to {_HALVES}")
    for v in range(tile.vectors):
        other = em.load(_HALVES, em.gep("i32", "%columns", v * LANES), 4)
        halves = em.intrinsic("llvm.umin", _HALVES, halves, other)
    least = em.extern(
        "i16", f"llvm.vector.reduce.umin.v{2 * LANES}i16", [(_HALVES, halves)]
    )
    is_small = em.op(f"icmp ult i16 {least}, {LEAST - 1}")
    names = ("ptr %A", "ptr %B", "ptr %C", "i64 %k", "i1 %more")
    arguments = [(n.split()[0], n.split()[1]) for n in names]

    def run(way: str) -> list[str]:
        em.call("void", way, arguments)
        return []

    em.if_else(is_small, [], lambda: run(ways[1]), lambda: run(ways[0]))
    em.ret()
    parameters = [*names, "ptr %rows", "ptr %columns"]
    return em.function(
        symbol, parameters, linkage="internal", attributes="nounwind noinline"
    )
