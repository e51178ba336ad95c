"""Where the updates of a scatter go: indices as text, and kernels over all updates."""

from collections.abc import Sequence

import numpy as np

from ....kernels.kernel import Buffer
from ...error_word import index_word
from ..code import TritonCode
from .text import BLOCK, ceil_div, code_of, index_type, offset, size_of


class Places:
    """Where each update goes, as text.

    Parameters
    ----------
    updates : Buffer
    indices : sequence of Buffer
    out : Buffer
    axes, batch
        Of the equation.
    wraps : bool
        Whether negative indices count from the end.

    Attributes
    ----------
    count : int
        How many places are named: update number `u` goes to place ``u // rest``.
    rest : int
        Updates for each place.
    """

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
        self.axes, self.batch, self.wraps = axes, batch, wraps
        rank = len(indices[0].shape)
        self.count = int(np.prod(indices[0].shape, dtype=np.int64))
        self.rest = size_of(updates) // self.count
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
            *self.read_indices(checked),
            f"x = tl.load({self.updates.name}_ptr + {where}, mask=mask)",
        ]
        spots = {"out": f"{self.out.name}_ptr + {self.place(self.out.strides)}"}
        for buffer in more:
            spots[buffer.name] = f"{buffer.name}_ptr + {self.place(buffer.strides)}"
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

    def read_indices(self, checked: bool) -> list[str]:
        """Return the statements that read the indices and keep them in range.

        They see the number ``u`` of an update, and ``mask``; with `checked`, those out
        of range are reported, and are masked from then on.
        """
        lines = []
        for k, (buffer, axis) in enumerate(zip(self.indices, self.axes, strict=True)):
            extent = self.out.shape[axis]
            at = offset(f"(u // {self.rest})", buffer.shape, buffer.strides)
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

    def place(self, strides: Sequence[int]) -> str:
        """Return the offset of an update's place in an array shaped as the result."""
        terms = [f"i{k} * {strides[axis]}" for k, axis in enumerate(self.axes)]
        inner = size_of(self.updates)
        for n, axis in zip(self.updates.shape, self.runs, strict=True):
            inner //= n
            if axis is not None and n > 1:
                terms.append(f"((u // {inner}) % {n}) * {strides[axis]}")
        return " + ".join(terms)
