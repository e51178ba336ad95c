"""Rows that are in order already, or strictly against it: copied, or turned.

A row that is neither is left after a few elements, as a rule. What is strictly against
the order has no equal elements, so that turning it keeps what a stable sort keeps.
"""

from ...text import Emitter, iota, vec
from .keys import Cells
from .pieces import Functions, vectors

_PARAMETERS = ("ptr %src", "ptr %dst", "i64 %count")


def leave_in_order(
    em: Emitter,
    functions: Functions,
    source: Cells,
    has_order: bool,
    ends: tuple[str, str],
    count: str,
) -> None:
    """Write the end of a function for rows that are in order, or against it.

    Parameters
    ----------
    em : Emitter
        Of a function without a result.
    functions : Functions
    source : Cells
        How the row comes.
    has_order : bool
        Whether the result has places.
    ends : tuple of str
        Where the row is, and where the result goes.
    count : str
        How many elements it has.
    """
    for name, broken, is_turned in (("rises", "ugt", False), ("falls", "ule", True)):
        check = _check(functions, source, name, broken)
        written = _Ordered(functions, source, has_order, is_turned).emit()
        holds = em.call("i1", check, [("ptr", ends[0]), ("i64", count)])
        with em.if_(holds, unlikely=True) as branch:
            values = [("ptr", ends[0]), ("ptr", ends[1]), ("i64", count)]
            em.call("void", written, values)
            _leave(em, "void", "")
            branch.yield_([])


def _leave(em: Emitter, type_: str, value: str) -> None:
    """Return from within a branch."""
    rest = em.fresh("unreachable")
    em.ret(type_, value)
    em.label(rest)


def _name(source: Cells, name: str) -> str:
    return f"{name}.packed" if source.has_order else name


def _check(functions: Functions, source: Cells, name: str, broken: str) -> str:
    """Write ``i1 (ptr src, i64 count)``: no pair of neighbours is `broken`."""
    name = _name(source, name)
    if name in functions.texts:
        return functions.symbol_of(name)
    em = functions.new_emitter()

    def body(index: str, lanes: int) -> None:
        after = em.op(f"add nsw i64 {index}, 1")
        keys = [source.keys(em, "%src", at, lanes) for at in (index, after)]
        bad = em.op(f"icmp {broken} {vec(source.raw, lanes)} {', '.join(keys)}")
        with em.if_(em.any_lane(bad, lanes)) as branch:
            _leave(em, "i1", "false")
            branch.yield_([])

    pairs = em.op("sub nsw i64 %count, 1")
    vectors(em, "0", pairs, functions.target.lanes(source.width), body)
    em.ret("i1", "true")
    return functions.put(name, em, ("ptr %src", "i64 %count"), "i1")


class _Ordered:
    """Writes ``void (ptr src, ptr dst, i64 count)``, which copies or turns."""

    def __init__(
        self, functions: Functions, source: Cells, has_order: bool, is_turned: bool
    ) -> None:
        self.functions, self.source = functions, source
        self.has_order, self.is_turned = has_order, is_turned
        self.em = functions.new_emitter()

    def emit(self) -> str:
        """Write the function; return its symbol."""
        name = _name(self.source, "turn" if self.is_turned else "copy")
        if name in self.functions.texts:
            return self.functions.symbol_of(name)
        width = 64 if self.has_order else self.source.width
        is_single = self.is_turned or self.source.has_order
        lanes = 1 if is_single else self.functions.target.lanes(width)
        vectors(self.em, "0", "%count", lanes, self._some)
        self.em.ret()
        return self.functions.put(name, self.em, _PARAMETERS)

    def _some(self, index: str, lanes: int) -> None:
        em, at = self.em, index
        if self.is_turned:
            last = em.op("sub nsw i64 %count, 1")
            at = em.op(f"sub nsw i64 {last}, {index}")
        if not self.has_order:
            type_, size = vec(self.source.raw, lanes), self.source.bytes
            value = em.load(type_, em.gep(self.source.raw, "%src", at), size)
            em.store(type_, value, em.gep(self.source.raw, "%dst", index), size)
            return
        type_, to = vec("i64", lanes), em.gep("i64", "%dst", index)
        place = self.source.place(em, "%src", at)
        if lanes > 1:
            place = em.splat("i64", place, lanes)
            place = em.op(f"add {type_} {place}, {iota('i64', lanes)}")
        em.store(type_, place, to, 8)
