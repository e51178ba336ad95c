"""What is not a key, a shape or a dtype: errors say so, where, and what to write."""

import re

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError

KEY = tj.random.key(0)
R = tj.random
HERE = r"at \S*test_errors\.py:\d+"
MISTAKES = {
    "old_style": (
        lambda: R.normal(1000),
        ArgumentError,
        "normal: the first argument is a key, not 1000",
        "tj.random.key",
    ),
    "old_style_loc": (
        lambda: R.uniform(0.0, 1.0, 10),
        ArgumentError,
        "uniform: the first argument is a key, not 0.0",
        "tj.random.key",
    ),
    "no_key": (
        lambda: R.permutation([1, 2, 3], 3),
        ArgumentError,
        "permutation: the first argument is a key, not [1, 2, 3]",
        "tj.random.key",
    ),
    "float_key": (
        lambda: R.normal(np.zeros(2)),
        DTypeError,
        "normal: a key is uint32[2], not float64[2]",
        "tj.random.key",
    ),
    "many_keys": (
        lambda: R.normal(R.split(KEY, 5)),
        ShapeError,
        "normal: a key is uint32[2], not uint32[5, 2]",
        "tj.vmap",
    ),
    "float_seed": (
        lambda: R.key(1.5),
        DTypeError,
        "key: the seed is 1.5, not an integer",
        "tj.random.key(42)",
    ),
    "float_seed_of_numpy": (
        lambda: R.key(np.float64(2)),
        DTypeError,
        "key: the seed is float64, not an integer",
        "tj.random.key(42)",
    ),
    "long_seed": (
        lambda: R.key(2**64),
        ArgumentError,
        f"key: the seed {2**64} has more than 64 bits",
        "",
    ),
    "seeds": (
        lambda: R.key(np.arange(3)),
        ArgumentError,
        "key: one seed makes a key, not an array of shape (3,)",
        "tj.vmap(tj.random.key)",
    ),
    "float_shape": (
        lambda: R.normal(KEY, 2.5),
        ShapeError,
        "normal: the shape is 2.5; expected an int or a tuple of ints",
        "tj.random.normal(key, (3, 4))",
    ),
    "negative_shape": (
        lambda: R.bits(KEY, (2, -1)),
        ShapeError,
        "bits: the shape (2, -1) has a negative extent",
        "",
    ),
    "dtype": (
        lambda: R.uniform(KEY, (2,), np.int32),
        DTypeError,
        "uniform: the dtype is <class 'numpy.int32'>; expected one of",
        "",
    ),
    "dtype_name": (
        lambda: R.normal(KEY, (2,), "f99"),
        DTypeError,
        "normal: the dtype is 'f99'; expected one of",
        "",
    ),
    "fold_in_float": (
        lambda: R.fold_in(KEY, 0.5),
        DTypeError,
        "fold_in: the data is 0.5, not an integer",
        "tj.random.fold_in(key, step)",
    ),
    "fold_in_array": (
        lambda: R.fold_in(KEY, np.arange(4)),
        ArgumentError,
        "fold_in: one number is folded in, not an array of shape (4,)",
        "tj.vmap(tj.random.fold_in",
    ),
    "parameters": (
        lambda: R.gamma(KEY, np.ones(3), (4,)),
        ShapeError,
        "gamma: parameters of shapes (3,) do not broadcast to the shape (4,)",
        "",
    ),
    "empty_range": (
        lambda: R.randint(KEY, (2,), 5, 5),
        ArgumentError,
        "randint: no integer is at least 5 and below 5",
        "",
    ),
    "narrow": (
        lambda: R.randint(KEY, (2,), 0, 300, np.uint8),
        ArgumentError,
        "randint: uint8 holds 0 to 255, not all of 0 to 299",
        "dtype=",
    ),
    "float_bound": (
        lambda: R.randint(KEY, (2,), 0, 2.5),
        DTypeError,
        "randint: a bound is float64, not integer",
        "tj.random.uniform",
    ),
    "int_logits": (
        lambda: R.categorical(KEY, np.array([1, 2])),
        DTypeError,
        "categorical: the logits are int64, not float",
        "np.log",
    ),
    "too_many": (
        lambda: R.choice(KEY, 3, (4,), replace=False),
        ArgumentError,
        "choice: 4 of 3 elements cannot be drawn without replacement",
        "replace=True",
    ),
    "probabilities": (
        lambda: R.choice(KEY, 3, p=np.ones(4)),
        ShapeError,
        "choice: p has shape (4,); expected (3,)",
        "",
    ),
    "nothing": (lambda: R.choice(KEY, 0), ShapeError, "a has no elements", ""),
    "covariance": (
        lambda: R.multivariate_normal(KEY, np.zeros(3), np.eye(2)),
        ShapeError,
        "mean of shape (3,) needs cov of shape (..., 3, 3), not (2, 2)",
        "",
    ),
    "method": (
        lambda: R.multivariate_normal(KEY, np.zeros(2), np.eye(2), method="svd"),
        ArgumentError,
        "the method is 'svd'; expected 'cholesky' or 'eigh'",
        "",
    ),
    "dirichlet": (
        lambda: R.dirichlet(KEY, 1.0),
        ShapeError,
        "dirichlet: alpha is one number, not a vector",
        "",
    ),
    "permuted_float": (
        lambda: R.permutation(KEY, 2.5),
        ShapeError,
        "permutation: x is one float64; expected an int or an array",
        "",
    ),
}


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name, traced):
    call, kind, text, hint = MISTAKES[name]
    with pytest.raises(kind, match=re.escape(text)) as caught:
        tj.jit(call)() if traced else call()
    assert re.search(HERE, str(caught.value))
    assert hint in str(caught.value)


def test_shape_of_a_traced_value():
    with pytest.raises(tj.errors.ConcretizationError):
        tj.jit(lambda n: R.normal(KEY, (n.astype(int),)))(np.float64(3))


def test_negative_parameters():
    assert np.isnan(R.gamma(KEY, -1.0))
    assert np.isnan(R.beta(KEY, 1.0, np.nan))
    np.testing.assert_array_equal(R.poisson(KEY, np.array([-1.0, np.nan])), [-1, -1])


def test_no_factor():
    with pytest.raises(np.linalg.LinAlgError):
        R.multivariate_normal(KEY, np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))


DRAWS = {
    "normal": lambda x: x + np.random.normal(3),
    "default_rng": lambda x: x + np.random.default_rng(3).normal(),
    "laplace": lambda x: x + np.random.laplace(size=3),
    "dirichlet": lambda x: x + np.random.dirichlet([1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_of_numpy_names_ours(name):
    with pytest.raises(UnsupportedError, match=rf"np\.random\.{name}") as caught:
        tj.jit(DRAWS[name])(np.ones(3))
    assert "tj.random.normal(key, shape)" in str(caught.value)
    assert re.search(HERE, str(caught.value))
