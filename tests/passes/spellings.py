"""The many ways people write softmax, norms, attention and picks in NumPy.

Each spelling gives the composite it is, with axes and attributes; near misses look like
one and are not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import tracejit as tj

X = np.random.default_rng(0).normal(size=(6, 5))
G = np.random.default_rng(1).normal(size=5)
B = np.random.default_rng(2).normal(size=5)
Y = np.array([0, 4, -1, 2, 2, 3])
Q, K, V = np.random.default_rng(3).normal(size=(3, 2, 4, 3))
IMAGES = np.random.default_rng(4).normal(size=(2, 3, 4, 4))
MASK = np.tril(np.ones((4, 4), bool))


@dataclass(frozen=True)
class Spelling:
    """One way to write a composite.

    Parameters
    ----------
    name : str
        The composite's.
    axes : tuple of int
    fn : callable
    args : tuple of arrays
    attributes : dict
    """

    name: str
    axes: tuple[int, ...]
    fn: Callable[..., np.ndarray]
    args: tuple[np.ndarray, ...] = (X,)
    attributes: dict[str, int | str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}:{self.fn.__name__}"


SPELLINGS: list[Spelling] = []
NEAR_MISSES: list[Spelling] = []  # the composite named must not be found


def spelled(name, axes, *args, to=SPELLINGS, **attributes):
    """Enter the decorated function."""

    def enter(fn):
        to.append(Spelling(name, axes, fn, args or (X,), attributes))
        return fn

    return enter


def missed(name, *args):
    return spelled(name, (), *args, to=NEAR_MISSES)


# --- softmax ----------------------------------------------------------------------


@spelled("softmax", (1,))
def keepdims(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@spelled("softmax", (1,))
def new_axis(x):
    e = np.exp(x - np.max(x, 1)[:, None])
    return e / np.sum(e, 1)[:, np.newaxis]


@spelled("softmax", (1,))
def reshaped_and_reciprocal(x):
    e = np.exp(x - np.amax(x, axis=1).reshape(-1, 1))
    return e * (1 / e.sum(1).reshape(-1, 1))


@spelled("softmax", (1,))
def by_power(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e * e.sum(1, keepdims=True) ** -1.0


@spelled("softmax", (1,))
def in_place(x):
    z = x - x.max(1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(1, keepdims=True)
    return z


@spelled("softmax", (0,))
def columns(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


@spelled("softmax", (1,))
def one_maximum_for_all(x):
    e = np.exp(x - x.max())
    return e / e.sum(axis=1, keepdims=True)


@spelled("softmax", (0, 1))
def of_everything(x):
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


@spelled("softmax", (1,))
def constant_maximum(x):
    e = np.exp(x - tj.stop_gradient(x.max(1, keepdims=True)))
    return e / e.sum(1, keepdims=True)


@spelled("softmax", (1,))
def maximum_of_constant(x):
    e = np.exp(x - np.max(tj.stop_gradient(x), axis=1)[:, None])
    return e / e.sum(1, keepdims=True)


@spelled("softmax", (1,))
def exp_of_log_softmax(x):
    z = x - x.max(1, keepdims=True)
    return np.exp(z - np.log(np.exp(z).sum(1, keepdims=True)))


@spelled("softmax", (1,))
def exp_of_x_less_logsumexp(x):
    m = x.max(1)
    return np.exp(x - (m + np.log(np.exp(x - m[:, None]).sum(1)))[:, None])


# --- log-softmax, logsumexp -------------------------------------------------------


@spelled("log_softmax", (1,))
def shifted(x):
    z = x - x.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


@spelled("log_softmax", (1,))
def shifted_new_axis(x):
    z = x - x.max(1)[:, None]
    return z - np.log(np.sum(np.exp(z), axis=1))[:, None]


@spelled("log_softmax", (1,))
def x_less_logsumexp(x):
    m = x.max(1, keepdims=True)
    return x - (np.log(np.exp(x - m).sum(1, keepdims=True)) + m)


@spelled("log_softmax", (1,))
def log_of_softmax(x):
    return np.log(keepdims(x))


@spelled("logsumexp", (1,))
def dropped(x):
    m = x.max(1)
    return m + np.log(np.exp(x - m[:, None]).sum(1))


@spelled("logsumexp", (1,))
def kept(x):
    m = x.max(1, keepdims=True)
    return np.log(np.exp(x - m).sum(1, keepdims=True)) + m


@spelled("logsumexp", (1,))
def squeezed(x):
    m = x.max(1, keepdims=True)
    return m[:, 0] + np.log(np.exp(x - m).sum(axis=1))


@spelled("logsumexp", (0, 1))
def to_a_scalar(x):
    m = np.max(x)
    return np.log(np.sum(np.exp(x - m))) + m


# --- mean, variance ---------------------------------------------------------------


@spelled("mean", (1,))
def method_mean(x):
    return x.mean(1)


@spelled("mean", (0, 1))
def mean_of_all(x):
    return np.mean(x)


@spelled("mean", (1,))
def sum_over_count(x):
    return np.sum(x, axis=1, keepdims=True) / x.shape[1]


@spelled("mean", (0,))
def sum_by_reciprocal(x):
    return (1.0 / len(x)) * x.sum(0)


@spelled("variance", (1,), ddof=0)
def method_var(x):
    return x.var(axis=1)


@spelled("variance", (1,), ddof=1)
def unbiased(x):
    return np.var(x, axis=1, ddof=1, keepdims=True)


@spelled("variance", (0,), ddof=0)
def mean_of_squares_about_mean(x):
    return ((x - x.mean(0)) ** 2).mean(0)


@spelled("variance", (1,), ddof=0)
def sum_of_squares_about_mean(x):
    d = x - (x.sum(1) / x.shape[1])[:, None]
    return (d * d).sum(1) / x.shape[1]


@spelled("variance", (1,), ddof=0)
def square_less_square(x):
    return np.mean(np.square(x), 1) - np.mean(x, 1) ** 2


# --- standardise, norms -----------------------------------------------------------


@spelled("standardise", (0,), ddof=0, eps="none")
def over_std(x):
    return (x - x.mean(0)) / x.std(0)


@spelled("standardise", (0,), ddof=1, eps="none")
def over_unbiased_std(x):
    return (x - x.mean(0)) / x.std(0, ddof=1)


@spelled("standardise", (1,), ddof=0, eps="variance")
def over_root(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


@spelled("standardise", (1,), ddof=0, eps="variance")
def half_power(x):
    d = x - x.mean(1)[:, None]
    return d / ((d**2).mean(1) + 1e-5)[:, None] ** 0.5


@spelled("standardise", (1,), ddof=0, eps="variance")
def minus_half_power(x):
    d = x - x.mean(1)[:, None]
    return d * (np.mean(d * d, 1) + 1e-5)[:, None] ** -0.5


@spelled("standardise", (1,), ddof=0, eps="variance")
def by_reciprocal_root(x):
    r = 1 / np.sqrt(x.var(1) + 1e-5)
    return (x - x.mean(1, keepdims=True)) * r.reshape(-1, 1)


@spelled("standardise", (1,), ddof=0, eps="deviation")
def eps_beside_deviation(x):
    return (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-3)


@spelled("standardise", (1,), X, np.float64(1e-3), ddof=0, eps="variance")
def eps_at_run_time(x, eps):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps)


@spelled("rms_standardise", (1,), eps="variance")
def rms(x):
    return x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6)


@spelled("rms_standardise", (1,), eps="deviation")
def rms_beside(x):
    return x / (np.sqrt(np.mean(x**2, axis=1))[:, None] + 1e-6)


@spelled("layer_norm", (1,), X, G, B, offset=1)
def layer_norm(x, g, b):
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d**2).mean(-1, keepdims=True) + 1e-5) * g + b


@spelled("layer_norm", (1,), X, G, B, offset=1)
def offset_first(x, g, b):
    m, v = np.mean(x, -1, keepdims=True), np.var(x, -1, keepdims=True)
    return b + g * ((x - m) * (1 / np.sqrt(v + 1e-5)))


@spelled("layer_norm", (1,), X, G, offset=0)
def scale_only(x, g):
    return g * ((x - x.mean(1)[:, None]) / np.sqrt(x.var(1) + 1e-5)[:, None])


@spelled("layer_norm", (1,), X, G, B, offset=1)
def scale_first(x, g, b):
    m = x.mean(-1, keepdims=True)
    return g * (x - m) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) + b


@spelled("rms_norm", (1,), X, G, offset=0)
def rms_scale_first(x, g):
    return g * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


@spelled("batch_norm", (0,), X, G, B, offset=1)
def batch_scale_first(x, g, b):
    return g * (x - x.mean(0)) * (1 / (x.std(0) + 1e-3)) + b


@spelled("layer_norm", (1,), X, G, B, np.float64(1e-3), offset=1)
def layer_norm_eps(x, g, b, eps):
    d = x - x.mean(1, keepdims=True)
    return d / np.sqrt(x.var(1, keepdims=True) + eps) * g + b


@spelled("rms_norm", (1,), X, G, offset=0)
def rms_norm(x, g):
    return g * (x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-6))


@spelled("rms_norm", (1,), X, G, B, offset=1)
def rms_norm_with_offset(x, g, b):
    return x * (np.mean(x * x, -1, keepdims=True) + 1e-6) ** -0.5 * g + b


@spelled("batch_norm", (0,), X, G, B, offset=1)
def batch_norm(x, g, b):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * g + b


@spelled("batch_norm", (0, 2, 3), IMAGES, G[:3], B[:3], offset=1)
def batch_norm_of_images(x, g, b):
    m = x.mean((0, 2, 3), keepdims=True)
    v = ((x - m) ** 2).mean((0, 2, 3), keepdims=True)
    g, b = g[None, :, None, None], b[None, :, None, None]
    return (x - m) / np.sqrt(v + 1e-5) * g + b


# --- attention --------------------------------------------------------------------


def normalised(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@spelled("attention", (2,), Q, K, V, scale="none", mask="none")
def unscaled(q, k, v):
    return normalised(q @ k.transpose(0, 2, 1)) @ v


@spelled("attention", (2,), Q, K, V, scale="div", mask="none")
def scaled(q, k, v):
    return normalised(q @ np.swapaxes(k, -1, -2) / np.sqrt(3.0)) @ v


@spelled("attention", (2,), Q, K, V, scale="mul", mask="select")
def causal(q, k, v):
    s = q @ np.swapaxes(k, -1, -2) * 0.5
    return normalised(np.where(np.tril(np.ones((4, 4), bool)), s, -np.inf)) @ v


@spelled("attention", (2,), Q, K, V, MASK, scale="mul", mask="select")
def masked_the_other_way(q, k, v, mask):
    s = 0.5 * (q @ np.swapaxes(k, -1, -2))
    return normalised(np.where(~mask, -1e9, s)) @ v


@spelled("attention", (2,), Q, K, V, X[:4, :4].copy(), scale="mul", mask="add")
def biased(q, k, v, bias):
    return normalised(q @ np.swapaxes(k, -1, -2) * 0.5 + bias) @ v


@spelled("attention", (1,), Q[0], K[0], V[0], scale="none", mask="none")
def one_head(q, k, v):
    return normalised(q @ k.T) @ v


# --- picks ------------------------------------------------------------------------


@spelled("pick", (1,), X, Y, batch=1, mode="raise")
def by_arange(x, y):
    return x[np.arange(len(y)), y]


@spelled("pick", (1,), X, Y, batch=1, mode="raise")
def along_axis(x, y):
    return np.take_along_axis(x, y[:, None], axis=1)[:, 0]


@spelled("pick", (1,), X, Y.astype(np.int8), batch=1, mode="raise")
def small_indices(x, y):
    return x[np.arange(6), y]


@spelled("pick", (2,), Q, np.array([[0, 1, 2, 0], [2, -1, 1, 1]]), batch=2,
         mode="raise")  # fmt: skip
def of_two_axes(x, y):
    return x[np.arange(2)[:, None], np.arange(4), y]


@spelled("pick", (1,), Q, np.array([0, -1]), batch=1, mode="raise")
def rows_of_matrices(x, y):
    return x[np.arange(2), y]


@spelled("log_likelihood", (1,), X, Y, sign=1)
def pick_of_log_softmax(x, y):
    return shifted(x)[np.arange(len(y)), y]


@spelled("log_likelihood", (1,), X, Y, sign=1)
def log_of_pick_of_softmax(x, y):
    return np.log(np.take_along_axis(in_place(x), y[:, None], 1))


@spelled("log_likelihood", (1,), X, Y, sign=1)
def picked_less_log(x, y):
    z = x - np.max(x, axis=1, keepdims=True)
    return z[np.arange(len(y)), y] - np.log(np.exp(z).sum(axis=1))


@spelled("log_likelihood", (1,), X, Y, sign=-1)
def log_less_picked(x, y):
    z = x - np.max(x, axis=1)[:, None]
    return np.log(np.sum(np.exp(z), 1)) - z[np.arange(len(y)), y]


@spelled("log_likelihood", (1,), X, Y, sign=1)
def along_axis_less_log(x, y):
    z = x - x.max(1, keepdims=True)
    picked = np.take_along_axis(z, y[:, None], 1)
    return picked - np.log(np.exp(z).sum(1, keepdims=True))


@spelled("log_likelihood", (0,), X[0].copy(), Y[1], sign=1)
def of_one_example(x, y):
    z = x - np.max(x)
    return (z - np.log(np.exp(z).sum()))[y]


@spelled("log_likelihood", (0,), X[0].copy(), Y[2], sign=-1)
def of_one_example_less_picked(x, y):
    z = x - np.max(x)
    return np.log(np.exp(z).sum()) - z[y]


@spelled("log_likelihood", (0,), X[0].copy(), Y[3], sign=1)
def log_of_one_probability(x, y):
    e = np.exp(x - x.max())
    return np.log((e / e.sum())[y])


# --- near misses ------------------------------------------------------------------


@missed("softmax")
def sum_over_the_other_axis(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(0, keepdims=True)


@missed("softmax")
def maximum_over_the_other_axis(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(1, keepdims=True)


@missed("softmax", X[:5].copy())
def sum_without_keepdims(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1)


@missed("softmax", X[:5].copy())
def maximum_without_keepdims(x):
    e = np.exp(x - x.max(1))
    return e / e.sum(1, keepdims=True)


@missed("softmax", X, X[::-1].copy())
def maximum_of_another(x, y):
    e = np.exp(x - y.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@missed("softmax", X, X[::-1].copy())
def sum_of_another(x, y):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / np.exp(y - y.max(1, keepdims=True)).sum(1, keepdims=True)


@missed("softmax")
def another_base(x):
    e = np.exp2(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@missed("softmax", np.arange(30).reshape(6, 5) % 7)
def integers(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@missed("softmax", X.astype(np.float32))
def summed_in_another_dtype(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True, dtype=np.float64)


@missed("softmax")
def maximum_is_no_extremum_of_all(x):
    e = np.exp(x - x[:, :3].max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@missed("softmax")
def divided_in_a_transposed_view(x):
    """It is one, but its value does not stand as `x` does: left alone."""
    e = np.exp(x - x.max(1)[:, None])
    return (e.T / e.sum(1)).T


@missed("logsumexp")
def two_different_maxima(x):
    return x.max(1) + np.log(np.exp(x - x.max()).sum(1))


@missed("logsumexp", X[:5].copy())
def maximum_added_elsewhere(x):
    m = x.max(1, keepdims=True)
    return x.max(0) + np.log(np.exp(x - m).sum(1))


@missed("log_softmax")
def log_of_a_sum_of_others(x):
    z = x - x.max(1, keepdims=True)
    return z - np.log(np.exp(x).sum(1, keepdims=True))


@missed("log_likelihood", X, Y)
def picked_before_the_maximum(x, y):
    z = x - np.max(x, axis=1, keepdims=True)
    return x[np.arange(len(y)), y] - np.log(np.exp(z).sum(axis=1))


@missed("log_likelihood", X[:5].copy(), Y[:5].copy())
def logs_of_other_rows(x, y):
    z = x - np.max(x, axis=0)
    return z[np.arange(len(y)), y] - np.log(np.exp(z).sum(axis=0))


@missed("log_likelihood", X[:5].copy(), Y[:5].copy())
def pick_along_the_other_axis(x, y):
    return columns(x)[np.arange(len(y)), y] + np.log(columns(x).T[np.arange(5), y])


@missed("mean")
def another_divisor(x):
    return x.sum(1) / 6


@missed("mean")
def count_of_the_other_axis(x):
    return x.sum(0) / x.shape[1]


@missed("variance")
def about_another_mean(x):
    return ((x - x.mean(0)) ** 2).mean(1)


@missed("variance")
def about_a_constant_mean(x):
    return ((x - tj.stop_gradient(x.mean(1, keepdims=True))) ** 2).mean(1)


@missed("standardise")
def variance_of_the_other_axis(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(0) + 1e-5)


@missed("standardise", X, X[::-1].copy())
def variance_of_another(x, y):
    return (x - x.mean(0)) / np.sqrt(y.var(0) + 1e-5)


@missed("standardise")
def eps_twice(x):
    return (x - x.mean(0)) / (np.sqrt(x.var(0) + 1e-5) + 1e-5)


@missed("standardise")
def constant_variance(x):
    return (x - x.mean(0)) / np.sqrt(tj.stop_gradient(x.var(0)) + 1e-5)


@missed("standardise", X[:5].copy())
def variance_without_keepdims(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1) + 1e-5)


@missed("layer_norm", X, G[0] * np.ones((6, 1)))
def scale_along_rows(x, g):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * g


@missed("batch_norm", X, np.ones((6, 1)))
def scale_along_the_batch(x, g):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * g


@missed("rms_norm", X, G)
def not_divided_by_count(x, g):
    return x / np.sqrt((x * x).sum(1, keepdims=True)) * g


@missed("attention", Q, K, V[:, :4, :])
def softmax_over_queries(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - s.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)) @ v


@missed("attention", Q, V)
def no_product_of_queries(s, v):
    return normalised(np.concatenate([s, s[..., :1]], -1)) @ v


@missed("pick", X, Y)
def the_same_rows_twice(x, y):
    return x[np.arange(6) % 3, y]


@missed("pick", X, Y)
def from_the_second_row(x, y):
    return x[np.arange(5) + 1, y[1:]]


@missed("pick", X, Y)
def whole_rows(x, y):
    return x[y]


@missed("pick", X, np.stack([Y, Y], 1))
def two_of_each_row(x, y):
    return np.take_along_axis(x, y, axis=1)


@missed("pick", X[0].copy(), Y[0])
def element_of_a_vector(x, y):
    return x[y]


@missed("pick", X, Y[0])
def row_of_a_softmax(x, y):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True))[y]
