"""Convolutions and their gradients on each instruction set that the machine has."""

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set

from .reference import CASES, direct

SOME = [c for c in CASES if c.x[0]][::3]


@pytest.mark.parametrize("isa", ["avx2", "baseline"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", SOME, ids=str)
def test_instruction_set(case, dtype, isa):
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=s).astype(dtype) for s in (case.x, case.w))
    want = direct(x, w, case.options)
    g = rng.normal(size=want.shape).astype(dtype)

    def all_three(x, w):
        loss = lambda x, w: np.sum(g * tj.nn.conv(x, w, **case.options))  # noqa: E731
        return tj.nn.conv(x, w, **case.options), tj.grad(loss, (0, 1))(x, w)

    with instruction_set(isa):
        out, grads = tj.jit(all_three)(x, w)
    _, eager = all_three(x, w)
    terms = max(g.size, np.prod(w.shape[1:]))
    pairs = [(out, want), *zip(grads, eager, strict=True)]
    for got, expected in pairs:
        scale = np.max(np.abs(expected))
        bound = 8 * np.finfo(dtype).eps * scale * terms**0.5
        np.testing.assert_allclose(got, expected, rtol=0, atol=bound)
