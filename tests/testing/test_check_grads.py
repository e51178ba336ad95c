"""`check_grads` accepts right derivatives, and says what is wrong with wrong ones."""

import re

import numpy as np
import pytest

import tracejit as tj

X = np.linspace(0.2, 1.7, 6).reshape(2, 3)


def dropped(x):
    """x² whose derivative forgets one factor."""
    return x * tj.stop_gradient(x)


def wrong_twice(x):
    """x³ whose derivative 3 x² is right, and constant."""
    held = tj.stop_gradient(x)
    return 3 * held**2 * x - 2 * held**3


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_right_derivatives_pass(modes):
    tj.testing.check_grads(
        lambda p, n: {"v": np.sin(p["x"]) ** 2 * p["s"], "n": n + 1},
        ({"x": X, "s": 1.5}, np.arange(3)),
        order=3,
        modes=modes,
    )
    tj.testing.check_grads(lambda z: np.exp(z) / np.conj(z), (X + 1j,), modes=modes)


def test_narrow_floats_are_checked_in_float64():
    seen = []

    def f(x):
        seen.append(x.dtype)
        return x**2

    tj.testing.check_grads(f, (X.astype(np.float16),))
    assert set(seen) == {np.dtype(np.float64)}


def text_of(f, args, **kwargs):
    with pytest.raises(AssertionError) as caught:
        tj.testing.check_grads(f, args, **kwargs)
    return str(caught.value)


def test_forward_mode_names_order_direction_and_numbers():
    text = text_of(lambda x: [X, dropped(x)], (X,), modes=("fwd",))
    found = re.fullmatch(
        r"check_grads: forward mode, order 1, direction 0: the result\[1\] of shape "
        r"\(2, 3\) has the derivative (\S+) at \(\d, \d\), but differences give (\S+) "
        r"\(error \S+, allowed \S+\)",
        text,
    )
    assert found, text
    assert np.isclose(2 * float(found[1]), float(found[2]), rtol=1e-6)


def test_reverse_mode_names_order_direction_and_numbers():
    text = text_of(dropped, (X,), modes=("rev",))
    found = re.match(
        r"check_grads: reverse mode, order 1, direction 0: <Jᵀw, v> = (\S+), but "
        r"<w, Jv> = (\S+) by differences \(difference \S+, allowed \S+\)",
        text,
    )
    assert found, text
    assert np.isclose(2 * float(found[1]), float(found[2]), rtol=1e-6)


@pytest.mark.parametrize(
    ("modes", "words"),
    [
        (("fwd",), "forward mode over forward mode, order 2, direction 0"),
        (("rev",), "reverse mode over reverse mode, order 2, direction 0"),
    ],
)
def test_a_wrong_second_derivative_is_found(modes, words):
    tj.testing.check_grads(wrong_twice, (X,), order=1, modes=modes)
    assert words in text_of(wrong_twice, (X,), order=2, modes=modes)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_is_wrong():
    guarded = lambda x: np.where(x > 0, np.log(x - X.min()), 0.0)  # noqa: E731
    assert "nan" in text_of(guarded, (X,), modes=("rev",), order=1)


def test_bad_requests():
    with pytest.raises(tj.errors.ArgumentError, match="modes 'fwd' and 'rev', not"):
        tj.testing.check_grads(np.sin, (X,), modes=("forward",))
    with pytest.raises(tj.errors.ArgumentError, match="no float or complex argument"):
        tj.testing.check_grads(np.sin, (np.arange(3),))
