"""Reverse mode over graphs: linearise, then transpose the linear equations.

The primal is replayed in a builder; each equation with active operands also emits its
tangent, whose equations are linear in the tangents. Walking those backwards and
transposing each gives the cotangents. Tangent equations are dead afterwards.
"""

from collections.abc import Sequence

from ..errors import UnsupportedError
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops.elementwise import add_p
from ..ir.ops.reduce import reduce_sum_p
from ..ir.ops.shape import broadcast_to, full_like
from ..ir.primitive import Kind, Linearity
from ..ir.simplify import SIMPLIFY

Maybe = Atom | None


def value_and_grad_graph(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Return the graph of all outputs, then the gradients of output 0.

    Parameters
    ----------
    graph : Graph
        Output 0 is a real scalar.
    wrt : sequence of int
        Inputs to differentiate with respect to, of inexact dtype.
    """
    b = Builder(graph.name, SIMPLIFY, value_number=True)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    tangents_in = [Var(ins[i].aval) for i in wrt]
    outs, tangents = _linearize(b, graph, ins, dict(zip(wrt, tangents_in, strict=True)))
    cotangents: dict[Var, Atom] = {}
    linear = set(tangents_in)
    if tangents[0] is not None:
        _accumulate(b, cotangents, tangents[0], b.literal(1, outs[0].aval.dtype))
        linear = _transpose(b, linear, cotangents)
    grads = [cotangents.get(t, full_like(b, 0, t.aval)) for t in tangents_in]
    graph = b.build([*outs, *grads])
    return _without(graph, linear)


def _linearize(
    b: Builder, graph: Graph, ins: Sequence[Atom], active: dict[int, Var]
) -> tuple[list[Atom], list[Maybe]]:
    env: dict[Var, Atom] = dict(zip(graph.invars, ins, strict=True))
    tangent: dict[Var, Atom] = {graph.invars[i]: t for i, t in active.items()}

    def read(x: Atom) -> Atom:
        return env[x] if isinstance(x, Var) else x

    for eqn in graph.eqns:
        b.source = eqn.source
        operands = [read(x) for x in eqn.invars]
        outs = b.emit_all(eqn.primitive, operands, eqn.params)
        env.update(zip(eqn.outvars, outs, strict=True))
        ts = [tangent.get(x) if isinstance(x, Var) else None for x in eqn.invars]
        if any(t is not None for t in ts):
            for var, t in zip(eqn.outvars, _jvp(b, eqn, ts, outs, operands), strict=True):
                if t is not None:
                    tangent[var] = t
    results = [read(x) for x in graph.outvars]
    return results, [tangent.get(x) if isinstance(x, Var) else None for x in graph.outvars]


def _jvp(
    b: Builder,
    eqn: Eqn,
    tangents: Sequence[Maybe],
    outs: Sequence[Atom],
    ins: Sequence[Atom],
) -> Sequence[Maybe]:
    p = eqn.primitive
    if p.nondifferentiable:
        return [None] * len(outs)
    if p.partials is not None:
        return [_elementwise_jvp(b, eqn, tangents, outs[0], ins)]
    if p.jvp is not None:
        return p.jvp(b, tangents, outs, ins, eqn.params)
    if p.linearity is Linearity.JOINT:
        full = [
            t if t is not None or not p.is_linear_in(i) else full_like(b, 0, x.aval)
            for i, (t, x) in enumerate(zip(tangents, ins, strict=True))
        ]
        operands = [x if t is None else t for t, x in zip(full, ins, strict=True)]
        return b.emit_all(p, operands, eqn.params)
    if p.linearity is Linearity.MULTI:
        total: Maybe = None
        for i, t in enumerate(tangents):
            if t is not None:
                operands = [*ins[:i], t, *ins[i + 1 :]]
                total = _sum(b, total, b.emit_all(p, operands, eqn.params)[0])
        return [total]
    raise UnsupportedError(
        f"the derivative of {p.name} is not defined",
        source=", ".join(eqn.source) or None,
        hint="keep it out of the differentiated function, or tj.stop_gradient it",
    )


def _elementwise_jvp(
    b: Builder, eqn: Eqn, tangents: Sequence[Maybe], out: Atom, ins: Sequence[Atom]
) -> Maybe:
    assert eqn.primitive.partials is not None
    total: Maybe = None
    for partial, t in zip(eqn.primitive.partials, tangents, strict=True):
        if partial is None or t is None:
            continue
        t = broadcast_to(b, t, out.aval.shape)
        part = partial(b, t, out, *ins)
        if part is not None:
            total = _sum(b, total, broadcast_to(b, part, out.aval.shape))
    return total


def _sum(b: Builder, x: Maybe, y: Atom) -> Atom:
    return y if x is None else b.emit(add_p, x, y)


def _transpose(
    b: Builder, tangents_in: set[Var], cotangents: dict[Var, Atom]
) -> set[Var]:
    """Walk the linear equations backwards, giving each operand its cotangent.

    Returns the variables that depend on the tangents.
    """
    linear: set[Var] = set(tangents_in)
    equations = []
    for eqn in b.eqns:
        if any(isinstance(x, Var) and x in linear for x in eqn.invars):
            linear.update(eqn.outvars)
            equations.append(eqn)
    for eqn in reversed(equations):
        cts = [cotangents.get(v) for v in eqn.outvars]
        if all(c is None for c in cts):
            continue
        b.source = eqn.source
        is_linear = [isinstance(x, Var) and x in linear for x in eqn.invars]
        found = _transposed(b, eqn, cts, is_linear)
        for x, c, is_lin in zip(eqn.invars, found, is_linear, strict=True):
            if is_lin and c is not None:
                _accumulate(b, cotangents, x, c)
    return linear


def _transposed(
    b: Builder, eqn: Eqn, cts: Sequence[Maybe], is_linear: Sequence[bool]
) -> Sequence[Maybe]:
    p = eqn.primitive
    if p.partials is not None:
        return _transposed_elementwise(b, eqn, cts[0], is_linear)
    assert p.transpose is not None, p.name
    if p.linearity is Linearity.MULTI and sum(is_linear) != 1:
        raise UnsupportedError(f"{p.name} is not linear in {sum(is_linear)} operands")
    return p.transpose(b, cts, eqn.invars, is_linear, eqn.params)


def _transposed_elementwise(
    b: Builder, eqn: Eqn, ct: Maybe, is_linear: Sequence[bool]
) -> list[Maybe]:
    assert eqn.primitive.partials is not None
    assert ct is not None
    out: list[Maybe] = []
    for x, partial, is_lin in zip(
        eqn.invars, eqn.primitive.partials, is_linear, strict=True
    ):
        if not is_lin or partial is None:
            out.append(None)
            continue
        part = partial(b, ct, eqn.outvars[0], *eqn.invars)
        out.append(None if part is None else _unbroadcast(b, part, x))
    return out


def _unbroadcast(b: Builder, ct: Atom, x: Atom) -> Atom:
    """Sum a cotangent down to an operand of rank 0 that was broadcast."""
    if ct.aval.shape == x.aval.shape:
        return ct
    if x.aval.shape:
        return broadcast_to(b, ct, x.aval.shape)
    return b.emit(reduce_sum_p, ct, axes=tuple(range(ct.aval.ndim)))


def _accumulate(b: Builder, cotangents: dict[Var, Atom], x: Atom, ct: Atom) -> None:
    if isinstance(x, Literal):
        return
    ct = broadcast_to(b, ct, x.aval.shape)
    if x in cotangents:
        ct = b.emit(add_p, cotangents[x], ct)
    cotangents[x] = ct


def _without(graph: Graph, linear: set[Var]) -> Graph:
    """Drop the tangent equations, whatever their effects, and what nothing uses."""
    live = {x for x in graph.outvars if isinstance(x, Var)}
    kept = []
    for eqn in reversed(graph.eqns):
        if eqn.outvars and eqn.outvars[0] in linear:
            continue
        if eqn.effects or any(v in live for v in eqn.outvars):
            live.update(x for x in eqn.invars if isinstance(x, Var))
            kept.append(eqn)
    return Graph(graph.name, graph.invars, graph.outvars, kept[::-1])
