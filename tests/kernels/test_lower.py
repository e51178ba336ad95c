"""Lowering of groups: what is needed at several places is computed at one."""

import numpy as np

import tracejit as tj
from tracejit.kernels.kernel import Contract


def attention(q, k, v):
    scores = q @ k.T
    e = np.exp(scores - scores.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)) @ v


def test_scores_are_computed_once_though_all_extents_are_equal() -> None:
    """They are an operand of the second product, and no result of it by its shape."""
    x = np.zeros((8, 8), np.float32)
    (run,) = tj.jit(attention).lower(x, x, x).program.steps
    products = [op for op in run.kernel.body if isinstance(op, Contract)]
    assert len(products) == 2
    assert len(run.kernel.axes) == 4
