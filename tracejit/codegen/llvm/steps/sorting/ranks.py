"""Short rows: every element counts those before it, and goes there.

    rank[i] = how many j have key[j] < key[i], or key[j] = key[i] and j < i

That is a number of comparisons in the square of the length, but of whole vectors, with
no branch that depends on the values and no table to clear: the fastest up to some
hundred elements.
"""

from ...target import CACHE_LINE, Target, aligned
from ...text import Emitter, constant, iota, vec
from .keys import Cells, order_key, signed_key
from .pieces import Functions


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
        self.em = functions.new_emitter()
        # Keys are read in whole vectors, and ranks are written so.
        self.row_bytes = aligned(-(-length // self.lanes) * CACHE_LINE)

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
        with em.loop(0, self.length, self.lanes) as loop:
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
        """Count for the elements of one vector: others before, in, and behind it."""
        em, lanes, raw = self.em, self.lanes, self.plain.raw
        type_ = vec(raw, lanes)
        mine = em.load(type_, self._at("%scratch", first), self.plain.bytes)
        end = em.op(f"add nsw i64 {first}, {lanes}")
        end = em.intrinsic("llvm.smin", "i64", end, str(self.length))
        count = constant(raw, 0, lanes)
        for start, stop, op in (("0", first, "sle"), (end, self.length, "slt")):
            with em.loop(start, stop, 1, [(type_, count)]) as loop:
                theirs = self._theirs(loop.index)
                is_before = em.op(f"icmp {op} {type_} {theirs}, {mine}")
                loop.yield_([self._counted(loop.carried[0], is_before)])
            (count,) = loop.results
        with em.loop(first, end, 1, [(type_, count)]) as loop:
            is_before = self._near(loop.index, first, mine)
            loop.yield_([self._counted(loop.carried[0], is_before)])
        to = em.gep("i8", self._at("%scratch", first), self.row_bytes)
        em.store(type_, loop.results[0], to, self.plain.bytes)

    def _theirs(self, index: str) -> str:
        em, raw = self.em, self.plain.raw
        key = em.load(raw, self._at("%scratch", index), self.plain.bytes)
        return em.splat(raw, key, self.lanes)

    def _near(self, index: str, first: str, mine: str) -> str:
        """Return which elements of a vector one of the same vector comes before."""
        em, lanes, raw = self.em, self.lanes, self.plain.raw
        type_, bits = vec(raw, lanes), vec("i1", lanes)
        theirs = self._theirs(index)
        less = em.op(f"icmp slt {type_} {theirs}, {mine}")
        same = em.op(f"icmp eq {type_} {theirs}, {mine}")
        lane = em.op(f"sub nsw i64 {index}, {first}")
        lane = em.op(f"trunc i64 {lane} to {raw}") if raw != "i64" else lane
        place = em.splat(raw, lane, lanes)
        later = em.op(f"icmp ult {type_} {place}, {iota(raw, lanes)}")
        tied = em.op(f"and {bits} {same}, {later}")
        return em.op(f"or {bits} {less}, {tied}")

    def _counted(self, count: str, mask: str) -> str:
        em, type_ = self.em, vec(self.plain.raw, self.lanes)
        one = em.op(f"sext {vec('i1', self.lanes)} {mask} to {type_}")
        return em.op(f"sub {type_} {count}, {one}")

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
