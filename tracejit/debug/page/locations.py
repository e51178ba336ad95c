"""Which instructions of LLVM text the lines of its assembly come from.

Needs the text of a module, and which of its lines are of interest. LLVM itself follows
them through its passes: `with_locations` gives each the location that debug information
would have, its own number, and `taken_out` reads these numbers from the assembly, which
is then as it is without them.
"""

import re
from collections.abc import Iterator, Sequence, Set

_FIRST = 1_000_000  # number of a node of metadata; modules have few of their own
_LOCATION = re.compile(r"^\s*\.loc\s+\d+\s+(\d+)")
_INSTRUCTION = re.compile(r"^\s+[a-z]")
_ONLY_OF_DEBUG = re.compile(
    r'^(\.Ltmp\d+|\.Lfunc_begin\d+):|^\s*\.(cfi_|file\s+(\d|"kernels"))'
)
_SECTION = re.compile(r"^\s*\.section\s+(\S+?)[,\s]")


def with_locations(
    lines: Sequence[str], functions: Sequence[tuple[int, int]], chosen: Set[int]
) -> str:
    """Return the text of a module whose instructions have locations.

    Parameters
    ----------
    lines : sequence of str
        Of the module.
    functions : sequence of (int, int)
        First and last line of each.
    chosen : set of int
        Lines, counted from 0, whose number from 1 becomes their location. Others of
        their functions are of line 0.
    """
    out = list(lines)
    scopes: list[str] = []
    for first, last in functions:
        if chosen.isdisjoint(range(first, last)):
            continue
        scope = _FIRST + 4 + len(scopes)
        scopes.append(
            f'!{scope} = distinct !DISubprogram(name: "f", file: !{_FIRST + 1}, '
            f"type: !{_FIRST + 2}, spFlags: DISPFlagDefinition, unit: !{_FIRST})"
        )
        out[first] = f"{lines[first].removesuffix('{')}!dbg !{scope} {{"
        for k in range(first + 1, last):
            if _INSTRUCTION.match(lines[k]) or lines[k].startswith("  %"):
                number = k + 1 if k in chosen else 0
                out[k] += f", !dbg !DILocation(line: {number}, scope: !{scope})"
    return "\n".join([*out, *_UNIT, *scopes, ""])


_UNIT = (
    f"!llvm.dbg.cu = !{{!{_FIRST}}}",
    f"!llvm.module.flags = !{{!{_FIRST + 3}}}",
    f'!{_FIRST + 3} = !{{i32 2, !"Debug Info Version", i32 3}}',
    f"!{_FIRST} = distinct !DICompileUnit(language: DW_LANG_C, "
    f"file: !{_FIRST + 1}, emissionKind: LineTablesOnly)",
    f'!{_FIRST + 1} = !DIFile(filename: "kernels", directory: "")',
    f"!{_FIRST + 2} = !DISubroutineType(types: !{{}})",
)


def taken_out(assembly: str) -> tuple[str, list[int]]:
    """Return assembly without locations, and the line of LLVM text of each line.

    Lines are counted from 0; it is -1 where an instruction comes from no chosen one.
    """
    pairs = [*_located(assembly.rstrip("\n").split("\n")), ("", -1)]
    return "\n".join(text for text, _ in pairs), [number for _, number in pairs]


def _located(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    number, is_debug = 0, False
    for line in lines:
        section = _SECTION.match(line)
        if section:
            is_debug = section[1].startswith(".debug_")
        location = _LOCATION.match(line)
        if location:
            number = int(location[1])
        elif not is_debug and not _ONLY_OF_DEBUG.match(line):
            is_instruction = _INSTRUCTION.match(line) is not None
            if line.startswith(".Lfunc_end"):
                number = 0
            yield line, number - 1 if is_instruction else -1
