"""What is made of results: pages, comparisons, the README's table."""

import io
import json
import math
import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import cold, compare, readme, report, svg
from benchmarks.keep import keep
from benchmarks.page import page
from benchmarks.row import OURS, Measurement, RowResult, Status
from tracejit.debug.machine import Limits

from .test_harness import timed, toy_row

MACHINE = {
    "cpu": "a <cpu>",
    "threads": 2,
    "system": "Linux",
    "python": "3.11",
    "versions": {"numpy": "2.4", "jax": None},
    "commit": "abc",
    "date": "2026-01-02T03:04:05",
}


def run(ours=2.0, others=()):
    measurements = {
        "numpy": timed("numpy", 8.0),
        "jax": Measurement(contender="jax", status=Status.WRONG, note="error 1"),
        OURS: timed(OURS, ours),
    }
    result = RowResult(toy_row(name="a<b"), measurements, list(others))
    chains = {
        f"chain_{n}": {OURS: n / 1000, "jax": None if n > 100 else n / 100}
        for n in (10, 100, 1000)
    }
    tables = [cold.Table("first call", "s", chains, ("jax, chain_1000: too long",))]
    limits = Limits({"float32": 1e-6}, {1000: 1e-6})
    return report.Run("core", MACHINE, limits, [result], tables)


def test_a_run_is_written_as_data_and_as_a_page(tmp_path):
    keep(run(), tmp_path, "core")
    kept = json.loads((tmp_path / "core.json").read_text())
    row = kept["rows"]["a<b"]
    assert row["ratios"] == {"numpy": 4.0, "jax": None, "best": 4.0}
    assert row["of_limit"] == pytest.approx(0.032)
    assert kept["tables"][0]["rows"]["chain_1000"] == {OURS: 1.0, "jax": None}
    text = (tmp_path / "core.html").read_text()
    assert "a&lt;b" in text and "<b<" not in text
    assert "4.00×" in text and "too long" in text
    assert text.count("<svg") == 3  # bars, roofline, curves
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_nothing_is_written_without_a_folder(tmp_path):
    keep(run(), None, "core")
    assert [*tmp_path.iterdir()] == []


def test_plots_are_well_formed_and_show_every_mark():
    rows = {"r&": {OURS: 1.0, "numpy": 3.0, "jax": math.nan}}
    plots = {
        svg.bars(rows, "x"): ("rect", 2),
        svg.roofline({"p": (2.0, 5.0), "q": (0.1, 1.0)}, 100.0, 10.0): ("circle", 2),
        svg.curves({OURS: [(1, 2.0), (10, 3.0)]}, "n", "s"): ("polyline", 1),
    }
    for plot, (tag, count) in plots.items():
        root = ElementTree.fromstring(plot)
        assert len(root.findall(f"{{http://www.w3.org/2000/svg}}{tag}")) == count
    assert svg.bars({"r": {OURS: math.nan}}, "x") == ""


def test_axes_are_logarithmic_and_keep_inside():
    axis = svg.Axis(1, 100, 0, 200)
    assert [axis.at(v) for v in (1, 10, 100, 1000)] == [0, 100, 200, 200]
    assert axis.ticks() == [1, 2, 5, 10, 20, 50, 100]


def test_a_page_of_tables_alone():
    numbers = cold.Table("import", "s", {"import": {"numpy": 0.05, OURS: None}})
    text = page(report.document(report.Run("compile", MACHINE, tables=[numbers])))
    assert "0.05" in text
    assert "<svg" not in text


def test_two_runs_side_by_side(tmp_path):
    keep(run(2.0), tmp_path, "before")
    keep(run(1.0), tmp_path, "after")
    paths = [str(tmp_path / f"{name}.json") for name in ("before", "after")]
    shown = CliRunner().invoke(compare.main, paths)
    assert shown.exit_code == 0, shown.output
    row = next(line for line in shown.output.splitlines() if "a<b" in line)
    assert "2.00x" in row and "4.00x" in row and "8.00x" in row


def test_the_tables_of_a_terminal():
    console = Console(record=True, width=160, file=io.StringIO())
    report.show(run(others=[0.5]), console)
    text = console.export_text()
    assert "4.00x" in text and "WRONG" in text and "no calm rounds" in text


def test_the_readme_has_the_table_of_the_results(tmp_path):
    document = report.document(run())
    table = readme.table(document)
    assert "| `a<b` | 2e+03 | 8e+03 |  | 4.00× |" in table
    assert "a <cpu>, 2 threads; numpy 2.4; commit abc, 2026-01-02." in table
    text = f"before {readme.START} old {readme.END} after"
    new = readme.replaced(text, table)
    assert new == f"before {readme.START}\n{table}\n{readme.END} after"
    assert readme.replaced(new, table) == new
    with pytest.raises(ValueError, match="no marks"):
        readme.replaced("text", table)


def test_the_readme_is_up_to_date():
    shown = CliRunner().invoke(readme.main, ["--check"])
    assert shown.exit_code == 0, "run: python -m benchmarks readme"
