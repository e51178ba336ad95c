"""`ufunc`: any NumPy ufunc by name, for those without a primitive of their own.

The ufunc is found under its import path (``numpy.gcd``, ``scipy.special.gammaln``) in
modules that are loaded already; it runs through its compiled inner loop.
"""

import importlib
from collections.abc import Sequence

import numpy as np

from ...errors import DTypeError, UnsupportedError
from ..aval import ShapedArray
from ..dtypes import canonical
from ..primitive import Array, Avals, ParamKind, Primitive, register
from .elementwise import common_shape
from .shape import batch_elementwise


def find_ufunc(name: str) -> np.ufunc:
    """Return the ufunc at an import path.

    Raises
    ------
    UnsupportedError
        When there is none.

    Examples
    --------
    >>> find_ufunc("numpy.gcd")
    <ufunc 'gcd'>
    """
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnsupportedError(f"no ufunc is found at {name!r}") from error
    if not isinstance(found, np.ufunc):
        raise UnsupportedError(f"{name!r} is a {type(found).__name__}, not a ufunc")
    return found


def loop_dtypes(ufunc: np.ufunc, ins: Sequence[np.dtype | type]) -> list[np.dtype]:
    """Return the dtypes of the loop NumPy picks for inputs of these dtypes.

    Python types (int, float, complex) stand for weak scalars.
    """
    signature = (*ins, *[None] * ufunc.nout)
    return list(ufunc.resolve_dtypes(signature))


def _ufunc_eval(*avals: ShapedArray, name: str) -> Avals:
    ufunc = find_ufunc(name)
    dtypes = loop_dtypes(ufunc, [a.dtype for a in avals])
    if dtypes[: ufunc.nin] != [a.dtype for a in avals]:
        raise DTypeError(f"{name} has no loop for {list(avals)}")
    shape = common_shape(name, avals)
    return tuple(ShapedArray(shape, canonical(d)) for d in dtypes[ufunc.nin :])


def _ufunc(*arrays: Array, name: str) -> tuple[Array, ...]:
    out = find_ufunc(name)(*arrays)
    return out if isinstance(out, tuple) else (out,)


ufunc_p: Primitive = register(
    Primitive(
        "ufunc",
        _ufunc_eval,
        _ufunc,
        params={"name": ParamKind.STR},
        batch=batch_elementwise,
        flops=lambda i, o, p: 20.0 * o[0].size,
        variadic_results=True,
    )
)
