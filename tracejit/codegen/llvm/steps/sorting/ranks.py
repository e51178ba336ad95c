"""Short rows: every element counts those before it, and goes there.

    rank[i] = how many j have key[j] < key[i], or key[j] = key[i] and j < i

That is a number of comparisons in the square of the length, but of whole vectors, with
no branch that depends on the values and no table to clear: the fastest up to some
hundred elements. A few vectors of elements are in registers, while all others pass by:
of equal ones, those before them count, and those after them do not.
"""

from collections.abc import Sequence

from ...target import Target, aligned
from ...text import Emitter, constant, iota, vec
from .keys import Cells, order_key, signed_key
from .pieces import Functions

_MOST_TOGETHER = 4  # vectors in registers


def is_short(target: Target, width: int, length: int) -> bool:
    """Tell whether rows of a length, with keys of a width, are sorted by ranks."""
    return length <= min(255, 64 + 8 * target.lanes(max(width, 32)))


class RankWriter:
    """Writes ``void (ptr x, ptr out, ptr scratch)`` for short rows of one length.

    Parameters
    ----------
    functions : Functions
    cells : Cells
    length : int
    """

    def __init__(self, functions: Functions, cells: Cells, length: int) -> None:
        self.functions, self.length = functions, length
        self.cells, self.plain = cells, Cells(cells.dtype, False)
        self.lanes = functions.target.lanes(cells.width)
        self.together = min(_MOST_TOGETHER, -(-length // self.lanes))
        self.em = functions.new_emitter()
        # Keys are read in whole vectors, and ranks are written so.
        step = self.together * self.lanes
        self.row_bytes = aligned(-(-length // step) * step * self.plain.bytes)

    @property
    def work(self) -> int:
        """Estimated nanoseconds for a row."""
        blocks = -(-self.length // self.lanes)
        return int(10 + self.length * (2 + 0.5 * blocks))

    @property
    def scratch_bytes(self) -> int:
        """What a row needs."""
        return 2 * self.row_bytes

    def call(self, em: Emitter, x: str, out: str, scratch: str) -> None:
        """Write the call that sorts a row."""
        values = [("ptr", x), ("ptr", out), ("ptr", scratch)]
        em.call("void", self.functions.symbol_of("ranks"), values)

    def emit(self) -> None:
        """Write the function."""
        em = self.em
        whole = self.length // self.lanes * self.lanes
        for lanes, start, stop in ((self.lanes, 0, whole), (1, whole, self.length)):
            if start < stop:
                self._keys(lanes, start, stop)
        with em.loop(0, self.length, self.together * self.lanes) as loop:
            self._ranks(loop.index)
            loop.yield_([])
        self._move()
        em.ret()
        self.functions.put("ranks", em, ("ptr %x", "ptr %out", "ptr %scratch"))

    def _at(self, pointer: str, index: str) -> str:
        return self.em.gep(self.plain.raw, pointer, index)

    def _keys(self, lanes: int, start: int, stop: int) -> None:
        em, plain = self.em, self.plain
        with em.loop(start, stop, lanes) as loop:
            bits = plain.values(em, self._at("%x", loop.index), lanes)
            key = order_key(em, plain.dtype, bits, lanes)
            key = signed_key(em, key, plain.width, lanes)
            to = self._at("%scratch", loop.index)
            em.store(vec(plain.raw, lanes), key, to, plain.bytes)
            loop.yield_([])

    def _ranks(self, first: str) -> None:
        """Count for some vectors: elements before them, among them, and behind them."""
        em, lanes, raw = self.em, self.lanes, self.plain.raw
        type_, size = vec(raw, lanes), self.plain.bytes
        starts = [first]
        for k in range(1, self.together + 1):
            starts.append(em.op(f"add nsw i64 {first}, {k * lanes}"))
        mine = [em.load(type_, self._at("%scratch", at), size) for at in starts[:-1]]
        counts = [constant(raw, 0, lanes)] * self.together
        stops = [
            em.intrinsic("llvm.smin", "i64", at, str(self.length)) for at in starts[1:]
        ]
        if self.length > self.together * lanes:
            counts = self._counts("0", first, mine, counts, self.together, None)
            end = str(self.length)
            counts = self._counts(stops[-1], end, mine, counts, 0, None)
        for k, (start, stop) in enumerate(zip(starts, stops, strict=False)):
            counts = self._counts(start, stop, mine, counts, self.together - k - 1, k)
        for at, count in zip(starts, counts, strict=False):
            to = em.gep("i8", self._at("%scratch", at), self.row_bytes)
            em.store(type_, count, to, size)

    def _counts(
        self,
        start: str,
        stop: str,
        mine: Sequence[str],
        counts: Sequence[str],
        later: int,
        near: int | None,
    ) -> list[str]:
        """Write a loop over elements that lie before the last `later` of our vectors.

        They lie in the vector `near`, if there is one, and behind the others.
        """
        em, type_ = self.em, vec(self.plain.raw, self.lanes)
        carried = [(type_, count) for count in counts]
        with em.loop(start, stop, 1, carried) as loop:
            theirs = self._theirs(loop.index)
            found = []
            for k, (key, count) in enumerate(zip(mine, loop.carried, strict=True)):
                if k == near:
                    mask = self._near(loop.index, start, theirs, key)
                else:
                    op = "sle" if k >= len(mine) - later else "slt"
                    mask = em.op(f"icmp {op} {type_} {theirs}, {key}")
                found.append(self._counted(count, mask))
            loop.yield_(found)
        return loop.results

    def _theirs(self, index: str) -> str:
        em, raw = self.em, self.plain.raw
        key = em.load(raw, self._at("%scratch", index), self.plain.bytes)
        return em.splat(raw, key, self.lanes)

    def _near(self, index: str, first: str, theirs: str, mine: str) -> str:
        """Return which elements of a vector one of the same vector comes before."""
        em, lanes, raw = self.em, self.lanes, self.plain.raw
        type_, bits = vec(raw, lanes), vec("i1", lanes)
        less = em.op(f"icmp slt {type_} {theirs}, {mine}")
        same = em.op(f"icmp eq {type_} {theirs}, {mine}")
        lane = em.op(f"sub nsw i64 {index}, {first}")
        lane = em.op(f"trunc i64 {lane} to {raw}") if raw != "i64" else lane
        place = em.splat(raw, lane, lanes)
        later = em.op(f"icmp ult {type_} {place}, {iota(raw, lanes)}")
        tied = em.op(f"and {bits} {same}, {later}")
        return em.op(f"or {bits} {less}, {tied}")

    def _counted(self, count: str, mask: str) -> str:
        em, lanes, raw = self.em, self.lanes, self.plain.raw
        type_, bits = vec(raw, lanes), vec("i1", lanes)
        if self.functions.target.name != "avx512":
            # A mask is a vector of ones, that is -1, there.
            one = em.op(f"sext {bits} {mask} to {type_}")
            return em.op(f"sub {type_} {count}, {one}")
        more = em.op(f"add {type_} {count}, {constant(raw, 1, lanes)}")
        return em.op(f"select {bits} {mask}, {type_} {more}, {type_} {count}")

    def _move(self) -> None:
        """Write elements, or their places, to where their ranks say."""
        em, plain = self.em, self.plain
        ranks = em.gep("i8", "%scratch", self.row_bytes)
        with em.loop(0, self.length, 1) as loop:
            rank = em.load(plain.raw, self._at(ranks, loop.index), plain.bytes)
            if plain.raw != "i64":
                rank = em.op(f"zext {plain.raw} {rank} to i64")
            if self.cells.has_order:
                em.store("i64", loop.index, em.gep("i64", "%out", rank), 8)
            else:
                value = em.load(plain.raw, self._at("%x", loop.index), plain.bytes)
                em.store(plain.raw, value, self._at("%out", rank), plain.bytes)
            loop.yield_([])
