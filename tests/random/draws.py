"""Distributions beside SciPy's: what is drawn, and how it should be distributed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import tracejit as tj

R = tj.random
F32, F64 = np.float32, np.float64


@dataclass(frozen=True)
class Draw:
    """A random function and a frozen distribution of SciPy."""

    fn: Any  # of a key and a number of draws
    expected: Any


CONTINUOUS = {
    "uniform32": Draw(lambda k, n: R.uniform(k, n, F32), stats.uniform()),
    "uniform64": Draw(lambda k, n: R.uniform(k, n), stats.uniform()),
    "uniform_between": Draw(
        lambda k, n: R.uniform(k, n, F64, -2.0, 5.0), stats.uniform(-2, 7)
    ),
    "normal32": Draw(lambda k, n: R.normal(k, n, F32), stats.norm()),
    "normal64": Draw(lambda k, n: R.normal(k, n), stats.norm()),
    "exponential32": Draw(lambda k, n: R.exponential(k, n, F32), stats.expon()),
    "exponential64": Draw(lambda k, n: R.exponential(k, n), stats.expon()),
    "gumbel32": Draw(lambda k, n: R.gumbel(k, n, F32), stats.gumbel_r()),
    "gumbel64": Draw(lambda k, n: R.gumbel(k, n), stats.gumbel_r()),
    "laplace32": Draw(lambda k, n: R.laplace(k, n, F32), stats.laplace()),
    "laplace64": Draw(lambda k, n: R.laplace(k, n), stats.laplace()),
    "truncated": Draw(
        lambda k, n: R.truncated_normal(k, -1.0, 2.0, n), stats.truncnorm(-1, 2)
    ),
    "upper_tail": Draw(
        lambda k, n: R.truncated_normal(k, 5.0, 7.0, n, F32), stats.truncnorm(5, 7)
    ),
    "gamma_small": Draw(lambda k, n: R.gamma(k, 0.3, n), stats.gamma(0.3)),
    "gamma": Draw(lambda k, n: R.gamma(k, 2.5, n, F32), stats.gamma(2.5)),
    "gamma_large": Draw(lambda k, n: R.gamma(k, 300.0, n), stats.gamma(300)),
    "beta": Draw(lambda k, n: R.beta(k, 0.4, 2.0, n), stats.beta(0.4, 2)),
    "dirichlet": Draw(
        lambda k, n: R.dirichlet(k, np.array([0.5, 1.0, 2.0]), n)[:, 0],
        stats.beta(0.5, 3),
    ),
    "multivariate_normal": Draw(
        lambda k, n: R.multivariate_normal(k, np.ones(1), np.full((1, 1), 4.0), n)[
            :, 0
        ],
        stats.norm(1, 2),
    ),
    "rotation": Draw(  # a coordinate of a point on the sphere is uniform
        lambda k, n: R.orthogonal(k, 3, n // 10, m=1)[:, 0, 0],
        stats.uniform(-1, 2),
    ),
}
P = np.array([0.05, 0.1, 0.25, 0.6])
WEIGHTED = stats.rv_discrete(values=(np.arange(4), P))
DISCRETE = {
    "bernoulli": Draw(
        lambda k, n: R.bernoulli(k, 0.3, n).astype(int), stats.bernoulli(0.3)
    ),
    "randint": Draw(lambda k, n: R.randint(k, n, -5, 95), stats.randint(-5, 95)),
    "randint8": Draw(
        lambda k, n: R.randint(k, n, 0, 256, np.uint8), stats.randint(0, 256)
    ),
    "categorical": Draw(lambda k, n: R.categorical(k, np.log(P), shape=n), WEIGHTED),
    "categorical32": Draw(
        lambda k, n: R.categorical(k, np.log(P).astype(F32), shape=n), WEIGHTED
    ),
    "choice": Draw(lambda k, n: R.choice(k, 10, n), stats.randint(0, 10)),
    "choice_weighted": Draw(lambda k, n: R.choice(k, 4, n, p=P), WEIGHTED),
    "poisson_small": Draw(lambda k, n: R.poisson(k, 0.7, n), stats.poisson(0.7)),
    "poisson": Draw(lambda k, n: R.poisson(k, 9.0, n), stats.poisson(9)),
    "poisson_at_10": Draw(lambda k, n: R.poisson(k, 10.0, n), stats.poisson(10)),
    "poisson_large": Draw(lambda k, n: R.poisson(k, 80.0, n), stats.poisson(80)),
}


def ks_probability(x, expected):
    """The probability of a larger Kolmogorov-Smirnov distance, of doubles."""
    return stats.kstest(np.asarray(x, np.float64), expected.cdf).pvalue


def chi_squared_probability(x, expected):
    """The probability of a larger sum; rare values are one class."""
    values, counts = np.unique(x, return_counts=True)
    wanted = expected.pmf(values) * len(x)
    assert np.all(wanted > 0), "a value that is not possible"
    common = wanted >= 10
    observed = np.append(counts[common], len(x) - counts[common].sum())
    wanted = np.append(wanted[common], len(x) - wanted[common].sum())
    if wanted[-1] < 10:
        observed = np.append(observed[:-2], observed[-2] + observed[-1])
        wanted = np.append(wanted[:-2], wanted[-2] + wanted[-1])
    return stats.chi2.sf(np.sum((observed - wanted) ** 2 / wanted), len(wanted) - 1)


def moment_errors(x, expected):
    """Mean and variance, off by how many standard deviations of theirs."""
    x = np.asarray(x, np.float64)
    n, (mean, var, kurtosis) = len(x), expected.stats(moments="mvk")
    of_mean = (x.mean() - mean) / np.sqrt(var / n)
    of_variance = (x.var() - var) / (var * np.sqrt((kurtosis + 2) / n))
    return float(of_mean), float(of_variance)
