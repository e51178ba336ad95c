"""`ufunc`: any NumPy ufunc by name, for those without a primitive of their own.

The ufunc is found under its import path (``numpy.gcd``, ``scipy.special.gammaln``) in
modules that are loaded already; it runs through its compiled inner loop.
"""

import importlib
from collections.abc import Sequence

import numpy as np

from ...errors import DTypeError, UnsupportedError
from ..aval import ShapedArray
from ..builder import Builder
from ..dtypes import canonical
from ..graph import Atom
from ..primitive import Array, Avals, ParamKind, Params, Primitive, register
from .elementwise import add_p, common_shape
from .shape import batch_elementwise
from .ufunc_partials import PARTIALS, undeclared


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


def _ufunc_jvp(
    b: Builder,
    tangents: Sequence[Atom | None],
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Sequence[Atom | None]:
    """Only first results have derivatives: others are integers or steps."""
    name = str(params["name"])
    partials = PARTIALS.get(name)
    if partials is None:
        raise UnsupportedError(
            f"the derivative of {name} is not defined",
            source=", ".join(b.source) or None,
            hint="write it with functions that have one, or stop_gradient its argument",
        )
    total: Atom | None = None
    for i, (partial, t) in enumerate(zip(partials, tangents, strict=True)):
        if t is None or partial is None:
            continue
        if partial is undeclared:
            raise UnsupportedError(
                f"the derivative of {name} with respect to argument {i} is not defined",
                source=", ".join(b.source) or None,
                hint="stop_gradient that argument, or pass it as a constant",
            )
        part = partial(b, t, outs, *ins)
        total = part if total is None else b.emit(add_p, total, part)
    return (total, *[None] * (len(outs) - 1))


ufunc_p: Primitive = register(
    Primitive(
        "ufunc",
        _ufunc_eval,
        _ufunc,
        params={"name": ParamKind.STR},
        jvp=_ufunc_jvp,
        batch=batch_elementwise,
        flops=lambda i, o, p: 20.0 * o[0].size,
        variadic_results=True,
    )
)
