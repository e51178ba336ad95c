"""Calls of ufuncs, with ``out=`` and ``where=``.

What an elementwise call computes is in `ufuncs`, one of vectors and matrices in
`generalized`; the methods are in `ufunc_methods`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import functions, generalized, ufunc_methods, ufuncs
from .tracer import Tracer


def dispatch(
    ufunc: np.ufunc, method: str, inputs: Sequence[object], kwargs: dict[str, Any]
) -> Any:
    """Trace ``ufunc.method(*inputs, **kwargs)``."""
    if not kwargs and method == "__call__" and ufunc.signature is None:
        return ufuncs.apply(ufunc, inputs)
    out = kwargs.pop("out", None)
    if method == "__call__":
        if ufunc.signature is not None:
            result = generalized.call(ufunc, inputs, **kwargs)
        else:
            result = _elementwise(ufunc, inputs, out, **kwargs)
    else:
        return _call_method(ufunc, method, inputs, out, kwargs)
    return result if out is None else _write_out(ufunc, out, result, kwargs)


def _elementwise(
    ufunc: np.ufunc,
    inputs: Sequence[object],
    out: object,
    where: object = True,
    **kwargs: Any,
) -> Any:
    result = ufuncs.apply(ufunc, inputs, **kwargs)
    if where is True:
        return result
    if isinstance(result, tuple):
        return tuple(_masked(r, where, i, out) for i, r in enumerate(result))
    return _masked(result, where, 0, out)


def _masked(result: Tracer, where: object, index: int, out: object) -> Tracer:
    """Keep `out` where the mask is false."""
    target = out[index] if isinstance(out, tuple) else out
    if target is None:
        raise ufuncs.unsupported(
            "where= without out=", "pass out=, the rest is undefined in NumPy"
        )
    picked: Tracer = functions.where(where, result, target)
    return picked


def _write_out(
    ufunc: np.ufunc, out: tuple[object, ...], result: Any, kwargs: dict[str, Any]
) -> Any:
    results = result if isinstance(result, tuple) else (result,)
    for target, value in zip(out, results, strict=True):
        if target is None:
            continue
        ufuncs.check_writable(target)
        ufuncs.check_out(ufunc, target, value, str(kwargs.get("casting", "same_kind")))
        target.assign(value)  # type: ignore[attr-defined]
    final = tuple(v if t is None else t for t, v in zip(out, results, strict=True))
    return final[0] if len(final) == 1 else final


def _call_method(
    ufunc: np.ufunc,
    method: str,
    inputs: Sequence[Any],
    out: Any,
    kwargs: dict[str, Any],
) -> Any:
    """Trace ``ufunc.method(*inputs)``."""
    if out is None or out[0] is None or method == "outer":
        result = ufunc_methods.call(ufunc, method, tuple(inputs), kwargs)
        return result if out is None else _write_out(ufunc, out, result, kwargs)
    (target,) = out
    ufuncs.check_writable(target)
    if kwargs.get("dtype") is None and ufunc not in ufunc_methods.IN_ANY_DTYPE:
        both = np.result_type(inputs[0], target)  # type: ignore[arg-type]
        kwargs = {**kwargs, "dtype": ufunc.resolve_dtypes((both, both, None))[0]}
    result = ufunc_methods.call(ufunc, method, tuple(inputs), kwargs)
    functions.outputs.check_shape(f"{ufunc.__name__}.{method}", target, result.shape)
    target.assign(result)
    return target
