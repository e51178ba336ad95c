"""Separation of values from tangents, in rules of custom functions.

A rule of `custom_jvp` computes values and tangents as it likes: in the carries of one
loop, say, or in one branch. Only what is linear in the tangents can be transposed, and
what it reads must be values. So equations with sub-graphs that give both become two:
one gives values, and residuals, the other what depends on the tangents. A `while`
becomes one of the values alone beside one of both; it has no transpose.

Before → after, for a scan whose second carry is the tangent of the first::

    %y, %dy = scan %x, %dx {body=(%h, %t) -> (sin %h, mul %t, (cos %h)), ...}
    ---
    %y, %c = scan %x {body=(%h) -> (sin %h, cos %h), ...}
    %dy = scan %dx, %c {body=(%t, %c) -> mul %t, %c, ...}
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var, subgraph
from ..ir.liveness import live_equations
from ..ir.ops.control import call_p, cond_p
from ..ir.ops.custom import checkpoint_p, custom_batching_p
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.primitive import Avals, Primitive
from ..records import dataclass
from .linearize import (
    Mask,
    free_variables,
    new_builder,
    padded,
    split_linear,
)

T = TypeVar("T")
SeparateRule = Callable[[Builder, Eqn, Sequence[Atom], Mask], Sequence[Atom]]


def separate(graph: Graph, mask: Mask) -> Graph:
    """Return the graph with no equation that gives both values and tangents.

    Parameters
    ----------
    graph : Graph
    mask : tuple of bool
        Which inputs are tangents.
    """
    b = new_builder(graph.name)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    linear = {v for v, m in zip(ins, mask, strict=True) if m}
    return b.build(_replay(b, graph, ins, linear))


def _replay(
    b: Builder, graph: Graph, ins: Sequence[Atom], linear: set[Var]
) -> list[Atom]:
    """Emit `graph`, separated; `linear` grows by what depends on it."""
    env: dict[Var, Atom] = dict(zip(graph.invars, ins, strict=True))
    start = len(b.eqns)

    def read(x: Atom) -> Atom:
        return env[x] if isinstance(x, Var) else x

    for eqn in graph.eqns:
        b.source = eqn.source
        operands = [read(x) for x in eqn.invars]
        is_linear = tuple(isinstance(x, Var) and x in linear for x in operands)
        rule = RULES.get(eqn.primitive) if any(is_linear) else None
        if rule is not None:
            outs = rule(b, eqn, operands, is_linear)
        elif any(is_linear) and _is_mixed(eqn, is_linear):
            outs = _replay(b, subgraph(eqn.params), operands, linear)
        else:
            outs = b.emit_all(eqn.primitive, operands, eqn.params)
        env.update(zip(eqn.outvars, outs, strict=True))
        for new in b.eqns[start:]:
            if any(isinstance(x, Var) and x in linear for x in new.invars):
                linear.update(new.outvars)
        start = len(b.eqns)
    return [read(x) for x in graph.outvars]


def _is_mixed(eqn: Eqn, is_linear: Mask) -> bool:
    """Tell whether a call gives values too, or takes some after tangents."""
    if eqn.primitive not in (call_p, checkpoint_p, custom_batching_p):
        return False
    is_ordered = all(is_linear[is_linear.index(True) :])
    return not (is_ordered and all(_dependent(subgraph(eqn.params), is_linear)))


def _dependent(graph: Graph, mask: Mask) -> Mask:
    """Tell which outputs of a graph depend on the inputs chosen by `mask`."""
    graph = separate(graph, mask)
    tangents = _chosen(graph.invars, mask)
    _, _, linear = split_linear(graph.eqns, tangents)
    return tuple(isinstance(x, Var) and x in linear for x in graph.outvars)


def _chosen(items: Sequence[T], mask: Sequence[bool], which: bool = True) -> list[T]:
    return [x for x, m in zip(items, mask, strict=True) if m is which]


def _merged(values: Sequence[Atom], tangents: Sequence[Atom], on: Mask) -> list[Atom]:
    """Put tangents where `on` is true, and values elsewhere."""
    rest: tuple[Iterator[Atom], Iterator[Atom]] = iter(values), iter(tangents)
    return [next(rest[m]) for m in on]


def _either(x: Mask, y: Mask) -> Mask:
    return tuple(a or c for a, c in zip(x, y, strict=True))


@dataclass(frozen=True)
class Divided:
    """A graph of values, and one of what depends on tangents.

    Parameters
    ----------
    values : Graph
        Inputs that are no tangents to outputs that do not depend on them.
    derivative : Graph
        The other outputs; it shares variables with `values`.
    residuals : list of Var
        What it reads of those.
    """

    values: Graph
    derivative: Graph
    residuals: list[Var]


def _divided(graph: Graph, mask: Mask, on: Mask) -> Divided:
    """Divide a graph; the outputs chosen by `on` go with the tangents."""
    graph = separate(graph, mask)
    tangents = _chosen(graph.invars, mask)
    values, derivative, linear = split_linear(graph.eqns, tangents)
    wanted = _chosen(graph.outvars, on)
    derivative = live_equations(derivative, wanted)
    ins = _chosen(graph.invars, mask, False)
    outs = _chosen(graph.outvars, on, False)
    return Divided(
        Graph(graph.name, ins, outs, values),
        Graph(f"{graph.name}_tangent", tangents, wanted, derivative),
        free_variables(derivative, wanted, linear),
    )


def _with_outputs(graph: Graph, outs: Sequence[Atom]) -> Graph:
    return Graph(graph.name, graph.invars, outs, live_equations(graph.eqns, outs))


def _with_inputs(graph: Graph, ins: Sequence[Var]) -> Graph:
    """Return a graph that takes `ins`, with variables of its own."""
    b = Builder(graph.name)
    closed = Graph(graph.name, list(ins), graph.outvars, graph.eqns)
    return b.build(b.inline(closed, [b.input(v.aval, v.name) for v in ins]))


# --- cond -------------------------------------------------------------------------


def _separate_cond(
    b: Builder, eqn: Eqn, ins: Sequence[Atom], is_linear: Mask
) -> Sequence[Atom]:
    graphs = [subgraph(eqn.params, k) for k in ("on_true", "on_false")]
    mask = is_linear[1:]
    on = _either(*(_dependent(g, mask) for g in graphs))
    first, second = (_divided(g, mask, on) for g in graphs)
    more = [tuple(v.aval for v in d.residuals) for d in (first, second)]
    values = {
        "on_true": _padded(first, (), more[1]),
        "on_false": _padded(second, more[0], ()),
    }
    pred, *operands = ins
    found = b.emit_all(cond_p, [pred, *_chosen(operands, mask, False)], values)
    n = on.count(False)
    if not any(on):
        return found
    unread = [[Var(a) for a in avals] for avals in more]
    derivatives = {
        "on_true": _after(first, [*first.residuals, *unread[1]]),
        "on_false": _after(second, [*unread[0], *second.residuals]),
    }
    given = [pred, *found[n:], *_chosen(operands, mask)]
    return _merged(found[:n], b.emit_all(cond_p, given, derivatives), on)


def _after(divided: Divided, residuals: Sequence[Var]) -> Graph:
    """Return what depends on tangents as a function of residuals, then of those."""
    graph = divided.derivative
    return _with_inputs(graph, [*residuals, *graph.invars])


def _padded(divided: Divided, before: Avals, after: Avals) -> Graph:
    """Give values, then residuals between zeros for those of the other branch."""
    graph = divided.values
    outs = [*graph.outvars, *divided.residuals]
    return padded(_with_outputs(graph, outs), len(graph.outvars), before, after)


# --- loops ------------------------------------------------------------------------


def _settled(body: Graph, mask: Mask, consts: int, carries: int) -> tuple[Mask, Mask]:
    """Return inputs and outputs that are tangents at some turn."""
    while True:
        on = _dependent(body, mask)
        before, now = mask[:consts], mask[consts : consts + carries]
        after = _either(now, on[:carries])
        if after == now:
            return mask, (*now, *on[carries:])
        mask = (*before, *after, *mask[consts + carries :])


def _separate_scan(
    b: Builder, eqn: Eqn, ins: Sequence[Atom], is_linear: Mask
) -> Sequence[Atom]:
    p = ScanParams.of(eqn.params)
    mask, on = _settled(p.body, is_linear, p.consts, p.carries)
    split = _divided(p.body, mask, on)
    own, outs = split.values.invars, list(split.values.outvars)
    fixed, carries, _ = (m.count(False) for m in p.split(mask))
    slices = {*own[fixed + carries :], *outs[carries:]}
    is_there = slices.union(own[:fixed])
    outs += [v for v in split.residuals if v not in is_there]
    body = _with_inputs(_with_outputs(split.values, outs), own)
    values = replace(p, body=body, consts=fixed, carries=carries)
    given = _chosen(ins, mask, False)
    found = b.emit_all(scan_p, given, values.params)
    places: dict[Atom, Atom] = dict(zip(outs[carries:], found[carries:], strict=True))
    n = fixed + carries
    places.update(zip(own[n:], given[n:], strict=True))
    places.update(zip(own[:fixed], given[:fixed], strict=True))
    n_outs = on.count(False)
    if not any(on):
        return found
    linear = _LinearScan(p, mask, split, frozenset(own[:fixed]))
    return _merged(found[:n_outs], linear.emit(b, ins, places), on)


@dataclass(frozen=True)
class _LinearScan:
    """The scan of what depends on tangents.

    Parameters
    ----------
    p : ScanParams
    mask : tuple of bool
        Which operands are tangents.
    split : Divided
        Its body.
    fixed : frozenset of Var
        Values of the body that are the same at every turn.
    """

    p: ScanParams
    mask: Mask
    split: Divided
    fixed: frozenset[Var]

    def emit(
        self, b: Builder, ins: Sequence[Atom], places: dict[Atom, Atom]
    ) -> Sequence[Atom]:
        """Emit it, with residuals of the body read from `places`."""
        consts, carries, xs = self._tangents(_chosen(ins, self.mask))
        own = self._tangents(self.split.derivative.invars)
        fixed = [v for v in self.split.residuals if v in self.fixed]
        slices = [v for v in self.split.residuals if v not in self.fixed]
        body = _with_inputs(
            self.split.derivative, [*fixed, *own[0], *own[1], *slices, *own[2]]
        )
        n = len(fixed) + len(consts)
        params = replace(self.p, body=body, consts=n, carries=len(carries)).params
        operands = [*(places[v] for v in fixed), *consts, *carries]
        operands += [*(places[v] for v in slices), *xs]
        return b.emit_all(scan_p, operands, params)

    def _tangents(self, items: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
        """Split what goes with the tangents among the operands."""
        consts, carries, _ = (m.count(True) for m in self.p.split(self.mask))
        n = consts + carries
        return list(items[:consts]), list(items[consts:n]), list(items[n:])


def _separate_while(
    b: Builder, eqn: Eqn, ins: Sequence[Atom], is_linear: Mask
) -> Sequence[Atom]:
    """Add a loop over the values alone, if its test is about them alone."""
    p = WhileParams.of(eqn.params)
    n = p.test_consts
    carries = len(p.body.outvars)
    mask, on = _settled(p.body, is_linear[n:], p.body_consts, carries)
    both = b.emit_all(while_p, ins, p.params)
    on_test = (*is_linear[:n], *on)
    if any(_dependent(p.test, on_test)):
        return both
    test = separate(p.test, on_test)
    test = _with_outputs(test, test.outvars)
    body = _divided(p.body, mask, on).values
    params = WhileParams(
        _with_inputs(test, _chosen(test.invars, on_test, False)),
        _with_inputs(_with_outputs(body, body.outvars), body.invars),
        is_linear[:n].count(False),
        mask[: p.body_consts].count(False),
    )
    given = [*_chosen(ins[:n], is_linear[:n], False), *_chosen(ins[n:], mask, False)]
    values = b.emit_all(while_p, given, params.params)
    return _merged(values, _chosen(both, on), on)


RULES: dict[Primitive, SeparateRule] = {
    cond_p: _separate_cond,
    scan_p: _separate_scan,
    while_p: _separate_while,
}
