"""Methods of ufuncs that are no primitives: any length, masks, traced places."""

import itertools

import numpy as np
import pytest

import tracejit as tj
from tests.coverage.measure import difference
from tests.sampling import sampled
from tracejit.errors import UnsupportedError
from tracejit.tracing import ufunc_methods

LENGTHS = (0, 1, 5, 100)
FLOATS = ("subtract", "divide", "arctan2", "hypot", "fmax", "logaddexp", "copysign")
INTEGERS = ("gcd", "lcm", "bitwise_and", "left_shift", "logical_xor", "remainder")


def operand(name, n):
    rng = np.random.default_rng(4)
    if name in FLOATS:
        return rng.normal(size=(n, 2))
    return rng.integers(1, 20, (n, 2)).astype("u1" if n == 5 else "i8")


def check(f, *args):
    """The same as NumPy, its errors too."""
    try:
        want = f(*[np.copy(x) for x in args])
    except ValueError as error:
        with pytest.raises(ValueError) as found:
            tj.jit(f)(*args)
        assert str(found.value) == str(error)
        return
    assert difference(tj.jit(f)(*[np.copy(x) for x in args]), want) == ""


CASES = itertools.product([*FLOATS, *INTEGERS], LENGTHS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "n"), sampled(CASES, 3))
def test_reductions_of_any_length(name, n):
    ufunc, x = getattr(np, name), operand(name, n)
    check(ufunc.reduce, x)
    check(lambda x: ufunc.reduce(x, initial=x.dtype.type(3)), x)
    check(lambda x: ufunc.reduce(x.T, axis=1, keepdims=True), x)
    check(lambda x, m: ufunc.reduce(x, where=m), x, x > 1)
    check(ufunc.accumulate, x)


def test_long_ones_are_loops():
    """As many equations for any length: one loop, or a step for each bit of it."""

    def count(f, n):
        return len(tj.jit(f).trace(np.ones(n)).graph.eqns)

    assert count(np.subtract.reduce, 10_000) == count(np.subtract.reduce, 20_000) < 10
    assert count(np.divide.accumulate, 20_000) < 150
    assert count(np.hypot.reduce, 1 << 14) < 80


def test_derivatives_of_long_ones():
    x = np.linspace(1, 2, 50)
    got = tj.grad(lambda x: np.subtract.reduce(x))(x)
    np.testing.assert_array_equal(got, [1.0] + [-1.0] * 49)


@pytest.mark.parametrize("name", ["divide", "bitwise_xor", "negative", "arctan2"])
def test_at_traced_indices(name):
    """One after the other, places that are named twice too; errors as NumPy's."""
    ufunc = getattr(np, name)
    dtype = "i8" if name == "bitwise_xor" else "f8"
    x = np.arange(1, 13).reshape(4, 3).astype(dtype)
    i, v = np.array([0, 2, 0, -1, 0]), np.arange(2, 17).reshape(5, 3).astype(dtype)
    values = [v] if ufunc.nin == 2 else []

    def f(x, i, *values):
        ufunc.at(x, i, *values)
        return x

    want = f(x.copy(), i, *values)
    got = tj.jit(f)(x.copy(), i, *values)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    with pytest.raises(IndexError):
        tj.jit(f)(x.copy(), i + 4, *values)


def test_at_a_traced_mask_raises():
    def f(x, m):
        np.divide.at(x, m, 2.0)

    with pytest.raises(UnsupportedError, match=r"np\.divide\.at at a traced mask") as e:
        tj.jit(f)(np.ones(3), np.array([True, False, True]))
    assert "x[mask] = ufunc(x[mask], ...)" in str(e.value)
    assert "test_ufunc_methods.py:" in str(e.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_products_of_infinities():
    """Of complex numbers the order counts, and that masked ones are left out."""
    x = np.array([[0.3 + 0.9j, -np.inf], [0.3 - 0.5j, -1.3 + 0.6j]], "c8")
    mask = np.array([[True, True], [False, True]])
    for order in "CF":
        y = np.copy(x, order)
        for axis in (None, 0, 1):
            check(lambda x, a=axis: np.prod(x, axis=a, initial=2), y)
            check(lambda x, m, a=axis: np.prod(x, axis=a, where=m), y, mask)
    check(lambda x: np.prod(x, initial=0), np.array([1e200, 1e200]))


def test_reciprocals_of_integers():
    for code in "bBhHiIlL":
        x = np.arange(-3 if code.islower() else 0, 4).astype(code)
        with np.errstate(divide="ignore", invalid="ignore"):
            want = np.reciprocal(x)
        np.testing.assert_array_equal(tj.jit(np.reciprocal)(x), want)


STARTS = [[0, 4, 2, 2, 9], [9], [3, 3], [], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
OVER_ROWS = np.random.default_rng(8).uniform(0.1, 2, (3, 10))


@pytest.mark.parametrize(
    ("starts", "few"), [*((s, 4096) for s in STARTS), (STARTS[0], 0)], ids=str
)
@pytest.mark.parametrize(
    ("ufunc", "kind"),
    [
        *((np.add, "f8"), (np.add, "i1"), (np.add, "?"), (np.multiply, "f4")),
        *((np.maximum, "f8"), (np.minimum, "i4"), (np.hypot, "f8")),
        *((np.subtract, "f8"), (np.bitwise_xor, "i8"), (np.logical_and, "i4")),
        *((np.gcd, "i4"), (np.fmax, "f4")),
    ],
)
def test_reduceat_at_traced_indices(ufunc, kind, starts, few, monkeypatch):
    monkeypatch.setattr(ufunc_methods, "_FEW_PAIRS", few)
    x, at = (4 * OVER_ROWS).astype(kind), np.array(starts, int)
    got = tj.jit(lambda x, at: ufunc.reduceat(x, at, axis=1))(x, at)
    want = ufunc.reduceat(x, at, axis=1)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-6 if kind == "f4" else 1e-14)


@pytest.mark.parametrize("kind", ["f2", "f4", "i2"])
def test_reduceat_at_many_places(kind):
    rng = np.random.default_rng(4)
    x = (100 * rng.normal(size=(2, 1000))).astype(kind)
    known = np.sort(rng.choice(1000, 40, replace=False))
    for at in (known, rng.integers(0, 1000, 50)):
        want = np.add.reduceat(x, at, axis=1)
        for places in (at, at.tolist()):
            got = tj.jit(lambda x, at=places: np.add.reduceat(x, at, axis=1))(x)
            assert got.dtype == want.dtype
            rtol = 0 if kind == "i2" else 8 * np.finfo(kind).eps
            np.testing.assert_allclose(got, want, rtol, 1000 * rtol)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("span", [(0, 40, 5), (3, 40, 1), (1, 39, 4), (0, 40, 39)])
@pytest.mark.parametrize("ufunc", [np.add, np.maximum, np.logical_or, np.hypot])
def test_reduceat_of_pieces_of_one_length(ufunc, span, axis):
    rng = np.random.default_rng(5)
    x, at = np.round(rng.normal(size=(40, 40)) * 4) / 4, np.arange(*span)
    x[0] = -0.0
    got = tj.jit(lambda x: ufunc.reduceat(x, at, axis=axis))(x)
    want = ufunc.reduceat(x, at, axis=axis)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, 1e-12)
    if ufunc is not np.maximum:  # which gives a zero of either sign
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    kernels = tj.jit(lambda x: np.add.reduceat(x, np.arange(0, 40, 5))).lower(x).kernels
    assert len(kernels) == 1


def test_reduceat_at_lists_of_traced_indices():
    got = tj.jit(lambda x, i: np.add.reduceat(x, [i, 2, i]))(OVER_ROWS[0], np.int64(5))
    np.testing.assert_allclose(got, np.add.reduceat(OVER_ROWS[0], [5, 2, 5]))


def test_reduceat_keeps_minus_zero():
    x, at = np.array([-0.0, -0.0, 0.0]), np.array([0, 2, 1])
    got = tj.jit(lambda x, at: np.add.reduceat(x, at))(x, at)
    np.testing.assert_array_equal(np.signbit(got), [True, False, False])


@pytest.mark.parametrize("starts", [[3, 10], [-1], [0.0], [[1]]], ids=str)
def test_reduceat_at_wrong_indices(starts):
    x, at = OVER_ROWS[0], np.array(starts)
    with pytest.raises((IndexError, TypeError, ValueError)) as want:
        np.add.reduceat(x, at)
    with pytest.raises(want.type):
        tj.jit(lambda x, at: np.add.reduceat(x, at))(x, at)


@pytest.mark.parametrize("few", [0, 4096], ids=["levels", "masks"])
def test_reduceat_at_traced_indices_has_derivatives_and_batches(few, monkeypatch):
    monkeypatch.setattr(ufunc_methods, "_FEW_PAIRS", few)
    x, at = OVER_ROWS, np.array([0, 4, 2])

    def f(x, at):
        return np.sum(np.maximum.reduceat(x, at) ** 2)

    want = np.zeros(10)
    for k in (int(np.argmax(x[0, :4])), 4, 2 + int(np.argmax(x[0, 2:]))):
        want[k] += 2 * x[0, k]
    np.testing.assert_allclose(tj.grad(f)(x[0], at), want)
    batched = tj.vmap(lambda x, at: np.add.reduceat(x, at), in_axes=(0, None))
    np.testing.assert_allclose(batched(x, at), np.add.reduceat(x, at, axis=1))
