"""How many kernels plain NumPy source becomes: what fusion is for.

One table of programs, counted for CPUs and for Triton. A kernel of a Program is one
Triton kernel, too, but where the table says why not.
"""

import copy

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.codegen.triton.limits import TRITON
from tracejit.program.program import Copy, Run, nested

RNG = np.random.default_rng(3)
X = np.linspace(0.1, 2.0, 12, dtype=np.float32).reshape(3, 4)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# --- programs -----------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layer_norm(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def log_sum_exp(x):
    top = x.max()
    return np.log(np.exp(x - top).sum()) + top


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def heat(u):
    u[1:-1] += 0.1 * (u[2:] + u[:-2] - 2 * u[1:-1])


def moments(x):
    return x.mean(axis=1), x.std(axis=1), x.max(axis=1)


def adam(p, g, m, v, t):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    step = 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p - step, m, v


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def attention(q, k, v):
    s = q @ k.swapaxes(-1, -2) / 8
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)) @ v


def causal_attention(q, k, v):
    s = q @ k.swapaxes(-1, -2) / 8
    s = np.where(np.tril(np.ones((s.shape[-1], s.shape[-1]), bool)), s, -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)) @ v


def stored_product(x, w, b):
    """Operands and result are stored as float8; the casts take no kernels."""
    y = x.astype(np.float32) @ w.astype(np.float32) * np.float32(0.5) + b
    return np.maximum(y, 0).astype(ml_dtypes.float8_e4m3fn)


def stored_half_product(x, w):
    return x.astype(ml_dtypes.bfloat16) @ w.astype(ml_dtypes.bfloat16)


def linear_gelu(x, w, b):
    return gelu(x @ w + b)


def cross_entropy(z, y):
    p = softmax(z)
    return -np.log(p[np.arange(len(y)), y]).mean()


def log_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.take_along_axis(log_p, y[:, None], axis=1).mean()


def affine_norm(x, scale, shift, weight):
    return ((layer_norm(x) * scale + shift) * weight).sum()


def adam_of_all(parameters, gradients, means, squares, t):
    rows = zip(parameters, gradients, means, squares, strict=True)
    return [adam(p, g, m, v, t) for p, g, m, v in rows]


def mlp(parameters, x, y):
    for w, b in parameters[:-1]:
        x = np.maximum(x @ w + b, 0)
    w, b = parameters[-1]
    return log_cross_entropy(x @ w + b, y)


def sgd_step(parameters, x, y):
    loss, gradients = tj.value_and_grad(mlp)(parameters, x, y)
    pairs = zip(parameters, gradients, strict=True)
    return loss, [(w - 0.1 * gw, b - 0.1 * gb) for (w, b), (gw, gb) in pairs]


LABELS = np.arange(16) % 10
SHAPES = [(8, 6), (6,), (6, 5), (5,), (5, 10), (10,)]
ALL = [normal(*s) for s in SHAPES]
QKV = [normal(2, 3, 16, 8) for _ in range(3)]
NETWORK = [(normal(12, 8), normal(8)), (normal(8, 10), normal(10))]


def float8(*shape):
    return RNG.integers(-3, 4, shape).astype(ml_dtypes.float8_e4m3fn)


SMALL = {
    # elements and rows
    "softmax": (softmax, (X,), 1),
    "layer_norm": (layer_norm, (X,), 1),
    "log_sum_exp": (log_sum_exp, (X,), 1),
    "gelu": (gelu, (X,), 1),
    "heat": (heat, (X.copy(),), 1),
    "moments": (moments, (X,), 1),
    "column_sums": (lambda x: x.sum(axis=0), (X,), 1),
    "sum_of_squares": (lambda x: (x * x).sum(), (X,), 1),
    "transpose": (lambda x: x.T + 1, (X,), 1),
    "concatenate": (lambda x: np.concatenate([x, 2 * x]) + 1, (X,), 1),
    "exp_of_columns": (lambda x: np.exp(x[:, (x[0] > 1).astype(int)]), (X,), 1),
    "inner_rows": (lambda x: np.take(x, [1, 0], axis=1), (normal(3, 4, 5),), 1),
    "two_column_sums": (lambda x, g: ((x * g).sum(axis=0), g.sum(axis=0)), (X, X), 1),
    "sum_of_quotients": (lambda x: (x / x.sum()).sum(axis=0), (X,), 2),
    # products
    "linear_gelu": (linear_gelu, (normal(6, 5), normal(5, 7), normal(7)), 1),
    "gelu_of_product": (lambda x: gelu(x @ x.T), (X,), 1),
    "softmax_of_product": (lambda x: softmax(x @ x.T), (X,), 1),
    "log_softmax_of_product": (lambda x: log_softmax(x @ x.T), (X,), 1),
    "layer_norm_of_product": (lambda x: layer_norm(x @ x.T), (X,), 1),
    "argmax_of_product": (lambda x: (x @ x.T).argmax(axis=1), (X,), 1),
    "loss_of_product": (lambda x: ((x @ x.T - 1) ** 2).mean(), (X,), 1),
    "attention": (attention, QKV, 1),
    "causal_attention": (causal_attention, QKV, 1),
    # as many keys as columns: rows of scores are not rows of the result
    "square_attention": (attention, [normal(8, 8) for _ in range(3)], 1),
    "self_attention": (lambda x: attention(x, x, x), (normal(8, 8),), 1),
    "stored_product": (stored_product, (float8(6, 5), float8(5, 7), normal(7)), 1),
    "stored_half_product": (stored_half_product, (float8(6, 5), float8(5, 7)), 1),
    "wide_stored_product": (
        stored_product,
        (float8(65, 64), float8(64, 80), normal(80)),
        1,
    ),
    "outer_product": (lambda x: np.tensordot(x, x[0], axes=0), (X,), 1),
    # losses, gradients, updates
    "cross_entropy": (tj.value_and_grad(cross_entropy), (normal(16, 10), LABELS), 2),
    "log_cross_entropy": (
        tj.value_and_grad(log_cross_entropy),
        (normal(16, 10), LABELS),
        2,
    ),
    # of the value nothing remains but the check of its indices
    "cross_entropy_backward": (
        tj.grad(log_cross_entropy),
        (normal(16, 10), LABELS),
        2,
    ),
    "layer_norm_backward": (
        tj.grad(affine_norm, argnums=(0, 1, 2)),
        (normal(6, 8), normal(8), normal(8), normal(6, 8)),
        2,
    ),
    "adam": (adam, (X, X, X, X * X, 3.0), 1),
    "adam_of_all": (adam_of_all, (ALL, ALL, ALL, [a * a for a in ALL], 3.0), 1),
    "train_step": (sgd_step, (NETWORK, normal(16, 12), LABELS), 8),
}
# Sizes at which a device is busy.
LARGE = {
    "many_rows": (softmax, (normal(4096, 100),), 1),
    "wide_linear_gelu": (
        linear_gelu,
        (normal(512, 64), normal(64, 512), normal(512)),
        1,
    ),
    "large_cross_entropy": (
        tj.value_and_grad(log_cross_entropy),
        (normal(2048, 100), np.arange(2048) % 100),
        2,
    ),
    "large_layer_norm_backward": (
        tj.grad(affine_norm, argnums=(0, 1, 2)),
        (normal(1024, 96), normal(96), normal(96), normal(1024, 96)),
        2,
    ),
    "wide_softmax_of_product": (lambda x: softmax(x @ x.T), (normal(257, 8),), 1),
}
PROGRAMS = {**SMALL, **LARGE}
# NumPy's product of bfloat16 is float32.
TOLERANCES = {"stored_half_product": 4e-3}
# Programs that are more Triton kernels than kernels of the Program, and why.
MORE_ON_TRITON = {
    # A sum over rows and columns of a product needs what many programs compute.
    "loss_of_product": 1,
    # A program holds rows of 256 columns of a product; longer ones are stored first.
    "wide_softmax_of_product": 1,
    # Sums down few columns have parts, and a second kernel that sums these.
    "large_layer_norm_backward": 1,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_for_cpus(name):
    fn, args, count = PROGRAMS[name]
    lowered = tj.jit(fn).lower(*args)
    assert len(steps_of(lowered.program)) == len(lowered.kernels) == count


def steps_of(program):
    """Return the steps but for copies to arguments that cannot be written in place."""
    donors = {program.inputs[k] for k in program.donors.values()}
    return [
        step
        for step in program.steps
        if not isinstance(step, Copy) or program.buffer(step.output).donor not in donors
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_for_triton(name):
    fn, args, count = PROGRAMS[name]
    steps = steps_of(tj.jit(fn).trace(*args).lower(TRITON).program)
    runs = [step for step in nested(steps) if isinstance(step, Run)]
    assert len(runs) == len(steps) == count
    codes = [
        code for run in runs for code in emit_kernel(run.kernel, run.schedule).codes
    ]
    assert len(codes) == count + MORE_ON_TRITON.get(name, 0)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_give_the_same(name):
    fn, args, _ = PROGRAMS[name]
    mine, yours = copy.deepcopy(args), copy.deepcopy(args)
    got, want = tj.jit(fn)(*mine), fn(*yours)
    pairs = zip(leaves([got, mine]), leaves([want, yours]), strict=True)
    for g, w in pairs:
        wide = (np.asarray(v).astype(np.float64) for v in (g, w))
        np.testing.assert_allclose(*wide, rtol=TOLERANCES.get(name, 2e-4), atol=2e-5)


def leaves(tree):
    if tree is None:
        return []
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def test_a_train_step_has_a_reason_for_each_kernel():
    """Every value that goes from kernel to kernel through memory is explained."""
    lowered = tj.jit(sgd_step).lower(NETWORK, normal(16, 12), LABELS)
    runs = lowered.program.steps
    made = {name for run in runs for name in run.outputs}
    between = [run for run in runs if made & set(run.inputs)]
    assert len(runs) <= 8
    assert len(lowered.notes) >= len(between)
    assert all("test_kernel_counts.py:" in note for note in lowered.notes)
