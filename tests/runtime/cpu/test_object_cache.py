"""Object code on disk: found again, by other processes too, and never wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tracejit import config
from tracejit.codegen.llvm.target import host_target
from tracejit.disk import DiskCache, configured
from tracejit.runtime.cpu.engine import Engine

pytestmark = pytest.mark.usefixtures("compiles_again")

TEXT = "define i32 @value() {\n  ret i32 42\n}\n"
PROGRAM = """
import numpy as np
import tracejit as tj
from tracejit.disk import configured

@tj.jit
def f(x, w):
    return np.tanh(x @ w).sum(0), np.sort(x, axis=0)

x = np.arange(24.0).reshape(4, 6)
arguments = [x, x.T.copy()]
# A call would find linked code, and compile no text.
total, ordered = f.compile(*arguments)(arguments)
assert np.allclose(total, np.tanh(x @ x.T).sum(0)) and (ordered == x).all()
cache = configured("objects")
print(cache.hits, cache.misses)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a cache that this test alone uses."""
    return tmp_path / "objects"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that LLVM compiled."""
    texts = []
    build: Callable[[Engine, str], bytes] = Engine._build

    def counted(self: Engine, text: str) -> bytes:
        texts.append(text)
        return build(self, text)

    monkeypatch.setattr(Engine, "_build", counted)
    return texts


def compiled(folder: Path, text: str = TEXT, isa: str = "auto") -> bytes:
    """Compile with an engine that knows nothing of earlier ones."""
    with config.override(cache_dir=str(folder.parent)):
        return Engine(host_target(isa)).compile(text)


def entry(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


def test_what_is_on_disk_is_not_compiled(folder: Path, built: list[str]) -> None:
    first = compiled(folder)
    assert compiled(folder) == first
    assert built == [TEXT]


def test_text_and_machine_are_in_the_key(folder: Path, built: list[str]) -> None:
    compiled(folder)
    compiled(folder, TEXT.replace("42", "43"))
    compiled(folder, isa="baseline")
    assert len(built) == len(list(folder.iterdir())) == 3


def test_off_keeps_nothing(tmp_path: Path, built: list[str]) -> None:
    with config.override(cache_dir="off"):
        assert configured("objects") is None
        for _ in range(2):
            Engine(host_target()).compile(TEXT)
    assert built == [TEXT, TEXT]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: b"\x7fELF of another program\n" + data,
        lambda data: data[:-20] + bytes(20),
    ],
)
def test_a_damaged_entry_is_compiled_again(
    folder: Path, built: list[str], damage: Callable[[bytes], bytes]
) -> None:
    first = compiled(folder)
    path = entry(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert compiled(folder) == first
    assert len(built) == 2
    assert entry(folder).read_bytes() == whole


def test_an_entry_under_anothers_name_is_compiled_again(
    folder: Path, built: list[str]
) -> None:
    """Its bytes are right by their hash, and belong to another text."""
    first = compiled(folder)
    path = entry(folder)
    other = compiled(folder, TEXT.replace("42", "43"))
    [another] = set(folder.iterdir()) - {path}
    another.replace(path)
    assert compiled(folder) == first != other
    assert len(built) == 3


def test_a_folder_that_cannot_be_written(
    folder: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that are there are used, new ones are not kept."""
    compiled(folder)

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    compiled(folder)
    for _ in range(2):
        compiled(folder, TEXT.replace("42", "43"))
    assert len(built) == 3
    assert entry(folder).stat().st_size


def start(tmp_path: Path, seed: int) -> subprocess.Popen[str]:
    environ = os.environ | {
        "TRACEJIT_CACHE_DIR": str(tmp_path),
        "PYTHONHASHSEED": str(seed),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Return the hits and misses of a process."""
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    hits, misses = map(int, out.split())
    return hits, misses


def test_the_next_process_compiles_nothing(tmp_path: Path) -> None:
    """Whatever order its sets have."""
    hits, misses = finish(start(tmp_path, 1))
    assert hits == 0 < misses
    assert finish(start(tmp_path, 2)) == (misses, 0)


def test_processes_at_once(tmp_path: Path, folder: Path) -> None:
    together = [start(tmp_path, seed) for seed in range(3)]
    counts = [finish(process) for process in together]
    assert len({hits + misses for hits, misses in counts}) == 1
    names = {path.suffix for path in folder.iterdir()}
    assert names == {".tjc"}, "unfinished files are left"
    assert finish(start(tmp_path, 3))[1] == 0


def test_the_folder_stays_below_its_limit(tmp_path: Path) -> None:
    limit = 4000
    with config.override(cache_dir=str(tmp_path), cache_bytes=limit):
        engine = Engine(host_target())
        for k in range(12):
            engine.compile(TEXT.replace("42", str(k)))
        total = sum(p.stat().st_size for p in (tmp_path / "objects").iterdir())
    assert 0 < total <= limit


def test_what_dead_writers_left_goes(tmp_path: Path) -> None:
    (tmp_path / "old.part").write_bytes(b"x")
    os.utime(tmp_path / "old.part", (1, 1))
    (tmp_path / "new.part").write_bytes(b"x")
    DiskCache(tmp_path, 1000).put("key", {"a": b"b"})
    assert {p.name for p in tmp_path.iterdir()} == {"new.part", "key.tjc"}
