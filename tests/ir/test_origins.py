"""Origins of NaN go with their elements: through sums, products, moves and choices."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.ir.lines import (
    DERIVATIVE,
    Role,
    batches_of,
    is_derivative,
    roles_of,
    with_role,
)
from tracejit.ir.origins import find_origin, is_bad


def found_in(fn, *args, nans_only=True):
    graph = tj.jit(fn).trace(*args).graph
    return find_origin(graph, [np.asarray(x) for x in args], nans_only)


# Each moves, sums or multiplies; the NaN of `later` reaches the element that is looked
# at, that of `first` does not.
THROUGH = {
    "slice": lambda x: x[1:],
    "transpose": lambda x: x.T[:, 1],
    "reshape": lambda x: x.reshape(-1)[3:],
    "concatenate": lambda x: np.concatenate([x, x])[4:5],
    "pad": lambda x: np.pad(x, 1)[2],
    "gather": lambda x: x[np.array([2, 1])],
    "flip": lambda x: x[::-1][1],
    "sum": lambda x: x.sum(axis=1)[1:],
    "max": lambda x: x.max(axis=1)[1:],
    "product": lambda x: (x @ np.ones((3, 2)))[1:],
    "cumsum": lambda x: np.cumsum(x, axis=1)[1:],
    "where": lambda x: np.where(np.arange(3)[:, None] == 0, 1.0, x),
    "set": lambda x: np.concatenate([np.zeros((1, 3)), x[1:]]),
}


@pytest.mark.parametrize("name", THROUGH)
def test_goes_with_its_element(name):
    def fn(x):
        first = np.sqrt(x - 1)  # NaN in row 0
        later = np.log(x - 2)  # NaN in rows 0 and 1
        rows = np.arange(3)[:, None]
        return THROUGH[name](np.where(rows == 0, first, later))

    x = np.array([[0.5] * 3, [1.5] * 3, [9.0] * 3])
    found = found_in(fn, x)
    assert found.origin.fault.eqn.primitive.name == "log"


def test_the_earliest_that_reaches_a_result_is_named():
    def fn(x):
        late = np.log(x)
        early = np.sqrt(x)
        return late * 0 + early

    found = found_in(fn, np.array([-1.0, 4.0]))
    assert found.origin.fault.eqn.primitive.name == "log"
    assert found.origin.number == 1


def test_a_mask_of_inf_is_given_and_its_difference_made():
    def fn(x):
        masked = np.where(x > 0, -np.inf, x)
        return masked - masked.max()

    found = found_in(fn, np.ones(3))
    assert found.origin.fault.eqn.primitive.name == "sub"
    assert found.origin.became is None


def test_infinite_results_that_were_given():
    found = found_in(lambda x: np.where(x > 0, -np.inf, x), np.ones(3), nans_only=False)
    assert found.origin.fault is None
    assert found.origin.input == -1


def test_nothing_is_found_in_finite_results():
    assert found_in(lambda x: 1 / np.log(x * 0), np.ones(3)) is None


def test_spectra_are_not_told_apart():
    found = found_in(lambda x: np.fft.fft(np.log(x)).real, np.array([-1.0, 1.0]))
    assert found.origin.fault.eqn.primitive.name == "log"


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.complex64])
def test_dtypes(dtype):
    found = found_in(lambda x: x / x, np.array([0, 1], dtype))
    assert found.origin.fault.index == (0,)


def test_integers_are_finite():
    assert not is_bad(np.arange(3)).any()


def test_lines_with_roles_are_texts():
    (line,) = with_role(("a.py:1",), Role("batch", 8))
    assert (line, hash(line)) == ("a.py:1", hash("a.py:1"))
    assert roles_of("a.py:1") == ()
    (both,) = with_role((line,), DERIVATIVE)
    assert roles_of(both) == (DERIVATIVE, Role("batch", 8))
    assert roles_of(line) == (Role("batch", 8),)
    assert is_derivative((both,)) and not is_derivative((line,))
    (nested,) = with_role((line,), Role("batch", 3))
    assert batches_of((nested,)) == (3, 8)
