"""Names and lines of machine code: in perf's map, for gdb, and in these tools."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.runtime.cpu import gdb, names
from tracejit.runtime.cpu.elf import _Object
from tracejit.runtime.cpu.image import LoadedImage

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine != "x86_64",
    reason="perf maps are Linux's, and own linking is for x86-64",
)
ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import time
import numpy as np
import tracejit as tj

@tj.jit
def model(x):
    y = np.tanh(x) @ x
    z = np.sort(y, axis=1)
    return z / z.sum(axis=1, keepdims=True)

x = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
model(x)
end = time.process_time() + {seconds}
while time.process_time() < end:
    model(x)
"""
X = np.ones((64, 64), np.float32)


def model(x):
    y = np.tanh(x) @ x
    z = np.sort(y, axis=1)
    return z / z.sum(axis=1, keepdims=True)


def here(offset):
    return f"test_names.py:{model.__code__.co_firstlineno + offset}"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(names, "FOLDER", str(tmp_path))
    return tmp_path


def rows_of(folder):
    text = (folder / f"perf-{os.getpid()}.map").read_text()
    rows = [line.split(" ", 2) for line in text.splitlines()]
    return [(int(start, 16), int(size, 16), name) for start, size, name in rows]


def test_the_map_has_all_functions_with_their_lines(folder):
    with config.override(perf_map=True):
        f = tj.jit(model)
        compiled = f.compile(X)
        compiled([X])
    rows = rows_of(folder)
    shown = {name for _, _, name in rows}
    lines = {k.name: ",".join(k.source) for k in compiled.kernels}
    assert {f"{name} [{lines[name]}]" for name in lines} <= shown
    # Of files of one name the second to be seen is shown with its folder.
    assert f"model_sort0 [{here(2)}]" in {n.replace("[cpu/", "[") for n in shown}
    assert "model_main" in shown
    main = next(start for start, _, name in rows if name == "model_main")
    assert main == compiled.executable.address
    rows.sort()
    for (start, size, _), (after, _, _) in pairwise(rows):
        assert start + size <= after


def test_names_are_told_where_the_switch_is_on_only(folder):
    tj.jit(model).compile(X)
    assert not [*folder.iterdir()]


def test_code_with_names_stays_in_memory(folder):
    before = len(names._KEPT.images)
    with config.override(perf_map=True):
        tj.jit(lambda x: x * 3 + 1).compile(X)
    assert isinstance(names._KEPT.images[before], LoadedImage)


def test_the_map_is_never_written_through_a_link(folder):
    (folder / f"perf-{os.getpid()}.map").symlink_to(folder / "other")
    with config.override(perf_map=True), pytest.raises(OSError):
        tj.jit(lambda x: x * 5 + 1).compile(X)
    assert not (folder / "other").exists()


# --- gdb's object files -------------------------------------------------------------

FUNCTIONS = [
    gdb.Function("first", 0, 16, ("a.py:3",)),
    gdb.Function("second", 16, 200, ("long_name.py:4711",)),
    gdb.Function("without_line", 216, 40, ()),
]


def test_object_files_have_symbols_at_their_places():
    made = _Object(gdb.object_file(0x7000000, 256, FUNCTIONS))
    found = [(s.name, s.value, s.size, s.is_function) for s in made.symbols[1:]]
    assert found == [(f.name, f.offset, f.size, True) for f in FUNCTIONS]
    assert {s.section for s in made.symbols[1:]} == {1}
    text = made.sections[1]
    assert (text.name, text.size) == (".text", 256)
    assert made.content(1) == b""  # it is where the code is


@pytest.mark.parametrize(
    ("value", "unsigned", "signed"),
    [
        (0, b"\0", b"\0"),
        (63, b"\x3f", b"\x3f"),
        (64, b"\x40", b"\xc0\0"),
        (300, b"\xac\x02", b"\xac\x02"),
        (8191, b"\xff\x3f", b"\xff\x3f"),
        (8192, b"\x80\x40", b"\x80\xc0\0"),
    ],
)
def test_numbers_of_dwarf(value, unsigned, signed):
    assert gdb._unsigned(value) == unsigned
    assert gdb._signed(value) == signed


def test_readelf_finds_each_line():
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    data = gdb.object_file(0x7000000, 256, FUNCTIONS)
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"tracejit-{os.getpid()}.o"
    path.write_bytes(data)
    try:
        command = ["readelf", "--debug-dump=decodedline,info", str(path)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        path.unlink()
    assert re.search(r"a\.py\s+3\s+0x7000000", shown.stdout)
    assert re.search(r"long_name\.py\s+4711\s+0x7000010", shown.stdout)
    assert "DW_TAG_compile_unit" in shown.stdout


def test_gdb_is_given_a_list_of_all_object_files(folder):
    if gdb._interface() is None:
        pytest.skip("llvmlite's library has no symbols")
    with config.override(perf_map=True):
        for n in (2, 3):
            tj.jit(lambda x, n=n: x * n + 1).compile(X)
    place = gdb._interface()[gdb._DESCRIPTOR]
    descriptor = gdb._Descriptor.from_address(place)
    assert descriptor.version == 1
    entry, found = descriptor.first_entry, []
    while entry:
        content = entry.contents
        found.append(ctypes.string_at(content.symfile_addr, content.symfile_size))
        entry = content.next_entry
    assert len(found) >= 2
    names_of = [{s.name for s in _Object(data).symbols} for data in found[:2]]
    assert all("_lambda__main" in x and "_lambda__k0_fma" in x for x in names_of)


# --- the tools ----------------------------------------------------------------------


def run_tool(tmp_path, seconds, *command):
    script = tmp_path / "named_model.py"
    script.write_text(SCRIPT.format(seconds=seconds))
    environ = {
        **os.environ,
        "TRACEJIT_PERF_MAP": "1",
        "TRACEJIT_VERIFY": "0",
        "TRACEJIT_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    arguments = [*command, sys.executable, str(script)]
    return subprocess.run(
        arguments, capture_output=True, text=True, env=environ, timeout=300
    )


@pytest.fixture
def no_maps_left():
    before = {*Path("/tmp").glob("perf-*.map")}
    yield
    for path in {*Path("/tmp").glob("perf-*.map")} - before:
        path.unlink(missing_ok=True)


def test_perf_shows_kernels_by_their_names(tmp_path, no_maps_left):
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    data = str(tmp_path / "perf.data")
    record = ["perf", "record", "-e", "cpu-clock", "-F", "500", "-o", data, "--"]
    if subprocess.run([*record, "true"], capture_output=True).returncode:
        pytest.skip("perf may not record here")
    recorded = run_tool(tmp_path, 1, *record)
    assert recorded.returncode == 0, recorded.stderr
    report = ["perf", "report", "-i", data, "--stdio", "--sort", "sym"]
    shown = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    assert re.search(r"\[\.\] model_sort0\S*", shown), shown
    assert re.search(r"\[\.\] (model_k\d|tracejit_tile)\S*", shown), shown


def test_gdb_stops_at_a_line_of_the_user(tmp_path, no_maps_left):
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")
    commands = tmp_path / "commands.gdb"
    commands.write_text(
        "set breakpoint pending on\nset debuginfod enabled off\n"
        "break named_model.py:10\nrun\ninfo symbol $pc\nbacktrace 2\nkill\n"
    )
    command = ["gdb", "-nx", "-batch", "-x", str(commands), "--args"]
    shown = run_tool(tmp_path, 0, *command)
    text = shown.stdout
    assert re.search(r"model_k\d\S* \(\) at named_model\.py:10", text), text
    assert re.search(r"model_k\d\S* in section \.text of <in-memory", text), text
    assert re.search(r"#1 .* in model_main \(\)", text), text
