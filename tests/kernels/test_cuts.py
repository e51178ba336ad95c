"""Kernels in ranges: what `cut` leaves of conditions, and that nothing is lost."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.kernels.cuts import GRAIN, cut
from tracejit.kernels.kernel import Compute, Kernel, Load, Store
from tracejit.kernels.ranges import evaluated
from tracejit.kernels.schedule import Schedule

X = np.random.default_rng(0).normal(size=(70, 261))
LINE = np.random.default_rng(1).normal(size=5000)


def laplacian(u: np.ndarray) -> np.ndarray:
    around = np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1)
    return around - 4 * u


def interior(x: np.ndarray) -> np.ndarray:
    y = np.zeros_like(x)
    y[1:-1, 2:-2] = x[2:, 2:-2] - x[:-2, 2:-2]
    return y


def turned(x: np.ndarray) -> np.ndarray:
    return np.concatenate([-x[:, 40:], x[:, :40]], axis=1) * 0.5


FUNCTIONS = {
    "roll": (lambda x: np.roll(x, 7), LINE),
    "roll of rows": (lambda x: np.roll(x, -3, axis=1), X),
    "laplacian": (laplacian, X),
    "pad": (lambda x: np.pad(x, ((1, 2), (3, 0)), constant_values=2.0), X),
    "interior": (interior, X),
    "halves": (turned, X),
    "pieces": (lambda x: np.concatenate([x, 2 * x[:100], x[:1], np.sqrt(x)]), LINE),
    "mirror": (lambda x: np.concatenate([x[::-1], x]), LINE),
    "where": (lambda x: np.where(np.arange(5000) < 4990, x, -x), LINE),
    "one place": (lambda x: np.where(np.arange(5000) == 1234, 0.0, x), LINE),
    "narrow counts": (
        lambda x: (
            np.where(
                np.arange(5000).astype("i1") >= np.arange(1, 5001).astype("i1"), x, -x
            )
            + np.roll(x, 1)
        ),
        LINE,
    ),
    "differences": (lambda x: np.diff(x, prepend=0.0, append=1.0), LINE),
}


def kernel_of(fn: object, *args: np.ndarray) -> tuple[Kernel, Schedule]:
    (run,) = tj.jit(fn).lower(*args).program.steps
    return run.kernel, run.schedule


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_values_are_numpys(name: str, dtype: str) -> None:
    fn, x = FUNCTIONS[name]
    x = (x * 9).astype(dtype)
    np.testing.assert_array_equal(tj.jit(fn)(x), fn(x), strict=True)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "narrow counts"])
def test_ranges_store_each_element_once_and_most_ask_nothing(name: str) -> None:
    fn, x = FUNCTIONS[name]
    kernel, schedule = kernel_of(fn, x)
    parts = cut(kernel, schedule)
    assert len(parts) > 1
    (out,) = kernel.outputs
    counts, unasked = np.zeros(out.shape, int), 0
    for part, plan in parts:
        assert list(plan.loops) == [n for n in schedule.loops if n in plan.roles]
        places = stored_places(part)
        counts[places] += 1
        unasked += 0 if has_conditions(part) else places[0].size
    assert (counts == 1).all()
    assert unasked > 0.8 * counts.size


def stored_places(kernel: Kernel) -> tuple[np.ndarray, ...]:
    """Return where a kernel of one store writes."""
    (store,) = (op for op in kernel.body if isinstance(op, Store))
    ranges = (np.arange(a.extent) for a in kernel.axes)
    grid = np.meshgrid(*ranges, indexing="ij")
    at = dict(zip((a.name for a in kernel.axes), grid, strict=True))
    return tuple(np.broadcast_arrays(*(evaluated(i, at) for i in store.map)))


def has_conditions(kernel: Kernel) -> bool:
    loads = (op for op in kernel.body if isinstance(op, Load))
    computed = (op for op in kernel.body if isinstance(op, Compute))
    is_chosen = any(op.primitive.name == "select" for op in computed)
    return is_chosen or any(op.bounds for op in loads)


def test_the_last_axis_is_cut_at_whole_vectors() -> None:
    parts = cut(*kernel_of(lambda x: np.roll(x, 7), LINE))
    extents = [part.axes[0].extent for part, _ in parts]
    assert extents == [GRAIN, len(LINE) - GRAIN]


def test_a_short_last_axis_is_written_out() -> None:
    parts = cut(*kernel_of(lambda x: np.stack([x, 2 * x, x], -1), LINE))
    ((kernel, plan),) = parts
    assert [a.extent for a in kernel.axes] == [len(LINE)]
    assert plan.vector_axis == kernel.axes[0].name
    assert sum(isinstance(op, Store) for op in kernel.body) == 3
    assert sum(isinstance(op, Load) for op in kernel.body) == 1
    assert not has_conditions(kernel)


LEFT_WHOLE = {
    "few elements": (lambda x: np.roll(x, 1), LINE[:100]),
    "sums": (lambda x: np.pad(x, 1).sum(), X),
    "no condition": (lambda x: x[1:] - x[:-1], LINE),
    "by values": (lambda x: np.where(x > 0, x, 0), LINE),
    "diagonals": (np.tril, X),
    "many pieces": (
        lambda x: np.concatenate([x[k : k + 7] for k in range(0, 4000, 9)]),
        LINE,
    ),
}


@pytest.mark.parametrize("name", LEFT_WHOLE)
def test_other_kernels_stay_whole(name: str) -> None:
    kernel, schedule = kernel_of(*LEFT_WHOLE[name])
    assert cut(kernel, schedule) == [(kernel, schedule)]
