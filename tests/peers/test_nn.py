"""`tj.nn` beside PyTorch in float64: values and gradients of the compiled functions.

PyTorch comes with the extra `bench` only.
"""

import numpy as np
import pytest

import tracejit as tj
from tracejit import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = np.concatenate([np.linspace(-9, 9, 40), [-1000, -50, 0, 50, 1000]])
Z, Y = RNG.normal(size=(8, 6)) * 4, RNG.integers(0, 6, 8)
W, P = RNG.random(6) + 0.5, RNG.dirichlet(np.ones(6), 8)
IMAGE, C = RNG.normal(size=(2, 6, 5, 4)), RNG.normal(size=(2, 6))
Q, K, V = (RNG.normal(size=(2, 4, 5, 8)) for _ in range(3))
SEEN = RNG.random((5, 5)) < 0.7
SEEN[:, 0] = True
BITS = RNG.integers(0, 2, (8, 6)).astype(float)
T = torch.from_numpy

CASES = {
    **{
        name: (getattr(nn, name), getattr(F, theirs or name), (X,))
        for name, theirs in {
            **dict.fromkeys(["relu", "relu6", "leaky_relu", "elu", "selu", "celu"]),
            **dict.fromkeys(["gelu", "silu", "softplus", "softsign", "mish"]),
            "sigmoid": "sigmoid",
            "tanh": "tanh",
            "log_sigmoid": "logsigmoid",
            "hard_tanh": "hardtanh",
            "hard_sigmoid": "hardsigmoid",
            "hard_silu": "hardswish",
        }.items()
    },
    "gelu, tanh": (
        lambda x: nn.gelu(x, "tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
        (X,),
    ),
    "glu": (nn.glu, F.glu, (Z,)),
    "softmax": (nn.softmax, lambda x: F.softmax(x, -1), (Z,)),
    "log_softmax": (nn.log_softmax, lambda x: F.log_softmax(x, -1), (Z,)),
    "logsumexp": (
        lambda x: nn.logsumexp(x, 0),
        lambda x: torch.logsumexp(x, 0),
        (Z,),
    ),
    "layer_norm": (nn.layer_norm, lambda x, w: F.layer_norm(x, (6,), w), (Z, W)),
    "rms_norm": (
        nn.rms_norm,
        lambda x, w: F.rms_norm(x, (6,), w, 1e-6),
        (Z, W),
    ),
    "group_norm": (
        lambda x, w, b: nn.group_norm(x, 3, w, b),
        lambda x, w, b: F.group_norm(x, 3, w, b),
        (IMAGE, *C),
    ),
    "instance_norm": (
        nn.instance_norm,
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        (IMAGE, *C),
    ),
    "batch_norm": (
        lambda x, w, b: nn.batch_norm(x, weight=w, bias=b, training=True)[0],
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        (IMAGE, *C),
    ),
    "attention": (nn.attention, F.scaled_dot_product_attention, (Q, K, V)),
    "attention, causal": (
        lambda *a: nn.attention(*a, causal=True),
        lambda *a: F.scaled_dot_product_attention(*a, is_causal=True),
        (Q, K, V),
    ),
    "attention, mask": (
        lambda *a: nn.attention(*a, mask=SEEN),
        lambda *a: F.scaled_dot_product_attention(*a, attn_mask=T(SEEN)),
        (Q, K, V),
    ),
    "attention, groups": (
        nn.attention,
        lambda *a: F.scaled_dot_product_attention(*a, enable_gqa=True),
        (Q, K[:, :2], V[:, :2]),
    ),
    "cross_entropy": (
        lambda z: nn.cross_entropy(z, Y, weight=W, label_smoothing=0.1),
        lambda z: F.cross_entropy(z, T(Y), T(W), label_smoothing=0.1),
        (Z,),
    ),
    "cross_entropy, ignored": (
        lambda z: nn.cross_entropy(z, Y, ignore_index=2),
        lambda z: F.cross_entropy(z, T(Y), ignore_index=2),
        (Z,),
    ),
    "cross_entropy, probabilities": (nn.cross_entropy, F.cross_entropy, (Z, P)),
    "mse_loss": (nn.mse_loss, F.mse_loss, (Z, P)),
    "l1_loss": (nn.l1_loss, F.l1_loss, (Z, P)),
    "huber_loss": (
        lambda a, b: nn.huber_loss(a, b, 0.7),
        lambda a, b: F.huber_loss(a, b, delta=0.7),
        (Z, P),
    ),
    "binary_cross_entropy": (
        nn.binary_cross_entropy,
        F.binary_cross_entropy,
        (P, BITS),
    ),
    "binary_cross_entropy_with_logits": (
        nn.binary_cross_entropy_with_logits,
        F.binary_cross_entropy_with_logits,
        (100 * Z, BITS),
    ),
    "conv_transpose": (
        lambda x, w: nn.conv_transpose(x, w, 2, 1, 1, groups=2),
        lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1, 2),
        (IMAGE, RNG.normal(size=(6, 2, 3, 3))),
    ),
    "adaptive_avg_pool": (
        lambda x: nn.adaptive_avg_pool(x, (3, 2)),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        (IMAGE,),
    ),
    "adaptive_max_pool": (
        lambda x: nn.adaptive_max_pool(x, (3, 3)),
        lambda x: F.adaptive_max_pool2d(x, (3, 3)),
        (IMAGE,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    ours, theirs, args = CASES[name]
    leaves = [T(np.ascontiguousarray(a)).requires_grad_() for a in args]
    out = theirs(*leaves)
    np.testing.assert_allclose(
        tj.jit(lambda *a: ours(*a))(*args), out.detach(), rtol=1e-10, atol=1e-12
    )
    g = RNG.normal(size=tuple(out.shape))
    wanted = torch.autograd.grad(out, leaves, T(np.asarray(g)), allow_unused=True)

    def loss(*a):
        return np.sum(g * ours(*a))

    found = tj.jit(tj.grad(loss, tuple(range(len(args)))))(*args)
    # PyTorch's slope of hardsigmoid is 1/6 as float32 has it.
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-9
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-11)
