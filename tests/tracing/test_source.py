"""The user's lines: short names, which tell files apart all the same."""

import importlib.util
import os

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.page.sources import source_files
from tracejit.tracing.source import file_of, source_text


@pytest.fixture
def modules(tmp_path):
    """Two modules of one name, whose functions have one line."""
    found = []
    for folder, operation in (("first", "sin"), ("second", "cos")):
        path = tmp_path / folder / "wave_of_two.py"
        path.parent.mkdir()
        text = f"import numpy as np\n\n\ndef wave(x):\n    return np.{operation}(x)\n"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(f"wave_of_{folder}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    return found


def test_files_of_one_name_are_told_apart(modules):
    one, two = modules

    def both(x):
        return one.wave(x) * two.wave(x)

    x = np.ones(3)
    eqns = tj.jit(both).trace(x).graph.eqns
    lines = [e.source[0] for e in eqns if e.primitive.name in ("sin", "cos")]
    second = os.path.join("second", "wave_of_two.py")
    assert lines == ["wave_of_two.py:5", f"{second}:5"]
    assert [file_of(line) for line in lines] == [one.__file__, two.__file__]
    assert [source_text(line) for line in lines] == [
        "return np.sin(x)",
        "return np.cos(x)",
    ]
    files = source_files(lines)
    assert [(f.path, f.note) for f in files] == [(one.__file__, ""), (two.__file__, "")]

    profile = tj.jit(both).profile(x)
    assert {*lines} <= {line.source for line in profile.lines}
    for name in (lines[1], f"{two.__file__}:5"):
        [step] = tj.debug.watch(name, both, x)
        assert step.operation == "cos"
    [step] = tj.debug.watch(os.path.join("first", "wave_of_two.py:5"), both, x)
    assert step.operation == "sin"


def test_files_that_were_not_traced_are_looked_for(modules):
    paths = [m.__file__ for m in modules]
    for path in paths:
        name = os.path.join(*path.split(os.sep)[-3:])
        [found] = source_files([f"{name}:5"], paths)
        assert found.path == path
    [found] = source_files(["no_such_wave.py:5"])
    assert (found.path, found.lines) == ("", [(5, "")])
    assert file_of("no_such_wave.py:5") is None
