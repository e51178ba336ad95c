"""Loads and stores of a kernel: vectors, splats, gathers, checks and fills.

Needs the place in the loop nest (`Place`) and the pointer that the loops around have
advanced; establishes register values from memory and memory from register values, for
any stride and any index expression, without touching memory outside of the buffer.
"""

from collections.abc import Sequence

import numpy as np

from ...ir.graph import Literal
from ...kernels.kernel import Bound
from ...records import dataclass
from ..error_word import index_word
from .indices import Access, Checked, Evaluator, add, multiply
from .text import Emitter, constant, suffix, vec
from .values import literal_text, memory_type, narrow, widen

# Elements so many apart are loaded as vectors between which they are picked: a gather
# takes longer than eight loads and shuffles do.
MOST_APART = 8
_TRUE = "true"  # an i1


@dataclass(frozen=True)
class Place:
    """Where in the loop nest an access is.

    Parameters
    ----------
    pointer : str
        Advanced by the linear terms of all open loops, and by `unit` vectors.
    lane_stride : int
        Elements from one lane to the next, in what grows from lane to lane.
    lanes : int
        Of the vectors here.
    mask : str or None
        The lanes that exist; None for all.
    evaluator : Evaluator
    number : int
        Position of the operation in the kernel, for the error word.
    """

    pointer: str
    lane_stride: int
    lanes: int
    mask: str | None
    evaluator: Evaluator
    number: int


class Memory:
    """Writes loads and stores.

    Parameters
    ----------
    em : Emitter
    error : str
        Address of the error word, and behind it the index that was out of range.
    """

    def __init__(self, em: Emitter, error: str) -> None:
        self.em, self.error = em, error
        self._known: dict[tuple[str, str, str | None], tuple[str, str | None]] = {}
        self._postpones = False
        self._failure: str | None = None

    def postpone(self) -> None:
        """Only note from here on whether an index is out of range; see `postponed`."""
        self._postpones, self._failure = True, None

    def postponed(self) -> str | None:
        """Report indices at once again; return whether one was out of range since."""
        self._postpones = False
        return self._failure

    def begin(self) -> None:
        """Start straight-line code: an index is checked once in it, for all vectors."""
        self._known.clear()

    # Loads

    def load(
        self,
        access: Access,
        place: Place,
        bounds: Sequence[Bound],
        fill: Literal | None,
        wide: bool,
    ) -> str:
        """Return the register value of a load: a vector if `wide`, else a scalar."""
        lanes = place.lanes if wide else 1
        if wide and bounds and self._is_row(access, place):
            holds = self._holds_for_all(bounds, place)
            if holds != _TRUE:
                return self._row_in_bounds(access, place, bounds, fill, holds)
        mask = self._bounds(bounds, place, lanes)
        if wide and place.mask is not None:
            mask = self._and(mask, place.mask, lanes)
        offset, offsets, element, inside = self._offset(access, place, lanes, mask)
        if inside is not None:
            mask = self._and(mask, inside, lanes)
        at = self.em.gep(memory_type(access.dtype), place.pointer, offset)
        other = self._other(access.dtype, fill, lanes)
        raw = self._fetch(access, place, lanes, at, offsets, element, mask, other)
        return widen(self.em, access.dtype, raw, lanes)

    def _is_row(self, access: Access, place: Place) -> bool:
        """Tell whether whole vectors lie in memory as they are read."""
        evaluator = place.evaluator
        steps = [evaluator.step(index) for index, _ in access.dynamic]
        is_plain = None not in steps and not access.checked and place.mask is None
        return is_plain and place.lane_stride == 1 and place.lanes > 1

    def _row_in_bounds(
        self,
        access: Access,
        place: Place,
        bounds: Sequence[Bound],
        fill: Literal | None,
        holds: str | None,
    ) -> str:
        """Return a vector of which all lanes are in bounds if `holds`, or none may be.

        Where no lane is, memory is left alone: processors take long over lanes that are
        off where there is no memory.
        """
        em, lanes, align = self.em, place.lanes, access.dtype.itemsize
        type_ = vec(memory_type(access.dtype), lanes)
        offset, *_ = self._offset(access, place, lanes, None)
        at = em.gep(memory_type(access.dtype), place.pointer, offset)
        other = self._other(access.dtype, fill, lanes)

        def some() -> list[str]:
            mask = self._bounds(bounds, place, lanes) or constant("i1", True, lanes)
            with em.if_(em.any_lane(mask, lanes), [(type_, other)]) as branch:
                branch.yield_([em.masked_load(type_, at, mask, align, other)])
            return branch.results

        def whole() -> list[str]:
            return [em.load(type_, at, align)]

        (raw,) = some() if holds is None else em.if_else(holds, [type_], whole, some)
        return widen(em, access.dtype, raw, lanes)

    def fetch(self, access: Access, place: Place, ahead: int) -> None:
        """Have the second cache get what is so many elements after a load; any may be.

        Addresses outside of the buffer do no harm.
        """
        at = self.em.gep(memory_type(access.dtype), place.pointer, ahead)
        self.em.prefetch(at, False, locality=2)

    def _other(self, dtype: np.dtype, fill: Literal | None, lanes: int) -> str:
        """Return what lanes outside of the bounds read, as it would lie in memory."""
        if fill is None or (fill.value == 0 and not np.signbit(float(fill.value))):
            return constant(memory_type(dtype), 0, lanes)
        if memory_type(dtype) in ("float", "double"):
            return literal_text(fill, lanes)
        if dtype.kind in "iu":
            return literal_text(fill, lanes)
        return narrow(self.em, dtype, literal_text(fill, lanes), lanes)

    def _fetch(
        self,
        access: Access,
        place: Place,
        lanes: int,
        at: str,
        offsets: str,
        element: str,
        mask: str | None,
        other: str,
    ) -> str:
        em, cell = self.em, memory_type(access.dtype)
        align, type_ = access.dtype.itemsize, vec(cell, lanes)
        stride = place.lane_stride if lanes > 1 else 1
        if not offsets and stride == 1:
            if mask is None:
                return em.load(type_, at, align)
            return em.masked_load(type_, at, mask, align, other)
        if not offsets and stride == 0 and mask in (None, place.mask):
            return em.splat(cell, em.load(cell, at, align), lanes)
        if not offsets and stride == -1:
            first = em.gep(cell, at, 1 - lanes)
            if mask is None:
                return self._reversed(type_, em.load(type_, first, align), lanes)
            turned = self._reversed(vec("i1", lanes), mask, lanes)
            other = self._reversed(type_, other, lanes)
            loaded = em.masked_load(type_, first, turned, align, other)
            return self._reversed(type_, loaded, lanes)
        if not offsets and 1 < stride <= MOST_APART and mask is None:
            return self._every(stride, cell, at, lanes, align)
        where = self._addresses(cell, at, offsets, element, stride, lanes)
        mask = mask or constant("i1", True, lanes)
        arguments = [
            (vec("ptr", lanes), where),
            ("i32", str(align)),
            (vec("i1", lanes), mask),
            (type_, other),
        ]
        name = f"llvm.masked.gather.{suffix(type_)}.v{lanes}p0"
        return em.extern(type_, name, arguments)

    def _every(self, stride: int, cell: str, at: str, lanes: int, align: int) -> str:
        """Load elements `stride` apart: whole vectors, of which each gives a few lanes.

        The last vector ends with the last element, so that nothing beyond it is read.
        """
        em, type_ = self.em, vec(cell, lanes)
        last = stride * (lanes - 1)
        starts = [*range(0, last - lanes + 1, lanes), last - lanes + 1]
        value = ""
        for start in starts:
            loaded = em.load(type_, em.gep(cell, at, start), align)
            # Earlier lanes stay, of this vector come those that begin in it.
            picks = [
                lanes + k * stride - start
                if start <= k * stride < start + lanes
                else k
                if value
                else lanes
                for k in range(lanes)
            ]
            value = em.shuffle(type_, value or "poison", loaded, picks)
        return value

    def _reversed(self, type_: str, value: str, lanes: int) -> str:
        return self.em.shuffle(type_, value, "poison", range(lanes)[::-1])

    # Stores

    def store(
        self, access: Access, place: Place, value: str, wide: bool, past: bool = False
    ) -> None:
        """Store a register value: a vector if `wide`, else a scalar.

        With `past`, past the caches: the address must be a multiple of the vector.
        """
        em, cell = self.em, memory_type(access.dtype)
        lanes = place.lanes if wide else 1
        mask = place.mask if wide else None
        offset, offsets, element, _ = self._offset(access, place, lanes, mask)
        at = em.gep(cell, place.pointer, offset)
        raw = narrow(em, access.dtype, value, lanes)
        type_, align = vec(cell, lanes), access.dtype.itemsize
        stride = place.lane_stride if lanes > 1 else 1
        if not offsets and stride == 1:
            if mask is None:
                em.store(type_, raw, at, align * lanes if past else align, past)
            else:
                em.masked_store(type_, raw, at, mask, align)
            return
        if not offsets and stride == -1:
            first = em.gep(cell, at, 1 - lanes)
            raw = self._reversed(type_, raw, lanes)
            if mask is None:
                em.store(type_, raw, first, align)
                return
            turned = self._reversed(vec("i1", lanes), mask, lanes)
            em.masked_store(type_, raw, first, turned, align)
            return
        where = self._addresses(cell, at, offsets, element, stride, lanes)
        arguments = [
            (type_, raw),
            (vec("ptr", lanes), where),
            ("i32", str(align)),
            (vec("i1", lanes), mask or constant("i1", True, lanes)),
        ]
        em.extern("void", f"llvm.masked.scatter.{suffix(type_)}.v{lanes}p0", arguments)

    # Addresses

    def _addresses(
        self, cell: str, at: str, offsets: str, element: str, stride: int, lanes: int
    ) -> str:
        em = self.em
        element = element or "i64"
        type_ = vec(element, lanes)
        if stride:
            along = f"<{', '.join(f'{element} {k * stride}' for k in range(lanes))}>"
            offsets = em.op(f"add {type_} {offsets}, {along}") if offsets else along
        elif not offsets:
            offsets = constant(element, 0, lanes)
        return em.op(f"getelementptr {cell}, ptr {at}, {type_} {offsets}")

    def _offset(
        self, access: Access, place: Place, lanes: int, mask: str | None
    ) -> tuple[int | str, str, str, str | None]:
        """Return the offset that all lanes share, those of the lanes, and their type.

        The last result is the mask of lanes that have anything to read; None for all.
        """
        em, ev = self.em, place.evaluator
        shared: int | str = 0
        wide: list[tuple[str, str]] = []
        inside: str | None = None
        for index, stride in access.dynamic:
            if lanes == 1 or ev.step(index) is not None:
                shared = add(em, shared, multiply(em, ev.scalar(index), stride))
                continue
            element = ev.narrowest(index * stride)
            value = ev.vector(index, element)
            wide.append((self._times(value, stride, element, lanes), element))
        for checked, stride in access.checked:
            value, there = self._checked(checked, place, lanes, mask)
            if lanes == 1 or not ev.is_vector(checked.index):
                shared = add(em, shared, multiply(em, value, stride))
                there = there and em.splat("i1", there, lanes)
            else:
                wide.append((self._times(value, stride, "i64", lanes), "i64"))
            if there is not None:
                inside = self._and(inside, there, lanes)
        return shared, *self._sum(wide, lanes), inside

    def _times(self, value: str, stride: int, element: str, lanes: int) -> str:
        if stride == 1:
            return value
        factor = constant(element, stride, lanes)
        return self.em.op(f"mul {vec(element, lanes)} {value}, {factor}")

    def _sum(self, parts: Sequence[tuple[str, str]], lanes: int) -> tuple[str, str]:
        if not parts:
            return "", ""
        if all(element == "i32" for _, element in parts) and len(parts) == 1:
            return parts[0]
        total = ""
        type_ = vec("i64", lanes)
        for value, element in parts:
            if element == "i32":
                value = self.em.op(f"sext {vec('i32', lanes)} {value} to {type_}")
            total = self.em.op(f"add {type_} {total}, {value}") if total else value
        return total, "i64"

    def row(self, access: Access, place: Place) -> str:
        """Return where a load of a vector begins, without a check of its indices."""
        em, ev = self.em, place.evaluator
        offset: int | str = 0
        for index, stride in access.dynamic:
            offset = add(em, offset, multiply(em, ev.scalar(index), stride))
        for checked, stride in access.checked:
            value = str(ev.scalar(checked.index))
            negative = em.op(f"icmp slt i64 {value}, 0")
            moved = em.op(f"add i64 {value}, {checked.extent}")
            value = em.op(f"select i1 {negative}, i64 {moved}, i64 {value}")
            offset = add(em, offset, em.op(f"mul i64 {value}, {stride}"))
        return em.gep(memory_type(access.dtype), place.pointer, offset)

    # Bounds and checks

    def _either(self, a: str | None, b: str) -> str:
        return b if a is None else self.em.op(f"or i1 {a}, {b}")

    def _and(self, a: str | None, b: str, lanes: int) -> str:
        return b if a is None else self.em.op(f"and {vec('i1', lanes)} {a}, {b}")

    def _bounds(self, bounds: Sequence[Bound], place: Place, lanes: int) -> str | None:
        """Return the mask of lanes for which all bounds hold; None for all lanes."""
        em, ev = self.em, place.evaluator
        mask: str | None = None
        for bound in bounds:
            known = ev.bounds(bound.index)
            if known is not None and known[0] >= 0 and known[1] < bound.extent:
                continue
            if lanes > 1 and ev.is_vector(bound.index):
                element = ev.narrowest(bound.index)
                type_ = vec(element, lanes)
                value = ev.vector(bound.index, element)
                limit = constant(element, bound.extent, lanes)
                holds = em.op(f"icmp ult {type_} {value}, {limit}")
            else:
                scalar = ev.scalar(bound.index)
                holds = em.op(f"icmp ult i64 {scalar}, {bound.extent}")
                holds = em.splat("i1", holds, lanes)
            mask = self._and(mask, holds, lanes)
        return mask

    def _holds_for_all(self, bounds: Sequence[Bound], place: Place) -> str | None:
        """Return whether bounds hold in all lanes; None if that is no short matter."""
        em, ev, out = self.em, place.evaluator, _TRUE
        for bound in bounds:
            known = ev.bounds(bound.index)
            if known is not None and known[0] >= 0 and known[1] < bound.extent:
                continue
            step = ev.step(bound.index)
            if step is None or abs(step) * (place.lanes - 1) >= bound.extent:
                return None
            room = bound.extent - abs(step) * (place.lanes - 1)
            lowest = add(em, ev.scalar(bound.index), min(step, 0) * (place.lanes - 1))
            holds = em.op(f"icmp ult i64 {lowest}, {room}")
            out = holds if out == _TRUE else em.op(f"and i1 {out}, {holds}")
        return out

    def _checked(
        self, checked: Checked, place: Place, lanes: int, mask: str | None
    ) -> tuple[str, str | None]:
        """Return a safe index, as wide as it varies, and where there is any."""
        em, ev = self.em, place.evaluator
        if mask is not None and lanes > 1 and not ev.is_vector(checked.index):
            # A scalar index matters if any lane reads with it.
            mask = em.any_lane(mask, lanes)
        if lanes > 1 and ev.is_vector(checked.index):
            return self._safe(
                checked, place, lanes, ev.vector(checked.index, "i64"), mask
            )
        index = str(ev.scalar(checked.index))
        key = (f"{checked.dimension} {checked.extent} {checked.clip}", index, mask)
        if key not in self._known:
            self._known[key] = self._safe(checked, place, 1, index, mask)
        return self._known[key]

    def _safe(
        self, checked: Checked, place: Place, lanes: int, index: str, mask: str | None
    ) -> tuple[str, str | None]:
        """Return an index that is in range, and where there is any."""
        em, type_ = self.em, vec("i64", lanes)
        zero = constant("i64", 0, lanes)
        last = constant("i64", max(checked.extent - 1, 0), lanes)
        if checked.clip:
            index = em.intrinsic("llvm.smax", type_, index, zero)
            index = em.intrinsic("llvm.smin", type_, index, last)
        else:
            index = self._wrapped(checked, place, lanes, index, mask)
        nothing = constant("i1", False, lanes)
        return index, nothing if checked.extent == 0 else None

    def _wrapped(
        self, checked: Checked, place: Place, lanes: int, index: str, mask: str | None
    ) -> str:
        em, type_, bits = self.em, vec("i64", lanes), vec("i1", lanes)
        zero = constant("i64", 0, lanes)
        extent = constant("i64", checked.extent, lanes)
        negative = em.op(f"icmp slt {type_} {index}, {zero}")
        moved = em.op(f"add {type_} {index}, {extent}")
        wrapped = em.op(f"select {bits} {negative}, {type_} {moved}, {type_} {index}")
        bad = em.op(f"icmp uge {type_} {wrapped}, {extent}")
        reported = bad if mask is None else em.op(f"and {bits} {bad}, {mask}")
        failure = em.any_lane(reported, lanes)
        if self._postpones:
            self._failure = self._either(self._failure, failure)
        else:
            with em.if_(failure, unlikely=True) as failed:
                self._report(checked, place, lanes, index, reported)
                failed.yield_([])
        return em.op(f"select {bits} {bad}, {type_} {zero}, {type_} {wrapped}")

    def _report(
        self, checked: Checked, place: Place, lanes: int, index: str, bad: str
    ) -> None:
        """Write the error word and one index that is out of range; the first stays."""
        em, type_ = self.em, vec("i64", lanes)
        if lanes > 1:
            least = constant("i64", -(2**63), lanes)
            shown = em.op(
                f"select {vec('i1', lanes)} {bad}, {type_} {index}, {type_} {least}"
            )
            name = f"llvm.vector.reduce.smax.{suffix(type_)}"
            index = em.extern("i64", name, [(type_, shown)])
        word = index_word(place.number, checked.dimension)
        before = em.load("i64", self.error, 8)
        with em.if_(em.op(f"icmp eq i64 {before}, 0")):
            em.store("i64", str(word), self.error, 8)
            em.store("i64", index, em.gep("i64", self.error, 1), 8)


def lanes_mask(lanes: int, count: int) -> str:
    """Return the constant mask whose first `count` lanes are on."""
    bits = ", ".join(f"i1 {'true' if k < count else 'false'}" for k in range(lanes))
    return f"<{bits}>"
