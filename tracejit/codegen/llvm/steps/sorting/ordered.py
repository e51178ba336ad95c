"""Rows that are in order already: they are copied while that is found out.

A row that is not is left at the first vector that shows it; what was written until then
is written again.
"""

from ...text import Emitter, iota, vec
from .keys import Cells
from .pieces import Functions, vectors


def leave_in_order(
    em: Emitter,
    functions: Functions,
    source: Cells,
    has_order: bool,
    ends: tuple[str, str],
    count: str,
) -> None:
    """Write the end of a function for rows that are in order.

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
    name = "ordered.packed" if source.has_order else "ordered"
    if name not in functions.texts:
        _write(functions, source, has_order, name)
    values = [("ptr", ends[0]), ("ptr", ends[1]), ("i64", count)]
    holds = em.call("i1", functions.symbol_of(name), values)
    with em.if_(holds, unlikely=True) as branch:
        _leave(em, "void", "")
        branch.yield_([])


def _leave(em: Emitter, type_: str, value: str) -> None:
    """Return from within a branch."""
    rest = em.fresh("unreachable")
    em.ret(type_, value)
    em.label(rest)


def _write(functions: Functions, source: Cells, has_order: bool, name: str) -> None:
    """Write ``i1 (ptr src, ptr dst, i64 count)``: whether a row could be copied."""
    em = functions.new_emitter()

    def values(index: str, lanes: int) -> None:
        type_ = vec(source.raw, lanes)
        value = em.load(type_, em.gep(source.raw, "%src", index), source.bytes)
        em.store(type_, value, em.gep(source.raw, "%dst", index), source.bytes)

    def places(index: str, lanes: int) -> None:
        type_, place = vec("i64", lanes), source.place(em, "%src", index)
        if lanes > 1:
            place = em.splat("i64", place, lanes)
            place = em.op(f"add {type_} {place}, {iota('i64', lanes)}")
        em.store(type_, place, em.gep("i64", "%dst", index), 8)

    copied = places if has_order else values

    def body(index: str, lanes: int) -> None:
        after = em.op(f"add nsw i64 {index}, 1")
        keys = [source.keys(em, "%src", at, lanes) for at in (index, after)]
        bad = em.op(f"icmp ugt {vec(source.raw, lanes)} {', '.join(keys)}")
        with em.if_(em.any_lane(bad, lanes)) as branch:
            _leave(em, "i1", "false")
            branch.yield_([])
        copied(index, lanes)

    pairs = em.op("sub nsw i64 %count, 1")
    lanes = 1 if source.has_order else functions.target.lanes(source.width)
    vectors(em, "0", pairs, lanes, body)
    copied(pairs, 1)
    em.ret("i1", "true")
    functions.put(name, em, ("ptr %src", "ptr %dst", "i64 %count"), "i1")
