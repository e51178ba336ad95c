"""How many lanes the vectors of a kernel have.

A vector fills a register. But an elementary function is a chain of some thirty
operations, each of which waits for the last one, and a processor looks ahead no further
than two such chains; its constants do not stay in 16 registers either, so each is read
again for every vector. There, and where a kernel is a long chain itself, a vector is
several registers: LLVM writes each operation for all of them, and `abreast` keeps these
side by side. That takes LLVM longer, so kernels have to be large. With 32 registers, of
64 bytes, two chains at a time are as many as pay, and need nothing to keep them so.
"""

import math
from collections.abc import Mapping, Sequence

from ...kernels.kernel import (
    Buffer,
    Compute,
    Kernel,
    KernelOp,
    Load,
    Store,
    result_of,
    values_of,
    with_inner,
)
from ...kernels.schedule import Schedule
from ...records import dataclass
from . import elementwise
from .indices import access_of
from .target import Target
from .values import is_real, register_bits

_MOST_REGISTERS = 4  # of a vector that goes through one function
_FEWER_REGISTERS = 2  # of one that goes through several, or is picked out of memory
_LEAST_CHAIN = 16  # operations of which each reads the result of the last one
# Operations for each of the chain, up to which a vector is so many registers.
_MOST_PARALLEL = {4: 1.5, 2: 3.0}
_ABREAST = 4  # operations of a chain between places that all registers reach together
# Elements of kernels with so many registers: where there are 16, and where 32.
_LEAST_SIZES = {1: 0, 2: 1 << 12, 4: 1 << 16}
_LEAST_SIZES_OF_MANY = {1: 0, 2: 1 << 16}
_MOST_PADDING = 1.125  # how much longer an axis may become that ends with its vectors


@dataclass(frozen=True)
class Width:
    """What a vector of a kernel is.

    Parameters
    ----------
    lanes : int
    registers : int
        That as many lanes of the widest type fill.
    abreast : frozenset of str
        Values of which all registers are computed before what follows in a chain.
    """

    lanes: int
    registers: int
    abreast: frozenset[str] = frozenset()


def width_of(
    kernel: Kernel, schedule: Schedule, target: Target, views: Mapping[str, Buffer]
) -> Width:
    """Return how wide the vectors of a kernel are.

    The widest float type fills its registers, or else the widest integer type.

    Parameters
    ----------
    views : mapping of str to Buffer
        Of buffers that the kernel does not have.
    """
    axis = schedule.vector_axis
    if axis is None:
        return Width(1, 1)
    ops = [*with_inner(kernel.body)]
    lanes = target.lanes(_widest(kernel, ops, axis))
    if not target.has_fma:
        return Width(lanes, 1)
    extent = next(a.extent for a in kernel.axes if a.name == axis)
    buffers = {b.name: b for b in (*kernel.inputs, *kernel.outputs)} | {**views}
    size = math.prod(a.extent for a in kernel.axes)
    computed = [op for op in ops if isinstance(op, Compute) and axis in op.result.axes]
    depths = _depths(computed)
    least = _LEAST_SIZES if target.has_few_registers else _LEAST_SIZES_OF_MANY
    chain = _registers_of_chain(depths) if target.has_few_registers else 1
    functions = _registers_of_functions(computed, _picks(ops, axis, buffers))
    registers = min(functions or chain, max(least))
    while size < least[registers] or not _is_full(registers, lanes, extent):
        registers //= 2
    places = (name for name, depth in depths.items() if depth % _ABREAST == 0)
    return Width(lanes * registers, registers, frozenset(places))


def _widest(kernel: Kernel, ops: Sequence[KernelOp], axis: str) -> int:
    """Return the bits of the widest type of values along an axis."""
    values = [v for v in map(result_of, ops) if v is not None]
    dtypes = [v.dtype for v in values if axis in v.axes]
    dtypes += [b.dtype for b in kernel.outputs if not dtypes]
    floats = [d for d in dtypes if is_real(d)]
    return max((register_bits(d) for d in floats or dtypes), default=8)


def _depths(computed: Sequence[Compute]) -> dict[str, int]:
    """Return how many operations on floats each result of one comes after, and it."""
    depths: dict[str, int] = {}
    for op in computed:
        if is_real(op.result.dtype):
            before = (depths.get(v.name, 0) for v in values_of(op))
            depths[op.result.name] = 1 + max(before, default=0)
    return depths


def _registers_of_functions(computed: Sequence[Compute], picks: bool) -> int:
    """Return of how many registers a vector is best, 0 where there is no function.

    `picks` says whether vectors are picked out of what lies apart in memory.
    """
    functions = [op for op in computed if elementwise.is_function(op.primitive.name)]
    if not functions:
        return 0
    is_one = len(functions) == 1 and not picks
    registers = _MOST_REGISTERS if is_one else _FEWER_REGISTERS
    in_doubles = any(
        elementwise.is_in_doubles(op.primitive.name, op.result.dtype)
        for op in functions
    )
    return registers // 2 if in_doubles else registers


def _registers_of_chain(depths: Mapping[str, int]) -> int:
    """Return of how many registers a vector is best that no function delays."""
    chain = max(depths.values(), default=0)
    if chain < _LEAST_CHAIN:
        return 1
    parallel = len(depths) / chain
    return next((n for n, most in _MOST_PARALLEL.items() if parallel <= most), 1)


def _picks(ops: Sequence[KernelOp], axis: str, buffers: Mapping[str, Buffer]) -> bool:
    """Tell whether vectors are picked out of what lies apart in memory."""
    accesses = (
        access_of(op, buffers[op.buffer])
        for op in ops
        if isinstance(op, Load | Store) and op.buffer in buffers
    )
    return any(access.linear.get(axis, 0) not in (-1, 0, 1) for access in accesses)


def _is_full(registers: int, lanes: int, extent: int) -> bool:
    """Tell whether vectors of so many registers, of `lanes` each, fill an axis."""
    vectors = -(-extent // (lanes * registers))
    padding = vectors * registers / max(1, -(-extent // lanes))
    return padding <= _MOST_PADDING
