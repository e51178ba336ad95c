"""A few numbers of any count: in registers, or by a network in memory."""

from collections.abc import Sequence

from ...target import Target, aligned
from ...text import Emitter, constant, vec
from .group import Group
from .pieces import Functions, bit_length
from .vectors import Numbers, copy_numbers, most_vectors, write_network

_FEW = 128  # elements that a network in memory sorts
_LEAST = 8  # vectors that are sorted in registers, of a count that is not known


def most_few(target: Target, width: int) -> int:
    """Return how many numbers of a width are few."""
    lanes = target.lanes(width)
    return lanes * most_vectors(target, lanes) if _has_masks(target) else _FEW


def _has_masks(target: Target) -> bool:
    """Tell whether some lanes of a vector, as many as there are, can be read."""
    return target.name == "avx512"


class FewWriter:
    """Writes ``void (ptr src, i64 size, ptr out, ptr room)`` for up to `most` numbers.

    `src` may be `out`.

    Parameters
    ----------
    functions : Functions
    numbers : Numbers
    """

    def __init__(self, functions: Functions, numbers: Numbers) -> None:
        self.functions, self.numbers = functions, numbers
        self.element, self.bytes = numbers.element, numbers.width // 8
        self.lanes = functions.target.lanes(numbers.width)
        self.type = vec(self.element, self.lanes)
        self.filling = constant(self.element, numbers.largest, self.lanes)
        self.group = most_vectors(functions.target, self.lanes)
        self.has_masks = _has_masks(functions.target)
        self.most = most_few(functions.target, numbers.width)

    @property
    def room_bytes(self) -> int:
        """How large `room` is."""
        return 0 if self.has_masks else aligned(_FEW * self.bytes)

    def emit(self) -> str:
        """Write everything; return the symbol."""
        em = self.functions.new_emitter()
        if self.has_masks:
            counts = [n for n in range(_LEAST, self.group + 1) if n & (n - 1) == 0]
            self._in_registers(em, [(n, self._registers(n)) for n in counts])
        else:
            with em.if_(em.op("icmp sgt i64 %size, 0")) as branch:
                self._in_memory(em)
                branch.yield_([])
        em.ret()
        parameters = ("ptr %src", "i64 %size", "ptr %out", "ptr %room")
        return self.functions.put("few", em, parameters)

    # In registers

    def _in_registers(self, em: Emitter, sorts: Sequence[tuple[int, str]]) -> None:
        """Call that of the fewest vectors."""
        values = [("ptr", "%src"), ("i64", "%size"), ("ptr", "%out")]
        (count, symbol), rest = sorts[0], sorts[1:]

        def fits() -> list[str]:
            em.call("void", symbol, values)
            return []

        def others() -> list[str]:
            self._in_registers(em, rest)
            return []

        if not rest:
            fits()
            return
        is_small = em.op(f"icmp sle i64 %size, {count * self.lanes}")
        em.if_else(is_small, [], fits, others)

    def _registers(self, count: int) -> str:
        """Write ``void (ptr src, i64 size, ptr out)`` for up to `count` vectors.

        There are more than half of them, if not the fewest.
        """
        em, whole = self.functions.new_emitter(), count // 2 * (count > _LEAST)
        group = Group(em, self.element, self.lanes)
        size = em.splat("i32", em.op("trunc i64 %size to i32"), self.lanes)
        masks = [self._mask(em, k, size) for k in range(whole, count)]
        starts = [k * self.lanes for k in range(count)]
        ends = [em.gep(self.element, "%src", k) for k in starts]
        values = [em.load(self.type, at, self.bytes) for at in ends[:whole]]
        for at, mask in zip(ends[whole:], masks, strict=True):
            values.append(em.masked_load(self.type, at, mask, self.bytes, self.filling))
        values = group.sorted(values)
        ends = [em.gep(self.element, "%out", k) for k in starts]
        for value, at in zip(values[:whole], ends[:whole], strict=True):
            em.store(self.type, value, at, self.bytes)
        for value, at, mask in zip(values[whole:], ends[whole:], masks, strict=True):
            em.masked_store(self.type, value, at, mask, self.bytes)
        em.ret()
        parameters = ("ptr %src", "i64 %size", "ptr %out")
        return self.functions.put(f"registers.{count}", em, parameters)

    def _mask(self, em: Emitter, number: int, size: str) -> str:
        """Return which lanes of a vector the row has."""
        first = number * self.lanes
        places = ", ".join(f"i32 {k}" for k in range(first, first + self.lanes))
        return em.op(f"icmp sgt {vec('i32', self.lanes)} {size}, <{places}>")

    # In memory

    def _in_memory(self, em: Emitter) -> None:
        """Fill the row up in `room`, and sort it there."""
        lanes, least = self.lanes, self.group
        network = write_network(self.functions, self.element, lanes, least)
        last = em.op("sub i64 %size, 1")
        groups = em.op(f"lshr i64 {last}, {lanes.bit_length() - 1}")
        needed = em.op(f"shl i64 1, {bit_length(em, groups)}")
        needed = em.intrinsic("llvm.smax", "i64", needed, str(least))
        end = em.op(f"mul i64 {needed}, {lanes}")
        with em.loop(em.op(f"and i64 %size, {-lanes}"), end, lanes) as loop:
            to = em.gep(self.element, "%room", loop.index)
            em.store(self.type, self.filling, to, self.bytes)
            loop.yield_([])
        copy_numbers(em, self.numbers, lanes, ("%src", "%room"), "%size")
        em.call("void", network, [("ptr", "%room"), ("i64", needed)])
        copy_numbers(em, self.numbers, lanes, ("%room", "%out"), "%size")
