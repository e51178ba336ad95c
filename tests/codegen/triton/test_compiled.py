"""Kernels of the programs and models, compiled: no spills, shared memory that fits.

`make test` compiles those of a few programs for sm_90; `make test-triton` those of all
programs, and of all models with their gradients, for sm_80, sm_90 and sm_100.
"""

import warnings

import numpy as np
import pytest

import tracejit as tj
from tests.programs.registry import PROGRAMS
from tests.runtime.cuda.test_models import MODELS, inexact
from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.codegen.triton.externs import step_kernel
from tracejit.codegen.triton.limits import TRITON
from tracejit.codegen.triton.machine import tuning_for
from tracejit.program.program import Extern, Run, nested

SHARED = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}
SAMPLE = (
    *("adam", "attention_causal", "kmeans_add_at"),
    *("layer_norm_backward", "life_roll"),
)
# What keeps bytes on the stack, and how many: libdevice keeps the digits of a long
# argument there, atomics of one architecture a result that nobody reads, and ptxas for
# sm_80 eight bytes of one product of doubles, though it takes 40 registers of 255.
STACK = {
    "libdevice.sin": 40,
    "libdevice.cos": 40,
    "tl.atomic_max": 8,
    "tl.atomic_add": 8,
    "out_dtype=tl.float64": 8,
}


def codes_of(fn, args, kwargs=None, arch="sm_90"):
    """Return the Triton kernels of a function, each text once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = tj.jit(fn).trace(*args, **(kwargs or {})).lower(TRITON).program
    found = {}
    for step in nested(program.steps):
        kernel = None
        if isinstance(step, Run):
            kernel = emit_kernel(step.kernel, step.schedule, tuning_for(arch))
        elif isinstance(step, Extern):
            kernel = step_kernel(program, step)
        for code in kernel.codes if kernel else ():
            found[code.source] = code
    return [code for code in found.values() if code.grid]


def check(codes, arch):
    for code in codes:
        facts = build(code, arch).facts
        assert facts.shared <= SHARED[arch], code.name
        allowed = max(
            (n for text, n in STACK.items() if text in code.source), default=0
        )
        assert (facts.spilled or 0) <= allowed, (code.name, facts)


def program_codes(name, arch):
    program = PROGRAMS[name]
    call = program.fresh_args(np.dtype(np.float32))
    fn = program.fn
    return codes_of(lambda *a, **k: fn(*a, **k), call.args, call.kwargs, arch)


@pytest.mark.parametrize("name", SAMPLE)
def test_kernels_of_some_programs(name):
    check(program_codes(name, "sm_90"), "sm_90")


@pytest.mark.triton
@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_of_all_programs(name, arch):
    check(program_codes(name, arch), arch)


@pytest.mark.triton
@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_of_all_programs_for_amd(name):
    for code in program_codes(name, "gfx942"):
        assert build(code, "gfx942").facts.shared <= 64 << 10, code.name


@pytest.mark.triton
@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("name", MODELS)
def test_kernels_of_models_and_their_gradients(name, arch):
    model, args = MODELS[name]
    check(codes_of(model, args, arch=arch), arch)
    if name != "Sinkhorn":
        gradient = tj.value_and_grad(model, argnums=inexact(args))
        check(codes_of(gradient, args, arch=arch), arch)
