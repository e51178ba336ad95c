"""Copies between buffers of one shape and dtype, as kernels.

The axes are put in the order of the output's strides, so that stores run through
memory; the kernel's name says all there is to it, so that equal copies share one
function. Elements are moved as unsigned integers: no bit changes.
"""

import numpy as np

from ...kernels.kernel import Axis, Buffer, Kernel, Load, Store, Value
from ...kernels.maps import axis
from ...kernels.schedule import Role, Schedule
from ...program.program import ProgramBuffer
from .externs import Layout, joined


def copy_kernel(
    source: Buffer | ProgramBuffer, to: Buffer | ProgramBuffer
) -> tuple[Kernel, Schedule]:
    """Return a kernel that copies `source` to `to`, and its schedule."""
    size = source.dtype.itemsize
    shape, strides = source.shape, [source.strides, to.strides]
    if size > 8:  # complex128: two elements of 8 bytes
        parts = size // 8
        shape = (*shape, parts)
        strides = [(*(s * parts for s in row), 1) for row in strides]
        size = 8
    order = sorted(range(len(shape)), key=lambda d: (-abs(strides[1][d]), d))
    layout = Layout(
        tuple(shape[d] for d in order),
        tuple(tuple(row[d] for d in order) for row in strides),
    )
    return _kernel(joined(layout), np.dtype(f"u{size}"))


def _kernel(layout: Layout, dtype: np.dtype) -> tuple[Kernel, Schedule]:
    names = [f"d{k}" for k in range(len(layout.shape))]
    axes = tuple(Axis(n, e) for n, e in zip(names, layout.shape, strict=True))
    source = Buffer("source", dtype, layout.shape, layout.strides[0])
    to = Buffer("to", dtype, layout.shape, layout.strides[1])
    place = tuple(axis(n) for n in names)
    value = Value("value", frozenset(names), dtype)
    parts = (layout.shape, *layout.strides)
    described = "_".join("x".join(map(str, part)) for part in parts)
    name = f"copy.u{8 * dtype.itemsize}.{described}".replace("-", "m")
    body = (Load(value, "source", place), Store("to", place, value))
    kernel = Kernel(name, (source,), (to,), axes, body)
    roles = dict.fromkeys(names, Role.GRID)
    if names:
        roles[names[-1]] = Role.VECTOR
    return kernel, Schedule(tuple(names), roles)
