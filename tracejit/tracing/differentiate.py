"""`grad` and `value_and_grad`: trace, transform the graph, run it where it was called.

Inside `jit` the transformed graph is inlined into the trace around it; outside it runs
in NumPy, and tracers carry values, so Python may branch on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import config
from ..errors import DTypeError, ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Atom, Graph
from ..ir.interp import evaluate
from ..ir.ops.elementwise import stop_gradient_p
from ..ir.raising import raise_graph
from ..transforms.vjp import value_and_grad_graph
from .creation import wrapped_creation
from .numpy_rules import RULES
from .source import user_line
from .storage import Kind, Storage
from .trace import Trace, current_trace, run_traced
from .tracer import Tracer
from .tree import TreeSpec, flatten, paths, unflatten


@dataclass(frozen=True)
class InnerTrace:
    """A function traced for a transformation.

    Parameters
    ----------
    graph : Graph
        Inputs: the differentiated leaves and the values captured from outside, in the
        order they were met. Outputs: the function's traced result leaves.
    wrt : tuple of int
        Graph inputs that are the differentiated leaves, in order.
    operands : list
        One value per graph input: an array, a scalar, or a tracer of the trace around.
    result : list
        The function's result leaves: graph output indices or plain objects.
    kinds : list of Kind
        Per graph output.
    spec : TreeSpec
    """

    graph: Graph
    wrt: tuple[int, ...]
    operands: list[Any]
    result: list["int | Static"]
    kinds: list[Kind]
    spec: TreeSpec


@dataclass(frozen=True)
class Static:
    """A result leaf that was not traced."""

    value: object


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

        inner = trace_inner(call, leaves, getattr(fn, "__name__", "f"))
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


def trace_inner(
    call: Callable[[list[Any]], Any], leaves: list[Any], name: str
) -> InnerTrace:
    """Trace `call` on tracers standing for `leaves`."""
    parent = current_trace()
    trace = Trace(name, RULES, parent=parent, concrete=parent is None)
    tracers = [_inner_argument(trace, parent, x) for x in leaves]
    variables = [t.storage.atom for t in tracers]
    with wrapped_creation():
        result = run_traced(trace, lambda: call(list(tracers)))
    trace.active = True
    try:
        return _collect(trace, variables, leaves, result)
    finally:
        trace.active = False


def _inner_argument(trace: Trace, parent: Trace | None, x: Any) -> Tracer:
    if isinstance(x, Tracer):
        assert parent is not None
        var = trace.builder.input(x.aval)
        storage = Storage(trace, var, known=x.storage.known, frozen=_OUTER)
        return Tracer(storage, (), x.shadow, x.kind, x.depends)
    array = np.asarray(x)
    var = trace.builder.input(ShapedArray(array.shape, dt.canonical(array.dtype)))
    storage = Storage(trace, var, known=parent is None, frozen=_OUTER)
    kind = Kind.ARRAY if isinstance(x, np.ndarray) else Kind.SCALAR
    if type(x) in (int, float, complex, bool):
        kind = Kind.PYTHON
    return Tracer(storage, (), array, kind)


_OUTER = "it is the argument of a differentiated function, whose caller keeps it"


def _collect(
    trace: Trace, variables: list[Any], leaves: list[Any], result: object
) -> InnerTrace:
    out_leaves, spec = flatten(result)
    atoms: list[Atom] = []
    kinds: list[Kind] = []
    plan: list[int | Static] = []
    for x in out_leaves:
        if isinstance(x, Tracer):
            lifted = trace.lift(x)
            plan.append(len(atoms))
            atoms.append(lifted.read())
            kinds.append(lifted.kind)
        else:
            plan.append(Static(x))
    graph = trace.builder.build(atoms)
    outer = {v.var: v.tracer for v in trace.outer_values}
    given = dict(zip(variables, leaves, strict=True))
    operands = [given[v] if v in given else outer[v] for v in graph.invars]
    position = {v: i for i, v in enumerate(graph.invars)}
    wrt = tuple(position[v] for v in variables)
    return InnerTrace(graph, wrt, operands, plan, kinds, spec)


def _evaluate(
    inner: InnerTrace, leaves: list[Any], has_aux: bool
) -> tuple[Any, list[Any]]:
    """Run the value-and-gradient graph; return the value tree and gradient leaves."""
    first = inner.result[0] if inner.result else Static(None)
    _check_output(inner, first, has_aux)
    if isinstance(first, Static):
        return _rebuild(inner, []), [_zero_like(x) for x in leaves]
    active = [i for i in inner.wrt if dt.is_inexact(inner.graph.in_avals[i].dtype)]
    raised = raise_graph(inner.graph) if config.get("composites") else inner.graph
    graph = value_and_grad_graph(raised, active)
    outs = _run(graph, inner.operands)
    n = len(inner.graph.outvars)
    values = [_kinded(x, k) for x, k in zip(outs[:n], inner.kinds, strict=True)]
    found = dict(zip(active, outs[n:], strict=True))
    grads = [
        _like_leaf(found[i], x) if i in found else _zero_like(x)
        for i, x in zip(inner.wrt, leaves, strict=True)
    ]
    return _rebuild(inner, values), grads


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


def _run(graph: Graph, operands: list[Any]) -> list[Any]:
    trace = current_trace()
    if trace is None:
        arrays = [
            np.asarray(x, a.dtype)
            for x, a in zip(operands, graph.in_avals, strict=True)
        ]
        return [np.array(o) for o in evaluate(graph, arrays)]
    atoms = []
    for x, aval in zip(operands, graph.in_avals, strict=True):
        atoms.append(trace.lift(x).convert(aval.dtype))
    return [trace.result(a) for a in trace.builder.inline(graph, atoms)]


def _kinded(x: Any, kind: Kind) -> Any:
    if isinstance(x, Tracer):
        return x if kind is Kind.ARRAY else x.as_scalar(Kind.SCALAR)
    return x if kind is Kind.ARRAY else x[()]


def _like_leaf(gradient: Any, leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray) and not isinstance(leaf, Tracer):
        return gradient
    if isinstance(leaf, Tracer) and leaf.kind is Kind.ARRAY:
        return gradient
    return _kinded(gradient, Kind.SCALAR)


def _zero_like(x: Any) -> Any:
    if isinstance(x, Tracer):
        return np.zeros_like(x)
    if isinstance(x, np.ndarray):
        return np.zeros_like(x)
    return np.asarray(x).dtype.type(0)


def _rebuild(inner: InnerTrace, values: list[Any]) -> Any:
    leaves = [r.value if isinstance(r, Static) else values[r] for r in inner.result]
    return unflatten(inner.spec, leaves)
