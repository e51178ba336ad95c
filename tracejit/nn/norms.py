"""Norms: layer, rms, batch, group and instance norm.

Plain NumPy that the compiler recognises: layer and rms norm are one kernel, and with
their gradients two. Statistics are those of the population, of float32 at least.
"""

from math import prod
from typing import Any

import numpy as np

from ..tracing.functions.registry import normalize_axis
from .arguments import mistake
from .operands import Axes, axes_of, floats, is_narrow, operand, wide


def layer_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    axis: Axes = -1,
    eps: float = 1e-5,
) -> Any:
    """Return `x` with mean 0 and variance 1 along axes, scaled and shifted.

    Parameters
    ----------
    x : array_like
        Floats, or integers, which become float64.
    weight, bias : array_like, optional
        One number for each place of `axis`.
    axis : int or sequence of int
        What is normalised together.
    eps : float
        Added to the variance under the root.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ShapeError
        If `weight` or `bias` does not have the extents of `axis`.

    Notes
    -----
    J. Ba, J. Kiros, G. Hinton, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> layer_norm(np.array([1.0, 3.0]), eps=0.0)
    array([-1.,  1.])
    """
    x = floats(x)
    axes = axes_of(axis, x.ndim)
    out = _standardised(wide(x), axes, eps)
    return _affine("layer_norm", out, weight, bias, axes).astype(x.dtype, copy=False)


def rms_norm(x: Any, weight: Any = None, axis: Axes = -1, eps: float = 1e-6) -> Any:
    """Return `x` over the root of its mean square along axes, scaled.

    Parameters are those of `layer_norm`.

    Notes
    -----
    B. Zhang, R. Sennrich, arXiv:1910.07467.

    Examples
    --------
    >>> import numpy as np
    >>> rms_norm(np.array([1.0, 7.0]), eps=0.0)
    array([0.2, 1.4])
    """
    x = floats(x)
    axes = axes_of(axis, x.ndim)
    work = wide(x)
    square = np.mean(work * work, axis=axes, keepdims=True)
    out = work / np.sqrt(square + eps)
    return _affine("rms_norm", out, weight, None, axes).astype(x.dtype, copy=False)


def batch_norm(
    x: Any,
    mean: Any = None,
    var: Any = None,
    weight: Any = None,
    bias: Any = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    axis: int = 1,
    eps: float = 1e-5,
) -> tuple[Any, Any, Any]:
    """Return `x` with each channel standardised, and the statistics to keep.

    Parameters
    ----------
    x : array_like, (batch, channels, ...)
    mean, var : array_like (channels,), optional
        Running statistics: what inference standardises by. In training they may be
        left out.
    weight, bias : array_like (channels,), optional
    training : bool
        Whether `x` is standardised by its own statistics.
    momentum : float
        How much of the statistics of `x` the new running ones have.
    axis : int
        Of the channels.
    eps : float
        Added to the variance under the root.

    Returns
    -------
    tuple of (array of the shape of `x`, array (channels,), array (channels,))
        The result; then in training ``(1 - momentum) * mean + momentum * mean_of_x``,
        and the same of `var` with the unbiased variance of `x`, or, where no running
        statistics are given, the mean and (biased) variance of `x`. In inference
        `mean` and `var` as they came.

    Raises
    ------
    ShapeError
        If statistics are missing, or parameters do not have one number a channel.

    Notes
    -----
    S. Ioffe, C. Szegedy, arXiv:1502.03167. Derivatives go through the statistics of
    `x`; stop them with `tracejit.stop_gradient` where these are carried on.

    Examples
    --------
    >>> import numpy as np
    >>> y, mean, var = batch_norm(np.array([[1.0], [3.0]]), training=True, eps=0.0)
    >>> print(y.ravel(), mean, var)
    [-1.  1.] [2.] [1.]
    """
    x = floats(x)
    channel = normalize_axis(axis, x.ndim)
    work, axes = wide(x), tuple(d for d in range(x.ndim) if d != channel)
    if training:
        out, own = _by_own_statistics(work, axes, eps)
        kept = _running(mean, var, own, prod(x.shape[d] for d in axes), momentum)
    elif mean is None or var is None:
        raise mistake(
            "batch_norm: inference needs the running mean and var",
            hint="pass them, or training=True",
        )
    else:
        centre, spread = (
            _placed("mean", mean, work, channel),
            _placed("var", var, work, channel),
        )
        out, kept = (work - centre) / np.sqrt(spread + eps), (mean, var)
    out = _affine("batch_norm", out, weight, bias, (channel,))
    return (out.astype(x.dtype, copy=False), *kept)


def _by_own_statistics(
    x: Any, axes: tuple[int, ...], eps: float
) -> tuple[Any, tuple[Any, Any]]:
    mean = np.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    var = np.mean(centred * centred, axis=axes, keepdims=True)
    out = centred / np.sqrt(var + eps)
    return out, (np.squeeze(mean, axis=axes), np.squeeze(var, axis=axes))


def _running(
    mean: Any, var: Any, own: tuple[Any, Any], count: int, momentum: float
) -> tuple[Any, Any]:
    """Return statistics to keep, in the dtypes of those that were kept."""
    unbiased = own[1] * (count / max(count - 1, 1))
    pairs = ((mean, own[0], own[0]), (var, unbiased, own[1]))
    return tuple(  # type: ignore[return-value]
        biased if old is None else _mixed(operand(old), new, momentum)
        for old, new, biased in pairs
    )


def _mixed(old: Any, new: Any, momentum: float) -> Any:
    return ((1 - momentum) * wide(old) + momentum * new).astype(old.dtype)


def group_norm(
    x: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    axis: int = 1,
    eps: float = 1e-5,
) -> Any:
    """Return `x` with each group of channels of each example standardised.

    Parameters
    ----------
    x : array_like, (batch, channels, ...)
    groups : int
        Which divides the channels; they are in order.
    weight, bias : array_like (channels,), optional
    axis : int
        Of the channels; the first axis is that of examples.
    eps : float

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ShapeError
        If `groups` does not divide the channels.

    Notes
    -----
    Y. Wu, K. He, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np
    >>> group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    return _group_norm("group_norm", x, groups, weight, bias, axis, eps)


def instance_norm(
    x: Any, weight: Any = None, bias: Any = None, axis: int = 1, eps: float = 1e-5
) -> Any:
    """Return `x` with each channel of each example standardised.

    Parameters are those of `group_norm`, of as many groups as channels.

    Notes
    -----
    D. Ulyanov, A. Vedaldi, V. Lempitsky, arXiv:1607.08022.

    Examples
    --------
    >>> import numpy as np
    >>> instance_norm(np.array([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    x = floats(x)
    channels = x.shape[normalize_axis(axis, x.ndim)]
    return _group_norm("instance_norm", x, channels, weight, bias, axis, eps)


def _group_norm(
    name: str, x: Any, groups: int, weight: Any, bias: Any, axis: int, eps: float
) -> Any:
    x = floats(x)
    channel = normalize_axis(axis, x.ndim)
    if channel == 0:
        raise mistake(f"{name}: axis 0 is that of examples, not of channels")
    channels = x.shape[channel]
    if groups < 1 or channels % groups:
        raise mistake(f"{name}: {channels} channels do not make {groups} equal groups")
    split = (*x.shape[:channel], groups, channels // groups, *x.shape[channel + 1 :])
    work = wide(x).reshape(split)
    axes = tuple(d for d in range(1, work.ndim) if d != channel)
    out = _standardised(work, axes, eps)
    # Scaled in groups as well: it is the shape that the kernel has.
    for what, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            one = _along(name, what, value, x, (channel,))
            lead = (1,) * channel
            one = one.reshape(
                (*lead, *split[channel:][:2], *(1,) * (x.ndim - channel - 1))
            )
            out = out * one if what == "weight" else out + one
    return out.reshape(x.shape).astype(x.dtype, copy=False)


def _standardised(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    centred = x - np.mean(x, axis=axes, keepdims=True)
    var = np.mean(centred * centred, axis=axes, keepdims=True)
    return centred / np.sqrt(var + eps)


def _affine(name: str, x: Any, weight: Any, bias: Any, axes: tuple[int, ...]) -> Any:
    """Scale and shift along `axes`, in the dtype of `x`."""
    if weight is not None:
        x = x * _along(name, "weight", weight, x, axes)
    if bias is not None:
        x = x + _along(name, "bias", bias, x, axes)
    return x


def _placed(what: str, value: Any, x: Any, channel: int) -> Any:
    return _along("batch_norm", what, value, x, (channel,))


def _along(name: str, what: str, value: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """Return a parameter in the dtype of `x`, with axes of extent 1 elsewhere."""
    value = operand(value)
    extents = tuple(x.shape[d] for d in axes)
    if value.shape != extents:
        raise mistake(
            f"{name}: {what} has shape {value.shape}, and axes {axes} of x of shape "
            f"{x.shape} have the extents {extents}"
        )
    if is_narrow(value.dtype) or value.dtype.kind in "biu":
        value = value.astype(x.dtype)
    if axes == tuple(range(x.ndim - len(axes), x.ndim)):
        return value  # it broadcasts as it is
    return value.reshape([n if d in axes else 1 for d, n in enumerate(x.shape)])
