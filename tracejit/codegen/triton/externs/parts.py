"""Complex arrays in memory: their parts taken out, or put there, as Triton kernels.

To a kernel, a complex array is a real one with one more axis, of two elements.
"""

from collections.abc import Sequence

import numpy as np

from ....ir.primitive import Params
from ....kernels.kernel import Buffer
from ..code import TritonKernel
from .text import BLOCK, ceil_div, code_of, index_type, offset, size_of


def write_part(
    name: str, inputs: Sequence[Buffer], outputs: Sequence[Buffer], params: Params
) -> TritonKernel:
    """Return the kernel of ``real`` or ``imag``; see `extern_kernel`."""
    (x,), (out,) = inputs, outputs
    at = 0 if name == "real" else 1
    lines = [
        f"    x = tl.load({_place(x, 2)} + {at}, mask=mask)",
        f"    tl.store({_place(out)}, x, mask=mask)",
    ]
    return _kernel(name, f"{out.name} = {x.name}.{name}", lines, [x, out])


def write_complex(
    name: str, inputs: Sequence[Buffer], outputs: Sequence[Buffer], params: Params
) -> TritonKernel:
    """Return the kernel of ``complex``; see `extern_kernel`."""
    (re, im), (out,) = inputs, outputs
    lines = []
    for k, part in enumerate((re, im)):
        place = _place(part) if part.shape else f"{part.name}_ptr + i * 0"
        lines += [
            f"    x = tl.load({place}, mask=mask)",
            f"    tl.store({_place(out, 2)} + {k}, x, mask=mask)",
        ]
    explained = f"{out.name} = {re.name} + 1j * {im.name}"
    return _kernel(name, explained, lines, [re, im, out])


def _place(x: Buffer, parts: int = 1) -> str:
    """Return the address of element ``i``, of so many parts."""
    return f"{x.name}_ptr + {offset('i', x.shape, [parts * s for s in x.strides])}"


def _kernel(
    name: str, explained: str, lines: Sequence[str], buffers: Sequence[Buffer]
) -> TritonKernel:
    """Return a kernel over the elements of the last buffer."""
    n = size_of(buffers[-1])
    real = [_as_pairs(b) if b.dtype.kind == "c" else b for b in buffers]
    head = [
        f"    i = tl.program_id(0).to({index_type(*real)}) * {BLOCK} "
        f"+ tl.arange(0, {BLOCK})",
        f"    mask = i < {n}",
    ]
    # One array may be both parts.
    used = list({b.name: b for b in real}.values())
    grid = ceil_div(n, BLOCK)
    code = code_of(f"{name}_part", explained, [*head, *lines], used, grid, BLOCK)
    return TritonKernel(name, (code,))


def _as_pairs(x: Buffer) -> Buffer:
    half = np.dtype(f"f{x.dtype.itemsize // 2}")
    return Buffer(x.name, half, (*x.shape, 2), (*(2 * s for s in x.strides), 1))
