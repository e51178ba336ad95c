"""What the writers of these kernels share: offsets, modules, elementwise copies."""

from collections.abc import Mapping, Sequence

import numpy as np

from ....kernels.kernel import Buffer
from ..code import TritonCode, power_of_two, warps_for
from ..helpers import library

BLOCK = 1024
WIDE = 2**31


def offset(index: str, shape: Sequence[int], strides: Sequence[int]) -> str:
    """Return where element number `index`, in C order, of an array lies.

    Examples
    --------
    >>> offset("i", (3, 4), (8, 1))
    '((i // 4) % 3) * 8 + (i % 4) * 1'
    """
    terms, inner = [], 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1:
            place = index if inner == 1 else f"({index} // {inner})"
            terms.append(f"({place} % {n}) * {stride}")
        inner *= n
    return " + ".join(reversed(terms)) or f"{index} * 0"


def in_row(buffer: Buffer, axis: int, place: str) -> str:
    """Return the address of what is at `place` along an axis, in row number ``row``."""
    rest = [d for d in range(len(buffer.shape)) if d != axis]
    shape, strides = ([of[d] for d in rest] for of in (buffer.shape, buffer.strides))
    row = offset("row", shape, strides)
    return f"{buffer.name}_ptr + {row} + {place} * {buffer.strides[axis]}"


def index_type(*buffers: Buffer) -> str:
    """Return the integer type that counts elements of buffers."""
    spans = (
        sum(abs(s) * (n - 1) for s, n in zip(b.strides, b.shape, strict=True))
        for b in buffers
    )
    return "tl.int64" if any(span >= WIDE for span in spans) else "tl.int32"


def code_of(
    name: str,
    explained: str,
    lines: Sequence[str],
    buffers: Sequence[Buffer],
    grid: int,
    elements: int,
    can_fail: bool = False,
    constexprs: Mapping[str, int] | None = None,
) -> TritonCode:
    """Return a kernel from the statements of its body.

    Parameters
    ----------
    name : str
    explained : str
        What it computes, as a comment.
    lines : sequence of str
        Statements, indented as the body of the function is.
    buffers : sequence of Buffer
        What its pointers point to.
    grid : int
    elements : int
        That one program holds of each value; decides the number of warps.
    can_fail : bool
    constexprs : mapping of str to int, optional
    """
    sizes = dict(constexprs or {})
    pointers = [f"{b.name}_ptr" for b in buffers] + (["err_ptr"] if can_fail else [])
    arguments = [*pointers, *(f"{size}: tl.constexpr" for size in sizes)]
    text = "\n".join(
        [
            f"# {explained}",
            "@triton.jit",
            f"def {name}(",
            *(f"    {a}," for a in arguments),
            "):",
            *lines,
        ]
    )
    source = "\n\n\n".join([library(text), text]) + "\n"
    warps = warps_for(power_of_two(elements))
    return TritonCode(
        name, source, tuple(buffers), can_fail, sizes, grid, warps, 2, "extern"
    )


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def size_of(buffer: Buffer) -> int:
    """Return the number of elements."""
    return int(np.prod(buffer.shape, dtype=np.int64))


def copy_code(name: str, source: Buffer, to: Buffer) -> TritonCode:
    """Return the kernel that copies one array to another."""
    n = size_of(to)
    lines = [
        f"    i = tl.program_id(0) * {BLOCK} + tl.arange(0, {BLOCK})"
        f".to({index_type(source, to)})",
        f"    x = tl.load({source.name}_ptr + {offset('i', to.shape, source.strides)}, "
        f"mask=i < {n})",
        f"    tl.store({to.name}_ptr + {offset('i', to.shape, to.strides)}, x, "
        f"mask=i < {n})",
    ]
    explained = f"{to.name} = {source.name}"
    return code_of(name, explained, lines, [source, to], ceil_div(n, BLOCK), BLOCK)


def fill_code(name: str, to: Buffer, value: str) -> TritonCode:
    """Return the kernel that fills a contiguous array."""
    n = size_of(to)
    lines = [
        f"    i = tl.program_id(0) * {BLOCK} + tl.arange(0, {BLOCK})"
        f".to({index_type(to)})",
        f"    tl.store({to.name}_ptr + i, {value}, mask=i < {n})",
    ]
    explained = f"{to.name}[...] = {value}"
    return code_of(name, explained, lines, [to], ceil_div(n, BLOCK), BLOCK)
