"""Machine code as text, linked to kernels and to the values that its lines compute.

Needs the LLVM text of a Program with comments that name values. Establishes `Code`: the
LLVM module, its assembly, or Triton source (`triton`); which lines are of which
kernels, by the names of functions; and which compute which of a kernel's values, in
assembly as far as LLVM can tell (`locations`). Lines that only call a kernel are of it,
too. A function that several kernels call is of all of these.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...codegen.llvm.emission import symbol_of
from ...codegen.llvm.host import MAIN_SYMBOL
from ...codegen.llvm.target import Target
from ...codegen.llvm.text import NOTE
from ...program.program import Program, Run, nested
from ...runtime.cpu.engine import engine_for
from .locations import taken_out, with_locations

ASSEMBLY_LIMIT = 60_000  # lines of LLVM text beyond which assembly takes too long
_DEFINE = re.compile(r"^define [^@]*@([\w.$]+)\(")
_SYMBOL = re.compile(r"@([\w.$]+)")
_CALL = re.compile(r"\bcall\w*\s.*?@?([\w.$]+)(?:@PLT)?(?:\(|$)")
_LABEL = re.compile(r'^"?([\w.$]+)"?:')


@dataclass(frozen=True)
class Section:
    """Lines `first` to `last`, counted from 0, and the kernels that they are of."""

    name: str
    first: int
    last: int
    kernels: tuple[str, ...]


@dataclass(frozen=True)
class Mark:
    """A line, counted from 0, and the value of a kernel that it computes."""

    line: int
    kernel: str
    value: str


@dataclass(frozen=True)
class Code:
    """One kind of code.

    Parameters
    ----------
    id, title : str
    text : str
    sections : list of Section
        Functions, and inside of them lines that call kernels.
    marks : list of Mark
        In order.
    note : str
        What is to be said of it, or nothing.
    """

    id: str
    title: str
    text: str
    sections: list[Section]
    marks: list[Mark] = field(default_factory=list)
    note: str = ""


def native_code(text: str, target: Target, program: Program) -> list[Code]:
    """Return an LLVM module and its assembly.

    Parameters
    ----------
    text : str
        The module, annotated.
    target : Target
    program : Program
        What it was made of.
    """
    runs = [s for s in nested(program.steps) if isinstance(s, Run)]
    symbols = {symbol_of(s.kernel.name): s.kernel.name for s in runs}
    noted = text.split("\n")
    lines = [line.partition(NOTE)[0] for line in noted]
    functions = _functions(lines, symbols)
    marks = list(_marks(noted, functions))
    sections = [*functions, *_calls(lines, functions, symbols)]
    llvm = Code("llvm", "LLVM", "\n".join(lines), sections, marks)
    if len(lines) > ASSEMBLY_LIMIT:
        note = (
            f"The module has {len(lines):,} lines of LLVM text, and its assembly is "
            "left out here. tracejit emit --target asm writes it."
        )
        return [llvm, Code("asm", "Assembly", "", [], note=note)]
    chosen = {m.line: m for m in marks}
    places = [(f.first, f.last) for f in functions]
    assembly = engine_for(target).assembly(with_locations(lines, places, {*chosen}))
    return [llvm, _assembly(assembly, functions, symbols, chosen)]


# --- LLVM -------------------------------------------------------------------------


def _functions(lines: Sequence[str], symbols: Mapping[str, str]) -> list[Section]:
    """Return the functions of a module."""
    bounds = list(_bounds(lines))
    called = {
        name: {
            symbol
            for line in lines[first + 1 : last]
            if "@" in line
            for symbol in _SYMBOL.findall(line)
        }
        for name, first, last in bounds
    }
    owners: dict[str, dict[str, None]] = {name: {} for name in called}
    for name in called:
        kernel = _kernel_of(name, symbols)
        if kernel:
            _own(name, kernel, called, owners, symbols)
    return [Section(n, first, last, tuple(owners[n])) for n, first, last in bounds]


def _marks(noted: Sequence[str], functions: Sequence[Section]) -> Iterator[Mark]:
    """Yield what the comments of the functions of kernels say."""
    for function in functions:
        for i in range(function.first, function.last if function.kernels else 0):
            value = noted[i].partition(NOTE)[2]
            if value:
                yield Mark(i, function.kernels[0], value)


def _own(
    name: str,
    kernel: str,
    called: Mapping[str, set[str]],
    owners: Mapping[str, dict[str, None]],
    symbols: Mapping[str, str],
) -> None:
    """Note that a function, and whatever it calls, is of a kernel."""
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in called or kernel in owners[one]:
            continue
        if one != name and _kernel_of(one, symbols):
            continue
        owners[one][kernel] = None
        waiting += called[one]


def _bounds(lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    name, first = "", 0
    for i, line in enumerate(lines):
        match = _DEFINE.match(line)
        if match:
            name, first = match[1], i
        elif line == "}" and name:
            yield name, first, i
            name = ""


def _kernel_of(symbol: str, symbols: Mapping[str, str]) -> str:
    """Return the kernel that a function is, or is a part of: ``k0.epilogue``."""
    while symbol not in symbols and "." in symbol:
        symbol = symbol.rpartition(".")[0]
    return symbols.get(symbol, "")


def _calls(
    lines: Sequence[str], functions: Sequence[Section], symbols: Mapping[str, str]
) -> Iterator[Section]:
    """Yield the lines of the host function that call kernels."""
    for main in functions:
        if main.name != MAIN_SYMBOL:
            continue
        for i in range(main.first, main.last + 1):
            match = _CALL.search(lines[i]) if "call" in lines[i] else None
            kernel = _kernel_of(match[1], symbols) if match else ""
            if kernel:
                yield Section("", i, i, (kernel,))


# --- assembly ---------------------------------------------------------------------


def _assembly(
    located: str,
    functions: Sequence[Section],
    symbols: Mapping[str, str],
    chosen: Mapping[int, Mark],
) -> Code:
    text, origins = taken_out(located)
    lines = text.split("\n")
    owners = {f.name: f.kernels for f in functions}
    starts = [
        (i, match[1])
        for i, line in enumerate(lines)
        if (match := _LABEL.match(line)) and match[1] in owners
    ]
    ends = [i - 1 for i, _ in starts[1:]] + [len(lines) - 1]
    sections = [
        Section(name, first, last, owners[name])
        for (first, name), last in zip(starts, ends, strict=True)
    ]
    sections += _calls(lines, sections, symbols)
    marks = [replace(chosen[k], line=i) for i, k in enumerate(origins) if k in chosen]
    return Code("asm", "Assembly", text, sections, marks)
