"""The text form of programs: buffers, steps, then the kernels they run.

    program @mlp(%x0, %x1) -> (%y2) arena(64) {
      %x0: f32[8,16] = input 0
      %x1: f32[4,16] strides(1,4) = input 1
      %y2: f32[8] = output 0
      %t3: f32[8,4] = arena 0
      %t4: f32[4,8] strides(1,4) = alias %t3 + 0
      run @mlp_k0(%x0, %x1) -> (%t3)  ; model.py:12
      extern sort(%t4) -> (%y2) {axis=0}
    }

Arena buffers say where in the arena they start, in bytes; ``arena ?`` before that is
planned. Aliases say how many elements after their base they start, and how far they
move at each turn of a loop (``alias %x0 + 0 + 4*i5`` in ``loop i5: 10 {``). An output
in the memory of an input, which it overwrites, names it (``output 0 in %x0``). What is
printed here is parsed by `parser`.
"""

from collections.abc import Iterator, Sequence

from ..ir.primitive import ArrayConstant
from ..ir.printer import format_array, format_params
from ..kernels.printer import format_kernel, format_name, format_source, format_type
from .program import (
    Copy,
    Extern,
    If,
    Loop,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    While,
    nested,
)


def format_program(program: Program) -> str:
    """Return a program and its kernels, each with its schedule, as text."""
    ins, outs = _names(program.inputs), _names(program.outputs)
    name, size = format_name(program.name), program.arena_bytes
    head = f"program @{name}({ins}) -> ({outs}) arena({size}) {{"
    body = [f"  {format_buffer(b)}" for b in program.buffers]
    body += [f"  {line}" for line in _steps(program.steps)]
    runs = {s.kernel.name: s for s in nested(program.steps) if isinstance(s, Run)}
    kernels = [format_kernel(s.kernel, s.schedule) for s in runs.values()]
    return "\n\n".join(["\n".join([head, *body, "}"]), *kernels]) + "\n"


def format_step(step: Step) -> str:
    """Return a step as text, of a loop or a branch its first line."""
    return next(_step(step))


def format_buffer(buffer: ProgramBuffer) -> str:
    """Return the line that declares a buffer."""
    kind = format_type(buffer.dtype, buffer.shape, buffer.strides)
    return f"%{buffer.name}: {kind} = {_home(buffer)}"


def _home(buffer: ProgramBuffer) -> str:
    if buffer.storage is Storage.CONSTANT:
        assert buffer.data is not None
        return f"constant {format_array(ArrayConstant(buffer.data))}"
    if buffer.storage is Storage.ALIAS:
        moves = "".join(f" + {m.step}*{m.loop}" for m in buffer.moves)
        return f"alias %{buffer.base} + {buffer.offset}{moves}"
    if buffer.storage is Storage.ARENA:
        return f"arena {buffer.offset if buffer.offset >= 0 else '?'}"
    place = f" in %{buffer.donor}" if buffer.donor is not None else ""
    return f"{buffer.storage.value} {buffer.index}{place}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"%{n}" for n in names)


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        yield from _step(step)


def _step(step: Step) -> Iterator[str]:
    source = format_source(step.source)
    if isinstance(step, Run):
        kernel = format_name(step.kernel.name)
        ins, outs = _names(step.inputs), _names(step.outputs)
        yield f"run @{kernel}({ins}) -> ({outs}){source}"
    elif isinstance(step, Extern):
        ins, outs = _names(step.inputs), _names(step.outputs)
        params = format_params(step.params, "  ")
        call = f"extern {step.primitive.name}({ins}) -> ({outs})"
        yield f"{call} {params}".rstrip() + source
    elif isinstance(step, Copy):
        yield f"copy %{step.input} -> %{step.output}{source}"
    elif isinstance(step, Loop):
        name = f"{step.name}: " if step.name else ""
        yield f"loop {name}{step.count} {{{source}"
        yield from (f"  {line}" for line in _steps(step.steps))
        yield "}"
    elif isinstance(step, While):
        yield from _while(step)
    else:
        yield from _if(step)


def _while(step: While) -> Iterator[str]:
    yield f"while %{step.predicate} {{{format_source(step.source)}"
    yield from (f"  {line}" for line in _steps(step.test))
    yield "} do {"
    yield from (f"  {line}" for line in _steps(step.steps))
    yield "}"


def _if(step: If) -> Iterator[str]:
    yield f"if %{step.predicate} {{{format_source(step.source)}"
    yield from (f"  {line}" for line in _steps(step.on_true))
    yield "} else {"
    yield from (f"  {line}" for line in _steps(step.on_false))
    yield "}"
