"""What is found in a Program and in what its passes left: fusion, memory, copies, host.

Needs a `Lowered`. Establishes its findings; a pure function of it, but for how an
extern step is computed, which depends on this machine's NumPy.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..codegen.llvm.emission import ModuleScope
from ..codegen.llvm.sharing import SERIAL
from ..codegen.llvm.steps import write_step
from ..codegen.llvm.steps.code import Setting
from ..codegen.llvm.steps.factor import LapackRoutine
from ..codegen.llvm.target import host_target
from ..ir.aval import ShapedArray
from ..ir.ops.callback import callback_p, check_p
from ..ir.primitive import HostFunction
from ..ir.printer import format_params
from ..ir.rerolling import Rolled
from ..passes.notes import Boundary, ComputedAgain, LaidOut, Note, TakenApart
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
    # A pass may come to the same refusal by several ways.
    yield from map(_of_note, dict.fromkeys(lowered.findings))
    yield from _intermediates(lowered.program)
    yield from _Steps(lowered).findings()


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
        )
    if isinstance(note, ComputedAgain):
        return Finding(
            "MEMORY_AGAIN",
            f"{note.aval}{at(note.source)}",
            note.source,
            details=(("kernels", note.readers), ("equations", note.operations)),
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
        maker = f", computed{at(made)}" if made else ""
        reader = f", read{at(used)}" if used else ""
        yield Finding(
            "MEMORY_INTERMEDIATE",
            f"{aval_of(buffer)}{maker}{reader}",
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


# --- steps that are no kernels ----------------------------------------------------


@dataclass(frozen=True)
class _Computed:
    """How an extern step is computed: a code, by what, and whether in place."""

    code: str = ""
    by: str = ""
    in_place: bool = False


class _Steps:
    """What the steps of a program have to tell: copies, and what the host computes."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered, self.program = lowered, lowered.program
        self.by_name = lowered.program.by_name
        self.known: dict[Hashable, _Computed] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield findings in the order of the steps."""
        for step, times in walked(self.program.steps):
            if isinstance(step, Copy):
                yield from self._of_copy(step, times)
            elif isinstance(step, Extern):
                yield from self._of_extern(step, times)

    def _of_copy(self, step: Copy, times: int) -> Iterator[Finding]:
        if step.purpose is Purpose.WRITE_BACK or is_nothing(step, self.by_name):
            return  # writes are told of as such
        source, target = self.by_name[step.input], self.by_name[step.output]
        turns = f", {times} times" if times > 1 else ""
        what = f"{aval_of(target)}, {self._origin(source)}"
        if step.purpose is Purpose.RESULT:
            what = f"result {target.index}, {what}"
        yield Finding(
            COPY_CODES[step.purpose],
            f"{what}{turns}{at(step.source)}",
            step.source,
            self._origin(source),
            size_of(target) * times,
        )

    def _origin(self, buffer: ProgramBuffer) -> str:
        """Say what the memory of a buffer is."""
        owner = self.by_name[buffer.base] if buffer.base is not None else buffer
        view = "a view of " if owner is not buffer else ""
        if owner.storage is Storage.INPUT:
            return view + input_name(self.lowered, owner.index)
        if owner.storage is Storage.CONSTANT:
            return f"{view}a constant"
        if owner.storage is Storage.OUTPUT:
            return f"{view}result {owner.index}"
        return f"{view}an intermediate value"

    def _of_extern(self, step: Extern, times: int) -> Iterator[Finding]:
        name, turns = step.primitive.name, f", {times} times" if times > 1 else ""
        found = self._computed(step)
        if found.in_place and not is_update(step, 0, self.by_name):
            operand = self.by_name[step.inputs[0]]
            yield Finding(
                "COPY_OPERAND",
                f"{aval_of(operand)}, {self._origin(operand)}, for {name}{turns}"
                f"{at(step.source)}",
                step.source,
                name,
                size_of(operand) * times,
            )
        if found.code:
            text = f"{name}{found.by}{turns}{at(step.source)}"
            yield Finding(found.code, text, step.source, name)

    def _computed(self, step: Extern) -> _Computed:
        """Return how a step is computed; alike steps are looked at once."""
        if step.primitive in (callback_p, check_p):
            fn = step.params.get("fn")
            label = f" of {fn.label}" if isinstance(fn, HostFunction) else ""
            return _Computed("HOST_CALLBACK", label)
        ends = [[self.by_name[n] for n in names] for names in ends_of(step)]
        layouts = tuple(
            tuple((b.dtype, b.shape, b.strides) for b in buffers) for buffers in ends
        )
        key = step.primitive.name, format_params(step.params, ""), layouts
        if key not in self.known:
            is_host = self.lowered.device is None
            self.known[key] = (
                on_cpu(step, *ends) if is_host else on_device(self.lowered, step)
            )
        return self.known[key]


def input_name(lowered: Lowered, index: int) -> str:
    """Return the name of an argument leaf or of a captured array."""
    feed = lowered.recording.inputs[index]
    if not isinstance(feed, int):
        return f"the captured {feed.name}"
    return f"the argument {lowered.recording.arguments[feed].name}"


def on_cpu(
    step: Extern, ins: Sequence[ProgramBuffer], outs: Sequence[ProgramBuffer]
) -> _Computed:
    """Return how an extern step is computed by a CPU."""
    setting = Setting("step", host_target("auto"), ModuleScope().emitter, SERIAL)
    parameters = [[b.as_parameter(b.name) for b in buffers] for buffers in (ins, outs)]
    code = write_step(setting, step.primitive, step.params, *parameters)
    if code is not None:
        return _Computed(in_place=code.in_place)
    dtypes = [tuple(b.dtype for b in buffers) for buffers in (ins, outs)]
    loop = resolve_loop(step.primitive, step.params, *dtypes)
    if loop is None:
        return _Computed("HOST_PYTHON", f" by {implementation(step)}")
    if isinstance(loop, LapackRoutine):
        return _Computed("HOST_NUMPY", f" by {loop.symbol}")
    parts = loop.symbol.split(".")
    name = ".".join(parts[: -len(ins) - len(outs)])
    return _Computed("HOST_NUMPY", f" by {name}", loop.in_place)


def implementation(step: Extern) -> str:
    """Return what Python calls for a step, by name."""
    impl = step.primitive.impl
    module = str(getattr(impl, "__module__", ""))
    name = str(getattr(impl, "__name__", ""))
    if module.startswith("numpy") and not name.startswith("_"):
        return f"{module}.{name}"
    return "NumPy, called from Python"


def on_device(lowered: Lowered, step: Extern) -> _Computed:
    """Return how a GPU computes a step; its backend loads here."""
    from ..codegen.triton.externs import step_kernel  # noqa: PLC0415
    from ..runtime.cuda.linalg import has_library_step  # noqa: PLC0415

    assert lowered.device is not None
    if step_kernel(lowered.program, step) is not None:
        return _Computed()
    is_there = has_library_step(lowered.device, lowered.program, step)
    return _Computed() if is_there else _Computed("HOST_COPIED")
