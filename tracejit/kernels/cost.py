"""What running operations costs, roughly: to decide who runs them, never what they do.

Needs kernel IR. Establishes estimates in nanoseconds on one core of a present machine
with wide vectors. They are right within a factor of about three, which is enough to
tell work that is worth sharing between threads from work that is not.
"""

from collections.abc import Iterable
from math import prod

from ..ir.aval import ShapedArray
from .kernel import (
    Compute,
    Contract,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Store,
    dtype_of,
    result_of,
)
from .maps import Affine, AxisIndex, FloorDiv, Mod

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
            found |= _axes_in(index)
    return found


def _axes_in(index: Affine) -> set[str]:
    found: set[str] = set()
    for atom, _ in index.terms:
        if isinstance(atom, AxisIndex):
            found.add(atom.axis)
        elif isinstance(atom, FloorDiv | Mod):
            found |= _axes_in(atom.inner)
    return found


def _operation_ns(op: KernelOp) -> float:
    if isinstance(op, Contract):
        return PRODUCT_NS
    if not isinstance(op, Compute):
        return OPERATION_NS
    one = ShapedArray((), op.result.dtype)
    return OPERATION_NS * op.primitive.flops((one,), (one,), op.params)


def _width(op: Load | Store) -> int:
    dtype = op.result.dtype if isinstance(op, Load) else dtype_of(op.value)
    return dtype.itemsize
