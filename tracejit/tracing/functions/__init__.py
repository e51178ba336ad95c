"""NumPy's functions under tracing: one rule each, by family."""

from collections.abc import Callable
from typing import Any

from . import (
    covariance,
    create,
    decompositions,
    dtypes,
    edits,
    fft,
    histograms,
    linalg,
    norms,
    outputs,
    places,
    polynomials,
    products,
    quantiles,
    reduce,
    searching,
    select,
    sets,
    shape,
    sort,
    special,
)
from .checks import require
from .products import GENERALIZED
from .registry import FUNCTIONS, dispatch
from .select import where
from .shape import stack

# Creation functions that take traced numbers: (trace, *args, **kwargs) -> tracer.
CREATION: dict[str, Callable[..., Any]] = {
    "full": create.full,
    "linspace": create.linspace,
    "logspace": create.logspace,
    "geomspace": create.geomspace,
    "arange": create.arange,
    "fftfreq": fft.fftfreq,
    "rfftfreq": fft.rfftfreq,
}

__all__ = [
    "CREATION",
    "FUNCTIONS",
    "GENERALIZED",
    "covariance",
    "create",
    "decompositions",
    "dispatch",
    "dtypes",
    "edits",
    "fft",
    "histograms",
    "linalg",
    "norms",
    "outputs",
    "places",
    "polynomials",
    "products",
    "quantiles",
    "reduce",
    "require",
    "searching",
    "select",
    "sets",
    "shape",
    "sort",
    "special",
    "stack",
    "where",
]
