"""What follows a convolution is computed in its kernel, on several threads."""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn, sampled
from tracejit.codegen.llvm.conv_forms import parts_along, quantum_along
from tracejit.codegen.llvm.conv_shape import Convolution, convolution_of
from tracejit.codegen.llvm.target import host_target
from tracejit.codegen.triton.limits import TRITON
from tracejit.nn import conv, max_pool

RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.normal(size=shape) / np.sqrt(shape[-1])


X, W, B = normal(4, 8, 10, 12), normal(16, 8, 3, 3), normal(16)
DEEP = normal(64, 8, 3, 3), normal(64)
V = normal(12, 5)


def layer(x, w, b, **options):
    return np.maximum(conv(x, w, padding=1, **options) + b[:, None, None], 0)


def normalised(x, w):
    y = conv(x, w, padding=1)
    centred = y - y.mean((2, 3), keepdims=True)
    return centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 1e-5)


def softmax(x, w):
    e = np.exp(conv(x, w, padding=1))
    return e / e.sum(-1, keepdims=True)


def residual(x, w, b, u, c):
    h = layer(x, w, b)
    return np.maximum(conv(h, u, padding=1) + c[:, None, None] + x, 0)


def two(x, w, b):
    y = conv(x, w, padding=1)
    return y, np.tanh(y + b[:, None, None])


CASES = {
    "bias and relu": (layer, (X, W, B), 1),
    "one image": (layer, (X[:1], *DEEP), 1),
    "whole lines": (layer, (normal(1, 8, 8, 32), *DEEP), 1),
    "stride": (lambda *a: layer(*a, stride=2), (X, W, B), 1),
    "dilation": (lambda *a: layer(*a, dilation=2), (X, W, B), 1),
    "one by one": (layer, (X, normal(16, 8, 1, 1), B), 1),
    "no padding": (
        lambda x, w, b: np.tanh(conv(x, w) + b[:, None, None]),
        (X, normal(16, 8, 1, 1), B),
        1,
    ),
    "every second": (
        lambda x, w, b: np.tanh(conv(x, w, stride=2) + b[:, None, None]),
        (X, normal(16, 8, 1, 1), B),
        1,
    ),
    "depthwise": (
        lambda *a: layer(*a, groups=8),
        (X, normal(8, 1, 3, 3), normal(8)),
        1,
    ),
    "depthwise, one image": (
        lambda *a: layer(*a, groups=8),
        (X[:1], normal(8, 1, 3, 3), normal(8)),
        1,
    ),
    "one axis": (
        lambda x, w, b: np.tanh(conv(x, w, padding=1) + b[:, None]),
        (normal(3, 5, 40), normal(6, 5, 3), normal(6)),
        1,
    ),
    "three axes": (
        lambda x, w: np.tanh(conv(x, w, padding=1)),
        (normal(2, 3, 4, 5, 6), normal(4, 3, 2, 3, 3)),
        1,
    ),
    "mean of images": (lambda *a: layer(*a).mean((2, 3)), (X, W, B), 1),
    "normalised images": (normalised, (X, W), 1),
    "rows": (softmax, (X, W), 1),
    "two results": (two, (X, W, B), 1),
    "residual block": (residual, (X, W, B, normal(8, 16, 3, 3), normal(8)), 2),
    # What is left apart: other positions, groups that become one axis, channels last,
    # products, and pools, whose places in a window are other positions.
    "turned": (lambda x, w: (y := conv(x, w)) + y[:, :, ::-1], (X, W), 2),
    "groups": (lambda *a: layer(*a, groups=2), (X, normal(16, 4, 3, 3), B), 2),
    "channels last": (
        lambda x, w, b: np.tanh(conv(x, w, layout="NHWC") + b),
        (normal(2, 6, 7, 4), normal(3, 3, 4, 5), normal(5)),
        2,
    ),
    "product": (lambda x, w, v: np.tanh(conv(x, w, padding=1)) @ v, (X, W, V), 2),
    "attention's form": (lambda x, w, v: softmax(x, w) @ v, (X, W, V), 2),
    "pool": (lambda *a: max_pool(layer(*a), 2, 2, 0), (X, W, B), 2),
}


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(("name", "dtype"), in_turn(CASES, (np.float32, np.float64)))
def test_values_and_kernels(name, dtype):
    function, args, count = CASES[name]
    call, own = tj.jit(function), [a.astype(dtype) for a in args]
    assert len(call.lower(*own).kernels) == count
    for got, want in zip(as_tuple(call(*own)), as_tuple(function(*args)), strict=True):
        assert got.dtype == dtype
        scale = np.max(np.abs(want))
        np.testing.assert_allclose(got, want, atol=40 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("name", sampled(CASES, 2))
def test_bits_do_not_depend_on_threads(name):
    function, args, _ = CASES[name]
    args = [a.astype(np.float32) for a in args]
    found = []
    for count in (1, 2, 3):
        with tj.config.override(threads=count, share_from=0):
            results = as_tuple(tj.jit(function)(*args))
            found.append([r.tobytes() for r in results])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["bias and relu", "one image", "depthwise"])
def test_kernels_for_other_targets_end_with_the_convolution(name):
    function, args, _ = CASES[name]
    trace = tj.jit(function).trace(*args)
    assert len(trace.lower(TRITON).kernels) == 2


def test_gradients_of_a_block_are_few_kernels():
    """Masks, sums and cotangents of the biases are computed with the convolutions."""
    args = CASES["residual block"][1]

    def loss(*args):
        return np.sum(np.sin(residual(*args)))

    call = tj.jit(tj.grad(loss, (0, 1, 2, 3, 4)))
    wants = tj.grad(loss, (0, 1, 2, 3, 4))(*args)
    for got, want in zip(call(*args), wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    assert len(call.lower(*args).kernels) == 8


# --- parts for threads ----------------------------------------------------------------


def found(function, *args) -> list[Convolution]:
    kernels = tj.jit(function).lower(*args).kernels
    return [c for c in map(convolution_of, kernels) if c is not None]


def test_few_images_are_cut_along_filters():
    target = host_target("baseline")
    (one,) = found(lambda x, w: conv(x, w, padding=1), X[:1], DEEP[0])
    assert parts_along(one, target) == {"batch": 1, "group": 1, "filters": 4}
    assert quantum_along(one, one.filters.axis, target) == 16
    (four,) = found(lambda x, w: conv(x, w, padding=1), X, DEEP[0])
    assert parts_along(four, target) == {"batch": 4, "group": 1, "filters": 1}
    assert quantum_along(four, four.batch.axis, target) == 1
    assert quantum_along(four, four.filters.axis, target) is None


@pytest.mark.parametrize(("channels", "parts"), [(64, (4, 1)), (3, (1, 4))])
def test_gradients_of_filters_are_cut(channels, parts):
    """Along channels, which have the place of images; few of them along filters."""
    x, w = normal(2, channels, 16, 16), normal(64, channels, 3, 3)

    def loss(x, w):
        return np.sum(np.sin(conv(x, w, padding=1)))

    target = host_target("baseline")
    all_parts = [parts_along(c, target) for c in found(tj.grad(loss, 1), x, w)]
    assert {"group": 1, "batch": parts[0], "filters": parts[1]} in all_parts
    grads = []
    for count in (1, 2, 3):
        with tj.config.override(threads=count, share_from=0):
            grads.append(tj.jit(tj.grad(loss, 1))(x, w))
    assert grads[0].tobytes() == grads[1].tobytes() == grads[2].tobytes()
    np.testing.assert_allclose(grads[0], tj.grad(loss, 1)(x, w), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["bias and relu", "whole lines", "no padding"])
def test_epilogues_run_along_memory(name):
    """Vectors are neighbours in the result, not filters."""
    function, args, _ = CASES[name]
    args = [a.astype(np.float32) for a in args]
    text = tj.jit(function).lower(*args).compile().as_text()
    assert "llvm.masked.gather" not in text
    assert "llvm.masked.scatter" not in text
