"""One kernel of the IR as Triton source: the order of the steps.

Independent parts of a kernel (`kernels.parts`) are functions, each of which a range of
the programs runs: an optimiser's update of all parameters is one launch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...kernels.kernel import Contract, Kernel, Load, result_of
from ...kernels.parts import parts_of
from ...kernels.pieces import Piece, buffers_of, joined, piece_of
from ...kernels.printer import format_kernel
from ...kernels.schedule import Schedule
from ...kernels.streams import stream_of
from .code import ERROR_NAME, TritonCode, TritonKernel, Tuning
from .cuts import separated, split, split_product
from .helpers import library
from .indices import identifier
from .matmul import programs_of, write_matmul
from .nests import Body, write_nest
from .streams import write_stream
from .values import memory_type
from .writer import pointer

DEFAULT = Tuning()
PROGRAM = "tl.program_id(0)"


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
    codes = list(_codes(kernel, schedule, tuning, numbers))
    own = {b.name for b in buffers_of(kernel)}
    scratch = {b.name: b for c in codes for b in c.buffers if b.name not in own}
    return TritonKernel(kernel.name, tuple(codes), tuple(scratch.values()))


def _codes(
    kernel: Kernel, schedule: Schedule, tuning: Tuning, numbers: dict[str, int]
) -> Iterator[TritonCode]:
    """Yield the Triton kernels of a kernel; its parts that are one each, as one."""
    parts = parts_of(kernel, schedule)
    together: list[_Function] = []
    for n, (part, order) in enumerate(parts):
        own = f"{kernel.name}_{n}" if len(parts) > 1 else kernel.name
        shown = list(_pieces(piece_of(replace(part, name=own), order), tuning))
        is_one = len(parts) > 1 and len(shown) == 1
        program = "program" if is_one else PROGRAM
        for piece, text in shown:
            name = _name(piece.kernel.name, own)
            body = _body(piece, tuning, numbers, program)
            function = _Function(name, piece, replace(text, name=name), body)
            if is_one:
                together.append(function)
            else:
                yield _code(function)
    if together:
        yield _joint_code(kernel, together)


def _pieces(whole: Piece, tuning: Tuning) -> Iterator[tuple[Piece, Kernel]]:
    """Yield the pieces of a kernel, and the text that explains each."""
    for piece in separated(whole):
        simple = joined(piece)
        parts = list(_split(simple, tuning))
        for part in parts:
            yield part, piece.kernel if len(parts) == 1 else part.kernel


def _split(piece: Piece, tuning: Tuning) -> Iterator[Piece]:
    """Yield a piece, or parts of it where it would keep too little of a device busy."""
    if not _has_product(piece):
        yield from split(piece, tuning)
    elif stream_of(piece.kernel) is None:
        yield from split_product(piece, programs_of(piece, tuning), tuning)
    else:
        yield piece


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


@dataclass(frozen=True)
class _Function:
    """A function of Triton text.

    Parameters
    ----------
    name : str
    piece : Piece
    shown : Kernel
        What it computes.
    body : Body
    """

    name: str
    piece: Piece
    shown: Kernel
    body: Body

    @property
    def pointers(self) -> list[str]:
        """The arguments that are pointers."""
        names = [pointer(b.name) for b in buffers_of(self.piece.kernel)]
        return [*names, f"{ERROR_NAME}_ptr"] if self.body.can_fail else names

    def text(self, arguments: Sequence[str] = ()) -> str:
        """Return the definition, with more arguments before those of its own."""
        sizes = [f"{size}: tl.constexpr" for size in self.body.constexprs]
        return _definition(
            self.name, [*arguments, *self.pointers, *sizes], self.body.lines
        )

    def call(self, first: int) -> list[str]:
        """Return the lines that run it in the programs from `first` on."""
        end = first + self.body.grid
        sizes = [f"{name}={n}" for name, n in self.body.constexprs.items()]
        arguments = ", ".join([f"program - {first}", *self.pointers, *sizes])
        return [
            f"    if (program >= {first}) & (program < {end}):",
            f"        {self.name}({arguments})",
        ]


def _body(piece: Piece, tuning: Tuning, numbers: dict[str, int], program: str) -> Body:
    roles = stream_of(piece.kernel)
    if roles is not None:
        return write_stream(piece, roles, tuning, numbers, program)
    write = write_matmul if _has_product(piece) else write_nest
    return write(piece, tuning, numbers, program)


def _code(function: _Function) -> TritonCode:
    body = function.body
    return TritonCode(
        function.name,
        _module(function.shown, [function.text()]),
        buffers_of(function.piece.kernel),
        body.can_fail,
        body.constexprs,
        body.grid,
        body.num_warps,
        body.num_stages,
        body.form,
    )


def _joint_code(kernel: Kernel, functions: Sequence[_Function]) -> TritonCode:
    """Return one kernel that runs a function in each range of its programs."""
    bodies = [f.body for f in functions]
    used = {b.name for f in functions for b in buffers_of(f.piece.kernel)}
    buffers = tuple(b for b in buffers_of(kernel) if b.name in used)
    can_fail = any(body.can_fail for body in bodies)
    pointers = [pointer(b.name) for b in buffers]
    pointers += [f"{ERROR_NAME}_ptr"] if can_fail else []
    name, lines, first = identifier(kernel.name), [f"    program = {PROGRAM}"], 0
    for function in functions:
        lines += function.call(first)
        first += function.body.grid
    texts = [f.text(["program"]) for f in functions]
    texts.append(_definition(name, pointers, lines))
    return TritonCode(
        name,
        _module(replace(kernel, name=name), texts),
        buffers,
        can_fail,
        {},
        first,
        max(body.num_warps for body in bodies),
        max(body.num_stages for body in bodies),
        "parts",
    )


def _has_product(piece: Piece) -> bool:
    return any(isinstance(op, Contract) for op in piece.kernel.body)


def _definition(name: str, arguments: Sequence[str], lines: Sequence[str]) -> str:
    head = ["@triton.jit", f"def {name}(", *(f"    {a}," for a in arguments), "):"]
    return "\n".join([*head, *lines])


def _module(shown: Kernel, functions: Sequence[str]) -> str:
    """Return the text of functions, the last one after what it computes."""
    comments = [f"# {line}".rstrip() for line in format_kernel(shown).splitlines()]
    *others, last = functions
    texts = [*others, "\n".join([*comments, last])]
    return "\n\n\n".join([library("\n".join(functions)), *texts]) + "\n"
