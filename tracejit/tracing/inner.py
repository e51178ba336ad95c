"""Inner traces: a function traced for a transformation or as a body of control flow.

The function becomes a graph whose inputs are its arguments, then the values of the
trace around it that it used. The transformed graph is run where the function was called
(`run_graph`): inlined into the trace around, or in NumPy when there is none.

Values of arguments that are known stay known inside, so that outside of `jit` Python
may branch on what is differentiated (define by run).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import config
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Atom, Graph
from ..ir.interp import evaluate
from ..ir.primitive import Array, Effect
from ..records import dataclass
from .creation import taking_lists, wrapped_creation
from .numpy_rules import RULES
from .storage import Kind, Storage, blank
from .trace import Role, Trace, current_trace, run_traced
from .tracer import Tracer
from .tree import TreeSpec, flatten, unflatten

ONCE = frozenset({Effect.ORDERED, Effect.IO})  # what must not happen twice


@dataclass(frozen=True)
class Argument:
    """What an inner function is given for one leaf.

    Parameters
    ----------
    aval : ShapedArray
    kind : Kind
    value : numpy.ndarray, optional
        Its value, when Python may ask for it.
    depends : frozenset of int
        Arguments of the jitted function around that decide the value.
    origin : Tracer, optional
        The value of the trace around that is passed.
    """

    aval: ShapedArray
    kind: Kind
    value: np.ndarray | None = None
    depends: frozenset[int] = frozenset()
    origin: Tracer | None = None


@dataclass(frozen=True)
class Static:
    """A result leaf that was not traced."""

    value: object


@dataclass(frozen=True)
class InnerTrace:
    """A function traced at some arguments.

    Parameters
    ----------
    graph : Graph
        Inputs: one per argument, then one per captured value. Outputs: the traced
        result leaves.
    captured : list of Tracer
        Values of the trace around, in the order of the inputs.
    result : list of (int or Static)
        The function's result leaves: graph outputs, or objects as they were.
    kinds : list of Kind
        Per graph output.
    spec : TreeSpec
        Of the result.
    """

    graph: Graph
    captured: list[Tracer]
    result: list[int | Static]
    kinds: list[Kind]
    spec: TreeSpec

    def rebuild(self, values: Sequence[Any]) -> Any:
        """Return the result with `values` in place of the graph's outputs."""
        leaves = [r.value if isinstance(r, Static) else values[r] for r in self.result]
        return unflatten(self.spec, leaves)


def argument_like(x: Any) -> Argument:
    """Describe the leaf `x` (an array, a number or a tracer) as an argument."""
    if isinstance(x, Tracer):
        value = x.shadow if x.storage.known else None
        return Argument(x.aval, x.kind, value, x.storage.depends, x)
    array = np.asarray(x)
    aval = ShapedArray(array.shape, dt.canonical(array.dtype))
    return Argument(aval, kind_of(x), array)


def kind_of(x: Any) -> Kind:
    """Tell what the leaf `x` is to Python."""
    if isinstance(x, Tracer):
        return x.kind
    if isinstance(x, np.ndarray):
        return Kind.ARRAY
    return Kind.PYTHON if type(x) in (int, float, complex, bool) else Kind.SCALAR


@taking_lists
def trace_inner(
    call: Callable[[list[Any]], Any],
    arguments: Sequence[Argument],
    name: str,
    role: Role,
    lift_results: bool = False,
    orders: int | None = None,
) -> InnerTrace:
    """Trace `call` on tracers standing for `arguments`.

    Parameters
    ----------
    call : callable
        Takes the list of tracers.
    arguments : sequence of Argument
    name : str
        Name of the graph.
    role : Role
        What the trace is for.
    lift_results : bool
        Make every result leaf an output of the graph, constants too.
    orders : int, optional
        How many derivatives will be taken of the graph; unless given, as many as of
        the trace around, and one more if that is what this one is for.
    """
    trace = Trace(name, RULES, parent=current_trace(), role=role, orders=orders)
    tracers = [_tracer(trace, x) for x in arguments]
    with wrapped_creation():
        result = run_traced(trace, lambda: call(list(tracers)))
    trace.active = True  # reading results records views
    try:
        return _collect(trace, result, lift_results)
    finally:
        trace.active = False


_FROZEN = "it is the argument of a {role} function, whose caller keeps it"


def _tracer(trace: Trace, x: Argument) -> Tracer:
    var = trace.builder.input(x.aval)
    if x.origin is not None:
        trace.origins[var] = x.origin
    why = _FROZEN.format(role=trace.role.value)
    is_known = x.value is not None
    storage = Storage(trace, var, known=is_known, frozen=why, depends=x.depends)
    shadow = blank(x.aval) if x.value is None else x.value
    return Tracer(storage, (), shadow, x.kind)


def _collect(trace: Trace, result: object, lift_results: bool) -> InnerTrace:
    leaves, spec = flatten(result)
    atoms: list[Atom] = []
    kinds: list[Kind] = []
    plan: list[int | Static] = []
    for x in leaves:
        if lift_results or isinstance(x, Tracer):
            lifted = trace.lift(x)
            plan.append(len(atoms))
            atoms.append(lifted.read())
            kinds.append(lifted.kind)
        else:
            plan.append(Static(x))
    captured = [v.tracer for v in trace.outer_values]
    return InnerTrace(trace.builder.build(atoms), captured, plan, kinds, spec)


def run_graph(graph: Graph, operands: Sequence[Any]) -> list[Any]:
    """Run a graph where the caller is: in the running trace, or in NumPy.

    Parameters
    ----------
    graph : Graph
    operands : sequence of array_like or Tracer
        Converted to the dtypes of the inputs.

    Returns
    -------
    list of numpy.ndarray or Tracer
    """
    trace = current_trace()
    if trace is None:
        arrays = [
            np.asarray(x, a.dtype)
            for x, a in zip(operands, graph.in_avals, strict=True)
        ]
        arrays_out = [np.array(o) for o in evaluate(graph, arrays)]
        _look_for_nans(graph, arrays, arrays_out)
        return arrays_out
    lifted = [trace.lift(x) for x in operands]
    atoms = [
        x.convert(aval.dtype) for x, aval in zip(lifted, graph.in_avals, strict=True)
    ]
    outs = trace.inline(graph, atoms)
    values = known_results(trace, graph, lifted)
    if values is None:
        return [trace.result(x) for x in outs]
    return [trace.result(x, v) for x, v in zip(outs, values, strict=True)]


def _look_for_nans(
    graph: Graph, arrays: Sequence[Array], outs: Sequence[Array]
) -> None:
    """Raise `NonFiniteError` if a switch asks for that, and results hold NaN."""
    mode = config.current().nans
    if mode == "off":
        return
    # What explains them is loaded where it is asked for.
    from .nonfinite import explain_nonfinite, is_bad  # noqa: PLC0415

    if not any(is_bad(x, mode == "nan").any() for x in outs):
        return
    finding = explain_nonfinite(graph.name, graph, arrays, mode == "nan")
    assert finding is not None
    raise finding.error()


def known_results(
    trace: Trace, graph: Graph, operands: Sequence[Tracer]
) -> Sequence[Array] | None:
    """Return what a graph gives, if Python may know it and nothing happens twice."""
    if not trace.concrete or not all(x.is_known for x in operands):
        return None
    pure = without_effects(graph)
    if pure.effects & ONCE:
        return None
    avals = graph.in_avals
    pairs = zip(operands, avals, strict=True)
    return evaluate(pure, [np.asarray(x.shadow, a.dtype) for x, a in pairs])


def without_effects(graph: Graph) -> Graph:
    """Return the graph less equations that give nothing but effects."""
    if not graph.effects & ONCE:
        return graph
    eqns = [e for e in graph.eqns if e.outvars]
    return Graph(graph.name, graph.invars, graph.outvars, eqns)


def with_kind(x: Any, kind: Kind) -> Any:
    """Return a rank-0 value as a scalar, unless it is to be an array."""
    if kind is Kind.ARRAY:
        return x
    return x.as_scalar(Kind.SCALAR) if isinstance(x, Tracer) else x[()]
