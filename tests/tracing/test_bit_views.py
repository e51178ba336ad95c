"""Views of an array as another dtype: NumPy's bytes, writes, errors, batches."""

import itertools

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import UnsupportedError
from tracejit.ir import dtypes as dt

NUMBERS = [d for d in dt.NAME_TO_DTYPE.values() if d not in dt.OF_ML_DTYPES]
SHAPES = [(), (4,), (3, 8), (0,), (2, 3)]


def numbers(dtype, shape):
    x = np.random.default_rng(3).normal(size=shape) * 3
    x = np.asarray(x > 0) if dtype.kind == "b" else np.asarray(x + 0j * x)
    return (x if dtype.kind in "bc" else x.real).astype(dtype)


def result_of(f, x):
    """Dtype, shape and bytes; or that it raises what NumPy raises."""
    try:
        y = f(x.copy())
    except (ValueError, TypeError):
        return "an error"
    return type(y), y.dtype, y.shape, y.tobytes()


@pytest.mark.parametrize("source", NUMBERS, ids=dt.dtype_name)
def test_views_are_numpys(source):
    """All targets and shapes in one function each, but those that NumPy refuses."""
    targets = [d for d in NUMBERS if d.kind != "b" or source.kind == "b"]
    for shape in SHAPES:
        x = numbers(source, shape)
        views = {d: result_of(lambda x, d=d: x.view(d), x) for d in targets}
        taken = [d for d in targets if views[d] != "an error"]
        found = tj.jit(lambda x, t=taken: [x.view(d) for d in t])(x)
        for got, target in zip(found, taken, strict=True):
            assert (type(got), got.dtype, got.shape, got.tobytes()) == views[target]


@pytest.mark.parametrize(
    ("source", "target"),
    [*itertools.permutations(map(np.dtype, ["f4", "i4", "u2", "f8", "c8"]), 2)],
    ids=str,
)
def test_writes_through_views(source, target):
    def f(x):
        v = x.view(target)
        v[..., 1:3] = 5
        v[0, ::2] += 1
        return x, v

    x = numbers(source, (3, 8))
    got, want = tj.jit(f)(x.copy()), f(x.copy())
    for g, w in zip(got, want, strict=True):
        assert (g.dtype, g.shape, g.tobytes()) == (w.dtype, w.shape, w.tobytes())


def test_arguments_are_written_through_views():
    def f(x):
        x.view(np.uint32)[1] = 0x7F800000

    x, y = np.zeros(3, np.float32), np.zeros(3, np.float32)
    tj.jit(f)(x)
    f(y)
    np.testing.assert_array_equal(x, y)


def test_truths_of_bytes():
    """Bytes beside 0 and 1 are true, and stay what they are unless they are set."""

    def f(x):
        v = x.view(np.bool_)
        v[0] = False
        return v.sum()

    x = np.array([2, 3, 0, 1], np.int8)
    assert tj.jit(f)(x) == 2
    assert x.tolist() == [0, 3, 0, 1]


def test_errors_are_numpys():
    for shape, target in (((3, 3), "f8"), ((), "f8"), ((), "i2")):
        x = np.ones(shape, np.float32)
        with pytest.raises(ValueError) as wanted:
            x.view(target)
        with pytest.raises(ValueError) as found:
            tj.jit(lambda x, t=target: x.view(t))(x)
        assert str(found.value) == str(wanted.value)
    with pytest.raises(ValueError, match="contiguous"):
        tj.jit(lambda x: x[:, ::2].view("i2"))(np.ones((2, 4), np.float32))
    with pytest.raises(UnsupportedError, match=r"x\.view"):
        tj.jit(lambda x: x.view([("a", "f4"), ("b", "f4")]))(np.ones(2))


def test_batches_and_derivatives():
    def f(x):
        return x.view(np.int32) >> 23

    x = np.linspace(0.1, 90, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(tj.jit(tj.vmap(f))(x), f(x))

    def scaled(x):  # the exponent is constant between powers of two
        exponent = ((x.view(np.int64) >> 52) - 1023).astype(np.float64)
        return (x * exponent).sum()

    np.testing.assert_array_equal(tj.grad(scaled)(np.array([9.0, 5.0])), [3.0, 2.0])
    pairs = np.array([1.0, 2.0, 3.0, 4.0])
    slope = tj.grad(lambda x: (x.view(np.complex128) * 2j).real.sum())(pairs)
    np.testing.assert_array_equal(slope, [0.0, -2.0, 0.0, -2.0])


def test_bits_fuse_with_what_is_around_them():
    def sign_flipped(x):
        return (x.view(np.uint32) ^ np.uint32(1 << 31)).view(np.float32) * 2

    x = np.linspace(-2, 2, 64, dtype=np.float32)
    np.testing.assert_array_equal(tj.jit(sign_flipped)(x), sign_flipped(x))
    assert len(tj.jit(sign_flipped).lower(x).kernels) == 1
