"""``out=`` of functions and of methods of ufuncs: where it stands, and what fits."""

import numpy as np
import pytest

import tracejit as tj
from tests.coverage.measure import difference

X = np.random.default_rng(3).uniform(0.1, 0.9, (3, 4))
TENTHS = np.full(10_000, 0.1, np.float32)

# An expression in x and an array `out`, by name or by position, as NumPy has it.
CALLS = [
    "np.sum(x, 0, None, out)",
    "x.sum(0, None, out)",
    "np.prod(x, 0, None, out)",
    "np.mean(x, 0, None, out)",
    "np.std(x, 0, None, out)",
    "np.var(x, axis=0, out=out)",
    "np.max(x, 0, out)",
    "x.min(0, out)",
    "np.median(x, 0, out)",
    "np.quantile(x, 0.5, 0, out)",
    "np.nansum(x, 0, None, out)",
    "np.nanmean(x, 0, None, out)",
    "np.ptp(x, 0, out)",
    "np.clip(x[0], 0.2, 0.6, out)",
    "x[0].clip(0.2, 0.6, out)",
    "x[0].round(1, out)",
    "np.cumsum(x[0], 0, None, out)",
    "np.nancumsum(x[0], 0, None, out)",
    "np.take(x[1], [3, 0, 0, 1], 0, out)",
    "x[1].take([3, 0, 0, 1], 0, out)",
    "np.compress([True, False, True], x, 0, out)",
    "np.choose([0, 1, 1, 0], [x[0], x[1]], out)",
    "np.dot(x.T[:, :3], x[:, 0], out)",
    "np.outer(x[0], x[1, :1], out)",
    "np.concatenate((x[0, :2], x[1, :2]), 0, out)",
    "np.trace(np.stack([x, x]), 0, 0, 1, None, out)",
    "np.add.reduce(x, 0, None, out)",
    "np.hypot.accumulate(x[0], 0, None, out)",
    "np.add.reduceat(x[0], [0, 1, 2, 3], 0, None, out)",
    "np.einsum('ij->j', x, out=out)",
]


def both(expression, x, out):
    """Result and `out` of an expression, of NumPy and under jit."""
    scope = {"np": np}
    exec(f"def f(x, out):\n    return {expression}, out", scope)
    f = scope["f"]
    return tj.jit(f)(x.copy(), out.copy()), f(x.copy(), out.copy())


@pytest.mark.parametrize("expression", CALLS)
def test_result_is_written(expression):
    shape = {"np.outer": (4, 1), "np.compress": (2, 4)}
    out = np.zeros(shape.get(expression.partition("(")[0], (4,)))
    got, want = both(expression, X, out)
    assert not difference(got, want)


@pytest.mark.parametrize("dtype", ["f8", "i4"])
@pytest.mark.parametrize(
    "expression",
    [
        "np.sum(x, out=out)",
        "np.mean(x, out=out)",
        "np.add.reduce(x, out=out)",
        "np.hypot.reduce(x[:9], out=out)",
        "np.maximum.reduce(x, out=out)",
    ],
)
@pytest.mark.parametrize("x", [TENTHS, TENTHS > 0, np.full(300, 100, np.int8)])
def test_sums_are_made_in_what_holds_operand_and_target(expression, dtype, x):
    if dtype == "i4":  # NumPy drops a fraction with each block that it adds
        x = x.round().astype(x.dtype)
    got, want = both(expression, x, np.zeros((), dtype))
    assert not difference(got, want)


@pytest.mark.parametrize(
    ("expression", "out", "error", "says"),
    [
        ("np.sum(x, 0, out=out)", np.zeros(3), ValueError, r"shape \(4,\)"),
        ("np.max(x, 0, out=out)", np.zeros((2, 4)), ValueError, r"shape \(4,\)"),
        ("np.add.reduce(x, out=out)", np.zeros((2, 4)), ValueError, "add.reduce"),
        ("np.clip(x, 0, 1, out=out)", np.zeros((3, 4), int), TypeError, "int64"),
        ("np.round(x, 1, out=out)", np.zeros((3, 4), int), TypeError, "int64"),
        ("np.std(x, out=out)", np.zeros((), int), TypeError, "np.std gives float64"),
        ("np.argmax(x, out=out)", np.zeros(()), TypeError, "np.argmax gives int64"),
        ("np.dot(x, x.T, out=out)", np.zeros((3, 3), "f4"), TypeError, "np.dot"),
        ("np.einsum('ij->', x, out=out)", np.zeros((), "f4"), TypeError, "np.einsum"),
        ("np.concatenate([x, x], out=out)", np.zeros((6, 4), int), TypeError, "int64"),
        ("np.add.outer(x, x, out=out)", np.zeros((3, 4, 3, 4), int), TypeError, "add"),
    ],
)
def test_what_does_not_fit_raises(expression, out, error, says):
    with pytest.raises((TypeError, ValueError)):
        eval(expression, {"np": np, "x": X, "out": out})
    with pytest.raises(error, match=says):
        both(expression, X, out)
    assert not out.any()


def test_a_wider_target_of_elements_is_broadcast_to():
    got, want = both("np.clip(x[0], 0.2, 0.6, out=out)", X, np.zeros((3, 4)))
    assert not difference(got, want)
