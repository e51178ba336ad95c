"""Kernels with as few loops as their accesses need, and flat views of their buffers.

Needs a kernel and its schedule; establishes an equal kernel over joined axes
(`kernels.joining`). Accesses without checked indices go through flat views of their
buffers, which `Flat` lists.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from ...kernels.joining import has_offset, with_joined_axes, with_offsets
from ...kernels.kernel import Buffer, Kernel, KernelOp, Load, Store
from ...kernels.schedule import Role, Schedule
from ...records import dataclass

# Buffers that begin one element after another one, each with that one: parts of a
# complex array.
Beside: TypeAlias = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Flat:
    """A kernel over joined axes.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
    views : mapping of str to (Buffer, str)
        Buffers that the body names besides the kernel's own, and whose memory each is.
    origin : mapping of KernelOp to KernelOp
        The operation that each operation was.
    """

    kernel: Kernel
    schedule: Schedule
    views: dict[str, tuple[Buffer, str]]
    origin: dict[KernelOp, KernelOp]


def flattened(
    kernel: Kernel,
    schedule: Schedule,
    apart: str | None = None,
    beside: Beside = frozenset(),
) -> Flat:
    """Return an equal kernel with as many loops joined as can be, but for `apart`.

    What is `beside` another buffer is reached through that one.
    """
    roles = schedule.roles
    views: dict[str, tuple[Buffer, str]] = {}
    names = {b.name for b in (*kernel.inputs, *kernel.outputs)}
    bases = {name: base for name, base in beside if base in names}
    body = [_through_view(op, kernel, views, bases) for op in with_offsets(kernel).body]

    def may_join(outer: str, inner: str) -> bool:
        return apart not in (outer, inner) and roles[outer] is not Role.VECTOR

    flat = replace(kernel, body=tuple(body))
    joined, loops = with_joined_axes(flat, schedule.loops, may_join)
    order = Schedule(loops, {a: roles[a] for a in loops}, schedule.placements)
    origin = dict(zip(joined.body, kernel.body, strict=True))
    return Flat(joined, order, views, origin)


def _through_view(
    op: KernelOp,
    kernel: Kernel,
    views: dict[str, tuple[Buffer, str]],
    bases: Mapping[str, str],
) -> KernelOp:
    """Return an access by offset as one of a flat view."""
    if not isinstance(op, Load | Store) or not has_offset(op):
        return op
    if op.buffer in bases:
        op = replace(op, buffer=bases[op.buffer], map=(op.map[0] + 1,))
    buffer = kernel.buffer(op.buffer)
    name = f"{buffer.name}.flat"
    views[name] = Buffer(name, buffer.dtype, (1,), (1,)), buffer.name
    return replace(op, buffer=name)
