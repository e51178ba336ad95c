"""A Program's functions in several modules: the same code, each function once."""

import ctypes
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm import modules
from tracejit.codegen.llvm.modules import Modules
from tracejit.codegen.llvm.program import emit_program
from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu.engine import engine_for
from tracejit.runtime.cpu.externs import resolve_loop

pytestmark = pytest.mark.usefixtures("compiles_again")

DEFINED = re.compile(r"^define (\w+) .*?@([\w.$]+)\(", re.MULTILINE)
TABLE = "@table = private constant [2 x i64] [i64 40, i64 2]"
SHARED = """define internal i64 @read(i64 %k) nounwind noinline {
entry:
  %at = getelementptr i64, ptr @table, i64 %k
  %value = load i64, ptr %at, align 8
  ret i64 %value
}
"""


def unit(name: str, callee: str, argument: int) -> str:
    return f"""define internal i64 @{name}.inner() nounwind {{
entry:
  %x = call i64 @{callee}(i64 {argument})
  ret i64 %x
}}
define internal i64 @{name}() nounwind {{
entry:
  %x = call i64 @{name}.inner()
  ret i64 %x
}}
"""


MAIN = """define i64 @main() {
entry:
  %a = call i64 @first()
  %b = call i64 @second()
  %sum = add i64 %a, %b
  ret i64 %sum
}
"""
UNITS = {"first": unit("first", "read", 0), "second": unit("second", "read", 1)}
GLOBALS = {"table": TABLE, "read": SHARED}


def modules_of(units: dict[str, str]) -> tuple[list[str], str]:
    """Return what functions are put into, and all of them as one module."""
    found: list[str] = []
    made = Modules(host_target(), {}, GLOBALS, found.append)
    for name, text in units.items():
        made.add(name, text)
    whole = made.finish(MAIN)
    return found, whole


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function is worth a module of its own."""
    monkeypatch.setattr(modules, "PIECE", 1)


def run(code: list[bytes], name: str = "main") -> int:
    library = engine_for(host_target()).load(code)
    return ctypes.CFUNCTYPE(ctypes.c_int64)(library.address(name))()


def test_short_functions_are_one_module() -> None:
    found, whole = modules_of(UNITS)
    assert found == [whole]


def test_modules_are_linked_to_the_same_effect(small_pieces: None) -> None:
    compiled = engine_for(host_target()).compile
    found, whole = modules_of(UNITS)
    assert len(found) == 3
    assert run([compiled(text) for text in found]) == run([compiled(whole)])


def test_a_module_is_given_away_when_it_is_full(small_pieces: None) -> None:
    found: list[str] = []
    made = Modules(host_target(), {}, GLOBALS, found.append)
    made.add("first", UNITS["first"])
    assert len(found) == 1
    made.add("second", UNITS["second"])
    assert len(found) == 2


def test_each_function_is_compiled_once(small_pieces: None) -> None:
    pieces, _ = modules_of(UNITS)
    assert sorted(x for text in pieces for x in DEFINED.findall(text)) == [
        ("hidden", "first"),
        ("hidden", "read"),
        ("hidden", "second"),
        ("i64", "main"),
        ("internal", "first.inner"),
        ("internal", "second.inner"),
    ]


def test_long_functions_are_modules_that_programs_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modules, "SHARED", 1)
    both, _ = modules_of(UNITS)
    one, _ = modules_of({"second": UNITS["second"]})
    (shared,) = [text for text in both if text in one]
    assert DEFINED.findall(shared) == [("hidden", "read")]
    compiled = engine_for(host_target()).compile
    assert run([compiled(text) for text in both]) == 42


def test_functions_that_call_one_another_are_compiled_once() -> None:
    def waves(x: np.ndarray) -> np.ndarray:
        for k in range(20):
            x = np.sin(x) * (1 + k)
        return x

    program = tj.jit(waves).compile(np.ones(64, np.float32)).executable.program
    found: list[str] = []
    emit_program(program, host_target(), resolve_loop, ready=found.append)
    names = Counter(n for text in found for _, n in DEFINED.findall(text))
    assert "tracejit.payne_hanek" in names and set(names.values()) == {1}


def layers(x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
    for w in weights:
        x = np.tanh(x @ w.T) + np.sin(x @ w) + x
    return x.sum()


def arguments(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(48, 40)] + [(40, 40)] * count
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def test_a_program_in_pieces_computes_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = arguments(3)
    whole = tj.jit(layers)(*inputs)
    monkeypatch.setattr(modules, "PIECE", 2000)
    compiled = tj.jit(layers).compile(*inputs)
    found: list[str] = []
    program = compiled.executable.program
    emit_program(program, host_target(), resolve_loop, ready=found.append)
    assert len(found) > 3
    assert compiled(inputs) == whole


def tiles(function: Callable[..., object], *inputs: np.ndarray) -> Counter[str]:
    text = tj.jit(function).compile(*inputs).executable.as_text()
    return Counter(n for _, n in DEFINED.findall(text) if n.startswith("tracejit_tile"))


def test_products_share_their_tiles() -> None:
    one = tiles(layers, *arguments(1))
    widths = [np.ones(s, np.float32) for s in ((48, 40), (40, 72), (72, 40), (40, 40))]
    assert one and set(one.values()) == {1}

    def other_widths(x, v, w, u):
        return ((x @ v) @ w) @ u

    assert set(tiles(other_widths, *widths).values()) == {1}


def many_steps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts are steps of their own: forty of them, with constants between."""
    for i in range(20):
        x = np.sort(x * np.array([1.0, -1.0, 0.5, 2.0])) + i
        y = np.sort(y - x[::-1])
    return x, y


def test_long_host_functions() -> None:
    x, y = np.array([3.0, 1.0, 2.0, 5.0]), np.array([0.5, 4.0, -2.0, 1.0])
    compiled = tj.jit(many_steps).compile(x, y)
    assert "optnone" in compiled.as_text()
    for a, b in zip(compiled([x, y]), many_steps(x, y), strict=True):
        np.testing.assert_array_equal(a, b)


def test_long_host_functions_with_loops() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = many_steps(x, y)
        y = tj.fori_loop(0, 9, lambda i, y: np.sort(y * 0.5 + x), y)
        return many_steps(x, y)

    x, y = np.array([3.0, 1.0, 2.0, 5.0]), np.array([0.5, 4.0, -2.0, 1.0])
    compiled = tj.jit(f).compile(x, y)
    assert "optnone" not in compiled.as_text()
    for a, b in zip(compiled([x, y]), f(x, y), strict=True):
        np.testing.assert_array_equal(a, b)
