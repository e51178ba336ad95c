"""Random numbers from keys: pure functions of a key, of parameters and a shape.

Names and signatures are those of ``jax.random``. Numbers do not depend on the machine,
on the number of threads, or on whether keys are used one by one or under `vmap`.
"""

from .arrays import choice, permutation, shuffle
from .continuous import gumbel, laplace, truncated_normal
from .discrete import categorical, poisson
from .gamma_family import beta, dirichlet, gamma
from .integers import randint
from .keys import fold_in, key, split
from .normal import exponential, normal
from .uniform import bernoulli, bits, uniform
from .vectors import multivariate_normal, orthogonal

__all__ = [
    "bernoulli",
    "beta",
    "bits",
    "categorical",
    "choice",
    "dirichlet",
    "exponential",
    "fold_in",
    "gamma",
    "gumbel",
    "key",
    "laplace",
    "multivariate_normal",
    "normal",
    "orthogonal",
    "permutation",
    "poisson",
    "randint",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]
