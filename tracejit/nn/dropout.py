"""Dropout: elements left out at random, by a key of `tracejit.random`."""

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..random import bernoulli
from ..tracing.source import user_line
from .operands import rounded_once


def dropout(x: Any, rate: float, key: Any, *, training: bool = True) -> Any:
    """Return `x` with elements left out, the others scaled to keep the mean.

    Parameters
    ----------
    x : array_like
    rate : float
        The probability of leaving an element out, from 0 to 1.
    key : uint32[2]
        Of `tracejit.random`; the same key leaves out the same elements. None where
        nothing is left out: without training, or at rate 0.
    training : bool
        Without it `x` is returned as it came.

    Returns
    -------
    array of the shape and dtype of `x`
        The numbers are computed where they are used, in the gradient once more: no
        mask is stored.

    Raises
    ------
    ArgumentError
        For a rate outside of 0 to 1, or without a key where one is needed.

    Notes
    -----
    N. Srivastava et al., "Dropout", JMLR 15 (2014), in its inverted form.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> dropout(np.ones(6), 0.5, tj.random.key(1))
    array([2., 0., 2., 2., 0., 0.])
    """
    if not 0 <= rate <= 1:
        raise ArgumentError(
            f"dropout: the rate is {rate}; expected 0 to 1", source=user_line()
        )
    if not training or rate == 0:
        return x
    if key is None:
        raise ArgumentError(
            "dropout: a key is needed in training",
            source=user_line(),
            hint="tj.random.key(0), then tj.random.split(key) for one key per use",
        )
    return _dropped(x, rate, key)


@rounded_once
def _dropped(x: Any, rate: float, key: Any) -> Any:
    keep = bernoulli(key, 1 - rate, x.shape)
    return np.where(keep, x * (1 / (1 - rate) if rate < 1 else 0.0), 0)
