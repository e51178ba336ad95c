"""Initialisers: variances, bounds, fans, dtypes, keys."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, ShapeError
from tracejit.nn import initializers as init

KEY = tj.random.key(0)
SHAPE = (300, 200)
# variance times a fan, the fan, and the largest number over the deviation
FANS = {
    "glorot_uniform": (1, 250, 3**0.5),
    "glorot_normal": (1, 250, 2 / init.TRUNCATED_STD),
    "xavier_uniform": (1, 250, 3**0.5),
    "xavier_normal": (1, 250, 2 / init.TRUNCATED_STD),
    "he_uniform": (2, 300, 3**0.5),
    "he_normal": (2, 300, 2 / init.TRUNCATED_STD),
    "kaiming_uniform": (2, 300, 3**0.5),
    "kaiming_normal": (2, 300, 2 / init.TRUNCATED_STD),
    "lecun_uniform": (1, 300, 3**0.5),
    "lecun_normal": (1, 300, 2 / init.TRUNCATED_STD),
}


@pytest.mark.parametrize("name", FANS)
def test_variances(name):
    scale, fan, most = FANS[name]
    w = getattr(init, name)()(KEY, SHAPE, np.float32)
    deviation = (scale / fan) ** 0.5
    assert w.dtype == np.float32
    assert abs(w.std() / deviation - 1) < 0.02
    assert abs(w.mean()) < 0.02 * deviation
    assert 0.99 * most < np.abs(w).max() / deviation <= 1.0001 * most


def test_fans_of_filters():
    """(out, in, *window): a window counts for both."""
    shape = (64, 16, 3, 3)
    w = init.he_normal(in_axis=1, out_axis=0)(KEY, shape, np.float32)
    assert abs(w.std() / (2 / (16 * 9)) ** 0.5 - 1) < 0.05
    w = init.variance_scaling(1, "fan_out", "normal", 1, 0)(KEY, shape, np.float32)
    assert abs(w.std() / (1 / (64 * 9)) ** 0.5 - 1) < 0.05
    stacked = init.lecun_normal(batch_axis=0)(KEY, (50, 40, 30), np.float32)
    assert abs(stacked.std() / (1 / 40) ** 0.5 - 1) < 0.05
    w = init.variance_scaling(1, "fan_geo_avg", "uniform")(KEY, SHAPE)
    assert abs(w.std() / (300 * 200) ** -0.25 - 1) < 0.05


def test_simple_ones():
    assert init.zeros(None, (2, 3)).tolist() == [[0] * 3] * 2
    assert init.ones(KEY, 2, np.int8).dtype == np.int8
    assert init.constant([1, 2])(KEY, (3, 2)).tolist() == [[1, 2]] * 3
    w = init.uniform(0.5)(KEY, SHAPE)
    assert 0 <= w.min() < w.max() < 0.5
    assert abs(init.normal(0.3)(KEY, SHAPE, np.float32).std() / 0.3 - 1) < 0.02
    w = init.truncated_normal(2.0, lower=-1, upper=3)(KEY, SHAPE, np.float32)
    assert -2 <= w.min() < -1.9
    assert 4 < w.max() <= 6


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal(shape):
    w = init.orthogonal(2.0)(KEY, shape)
    assert w.shape == shape
    flat = w.reshape(-1, shape[-1]) / 2
    gram = flat.T @ flat if flat.shape[0] >= flat.shape[1] else flat @ flat.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-13)
    turned = init.orthogonal(2.0, column_axis=0)(KEY, (shape[-1], *shape[:-1]))
    assert np.array_equal(np.moveaxis(turned, 0, -1), w)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["he_normal", "glorot_uniform", "normal"])
def test_dtypes_and_traces(name, dtype):
    make = getattr(init, name)()
    w = make(KEY, (4, 3), dtype)
    assert w.dtype == dtype
    traced = tj.jit(lambda k: make(k, (4, 3), dtype))(KEY)
    wide = (x.astype(np.float64) for x in (traced, w))
    eps = 4 * float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(*wide, rtol=eps, atol=eps)


def test_in_a_trace():
    def f(key):
        return init.zeros(key, (2,)) + init.constant(3)(key, (2,)) + init.ones(None, 2)

    assert tj.jit(f)(KEY).tolist() == [4, 4]
    keys = tj.random.split(KEY, 3)
    each = tj.jit(tj.vmap(lambda k: init.he_uniform()(k, (2, 3), np.float32)))(keys)
    assert each.shape == (3, 2, 3)


def test_mistakes():
    with pytest.raises(ShapeError, match="have no axis"):
        init.he_normal()(KEY, (3,))
    with pytest.raises(ShapeError, match=r"an axis of the shape .* twice"):
        init.he_normal(in_axis=0, out_axis=0)(KEY, (3, 4))
    with pytest.raises(ArgumentError, match="mode is 'fan'"):
        init.variance_scaling(1, "fan", "normal")
    with pytest.raises(ShapeError, match="two axes at least"):
        init.orthogonal()(KEY, (3,))
