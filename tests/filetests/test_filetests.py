"""FileCheck-style tests: `.tir` files that say which command to run and what it prints.

A file has lines as they would be typed, with ``%s`` for the file itself::

    ; RUN: tracejit opt %s -p "canonicalize,dce" | filecheck %s
    ; RUN: tracejit opt %s -p "dce" | filecheck %s --check-prefix=DEAD

``tracejit opt`` is the command itself, run in this process and with ``--verify-each``;
what it prints goes through filecheck, and its graphs must give what those of the file
give in the interpreter.

Each pass has two files. In ``PASS.tir`` it fires. In ``PASS-keeps.tir`` are graphs that
resemble those, which it must print as they are.
"""

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from filecheck.matcher import Matcher
from filecheck.options import Options, parse_argv_options

from tracejit.cli.main import main
from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graphs
from tracejit.passes.pipelines import known_passes

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.tir"))
RUN = "; RUN: "


def run_lines(path: Path) -> list[tuple[list[str], Options]]:
    """Return the commands of a file: arguments of tracejit, options of filecheck."""
    lines = (t for t in path.read_text("utf-8").splitlines() if t.startswith(RUN))
    return [_commands(line.removeprefix(RUN), path) for line in lines]


def _commands(line: str, path: Path) -> tuple[list[str], Options]:
    words = [str(path) if w == "%s" else w for w in shlex.split(line)]
    assert words.count("|") == 1, f"{path.name}: {line!r} is no pipe of two commands"
    at = words.index("|")
    tracejit, filecheck = words[:at], words[at + 1 :]
    assert tracejit[0] == "tracejit", f"{path.name}: {line!r} does not run tracejit"
    assert filecheck[0] == "filecheck", f"{path.name}: {line!r} checks nothing"
    return tracejit[1:], parse_argv_options(filecheck)


def printed(*args: str) -> str:
    """Return what a command of tracejit writes to stdout."""
    found = CliRunner().invoke(main, args)
    assert found.exit_code == 0, found.output
    return found.stdout


def cases() -> list[tuple[Path, int]]:
    return [(f, i) for f in FILES for i in range(max(len(run_lines(f)), 1))]


def random_arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [_random(rng, a) for a in graph.in_avals]


def _random(rng: np.random.Generator, aval: ShapedArray) -> np.ndarray:
    if not dt.is_inexact(aval.dtype):
        return rng.integers(0, 2, aval.shape).astype(aval.dtype)
    return np.asarray(rng.uniform(0.5, 1.5, aval.shape)).astype(aval.dtype)


def assert_same_results(before: str, after: str) -> None:
    graphs = zip(parse_graphs(before), parse_graphs(after), strict=True)
    for old, new in graphs:
        args = random_arguments(old)
        pairs = zip(evaluate(old, args), evaluate(new, args), strict=True)
        for want, got in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-6, strict=True)


@pytest.mark.parametrize(
    ("path", "index"), cases(), ids=lambda x: getattr(x, "stem", x)
)
def test_file(path: Path, index: int, tmp_path: Path, capsys):
    args, options = run_lines(path)[index]
    text = printed(*args, "--verify-each")
    output = tmp_path / "out.tir"
    output.write_text(text, "utf-8")
    options.input_file = str(output)
    failed = Matcher.from_opts(options).run()
    assert not failed, capsys.readouterr().err + text
    assert_same_results(path.read_text("utf-8"), text)


@pytest.mark.parametrize("name", known_passes())
def test_every_pass_has_a_file_where_it_fires(name: str):
    path = FOLDER / f"{name}.tir"
    assert path.exists(), f"pass {name} has no tests/filetests/{path.name}"
    assert any(name in passes_of(args) for args, _ in run_lines(path))
    chosen = written(path, name)
    assert printed("opt", str(path), "-p", chosen) != printed("opt", str(path))


@pytest.mark.parametrize("name", sorted({*known_passes()} - {"fuse"}))
def test_passes_do_nothing_when_no_rewrite_is_allowed(name: str):
    """But for `fuse`, whose groups of one equation are no rewrites."""
    path = FOLDER / f"{name}.tir"
    chosen = written(path, name)
    kept = printed("opt", str(path), "-p", chosen, "--bisect-limit=0")
    assert kept == printed("opt", str(path))


@pytest.mark.parametrize("name", known_passes())
def test_every_pass_has_a_file_where_it_does_not(name: str):
    path = FOLDER / f"{name}-keeps.tir"
    assert path.exists(), f"pass {name} has no tests/filetests/{path.name}"
    assert any(passes_of(args) == [name] for args, _ in run_lines(path))
    chosen = written(path, name)
    assert printed("opt", str(path), "-p", chosen) == printed("opt", str(path))


def written(path: Path, name: str) -> str:
    """Return a pass with the options that a file gives it."""
    found = (a[a.index("-p") + 1] for a, _ in run_lines(path) if passes_of(a) == [name])
    return next(found, name)


def passes_of(args: list[str]) -> list[str]:
    return [p.partition("{")[0] for p in args[args.index("-p") + 1].split(",")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_graph_is_checked(path: Path):
    text = path.read_text("utf-8")
    for _, options in run_lines(path):
        labels = [f"; {prefix}-LABEL: graph @" for prefix in options.check_prefixes]
        checked = {
            line.removeprefix(label).strip()
            for line in text.splitlines()
            for label in labels
            if line.startswith(label)
        }
        if options.check_prefixes == ["CHECK"]:
            assert checked == {g.name for g in parse_graphs(text)}
        assert checked, f"{path.name}: nothing is checked as {options.check_prefixes}"
