"""The verifier: what is true of every graph between passes.

V1  Every operand is an input, or bound by an earlier equation of this graph.
V2  Every variable is bound once.
V3  The avals of an equation's results are what its primitive's `abstract_eval` gives.
V4  An equation has just the params its primitive declares, each of the declared kind.
V5  The primitive is the one registered under its name.
V6  Literals have rank 0.
V7  Elementwise operands have the result's shape or rank 0.
V8  Sub-graphs are verified and close over nothing.
V9  Graph outputs are inputs, literals, or bound by an equation.
V10 Extents are ints and not negative; dtypes are supported ones.
"""

from collections.abc import Callable
from typing import NoReturn

import numpy as np

from ..errors import TracejitError, VerifyError
from .aval import ShapedArray
from .dtypes import DTYPE_TO_NAME
from .graph import Atom, Eqn, Graph, Literal, Var, subgraphs
from .primitive import REGISTRY, ArrayConstant, HostObject, Kind, Param, ParamKind
from .printer import format_eqn


def verify(graph: Graph) -> Graph:
    """Check every invariant and return `graph`.

    Raises
    ------
    VerifyError
        Naming the invariant, the equation with its neighbours, and the user's line.
    """
    bound: set[Var] = set()
    for var in graph.invars:
        if var in bound:
            _fail(graph, None, "V2", "an input is bound twice")
        bound.add(var)
        _check_aval(graph, None, var)
    for index, eqn in enumerate(graph.eqns):
        _check_operands(graph, index, eqn, bound)
        _check_declaration(graph, index, eqn)
        _check_types(graph, index, eqn)
        _check_subgraphs(graph, index, eqn)
        for var in eqn.outvars:
            if var in bound:
                _fail(graph, index, "V2", "a result is bound twice")
            bound.add(var)
            _check_aval(graph, index, var)
    for x in graph.outvars:
        if isinstance(x, Var) and x not in bound:
            _fail(graph, None, "V9", "an output is not bound")
    return graph


def _check_operands(graph: Graph, index: int, eqn: Eqn, bound: set[Var]) -> None:
    for x in eqn.invars:
        if isinstance(x, Var) and x not in bound:
            _fail(graph, index, "V1", "an operand is not bound before its use")
        if isinstance(x, Literal) and x.aval.shape:
            _fail(graph, index, "V6", f"a literal has shape {x.aval.shape}")


def _check_aval(graph: Graph, index: int | None, var: Var) -> None:
    if var.aval.dtype not in DTYPE_TO_NAME or any(
        not _is_int(n) or n < 0 for n in var.aval.shape
    ):
        _fail(graph, index, "V10", f"{var.aval} is no aval that can be computed")


def _check_subgraphs(graph: Graph, index: int, eqn: Eqn) -> None:
    for sub in subgraphs(eqn.params):
        try:
            verify(sub)
        except VerifyError as error:
            _fail(graph, index, "V8", error.message)


def _check_declaration(graph: Graph, index: int, eqn: Eqn) -> None:
    primitive = eqn.primitive
    if REGISTRY.get(primitive.name) is not primitive:
        _fail(graph, index, "V5", f"{primitive.name} is not the registered primitive")
    if set(eqn.params) != set(primitive.params):
        expected = sorted(primitive.params)
        _fail(graph, index, "V4", f"params {sorted(eqn.params)}, expected {expected}")
    for name, kind in primitive.params.items():
        if not KIND_TESTS[kind](eqn.params[name]):
            got = type(eqn.params[name]).__name__
            _fail(graph, index, "V4", f"param {name} is a {got}, expected {kind.value}")


def _check_types(graph: Graph, index: int, eqn: Eqn) -> None:
    try:
        avals = eqn.primitive.out_avals([x.aval for x in eqn.invars], eqn.params)
    except TracejitError as error:
        _fail(graph, index, "V3", str(error))
    have = tuple(v.aval for v in eqn.outvars)
    if have != avals:
        _fail(graph, index, "V3", f"results are {list(have)}, expected {list(avals)}")
    if eqn.primitive.kind is Kind.ELEMENTWISE:
        shape = have[0].shape
        if any(x.aval.shape not in ((), shape) for x in eqn.invars):
            _fail(graph, index, "V7", f"an operand's shape is neither () nor {shape}")


def _is_ints(value: Param) -> bool:
    return isinstance(value, tuple) and all(_is_int(v) for v in value)


def _is_attributes(value: Param) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and (_is_int(pair[1]) or isinstance(pair[1], str))
        for pair in value
    )


def _is_int(value: Param) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_avals(value: Param) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, ShapedArray) for v in value)


def _is_graphs(value: Param) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, Graph) for v in value)


KIND_TESTS: dict[ParamKind, Callable[[Param], bool]] = {
    ParamKind.BOOL: lambda v: isinstance(v, bool),
    ParamKind.INT: _is_int,
    ParamKind.FLOAT: lambda v: isinstance(v, float),
    ParamKind.STR: lambda v: isinstance(v, str),
    ParamKind.DTYPE: lambda v: isinstance(v, np.dtype),
    ParamKind.INTS: _is_ints,
    ParamKind.PAIRS: lambda v: isinstance(v, tuple) and all(_is_ints(p) for p in v),
    ParamKind.ARRAY: lambda v: isinstance(v, ArrayConstant),
    ParamKind.GRAPH: lambda v: isinstance(v, Graph),
    ParamKind.GRAPHS: _is_graphs,
    ParamKind.ATTRIBUTES: _is_attributes,
    ParamKind.HOST: lambda v: isinstance(v, HostObject),
    ParamKind.AVALS: _is_avals,
    ParamKind.OPTIONAL_INTS: lambda v: v is None or _is_ints(v),
}


def _fail(graph: Graph, index: int | None, number: str, message: str) -> NoReturn:
    context = "" if index is None else "\n" + _neighbours(graph, index)
    source = None
    if index is not None and graph.eqns[index].source:
        source = ", ".join(graph.eqns[index].source)
    raise VerifyError(
        f"invariant {number} is broken in @{graph.name}: {message}{context}",
        equation=index,
        source=source,
    )


def _neighbours(graph: Graph, index: int) -> str:
    scope: list[Atom] = list(graph.invars)
    rows = []
    for i, eqn in enumerate(graph.eqns[: index + 2]):
        if i >= index - 1:
            mark = ">" if i == index else " "
            names = [v for v in scope if isinstance(v, Var)]
            rows.append(f"  {mark} {format_eqn(eqn, names)}")
        scope.extend(eqn.outvars)
    return "\n".join(rows)
