"""Scatter: updates added to, or stored at, places that are known at run time.

The result begins as a copy of the operand. Sums are made by atomic additions, in any
order: sums of floats may differ in their last bits from one run to the next. Where
several updates are stored at one place the last one stays, as in NumPy: a first pass
notes for each place the largest number of an update there, and a second one stores the
updates that are noted. Updates with one index have no rivals and need one pass.
"""

from collections.abc import Sequence

import numpy as np

from ....ir import dtypes as dt
from ....ir.ops.shape import ints
from ....ir.primitive import Params
from ....kernels.kernel import Buffer, dense_strides
from ...error_word import index_word
from ..code import TritonCode, TritonKernel
from .text import (
    BLOCK,
    WIDE,
    ceil_div,
    code_of,
    copy_code,
    fill_code,
    index_type,
    offset,
    size_of,
)

_ADDED = frozenset(dt.NAME_TO_DTYPE[n] for n in ("f32", "f64", "i32", "i64", "u32"))
_EXTREMA = frozenset(dt.NAME_TO_DTYPE[n] for n in ("i32", "i64", "u32"))


def write_scatter(
    name: str, inputs: Sequence[Buffer], outputs: Sequence[Buffer], params: Params
) -> TritonKernel | None:
    """Return the kernels of a scatter; see `extern_kernel`."""
    x, updates, *indices = inputs
    (out,) = outputs
    op = params["op"]
    known = {"add": _ADDED, "max": _EXTREMA, "min": _EXTREMA}
    if op != "set" and out.dtype not in known.get(str(op), ()):
        return None
    if max(size_of(out), size_of(updates)) >= WIDE:
        return None
    batch = params["batch"]
    assert isinstance(batch, int)
    checked = params["mode"] == "raise"
    places = _Places(updates, indices, out, ints(params, "axes"), batch, checked)
    codes = [copy_code("scatter_copy", x, out)]
    if op != "set":
        codes.append(places.code(f"scatter_{op}", [_ATOMIC.format(op=op)], [], checked))
        return TritonKernel(name, tuple(codes))
    if int(np.prod(indices[0].shape[batch:], dtype=np.int64)) == 1:
        codes.append(places.code("scatter_set", [_STORE], [], checked))
        return TritonKernel(name, tuple(codes))
    last = Buffer("last", np.dtype(np.int32), out.shape, dense_strides(out.shape))
    codes += [
        fill_code("scatter_none", last, "-1"),
        places.code("scatter_last", [_NOTE], [last], checked),
        places.code("scatter_set", [_NOTED, _STORE], [last], checked),
    ]
    return TritonKernel(name, tuple(codes), (last,))


_ATOMIC = "tl.atomic_{op}({{out}}, x, mask=mask)"
_STORE = "tl.store({out}, x, mask=mask)"
_NOTE = "tl.atomic_max({last}, u.to(tl.int32), mask=mask)"
_NOTED = "mask = mask & (tl.load({last}, mask=mask, other=-1) == u)"


class _Places:
    """Where each update goes, as text."""

    def __init__(
        self,
        updates: Buffer,
        indices: Sequence[Buffer],
        out: Buffer,
        axes: Sequence[int],
        batch: int,
        wraps: bool,
    ) -> None:
        self.updates, self.indices, self.out = updates, indices, out
        self.axes, self.wraps = axes, wraps
        rank = len(indices[0].shape)
        self.of_index = list(indices[0].shape)
        kept = [d for d in range(len(out.shape)) if d >= batch and d not in axes]
        # Which axis of the result each axis of the updates runs over, if any.
        self.runs: list[int | None] = [d if d < batch else None for d in range(rank)]
        self.runs += kept

    def code(
        self, name: str, ends: Sequence[str], more: Sequence[Buffer], checked: bool
    ) -> TritonCode:
        """Return the kernel that does `ends` for each update.

        They see the update ``x``, its number ``u``, whether it is one (``mask``), and
        the places ``{out}`` and ``{last}``.
        """
        n, wide = size_of(self.updates), index_type(self.updates, self.out)
        where = offset("u", self.updates.shape, self.updates.strides)
        lines = [
            f"u = tl.program_id(0) * {BLOCK} + tl.arange(0, {BLOCK}).to({wide})",
            f"mask = u < {n}",
            *self._indices(checked),
            f"x = tl.load({self.updates.name}_ptr + {where}, mask=mask)",
        ]
        spots = {"out": f"{self.out.name}_ptr + {self._place(self.out.strides)}"}
        for buffer in more:
            spots[buffer.name] = f"{buffer.name}_ptr + {self._place(buffer.strides)}"
        lines += [end.format(**spots) for end in ends]
        used = [self.updates, *self.indices, self.out, *more]
        if not any("{out}" in end for end in ends):
            used.remove(self.out)
        explained = f"{self.out.name}[{', '.join(b.name for b in self.indices)}] by x"
        return code_of(
            name,
            explained,
            [f"    {line}" for line in lines],
            used,
            ceil_div(n, BLOCK),
            BLOCK,
            can_fail=checked,
        )

    def _indices(self, checked: bool) -> list[str]:
        """Return the statements that read the indices and keep them in range."""
        lines = []
        rest = size_of(self.updates) // int(np.prod(self.of_index, dtype=np.int64))
        for k, (buffer, axis) in enumerate(zip(self.indices, self.axes, strict=True)):
            extent = self.out.shape[axis]
            at = offset(f"(u // {rest})", buffer.shape, buffer.strides)
            lines.append(
                f"i{k} = tl.load({buffer.name}_ptr + {at}, mask=mask, other=0)"
            )
            lines.append(f"i{k} = i{k}.to(tl.int64)")
            if self.wraps:
                lines += self._check(k, axis, extent) if checked else []
                lines.append(f"i{k} = tl.where(i{k} < 0, i{k} + {extent}, i{k})")
            lines.append(f"i{k} = tl.minimum(tl.maximum(i{k}, 0), {extent - 1})")
        return lines

    def _check(self, k: int, axis: int, extent: int) -> list[str]:
        return [
            f"bad{k} = mask & ((i{k} < {-extent}) | (i{k} >= {extent}))",
            f"tl.store(err_ptr + tl.where(bad{k}, 0, 0), "
            f"tl.full((), {index_word(0, axis)}, tl.int64), mask=bad{k})",
            f"tl.store(err_ptr + tl.where(bad{k}, 0, 0) + 1, i{k}, mask=bad{k})",
            f"mask = mask & (bad{k} == 0)",
        ]

    def _place(self, strides: Sequence[int]) -> str:
        """Return the offset of an update's place in an array shaped as the result."""
        terms = [f"i{k} * {strides[axis]}" for k, axis in enumerate(self.axes)]
        inner = size_of(self.updates)
        for n, axis in zip(self.updates.shape, self.runs, strict=True):
            inner //= n
            if axis is not None and n > 1:
                terms.append(f"((u // {inner}) % {n}) * {strides[axis]}")
        return " + ".join(terms)
