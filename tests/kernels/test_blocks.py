"""Long rows by blocks: which kernels are, what they become, and what they give."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.kernels.blocks import by_blocks
from tracejit.kernels.kernel import Reduce
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.printer import format_kernel
from tracejit.kernels.schedule import Placement, Schedule
from tracejit.kernels.schedules import BLOCKS_FROM, block_of
from tracejit.kernels.verify import verify_kernel
from tracejit.program.interp import run_program

N = 8192
RNG = np.random.default_rng(5)


def data(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def logsumexp(x):
    top = x.max(-1, keepdims=True)
    return np.log(np.exp(x - top).sum(-1)) + top[..., 0]


def logsumexp_of_all(x):
    top = x.max()
    return np.log(np.exp(x - top).sum()) + top


def guarded(x):
    top = x.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return np.log(np.exp(x - top).sum(-1)) + top[..., 0]


def moments(x):
    return x.mean(-1), x.std(-1, ddof=1), x.max(-1)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def scaled_scores(x):
    return logsumexp(np.sin(x) / 3)


def of_joined_and_reversed(x):
    return logsumexp(np.concatenate([x, 2 * x[..., ::-1]], -1))


def of_positions(x):
    return (x * np.arange(N, dtype=np.float32)).var(-1)


def reciprocals(x):
    """The last sum depends on the one before in a way that no pair covers."""
    total = np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)
    return np.sqrt(x * x + total).sum(-1), total[:, 0]


ROWS = [
    (of_joined_and_reversed, data(2, N // 2)),
    (of_positions, data(2, N)),
    (reciprocals, data(2, N)),
    (logsumexp, data(3, N)),
    (logsumexp, data(3, N, dtype=np.float64)),
    (logsumexp_of_all, data(3 * N)),
    (logsumexp_of_all, data(3, N)),
    (guarded, data(3, N)),
    (scaled_scores, data(2, 10_000)),
    (moments, data(3, N)),
    (layer_norm, data(2, N)),
    (np.var, data(10**4)),
    (np.var, data(3, N)),
    (np.var, data(12, 1000)),  # whole rows are blocks
    (np.var, data(3, 2, N)[:, 1]),
]


def parts(fn, *args):
    """The kernel of a function, and the same by blocks."""
    (step,) = tj.jit(fn).lower(*args).program.steps
    return (step.kernel, step.schedule), by_blocks(step.kernel, step.schedule)


def kept(plan: Schedule) -> list[str]:
    return [n for n, p in plan.placements.items() if p is Placement.BLOCK]


@pytest.mark.parametrize(("fn", "x"), ROWS)
def test_long_rows_are_reduced_by_blocks(fn, x):
    (kernel, _), (blocked, plan) = parts(fn, x)
    verify_kernel(blocked, plan)
    before = [op for op in kernel.body if isinstance(op, Reduce)]
    after = [op for op in blocked.body if isinstance(op, Reduce)]
    # Each is one over a block, which is kept, and one that combines blocks.
    assert len(after) == 2 * len(before)
    assert len(kept(plan)) == len(before)
    over = {op.axes for op in after if op.result.name in kept(plan)}
    assert over == {plan.loops[-1:]}


@pytest.mark.parametrize(("fn", "x"), ROWS)
def test_blocks_give_the_same(fn, x):
    lowered = tj.jit(fn).lower(x)
    rtol = 2e-6 if x.dtype == np.float32 else 1e-14
    before, after = (run_program(p, [x]) for p in (lowered.program, lowered.native))
    for want, got in zip(before, after, strict=True):
        np.testing.assert_allclose(got, want, rtol, rtol)
    want, got = fn(x.astype(np.float64)), tj.jit(fn)(x)
    for w, g in zip(np.atleast_1d(*[want]), np.atleast_1d(*[got]), strict=True):
        np.testing.assert_allclose(g, w, 4 * rtol, 4 * rtol)


@pytest.mark.parametrize(("fn", "x"), ROWS)
def test_compiled_blocks_are_those_of_the_interpreter(fn, x):
    compiled = tj.jit(fn)
    got = compiled(x)
    got = got if isinstance(got, tuple) else (got,)
    interpreted = run_program(compiled.lower(x).native, [x])
    for g, want in zip(got, interpreted, strict=True):
        if fn in (np.var, moments, layer_norm, of_positions):
            assert np.asarray(g).tobytes() == want.tobytes()
        else:  # exp and log are NumPy's there
            np.testing.assert_allclose(g, want, 4 * np.finfo(x.dtype).eps)


@pytest.mark.parametrize(("fn", "x"), ROWS)
def test_text_round_trip(fn, x):
    _, (blocked, plan) = parts(fn, x)
    text = format_kernel(blocked, plan)
    assert format_kernel(*parse_kernel(text)) == text


def test_text_of_a_sum_of_exponentials():
    _, part = parts(logsumexp, np.zeros((4, N), np.float32))
    body = format_kernel(*part).split("\n")[1:]
    assert [line.strip() for line in body] == [
        "schedule i: grid, b: sequential, j: vector, block %u1, block %u6",
        "%x_0{b,i,j} = load %x[i, 2048*b + j]",
        "%u1{b,i} = reduce max over j: %x_0",
        "%top_1{i} = reduce max over b: %u1",
        "%u3{b,i} = select(isinf(%u1), 0.0:f32, %u1)",
        "%u6{b,i} = reduce add over j: exp(%x_0 - %u3)",
        "%v4{i} = reduce add over b: %u6 * exp(%u1 - %top_1)",
        "store %out0[i] = log(%v4) + %top_1",
        "}",
    ]


# --- what is left as it is ----------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


KEPT = {
    "short": (logsumexp, (data(3, BLOCKS_FROM // 2),)),
    "no divisor of a good size": (logsumexp, (data(3, 8191),)),
    "nothing depends on a reduction": (lambda x: (x.sum(), x.max()), (data(N),)),
    "places are not combined": (lambda x: (x.var(), x.argmax()), (data(N),)),
    "columns": (lambda x: np.exp(x - x.max(0)).sum(0), (data(N, 40),)),
    "halves": (logsumexp, (data(3, N, dtype=np.float16),)),
    "the maximum is of something else": (
        lambda x, y: np.exp(x - y.max()).sum() + y.sum(),
        (data(N), data(N)),
    ),
    "the sum is of something else": (
        lambda x, y: ((x - y.mean()) ** 2).sum(),
        (data(N), data(N)),
    ),
    "exponentials are kept for later": (softmax, (data(3, N),)),
}


@pytest.mark.parametrize("why", KEPT)
def test_left_as_it_is(why):
    fn, args = KEPT[why]
    lowered = tj.jit(fn).lower(*args)
    assert lowered.native is lowered.program


@pytest.mark.parametrize(
    ("extent", "rows", "length"),
    [
        (4096, 1, 2048),
        (4095, 1, None),
        (10**7, 1, 2000),
        (5000, 1, 1250),
        (1000, 5, 1000),
        (1000, 4, None),
        (100, 10**6, None),
        (0, 10**6, None),
        (65_537, 1, None),
    ],
)
def test_length_of_a_block(extent, rows, length):
    assert block_of(extent, rows) == length


# --- infinities ---------------------------------------------------------------------

INF = np.float32(np.inf)
PLACED = [
    [(0, 1, -INF)],
    [(0, 2048, -INF)],
    [(0, N, -INF)],
    [(5000, 5001, INF)],
    [(0, 2048, -INF), (5000, 5001, INF)],
    [(3, 4, np.nan)],
    [(0, N, -INF), (2048, 2049, -3000)],
    [(0, N, 3e38)],
    [(0, N, -3e38)],
]


@pytest.mark.parametrize("placed", PLACED, ids=str)
@pytest.mark.parametrize("fn", [logsumexp, logsumexp_of_all, guarded, np.var])
def test_infinite_rows_give_what_numpy_gives(fn, placed):
    x = data(1, N)
    for start, stop, value in placed:
        x[:, start:stop] = value
    with np.errstate(all="ignore"):
        want = fn(x)
    np.testing.assert_allclose(tj.jit(fn)(x), want, 2e-6)
