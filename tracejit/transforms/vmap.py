"""Batching: a graph of one example becomes a graph of many.

Every batched value has the batch as axis 0; values that do not depend on a batched
input stay as they are and are computed once. How a primitive is batched is declared by
it (`Primitive.batch`); elementwise primitives and reductions follow from their kind.
Composites are batched through their expansion, in which `raise` finds them again. Calls
keep their sub-graph, batched once per choice of inputs (`Batches` remembers).

A `cond` whose condition is batched evaluates both branches for all examples, and
selects. Checks in a branch are then asked of the examples that take it only: for the
others indices are replaced by 0 and matrices by the identity. Prints and callbacks
happen for those examples only.

The carries of a loop are batched that depend on batched values after any turn. A
`while` whose test is batched runs until all examples are done: whether an example goes
on is one more carry, and the others of those that are done stay as they are.

Before → after, for ``graph @f(%x: f32[3], %y: f32[3])`` with a batch of 8 for `x`::

    %z: f32[3] = mul %x, %y
    %s: f32[] = reduce_sum %z {axes=(0)}
    ---
    %0: f32[8,3] = broadcast_in_dim %y {shape=(8, 3), dims=(1)}
    %z: f32[8,3] = mul %x, %0
    %s: f32[8] = reduce_sum %z {axes=(1)}
"""

from collections.abc import Callable, Sequence
from dataclasses import field, replace

from ..errors import UnsupportedError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var, expansion_of, subgraph
from ..ir.lines import Role, with_role
from ..ir.liveness import live_equations
from ..ir.ops.callback import call_active, callback_p, check_p
from ..ir.ops.composite import composite_p
from ..ir.ops.control import call_p, cond_p, fusion_p
from ..ir.ops.custom import (
    checkpoint_p,
    custom_batching_p,
    custom_jvp_p,
    custom_tangent_p,
    custom_vjp_p,
)
from ..ir.ops.elementwise import and_p, eq_p, not_p, select_p, stop_gradient_p
from ..ir.ops.indexing import gather_p, scatter_p
from ..ir.ops.linalg import (
    cholesky_p,
    det_p,
    eig_p,
    eigh_p,
    eigvals_p,
    inv_p,
    lstsq_p,
    pinv_p,
    solve_p,
    svd_p,
    svdvals_p,
    triangular_solve_p,
)
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.ops.reduce import reduce_or_p
from ..ir.ops.shape import batch_elementwise, iota_p, move_axis, spread
from ..ir.primitive import (
    BatchParams,
    BatchRule,
    HostRule,
    Kind,
    Params,
    Primitive,
    shifted,
)
from ..records import dataclass
from .linearize import new_builder

Mask = tuple[bool, ...]
Results = tuple[list[Atom], list[bool]]


@dataclass(frozen=True)
class Batched:
    """A sub-graph for a batch.

    Parameters
    ----------
    graph : Graph
        Batched inputs and outputs have the batch as axis 0. Where examples can be
        inactive, a mask of those that are active comes before the inputs.
    outs : tuple of bool
        Which outputs are batched.
    """

    graph: Graph
    outs: Mask


@dataclass
class Batches:
    """The size of the batch, and sub-graphs batched already.

    Parameters
    ----------
    size : int
    known : dict
        By graph, which inputs are batched, whether there is a mask of active examples,
        and which outputs must be batched.
    """

    size: int
    known: dict[tuple[Graph, Mask, bool, Mask], Batched] = field(default_factory=dict)


@dataclass(frozen=True)
class Operands:
    """What an equation is applied to.

    Parameters
    ----------
    atoms : sequence of Var or Literal
    batched : sequence of bool
    active : Var or Literal, optional
        Booleans, one per example: those whose results are wanted. None means all.
    """

    atoms: Sequence[Atom]
    batched: Sequence[bool]
    active: Atom | None


def batch_graph(graph: Graph, batched: Sequence[bool], size: int) -> Batched:
    """Return `graph` for a batch of some of its inputs.

    Parameters
    ----------
    graph : Graph
    batched : sequence of bool
        The inputs that have the batch as a new axis 0.
    size : int
        The extent of the batch.

    Returns
    -------
    Batched
        The graph, with the inputs of `graph`, and which of its outputs are batched:
        those that depend on batched inputs.

    Raises
    ------
    UnsupportedError
        When an equation with batched operands cannot be batched.
    """
    none = (False,) * len(graph.outvars)
    return _batched(graph, tuple(batched), False, none, Batches(size))


def _batched(
    graph: Graph, mask: Mask, has_active: bool, wanted: Mask, state: Batches
) -> Batched:
    key = graph, mask, has_active, wanted
    if key not in state.known:
        state.known[key] = _batch(graph, mask, has_active, wanted, state)
    return state.known[key]


def _batch(
    graph: Graph, mask: Mask, has_active: bool, wanted: Mask, state: Batches
) -> Batched:
    b = new_builder(graph.name)
    active = b.input(ShapedArray((state.size,), dt.BOOL)) if has_active else None
    pairs = zip(graph.invars, mask, strict=True)
    ins = [b.input(_with_batch(v.aval, m, state), v.name) for v, m in pairs]
    outs, out_mask = batch_equations(b, graph, Operands(ins, mask, active), state)
    for i, is_wanted in enumerate(wanted):
        if is_wanted and not out_mask[i]:
            outs[i], out_mask[i] = spread(b, outs[i], state.size), True
    live = live_equations(b.eqns, outs)
    return Batched(Graph(b.name, b.invars, outs, live), tuple(out_mask))


def _with_batch(aval: ShapedArray, batched: bool, state: Batches) -> ShapedArray:
    return aval.with_shape((state.size, *aval.shape)) if batched else aval


def batch_equations(
    b: Builder, graph: Graph, operands: Operands, state: Batches
) -> Results:
    """Emit the equations of `graph` for a batch; return its outputs and their mask."""
    env: dict[Var, Atom] = dict(zip(graph.invars, operands.atoms, strict=True))
    pairs = zip(graph.invars, operands.batched, strict=True)
    has_batch = {v for v, m in pairs if m}
    for eqn in graph.eqns:
        b.source = eqn.source
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
        mask = [x in has_batch for x in eqn.invars]
        if any(mask):
            b.source = with_role(eqn.source, Role("batch", state.size))
        given = Operands(ins, mask, operands.active)
        outs, out_mask = _batch_eqn(b, eqn, given, state)
        for var, out, has in zip(eqn.outvars, outs, out_mask, strict=True):
            env[var] = out
            if has:
                has_batch.add(var)
    results = [env[x] if isinstance(x, Var) else x for x in graph.outvars]
    return results, [x in has_batch for x in graph.outvars]


def _batch_eqn(b: Builder, eqn: Eqn, operands: Operands, state: Batches) -> Results:
    if operands.active is not None and eqn.effects:
        if eqn.primitive is callback_p:
            outs = call_active(
                b, operands.active, operands.atoms, operands.batched, eqn.params
            )
            return list(outs), [True] * len(outs)
        operands = _guarded(b, eqn, operands)
    elif not any(operands.batched):
        outs = b.emit_all(eqn.primitive, operands.atoms, eqn.params)
        return list(outs), [False] * len(outs)
    rule = SUBGRAPH_RULES.get(eqn.primitive)
    if rule is not None:
        return rule(b, eqn, operands, state)
    meaning = None if batch_rule(eqn.primitive) else expansion_of(eqn)
    if meaning is not None:
        return batch_equations(b, meaning, operands, state)
    return _by_declaration(b, eqn, operands)


def _by_declaration(b: Builder, eqn: Eqn, operands: Operands) -> Results:
    """Apply the rule that the primitive declares, or that of its kind."""
    p, ins, mask = eqn.primitive, operands.atoms, operands.batched
    rule = batch_rule(p)
    if rule is None:
        raise UnsupportedError(
            f"{p.name} cannot be batched",
            source=_line(eqn),
            hint="call it once for each example, in a Python loop",
        )
    if isinstance(rule, BatchParams):
        size = next(x.aval.shape[0] for x, m in zip(ins, mask, strict=True) if m)
        pairs = zip(ins, mask, strict=True)
        ins = [x if m else spread(b, x, size) for x, m in pairs]
        outs = b.emit_all(p, ins, rule.change(eqn.params, size))
    else:
        outs = tuple(rule(b, p, ins, mask, eqn.params))
    return list(outs), [True] * len(outs)


def batch_rule(p: Primitive) -> BatchParams | BatchRule | None:
    """Return the rule of a primitive: what it declares, else that of its kind."""
    return p.batch or _BY_KIND.get(p.kind)


def _shifted_reduction(params: Params, size: int) -> Params:
    return shifted(*params).change(params, size)  # its params are axes, or one axis


_BY_KIND: dict[Kind, BatchParams | BatchRule] = {
    Kind.ELEMENTWISE: batch_elementwise,
    Kind.REDUCE: BatchParams(_shifted_reduction),
}


def _line(eqn: Eqn) -> str | None:
    return ", ".join(eqn.source) or None


# --- checks of inactive examples --------------------------------------------------


def _guarded(b: Builder, eqn: Eqn, operands: Operands) -> Operands:
    """Replace what is checked by harmless values where examples are inactive."""
    if eqn.primitive in SUBGRAPH_RULES:
        return operands
    guard = GUARDS.get(eqn.primitive)
    if guard is None:
        raise UnsupportedError(
            f"{eqn.primitive.name} has effects in a branch that only some examples of "
            "a vmap take",
            source=_line(eqn),
            hint="move it out of the branch, or make the condition the same for all",
        )
    positions, harmless = guard
    atoms, mask = list(operands.atoms), list(operands.batched)
    assert operands.active is not None
    for i in positions(len(atoms)):
        safe = harmless(b, eqn.invars[i].aval)
        chosen = [operands.active, atoms[i], safe]
        (atoms[i],) = batch_elementwise(b, select_p, chosen, [True, mask[i], False], {})
        mask[i] = True
    return Operands(atoms, mask, operands.active)


def _zero(b: Builder, aval: ShapedArray) -> Atom:
    return b.literal(0, aval.dtype)


def _true(b: Builder, aval: ShapedArray) -> Atom:
    return b.literal(True, dt.BOOL)


def _identity(b: Builder, aval: ShapedArray) -> Atom:
    """Return identity matrices on the last two axes."""
    n = aval.ndim
    rows, cols = (
        b.emit(iota_p, shape=aval.shape, axis=d, dtype=dt.INT64) for d in (n - 2, n - 1)
    )
    one, zero = (b.literal(v, aval.dtype) for v in (1, 0))
    return b.emit(select_p, b.emit(eq_p, rows, cols), one, zero)


# Which operands are checked (given their number), and values that pass.
Guard = tuple[Callable[[int], range], Callable[[Builder, ShapedArray], Atom]]
_MATRIX: Guard = (lambda n: range(1), _identity)
GUARDS: dict[Primitive, Guard] = {
    gather_p: (lambda n: range(1, n), _zero),
    scatter_p: (lambda n: range(2, n), _zero),
    cholesky_p: _MATRIX,
    det_p: _MATRIX,
    eig_p: _MATRIX,
    eigh_p: _MATRIX,
    eigvals_p: _MATRIX,
    inv_p: _MATRIX,
    check_p: (lambda n: range(1), _true),
    lstsq_p: _MATRIX,
    pinv_p: _MATRIX,
    solve_p: _MATRIX,
    svd_p: _MATRIX,
    svdvals_p: _MATRIX,
    triangular_solve_p: _MATRIX,
}


# --- composite, call and cond -----------------------------------------------------

SubgraphRule = Callable[[Builder, Eqn, Operands, Batches], Results]


def _batch_composite(
    b: Builder, eqn: Eqn, operands: Operands, state: Batches
) -> Results:
    return batch_equations(b, subgraph(eqn.params), operands, state)


def _batch_call(b: Builder, eqn: Eqn, operands: Operands, state: Batches) -> Results:
    """Batch the sub-graph; a fusion group becomes a call, for its space is another."""
    primitive, params = eqn.primitive, eqn.params
    if primitive is fusion_p:
        primitive, params = call_p, {}
    graph = subgraph(eqn.params)
    none = (False,) * len(graph.outvars)
    atoms, has_active = _with_active(operands, (graph,))
    found = _batched(graph, tuple(operands.batched), has_active, none, state)
    outs = b.emit_all(primitive, atoms, {**params, "graph": found.graph})
    return list(outs), list(found.outs)


def _with_active(
    operands: Operands, graphs: Sequence[Graph]
) -> tuple[Sequence[Atom], bool]:
    """Pass the mask of active examples to graphs that check something."""
    if operands.active is None or not any(g.effects for g in graphs):
        return operands.atoms, False
    return [operands.active, *operands.atoms], True


def _batch_cond(b: Builder, eqn: Eqn, operands: Operands, state: Batches) -> Results:
    pred, *rest = operands.atoms
    has_pred, *mask = operands.batched
    branches = [eqn.params[k] for k in ("on_true", "on_false")]
    on_true, on_false = (g for g in branches if isinstance(g, Graph))
    inner = Operands(rest, mask, operands.active)
    if has_pred:
        return _select_branches(b, eqn, pred, inner, (on_true, on_false), state)
    atoms, has_active = _with_active(inner, (on_true, on_false))
    wanted = (False,) * len(eqn.outvars)
    for graph in (on_true, on_false):
        found = _batched(graph, tuple(mask), has_active, wanted, state)
        wanted = found.outs
    graphs = [
        _batched(graph, tuple(mask), has_active, wanted, state).graph
        for graph in (on_true, on_false)
    ]
    params = {"on_true": graphs[0], "on_false": graphs[1]}
    outs = b.emit_all(cond_p, [pred, *atoms], params)
    return list(outs), list(wanted)


def _select_branches(
    b: Builder,
    eqn: Eqn,
    pred: Atom,
    operands: Operands,
    branches: tuple[Graph, Graph],
    state: Batches,
) -> Results:
    """Evaluate both branches for all examples, and select for each."""
    results = []
    for graph, primitive in zip(branches, (None, not_p), strict=True):
        taken = pred if primitive is None else b.emit(primitive, pred)
        if operands.active is not None:
            taken = b.emit(and_p, operands.active, taken)
        inner = _only_where(b, taken, operands)
        results.append(batch_equations(b, graph, inner, state))
        b.source = eqn.source
    outs: list[Atom] = []
    (xs, x_mask), (ys, y_mask) = results
    for x, y, has_x, has_y in zip(xs, ys, x_mask, y_mask, strict=True):
        outs += batch_elementwise(b, select_p, [pred, x, y], [True, has_x, has_y], {})
    return outs, [True] * len(outs)


def _only_where(b: Builder, taken: Atom, operands: Operands) -> Operands:
    """Let no cotangent of an example that does not take a branch leave the branch.

    Zeros arrive there from the select behind it, and meet what may be infinite: slopes
    outside of the branch's domain, residuals that only the other branch has filled.
    The select of equals in front of it is dropped when nothing is to be differentiated.
    """
    atoms, mask = list(operands.atoms), list(operands.batched)
    for i, (x, m) in enumerate(zip(operands.atoms, operands.batched, strict=True)):
        if isinstance(x, Var) and dt.is_inexact(x.aval.dtype):
            both = [taken, x, b.emit(stop_gradient_p, x)]
            (atoms[i],) = batch_elementwise(b, select_p, both, [True, m, m], {})
            mask[i] = True
    return Operands(atoms, mask, taken)


# --- equations with rules of their own ---------------------------------------------


def _whole(graph: Graph, mask: Sequence[bool], state: Batches) -> Graph:
    """Return `graph` for a batch, all of whose results are batched."""
    every = (True,) * len(graph.outvars)
    return _batched(graph, tuple(mask), False, every, state).graph


def _whole_of_active(
    graph: Graph, mask: Sequence[bool], place: int, state: Batches
) -> Graph:
    """Return the same with the mask of active examples as input number `place`."""
    every = (True,) * len(graph.outvars)
    made = _batched(graph, tuple(mask), True, every, state).graph
    active, *ins = made.invars
    ins.insert(place, active)
    return Graph(made.name, ins, made.outvars, made.eqns)


def _batch_custom(b: Builder, eqn: Eqn, operands: Operands, state: Batches) -> Results:
    """Batch the function and its rules; arguments and results all have the batch.

    What the functions close over stays as it is. Where only some examples ask for
    checks, which ones do is closed over as well.
    """
    count = eqn.params["args"]
    assert isinstance(count, int)
    rest = tuple(operands.batched[count:])
    mask = ((True,) * count) + rest
    atoms = _spread_where(b, operands.atoms, operands.batched, mask, state)
    graphs = {k: g for k, g in eqn.params.items() if isinstance(g, Graph)}
    has_active = operands.active is not None and any(g.effects for g in graphs.values())
    if has_active and operands.active is not None:
        atoms.insert(count, operands.active)

    def whole(name: str, graph: Graph) -> Graph:
        before = rest if name == "bwd" else mask
        ins = (*before, *[True] * (len(graph.invars) - len(before)))
        if not has_active:
            return _whole(graph, ins, state)
        return _whole_of_active(graph, ins, 0 if name == "bwd" else count, state)

    made = {k: whole(k, g) for k, g in graphs.items()}
    outs = b.emit_all(eqn.primitive, atoms, {**eqn.params, **made})
    return list(outs), [True] * len(outs)


def _batch_custom_tangent(
    b: Builder, eqn: Eqn, operands: Operands, state: Batches
) -> Results:
    bwd, count = eqn.params["bwd"], eqn.params["residuals"]
    assert isinstance(bwd, Graph)
    assert isinstance(count, int)
    known = tuple(operands.batched[:count])
    mask = (*known, *[True] * (len(operands.atoms) - count))
    atoms = _spread_where(b, operands.atoms, operands.batched, mask, state)
    ins = (*known, *[True] * (len(bwd.invars) - count))
    whole = _whole(bwd, ins, state)
    outs = b.emit_all(eqn.primitive, atoms, {**eqn.params, "bwd": whole})
    return list(outs), [True] * len(outs)


def _batch_custom_batching(
    b: Builder, eqn: Eqn, operands: Operands, state: Batches
) -> Results:
    """Put the graph that the rule makes; where only some examples ask, the function.

    A rule sees all examples. What it checks cannot be asked of some of them only.
    """
    rule, count = eqn.params["rule"], eqn.params["args"]
    assert isinstance(rule, HostRule)
    assert isinstance(count, int)
    function = subgraph(eqn.params)
    if operands.active is not None and eqn.effects:
        return batch_equations(b, function, operands, state)
    if any(operands.batched[count:]):
        raise UnsupportedError(
            f"the custom_batching function {function.name!r} closes over a value that "
            "differs between examples; its vmap rule is about its arguments alone",
            source=_line(eqn),
            hint="pass the value as an argument",
        )
    graph, mask = rule.batched(state.size, tuple(operands.batched[:count]))
    if operands.active is not None and graph.effects:
        return batch_equations(b, function, operands, state)
    return list(b.inline(graph, operands.atoms[:count])), list(mask)


# --- loops ------------------------------------------------------------------------


def _batch_scan(b: Builder, eqn: Eqn, operands: Operands, state: Batches) -> Results:
    """Batch a turn; slices have the batch as axis 0, so stacked values as axis 1."""
    p = ScanParams.of(eqn.params)
    consts, carries, xs = p.split(operands.atoms)
    const_mask, first_mask, xs_mask = p.split(operands.batched)
    n_ys = len(eqn.outvars) - p.carries
    _, has_active = _with_active(operands, (p.body,))

    def turn(mask: Sequence[bool]) -> Batched:
        ins = (*const_mask, *mask, *xs_mask)
        wanted = (*mask, *[False] * n_ys)
        return _batched(p.body, ins, has_active, wanted, state)

    carry_mask = _fixed_point(first_mask, lambda m: turn(m).outs[: p.carries])
    body = turn(carry_mask)
    active = [operands.active] if has_active and operands.active is not None else []
    ins = [
        *active,
        *consts,
        *_spread_where(b, carries, first_mask, carry_mask, state),
        *(_exchanged(b, x, m) for x, m in zip(xs, xs_mask, strict=True)),
    ]
    params = replace(p, body=body.graph, consts=p.consts + len(active)).params
    after, ys = p.split_results(b.emit_all(scan_p, ins, params))
    ys_mask = body.outs[p.carries :]
    stacks = [_exchanged(b, y, m) for y, m in zip(ys, ys_mask, strict=True)]
    return [*after, *stacks], list(body.outs)


def _exchanged(b: Builder, x: Atom, batched: bool) -> Atom:
    """Exchange the axis of the turns and that of the batch."""
    return move_axis(b, x, 0, 1) if batched else x


def _fixed_point(
    mask: Sequence[bool], after: Callable[[Sequence[bool]], Sequence[bool]]
) -> Sequence[bool]:
    """Return which carries are batched when a turn makes no further one batched."""
    while tuple(found := after(mask)) != tuple(mask):
        mask = found
    return mask


def _spread_where(
    b: Builder,
    atoms: Sequence[Atom],
    mask: Sequence[bool],
    wanted: Sequence[bool],
    state: Batches,
) -> list[Atom]:
    """Give the batch to those that are to have it and have not."""
    rows = zip(atoms, mask, wanted, strict=True)
    return [spread(b, x, state.size) if w and not m else x for x, m, w in rows]


def _batch_while(b: Builder, eqn: Eqn, operands: Operands, state: Batches) -> Results:
    p = WhileParams.of(eqn.params)
    for_test, for_body, carries = p.split(operands.atoms)
    test_mask, body_mask, first_mask = p.split(operands.batched)
    _, has_active = _with_active(operands, (p.test, p.body))

    def turn(mask: Sequence[bool]) -> Batched:
        ins = (*body_mask, *mask)
        return _batched(p.body, ins, has_active, tuple(mask), state)

    mask = _fixed_point(first_mask, lambda m: turn(m).outs)
    test = _batched(p.test, (*test_mask, *mask), has_active, (False,), state)
    if test.outs[0]:
        return _batch_until_all_done(b, p, operands, state)
    active = [operands.active] if has_active and operands.active is not None else []
    ins = [*active, *for_test, *active, *for_body]
    ins += _spread_where(b, carries, first_mask, mask, state)
    n, m = p.test_consts + len(active), p.body_consts + len(active)
    changed = WhileParams(test.graph, turn(mask).graph, n, m)
    return list(b.emit_all(while_p, ins, changed.params)), list(mask)


def _batch_until_all_done(
    b: Builder, p: WhileParams, operands: Operands, state: Batches
) -> Results:
    """Turn while any example goes on; whether each does is the last carry.

    Every carry is batched: the examples leave it at different turns.
    """
    for_test, for_body, carries = p.split(operands.atoms)
    test_mask, _, first_mask = p.split(operands.batched)
    every = [True] * len(carries)
    states = _spread_where(b, carries, first_mask, every, state)
    started = Operands([*for_test, *states], [*test_mask, *every], operands.active)
    going = _still_going(b, p.test, started, state)
    params = WhileParams(
        _any_goes_on(states, state),
        _turn_of_those(p, operands, state),
        0,
        p.test_consts + p.body_consts,
    ).params
    outs = b.emit_all(while_p, [*for_test, *for_body, *states, going], params)
    return list(outs[:-1]), every


def _still_going(b: Builder, test: Graph, operands: Operands, state: Batches) -> Atom:
    """Ask the test of the active examples."""
    (goes,), (has,) = batch_equations(b, test, operands, state)
    goes = goes if has else spread(b, goes, state.size)
    if operands.active is None:
        return goes
    return b.emit(and_p, operands.active, goes)


def _any_goes_on(carries: Sequence[Atom], state: Batches) -> Graph:
    """Return the test: whether any example goes on, which the last carry says."""
    b = new_builder("test")
    for x in carries:
        b.input(x.aval)
    going = b.input(ShapedArray((state.size,), dt.BOOL))
    return b.build([b.emit(reduce_or_p, going, axes=(0,))])


def _turn_of_those(p: WhileParams, operands: Operands, state: Batches) -> Graph:
    """Return the body: the carries of examples that go on, and which do after it."""
    b = new_builder(p.body.name)
    test_mask, body_mask, carry_mask = p.split(operands.batched)
    every = [True] * len(carry_mask)
    for_test, for_body = (
        [b.input(x.aval) for x in atoms] for atoms in p.split(operands.atoms)[:2]
    )
    avals = [_with_batch(a, True, state) for a in p.body.out_avals]
    states = [b.input(aval) for aval in avals]
    going = b.input(ShapedArray((state.size,), dt.BOOL))
    inner = Operands([*for_body, *states], [*body_mask, *every], going)
    found, has = batch_equations(b, p.body, inner, state)
    after: list[Atom] = []
    for x, y, m in zip(found, states, has, strict=True):
        after += batch_elementwise(b, select_p, [going, x, y], [True, m, True], {})
    asked = Operands([*for_test, *after], [*test_mask, *every], going)
    outs = [*after, _still_going(b, p.test, asked, state)]
    return Graph(b.name, b.invars, outs, live_equations(b.eqns, outs))


SUBGRAPH_RULES: dict[Primitive, SubgraphRule] = {
    composite_p: _batch_composite,
    call_p: _batch_call,
    fusion_p: _batch_call,
    cond_p: _batch_cond,
    custom_jvp_p: _batch_custom,
    custom_vjp_p: _batch_custom,
    custom_batching_p: _batch_custom_batching,
    custom_tangent_p: _batch_custom_tangent,
    checkpoint_p: _batch_call,
    scan_p: _batch_scan,
    while_p: _batch_while,
}
