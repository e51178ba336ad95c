"""Scatter in order: updates are sorted by their places, and then join them one by one.

Each place's first update finds the others after it, and adds (multiplies, ...) them in
the order that NumPy does: results are NumPy's to the bit, whatever the device does
first. Places with many updates are the work of few threads, so that this is slower than
atomic operations; it needs none.
"""

from dataclasses import dataclass

import numpy as np

from ....ir import dtypes as dt
from ....kernels.kernel import Buffer
from ..code import TritonCode
from ..values import is_real_float, loaded, rounded, stored
from .places import Places
from .sort import SortedRows, sort_rows
from .text import BLOCK, ceil_div, code_of, index_type, offset

_NOWHERE = 2**31 - 1  # the place of updates whose index is out of range


@dataclass(frozen=True)
class OrderedScatter:
    """What joins updates to a result that is a copy of the operand.

    Parameters
    ----------
    codes : tuple of TritonCode
    workspace : tuple of Buffer
    """

    codes: tuple[TritonCode, ...]
    workspace: tuple[Buffer, ...]


def ordered_scatter(op: str, places: Places, checked: bool) -> OrderedScatter:
    """Return the kernels of ``add``, ``mul``, ``max`` or ``min``."""
    cells = Buffer("cells", np.dtype(np.int32), (places.count,), (1,))
    rows = sort_rows(cells, 0)
    codes = (
        _cells_code(places, cells, checked),
        *rows.codes,
        _join_code(op, places, rows),
    )
    return OrderedScatter(codes, (cells, *rows.workspace))


def _cells_code(places: Places, cells: Buffer, checked: bool) -> TritonCode:
    """Return the kernel that numbers the places of updates."""
    shape = places.out.shape
    terms, size = [], 1
    for k, axis in enumerate(places.axes):
        terms.append(f"i{k} * {size}")
        size *= shape[axis]
    inner = places.count
    for axis in range(places.batch):
        inner //= shape[axis]
        terms.append(f"((m // {inner}) % {shape[axis]}) * {size}")
        size *= shape[axis]
    lines = [
        f"    m = tl.program_id(0).to(tl.int64) * {BLOCK} + tl.arange(0, {BLOCK})",
        f"    u = m * {places.rest}",
        f"    mask = m < {places.count}",
        "    known = mask",
        *(f"    {line}" for line in places.read_indices(checked)),
        f"    cell = tl.where(mask, {' + '.join(terms) or 'm * 0'}, {_NOWHERE})",
        f"    tl.store({cells.name}_ptr + m, cell.to(tl.int32), mask=known)",
    ]
    grid = ceil_div(places.count, BLOCK)
    buffers = [*places.indices, cells]
    explained = "where each update goes"
    return code_of(
        "scatter_cells", explained, lines, buffers, grid, BLOCK, can_fail=checked
    )


def _join_code(op: str, places: Places, rows: SortedRows) -> TritonCode:
    """Return the kernel that joins the updates of each place, in their order."""
    updates, out, rest = places.updates, places.out, places.rest
    keys, order = f"{rows.keys.name}_ptr", f"{rows.places.name}_ptr"
    nowhere = _NOWHERE + 2**31  # as the key of an int32
    at = offset("u", updates.shape, updates.strides)
    lines = [
        f"    e = tl.program_id(0).to({index_type(updates, out)}) * {BLOCK} "
        f"+ tl.arange(0, {BLOCK})",
        f"    p, r = e // {rest}, e % {rest}",
        f"    known = p < {places.count}",
        f"    cell = tl.load({keys} + p, mask=known, other={nowhere})",
        f"    before = tl.load({keys} + p - 1, mask=known & (p > 0), other=-1)",
        f"    mask = known & (cell != before) & (cell != {nowhere})",
        f"    m = tl.load({order} + p, mask=mask, other=0)",
        f"    u = m.to(p.dtype) * {rest} + r",
        *(f"    {line}" for line in places.read_indices(False)),
        f"    to = {out.name}_ptr + {places.place(out.strides)}",
        "    total = tl.load(to, mask=mask, other=0)",
        "    active = mask",
        "    while tl.max(active.to(tl.int32), 0) > 0:",
        f"        m = tl.load({order} + p, mask=active, other=0)",
        f"        u = m.to(p.dtype) * {rest} + r",
        f"        x = tl.load({updates.name}_ptr + {at}, mask=active, other=0)",
        f"        total = tl.where(active, {_joined(op, out.dtype)}, total)",
        "        p += 1",
        f"        active = active & (p < {places.count})",
        f"        there = tl.load({keys} + p, mask=active, other={nowhere})",
        "        active = active & (there == cell)",
        "    tl.store(to, total, mask=mask)",
    ]
    buffers = [updates, *places.indices, rows.keys, rows.places, out]
    grid = ceil_div(places.count * rest, BLOCK)
    explained = f"{op} of updates in order"
    return code_of(f"scatter_{op}", explained, lines, buffers, grid, BLOCK)


def _joined(op: str, dtype: np.dtype) -> str:
    """Return ``total`` and ``x`` joined, of the type of ``total``."""
    real = is_real_float(dtype)
    form = {
        "add": "{0} + {1}",
        "mul": "{0} * {1}",
        "max": "nan_maximum({0}, {1})" if real else "larger({0}, {1})",
        "min": "nan_minimum({0}, {1})" if real else "smaller({0}, {1})",
    }[op]
    if dtype in dt.NARROW_FLOATS:
        joined = form.format(loaded("total", dtype), loaded("x", dtype))
        return stored(rounded(joined, dtype), dtype)
    return f"({form.format('total', 'x')}).to(total.dtype)"
