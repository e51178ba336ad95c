"""Cumulative sums, products and extrema along one axis, in either direction.

A row is scanned block by block by one program, which carries what it has so far from
each block to the next. Few long rows are cut: the totals of their pieces come first,
then what lies before each piece, then the pieces are scanned from there.
"""

from collections.abc import Sequence

from ....ir import dtypes as dt
from ....ir.primitive import Params
from ....kernels.kernel import Buffer, dense_strides
from ..code import TritonCode, TritonKernel, power_of_two
from ..reductions import Reduction
from ..values import loaded, rounded, stored
from .text import ceil_div, code_of, in_row, index_type, size_of

_BLOCK = 1024
_BUSY = 132  # programs that keep a device busy
_LONG = 16  # blocks of a row from which on it is cut


_OPS = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}


class _Scan(Reduction):
    """How one operation scans and reduces, as text."""

    def scan(self, x: str) -> str:
        """Return the running results of a block."""
        if self.op == "add":
            return f"tl.cumsum({x}, 0)"
        return f"tl.associative_scan({x}, 0, {self.combine})"

    def reduce(self, x: str) -> str:
        """Return the result of a block."""
        if self.op == "add":
            return f"tl.sum({x}, 0)"
        return f"tl.reduce({x}, 0, {self.combine})"


def write_cumulative(
    name: str, inputs: Sequence[Buffer], outputs: Sequence[Buffer], params: Params
) -> TritonKernel | None:
    """Return the kernels of a cumulative operation; see `extern_kernel`."""
    (x,), (out,) = inputs, outputs
    axis = params["axis"]
    assert isinstance(axis, int)
    if x.dtype.kind == "b":
        return None
    rows = _Rows(name, x, out, axis, bool(params["reverse"]))
    blocks = ceil_div(rows.length, _BLOCK)
    if rows.count >= _BUSY or blocks < _LONG:
        return TritonKernel(name, (rows.whole(),))
    pieces = min(blocks, ceil_div(2 * _BUSY, rows.count))
    per_piece = ceil_div(blocks, pieces)
    pieces = ceil_div(blocks, per_piece)
    shape = (rows.count, pieces)
    totals = Buffer("totals", rows.scan.state_dtype, shape, dense_strides(shape))
    codes = rows.totals(totals, per_piece), rows.pieces(totals, per_piece)
    return TritonKernel(name, codes, (totals,))


class _Rows:
    """The rows of an array along one axis, and the kernels over them."""

    def __init__(
        self, name: str, x: Buffer, out: Buffer, axis: int, reverse: bool
    ) -> None:
        self.name, self.x, self.out, self.axis = name, x, out, axis
        self.scan = _Scan(_OPS[name], x.dtype, x.dtype)
        self.length, self.reverse = x.shape[axis], reverse
        self.count = size_of(x) // self.length
        self.block = min(_BLOCK, power_of_two(self.length))
        self.index = index_type(x, out)

    def at(self, buffer: Buffer) -> str:
        """Return the addresses of the block's elements."""
        place = f"({self.length - 1} - k)" if self.reverse else "k"
        return in_row(buffer, self.axis, place)

    def head(self, row: str, first: str, stop: str) -> list[str]:
        """Return the statements up to the loop over blocks."""
        load = f"tl.load({self.at(self.x)}, mask=mask, other={self.scan.neutral})"
        x = f"{load}.to({self.scan.state_type})"
        if self.x.dtype in dt.FLOAT8S:
            x = loaded(f"tl.load({self.at(self.x)}, mask=mask, other=0)", self.x.dtype)
            x = f"tl.where(mask, {x}, {self.scan.neutral})"
        return [
            f"    row = ({row}).to({self.index})",
            f"    carry = tl.full((), {self.scan.neutral}, {self.scan.state_type})",
            f"    for start in range({first}, {stop}, {self.block}):",
            f"        k = start + tl.arange(0, {self.block})",
            f"        mask = k < {self.length}",
            f"        x = {x}",
        ]

    def body(self) -> list[str]:
        """Return the statements that scan a block and store it."""
        scan = self.scan
        kept = stored(rounded("y", self.out.dtype), self.out.dtype)
        return [
            f"        y = {scan.stepped('carry', scan.scan('x'))}",
            f"        tl.store({self.at(self.out)}, {kept}, mask=mask)",
            f"        carry = {scan.stepped('carry', scan.reduce('x'))}",
        ]

    def whole(self) -> TritonCode:
        """Return the kernel whose programs scan a row each."""
        head = self.head("tl.program_id(0)", "0", str(self.length))
        return self._code(self.name, head + self.body(), [self.x, self.out], self.count)

    def totals(self, totals: Buffer, per_piece: int) -> TritonCode:
        """Return the kernel that reduces each piece."""
        body = [
            f"        carry = {self.scan.stepped('carry', self.scan.reduce('x'))}",
            "    tl.store(totals_ptr + tl.program_id(0), carry)",
        ]
        lines = self._piece(totals.shape[1], per_piece)
        lines += self.head("row", "first", f"first + {per_piece * self.block}")[1:]
        grid = size_of(totals)
        return self._code(f"{self.name}_totals", lines + body, [self.x, totals], grid)

    def pieces(self, totals: Buffer, per_piece: int) -> TritonCode:
        """Return the kernel that scans each piece from what lies before it."""
        count = totals.shape[1]
        width = power_of_two(count)
        scan = self.scan
        lines = self._piece(count, per_piece)
        before = [
            f"    others = tl.arange(0, {width})",
            f"    before = tl.load(totals_ptr + row * {count} + others, "
            f"mask=others < piece, other={scan.neutral})",
        ]
        head = self.head("row", "first", f"first + {per_piece * self.block}")[1:]
        head[0] = f"    carry = {scan.reduce('before')}"
        buffers = [self.x, totals, self.out]
        grid = size_of(totals)
        return self._code(self.name, lines + before + head + self.body(), buffers, grid)

    def _piece(self, count: int, per_piece: int) -> list[str]:
        return [
            f"    row = (tl.program_id(0) // {count}).to({self.index})",
            f"    piece = tl.program_id(0) % {count}",
            f"    first = piece * {per_piece * self.block}",
        ]

    def _code(
        self, name: str, lines: list[str], buffers: list[Buffer], grid: int
    ) -> TritonCode:
        way = " from the end" if self.reverse else ""
        explained = f"{self.name} of {self.x.name} along axis {self.axis}{way}"
        return code_of(name, explained, lines, buffers, grid, self.block)
