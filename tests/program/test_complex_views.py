"""Parts of complex arrays as views: what is read there, and what is written there."""

from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.limits import TRITON
from tracejit.errors import VerifyError
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program
from tracejit.program.program import Extern, Run
from tracejit.program.verify import verify_program

RNG = np.random.default_rng(0)
Z, W = RNG.standard_normal((2, 3, 4)) + 1j * RNG.standard_normal((2, 3, 4))


def lowered(fn, *args):
    program = tj.jit(fn).trace(*args).lower(TRITON).program
    verify_program(program)
    text = format_program(program)
    assert format_program(verify_program(parse_program(text))) == text
    return program


def scanned(z):
    return tj.scan(lambda c, row: (c * row, c + row), np.ones(4, complex), z)


def reversed_scan(z):
    return tj.scan(lambda c, row: (c + row, row * 1j), z[0], z[:, ::-1], reverse=True)


CASES = {
    "chain": (lambda z, w: np.exp(z * w) / (1 + w), 1),
    "views": (lambda z, w: (z.T[1:] * w.T[1:]).reshape(-1)[::2], 1),
    "parts of the result": (lambda z, w: ((z * w).real, z * w), 1),
    "two results": (lambda z, w: (z * w, z - w), 1),
    "norm": (lambda z, w: np.abs(z + w).sum(), 1),
    "products": (lambda z, w: z @ w.T, 3),
    "scan": (lambda z, w: scanned(z), 1),
    "reversed scan": (lambda z, w: reversed_scan(z), 1),
    "branches": (
        lambda z, w: tj.cond(z.real[0, 0] > 9, lambda z: z * w, lambda z: z / w, z),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_programs(name):
    fn, runs = CASES[name]
    program = lowered(fn, Z, W)
    got = run_program(program, [Z, W])
    want = fn(Z, W)
    rows = zip(got, want, strict=True) if isinstance(want, tuple) else [(got[0], want)]
    for x, y in rows:
        np.testing.assert_allclose(x, y, rtol=1e-12)
    assert not [s for s in program.steps if isinstance(s, Extern)]
    if runs is not None:
        assert len(program.kernels) == runs


def test_arithmetic_is_one_kernel_that_reads_and_writes_the_arrays_themselves():
    program = lowered(lambda z, w: z * w + 1, Z, W)
    (step,) = program.steps
    assert isinstance(step, Run)
    bases = {program.by_name[name].base for name in (*step.inputs, *step.outputs)}
    assert bases == {*program.inputs, *program.outputs}


def test_the_real_part_of_an_argument_is_no_step():
    program = lowered(lambda z: np.exp(z.real), Z)
    (step,) = program.steps
    assert isinstance(step, Run)


def broken(fn, change):
    """Return the message about a program whose alias of an imaginary part changed."""
    program = lowered(fn, Z, W)
    name = next(n for n in program.steps[0].outputs if program.by_name[n].offset == 1)
    buffers = [change(b) if b.name == name else b for b in program.buffers]
    with pytest.raises(VerifyError) as error:
        verify_program(replace(program, buffers=tuple(buffers)))
    return str(error.value)


def test_the_verifier_knows_parts():
    def product(z, w):
        return z * w

    assert "P10" in broken(product, lambda b: replace(b, offset=0))
    assert "P4" in broken(product, lambda b: replace(b, offset=2))
    assert "P4" in broken(product, lambda b: replace(b, dtype=np.dtype(np.float32)))


def test_half_a_complex_array_is_not_the_whole():
    program = lowered(lambda z, w: z * w, Z, W)
    (step,) = program.steps
    keep = step.outputs[:1]
    kernel = replace(
        step.kernel,
        outputs=step.kernel.outputs[:1],
        body=tuple(
            op
            for op in step.kernel.body
            if getattr(op, "buffer", None) != step.kernel.outputs[1].name
        ),
    )
    half = replace(program, steps=(replace(step, kernel=kernel, outputs=keep),))
    with pytest.raises(VerifyError, match=r"P9"):
        verify_program(half)


def test_a_part_that_is_a_view_is_stored_beside_the_other():
    program = lowered(np.conj, Z)
    (step,) = program.steps
    assert isinstance(step, Run)
    assert len(step.outputs) == 2
    np.testing.assert_array_equal(run_program(program, [Z])[0], Z.conj())


def test_pieces_of_arrays_are_one_kernel():
    program = lowered(lambda z, w: np.concatenate([z, w * 2]), Z, W)
    (step,) = program.steps
    assert len(step.outputs) == 2
    got = run_program(program, [Z, W])[0]
    np.testing.assert_array_equal(got, np.concatenate([Z, W * 2]))
