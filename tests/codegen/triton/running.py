"""Kernels of traced functions, run in Triton's interpreter beside the kernel's own."""

from dataclasses import replace

import numpy as np

import tracejit as tj
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import NOTHING, emit_kernel, sites_of
from tracejit.codegen.triton.limits import TRITON
from tracejit.codegen.triton.ranking import first
from tracejit.ir.strided import strided
from tracejit.kernels.interp import run_kernel
from tracejit.program.program import Run

CANARY = 32  # elements beside a buffer that no kernel may touch; 16 bytes at least


def runs_of(function, *args):
    """Return the kernels that a function becomes, with their schedules."""
    steps = tj.jit(function).trace(*args).lower(TRITON).program.steps
    return [(s.kernel, s.schedule) for s in steps if isinstance(s, Run)]


class Guarded:
    """A buffer of given strides between guards."""

    def __init__(self, buffer, values=None):
        spans = [(n - 1) * s for n, s in zip(buffer.shape, buffer.strides, strict=True)]
        below = -sum(s for s in spans if s < 0)
        size = below + sum(s for s in spans if s > 0) + 1
        self.first = CANARY + below
        fill = np.array(1, buffer.dtype)
        self.memory = np.full(size + 2 * CANARY, fill, buffer.dtype)
        steps = [s * buffer.dtype.itemsize for s in buffer.strides]
        self.shape, self.steps = buffer.shape, steps
        if values is not None and self.array.size:
            self.array[...] = values

    @property
    def array(self):
        if 0 in self.shape:
            return np.empty(self.shape, self.memory.dtype)
        return strided(self.memory[self.first :], self.shape, self.steps)


def outputs_by_kernel_interpreter(kernel, inputs):
    """Return what the kernel says."""
    outputs = [np.zeros(b.shape, b.dtype) for b in kernel.outputs]
    run_kernel(kernel, inputs, outputs)
    return outputs


def outputs_by_triton(interpreter, triton_kernel, kernel, inputs):
    """Return what the emitted kernels compute, and the error word."""
    values = dict(zip((b.name for b in kernel.inputs), inputs, strict=True))
    buffers = [*kernel.inputs, *kernel.outputs, *triton_kernel.workspace]
    memory = {b.name: Guarded(b, values.get(b.name)) for b in buffers}
    error = np.zeros(2, np.int64)
    for code in triton_kernel.codes:
        guarded = [memory[b.name] for b in code.buffers]
        arrays = [(one.memory, one.first) for one in guarded]
        arrays += [(error, 0)] if code.can_fail else []
        done = interpreter.run(code, arrays)
        if code.can_fail:
            error = done.pop()
        for one, array in zip(guarded, done, strict=True):
            one.memory = array
    for name, one in memory.items():
        ends = np.concatenate([one.memory[:CANARY], one.memory[-CANARY:]])
        assert (ends == np.array(1, ends.dtype)).all(), f"{name}: written outside"
    return [memory[b.name].array for b in kernel.outputs], error


def random_inputs(kernel, seed=0):
    """Return inputs of a kernel."""
    rng = np.random.default_rng(seed)
    found = []
    for b in kernel.inputs:
        if b.dtype.kind == "b":
            x = rng.random(b.shape) < 0.5
        elif b.dtype.kind in "iu":
            low = 0 if b.dtype.kind == "u" else -9
            x = rng.integers(low, 10, b.shape)
        else:
            x = rng.standard_normal(b.shape)
        # where a stride is 0 all elements are one
        one = tuple(slice(0, 1) if s == 0 else slice(None) for s in b.strides)
        x = np.broadcast_to(np.asarray(x)[one], b.shape)
        found.append(x.astype(b.dtype))
    return found


def chosen(kernel, schedule, tuning, **change):
    """Return the default choice of a kernel's product, changed, by its key."""
    sites = [s for s in sites_of(kernel, schedule, tuning) if s.product is not None]
    return {site.key: replace(first(site), **change) for site in sites}


def check(
    interpreter,
    kernel,
    schedule,
    inputs=None,
    rtol=2e-6,
    atol=2e-6,
    choices=NOTHING,
    **tuning,
):
    """Compare the emitted kernels with the kernel's meaning; return them."""
    inputs = random_inputs(kernel) if inputs is None else inputs
    emitted = emit_kernel(kernel, schedule, Tuning(**tuning), choices)
    return compare(interpreter, emitted, kernel, inputs, rtol, atol)


def compare(interpreter, emitted, kernel, inputs, rtol, atol):
    """Compare Triton kernels with a kernel's meaning; return them."""
    expected = outputs_by_kernel_interpreter(kernel, inputs)
    found, error = outputs_by_triton(interpreter, emitted, kernel, inputs)
    assert not error.any(), error
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        if x.dtype.kind in "biu":
            np.testing.assert_array_equal(x, y)
        else:
            wide = [v.astype(np.float64) for v in (x, y)]
            np.testing.assert_allclose(*wide, rtol=rtol, atol=atol)
    return emitted
