"""What a kernel costs: operations, and bytes that must move at least.

Counted from the kernel IR alone, so before anything runs. Operations are those that
primitives declare, once for every element that has the value; what a schedule repeats
is not counted again. Bytes are those of the distinct elements of each buffer that
loads and stores can reach, each once: what a cache of any size could not save.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..ir.aval import ShapedArray
from .kernel import Buffer, Compute, Contract, Kernel, Load, Reduce, Store, dtype_of
from .maps import axes_in


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of one kernel.

    Parameters
    ----------
    flops : float
    bytes_read, bytes_written : int
    """

    flops: float
    bytes_read: int
    bytes_written: int

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written


def cost_of(kernel: Kernel) -> Cost:
    """Return the cost of a kernel.

    Examples
    --------
    A contraction of ``f32[64,32]`` with ``f32[32,16]`` has 2 * 64 * 32 * 16 operations
    and reads 4 * (64 * 32 + 32 * 16) bytes.
    """
    reached: dict[str, int] = {}
    flops = 0.0
    for op in kernel.body:
        if isinstance(op, Load | Store):
            axes = set().union(*map(axes_in, op.map)) if op.map else set()
            if isinstance(op, Load):
                axes |= set(op.result.axes)
            reached[op.buffer] = reached.get(op.buffer, 0) + _size(kernel, axes)
        elif isinstance(op, Compute):
            one = ShapedArray((), op.result.dtype)
            each = op.primitive.flops(
                tuple(ShapedArray((), dtype_of(x)) for x in op.operands),
                (one,),
                op.params,
            )
            flops += each * _size(kernel, op.result.axes)
        elif isinstance(op, Contract):
            flops += 2.0 * _size(kernel, op.lhs.axes | op.rhs.axes)
        elif isinstance(op, Reduce):
            flops += float(_size(kernel, {*op.result.axes, *op.axes}))
    return Cost(flops, _bytes(kernel.inputs, reached), _bytes(kernel.outputs, reached))


def _size(kernel: Kernel, axes: set[str] | frozenset[str]) -> int:
    return prod(a.extent for a in kernel.axes if a.name in axes)


def _bytes(buffers: Sequence[Buffer], reached: dict[str, int]) -> int:
    """Return the bytes of distinct elements: broadcast axes have one."""
    total = 0
    for b in buffers:
        distinct = prod(n for n, s in zip(b.shape, b.strides, strict=True) if s)
        total += min(distinct, reached.get(b.name, 0)) * b.dtype.itemsize
    return total
