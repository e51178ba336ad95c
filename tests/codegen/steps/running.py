"""Runs the code of a step alone, with jobs in random order, between guards."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tracejit.codegen.llvm.emission import ModuleScope
from tracejit.codegen.llvm.sharing import JOB_SYMBOL, SERIAL, Threading
from tracejit.codegen.llvm.steps import write_step
from tracejit.codegen.llvm.steps.code import Setting, StepCode
from tracejit.codegen.llvm.target import Target
from tracejit.codegen.llvm.text import module_text
from tracejit.ir.aval import ShapedArray
from tracejit.ir.primitive import REGISTRY, Params
from tracejit.kernels.kernel import Buffer
from tracejit.runtime.cpu.engine import engine_for

from ..building import check_guards, guarded, strides_of
from ..test_parallel import Jobs


@dataclass
class Ran:
    """Results, how many pieces each job had, and the error words."""

    outputs: list[np.ndarray]
    pieces: list[int]
    error: tuple[int, int]
    code: StepCode


def buffer_of(name: str, array: np.ndarray) -> Buffer:
    return Buffer(name, array.dtype, array.shape, strides_of(array))


@lru_cache(64)
def _compiled(target: Target, module: str) -> bytes:
    """Compile a module once for all data of a test."""
    return engine_for(target).compile(module)


def run_step(
    name: str,
    params: Params,
    inputs: Sequence[np.ndarray],
    target: Target,
    threading: Threading = SERIAL,
    seed: int | None = None,
) -> Ran | None:
    """Run a step; None if `write_step` has no code for it."""
    primitive = REGISTRY[name]
    avals = [ShapedArray(x.shape, x.dtype) for x in inputs]
    results = primitive.out_avals(avals, params)
    outs = [guarded(aval.shape, aval.dtype) for aval in results]
    scope, jobs = ModuleScope(), Jobs(seed)
    setting = Setting("step", target, scope.emitter, threading)
    ends = [
        [buffer_of(f"{kind}{k}", x) for k, x in enumerate(arrays)]
        for kind, arrays in (("in", inputs), ("out", outs))
    ]
    code = write_step(setting, primitive, params, *ends)
    if code is None:
        return None
    arrays = [*inputs, *outs]
    if code.in_place:
        outs[0][...] = inputs[0]
        arrays = arrays[1:]
    text = code.text.replace("define internal void @step(", "define void @step(")
    lines = scope.declarations.values()
    module = module_text(target, lines, [text], scope.globals_.values())
    address = ctypes.cast(jobs.callback, ctypes.c_void_p).value
    assert address is not None
    library = engine_for(target).load(_compiled(target, module), {JOB_SYMBOL: address})
    scratch = np.full(code.scratch_bytes + 192, 0xA5, np.uint8)
    start = -scratch.ctypes.data % 64 + 64
    error = np.zeros(2, np.int64)
    pointers = [x.ctypes.data for x in arrays]
    pointers += [scratch.ctypes.data + start, error.ctypes.data]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers))
    prototype(library.address("step"))(*pointers)
    assert (scratch[:start] == 0xA5).all()
    assert (scratch[start + code.scratch_bytes :] == 0xA5).all()
    for out in outs:
        check_guards(out)
    return Ran(outs, jobs.pieces, (int(error[0]), int(error[1])), code)
