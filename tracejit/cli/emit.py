"""The command `tracejit emit`: one level of one function, as text to be piped on.

Needs the stages of `tracejit.stages` for functions and the passes for graphs in .tir
text. Establishes stdout with one kind of text alone: the Program, its kernels, LLVM
text, assembly, Triton modules, PTX.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from .. import config
from ..codegen.llvm.program import emit_program
from ..codegen.llvm.target import host_target
from ..codegen.triton.build import AMD, Built, build, check_arch, sass_of
from ..codegen.triton.code import TritonCode, TritonKernel
from ..codegen.triton.emit import NOTHING, emit_kernel, sites_of
from ..codegen.triton.externs import step_kernel
from ..codegen.triton.limits import TRITON
from ..codegen.triton.lockfile import LockFile
from ..codegen.triton.machine import tuning_for
from ..codegen.triton.store import triton_version
from ..errors import TracejitError
from ..ir.graph import Graph
from ..ir.printer import format_graph
from ..lowering import host_limits
from ..passes.limits import Limits
from ..passes.manager import PassContext, run_passes
from ..passes.pipelines import compile_to_program, pipeline
from ..program.blocks import with_blocks
from ..program.printer import format_program
from ..program.program import Extern, Loop, Program, Run, Step, nested
from ..runtime.cpu.engine import engine_for
from ..runtime.cpu.externs import resolve_loop
from .args import HELP_END, argument_option, isa_option
from .functions import args_from_option, traced_target, user_errors
from .graphs import graphs_of

TARGETS = (
    "interp",
    "program",
    "kernels",
    "llvm",
    "asm",
    "triton",
    "ptx",
    "sass",
    "amdgcn",
)
GPU_TARGETS = ("triton", "ptx", "sass", "amdgcn")

EPILOG = f"""\b
Examples:
  tracejit emit model.py:predict --arg f32[8,16] --arg f32[16,4] --target kernels
  tracejit emit model.py:softmax --arg f32[4096,1024] --target triton > softmax.py
  tracejit emit model.py:softmax --arg f32[4096,1024] --target ptx --arch sm_90
  tracejit emit model.py:predict --arg f32[8] --target asm --isa avx2
  tracejit emit graph.tir --target llvm

\b
Targets:
  interp   the graph after all passes, which the interpreter runs, as .tir text
  program  buffers and steps
  kernels  the fused loop nests and their schedules
  llvm     the LLVM module for this machine's CPU
  asm      the assembly of that module
  triton   Python modules of Triton kernels, and how each is launched
  ptx      what Triton compiles them to; needs triton, but no GPU
  sass     the instructions of that; likewise
  amdgcn   AMD's assembly; likewise, and it has run on no device yet
  triton:sm_90, triton:gfx942  all of these, and what each kernel takes of a
           multiprocessor

{HELP_END}"""


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE.py:FUNC|MODULE:FUNC|FILE.tir")
@argument_option
@args_from_option
@click.option(
    "--target",
    callback=lambda context, option, value: read_target(value),
    metavar=f"[{'|'.join(TARGETS)}][:SM]",
    default="kernels",
    show_default=True,
    help="What to print; see below.",
)
@isa_option("llvm and asm")
@click.option(
    "--arch",
    metavar="SM",
    help="GPU architecture: sm_80, sm_90, sm_100, ... of ptx and sass (sm_90 if none "
    "is said), gfx942, ... of amdgcn (gfx942).",
)
def emit(
    source: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    target: tuple[str, str],
    isa: str | None,
    arch: str | None,
) -> None:
    """Print one level of a function: Program, kernels, LLVM, assembly, Triton, PTX.

    FUNC is a plain NumPy function, or one under tj.jit or tj.grad; FILE.tir has
    graphs, as `tracejit trace --level graph` prints them. Nothing is run.
    """
    switches = {} if isa is None else {"isa": isa}
    with user_errors(), config.override(**switches):
        name, own_arch = target
        wanted = own_arch or arch or ("gfx942" if name == "amdgcn" else "sm_90")
        check_target(name, wanted)
        if name == "interp":
            graphs = map(after_passes, graphs_of(source, arguments, args_from))
            click.echo("\n\n".join(map(format_graph, graphs)))
            return
        found = programs(source, arguments, args_from, limits_of(name))
        with_all = bool(own_arch) and name == "triton"
        texts = [text_of(program, name, wanted, with_all) for program in found]
        click.echo("\n".join(texts).rstrip())


def read_target(value: str) -> tuple[str, str]:
    """Return the target that the command line names, and its architecture if any."""
    name, colon, arch = value.partition(":")
    if name not in TARGETS or (colon and name not in GPU_TARGETS):
        raise click.BadParameter(f"{value!r} is not one of {', '.join(TARGETS)}")
    if colon:
        try:
            check_arch(arch)
        except TracejitError as error:
            raise click.BadParameter(error.message) from error
    return name, arch


def check_target(name: str, arch: str) -> None:
    """Raise unless an architecture has what is to be printed."""
    if name in ("ptx", "sass", "amdgcn"):
        is_amd = check_arch(arch) == AMD
        if is_amd != (name == "amdgcn"):
            other = "triton or amdgcn" if is_amd else "triton, ptx or sass"
            raise click.BadParameter(f"there is no {name} of {arch}; print {other}")


def limits_of(target: str) -> Limits:
    """Return what kernels of a target may contain."""
    return TRITON if target in GPU_TARGETS else host_limits()


def programs(
    source: str, arguments: Sequence[str], args_from: str | None, limits: Limits
) -> Iterator[Program]:
    """Yield the Program of a function, or of each graph in a file."""
    if source.endswith(".tir"):
        for graph in graphs_of(source, arguments, args_from):
            yield program_of(graph, limits)
        return
    yield traced_target(source, arguments, args_from).lower(limits).program


def after_passes(graph: Graph) -> Graph:
    """Return a graph after all passes of the CPU."""
    return run_passes(graph, pipeline(host_limits(), config.get("fma")))


def program_of(graph: Graph, limits: Limits) -> Program:
    """Return the Program of a graph whose inputs are C-contiguous."""
    passes = pipeline(limits, config.get("fma"))
    dense = [None] * len(graph.invars)
    _, program = compile_to_program(
        graph, dense, passes, PassContext(), limits.splits_complex
    )
    return program


# --- each target ------------------------------------------------------------------


def text_of(program: Program, target: str, arch: str, with_all: bool) -> str:
    """Return a Program at one level, or at all of a GPU."""
    if target == "program":
        return format_program(program).rstrip().split("\n\n")[0] + "\n"
    if target == "kernels":
        return "\n\n".join(format_program(program).rstrip().split("\n\n")[1:]) + "\n"
    if target in ("llvm", "asm"):
        return native_text(program, target)
    return gpu_text(program, target, arch, with_all)


def native_text(program: Program, target: str) -> str:
    """Return the LLVM module of a Program, or its assembly."""
    machine = host_target(config.get("isa"))
    text = emit_program(with_blocks(program), machine, resolve_loop).text
    return text if target == "llvm" else engine_for(machine).assembly(text)


def gpu_text(program: Program, target: str, arch: str, with_all: bool) -> str:
    """Return the Triton kernels of a Program, or what they become; each once."""
    texts: list[str] = []
    seen: set[str] = set()
    mark = "#" if target == "triton" else "//"
    for step in nested(program.steps):
        emitted = emitted_of(program, step, arch)
        if emitted is None:
            texts.append(f"{mark} not a kernel: {named(step)}\n")
        elif not isinstance(step, Run) or step.kernel.name not in seen:
            seen.add(emitted.name)
            texts += [
                code_text(code, emitted, target, arch, with_all)
                for code in emitted.codes
            ]
    return "\n".join(texts)


def emitted_of(program: Program, step: Step, arch: str) -> TritonKernel | None:
    """Return the Triton kernels of a step; None for what is no kernel."""
    if isinstance(step, Run):
        tuning = tuning_for(arch, config.get("tf32"))
        choices = NOTHING
        if config.get("tuning_file"):
            file = LockFile(Path(config.get("tuning_file")), triton_version())
            choices = file.choices(sites_of(step.kernel, step.schedule, tuning))
        return emit_kernel(step.kernel, step.schedule, tuning, choices)
    return step_kernel(program, step) if isinstance(step, Extern) else None


def code_text(
    code: TritonCode, emitted: TritonKernel, target: str, arch: str, with_all: bool
) -> str:
    """Return one Triton kernel at one level, or as text with all others behind it."""
    text = triton_text(code, emitted)
    if target == "triton" and not with_all:
        return text
    built = build(code, arch)
    mark = ";" if check_arch(arch) == AMD else "//"
    assembly = f"{mark} {facts_text(built, arch)}\n{built.ptx.strip()}\n"
    if target in ("ptx", "amdgcn"):
        return assembly
    if target == "triton" and mark == ";":
        return text + commented(assembly)
    sass = f"// {facts_text(built, arch)}\n{sass_of(built.cubin).strip()}\n"
    if target == "sass":
        return sass
    return text + commented(f"{assembly}\n{sass}")


def commented(text: str) -> str:
    """Return text as comments of Python."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def named(step: Step) -> str:
    """Return what a step that is no kernel does."""
    name = type(step).__name__.lower()
    primitive = getattr(step, "primitive", None)
    if isinstance(step, Loop):
        return f"{name} of {step.count} rounds"
    return name if primitive is None else f"{name} {primitive.name}"


def triton_text(code: TritonCode, emitted: TritonKernel) -> str:
    """Return the module of a kernel, and how it is launched."""
    scratch = {b.name for b in emitted.workspace}
    rows = [f"{b.name}_ptr" for b in code.buffers if b.name in scratch]
    shared = f"# workspace: {', '.join(rows)}\n" if rows else ""
    sizes = {**code.constexprs, "num_warps": code.num_warps}
    sizes["num_stages"] = code.num_stages
    words = ", ".join([*code.pointers, *(f"{name}={n}" for name, n in sizes.items())])
    launch = f"# launch: {code.name}[({code.grid},)]({words})\n"
    return f"{code.source}{shared}{launch}"


def facts_text(built: Built, arch: str) -> str:
    """Return what a kernel takes of a multiprocessor."""
    facts = built.facts
    text = f"{built.name}: {facts.num_warps} warps, {facts.shared} bytes shared"
    if check_arch(arch) == AMD:
        text += ", untested (it has run on no device)"
    if facts.registers is None:
        return text
    return (
        f"{text}, {facts.registers} registers a thread, {facts.spilled} bytes spilled"
    )
