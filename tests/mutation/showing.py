"""Programs that may show a planted bug to `bisect`, those nearest to it first.

For bugs of rules and passes they are the graphs that tests of these have; for what is
below them, programs of the tests, and one of each elementwise function. Needs to be
called in a process with the bug in it; all of it is imported there.
"""

from collections.abc import Iterator
from itertools import chain, product
from typing import Any

from .mutant import ROOT, Mutant

PASS_OF = {  # that counts rewrites under another name
    "value_number": "cse",
    "share_subgraph": "cse",
    "dead_equation": "dce",
    "dead_gather": "dce",
    "dead_in_loop": "dce",
    "contract_fma": "fma",
    "expand_power": "powers",
    "sum_short_product": "products",
    "join_pieces": "joins",
    "sort_once": "sorts",
    "only_places": "places",
    "expand_window": "windows",
    "split_complex": "split-complex",
    "by_component": "components",
    "gather_by_rows": "gathers",
    "pointwise_loop": "turns",
    "lay_out": "layouts",
}
BELOW = ("kernels", "program", "codegen/llvm")
ELEMENTWISE = {"elementwise", "convert", "vmath"}  # modules of their code
SEEDS = 50  # random graphs, and as many with loops
SPECIAL = 12  # inputs of the graphs of one rule
SIZE = 67  # of arrays: no multiple of any vector's length
Shown = Iterator[tuple[Any, list[Any]]]  # graphs, and inputs to run them on


def is_below_passes(mutant: Mutant) -> bool:
    """Tell whether a bug lies in what is made of a graph after its passes."""
    return mutant.area in BELOW


def programs_of(mutant: Mutant) -> Shown:
    """Yield graphs, and inputs to run them on besides the samples."""
    from tracejit.ir.parser import parse_graph  # noqa: PLC0415

    if mutant.program:
        yield parse_graph(mutant.program), []
    if not is_below_passes(mutant):
        yield from chain(_of_passes(mutant.culprit), _random())
    elif mutant.culprit == "code" and set(mutant.module.split(".")) & ELEMENTWISE:
        yield from chain(_functions(), _shaped(), _random(), _calls())
    elif mutant.culprit == "code":
        yield from chain(_shaped(), _calls(), _random(), _functions())
    else:
        yield from chain(_calls(), _shaped(), _random(), _of_passes(mutant.culprit))


def _of_passes(culprit: str) -> Shown:
    """Inputs of the tests of rules are zeros of both signs, infinities, NaN, ..."""
    from tests.ir.test_loop_rules import FIRES, MUST_NOT  # noqa: PLC0415
    from tests.passes.rewriting import body, special_arguments  # noqa: PLC0415
    from tests.passes.test_rules import MUST_NOT_FIRE, REWRITES  # noqa: PLC0415
    from tracejit.ir.parser import parse_graphs  # noqa: PLC0415

    rules = [(name, body(text)) for name, text, _ in (*REWRITES, *MUST_NOT_FIRE)]
    for graph in (g for name, g in rules if name == culprit):
        yield graph, special_arguments(graph.in_avals)[:SPECIAL]
    yield from ((g, []) for name, g, *_ in (*FIRES, *MUST_NOT) if name == culprit)
    own = PASS_OF.get(culprit, culprit)
    files = sorted((ROOT / "tests" / "filetests").glob("*.tir"))
    mine = [f for f in files if f.stem in (own, f"{own}-keeps")]
    for file in (*mine, *(f for f in files if f not in mine)):
        yield from ((g, []) for g in parse_graphs(file.read_text("utf-8")))
    for _, graph in rules:
        yield graph, special_arguments(graph.in_avals)[:SPECIAL]
    yield from ((g, []) for _, g, *_ in (*FIRES, *MUST_NOT))


def _random() -> Shown:
    from tests.program.random_graphs import LOOP_SEEDS, random_graph  # noqa: PLC0415

    seeds = chain.from_iterable((k, LOOP_SEEDS + k) for k in range(SEEDS))
    yield from ((random_graph(seed)[0], []) for seed in seeds)


def _calls() -> Shown:
    """Yield what test programs are traced to: loops of few turns, and whole models."""
    import numpy as np  # noqa: PLC0415

    import tracejit as tj  # noqa: PLC0415
    from tests.program.test_carries import CASES, X  # noqa: PLC0415
    from tests.programs.registry import PROGRAMS  # noqa: PLC0415

    for function, turns in product(CASES, (3, 4)):
        fixed = tj.jit(function, static_argnames=("turns",))
        yield fixed.trace(X, turns=turns).graph, []
    for program in PROGRAMS.values():
        call = program.fresh_args(np.dtype(np.float32))
        jitted = tj.jit(program.fn, static_argnames=program.static_argnames)
        yield jitted.trace(*call.args, **call.kwargs).graph, []


def _shaped() -> Shown:
    from .shaped import graphs  # noqa: PLC0415

    return graphs()


def _functions() -> Shown:
    """Yield graphs of one elementwise function, of numbers small and large."""
    import numpy as np  # noqa: PLC0415

    from tests.passes.rewriting import special_arguments  # noqa: PLC0415
    from tracejit.errors import TracejitError  # noqa: PLC0415
    from tracejit.ir import dtypes as dt  # noqa: PLC0415
    from tracejit.ir.aval import ShapedArray  # noqa: PLC0415
    from tracejit.ir.builder import Builder  # noqa: PLC0415
    from tracejit.ir.ops import elementwise  # noqa: PLC0415
    from tracejit.ir.primitive import Primitive  # noqa: PLC0415

    found = (x for x in vars(elementwise).values() if isinstance(x, Primitive))
    without = ("convert", "bitcast", "pow")  # which need more, or raise for integers
    primitives = [x for x in found if x.name not in without]
    dtypes = (dt.FLOAT32, dt.FLOAT64, dt.INT64, dt.FLOAT16)
    for dtype, primitive, arity in product(dtypes, primitives, (1, 2)):
        b = Builder(primitive.name)
        aval = ShapedArray((SIZE,), dtype)
        try:
            y = b.emit(primitive, *(b.input(aval) for _ in range(arity)))
        except (TracejitError, TypeError, ValueError):  # of another arity or dtype
            continue
        wide = [np.linspace(-30, 30, SIZE).astype(dtype), np.ones(SIZE, dtype)][:arity]
        yield b.build([y]), [wide, *special_arguments((aval,) * arity)[:SPECIAL]]
