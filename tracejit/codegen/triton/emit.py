"""One kernel of the IR as Triton source: the order of the steps.

Independent parts of a kernel (`kernels.parts`) are functions, each of which a range of
the programs runs: an optimiser's update of all parameters is one launch.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

from ...kernels.kernel import Kernel, Load, result_of
from ...kernels.parts import parts_of
from ...kernels.pieces import Piece, buffers_of, joined, piece_of
from ...kernels.printer import format_kernel
from ...kernels.schedule import Schedule
from ...kernels.streams import stream_of
from .choice import LIBRARY, Choice, Site
from .code import ERROR_NAME, TritonCode, TritonKernel, Tuning
from .cuts import separated, split, split_product
from .helpers import library
from .indices import identifier
from .matmul import is_product, write_matmul
from .nests import Body, write_nest
from .ranking import first
from .streams import write_stream
from .values import memory_type
from .writer import pointer

DEFAULT = Tuning()
NOTHING: Mapping[str, Choice] = {}
PROGRAM = "tl.program_id(0)"


def emit_kernel(
    kernel: Kernel,
    schedule: Schedule,
    tuning: Tuning = DEFAULT,
    choices: Mapping[str, Choice] = NOTHING,
    odd: Collection[str] = (),
) -> TritonKernel:
    """Return the Triton kernels that compute what a kernel says.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
        Its order of axes counts.
    tuning : Tuning
    choices : mapping of str to Choice
        How sites are written, by their keys; the default where there is none.
    odd : collection of str
        Buffers whose addresses may not be multiples of 16 bytes.

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
    writing = _Writing(tuning, choices, frozenset(odd), numbers)
    return _with_workspace(kernel, list(writing.codes(kernel, schedule)))


def sites_of(
    kernel: Kernel,
    schedule: Schedule,
    tuning: Tuning = DEFAULT,
    odd: Collection[str] = (),
) -> list[Site]:
    """Return where a kernel has choices; see `emit_kernel`.

    Independent parts run as one Triton kernel, of which nothing is chosen.
    """
    parts = parts_of(kernel, schedule)
    if len(parts) > 1:
        return []
    ((part, order),) = parts
    return [
        Site(kernel.name, joined(piece), tuning, frozenset(odd))
        for piece in separated(piece_of(part, order))
    ]


def emit_site(site: Site, choice: Choice | None = None) -> TritonKernel:
    """Return the Triton kernels of one site, by a choice or by default."""
    choices = {} if choice is None else {site.key: choice}
    writing = _Writing(site.tuning, choices, site.odd, {})
    kernel = site.piece.kernel
    codes = list(writing.site_codes(site, kernel, kernel.name))
    return _with_workspace(kernel, codes)


def _with_workspace(kernel: Kernel, codes: Sequence[TritonCode]) -> TritonKernel:
    own = {b.name for b in buffers_of(kernel)}
    scratch = {b.name: b for c in codes for b in c.buffers if b.name not in own}
    return TritonKernel(kernel.name, tuple(codes), tuple(scratch.values()))


@dataclass(frozen=True)
class _Writing:
    """Writes the pieces of one kernel; see `emit_kernel`."""

    tuning: Tuning
    choices: Mapping[str, Choice]
    odd: frozenset[str]
    numbers: dict[str, int]

    def codes(self, kernel: Kernel, schedule: Schedule) -> Iterator[TritonCode]:
        """Yield the Triton kernels of a kernel."""
        parts = parts_of(kernel, schedule)
        if len(parts) > 1:
            yield from self._codes_of_parts(kernel, parts)
            return
        ((part, order),) = parts
        for piece in separated(piece_of(part, order)):
            yield from self.site_codes(self._site(piece), piece.kernel, kernel.name)

    def _codes_of_parts(
        self, kernel: Kernel, parts: Sequence[tuple[Kernel, Schedule]]
    ) -> Iterator[TritonCode]:
        """Yield the Triton kernels of parts; those that are one each, as one."""
        together: list[_Function] = []
        for n, (part, order) in enumerate(parts):
            own = f"{kernel.name}_{n}"
            found = list(separated(piece_of(replace(part, name=own), order)))
            written = [w for x in found for w in self._pieces(self._site(x), None)]
            if len(written) == 1:
                ((piece, choice),) = written
                shown = found[0].kernel
                together.append(self._function(piece, choice, shown, own, "program"))
                continue
            for piece, choice in written:
                shown = piece.kernel
                yield _code(self._function(piece, choice, shown, own, PROGRAM))
        if together:
            yield _joint_code(kernel, together)

    def site_codes(self, site: Site, shown: Kernel, own: str) -> Iterator[TritonCode]:
        """Yield the Triton kernels of a site; `shown` is the text that explains it."""
        chosen = self.choices.get(site.key) if self.choices else None
        written = list(self._pieces(site, chosen))
        for piece, choice in written:
            text = shown if len(written) == 1 else piece.kernel
            yield _code(self._function(piece, choice, text, own, PROGRAM))

    def _site(self, piece: Piece) -> Site:
        return Site(piece.kernel.name, joined(piece), self.tuning, self.odd)

    def _pieces(
        self, site: Site, chosen: Choice | None
    ) -> Iterator[tuple[Piece, Choice | None]]:
        """Yield a site's piece, or the parts of it, the chosen sizes with the first."""
        piece = site.piece
        if not is_product(piece):
            parts = 0 if chosen is None else chosen.parts
            pieces = split(piece, self.tuning, parts)
        elif stream_of(piece.kernel) is None:
            if chosen is None or chosen.form == LIBRARY:
                chosen = first(site)  # where the library cannot be called
            pieces = split_product(piece, chosen.parts)
        else:
            pieces = iter([piece])
        yield from zip(pieces, chain([chosen], repeat(None)), strict=False)

    def _function(
        self,
        piece: Piece,
        choice: Choice | None,
        shown: Kernel,
        whole: str,
        program: str,
    ) -> "_Function":
        name = _name(piece.kernel.name, whole)
        body = self._body(piece, choice, program)
        return _Function(name, piece, replace(shown, name=name), body)

    def _body(self, piece: Piece, choice: Choice | None, program: str) -> Body:
        numbers = self.numbers
        if is_product(piece) and choice and stream_of(piece.kernel) is None:
            tf32 = self.tuning.tf32
            return write_matmul(piece, choice, numbers, program, self.odd, tf32)
        own = {} if choice is None else choice.blocks
        tuning = replace(self.tuning, blocks={**own, **self.tuning.blocks})
        roles = stream_of(piece.kernel)
        if roles is not None:
            body = write_stream(piece, roles, tuning, numbers, program)
        else:
            body = write_nest(piece, tuning, numbers, program)
        return body if choice is None else _with_warps(body, choice)


def _with_warps(body: Body, choice: Choice) -> Body:
    """Return a body with the warps and stages of a choice, unless it leaves them."""
    warps = choice.num_warps or body.num_warps
    stages = choice.num_stages or body.num_stages
    return replace(body, num_warps=warps, num_stages=stages)


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


def _definition(name: str, arguments: Sequence[str], lines: Sequence[str]) -> str:
    head = ["@triton.jit", f"def {name}(", *(f"    {a}," for a in arguments), "):"]
    return "\n".join([*head, *lines])


def _module(shown: Kernel, functions: Sequence[str]) -> str:
    """Return the text of functions, the last one after what it computes."""
    comments = [f"# {line}".rstrip() for line in format_kernel(shown).splitlines()]
    *others, last = functions
    texts = [*others, "\n".join([*comments, last])]
    return "\n\n\n".join([library("\n".join(functions)), *texts]) + "\n"
