"""What is found in a Program and in what its passes left: fusion, memory, copies, host.

Needs a `Lowered`. Establishes its findings; a pure function of it, but for how an
extern step is computed, which depends on this machine's NumPy.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ..codegen.llvm.kernels import ModuleScope
from ..codegen.llvm.sharing import SERIAL
from ..codegen.llvm.steps import write_step
from ..codegen.llvm.steps.code import Setting
from ..codegen.llvm.target import host_target
from ..ir.aval import ShapedArray
from ..ir.ops.callback import callback_p, check_p
from ..ir.primitive import HostFunction
from ..ir.rerolling import Rolled
from ..passes.notes import Boundary, LaidOut, Note, TakenApart
from ..program.program import (
    Copy,
    Extern,
    Loop,
    Program,
    ProgramBuffer,
    Purpose,
    Step,
    Storage,
    ends_of,
    is_nothing,
    is_update,
    parts_of,
)
from ..runtime.cpu.externs import resolve_loop
from ..stages import Lowered
from .finding import Finding, at

COPY_CODES: Mapping[Purpose, str] = {
    Purpose.RESULT: "COPY_RESULT",
    Purpose.RESHAPE: "LAYOUT_RESHAPE",
    Purpose.PIECE: "COPY_PIECE",
    Purpose.PART: "COPY_PART",
    Purpose.BRANCH: "COPY_BRANCH",
    Purpose.SLICE: "COPY_SLICE",
    Purpose.START: "COPY_START",
    Purpose.CARRY: "COPY_CARRY",
    Purpose.WHOLE: "COPY_WHOLE",
    Purpose.WRITE_BACK: "WRITE_COPIED",
}
Uses = Mapping[str, dict[str, None]]  # the owner of memory to lines


def program_findings(lowered: Lowered) -> Iterator[Finding]:
    """Yield what a program and its passes have to tell."""
    for note in lowered.findings:
        yield _of_note(note)
    yield from _intermediates(lowered.program)
    for step, times in walked(lowered.program.steps):
        if isinstance(step, Copy):
            yield from _of_copy(lowered, step, times)
        elif isinstance(step, Extern):
            yield from _of_extern(lowered, step, times)


def walked(steps: Sequence[Step], times: int = 1) -> Iterator[tuple[Step, int]]:
    """Yield steps, each before those inside of it, and how often a call runs them.

    Both branches of a choice count, and one turn of loops whose number is not known.
    """
    for step in steps:
        yield step, times
        inner = times * step.count if isinstance(step, Loop) else times
        for part in parts_of(step):
            yield from walked(part, inner)


# --- what passes left -------------------------------------------------------------


def _of_note(note: Note) -> Finding:
    if isinstance(note, Boundary):
        return _of_boundary(note)
    if isinstance(note, Rolled):
        return Finding(
            "LOOP_REROLLED",
            f"{note.turns} turns of {note.equations} equations{at(note.source)}",
            note.source,
            details=(("turns", note.turns), ("equations", note.equations)),
        )
    if isinstance(note, LaidOut):
        return Finding(
            "LAYOUT_PACKED",
            f"{note.aval}, read by {note.products} products{at(note.source)}",
            note.source,
            bytes=note.aval.nbytes,
        )
    assert isinstance(note, TakenApart)
    return Finding(
        "LAYOUT_APART",
        f"{note.aval}, {note.equations} equations{at(note.source)}",
        note.source,
    )


def _of_boundary(note: Boundary) -> Finding:
    made, used = note.producer, note.consumer
    aval = note.value.aval
    named = f"{note.value.name}, {aval}," if note.value.name else f"{aval}"
    sides = f"{made.primitive.name}{at(made.source)} → {used.primitive.name}"
    return Finding(
        note.reason.name,
        f"{sides}{at(used.source)}: {named} goes through memory",
        tuple(dict.fromkeys((*made.source, *used.source))),
        f"{made.primitive.name} → {used.primitive.name}",
        aval.nbytes,
        (
            ("made_at", ", ".join(made.source)),
            ("used_at", ", ".join(used.source)),
            ("value", str(aval)),
        ),
    )


# --- memory -----------------------------------------------------------------------


def _intermediates(program: Program) -> Iterator[Finding]:
    """Yield what is stored in the arena, larger values first."""
    by_name = program.by_name
    written: Uses = defaultdict(dict)
    read: Uses = defaultdict(dict)
    for step, _ in walked(program.steps):
        if is_nothing(step, by_name):
            continue
        for uses, names in zip((read, written), ends_of(step), strict=True):
            for name in names:
                lines = dict.fromkeys(step.source)
                uses[by_name[name].base or name].update(lines)
    found = [b for b in program.buffers if b.storage is Storage.ARENA]
    for buffer in sorted(found, key=lambda b: -size_of(b)):
        made, used = tuple(written[buffer.name]), tuple(read[buffer.name])
        reader = f", read{at(used)}" if used else ""
        yield Finding(
            "MEMORY_INTERMEDIATE",
            f"{aval_of(buffer)}, computed{at(made)}{reader}",
            tuple(dict.fromkeys((*made, *used))),
            f"%{buffer.name}",
            size_of(buffer),
        )


def size_of(buffer: ProgramBuffer) -> int:
    """Return the bytes of a buffer's elements."""
    return aval_of(buffer).nbytes


def aval_of(buffer: ProgramBuffer) -> ShapedArray:
    """Return shape and dtype of a buffer."""
    return ShapedArray(buffer.shape, buffer.dtype)


# --- copies -----------------------------------------------------------------------


def _of_copy(lowered: Lowered, step: Copy, times: int) -> Iterator[Finding]:
    program = lowered.program
    by_name = program.by_name
    if step.purpose is Purpose.WRITE_BACK or is_nothing(step, by_name):
        return
    source, target = by_name[step.input], by_name[step.output]
    turns = f", {times} times" if times > 1 else ""
    what = f"{aval_of(target)}"
    if step.purpose is Purpose.RESULT:
        what = f"result {target.index}, {what}, is {_origin(lowered, source)}"
    yield Finding(
        COPY_CODES[step.purpose],
        f"{what}{turns}{at(step.source)}",
        step.source,
        _origin(lowered, source),
        size_of(target) * times,
    )


def _origin(lowered: Lowered, buffer: ProgramBuffer) -> str:
    """Say what the memory of a buffer is."""
    by_name = lowered.program.by_name
    owner = by_name[buffer.base] if buffer.base is not None else buffer
    view = "a view of " if owner is not buffer else ""
    if owner.storage is Storage.INPUT:
        return view + input_name(lowered, owner.index)
    if owner.storage is Storage.CONSTANT:
        return f"{view}a constant"
    if owner.storage is Storage.OUTPUT:
        return f"{view}result {owner.index}"
    return f"{view}an intermediate value"


def input_name(lowered: Lowered, index: int) -> str:
    """Return the name of an argument leaf or of a captured array."""
    feed = lowered.recording.inputs[index]
    if not isinstance(feed, int):
        return f"the captured {feed.name}"
    return f"the argument {lowered.recording.arguments[feed].name}"


# --- steps outside of kernels -----------------------------------------------------


def _of_extern(lowered: Lowered, step: Extern, times: int) -> Iterator[Finding]:
    name, what = step.primitive.name, f", {times} times" if times > 1 else ""
    code, by, in_place = _computed(lowered, step)
    by_name = lowered.program.by_name
    if in_place and not is_update(step, 0, by_name):
        operand = by_name[step.inputs[0]]
        yield Finding(
            "COPY_OPERAND",
            f"{aval_of(operand)}, {_origin(lowered, operand)}, for {name}{what}"
            f"{at(step.source)}",
            step.source,
            name,
            size_of(operand) * times,
        )
    if code:
        yield Finding(code, f"{name}{by}{what}{at(step.source)}", step.source, name)


def _computed(lowered: Lowered, step: Extern) -> tuple[str, str, bool]:
    """Return how a step is computed: a code, by what, and whether in place."""
    if step.primitive in (callback_p, check_p):
        fn = step.params.get("fn")
        label = f" of {fn.label}" if isinstance(fn, HostFunction) else ""
        return "HOST_CALLBACK", label, False
    if lowered.device is not None:
        return _on_device(lowered, step)
    program = lowered.program
    ends = [
        [program.by_name[name].as_parameter(name) for name in names]
        for names in (step.inputs, step.outputs)
    ]
    setting = Setting("step", host_target("auto"), ModuleScope().emitter, SERIAL)
    code = write_step(setting, step.primitive, step.params, *ends)
    if code is not None:
        return "", "", code.in_place
    dtypes = [tuple(b.dtype for b in buffers) for buffers in ends]
    loop = resolve_loop(step.primitive, step.params, *dtypes)
    if loop is None:
        return "HOST_PYTHON", f" by {implementation(step)}", False
    parts = loop.symbol.split(".")
    name = ".".join(parts[: -sum(map(len, dtypes))])
    return "HOST_NUMPY", f" by {name}", loop.in_place


def implementation(step: Extern) -> str:
    """Return what Python calls for a step, by name."""
    impl = step.primitive.impl
    module = str(getattr(impl, "__module__", ""))
    name = str(getattr(impl, "__name__", ""))
    if module.startswith("numpy") and not name.startswith("_"):
        return f"{module}.{name}"
    return "NumPy, called from Python"


def _on_device(lowered: Lowered, step: Extern) -> tuple[str, str, bool]:
    """Return the same where a program runs on a GPU; its backend loads here."""
    from ..codegen.triton.externs import step_kernel  # noqa: PLC0415
    from ..runtime.cuda.linalg import has_library_step  # noqa: PLC0415

    assert lowered.device is not None
    if step_kernel(lowered.program, step) is not None:
        return "", "", False
    if has_library_step(lowered.device, lowered.program, step):
        return "", "", False
    return "HOST_COPIED", "", False
