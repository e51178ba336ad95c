"""What stands beside a library's routines on matrices, as Triton kernels.

Triangles and identities to begin with, what becomes of factors, and the errors that a
routine's status or a matrix stands for: these are stored in the error word by the
device, as an index out of range is, so that nothing waits.
"""

from dataclasses import replace

from ....kernels.kernel import Buffer
from ...error_word import LINALG_ERROR
from ..code import TritonCode, power_of_two
from .text import BLOCK, ceil_div, code_of, index_type, offset, size_of

_LONGEST = 1024  # elements of a diagonal that are read at a time


def addresses_code(x: Buffer, to: Buffer, step: int) -> TritonCode:
    """Return the kernel that lists the addresses of matrices, `step` bytes apart."""
    lines = [
        *_elements(to),
        f"    at = {x.name}_ptr + i.to(tl.int64) * {step}",
        f"    tl.store({to.name}_ptr + i, at, mask=mask)",
    ]
    code = _code("addresses", f"addresses of {x.name}", lines, [x, to], to)
    return replace(code, numbers=frozenset({x.name}))


def lower_code(x: Buffer, to: Buffer) -> TritonCode:
    """Return the kernel that copies lower triangles, with 0 above them."""
    n = x.shape[-1]
    lines = [
        *_elements(x, to),
        f"    kept = (i % {n}) <= (i // {n}) % {n}",
        f"    x = tl.load({x.name}_ptr + {offset('i', x.shape, x.strides)}, "
        "mask=mask & kept, other=0)",
        f"    tl.store({to.name}_ptr + {offset('i', to.shape, to.strides)}, x, "
        "mask=mask)",
    ]
    return _code("lower_triangle", f"{to.name} = tril({x.name})", lines, [x, to], to)


def identity_code(to: Buffer) -> TritonCode:
    """Return the kernel that fills contiguous square matrices with the identity."""
    n = to.shape[-1]
    lines = [
        *_elements(to),
        f"    x = ((i % {n}) == (i // {n}) % {n}).to({to.name}_ptr.dtype.element_ty)",
        f"    tl.store({to.name}_ptr + i, x, mask=mask)",
    ]
    return _code("identity", f"{to.name} = eye({n})", lines, [to], to)


def failed_code(info: Buffer) -> TritonCode:
    """Return the kernel that reports which matrix a routine failed for."""
    lines = [
        *_elements(info),
        f"    bad = tl.load({info.name}_ptr + i, mask=mask, other=0) != 0",
        *_report("i"),
    ]
    explained = f"an error where {info.name} is not 0"
    return _code("failed", explained, lines, [info], info, can_fail=True)


def singular_code(x: Buffer) -> TritonCode:
    """Return the kernel that reports which triangle has a 0 on its diagonal."""
    *lead, n, _ = x.shape
    shape, strides = (*lead, n), (*x.strides[:-2], x.strides[-2] + x.strides[-1])
    diagonal = Buffer("diagonal", x.dtype, shape, strides)
    lines = [
        *_elements(diagonal, x),
        f"    bad = tl.load({x.name}_ptr + {offset('i', shape, strides)}, mask=mask, "
        "other=1) == 0",
        *_report(f"i // {n}"),
    ]
    explained = f"an error where the diagonal of {x.name} is 0"
    return _code("singular", explained, lines, [x], diagonal, can_fail=True)


def nan_code(info: Buffer, to: Buffer) -> TritonCode:
    """Return the kernel that makes NaN of matrices that a routine failed for."""
    per = to.shape[-1] * to.shape[-2]
    lines = [
        *_elements(to),
        f"    bad = tl.load({info.name}_ptr + i // {per}, mask=mask, other=0) != 0",
        f"    x = tl.full(i.shape, float('nan'), {to.name}_ptr.dtype.element_ty)",
        f"    tl.store({to.name}_ptr + i, x, mask=mask & bad)",
    ]
    explained = f"NaN where {info.name} is not 0"
    return _code("nan_where_failed", explained, lines, [info, to], to)


def determinant_code(
    factors: Buffer, pivots: Buffer, info: Buffer, sign: Buffer | None, out: Buffer
) -> TritonCode:
    """Return the kernel of determinants of matrices with LU factors.

    Parameters
    ----------
    factors : Buffer
        Both triangles, matrix by matrix.
    pivots, info : Buffer
        Which row each was swapped with, from 1 on; whether a pivot was 0.
    sign : Buffer, optional
        Where signs go; without it `out` is the determinant, else the logarithm of its
        size.
    out : Buffer
    """
    *_, n, _ = factors.shape
    width = min(power_of_two(n), _LONGEST)
    wide = "tl.float64" if factors.dtype.itemsize == 8 else "tl.float32"
    lines = [
        f"    m = tl.program_id(0).to({index_type(factors)})",
        f"    size = tl.zeros(({width},), {wide})",
        f"    turns = tl.zeros(({width},), tl.int32)",
        f"    for start in range(0, {n}, {width}):",
        f"        k = start + tl.arange(0, {width})",
        f"        x = tl.load({factors.name}_ptr + m * {n * n} + k * {n + 1}, "
        f"mask=k < {n}, other=1)",
        f"        p = tl.load({pivots.name}_ptr + m * {n} + k, mask=k < {n}, other=0)",
        "        turns += (x < 0).to(tl.int32)",
        f"        turns += ((p != k + 1) & (k < {n})).to(tl.int32)",
        "        size += libdevice.log(tl.abs(x))",
        f"    bad = tl.load({info.name}_ptr + m) != 0",
        "    total = tl.sum(size, 0)",
        "    sign = tl.where(tl.sum(turns, 0) % 2 == 0, 1.0, -1.0)",
        "    sign = tl.where(bad, 0.0, sign).to(total.dtype)",
    ]
    used = [factors, pivots, info]
    if sign is None:
        lines += [
            "    x = tl.where(bad, 0.0, sign * libdevice.exp(total)).to(total.dtype)",
            f"    tl.store({out.name}_ptr + m, x)",
        ]
    else:
        used.append(sign)
        lines += [
            f"    tl.store({sign.name}_ptr + m, sign)",
            "    x = tl.where(bad, float('-inf'), total).to(total.dtype)",
            f"    tl.store({out.name}_ptr + m, x)",
        ]
    name = "determinants" if sign is None else "log_determinants"
    explained = f"{name.replace('_', ' ')} from {factors.name}"
    grid = size_of(info)
    return code_of(name, explained, lines, [*used, out], grid, width)


def _elements(over: Buffer, *others: Buffer) -> list[str]:
    """Return the statements that number the elements of a program."""
    return [
        f"    i = tl.program_id(0) * {BLOCK} + tl.arange(0, {BLOCK})"
        f".to({index_type(over, *others)})",
        f"    mask = i < {size_of(over)}",
    ]


def _report(number: str) -> list[str]:
    """Return the statements that store an error where ``bad``."""
    return [
        f"    tl.store(err_ptr + tl.where(bad, 0, 0), "
        f"tl.full((), {LINALG_ERROR}, tl.int64), mask=bad)",
        f"    tl.store(err_ptr + tl.where(bad, 0, 0) + 1, ({number}).to(tl.int64), "
        "mask=bad)",
    ]


def _code(
    name: str,
    explained: str,
    lines: list[str],
    buffers: list[Buffer],
    over: Buffer,
    can_fail: bool = False,
) -> TritonCode:
    grid = ceil_div(size_of(over), BLOCK)
    return code_of(name, explained, lines, buffers, grid, BLOCK, can_fail)
