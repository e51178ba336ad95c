"""Cumulative sums and extrema along one axis, in either direction.

One order for every layout, target and number of threads:

    a leaf is 1024 elements in chunks of 16
    within a chunk   y[k] = x[k - s] + x[k]  for s = 1, 2, 4, 8, one after another
    within a leaf    z = (sum of the chunks before) + y
    result           (sum of the leaves before) + z

so that errors grow with the number of leaves and not with that of elements, and chunks
wait for one addition of the one before. Where the axis lies along memory, a chunk is a
vector; elsewhere it is 16 vectors, or scalars, of what lies side by side.

Parts of products of floats may overflow, or vanish, where the whole does not. Chunks
whose elements are neither large nor small are multiplied so, one chunk after another;
others, and those in which the result leaves the range, element by element as NumPy
does. Rows side by side are multiplied element by element anyway, many at a time.

Halves are not here, as NumPy rounds them at every step.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from ....ir.dtypes import NARROW_FLOATS
from ....ir.primitive import Params
from ....kernels.cost import BYTE_NS
from ....kernels.kernel import Buffer
from ....records import dataclass
from ..elementwise import combine
from ..externs import Layout
from ..indices import Index, add, multiply
from ..memory import lanes_mask
from ..sharing import Ranges
from ..target import Target
from ..text import Emitter, constant, vec
from ..values import is_real, memory_type, register_type
from .code import Setting, StepCode, step_over

CHUNK = 16
LEAF = 1024
_OPS = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}
_CHUNK_NS = 3.0


@dataclass(frozen=True)
class Cumulative:
    """What a cumulative operation does.

    Parameters
    ----------
    op : str
        ``add``, ``mul``, ``max`` or ``min``.
    x, out : Buffer
    axis : int
    is_reversed : bool
    """

    op: str
    x: Buffer
    out: Buffer
    axis: int
    is_reversed: bool

    @property
    def length(self) -> int:
        """How many elements a row has."""
        return self.out.shape[self.axis]

    @property
    def steps(self) -> tuple[int, int]:
        """The strides of the operand and of the result along the axis."""
        return self.x.strides[self.axis], self.out.strides[self.axis]

    @property
    def neutral(self) -> float:
        """What changes nothing."""
        dtype = self.out.dtype
        if self.op in ("add", "mul"):
            zero = -0.0 if is_real(dtype) else 0
            return zero if self.op == "add" else 1
        is_max = self.op == "max"
        if is_real(dtype):
            return -np.inf if is_max else np.inf
        if dtype.kind == "b":
            return not is_max
        limits = np.iinfo(dtype)
        return int(limits.min if is_max else limits.max)

    @property
    def is_chained(self) -> bool:
        """Whether chunks wait for what comes before them."""
        return self.op == "mul" and is_real(self.out.dtype)

    def rest(self) -> Layout:
        """Return the other axes, the one that lies along memory last."""
        found = [
            (n, self.x.strides[d], self.out.strides[d])
            for d, n in enumerate(self.out.shape)
            if d != self.axis and n > 1
        ]
        found.sort(key=lambda axis: axis[1:] == (1, 1))
        shape = tuple(n for n, _, _ in found)
        return Layout(
            shape, (tuple(a for _, a, _ in found), tuple(b for *_, b in found))
        )


def write_cumulative(
    name: str,
    setting: Setting,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
    params: Params,
) -> StepCode | None:
    """Return the functions of a cumulative operation; see `write_step`."""
    op, (x,), (out,) = _OPS[name], inputs, outputs
    axis = params["axis"]
    assert isinstance(axis, int)
    dtype = out.dtype
    if dtype.kind in "bc" or dtype in NARROW_FLOATS or not prod(out.shape):
        return None
    what = Cumulative(op, x, out, axis, bool(params["reverse"]))
    return _written(setting, what)


def _written(setting: Setting, what: Cumulative) -> StepCode:
    """Write the function for a range of rows, and that which runs them all."""
    rows = _Rows(what, setting.target, setting.new_emitter())
    rows.emit()
    work = int(prod(what.out.shape) * (_CHUNK_NS / CHUNK + 8 * BYTE_NS))
    ranges = Ranges(None, f"{setting.symbol}.range", rows.extent, 1, 0, 0)
    return step_over(setting, ranges, rows.em, ["%x", "%out"], work, per_thread=4)


class _Rows:
    """Writes the body of the function over a range of rows, or of vectors of them.

    A row is a place in all axes but the one that is summed along; `extent` is how many
    there are, and a place along the last one stands for as many as a vector holds.
    """

    def __init__(self, what: Cumulative, target: Target, em: Emitter) -> None:
        self.what, self.target, self.em = what, target, em
        dtype = what.out.dtype
        self.cell, self.size = memory_type(dtype), dtype.itemsize
        self.element = register_type(dtype)
        self.rest = what.rest()
        self.is_along = {abs(s) for s in what.steps} == {1}
        ends = [s[-1:] for s in self.rest.strides]
        self.is_across = not self.is_along and ends == [(1,), (1,)]
        self.lanes = target.lanes(8 * self.size) if self.is_across else 1
        self.count = self.rest.shape[-1] if self.is_across else 1
        outer = self.rest.shape[:-1] if self.is_across else self.rest.shape
        self.extent = prod(outer) * -(-self.count // self.lanes)
        self.mask: str | None = None

    def emit(self) -> None:
        """Write the loop over rows."""
        em = self.em
        with em.loop("%begin", "%end", 1) as loop:
            number: Index = loop.index
            column: Index = 0
            vectors = -(-self.count // self.lanes)
            if self.is_across:
                column = em.op(f"urem i64 {number}, {vectors}")
                column = multiply(em, column, self.lanes)
                number = em.op(f"udiv i64 {number}, {vectors}")
                if self.count % self.lanes:
                    rest = em.op(f"sub nsw i64 {self.count}, {column}")
                    self.mask = em.lane_mask(self.lanes, rest)
            at = [
                self._row(pointer, str(number), column, k)
                for k, pointer in enumerate(("%x", "%out"))
            ]
            if self.what.is_chained:
                self._chain(*at)
            else:
                self._leaves(*at)
            loop.yield_([])
        em.ret()

    def _row(self, pointer: str, number: str, column: Index, k: int) -> str:
        """Return where a row begins: at its end, if it is reversed."""
        em = self.em
        outer = len(self.rest.shape) - self.is_across
        shape, strides = self.rest.shape[:outer], self.rest.strides[k][:outer]
        total: Index = column
        inner = prod(shape)
        for n, stride in zip(shape, strides, strict=True):
            place = number
            if inner != prod(shape):
                place = em.op(f"urem i64 {place}, {inner}")
            inner //= n
            if inner > 1:
                place = em.op(f"udiv i64 {place}, {inner}")
            total = add(em, total, multiply(em, place, stride))
        if self.what.is_reversed:
            total = add(em, total, (self.what.length - 1) * self.what.steps[k])
        return em.gep(self.cell, pointer, total)

    # Leaves and chunks

    @property
    def _type(self) -> str:
        return vec(self.element, self.lanes)

    def _leaves(self, source: str, to: str) -> None:
        """Write a row: leaves, and within them chunks, from none before."""
        em, length = self.em, self.what.length
        none = constant(self.element, self.what.neutral, self.lanes)
        whole = length // LEAF
        before = none
        if whole:
            with em.loop(0, whole, 1, [(self._type, none)]) as loop:
                first = multiply(em, loop.index, LEAF)
                (before,) = loop.carried
                total = self._leaf(source, to, first, LEAF, before, none)
                loop.yield_([self._combined(before, total)])
            before = loop.results[0]
        if length % LEAF:
            rest = length % LEAF
            self._leaf(source, to, whole * LEAF, rest, before, none)

    def _leaf(
        self, source: str, to: str, first: Index, length: int, before: str, none: str
    ) -> str:
        """Write a leaf; return what all of it comes to."""
        em, total = self.em, none
        whole = length // CHUNK * CHUNK
        if whole:
            with em.loop(0, whole, CHUNK, [(self._type, none)]) as loop:
                at = add(em, first, loop.index)
                total = self._chunk(source, to, at, CHUNK, before, loop.carried[0])
                loop.yield_([total])
            total = loop.results[0]
        if length > whole:
            at = add(em, first, whole)
            total = self._chunk(source, to, at, length - whole, before, total)
        return total

    def _chain(self, source: str, to: str) -> None:
        """Write a row chunk by chunk, each from what comes before it."""
        em, length = self.em, self.what.length
        product = constant(self.element, self.what.neutral, self.lanes)
        write = self._product_along if self.is_along else self._product_across
        whole = length // CHUNK * CHUNK
        if whole:
            with em.loop(0, whole, CHUNK, [(self._type, product)]) as loop:
                (product,) = loop.carried
                loop.yield_([write(source, to, loop.index, CHUNK, product)])
            product = loop.results[0]
        if length > whole:
            write(source, to, whole, length - whole, product)

    def _chunk(
        self, source: str, to: str, at: Index, count: int, before: str, inner: str
    ) -> str:
        """Write a chunk; `inner` is what comes before it in the leaf."""
        if self.is_along:
            return self._along(source, to, at, count, before, inner)
        return self._across(source, to, at, count, before, inner)

    def _combined(self, older: str, newer: str, lanes: int = 0) -> str:
        what, lanes = self.what, lanes or self.lanes
        dtype = what.out.dtype
        return combine(self.em, self.target, what.op, dtype, older, newer, lanes)

    # A chunk that is a vector

    def _along(
        self, source: str, to: str, at: Index, count: int, before: str, inner: str
    ) -> str:
        value = self._scanned(self._given(source, at, count))
        value = self._after(inner, value)
        total = self._last(value, count)
        self._store(self._place(to, at, 1, count), count, self._after(before, value))
        return total

    def _product_along(
        self, source: str, to: str, at: Index, count: int, before: str
    ) -> str:
        """Write a chunk of products; return the last one."""
        given = self._given(source, at, count)
        value = self._after(before, self._scanned(given))
        is_odd = self._leaves_range(given, value, before)
        carried = [(vec(self.element, CHUNK), value)]
        with self.em.if_(is_odd, carried, unlikely=True) as rare:
            rare.yield_([self._one_by_one(given, before)])
        (value,) = rare.results
        self._store(self._place(to, at, 1, count), count, value)
        return self._last(value, count)

    @property
    def _none(self) -> str:
        return constant(self.element, self.what.neutral, CHUNK)

    def _given(self, source: str, at: Index, count: int) -> str:
        """Load a chunk, in the order of the operation."""
        here, step = self._place(source, at, 0, count), self._step(0)
        return self._turned(self._load(here, count, self._none, step), step)

    def _after(self, before: str, value: str) -> str:
        """Return a chunk combined with what comes before all of it."""
        every = self.em.splat(self.element, before, CHUNK)
        return self._combined(every, value, CHUNK)

    def _last(self, value: str, count: int) -> str:
        type_ = vec(self.element, CHUNK)
        return self.em.op(f"extractelement {type_} {value}, i64 {count - 1}")

    def _scanned(self, value: str) -> str:
        """Return what each element and those before it in a chunk come to."""
        none, step = self._none, 1
        while step < CHUNK:
            order = [CHUNK + k if k < step else k - step for k in range(CHUNK)]
            value = self._combined(self._shuffled(value, none, order), value, CHUNK)
            step *= 2
        return value

    def _leaves_range(self, given: str, value: str, before: str) -> str:
        """Whether parts of a product may have left the range of normal numbers.

        What is zero, infinite or NaN before it stays what it is.
        """
        em, info = self.em, np.finfo(self.what.out.dtype)
        most = 2.0 ** (info.maxexp // CHUNK - 1)
        inside = self._between(given, 1 / most, most, CHUNK)
        normal = self._between(value, float(info.tiny), float(info.max), CHUNK)
        ended = self._between(before, float(info.tiny), float(info.max), 1)
        ended = em.splat("i1", em.op(f"xor i1 {ended}, true"), CHUNK)
        mask = vec("i1", CHUNK)
        normal = em.op(f"or {mask} {normal}, {ended}")
        fine = em.op(f"and {mask} {inside}, {normal}")
        ones = constant("i1", True, CHUNK)
        return em.any_lane(em.op(f"xor {mask} {fine}, {ones}"), CHUNK)

    def _between(self, value: str, low: float, high: float, lanes: int) -> str:
        """Return the mask of values whose size is in a range."""
        em, type_ = self.em, vec(self.element, lanes)
        size = em.intrinsic("llvm.fabs", type_, value)
        least, most = (constant(self.element, x, lanes) for x in (low, high))
        above = em.op(f"fcmp oge {type_} {size}, {least}")
        below = em.op(f"fcmp ole {type_} {size}, {most}")
        return em.op(f"and {vec('i1', lanes)} {above}, {below}")

    def _one_by_one(self, given: str, product: str) -> str:
        em, type_ = self.em, vec(self.element, CHUNK)
        value = "poison"
        for k in range(CHUNK):
            x = em.op(f"extractelement {type_} {given}, i64 {k}")
            product = self._combined(product, x, 1)
            value = em.op(
                f"insertelement {type_} {value}, {self.element} {product}, i64 {k}"
            )
        return value

    def _step(self, k: int) -> int:
        step = self.what.steps[k]
        return -step if self.what.is_reversed else step

    def _place(self, pointer: str, at: Index, k: int, count: int) -> str:
        """Return the lowest address of a chunk."""
        step = self._step(k)
        offset = multiply(self.em, at, step)
        if step < 0:
            # A chunk that is not whole lies in the last lanes of its vector.
            offset = add(self.em, offset, 1 - CHUNK)
        return self.em.gep(self.cell, pointer, offset)

    def _mask_of(self, count: int, step: int) -> str:
        if step > 0:
            return lanes_mask(CHUNK, count)
        bits = (f"i1 {'true' if k >= CHUNK - count else 'false'}" for k in range(CHUNK))
        return f"<{', '.join(bits)}>"

    def _load(self, at: str, count: int, none: str, step: int) -> str:
        type_ = vec(self.cell, CHUNK)
        if count == CHUNK:
            return self.em.load(type_, at, self.size)
        mask = self._mask_of(count, step)
        return self.em.masked_load(type_, at, mask, self.size, none)

    def _store(self, at: str, count: int, value: str) -> None:
        type_, step = vec(self.cell, CHUNK), self._step(1)
        value = self._turned(value, step)
        if count == CHUNK:
            self.em.store(type_, value, at, self.size)
        else:
            mask = self._mask_of(count, step)
            self.em.masked_store(type_, value, at, mask, self.size)

    def _turned(self, value: str, step: int) -> str:
        if step > 0:
            return value
        return self._shuffled(value, "poison", list(reversed(range(CHUNK))))

    def _shuffled(self, value: str, other: str, order: Sequence[int]) -> str:
        return self.em.shuffle(vec(self.element, CHUNK), value, other, order)

    # A chunk that is many vectors, one for each place along the axis

    def _product_across(
        self, source: str, to: str, at: Index, count: int, before: str
    ) -> str:
        """Write a chunk of products; return the last ones."""
        for k in range(count):
            given = self._read(self._moved(source, at, k, 0))
            before = self._combined(before, given)
            self._write(before, self._moved(to, at, k, 1))
        return before

    def _across(
        self, source: str, to: str, at: Index, count: int, before: str, inner: str
    ) -> str:
        values = [self._read(self._moved(source, at, k, 0)) for k in range(count)]
        step = 1
        while step < CHUNK:
            for k in reversed(range(step, count)):
                values[k] = self._combined(values[k - step], values[k])
            step *= 2
        for k, value in enumerate(values):
            values[k] = self._combined(inner, value)
            self._write(self._combined(before, values[k]), self._moved(to, at, k, 1))
        return values[-1]

    def _write(self, value: str, at: str) -> None:
        type_ = vec(self.cell, self.lanes)
        if self.mask is None:
            self.em.store(type_, value, at, self.size)
        else:
            self.em.masked_store(type_, value, at, self.mask, self.size)

    def _moved(self, pointer: str, at: Index, k: int, which: int) -> str:
        step = self._step(which)
        offset = multiply(self.em, add(self.em, at, k), step)
        return self.em.gep(self.cell, pointer, offset)

    def _read(self, at: str) -> str:
        type_ = vec(self.cell, self.lanes)
        if self.mask is None:
            return self.em.load(type_, at, self.size)
        none = constant(self.element, self.what.neutral, self.lanes)
        return self.em.masked_load(type_, at, self.mask, self.size, none)
