"""What is found in a Recording: captures, constants, writes, donations, Python loops.

Needs a `Lowered` with the recording of its call. Establishes its findings; a pure
function of it.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..compiled import is_passed_as_is
from ..ir.aval import ShapedArray
from ..ir.graph import Eqn, Graph, Var, subgraphs
from ..ir.ops.shape import constant_p
from ..ir.primitive import ArrayConstant
from ..ir.rerolling import Rolled
from ..lowering import input_strides
from ..program.program import Copy, Purpose
from ..stages import Lowered
from ..tracing.leaves import place_name, value_text
from ..tracing.record import Recording
from ..tracing.turns import UNROLLED
from ..unused import unused
from .finding import Finding, at

_VALUES = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


def recording_findings(lowered: Lowered) -> Iterator[Finding]:
    """Yield what the recording of a function has to tell."""
    recording = lowered.recording
    yield from _arguments(recording)
    yield from _captures(recording)
    yield from _data(lowered)
    yield from _writes(lowered)
    yield from _donations(lowered)
    yield from _loops(lowered)


# --- arguments --------------------------------------------------------------------


def _arguments(recording: Recording) -> Iterator[Finding]:
    for i, leaf in enumerate(recording.arguments):
        if leaf.aval is not None and leaf.kind == "array":
            if leaf.strides or not leaf.is_readable:
                size = leaf.aval.nbytes
                yield _array(leaf.name, leaf.text, size, leaf.is_readable)
        elif i in recording.pinned:
            line = recording.asked.get(i, "")
            sources = (line,) if line else ()
            yield Finding(
                "SPECIAL_ASKED",
                f"{leaf.name} is {leaf.text}; Python asked{at(sources)}",
                sources,
                leaf.name,
            )
        elif leaf.kind == "static":
            code = "SPECIAL_OBJECT" if leaf.identity else "SPECIAL_VALUE"
            yield Finding(code, f"{leaf.name} is {leaf.text}", subject=leaf.name)
        elif leaf.kind == "int" and i not in recording.inputs:
            yield Finding(
                "SPECIAL_INT", f"{leaf.name} is {leaf.text}", subject=leaf.name
            )
    yield from _aliases(recording)


def _array(name: str, text: str, size: int, is_readable: bool) -> Finding:
    """Return what an array costs that is not C-contiguous and aligned."""
    if is_readable:
        return Finding("LAYOUT_STRIDED", f"{name} is {text}", subject=name)
    return Finding("CALL_UNALIGNED", f"{name} is {text}", subject=name, bytes=size)


def _memory(name: str, array: np.ndarray) -> Iterator[Finding]:
    """Yield the same of a captured array."""
    is_readable = is_passed_as_is(array)
    if not is_readable or not array.flags.c_contiguous:
        aval = ShapedArray(array.shape, array.dtype)
        text = f"{aval}, strides {list(array.strides)}"
        yield _array(name, text, aval.nbytes, is_readable)


def _aliases(recording: Recording) -> Iterator[Finding]:
    for i, first in enumerate(recording.call.aliases):
        if i != first:
            name, other = (recording.arguments[k].name for k in (i, first))
            yield Finding("SPECIAL_ALIASES", f"{name} is {other}", subject=name)


# --- captures ---------------------------------------------------------------------


def _captures(recording: Recording) -> Iterator[Finding]:
    for capture in recording.captures:
        aval = None if capture.var is None else capture.var.aval
        lines = _first_read(recording.graph, capture.var)
        yield Finding(
            "CAPTURE_ARRAY",
            f"{capture.name}: {aval}{at(lines)}",
            lines,
            capture.name,
            None if aval is None else aval.nbytes,
        )
        yield from _memory(f"the captured {capture.name}", capture.array)
    functions = []
    for constant in recording.constants:
        if isinstance(constant.value, _VALUES):
            text = f"{constant.name} is {value_text(constant.value)}"
            yield Finding("CAPTURE_VALUE", text, subject=constant.name)
        else:
            functions.append(constant.name)
    if functions:
        names = ", ".join(dict.fromkeys(functions))
        yield Finding("CAPTURE_FUNCTION", names, subject=names)


def _first_read(graph: Graph, var: Var | None) -> tuple[str, ...]:
    """Return the lines of the first equation that reads a variable, or a view of it."""
    known: set[object] = {var}
    for eqn in graph.eqns:
        if known.intersection(eqn.invars):
            if eqn.source:
                return eqn.source
            known.update(eqn.outvars)
    return ()


def _data(lowered: Lowered) -> Iterator[Finding]:
    """Yield the recorded arrays that are still there when all passes ran."""
    left = {value for _, value in _constants(lowered.graph)}
    for eqn, value in _constants(lowered.recording.graph):
        if value in left:
            aval = eqn.outvars[0].aval
            text = f"{aval}{at(eqn.source)}"
            yield Finding("CAPTURE_DATA", text, eqn.source, bytes=aval.nbytes)


def _constants(graph: Graph) -> Iterator[tuple[Eqn, ArrayConstant]]:
    """Yield the equations that hold an array, in graphs inside of it too."""
    for eqn in graph.eqns:
        value = eqn.params.get("value")
        if eqn.primitive is constant_p and isinstance(value, ArrayConstant):
            yield eqn, value
        for inner in subgraphs(eqn.params):
            yield from _constants(inner)


# --- writes and donations ---------------------------------------------------------


def _writes(lowered: Lowered) -> Iterator[Finding]:
    recording, program = lowered.recording, lowered.program
    definitions = {v: e for e in recording.graph.eqns for v in e.outvars}
    copied = {
        s.output
        for s in program.steps
        if isinstance(s, Copy) and s.purpose is Purpose.WRITE_BACK
    }
    for leaf, out in recording.writes:
        var = recording.graph.outvars[out]
        made = definitions.get(var) if isinstance(var, Var) else None
        lines = () if made is None else made.source
        in_place = out in program.donors and program.outputs[out] not in copied
        code = "WRITE_IN_PLACE" if in_place else "WRITE_COPIED"
        name = recording.arguments[leaf].name
        yield Finding(
            code,
            f"{name}: {var.aval}{at(lines)}",
            lines,
            name,
            None if in_place else var.aval.nbytes,
        )
    for change in recording.changes:
        name = place_name(change.path, recording.call.parameters)
        text = f"{name} is filled anew after each call, with {len(change.entries)}"
        yield Finding("WRITE_CONTAINER", text, subject=name)


def _donations(lowered: Lowered) -> Iterator[Finding]:
    recording, program = lowered.recording, lowered.program
    writes = {out for _, out in recording.writes}
    for out, place in program.donors.items():
        feed = recording.inputs[place]
        if out in writes or not isinstance(feed, int) or feed not in lowered.donated:
            continue
        name, aval = lowered.donated[feed], recording.graph.out_avals[out]
        text = f"{name}: output {out}, {aval}"
        yield Finding("DONATION_USED", text, subject=name, bytes=aval.nbytes)
    taken = {*program.donors.values()}
    for row in unused(recording, lowered.donated, taken, input_strides(program)):
        text = f"{row.name}: {row.aval} {row.why}"
        yield Finding(row.code, text, subject=row.name, bytes=row.aval.nbytes)


# --- loops ------------------------------------------------------------------------


def _loops(lowered: Lowered) -> Iterator[Finding]:
    rolled = {
        line
        for note in lowered.findings
        if isinstance(note, Rolled)
        for line in note.source
    }
    turns = lowered.recording.turns
    counts = Counter(e.source[0] for e in lowered.recording.graph.eqns if e.source)
    for line, count in counts.items():
        if count >= UNROLLED and line in turns and line not in rolled:
            yield Finding(
                "LOOP_UNROLLED",
                f"{line}: {count} equations, {turns[line]} turns",
                (line,),
                details=(("turns", turns[line]), ("equations", count)),
            )
