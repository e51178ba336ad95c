"""Sorting along one axis, of rows of any length.

Keys are int64 that order as NumPy orders the elements (NaN last, both zeros equal). A
program sorts a tile: the key stands above the element's place in an integer, so that
equal elements stay in their order; keys of more than 33 bits take two such sorts, by
their lower half and then by their upper one. Rows longer than a tile are merged, runs
by pairs, a launch for each doubling: every element finds its place in the merged run by
a binary search in the other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir import dtypes as dt
from ....ir.primitive import Params
from ....kernels.kernel import Buffer, dense_strides
from ..code import TritonCode, TritonKernel, power_of_two
from ..values import is_real_float, loaded
from .text import BLOCK, ceil_div, code_of, in_row, index_type, size_of

_LONGEST = 4096  # elements of a row that one program sorts: 12 bits of a place
_LONGEST_WIDE = 1024  # the same for keys that take two sorts, which compile slowly
_TILE = 1024  # elements of the first runs of longer rows
_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)


def write_sort(
    name: str, inputs: Sequence[Buffer], outputs: Sequence[Buffer], params: Params
) -> TritonKernel | None:
    """Return the kernels of ``sort`` or ``argsort``; see `extern_kernel`."""
    (x,), (out,) = inputs, outputs
    axis = params["axis"]
    assert isinstance(axis, int)
    if x.dtype.kind == "c":
        return None
    length = x.shape[axis]
    explained = f"{name} of {x.name} along axis {axis}"
    if length > (_LONGEST if x.dtype.itemsize <= 4 else _LONGEST_WIDE):
        rows = sort_rows(x, axis)
        last = _result_code(name, explained, rows, x, axis, out)
        return TritonKernel(name, (*rows.codes, last), rows.workspace)
    width = power_of_two(length)
    lines = [
        f"    row = tl.program_id(0).to({index_type(x, out)})",
        "    first = 0",
        *_sorted_tile(x, axis, width),
    ]
    if name == "argsort":
        lines.append(f"    tl.store({in_row(out, axis, 'k')}, order, mask=mask)")
    else:
        lines += [
            f"    y = tl.load({in_row(x, axis, 'order')}, mask=mask)",
            f"    tl.store({in_row(out, axis, 'k')}, y, mask=mask)",
        ]
    grid = size_of(x) // length
    return TritonKernel(name, (code_of(name, explained, lines, [x, out], grid, width),))


@dataclass(frozen=True)
class SortedRows:
    """Rows that are sorted in memory.

    Parameters
    ----------
    codes : tuple of TritonCode
        What sorts them.
    keys, places : Buffer
        The keys in order, int64, and where in its row each was, int32: row by row.
    workspace : tuple of Buffer
        Memory that `codes` need, with that of `keys` and `places`.
    """

    codes: tuple[TritonCode, ...]
    keys: Buffer
    places: Buffer
    workspace: tuple[Buffer, ...]


def sort_rows(x: Buffer, axis: int) -> SortedRows:
    """Return what sorts the rows of an array along one axis, in a workspace."""
    length = x.shape[axis]
    shape = (size_of(x) // length, length)
    pairs = [
        (
            Buffer(f"keys{k}", _INT64, shape, dense_strides(shape)),
            Buffer(f"places{k}", _INT32, shape, dense_strides(shape)),
        )
        for k in (0, 1)
    ]
    codes = [_tiles_code(x, axis, *pairs[0])]
    run = _TILE
    while run < length:
        codes.append(_merge_code(run, *pairs))
        pairs.reverse()
        run *= 2
    used = [buffer for pair in pairs[: min(len(codes), 2)] for buffer in pair]
    return SortedRows(tuple(codes), *pairs[0], tuple(used))


def _tiles_code(x: Buffer, axis: int, keys: Buffer, places: Buffer) -> TritonCode:
    """Return the kernel that sorts tiles, each by itself."""
    rows, length = keys.shape
    width = min(power_of_two(length), _TILE)
    tiles = ceil_div(length, width)
    lines = [
        f"    row = (tl.program_id(0) // {tiles}).to({index_type(x, keys)})",
        f"    first = (tl.program_id(0) % {tiles}) * {width}",
        *_sorted_tile(x, axis, width),
        f"    x = tl.load({in_row(x, axis, '(first + order)')}, mask=mask)",
        f"    at = row * {length} + first + k",
        f"    tl.store({keys.name}_ptr + at, {_key(x)}, mask=mask)",
        "    place = (first + order).to(tl.int32)",
        f"    tl.store({places.name}_ptr + at, place, mask=mask)",
    ]
    explained = f"runs of {width} of {x.name} along axis {axis}"
    buffers, grid = [x, keys, places], rows * tiles
    return code_of("sort_tiles", explained, lines, buffers, grid, width)


def _merge_code(
    run: int, source: tuple[Buffer, Buffer], to: tuple[Buffer, Buffer]
) -> TritonCode:
    """Return the kernel that merges pairs of sorted runs."""
    (keys, places), (new_keys, new_places) = source, to
    rows, length = keys.shape
    lines = [
        f"    e = tl.program_id(0).to({index_type(keys)}) * {BLOCK} "
        f"+ tl.arange(0, {BLOCK})",
        f"    mask = e < {rows * length}",
        f"    start, p = e - e % {length}, e % {length}",
        f"    run = p // {run}",
        f"    other = (run ^ 1) * {run}",
        f"    key = tl.load({keys.name}_ptr + e, mask=mask, other=0)",
        f"    place = tl.load({places.name}_ptr + e, mask=mask, other=0)",
        "    low = e * 0",
        f"    high = tl.minimum(tl.maximum({length} - other, 0), {run})",
        f"    for step in range({run.bit_length()}):",
        "        middle = (low + high) // 2",
        "        active = mask & (low < high)",
        f"        there = tl.load({keys.name}_ptr + start + other + middle, "
        "mask=active, other=0)",
        "        before = (there < key) | ((there == key) & (run % 2 == 1))",
        "        low = tl.where(active & before, middle + 1, low)",
        "        high = tl.where(active & (before == 0), middle, high)",
        f"    to = start + (run - run % 2) * {run} + p % {run} + low",
        f"    tl.store({new_keys.name}_ptr + to, key, mask=mask)",
        f"    tl.store({new_places.name}_ptr + to, place, mask=mask)",
    ]
    explained = f"runs of {2 * run} from runs of {run}"
    buffers = [keys, places, new_keys, new_places]
    grid = ceil_div(rows * length, BLOCK)
    return code_of(f"sort_merge_{run}", explained, lines, buffers, grid, BLOCK)


def _result_code(
    name: str, explained: str, rows: SortedRows, x: Buffer, axis: int, out: Buffer
) -> TritonCode:
    """Return the kernel that stores places, or what was there."""
    count, length = rows.places.shape
    lines = [
        f"    e = tl.program_id(0).to({index_type(x, out)}) * {BLOCK} "
        f"+ tl.arange(0, {BLOCK})",
        f"    mask = e < {count * length}",
        f"    row, k = e // {length}, e % {length}",
        f"    y = tl.load({rows.places.name}_ptr + e, mask=mask, other=0)",
    ]
    buffers = [rows.places, out]
    if name == "sort":
        lines.append(f"    y = tl.load({in_row(x, axis, 'y')}, mask=mask)")
        buffers.insert(1, x)
    lines.append(f"    tl.store({in_row(out, axis, 'k')}, y, mask=mask)")
    grid = ceil_div(count * length, BLOCK)
    return code_of(name, explained, lines, buffers, grid, BLOCK)


def _sorted_tile(x: Buffer, axis: int, width: int) -> list[str]:
    """Return the statements that find the ``order`` of a tile, from ``first`` on."""
    length, key = x.shape[axis], _key(x)
    lines = [
        f"    k = tl.arange(0, {width})",
        f"    mask = first + k < {length}",
        f"    x = tl.load({in_row(x, axis, '(first + k)')}, mask=mask, other=0)",
        f"    key = {key}",
    ]
    if x.dtype.itemsize <= 4:
        return [
            *lines,
            "    key = tl.where(mask, key, 0x1FFFFFFFF)",
            "    order = tl.sort((key << 16) | k.to(tl.int64)) & 0xFFFF",
        ]
    return [
        *lines,
        "    low = tl.where(mask, key & 0xFFFFFFFF, 0x1FFFFFFFF)",
        "    by_low = tl.sort((low << 16) | k.to(tl.int64)) & 0xFFFF",
        f"    known = first + by_low < {length}",
        f"    x = tl.load({in_row(x, axis, '(first + by_low)')}, mask=known, other=0)",
        f"    high = ({key} >> 32) + 0x80000000",
        "    high = tl.where(known, high, 0x1FFFFFFFF)",
        "    order = tl.sort((high << 24) | (k.to(tl.int64) << 12) | by_low) & 0xFFF",
    ]


def _key(x: Buffer) -> str:
    """Return an int64 that orders as the elements do.

    Those of at most 32 bits have one from 0 to 2³³ - 2.
    """
    if is_real_float(x.dtype):
        wide = x.dtype.itemsize == 8
        single = loaded("x", x.dtype) if x.dtype in dt.FLOAT8S else "x.to(tl.float32)"
        return "wide_float_key(x)" if wide else f"float_key({single})"
    if x.dtype == np.uint64:
        return "(x.to(tl.int64, bitcast=True) ^ tl.full((), -(2**63), tl.int64))"
    if x.dtype.kind == "i" and x.dtype.itemsize <= 4:
        return "x.to(tl.int64) + 0x80000000"
    return "x.to(tl.int64)"
