"""Transposed convolution is the gradient of `conv` by its operand."""

import numpy as np
import pytest

import tracejit as tj
from tracejit import nn
from tracejit.errors import ShapeError

RNG = np.random.default_rng(4)
# shape of what the convolution has, filters, arguments
CASES = [
    ((2, 4, 8), (6, 4, 3), {}),
    ((2, 4, 9, 8), (6, 4, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 4, 12, 10), (6, 2, 3, 2), {"stride": (2, 3), "groups": 2, "dilation": 2}),
    ((1, 6, 11), (6, 1, 4), {"groups": 6, "stride": 3, "padding": ((1, 2),)}),
    ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {"stride": (1, 2, 2)}),
    ((1, 3, 4, 4), (2, 3, 3, 3), {"padding": "same"}),
]


def left_over(extent, window, stride, dilation, before, after):
    return (extent + before + after - (window - 1) * dilation - 1) % stride


@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose(case):
    shape, filters, options = case
    x, w = RNG.normal(size=shape), RNG.normal(size=filters)
    rank = len(shape) - 2
    out, pull = tj.vjp(lambda x: nn.conv(x, w, **options), x)
    g = RNG.normal(size=out.shape)
    (want,) = pull(g)

    def each(value):
        return value if isinstance(value, tuple) else (value,) * rank

    more = 0
    if options.get("padding") != "same":
        pads = each(options.get("padding", 0))
        pads = [p if isinstance(p, tuple) else (p, p) for p in pads]
        rows = zip(
            shape[2:],
            filters[2:],
            each(options.get("stride", 1)),
            each(options.get("dilation", 1)),
            *zip(*pads, strict=True),
            strict=True,
        )
        more = tuple(left_over(*row) for row in rows)

    def f(g, w):
        return nn.conv_transpose(g, w, output_padding=more, **options)

    for got in (f(g, w), tj.jit(f)(g, w)):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    assert len(tj.jit(f).lower(g, w).kernels) == 1
    tj.testing.check_grads(f, (g, w), order=2, directions=1)


def test_channels_last():
    x, w = RNG.normal(size=(2, 4, 5, 6)), RNG.normal(size=(4, 3, 3, 2))
    want = nn.conv_transpose(x, w, 2, 1)
    last = np.moveaxis(x, 1, -1), w.transpose(2, 3, 1, 0)
    for f in (nn.conv_transpose, tj.jit(nn.conv_transpose)):
        got = f(*last, stride=2, padding=1, layout="NHWC")
        np.testing.assert_allclose(np.moveaxis(got, -1, 1), want, rtol=1e-12)
        assert got.flags.c_contiguous


@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_same_gives_extents_times_strides(window):
    x, w = np.ones((1, 1, 5), np.float32), np.ones((1, 1, window), np.float32)
    got = nn.conv_transpose(x, w, 3, "same")
    assert got.shape == (1, 1, 15)
    assert got.dtype == np.float32


def test_batches():
    x, w = RNG.normal(size=(3, 1, 2, 4)), RNG.normal(size=(2, 2, 3))
    each = tj.vmap(nn.conv_transpose, in_axes=(0, None))
    want = nn.conv_transpose(x[:, 0], w)
    np.testing.assert_allclose(each(x, w)[:, 0], want, rtol=1e-12)


def test_mistakes():
    x, w = np.ones((1, 4, 5)), np.ones((4, 2, 3))
    with pytest.raises(ShapeError, match="3 to 5 axes"):
        nn.conv_transpose(x[0], w[0])
    with pytest.raises(ShapeError, match="has 4 channels"):
        nn.conv_transpose(x, w[:3])
    with pytest.raises(ShapeError, match="do not make 3 equal groups"):
        nn.conv_transpose(x, w, groups=3)
    with pytest.raises(ShapeError, match="output_padding is 1"):
        nn.conv_transpose(x, w, output_padding=1)
    with pytest.raises(ShapeError, match="leaves"):
        tj.jit(lambda x, w: nn.conv_transpose(x, w, padding=4))(x, w)
