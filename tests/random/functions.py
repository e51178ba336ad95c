"""Every random function, called with a key alone."""

import numpy as np

import tracejit as tj

R = tj.random
F32, F64 = np.float32, np.float64
LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]))
COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]])
SINGLE = COVARIANCE.astype(F32)
LOGITS32 = LOGITS.astype(F32)
TABLE = np.arange(12.0).reshape(4, 3)

# What rounds nothing, or rounds in the same way wherever it runs.
EXACT = {
    "split": lambda k: R.split(k, (2, 3)),
    "fold_in": lambda k: R.fold_in(k, 7),
    "bits": lambda k: R.bits(k, (5, 3)),
    "bits8": lambda k: R.bits(k, (5,), np.uint8),
    "bits64": lambda k: R.bits(k, (5,), np.uint64),
    "uniform": lambda k: R.uniform(k, (7, 3)),
    "uniform32": lambda k: R.uniform(k, (7, 3), F32),
    "uniform16": lambda k: R.uniform(k, (7, 3), np.float16),
    "uniform_between": lambda k: R.uniform(k, (7, 3), F64, -1.3, np.arange(3.0)),
    "uniform_between32": lambda k: R.uniform(k, (21,), F32, 0.1, 0.7),
    "bernoulli": lambda k: R.bernoulli(k, 0.3, (40,)),
    "bernoulli_of_array": lambda k: R.bernoulli(k, np.array([0.1, 0.9])),
    "randint": lambda k: R.randint(k, (9,), -3, 17),
    "randint_wide": lambda k: R.randint(k, (9,), -(2**60), 2**61),
    "randint_of_arrays": lambda k: R.randint(k, (9,), np.arange(9), 20, np.int32),
    "normal": lambda k: R.normal(k, (41,)),
    "normal32": lambda k: R.normal(k, (41,), F32),
    "normal16": lambda k: R.normal(k, (41,), np.float16),
    "complex": lambda k: R.normal(k, (5,), np.complex64),
    "exponential": lambda k: R.exponential(k, (41,)),
    "exponential32": lambda k: R.exponential(k, (41,), F32),
    "gumbel": lambda k: R.gumbel(k, (41,)),
    "gumbel32": lambda k: R.gumbel(k, (41,), F32),
    "laplace": lambda k: R.laplace(k, (41,), F32),
    "categorical": lambda k: R.categorical(k, LOGITS, shape=(6, 2)),
    "categorical_axis0": lambda k: R.categorical(k, LOGITS32, axis=0),
    "permutation": lambda k: R.permutation(k, 20),
    "permutation_rows": lambda k: R.permutation(k, TABLE),
    "permutation_each": lambda k: R.permutation(k, TABLE, 1, independent=True),
    "shuffle": lambda k: R.shuffle(k, TABLE, axis=1),
    "choice": lambda k: R.choice(k, TABLE, (2, 2)),
    "choice_once": lambda k: R.choice(k, 9, (4,), replace=False),
    "choice_weighted": lambda k: R.choice(k, 3, (20,), p=np.array([0.1, 0.2, 0.7])),
}
# What calls exp, log or sums: the last bits of NumPy's own may differ from ours.
ROUNDED = {
    "choice_weighted_once": lambda k: R.choice(
        k, 4, (3,), replace=False, p=np.array([0.1, 0.2, 0.3, 0.4])
    ),
    "truncated_normal": lambda k: R.truncated_normal(k, -1.0, np.array([0.5, 3.0])),
    "truncated_normal32": lambda k: R.truncated_normal(k, 2, 4, (30,), F32),
    "gamma": lambda k: R.gamma(k, np.array([0.3, 1.0, 7.0])),
    "gamma32": lambda k: R.gamma(k, 2.5, (30,), F32),
    "beta": lambda k: R.beta(k, 0.5, np.array([1.0, 3.0])),
    "dirichlet": lambda k: R.dirichlet(k, np.array([0.5, 1.0, 2.0]), (4,)),
    "poisson": lambda k: R.poisson(k, np.array([0.1, 3.0, 30.0, 3e5])),
    "multivariate_normal": lambda k: R.multivariate_normal(
        k, np.array([1.0, -1.0]), COVARIANCE, (4,)
    ),
    "multivariate_normal_eigh": lambda k: R.multivariate_normal(
        k, np.zeros(2, F32), SINGLE, method="eigh"
    ),
    "orthogonal": lambda k: R.orthogonal(k, 4, (2,)),
    "orthogonal_wide": lambda k: R.orthogonal(k, 2, m=3, dtype=F32),
}
FUNCTIONS = {**EXACT, **ROUNDED}
