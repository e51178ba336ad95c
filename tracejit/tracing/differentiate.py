"""`grad` and `value_and_grad`: trace, transform the graph, run it where it was called.

Inside `jit` the transformed graph is inlined into the trace around it; outside it runs
in NumPy, and tracers carry values, so Python may branch on them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import config
from ..errors import DTypeError, ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.ops.elementwise import stop_gradient_p
from ..ir.raising import raise_graph
from ..transforms.vjp import value_and_grad_graph
from .inner import (
    InnerTrace,
    Static,
    argument_like,
    kind_of,
    run_graph,
    trace_inner,
    with_kind,
)
from .source import user_line
from .storage import Kind
from .trace import Role
from .tracer import Tracer
from .tree import TreeSpec, flatten, paths, unflatten


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function of the same arguments giving the value and the gradient.

    Parameters
    ----------
    fn : callable
        Returns a real scalar (with `has_aux`: a pair of it and anything).
    argnums : int or sequence of int
        Positions of the arguments to differentiate: arrays or nested containers of
        arrays and floats. Leaves of integer dtype get zero gradients.
    has_aux : bool

    Returns
    -------
    callable
        ``(value, gradient)``, or ``((value, aux), gradient)``; the gradient has the
        structure of the argument, and is a tuple for several `argnums`.

    Examples
    --------
    >>> import numpy as np
    >>> value_and_grad(lambda x: np.sum(x * x))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        chosen = [args[_position(p, args)] for p in positions]
        leaves, spec = flatten(chosen)
        _check_inputs(leaves, spec)

        def call(inner: list[Any]) -> Any:
            full = list(args)
            for p, value in zip(positions, unflatten(spec, inner), strict=True):
                full[p] = value
            return fn(*full, **kwargs)

        inner = trace_inner(
            call,
            [argument_like(x) for x in leaves],
            getattr(fn, "__name__", "f"),
            Role.DIFFERENTIATED,
        )
        value, grads = _evaluate(inner, leaves, has_aux)
        tree = unflatten(spec, grads)
        return value, tree[0] if isinstance(argnums, int) else tuple(tree)

    name = getattr(fn, "__name__", "f")
    differentiated.__name__ = f"value_and_grad_{name}"
    differentiated.__doc__ = f"Value and gradient of {name}."
    differentiated.__wrapped__ = fn  # type: ignore[attr-defined]
    return differentiated


def grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function giving the gradient of `fn`; see `value_and_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> grad(lambda x: np.sum(np.sin(x)))(np.zeros(2))
    array([1., 1.])
    """
    both = value_and_grad(fn, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    gradient.__name__ = f"grad_{getattr(fn, '__name__', 'f')}"
    gradient.__wrapped__ = fn  # type: ignore[attr-defined]
    return gradient


def stop_gradient(x: Any) -> Any:
    """Return `x`, a constant to differentiation."""
    if not isinstance(x, Tracer):
        return x
    known = x.shadow if x.is_known else None
    return x.home.result(x.home.emit(stop_gradient_p, x.read()), known, kind=x.kind)


def _position(p: int, args: tuple[Any, ...]) -> int:
    if not -len(args) <= p < len(args):
        raise TypeError(
            f"argnums names argument {p}, but {len(args)} positional arguments "
            "were given"
        )
    return p


def _check_inputs(leaves: list[Any], spec: TreeSpec) -> None:
    for leaf, path in zip(leaves, paths(spec), strict=True):
        dtype = getattr(leaf, "dtype", None)
        if dtype is None and not isinstance(leaf, float | int | complex):
            where = "".join(f"[{k!r}]" for k in path[1:])
            raise DTypeError(
                f"cannot differentiate with respect to a {type(leaf).__name__} at "
                f"argument leaf {where or 'itself'}",
                hint="choose other argnums, or pass it through a closure",
            )


def _evaluate(
    inner: InnerTrace, leaves: list[Any], has_aux: bool
) -> tuple[Any, list[Any]]:
    """Run the value-and-gradient graph; return the value tree and gradient leaves."""
    first = inner.result[0] if inner.result else Static(None)
    _check_output(inner, first, has_aux)
    if isinstance(first, Static):
        return inner.rebuild([]), [_zero_like(x) for x in leaves]
    graph = inner.graph
    avals = graph.in_avals[: len(leaves)]
    active = [i for i, aval in enumerate(avals) if dt.is_inexact(aval.dtype)]
    raised = raise_graph(graph) if config.get("composites") else graph
    graph = value_and_grad_graph(raised, active)
    outs = run_graph(graph, [*leaves, *inner.captured])
    n = len(inner.kinds)
    values = [with_kind(x, k) for x, k in zip(outs[:n], inner.kinds, strict=True)]
    found = dict(zip(active, outs[n:], strict=True))
    grads = [
        _like_leaf(found[i], x) if i in found else _zero_like(x)
        for i, x in enumerate(leaves)
    ]
    return inner.rebuild(values), grads


def _check_output(inner: InnerTrace, first: "int | Static", has_aux: bool) -> None:
    if isinstance(first, Static):
        if isinstance(first.value, int | float | np.generic):
            return
        raise TraceError(
            f"the differentiated function returned {first.value!r}, not a number",
            source=user_line(),
        )
    if has_aux:
        if inner.spec.kind is not tuple or len(inner.spec.children) != 2:
            raise TraceError(
                "with has_aux=True the function must return a pair (value, aux)",
                source=user_line(),
            )
    elif inner.spec.kind is not None:
        raise TraceError(
            "the differentiated function returned a container, not one number",
            source=user_line(),
            hint="return a scalar, or (scalar, aux) with has_aux=True",
        )
    aval = inner.graph.out_avals[first]
    if aval.shape:
        raise ShapeError(
            f"the differentiated function returned {aval}, not a scalar",
            source=user_line(),
            hint="reduce it, e.g. np.sum(...) or np.mean(...)",
        )
    if not dt.is_float(aval.dtype):
        raise DTypeError(
            f"the differentiated function returned {aval}, not a real float",
            source=user_line(),
            hint="convert it, e.g. value.astype(np.float64), or take np.real",
        )


def _like_leaf(gradient: Any, leaf: Any) -> Any:
    is_array = kind_of(leaf) is Kind.ARRAY
    return with_kind(gradient, Kind.ARRAY if is_array else Kind.SCALAR)


def _zero_like(x: Any) -> Any:
    if isinstance(x, Tracer):
        return np.zeros_like(x)
    if isinstance(x, np.ndarray):
        return np.zeros_like(x)
    return np.asarray(x).dtype.type(0)
