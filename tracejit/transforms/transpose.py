"""Transposition: walk linear equations backwards, giving each operand its cotangent.

Needs equations that are linear in some variables (what `linearize` emits); their other
operands are values known to the builder. Elementwise equations are transposed through
the partials of their linear operands, calls and conditionals through their transposed
sub-graphs, others by the primitive's `transpose` rule. A cotangent of None is zero.

Before → after, for ``%dz = mul %dx, %y`` (linear in ``%dx``)::

    %ct_x: f32[3] = mul %ct_z, %y
"""

from collections.abc import Callable, Sequence

from ..errors import InternalError, UnsupportedError
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Literal, Var, subgraph
from ..ir.liveness import live_equations
from ..ir.ops.composite import composite_p
from ..ir.ops.control import call_p, cond_p
from ..ir.ops.reduce import reduce_sum_p
from ..ir.ops.shape import broadcast_to, full_like
from ..ir.primitive import Linearity, Partial, Primitive
from .composites import pick_transpose
from .linearize import (
    Derivatives,
    Mask,
    Maybe,
    Transposed,
    add_maybe,
    new_builder,
    split_linear,
    spread,
)

TransposeSubgraph = Callable[
    [Builder, Eqn, Sequence[Maybe], Sequence[bool], Derivatives], Sequence[Maybe]
]


def transpose_equations(
    b: Builder,
    tangents: Sequence[Maybe],
    outs: Sequence[Maybe],
    cotangents: Sequence[Maybe],
    known: Derivatives,
) -> list[Maybe]:
    """Replace what `b` computes from `tangents` by its transpose.

    Parameters
    ----------
    b : Builder
        Holds the linear equations; they are taken out.
    tangents : sequence of Var or None
        The linear inputs.
    outs : sequence of Var, Literal or None
        Linear results.
    cotangents : sequence of Var, Literal or None
        One per result, of its aval.
    known : Derivatives
        Sub-graphs transposed already.

    Returns
    -------
    list of Var, Literal or None
        The cotangent of each linear input.

    Raises
    ------
    UnsupportedError
        When an equation is not linear in its linear operands.
    """
    values, derivative, linear = split_linear(b.eqns, tangents)
    b.eqns[:] = values
    found: dict[Var, Atom] = {}
    for x, ct in zip(outs, cotangents, strict=True):
        if x is not None and ct is not None:
            _accumulate(b, found, x, ct, linear)
    for eqn in reversed(derivative):
        cts = [found.get(v) for v in eqn.outvars]
        if any(c is not None for c in cts):
            b.source = eqn.source
            is_linear = [isinstance(x, Var) and x in linear for x in eqn.invars]
            start = len(b.eqns)
            operand_cts = _transpose_eqn(b, eqn, cts, is_linear, known)
            read = [x for e in b.eqns[start:] for x in e.invars]
            if _is_not_linear(eqn, is_linear, [*read, *operand_cts], linear):
                raise _not_linear(eqn)
            for x, ct in zip(eqn.invars, operand_cts, strict=True):
                if ct is not None:
                    _accumulate(b, found, x, ct, linear)
    return [found.get(t) if isinstance(t, Var) else None for t in tangents]


def _is_not_linear(
    eqn: Eqn, is_linear: Sequence[bool], read: Sequence[Maybe], linear: set[Var]
) -> bool:
    """Tell whether an equation is more than linear in its linear operands.

    The partials of an elementwise one then read tangents; a product has two of them.
    Derivatives that are declared are linear; rules of custom functions may not be.
    """
    if eqn.primitive.partials is not None:
        return any(isinstance(x, Var) and x in linear for x in read)
    return eqn.primitive.linearity is Linearity.MULTI and sum(is_linear) > 1


def _not_linear(eqn: Eqn) -> UnsupportedError:
    return UnsupportedError(
        f"a derivative rule uses {eqn.primitive.name} on tangents in a way that is "
        "not linear",
        source=", ".join(eqn.source) or None,
        hint="a jvp rule may add tangents, and multiply them by values alone",
    )


def _accumulate(
    b: Builder, found: dict[Var, Atom], x: Atom, ct: Atom, linear: set[Var]
) -> None:
    """Add `ct` to the cotangent of `x`; what is not linear has none."""
    if isinstance(x, Literal) or x not in linear:
        return
    if ct.aval != x.aval:
        raise InternalError(f"a cotangent {ct.aval} was found for a value {x.aval}")
    found[x] = add_maybe(b, found.get(x), ct)


def _transpose_eqn(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    p = eqn.primitive
    rule = SUBGRAPH_RULES.get(p)
    if rule is not None:
        return rule(b, eqn, cts, is_linear, known)
    if p.partials is not None:
        return _transpose_elementwise(b, eqn, cts[0], is_linear)
    if p.transpose is None:
        raise InternalError(f"the derivative used {p.name}, which has no transpose")
    return p.transpose(b, cts, eqn.invars, is_linear, eqn.params)


def _transpose_elementwise(
    b: Builder, eqn: Eqn, ct: Maybe, is_linear: Sequence[bool]
) -> list[Maybe]:
    """Multiply by the partials of the linear operands; they hold no linear values."""
    assert eqn.primitive.partials is not None
    assert ct is not None
    out = eqn.outvars[0]

    def cotangent(x: Atom, partial: Partial | None, is_lin: bool) -> Maybe:
        if not is_lin or partial is None:
            return None
        part = partial(b, ct, out, *eqn.invars)
        return None if part is None else sum_to(b, part, x, out)

    rows = zip(eqn.invars, eqn.primitive.partials, is_linear, strict=True)
    return [cotangent(*row) for row in rows]


def sum_to(b: Builder, ct: Atom, x: Atom, out: Atom) -> Atom:
    """Sum a cotangent of `out` down to an operand of rank 0 that was broadcast."""
    ct = broadcast_to(b, ct, out.aval.shape)
    if ct.aval.shape == x.aval.shape:
        return ct
    return b.emit(reduce_sum_p, ct, axes=tuple(range(ct.aval.ndim)))


# --- sub-graphs -------------------------------------------------------------------


def transpose_graph(
    graph: Graph, n_residuals: int, mask: Mask, known: Derivatives
) -> Transposed:
    """Transpose a graph that is linear in its inputs after `n_residuals`.

    Parameters
    ----------
    graph : Graph
    n_residuals : int
    mask : tuple of bool
        Which outputs have a cotangent.
    known : Derivatives
    """
    key = graph, n_residuals, mask
    if key not in known.transposed:
        known.transposed[key] = _transpose_graph(graph, n_residuals, mask, known)
    return known.transposed[key]


def _transpose_graph(
    graph: Graph, n_residuals: int, mask: Mask, known: Derivatives
) -> Transposed:
    b = new_builder(f"{graph.name}_transposed")
    residuals = [b.input(v.aval, v.name) for v in graph.invars[:n_residuals]]
    tangents = [Var(v.aval) for v in graph.invars[n_residuals:]]
    outs = b.inline(graph, [*residuals, *tangents])
    cts = [
        b.input(x.aval) if m else None for x, m in zip(graph.outvars, mask, strict=True)
    ]
    found = transpose_equations(b, tangents, outs, cts, known)
    results = [ct for ct in found if ct is not None]
    transposed = Graph(b.name, b.invars, results, live_equations(b.eqns, results))
    return Transposed(transposed, tuple(ct is not None for ct in found))


def _transpose_composite(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    """Of the linear composites only picks stay composites when linearised."""
    (ct,) = cts
    if eqn.params["name"] != "pick" or ct is None:
        raise InternalError(f"composite {eqn.params['name']} has no transpose")
    return pick_transpose(b, ct, eqn.invars, eqn.params), None


def _transpose_call(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    graph = subgraph(eqn.params)
    n = count_residuals(eqn, is_linear)
    mask = tuple(c is not None for c in cts)
    transposed = transpose_graph(graph, n, mask, known)
    operands = [*eqn.invars[:n], *(c for c in cts if c is not None)]
    params = {"graph": transposed.graph}
    found = b.emit_all(call_p, operands, params)
    return [*[None] * n, *spread(found, transposed.found)]


def count_residuals(eqn: Eqn, is_linear: Sequence[bool]) -> int:
    """Count the operands before the first linear one; what is linear comes last."""
    return list(is_linear).index(True)


def _transpose_cond(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    n = count_residuals(eqn, is_linear)
    mask = tuple(c is not None for c in cts)
    names = ("on_true", "on_false")
    graphs = {k: _transpose_branch(eqn, k, n - 1, mask, known) for k in names}
    operands = [*eqn.invars[:n], *(c for c in cts if c is not None)]
    return [*[None] * n, *b.emit_all(cond_p, operands, graphs)]


def _transpose_branch(
    eqn: Eqn, name: str, n_residuals: int, mask: Mask, known: Derivatives
) -> Graph:
    """Transpose one branch and give every linear operand a cotangent, zero or not."""
    graph = eqn.params[name]
    assert isinstance(graph, Graph)
    transposed = transpose_graph(graph, n_residuals, mask, known)
    b = new_builder(transposed.graph.name)
    ins = [b.input(v.aval, v.name) for v in transposed.graph.invars]
    found = iter(b.inline(transposed.graph, ins))
    avals = graph.in_avals[n_residuals:]
    return b.build(
        [
            next(found) if f else full_like(b, 0, aval)
            for f, aval in zip(transposed.found, avals, strict=True)
        ]
    )


SUBGRAPH_RULES: dict[Primitive, TransposeSubgraph] = {
    composite_p: _transpose_composite,
    call_p: _transpose_call,
    cond_p: _transpose_cond,
}
