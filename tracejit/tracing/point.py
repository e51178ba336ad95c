"""A function traced at the point where it is differentiated.

`trace_at` traces it once; `Point` says which inputs and outputs of its graph have
derivatives and makes the function's results of the graph's. `Split` of the graph into
values and a linear map is `split_at`: the values are computed there, the map is kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import config
from ..errors import DTypeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Graph
from ..ir.rerolling import Worth, reroll
from ..records import dataclass
from ..transforms.split import Split, split_graph
from .arguments import Chosen, fit_leaves, function_name, spread, zeros
from .composites import with_composites
from .inner import InnerTrace, Static, kind_of, run_graph, trace_inner, with_kind
from .source import user_line
from .trace import Role
from .tree import TreeSpec, format_path, paths, unflatten

# Short loops are differentiated as they are: their values stay in registers.
LONG = Worth(elementwise=2000, others=2000, is_contracted=False)


@dataclass(frozen=True)
class Point:
    """A function traced at some arguments.

    Parameters
    ----------
    chosen : Chosen
        The differentiated arguments.
    active : list of int
        Which of their leaves are float or complex: inputs of `graph`.
    inner : InnerTrace
    graph : Graph
        Of the function, with composites.
    spec : TreeSpec
        Of the result without its aux.
    has_aux : bool
        The function returned a pair of it and anything.
    """

    chosen: Chosen
    active: list[int]
    inner: InnerTrace
    graph: Graph
    spec: TreeSpec
    has_aux: bool

    @property
    def leaves(self) -> list[int | Static]:
        """The result's leaves without those of aux."""
        return self.inner.result[: self.spec.size]

    @property
    def n_outs(self) -> int:
        """Number of outputs of the graph that are not aux."""
        return sum(not isinstance(x, Static) for x in self.leaves)

    @property
    def operands(self) -> list[Any]:
        """What the graph is run on."""
        return [*self.chosen.leaves, *self.inner.captured]

    @property
    def out_names(self) -> list[str]:
        """Per result leaf, how messages name it."""
        return [format_path(p, "the result") for p in paths(self.spec)]

    def out_avals(self, what: str) -> list[ShapedArray]:
        """Return shapes and dtypes of the result's leaves.

        Raises
        ------
        DTypeError
            When a leaf is not a number or an array.
        """
        return [
            self._static_aval(x, name, what)
            if isinstance(x, Static)
            else self.graph.out_avals[x]
            for x, name in zip(self.leaves, self.out_names, strict=True)
        ]

    def _static_aval(self, x: Static, name: str, what: str) -> ShapedArray:
        value = x.value
        if isinstance(value, np.ndarray | np.generic | int | float | complex):
            array = np.asarray(value)
            return ShapedArray(array.shape, dt.canonical(array.dtype))
        raise DTypeError(
            f"{what} needs a function that returns arrays and numbers, but {name} is "
            f"a {type(value).__name__}",
            source=user_line(),
            hint="return it as aux: (result, aux) with has_aux=True",
        )

    def values(self, outs: Sequence[Any]) -> tuple[Any, Any]:
        """Return the result and the aux, None without, from the graph's outputs."""
        kinds = self.inner.kinds
        values = [with_kind(x, k) for x, k in zip(outs, kinds, strict=True)]
        tree = self.inner.rebuild(values)
        return tree if self.has_aux else (tree, None)

    def result_tangents(self, found: Sequence[Any], indices: Sequence[int]) -> Any:
        """Return the tree of the result's tangents; zeros for others than `indices`."""
        wanted = dict(zip(indices, found, strict=True))
        avals = self.out_avals("differentiation")
        out = []
        for x, aval in zip(self.leaves, avals, strict=True):
            if isinstance(x, Static):
                out.append(zeros(aval, kind_of(x.value)))
            elif x in wanted:
                out.append(with_kind(wanted[x], self.inner.kinds[x]))
            else:
                out.append(zeros(aval, self.inner.kinds[x]))
        return unflatten(self.spec, out)


def trace_at(
    fn: Callable[..., Any], chosen: Chosen, active: list[int], has_aux: bool
) -> Point:
    """Trace `fn` at the chosen arguments.

    Raises
    ------
    TraceError
        With `has_aux`, when it does not return a pair.
    """
    inner = trace_inner(
        lambda leaves: chosen.call(fn, leaves),
        chosen.arguments(),
        function_name(fn),
        Role.DIFFERENTIATED,
    )
    spec = inner.spec
    if has_aux:
        if spec.kind is not tuple or len(spec.children) != 2:
            raise TraceError(
                f"with has_aux=True {function_name(fn)} must return a pair "
                f"(value, aux), not {kind_name(spec)}",
                source=user_line(),
            )
        spec = spec.children[0]
    graph = inner.graph
    if config.get("reroll"):
        graph, _ = reroll(graph, LONG)
    return Point(chosen, active, inner, with_composites(graph), spec, has_aux)


def kind_name(spec: TreeSpec) -> str:
    """Return what a result is, for messages."""
    if spec.kind is None:
        return "one value"
    if spec.kind is type(None):
        return "None"
    return f"a {spec.kind.__name__} of {len(spec.children)}"


@dataclass(frozen=True)
class LinearMap:
    """The derivative of a function at a point, with the values that it needs.

    Parameters
    ----------
    point : Point
    split : Split
    residuals : list
        Computed values: arrays of their own, or tracers.
    """

    point: Point
    split: Split
    residuals: list[Any]

    @property
    def active_outs(self) -> list[int]:
        """Outputs of the graph that depend on the arguments."""
        return [i for i, a in enumerate(self.split.active) if a]

    def push(self, tangents: Sequence[object]) -> Any:
        """Return the tangents of the result.

        Parameters
        ----------
        tangents : sequence
            One tree per argument.
        """
        leaves = fit_tangents(self.point, tangents)
        given = [leaves[i] for i in self.point.active]
        found = run_graph(self.split.tangent, [*self.residuals, *given])
        return self.point.result_tangents(found, self.active_outs)

    def pull(self, graph: Graph, cotangents: object) -> tuple[Any, ...]:
        """Return the cotangents of the arguments.

        Parameters
        ----------
        graph : Graph
            The transposed derivative.
        cotangents : nested containers
            One tree like the result.
        """
        point = self.point
        leaves = fit_leaves(
            point.spec,
            point.out_avals("vjp"),
            point.out_names,
            cotangents,
            "cotangent",
            "output",
        )
        by_output = {
            out: x
            for out, x in zip(point.leaves, leaves, strict=True)
            if not isinstance(out, Static)
        }
        given = [by_output[i] for i in self.active_outs]
        found = run_graph(graph, [*self.residuals, *given])
        trees = unflatten(
            point.chosen.spec, spread(found, point.active, point.chosen.leaves)
        )
        return tuple(trees)


def fit_tangents(point: Point, tangents: Sequence[object]) -> list[Any]:
    """Return the leaves of the tangents of the chosen arguments."""
    chosen, n = point.chosen, len(point.chosen.leaves)
    avals = point.inner.graph.in_avals[:n]
    return fit_leaves(
        chosen.spec, avals, chosen.names, list(tangents), "tangent", "primal"
    )


def split_at(point: Point) -> tuple[Any, Any, LinearMap]:
    """Compute the values at a point, and keep the derivative there.

    Returns
    -------
    result, aux, LinearMap
    """
    split = split_graph(point.graph, point.active, point.n_outs)
    outs = run_graph(split.primal, point.operands)
    n = len(point.graph.outvars)
    result, aux = point.values(outs[:n])
    return result, aux, LinearMap(point, split, outs[n:])
