"""Kernels with contractions as LLVM functions: products, convolutions and streams.

Loaded with the first of them: what multiplies matrices is a quarter of the emitters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...kernels.kernel import Buffer, Kernel, KernelOp
from ...kernels.schedule import Schedule
from .blocks import plan_of
from .collapse import Flat, flattened
from .contraction import Nested, check_contraction
from .conv import emit_convolution
from .conv_emission import ConvCode
from .conv_forms import panel_of, quantum_along
from .conv_shape import Convolution, convolution_of, has_convolution
from .emission import Emission, KernelCode
from .indices import multiply
from .jobs import RangeJob
from .nest import parameter_names
from .sharing import Ranges
from .staged import Function, StagedCode, StageEmitter
from .streams import UNITS_PER_THREAD, Planned, StreamEmitter, planned
from .target import Target, aligned

# Returns the code of a kernel that is a part of the emitted one.
Inner = Callable[[Kernel, Schedule, Mapping[KernelOp, int], str | None], KernelCode]


def emit_contracted(made: Emission, inner: Inner) -> KernelCode:
    """Return the code of a kernel that has contractions.

    Parameters
    ----------
    made : Emission
    inner : callable
        ``(kernel, schedule, numbers, span)``: emits a part without contractions.
    """
    convolution = convolution_of(made.kernel)
    if convolution is not None and not _needs_panels(convolution, made.target):
        return _convolution(made, convolution)
    return _stages(made, inner)


def _needs_panels(found: Convolution, target: Target) -> bool:
    """Tell whether filters are put into panels by a stage of their own."""
    return not found.panel and panel_of(found, target) > 0


def _convolution(made: Emission, convolution: Convolution) -> KernelCode:
    """Return a function that calls the one of a convolution, on several threads."""
    symbol, em = made.symbol, made.scope.emitter()
    pointers = parameter_names(made.kernel)
    emitter = made.scope.emitter
    code = emit_convolution(f"{symbol}.conv", convolution, made.target, emitter)
    values = [pointers[b] for b in convolution.buffers]
    if made.span is not None:
        return _convolution_span(made, convolution, code)
    range_text = _convolution_range(made, values)
    ranges = Ranges(
        None, f"{symbol}.range", code.extent, 1, 0, aligned(code.scratch_bytes)
    )
    job = None
    if made.threading.shares(made.work_ns):
        emit_job = RangeJob(symbol, made.threading, made.work_ns, False).emit
        job = emit_job(em, emitter(), ranges, [*pointers.values()], "task")
    if job is None:
        names = (*pointers.values(), "%scratch", "%scratch", "%err")
        limits = [("i64", "0"), ("i64", str(code.extent))]
        em.call("void", ranges.symbol, [*(("ptr", v) for v in names), *limits])
    em.ret()
    text = made.function(em)
    return KernelCode(
        symbol,
        "\n".join((*code.texts, range_text, *([job.text] if job else ()), text)),
        job.scratch_bytes if job else code.scratch_bytes,
        False,
        ranges,
        made.work_ns if job else 0,
    )


def _convolution_span(
    made: Emission, convolution: Convolution, code: ConvCode
) -> KernelCode:
    """Return the function over a range of the axis `span`."""
    em = made.scope.emitter()
    pointers = parameter_names(made.kernel)
    assert made.span is not None
    quantum = quantum_along(convolution, made.span, made.target)
    assert quantum is not None
    each = code.extent * quantum // made.kernel.extent(made.span)
    values = [pointers[b] for b in convolution.buffers]
    arguments = [("ptr", v) for v in (*values, "%scratch")]
    for limit in ("%begin", "%end"):
        part = em.op(f"sdiv exact i64 {limit}, {quantum}")
        arguments.append(("i64", str(multiply(em, part, each))))
    em.call("void", f"{made.symbol}.conv", arguments)
    em.ret()
    text = made.function(em, ["i64 %begin", "i64 %end"])
    return KernelCode(
        made.symbol, "\n".join((*code.texts, text)), code.scratch_bytes, False
    )


def _convolution_range(made: Emission, values: Sequence[str]) -> str:
    """Return the function for a range of a convolution (see `Ranges`)."""
    em = made.scope.emitter()
    arguments = [("ptr", v) for v in (*values, "%own")]
    limits = [("i64", "%begin"), ("i64", "%end")]
    em.call("void", f"{made.symbol}.conv", [*arguments, *limits])
    em.ret()
    names = (*parameter_names(made.kernel).values(), "%shared", "%own", "%err")
    parameters = [*(f"ptr {n}" for n in names), "i64 %begin", "i64 %end"]
    return em.function(f"{made.symbol}.range", parameters, linkage="internal")


def _stages(made: Emission, inner: Inner) -> KernelCode:
    """Return functions that run the stages of a kernel with contractions."""
    check_contraction(made.kernel)
    stream = planned(made.kernel, made.schedule)
    if stream is not None:
        return _streamed(made, inner, stream)
    flat = _flat_stages(made)
    whole, pointers = _with_views(made.kernel, flat)
    shares = made.threading.shares(made.work_ns)
    job = RangeJob(made.symbol, made.threading, made.work_ns, made.can_fail)
    code = StageEmitter(
        made.symbol,
        plan_of(whole, flat.schedule, made.target),
        pointers,
        list(parameter_names(made.kernel).values()),
        made.target,
        made.scope.emitter,
        _nested(inner, made.numbers_in(flat)),
        job.emit if shares else None,
    ).emit(made.linkage)
    return _shared(made, code, made.can_fail)


def _nested(
    inner: Inner, numbers: Mapping[KernelOp, int]
) -> Callable[[Nested, str | None], Function]:
    """Return what emits a stage without contractions."""

    def emit(stage: Nested, span: str | None) -> Function:
        code = inner(stage.kernel, stage.schedule, numbers, span)
        return Function(code.symbol, code.text, code.scratch_bytes)

    return emit


def _shared(made: Emission, code: StagedCode, can_fail: bool) -> KernelCode:
    """Return the code of a kernel whose loops threads share if that is worth it."""
    shared_ns = made.work_ns if made.threading.shares(made.work_ns) else 0
    needed, ranges = code.scratch_bytes, code.ranges
    return KernelCode(made.symbol, code.text, needed, can_fail, ranges, shared_ns)


def _flat_stages(made: Emission) -> Flat:
    """Return the kernel over as few axes as can be; windows need all of theirs."""
    if has_convolution(made.kernel):
        same = {op: op for op in made.kernel.body}
        return Flat(made.kernel, made.schedule, {}, same)
    return flattened(made.kernel, made.schedule)


def _streamed(made: Emission, inner: Inner, plan: Planned) -> KernelCode:
    """Return functions that run a stream (see `streams`)."""
    work = made.work_ns
    job = RangeJob(made.symbol, made.threading, work, False, UNITS_PER_THREAD)
    code = StreamEmitter(
        made.symbol,
        plan,
        parameter_names(made.kernel),
        made.target,
        made.scope.emitter,
        _nested(inner, {}),
        job.emit if made.threading.shares(work) else None,
    ).emit(made.linkage)
    return _shared(made, code, False)


def _with_views(kernel: Kernel, flat: Flat) -> tuple[Kernel, dict[str, str]]:
    """Return the collapsed kernel with the views of its buffers, and all pointers."""
    pointers = parameter_names(kernel)
    views: dict[str, list[Buffer]] = {name: [] for name in pointers}
    for name, (view, base) in flat.views.items():
        pointers[name] = pointers[base]
        views[base].append(view)
    whole = replace(
        flat.kernel,
        inputs=tuple(x for b in kernel.inputs for x in (b, *views[b.name])),
        outputs=tuple(x for b in kernel.outputs for x in (b, *views[b.name])),
    )
    return whole, pointers
