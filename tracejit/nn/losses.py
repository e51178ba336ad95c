"""Losses: one number for a batch, or one for each element.

Computed from logits where that is the stable form: nothing overflows, and derivatives
are finite, for logits of any size.
"""

from typing import Any

import numpy as np

from ..ir.aval import Shape
from ..tracing.functions.registry import normalize_axis
from .arguments import mistake
from .operands import chosen, floats, is_narrow, operand, wide
from .rows import log_softmax

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
) -> Any:
    """Return minus the log-likelihood of labels under softmax of logits.

    Parameters
    ----------
    logits : array_like, (*batch, classes)
        With the classes along `axis`.
    labels : array_like of int (*batch), or of float (*batch, classes)
        Classes, or their probabilities, laid out as `logits`.
    weight : array_like (classes,), optional
        Of each class.
    label_smoothing : float
        The share of each label that is spread over all classes.
    ignore_index : int, optional
        The label of elements that do not count.
    reduction : "mean", "sum" or "none"
        The mean is over the weights of the labels, or over the elements that count; of
        probabilities, over the elements.
    axis : int

    Returns
    -------
    number, or array (*batch) for ``reduction="none"``
        Of the dtype of `logits`.

    Raises
    ------
    ShapeError, DTypeError
        If labels or weights do not fit the logits.
    IndexError
        For a label that is no class.

    Notes
    -----
    Smoothing, weights and means are those of PyTorch's ``cross_entropy``. C. Szegedy et
    al., arXiv:1512.00567, for smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> cross_entropy(np.array([[0.0, 0.0], [1e4, -1e4]]), np.array([1, 0]))
    np.float64(0.34657359027997264)
    """
    chosen("cross_entropy", "reduction", reduction, REDUCTIONS)
    logits, labels = floats(logits), operand(labels)
    last = normalize_axis(axis, logits.ndim)
    rows = wide(logits)
    rows = rows if last == rows.ndim - 1 else np.moveaxis(rows, last, -1)
    weights = _class_weights(weight, rows)
    log_p = log_softmax(rows)
    if labels.dtype.kind in "iu":
        parts = _of_labels(log_p, labels, weights, label_smoothing, ignore_index)
    else:
        _check_probabilities(labels.shape, logits.shape)
        target = np.moveaxis(floats(labels), last, -1)
        parts = _of_probabilities(log_p, target, weights, label_smoothing), None
    return _reduced_by_weight(*parts, reduction).astype(logits.dtype, copy=False)


def _class_weights(weight: Any, rows: Any) -> Any:
    if weight is None:
        return None
    weight = floats(weight)
    if weight.shape != rows.shape[-1:]:
        raise mistake(
            f"cross_entropy: weight has shape {weight.shape}; expected one number for "
            f"each of {rows.shape[-1]} classes"
        )
    return weight.astype(rows.dtype, copy=False)


def _of_labels(
    log_p: Any, labels: Any, weights: Any, smoothing: float, ignore: int | None
) -> tuple[Any, Any]:
    """Return losses of integer labels, and their weights, or None for 1 each.

    Both as columns, the shape in which labels pick their logits.
    """
    if labels.shape != log_p.shape[:-1]:
        raise mistake(
            f"cross_entropy: labels of shape {labels.shape} for logits of shape "
            f"{log_p.shape}, classes last; expected {log_p.shape[:-1]}"
        )
    labels = labels[..., None]
    counts = None if ignore is None else labels != ignore
    known = labels if counts is None else np.where(counts, labels, 0)
    losses = -np.take_along_axis(log_p, known, -1)
    each = None if weights is None else weights[known]
    if each is not None:
        losses = losses * each
    if smoothing:
        spread = log_p if weights is None else log_p * weights
        uniform = -np.mean(spread, axis=-1, keepdims=True)
        losses = (1 - smoothing) * losses + smoothing * uniform
    if counts is None:
        return losses, each
    each = counts.astype(log_p.dtype) if each is None else np.where(counts, each, 0)
    return np.where(counts, losses, 0), each


def _check_probabilities(target: Shape, logits: Shape) -> None:
    if target != logits:
        raise mistake(
            f"cross_entropy: probabilities of shape {target} for logits of shape "
            f"{logits}",
            hint="classes are integers: labels.astype(int)",
        )


def _of_probabilities(log_p: Any, target: Any, weights: Any, smoothing: float) -> Any:
    target = target.astype(log_p.dtype, copy=False)
    if smoothing:
        target = (1 - smoothing) * target + smoothing / log_p.shape[-1]
    if weights is not None:
        target = target * weights
    # A class without probability adds nothing, even where its logit is -inf.
    inside = np.where(target == 0, 0, log_p)
    return -np.sum(target * inside, axis=-1, keepdims=True)


def _reduced_by_weight(losses: Any, each: Any, reduction: str) -> Any:
    """Reduce columns of losses and of their weights."""
    if reduction == "mean" and each is not None:
        return np.sum(losses) / np.sum(each)
    return _reduced(losses[..., 0] if reduction == "none" else losses, reduction)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return np.mean(losses) if reduction == "mean" else np.sum(losses)


# --- of numbers -------------------------------------------------------------------


def _pair(name: str, prediction: Any, target: Any) -> tuple[Any, Any, np.dtype]:
    """Return both in the dtype to compute in, and the dtype of the result."""
    x, y = floats(prediction), floats(target)
    if x.shape != y.shape:
        raise mistake(
            f"{name}: a prediction of shape {x.shape} and a target of shape {y.shape}; "
            "expected the same",
            hint="np.broadcast_to the target",
        )
    dtype = np.result_type(x.dtype, y.dtype)
    work = np.dtype(np.float32) if is_narrow(dtype) else dtype
    return x.astype(work, copy=False), y.astype(work, copy=False), dtype


def _finished(name: str, losses: Any, reduction: str, dtype: np.dtype) -> Any:
    chosen(name, "reduction", reduction, REDUCTIONS)
    return _reduced(losses, reduction).astype(dtype, copy=False)


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Return squared differences: their mean, their sum, or each.

    Parameters
    ----------
    prediction, target : array_like
        Of the same shape.
    reduction : "mean", "sum" or "none"

    Returns
    -------
    number, or array of their shape for ``reduction="none"``

    Raises
    ------
    ShapeError
        If shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    x, y, dtype = _pair("mse_loss", prediction, target)
    away = x - y
    return _finished("mse_loss", away * away, reduction, dtype)


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Return absolute differences; arguments are those of `mse_loss`.

    Examples
    --------
    >>> import numpy as np
    >>> l1_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(1.0)
    """
    x, y, dtype = _pair("l1_loss", prediction, target)
    return _finished("l1_loss", np.abs(x - y), reduction, dtype)


def huber_loss(
    prediction: Any, target: Any, delta: float = 1.0, reduction: str = "mean"
) -> Any:
    """Return half of squared differences up to `delta`, beyond it lines.

    Parameters
    ----------
    prediction, target : array_like
    delta : float
        Positive; the slope of the lines.
    reduction : "mean", "sum" or "none"

    Notes
    -----
    P. Huber, "Robust estimation of a location parameter", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> huber_loss(np.array([1.0, 2.0]), np.array([2.0, 5.0]), reduction="none")
    array([0.5, 2.5])
    """
    x, y, dtype = _pair("huber_loss", prediction, target)
    away = np.abs(x - y)
    near = np.where(away < delta, away, 0)
    line = delta * (away - 0.5 * delta)
    losses = np.where(away < delta, 0.5 * near * near, line)
    return _finished("huber_loss", losses, reduction, dtype)


def binary_cross_entropy(
    probability: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Return minus the log-likelihood of targets under probabilities.

    Parameters
    ----------
    probability : array_like
        From 0 to 1. With logits, `binary_cross_entropy_with_logits` is the precise
        form.
    target : array_like of the same shape
        From 0 to 1.
    weight : array_like, optional
        Of each element; broadcast.
    reduction : "mean", "sum" or "none"

    Notes
    -----
    Logarithms are not less than -100, as in PyTorch, so that a wrong certainty costs
    100 and not infinity.

    Examples
    --------
    >>> import numpy as np
    >>> p, y = np.array([0.5, 1.0]), np.array([1.0, 0.0])
    >>> binary_cross_entropy(p, y, reduction="sum")
    np.float64(100.69314718055995)
    """
    name = "binary_cross_entropy"
    p, y, dtype = _pair(name, probability, target)
    losses = -(y * _clamped_log(p) + (1 - y) * _clamped_log(1 - p))
    return _finished(name, _weighted(losses, weight), reduction, dtype)


def _clamped_log(x: Any) -> Any:
    is_positive = x > np.finfo(x.dtype).tiny
    found = np.log(np.where(is_positive, x, 1))
    return np.where(is_positive, np.maximum(found, -100), -100)


def binary_cross_entropy_with_logits(
    logits: Any,
    target: Any,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Return minus the log-likelihood of targets under sigmoids of logits.

    Parameters
    ----------
    logits, target : array_like of the same shape
    weight : array_like, optional
        Of each element; broadcast.
    pos_weight : array_like, optional
        Of what targets are 1, beside those that are 0; broadcast.
    reduction : "mean", "sum" or "none"

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([1e4, -1e4]), np.array([1.0, 1.0])
    >>> binary_cross_entropy_with_logits(x, y, reduction="none")
    array([    0., 10000.])
    """
    name = "binary_cross_entropy_with_logits"
    x, y, dtype = _pair(name, logits, target)
    softplus = np.logaddexp(-x, 0)
    if pos_weight is None:
        losses = (1 - y) * x + softplus
    else:
        factor = 1 + (floats(pos_weight).astype(x.dtype) - 1) * y
        losses = (1 - y) * x + factor * softplus
    return _finished(name, _weighted(losses, weight), reduction, dtype)


def _weighted(losses: Any, weight: Any) -> Any:
    return losses if weight is None else losses * floats(weight).astype(losses.dtype)
