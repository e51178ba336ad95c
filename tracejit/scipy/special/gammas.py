"""Relatives of the gamma function that SciPy writes in Python.

They run SciPy's compiled loops, so they need SciPy.
"""

from math import log, pi
from operator import index
from typing import Any

from ...errors import ArgumentError
from ...nn.operands import operand
from ...tracing.functions.checks import require
from ...tracing.source import user_line
from ..optional import like_scipy, missing, scipy_module


def _special(name: str) -> Any:
    module = scipy_module("special")
    if module is None:
        raise missing("tracejit.scipy.special", name)
    return getattr(module, name)


def zeta(x: Any, q: Any = None) -> Any:
    """Return the Hurwitz zeta function Σ (k + q)^-x, or Riemann's with q = 1.

    Parameters
    ----------
    x, q : array_like
        Broadcast. Derivatives go through `q` alone.

    Notes
    -----
    DLMF 25.11.1.

    Examples
    --------
    >>> round(float(zeta(2.0)), 12)
    1.644934066848
    """
    return _special("zeta")(x, q)


@like_scipy("special")
def polygamma(n: Any, x: Any) -> Any:
    """Return the n-th derivative of the digamma function.

    Parameters
    ----------
    n : int
        Not negative, and known to Python.
    x : array_like
        Real; derivatives go through it.

    Notes
    -----
    (-1)^(n+1) n! ζ(n + 1, x) for n > 0, DLMF 25.11.12.

    Examples
    --------
    >>> round(float(polygamma(1, 1.0)), 12)
    1.644934066848
    """
    try:
        order = index(n)
    except TypeError:
        order = -1
    if order < 0:
        raise ArgumentError(
            f"polygamma: the order is {n!r}; expected an int that is not negative",
            source=user_line(),
            hint="tj.scipy.special.zeta takes orders of run time",
        )
    if order == 0:
        return _special("psi")(x)
    factor = (-1.0) ** (order + 1) * float(_special("gamma")(order + 1.0))
    return factor * zeta(order + 1.0, x)


@like_scipy("special")
def multigammaln(a: Any, d: int) -> Any:
    """Return the logarithm of the multivariate gamma function.

    Parameters
    ----------
    a : array_like
        Above ``(d - 1) / 2``.
    d : int
        Dimension.

    Raises
    ------
    ValueError
        When the function runs, of numbers that are not above it.

    Notes
    -----
    DLMF 35.3.4: log Γ_d(a) = d(d-1)/4 log π + Σ log Γ(a - i/2), i < d.

    Examples
    --------
    >>> round(float(multigammaln(3.0, 1)), 12)  # log 2!
    0.69314718056
    """
    a, d = operand(a), index(d)
    require(a > (d - 1) / 2, f"multigammaln: a must be above {(d - 1) / 2}")
    gammaln = _special("gammaln")
    total = gammaln(a)
    for i in range(1, d):
        total = total + gammaln(a - i / 2)
    return total + d * (d - 1) / 4 * log(pi)
