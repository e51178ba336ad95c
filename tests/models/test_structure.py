"""Efficiency as structure: kernels of gradients, and what they keep in memory.

Nothing here measures time. A kernel reads and writes memory once; what one kernel
leaves for another is in the arena, or is a result.
"""

import numpy as np
import pytest

import tracejit as tj
from tracejit.program.program import Run, Storage, nested

from .checks import assert_close
from .test_sequences import lstm_arguments, lstm_loss
from .test_transformer import block, gelu, layer_norm, parameters

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def program_of(fn, *args):
    return tj.jit(fn).lower(*args).program


def kept_bytes(program):
    """Bytes of all that kernels leave for each other in the arena."""
    kept = [b for b in program.buffers if b.storage is Storage.ARENA]
    return sum(int(np.prod(b.shape)) * b.dtype.itemsize for b in kept)


# --- kernels of gradients -----------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x):
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def log_sum_exp(x):
    top = x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=-1, keepdims=True)) + top


def rms_norm(x):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)


def plain_layer_norm(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def silu(x):
    return x / (1 + np.exp(-x))


def huber(x, y):
    gap = np.abs(x - y)
    return np.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean()


def binary_cross_entropy(z, y):
    return np.mean(np.logaddexp(0, z) - z * y)


def cosine(x, y):
    lengths = np.sqrt(np.sum(x * x, -1)) * np.sqrt(np.sum(y * y, -1))
    return np.sum(np.sum(x * y, -1) / lengths)


def cross_entropy(z, y):
    return -np.take_along_axis(log_softmax(z), y[:, None], axis=1).mean()


def weighted(fn):
    """Return the loss whose gradient is the pullback of the second argument."""

    def loss(x, g):
        return np.sum(fn(x) * g)

    return loss


def scaled_rms_norm(x, scale, g):
    return np.sum(rms_norm(x) * scale * g)


def scaled_layer_norm(x, p, g):
    return np.sum(layer_norm(p, x) * g)


def linear_error(w, b, x, y):
    return ((x @ w + b - y) ** 2).mean()


def linear_gelu(w, b, x, g):
    return np.sum(gelu(x @ w + b) * g)


def linear_cross_entropy(w, b, x, y):
    return cross_entropy(x @ w + b, y)


def chain(x):
    for _ in range(10):
        x = np.sin(np.tanh(x) + 0.5 * x)
    return np.sum(x)


X, G = normal(16, 8), normal(16, 8)
W, B, Y, LABELS = normal(8, 5), normal(5), normal(16, 5), RNG.integers(5, size=16)
NORM = {"scale": normal(8), "shift": normal(8)}

# The gradient of each, in so many kernels, with so many bytes between these.
GRADIENTS = {
    # one pass over rows or elements
    "gelu": (tj.grad(weighted(gelu)), (X, G), 1, 0),
    "silu": (tj.grad(weighted(silu)), (X, G), 1, 0),
    "softmax": (tj.grad(weighted(softmax)), (X, G), 1, 0),
    "log_softmax": (tj.grad(weighted(log_softmax)), (X, G), 1, 0),
    "log_sum_exp": (tj.grad(weighted(log_sum_exp)), (X, normal(16, 1)), 1, 0),
    "rms_norm": (tj.grad(weighted(rms_norm)), (X, G), 1, 0),
    "layer_norm": (tj.grad(weighted(plain_layer_norm)), (X, G), 1, 0),
    "huber": (tj.value_and_grad(huber), (X, G), 1, 0),
    "binary_cross_entropy": (tj.value_and_grad(binary_cross_entropy), (X, G), 1, 0),
    "cosine": (tj.grad(cosine, argnums=(0, 1)), (X, G), 1, 0),
    "twenty_elementwise": (tj.value_and_grad(chain), (X,), 1, 0),
    "curvature_of_twenty": (
        lambda x, v: tj.jvp(tj.grad(chain), (x,), (v,)),
        (X, G),
        1,
        0,
    ),
    "softmax_forward": (lambda x, v: tj.jvp(softmax, (x,), (v,)), (X, G), 1, 0),
    "layer_norm_forward": (
        lambda x, v: tj.jvp(plain_layer_norm, (x,), (v,)),
        (X, G),
        1,
        0,
    ),
    # sums over the rows are a second pass: a scale, or scale and shift, of the columns;
    # what it needs of each row, one or two numbers, is kept
    "scaled_rms_norm": (tj.grad(scaled_rms_norm, (0, 1)), (X, NORM["scale"], G), 2, 64),
    "scaled_layer_norm": (tj.grad(scaled_layer_norm, (0, 1)), (X, NORM, G), 2, 128),
    # the probabilities' gradient, and the index check
    "cross_entropy": (tj.grad(cross_entropy), (Y, LABELS), 2, 64),
    # the product with what follows, then one product or sum for each gradient: the
    # cotangent of the product is what they share
    "linear_error": (tj.grad(linear_error, (0, 1)), (W, B, X, Y), 3, 320),
    "linear_gelu": (tj.grad(linear_gelu, (0, 1)), (W, B, X, Y), 3, 320),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_kernels_of_gradients(name):
    fn, args, kernels, kept = GRADIENTS[name]
    program = program_of(fn, *args)
    assert all(isinstance(step, Run) for step in program.steps)
    assert len(program.steps) == len(program.kernels) == kernels
    assert kept_bytes(program) <= kept
    assert_close(tj.jit(fn)(*args), fn(*args), rtol=2e-4)


# --- gradients of each example ------------------------------------------------------


def example_loss(w, b, x, y):
    return -log_softmax(x @ w + b)[y]


def example_network(params, x, y):
    h = np.maximum(x @ params["in"] + params["b"], 0)
    return -log_softmax(h @ params["out"])[y]


def test_gradients_of_each_example():
    """A product and its cotangents, outer products, and the index check."""
    each = tj.vmap(tj.grad(example_loss, (0, 1)), (None, None, 0, 0))
    program = program_of(each, W, B, X, LABELS)
    assert len(program.steps) == len(program.kernels) == 3
    assert kept_bytes(program) == 4 * len(LABELS)  # what the check reads
    of_w, of_b = tj.jit(each)(W, B, X, LABELS)
    for i, (x, y) in enumerate(zip(X, LABELS, strict=True)):
        want = tj.grad(example_loss, (0, 1))(W, B, x, y)
        assert_close((of_w[i], of_b[i]), want, rtol=1e-4)


def test_gradients_of_each_example_of_a_network():
    """No kernel and no buffer is of one example alone, and no routine is called."""
    params = {"in": normal(8, 6), "b": normal(6), "out": normal(6, 5)}
    each = tj.vmap(tj.grad(example_network), (None, 0, 0))
    program = program_of(each, params, X, LABELS)
    assert all(isinstance(step, Run) for step in program.steps)
    assert len(program.steps) <= 5
    got = tj.jit(each)(params, X, LABELS)
    for i in (0, 15):
        want = tj.grad(example_network)(params, X[i], LABELS[i])
        assert_close({k: v[i] for k, v in got.items()}, want, rtol=1e-4)


def test_norms_of_gradients_of_each_example():
    """As clipping for privacy has them: outer products are never in memory."""

    def norms(w, x, y):
        slopes = tj.vmap(tj.grad(example_loss), (None, None, 0, 0))(w, B, x, y)
        return np.sqrt(np.sum(slopes**2, axis=(1, 2)))

    program = program_of(norms, W, X, LABELS)
    assert all(b.shape != (16, 8, 5) for b in program.buffers)


# --- what loops keep ----------------------------------------------------------------


def stacks(program, length):
    """Buffers of the arena with one slice for each turn."""
    kept = [b for b in program.buffers if b.storage is Storage.ARENA]
    return [b for b in kept if b.shape and b.shape[0] == length]


def test_scan_keeps_one_value_of_a_turn():
    """``h = tanh(w h + x)``: tanh is its own derivative, and the next turn's input."""

    def last(w, h, xs):
        def turn(h, x):
            h = np.tanh(w @ h + x)
            return h, h

        return np.sum(tj.scan(turn, h, xs)[1])

    program = program_of(tj.grad(last), np.eye(4), np.ones(4), np.ones((20, 4)))
    assert len(stacks(program, 20)) <= 2  # the states before, and the states after


def test_scan_of_arithmetic_keeps_the_carry():
    """Ten operations a turn, products of products, are computed again."""

    def last(h, xs):
        def turn(h, x):
            for _ in range(5):
                h = h * x + 0.1 * h / (1 + h * h)
            return h, None

        return np.sum(tj.scan(turn, h, xs)[0])

    program = program_of(tj.grad(last), np.ones(4), np.ones((20, 4)))
    assert [b.shape for b in stacks(program, 20)] == [(20, 4)]


def test_lstm_keeps_seven_values_of_a_turn():
    """Both states before, and one of each gate and each tanh."""
    params, xs, targets = lstm_arguments(20)
    program = program_of(tj.grad(lstm_loss), params, xs, targets)
    per_turn = [b for b in stacks(program, 20) if b.shape[1:] == (5, 4)]
    assert len(per_turn) == 7


def test_forward_mode_of_a_scan_keeps_nothing():
    def last(h, xs):
        return np.sum(tj.scan(lambda h, x: (np.sin(h * x), None), h, xs)[0])

    def forward(h, xs):
        return tj.jvp(lambda h: last(h, xs), (h,), (h,))

    program = program_of(forward, np.ones(4), np.ones((20, 4)))
    assert stacks(program, 20) == []


# --- checkpoints of transformer blocks ----------------------------------------------

SHAPE = (2, 16, 16)  # batch, length, width
CARRY = int(np.prod(SHAPE)) * 8


def stack_bytes(layers, wrap):
    """Bytes of the arena of the gradient of so many blocks."""

    def loss(blocks, x):
        for p in blocks:
            x = wrap(block)(p, x)
        return np.mean(x**2)

    blocks = parameters(np.random.default_rng(0), layers, SHAPE[-1])["blocks"]
    return program_of(tj.grad(loss), blocks, np.ones(SHAPE)).arena_bytes


def test_checkpoint_keeps_the_input_of_each_block():
    """One more block is one more input, and nothing of what is inside of it."""
    two, four, eight = (stack_bytes(n, tj.checkpoint) for n in (2, 4, 8))
    assert four - two <= 2 * CARRY + 64 and eight - four <= 4 * CARRY + 64
    plain = stack_bytes(8, lambda f: f)
    assert eight < plain / 5


def test_policies_lie_between():
    """What products give is kept, and what is computed of it is not."""

    def dots(fn):
        return tj.checkpoint(fn, policy=tj.checkpoint_policies.dots_saveable)

    nothing, some, everything = (
        stack_bytes(4, wrap) for wrap in (tj.checkpoint, dots, lambda f: f)
    )
    assert nothing < some < everything


def test_a_scan_over_blocks_with_checkpoints():
    """Parameters stacked by layer: the loop keeps what enters each block."""

    def stacked(trees):
        if isinstance(trees[0], dict):
            return {k: stacked([t[k] for t in trees]) for k in trees[0]}
        return np.stack(trees)

    layers = 6
    blocks = parameters(np.random.default_rng(0), layers, SHAPE[-1])["blocks"]

    def loss(blocks, x, wrap):
        def turn(x, p):
            return wrap(block)(p, x), None

        return np.mean(tj.scan(turn, x, blocks)[0] ** 2)

    x = np.ones(SHAPE)
    gradient = tj.grad(lambda b, x: loss(b, x, tj.checkpoint))
    program = program_of(gradient, stacked(blocks), x)
    kept = [b for b in stacks(program, layers) if b.shape[1:] == SHAPE]
    assert len(kept) == len(stacks(program, layers)) == 1
    names = {s.kernel.name for s in nested(program.steps) if isinstance(s, Run)}
    assert len(names) < 60  # the layers share their kernels
    plain = program_of(
        tj.grad(lambda b, x: loss(b, x, lambda f: f)), stacked(blocks), x
    )
    assert program.arena_bytes < plain.arena_bytes / 2
