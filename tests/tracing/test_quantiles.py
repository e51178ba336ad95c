"""Order statistics: weights, and samples without elements."""

import itertools

import numpy as np
import pytest

import tracejit as tj
from tests.coverage.measure import difference
from tests.sampling import in_turn

WEIGHED = [
    ((7,), None, (7,)),
    ((5, 6), 1, (6,)),
    ((5, 6), 0, (5,)),
    ((5, 6), None, (5, 6)),
    ((5, 6), (1, 0), (6, 5)),
    ((5, 6), 1, (5, 6)),
]


def weighted(name, q, axis):
    def f(x, w):
        function = getattr(np, name)
        return function(x, q, axis=axis, weights=w, method="inverted_cdf")

    return f


@pytest.mark.parametrize(
    ("case", "name"), in_turn(range(len(WEIGHED)), ["quantile", "nanquantile"])
)
def test_weights(name, case):
    shape, axis, of_weights = WEIGHED[case]
    if name == "nanquantile" and len(shape) > len(of_weights):
        of_weights = shape  # NumPy raises an IndexError of its own for others
    rng = np.random.default_rng(8)
    w = rng.integers(0, 4, of_weights).astype("f8")
    calls = itertools.product((0.3, [0.0, 0.5, 1.0]), ("f8", "f4", "i4"))
    for q, dtype in itertools.islice(calls, case % 2, None, 2):
        x = (rng.normal(size=shape) * 5).astype(dtype)
        if name == "nanquantile" and dtype != "i4":
            x.flat[1] = np.nan
        check(name, q, axis, x, w)
    check(name.replace("quant", "percent"), 40, axis, x, w)


def check(name, q, axis, x, w):
    got = tj.jit(weighted(name, q, axis))(x, w)
    if isinstance(axis, tuple):  # all axes; NumPy 2.1 mixed them up
        axis, w = None, w.transpose(axis)
    assert difference(got, weighted(name, q, axis)(x, w)) == ""


def test_nan_is_a_nan_quantile():
    x = np.array([[1.0, np.nan], [2.0, 3.0]])
    f = weighted("quantile", 0.5, 1)
    np.testing.assert_array_equal(tj.jit(f)(x, np.ones((2, 2))), [np.nan, 2.0])


@pytest.mark.parametrize(
    ("w", "axis", "error"),
    [
        (-np.ones(5), None, ValueError),
        (np.zeros(5), None, ValueError),
        (np.ones(4), None, TypeError),
        (np.ones(4), 0, ValueError),
    ],
)
def test_errors_are_numpys(w, axis, error):
    f, x = weighted("quantile", 0.5, axis), np.arange(5.0)
    with pytest.raises(error) as found:
        tj.jit(f)(x, w)
    try:
        with np.errstate(invalid="ignore"):
            f(x, w)
    except error as wanted:
        assert str(wanted) in str(found.value)
    else:  # NumPy 2.1 took weights that are all zero
        assert not w.any()


def test_other_methods_take_no_weights():
    f = lambda x, w: np.quantile(x, 0.5, weights=w)  # noqa: E731
    with pytest.raises(ValueError, match="Only method 'inverted_cdf' supports weights"):
        tj.jit(f)(np.ones(3), np.ones(3))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["median", "nanmedian", "quantile", "nanquantile"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 1), (2, 0), (1, 1, 0)])
def test_no_elements(name, shape):
    """As NumPy: some calls raise, others give NaN."""
    x = np.ones(shape, "f4")
    for axis in (None, 0, -1, (0, 1), (-1, 0)):
        q = (0.5,) if "quant" in name else ()

        def f(x, a=axis, q=q):
            return getattr(np, name)(x, *q, axis=a)

        try:
            want = f(x)
        except (ValueError, IndexError):
            with pytest.raises((ValueError, IndexError)):
                tj.jit(f)(x)
        else:
            assert difference(tj.jit(f)(x), want) == ""
