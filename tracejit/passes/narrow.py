"""What of loops nobody reads: results, carries, constants and slices.

A result of a scan that is a carry stays as long as another result or carry needs it; a
while keeps what its test needs too. Used by `dce`, which cleans the bodies afterwards.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.liveness import live_equations
from ..ir.ops.loops import ScanParams, WhileParams, scan_p

Mask = list[bool]


def narrowed_loop(eqn: Eqn, live: set[Var]) -> Eqn:
    """Return a `scan` or `while` without what nobody reads; itself if all is read."""
    wanted = [v in live for v in eqn.outvars]
    return _scan(eqn, wanted) if eqn.primitive is scan_p else _while(eqn, wanted)


def _reads(graph: Graph, outs: Sequence[Atom]) -> Mask:
    """Tell which inputs are needed for some of the results, and for effects."""
    read = {x for e in live_equations(graph.eqns, outs) for x in e.invars}
    read.update(outs)
    return [v in read for v in graph.invars]


def _chosen(items: Sequence[Atom], mask: Sequence[bool]) -> list[Atom]:
    return [x for x, m in zip(items, mask, strict=True) if m]


def _variables(items: Sequence[Var], mask: Sequence[bool]) -> list[Var]:
    return [x for x, m in zip(items, mask, strict=True) if m]


def _scan(eqn: Eqn, wanted: Mask) -> Eqn:
    p = ScanParams.of(eqn.params)
    while True:
        read = _reads(p.body, _chosen(p.body.outvars, wanted))
        needed = p.split(read)[1]
        grown = [a or n for a, n in zip(wanted, needed, strict=False)]
        if grown == wanted[: p.carries]:
            break
        wanted = [*grown, *wanted[p.carries :]]
    fixed, _, xs = p.split(read)
    ins = [*fixed, *wanted[: p.carries], *xs]
    if all(ins) and all(wanted):
        return eqn
    body = Graph(
        p.body.name,
        _variables(p.body.invars, ins),
        _chosen(p.body.outvars, wanted),
        live_equations(p.body.eqns, _chosen(p.body.outvars, wanted)),
    )
    less = replace(p, body=body, consts=sum(fixed), carries=sum(wanted[: p.carries]))
    return _with(eqn, ins, wanted, less)


def _while(eqn: Eqn, wanted: Mask) -> Eqn:
    p = WhileParams.of(eqn.params)
    in_test = _reads(p.test, p.test.outvars)
    wanted = _either(wanted, in_test[p.test_consts :])
    while True:
        read = _reads(p.body, _chosen(p.body.outvars, wanted))
        grown = _either(wanted, read[p.body_consts :])
        if grown == wanted:
            break
        wanted = grown
    ins = [*in_test[: p.test_consts], *read[: p.body_consts], *wanted]
    if all(ins):
        return eqn
    for_test = [*in_test[: p.test_consts], *wanted]
    for_body = [*read[: p.body_consts], *wanted]
    outs = _chosen(p.body.outvars, wanted)
    less = WhileParams(
        Graph(
            p.test.name,
            _variables(p.test.invars, for_test),
            p.test.outvars,
            live_equations(p.test.eqns, p.test.outvars),
        ),
        Graph(
            p.body.name,
            _variables(p.body.invars, for_body),
            outs,
            live_equations(p.body.eqns, outs),
        ),
        sum(in_test[: p.test_consts]),
        sum(read[: p.body_consts]),
    )
    return _with(eqn, ins, wanted, less)


def _either(x: Mask, y: Mask) -> Mask:
    return [a or b for a, b in zip(x, y, strict=True)]


def _with(eqn: Eqn, ins: Mask, outs: Mask, p: ScanParams | WhileParams) -> Eqn:
    return Eqn(
        eqn.primitive,
        tuple(_chosen(eqn.invars, ins)),
        p.params,
        tuple(_variables(eqn.outvars, outs)),
        eqn.source,
    )
