"""`grad` and `value_and_grad`: trace, transform the graph, run it where it was called.

Inside `jit` the transformed graph is inlined into the trace around it; outside it runs
in NumPy, and tracers carry values, so Python may branch on them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.ops.elementwise import stop_gradient_p
from ..transforms.vjp import value_and_grad_graph
from .arguments import (
    Argnames,
    Argnums,
    active_leaves,
    choose,
    function_name,
    spread,
    zero_like,
)
from .inner import Static, run_graph
from .placed import compiled_where_placed
from .point import Point, kind_name, trace_at
from .source import user_line
from .tracer import Tracer


def value_and_grad(
    fn: Callable[..., Any],
    argnums: Argnums = None,
    has_aux: bool = False,
    *,
    argnames: Argnames = None,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Return a function of the same arguments giving the value and the gradient.

    Parameters
    ----------
    fn : callable
        Returns a real scalar (with `has_aux`: a pair of it and anything).
    argnums : int or sequence of int, optional
        Positions of the arguments to differentiate: arrays or nested containers of
        arrays and numbers. The first, unless `argnames` is given.
    has_aux : bool
    argnames : str or sequence of str, optional
        Parameters to differentiate, given by position, keyword or default; after those
        of `argnums`.
    holomorphic : bool
        The function is complex differentiable: arguments and the result are complex,
        and the gradient is its complex derivative.
    allow_int : bool
        Give zeros when all arguments are integers or booleans, in place of an error.

    Returns
    -------
    callable
        ``(value, gradient)``, or ``((value, aux), gradient)``; the gradient has the
        structure of the argument, and is a tuple for a sequence of them. Gradients of
        integers and booleans are zeros of their dtype. For complex arguments of a real
        function ``df = Re Σ gradient · dx``, as in JAX: go along its conjugate.

    Raises
    ------
    ShapeError, DTypeError, TraceError
        By the function returned, when the value is not a scalar of the right dtype, or
        there is nothing to differentiate.
    ArgumentError
        When an argument of these names is not there.

    Examples
    --------
    >>> import numpy as np
    >>> value_and_grad(lambda x: np.sum(x * x))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """

    @compiled_where_placed
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        chosen = choose(fn, args, kwargs, argnums, argnames)
        active = active_leaves(chosen, "grad", holomorphic, allow_int)
        point = trace_at(fn, chosen, active, has_aux)
        _check_output(point, holomorphic)
        value, gradient = _evaluate(point, holomorphic)
        return value, chosen.like_arguments(gradient)

    name = function_name(fn)
    differentiated.__name__ = f"value_and_grad_{name}"
    differentiated.__doc__ = f"Value and gradient of {name}."
    differentiated.__wrapped__ = fn  # type: ignore[attr-defined]
    return differentiated


def grad(
    fn: Callable[..., Any],
    argnums: Argnums = None,
    has_aux: bool = False,
    *,
    argnames: Argnames = None,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Return a function giving the gradient of `fn`.

    Parameters and errors are those of `value_and_grad`.

    Returns
    -------
    callable
        The gradient, or ``(gradient, aux)``.

    Examples
    --------
    >>> import numpy as np
    >>> grad(lambda x: np.sum(np.sin(x)))(np.zeros(2))
    array([1., 1.])
    """
    both = value_and_grad(
        fn,
        argnums,
        has_aux,
        argnames=argnames,
        holomorphic=holomorphic,
        allow_int=allow_int,
    )

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    gradient.__name__ = f"grad_{function_name(fn)}"
    gradient.__wrapped__ = fn  # type: ignore[attr-defined]
    return gradient


def stop_gradient(x: Any) -> Any:
    """Return `x`, a constant to differentiation."""
    if not isinstance(x, Tracer):
        return x
    known = x.shadow if x.is_known else None
    return x.home.result(x.home.emit(stop_gradient_p, x.read()), known, kind=x.kind)


def _evaluate(point: Point, holomorphic: bool) -> tuple[Any, list[Any]]:
    """Run the value-and-gradient graph; return the value tree and gradient leaves."""
    leaves = point.chosen.leaves
    if isinstance(point.leaves[0], Static):
        outs = run_graph(point.graph, point.operands)
        return _value(point, outs), [zero_like(x) for x in leaves]
    graph = value_and_grad_graph(point.graph, point.active, holomorphic)
    outs = run_graph(graph, point.operands)
    n = len(point.graph.outvars)
    return _value(point, outs[:n]), spread(outs[n:], point.active, leaves)


def _value(point: Point, outs: list[Any]) -> Any:
    value, aux = point.values(outs)
    return (value, aux) if point.has_aux else value


def _check_output(point: Point, holomorphic: bool) -> None:
    name = point.inner.graph.name
    if point.spec.kind is not None:
        raise TraceError(
            f"grad needs one number, but {name} returned a container: "
            f"{kind_name(point.spec)}",
            source=user_line(),
            hint="return a scalar, or (scalar, aux) with has_aux=True",
        )
    first = point.leaves[0]
    if isinstance(first, Static):
        if isinstance(first.value, int | float | complex | np.generic):
            return
        raise TraceError(
            f"grad needs a number, but {name} returned {first.value!r}",
            source=user_line(),
        )
    aval = point.graph.out_avals[first]
    if aval.shape:
        raise ShapeError(
            f"grad needs a scalar, but {name} returned {aval}, not a scalar",
            source=user_line(),
            hint="reduce it, e.g. np.sum(...) or np.mean(...); jacrev gives the "
            "derivatives of all elements",
        )
    fits = dt.is_complex(aval.dtype) if holomorphic else dt.is_float(aval.dtype)
    if not fits:
        wanted = "a complex number" if holomorphic else "a real float"
        raise DTypeError(
            f"grad needs a scalar, but {name} returned {aval}, not {wanted}",
            source=user_line(),
            hint="leave out holomorphic=True"
            if holomorphic
            else "convert it, e.g. value.astype(np.float64), take np.real, or pass "
            "holomorphic=True",
        )
