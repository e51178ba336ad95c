"""What running operations costs, roughly: to decide who runs them, never what they do.

Needs kernel IR. Establishes estimates in nanoseconds on one core of a present machine
with wide vectors. They are right within a factor of about three, which is enough to
tell work that is worth sharing between threads from work that is not. And `Cost`, which
is exact: operations as primitives declare them, once for every element that has the
value, and the bytes of the distinct elements of each buffer that loads and stores can
reach, each once: what a cache of any size could not save.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import numpy as np

from ..ir.aval import ShapedArray
from ..records import dataclass
from .kernel import (
    Buffer,
    Compute,
    Contract,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Repeat,
    Store,
    dtype_of,
    result_of,
)
from .maps import axes_in

# Per element of 4 bytes, in vectors; measured with arrays in the second-level cache.
# Primitives say how many operations they are, functions some twenty.
OPERATION_NS = 0.03
BYTE_NS = 0.02
PRODUCT_NS = 0.02  # one multiplication and addition of a matrix product
SCALAR_FACTOR = 8.0  # how much slower without vectors


def work_ns(ops: Iterable[KernelOp], kernel: Kernel, has_vectors: bool = True) -> int:
    """Return the estimated time of running operations over all their elements.

    Parameters
    ----------
    ops : iterable of KernelOp
        Of `kernel`.
    kernel : Kernel
        Whose axes say how often each operation runs.
    has_vectors : bool
        Whether they run in vectors.

    Examples
    --------
    >>> work_ns(kernel.body, kernel)  # doctest: +SKIP
    52000
    """
    extents = {axis.name: axis.extent for axis in kernel.axes}
    compute = moved = 0.0
    for op in ops:
        count = prod(extents[a] for a in _axes(op))
        compute += count * _operation_ns(op)
        if isinstance(op, Load | Store):
            moved += count * _width(op) * BYTE_NS
    factor = 1.0 if has_vectors else SCALAR_FACTOR
    return int(max(compute * factor, moved))


def _axes(op: KernelOp) -> set[str]:
    """Return the axes along which an operation runs, reduced ones too."""
    found: set[str] = set()
    result = result_of(op)
    if result is not None:
        found |= result.axes
    if isinstance(op, Reduce | Contract):
        found |= set(op.axes)
    if isinstance(op, Store):
        for index in op.map:
            found |= axes_in(index)
    return found


def _operation_ns(op: KernelOp) -> float:
    if isinstance(op, Contract):
        return PRODUCT_NS
    if isinstance(op, Repeat):
        return op.count * sum(map(_operation_ns, op.body))
    if not isinstance(op, Compute):
        return OPERATION_NS
    one = ShapedArray((), op.result.dtype)
    return OPERATION_NS * op.primitive.flops((one,), (one,), op.params)


def _width(op: Load | Store) -> int:
    dtype = op.result.dtype if isinstance(op, Load) else dtype_of(op.value)
    return dtype.itemsize


# --- what a kernel cannot do without -----------------------------------------------


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
    for op, _ in _with_times(kernel.body):
        if isinstance(op, Load | Store):
            axes = set[str]().union(*map(axes_in, op.map))
            if isinstance(op, Load):
                axes |= op.result.axes
            reached[op.buffer] = reached.get(op.buffer, 0) + _size(kernel, axes)
    flops = sum(flops_by_dtype(kernel).values())
    return Cost(flops, _bytes(kernel.inputs, reached), _bytes(kernel.outputs, reached))


def flops_by_dtype(kernel: Kernel) -> dict[np.dtype, float]:
    """Return the operations of a kernel by the dtypes of their results.

    Examples
    --------
    >>> flops_by_dtype(kernel)  # doctest: +SKIP
    {dtype('float32'): 65536.0}
    """
    found: dict[np.dtype, float] = {}
    for op, times in _with_times(kernel.body):
        flops = _flops(op, kernel)
        result = result_of(op)
        if flops and result is not None:
            found[result.dtype] = found.get(result.dtype, 0.0) + times * flops
    return found


def _flops(op: KernelOp, kernel: Kernel) -> float:
    """Return the operations of one turn of an operation, for all its elements."""
    if isinstance(op, Compute):
        one = ShapedArray((), op.result.dtype)
        operands = tuple(ShapedArray((), dtype_of(x)) for x in op.operands)
        each = op.primitive.flops(operands, (one,), op.params)
        return each * _size(kernel, op.result.axes)
    if isinstance(op, Contract):
        return 2.0 * _size(kernel, op.lhs.axes | op.rhs.axes)
    if isinstance(op, Reduce):
        return float(_size(kernel, {*op.result.axes, *op.axes}))
    return 0.0


def _with_times(
    ops: Iterable[KernelOp], times: int = 1
) -> Iterator[tuple[KernelOp, int]]:
    """Yield operations, those inside of loops too, and how often each runs."""
    for op in ops:
        yield op, times
        if isinstance(op, Repeat):
            yield from _with_times(op.body, times * op.count)


def _size(kernel: Kernel, axes: set[str] | frozenset[str]) -> int:
    return prod(a.extent for a in kernel.axes if a.name in axes)


def _bytes(buffers: Sequence[Buffer], reached: dict[str, int]) -> int:
    """Return the bytes of distinct elements: broadcast axes have one."""
    total = 0
    for b in buffers:
        distinct = prod(n for n, s in zip(b.shape, b.strides, strict=True) if s)
        total += min(distinct, reached.get(b.name, 0)) * b.dtype.itemsize
    return total
