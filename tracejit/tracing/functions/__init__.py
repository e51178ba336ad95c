"""NumPy's functions under tracing: one rule each, by family."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import create, linalg, products, reduce, select, shape, sort
from .products import GENERALIZED
from .registry import FUNCTIONS, dispatch
from .select import where
from .shape import matrix_transpose, reshape_tracer, stack, zeros_like

# Array methods that are functions with the array as first argument.
METHODS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in [
        "all",
        "any",
        "argmax",
        "argmin",
        "argpartition",
        "argsort",
        "clip",
        "compress",
        "cumprod",
        "cumsum",
        "diagonal",
        "dot",
        "max",
        "mean",
        "min",
        "prod",
        "ptp",
        "put",
        "repeat",
        "round",
        "searchsorted",
        "std",
        "sum",
        "take",
        "trace",
        "var",
    ]
}

# Creation functions that take traced numbers: (trace, *args, **kwargs) -> tracer.
CREATION: dict[str, Callable[..., Any]] = {
    "full": create.full,
    "linspace": create.linspace,
    "arange": create.arange,
}

__all__ = [
    "CREATION",
    "FUNCTIONS",
    "GENERALIZED",
    "METHODS",
    "create",
    "dispatch",
    "linalg",
    "matrix_transpose",
    "products",
    "reduce",
    "reshape_tracer",
    "select",
    "shape",
    "sort",
    "stack",
    "where",
    "zeros_like",
]
