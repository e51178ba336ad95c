"""Validation: every compilation is compared with the interpreter on sample inputs.

Needs a graph and how it is lowered. Establishes `validate`, which the switch of that
name calls for each compilation: ``end`` compares machine code with the graph as traced,
``each-pass`` the graph after every pass, the Program after every step of lowering, and
machine code; the first that changes results beyond the contract of docs/numerics.md is
named in an `InternalError` with a repro. Of graphs with more work than `BUDGET` machine
code alone is compared, on normal inputs, for at most `SECONDS`; those that call Python
are left alone. The log ``validate`` says so.
"""

from collections.abc import Sequence

from .. import config, log
from ..ir import dtypes as dt
from ..ir.graph import Graph, subgraphs
from ..ir.ops.control import cond_p
from ..ir.ops.loops import ScanParams, scan_p
from ..ir.primitive import Effect
from ..passes.limits import Limits
from .bisect import bisect
from .checks import references
from .child import BUILDING, Send, values_of_child
from .culprit import Culprit
from .levels import Setting, code_failure
from .limits import ProcessDied
from .repro import case_of, wrong_results

BUDGET = 3e7  # numbers computed, by one run; each is computed some thirty times
SECONDS = 30.0  # for what computes more
EQUATION = 1e4  # numbers that cost as much as an equation without any
MULTIPLIED = 1 / 30  # operations of a product of NumPy, in numbers
PRODUCTS = frozenset({"dot_general", "conv_general"})
BY_BLAS = dt.INEXACT - dt.NARROW_FLOATS
OUTSIDE = frozenset({Effect.ORDERED, Effect.IO})


def validate(graph: Graph, setting: Setting, limits: Limits, seed: int = 0) -> None:
    """Compare what a graph is compiled to with what it means.

    Parameters
    ----------
    graph : Graph
        As traced.
    setting : Setting
        How it is lowered.
    limits : Limits
        Of its target.
    seed : int
        Of the sample inputs.

    Raises
    ------
    InternalError
        Naming the pass, the rewrite, the kernel or the code that is wrong, and a repro.
    """
    if graph.effects & OUTSIDE:
        reason = "it calls Python, which would be called again"
        log.emit("validate", f"@{graph.name} is not validated: {reason}")
    elif work_of(graph) > BUDGET:
        _validate_in_part(graph, setting, limits, seed)
    else:
        _validate_all(graph, setting, limits, seed)


def _validate_all(graph: Graph, setting: Setting, limits: Limits, seed: int) -> None:
    is_each = config.get("validate") == "each-pass" or not setting.is_native
    wanted = references(graph, seed=seed)
    if not is_each and code_failure(graph, setting, wanted) is None:
        return
    found = bisect(graph, setting, seed=seed)
    if found is None:
        log.emit("validate", f"@{graph.name} is right")
        return
    raise _error(graph, setting, limits, found)


def _validate_in_part(
    graph: Graph, setting: Setting, limits: Limits, seed: int
) -> None:
    """Compare machine code on one sample, in a child process and for a while."""
    about = f"@{graph.name} computes {work_of(graph):.0e} numbers"
    if not setting.is_native:
        log.emit("validate", f"{about}, too many to interpret: it is not validated")
        return

    def compare(send: Send) -> None:
        wanted = references(graph, seed=seed)[:1]
        labels = " and ".join(r.label for r in wanted)
        send((labels, code_failure(graph, setting, wanted)))

    try:
        ((inputs, wrong),) = values_of_child(compare, SECONDS / BUILDING)
    except ProcessDied as error:
        log.emit("validate", f"{about}: it is not validated, {error.message}")
        return
    if wrong is None:
        log.emit("validate", f"{about}: its code is right on {inputs or 'nothing'}")
        return
    found = bisect(graph, setting, seed=seed)
    culprit = found or Culprit("code", "the program's own code", wrong.reason)
    raise _error(graph, setting, limits, culprit)


def work_of(graph: Graph) -> float:
    """Estimate the numbers that one run of a graph computes."""
    total = 0.0
    for eqn in graph.eqns:
        outs = tuple(v.aval for v in eqn.outvars)
        if eqn.primitive is scan_p:
            p = ScanParams.of(eqn.params)
            total += p.length * work_of(p.body)
            continue
        inner = [work_of(g) for g in subgraphs(eqn.params)]
        if inner:
            total += max(inner) if eqn.primitive is cond_p else sum(inner)
            continue
        ins = tuple(x.aval for x in eqn.invars)
        flops = eqn.primitive.flops(ins, outs, eqn.params)
        if eqn.primitive.name in PRODUCTS and outs[0].dtype in BY_BLAS:
            flops *= MULTIPLIED
        total += EQUATION + max(flops, sum(a.size for a in outs))
    return total


def _error(graph: Graph, setting: Setting, limits: Limits, found: Culprit) -> Exception:
    strides: Sequence = setting.strides_of(graph)  # type: ignore[type-arg]
    case = case_of(graph, setting.passes, strides, limits, found.reason, "results")
    return wrong_results(case, found)
