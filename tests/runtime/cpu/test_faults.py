"""Calls like earlier ones take no fresh pages: their memory was used before."""

import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cpu.native import OUTPUTS

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="faults of a process, as Linux counts"
)

PAGE = 4096
WARM, CALLS = 12, 20


def faults() -> int:
    found: int = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return found


def steady_faults(fn: Callable[..., Any], *args: Any) -> int:
    """Return the faults of calls whose results are dropped, once all is warm."""
    for _ in range(WARM):
        fn(*args)
    before = faults()
    for _ in range(CALLS):
        fn(*args)
    return faults() - before


def elementwise(x: np.ndarray) -> np.ndarray:
    return np.exp(x) * 0.5 + x


def products(x: np.ndarray) -> np.ndarray:
    """Two products, whose middle lies in the arena."""
    return np.tanh(x @ x) @ x


def several(x: np.ndarray) -> dict[str, Any]:
    return {"a": x + 1, "b": [x * 2, x.sum(0)], "c": np.sort(x, axis=0)}


def sum_of_squares(x: np.ndarray) -> np.ndarray:
    return (np.tanh(x @ x) ** 2).sum()


@pytest.mark.parametrize(
    "fn", [elementwise, products, several, tj.grad(sum_of_squares)]
)
def test_no_fresh_pages_in_steady_state(fn: Callable[..., Any]) -> None:
    x = np.random.default_rng(0).normal(size=(384, 384))
    pages = x.nbytes // PAGE
    assert steady_faults(tj.jit(fn), x) < pages // 8, "of 20 calls; one result has more"


def test_an_optimiser_step_over_its_own_results() -> None:
    """The results of a call are the arguments of the next: two sets take turns."""

    @tj.jit
    def step(p: np.ndarray, m: np.ndarray, g: np.ndarray) -> tuple[Any, Any]:
        m = 0.9 * m + g
        return p - 0.01 * m, m

    g = np.ones((512, 512))
    p, m = g * 0, g * 0
    for _ in range(WARM):
        p, m = step(p, m, g)
    before = faults()
    for _ in range(CALLS):
        p, m = step(p, m, g)
    assert faults() - before < g.nbytes // PAGE // 8
    assert p.shape == m.shape == g.shape


def descend(p: list[np.ndarray], g: list[np.ndarray]) -> None:
    for x, y in zip(p, g, strict=True):
        x -= 0.01 * y


def descended(p: list[np.ndarray], g: list[np.ndarray]) -> list[np.ndarray]:
    return [x - 0.01 * y for x, y in zip(p, g, strict=True)]


@pytest.mark.parametrize("is_donated", [False, True])
def test_steps_in_place_take_no_memory(is_donated: bool) -> None:
    """Neither new nor from the pool, in the first calls as in later ones."""
    step = tj.jit(descended, donate_argnums=0) if is_donated else tj.jit(descend)
    g = [np.ones((512, 512)) for _ in range(4)]
    p = [x * 0 for x in g]
    step([x.copy() for x in p], g)  # compiles
    counters = OUTPUTS.counters
    known = counters.new, counters.reused
    before = faults()
    for _ in range(CALLS):
        p = step(p, g) or p
    assert (counters.new, counters.reused) == known
    assert faults() - before < p[0].nbytes // PAGE // 8
    np.testing.assert_allclose(p[-1], -0.01 * CALLS)


def test_the_measure_sees_fresh_pages() -> None:
    """Memory that nothing had before costs faults, even in huge pages."""
    with mmap.mmap(-1, 8 << 20) as fresh:
        before = faults()
        for at in range(0, len(fresh), PAGE):
            fresh[at] = 1
        assert faults() - before >= len(fresh) // (2 << 20)
