"""`jvp`, `linearize` and `vjp`: the derivative of a function as a linear map.

The function is traced once, and its values are computed once. What the derivative needs
of them is kept (copies, so that later writes change nothing); the functions returned by
`linearize` and `vjp` run only the linear part, as often as they are called: in NumPy
outside of `jit`, inlined into the trace around inside of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError
from ..ir import dtypes as dt
from ..ir.graph import Graph
from ..ir.liveness import live_equations
from ..transforms.jvp import jvp_graph
from ..transforms.split import pullback_graph
from .arguments import active_leaves, choose
from .inner import run_graph
from .placed import compiled_where_placed, inlined_where_placed
from .point import Point, fit_tangents, split_at, trace_at
from .source import user_line


@compiled_where_placed
def jvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Return the value of `fn` and its derivative along a direction (forward mode).

    Parameters
    ----------
    fn : callable
        Returns arrays and numbers in nested containers (with `has_aux`: a pair of that
        and anything).
    primals : tuple or list
        Its positional arguments: nested containers of arrays and numbers.
    tangents : tuple or list
        The direction, of the same structure, shapes and dtypes. Python numbers fit any
        float dtype. Of integers and booleans it is zeros of their dtype (or of JAX's
        ``float0``).
    has_aux : bool

    Returns
    -------
    tuple
        ``(out, tangent_out)``, or ``(out, tangent_out, aux)``. Tangents of integer
        results are zeros of their dtype.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        When the tangents do not fit the primals; names the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    point = _point(fn, _as_sequence(primals, "primals"), has_aux, "jvp")
    leaves = fit_tangents(point, _as_sequence(tangents, "tangents"))
    graph, indices = _jvp_graph(point)
    given = [leaves[i] for i in point.active]
    outs = run_graph(graph, [*point.operands, *given])
    n = len(point.graph.outvars)
    result, aux = point.values(outs[:n])
    tangent = point.result_tangents(outs[n:], indices)
    return (result, tangent, aux) if has_aux else (result, tangent)


def _jvp_graph(point: Point) -> tuple[Graph, list[int]]:
    """Return the graph without tangents of aux, and which outputs have tangents."""
    full = jvp_graph(point.graph, point.active)
    n = len(point.graph.outvars)
    avals = point.graph.out_avals[: point.n_outs]
    indices = [i for i, a in enumerate(avals) if dt.is_inexact(a.dtype)]
    outs = full.outvars[: n + len(indices)]
    eqns = live_equations(full.eqns, outs)
    return Graph(full.name, full.invars, outs, eqns), indices


@inlined_where_placed
def linearize(
    fn: Callable[..., Any], *primals: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """Return the value of `fn` and its derivative as a function of the direction.

    Parameters
    ----------
    fn : callable
        Returns arrays and numbers in nested containers (with `has_aux`: a pair of that
        and anything).
    *primals : nested containers of arrays and numbers
        Its positional arguments.
    has_aux : bool

    Returns
    -------
    tuple
        ``(out, jvp_fun)``, or ``(out, jvp_fun, aux)``; ``jvp_fun(*tangents)`` gives the
        tangents of the result, and computes what is linear in its arguments only.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        By ``jvp_fun``, when the tangents do not fit the primals; names the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> value, derivative = linearize(np.square, 3.0)
    >>> derivative(1.0), derivative(0.5)
    (np.float64(6.0), np.float64(3.0))
    """
    result, aux, linear = split_at(_point(fn, primals, has_aux, "linearize"))

    def jvp_fun(*tangents: Any) -> Any:
        return linear.push(tangents)

    return (result, jvp_fun, aux) if has_aux else (result, jvp_fun)


@inlined_where_placed
def vjp(
    fn: Callable[..., Any], *primals: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """Return the value of `fn` and the function that pulls cotangents back.

    Parameters
    ----------
    fn : callable
        Returns arrays and numbers in nested containers (with `has_aux`: a pair of that
        and anything).
    *primals : nested containers of arrays and numbers
        Its positional arguments.
    has_aux : bool

    Returns
    -------
    tuple
        ``(out, vjp_fun)``, or ``(out, vjp_fun, aux)``; ``vjp_fun(cotangent)`` takes one
        tree like ``out`` and gives a tuple of one tree per primal. Cotangents of
        integers and booleans are zeros of their dtype. For complex values they pair as
        ``Re Σ w·v``, without conjugation, as in JAX.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        By ``vjp_fun``, when the cotangent does not fit the result; names the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> value, pull = vjp(lambda x, y: x * y, 3.0, 4.0)
    >>> value, pull(1.0)
    (np.float64(12.0), (np.float64(4.0), np.float64(3.0)))
    """
    result, aux, linear = split_at(_point(fn, primals, has_aux, "vjp"))
    transposed = pullback_graph(linear.split)

    def vjp_fun(cotangents: Any) -> tuple[Any, ...]:
        return linear.pull(transposed, cotangents)

    return (result, vjp_fun, aux) if has_aux else (result, vjp_fun)


def _point(
    fn: Callable[..., Any], primals: Sequence[Any], has_aux: bool, what: str
) -> Point:
    """Trace `fn` where its derivative is taken; its results are arrays and numbers."""
    if not callable(fn):
        raise ArgumentError(f"{what} takes a function, not {fn!r}", source=user_line())
    args = tuple(primals)
    chosen = choose(fn, args, {}, range(len(args)), None)
    active = active_leaves(chosen, what, allow_int=True)
    point = trace_at(fn, chosen, active, has_aux)
    point.out_avals(what)
    return point


def _as_sequence(x: Any, name: str) -> tuple[Any, ...]:
    if type(x) not in (tuple, list):
        raise ArgumentError(
            f"the {name} of jvp are a tuple or a list, one per argument, not a "
            f"{type(x).__name__}",
            source=user_line(),
            hint=f"write ({name[:-1]},)",
        )
    return tuple(x)
