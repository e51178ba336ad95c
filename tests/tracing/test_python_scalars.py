"""Traced Python scalars follow Python's rules, and not NumPy's.

Scalars are traced once they change from call to call, each by itself.
"""

import pytest

import tracejit as tj
from tracejit.tracing.python_scalars import OPERATORS

BITS = ("and", "or", "xor", "lshift", "rshift")
UNARY = ("neg", "pos", "abs", "invert")
WHOLE = [(7, 3), (-21, 2), (9, 1), (-4, 5)]
SIGNED = [(7, 3), (-7, -3), (2, -2), (-5, 2)]
MIXED = [(7.5, -2), (-3.5, 3), (0.5, 1), (2.25, -1)]
FLOATS = [(7.5, -2.5), (3.5, 1.5), (0.5, 1.0), (2.25, -1.0)]
TRUTHS = [(True, True), (False, True), (True, True), (False, True)]


def assert_same(name, arguments):
    """Compare results of one compiled function, and their types."""
    function, _ = OPERATORS[name]
    compiled = tj.jit(lambda *args: function(*args))
    for args in arguments:
        got, want = compiled(*args), function(*args)
        assert got == pytest.approx(want, rel=1e-15), args
        assert type(got) is type(want), args


@pytest.mark.parametrize("name", sorted({*OPERATORS} - {*UNARY}))
def test_two_scalars(name):
    assert_same(name, WHOLE)
    assert_same(name, TRUTHS)
    if name not in BITS and name != "pow":
        assert_same(name, SIGNED)
    if name not in BITS:
        assert_same(name, MIXED)
        assert_same(name, FLOATS)


@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
@pytest.mark.parametrize("name", UNARY)
def test_one_scalar(name):
    assert_same(name, [(x,) for x in (3, -4, 0, 9)])
    assert_same(name, [(x,) for x in (True, False, True, False)])
    if name != "invert":
        assert_same(name, [(x,) for x in (3.5, -4.0, 0.0, 9.0)])


def test_powers_are_whole_where_the_exponent_is_known():
    assert_same("pow", [(x, 3) for x in (3, -4, 0, 9)])
    assert_same("pow", [(x, -2) for x in (3, -4, 5, 9)])
