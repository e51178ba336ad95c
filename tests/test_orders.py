"""Results lie in memory as NumPy's do: in the order of axes that it leaves them in."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tracejit as tj
from tracejit.program.program import Copy
from tracejit.program.verify import verify_program
from tracejit.runtime.cpu.entry import support
from tracejit.tracing.record import order_of_axes

from .calls import warm

RNG = np.random.default_rng(0)
M = RNG.normal(size=(30, 40)).astype(np.float32)
S = RNG.normal(size=(30, 30)).astype(np.float32)
T = RNG.normal(size=(5, 6, 7))

FUNCTIONS = {
    "transposed": (lambda m: m.T + 1, M),
    "of both orders": (lambda m: m.T * m, S),
    "of one order": (lambda m: m.T * m.T + np.exp(m.T), M),
    "a view of a result": (lambda m: (m * 2).T, M),
    "a product, turned": (lambda m: (m @ m.T).T, M),
    "an inverse, turned": (lambda m: np.linalg.inv(m).T, S),
    "a transform, turned": (lambda m: np.fft.fft(m).T, M),
    "complex": (lambda m: (m + 1j * m).T * 2, M),
    "complex, turned": (lambda m: np.sqrt(m + 0j).T, M),
    "sorted, turned": (lambda m: np.sort(m, 1).T, M),
    "axes in turn": (lambda t: t.transpose(1, 2, 0) * 2, T),
    "swapped": (lambda t: np.swapaxes(t, 0, 2) > 0, T),
    "an axis of one": (lambda t: (t[:, :1] + 1).transpose(2, 1, 0), T),
    "moved": (lambda t: np.moveaxis(t, 0, -1).astype("f4"), T),
    "conditional": (lambda m: np.where(m.T > 0, m.T, 0), M),
    "scan": (lambda m: tj.scan(lambda c, r: (c + r, c * r), m[0], m)[1].T, M),
    "of rank 1": (lambda m: m[:, 0] + 1, M),
}


def assert_alike(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
        assert got.flags[flag] == want.flags[flag], flag
    real = [d for d, n in enumerate(want.shape) if n > 1]
    assert [got.strides[d] for d in real] == [want.strides[d] for d in real]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_lie_as_numpys(name: str) -> None:
    function, x = FUNCTIONS[name]
    compiled = tj.jit(function)
    assert_alike(compiled(x), function(x))
    verify_program(compiled.trace(x).lower().program)


@pytest.mark.parametrize("order", "CFAK")
def test_order_is_as_asked(order: str) -> None:
    def f(x, y):
        return np.add(x, y, order=order), np.exp(x, order=order)

    for x, y in ((S, S), (S.T, S.T), (S, S.T), (S[::-1], S.T)):
        for got, want in zip(tj.jit(f)(x, y), f(x, y), strict=True):
            assert_alike(got, want)


@pytest.mark.skipif(bool(support.why_not()), reason=support.why_not())
@pytest.mark.parametrize("size", [3, 40, 600])  # of a part, of NumPy's, of the pool
def test_native_calls_make_the_same(size: int) -> None:
    def f(x):
        return {"turned": x.T + 1, "plain": x * 2, "view": (x * 3).T}

    x, compiled = RNG.normal(size=(size, size + 1)), tj.jit(f)
    warm(compiled, x)
    before = sys.getrefcount(np.dtype(np.float64))
    for _ in range(5):
        got = compiled(x)
        for key, want in f(x).items():
            assert_alike(got[key], want)
    kept = got["turned"]
    del got
    np.testing.assert_array_equal(kept, x.T + 1)  # its memory is its own
    del kept
    assert sys.getrefcount(np.dtype(np.float64)) <= before + 3


@pytest.mark.parametrize("name", ["a view of a result", "a product, turned"])
def test_turned_results_are_computed_in_place(name: str) -> None:
    function, x = FUNCTIONS[name]
    program = tj.jit(function).trace(x).lower().program
    assert not any(isinstance(step, Copy) for step in program.steps)


def test_loops_run_as_results_lie() -> None:
    (step,) = tj.jit(lambda m: m.T + 1).trace(M).lower().program.steps
    assert [*step.schedule.loops] == [a.name for a in reversed(step.kernel.axes)]


@pytest.mark.parametrize(
    "made",
    [
        lambda x: np.ascontiguousarray(x),
        lambda x: np.asfortranarray(x),
        lambda x: np.array(x),
        lambda x: np.copy(x),
        lambda x: np.array(x, order="C"),
        lambda x: np.asarray(x, order="F"),
        lambda x: x.copy(),
        lambda x: x.copy("F"),
        lambda x: x.copy("A"),
        lambda x: x.copy("K"),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float64, order="C"),
    ],
)
def test_copies_lie_as_asked(made) -> None:
    for turn in (lambda m: m, lambda m: m.T, lambda m: (m @ m.T).T):

        def f(m, turn=turn):
            return made(turn(m)) * 1

        assert_alike(tj.jit(f)(M), f(M))


def test_order_of_axes() -> None:
    assert order_of_axes(T) is None
    assert order_of_axes(T.transpose(2, 0, 1)) == (1, 2, 0)
    assert order_of_axes(T[:, :1].transpose(2, 1, 0)) == (2, 1, 0)
    assert order_of_axes(T[::-1].T) is None
    assert order_of_axes(np.broadcast_to(T[0].T, (3, 7, 6))) is None
    assert order_of_axes(np.zeros(())) is None


CODE = """
import numpy as np, tracejit as tj
m = np.arange(12.0).reshape(3, 4)
f = tj.jit(lambda m: m.T * 2)
r = f(m)
print(r.flags.f_contiguous, np.array_equal(r, m.T * 2), f.trace(m).compile().is_stored)
"""


def test_code_on_disk_keeps_the_order(tmp_path) -> None:
    environment = {**os.environ, "TRACEJIT_CACHE_DIR": str(tmp_path)}
    printed = [
        subprocess.run(
            [sys.executable, "-c", CODE],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[:2]
        for _ in range(2)
    ]
    assert printed == [["True", "True"]] * 2
