"""FileCheck-style tests: `.tir` files that say how to run passes and what comes out.

A file begins with ``; RUN: opt -p "canonicalize,cse"`` (several run one by one, with
``--check-prefix=NAME`` to tell their ``; CHECK:`` lines apart, and
``--disable-rule=NAME``). Every graph of the file is run, verified after each pass, and
printed; its results must stay those of the interpreter.
"""

import argparse
import shlex
from pathlib import Path

import numpy as np
import pytest
from filecheck.matcher import Matcher
from filecheck.options import Options

from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graphs
from tracejit.ir.printer import format_graph
from tracejit.ir.verify import verify
from tracejit.passes.manager import PassContext, parse_pipeline, run_passes
from tracejit.passes.pipelines import known_passes

FILES = sorted(Path(__file__).parent.glob("*.tir"))
RUN = "; RUN: opt "


def run_lines(text: str) -> list[argparse.Namespace]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-p", dest="pipeline", required=True)
    parser.add_argument("--check-prefix", default="CHECK")
    parser.add_argument("--disable-rule", action="append", default=[])
    lines = [t.removeprefix(RUN) for t in text.splitlines() if t.startswith(RUN)]
    return [parser.parse_args(shlex.split(t)) for t in lines]


def cases() -> list[tuple[Path, int]]:
    counts = [(f, len(run_lines(f.read_text()))) for f in FILES]
    return [(f, i) for f, n in counts for i in range(max(n, 1))]


def random_arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [_random(rng, a) for a in graph.in_avals]


def _random(rng: np.random.Generator, aval: ShapedArray) -> np.ndarray:
    if not dt.is_inexact(aval.dtype):
        return rng.integers(0, 2, aval.shape).astype(aval.dtype)
    return np.asarray(rng.uniform(0.5, 1.5, aval.shape)).astype(aval.dtype)


def optimised(text: str, options: argparse.Namespace) -> str:
    out = []
    for graph in parse_graphs(text):
        context = PassContext(
            verify=True, disabled_rules=frozenset(options.disable_rule)
        )
        passes = parse_pipeline(options.pipeline, known_passes())
        after = run_passes(verify(graph), passes, context)
        args = random_arguments(graph)
        pairs = zip(evaluate(graph, args), evaluate(after, args), strict=True)
        for want, got in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-6)
        out.append(format_graph(after))
    return "\n".join(out) + "\n"


@pytest.mark.parametrize(
    ("path", "index"), cases(), ids=lambda x: getattr(x, "stem", x)
)
def test_file(path: Path, index: int, tmp_path: Path, capsys):
    text = path.read_text()
    options = run_lines(text)[index]
    printed = tmp_path / "out.tir"
    printed.write_text(optimised(text, options))
    matcher = Matcher.from_opts(
        Options(str(path), str(printed), check_prefixes=options.check_prefix)
    )
    failed = matcher.run()
    assert not failed, capsys.readouterr().err + printed.read_text()


def test_every_pass_has_a_file():
    text = "".join(f.read_text() for f in FILES)
    used = {n for o in run_lines(text) for n in o.pipeline.split(",")}
    own = {"canonicalize", "fold", "cse", "dce", "fma", "windows"}
    assert own <= {n.partition("{")[0] for n in used}
