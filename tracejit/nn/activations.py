"""Activations: functions of each element, differentiable to any order.

Each is a formula of NumPy functions that neither overflows nor divides 0 by 0, in the
value and in derivatives, whatever the operand. Where a function has a corner, its
derivative there is that of PyTorch: 0 at the corners of `relu`, `relu6`, `hard_tanh`,
`hard_sigmoid`. NaN stays NaN.
"""

from math import pi, sqrt
from typing import Any

import numpy as np

from ..tracing.functions import special
from ..tracing.functions.registry import normalize_axis
from .arguments import mistake
from .operands import chosen, operand, rounded_once

SELU_ALPHA = 1.6732632423543772  # G. Klambauer et al., arXiv:1706.02515, appendix
SELU_SCALE = 1.0507009873554805

# --- pieces of lines --------------------------------------------------------------


def relu(x: Any) -> Any:
    """Return x where it is positive, else 0.

    Parameters
    ----------
    x : array_like
        Of any shape and real dtype, which the result has too.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1, 0, 2]))
    array([0, 0, 2])
    """
    x = operand(x)
    return np.where(x <= 0, 0, x)


def relu6(x: Any) -> Any:
    """Return x between 0 and 6, else the nearer of them; dtypes as in `relu`.

    Examples
    --------
    >>> import numpy as np
    >>> relu6(np.array([-1, 3, 8]))
    array([0, 3, 6])
    """
    x = operand(x)
    return np.where(x <= 0, 0, np.where(x >= 6, 6, x))


@rounded_once
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """Return x where it is positive, else ``negative_slope * x``.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return np.where(x > 0, x, x * negative_slope)


@rounded_once
def hard_tanh(x: Any) -> Any:
    """Return x between -1 and 1, else the nearer of them.

    Examples
    --------
    >>> import numpy as np
    >>> hard_tanh(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """
    return np.where(x <= -1, -1, np.where(x >= 1, 1, x))


@rounded_once
def hard_sigmoid(x: Any) -> Any:
    """Return ``relu6(x + 3) / 6`` (A. Howard et al., arXiv:1905.02244).

    Examples
    --------
    >>> import numpy as np
    >>> hard_sigmoid(np.array([-4.0, 0.0, 4.0]))
    array([0. , 0.5, 1. ])
    """
    return np.where(x <= -3, 0, np.where(x >= 3, 1, x * (1 / 6) + 0.5))


@rounded_once
def hard_silu(x: Any) -> Any:
    """Return ``x * hard_sigmoid(x)`` (A. Howard et al., arXiv:1905.02244).

    Examples
    --------
    >>> import numpy as np
    >>> hard_silu(np.array([-4.0, 1.5, 4.0]))
    array([0.   , 1.125, 4.   ])
    """
    inner = np.where(np.abs(x) < 3, x, 0)
    return np.where(x <= -3, 0, np.where(x >= 3, x, inner * (x * (1 / 6) + 0.5)))


hard_swish = hard_silu

# --- exponential units ------------------------------------------------------------


def _elu(x: Any, alpha: Any) -> Any:
    is_positive = x > 0
    return np.where(is_positive, x, alpha * np.expm1(np.where(is_positive, 0, x)))


@rounded_once
def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return x where it is positive, else ``alpha * (e^x - 1)``.

    After D. Clevert, T. Unterthiner, S. Hochreiter, arXiv:1511.07289.

    Examples
    --------
    >>> import numpy as np
    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return _elu(x, alpha)


@rounded_once
def selu(x: Any) -> Any:
    """Return ``scale * elu(x, alpha)`` with the constants that keep variances.

    After G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, arXiv:1706.02515.

    Examples
    --------
    >>> import numpy as np
    >>> selu(np.array([1.0]))
    array([1.05070099])
    """
    return SELU_SCALE * _elu(x, SELU_ALPHA)


@rounded_once
def celu(x: Any, alpha: float = 1.0) -> Any:
    """Return x where it is positive, else ``alpha * (e^(x / alpha) - 1)``.

    After J. Barron, arXiv:1704.07483.

    Examples
    --------
    >>> import numpy as np
    >>> celu(np.array([-1000.0, 0.0, 2.0]), 2.0)
    array([-2.,  0.,  2.])
    """
    is_positive = x > 0
    below = np.where(is_positive, 0, x)
    return np.where(is_positive, x, alpha * np.expm1(below / alpha))


# --- sigmoids and what is made of them --------------------------------------------


@rounded_once
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x), precise at both ends.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return special.expit(x)


@rounded_once
def log_sigmoid(x: Any) -> Any:
    """Return ``log(sigmoid(x))``: x itself, nearly, where that underflows.

    Examples
    --------
    >>> import numpy as np
    >>> log_sigmoid(np.array([-1000.0, 1000.0]))
    array([-1000.,    -0.])
    """
    return special.log_expit(x)


@rounded_once
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent, as ``numpy.tanh``.

    Examples
    --------
    >>> tanh(0.0)
    np.float64(0.0)
    """
    return np.tanh(x)


@rounded_once
def softplus(x: Any) -> Any:
    """Return log(1 + e^x), without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.array([-1000.0, 1000.0]))
    array([   0., 1000.])
    """
    return np.logaddexp(x, 0)


@rounded_once
def softsign(x: Any) -> Any:
    """Return x / (1 + |x|).

    Examples
    --------
    >>> import numpy as np
    >>> softsign(np.array([-3.0, 1.0]))
    array([-0.75,  0.5 ])
    """
    return x / (1 + np.abs(x))


@rounded_once
def silu(x: Any) -> Any:
    """Return ``x * sigmoid(x)``, also called swish.

    After D. Hendrycks, K. Gimpel, arXiv:1606.08415; P. Ramachandran et al.,
    arXiv:1710.05941.

    Examples
    --------
    >>> import numpy as np
    >>> silu(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    return x * special.expit(x)


swish = silu


@rounded_once
def gelu(x: Any, approximate: str = "none") -> Any:
    """Return x times the probability that a normal number is below it.

    Parameters
    ----------
    x : array_like
    approximate : "none" or "tanh"
        Exactly, ``x · erfc(-x/√2) / 2``, precise for negative x too; or the formula
        ``x · (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``.

    Notes
    -----
    D. Hendrycks, K. Gimpel, arXiv:1606.08415. The tanh is 1 to the last bit beyond 10,
    where its operand is kept, so that no cube overflows.

    Examples
    --------
    >>> import numpy as np
    >>> gelu(np.array([-50.0, 0.0, 50.0]))
    array([-0.,  0., 50.])
    """
    if chosen("gelu", "approximate", approximate, ("none", "tanh")) == "tanh":
        inner = np.minimum(np.maximum(x, -10), 10)
        cubic = sqrt(2 / pi) * (inner + 0.044715 * inner * inner * inner)
        return 0.5 * x * (1 + np.tanh(cubic))
    return 0.5 * x * special.erfc(x * -sqrt(0.5))


@rounded_once
def mish(x: Any) -> Any:
    """Return ``x * tanh(softplus(x))`` (D. Misra, arXiv:1908.08681).

    Examples
    --------
    >>> import numpy as np
    >>> mish(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    return x * np.tanh(np.logaddexp(x, 0))


@rounded_once
def glu(x: Any, axis: int = -1) -> Any:
    """Return the first half of an axis times the sigmoid of the second half.

    Parameters
    ----------
    x : array_like
    axis : int
        Of an even extent, half of which the result has.

    Raises
    ------
    ShapeError
        If the extent is odd.

    Notes
    -----
    Y. Dauphin et al., arXiv:1612.08083.

    Examples
    --------
    >>> import numpy as np
    >>> glu(np.array([1.0, 2.0, 0.0, 0.0]))
    array([0.5, 1. ])
    """
    extent = x.shape[normalize_axis(axis, x.ndim)]
    if extent % 2:
        raise mistake(f"glu: axis {axis} of x of shape {x.shape} has no two halves")
    first, second = np.split(x, 2, axis)
    return first * special.expit(second)
