"""One kernel of the IR as Triton source: the order of the steps."""

from dataclasses import replace

from ...kernels.kernel import Contract, Kernel, Load, result_of
from ...kernels.printer import format_kernel
from ...kernels.schedule import Schedule
from .code import ERROR_NAME, TritonCode, TritonKernel, Tuning
from .cuts import separated, split
from .helpers import library
from .indices import identifier
from .matmul import write_matmul
from .nests import Body, write_nest
from .online import online
from .pieces import Piece, buffers_of, flattened, joined, piece_of
from .streams import write_stream
from .values import memory_type
from .writer import pointer

DEFAULT = Tuning()


def emit_kernel(
    kernel: Kernel, schedule: Schedule, tuning: Tuning = DEFAULT
) -> TritonKernel:
    """Return the Triton kernels that compute what a kernel says.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
        Its order of axes counts.
    tuning : Tuning

    Raises
    ------
    UnsupportedError
        For a primitive that Triton has no function for.
    DTypeError
        For complex dtypes.
    """
    numbers = {
        op.result.name: k for k, op in enumerate(kernel.body) if isinstance(op, Load)
    }
    _check_dtypes(kernel)
    codes: list[TritonCode] = []
    whole = piece_of(kernel, schedule)
    for piece in separated(whole):
        simple = joined(flattened(piece))
        parts = [simple] if _has_product(simple) else list(split(simple, tuning))
        for part in parts:
            shown = piece.kernel if len(parts) == 1 else part.kernel
            name = _name(part.kernel.name, kernel.name)
            codes.append(_code(part, name, shown, tuning, numbers))
    own = {b.name for b in buffers_of(kernel)}
    scratch = {b.name: b for c in codes for b in c.buffers if b.name not in own}
    return TritonKernel(kernel.name, tuple(codes), tuple(scratch.values()))


def _name(name: str, whole: str) -> str:
    """Return the name of a part: rests of rests are counted."""
    suffix = name.removeprefix(whole)
    rests = suffix.count("_rest")
    count = f"_{rests}" if rests else ""
    return identifier(f"{whole}{count}{suffix.replace('_rest', '')}")


def _check_dtypes(kernel: Kernel) -> None:
    results = (result_of(op) for op in kernel.body)
    dtypes = [b.dtype for b in buffers_of(kernel)]
    for dtype in (*dtypes, *(v.dtype for v in results if v is not None)):
        memory_type(dtype)


def _code(
    piece: Piece, name: str, shown: Kernel, tuning: Tuning, numbers: dict[str, int]
) -> TritonCode:
    kernel, roles = piece.kernel, online(piece.kernel)
    if roles is not None:
        body = write_stream(piece, roles, tuning, numbers)
    else:
        write = write_matmul if _has_product(piece) else write_nest
        body = write(piece, tuning, numbers)
    return TritonCode(
        name,
        _module(name, piece, replace(shown, name=name), body),
        buffers_of(kernel),
        body.can_fail,
        body.constexprs,
        body.grid,
        body.num_warps,
        body.num_stages,
        body.form,
    )


def _has_product(piece: Piece) -> bool:
    return any(isinstance(op, Contract) for op in piece.kernel.body)


def _module(name: str, piece: Piece, shown: Kernel, body: Body) -> str:
    text = format_kernel(shown)
    comments = [f"# {line}".rstrip() for line in text.splitlines()]
    arguments = [pointer(b.name) for b in buffers_of(piece.kernel)]
    if body.can_fail:
        arguments.append(f"{ERROR_NAME}_ptr")
    arguments += [f"{size}: tl.constexpr" for size in body.constexprs]
    head = [*comments, "@triton.jit", f"def {name}("]
    head += [f"    {argument}," for argument in arguments]
    function = "\n".join([*head, "):", *body.lines])
    return f"{library(function)}\n\n\n{function}\n"
