"""Sorting along one axis, of rows that a program holds.

A key orders as NumPy orders the elements (NaN last, both zeros equal) in the upper half
of an integer whose lower half is the element's place: sorted, equal elements stay in
their order. Elements of at most 32 bits, rows of at most `_LONGEST`; the host sorts all
others.
"""

from collections.abc import Sequence

from ....ir.primitive import Params
from ....kernels.kernel import Buffer
from ..code import TritonKernel, power_of_two
from ..values import is_real_float
from .text import code_of, in_row, index_type, size_of

_LONGEST = 4096


def write_sort(
    name: str, inputs: Sequence[Buffer], outputs: Sequence[Buffer], params: Params
) -> TritonKernel | None:
    """Return the kernel of ``sort`` or ``argsort``; see `extern_kernel`."""
    (x,), (out,) = inputs, outputs
    axis = params["axis"]
    assert isinstance(axis, int)
    length = x.shape[axis]
    if x.dtype.itemsize > 4 or length > _LONGEST:
        return None
    width = power_of_two(length)
    index = index_type(x, out)
    lines = [
        f"    row = tl.program_id(0).to({index})",
        f"    k = tl.arange(0, {width})",
        f"    x = tl.load({in_row(x, axis, 'k')}, mask=k < {length}, other=0)",
        f"    key = {_key(x)}",
        f"    key = tl.where(k < {length}, key, 0x1FFFFFFFF)",
        "    order = tl.sort((key << 16) | k.to(tl.int64)) & 0xFFFF",
        f"    mask = k < {length}",
    ]
    if name == "argsort":
        lines.append(f"    tl.store({in_row(out, axis, 'k')}, order, mask=mask)")
    else:
        lines += [
            f"    y = tl.load({in_row(x, axis, 'order')}, mask=mask)",
            f"    tl.store({in_row(out, axis, 'k')}, y, mask=mask)",
        ]
    explained = f"{name} of {x.name} along axis {axis}"
    grid = size_of(x) // length
    return TritonKernel(name, (code_of(name, explained, lines, [x, out], grid, width),))


def _key(x: Buffer) -> str:
    """Return an int64 below 2³³ - 1 that orders as the elements do."""
    if is_real_float(x.dtype):
        return "float_key(x.to(tl.float32))"
    if x.dtype.kind == "i":
        return "x.to(tl.int64) + 0x80000000"
    return "x.to(tl.int64)"
