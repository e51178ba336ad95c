"""The text form of Programs: buffers with their storage, then the steps.

program @f(%x0) -> (%y1) arena(256) {
  buffer %x0: f32[8,4] input(0)
  buffer %t2: f32[8] arena(0)
  run @f_k0(%x0) -> (%t2)  ; model.py:3
}
"""

from collections.abc import Sequence

from ..ir.dtypes import dtype_name
from ..kernels.printer import format_kernel
from .lower import contiguous
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
)


def format_program(program: Program, kernels: bool = True) -> str:
    """Return a Program as text.

    Parameters
    ----------
    program : Program
    kernels : bool
        Write its kernels, with their schedules, below it.
    """
    ins, outs = (
        ", ".join(f"%{n}" for n in v) for v in (program.inputs, program.outputs)
    )
    head = f"program @{program.name}({ins}) -> ({outs}) arena({program.arena_bytes}) {{"
    lines = [head, *(f"  {_buffer(b)}" for b in program.buffers)]
    lines += [f"  {line}" for step in program.steps for line in _step(step)]
    lines.append("}")
    text = "\n".join(lines)
    return (
        text + "".join(f"\n\n{k}" for k in kernel_texts(program)) if kernels else text
    )


def kernel_texts(program: Program) -> list[str]:
    """Return each kernel with its schedule, in the order they run."""
    found: dict[str, str] = {}
    _collect(program.steps, found)
    return list(found.values())


def _collect(steps: Sequence[Step], found: dict[str, str]) -> None:
    for step in steps:
        if isinstance(step, Run):
            found[step.kernel.name] = format_kernel(step.kernel, step.schedule)
        elif isinstance(step, Loop):
            _collect(step.steps, found)
        elif isinstance(step, If):
            _collect((*step.on_true, *step.on_false), found)


def _buffer(buffer: ProgramBuffer) -> str:
    dims = ",".join(map(str, buffer.shape))
    text = f"buffer %{buffer.name}: {dtype_name(buffer.dtype)}[{dims}]"
    if buffer.strides != contiguous(buffer.shape):
        text += f" strides({', '.join(map(str, buffer.strides))})"
    return f"{text} {_storage(buffer)}"


def _storage(buffer: ProgramBuffer) -> str:
    if buffer.storage is Storage.ALIAS:
        return f"alias(%{buffer.base} + {buffer.offset})"
    if buffer.storage is Storage.ARENA:
        return f"arena({buffer.offset})"
    if buffer.storage is Storage.CONSTANT:
        return "constant"
    return f"{buffer.storage.value}({buffer.index})"


def _step(step: Step) -> list[str]:
    source = f"  ; {', '.join(step.source)}" if step.source else ""
    if isinstance(step, Run):
        return [f"run @{step.kernel.name}{_io(step.inputs, step.outputs)}{source}"]
    if isinstance(step, Extern):
        return [f"extern {step.primitive.name}{_io(step.inputs, step.outputs)}{source}"]
    if isinstance(step, Copy):
        return [f"copy %{step.input} -> %{step.output}{source}"]
    if isinstance(step, Loop):
        return [f"loop {step.count} {{{source}", *_block(step.steps), "}"]
    head = f"if %{step.predicate} {{{source}"
    return [head, *_block(step.on_true), "} else {", *_block(step.on_false), "}"]


def _io(ins: Sequence[str], outs: Sequence[str]) -> str:
    left, right = (", ".join(f"%{n}" for n in v) for v in (ins, outs))
    return f"({left}) -> ({right})"


def _block(steps: Sequence[Step]) -> list[str]:
    return [f"  {line}" for step in steps for line in _step(step)]
