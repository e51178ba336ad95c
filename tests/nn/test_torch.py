"""Beside PyTorch, where it is installed: it comes with the extra `bench` only."""

import numpy as np
import pytest

import tracejit as tj

from .reference import CASES
from .test_conv import close, operands, terms

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", [c for c in CASES if c.x[0]], ids=str)
def test_convolution_and_gradients(case):
    torch = pytest.importorskip("torch")
    padding = case.options.get("padding", 0)
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        pytest.skip("PyTorch pads both sides alike")
    x, w = operands(case)
    leaves = [torch.from_numpy(a).requires_grad_() for a in (x, w)]
    conv = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")
    out = conv(*leaves, **case.options)
    g = np.random.default_rng(1).normal(size=tuple(out.shape))
    wanted = torch.autograd.grad(out, leaves, torch.from_numpy(g))

    def loss(x, w):
        return np.sum(g * tj.nn.conv(x, w, **case.options))

    jitted = tj.jit(lambda x, w: tj.nn.conv(x, w, **case.options))
    close(jitted(x, w), out.detach().numpy(), x.dtype, terms(case))
    for a, b in zip(tj.jit(tj.grad(loss, (0, 1)))(x, w), wanted, strict=True):
        close(a, b.numpy(), x.dtype, max(terms(case), g.size))


@pytest.mark.parametrize("ties", [False, True])
def test_max_pool_breaks_ties_alike(ties):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 9, 10))
    x = np.rint(x) if ties else x
    leaf = torch.from_numpy(x).requires_grad_()
    out = torch.nn.functional.max_pool2d(leaf, 3, 2, 1)
    g = rng.normal(size=tuple(out.shape))
    (wanted,) = torch.autograd.grad(out, leaf, torch.from_numpy(g))
    gradient = tj.jit(tj.grad(lambda x: np.sum(g * tj.nn.max_pool(x, 3, 2, 1))))
    np.testing.assert_allclose(gradient(x), wanted.numpy(), rtol=1e-12, atol=1e-12)
