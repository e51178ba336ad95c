"""`TRACEJIT_DUMP`: the same files for the same compilation, and an index of them."""

import json

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.dump import FILES, INDEX
from tracejit.ir.parser import parse_graphs


def dumped(folder, fn, *args):
    """Compile a function with dumps; return the folders that there are."""
    with tj.config.override(dump=str(folder)):
        tj.jit(fn)(*args)
    return sorted(p for p in folder.iterdir() if p.is_dir())


def scaled(x):
    return np.exp(x) * 2 + x


def test_files_of_a_compilation(tmp_path):
    (place,) = dumped(tmp_path / "new", scaled, np.ones(5, np.float32))
    names = {p.name for p in place.iterdir()}
    fixed = {*FILES} - {"NN-PASS.tir", "code.txt"}
    assert fixed <= names
    passes = names - fixed
    assert passes and all(n[:2].isdigit() and n.endswith(".tir") for n in passes)
    assert any(n.endswith("-fuse.tir") for n in passes)
    parse_graphs((place / "00-traced.tir").read_text())
    assert "define" in (place / "code.ll").read_text()
    assert (place / "code.s").read_text().count("\n") > 10
    assert "kernel @" in (place / "kernels.txt").read_text()


def test_names_are_the_same_each_time(tmp_path):
    one = dumped(tmp_path / "a", scaled, np.ones(5))
    two = dumped(tmp_path / "b", scaled, np.ones(5))
    other = dumped(tmp_path / "c", scaled, np.ones(6))
    assert [p.name for p in one] == [p.name for p in two] != [p.name for p in other]
    assert one[0].name.startswith("scaled-")


def test_index_has_a_line_for_each(tmp_path):
    dumped(tmp_path, scaled, np.ones(5))
    dumped(tmp_path, lambda x: x - 1, np.ones((2, 3), np.float32))
    rows = [json.loads(x) for x in (tmp_path / INDEX).read_text().splitlines()]
    assert [r["types"] for r in rows] == [["f64[5]"], ["f32[2,3]"]]
    for row in rows:
        assert row["device"] == "cpu"
        assert set(row["files"]) == {
            p.name for p in (tmp_path / row["folder"]).iterdir()
        }


def test_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tj.jit(scaled)(np.ones(5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["log", "dump"])
def test_artifacts_are_switches(name):
    assert tj.config.SWITCHES[name].env == f"TRACEJIT_{name.upper()}"
