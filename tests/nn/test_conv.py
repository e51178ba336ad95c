"""`tj.nn.conv` eager, jitted and differentiated, against sums over taps in NumPy."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ShapeError

from .reference import CASES, Case, direct

DTYPES = (np.float32, np.float64)


def operands(case: Case, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(dtype) for s in (case.x, case.w)]


def close(got, want, dtype, terms=1):
    """Within the rounding of a sum of `terms` products."""
    assert got.shape == want.shape
    eps = np.finfo(dtype).eps
    scale = np.max(np.abs(want), initial=1.0)
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * eps * scale * terms**0.5)


def terms(case: Case) -> int:
    return int(np.prod(case.w[1:]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_eager_and_jitted_give_the_sums(case, dtype):
    x, w = operands(case, dtype)
    want = direct(x, w, case.options)
    for run in (tj.nn.conv, tj.jit(lambda x, w: tj.nn.conv(x, w, **case.options))):
        got = run(x, w, **(case.options if run is tj.nn.conv else {}))
        assert type(got) is np.ndarray
        assert got.dtype == dtype
        assert got.flags.c_contiguous
        close(got, want, dtype, terms(case))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_the_transposes(case, dtype):
    """⟨g, conv(x, w)⟩ is linear in x and in w: both gradients in closed form."""
    x, w = operands(case, dtype)
    rng = np.random.default_rng(1)
    g = rng.normal(size=direct(x, w, case.options).shape).astype(dtype)

    def loss(x, w):
        return np.sum(g * tj.nn.conv(x, w, **case.options))

    def total(x, w):
        return float(np.sum(g * direct(x, w, case.options)))

    eager = tj.grad(loss, (0, 1))(x, w)
    jitted = tj.jit(tj.grad(loss, (0, 1)))(x, w)
    for got in (eager, jitted):
        assert [a.shape for a in got] == [x.shape, w.shape]
        for i, a in enumerate(got):
            direction = rng.normal(size=a.shape)
            full = [x, w]
            full[i] = direction
            size = np.sqrt(max(1, g.size) * terms(case))
            bound = 40 * np.finfo(dtype).eps * size
            assert abs(np.sum(a * direction) - total(*full)) <= bound
    for a, b in zip(eager, jitted, strict=True):
        close(b, a, dtype, max(terms(case), g.size))


@pytest.mark.parametrize("case", CASES[::4], ids=str)
def test_second_derivatives(case):
    """Of both operands, by differences of the gradient."""
    x, w = operands(case)
    rng = np.random.default_rng(3)
    dx, dw = rng.normal(size=x.shape), rng.normal(size=w.shape)

    def loss(x, w):
        return np.sum(np.sin(tj.nn.conv(x, w, **case.options)))

    def along(x, w):
        gx, gw = tj.grad(loss, (0, 1))(x, w)
        return np.sum(gx * dx) + np.sum(gw * dw)

    got = tj.jit(tj.grad(along, (0, 1)))(x, w)
    step = 1e-5
    up, down = (tj.grad(loss, (0, 1))(x + s * dx, w + s * dw) for s in (step, -step))
    for a, high, low in zip(got, up, down, strict=True):
        want = (high - low) / (2 * step)
        scale = np.max(np.abs(want), initial=1e-3)
        np.testing.assert_allclose(a, want, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("rank", [1, 2])
def test_against_scipy(rank):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 12)[:rank]), rng.normal(size=(4, 3)[:rank])
    for mode, padding in (("valid", 0), ("full", tuple(k - 1 for k in w.shape))):
        want = signal.correlate(x, w, mode)
        got = tj.jit(lambda x, w, p: tj.nn.conv(x, w, padding=p))(
            x[None, None], w[None, None], padding
        )
        np.testing.assert_allclose(got[0, 0], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("extent", [5, 6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_gives_ceil_places(extent, stride):
    x, w = np.arange(extent, dtype=float)[None, None], np.ones((1, 1, 4))
    got = tj.nn.conv(x, w, stride, "same")
    places = -(-extent // stride)
    total = max(0, (places - 1) * stride + 4 - extent)
    pads = ((total // 2, total - total // 2),)
    np.testing.assert_array_equal(got, tj.nn.conv(x, w, stride, pads))
    assert got.shape[2] == places
    np.testing.assert_allclose(
        tj.jit(lambda x, w: tj.nn.conv(x, w, stride, "same"))(x, w), got
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_last(rank):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, *(7, 6, 5)[:rank]))
    w = rng.normal(size=(6, 2, *(3, 2, 2)[:rank]))
    options = {"stride": 2, "padding": 1, "groups": 2}
    want = np.moveaxis(tj.nn.conv(x, w, **options), 1, -1)
    x, w = np.moveaxis(x, 1, -1).copy(), np.moveaxis(w, (0, 1), (-1, -2)).copy()
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[rank]

    def run(x, w):
        return tj.nn.conv(x, w, **options, layout=layout)

    for got in (run(x, w), tj.jit(run)(x, w)):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
        assert got.flags.c_contiguous
    eager = tj.grad(lambda x, w: np.sum(np.sin(run(x, w))), (0, 1))
    for a, b in zip(tj.jit(eager)(x, w), eager(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_that_are_not_contiguous(dtype):
    rng = np.random.default_rng(0)
    big = rng.normal(size=(12, 22, 6, 4)).astype(dtype)
    x = big[::2, ::-2].T  # (4, 6, 11, 6), strides of any sign and order
    w = rng.normal(size=(3, 3, 10, 12)).astype(dtype).T[::2, ::-1][:, :6]
    want = direct(x, w, {"padding": 1})
    call = tj.jit(lambda x, w: tj.nn.conv(x, w, padding=1))
    close(call(x, w), want, dtype, terms=54)
    grads = tj.grad(lambda x, w: np.sum(np.sin(call(x, w))), (0, 1))
    plain = grads(np.ascontiguousarray(x), np.ascontiguousarray(w))
    for a, b in zip(tj.jit(grads)(x, w), plain, strict=True):
        close(a, b, dtype, terms=4 * 54)


def test_views_around_a_convolution_cost_nothing():
    """Bias and activation are in its kernel; transposes and slices are none."""
    x, w, b = np.ones((2, 8, 8, 3)), np.ones((4, 3, 3, 3)), np.ones((4, 1, 1))

    def layer(x, w, b):
        x = np.moveaxis(x, -1, 1)[:, :, ::-1, 1:]
        return np.maximum(tj.nn.conv(x, w, padding=1) + b, 0)

    lowered = tj.jit(layer).lower(x, w, b)
    assert len(lowered.kernels) == 1
    assert "extern" not in lowered.as_text()
    assert "copy" not in lowered.as_text()
    np.testing.assert_allclose(tj.jit(layer)(x, w, b), layer(x, w, b))


def test_gradients_are_kernels():
    """Strides, padding, dilation, groups: no gradient leaves for an extern step."""
    x, w = np.ones((2, 4, 9, 9)), np.ones((6, 2, 3, 3))

    def loss(x, w):
        out = tj.nn.conv(x, w, stride=2, padding=1, dilation=2, groups=2)
        return np.sum(out * out)

    program = tj.jit(tj.grad(loss, (0, 1))).lower(x, w)
    assert "extern" not in program.as_text()
    assert len(program.kernels) == 4  # the convolution, 2 * out, and two gradients


def test_dtypes_promote_as_in_numpy():
    x, w = np.ones((1, 1, 4), np.float32), np.ones((1, 1, 2))
    for run in (tj.nn.conv, tj.jit(tj.nn.conv)):
        assert run(x, w).dtype == np.float64
        assert run(x.astype(np.int32), w.astype(np.int32)).dtype == np.int32
        assert run(x.astype(np.float16), w.astype(np.float16)).dtype == np.float16
        np.testing.assert_array_equal(
            run(x.astype(np.int64), w.astype(np.int64)), [[[2, 2, 2]]]
        )


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.float16, np.int32])
def test_other_dtypes(dtype):
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, s).astype(dtype) for s in ((2, 3, 5, 6), (4, 3, 3, 3)))
    if np.dtype(dtype).kind == "c":
        w = w * dtype(1 - 2j)
    want = tj.nn.conv(x, w, 2, 1)
    got = tj.jit(lambda x, w: tj.nn.conv(x, w, 2, 1))(x, w)
    assert got.dtype == want.dtype == dtype
    np.testing.assert_array_equal(got, want)  # small integers: exact in all of them


MISTAKES = [
    ((1, 3, 5, 5), (4, 2, 3, 3), {}, "has 3 channels, but w of shape (4, 2, 3, 3)"),
    ((1, 4, 5, 5), (3, 2, 3, 3), {"groups": 2}, "3 filters do not make 2 equal groups"),
    ((1, 3, 5, 5), (4, 3, 3), {}, "expected 3 to 5 axes, as many of both"),
    ((3, 5), (3, 5), {}, "expected 3 to 5 axes"),
    ((1, 1, 2, 2), (1, 1, 3, 3), {}, "a window of (3, 3) (dilated) does not fit"),
    ((1, 1, 5), (1, 1, 3), {"stride": 0}, "stride is 0; expected a positive int"),
    ((1, 1, 5), (1, 1, 3), {"padding": -1}, "padding of one axis is -1"),
    ((1, 1, 5, 5), (1, 1, 3, 3), {"padding": (1,)}, "for 2 spatial axes"),
    ((1, 1, 5), (1, 1, 3), {"layout": "HWC"}, "layout 'HWC' is not known"),
]


@pytest.mark.parametrize(("x", "w", "options", "message"), MISTAKES)
def test_mistakes_are_named_with_the_line(x, w, options, message):
    x, w = np.ones(x), np.ones(w)
    for run in (tj.nn.conv, tj.jit(lambda x, w, **o: tj.nn.conv(x, w, **o))):
        with pytest.raises(ShapeError, match="conv:") as caught:
            run(x, w, **options)
        assert message in str(caught.value)
        assert "test_conv.py" in str(caught.value)
