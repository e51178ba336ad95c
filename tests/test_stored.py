"""Code of traces on disk: no pass runs for what is there, nothing wrong is found."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit import config, lowering
from tracejit.errors import IndexRangeError
from tracejit.runtime.cpu import kept

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="only such code is linked without LLVM",
)
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """The cache of one test alone."""
    with config.override(cache_dir=str(tmp_path)):
        yield tmp_path / "programs"


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the graphs that were lowered."""
    names: list[str] = []
    lower = lowering.lower

    def noted(recording: Any, *rest: Any) -> lowering.Lowering:
        names.append(recording.graph.name)
        return lower(recording, *rest)

    monkeypatch.setattr(lowering, "lower", noted)
    return names


def twice(fn: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """Call a function as two processes would: compiled, then from disk."""
    return tj.jit(fn)(*args), tj.jit(fn)(*args)


def compiled_of(function: Any) -> Any:
    """Return the only thing that a jitted function has compiled."""
    (entry,) = function._cache.values()
    (node,) = entry.tries.values()
    return node.compiled


def norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def views(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    y = np.tanh(x) * 2
    return y, y[1:, ::2], y.sum()


def writes(x: np.ndarray) -> np.ndarray:
    x[1:] += x[:-1]
    return x.T


TABLE = np.arange(6, dtype=np.float32)


def with_constants(x: np.ndarray) -> np.ndarray:
    mask = np.array([1, 0, 2, 0, 3, 4], np.float32)
    return np.where(np.tril(np.ones((4, 6))) > 0, x * mask + TABLE, 0)


def product(x: np.ndarray) -> np.ndarray:
    return np.maximum(x @ x.T, 0) @ x


def loss(x: np.ndarray) -> Any:
    return np.exp(x - x.max(1, keepdims=True)).sum()


@pytest.mark.parametrize(
    "fn", [norm, views, writes, with_constants, product, tj.value_and_grad(loss)]
)
def test_the_second_process_lowers_nothing(fn: Any, lowered: list[str]) -> None:
    first, second = X.copy(), X.copy()
    one, two = tj.jit(fn)(first), tj.jit(fn)(second)
    assert len(lowered) == 1
    np.testing.assert_array_equal(first, second)
    pairs = [(one, two)] if isinstance(one, np.ndarray) else zip(one, two, strict=True)
    for a, b in pairs:
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b)


def test_captured_arrays_are_read_at_each_call(lowered: list[str]) -> None:
    table = TABLE.copy()

    def add(x: np.ndarray) -> np.ndarray:
        return x + table

    twice(add, X)
    table[:] = 7
    np.testing.assert_array_equal(tj.jit(add)(X), X + 7)
    assert lowered == ["add"]


def test_code_that_threads_share(lowered: list[str]) -> None:
    x = np.linspace(0, 1, 1 << 20, dtype=np.float32)
    with config.override(threads=2):
        one, two = twice(lambda x: np.tanh(x) * 2 + x, x)
    np.testing.assert_array_equal(one, two)
    assert len(lowered) == 1


def test_whoever_asks_gets_kernels_and_text(lowered: list[str]) -> None:
    first, second = tj.jit(norm), tj.jit(norm)
    first(X)
    second(X)
    one, two = compiled_of(first), compiled_of(second)
    assert not one.is_stored
    assert two.is_stored
    assert set(two.timings) == {"trace", "find"}
    assert one.as_text() == two.as_text()
    assert [k.name for k in one.kernels] == [k.name for k in two.kernels]
    assert one.executable.kernels == two.executable.kernels


def pick(x: np.ndarray, i: np.ndarray) -> np.ndarray:
    return x[i] * 2


def test_errors_have_the_line(lowered: list[str]) -> None:
    good, bad = np.array([0, 3]), np.array([1, 9])
    twice(pick, X, good)
    stored = tj.jit(pick)
    np.testing.assert_array_equal(stored(X, good), X[good] * 2)
    assert lowered == ["pick"]
    line = pick.__code__.co_firstlineno + 1
    with pytest.raises(
        IndexRangeError, match=r"index 9 .* axis 0 with size 4"
    ) as found:
        stored(X, bad)
    assert f"test_stored.py:{line}" in str(found.value)


def test_another_program_or_layout_is_another_entry(lowered: list[str]) -> None:
    functions = [
        lambda x: x * 2.0,
        lambda x: x * 3.0,
        lambda x: (x * 2.0).T,
        lambda x: (x * 2.0, None),
        lambda x: x + 2.0,
    ]
    for fn in functions:
        one, two = twice(fn, X)
        np.testing.assert_array_equal(
            one[0] if isinstance(one, tuple) else one,
            two[0] if isinstance(two, tuple) else two,
        )
    for x in (X[:3], X[:, ::2], X.T, X.astype(np.float64)):
        for got in twice(functions[0], x):
            np.testing.assert_array_equal(got, x * 2)
    with config.override(fma=False):
        twice(functions[0], X)
    # of the tuple, only the tree of results is another
    assert len(lowered) == len(functions) - 1 + 4 + 1


def logged(x: np.ndarray) -> np.ndarray:
    tj.debug.print("{}", x.sum())
    return x * 2


def solved(x: np.ndarray) -> np.ndarray:
    return np.linalg.solve(x[:, :4] + 9 * np.eye(4, dtype=np.float32), x)


@pytest.mark.parametrize("fn", [logged, solved])
def test_what_calls_other_code_is_compiled_again(
    fn: Any, lowered: list[str], folder: Path
) -> None:
    twice(fn, X)
    assert lowered == [fn.__name__] * 2
    assert not folder.exists() or not any(map(_is_program, folder.iterdir()))


def _is_program(path: Path) -> bool:
    return b"tracejit_main" in path.read_bytes()


def test_donated_arguments_warn_in_each_process(lowered: list[str]) -> None:
    for _ in range(2):
        with pytest.warns(tj.errors.DonationWarning, match="x: f32.4,6. has the dtype"):
            tj.jit(lambda x: x.sum(), donate_argnums=0)(X.copy())
    assert len(lowered) == 1


def updated(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    return p - 0.1 * g


def test_results_are_in_donated_memory_from_disk_too(lowered: list[str]) -> None:
    for _ in range(2):
        p = X.copy()
        step = tj.jit(updated, donate_argnums=0)
        out = step(p, X)
        assert np.shares_memory(out, p)
        np.testing.assert_allclose(out, X - np.float32(0.1) * X, rtol=1e-6)
    assert len(lowered) == 1
    kept_apart = tj.jit(updated)(X, X)
    assert not np.shares_memory(kept_apart, X)
    assert len(lowered) == 2


def test_donated_arrays_are_overwritten_where_that_is_checked(
    lowered: list[str],
) -> None:
    with config.override(donation="check"):
        for _ in range(2):
            p = X.copy()
            tj.jit(updated, donate_argnums=0)(p, X)
            assert np.isnan(p).all()
    assert len(lowered) == 1


def _through(primitive: Any, x: np.ndarray) -> Any:
    return primitive(x)


def test_primitives_of_the_users_are_not_told_apart_by_name(lowered: list[str]) -> None:
    for factor in (2, 3):

        def scale(x: np.ndarray, factor: int = factor) -> np.ndarray:
            return x * factor

        own = tj.register_primitive("test.scale", scale, lowering=scale)
        for got in twice(partial(_through, own), X):
            np.testing.assert_array_equal(got, X * factor)
        own.unregister()
    assert len(lowered) == 4


def test_damaged_entries_are_made_again(lowered: list[str], folder: Path) -> None:
    twice(norm, X)
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    twice(norm, X)
    assert lowered == ["norm", "norm"]


def test_logs_show_all_that_happens(lowered: list[str]) -> None:
    twice(norm, X)
    with config.override(log=("compile",)):
        tj.jit(norm)(X)
    assert lowered == ["norm", "norm"]


def test_nothing_is_kept_where_the_cache_is_off(lowered: list[str]) -> None:
    with config.override(cache_dir="off"):
        twice(norm, X)
    assert lowered == ["norm", "norm"]


def test_files_of_the_compiler_are_told_apart(tmp_path: Path) -> None:
    inner = tmp_path / "package" / "inner"
    inner.mkdir(parents=True)
    file = inner / "module.py"
    file.write_text("x = 1")
    (inner / "notes.txt").write_text("")
    before = kept.files_below(str(tmp_path), ".py")
    assert [path for path, *_ in before] == [str(file)]
    file.write_text("x = 12")
    assert kept.files_below(str(tmp_path), ".py") != before
    made = kept.made_by()
    assert made is not None
    assert str(Path(lowering.__file__)) in "".join(made)


def test_nothing_is_known_of_a_compiler_that_changed_since_it_was_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kept.made_by.__wrapped__() == kept.made_by()
    monkeypatch.setattr(config, "LOADED_NS", 1)
    assert kept.made_by.__wrapped__() is None


PROGRAM = """
import sys
import numpy as np, tracejit as tj

@tj.jit
def step(w, x):
    return tj.value_and_grad(lambda w: (np.tanh(x @ w) ** 2).mean())(w)

tj.api.PATIENCE.calls = 0  # the second call has machine code of its own, too
w, x = np.ones((300, 200), np.float32), np.ones((100, 300), np.float32)
for _ in range(3):
    value, gradient = step(w, x)
assert step._chain
print(value.tobytes().hex(), gradient.tobytes().hex()[:999])
print(*sorted(m for m in sys.modules if m.startswith(("tracejit", "llvmlite"))))
"""
COMPILER = ("llvmlite", "tracejit.passes", "tracejit.program", "tracejit.kernels")
COMPILER += ("tracejit.lowering", "tracejit.codegen.llvm.program")
COMPILER += ("tracejit.runtime.cpu.engine", "tracejit.runtime.cpu.executable")


def test_another_process_loads_no_compiler(tmp_path: Path) -> None:
    def run() -> list[str]:
        environment = os.environ | {"TRACEJIT_CACHE_DIR": str(tmp_path / "own")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        return done.stdout.splitlines()

    (first, loaded), (second, fewer) = run(), run()
    assert first == second
    assert {*COMPILER} <= {*loaded.split()}
    assert not {*COMPILER} & {*fewer.split()}
