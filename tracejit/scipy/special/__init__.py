"""`scipy.special`: its ufuncs, and the functions made of them, for arrays and tracers.

Every ufunc of `scipy.special` is here under its name, and is SciPy's own: tracers
dispatch on it. Those in `tracejit.tracing.functions.special` trace to formulas, which
fuse (``erf erfc expit log_expit logit ndtr xlogy xlog1py entr rel_entr kl_div``), the
others to a step that runs SciPy's compiled loop; derivatives are declared in
`tracejit.ir.ops.ufunc_partials`. Functions that SciPy writes in Python are written here
for tracers: `logsumexp`, `softmax`, `log_softmax`, `polygamma`, `zeta`, `multigammaln`.

Without SciPy the formulas run by themselves; what has none raises
`MissingPackageError`.

Examples
--------
>>> import numpy as np, tracejit as tj
>>> from tracejit.scipy import special
>>> tj.jit(lambda x: special.gammaln(x))(np.array([5.0]))  # log 4!
array([3.17805383])
"""

from typing import Any

import numpy as np

from ...tracing.functions.special import FORMULAS
from ..optional import missing, scipy_module
from .gammas import multigammaln, polygamma, zeta
from .sums import log_softmax, logsumexp, softmax
from .without_scipy import standalone

# Of SciPy's ufuncs, those that are tested: they trace, and most have derivatives.
UFUNCS = (
    *("beta", "betainc", "betaincc", "betaln", "binom", "cbrt", "cosm1"),
    *("dawsn", "digamma", "ellipe", "ellipk", "entr", "erf", "erfc", "erfcinv"),
    *("erfcx", "erfi", "erfinv", "exp1", "exp10", "exp2", "expi", "expit", "expm1"),
    *("expn", "gamma", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e"),
    *("iv", "j0", "j1", "jv", "k0", "k1", "kl_div", "kv", "log1p", "log_expit"),
    *("log_ndtr", "loggamma", "logit", "ndtr", "ndtri", "poch", "psi", "rel_entr"),
    *("rgamma", "spence", "xlog1py", "xlogy", "y0", "y1", "yv"),
)
sinc = np.sinc

__all__ = [
    "log_softmax",
    "logsumexp",
    "multigammaln",
    "polygamma",
    "sinc",
    "softmax",
    "zeta",
    *UFUNCS,
]


def __getattr__(name: str) -> Any:
    """Return the ufunc of SciPy's of that name, or its formula without SciPy."""
    if not name.startswith("_"):
        module = scipy_module("special")
        found = getattr(module, name, None)
        if isinstance(found, np.ufunc):
            return found
        if module is None and name in FORMULAS:
            return standalone(name)
        if module is None and name in UFUNCS:
            raise missing("tracejit.scipy.special", name)
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}: it has the ufuncs of "
        "scipy.special, and of its other functions "
        "logsumexp, softmax, log_softmax, polygamma, zeta, multigammaln and sinc"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
