"""Pooling eager, jitted and differentiated, against loops over windows."""

from itertools import product

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import DTypeError, ShapeError

from .reference import both

CASES = [
    ((2, 3, 8, 8), {"window": 2}),
    ((2, 3, 7, 9), {"window": 2}),
    ((1, 2, 9, 10), {"window": 3, "stride": 2, "padding": 1}),
    ((1, 2, 9, 10), {"window": (3, 2), "stride": (1, 2), "padding": (2, 1)}),
    ((2, 1, 6, 7), {"window": 3, "stride": 1}),
    ((1, 2, 12, 12), {"window": 2, "stride": 3}),
    ((2, 3, 37), {"window": 4, "stride": 3, "padding": ((1, 3),)}),
    ((1, 2, 4, 6, 5), {"window": 2, "padding": (0, 1, 1)}),
    ((0, 2, 4, 4), {"window": 2}),
    ((1, 1, 33, 70), {"window": 5, "stride": 2, "padding": 2}),
]
DTYPES = (np.float32, np.float64)


def windows(x, options):
    """Yield the index of each result, and of the part of `x` in its window."""
    rank = x.ndim - 2
    window = both(options["window"], rank)
    strides = both(options.get("stride", options["window"]), rank)
    padding = both(options.get("padding", 0), rank)
    pairs = [p if isinstance(p, tuple) else (p, p) for p in padding]
    places = [
        (n + a + z - k) // s + 1
        for n, k, s, (a, z) in zip(x.shape[2:], window, strides, pairs, strict=True)
    ]
    for at in product(*map(range, places)):
        part = [
            slice(max(0, y * s - a), max(0, min(n, y * s - a + k)))
            for y, s, (a, _), k, n in zip(
                at, strides, pairs, window, x.shape[2:], strict=True
            )
        ]
        yield places, at, tuple(part), int(np.prod(window))


def pooled(x, options, reduce):
    out = None
    for places, at, part, size in windows(x, options):
        if out is None:
            out = np.zeros((*x.shape[:2], *places), x.dtype)
        seen = x[(..., *part)].reshape((*x.shape[:2], -1))
        out[(..., *at)] = reduce(seen, size)
    return out


def first_maxima(x, g, options):
    """The gradient of ⟨g, max_pool(x)⟩: all of it to the first maximum."""
    out = np.zeros_like(x)
    for _, at, part, _ in windows(x, options):
        for n, c in np.ndindex(x.shape[:2]):
            seen = x[(n, c, *part)]
            first = np.unravel_index(np.argmax(seen), seen.shape)
            place = tuple(i + s.start for i, s in zip(first, part, strict=True))
            out[(n, c, *place)] += g[(n, c, *at)]
    return out


def image(shape, dtype, ties=False):
    rng = np.random.default_rng(0)
    if ties:
        return rng.integers(0, 3, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "options"), CASES)
def test_max_pool(shape, options, dtype):
    x = image(shape, dtype)
    want = pooled(x, options, lambda seen, _: seen.max(-1)) if x.size else None
    for run in (tj.nn.max_pool, tj.jit(lambda x: tj.nn.max_pool(x, **options))):
        got = run(x, **(options if run is tj.nn.max_pool else {}))
        assert got.dtype == dtype
        assert got.flags.c_contiguous
        if want is None:
            assert got.shape == (0, 2, 2, 2)
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.bool_])
def test_max_pool_of_integers(dtype):
    x = (image((1, 2, 7, 7), np.float64) > 0).astype(dtype)
    options = {"window": 3, "stride": 2, "padding": 1}
    want = pooled(x, options, lambda seen, _: seen.max(-1))
    for run in (tj.nn.max_pool, tj.jit(tj.nn.max_pool)):
        np.testing.assert_array_equal(run(x, 3, 2, 1), want)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("shape", "options"), [c for c in CASES if c[0][0]])
def test_gradient_goes_to_the_first_maximum(shape, options, ties):
    x = image(shape, np.float32, ties)
    out = tj.nn.max_pool(x, **options)
    g = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
    gradient = tj.grad(lambda x: np.sum(g * tj.nn.max_pool(x, **options)))
    want = first_maxima(x.astype(np.float64), g.astype(np.float64), options)
    for run in (gradient, tj.jit(gradient)):
        np.testing.assert_allclose(run(x), want, rtol=1e-6, atol=1e-6)


def test_nan_is_a_maximum_and_takes_the_gradient():
    x = np.array([[[1.0, np.nan, 3.0, np.nan]]])
    gradient = tj.grad(lambda x: np.sum(tj.nn.max_pool(x, 4)))
    for run in (tj.nn.max_pool, tj.jit(lambda x, n: tj.nn.max_pool(x, n))):
        assert np.isnan(run(x, 4)).all()
    for run in (gradient, tj.jit(gradient)):
        np.testing.assert_array_equal(run(x), [[[0, 1, 0, 0]]])


def test_padding_never_is_the_maximum():
    """Not even of values that are as low as what padding holds."""
    x = np.full((1, 1, 3), -np.inf)
    gradient = tj.grad(lambda x: np.sum(tj.nn.max_pool(x, 2, 2, 1)))
    for run in (gradient, tj.jit(gradient)):
        np.testing.assert_array_equal(run(x), [[[1, 1, 0]]])


def test_tiles_are_one_kernel_each_way():
    """Windows become slices of the operand: nothing is padded, gathered, scattered."""
    x = image((2, 3, 8, 8), np.float32)

    def pool(x):
        return tj.nn.max_pool(np.maximum(x, 0), 2) * 2

    def gradient(x):
        return tj.grad(lambda x: np.sum(tj.nn.max_pool(x, 3, 2, 1) ** 2))(x)

    assert len(tj.jit(lambda x: tj.nn.max_pool(x, 2) * 2).lower(x).kernels) == 1
    assert len(tj.jit(lambda x: tj.nn.max_pool(x, 3, 1, 1)).lower(x).kernels) == 1
    assert len(tj.jit(pool).lower(x).kernels) == 1  # the positive part is repeated
    program = tj.jit(gradient).lower(x)
    assert len(program.kernels) == 2
    assert "extern" not in program.as_text()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "options"), CASES)
def test_avg_pool(shape, options, dtype):
    x = image(shape, dtype)
    want = pooled(x, options, lambda seen, n: seen.sum(-1) / n) if x.size else None
    rtol = 16 * np.finfo(dtype).eps
    for run in (tj.nn.avg_pool, tj.jit(lambda x: tj.nn.avg_pool(x, **options))):
        got = run(x, **(options if run is tj.nn.avg_pool else {}))
        assert got.dtype == dtype
        if want is not None:
            np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)
    gradient = tj.grad(lambda x: np.sum(tj.nn.avg_pool(x, **options) ** 2))
    np.testing.assert_allclose(tj.jit(gradient)(x), gradient(x), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("pool", [tj.nn.max_pool, tj.nn.avg_pool])
def test_channels_last(pool):
    x = image((2, 5, 6, 3), np.float32)
    want = np.moveaxis(pool(np.moveaxis(x, -1, 1), 2), 1, -1)
    np.testing.assert_array_equal(pool(x, 2, layout="NHWC"), want)
    jitted = tj.jit(lambda x: pool(x, 2, layout="NHWC"))
    np.testing.assert_allclose(jitted(x), want, rtol=1e-6, atol=1e-7)


MISTAKES = [
    ({"window": 2, "padding": 2}, "padding ((2, 2), (2, 2)) is not less than"),
    ({"window": 9}, "a window of (9, 9) does not fit into x of shape (1, 2, 5, 5)"),
    ({"window": (2, 2, 2)}, "window is (2, 2, 2); expected a positive int, or 2"),
    ({"window": 2, "layout": "CHW"}, "layout 'CHW' is not known"),
    ({"window": 2, "layout": "NCW"}, "layout 'NCW' has 3 axes, the operand 4"),
    ({"window": 2, "padding": "full"}, "padding is 'full'; expected 'same', 'valid'"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_are_named_with_the_line(options, message):
    x = image((1, 2, 5, 5), np.float32)
    for run in (tj.nn.max_pool, tj.jit(lambda x, **o: tj.nn.max_pool(x, **o))):
        with pytest.raises(ShapeError, match="max_pool") as caught:
            run(x, **options)
        assert message in str(caught.value)
        assert "test_pool.py" in str(caught.value)


def test_means_are_of_floats():
    with pytest.raises(DTypeError, match="avg_pool: the operand is int64"):
        tj.nn.avg_pool(np.arange(4).reshape(1, 1, 4), 2)
