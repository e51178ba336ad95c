"""Linearisation: replay a graph, and emit its derivative beside it.

Each equation with active operands (those that have a tangent) is followed by equations
that are linear in the tangents. How they are found is declared by the primitive:
`partials` for elementwise ones, the primitive itself where it is linear, else its `jvp`
rule; composites have rules in `composites`. Calls and conditionals are split into a
graph of values and residuals and a graph that is linear in the tangents, once per
sub-graph (`Derivatives` remembers). A checkpoint is split so that the linear graph
computes again what it needs; custom functions bring their own rule.

A tangent of None is zero. Complex tangents follow JAX: they are plain complex numbers,
and transposing conjugates nothing, so that cotangents pair as ``Re Σ w·v``.

Before → after, for ``exp``::

    %z: f32[3] = exp %x
    ---
    %z: f32[3] = exp %x
    %dz: f32[3] = mul %dx, %z
"""

from collections.abc import Callable, Sequence
from dataclasses import field, replace

from ..errors import UnsupportedError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var, expansion_of, subgraph, subgraphs
from ..ir.invariant import Hoisted
from ..ir.liveness import live_equations
from ..ir.ops.composite import composite_p
from ..ir.ops.control import call_p, cond_p, fusion_p
from ..ir.ops.custom import (
    Save,
    barrier_p,
    checkpoint_name_p,
)
from ..ir.ops.elementwise import add_p
from ..ir.ops.shape import broadcast_to, full_like
from ..ir.primitive import Avals, Effect, Linearity, Params, Primitive
from ..ir.simplify import recording_rules
from ..records import dataclass
from .composites import JVP_RULES

Maybe = Atom | None
Mask = tuple[bool, ...]


@dataclass(frozen=True)
class Linearized:
    """A sub-graph split into its values and its derivative.

    Parameters
    ----------
    primal : Graph
        The sub-graph's inputs to its outputs, then further values the derivative needs.
    residuals : tuple of int
        What the derivative needs, counted through the inputs of `primal` followed by
        its outputs.
    tangent : Graph
        Residuals, then one tangent per active input, to one tangent per active output.
    active : tuple of bool
        Which outputs of the sub-graph depend on the tangents.
    """

    primal: Graph
    residuals: tuple[int, ...]
    tangent: Graph
    active: Mask


@dataclass(frozen=True)
class LinearizedBranches:
    """The two branches of a `cond`, split and brought to the same signatures.

    Parameters
    ----------
    primals, tangents : pair of Graph
        For true and for false; each takes and gives the residuals of both.
    residuals : tuple of int
        As in `Linearized`, counted through operands and results.
    active : tuple of bool
    """

    primals: tuple[Graph, Graph]
    residuals: tuple[int, ...]
    tangents: tuple[Graph, Graph]
    active: Mask


@dataclass(frozen=True)
class LinearizedScan:
    """A scan split into its values and its derivative, both over its turns.

    Parameters
    ----------
    primal : Graph
        The body, with further slices after its own that the derivative needs.
    tangent : Graph
        Constants: the residuals that are constants, then tangents of constants.
        Carries: tangents of the active carries. Slices: residuals, then tangents of
        the active xs. Gives tangents of the active carries, then of the active ys.
    fixed : tuple of int
        The constants that are residuals.
    slices : tuple of int
        The residuals of each turn, counted through the xs followed by the ys of the
        primal scan.
    active : tuple of bool
        Which operands have tangents.
    active_ys : tuple of bool
    """

    primal: Graph
    tangent: Graph
    fixed: tuple[int, ...]
    slices: tuple[int, ...]
    active: Mask
    active_ys: Mask


@dataclass(frozen=True)
class JointBody:
    """A sub-graph that computes values and tangents together.

    Parameters
    ----------
    graph : Graph
        Inputs, then tangents of the active ones, to outputs and tangents of the active
        ones.
    active : tuple of bool
        Which outputs have tangents.
    """

    graph: Graph
    active: Mask


@dataclass(frozen=True)
class Transposed:
    """The transpose of a linear sub-graph.

    Parameters
    ----------
    graph : Graph
        Residuals, then the cotangents given, to the cotangents found.
    found : tuple of bool
        Which linear inputs have a cotangent.
    """

    graph: Graph
    found: Mask


@dataclass
class Derivatives:
    """Derivatives of sub-graphs, so that each is differentiated once.

    Parameters
    ----------
    joint : bool
        Loops may compute values and tangents together: nothing will be transposed.
    """

    linearized: dict[tuple[Graph, Mask, Save | None], Linearized] = field(
        default_factory=dict
    )
    branches: dict[tuple[Graph, Graph, Mask], LinearizedBranches] = field(
        default_factory=dict
    )
    transposed: dict[tuple[Graph, int, Mask], Transposed] = field(default_factory=dict)
    scans: dict[tuple[Graph, Mask], LinearizedScan] = field(default_factory=dict)
    joints: dict[tuple[Graph, Mask], JointBody] = field(default_factory=dict)
    permuted: dict[tuple[Graph, Mask], Graph] = field(default_factory=dict)
    hoisted: dict[tuple[Graph, int, bool], Hoisted | None] = field(default_factory=dict)
    separated: dict[Graph, Graph] = field(default_factory=dict)
    attentions: dict[tuple[Graph, Mask], Linearized] = field(default_factory=dict)
    joint: bool = False

    @property
    def splitting(self) -> "Derivatives":
        """The same, where values and tangents are taken apart."""
        return replace(self, joint=False)


def new_builder(name: str) -> Builder:
    """Return a builder that simplifies and value-numbers."""
    return Builder(name, recording_rules(), value_number=True)


def linearize(
    b: Builder,
    graph: Graph,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[list[Atom], list[Maybe]]:
    """Emit `graph` on `ins` into `b`, with its derivative at `tangents`.

    Parameters
    ----------
    b : Builder
    graph : Graph
    ins : sequence of Var or Literal
        One value per input.
    tangents : sequence of Var, Literal or None
        One per input, of the input's aval; None is zero.
    known : Derivatives
        Sub-graphs differentiated already.

    Returns
    -------
    list of Var or Literal, list of Var, Literal or None
        Values and tangents of the outputs.

    Raises
    ------
    UnsupportedError
        When an equation with active operands has no derivative.
    """
    env: dict[Var, Atom] = dict(zip(graph.invars, ins, strict=True))
    tangent_of: dict[Var, Atom] = {
        v: t for v, t in zip(graph.invars, tangents, strict=True) if t is not None
    }

    def read(x: Atom) -> Atom:
        return env[x] if isinstance(x, Var) else x

    def read_tangent(x: Atom) -> Maybe:
        return tangent_of.get(x) if isinstance(x, Var) else None

    for eqn in graph.eqns:
        b.source = eqn.source
        operands = [read(x) for x in eqn.invars]
        ts = [read_tangent(x) for x in eqn.invars]
        outs, out_ts = _linearize_eqn(b, eqn, operands, ts, known)
        for var, out, t in zip(eqn.outvars, outs, out_ts, strict=True):
            env[var] = out
            if t is not None:
                tangent_of[var] = t
    results = [read(x) for x in graph.outvars]
    return results, [read_tangent(x) for x in graph.outvars]


def _linearize_eqn(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    if all(t is None for t in tangents):
        outs = b.emit_all(eqn.primitive, ins, eqn.params)
        return outs, [None] * len(outs)
    split = SUBGRAPH_RULES.get(eqn.primitive)
    if split is not None:
        return split(b, eqn, ins, tangents, known)
    meaning = None if eqn.primitive.has_derivative else expansion_of(eqn)
    if meaning is not None:
        return linearize(b, meaning, ins, tangents, known)
    outs = b.emit_all(eqn.primitive, ins, eqn.params)
    return outs, _tangents(b, eqn, tangents, outs, ins)


def _tangents(
    b: Builder,
    eqn: Eqn,
    tangents: Sequence[Maybe],
    outs: Sequence[Atom],
    ins: Sequence[Atom],
) -> Sequence[Maybe]:
    p = eqn.primitive
    if p.nondifferentiable or not any(dt.is_inexact(z.aval.dtype) for z in outs):
        return [None] * len(outs)
    if p.partials is not None:
        return [_elementwise_tangent(b, p, tangents, outs[0], ins)]
    if p.jvp is not None:
        return p.jvp(b, tangents, outs, ins, eqn.params)
    if p.linearity is Linearity.JOINT:
        return _joint_tangents(b, eqn, tangents, ins)
    if p.linearity is Linearity.MULTI:
        return [_multilinear_tangent(b, eqn, tangents, ins)]
    raise _has_no_derivative(eqn)


def _has_no_derivative(eqn: Eqn) -> UnsupportedError:
    name = eqn.params.get("name") if "name" in eqn.params else eqn.primitive.name
    return UnsupportedError(
        f"the derivative of {name} is not defined",
        source=", ".join(eqn.source) or None,
        hint="write it with functions that have one, or stop_gradient its argument",
    )


def _elementwise_tangent(
    b: Builder, p: Primitive, tangents: Sequence[Maybe], out: Atom, ins: Sequence[Atom]
) -> Maybe:
    assert p.partials is not None
    shape = out.aval.shape
    total: Maybe = None
    for partial, t in zip(p.partials, tangents, strict=True):
        if partial is None or t is None:
            continue
        part = partial(b, broadcast_to(b, t, shape), out, *ins)
        if part is not None:
            total = add_maybe(b, total, broadcast_to(b, part, shape))
    return total


def _joint_tangents(
    b: Builder, eqn: Eqn, tangents: Sequence[Maybe], ins: Sequence[Atom]
) -> Sequence[Atom]:
    """The primitive itself, on tangents in place of all the linear operands."""
    p = eqn.primitive
    operands = []
    for i, (t, x) in enumerate(zip(tangents, ins, strict=True)):
        if not p.is_linear_in(i):
            operands.append(x)
        else:
            operands.append(full_like(b, 0, x.aval) if t is None else t)
    return b.emit_all(p, operands, eqn.params)


def _multilinear_tangent(
    b: Builder, eqn: Eqn, tangents: Sequence[Maybe], ins: Sequence[Atom]
) -> Maybe:
    """The sum over operands, each replaced by its tangent in turn."""
    total: Maybe = None
    for i, t in enumerate(tangents):
        if t is not None and eqn.primitive.is_linear_in(i):
            operands = [*ins[:i], t, *ins[i + 1 :]]
            (part,) = b.emit_all(eqn.primitive, operands, eqn.params)
            total = add_maybe(b, total, part)
    return total


def add_maybe(b: Builder, x: Maybe, y: Atom) -> Atom:
    """Return ``x + y``, where an `x` of None is zero."""
    return y if x is None else b.emit(add_p, x, y)


# --- splitting equations into values and derivative -------------------------------


def split_linear(
    eqns: Sequence[Eqn], tangents: Sequence[Maybe]
) -> tuple[list[Eqn], list[Eqn], set[Var]]:
    """Separate the equations that depend on `tangents`.

    Returns
    -------
    list of Eqn, list of Eqn, set of Var
        Equations that do not depend on them, those that do, and the variables that do.
    """
    linear = {t for t in tangents if isinstance(t, Var)}
    values: list[Eqn] = []
    derivative: list[Eqn] = []
    for eqn in eqns:
        if eqn.primitive is barrier_p:
            eqn = _without_linear(eqn, linear)
        if any(isinstance(x, Var) and x in linear for x in eqn.invars):
            linear.update(eqn.outvars)
            derivative.append(eqn)
        else:
            values.append(eqn)
    return values, derivative, linear


def _without_linear(barrier: Eqn, linear: set[Var]) -> Eqn:
    """Let a barrier of values wait for no tangents: the transpose has none."""
    n = len(barrier.outvars)
    after = (x for x in barrier.invars[n:] if x not in linear)
    invars = (*barrier.invars[:n], *after)
    return Eqn(barrier_p, invars, barrier.params, barrier.outvars, barrier.source)


def linearize_graph(
    graph: Graph, mask: Mask, known: Derivatives, save: Save | None = None
) -> Linearized:
    """Split `graph`, with tangents for the inputs chosen by `mask`.

    With `save` the derivative computes all values again but those; without, it has all
    that it needs as residuals.
    """
    key = graph, mask, save
    if key not in known.linearized:
        known.linearized[key] = _linearize_graph(graph, mask, known, save)
    return known.linearized[key]


def _linearize_graph(
    graph: Graph, mask: Mask, known: Derivatives, save: Save | None
) -> Linearized:
    b = new_builder(graph.name)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    tangents = [Var(v.aval) if m else None for v, m in zip(ins, mask, strict=True)]
    outs, out_tangents = linearize(b, graph, ins, tangents, known.splitting)
    values, derivative, linear = split_linear(b.eqns, tangents)
    wanted = [t for t in out_tangents if t is not None]
    derivative = live_equations(derivative, wanted)
    again = _closed(values) if save is None else _not_saved(values, save)
    read = free_variables(derivative, wanted, linear)
    derivative = [*live_equations(again, read, effects=False), *derivative]
    residuals = free_variables(derivative, wanted, linear)
    position = {v: i for i, v in enumerate((*ins, *outs)) if isinstance(v, Var)}
    extra = [v for v in residuals if v not in position]
    position.update({v: len(ins) + len(outs) + i for i, v in enumerate(extra)})
    results = [*outs, *extra]
    primal = Graph(graph.name, ins, results, live_equations(values, results))
    given = [t for t in tangents if t is not None]
    tangent = Graph(f"{graph.name}_tangent", [*residuals, *given], wanted, derivative)
    return Linearized(
        primal,
        tuple(position[v] for v in residuals),
        _with_own_variables(tangent),
        tuple(t is not None for t in out_tangents),
    )


def _closed(eqns: Sequence[Eqn]) -> list[Eqn]:
    """Return the equations that depend on no input: cheaper repeated than kept."""
    bound: set[Var] = set()
    out = []
    for eqn in eqns:
        if all(not isinstance(x, Var) or x in bound for x in eqn.invars):
            if eqn.effects:
                continue
            bound.update(eqn.outvars)
            out.append(eqn)
    return out


def _not_saved(eqns: Sequence[Eqn], save: Save) -> list[Eqn]:
    """Return the equations that a checkpoint computes again."""
    saved: set[Var] = set()
    for eqn in eqns:
        if _is_saved(eqn, save):
            saved.update(eqn.outvars)
            if eqn.primitive is checkpoint_name_p:
                saved.update(x for x in eqn.invars if isinstance(x, Var))
    return [e for e in eqns if not all(v in saved for v in e.outvars)]


def _is_saved(eqn: Eqn, save: Save) -> bool:
    """Tell whether a policy names an equation, or it must not run twice."""
    if eqn.effects - {Effect.CHECK} or not eqn.outvars:
        return True
    name = eqn.params["name"] if eqn.primitive is checkpoint_name_p else ""
    if ("primitive", eqn.primitive.name) in save or ("name", name) in save:
        return True
    return any(_is_saved(e, save) for g in subgraphs(eqn.params) for e in g.eqns)


def free_variables(
    eqns: Sequence[Eqn], outs: Sequence[Atom], linear: set[Var]
) -> list[Var]:
    """Return what `eqns` and `outs` read and do not bind, less what is linear."""
    bound = {v for e in eqns for v in e.outvars}
    read = [x for e in eqns for x in e.invars] + list(outs)
    free = (x for x in read if isinstance(x, Var))
    return list(dict.fromkeys(x for x in free if x not in bound and x not in linear))


def _with_own_variables(graph: Graph) -> Graph:
    b = Builder(graph.name)
    return b.build(b.inline(graph, [b.input(v.aval, v.name) for v in graph.invars]))


# --- composite, call and cond -----------------------------------------------------

SplitRule = Callable[
    [Builder, Eqn, Sequence[Atom], Sequence[Maybe], Derivatives],
    tuple[Sequence[Atom], Sequence[Maybe]],
]


def mask_of(tangents: Sequence[Maybe]) -> Mask:
    """Tell which tangents are not None."""
    return tuple(t is not None for t in tangents)


def spread(atoms: Sequence[Atom], active: Mask) -> list[Maybe]:
    """Put `atoms` where `active` is true, and None elsewhere."""
    rest = iter(atoms)
    return [next(rest) if a else None for a in active]


def _linearize_composite(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    """Use the composite's rule, which is about its first operand; else expand it."""
    split = COMPOSITE_RULES.get(str(eqn.params["name"]))
    if split is not None:
        return split(b, eqn, ins, tangents, known)
    rule = JVP_RULES.get(str(eqn.params["name"]))
    first, *others = tangents
    if rule is None or first is None or any(t is not None for t in others):
        return linearize(b, subgraph(eqn.params), ins, tangents, known)
    outs = b.emit_all(composite_p, ins, eqn.params)
    return outs, rule(b, first, outs, ins, eqn.params)


def _linearize_call(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    split = linearize_graph(subgraph(eqn.params), mask_of(tangents), known)
    primal, tangent = {"graph": split.primal}, {"graph": split.tangent}
    return emit_split(b, call_p, (primal, tangent), split, ins, tangents)


def emit_split(
    b: Builder,
    primitive: Primitive,
    params: tuple[Params, Params],
    split: Linearized | LinearizedBranches,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    first: int = 0,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    """Emit the primal of a split sub-graph, then its tangent on the residuals.

    Parameters
    ----------
    params : (mapping, mapping)
        Of the equation of the primal, and of that of the tangent.
    first : int
        The operands before it are none of the sub-graph; both equations take them.
    """
    outs = b.emit_all(primitive, ins, params[0])
    values = (*ins[first:], *outs)
    operands = [*ins[:first], *(values[i] for i in split.residuals)]
    operands += [t for t in tangents[first:] if t is not None]
    found: Sequence[Atom] = ()
    if any(split.active):
        found = b.emit_all(primitive, operands, params[1])
    return outs[: len(split.active)], spread(found, split.active)


def _linearize_cond(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    names = ("on_true", "on_false")
    on_true, on_false = (subgraph(eqn.params, name) for name in names)
    split = _linearize_branches(on_true, on_false, mask_of(tangents[1:]), known)
    primals = dict(zip(names, split.primals, strict=True))
    graphs = dict(zip(names, split.tangents, strict=True))
    return emit_split(b, cond_p, (primals, graphs), split, ins, tangents, first=1)


def _linearize_branches(
    on_true: Graph, on_false: Graph, mask: Mask, known: Derivatives
) -> LinearizedBranches:
    key = on_true, on_false, mask
    if key not in known.branches:
        known.branches[key] = _join_branches(
            linearize_graph(on_true, mask, known),
            linearize_graph(on_false, mask, known),
            len(on_true.outvars),
        )
    return known.branches[key]


def _join_branches(x: Linearized, y: Linearized, n_outs: int) -> LinearizedBranches:
    """Give both branches the residuals and the active outputs of either."""
    n_shared = len(x.primal.invars) + n_outs
    more_x, more_y = (s.primal.out_avals[n_outs:] for s in (x, y))
    shifted = (i if i < n_shared else i + len(more_x) for i in y.residuals)
    active = tuple(a or c for a, c in zip(x.active, y.active, strict=True))
    n = len(x.residuals)
    operands = [*x.tangent.in_avals[:n], *y.tangent.in_avals[: len(y.residuals)]]
    operands += x.tangent.in_avals[n:]
    return LinearizedBranches(
        (padded(x.primal, n_outs, (), more_y), padded(y.primal, n_outs, more_x, ())),
        (*x.residuals, *shifted),
        (
            _padded_tangent(x, active, operands, 0),
            _padded_tangent(y, active, operands, n),
        ),
        active,
    )


def padded(graph: Graph, n_outs: int, before: Avals, after: Avals) -> Graph:
    """Put zeros for the other branch's residuals around those after `n_outs`."""
    b = new_builder(graph.name)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    results = b.inline(graph, ins)
    zeros = [[full_like(b, 0, a) for a in avals] for avals in (before, after)]
    outs = [*results[:n_outs], *zeros[0], *results[n_outs:], *zeros[1]]
    return b.build(outs)


def _padded_tangent(
    split: Linearized, active: Mask, operands: Sequence[ShapedArray], first: int
) -> Graph:
    """Take all operands, use those from `first`, and give all active outputs."""
    b = new_builder(split.tangent.name)
    ins = [b.input(a) for a in operands]
    n = len(split.residuals)
    n_tangents = len(split.tangent.invars) - n
    given = [*ins[first : first + n], *ins[len(ins) - n_tangents :]]
    found = spread(b.inline(split.tangent, given), split.active)
    avals = split.primal.out_avals[: len(active)]
    return b.build(
        [
            full_like(b, 0, aval) if t is None else t
            for t, aval, wanted in zip(found, avals, active, strict=True)
            if wanted
        ]
    )


# Of composites whose rules are about all of their operands.
COMPOSITE_RULES: dict[str, SplitRule] = {}
SUBGRAPH_RULES: dict[Primitive, SplitRule] = {
    composite_p: _linearize_composite,
    call_p: _linearize_call,
    fusion_p: _linearize_call,
    cond_p: _linearize_cond,
}
