"""Tests of rewrite rules: structure, bits, and where a rule must not fire."""

import re
from itertools import product

import numpy as np

from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.ir.rewrite import RuleSet
from tracejit.ir.simplify import LOWERING_RULES
from tracejit.ir.verify import verify
from tracejit.passes.dce import dce
from tracejit.passes.manager import PassContext, replay

FLOAT_VALUES = [0.0, -0.0, 1.0, -1.5, 3.0, 1e-40, 6e4, np.inf, -np.inf, np.nan]
INT_VALUES = [0, 1, 2, 3, 100, 127]


def body(text: str) -> Graph:
    """Parse ``(%x: f32[3]) -> f32[3]: mul %x, 1.0; add %0, %x`` as a graph.

    Equations are separated by ``;``. They are numbered, and their types are inferred;
    a last ``return %x`` names the results, else the last equation is returned.
    """
    head, _, rest = text.partition("=>")
    lines = [t.strip() for t in rest.split(";") if t.strip()]
    if not lines[-1].startswith("return"):
        lines.append(f"return %{len(lines) - 1}")
    return parse_graph(_typed(head.strip(), lines))


def _typed(head: str, lines: list[str]) -> str:
    """Give each equation the types that its primitive infers."""
    done = f"graph @f({head}) -> (OUT) {{\n"
    for number, line in enumerate(lines[:-1]):
        avals = _infer(done, line)
        binders = ", ".join(f"%{number}: {a}" for a in avals)
        done += f"  {binders} = {line}\n"
    outs = _infer_results(done, lines[-1])
    return done.replace("OUT", outs) + f"  {lines[-1]}\n}}"


def _infer(before: str, line: str) -> tuple[ShapedArray, ...]:
    """Parse `line` with candidate result types until one is what it computes."""
    name = line.split()[0]
    operands = re.findall(r"%[\w.]+", line.split("{")[0])
    types = dict(re.findall(r"(%[\w.]+): (\w+\[[\d,]*\])", before))
    candidates = [types[o] for o in reversed(operands)] or ["f32[]"]
    for guess in (*candidates, "bool[]", "f32[]"):
        text = before.replace("OUT", "") + f"  %t: {guess} = {line}\n  return\n}}"
        try:
            eqn = parse_graph(text).eqns[-1]
            return eqn.primitive.out_avals([x.aval for x in eqn.invars], eqn.params)
        except (TypeError, ValueError):
            continue
    raise AssertionError(f"no type fits {name}: {line}")


def _infer_results(before: str, line: str) -> str:
    types = dict(re.findall(r"(%[\w.]+): (\w+\[[\d,]*\])", before))
    results = [x.strip() for x in line.removeprefix("return").split(",")]
    return ", ".join(types.get(r) or r.partition(":")[2] + "[]" for r in results)


def apply_rule(name: str, graph: Graph) -> tuple[Graph, int]:
    """Replay `graph` with one rule; return what is left, and how often it fired."""
    chosen = [r for r in LOWERING_RULES.rules if r.name == name]
    assert chosen, f"no rule is called {name}"
    context = PassContext()
    graph = verify(replay(graph, RuleSet(chosen), False, context))
    fired = context.stats.fired[name]
    return verify(dce(graph, context)), fired


def check_rewrite(name: str, before: str, after: str) -> None:
    """The rule turns `before` into `after`, and results keep their bits."""
    graph, wanted = body(before), body(after)
    got, fired = apply_rule(name, graph)
    assert fired, f"{name} did not fire"
    assert format_graph(got) == format_graph(wanted)
    check_same_bits(graph, got)


def check_does_not_fire(name: str, before: str) -> None:
    graph = body(before)
    _, fired = apply_rule(name, graph)
    assert not fired, f"{name} fired"


def check_same_bits(first: Graph, second: Graph) -> None:
    """Compare on special values, in every pairing of the operands' elements."""
    for args in special_arguments(first.in_avals):
        left, right = evaluate(first, args), evaluate(second, args)
        for x, y in zip(left, right, strict=True):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            assert bits(x) == bits(y), (args, x, y)


def bits(x: np.ndarray) -> bytes:
    """The bytes of `x` with all NaN alike."""
    flat = np.ascontiguousarray(x).reshape(-1)
    if x.dtype.kind == "c":
        flat = flat.view(dt.real_dtype(x.dtype))
    if dt.is_float(flat.dtype):
        flat = np.where(np.isnan(flat), np.asarray(np.nan, flat.dtype), flat)
    return flat.tobytes()


def special_arguments(avals: tuple[ShapedArray, ...]) -> list[list[np.ndarray]]:
    """Return arguments whose elements run through the special values of each dtype."""
    rolls = list(product(range(0, 12, 3 if len(avals) > 1 else 2), repeat=len(avals)))
    return [
        [
            filled(a, r, step)
            for step, (a, r) in enumerate(zip(avals, roll, strict=True))
        ]
        for roll in rolls[:150]
    ]


def filled(aval: ShapedArray, roll: int, step: int) -> np.ndarray:
    """Return an array of special values, beginning at `roll`."""
    if aval.dtype == dt.BOOL:
        return (np.arange(aval.size).reshape(aval.shape) + roll) % 2 == 0
    values = INT_VALUES if aval.dtype in dt.INTEGERS else FLOAT_VALUES
    at = (np.arange(2 * aval.size) * (2 * step + 1) + roll) % len(values)
    with np.errstate(all="ignore"):
        flat = np.array(values)[at]
        if aval.dtype.kind == "c":
            parts = flat.astype(dt.real_dtype(aval.dtype))
            return parts.view(aval.dtype).reshape(aval.shape)
        return flat[: aval.size].astype(aval.dtype).reshape(aval.shape)
