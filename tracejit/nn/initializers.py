"""Initialisers: parameters drawn from keys of `tracejit.random`.

An initialiser is a function ``(key, shape, dtype) -> array``. `zeros` and `ones` are
initialisers; the other names here make one from their arguments, as in
``jax.nn.initializers``.

Variances follow the numbers of inputs and outputs of a layer, its *fans*: `in_axis` and
`out_axis` say which axes of the weights they are; all others but those of `batch_axis`
count for both. The defaults are those of ``x @ w``. For the filters of
`tracejit.nn.conv`, (out, in, *window), they are ``in_axis=1, out_axis=0``.
"""

from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from .. import random
from ..ir.aval import Shape
from ..random.arguments import checked_shape
from .arguments import mistake
from .operands import chosen, filled

Initializer = Callable[..., Any]
Axis = int | Sequence[int]

# Standard deviation of normal numbers between -2 and 2.
TRUNCATED_STD = 0.8796256610342398


def zeros(key: Any, shape: Any, dtype: Any = float) -> Any:
    """Return zeros; the key is not used, and may be None.

    Examples
    --------
    >>> zeros(None, (3,))
    array([0., 0., 0.])
    """
    return filled(checked_shape("zeros", shape), 0, dtype)


def ones(key: Any, shape: Any, dtype: Any = float) -> Any:
    """Return ones; the key is not used, and may be None.

    Examples
    --------
    >>> ones(None, (3,))
    array([1., 1., 1.])
    """
    return filled(checked_shape("ones", shape), 1, dtype)


def constant(value: Any, dtype: Any = float) -> Initializer:
    """Return the initialiser that gives `value`, broadcast to the shape.

    Examples
    --------
    >>> constant(0.5)(None, (2,))
    array([0.5, 0.5])
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Any:
        return filled(checked_shape("constant", shape), value, dtype)

    return init


def uniform(scale: float = 0.01, dtype: Any = float) -> Initializer:
    """Return the initialiser of uniform numbers from 0 to `scale`.

    Examples
    --------
    >>> import tracejit as tj
    >>> w = uniform(0.1)(tj.random.key(0), (3, 4), "float32")
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Any:
        return random.uniform(key, shape, dtype, 0.0, scale)

    return init


def normal(stddev: float = 0.01, dtype: Any = float) -> Initializer:
    """Return the initialiser of normal numbers of mean 0.

    Examples
    --------
    >>> import tracejit as tj
    >>> w = normal(0.02)(tj.random.key(0), (3, 4), "float32")
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Any:
        return _scaled(random.normal(key, shape, dtype), stddev)

    return init


def truncated_normal(
    stddev: float = 0.01, dtype: Any = float, lower: float = -2.0, upper: float = 2.0
) -> Initializer:
    """Return the initialiser of normal numbers between bounds, times `stddev`.

    Parameters
    ----------
    stddev : float
        Of the normal numbers before they are bounded, as in JAX.
    dtype : dtype
    lower, upper : float
        Bounds before the scaling.

    Examples
    --------
    >>> import tracejit as tj
    >>> w = truncated_normal(0.02)(tj.random.key(0), (3, 4), "float32")
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Any:
        drawn = random.truncated_normal(key, lower, upper, shape, dtype)
        return _scaled(drawn, stddev)

    return init


def _scaled(x: Any, factor: float) -> Any:
    """Multiply in the dtype of `x` (of bfloat16 and a float NumPy makes float32)."""
    return (x * factor).astype(x.dtype, copy=False)


# --- by fans ----------------------------------------------------------------------


def variance_scaling(
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axis = -2,
    out_axis: Axis = -1,
    batch_axis: Axis = (),
    dtype: Any = float,
) -> Initializer:
    """Return the initialiser of numbers of variance ``scale / fan``.

    Parameters
    ----------
    scale : float
    mode : "fan_in", "fan_out", "fan_avg" or "fan_geo_avg"
        Which fan, or which mean of both.
    distribution : "normal", "truncated_normal" or "uniform"
        Truncated numbers are at most two standard deviations of what is truncated, and
        have the variance wanted.
    in_axis, out_axis, batch_axis : int or sequence of int
    dtype : dtype

    Raises
    ------
    ShapeError
        By the initialiser, for shapes without these axes.

    Examples
    --------
    >>> import tracejit as tj
    >>> init = variance_scaling(1.0, "fan_in", "normal")
    >>> w = init(tj.random.key(0), (3, 4), "float32")
    """
    name = "variance_scaling"
    modes = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
    chosen(name, "mode", mode, modes)
    chosen(
        name, "distribution", distribution, ("normal", "truncated_normal", "uniform")
    )
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Any:
        shape = checked_shape(name, shape)
        fan_in, fan_out = _fans(shape, in_axis, out_axis, batch_axis)
        means = (fan_in, fan_out, (fan_in + fan_out) / 2, sqrt(fan_in * fan_out))
        fan = dict(zip(modes, means, strict=True))[mode]
        return _of_variance(key, shape, dtype, distribution, scale / max(fan, 1))

    return init


def _of_variance(
    key: Any, shape: Shape, dtype: Any, distribution: str, variance: float
) -> Any:
    if distribution == "uniform":
        bound = sqrt(3 * variance)
        return random.uniform(key, shape, dtype, -bound, bound)
    if distribution == "normal":
        return _scaled(random.normal(key, shape, dtype), sqrt(variance))
    drawn = random.truncated_normal(key, -2.0, 2.0, shape, dtype)
    return _scaled(drawn, sqrt(variance) / TRUNCATED_STD)


def _fans(
    shape: Shape, in_axis: Axis, out_axis: Axis, batch_axis: Axis
) -> tuple[float, float]:
    """Return how many inputs and outputs weights of a shape have."""
    groups = [_axes(shape, a) for a in (in_axis, out_axis, batch_axis)]
    of_in, of_out = (prod(shape[d] for d in axes) for axes in groups[:2])
    named = {d for axes in groups for d in axes}
    window = prod(n for d, n in enumerate(shape) if d not in named)
    if len(named) != sum(map(len, groups)):
        raise mistake(
            f"in_axis {in_axis}, out_axis {out_axis} and batch_axis {batch_axis} name "
            f"an axis of the shape {shape} twice"
        )
    return of_in * window, of_out * window


def _axes(shape: Shape, axis: Axis) -> Shape:
    axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    if any(not -len(shape) <= d < len(shape) for d in axes):
        raise mistake(
            f"weights of shape {shape} have no axis {axis}: fans need one of inputs "
            "and one of outputs",
            hint="nn.initializers.normal(stddev), or in_axis= and out_axis=",
        )
    return tuple(d % len(shape) for d in axes)


def _by_fan(
    name: str, scale: float, mode: str, distribution: str, source: str
) -> Initializer:
    """Return one of the named cases of `variance_scaling`."""

    def make(
        in_axis: Axis = -2,
        out_axis: Axis = -1,
        batch_axis: Axis = (),
        dtype: Any = float,
    ) -> Initializer:
        return variance_scaling(
            scale, mode, distribution, in_axis, out_axis, batch_axis, dtype
        )

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""Return ``variance_scaling({scale}, "{mode}", "{distribution}")``.

    Parameters
    ----------
    in_axis, out_axis, batch_axis : int or sequence of int
    dtype : dtype

    Notes
    -----
    {source}

    Examples
    --------
    >>> import tracejit as tj
    >>> w = {name}()(tj.random.key(0), (3, 4), "float32")
    """
    return make


GLOROT = "X. Glorot, Y. Bengio, AISTATS 2010."
HE = "K. He, X. Zhang, S. Ren, J. Sun, arXiv:1502.01852."
LECUN = 'Y. LeCun, L. Bottou, G. Orr, K. Müller, "Efficient BackProp", 1998.'
NORMAL = "truncated_normal"
glorot_uniform = _by_fan("glorot_uniform", 1.0, "fan_avg", "uniform", GLOROT)
glorot_normal = _by_fan("glorot_normal", 1.0, "fan_avg", NORMAL, GLOROT)
he_uniform = _by_fan("he_uniform", 2.0, "fan_in", "uniform", HE)
he_normal = _by_fan("he_normal", 2.0, "fan_in", NORMAL, HE)
lecun_uniform = _by_fan("lecun_uniform", 1.0, "fan_in", "uniform", LECUN)
lecun_normal = _by_fan("lecun_normal", 1.0, "fan_in", NORMAL, LECUN)
xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal


def orthogonal(
    scale: float = 1.0, column_axis: int = -1, dtype: Any = float
) -> Initializer:
    """Return the initialiser of orthogonal matrices, times `scale`.

    Parameters
    ----------
    scale : float
    column_axis : int
        The axis of columns; all others are rows. Where there are more rows than
        columns, columns are orthonormal, else rows are.
    dtype : float32 or float64

    Notes
    -----
    A. Saxe, J. McClelland, S. Ganguli, arXiv:1312.6120. Uniform over all such matrices.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> w = orthogonal()(tj.random.key(0), (4, 3))
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = default) -> Any:
        shape = checked_shape("orthogonal", shape)
        if len(shape) < 2:
            raise mistake(f"orthogonal: a shape of two axes at least, not {shape}")
        (axis,) = _axes(shape, column_axis)
        columns = shape[axis]
        rows = prod(shape) // max(columns, 1)
        turned = random.orthogonal(key, rows, (), dtype, columns)
        rest = tuple(n for d, n in enumerate(shape) if d != axis)
        return np.moveaxis(_scaled(turned, scale).reshape((*rest, columns)), -1, axis)

    return init
