"""Derivatives of loops: `scan` in both modes to any order, `while` forward.

A scan becomes two: one computes its values and what the derivative needs of each turn,
the other is linear in the tangents. Residuals that are constants of the loop stay so,
those that are slices of xs or ys are read where they are, what is cheap is computed
again, and the rest is stacked. The transpose of a linear scan runs the other way; its
carries are the cotangents of the carries, and the sums of the cotangents of constants.
Where nothing is to be transposed a loop computes values and tangents together, and a
`while` does so always, beside one that computes the values alone: how often it turned
is not known, so that it cannot run backwards.

Importing this module enters the rules of `scan` and `while`.

Before → after, for a scan over ``%h * %w`` with respect to ``%h``, in reverse::

    %z: f32[] = scan %w, %h {body=(%w, %h) -> mul %h, %w, length=9, consts=1, carries=1}
    ---
    %ct_h: f32[] = scan %w, %ct_z {body=(%w, %ct) -> mul %ct, %w, length=9, ...}
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from ..errors import UnsupportedError
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.invariant import Hoisted, hoist_invariant
from ..ir.liveness import live_equations
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.ops.shape import full_like
from . import linearize as linearizing
from . import transpose as transposing
from .linearize import (
    Derivatives,
    JointBody,
    Linearized,
    LinearizedScan,
    Mask,
    Maybe,
    add_maybe,
    linearize,
    linearize_graph,
    mask_of,
    new_builder,
    spread,
)
from .residuals import choose_kept
from .transpose import transpose_graph

T = TypeVar("T")


def _chosen(items: Iterable[T], mask: Mask) -> list[T]:
    return [x for x, m in zip(items, mask, strict=True) if m]


def _given(tangents: Iterable[Maybe]) -> list[Atom]:
    return [t for t in tangents if t is not None]


def _or_zeros(
    b: Builder, tangents: Sequence[Maybe], like: Sequence[Atom], mask: Mask
) -> list[Atom]:
    """Return the tangents chosen by `mask`, zeros where there are none."""
    rows = zip(tangents, like, mask, strict=True)
    return [full_like(b, 0, x.aval) if t is None else t for t, x, m in rows if m]


# --- scan -------------------------------------------------------------------------


def _linearize_scan(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    p, ins, tangents = _hoisted_scan(b, ScanParams.of(eqn.params), ins, tangents, known)
    if known.joint:
        return _joint_scan(b, p, ins, tangents, known)
    split = _split_scan(p, mask_of(tangents), known)
    n_outs = len(eqn.outvars)
    primal = replace(p, body=split.primal)
    outs = b.emit_all(scan_p, ins, primal.params)
    fixed, _, xs = p.split(ins)
    slices = [*xs, *outs[p.carries :]]
    fixed_ts, carry_ts, xs_ts = p.split(tangents)
    on_carries = tuple(p.split(split.active)[1])
    carries = _or_zeros(b, carry_ts, p.split(ins)[1], on_carries)
    operands = [*(fixed[i] for i in split.fixed), *_given(fixed_ts)]
    linear = ScanParams(
        split.tangent, p.length, p.reverse, len(operands), len(carries), p.unroll
    )
    operands += [*carries, *(slices[i] for i in split.slices), *_given(xs_ts)]
    found: Sequence[Atom] = ()
    if split.tangent.outvars:
        found = b.emit_all(scan_p, operands, linear.params)
    return outs[:n_outs], spread(found, (*on_carries, *split.active_ys))


def _hoisted_scan(
    b: Builder,
    p: ScanParams,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[ScanParams, Sequence[Atom], Sequence[Maybe]]:
    """Compute and differentiate outside of the loop what is the same at every turn."""
    found = _hoisted(p, known)
    if found is None:
        return p, ins, tangents
    n = p.consts
    more, ts = linearize(b, found.outside, ins[:n], tangents[:n], known)
    p = replace(p, body=found.body, consts=n + len(more))
    return p, [*ins[:n], *more, *ins[n:]], [*tangents[:n], *ts, *tangents[n:]]


def _hoisted(p: ScanParams, known: Derivatives) -> Hoisted | None:
    key = p.body, p.consts, p.length > 0
    if key not in known.hoisted:
        known.hoisted[key] = hoist_invariant(*key)
    return known.hoisted[key]


def _split_scan(p: ScanParams, mask: Mask, known: Derivatives) -> LinearizedScan:
    """Split the body, with tangents for all carries that get one at some turn."""
    fixed, carries, xs = p.split(mask)
    while True:
        active = (*fixed, *carries, *xs)
        split = linearize_graph(p.body, active, known)
        after = [a or c for a, c in zip(carries, split.active, strict=False)]
        if after == carries:
            break
        carries = after
    key = p.body, active
    if key not in known.scans:
        known.scans[key] = _Splitting(p, active, split).result()
    return known.scans[key]


class _Splitting:
    """One scan being split, once it is known which carries are active."""

    def __init__(self, p: ScanParams, active: Mask, split: Linearized) -> None:
        self.p, self.active, self.split = p, active, split
        self.primal = split.primal
        self.n_outs = len(p.body.outvars)
        values = (*self.primal.invars, *self.primal.outvars)
        self.residuals = [values[i] for i in split.residuals]
        fixed, _, xs = p.split(self.primal.invars)
        ys = self.primal.outvars[p.carries : self.n_outs]
        self.place = {v: i for i, v in enumerate((*xs, *ys)) if isinstance(v, Var)}
        self.fixed = {v: i for i, v in enumerate(fixed)}

    def result(self) -> LinearizedScan:
        there = {*self.fixed, *self.place}
        kept = choose_kept(self.primal, self.residuals, there)
        fixed = [v for v in kept.values if v in self.fixed]
        slices = [v for v in kept.values if v not in self.fixed]
        stacked = [v for v in slices if v not in self.place]
        n_places = len(self.p.split(self.primal.invars)[2]) + self.n_outs
        first = n_places - self.p.carries
        place = {**self.place, **{v: first + i for i, v in enumerate(stacked)}}
        outs = [*self.primal.outvars[: self.n_outs], *stacked]
        eqns = live_equations(self.primal.eqns, outs)
        return LinearizedScan(
            Graph(self.primal.name, self.primal.invars, outs, eqns),
            self.tangent(fixed, slices, kept.again),
            tuple(self.fixed[v] for v in fixed),
            tuple(place[v] for v in slices),
            self.active,
            self.split.active[self.p.carries :],
        )

    def tangent(
        self, fixed: Sequence[Var], slices: Sequence[Var], again: Sequence[Eqn]
    ) -> Graph:
        """Return the linear body."""
        b = new_builder(self.split.tangent.name)
        on_fixed, on_carries, on_xs = self.p.split(self.active)
        ins = self.p.split(self.primal.invars)
        env: dict[Var, Atom] = {v: b.input(v.aval, v.name) for v in fixed}
        given = [b.input(v.aval) for v in _chosen(ins[0], tuple(on_fixed))]
        given += [b.input(v.aval) for v in _chosen(ins[1], tuple(on_carries))]
        env.update((v, b.input(v.aval, v.name)) for v in slices)
        given += [b.input(v.aval) for v in _chosen(ins[2], tuple(on_xs))]

        def read(x: Atom) -> Atom:
            return env[x] if isinstance(x, Var) else x

        for eqn in live_equations(again, self.residuals):
            b.source = eqn.source
            outs = b.emit_all(eqn.primitive, [read(x) for x in eqn.invars], eqn.params)
            env.update(zip(eqn.outvars, outs, strict=True))
        residuals = [read(x) for x in self.residuals]
        found = spread(b.inline(self.split.tangent, [*residuals, *given]), self._active)
        carries = _or_zeros(b, found[: self.p.carries], list(ins[1]), tuple(on_carries))
        return b.build([*carries, *_given(found[self.p.carries :])])

    @property
    def _active(self) -> Mask:
        return self.split.active


def _joint_body(body: Graph, active: Mask, known: Derivatives) -> JointBody:
    """Return a body that takes and gives values, then tangents."""
    key = body, active
    if key not in known.joints:
        b = new_builder(f"{body.name}_jvp")
        ins = [b.input(v.aval, v.name) for v in body.invars]
        given = iter([b.input(v.aval) for v in _chosen(ins, active)])
        tangents = [next(given) if a else None for a in active]
        outs, found = linearize(b, body, ins, tangents, replace(known, joint=True))
        graph = b.build([*outs, *_given(found)])
        known.joints[key] = JointBody(graph, mask_of(found))
    return known.joints[key]


def _active_joint(
    body: Graph, before: Mask, carries: Mask, after: Mask, known: Derivatives
) -> tuple[JointBody, Mask]:
    """Return the joint body once all carries are active that are at some turn."""
    while True:
        joint = _joint_body(body, (*before, *carries, *after), known)
        rows = zip(carries, joint.active, strict=False)
        grown = tuple(a or c for a, c in rows)
        if grown == carries:
            return joint, carries
        carries = grown


def _regrouped(
    joint: JointBody,
    groups: Sequence[Sequence[Var]],
    masks: Sequence[Mask],
    n_carries: int,
) -> Graph:
    """Put tangents after the values of their own group, in inputs and in results."""
    b = new_builder(joint.graph.name)
    values: list[Atom] = []
    tangents: list[Atom] = []
    for group, mask in zip(groups, masks, strict=True):
        values += [b.input(v.aval, v.name) for v in group]
        tangents += [b.input(v.aval) for v in _chosen(group, mask)]
    results = b.inline(joint.graph, [*values, *tangents])
    n_outs = len(joint.active)
    outs, found = results[:n_outs], spread(results[n_outs:], joint.active)
    carries = _or_zeros(b, found[:n_carries], outs[:n_carries], masks[1])
    ys = outs[n_carries:], _given(found[n_carries:])
    return b.build([*outs[:n_carries], *carries, *ys[0], *ys[1]])


def _joint_scan(
    b: Builder,
    p: ScanParams,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    on_fixed, on_carries, on_xs = (tuple(m) for m in p.split(mask_of(tangents)))
    joint, on_carries = _active_joint(p.body, on_fixed, on_carries, on_xs, known)
    masks = on_fixed, on_carries, on_xs
    body = _regrouped(joint, p.split(p.body.invars), masks, p.carries)
    fixed, carries, xs = p.split(ins)
    fixed_ts, carry_ts, xs_ts = p.split(tangents)
    consts = [*fixed, *_given(fixed_ts)]
    states = [*carries, *_or_zeros(b, carry_ts, carries, on_carries)]
    both = replace(p, body=body, consts=len(consts), carries=len(states))
    outs = b.emit_all(scan_p, [*consts, *states, *xs, *_given(xs_ts)], both.params)
    after, ys = both.split_results(outs)
    n_ys = len(p.body.outvars) - p.carries
    found = [*after[p.carries :], *ys[n_ys:]]
    on = (*on_carries, *joint.active[p.carries :])
    return [*after[: p.carries], *ys[:n_ys]], spread(found, on)


# --- while ------------------------------------------------------------------------


def _linearize_while(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    p = WhileParams.of(eqn.params)
    _, body_ts, carry_ts = p.split(tangents)
    fixed, carries = mask_of(body_ts), mask_of(carry_ts)
    joint, active = _active_joint(p.body, fixed, carries, (), known)
    if not any(active):
        outs = b.emit_all(while_p, ins, p.params)
        return outs, [None] * len(outs)
    both = _joint_while(p, joint, fixed, active)
    for_test, for_body, inits = p.split(ins)
    states = [*inits, *_or_zeros(b, carry_ts, inits, active)]
    operands = [*for_test, *for_body, *_given(body_ts), *states]
    n = len(inits)
    results = b.emit_all(while_p, operands, both.params)
    outs = results[:n] if known.joint else b.emit_all(while_p, ins, p.params)
    return outs, spread(results[n:], active)


def _joint_while(
    p: WhileParams, joint: JointBody, fixed: Mask, active: Mask
) -> WhileParams:
    """Return the loop over values and tangents; its test looks at the values."""
    _, for_body, states = p.split([None] * p.test_consts + list(p.body.invars))
    groups = [[v for v in g if v is not None] for g in (for_body, states)]
    body = _regrouped(joint, groups, (fixed, active), len(active))
    b = new_builder(p.test.name)
    ins = [b.input(v.aval, v.name) for v in p.test.invars]
    for v in _chosen(groups[1], active):
        b.input(v.aval)
    test = b.build(b.inline(p.test, ins))
    return WhileParams(test, body, p.test_consts, p.body_consts + sum(fixed))


def _transpose_while(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    raise UnsupportedError(
        "the gradient of a while_loop needs the values of every turn, and how many "
        "turns there are is not known",
        source=", ".join(eqn.source) or None,
        hint="use scan, or fori_loop with bounds that are known; or differentiate "
        "forward with jvp",
    )


# --- the transpose of a scan ------------------------------------------------------


def _transpose_scan(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    """Run a linear scan backwards; all its carries are linear."""
    p = ScanParams.of(eqn.params)
    lin_fixed, _, lin_xs = p.split(is_linear)
    back = _BackwardScan(p, (tuple(lin_fixed), tuple(lin_xs)), cts, known)
    fixed, _, xs = p.split(eqn.invars)
    avals = [v.aval for v in p.split(eqn.invars)[1]]
    carry_cts, ys_cts = p.split_results(cts)
    states = [
        full_like(b, 0, aval) if ct is None else ct
        for ct, aval, on in zip(carry_cts, avals, back.active, strict=True)
        if on
    ]
    sums = [full_like(b, 0, x.aval) for x in _chosen(fixed, back.found_fixed)]
    consts = [x for x, lin in zip(fixed, lin_fixed, strict=True) if not lin]
    slices = [x for x, lin in zip(xs, lin_xs, strict=True) if not lin]
    params = ScanParams(
        back.body(),
        p.length,
        not p.reverse,
        len(consts),
        len(states) + len(sums),
        p.unroll,
    )
    operands = [*consts, *states, *sums, *slices, *_given(ys_cts)]
    found = iter(b.emit_all(scan_p, operands, params.params))
    on = (*back.active, *back.found_fixed, *back.found_xs)
    taken = [next(found) if m else None for m in on]
    n, m = p.carries, p.carries + p.consts
    return [*taken[n:m], *taken[:n], *taken[m:]]


class _BackwardScan:
    """The body of a linear scan, transposed.

    Attributes
    ----------
    active : tuple of bool
        Which carries have a cotangent at some turn.
    found_fixed, found_xs : tuple of bool
        Which constants and xs have cotangents.
    """

    def __init__(
        self,
        p: ScanParams,
        linear: tuple[Mask, Mask],
        cts: Sequence[Maybe],
        known: Derivatives,
    ) -> None:
        self.p = p
        self.lin_fixed, self.lin_xs = linear
        body = self._residuals_first(known)
        lin = (*self.lin_fixed, *[True] * p.carries, *self.lin_xs)
        self.n_residuals = lin.count(False)
        on_carries, self.on_ys = (tuple(m) for m in p.split_results(mask_of(cts)))
        while True:
            mask = (*on_carries, *self.on_ys)
            self.step = transpose_graph(body, self.n_residuals, mask, known)
            rest = iter(self.step.found)
            found_fixed = [m and next(rest) for m in self.lin_fixed]
            self.found_carries = tuple(next(rest) for _ in on_carries)
            found_xs = [m and next(rest) for m in self.lin_xs]
            rows = zip(on_carries, self.found_carries, strict=True)
            grown = tuple(a or c for a, c in rows)
            if grown == on_carries:
                break
            on_carries = grown
        self.active = on_carries
        self.found_fixed, self.found_xs = tuple(found_fixed), tuple(found_xs)

    def _residuals_first(self, known: Derivatives) -> Graph:
        """Return the body with what is not linear before what is."""
        p = self.p
        key = p.body, (*self.lin_fixed, *self.lin_xs)
        if key not in known.permuted:
            fixed, carries, xs = p.split(p.body.invars)
            lin = [*_chosen(fixed, self.lin_fixed), *carries, *_chosen(xs, self.lin_xs)]
            rest = [v for v in p.body.invars if v not in lin]
            body = p.body
            known.permuted[key] = Graph(
                body.name, [*rest, *lin], body.outvars, body.eqns
            )
        return known.permuted[key]

    def body(self) -> Graph:
        """Return a turn: cotangents of the carries, sums, then cotangents of xs."""
        p, b = self.p, new_builder(self.step.graph.name)
        fixed, carries, _ = p.split(p.body.invars)
        n_fixed = self.lin_fixed.count(False)
        invars = self.step.graph.invars
        consts = [b.input(v.aval, v.name) for v in invars[:n_fixed]]
        states = [b.input(v.aval) for v in _chosen(carries, self.active)]
        sums = [b.input(v.aval) for v in _chosen(fixed, self.found_fixed)]
        slices = [b.input(v.aval, v.name) for v in invars[n_fixed : self.n_residuals]]
        ys = p.split_results(p.body.outvars)[1]
        given = [b.input(v.aval) for v in _chosen(ys, self.on_ys)]
        operands = [*consts, *slices, *states, *given]
        found = list(b.inline(self.step.graph, operands))
        n, m = sum(self.found_fixed), sum(self.found_carries)
        after = _or_zeros(
            b, spread(found[n : n + m], self.found_carries), list(carries), self.active
        )
        totals = [add_maybe(b, x, y) for x, y in zip(sums, found[:n], strict=True)]
        return b.build([*after, *totals, *found[n + m :]])


linearizing.SUBGRAPH_RULES.update({scan_p: _linearize_scan, while_p: _linearize_while})
transposing.SUBGRAPH_RULES.update({scan_p: _transpose_scan, while_p: _transpose_while})
