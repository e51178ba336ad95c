"""Rewrite rules of control flow: known choices, short loops, what a loop need not do.

Needs the bodies as graphs. Each rule gives bits that are the same: turns keep their
order, and nothing that may raise leaves its place.
"""

from collections.abc import Sequence
from dataclasses import replace

from .builder import Builder
from .graph import Atom, Graph, Literal
from .invariant import hoist_invariant
from .ops.control import cond_p
from .ops.loops import ScanParams, WhileParams, scan_p, while_p
from .ops.shape import concatenate_p, full_like, reshape, slice_p
from .primitive import Params, Primitive
from .rewrite import Rule, rule

Atoms = Sequence[Atom]


@rule("cond_known", cond_p, doc="cond true, x {f, g} -> f x")
def cond_known(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Choose where the predicate is known."""
    if not isinstance(ins[0], Literal):
        return None
    graph = params["on_true" if ins[0].value else "on_false"]
    assert isinstance(graph, Graph)
    return b.inline(graph, ins[1:])


@rule("scan_short", scan_p, doc="scan of one turn -> its body; of none -> the carries")
def scan_short(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Do without a loop of at most one turn."""
    scan = ScanParams.of(params)
    fixed, carries, xs = scan.split(ins)
    if scan.length > 1:
        return None
    if not scan.length:
        ys = p.out_avals([x.aval for x in ins], params)[scan.carries :]
        return [*carries, *(full_like(b, 0, a) for a in ys)]
    slices = [reshape(b, x, x.aval.shape[1:]) for x in xs]
    after, ys_slices = scan.split_results(
        b.inline(scan.body, [*fixed, *carries, *slices])
    )
    return [*after, *(reshape(b, y, (1, *y.aval.shape)) for y in ys_slices)]


@rule("scan_fixed_carry", scan_p, doc="carry that each turn gives as it is -> constant")
def scan_fixed_carry(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A carry that no turn changes is a constant of the loop."""
    scan = ScanParams.of(params)
    fixed, carries, xs = scan.split(scan.body.invars)
    after, ys = scan.split_results(scan.body.outvars)
    same = [x is y for x, y in zip(carries, after, strict=True)]
    if not any(same):
        return None
    order = sorted(range(scan.carries), key=lambda i: not same[i])
    n = sum(same)
    body = Graph(
        scan.body.name,
        [*fixed, *(carries[i] for i in order), *xs],
        [*(after[i] for i in order[n:]), *ys],
        scan.body.eqns,
    )
    values = scan.split(ins)
    operands = [*values[0], *(values[1][i] for i in order), *values[2]]
    less = replace(scan, body=body, consts=scan.consts + n, carries=scan.carries - n)
    outs = b.emit_all(scan_p, operands, less.params)
    changed = dict(zip(order[n:], outs, strict=False))
    finals = [changed.get(i, values[1][i]) for i in range(scan.carries)]
    return [*finals, *outs[scan.carries - n :]]


@rule("hoist_scan", scan_p, doc="scan w {exp w; ...} -> exp w; scan w, %0 {...}")
def hoist_scan(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Compute once what is the same at every turn."""
    scan = ScanParams.of(params)
    runs = scan.length > 0
    found = hoist_invariant(scan.body, scan.consts, runs) if runs else None
    if found is None:
        return None
    fixed = ins[: scan.consts]
    more = b.inline(found.outside, fixed)
    less = replace(scan, body=found.body, consts=scan.consts + len(more))
    return b.emit_all(scan_p, [*fixed, *more, *ins[scan.consts :]], less.params)


@rule("hoist_while", while_p, doc="while w {exp w; ...} -> exp w; while w, %0 {...}")
def hoist_while(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Compute once what is the same at every turn, of the test and of the body."""
    loop = WhileParams.of(params)
    for_test, for_body, carries = loop.split(ins)
    in_test = hoist_invariant(loop.test, loop.test_consts, runs=True)
    in_body = hoist_invariant(loop.body, loop.body_consts, runs=False)
    if in_test is None and in_body is None:
        return None
    if in_test is not None:
        for_test += b.inline(in_test.outside, for_test)
        loop = replace(loop, test=in_test.body, test_consts=len(for_test))
    if in_body is not None:
        for_body += b.inline(in_body.outside, for_body)
        loop = replace(loop, body=in_body.body, body_consts=len(for_body))
    return b.emit_all(while_p, [*for_test, *for_body, *carries], loop.params)


@rule("scan_unroll", scan_p, doc="scan of n turns {unroll=k} -> scan of n/k turns")
def scan_unroll(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Put several turns into one; what is left over runs after them."""
    scan = ScanParams.of(params)
    if scan.unroll == 1 or scan.length < 2:
        return None
    k = min(scan.unroll, scan.length)
    turns, rest = divmod(scan.length, k)
    fixed, carries, xs = scan.split(ins)
    first = rest if scan.reverse else 0
    inside = [_part(b, x, first, first + turns * k) for x in xs]
    joined = [reshape(b, x, (turns, k, *x.aval.shape[1:])) for x in inside]
    many = replace(scan, body=_repeated(scan, k), length=turns, unroll=1)
    after, ys = many.split_results(
        b.emit_all(scan_p, [*fixed, *carries, *joined], many.params)
    )
    ys = [reshape(b, y, (turns * k, *y.aval.shape[2:])) for y in ys]
    if not rest:
        return [*after, *ys]
    start = 0 if scan.reverse else turns * k
    others = [_part(b, x, start, start + rest) for x in xs]
    one = replace(scan, length=rest, unroll=rest)
    last, more = one.split_results(
        b.emit_all(scan_p, [*fixed, *after, *others], one.params)
    )
    pairs = zip(ys, more, strict=True)
    return [*last, *(_joined(b, [y, z], scan.reverse) for y, z in pairs)]


def _part(b: Builder, x: Atom, start: int, stop: int) -> Atom:
    """Return ``x[start:stop]``."""
    n = x.aval.ndim
    if (start, stop) == (0, x.aval.shape[0]):
        return x
    begin, end = (start, *[0] * (n - 1)), (stop, *x.aval.shape[1:])
    return b.emit(slice_p, x, start=begin, stop=end, stride=(1,) * n)


def _joined(b: Builder, parts: Sequence[Atom], reverse: bool) -> Atom:
    return b.emit(concatenate_p, *(parts[::-1] if reverse else parts), axis=0)


def _repeated(scan: ScanParams, k: int) -> Graph:
    """Return the body of `k` turns."""
    b = Builder(scan.body.name)
    fixed, carries, xs = scan.split([v.aval for v in scan.body.invars])
    consts = [b.input(a) for a in fixed]
    states: list[Atom] = [b.input(a) for a in carries]
    stacks = [b.input(a.with_shape((k, *a.shape))) for a in xs]
    ys: list[list[Atom]] = []
    for j in reversed(range(k)) if scan.reverse else range(k):
        parts = [_part(b, x, j, j + 1) for x in stacks]
        slices = [reshape(b, x, x.aval.shape[1:]) for x in parts]
        outs = b.inline(scan.body, [*consts, *states, *slices])
        states, values = scan.split_results(outs)
        ys.append([reshape(b, y, (1, *y.aval.shape)) for y in values])
    return b.build(
        [*states, *(_joined(b, row, scan.reverse) for row in zip(*ys, strict=True))]
    )


EXACT_LOOP_RULES: tuple[Rule, ...] = (cond_known, scan_short, scan_fixed_carry)
# Derivatives want loops as they were written.
LOOP_RULES: tuple[Rule, ...] = (*EXACT_LOOP_RULES, scan_unroll, hoist_scan, hoist_while)
